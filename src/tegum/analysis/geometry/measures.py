"""Geometry of the embeddings: Gram matrix, interference, dimensionality, tegum factors, canonical pose.

Weights W are a numpy array with the trailing axes (feature, hidden) and any leading axes, or an
`xarray.DataArray` with the dims `feature` and `hidden` and any others. Every measure is of the same kind: a
DataArray keeps its other dims and its coordinates and says its long name and unit. All is done in float64, a
bounded piece of the leading axes at a time. Weights have no unit, and so no measure of them has: "1".

A diverged matrix (an entry is not finite, or so large that its fourth power would overflow) yields NaN, or
False or -1 where the answer is not a number; the other matrices of the same array are untouched by it.

Every function raises ValueError, in one sentence, if the trailing axes or the dims are not (feature, hidden),
if one of the two is empty, or if the entries are not real numbers. It says itself what else it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.geometry.products import inner_products
from tegum.core.arguments import refusing
from tegum.core.limits import check_memory
from tegum.core.outside.arrays import array_of

if TYPE_CHECKING:
    import xarray

# Written as a string so that plain arrays are measured without importing xarray.
Kind = TypeVar("Kind", np.ndarray, "xarray.DataArray")
"""A numpy array or an xarray.DataArray: what goes in comes out."""

Matrices = Float[np.ndarray, "matrix feature hidden"]
PerFeature = Float[np.ndarray, "matrix feature"]
Flags = Bool[np.ndarray, "matrix feature"]

CHUNK_BYTES = 16_000_000
"""Temporaries of one piece of the leading axes stay near this size, in bytes."""

LARGEST_WEIGHT = 1e70
"""An entry beyond this counts as diverged: sums of fourth powers must stay below 1e308."""

ZERO_TOLERANCE = 1e-6
"""A row shorter than this part of the longest row is a zero row: float32 weights resolve no less."""

TOLERANCE = 0.1
"""The largest difference of a cosine from its ideal (0 between tegum factors, see also `polytopes`)."""


@refusing
def gram(weights: Kind) -> Kind:
    """The Gram matrix W Wᵀ, shape (..., feature, feature_other), dimensionless.

    Raises ValueError as said for the module.
    """
    measure = ArrayMeasure("gram", "inner products of embeddings", dims=("feature", "feature_other"))
    return measure.of(inner_products, weights)


@refusing
def interference(weights: Kind) -> Kind:
    """The Gram matrix with a zero diagonal, in everything else like `gram`."""

    def kernel(W: Matrices) -> Float[np.ndarray, "matrix feature feature"]:
        return inner_products(W) * (1.0 - np.eye(W.shape[-2]))

    return ArrayMeasure("interference", "interference", dims=("feature", "feature_other")).of(kernel, weights)


def total_interference(weights: Kind, zero_tolerance: float = ZERO_TOLERANCE) -> Kind:
    """Σ_{j≠i} (Ŵ_i·W_j)², all that disturbs feature i; shape (..., feature), dimensionless, 0 for a zero row.

    The sum of the definition of `dimensionality` without its term j = i. Computed as a difference, it is
    exact to about 1e-16 |W|² and not below. `zero_tolerance` and errors are as in `dimensionality`.
    """
    check_part("total_interference", "zero_tolerance", zero_tolerance)

    def kernel(W: Matrices) -> PerFeature:
        peak, squares, overlaps = _overlaps(W)
        nonzero = _nonzero(squares, zero_tolerance)
        others = np.divide(overlaps, squares, out=np.zeros_like(squares), where=nonzero) - squares
        return np.where(nonzero, np.maximum(others, 0.0), 0.0) * peak[:, None] ** 2

    return ArrayMeasure("total_interference", "total interference with other features").of(kernel, weights)


@refusing
def dimensionality(weights: Kind, zero_tolerance: float = ZERO_TOLERANCE) -> Kind:
    """The feature dimensionality D_i = |W_i|² / Σ_j (Ŵ_i·W_j)² in [0, 1], no unit; shape (..., feature).

    From Elhage et al., "Toy Models of Superposition" (2022). The sum over j is computed as Ŵ_iᵀ (WᵀW) Ŵ_i,
    the same number at a cost of n m² instead of n² m. A zero row has dimensionality 0.

    Args:
        weights: shape (..., feature, hidden).
        zero_tolerance: a row no longer than this part of the longest row of its matrix is a zero row.

    Raises:
        ValueError: as said for the module, or zero_tolerance lies outside [0, 1).

    """
    check_part("dimensionality", "zero_tolerance", zero_tolerance)

    def kernel(W: Matrices) -> PerFeature:
        _, squares, overlaps = _overlaps(W)
        nonzero = _nonzero(squares, zero_tolerance)
        return np.divide(squares**2, overlaps, out=np.zeros_like(squares), where=nonzero)

    return ArrayMeasure("dimensionality", "feature dimensionality").of(kernel, weights)


@refusing
def dimensions_per_feature(weights: Kind) -> Kind:
    """Hidden dimensions spent on one feature, m / |W|²_F; shape (...), dimensionless, infinite where W = 0.

    From Elhage et al. (2022): |W|²_F counts the represented features, each of which has a norm of about 1.
    Raises ValueError as said for the module.
    """

    def kernel(W: Matrices) -> Float[np.ndarray, " matrix"]:
        squares = np.square(W).sum((-2, -1))
        return np.divide(W.shape[-1], squares, out=np.full_like(squares, np.inf), where=squares > 1e-300)

    return ArrayMeasure("dimensions_per_feature", "dimensions per feature", dims=()).of(kernel, weights)


@refusing
def represented(weights: Kind, threshold: float = 0.5, scale: float | None = None) -> Kind:
    """Which features are represented: |W_i| ≥ threshold × scale and not zero; bool, shape (..., feature).

    The norm alone decides. By default the scale is the longest row of the same matrix, so that the answer
    does not depend on the size of W, and nearly all rows of a random start are represented. `scale=1.0` asks
    instead for rows that carry their feature through W Wᵀ at full strength: that count grows while a model
    trains.

    Args:
        weights: shape (..., feature, hidden).
        threshold: the part of the scale that counts, in [0, 1).
        scale: the norm of a fully represented feature, or None for the longest row of each matrix.

    Raises:
        ValueError: as said for the module, or threshold not in [0, 1), or scale not positive and finite.

    """
    check_representation("represented", threshold, scale)
    measure = ArrayMeasure("represented", "feature is represented", dtype=np.bool_, undefined=False)
    return measure.of(lambda W: _represented(W, threshold, scale), weights)


@refusing
def tegum_factors(
    weights: Kind, tolerance: float = TOLERANCE, threshold: float = 0.5, scale: float | None = None
) -> Kind:
    """Each feature's tegum factor, numbered 0, 1, … by first feature, -1 if not represented; (..., feature).

    Factors are the connected blocks of the graph that joins two represented features whose |cosine| exceeds
    the tolerance; features of different factors are orthogonal within it. The numbers of two matrices are
    comparable only through the features they share.

    Args:
        weights: shape (..., feature, hidden).
        tolerance: the largest |cosine| that still counts as orthogonal, in [0, 1).
        threshold: as in `represented`.
        scale: as in `represented`.

    Raises:
        ValueError: as `represented`, or tolerance lies outside [0, 1).

    """
    check_part("tegum_factors", "tolerance", tolerance)
    check_representation("tegum_factors", threshold, scale)
    measure = ArrayMeasure("tegum_factors", "number of its factor", dtype=np.int64, undefined=-1, pairwise=True)
    return measure.of(lambda W: _factor_labels(W, tolerance, _represented(W, threshold, scale)), weights)


@refusing
def canonical_pose(weights: Kind, reference: Kind | None = None) -> Kind:
    """W rotated and reflected in hidden space into a pose that does not depend on the gauge; shape as given.

    Without a reference the pose is a function of the Gram matrix: equal Gram matrices get equal coordinates,
    to rounding, however degenerate their spectrum (a regular polygon has no principal axes). Its basis is
    made by Gram–Schmidt from chosen rows: the first chosen row lies on the positive first axis, the next in
    the plane of the first two axes with a positive second coordinate, and so on. Chosen is always the first
    feature whose part outside the axes so far is at least 0.37 of the largest such part, so that short or
    nearly dependent rows set no axis. Equal Gram matrices may differ in pose only where that comparison is a
    tie to rounding, which no regular shape has. Axes beyond the rank of W are exactly zero.

    With a reference the pose is the closest one to it: orthogonal Procrustes, argmin over orthogonal R of
    |W R − reference|_F (Schönemann, Psychometrika 31, 1966). It is unique where Wᵀ reference has full rank;
    otherwise directions of W without a counterpart in the reference may come out in any orientation.

    Args:
        weights: shape (..., feature, hidden).
        reference: of the same kind, shape (feature, hidden) or one that broadcasts against the weights.

    Raises:
        ValueError: as said for the module, or the reference does not broadcast against them.

    """
    measure = ArrayMeasure("weights", "weights in canonical pose", dims=("feature", "hidden"))
    if reference is None:
        return measure.of(_pose, weights, call="canonical_pose")
    return measure.of(_posed_on, weights, reference, call="canonical_pose")


def align_steps(weights: Kind) -> Kind:
    """A trajectory in one pose, so that a movie of it does not spin; shape as given.

    The last step takes its canonical pose and every earlier step the pose closest to its successor
    (`canonical_pose` with a reference). Where a run has diverged, the chain starts from its last step before
    that.

    Args:
        weights: a DataArray with the dim `step`, or an array of shape (..., step, feature, hidden).

    Raises:
        ValueError: as said for the module, or there is no step axis.

    """
    given: Any = weights
    if not hasattr(given, "dims"):
        return _chained(array_of("align_steps", "weights", given))
    dims = _dims_of(given, "align_steps", ("step", "feature", "hidden"))
    import xarray as xr

    posed = xr.apply_ufunc(_chained, given, input_core_dims=[dims], output_core_dims=[dims])
    posed = posed.transpose(*given.dims).rename("weights")
    return posed.assign_attrs(long_name="weights in one pose", units="1")


@dataclass(frozen=True)
class ArrayMeasure:
    """How a kernel on a stack of matrices becomes a measure on arrays and DataArrays.

    The kernel gets a float64 stack (matrix, feature, hidden) of finite weights and returns (matrix, *dims).
    """

    name: str
    long_name: str
    units: str = "1"
    dims: tuple[str, ...] = ("feature",)
    """The axes of the answer for one matrix."""
    dtype: Any = np.float64
    undefined: float | int | str = np.nan
    """The answer for a diverged matrix."""
    pairwise: bool = False
    """Whether the kernel makes feature × feature temporaries besides those of its answer."""

    def of(self, kernel: Callable[..., np.ndarray], *weights: Kind, call: str | None = None) -> Kind:
        """The measure of weights that broadcast together, of the kind of the first; errors name `call`.

        Raises ValueError as said for the module.
        """
        call = call or self.name
        given: Any = weights
        first, *others = given
        if not hasattr(first, "dims"):
            return self._of_arrays(kernel, *(array_of(call, "weights", one) for one in given), call=call)
        core = [_dims_of(one, call, ("feature", "hidden")) for one in given]
        import xarray as xr

        answer = xr.apply_ufunc(
            lambda *arrays: self._of_arrays(kernel, *arrays, call=call),
            first,
            # A scalar coordinate of a reference (its own step, say) is no coordinate of the answer.
            *(other.reset_coords(drop=True) for other in others),
            input_core_dims=core,
            output_core_dims=[list(self.dims)],
        )
        if "feature_other" in self.dims and "feature" in answer.coords:
            answer = answer.assign_coords(feature_other=("feature_other", answer["feature"].values))
        kept = [dim for dim in first.dims if dim in answer.dims]
        attributes = {"long_name": self.long_name, "units": self.units}
        return answer.transpose(*kept, ...).rename(self.name).assign_attrs(attributes)

    def _of_arrays(self, kernel: Callable[..., np.ndarray], *weights: np.ndarray, call: str) -> Any:
        for given in weights:
            if given.ndim < 2 or 0 in given.shape[-2:]:
                rule = "it needs trailing axes (feature, hidden), neither of them empty"
                raise ValueError(f"{call}(weights of shape {given.shape}): {rule}")
            if given.dtype.kind not in "fiub":
                raise ValueError(f"{call}(weights of dtype {given.dtype}): weights must be real numbers")
        try:
            together = np.broadcast_arrays(*weights)
        except ValueError:
            shapes = " and ".join(str(given.shape) for given in weights)
            raise ValueError(f"{call}(weights of shapes {shapes}): they must broadcast together") from None
        *runs, n, m = together[0].shape
        stacks = [array.reshape(-1, n, m) if array.size else np.zeros((0, n, m)) for array in together]
        sizes = {"feature": n, "feature_other": n, "hidden": m}
        pairs = 3 * n * n if self.pairwise or "feature_other" in self.dims else 0
        of_one = 8 * (5 * n * m + 2 * m * m + pairs) * len(stacks)
        chunk = max(1, CHUNK_BYTES // of_one)
        whole = len(stacks[0]) * np.dtype(self.dtype).itemsize * math.prod(sizes[dim] for dim in self.dims)
        shape = together[0].shape
        check_memory(
            f"{call}(weights of shape {shape})", self.long_name, whole + of_one, "fewer or smaller matrices fit"
        )
        answer = np.empty((len(stacks[0]), *(sizes[dim] for dim in self.dims)), self.dtype)
        for start in range(0, len(answer), chunk):
            piece = slice(start, start + chunk)
            matrices = [np.asarray(stack[piece], np.float64) for stack in stacks]
            sound = np.ones(len(matrices[0]), bool)
            for part in matrices:
                # NaN compares as False, so this refuses it as well.
                sound &= (np.abs(part) <= LARGEST_WEIGHT).all((-2, -1))
            answer[piece] = kernel(*(np.where(sound[:, None, None], part, 0.0) for part in matrices))
            answer[piece][~sound] = self.undefined
        return answer.reshape((*runs, *answer.shape[1:]))


def _overlaps(W: Matrices) -> tuple[Float[np.ndarray, " matrix"], PerFeature, PerFeature]:
    """The largest |entry|, and for W divided by it |W_i|² and Σ_j (W_i·W_j)² of each row."""
    peak = np.abs(W).max((-2, -1))
    scaled = W / np.where(peak > 0, peak, 1.0)[:, None, None]
    squares = np.square(scaled).sum(-1)
    overlaps = np.einsum("bfh,bfh->bf", scaled @ (scaled.swapaxes(-1, -2) @ scaled), scaled)
    # The sum holds the term j = i; rounding must not take a row's dimensionality above 1.
    return peak, squares, np.maximum(overlaps, squares**2)


def _nonzero(squares: PerFeature, part: float) -> Flags:
    return squares > part**2 * squares.max(-1, keepdims=True)


def _represented(W: Matrices, threshold: float, scale: float | None) -> Flags:
    norms = np.linalg.norm(W, axis=-1)
    unit = norms.max(-1, keepdims=True) if scale is None else scale
    return (norms >= threshold * unit) & (norms > 0)


def _factor_labels(W: Matrices, tolerance: float, present: Flags) -> Int[np.ndarray, "matrix feature"]:
    norms = np.where(present, np.linalg.norm(W, axis=-1), 1.0)
    directions = np.where(present[..., None], W / norms[..., None], 0.0)
    n = W.shape[-2]
    joined = (np.abs(inner_products(directions)) > tolerance) | np.eye(n, dtype=bool)
    labels = np.broadcast_to(np.arange(n, dtype=np.int32), present.shape)
    # Every feature takes the smallest label among its neighbours until none changes; looking up the label of
    # the label doubles the reach of a round.
    while True:
        smallest = np.where(joined, labels[:, None, :], np.int32(n)).min(-1)
        smallest = np.take_along_axis(smallest, smallest, -1)
        if np.array_equal(smallest, labels):
            break
        labels = smallest
    first = (labels == np.arange(n)) & present
    numbered = np.take_along_axis(np.cumsum(first, -1) - 1, labels, -1)
    return np.where(present, numbered, -1)


def _pose(W: Matrices) -> Matrices:
    # Squares of small numbers would be zero; powers of two change no digit.
    power = np.frexp(np.abs(W).max((-2, -1), keepdims=True))[1]
    return np.ldexp(_posed(np.ldexp(W, -power)), power)


def _posed(W: Matrices) -> Matrices:
    rest = W.copy()
    posed = np.zeros_like(W)
    axes = np.zeros((len(W), W.shape[-1], W.shape[-1]))
    longest = np.linalg.norm(W, axis=-1).max(-1)
    for axis in range(W.shape[-1]):
        outside = np.linalg.norm(rest, axis=-1)
        largest = outside.max(-1)
        # Below this only rounding is left outside the axes so far.
        alive = largest > 1e-12 * longest
        chosen = np.argmax(outside >= 0.37 * largest[:, None], -1)
        direction = np.take_along_axis(rest, chosen[:, None, None], 1)[:, 0]
        # Twice is enough: a short remainder has lost its orthogonality to rounding.
        direction -= ((axes @ direction[..., None]).swapaxes(-1, -2) @ axes)[:, 0]
        length = np.linalg.norm(direction, axis=-1)
        alive &= length > 0
        direction = np.where(alive[:, None], direction / np.where(alive, length, 1.0)[:, None], 0.0)
        axes[:, axis] = direction
        posed[..., axis] = np.einsum("bfh,bh->bf", rest, direction)
        rest -= posed[..., axis, None] * direction[:, None, :]
    return posed


def _posed_on(W: Matrices, reference: Matrices) -> Matrices:
    left, _, right = np.linalg.svd(W.swapaxes(-1, -2) @ reference)
    return W @ (left @ right)


def _chained(weights: np.ndarray) -> Any:
    if weights.ndim < 3 or 0 in weights.shape[-3:]:
        rule = "it needs trailing axes (step, feature, hidden), none of them empty"
        raise ValueError(f"align_steps(weights of shape {weights.shape}): {rule}")
    posed = np.empty(weights.shape)
    posed[..., -1, :, :] = successor = canonical_pose(weights[..., -1, :, :])
    for step in reversed(range(weights.shape[-3] - 1)):
        now = weights[..., step, :, :]
        ended = np.isnan(successor)
        pose = canonical_pose(now, np.where(ended, 0.0, successor))
        posed[..., step, :, :] = np.where(ended, canonical_pose(now), pose) if ended.any() else pose
        # A run that is NaN here as well waits for its last sound step.
        successor = np.where(np.isnan(posed[..., step, :, :]), successor, posed[..., step, :, :])
    return posed


def _dims_of(weights: Any, call: str, needed: tuple[str, ...]) -> list[str]:
    if hasattr(weights, "data_vars"):
        raise ValueError(f"{call}(a Dataset): weights must be one of its DataArrays, such as run.weights")
    given = tuple(getattr(weights, "dims", ()))
    if missing := [dim for dim in needed if dim not in given]:
        raise ValueError(f"{call}(weights with dims {given}): the dim {missing[0]!r} must be among them")
    return list(needed)


def check_part(call: str, name: str, value: float) -> None:
    """Refuse, in the name of `call`, what does not lie in [0, 1): raises ValueError."""
    if not 0 <= value < 1:
        raise ValueError(f"{call}({name}={value!r}): {name} must lie in [0, 1)")


def check_representation(call: str, threshold: float, scale: float | None) -> None:
    """Refuse, in the name of `call`, what `represented` cannot take: raises ValueError."""
    check_part(call, "threshold", threshold)
    if scale is not None and not 0 < scale < np.inf:
        raise ValueError(f"{call}(scale={scale!r}): scale must be positive and finite, or None")
