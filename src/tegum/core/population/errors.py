"""Loss, gradient and Hessian from the fused kernel, and bounds on their errors: truncation, rounding, corners."""

from __future__ import annotations

from typing import Any

import numpy as np

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.population.autodiff.set_arrays import AlikeSets, series_of
from tegum.core.population.parameters import hessian_in_parameters
from tegum.core.population.truncation import MARGIN, UNCOUPLED
from tegum.core.population.truncation_tail import DISTANCES, SERIES_ERRORS, WEAK_PHASE, all_but_one, tail_bounds

_ROUNDING = 1e-15
"""The rounding of a coupling or a bias, relative to the reach of z."""

_HESSIAN_ROUNDING = 1e-13
"""The rounding of second derivatives in couplings and biases, relative to the largest terms."""

_LEAST_REACH = 1e-30
"""Stands for a reach of zero, by which one could not divide."""

_LEAST_HEIGHT = 1e-9
"""Errors of a second derivative smaller than this are neglected."""

_NUMBERS_AT_ONCE = 2**22
"""The most numbers held at once in the second derivatives, or the couplings, of one call."""


def kernel_values(
    theta: np.ndarray,
    shape: tuple[int, int],
    features: list[FeatureDistribution],
    count: int,
    threads: int,
    curved: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Loss (run,), gradient (run, P), the error of the loss estimated from fewer frequencies, and the Hessian.

    The Hessian, (run, P, P), is found if `curved`, and is None otherwise.
    """
    from tegum.core.population.kernel.evaluate import evaluated

    n, m = shape
    weights, bias = _split(theta, n, m)
    loss, gradient, error = np.empty(len(theta)), np.empty_like(theta), np.empty(len(theta))
    hessian = np.empty((*theta.shape, theta.shape[1])) if curved else None
    # Comparing distributions for equality takes longer than a small model's loss.
    same = all(each is features[0] for each in features)
    together = _at_once(n) if curved else len(theta)
    for start in range(0, len(theta), together):
        some = slice(start, start + together)
        found = evaluated(
            np.ascontiguousarray(weights[some]),
            np.ascontiguousarray(bias[some]),
            features[0] if same else features[some],
            frequencies=count,
            threads=threads,
            curved=curved,
        )
        loss[some], gradient[some], error[some] = found.loss, found.gradient, found.error
        if hessian is not None and found.slopes is not None and found.curvature is not None:
            # One by one, so that no digit depends on the models beside it.
            for run, model in enumerate(zip(weights[some], found.slopes, found.curvature, strict=True)):
                hessian[start + run] = hessian_in_parameters(*model)
    return loss, gradient, error, hessian


def _at_once(n: int) -> int:
    """The models whose second derivatives in their couplings are found at once."""
    return max(1, _NUMBERS_AT_ONCE // n**3)


def second_derivatives(runs: int, n: int) -> int:
    """How many numbers the second derivatives in the couplings take, with two copies of one model's."""
    return (2 * min(runs, _at_once(n)) + 2) * n * (n + 1) * (n + 2)


def irreducible_errors(theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution]) -> np.ndarray:
    """Errors of loss, gradient and Hessian that more frequencies do not reduce, (run, 3).

    One is rounding: terms of the gradient are as large as the reach of z times the weights, those of the Hessian as its
    inverse. Another comes from features that count as uncoupled: |z| is taken at the bias, which is wrong by up to
    their reach. On a corner of the gradient, the Hessian may be that of either side.
    """
    return _in_parts(_irreducible_errors, theta, shape, features)


def _irreducible_errors(theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution]) -> np.ndarray:
    n, m = shape
    weights, bias = _split(theta, n, m)
    gram = _couplings(weights)
    couplings = np.abs(gram)
    reach = np.abs(bias) + couplings.sum(2)
    # Features less coupled than UNCOUPLED times M, the bound of z times MARGIN.
    near = couplings < UNCOUPLED * MARGIN * reach[:, :, None]
    loose = np.where(near, couplings, 0).sum(2)
    importance = _importance(features)
    stretch = 1 + 2 * np.linalg.norm(weights, axis=(1, 2))
    rounding = 2e-15 * (importance * (1 + reach)).sum(1) * stretch
    slope = rounding + 2 * (importance * loose).sum(1) * stretch
    own = np.einsum("rjj->rj", gram)
    corner = np.zeros(len(theta))
    for run, j in np.argwhere(_blurred(bias, own, loose, reach)).tolist():
        coupled = ~near[run, j] | (np.arange(n) == j)
        jump = _jump(features[run], coupled, j, gram[run, j], float(bias[run, j]))
        corner[run] += features[run].importance[j] * jump
    curvature = _HESSIAN_ROUNDING * (importance * (1 + 1 / np.maximum(reach, _LEAST_REACH))).sum(1)
    return np.stack([0 * slope, slope, (curvature + corner) * stretch**2 + slope], 1)


def _blurred(bias: np.ndarray, own: np.ndarray, loose: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Outputs that are on a corner of the gradient up to rounding and loose couplings: b = 0, or b = −|W_j|²."""
    width = loose + _ROUNDING * reach
    return (np.abs(bias) <= width) | (np.abs(bias + own) <= width)


def _jump(features: FeatureDistribution, coupled: np.ndarray, j: int, couplings: np.ndarray, bias: float) -> float:
    """A bound on the norm of the jump of an output's second derivatives at its corner, without the importance.

    At b = 0 sign z jumps where nothing coupled is active; at b = −|W_j|², 2 x_j δ(z) where feature j alone is, at the
    end x_j = 1 of its segment; an output that is constantly 0 has a corner in its loss.
    """
    own, jump = couplings[j], 0.0
    if abs(bias) <= abs(bias + own):
        jump += 2 * _probability(features, coupled, ()) * (1 + int((~coupled).sum()))
    if abs(bias + own) <= abs(bias) and (alone := _probability(features, coupled, (j,))) > 0:
        with np.errstate(divide="ignore"):
            jump += float(4 * alone * (1 + int((~coupled).sum())) / own)
    return jump


def _probability(features: FeatureDistribution, coupled: np.ndarray, active: tuple[int, ...]) -> float:
    """The probability that these features are active, and of the others that are coupled none."""
    probability, start = 1.0, 0
    for weights, gates in features.tables():
        silent = np.where(coupled[start : start + gates.shape[1]], 1 - gates, 1.0)
        for each in active:
            if 0 <= each - start < gates.shape[1]:
                silent[:, each - start] = gates[:, each - start]
        start += gates.shape[1]
        probability *= float(weights @ silent.prod(1))
    return probability


def _beside(features: FeatureDistribution, coupled: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The probability that feature i and an output's own are active, and of the others that are coupled none.

    Args:
        features: the features.
        coupled: which are coupled to each output, booleans (output, n).
        own: which is its own, booleans (output, n).

    Returns:
        The probability for each i, (output, n).

    """
    apart, here, start = [], [], 0
    for weights, gates in features.tables():
        part = slice(start, start := start + gates.shape[1])
        silent = np.where(coupled[:, None, part], 1 - gates, 1.0)
        silent = np.where(own[:, None, part], gates, silent)
        apart.append(silent.prod(2) @ weights)
        here.append(np.einsum("ocf,c->of", all_but_one(silent) * gates, weights))
    others = all_but_one(np.stack(apart, 1))
    return np.concatenate([others[:, k, None] * each for k, each in enumerate(here)], 1)


def tail_errors(
    theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], count: int, curved: bool
) -> np.ndarray:
    """Bounds on the errors of loss, gradient and Hessian that shorter series do not reveal, (run, 3).

    The one of the Hessian is found only if `curved`.
    """
    return _in_parts(_tail_errors, theta, shape, features, count, curved)


def _tail_errors(
    theta: np.ndarray, shape: tuple[int, int], features: list[FeatureDistribution], count: int, curved: bool
) -> np.ndarray:
    n, m = shape
    weights, bias = _split(theta, n, m)
    couplings = _couplings(weights)
    low, high = bias + np.minimum(couplings, 0).sum(2), bias + np.maximum(couplings, 0).sum(2)
    scale = MARGIN * np.maximum(np.abs(low), np.abs(high))
    coupled = np.abs(couplings) > UNCOUPLED * scale[:, :, None]
    weak = coupled & (np.abs(couplings) * (np.pi * count) < WEAK_PHASE * scale[:, :, None])
    found = np.zeros((len(theta), 3))
    if curved:
        found[:, 2] = _ends_passed(couplings, bias, scale, coupled & ~weak, features, count)
    run, output = np.nonzero((weak.sum(2) > 1) & (low < 0) & (high > 0))
    if not (run.size or curved):
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


def _ends_passed(
    couplings: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    strong: np.ndarray,
    features: list[FeatureDistribution],
    count: int,
) -> np.ndarray:
    """Bounds on the error of second derivatives in (a, b) of outputs whose own feature is hardly coupled, (run,).

    Where one other feature i is active beside it, and b is close to 0 or to −a_i, the own feature decides whether z is
    zero just inside the segment of x_i or just outside of it: 2 x_j δ(z) counts 1 / |a_i| or nothing. Frequencies that
    do not resolve the own coupling cannot tell.
    """
    found, n = np.zeros(len(bias)), bias.shape[1]
    own = np.eye(n, dtype=bool)
    strong = strong & ~own
    hardly = np.abs(np.einsum("rjj->rj", couplings)) * (np.pi * count) < WEAK_PHASE * scale
    height = 1 / np.where(strong & hardly[:, :, None], np.abs(couplings), np.inf)
    if not height.any():
        return found
    # An output that is 0 whatever happens has no scale, and no coupling to count.
    unit = (np.pi * count) / np.where(scale > 0, scale, 1.0)[:, :, None]
    ends = np.stack([np.broadcast_to(bias[:, :, None], couplings.shape), bias[:, :, None] + couplings])
    height *= np.exp(np.interp(np.abs(ends) * unit, DISTANCES, np.log(SERIES_ERRORS[2]))).sum(0)
    high = (height > _LEAST_HEIGHT).any(2)
    for run in np.flatnonzero(high.any(1)).tolist():
        outputs = np.flatnonzero(high[run])
        loose = 1 + (~strong[run, outputs]).sum(1)
        likely = _beside(features[run], strong[run, outputs], own[outputs])
        found[run] += features[run].importance[outputs] * loose @ (likely * height[run, outputs]).sum(1)
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
