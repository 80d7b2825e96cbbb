"""The best linear model and how close embeddings come to it: principal subspaces and principal angles.

Toy models resemble PCA where features are dense, and early in training (Elhage et al. 2022); these measures quantify
that. "Principal" refers to the importance-weighted covariance C_I = √I C √I, where C is the covariance of x and √I
the diagonal matrix of roots of importances. If all importances are 1 this is plain PCA.

Weights are NumPy arrays or DataArrays. Diverged matrices and malformed weights are treated as in
`tegum.analysis.geometry.measures`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import ZERO_TOLERANCE, ArrayMeasure, Kind, Matrices
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
"""Eigenvalues that differ by no more than this fraction of the largest one count as equal."""

VARIANCE_ROUNDING = 1e-12
"""The fraction of the total variance below which a difference of losses, or a covariance, is rounding."""


class LinearOptimum(NamedTuple):
    """A best linear model x̂ = W Wᵀ x + b, and the losses of the best models of lower rank.

    Example:
        A correlated pair of density 0.36 has the covariance [[0.0876, 0.0576], [0.0576, 0.0876]]. Its principal
        component has the variance 0.1452, and the best model in one dimension loses the remaining 0.03.

        >>> import tegum as tg
        >>> pair = tg.FeatureDistribution([tg.Correlated(size=2, density=0.36)])
        >>> optimum = tg.linear_optimum(pair, hidden=1)
        >>> optimum.eigenvalues.round(6).tolist(), round(optimum.loss, 6)
        ([0.1452, 0.03], 0.03)

    """

    weights: Float[np.ndarray, "feature hidden"]
    """The optimal W, shape (n, m), with orthogonal columns, the longest first; rotations of hidden space are as good.
    """
    bias: Float[np.ndarray, " feature"]
    """The best bias for these weights, (1 − W Wᵀ) E[x]; shape (n,)."""
    loss: float
    """The loss at the optimum, the importance-weighted sum over features of the expected squared error."""
    losses: Float[np.ndarray, " rank"]
    """The loss of the best W Wᵀ of rank at most 0, 1, …, m; the last one is `loss`."""
    bounds: Float[np.ndarray, " rank"]
    """The loss of the best x̂ = A x + b of each rank, tied or not; a loss equal to its bound is proven optimal."""
    eigenvalues: Float[np.ndarray, " feature"]
    """The eigenvalues of the weighted covariance, falling: the weighted variance along its principal directions."""
    gap: float
    """Eigenvalue m minus eigenvalue m + 1, infinite if m ≥ n; at zero, other subspaces are as good."""
    closed_form: bool
    """Whether the optimum is the closed form rather than the best result of descents."""


@refusing
def linear_optimum(features: FeatureDistribution, hidden: int, *, starts: int = 16, key: int = 0) -> LinearOptimum:
    """Find the best tied linear model x̂ = W Wᵀ x + b, and the losses of the best models of each lower rank.

    With the best bias (1 − W Wᵀ) E[x] the loss is tr[I (1 − G) C (1 − G)], where G = W Wᵀ is positive semidefinite
    of rank at most m. Over all G of that rank, symmetric or not, the minimum is the sum of the eigenvalues of C_I =
    √I C √I from m + 1 on, at G = √I⁻¹ P √I, with P the projector on the first m principal directions of C_I
    (reduced-rank regression: Izenman, Journal of Multivariate Analysis 5, 1975; for autoencoders: Baldi & Hornik,
    Neural Networks 2, 1989). There are two cases:

    - *Closed form*, if P and I commute: G = P is then symmetric, reaches that bound, and is the optimum. This is so
      whenever importances are equal within each set of correlated features, as each principal direction of C_I then
      involves one importance. Directions with eigenvalue 0 are left out.
    - *Descent* otherwise: a tied model cannot in general reach the bound, and no closed form is known to us. L-BFGS
      descends from P, from the principal directions of C, from the optimum of rank one less with the direction of
      steepest descent added, and from `starts` random weights. Descents do end in local optima (which select other
      features), so that the result is the best one found, and the true optimum lies between `bounds` and it. This
      takes about a second for ten features, and a minute for eighty with m = 20.

    Args:
        features: the feature distribution, with its importances.
        hidden: the number m of hidden dimensions.
        starts: the number of random starts at each rank, at least 0.
        key: the seed of the random starts.

    Returns:
        The optimum, with its loss and the bound that proves it or limits it.

    Raises:
        ValueError: `features` is not a FeatureDistribution, `hidden` is not an int of at least 1, `starts` is not an
            int of at least 0, or the computation does not fit in memory.

    Example:
        For independent features of equal density the best linear model keeps any m of them, and loses the variance
        p/3 − p²/4 of each of the others.

        >>> import tegum as tg
        >>> features = tg.FeatureDistribution([tg.Independent(count=3, density=0.3)])
        >>> optimum = tg.linear_optimum(features, hidden=2)
        >>> optimum.losses.round(6).tolist(), optimum.closed_form
        ([0.2325, 0.155, 0.0775], True)

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
    # Rescaled to about 1, the scale that the tolerances of the descent assume.
    unit, peak = importance.max() or 1.0, np.trace(features.covariance()) or 1.0
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
        # Starts are perturbed: one that is a saddle would not be left by descent.
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
    """Diagonalise the weighted covariance √I C √I.

    Each eigenvector lies within one group of correlated features, even if two groups share an eigenvalue. Equal
    eigenvalues within a group leave a choice, which is the solver's.

    Args:
        features: the feature distribution, with its importances.

    Returns:
        Eigenvalues, falling, and eigenvectors as columns in the same order.

    Raises:
        ValueError: `features` is not a FeatureDistribution.

    """
    check_distribution("principal_axes", features)
    root = np.sqrt(features.importance)
    weighted = root[:, None] * features.covariance() * root
    spread = np.sqrt(weighted.diagonal())
    from scipy.sparse.csgraph import connected_components

    groups, label = connected_components(
        np.abs(weighted) > VARIANCE_ROUNDING * np.outer(spread, spread), directed=False
    )
    values, axes = np.zeros(features.n), np.zeros_like(weighted)
    for group in range(groups):
        own = np.flatnonzero(label == group)
        values[own], axes[np.ix_(own, own)] = lapack.eigh(weighted[np.ix_(own, own)])
    # A stable sort of rounded values, so that equal groups keep the order of their features.
    order = np.argsort(-np.round(values / (values.max() or 1.0), 12), kind="stable")
    return np.maximum(values[order], 0.0), axes[:, order]


def axes_of_sets(call: str, features: FeatureDistribution) -> Float[np.ndarray, "feature set"]:
    """The leading principal directions, one of each set, in falling order of their eigenvalues.

    Args:
        call: the function that errors name.
        features: the feature distribution, with its importances.

    Returns:
        The directions as columns, as many as there are sets.

    Raises:
        ValueError: no feature of importance above 0 varies, or of the leading directions two belong to one set.

    """
    count = len(features.sets)
    values, axes = principal_axes(features)
    if not values.any():
        raise ValueError(f"{call}(features without variance): one at least must vary, and have an importance above 0")
    axes = axes[:, :count]
    own = features.set_of_feature[np.abs(axes).argmax(0)]
    if len(np.unique(own)) < count:
        twice = int(np.argmax(np.bincount(own)))
        rule = f"the {count} leading principal directions must be one of each set; set {twice} has several of them"
        raise ValueError(f"{call}(features of {count} sets): {rule}")
    return axes


@refusing
def pca_likeness(
    weights: Kind, features: FeatureDistribution, rank: int | None = None, tolerance: float = ZERO_TOLERANCE
) -> Kind:
    """Compute the fraction of the principal variance that the column space of W captures.

    This is tr(P C_I) / (λ_1 + … + λ_r), where P projects on the leading r left singular directions of W and λ are
    the eigenvalues of the weighted covariance C_I, falling. No r directions capture more (Ky Fan), so that the
    fraction is 1 exactly if W spans a principal subspace; if eigenvalues r and r + 1 are equal, any of the tied
    subspaces will do. Directions of nearly equal variance are therefore nearly as good; `angle_to_pca` distinguishes
    them. As a null, a random subspace has the expectation (r/n) tr C_I / (λ_1 + … + λ_r), and if all eigenvalues are
    equal every subspace has 1: what counts is how far above this value a model lies.

    Norms of W do not matter, only its span. If importances differ among correlated features, the tied optimum itself
    (`linear_optimum`) spans no principal subspace and lies a little below 1.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, with its importances.
        rank: r, from 1 to min(n, m), which is the default. A smaller one asks for what a model has learned first.
        tolerance: a singular value no larger than this fraction of the largest counts as zero, in [0, 1).

    Returns:
        Fractions in [0, 1], shape (...); NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden); `features` is not a distribution
            of as many features, or none of importance above 0 varies; rank or tolerance is out of range.

    Example:
        For a correlated pair of density 0.36 the principal component has variance 0.1452, and either feature alone
        0.0876.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pair = tg.FeatureDistribution([tg.Correlated(size=2, density=0.36)])
        >>> tg.pca_likeness(np.array([[[1.0], [1.0]], [[1.0], [0.0]]]), pair).round(4).tolist()
        [1.0, 0.6033]
        >>> round(0.0876 / 0.1452, 4)
        0.6033

    """
    rank = _checked("pca_likeness", weights, features, rank, tolerance)
    root = np.sqrt(features.importance)
    weighted = root[:, None] * features.covariance() * root
    most = principal_axes(features)[0][:rank].sum()

    def kernel(W: Matrices) -> PerMatrix:
        basis = basis_of(W, tolerance, rank)
        return np.clip((basis * (weighted @ basis)).sum((-2, -1)) / most, 0.0, 1.0)

    return ArrayMeasure("pca_likeness", "captured part of the principal variance", dims=()).of(kernel, weights)


@refusing
def angle_to_pca(
    weights: Kind, features: FeatureDistribution, rank: int | None = None, tolerance: float = ZERO_TOLERANCE
) -> Kind:
    """Compute the angle between the column space of W and the nearest principal subspace.

    Let V be the span of the leading r left singular directions of W, U₊ the span of the principal directions with
    eigenvalues above λ_r, and U that of those with eigenvalues of at least λ_r. V is a principal subspace if it
    contains U₊ and lies in U; the angle is the larger of the largest principal angles from U₊ to V and from V to U
    (eigenvalues are equal within `DEGENERATE`). Without ties it is the largest principal angle between V and the
    principal subspace. It is π/2 if the rank of W is too small: the angle is then that to a direction which W lacks.

    Unlike `pca_likeness`, it distinguishes directions whose variances are nearly, but not quite, equal.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, with its importances.
        rank: r, from 1 to min(n, m), which is the default.
        tolerance: a singular value no larger than this fraction of the largest counts as zero, in [0, 1).

    Returns:
        Angles in [0, π/2], in radians, shape (...); NaN for a diverged matrix.

    Raises:
        ValueError: as for `pca_likeness`.

    Example:
        Representing one feature of a correlated pair is 45° away from their principal component.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pair = tg.FeatureDistribution([tg.Correlated(size=2, density=0.36)])
        >>> np.degrees(tg.angle_to_pca(np.array([[[1.0], [1.0]], [[1.0], [0.0]]]), pair)).round(6).tolist()
        [0.0, 45.0]

    """
    rank = _checked("angle_to_pca", weights, features, rank, tolerance)
    spectrum, axes = principal_axes(features)
    margin = DEGENERATE * spectrum[0]
    last = spectrum[rank - 1]
    above, within = axes[:, spectrum > last + margin], axes[:, spectrum >= last - margin]
    # Directions without variance do not count towards the rank that is needed.
    needed = min(rank, np.count_nonzero(spectrum > margin))

    def kernel(W: Matrices) -> PerMatrix:
        basis = basis_of(W, tolerance, rank)
        sides = [np.broadcast_to(axes, (len(W), *axes.shape)) for axes in (above, within)]
        angle = np.maximum(*(_largest(angles_between(basis, side)) for side in sides))
        return np.where(dimensions(basis) < needed, np.pi / 2, angle)

    measure = ArrayMeasure("angle_to_pca", "angle to the principal subspace", units="rad", dims=(), pairwise=True)
    return measure.of(kernel, weights)


def _closed_form(
    spectrum: np.ndarray, axes: np.ndarray, scaled: tuple[np.ndarray, np.ndarray], rank: int
) -> np.ndarray | None:
    """The first principal directions, with or without those of eigenvalue 0, if P and I commute on them; else None."""
    covariance, importance = scaled
    first = axes[:, :rank]
    lasting = first * (spectrum[:rank] > len(spectrum) * np.finfo(float).eps * spectrum[0])
    total = importance @ covariance.diagonal()
    bound = total * spectrum[rank:].sum() / (spectrum.sum() or 1.0)
    for W in (lasting, first):
        # The loss exceeds the bound by the square of the commutator.
        if _loss(W, *scaled)[0] <= bound + VARIANCE_ROUNDING * total:
            return W
    return None


def _loss(W: np.ndarray, covariance: np.ndarray, importance: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss with the best bias, and its gradient −2 (S + Sᵀ) W, flattened (`tegum.core.loss.linear`)."""
    missed, slope = missed_at_best_bias(W, covariance, importance)
    return float((slope * missed).sum()), (-2 * (slope + slope.T) @ W).ravel()


def _descended(W: np.ndarray, covariance: np.ndarray, importance: np.ndarray, stop: float) -> tuple[float, np.ndarray]:
    """Descend until a step lowers the loss by less than `stop`, or for 2,000 steps; return the loss and the weights."""
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
    # If lengths are equal, as for a projector, any rotation would do: keep columns that are orthogonal already.
    if np.allclose(W.T @ W, np.diag(np.square(W).sum(0)), rtol=0, atol=1e-14):
        return W
    return left * lengths


def _largest(angles: Angles) -> PerMatrix:
    return np.where(np.isnan(angles), 0.0, angles).max(-1, initial=0.0)


def _checked(call: str, weights: Any, features: Any, rank: int | None, tolerance: float) -> int:
    """Check everything but the entries of the weights, and return the requested rank."""
    check_features(call, weights, features)
    check_tolerance(call, tolerance)
    if not (features.importance * features.covariance().diagonal()).any():
        rule = "at least one feature must vary, and have an importance above 0"
        raise ValueError(f"{call}(features without variance, or of importance 0): {rule}")
    most = min(matrix_shape(weights) or (1, 1))
    check_rank(call, rank, most)
    return most if rank is None else int(rank)


def _check_count(call: str, name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{call}({name}={value!r}): {name} must be an int of at least {least}")
