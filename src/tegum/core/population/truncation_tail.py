"""The truncation error that shorter series do not reveal: weakly coupled features that are active together.

The error of the series is estimated from what fewer frequencies would have given, with one exception. Where two or more
features are active, all with couplings a so small that a t is small even at the highest frequency t, z = b + Σ a x
stays close to one point. Their part of the characteristic function has then not begun to decay, and all windows miss
the same amount. (One such feature alone is in closed form, and so is none.) The probability of this can be computed,
and the error of the two series at a given distance from z = 0 is known, which gives a bound.

It is computed with NumPy or JAX, for any leading dimensions of couplings and biases.
"""

from __future__ import annotations

import math
from typing import Any, assert_never

from tegum.core.features.tables import MixtureTable, RayTable
from tegum.core.population.autodiff.set_arrays import AlikeSets

WEAK_PHASE = 3.0
"""A feature is weakly coupled if its coupling times the highest frequency, K π / M, is below this."""

DISTANCES = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0)
"""Distances at which `SERIES_ERRORS` is given: |z| times K π / M; or M − |z| times it, as the period is 2 M."""

SERIES_ERRORS = (
    (1.4e-1, 4.7e-2, 5.7e-2, 3.5e-2, 1.7e-2, 9.4e-3, 1.9e-3, 7.6e-4,
     3.3e-4, 4.2e-5, 1.4e-5, 1.5e-6, 1.5e-7, 2.7e-8, 1.0e-9, 5.5e-11),
    (2.3e-2, 2.6e-2, 1.9e-2, 1.3e-2, 7.5e-3, 5.7e-3, 7.6e-4, 3.9e-4,
     1.3e-4, 2.3e-5, 1.1e-5, 8.5e-7, 7.6e-8, 1.6e-8, 4.6e-10, 6.8e-11),
    (1.1, 6.2e-1, 1.9e-1, 1.8e-1, 8.5e-2, 6.0e-2, 7.2e-3, 4.0e-3,
     1.2e-3, 2.0e-4, 8.2e-5, 6.4e-6, 5.9e-7, 1.1e-7, 4.4e-9, 2.4e-10),
    (3.1, 2.9, 2.1, 8.1e-1, 4.4e-1, 2.5e-1, 3.6e-2, 1.5e-2,
     7.1e-3, 7.5e-4, 2.6e-4, 2.4e-5, 2.6e-6, 4.7e-7, 1.7e-8, 8.6e-10),
)  # fmt: skip
"""The largest error, at each distance or beyond, of the series with K frequencies for |z| (in units of M / K), z|z| (in
its square), sign z, and 2 δ(z) (in K / M), for the K that is worst; in between, logarithms are interpolated."""


def tail_bounds(
    a: Any, b: Any, own: Any, coupled: Any, scale: Any, count: Any, groups: tuple[AlikeSets, ...]
) -> tuple[Any, Any, Any]:
    """Bounds on the part of the loss that K frequencies miss, for outputs whose z changes sign.

    Args:
        a: couplings, (..., n).
        b: biases, (...).
        own: which feature is each output's own, booleans (..., n).
        coupled: which couplings count, booleans (..., n).
        scale: M, (...).
        count: K.
        groups: the sets.

    Returns:
        Bounds on the errors of the loss, of the norm of its gradient and of the norm of its Hessian in (a, b), each of
        shape (...), without the importance.

    """
    xp = a.__array_namespace__()
    highest = (count * math.pi / scale)[..., None]
    phases = a * highest
    weak = coupled & (xp.abs(phases) < WEAK_PHASE)
    together = _together(xp, phases, coupled, groups)
    low = (b * highest[..., 0]) + xp.where(weak, xp.minimum(phases, 0.0), 0.0).sum(-1)
    high = (b * highest[..., 0]) + xp.where(weak, xp.maximum(phases, 0.0), 0.0).sum(-1)
    off = xp.maximum(xp.maximum(low, -high), 0.0)
    distance = xp.minimum(off, count * math.pi - xp.maximum(xp.abs(low), xp.abs(high)))
    size, signed, sign, delta = (
        xp.exp(xp.interp(distance, xp.asarray(DISTANCES), xp.log(xp.asarray(column)))) for column in SERIES_ERRORS
    )
    # An own feature with a strong coupling is not active here, so that terms weighted with it vanish.
    marked = together * xp.where((own & coupled & ~weak).any(-1), 0.0, 1.0)
    unit = scale / count
    loss = marked * unit * size + together * unit**2 * signed / 2
    slope = marked * sign + together * unit * size
    curvature = marked * delta / unit + together * sign
    # A derivative in a coupling has its feature's magnitude as a factor; only weak and uncoupled ones are active.
    loose = 1 + (weak | ~coupled).sum(-1)
    return loss, slope * loose**0.5, curvature * loose


def _together(xp: Any, phases: Any, coupled: Any, groups: tuple[AlikeSets, ...]) -> Any:
    """The probability that two or more coupled features are active, all of them weakly coupled."""
    weakly: list[Any] = []
    for group in groups:
        here, phase = coupled[..., group.features], phases[..., group.features]
        match table := group.table:
            case RayTable(weights, directions):
                # Here not even a single active feature is in closed form.
                strong = xp.abs((directions * phase[..., None, :]).sum(-1)) >= WEAK_PHASE
                idle = xp.where(here.any(-1), 1 - weights.sum(-1), 1.0)
                weakly.append((1 - xp.where(strong, weights, 0.0).sum(-1), idle, 0 * idle))
            case MixtureTable(weights, q):
                weak = (here & (xp.abs(phase) < WEAK_PHASE))[..., None, :]
                strong = here[..., None, :] & ~weak
                still = weights * xp.where(strong, 1 - q, 1.0).prod(-1)
                quiet = xp.where(weak, 1 - q, 1.0)
                one = xp.where(weak, q, 0.0) * all_but_one(quiet)
                weakly.append((still.sum(-1), (still * quiet.prod(-1)).sum(-1), (still * one.sum(-1)).sum(-1)))
            case _:
                assert_never(table)
    anything, none, one = (xp.concat([each[k] for each in weakly], axis=-1) for k in range(3))
    return xp.maximum(anything.prod(-1) - none.prod(-1) - (one * all_but_one(none)).sum(-1), 0.0)


def all_but_one(x: Any) -> Any:
    """For each entry along the last axis, the product of all others; without division, as a factor may be zero."""
    xp = x.__array_namespace__()
    one = xp.ones_like(x[..., :1])
    before = xp.cumulative_prod(xp.concat([one, x[..., :-1]], axis=-1), axis=-1)
    after = xp.cumulative_prod(xp.concat([one, x[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after
