"""The best linear model, and how near the embeddings come to it: principal subspaces, principal angles.

Toy models pass for PCA where features are dense, and early in training (Elhage et al., "Toy Models of
Superposition", 2022): these are the measures that say so. Principal means: of the importance-weighted covariance
C_I = √I C √I, with C the covariance of x and √I the diagonal matrix of roots of importances. Where all importances
are 1 that is plain PCA.

Weights come as numpy arrays or DataArrays, and diverged ones are treated, as in `tegum.analysis.geometry.measures`;
every measure raises ValueError as said there. It says itself what else it refuses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import ZERO_TOLERANCE, Kind, Matrices, Measure
from tegum.analysis.linear.subspaces import (
    Angles,
    PerMatrix,
    angles_between,
    basis_of,
    check_distribution,
    check_features,
    check_rank,
    check_tolerance,
    dimensions,
    matrix_shape,
)
from tegum.core import lapack
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.limits import check_memory
from tegum.core.loss.linear import missed_at_best_bias

DEGENERATE = 1e-6
"""Eigenvalues that differ by no more than this part of the largest one count as equal."""

ROUNDING = 1e-12
"""Of the total variance: a smaller difference of losses, or covariance, is rounding."""


class LinearOptimum(NamedTuple):
    """A best linear model x̂ = W Wᵀ x + b, and the losses of the best ones of lower rank."""

    weights: Float[np.ndarray, "feature hidden"]
    """Orthogonal columns, the longest first; one of a family, as hidden space can be rotated."""
    bias: Float[np.ndarray, " feature"]
    """(1 − W Wᵀ) E[x], the best for these weights."""
    loss: float
    """The importance-weighted sum over features of the expected squared error."""
    losses: Float[np.ndarray, " rank"]
    """The same for the best W Wᵀ of rank 0, 1, … m at most; the last is `loss`."""
    bounds: Float[np.ndarray, " rank"]
    """The loss of the best x̂ = A x + b of each rank, tied or not: what equals its bound is proven to be the best."""
    eigenvalues: Float[np.ndarray, " feature"]
    """Of the weighted covariance, falling: the weighted variance along its principal directions."""
    gap: float
    """Eigenvalue m minus eigenvalue m + 1, infinite where m ≥ n. Zero: other subspaces are as good."""
    closed_form: bool
    """Whether the optimum is the closed form, and not found by descent."""


@refusing
def linear_optimum(features: FeatureDistribution, hidden: int, *, starts: int = 16, key: int = 0) -> LinearOptimum:
    """The optimum of the tied linear model x̂ = W Wᵀ x + b, and the losses of the best ones of each lower rank.

    The bias is (1 − W Wᵀ) E[x], which leaves tr[I (1 − G) C (1 − G)] with G = W Wᵀ, positive semidefinite of rank m
    at most. Over all G of that rank, symmetric or not, the least is the sum of the eigenvalues of C_I = √I C √I from
    m + 1 on, at G = √I⁻¹ P √I, P being the projector on the first m principal directions of C_I (reduced-rank
    regression: Izenman, Journal of Multivariate Analysis 5, 1975; for autoencoders Baldi & Hornik, Neural Networks
    2, 1989). Two cases follow:

    - *Closed form*, where P and I commute: G = P is symmetric, reaches that bound, and is the optimum. So it is
      whenever importances are equal within each set of correlated features, for then C_I has principal directions
      of one importance each. Directions of eigenvalue 0 are left out.
    - *By descent* otherwise: a tied model in general cannot reach the bound, and has no closed form here. L-BFGS
      descends from P, from the principal directions of C, from the optimum of one rank less with the direction of
      steepest descent added, and from `starts` random weights. Descents do end in local optima (they have chosen
      another subset of features), so that the answer is the best one found; the true one lies between `bounds` and
      it. That takes about a second for ten features, and a minute for eighty with m = 20.

    Args:
        features: the feature distribution, with its importances.
        hidden: the number m of hidden dimensions.
        starts: how many random starts at each rank, at least 0.
        key: of the random numbers.

    Raises:
        ValueError: features are no FeatureDistribution, hidden is no int of at least 1, or starts none of at least 0.

    """
    check_distribution("linear_optimum", features)
    _check_count("linear_optimum", "hidden", hidden, 1)
    _check_count("linear_optimum", "starts", starts, 0)
    size = 8 * features.n * (hidden * (2 * int(starts) + 6) + 6 * features.n)
    call = f"linear_optimum(hidden={hidden}, starts={starts})"
    check_memory(call, f"the starts of {features.n:,} features", size, "fewer starts or dimensions fit")
    n, mean, importance = features.n, features.first_moment(), features.importance
    spectrum, axes = principal_axes(features)
    bounds = np.append(np.cumsum(spectrum[::-1])[::-1], np.zeros(max(0, hidden - n) + 1))[: hidden + 1]
    # All at a size near 1, in which the tolerances of the descent are meant.
    unit, peak = importance.max() or 1.0, np.trace(features.covariance())
    scaled = (features.covariance() / peak, importance / unit)
    rng = np.random.default_rng(key)
    losses, best, proven = bounds.copy(), np.zeros((n, 0)), True
    for rank in range(1, hidden + 1):
        closed = _closed_form(spectrum, axes, scaled, rank)
        proven = closed is not None
        if closed is not None:
            best = closed
            continue
        first, pca = axes[:, :rank], lapack.eigh(scaled[0])[1][:, ::-1][:, :rank]
        begin = [first, pca, _one_more(best, *scaled)]
        begin += [rng.normal(size=first.shape) / np.sqrt(n) for _ in range(starts)]
        # A start may be a saddle, which a descent does not leave by itself.
        found = [_descended(W + 1e-4 * rng.normal(size=W.shape), *scaled, stop=1e-9) for W in begin]
        loss, best = _descended(min(found, key=lambda each: each[0])[1], *scaled, stop=1e-15)
        losses[rank] = max(min(loss * unit * peak, losses[rank - 1]), bounds[rank])
    weights = np.zeros((n, hidden))
    weights[:, : best.shape[1]] = _orthogonal_columns(best)[:, :hidden]
    bias = mean - weights @ (weights.T @ mean)
    gap = max(0.0, float(spectrum[hidden - 1] - spectrum[hidden])) if hidden < n else np.inf
    return LinearOptimum(weights, bias, float(losses[-1]), losses, bounds, spectrum, gap, proven)


def principal_axes(
    features: FeatureDistribution,
) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, "feature feature"]]:
    """Eigenvalues of the weighted covariance √I C √I, falling, and its eigenvectors as columns in that order.

    Each eigenvector lies in one group of correlated features, also where two groups share an eigenvalue. Equal
    eigenvalues within a group leave a choice, which is the solver's. Raises ValueError if features are no
    FeatureDistribution.
    """
    check_distribution("principal_axes", features)
    root = np.sqrt(features.importance)
    weighted = root[:, None] * features.covariance() * root
    spread = np.sqrt(weighted.diagonal())
    from scipy.sparse.csgraph import connected_components

    groups, label = connected_components(np.abs(weighted) > ROUNDING * np.outer(spread, spread), directed=False)
    values, axes = np.zeros(features.n), np.zeros_like(weighted)
    for group in range(groups):
        own = np.flatnonzero(label == group)
        values[own], axes[np.ix_(own, own)] = lapack.eigh(weighted[np.ix_(own, own)])
    # Stable, and rounded: equal groups keep the order of their features.
    order = np.argsort(-np.round(values / (values.max() or 1.0), 12), kind="stable")
    return np.maximum(values[order], 0.0), axes[:, order]


@refusing
def pca_likeness(
    weights: Kind, features: FeatureDistribution, rank: int | None = None, tolerance: float = ZERO_TOLERANCE
) -> Kind:
    """The part of the variance of the principal subspace that the column space of W captures; in [0, 1], (...).

    tr(P C_I) / (λ_1 + … + λ_r), where P projects on the leading r left singular directions of W and λ are the
    falling eigenvalues of the weighted covariance C_I. No r directions capture more (Ky Fan), so it is 1 exactly
    where W spans a principal subspace, and where eigenvalues r and r + 1 are equal any of the subspaces that tie is
    one. The price is that directions of nearly equal variance are nearly as good: for that there is `angle_to_pca`.
    A random subspace has the expectation (r/n) tr C_I / (λ_1 + … + λ_r), and where all eigenvalues are equal
    every subspace has 1: what counts is how far above that a model lies.

    Norms of W do not count, only what it spans. Where importances differ among correlated features, the tied
    optimum itself (`linear_optimum`) spans no principal subspace and lies a little below 1.

    Args:
        weights: shape (..., n, m).
        features: the feature distribution, with its importances.
        rank: r, from 1 to min(n, m), which is the default. A smaller one asks for what a model has learned first.
        tolerance: a singular value of no more than this part of the largest is zero, in [0, 1).

    Raises:
        ValueError: as said for the module; features do not fit the weights, or have no importance; rank or tolerance
            lies outside its range.

    """
    rank = _checked("pca_likeness", weights, features, rank, tolerance)
    root = np.sqrt(features.importance)
    weighted = root[:, None] * features.covariance() * root
    most = principal_axes(features)[0][:rank].sum()

    def kernel(W: Matrices) -> PerMatrix:
        basis = basis_of(W, tolerance, rank)
        return np.clip((basis * (weighted @ basis)).sum((-2, -1)) / most, 0.0, 1.0)

    return Measure("pca_likeness", "captured part of the principal variance", dims=()).of(kernel, weights)


@refusing
def angle_to_pca(
    weights: Kind, features: FeatureDistribution, rank: int | None = None, tolerance: float = ZERO_TOLERANCE
) -> Kind:
    """The angle between the column space of W and the nearest principal subspace, in radians in [0, π/2]; (...).

    Let V be the span of the leading r left singular directions of W, U₊ that of the principal directions with
    eigenvalues above λ_r and U that of those with λ_r or more. V is a principal subspace where it holds U₊ and lies in
    U; the angle is the larger of the largest angles from U₊ to V and from V to U (eigenvalues equal within
    `DEGENERATE`). Without ties it is the largest principal angle between V and the principal subspace. It is π/2
    where W has too small a rank: the angle then is to a direction that W lacks.

    Unlike `pca_likeness` it tells directions apart whose variances are nearly, but not quite, equal.

    Args:
        weights: shape (..., n, m).
        features: the feature distribution, with its importances.
        rank: as in `pca_likeness`.
        tolerance: as in `pca_likeness`.

    Raises:
        ValueError: as `pca_likeness`.

    """
    rank = _checked("angle_to_pca", weights, features, rank, tolerance)
    spectrum, axes = principal_axes(features)
    margin = DEGENERATE * spectrum[0]
    last = spectrum[rank - 1]
    above, within = axes[:, spectrum > last + margin], axes[:, spectrum >= last - margin]
    # Directions without variance are held by every principal subspace, or by none.
    needed = min(rank, np.count_nonzero(spectrum > margin))

    def kernel(W: Matrices) -> PerMatrix:
        basis = basis_of(W, tolerance, rank)
        sides = [np.broadcast_to(axes, (len(W), *axes.shape)) for axes in (above, within)]
        angle = np.maximum(*(_largest(angles_between(basis, side)) for side in sides))
        return np.where(dimensions(basis) < needed, np.pi / 2, angle)

    measure = Measure("angle_to_pca", "angle to the principal subspace", units="rad", dims=(), pairwise=True)
    return measure.of(kernel, weights)


def _closed_form(
    spectrum: np.ndarray, axes: np.ndarray, scaled: tuple[np.ndarray, np.ndarray], rank: int
) -> np.ndarray | None:
    """The first principal directions, without those of eigenvalue 0 or with them, if P and I commute on them."""
    covariance, importance = scaled
    first = axes[:, :rank]
    lasting = first * (spectrum[:rank] > len(spectrum) * np.finfo(float).eps * spectrum[0])
    total = importance @ covariance.diagonal()
    bound = total * spectrum[rank:].sum() / (spectrum.sum() or 1.0)
    for W in (lasting, first):
        # The loss exceeds the bound by the square of what fails to commute.
        if _loss(W, *scaled)[0] <= bound + ROUNDING * total:
            return W
    return None


def _loss(W: np.ndarray, covariance: np.ndarray, importance: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss with the best bias, and its gradient −2 (S + Sᵀ) W in one row (`tegum.core.loss.linear`)."""
    missed, slope = missed_at_best_bias(W, covariance, importance)
    return float((slope * missed).sum()), (-2 * (slope + slope.T) @ W).ravel()


def _descended(W: np.ndarray, covariance: np.ndarray, importance: np.ndarray, stop: float) -> tuple[float, np.ndarray]:
    """Loss and weights where a step lowers the loss by less than `stop`, or after 2,000 steps."""
    from scipy.optimize import minimize

    options = {"maxiter": 2_000, "maxfun": 5_000, "maxcor": 5, "ftol": stop, "gtol": 1e-10}
    end = minimize(
        lambda row: _loss(row.reshape(W.shape), covariance, importance),
        W.ravel(),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    return float(end.fun), end.x.reshape(W.shape)


def _one_more(W: np.ndarray, covariance: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """W with one more column, along which the loss falls most steeply in G."""
    _, slope = missed_at_best_bias(W, covariance, importance)
    return np.column_stack([W, lapack.eigh(slope + slope.T)[1][:, -1] / 2])


def _orthogonal_columns(W: np.ndarray) -> np.ndarray:
    left, lengths, _ = lapack.svd(W, full_matrices=False)
    # Equal lengths, as of a projector, leave a choice: the columns as they are.
    if np.allclose(W.T @ W, np.diag(np.square(W).sum(0)), rtol=0, atol=1e-14):
        return W
    return left * lengths


def _largest(angles: Angles) -> PerMatrix:
    return np.where(np.isnan(angles), 0.0, angles).max(-1, initial=0.0)


def _checked(call: str, weights: Any, features: Any, rank: int | None, tolerance: float) -> int:
    """The rank that is asked for, once everything but the entries of the weights is known to be right."""
    check_features(call, weights, features)
    check_tolerance(call, tolerance)
    if not features.importance.any():
        raise ValueError(f"{call}(features of importance 0): at least one feature must have an importance above 0")
    most = min(matrix_shape(weights) or (1, 1))
    check_rank(call, rank, most)
    return most if rank is None else int(rank)


def _check_count(call: str, name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{call}({name}={value!r}): {name} must be an int of at least {least}")
