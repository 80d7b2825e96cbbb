"""Minima of the exact loss of rotating features, from many starts (`tegum.core.population.equivariant`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.core.compiled.compile import kernel
from tegum.core.compiled.lanes import is_set
from tegum.core.model import initial_weights
from tegum.core.population.equivariant import Parameters, Resolution, evaluate, loss_and_gradient, segments
from tegum.core.stopping import Stop, all_done, current
from tegum.core.threads import available_cores
from tegum.solutions.solution import Solution
from tegum.solutions.transitions import Passage, bisected

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

STEPS, MORE = 250, 4_000
"""The most steps of a descent from a start, and of one that continues from one of the lowest ends."""

GRADIENT = 1e-7
"""A descent has converged when no gradient entry exceeds this, with the loss scaled to 1 for nothing represented."""

STILL = 1e-13
"""A step is idle if it lowers the loss by at most this, with the loss scaled to 1 for nothing represented."""

CLOSE_LOSSES, LOWEST_ENDS = 1e-3, 2
"""Of the ends whose loss is within the first, as a fraction of the lowest, at most the second many continue."""

COARSE, USUAL, FINE = Resolution(127, 13, 6), Resolution(511, 17, 8), Resolution(2047, 64, 12)
"""Quadrature nodes of the exact loss: for all starts, for the lowest of them, and to measure the error of these."""


@kernel
def _aim(inverse: np.ndarray, gradient: np.ndarray, ahead: np.ndarray) -> float:
    """Put the quasi-Newton direction −H⁻¹g into `ahead`; returns the slope of the loss along it."""
    slope = 0.0
    for i in range(len(ahead)):
        ahead[i] = 0.0
        for j in range(len(ahead)):
            ahead[i] -= inverse[i, j] * gradient[j]
        slope += ahead[i] * gradient[i]
    return slope


@kernel
def _learn(inverse: np.ndarray, moved: np.ndarray, changed: np.ndarray, product: float, turned: np.ndarray) -> None:
    """The update of BFGS for the inverse Hessian, from a step and the change of the gradient along it."""
    whole = 0.0
    for i in range(len(moved)):
        turned[i] = 0.0
        for j in range(len(moved)):
            turned[i] += inverse[i, j] * changed[j]
        whole += turned[i] * changed[i]
    for i in range(len(moved)):
        for j in range(len(moved)):
            inverse[i, j] += (1 + whole / product) * moved[i] * moved[j] / product
            inverse[i, j] -= (turned[i] * moved[j] + moved[i] * turned[j]) / product


@kernel
def _descend(
    theta: np.ndarray,
    hidden: int,
    origin: np.ndarray,
    direction: np.ndarray,
    weight: np.ndarray,
    silent: float,
    steps: int,
    tolerance: float,
    still: float,
    stop: np.ndarray,
) -> float:
    """BFGS with the line search of Lewis & Overton for losses with kinks (Mathematical Programming 141, 2013).

    Changes `theta` in place and returns the loss. When the flag `stop` is raised it returns soon, with whatever it has.
    It is written out here because SciPy's linear algebra on so few parameters takes thirty times as long as the loss.
    """
    size = len(theta)
    inverse, gradient, new, there = np.eye(size), np.empty(size), np.empty(size), np.empty(size)
    ahead, turned = np.empty(size), np.empty(size)
    loss = evaluate(theta, hidden, origin, direction, weight, silent, gradient)
    fresh, idle = True, 0
    for _ in range(steps):
        if np.abs(gradient).max() <= tolerance or idle == 3 or is_set(stop):
            break
        slope = _aim(inverse, gradient, ahead)
        if slope >= 0:
            inverse[:] = np.eye(size)
            ahead[:] = -gradient
            slope, fresh = -(gradient * gradient).sum(), True
        low, high = 0.0, np.inf
        step = min(1.0, 0.1 / np.sqrt(-slope)) if fresh else 1.0
        value = loss
        for _ in range(40):
            there[:] = theta + step * ahead
            value = evaluate(there, hidden, origin, direction, weight, silent, new)
            if not value <= loss + 1e-4 * step * slope:
                high = step
            elif (new * ahead).sum() < 0.9 * slope:
                low = step
            else:
                break
            step = (low + high) / 2 if high < np.inf else 2 * low
        if not value <= loss:
            if fresh:
                break
            # Rounding, or a poor inverse Hessian: try once more along the steepest descent.
            inverse[:] = np.eye(size)
            fresh = True
            continue
        moved, changed = there - theta, new - gradient
        product = (moved * changed).sum()
        idle = idle + 1 if loss - value <= still else 0
        theta[:], gradient[:], loss = there, new, value
        if product <= 0:
            continue
        if fresh:
            inverse[:] = np.eye(size) * product / (changed * changed).sum()
            fresh = False
        _learn(inverse, moved, changed, product, turned)
    return float(loss)


def exact_loss(solution: Solution, features: FeatureDistribution, resolution: Resolution = FINE) -> float:
    """The loss of a solution, at the given number of quadrature nodes."""
    theta = np.concatenate([solution.weights.ravel(), solution.bias])
    return loss_and_gradient(theta, segments(features, resolution), solution.weights.shape[1])[0]


def descended(
    features: FeatureDistribution,
    value: float,
    weights: Float[np.ndarray, "start feature hidden"],
    bias: Float[np.ndarray, "start feature"],
    steps: int = MORE,
    resolution: Resolution = USUAL,
) -> list[Solution]:
    """Each model after BFGS to a minimum of the exact loss; `value` is the parameter value recorded with it."""
    where, hidden = segments(features, resolution), weights.shape[2]
    n = features.n

    def one(start: Parameters) -> Solution:
        theta = start.copy()
        shape = hidden, where.origin, where.direction, where.weight / where.scale, where.silent / where.scale
        loss = _descend(theta, *shape, steps, GRADIENT, STILL, current().flag) * where.scale
        return Solution(value, theta[: n * hidden].reshape(n, hidden), theta[n * hidden :], loss, 0, 0)

    rows = [np.concatenate([W.ravel(), b]).astype(np.float64) for W, b in zip(weights, bias, strict=True)]
    with ThreadPoolExecutor(available_cores()) as pool:
        return all_done(pool, [partial(one, row) for row in rows], Stop())


def least(
    features: FeatureDistribution,
    value: float,
    weights: Float[np.ndarray, "start feature hidden"],
    bias: Float[np.ndarray, "start feature"],
) -> Solution:
    """The lowest solution of these starts, with the number of starts that come close to its loss."""
    ends = descended(features, value, weights, bias, STEPS, COARSE)
    ends.sort(key=lambda end: end.loss)
    chosen = [end for end in ends if end.loss <= (1 + CLOSE_LOSSES) * ends[0].loss][:LOWEST_ENDS]
    best = lower(features, value, chosen)
    hits = sum(end.loss <= (1 + CLOSE_LOSSES) * ends[0].loss for end in ends)
    return best._replace(hits=hits, starts=len(ends))


def starts(key: int, count: int, n: int, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (start, n, hidden) and biases, as a Spec with this base seed draws them."""
    weights = np.array([initial_weights(key, run, n, hidden) for run in range(count)], np.float64)
    return weights, np.zeros((count, n))


def passage(
    features_at: Callable[[float], FeatureDistribution],
    low: Solution,
    high: Solution,
    passed: Callable[[Solution], bool],
    fresh: tuple[np.ndarray, np.ndarray],
    *,
    error: float = 1e-4,
) -> Passage:
    """The value between two lowest solutions at which a condition on the lowest one becomes true, by bisection.

    This is `tegum.solutions.transitions.passage` on the loss of rotating features: at each value in between, both ends
    descend, and the lower one counts. Fresh starts there must find nothing lower; otherwise what they find replaces an
    end.

    Args:
        features_at: the features at a value.
        low: a solution for which the condition is false.
        high: a solution at a higher value, for which it is true.
        passed: the condition.
        fresh: weights and biases of the fresh starts.
        error: the relative error allowed in the value.

    """

    def descend(value: float, _: tuple[Solution, Solution], ends: tuple[Solution, Solution]) -> Solution:
        return lower(features_at(value), value, ends)

    def lowest(value: float) -> Solution:
        return least(features_at(value), value, *fresh)

    return bisected(low, high, passed, descend, lowest, error=error, same=CLOSE_LOSSES)


def lower(features: FeatureDistribution, value: float, ends: Sequence[Solution]) -> Solution:
    """The lower of the minima to which these solutions descend."""
    weights, bias = np.array([each.weights for each in ends]), np.array([each.bias for each in ends])
    return min(descended(features, value, weights, bias), key=lambda end: end.loss)
