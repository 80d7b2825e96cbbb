"""Normal variables below thresholds: two at a time, and many that are independent given one or two factors."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

QUADRATURE_ERROR = 1e-12
"""The most that a characteristic function of `Lattice` may differ from the exact one, by a bound."""

MOST_FACTORS = 2
"""The most factors over which there is a quadrature: with each more, it takes some fifty times as many nodes."""

_SERIES_BELOW = 0.92
"""Correlations up to this are integrated from 0, without a loss of digits; larger ones go by Owen's function T."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)

_SHIFTS = np.geomspace(0.02, 5, 16)
"""How far integrands are continued into the complex plane, where their growth bounds the error of the quadrature."""


_CELLS, _REACH = 16, 9
"""Cells for each standard deviation in a table of Φ, and how far it reaches: Φ(9) is 1 in double precision."""


class Lattice(NamedTuple):
    """A quadrature over independent standard normal variables: nodes of a lattice with their weights."""

    weights: Float[np.ndarray, " node"]
    """Summing to 1."""
    nodes: Float[np.ndarray, "node factor"]


def both_below(
    h: Float[np.ndarray, "*#pair"], k: Float[np.ndarray, "*#pair"], correlation: Float[np.ndarray, "*#pair"]
) -> Float[np.ndarray, "*pair"]:
    """The probability that two standard normal variables lie below h and k.

    Up to a correlation of 0.92 it is Φ(h) Φ(k) + ∫ φ₂(h, k; r) dr from 0 to the correlation, with r = sin θ (Drezner
    and Wesolowsky 1990), whose terms are all positive for positive correlations, so that small probabilities keep
    their digits. Beyond, it is a sum of Owen's functions T (Owen 1956), with an absolute error of about 1e-16 times
    the smaller of Φ(h) and Φ(k), however near the correlation is to 1 or −1.

    Args:
        h: thresholds of the first variable; infinities are allowed.
        k: thresholds of the second one.
        correlation: the correlations, in [−1, 1].

    Returns:
        Probabilities.

    """
    from scipy.special import ndtr

    h, k, r = np.broadcast_arrays(h, k, correlation)
    p, q = ndtr(h), ndtr(k)
    found = np.where(r >= 0, np.minimum(p, q), np.maximum(p + q - 1, 0))  # for correlations of 1 and −1
    finite = np.isfinite(h) & np.isfinite(k)
    found = np.where(finite, found, p * q)
    near = finite & (np.abs(r) <= _SERIES_BELOW)
    found[near] = p[near] * q[near] + _added(h[near], k[near], r[near])
    far = finite & ~near & (np.abs(r) < 1)
    found[far] = _by_owen(h[far], k[far], r[far])
    return np.clip(found, np.maximum(p + q - 1, 0), np.minimum(p, q))


def _added(h: np.ndarray, k: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The integral over correlations from 0 to r of the density at (h, k)."""
    angle, total = np.arcsin(r) / 2, np.zeros_like(h)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        sine = np.sin(angle * (1 + node))
        total += weight * np.exp(-(h * h + k * k - 2 * h * k * sine) / (2 * (1 - sine * sine)))
    return angle * total / (2 * np.pi)


def _by_owen(h: np.ndarray, k: np.ndarray, r: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr, owens_t

    # Limits at 0, which would be 0/0.
    h, k = np.where(h == 0, 1e-300, h), np.where(k == 0, 1e-300, k)
    root = np.sqrt((1 - r) * (1 + r))
    parts = owens_t(h, (k - r * h) / (h * root)) + owens_t(k, (h - r * k) / (k * root))
    return (ndtr(h) + ndtr(k)) / 2 - parts - np.where(h * k < 0, 0.5, 0.0)


def below_probability(u: Float[np.ndarray, "*shape"], x: Float[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether numbers u lie below Φ(x): u < ndtr(x), which is computed only where a table does not exclude it.

    Args:
        u: numbers in [0, 1).
        x: values of normal variables; infinities are allowed.

    Returns:
        Booleans.

    """
    from scipy.special import ndtr

    cell = x * _CELLS
    cell += _CELLS * _REACH
    np.clip(cell, 0, 2 * _CELLS * _REACH - 1, out=cell)
    undecided = np.flatnonzero(u < np.take(_cell_bounds(), cell.astype(np.intp)))
    below = np.zeros(u.shape, bool)
    np.put(below, undecided, np.take(u, undecided) < ndtr(np.take(x, undecided)))
    return below


@functools.cache
def _cell_bounds() -> Float[np.ndarray, " cell"]:
    """For each cell of the table a number above Φ in it, however values at its ends were rounded."""
    from scipy.special import ndtr

    return ndtr(np.arange(1, 2 * _CELLS * _REACH + 1) / _CELLS - _REACH) * (1 + 1e-9)


def conditional(
    thresholds: Float[np.ndarray, " size"],
    factors: Float[np.ndarray, "size factor"],
    spread: Float[np.ndarray, " size"],
    nodes: Float[np.ndarray, "node factor"],
) -> Float[np.ndarray, "node size"]:
    """(t_i − F_i · y) / σ_i: below this, the rest of variable i keeps it below its threshold, given the factors y."""
    return (thresholds - nodes @ factors.T) / spread


def principal(factors: Float[np.ndarray, "size factor"]) -> Float[np.ndarray, "size axis"]:
    """The factors turned to their principal axes, without those that no variable has; the variables stay the same."""
    _, lengths, axes = np.linalg.svd(factors, full_matrices=False)
    return factors @ axes[lengths > 1e-13].T


def lattice(
    thresholds: Float[np.ndarray, " size"],
    factors: Float[np.ndarray, "size factor"],
    spread: Float[np.ndarray, " size"],
    most: int,
) -> Lattice | None:
    """The quadrature over the factors y of variables F_i · y + σ_i ε_i, for what depends on which are below thresholds.

    Given y the variables are independent, each below its threshold with probability q_i(y) = Φ((t_i − F_i · y) / σ_i).
    The trapezoid rule converges geometrically for Π_i (1 − q_i + q_i u_i), with |u_i| ≤ 1, which is entire in y. If its
    mean over y + iη has at most the modulus B, then a spacing of h has an error of at most 2 B / (exp(2 π η / h) − 1)
    (Trefethen and Weideman 2014, theorem 5.1). As |Φ(x + is) − Φ(x)| ≤ φ(x) ∫₀^s exp(t²/2) dt, B follows from a mean of
    positive numbers, which is found on a coarse lattice. The spacing along each axis is the largest for which the
    errors, and what is cut off far out, add up to `QUADRATURE_ERROR`.

    Args:
        thresholds: t.
        factors: F along principal axes.
        spread: σ, at least 0.
        most: the most nodes.

    Returns:
        Nodes and weights; None if there are too many factors, or nodes.

    """
    count = factors.shape[1]
    if count == 0:
        return Lattice(np.ones(1), np.zeros((1, 0)))
    if count > MOST_FACTORS or (spread < 1e-6).any():
        return None
    share = QUADRATURE_ERROR / (count + 1)
    # Beyond it lies the probability `share`: 2 Φ(−R) < exp(−R²/2) of one factor, exp(−R²/2) of two.
    radius = np.sqrt(-2 * np.log(share))
    steps = _spacings(thresholds, factors, spread, share, radius)
    volume = 2 * radius if count == 1 else np.pi * radius**2
    if volume / np.prod(steps) > most - 1:
        return None
    nodes = _disc(steps, radius)
    weights = np.exp(-np.square(nodes).sum(1) / 2)
    return Lattice(weights / weights.sum(), nodes)


def _disc(steps: np.ndarray, radius: float) -> np.ndarray:
    """The nodes of a lattice with these spacings, up to a distance from 0."""
    halves = [int(radius / step) for step in steps]
    axes = [step * np.arange(-half, half + 1) for step, half in zip(steps, halves, strict=True)]
    nodes = np.stack([each.ravel() for each in np.meshgrid(*axes, indexing="ij")], 1)
    return nodes[np.square(nodes).sum(1) <= radius**2]


def _spacings(
    thresholds: np.ndarray, factors: np.ndarray, spread: np.ndarray, share: float, radius: float
) -> np.ndarray:
    from scipy.special import erfi, logsumexp

    count = factors.shape[1]
    coarse = _disc(np.full(count, 0.2 * count), radius)
    weights = -np.square(coarse).sum(1) / 2
    weights -= logsumexp(weights)
    x = conditional(thresholds, factors, spread, coarse)
    height = 2 * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    spacings = np.zeros(count)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis in range(count):
            for shift in _SHIFTS:
                growth = np.sqrt(np.pi / 2) * erfi(np.abs(factors[:, axis]) * shift / spread / np.sqrt(2))
                bound = shift**2 / 2 + logsumexp(weights + np.log1p(height * growth).sum(1))
                step = 2 * np.pi * shift / np.logaddexp(0, np.log(2 / share) + bound)
                spacings[axis] = np.fmax(spacings[axis], step)
    return spacings
