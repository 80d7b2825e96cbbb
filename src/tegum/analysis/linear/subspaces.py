"""Column spaces of embeddings, the angles between them, and checks shared by measures that know the features.

Weights are NumPy arrays or DataArrays. Diverged matrices and malformed weights are treated as in
`tegum.analysis.geometry.measures`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import ZERO_TOLERANCE, ArrayMeasure, Kind, Matrices
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution

Bases = Float[np.ndarray, "matrix feature column"]
"""Orthonormal columns, padded with columns of zeros beyond the dimension of their span."""

PerMatrix = Float[np.ndarray, " matrix"]
Angles = Float[np.ndarray, "matrix angle"]


@refusing
def principal_angles(a: Kind, b: Kind, tolerance: float = ZERO_TOLERANCE) -> Kind:
    """Compute the principal angles between the column spaces of two weight matrices.

    Angles below π/4 are computed from their sines and so are accurate to about 1e-15 even where all cosines would
    round to 1 (Björck & Golub, Mathematics of Computation 27, 1973). A direction counts towards the rank of its
    matrix if its singular value is more than `tolerance` times the largest.

    Args:
        a: W of one model, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        b: W of another model, of the same kind and number of features, with leading axes that broadcast; its number
            of columns may differ.
        tolerance: in [0, 1). The default is what float32 weights resolve; a larger one leaves out directions that
            have hardly grown.

    Returns:
        Angles in [0, π/2], in radians, rising, shape (..., k) with k the smaller number of columns; NaN beyond the
        smaller of the two ranks, and for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), the two do not fit together, or
            the tolerance lies outside [0, 1).

    Example:
        Two planes in space that share the first axis and are tilted by 30°.

        >>> import tegum as tg
        >>> import numpy as np
        >>> tilt = np.radians(30)
        >>> tilted = np.array([[1, 0], [0, np.cos(tilt)], [0, np.sin(tilt)]])
        >>> np.degrees(tg.principal_angles(np.eye(3, 2), tilted)).round(6).tolist()
        [0.0, 30.0]

    """
    check_tolerance("principal_angles", tolerance)
    wide, other, width = _columns_alike(a, b)
    measure = ArrayMeasure("principal_angles", "principal angle between column spaces", units="rad", dims=("hidden",))

    def kernel(A: Matrices, B: Matrices) -> Float[np.ndarray, "matrix hidden"]:
        angles = angles_between(basis_of(A, tolerance), basis_of(B, tolerance))
        # A matrix with more columns than rows has fewer angles than the axis `hidden` has places.
        return np.pad(angles, ((0, 0), (0, A.shape[-1] - angles.shape[-1])), constant_values=np.nan)

    return renamed(measure.of(kernel, wide, other), "hidden", "angle", np.arange(width))


def basis_of(W: Matrices, tolerance: float, rank: int | None = None) -> Bases:
    """The left singular vectors of singular values above tolerance × largest, at most `rank`; zero beyond them."""
    left, lengths, _ = np.linalg.svd(W, full_matrices=False)
    kept = (lengths > tolerance * lengths[:, :1]) & (lengths > 0)
    return (left * kept[:, None])[..., :rank]


def dimensions(basis: Bases) -> Int[np.ndarray, " matrix"]:
    """The number of columns that are not zero."""
    return basis.any(-2).sum(-1)


def angles_between(one: Bases, other: Float[np.ndarray, "matrix feature column_other"]) -> Angles:
    """Principal angles in radians, rising, NaN beyond the smaller of the two dimensions."""
    width = max(one.shape[-1], other.shape[-1])
    one, other = (np.pad(basis, ((0, 0), (0, 0), (0, width - basis.shape[-1]))) for basis in (one, other))
    swapped = (dimensions(one) < dimensions(other))[:, None, None]
    large, small = np.where(swapped, other, one), np.where(swapped, one, other)
    overlap = large.swapaxes(-1, -2) @ small
    cosines = np.linalg.svd(overlap, compute_uv=False)
    sines = np.linalg.svd(small - large @ overlap, compute_uv=False)
    # Both are sorted falling: the largest cosine belongs to the smallest sine that is not from a column of zeros.
    number, count = np.arange(width), dimensions(small)[:, None]
    sines = np.take_along_axis(sines, np.maximum(count - 1 - number, 0), -1)
    near = np.square(cosines) >= 0.5
    angles = np.where(near, np.arcsin(np.minimum(sines, 1.0)), np.arccos(np.minimum(cosines, 1.0)))
    return np.where(number < count, angles, np.nan)


def renamed(answer: Any, old: str, new: str, kept: Int[np.ndarray, " position"]) -> Any:
    """Select positions of an axis that now stands for something else: the last axis, or the dim `old` renamed to `new`.

    Coordinates along the old dim no longer apply and are dropped; those of the new one count from 0.
    """
    if not hasattr(answer, "dims"):
        return answer[..., kept]
    answer = answer.drop_vars([name for name, held in answer.coords.items() if old in held.dims or name == new])
    return answer.isel({old: kept}).rename({old: new}).assign_coords({new: np.arange(len(kept))})


def matrix_shape(weights: Any) -> tuple[int, int] | None:
    """The numbers of features and hidden dimensions of weights; None if they are not matrices, as measures refuse."""
    if hasattr(weights, "dims"):
        sizes = dict(zip(weights.dims, weights.shape, strict=True))
        return (sizes["feature"], sizes["hidden"]) if {"feature", "hidden"} <= set(sizes) else None
    shape = np.shape(weights)
    return (shape[-2], shape[-1]) if len(shape) >= 2 and 0 not in shape[-2:] else None


def check_features(call: str, weights: Any, features: Any) -> None:
    """Refuse, in the name of `call`, features that are not a distribution, or not as many as the rows of the weights.

    Raises ValueError.
    """
    check_distribution(call, features)
    shape = matrix_shape(weights)
    if shape is not None and shape[0] != features.n:
        rule = f"there must be {features.n} rows, as features has n = {features.n}"
        raise ValueError(f"{call}(weights with {shape[0]} rows): {rule}")


def check_distribution(call: str, features: Any) -> None:
    """Refuse, in the name of `call`, anything but a FeatureDistribution: raises ValueError."""
    if not isinstance(features, FeatureDistribution):
        raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")


def check_rank(call: str, rank: int | None, most: int) -> None:
    """Refuse, in the name of `call`, a rank that is neither None nor an int from 1 to `most`: raises ValueError."""
    given: Any = rank
    if given is not None and (
        isinstance(given, bool) or not isinstance(given, int | np.integer) or not 1 <= given <= most
    ):
        raise ValueError(f"{call}(rank={rank!r}): rank must be an int from 1 to {most}, or None")


def check_tolerance(call: str, tolerance: float) -> None:
    """Refuse, in the name of `call`, a tolerance outside [0, 1): raises ValueError."""
    if not 0 <= tolerance < 1:
        raise ValueError(f"{call}(tolerance={tolerance!r}): tolerance must lie in [0, 1)")


def _columns_alike(a: Any, b: Any) -> tuple[Any, Any, int]:
    """Pad the narrower matrix with columns of zeros; also returns the number of columns that it had."""
    shapes = matrix_shape(a), matrix_shape(b)
    if shapes[0] is None or shapes[1] is None:
        return a, b, 0
    widths = shapes[0][1], shapes[1][1]
    return _widened(a, max(widths)), _widened(b, max(widths)), min(widths)


def _widened(weights: Any, width: int) -> Any:
    if not hasattr(weights, "dims"):
        given = np.asarray(weights)
        return np.pad(given, [(0, 0)] * (given.ndim - 1) + [(0, width - given.shape[-1])])
    # The columns of two models are unrelated, even if they have the same labels.
    bare = weights.drop_vars([name for name, held in weights.coords.items() if "hidden" in held.dims])
    return bare.pad(hidden=(0, width - bare.sizes["hidden"]), constant_values=0)
