"""What a series that is cut off leaves out without a trace: features hardly coupled, active together.

The error of the series shows in what fewer frequencies would have given, but for one thing. Where two or more features
are active, and all of them with couplings a so small that a t is small even at the highest frequency t, z = b + Σ a x
stays at nearly one point: their part of the characteristic function has not begun to decay, and all windows miss the
same. (One such feature alone is in closed form, and so is none.) How likely that is can be counted, and how wrong the
two series can be at a distance from z = 0 is known: so there is a bound.

It holds for NumPy and JAX, for any leading dimensions of couplings and biases.
"""

from __future__ import annotations

import math
from typing import Any, assert_never

from tegum.core.features.tables import MixtureTable, RayTable
from tegum.core.population.autodiff.set_arrays import AlikeSets

HARDLY = 3.0
"""A feature lingers while its coupling times the highest frequency at full weight is below this."""

DISTANCES = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0)
"""|z| times the same frequency, K π / M; or M − |z|, as the series have the period 2 M, …"""

LEFT_OUT = (
    (1.4e-1, 4.7e-2, 5.7e-2, 3.5e-2, 1.7e-2, 9.4e-3, 1.9e-3, 7.6e-4,
     3.3e-4, 4.2e-5, 1.4e-5, 1.5e-6, 1.5e-7, 2.7e-8, 1.0e-9, 5.5e-11),
    (2.3e-2, 2.6e-2, 1.9e-2, 1.3e-2, 7.5e-3, 5.7e-3, 7.6e-4, 3.9e-4,
     1.3e-4, 2.3e-5, 1.1e-5, 8.5e-7, 7.6e-8, 1.6e-8, 4.6e-10, 6.8e-11),
    (1.1, 6.2e-1, 1.9e-1, 1.8e-1, 8.5e-2, 6.0e-2, 7.2e-3, 4.0e-3,
     1.2e-3, 2.0e-4, 8.2e-5, 6.4e-6, 5.9e-7, 1.1e-7, 4.4e-9, 2.4e-10),
    (3.1, 2.9, 2.1, 8.1e-1, 4.4e-1, 2.5e-1, 3.6e-2, 1.5e-2,
     7.1e-3, 7.5e-4, 2.6e-4, 2.4e-5, 2.6e-6, 4.7e-7, 1.7e-8, 8.6e-10),
)  # fmt: skip
"""… and how far off, there or farther away, K frequencies put |z| (in M / K), z|z| (in its square), sign z, and 2 δ(z)
(in K / M), for the K for which that is most; between the distances logarithms are interpolated."""


def lingering(
    a: Any, b: Any, own: Any, coupled: Any, scale: Any, count: Any, groups: tuple[AlikeSets, ...]
) -> tuple[Any, Any, Any]:
    """Bounds of what K frequencies leave out of outputs that change their sign.

    Args:
        a: couplings, (..., n).
        b: biases, (...).
        own: which feature is each output's own, truth values (..., n).
        coupled: which couplings count, truth values (..., n).
        scale: M, (...).
        count: K.
        groups: the sets.

    Returns:
        Bounds of the loss, of the norm of its gradient and of that of its Hessian in (a, b), (...), importance aside.

    """
    xp = a.__array_namespace__()
    highest = (count * math.pi / scale)[..., None]
    waves = a * highest
    weak = coupled & (xp.abs(waves) < HARDLY)
    together = _together(xp, waves, coupled, groups)
    low = (b * highest[..., 0]) + xp.where(weak, xp.minimum(waves, 0.0), 0.0).sum(-1)
    high = (b * highest[..., 0]) + xp.where(weak, xp.maximum(waves, 0.0), 0.0).sum(-1)
    off = xp.maximum(xp.maximum(low, -high), 0.0)
    distance = xp.minimum(off, count * math.pi - xp.maximum(xp.abs(low), xp.abs(high)))
    size, signed, sign, delta = (
        xp.exp(xp.interp(distance, xp.asarray(DISTANCES), xp.log(xp.asarray(column)))) for column in LEFT_OUT
    )
    # Where the output's own feature has a strong coupling it is not active: nothing is weighted with it.
    marked = together * xp.where((own & coupled & ~weak).any(-1), 0.0, 1.0)
    unit = scale / count
    loss = marked * unit * size + together * unit**2 * signed / 2
    slope = marked * sign + together * unit * size
    curvature = marked * delta / unit + together * sign
    # A derivative in a coupling has the magnitude of its feature as a factor; none is active that is not loose.
    loose = 1 + (weak | ~coupled).sum(-1)
    return loss, slope * loose**0.5, curvature * loose


def _together(xp: Any, waves: Any, coupled: Any, groups: tuple[AlikeSets, ...]) -> Any:
    """The probability that two features or more are active that are coupled, and all of them weakly."""
    weakly: list[Any] = []
    for group in groups:
        here, wave = coupled[..., group.features], waves[..., group.features]
        match table := group.table:
            case RayTable(weights, directions):
                # Not even one alone is in closed form.
                strong = xp.abs((directions * wave[..., None, :]).sum(-1)) >= HARDLY
                idle = xp.where(here.any(-1), 1 - weights.sum(-1), 1.0)
                weakly.append((1 - xp.where(strong, weights, 0.0).sum(-1), idle, 0 * idle))
            case MixtureTable(weights, q):
                weak = (here & (xp.abs(wave) < HARDLY))[..., None, :]
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
    """Along the last axis: the product of all but each. Nothing is divided: a factor may be zero."""
    xp = x.__array_namespace__()
    one = xp.ones_like(x[..., :1])
    before = xp.cumulative_prod(xp.concat([one, x[..., :-1]], axis=-1), axis=-1)
    after = xp.cumulative_prod(xp.concat([one, x[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after
