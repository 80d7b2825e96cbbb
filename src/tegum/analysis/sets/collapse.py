"""What becomes of the features of a set: collapse into one direction, interference within and between sets.

Correlated features may share one direction, that of their principal component (Elhage et al. 2022, "Collapsing of
Correlated Features"), or stay apart and nearly orthogonal while they interfere with other sets.

Weights are NumPy arrays or DataArrays. Diverged matrices and malformed weights are treated as in
`tegum.analysis.geometry.measures`. Measures of sets have the shape (..., set), in the order of the sets.
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
"""The least ratio of norms of two collapsed features: the direction of a nearly dropped feature is arbitrary."""

ABSENT_NORM = 0.1
"""A row shorter than this fraction of the longest is absent. Each of k collapsed features has 1/√k of a full norm."""

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
    """Find which sets of features have collapsed into one direction.

    Two features have collapsed if the cosine of their embeddings exceeds `cosine`, the shorter embedding is at least
    `norm_ratio` times as long as the longer, and neither is absent. A set has collapsed if it has at least two
    features and all of its pairs have; a set that is split into two collapsed groups has not. See Elhage et al.
    2022, "Collapsing of Correlated Features".

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, which says which features form a set.
        cosine: the cosine that every pair must exceed, in [0, 1).
        norm_ratio: the least ratio of two norms, in [0, 1].
        absent: a row shorter than this fraction of the longest of its matrix is absent, in [0, 1); a zero row always
            is.

    Returns:
        Booleans, shape (..., set); False for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), `features` is not a distribution
            of as many features, or a threshold is out of range.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.array([[0.7, 0.0], [0.7, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> tg.collapsed_sets(W, pairs).tolist()
        [True, False]

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
    """Count the sets that have collapsed into one direction, by the definition of `collapsed_sets`.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, which says which features form a set.
        cosine: the cosine that every pair must exceed, in [0, 1).
        norm_ratio: the least ratio of two norms, in [0, 1].
        absent: a row shorter than this fraction of the longest of its matrix is absent, in [0, 1).

    Returns:
        Counts, shape (...); −1 for a diverged matrix.

    Raises:
        ValueError: as for `collapsed_sets`.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.array([[0.7, 0.0], [0.7, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> int(tg.collapsed_count(W, pairs))
        1

    """
    measure = ArrayMeasure("collapsed_count", "number of collapsed sets", dims=(), dtype=np.int64, undefined=-1)
    kernel = _collapse("collapsed_count", weights, features, cosine, norm_ratio, absent)
    return measure.of(lambda W: kernel(W).sum(-1), weights)


@refusing
def interference_within(weights: Kind, features: FeatureDistribution, *, absent: float = ABSENT_NORM) -> Kind:
    """Compute the mean squared cosine between the embeddings of one set, over its pairs of features.

    It is 0 if the set is represented without superposition. As a null, random directions have 1/m in expectation,
    and k > m features cannot have less than (k − m)/(m (k − 1)) (Welch, IEEE Transactions on Information Theory 20,
    1974).

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, which says which features form a set.
        absent: features whose row is shorter than this fraction of the longest are left out, in [0, 1).

    Returns:
        Mean squared cosines in [0, 1], shape (..., set); NaN if fewer than two features of a set are represented,
        and for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), `features` is not a distribution
            of as many features, or `absent` lies outside [0, 1).

    Example:
        Three features in the plane have at least (3 − 2)/(2 · 2) = 1/4, which a triangle reaches.

        >>> import tegum as tg
        >>> import numpy as np
        >>> angles = 2 * np.pi * np.arange(3) / 3
        >>> triangle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> one_set = tg.FeatureDistribution([tg.Correlated(size=3, density=0.1)])
        >>> tg.interference_within(triangle, one_set).round(6).tolist()
        [0.25]

    """
    measure = ArrayMeasure("interference_within", "mean squared cosine within the set", pairwise=True)
    kernel = _interference("interference_within", weights, features, absent, within=True)
    return of_sets(measure, features, kernel, weights, "interference_within")


@refusing
def interference_between(weights: Kind, features: FeatureDistribution, *, absent: float = ABSENT_NORM) -> Kind:
    """Compute the mean squared cosine between the embeddings of one set and those of all other sets.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, which says which features form a set.
        absent: features whose row is shorter than this fraction of the longest are left out, in [0, 1).

    Returns:
        Mean squared cosines in [0, 1], shape (..., set); NaN if the set, or all others together, have no represented
        feature, and for a diverged matrix.

    Raises:
        ValueError: as for `interference_within`.

    Example:
        Two orthogonal pairs on the same axes: each feature coincides with one of the two features of the other set.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.concatenate([np.eye(2), -np.eye(2)])
        >>> tg.interference_within(W, pairs).tolist(), tg.interference_between(W, pairs).tolist()
        ([0.0, 0.0], [0.5, 0.5])

    """
    measure = ArrayMeasure("interference_between", "mean squared cosine to other sets", pairwise=True)
    kernel = _interference("interference_between", weights, features, absent, within=False)
    return of_sets(measure, features, kernel, weights, "interference_between")


def slices(features: FeatureDistribution) -> list[slice]:
    """The features of each set."""
    ends = np.cumsum([each.features for each in features.sets]).tolist()
    return [slice(end - each.features, end) for end, each in zip(ends, features.sets, strict=True)]


def of_sets(measure: ArrayMeasure, features: FeatureDistribution, kernel: Any, weights: Any, call: str) -> Any:
    """Apply a kernel that returns (matrix, set) as a measure of shape (..., set); errors name `call`.

    As measures are indexed by feature, not by set, each feature temporarily holds the result of its set. Raises
    ValueError as the measure does.
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
                # An absent feature has no direction: its cosines are 0.
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
            # The cosine of a feature with itself is 1.
            total, pairs = inside - present, present * (present - 1)
        else:
            total, pairs = sums.sum(-1) - inside, present * (present.sum(-1, keepdims=True) - present)
        return np.divide(np.maximum(total, 0.0), pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)

    return kernel


def _directions(W: Matrices, absent: float) -> tuple[Float[np.ndarray, "matrix feature"], Matrices]:
    """Norms, and unit rows, which are zero for absent features."""
    norms = np.linalg.norm(W, axis=-1)
    present = (norms >= absent * norms.max(-1, keepdims=True)) & (norms > 0)
    return norms, np.where(present[..., None], W / np.where(present, norms, 1.0)[..., None], 0.0)


def _check_part(call: str, name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{call}({name}={value!r}): {name} must lie in [0, 1)")
