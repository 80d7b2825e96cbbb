"""Local bases: whether features that are active together are represented without superposition among themselves.

They may be, even though the model as a whole is in superposition (Elhage et al. 2022, "Local Almost-Orthogonal
Bases"). On the samples on which one set is active, PCA of the hidden activations h = Wᵀ x then finds the subspace
that its embeddings span, and their own rows read the features out of h. Both are measured here, each with its chance
level; a third measure is `interference_within`. PCA finds the subspace, but not the axes in it: among features of equal
variance no direction is principal.

A set is active if at least one of its features is. All moments are exact, and means are subtracted. `where` selects
the samples:

- "active": the set is active, and the others may be;
- "alone": the set is active, and all others are not;
- "everywhere": the whole distribution, for comparison.

Weights are NumPy arrays or DataArrays. Diverged matrices and malformed weights are treated as in
`tegum.analysis.geometry.measures`. Measures of sets have the shape (..., set), in the order of the sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, assert_never

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import ZERO_TOLERANCE, ArrayMeasure, Kind, Matrices
from tegum.analysis.linear.subspaces import (
    PerMatrix,
    basis_of,
    check_distribution,
    check_features,
    check_rank,
    matrix_shape,
    renamed,
)
from tegum.analysis.sets.collapse import of_sets, slices
from tegum.core import lapack
from tegum.core.arguments import refusing
from tegum.core.description import one_of
from tegum.core.features.distribution import FeatureDistribution, centred
from tegum.core.features.sets import FeatureSet, mixture_of
from tegum.core.features.tables import MixtureTable, RayTable

Where = Literal["active", "alone", "everywhere"]


class _Samples(NamedTuple):
    """The samples over which moments are taken."""

    active: bool
    """Only samples on which the set is active, rather than all."""
    others: bool
    """Whether other sets may be active."""


_SAMPLES: dict[Where, _Samples] = {
    "active": _Samples(active=True, others=True),
    "alone": _Samples(active=True, others=False),
    "everywhere": _Samples(active=False, others=True),
}

TIE = 1e-9
"""Variances that differ by less than this fraction of the largest count as equal."""

HiddenCovariances = Float[np.ndarray, "matrix hidden hidden"]
PerSet = Float[np.ndarray, "matrix set"]


class LocalMoments(NamedTuple):
    """The moments of x on some of the samples."""

    mean: Float[np.ndarray, " feature"]
    """The mean of each feature on these samples, shape (n,)."""
    covariance: Float[np.ndarray, "feature feature"]
    """The covariance of all pairs of features on these samples, shape (n, n)."""


class LocalBasis(NamedTuple):
    """Principal directions of hidden activations, as arrays or DataArrays."""

    directions: Any
    """The principal directions as orthonormal rows, by falling variance; shape (..., component, hidden). Their signs
    are arbitrary."""
    variances: Any
    """The variance along every principal direction, including those left out of `directions`; shape (..., axis)."""


@refusing
def local_moments(features: FeatureDistribution, number: int, where: Where = "active") -> LocalMoments:
    """Compute the exact mean and covariance of x on the samples on which one set is active.

    Sets are independent, and an inactive set is 0: given that set S is active, the second moments of x_S are those
    of the whole distribution divided by the probability that S is active, while the other features keep theirs, or
    are 0.

    Args:
        features: the feature distribution.
        number: the number of the set, from 0.
        where: the samples: "active" (the set is active), "alone" (and no other set is), or "everywhere".

    Returns:
        The mean, shape (n,), and the covariance, shape (n, n).

    Raises:
        ValueError: `features` is not a FeatureDistribution, there is no such set, `where` is none of the three, or
            the probability that a set of this kind is active is not known.

    Example:
        Where a correlated pair is active, both of its features are uniform on [0, 1]: mean 1/2, variance 1/12,
        independent.

        >>> import tegum as tg
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> moments = tg.local_moments(pairs, number=0)
        >>> moments.mean.round(6).tolist(), moments.covariance[0, :2].round(6).tolist()
        ([0.5, 0.5, 0.05, 0.05], [0.083333, 0.0])

    """
    check_distribution("local_moments", features)
    _check_set("local_moments", features, number)
    own, covariance = _own_covariance("local_moments", features, number, where)
    mean, whole = features.first_moment(), features.covariance()
    if _SAMPLES[where].active:
        mean[own] /= _probability("local_moments", features.sets[number])
    if not _SAMPLES[where].others:
        outside = np.setdiff1d(np.arange(features.n), np.arange(features.n)[own])
        mean[outside], whole[outside] = 0.0, 0.0
        whole[:, outside] = 0.0
    whole[own, own] = covariance
    return LocalMoments(mean, whole)


@refusing
def local_pca(
    weights: Kind, features: FeatureDistribution, number: int, rank: int | None = None, where: Where = "active"
) -> LocalBasis:
    """Compute the principal directions of the hidden activations h = Wᵀ x on the samples on which one set is active.

    They are the eigenvectors of Wᵀ Cov(x | active) W, with exact moments.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution.
        number: the number of the set, from 0.
        rank: the number of directions, from 1 to min(n, m); None is the size of the set, or m if that is smaller.
        where: the samples: "active" (the set is active), "alone" (and no other set is), or "everywhere".

    Returns:
        Directions, shape (..., rank, m), and variances, shape (..., m), in squared units of hidden activations; NaN
        for a diverged matrix. Among equal variances the directions are the solver's choice.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), `features` is not a distribution
            of as many features, `rank` is out of range, or as for `local_moments`.

    Example:
        Two pairs whose embeddings share a plane; on samples on which only the first is active, the plane has the
        variance 1/12 along each of that pair's two features.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> basis = tg.local_pca(np.concatenate([np.eye(2), -np.eye(2)]), pairs, number=0, where="alone")
        >>> basis.variances.round(6).tolist()
        [0.083333, 0.083333]

    """
    check_features("local_pca", weights, features)
    _check_set("local_pca", features, number)
    n, m = matrix_shape(weights) or (1, 1)
    check_rank("local_pca", rank, min(n, m))
    count = min(features.sets[number].features, m) if rank is None else rank
    covariances = _hidden_covariances("local_pca", features, where, [number])

    def rows(W: Matrices) -> Matrices:
        vectors = lapack.eigh(covariances(W, number))[1]
        answer = np.zeros_like(W)
        answer[:, :count] = vectors[..., ::-1].swapaxes(-1, -2)[:, :count]
        return answer

    def spectrum(W: Matrices) -> Float[np.ndarray, "matrix hidden"]:
        return np.maximum(lapack.eigvalsh(covariances(W, number))[:, ::-1], 0.0)

    directions = ArrayMeasure("directions", "principal directions of hidden activations", dims=("feature", "hidden"))
    variances = ArrayMeasure("variances", "variance along principal directions", dims=("hidden",))
    return LocalBasis(
        _components(directions.of(rows, weights, call="local_pca"), count),
        renamed(variances.of(spectrum, weights, call="local_pca"), "hidden", "axis", np.arange(m)),
    )


def sampled_pca(samples: Float[np.ndarray, "sample hidden"], rank: int) -> LocalBasis:
    """Compute the principal directions of samples, such as hidden activations; the mean is subtracted.

    Args:
        samples: shape (N, m), a NumPy array.
        rank: the number of directions, from 1 to m.

    Returns:
        Directions, shape (rank, m), and all m variances, with the sum of squares divided by N.

    Raises:
        ValueError: there are no samples, one is not finite, or `rank` is out of range.

    """
    if 0 in samples.shape or not np.isfinite(samples).all():
        raise ValueError(f"sampled_pca(samples of shape {samples.shape}): there must be samples, all of them finite")
    check_rank("sampled_pca", rank, samples.shape[1])
    centred = np.asarray(samples, np.float64) - samples.mean(0, dtype=np.float64)
    variances, axes = lapack.eigh(centred.T @ centred / len(samples))
    return LocalBasis(axes[:, ::-1].T[:rank], np.maximum(variances[::-1], 0.0))


@refusing
def captured_variance(directions: Kind, basis: Kind) -> Kind:
    """Compute the fraction of Σ_i ‖W_i‖² that lies in the span of a basis, over the rows W_i of `directions`.

    This is ‖W P‖² / ‖W‖² with the projector P on the span. As a null, a random subspace of rank r captures r/m in
    expectation, whatever the directions are.

    Args:
        directions: rows such as the embeddings of one set, shape (..., k, m) or a DataArray with dims feature and
            hidden.
        basis: rows that span the subspace, shape (..., r, m), such as `LocalBasis.directions`; of the same kind,
            with leading axes that broadcast. The rows may have any length, and be dependent.

    Returns:
        Fractions in [0, 1], shape (...); NaN if all directions are zero, and for a diverged matrix.

    Raises:
        ValueError: an argument has no axes (feature, hidden), holds no real numbers, or the two do not fit together.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> float(tg.captured_variance(np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([[2.0, 0.0]])))
        0.36

    """
    directions, basis = _rows_alike(directions, basis)

    def kernel(W: Matrices, B: Matrices) -> PerMatrix:
        return _share(W, basis_of(B.swapaxes(-1, -2), ZERO_TOLERANCE).swapaxes(-1, -2))

    measure = ArrayMeasure("captured_variance", "share of the squared norm in the span of the basis", dims=())
    return measure.of(kernel, directions, basis)


@refusing
def local_capture(
    weights: Kind, features: FeatureDistribution, rank: int | None = None, where: Where = "active"
) -> Kind:
    """Compute how much of each set's embeddings the local PCA of that set finds.

    This is `captured_variance` of the set's rows in the basis of `local_pca`; if variances tie at the end of the
    basis, the expectation over all choices is taken. For the null see `chance_capture`. A basis as large as hidden
    space captures everything, and where="alone" does so by construction, as nothing but the set is active. With
    where="everywhere" the basis is the principal subspace of the whole model, of the same rank. See Elhage et al.
    2022, "Local Almost-Orthogonal Bases".

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution.
        rank: the rank of the bases, from 1 to min(n, m); None is the size of each set, or m if that is smaller.
        where: the samples: "active" (the set is active), "alone" (and no other set is), or "everywhere".

    Returns:
        Fractions in [0, 1], shape (..., set); NaN for a diverged matrix.

    Raises:
        ValueError: as for `local_pca`.

    Example:
        Two pairs in orthogonal planes are found completely, although chance gives 2/4.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> tg.local_capture(np.eye(4), pairs).round(6).tolist()
        [1.0, 1.0]

    """
    check_features("local_capture", weights, features)
    n, m = matrix_shape(weights) or (1, 1)
    check_rank("local_capture", rank, min(n, m))
    covariances = _hidden_covariances("local_capture", features, where, range(len(features.sets)))

    def kernel(W: Matrices) -> PerSet:
        shares = []
        for number, own in enumerate(slices(features)):
            count = min(own.stop - own.start, m) if rank is None else rank
            variances, axes = lapack.eigh(covariances(W, number))
            part = _chosen(variances, count)
            shares.append(_share(W[:, own], np.sqrt(part)[..., None] * axes.swapaxes(-1, -2)))
        return np.stack(shares, -1)

    measure = ArrayMeasure("local_capture", "share of the set's embeddings that local PCA finds")
    return of_sets(measure, features, kernel, weights, "local_capture")


def chance_capture(features: FeatureDistribution, hidden: int, rank: int | None = None) -> Float[np.ndarray, " set"]:
    """Compute what random subspaces would capture in place of local PCA, in expectation: rank / m for each set.

    Args:
        features: the feature distribution.
        hidden: m, the number of hidden dimensions.
        rank: the rank of the bases, as in `local_capture`.

    Returns:
        Fractions in [0, 1], shape (set,).

    Raises:
        ValueError: `features` is not a FeatureDistribution, `hidden` is not an int of at least 1, or `rank` is out
            of range.

    """
    check_distribution("chance_capture", features)
    if isinstance(hidden, bool) or not isinstance(hidden, int | np.integer) or hidden < 1:
        raise ValueError(f"chance_capture(hidden={hidden!r}): hidden must be an int of at least 1")
    check_rank("chance_capture", rank, min(features.n, hidden))
    sizes = [each.features if rank is None else rank for each in features.sets]
    return np.minimum(sizes, hidden) / hidden


@refusing
def readout_error(
    weights: Kind, features: FeatureDistribution, where: Where = "active", scale: float | None = None
) -> Kind:
    """Compute how badly each set's own embeddings read its features out of the hidden activations.

    The error is E‖x_S − s W_S h − c‖² / E‖x_S − E x_S‖², with the linear, tied read-out W_S h = W_S Wᵀ x and the
    best constant c; expectations are over the samples of `where`. 0 is perfect, and a read-out that knows nothing
    has 1. What is lost is due to interference within the set and, except for where="alone", between sets. A linear
    regression would be perfect whenever W_S has independent rows and nothing else is active; the tied read-out is so
    only if these rows are orthogonal and of equal length. Importances do not enter.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution.
        where: the samples: "active" (the set is active), "alone" (and no other set is), or "everywhere".
        scale: s, the same for all features; None is the best one for each set, with which the error is at most 1.

    Returns:
        Relative errors, at least 0, shape (..., set); NaN for a diverged matrix, and for a set that does not vary on
        these samples, as one of constant magnitudes that are active together.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), `features` is not a distribution
            of as many features, `scale` is not finite, or as for `local_moments`.

    Example:
        Orthogonal embeddings are read out perfectly; a pair that shares one direction gets only its sum across,
        which leaves half of the variance.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pair = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)])
        >>> tg.readout_error(np.stack([np.eye(2), [[1, 0], [1, 0]]]), pair).round(6).tolist()
        [[0.0], [0.5]]

    """
    check_features("readout_error", weights, features)
    if scale is not None and not np.isfinite(scale):
        raise ValueError(f"readout_error(scale={scale!r}): scale must be finite, or None for the best")
    covariances = _hidden_covariances("readout_error", features, where, range(len(features.sets)))
    parts = slices(features)
    own_covariances = [_own_covariance("readout_error", features, number, where)[1] for number in range(len(parts))]

    def kernel(W: Matrices) -> PerSet:
        errors = []
        for number, (own, covariance) in enumerate(zip(parts, own_covariances, strict=True)):
            rows = W[:, own]
            # tr G_SS Σ_SS, and the variance tr W_S Cov(h) W_Sᵀ of the read-out.
            signal = np.einsum("bih,ij,bjh->b", rows, covariance, rows, optimize=True)
            power = np.einsum("bih,bhk,bik->b", rows, covariances(W, number), rows, optimize=True)
            best = np.divide(signal, power, out=np.zeros_like(power), where=power > 0)
            s = best if scale is None else scale
            variance = np.trace(covariance) or np.nan
            errors.append(1 + (s * s * power - 2 * s * signal) / variance)
        return np.maximum(np.stack(errors, -1), 0.0)

    measure = ArrayMeasure("readout_error", "share of the set's variance that its tied read-out misses")
    return of_sets(measure, features, kernel, weights, "readout_error")


def _hidden_covariances(
    call: str, features: FeatureDistribution, where: Where, numbers: Iterable[int]
) -> Callable[[Matrices, int], HiddenCovariances]:
    """The covariance of h on the samples of each of these sets, as a function of weights and the set's number."""
    parts, whole = slices(features), features.covariance()
    local = {number: _own_covariance(call, features, number, where)[1] for number in numbers}

    def covariance(W: Matrices, number: int) -> HiddenCovariances:
        own = parts[number]
        answer = W[:, own].swapaxes(-1, -2) @ local[number] @ W[:, own]
        if _SAMPLES[where].others:
            others = W.copy()
            others[:, own] = 0.0
            answer = answer + others.swapaxes(-1, -2) @ (whole @ others)
        return answer

    return covariance


def _own_covariance(call: str, features: FeatureDistribution, number: int, where: Where) -> tuple[slice, np.ndarray]:
    """A set's features, and their covariance on the samples."""
    if not isinstance(where, str) or where not in _SAMPLES:
        raise ValueError(f"{call}(where={where!r}): where must be {one_of(_SAMPLES)}")
    given = features.sets[number]
    often = _probability(call, given) if _SAMPLES[where].active else 1.0
    mean = given.first_moment() / often
    return slices(features)[number], centred(given.second_moment() / often, mean)


def _probability(call: str, given: FeatureSet) -> float:
    """The probability that at least one feature of a set is active."""
    table = mixture_of(given) or given.transform()
    match table:
        case MixtureTable(weights, gates):
            return float(weights @ (1 - np.prod(1 - gates, -1)))
        case RayTable(weights):
            return float(weights.sum())
        case None:
            raise ValueError(
                f"{call}(features with {given!r}): the probability that a set of this kind is active is not known"
            )
        case _:
            assert_never(table)


def _chosen(variances: Float[np.ndarray, "matrix axis"], count: int) -> Float[np.ndarray, "matrix axis"]:
    """1 for the axes of the `count` largest variances, 0 for others; axes that tie for the last places share them."""
    last = np.sort(variances, -1)[:, -count, None]
    margin = TIE * np.abs(variances).max(-1, keepdims=True)
    above = variances > last + margin
    tied = ~above & (variances >= last - margin)
    return above + tied * (count - above.sum(-1, keepdims=True)) / tied.sum(-1, keepdims=True)


def _share(W: Matrices, rows: Float[np.ndarray, "matrix component hidden"]) -> PerMatrix:
    total = np.square(W).sum((-2, -1))
    inside = np.square(W @ rows.swapaxes(-1, -2)).sum((-2, -1))
    return np.minimum(np.divide(inside, total, out=np.full_like(total, np.nan), where=total > 0), 1.0)


def _components(rows: Any, count: int) -> Any:
    if hasattr(rows, "dims"):
        return renamed(rows, "feature", "component", np.arange(count))
    return rows[..., :count, :]


def _rows_alike(directions: Any, basis: Any) -> tuple[Any, Any]:
    """Pad both to the same number of rows with zeros, and give both the dimension names of weights."""
    if hasattr(basis, "dims") and "component" in basis.dims:
        basis = basis.rename(component="feature")
    shapes = matrix_shape(directions), matrix_shape(basis)
    if shapes[0] is None or shapes[1] is None:
        return directions, basis
    count = max(shapes[0][0], shapes[1][0])
    return _with_rows(directions, count), _with_rows(basis, count)


def _with_rows(weights: Any, count: int) -> Any:
    if not hasattr(weights, "dims"):
        given = np.asarray(weights)
        return np.pad(given, [(0, 0)] * (given.ndim - 2) + [(0, count - given.shape[-2]), (0, 0)])
    bare = weights.drop_vars([name for name, held in weights.coords.items() if "feature" in held.dims])
    return bare.pad(feature=(0, count - bare.sizes["feature"]), constant_values=0)


def _check_set(call: str, features: FeatureDistribution, number: int) -> None:
    last = len(features.sets) - 1
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number <= last:
        raise ValueError(f"{call}(number={number!r}): number must be an int from 0 to {last}, the number of a set")
