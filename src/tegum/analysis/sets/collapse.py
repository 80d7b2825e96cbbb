"""What becomes of the features of a set: collapsed into one direction, or apart; interference within and between sets.

Correlated features may share one direction, that of their principal component (Elhage et al., "Toy Models of
Superposition", 2022). Or they stand apart, nearly orthogonal, while they interfere with other sets.

Weights come as numpy arrays or DataArrays, and diverged ones are treated, as in `tegum.analysis.geometry.measures`;
every measure raises ValueError as said there, or where features are no FeatureDistribution of as many features as the
weights. It says itself what else it refuses. Measures of sets are of shape (..., set), in the order of the sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tegum.analysis.geometry.measures import ArrayMeasure, Kind, Matrices
from tegum.analysis.geometry.polytopes import COLLAPSED_COSINE
from tegum.analysis.linear.subspaces import check_features, renamed
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution

NORM_RATIO = 0.5
"""The least ratio of norms of two collapsed features: a nearly dropped one points anywhere."""

ABSENT_NORM = 0.1
"""The part of the longest row of W below which a row is absent. Each of k collapsed features has 1/√k of a full
norm."""

PerSet = Float[np.ndarray, "matrix set"]


@refusing
def collapsed_sets(
    weights: Kind,
    features: FeatureDistribution,
    *,
    cosine: float = COLLAPSED_COSINE,
    norm_ratio: float = NORM_RATIO,
    absent: float = ABSENT_NORM,
) -> Kind:
    """Which sets have collapsed into one direction; bool, shape (..., set).

    A pair of features is collapsed if the cosine of their embeddings exceeds `cosine`, the shorter is at least
    `norm_ratio` times as long as the longer, and neither is absent. A set is collapsed if it has two features or more
    and all of its pairs are. A set that is parted into two collapsed groups is not.

    Args:
        weights: shape (..., n, m).
        features: the sets.
        cosine: in [0, 1).
        norm_ratio: in [0, 1].
        absent: a row shorter than this part of the longest of its matrix is absent, in [0, 1); a zero row always is.

    Raises:
        ValueError: as said for the module, or a threshold lies outside its range.

    """
    measure = ArrayMeasure("collapsed", "set is collapsed", dtype=np.bool_, undefined=False)
    kernel = _collapse("collapsed_sets", weights, features, cosine, norm_ratio, absent)
    return of_sets(measure, features, kernel, weights, "collapsed_sets")


@refusing
def collapsed_count(
    weights: Kind,
    features: FeatureDistribution,
    *,
    cosine: float = COLLAPSED_COSINE,
    norm_ratio: float = NORM_RATIO,
    absent: float = ABSENT_NORM,
) -> Kind:
    """How many sets have collapsed, as `collapsed_sets` defines it; int, shape (...), −1 for a diverged matrix."""
    measure = ArrayMeasure("collapsed_count", "number of collapsed sets", dims=(), dtype=np.int64, undefined=-1)
    kernel = _collapse("collapsed_count", weights, features, cosine, norm_ratio, absent)
    return measure.of(lambda W: kernel(W).sum(-1), weights)


@refusing
def interference_within(weights: Kind, features: FeatureDistribution, *, absent: float = ABSENT_NORM) -> Kind:
    """The mean squared cosine between embeddings of one set, over its pairs; in [0, 1], shape (..., set).

    0 where the set is represented without superposition. Random directions have 1/m in expectation, and k > m features
    cannot have less than (k − m)/(m (k − 1)) (Welch, IEEE Transactions on Information Theory 20, 1974). NaN where
    fewer than two features of the set are represented.

    Args:
        weights: shape (..., n, m).
        features: the sets.
        absent: features whose row is shorter than this part of the longest are left out, in [0, 1).

    Raises:
        ValueError: as said for the module, or absent lies outside [0, 1).

    """
    measure = ArrayMeasure("interference_within", "mean squared cosine within the set", pairwise=True)
    kernel = _interference("interference_within", weights, features, absent, within=True)
    return of_sets(measure, features, kernel, weights, "interference_within")


@refusing
def interference_between(weights: Kind, features: FeatureDistribution, *, absent: float = ABSENT_NORM) -> Kind:
    """The mean squared cosine between embeddings of one set and those of all other sets; in [0, 1], (..., set).

    NaN where the set, or all the others together, have no represented feature; in everything else like
    `interference_within`.
    """
    measure = ArrayMeasure("interference_between", "mean squared cosine to other sets", pairwise=True)
    kernel = _interference("interference_between", weights, features, absent, within=False)
    return of_sets(measure, features, kernel, weights, "interference_between")


def slices(features: FeatureDistribution) -> list[slice]:
    """The features of each set."""
    ends = np.cumsum([each.features for each in features.sets]).tolist()
    return [slice(end - each.features, end) for end, each in zip(ends, features.sets, strict=True)]


def of_sets(measure: ArrayMeasure, features: FeatureDistribution, kernel: Any, weights: Any, call: str) -> Any:
    """The measure of a kernel that answers (matrix, set): of shape (..., set), errors name `call`.

    Measures know features and not sets, so that on its way each feature has the answer of its set. Raises ValueError
    as the measure.
    """
    firsts = np.array([own.start for own in slices(features)])
    answer = measure.of(lambda W: kernel(W)[:, features.set_of_feature], weights, call=call)
    return renamed(answer, "feature", "set", firsts)


def _collapse(
    call: str, weights: Any, features: Any, cosine: float, norm_ratio: float, absent: float
) -> Callable[[Matrices], Bool[np.ndarray, "matrix set"]]:
    check_features(call, weights, features)
    _check_part(call, "cosine", cosine)
    _check_part(call, "absent", absent)
    if not 0 <= norm_ratio <= 1:
        raise ValueError(f"{call}(norm_ratio={norm_ratio!r}): norm_ratio must lie in [0, 1]")

    def kernel(W: Matrices) -> Bool[np.ndarray, "matrix set"]:
        norms, directions = _directions(W, absent)
        collapsed = np.zeros((len(W), len(features.sets)), bool)
        for number, own in enumerate(slices(features)):
            if own.stop - own.start > 1:
                ours, lengths = directions[:, own], norms[:, own]
                # An absent feature has no direction, and so no cosine but 0.
                least = (ours @ ours.swapaxes(-1, -2)).min((-2, -1))
                comparable = lengths.min(-1) >= norm_ratio * lengths.max(-1)
                collapsed[:, number] = (least > cosine) & comparable & ours.any(-1).all(-1)
        return collapsed

    return kernel


def _interference(
    call: str, weights: Any, features: Any, absent: float, *, within: bool
) -> Callable[[Matrices], PerSet]:
    check_features(call, weights, features)
    _check_part(call, "absent", absent)
    member = np.eye(len(features.sets))[features.set_of_feature]

    def kernel(W: Matrices) -> PerSet:
        _, directions = _directions(W, absent)
        squares = np.square(directions @ directions.swapaxes(-1, -2))
        present = directions.any(-1) @ member
        sums = np.einsum("ig,bij,jk->bgk", member, squares, member, optimize=True)
        inside = sums.diagonal(axis1=-2, axis2=-1)
        if within:
            # Of a feature with itself the cosine is 1.
            total, pairs = inside - present, present * (present - 1)
        else:
            total, pairs = sums.sum(-1) - inside, present * (present.sum(-1, keepdims=True) - present)
        return np.divide(np.maximum(total, 0.0), pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)

    return kernel


def _directions(W: Matrices, absent: float) -> tuple[Float[np.ndarray, "matrix feature"], Matrices]:
    """Norms, and unit rows: zero for features that are absent."""
    norms = np.linalg.norm(W, axis=-1)
    present = (norms >= absent * norms.max(-1, keepdims=True)) & (norms > 0)
    return norms, np.where(present[..., None], W / np.where(present, norms, 1.0)[..., None], 0.0)


def _check_part(call: str, name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{call}({name}={value!r}): {name} must lie in [0, 1)")
