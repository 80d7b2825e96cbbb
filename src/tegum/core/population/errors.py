"""Loss and gradient from the fused kernel, and bounds on their errors: truncation, differences, rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.population.autodiff.set_arrays import AlikeSets, series_of
from tegum.core.population.truncation import MARGIN, UNCOUPLED
from tegum.core.population.truncation_tail import WEAK_PHASE, tail_bounds

_DIFFERENCE_STEP = 2e-6
"""The step of a central difference, relative to the scale of the parameter. Its own error, a third derivative times the
square of the step, and the rounding of the gradients divided by the step are then both about 1e-10 of the Hessian."""

_LEAST_SCALE = 1e-3
"""The smallest scale of a parameter: with a smaller one, differences would be nothing but rounding."""

_NUMBERS_AT_ONCE = 2**22
"""The most numbers held at once in the displaced models, or the couplings, of one call."""


def kernel_values(
    theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], count: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss (run,), gradient (run, P), and the error of the loss estimated from fewer frequencies."""
    from tegum.core.population.kernel.evaluate import value_and_gradient

    n, m = shape
    weights, bias = _split(theta, n, m)
    # Comparing distributions for equality takes longer than a small model's loss.
    same = all(each is features[0] for each in features)
    loss, dw, db, error = value_and_gradient(
        np.ascontiguousarray(weights),
        np.ascontiguousarray(bias),
        features[0] if same else features,
        frequencies=count,
        threads=threads,
    )
    return loss, np.concatenate([dw.reshape(len(theta), -1), db], 1), error


class Differences(NamedTuple):
    """Differences of the gradient over a step of each parameter in both directions."""

    slope: np.ndarray
    """Central differences, (run, P, P): the Hessian, not yet symmetric."""
    bend: np.ndarray
    """How much the differences to the two sides disagree, (run, P, P)."""


def differences(
    theta: np.ndarray,
    gradient: np.ndarray,
    shape: tuple[int, int],
    features: list[FeatureDistribution],
    count: int,
    threads: int,
    times: float = 1.0,
) -> Differences:
    """Differences of the gradient with `count` frequencies, over `times` the usual steps."""
    parameters = theta.shape[1]
    steps = times * _steps(theta, shape)
    found = Differences(*np.empty((2, len(theta), parameters, parameters)))
    together = max(1, _NUMBERS_AT_ONCE // (2 * parameters**2))
    moves = np.concatenate([np.eye(parameters), -np.eye(parameters)])
    for start in range(0, len(theta), together):
        some = slice(start, start + together)
        step = steps[some]
        near = (theta[some, None] + moves * step[:, None]).reshape(-1, parameters)
        repeated = [each for each in features[some] for _ in range(2 * parameters)]
        slopes = kernel_values(near, shape, repeated, count, threads)[1].reshape(-1, 2, parameters, parameters)
        slopes /= 2 * step[:, None, :, None]
        found.slope[some] = slopes[:, 0] - slopes[:, 1]
        found.bend[some] = slopes.sum(1) - gradient[some, None] / step[:, :, None]
    return found


def unevenness(near: Differences, wide: Differences) -> np.ndarray:
    """A bound on the error of a Hessian made of the differences `near`, given those over twice the step; (run,).

    Where the gradient is smooth, differences change with the square of the step, and the disagreement between the two
    sides grows in proportion to the step. At a corner within two steps (a bias of 0 next to rows at rest) one of these
    fails, and by as much as the Hessian is wrong.
    """
    changes = near.slope - wide.slope, 2 * near.bend - wide.bend
    uneven = 2 * sum(np.linalg.norm(change, axis=(1, 2)) for change in changes)
    return uneven + np.linalg.norm(near.slope - near.slope.swapaxes(1, 2), axis=(1, 2))


def _steps(theta: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A step for every parameter, relative to the size of the weights, or of z. Only a tiny bias may change sign."""
    n, m = shape
    weights, bias = _split(theta, n, m)
    reach = np.abs(bias) + np.abs(_couplings(weights)).sum(2)
    size = np.maximum(np.abs(weights).max((1, 2)), _LEAST_SCALE)
    steps = np.empty_like(theta)
    steps[:, : n * m] = _DIFFERENCE_STEP * size[:, None]
    plain = _DIFFERENCE_STEP * np.maximum(reach, _LEAST_SCALE)
    steps[:, n * m :] = np.minimum(plain, np.maximum(np.abs(bias) / 4, plain / 100))
    return steps


def irreducible_errors(theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution]) -> np.ndarray:
    """Errors of loss, gradient and Hessian that more frequencies do not reduce, (run, 3).

    One is rounding: terms of the gradient are as large as the reach of z times the weights, and the Hessian divides
    their rounding by the step of a difference. The other comes from features that count as uncoupled: |z| is taken at
    the bias, which is wrong by up to their reach.
    """
    return _in_parts(_irreducible_errors, theta, shape, features)


def _irreducible_errors(theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution]) -> np.ndarray:
    n, m = shape
    weights, bias = _split(theta, n, m)
    couplings = np.abs(_couplings(weights))
    reach = np.abs(bias) + couplings.sum(2)
    # Features less coupled than UNCOUPLED times M, the bound of z times MARGIN.
    loose = np.where(couplings < UNCOUPLED * MARGIN * reach[:, :, None], couplings, 0).sum(2)
    importance = _importance(features)
    stretch = 1 + 2 * np.linalg.norm(weights, axis=(1, 2))
    rounding = 2e-15 * (importance * (1 + reach)).sum(1) * stretch
    slope = rounding + 2 * (importance * loose).sum(1) * stretch
    return np.stack([0 * slope, slope, rounding / _steps(theta, shape).min(1)], 1)


def tail_errors(
    theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], count: int
) -> np.ndarray:
    """Bounds on the errors of loss, gradient and Hessian that shorter series do not reveal, (run, 3)."""
    return _in_parts(_tail_errors, theta, shape, features, count)


def _tail_errors(
    theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], count: int
) -> np.ndarray:
    n, m = shape
    weights, bias = _split(theta, n, m)
    couplings = _couplings(weights)
    low, high = bias + np.minimum(couplings, 0).sum(2), bias + np.maximum(couplings, 0).sum(2)
    scale = MARGIN * np.maximum(np.abs(low), np.abs(high))
    coupled = np.abs(couplings) > UNCOUPLED * scale[:, :, None]
    weak = coupled & (np.abs(couplings) * (np.pi * count) < WEAK_PHASE * scale[:, :, None])
    found = np.zeros((len(theta), 3))
    run, output = np.nonzero((weak.sum(2) > 1) & (low < 0) & (high > 0))
    if not run.size:
        return found
    of_each = np.zeros((3, run.size))
    for distribution in {id(features[r]): features[r] for r in run.tolist()}.values():
        mine = np.array([features[r] is distribution for r in run.tolist()])
        r, j = run[mine], output[mine]
        own = np.arange(n) == j[:, None]
        groups: tuple[AlikeSets, ...] = series_of(distribution).groups
        bounds = tail_bounds(couplings[r, j], bias[r, j], own, coupled[r, j], scale[r, j], count, groups)
        of_each[:, mine] = np.stack(bounds) * distribution.importance[j]
    for order in range(3):
        np.add.at(found[:, order], run, of_each[order])
    stretch = 1 + 2 * np.linalg.norm(weights, axis=(1, 2))
    found[:, 2] = found[:, 2] * stretch**2 + 2 * found[:, 1]
    found[:, 1] *= stretch
    return found


def _in_parts(
    function: Any, theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], *rest: Any
) -> np.ndarray:
    """Apply a function of models to as many at a time as memory allows: each has n² couplings."""
    together = max(1, _NUMBERS_AT_ONCE // shape[0] ** 2)
    parts = [slice(start, start + together) for start in range(0, len(theta), together)]
    return np.concatenate([function(theta[part], shape, features[part], *rest) for part in parts])


def _importance(features: list[FeatureDistribution]) -> np.ndarray:
    same = all(each is features[0] for each in features)
    return features[0].importance if same else np.array([each.importance for each in features])


def _split(theta: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    return theta[:, : n * m].reshape(-1, n, m), theta[:, n * m :]


def _couplings(weights: np.ndarray) -> np.ndarray:
    """W Wᵀ of each run; in a matrix product the last digit would depend on the number of runs."""
    return np.einsum("rik,rjk->rij", weights, weights)
