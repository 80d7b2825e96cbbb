"""Names of the shapes that embeddings form, by factor and as a whole, and their ideal dimensionalities.

A factor (see `tegum_factors`) has the name of a shape if its features can be matched one to one with the vectors of
the shape so that every cosine is within the tolerance of the ideal one, and if its norms are comparable.
Orientation, overall size and the order of the features do not matter, nor do differences of norm between factors.
Otherwise a factor is named by its numbers: "5 features in 3 dimensions".

Collapsed features (comparable norms, pairwise cosines above 0.95) count as one direction, whose vector is that of
their principal component (a + b + …)/√k, ΣW_i/√k. The name says so: "digon of collapsed pairs" if every direction
holds the same number of features, "pentagon with 1 collapsed pair" if not, "collapsed pair" if they are alone.

The name of the whole joins its factors by ⊕, the tegum product; equal factors are counted, the most frequent first
and then the larger: "3 × digon ⊕ triangle". Factors that are all digons have a name of their own: two are a "square (2
digons)", three an octahedron, five a "5-orthoplex (5 digons)".

On request a factor without a strict name has that of the nearest shape with as many vectors: "deformed pentagon". Its
deformation is the largest difference of a cosine from that of the shape, in the best matching of features with vectors.
A factor is a deformed shape as long as every cosine is nearer to its own ideal than to any other of the shape, or to
that of collapsed features: by less than half the smallest gap between 1 and the different cosines of the shape. It is
none if less would make it fall apart into orthogonal factors, or if it needs more dimensions than the shape has. Norms
do not count, so that features on their way in or out have a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Num

from tegum.analysis.geometry import measures as geometry
from tegum.analysis.geometry.measures import TOLERANCE, Kind
from tegum.core.arguments import refusing
from tegum.core.limits import check_memory
from tegum.core.reprs import html_table

if TYPE_CHECKING:
    import xarray

COLLAPSED_COSINE = 0.95
"""The cosine that all pairs of features in one direction exceed."""

COMPARABLE_NORMS = 0.7
"""Norms are comparable if the shortest is at least this fraction of the longest (1/√2 still is)."""

FLAT = 0.2
"""A singular value counts as a dimension of a deformed shape if its square is above this part of the largest one's."""

DIVERGED = "diverged"
"""The name of a matrix with an entry that is not finite."""

_UNNAMED = "features in"
"""What every name of a factor by its numbers contains."""

_MOST_TRIED = 5_000
"""Partial matchings that are tried; beyond them the best one so far counts, and the deformation is an upper bound."""

_SIMPLICES = {1: "point", 2: "digon", 3: "triangle", 4: "tetrahedron"}
_POLYGONS = {3: "triangle", 4: "square", 5: "pentagon", 6: "hexagon", 7: "heptagon", 8: "octagon"}
_ORTHOPLEXES = {1: "digon", 2: "square", 3: "octahedron"}
_GROUPS = {2: "collapsed pair{}", 3: "collapsed triple{}"}


@dataclass(frozen=True, eq=False)
class Shape:
    """A polytope by its ideal vectors: unit rows v that are all alike and form a tight frame (Σ v vᵀ ∝ 1)."""

    name: str
    """The name of the shape, such as "pentagon"."""
    vectors: Float[np.ndarray, "vector dimension"]
    """The unit vectors to the corners, shape (count, dimension)."""

    @property
    def count(self) -> int:
        """The number of corners."""
        return self.vectors.shape[0]

    @property
    def dimension(self) -> int:
        """The dimension of the space that the shape spans."""
        return self.vectors.shape[1]

    @property
    def dimensionality(self) -> Fraction:
        """The dimensionality of each feature: dimension / count, as in any tight frame of equal norms."""
        return Fraction(self.dimension, self.count)


@dataclass(frozen=True)
class Factor:
    """One tegum factor of a weight matrix."""

    name: str
    """The name of its shape, or its numbers: "5 features in 3 dimensions"."""
    features: tuple[int, ...]
    """The positions of its features along the feature axis, ascending."""
    dimension: int
    """The dimension of the shape; without one, the number of squared singular values of its directions above tolerance
    times the largest."""
    dimensionality: float
    """The mean of its features' measured dimensionalities."""
    ideal: Fraction | None
    """The dimensionality of each feature in the ideal shape, divided among collapsed features; None if there is none.
    """
    deformation: float | None = None
    """The largest difference of a cosine from that of the shape of its name; None if there is none, or unless deformed
    shapes were asked for."""


@dataclass(frozen=True)
class Polytope:
    """What a weight matrix forms: the name of the whole, and its tegum factors ordered by their first features."""

    name: str
    """The name of the whole, such as "octahedron"."""
    factors: tuple[Factor, ...]
    """The tegum factors, ordered by their first features."""
    unrepresented: tuple[int, ...]
    """The positions of the features that are not represented, ascending."""

    @property
    def product(self) -> str:
        """The tegum product of the factors' names, spelt out even if the whole has a name of its own."""
        return _product(self.factors)

    @property
    def dimension(self) -> int:
        """The sum of the factors' dimensions."""
        return sum(factor.dimension for factor in self.factors)

    def __repr__(self) -> str:
        spelt = f" = {self.product}" if self.factors and self.product != self.name else ""
        return f"<Polytope: {self.name}{spelt}, {self._counts()}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                factor.name,
                f"features {', '.join(map(str, factor.features))}; dimensionality {factor.dimensionality:.4g}"
                + ("" if factor.ideal is None else f" (ideal {factor.ideal})")
                + ("" if factor.deformation is None else f"; deformation {factor.deformation:.2g}"),
            )
            for factor in self.factors
        ]
        return html_table(f"{self.name}: {self._counts()}", rows)

    def _counts(self) -> str:
        features = sum(len(factor.features) for factor in self.factors)
        rest = f", {len(self.unrepresented)} not represented" if self.unrepresented else ""
        return f"{features} features in {self.dimension} dimensions{rest}"


def simplex(count: int) -> Shape:
    """The regular simplex of `count` vectors in count − 1 dimensions; one vector alone is a point in one dimension.

    Args:
        count: the number of vectors, at least 1.

    Returns:
        The shape.

    Raises:
        ValueError: `count` is less than 1.

    """
    _check_count("simplex", count, 1)
    check_memory(f"simplex({count})", f"{count:,} vectors in as many dimensions", 40 * count**2, "fewer fit")
    vectors = np.ones((1, 1))
    if count > 1:
        # Helmert's basis of the space orthogonal to (1, …, 1): row k has k ones and then −k.
        basis = np.tril(np.ones((count, count)))[:-1] - np.diag(np.arange(1.0, count), 1)[:-1]
        vectors = (basis / np.linalg.norm(basis, axis=1, keepdims=True)).T
    return Shape(_SIMPLICES.get(count, f"{count - 1}-simplex"), _unit(vectors))


def regular_polygon(count: int) -> Shape:
    """The regular polygon of `count` vectors in two dimensions.

    Args:
        count: the number of vectors, at least 3.

    Returns:
        The shape.

    Raises:
        ValueError: `count` is less than 3.

    """
    _check_count("regular_polygon", count, 3)
    check_memory(f"regular_polygon({count})", f"{count:,} vectors", 80 * count, "fewer fit")
    return Shape(_POLYGONS.get(count, f"{count}-gon"), _circle(count))


def orthoplex(digons: int) -> Shape:
    """The cross-polytope of `digons` orthogonal digons.

    Args:
        digons: the number of digons, at least 1.

    Returns:
        The shape.

    Raises:
        ValueError: `digons` is less than 1.

    """
    _check_count("orthoplex", digons, 1)
    check_memory(f"orthoplex({digons})", f"{digons:,} digons in as many dimensions", 40 * digons**2, "fewer fit")
    axes = np.eye(digons)
    return Shape(_ORTHOPLEXES.get(digons, f"{digons}-orthoplex"), np.concatenate([axes, -axes]))


def name_factor(vectors: Num[np.ndarray, "*shape"], tolerance: float = TOLERANCE) -> str:
    """Name one factor, by the rules of the module.

    Args:
        vectors: the features' embeddings, shape (feature, hidden).
        tolerance: the largest difference of a cosine from its ideal, in [0, 1).

    Returns:
        The name; "diverged" if an entry is not finite.

    Raises:
        ValueError: `vectors` is not a matrix or is empty, or the tolerance lies outside [0, 1).

    """
    _check("name_factor", vectors, tolerance)
    if not (np.abs(vectors) <= geometry.LARGEST_WEIGHT).all():
        return DIVERGED
    directions, rows = _merged(np.asarray(vectors, np.float64))
    return _described(rows, [len(group) for group in directions], tolerance)[0]


def collapsed_groups(vectors: Num[np.ndarray, "*shape"]) -> tuple[tuple[int, ...], ...]:
    """Find groups of at least two collapsed features: norms comparable and all cosines above 0.95.

    Features that are linked only through others (a fan of directions) do not form a group; zero rows and rows that
    are not finite collapse with none.

    Args:
        vectors: the features' embeddings, shape (feature, hidden).

    Returns:
        The positions of each group's features.

    Raises:
        ValueError: `vectors` is not a matrix or is empty.

    """
    _check("collapsed_groups", vectors, 0.0)
    sound = (np.abs(vectors) <= geometry.LARGEST_WEIGHT).all(1, keepdims=True)
    vectors = np.where(sound, vectors, 0.0).astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    directions = _unit(vectors)
    ratios = np.minimum.outer(norms, norms) / np.where(norms > 0, np.maximum.outer(norms, norms), 1.0)
    joined = (directions @ directions.T > COLLAPSED_COSINE) & (ratios >= COMPARABLE_NORMS)
    rows = {tuple(np.flatnonzero(row).tolist()) for row in joined}
    # In a group all members have the same partners.
    return tuple(sorted(group for group in rows if len(group) > 1 and (joined[list(group)] == joined[group[0]]).all()))


@refusing
def name_polytope(
    weights: np.ndarray | xarray.DataArray,
    tolerance: float = TOLERANCE,
    threshold: float = 0.5,
    scale: float | None = None,
    deformed: bool = False,
) -> Polytope:
    """Name the polytope that a weight matrix forms, and its tegum factors.

    Collapsed features are first merged into one direction; factors are then those of `tegum_factors`. One tolerance
    serves twice: cosines within it of zero separate factors, and cosines within it of a shape's identify the shape.
    The shapes are those of Elhage et al. 2022, "The Geometry of Superposition", and their larger relatives.

    Args:
        weights: W, shape (n, m) or a DataArray with these two dims; features are rows.
        tolerance: the largest difference of a cosine from its ideal, in [0, 1).
        threshold: the fraction of the scale that a represented row must reach, as in `represented`.
        scale: the norm of a fully represented feature, as in `represented`.
        deformed: whether to name factors that are no shape within the tolerance after the nearest shape ("deformed
            pentagon"), and to compute deformations.

    Returns:
        The polytope. A diverged matrix is named "diverged" and has no factors; a matrix of zeros is named "nothing
        represented".

    Raises:
        ValueError: weights are not one matrix, or as for `tegum_factors`.

    Example:
        Six features in three antipodal pairs form an octahedron, the tegum product of three digons.

        >>> import tegum as tg
        >>> import numpy as np
        >>> octahedron = tg.name_polytope(np.concatenate([np.eye(3), -np.eye(3)]))
        >>> octahedron.name, octahedron.product, octahedron.factors[0].ideal
        ('octahedron', '3 × digon', Fraction(1, 2))

        A pentagon of which one feature is turned by 20°, so that a neighbour is at 92°: cos 72° is 0.34 more.

        >>> angles = np.deg2rad([20, 72, 144, 216, 288])
        >>> bent = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> factor = tg.name_polytope(bent, deformed=True).factors[0]
        >>> tg.name_polytope(bent).name, factor.name, round(factor.deformation, 2)
        ('5 features in 2 dimensions', 'deformed pentagon', 0.34)

    """
    given: Any = weights
    if hasattr(given, "dims"):
        if set(given.dims) != {"feature", "hidden"}:
            rule = "it names one matrix of dims 'feature' and 'hidden'; tegum.polytope_names names many"
            raise ValueError(f"name_polytope(weights with dims {given.dims}): {rule}")
        given = given.transpose("feature", "hidden").values
    given = np.asarray(given)
    if given.ndim > 2:
        rule = "it names one matrix, of shape (feature, hidden); tegum.polytope_names names many"
        raise ValueError(f"name_polytope(weights of shape {given.shape}): {rule}")
    _check("name_polytope", given, tolerance)
    geometry.check_representation("name_polytope", threshold, scale)
    return _polytope(given, tolerance, threshold, scale, deformed)


@refusing
def polytope_names(
    weights: Kind,
    tolerance: float = TOLERANCE,
    threshold: float = 0.5,
    scale: float | None = None,
    deformed: bool = False,
) -> Kind:
    """Name the polytopes that many weight matrices form, such as all runs at all steps of a trajectory.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        tolerance: the largest difference of a cosine from its ideal, in [0, 1).
        threshold: the fraction of the scale that a represented row must reach, as in `represented`.
        scale: the norm of a fully represented feature, as in `represented`.
        deformed: whether to name factors that are no shape within the tolerance after the nearest shape ("deformed
            pentagon"), and to compute deformations.

    Returns:
        Names as text, shape (...), as `name_polytope` gives them.

    Raises:
        ValueError: as for `tegum_factors`.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> angles = 2 * np.pi * np.arange(3) / 3
        >>> triangle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> tg.polytope_names(np.stack([triangle, np.eye(3, 2), np.zeros((3, 2))])).tolist()
        ['triangle', '2 × point', 'nothing represented']

    """
    geometry.check_part("polytope_names", "tolerance", tolerance)
    geometry.check_representation("polytope_names", threshold, scale)
    measure = geometry.ArrayMeasure("polytope", "name of the polytope", dims=(), dtype=object, undefined=DIVERGED)

    def kernel(W: Float[np.ndarray, "matrix feature hidden"]) -> np.ndarray:
        return np.array([_polytope(matrix, tolerance, threshold, scale, deformed).name for matrix in W], object)

    return measure.of(kernel, weights, call="polytope_names").astype(str)


def _polytope(
    W: np.ndarray, tolerance: float, threshold: float, scale: float | None, deformed: bool = False
) -> Polytope:
    measured = geometry.dimensionality(W)
    present = np.flatnonzero(geometry.represented(W, threshold, scale))
    if np.isnan(measured).any():
        return Polytope(DIVERGED, (), tuple(range(len(W))))
    if not len(present):
        return Polytope("nothing represented", (), tuple(range(len(W))))
    directions, rows = _merged(W[present].astype(np.float64))
    labels = geometry.tegum_factors(rows, tolerance, threshold=0.0)
    factors = []
    for label in range(labels.max() + 1):
        own = labels == label
        groups = [directions[row] for row in np.flatnonzero(own)]
        features = present[sorted(feature for group in groups for feature in group)]
        name, dimension, ideal = _described(rows[own], [len(group) for group in groups], tolerance)
        mean = measured[features].mean().item()
        named = _nearest(rows[own], name, ideal, [len(group) for group in groups]) if deformed else (name, ideal, None)
        factors.append(Factor(named[0], tuple(features.tolist()), dimension, mean, *named[1:]))
    digons = len(factors) if {factor.name for factor in factors} == {"digon"} else 0
    name = orthoplex(digons).name if digons else _product(factors)
    # A square is also the name of its corners alone, and which two digons cross is not seen in it.
    name += f" ({digons} digons)" if digons == 2 or digons > max(_ORTHOPLEXES) else ""
    return Polytope(name, tuple(factors), tuple(np.setdiff1d(range(len(W)), present).tolist()))


def _product(factors: Sequence[Factor]) -> str:
    counts = Counter(factor.name for factor in factors)
    sizes = {factor.name: len(factor.features) for factor in factors}
    order = sorted(counts, key=lambda name: (-counts[name], -sizes[name], name))
    return " ⊕ ".join(f"{counts[name]} × {name}" if counts[name] > 1 else name for name in order)


def _merged(vectors: Float[np.ndarray, "feature hidden"]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The features of each direction, and its vector: ΣW_i/√k for collapsed features."""
    groups = collapsed_groups(vectors)
    collapsed = {feature for group in groups for feature in group}
    alone = [(feature,) for feature in range(len(vectors)) if feature not in collapsed]
    directions = sorted([*alone, *groups])
    return directions, np.stack([vectors[list(group)].sum(0) / np.sqrt(len(group)) for group in directions])


def _described(
    rows: Float[np.ndarray, "direction hidden"], sizes: list[int], tolerance: float
) -> tuple[str, int, Fraction | None]:
    """The name, dimension and ideal dimensionality of a factor; sizes are its directions' feature counts."""
    shape = _match(rows, tolerance)
    dimension = shape.dimension if shape else _rank(rows, tolerance)
    if shape and len(set(sizes)) == 1:
        name, size = shape.name, sizes[0]
        if size > 1:
            name = _group_name(size) if shape.count == 1 else f"{name} of {_group_name(size, 's')}"
        return name, dimension, shape.dimensionality / size
    groups = Counter(size for size in sizes if size > 1)
    name = shape.name if shape else f"{sum(sizes)} {_UNNAMED} {dimension} dimension{'s' * (dimension > 1)}"
    parts = [f"{groups[size]} {_group_name(size, 's' * (groups[size] > 1))}" for size in sorted(groups)]
    return f"{name} with {' and '.join(parts)}" if parts else name, dimension, None


def _rank(rows: np.ndarray, tolerance: float) -> int:
    spread = np.linalg.svd(_unit(rows), compute_uv=False) ** 2
    return int((spread > max(tolerance, 1e-9) * spread[0]).sum())


def _group_name(size: int, plural: str = "") -> str:
    return _GROUPS.get(size, f"collapsed group{{}} of {size}").format(plural)


def _match(vectors: Float[np.ndarray, "feature hidden"], tolerance: float) -> Shape | None:
    norms = np.linalg.norm(vectors, axis=1)
    if norms.min() < COMPARABLE_NORMS * norms.max() or norms.min() == 0:
        return None
    directions = vectors / norms[:, None]
    cosines = directions @ directions.T
    entries = np.sort(cosines, axis=None)
    shapes, ideals, in_other_height = _catalogue(len(vectors))
    # Equality up to order implies equality when sorted, which rules out most shapes. The nearest shape is tried first,
    # with rounded distances, because an octahedron ties with the antiprism that it is.
    distances = np.abs(np.sort(ideals.reshape(len(ideals), entries.size)) - entries).max(-1)
    for nearest in np.lexsort((distances.round(9), in_other_height)):
        if distances[nearest] <= tolerance and _same_up_to_order(cosines, ideals[nearest], tolerance):
            return shapes[nearest]
    return None


def _nearest(
    rows: Float[np.ndarray, "direction hidden"], name: str, ideal: Fraction | None, sizes: list[int]
) -> tuple[str, Fraction | None, float | None]:
    """The name, ideal dimensionality and deformation of a factor, from the nearest shape if it has no strict name."""
    cosines = _unit(rows) @ _unit(rows).T
    shapes, ideals, _ = _catalogue(len(rows))
    entries = np.sort(cosines, axis=None)
    # No matching is better than that of sorted cosines: once one has been found, most shapes are ruled out.
    bounds = np.abs(np.sort(ideals.reshape(len(ideals), entries.size)) - entries).max(-1)
    least, found = np.inf, None
    for at in np.argsort(bounds, kind="stable").tolist():
        if bounds[at] < least and (distance := _deformation(cosines, ideals[at], least)) < least:
            least, found = distance, at
    if found is None:
        return name, ideal, None
    shape = shapes[found]
    if _UNNAMED not in name:
        return name, ideal, float(least)
    gap = np.diff(np.unique(np.append(ideals[found].round(9), 1.0))).min(initial=2.0)
    # Two nearly orthogonal features are no digon, and what fills more dimensions than the shape has is not that shape.
    if least >= min(gap / 2, _weakest_link(cosines)) or max(sizes) > 1 or _rank(rows, FLAT) > shape.dimension:
        return name, ideal, None
    return f"deformed {shape.name}", shape.dimensionality, float(least)


def _weakest_link(cosines: np.ndarray) -> float:
    """The largest cosine that must become zero to split the factor into orthogonal ones, where that takes least."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    strengths = np.abs(cosines)
    np.fill_diagonal(strengths, 0.0)
    return float(np.abs(minimum_spanning_tree(-strengths).data).min(initial=1.0))


def _deformation(cosines: np.ndarray, ideal: np.ndarray, least: float) -> float:
    """The largest difference of a cosine from its ideal in the best matching, if it is below `least`."""
    n, tried = len(cosines), 0
    rows = np.abs(np.sort(cosines)[:, None] - np.sort(ideal)[None]).max(-1)
    # The feature that fits worst first, as its place decides most; all vectors of a shape are alike.
    order = np.argsort(-rows.min(1), kind="stable").tolist()
    chosen: list[int] = []

    def extend(largest: float) -> None:
        nonlocal least, tried
        tried += 1
        placed = len(chosen)
        if placed == n:
            least = largest
            return
        costs = rows[order[placed]].copy()
        if placed:
            differences = np.abs(ideal[:, chosen] - cosines[order[placed], order[:placed]])
            costs = np.maximum(costs, differences.max(-1))
        for vector in [0] if not placed else np.argsort(costs, kind="stable").tolist():
            cost = max(largest, float(costs[vector]))
            if cost >= least or tried > _MOST_TRIED:
                return
            if vector not in chosen:
                chosen.append(vector)
                extend(cost)
                chosen.pop()

    extend(0.0)
    return least


def _same_up_to_order(cosines: np.ndarray, ideal: np.ndarray, tolerance: float) -> bool:
    """Whether some permutation of the features brings every cosine within the tolerance of the ideal one."""
    n = len(cosines)
    rows = np.abs(np.sort(cosines)[:, None] - np.sort(ideal)[None]).max(-1) <= tolerance
    chosen: list[int] = []

    def extend() -> bool:
        feature = len(chosen)
        if feature == n:
            return True
        fits = (np.abs(ideal[:, chosen] - cosines[feature, :feature]) <= tolerance).all(-1) & rows[feature]
        fits[chosen] = False
        for vector in np.flatnonzero(fits).tolist():
            chosen.append(vector)
            if extend():
                return True
            chosen.pop()
        return False

    return extend()


@lru_cache(maxsize=64)
def _catalogue(count: int) -> tuple[list[Shape], np.ndarray, np.ndarray]:
    """All shapes of `count` vectors, their cosines (shape, n, n), and which are not at their tight height.

    A simplex of more than ten vectors and a polygon of more than nineteen are omitted: within the default tolerance
    their features are orthogonal, and collapsed, respectively.
    """
    shapes = [shape for shape in SHAPES.values() if shape.count == count]
    if 4 < count <= 10:
        shapes.append(simplex(count))
    if 8 < count <= 19:
        shapes.append(regular_polygon(count))
    if 6 < count <= 128 and count % 2 == 0:
        shapes.append(orthoplex(count // 2))
    vectors = [shape.vectors for shape in shapes]
    for name, (base, twist) in _STACKED.items():
        if 2 * base == count:
            heights = np.arange(0.1, 0.91, 0.02)
            shapes += [SHAPES[name]] * len(heights)
            vectors += [_stacked(base, twist, square) for square in heights]
    cosines = np.array([rows @ rows.T for rows in vectors]).reshape(-1, count, count)
    return shapes, cosines, np.arange(len(shapes)) >= len({shape.name for shape in shapes})


def _circle(count: int, twist: float = 0.0) -> np.ndarray:
    angles = 2 * np.pi * (np.arange(count) + twist) / count
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def _stacked(base: int, twist: float, square: float = 1 / 3) -> np.ndarray:
    """Unit vectors to parallel polygons at ±√square, the lower turned by `twist` sides: tight at 1/3."""
    flat = np.sqrt(1 - square) * np.concatenate([_circle(base), _circle(base, twist)])
    return np.c_[flat, np.repeat([1.0, -1.0], base) * np.sqrt(square)]


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


def _icosahedron() -> np.ndarray:
    golden = (1 + np.sqrt(5)) / 2
    corners = np.array([(0.0, one, side * golden) for one in (1, -1) for side in (1, -1)])
    return _unit(np.concatenate([np.roll(corners, turn, axis=1) for turn in range(3)]))


def _check(call: str, vectors: np.ndarray, tolerance: float) -> None:
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"{call}(array of shape {vectors.shape}): it needs one matrix (feature, hidden)")
    if not 0 <= tolerance < 1:
        raise ValueError(f"{call}(tolerance={tolerance!r}): tolerance must lie in [0, 1)")


def _check_count(call: str, count: int, least: int) -> None:
    if count < least:
        raise ValueError(f"{call}({count!r}): it needs at least {least}")


_STACKED = {"triangular prism": (3, 0.0), "triangular antiprism": (3, 0.5), "square antiprism": (4, 0.5)}

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        shape.name: shape
        for shape in [
            *(simplex(count) for count in range(1, 5)),
            *(regular_polygon(count) for count in range(4, 9)),
            orthoplex(3),
            *(Shape(name, _stacked(*how)) for name, how in _STACKED.items()),
            Shape("cube", _stacked(4, 0.0)),
            Shape("icosahedron", _icosahedron()),
        ]
    }
)
"""Shapes by name; larger simplices, polygons and orthoplexes are also recognised. Prisms and antiprisms are recognised
at any height and are listed here as tight frames; the triangular antiprism is then an octahedron."""

LEVELS: Mapping[str, Fraction] = MappingProxyType(
    {name: SHAPES[name].dimensionality for name in ("tetrahedron", "triangle", "digon", "pentagon", "square antiprism")}
)
"""Dimensionalities at which features of toy models settle, by shape (Elhage et al., 2022)."""
