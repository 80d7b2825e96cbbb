"""Geometry of the embeddings: Gram matrix, interference, dimensionality, tegum factors, canonical pose.

The weights W are a NumPy array whose last two axes are (feature, hidden), or an `xarray.DataArray` with the dims
`feature` and `hidden`; all other axes, such as seeds and steps, are carried along. A DataArray keeps its other dims
and its coordinates, and the result carries a long name and a unit. Everything is computed in float64, a bounded
piece of the leading axes at a time. Weights have no unit, and so neither have their measures.

A matrix has diverged if an entry is not finite, or so large that its fourth power would overflow. Its measures are
NaN, or False or -1 where the answer is not a number; other matrices in the same array are unaffected.

Every function raises ValueError if the last two axes (or the dims) are not (feature, hidden), if one of them is
empty, or if the entries are not real numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.geometry.large_products import inner_products
from tegum.core.arguments import refusing
from tegum.core.inputs.arrays import array_of
from tegum.core.limits import check_memory

if TYPE_CHECKING:
    import xarray

# Written as a string so that plain arrays are measured without importing xarray.
Kind = TypeVar("Kind", np.ndarray, "xarray.DataArray")
"""A numpy array or an xarray.DataArray; the result is of the same kind."""

Matrices = Float[np.ndarray, "matrix feature hidden"]
PerFeature = Float[np.ndarray, "matrix feature"]
Flags = Bool[np.ndarray, "matrix feature"]

CHUNK_BYTES = 16_000_000
"""Temporaries of one piece of the leading axes stay near this size, in bytes."""

LARGEST_WEIGHT = 1e70
"""An entry beyond this counts as diverged: sums of fourth powers must stay below 1e308."""

ZERO_TOLERANCE = 1e-6
"""A row shorter than this fraction of the longest row counts as zero: float32 weights resolve no less."""

TOLERANCE = 0.1
"""The largest difference of a cosine from its ideal (0 between tegum factors; see also `polytopes`)."""


@refusing
def gram(weights: Kind) -> Kind:
    """Compute the Gram matrix W Wᵀ of the embeddings: their squared norms, and off the diagonal their interference.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.

    Returns:
        Inner products, shape (..., n, n), with dims (feature, feature_other); NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> tg.gram(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
        [[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]

    """
    measure = ArrayMeasure("gram", "inner products of embeddings", dims=("feature", "feature_other"))
    return measure.of(inner_products, weights)


@refusing
def interference(weights: Kind) -> Kind:
    """Compute how much each feature's embedding overlaps with every other one: W Wᵀ without its diagonal.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.

    Returns:
        Inner products of different features, shape (..., n, n), zero on the diagonal; NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty.

    Example:
        Neighbours in a regular pentagon overlap by cos 72° = 0.309, the others by cos 144° = −0.809.

        >>> import tegum as tg
        >>> import numpy as np
        >>> angles = 2 * np.pi * np.arange(5) / 5
        >>> pentagon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> tg.interference(pentagon)[0].round(3).tolist()
        [0.0, 0.309, -0.809, -0.809, 0.309]

    """

    def kernel(W: Matrices) -> Float[np.ndarray, "matrix feature feature"]:
        return inner_products(W) * (1.0 - np.eye(W.shape[-2]))

    return ArrayMeasure("interference", "interference", dims=("feature", "feature_other")).of(kernel, weights)


def total_interference(weights: Kind, zero_tolerance: float = ZERO_TOLERANCE) -> Kind:
    """Compute Σ_{j≠i} (Ŵ_i·W_j)², everything that disturbs feature i; 0 for a zero row.

    This is the denominator of `dimensionality` without its term j = i. Computed as a difference, it is exact to
    about 1e-16 ‖W‖².

    Args:
        weights: W, shape (..., n, m); features are rows.
        zero_tolerance: a row no longer than this fraction of the longest row of its matrix counts as zero.

    Returns:
        Total interference, shape (..., n).

    Raises:
        ValueError: as for `dimensionality`.

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
    """Compute the feature dimensionality D_i = ‖W_i‖² / Σ_j (Ŵ_i·W_j)², the fraction of a dimension that feature i has.

    From Elhage et al. 2022, "Feature Dimensionality". The sum over j is computed as Ŵ_iᵀ (WᵀW) Ŵ_i, the same number
    at a cost of n m² instead of n² m. A zero row has dimensionality 0.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        zero_tolerance: a row no longer than this fraction of the longest row of its matrix counts as zero.

    Returns:
        Dimensionality of each feature, in [0, 1], shape (..., n); NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty, or
            `zero_tolerance` lies outside [0, 1).

    Example:
        Five features that form a regular pentagon share two dimensions equally: D = 2/5.

        >>> import tegum as tg
        >>> import numpy as np
        >>> angles = 2 * np.pi * np.arange(5) / 5
        >>> pentagon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> tg.dimensionality(pentagon).round(6).tolist()
        [0.4, 0.4, 0.4, 0.4, 0.4]

    """
    check_part("dimensionality", "zero_tolerance", zero_tolerance)

    def kernel(W: Matrices) -> PerFeature:
        _, squares, overlaps = _overlaps(W)
        nonzero = _nonzero(squares, zero_tolerance)
        return np.divide(squares**2, overlaps, out=np.zeros_like(squares), where=nonzero)

    return ArrayMeasure("dimensionality", "feature dimensionality").of(kernel, weights)


@refusing
def dimensions_per_feature(weights: Kind) -> Kind:
    """Compute the hidden dimensions spent per represented feature, m / ‖W‖²_F.

    From Elhage et al. 2022, "The Geometry of Superposition": ‖W‖²_F counts the represented features, because each of
    them has a norm of about 1.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.

    Returns:
        Dimensions per feature, shape (...); infinite where W = 0, NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty.

    Example:
        A digon stores two features in one dimension.

        >>> import tegum as tg
        >>> import numpy as np
        >>> float(tg.dimensions_per_feature(np.array([[1.0], [-1.0]])))
        0.5

    """

    def kernel(W: Matrices) -> Float[np.ndarray, " matrix"]:
        squares = np.square(W).sum((-2, -1))
        return np.divide(W.shape[-1], squares, out=np.full_like(squares, np.inf), where=squares > 1e-300)

    return ArrayMeasure("dimensions_per_feature", "dimensions per feature", dims=()).of(kernel, weights)


@refusing
def represented(weights: Kind, threshold: float = 0.5, scale: float | None = None) -> Kind:
    """Find which features are represented: those with ‖W_i‖ ≥ threshold × scale.

    The norm alone decides; a zero row is never represented. By default the scale is the longest row of the same
    matrix, so that the answer does not depend on the size of W, and nearly all rows of a random start count as
    represented. With `scale=1.0` a row has to carry its feature through W Wᵀ at full strength: that count grows
    during training.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        threshold: the fraction of the scale that a row must reach, in [0, 1).
        scale: the norm of a fully represented feature, or None for the longest row of each matrix.

    Returns:
        Booleans, shape (..., n); False for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty; threshold
            lies outside [0, 1); or scale is not positive and finite.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> tg.represented(np.array([[2.0, 0.0], [0.0, 0.9], [0.0, 0.0]])).tolist()
        [True, False, False]

    """
    check_representation("represented", threshold, scale)
    measure = ArrayMeasure("represented", "feature is represented", dtype=np.bool_, undefined=False)
    return measure.of(lambda W: _represented(W, threshold, scale), weights)


@refusing
def tegum_factors(
    weights: Kind, tolerance: float = TOLERANCE, threshold: float = 0.5, scale: float | None = None
) -> Kind:
    """Divide the represented features into tegum factors: groups that lie in mutually orthogonal subspaces.

    Factors are the connected components of the graph that joins two represented features whose |cosine| exceeds the
    tolerance. Elhage et al. 2022 ("The Geometry of Superposition") observe that solutions are tegum products of such
    factors. The numbering of two matrices can be compared only through the features they share.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        tolerance: the largest |cosine| that still counts as orthogonal, in [0, 1).
        threshold: the fraction of the scale that a represented row must reach, as in `represented`.
        scale: the norm of a fully represented feature, as in `represented`.

    Returns:
        For each feature the number of its factor, shape (..., n). Factors are numbered 0, 1, … by their first
        features; −1 stands for a feature that is not represented, and for every feature of a diverged matrix.

    Raises:
        ValueError: as for `represented`, or tolerance lies outside [0, 1).

    Example:
        A square is the tegum product of two digons; the last feature is not represented.

        >>> import tegum as tg
        >>> import numpy as np
        >>> tg.tegum_factors(np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0]])).tolist()
        [0, 1, 0, 1, -1]

    """
    check_part("tegum_factors", "tolerance", tolerance)
    check_representation("tegum_factors", threshold, scale)
    measure = ArrayMeasure("tegum_factors", "number of its factor", dtype=np.int64, undefined=-1, pairwise=True)
    return measure.of(lambda W: _factor_labels(W, tolerance, _represented(W, threshold, scale)), weights)


@refusing
def canonical_pose(weights: Kind, reference: Kind | None = None) -> Kind:
    """Rotate and reflect W in hidden space into a pose that does not depend on the gauge.

    The loss depends on W only through W Wᵀ, so that two runs can find the same solution in different orientations.
    Without a reference the pose is a function of the Gram matrix: equal Gram matrices get equal coordinates, to
    rounding, however degenerate their spectrum is (a regular polygon has no principal axes). The basis is built by
    Gram–Schmidt from selected rows: the first of them lies on the positive first axis, the next in the plane of the
    first two axes with a positive second coordinate, and so on. Each time, the first feature is selected whose part
    outside the axes so far is at least 0.37 of the largest such part, so that short or nearly dependent rows define
    no axis. Equal Gram matrices can end in different poses only if that comparison is a tie to rounding, which does
    not happen in regular shapes. Axes beyond the rank of W are exactly zero.

    With a reference the pose is the one closest to it, by orthogonal Procrustes: argmin over orthogonal R of ‖W R −
    reference‖_F (Schönemann, Psychometrika 31, 1966). It is unique if Wᵀ reference has full rank; otherwise,
    directions of W without a counterpart in the reference may come out in any orientation.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        reference: weights of the same kind to align with, shape (n, m) or one that broadcasts against `weights`.

    Returns:
        The rotated weights, shaped as given; NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty, or the
            reference does not broadcast against them.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> W = np.array([[0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> tg.canonical_pose(W).tolist()
        [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]

    """
    measure = ArrayMeasure("weights", "weights in canonical pose", dims=("feature", "hidden"))
    if reference is None:
        return measure.of(_pose, weights, call="canonical_pose")
    return measure.of(_posed_on, weights, reference, call="canonical_pose")


def align_steps(weights: Kind) -> Kind:
    """Put a whole trajectory into one pose, so that a movie of it does not spin.

    The last step takes its canonical pose, and every earlier step the pose closest to its successor
    (`canonical_pose` with a reference). For a diverged run the chain starts from the last step before it diverged.

    Args:
        weights: a DataArray with the dim `step`, or an array of shape (..., step, n, m).

    Returns:
        The rotated weights, shaped as given.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), or there is no step axis.

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

    The kernel takes a float64 stack (matrix, feature, hidden) of finite weights and returns (matrix, *dims).
    """

    name: str
    """The name of the measure, which a DataArray gets."""
    long_name: str
    """What is measured, in words, for the attributes of a DataArray."""
    units: str = "1"
    """The unit, for the attributes of a DataArray; "1" for none."""
    dims: tuple[str, ...] = ("feature",)
    """The axes of the result for one matrix."""
    dtype: Any = np.float64
    """The dtype of the result."""
    undefined: float | int | str = np.nan
    """The result for a diverged matrix."""
    pairwise: bool = False
    """Whether the kernel makes feature × feature temporaries in addition to those of its result."""

    def of(self, kernel: Callable[..., np.ndarray], *weights: Kind, call: str | None = None) -> Kind:
        """Apply the measure to weights that broadcast together.

        Args:
            kernel: the function on stacks of matrices.
            weights: arrays or DataArrays; the result is of the kind of the first.
            call: the call that errors name; None is the name of the measure.

        Returns:
            The measure, with the leading axes of the weights.

        Raises:
            ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty, or do
                not broadcast together.

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
            # A scalar coordinate of a reference (its own step, say) is not one of the result.
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
    # The sum includes the term j = i; rounding must not push a row's dimensionality above 1.
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
        # Below this, only rounding errors remain outside the axes found so far.
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
        # A run that is still NaN here waits for its last finite step.
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
    """Refuse, in the name of `call`, a value outside [0, 1).

    Raises:
        ValueError: the value lies outside [0, 1).

    """
    if not 0 <= value < 1:
        raise ValueError(f"{call}({name}={value!r}): {name} must lie in [0, 1)")


def check_representation(call: str, threshold: float, scale: float | None) -> None:
    """Refuse, in the name of `call`, arguments that `represented` does not accept.

    Raises:
        ValueError: threshold lies outside [0, 1), or scale is not positive and finite.

    """
    check_part(call, "threshold", threshold)
    if scale is not None and not 0 < scale < np.inf:
        raise ValueError(f"{call}(scale={scale!r}): scale must be positive and finite, or None")
