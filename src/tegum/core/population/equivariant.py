"""The exact loss of rotating features in closed form along segments, for one or two `Equivariant` sets.

An `Equivariant` set is a·κ(θ) with an amplitude a that is uniform on [0, 1]: given the angle, x runs along a segment.
The same holds where two such sets are active, given both angles and the other's amplitude. Along a segment x = o + a d
an output is max(0, a c + β) with c = W Wᵀ d and β = W Wᵀ o + b. It is positive for a in one interval, on which the
squared error is a polynomial, so that its integral, and that of its gradient, has a closed form. What remains is a mean
over angles, by the trapezoid rule, and over the other's amplitude, by Gauss-Legendre quadrature. There is no error
bound here, only the comparison with more nodes; `tegum.core.population.evaluate` has the loss with bounds, more slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Equivariant

Parameters = Float[np.ndarray, " parameter"]
Nodes = Float[np.ndarray, "node feature"]


class Resolution(NamedTuple):
    """The numbers of nodes of the quadratures."""

    angles: int
    """Angles where one set is active."""
    pair: int
    """Nodes for each of the two angles where both are active."""
    amplitudes: int
    """Nodes for the amplitude of one of the two."""


@final
@dataclass(frozen=True, eq=False)
class Segments:
    """x = origin + a·direction with a uniform on [0, 1], each segment with its weight; else nothing is active."""

    origin: Nodes
    direction: Nodes
    weight: Float[np.ndarray, " node"]
    silent: float
    """The probability that nothing is active."""
    scale: float
    """E|x|²: the loss if nothing is represented."""


def segments(features: FeatureDistribution, resolution: Resolution) -> Segments:
    """The distribution of one or two `Equivariant` sets, on nodes.

    Raises:
        ValueError: there are other sets, or more of them.

    """
    sets = features.sets
    if len(sets) > 2 or not all(isinstance(each, Equivariant) for each in sets):
        raise ValueError(f"segments({features!r}): there must be one or two sets, of the kind 'equivariant'")
    if not (features.importance == 1).all():
        raise ValueError(f"segments({features!r}): all importances must be 1")
    ends = np.cumsum([0, *(each.features for each in sets)])
    densities = [float(each.densities[0]) for each in sets]
    silent = float(np.prod([1 - p for p in densities]))
    directions, origins, weights = [], [], []
    for number in range(len(sets)):
        rays = _rays(features, number, ends, np.arange(resolution.angles) / resolution.angles)
        alone = np.prod([1 - p for other, p in enumerate(densities) if other != number])
        directions.append(rays)
        origins.append(np.zeros_like(rays))
        weights.append(np.full(len(rays), densities[number] * alone / len(rays)))
    if len(sets) == 2:
        nodes, parts = np.polynomial.legendre.leggauss(resolution.amplitudes)
        count = resolution.pair
        one, other, amplitude = np.array(list(product(range(count), range(count), range(len(nodes))))).T
        # Both grids are shifted differently for each amplitude, so that their errors near kinks average out.
        shift = amplitude / len(nodes)
        directions.append(_rays(features, 0, ends, (one + shift) / count))
        origins.append((nodes[amplitude, None] + 1) / 2 * _rays(features, 1, ends, (other + 2 * shift) / count))
        weights.append(densities[0] * densities[1] * parts[amplitude] / 2 / count**2)
    return Segments(
        np.concatenate(origins),
        np.concatenate(directions),
        np.concatenate(weights),
        silent,
        float(np.trace(features.second_moment())),
    )


def _rays(features: FeatureDistribution, number: int, ends: np.ndarray, turns: Float[np.ndarray, " node"]) -> Nodes:
    """Responses of one set at angles given as fractions of a turn; zero for all other features."""
    own = features.sets[number]
    assert isinstance(own, Equivariant)
    found = np.zeros((len(turns), features.n))
    found[:, ends[number] : ends[number + 1]] = np.exp(
        (np.cos(2 * np.pi * turns[:, None] - own.angles) - 1) / own.width**2
    )
    return found


@kernel
def evaluate(
    theta: np.ndarray,
    hidden: int,
    origin: np.ndarray,
    direction: np.ndarray,
    weight: np.ndarray,
    silent: float,
    gradient: np.ndarray,
) -> Any:
    """The loss; its gradient is written to `gradient`."""
    nodes, n = direction.shape
    m = hidden
    along, before, slope = np.empty(m), np.empty(m), np.zeros((n, n))
    gradient[:] = 0.0
    total = 0.0
    for t in range(nodes):
        for u in range(m):
            along[u] = 0.0
            before[u] = 0.0
            for j in range(n):
                along[u] += direction[t, j] * theta[j * m + u]
                before[u] += origin[t, j] * theta[j * m + u]
        error = 0.0
        for j in range(n):
            c, beta = 0.0, theta[n * m + j]
            for u in range(m):
                c += along[u] * theta[j * m + u]
                beta += before[u] * theta[j * m + u]
            d, o = direction[t, j], origin[t, j]
            error += d * d / 3 + d * o + o * o
            if beta <= 0 and beta + c <= 0:
                continue
            low = -beta / c if beta <= 0 else 0.0
            high = -beta / c if beta > 0 and beta + c < 0 else 1.0
            first = high - low
            second = (high**2 - low**2) / 2
            third = (high**3 - low**3) / 3
            # The output is a c + β on [low, high], and the feature a d + o.
            more, ahead = c - d, beta - o
            error += c * (c - 2 * d) * third + 2 * (beta * more - o * c) * second + beta * (beta - 2 * o) * first
            by_c = 2 * weight[t] * (more * third + ahead * second)
            by_beta = 2 * weight[t] * (more * second + ahead * first)
            gradient[n * m + j] += by_beta
            for i in range(n):
                slope[j, i] += by_c * direction[t, i] + by_beta * origin[t, i]
        total += weight[t] * error
    for j in range(n):
        b = theta[n * m + j]
        if b > 0:
            total += silent * b * b
            gradient[n * m + j] += 2 * silent * b
    _fold(slope, theta, hidden, gradient)
    return total


@inlined
def _fold(slope: np.ndarray, theta: np.ndarray, hidden: int, gradient: np.ndarray) -> None:
    """Add the slopes in the couplings W Wᵀ to the gradient of the weights; a coupling is felt by two rows."""
    n = len(slope)
    for j in range(n):
        for i in range(n):
            for u in range(hidden):
                gradient[j * hidden + u] += (slope[j, i] + slope[i, j]) * theta[i * hidden + u]


def loss_and_gradient(theta: Parameters, where: Segments, hidden: int) -> tuple[float, Parameters]:
    """The exact loss, a sum over features, and its gradient in θ = (W row by row, b)."""
    gradient = np.empty(len(theta))
    loss = evaluate(theta, hidden, where.origin, where.direction, where.weight, where.silent, gradient)
    return loss, gradient
