"""What moves during training: the motion of the embeddings between two snapshots, in parts that have a name.

Elhage et al. 2022 ("Learning as Geometric Transformations") see learning as "a sequence of simple, independent
geometric transformations". Here a motion dW is decomposed into such transformations of sets of features. A set g has
the centroid c_g, the mean of its embeddings, and the deviations V_g of its embeddings from it, V_g = Σ_i σ_i u_i
v_iᵀ with widths σ_i and axes v_i. Each transformation has the space of motions that it can make:

- *inflation*: a centroid grows or shrinks along itself, each set at its own rate.
- *separation*: centroids change their directions relative to one another, and all members of a set go along. A
  common rotation of all centroids is none: up to a rotation of hidden space it is a turn of all deviations, and
  counts as *turn*.
- *opening*: the widths of a set change independently: members leave their centroid along the axes, or return to it.
- *twist*: the deviations of a set rotate within their own subspace, V_g A with A antisymmetric there. This is
  meaningful only for two sets whose deviation subspaces are parallel (all principal angles at most `PARALLEL`), and
  undefined otherwise.
- *turn*: the deviations of a set rotate in any other way, as when its plane tilts. Common turns of all deviations,
  with centroids at rest, come before separation wherever the others stand in the order.
- *scaling* (W itself) and *stretch* (W S, S symmetric) of the whole. They are composed of the others, as growth of
  centroids and widths at one rate is scaling, and therefore take part only if asked for: `order=("scaling",)` tells
  how much scaling alone explains.

What none of them can make is the *rest*.

The loss is unchanged by a rotation of hidden space, W A with A antisymmetric, so that this part of a motion means
nothing. It is removed: each snapshot is rotated onto the one before (orthogonal Procrustes), which makes dW exactly
orthogonal to the rotations of the midpoint of both, and every space is projected onto the complement of the
rotations.

The spaces are not orthogonal to one another. They are made so by Gram–Schmidt in the order in which they are named,
so that what two of them can make counts for the first. The squared lengths of the parts then add up to that of the
motion. If two widths of a set are equal, their axes are arbitrary, and so is the division of a change of shape into
opening and rest. Two centroids in three dimensions have one separation, their angle, but two if they are exactly
opposite: a rotation about their axis then moves neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float

from tegum.analysis.geometry.measures import canonical_pose
from tegum.analysis.linear.subspaces import check_features
from tegum.analysis.sets.collapse import slices
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution

ORDER = ("inflation", "separation", "opening", "twist", "turn")
"""The order in which motions are separated from one another."""

WHOLE_MOTIONS = ("scaling", "stretch")
"""Motions of the whole, which are composed of the others."""

PARALLEL = np.pi / 12
"""Two subspaces are parallel if no principal angle between them exceeds this, in radians."""

ZERO = 1e-7
"""The fraction of a vector's length below which what projections leave of it is rounding; also the fraction of the
length of W below which a width is."""

NO_MOTION = 1e-13
"""The fraction of the length of W below which nothing moves."""

_AT_ONCE = 1024
"""The number of motions that are decomposed at once: few enough to stay in a processor's cache."""

Weights = Float[np.ndarray, "motion feature hidden"]


@final
class Parts(NamedTuple):
    """The squared lengths of the parts of motions."""

    names: tuple[str, ...]
    """The names of the parts: the order, and then "rest"."""
    squares: Float[np.ndarray, "*run part"]
    """The squared length of each part, shape (..., part); NaN for a motion that is undefined there, and in all parts if
    weights are not finite."""
    dimensions: Float[np.ndarray, "*run part"]
    """The dimension of each part's space, shape (..., part): a motion in a random direction has shares proportional to
    these."""

    def share(self) -> Float[np.ndarray, "*run part"]:
        """The share of each part in its motion.

        Returns:
            Shares, shape (..., part), adding up to 1 apart from undefined parts; NaN where nothing moves.

        """
        return shares(self.squares)


def shares(squares: Float[np.ndarray, "*run part"]) -> Float[np.ndarray, "*run part"]:
    """Divide squared lengths by their sum along the last axis.

    Args:
        squares: squared lengths, shape (..., part).

    Returns:
        Shares, shape (..., part); NaN where the sum is zero, and where `squares` is.

    """
    total = np.nansum(squares, -1, keepdims=True)
    return np.divide(squares, total, out=np.full_like(squares, np.nan), where=total > 0)


def moved(weights: Float[np.ndarray, "*run step feature hidden"]) -> Float[np.ndarray, "*run interval feature hidden"]:
    """Compute the motion from each snapshot to the next without the rotation between them, W_{t+1} R − W_t.

    Args:
        weights: W of snapshots in their order, shape (..., step, n, m).

    Returns:
        Motions as seen from the earlier snapshot, shape (..., step − 1, n, m).

    """
    before, after = weights[..., :-1, :, :], weights[..., 1:, :, :]
    return canonical_pose(np.asarray(after, np.float64), np.asarray(before, np.float64)) - before


@refusing
def motions(
    weights: Float[np.ndarray, "*run step feature hidden"],
    features: FeatureDistribution,
    *,
    order: Sequence[str] = ORDER,
    parallel: float = PARALLEL,
) -> Parts:
    """Decompose the motion of the embeddings between consecutive snapshots into named geometric transformations.

    The names (inflation, separation, opening, twist, turn) and the decomposition, which quantifies Elhage et al.
    2022, "Learning as Geometric Transformations", are defined in `tegum.analysis.dynamics.motions`.

    Args:
        weights: W of snapshots in their order, at least two, shape (..., step, n, m); features are rows.
        features: the feature distribution, which says which features form a set.
        order: names from `ORDER` and `WHOLE_MOTIONS`, each once; what two motions can both make counts for the
            first.
        parallel: the largest principal angle between the subspaces of two parallel sets, in radians, in [0, π/2].

    Returns:
        The squared length and the dimension of every part, shape (..., step − 1, part).

    Raises:
        ValueError: the shapes do not fit, there is no second snapshot, a name is unknown or appears twice, or the
            angle lies outside [0, π/2].

    Example:
        Two collapsed pairs, both of which grow by half along their directions: pure inflation.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> parts = tg.motions(np.stack([W, 1.5 * W]), pairs)
        >>> parts.names[0], round(float(parts.squares[0, 0]), 6), round(float(parts.share()[0, 0]), 6)
        ('inflation', 1.0, 1.0)

    """
    weights = np.asarray(weights)
    check_features("motions", weights, features)
    if weights.ndim < 3 or weights.shape[-3] < 2:
        raise ValueError(f"motions(weights of shape {weights.shape}): it needs at least two snapshots, (step, n, m)")
    if len(set(order)) < len(order) or not set(order) <= {*ORDER, *WHOLE_MOTIONS}:
        known = ", ".join((*ORDER, *WHOLE_MOTIONS))
        raise ValueError(f"motions(order={tuple(order)!r}): each must be one of {known}, once")
    if not 0 <= parallel <= np.pi / 2:
        raise ValueError(f"motions(parallel={parallel!r}): parallel must be an angle in [0, π/2]")
    change = moved(weights)
    middle = weights[..., :-1, :, :] + change / 2
    n, m = weights.shape[-2:]
    runs = int(np.prod(change.shape[:-2]))
    M, dW = middle.reshape(runs, n, m), change.reshape(runs, n, m)
    pieces = [
        _parted(M[at : at + _AT_ONCE], dW[at : at + _AT_ONCE], features, order, parallel)
        for at in range(0, max(len(M), 1), _AT_ONCE)
    ]
    squares, dimensions = (np.concatenate(each) for each in zip(*pieces, strict=True))
    shape = (*change.shape[:-2], len(order) + 1)
    return Parts((*order, "rest"), squares.reshape(shape), dimensions.reshape(shape))


@final
class _Set(NamedTuple):
    """One set of features in many models at once."""

    own: slice
    centroid: Float[np.ndarray, "motion hidden"]
    left: Float[np.ndarray, "motion member width"]
    widths: Float[np.ndarray, "motion width"]
    """The widths of the set; zero where they are only rounding."""
    axes: Float[np.ndarray, "motion width hidden"]

    @classmethod
    def of(cls, weights: Weights, own: slice) -> _Set:
        members = weights[:, own]
        centroid = members.mean(1)
        left, widths, axes = np.linalg.svd(members - centroid[:, None], full_matrices=False)
        # Deviations sum to zero, so that there is one width fewer than members.
        count = min(members.shape[1] - 1, weights.shape[2])
        least = ZERO * np.linalg.norm(weights, axis=(1, 2))[:, None]
        widths = np.where(widths > least, widths, 0.0)[:, :count]
        return cls(own, centroid, left[..., :count], widths, axes[:, :count])

    @property
    def deviations(self) -> Float[np.ndarray, "motion member hidden"]:
        return (self.left * self.widths[:, None]) @ self.axes

    @property
    def rank(self) -> Any:
        return (self.widths > 0).sum(-1)


@final
class _Group(NamedTuple):
    """The sets to which one set is parallel, including itself."""

    member: Bool[np.ndarray, "motion set"]
    """Whether each set belongs to the group; no set does if this one is parallel to no other."""
    basis: Float[np.ndarray, "motion axis hidden"]
    """A basis of the subspace that they approximately share; zeros beyond its dimension."""


def _groups(sets: Sequence[_Set], parallel: float) -> list[_Group]:
    spans = [each.axes * (each.widths > 0)[..., None] for each in sets]
    joined = np.zeros((len(sets[0].widths), len(sets), len(sets)), bool)
    for (i, one), (j, other) in combinations(enumerate(sets), 2):
        cosines = np.linalg.svd(spans[i] @ spans[j].swapaxes(1, 2), compute_uv=False)
        # Axes with zero width span nothing.
        spanned = np.arange(cosines.shape[1]) < one.rank[:, None]
        near = np.where(spanned, cosines, 1.0).min(-1, initial=1.0) >= np.cos(parallel) - 1e-12
        joined[:, i, j] = near & (one.rank == other.rank) & (one.rank >= 2) & (one.rank < one.axes.shape[2])
        joined[:, j, i] = joined[:, i, j]
    # Parallelism is made transitive: sets parallel to the same set form one group.
    for _ in range(max(len(sets) - 2, 0).bit_length()):
        joined |= (joined.astype(np.uint8) @ joined.astype(np.uint8)) > 0
    found = []
    for number, each in enumerate(sets):
        member = joined[:, number].copy()
        member[:, number] = member.any(-1)
        projectors = np.stack([span.swapaxes(1, 2) @ span for span in spans], 1)
        axes = np.linalg.eigh((member[..., None, None] * projectors).sum(1))[1].swapaxes(1, 2)[:, ::-1]
        held = (np.arange(axes.shape[1]) < each.rank[:, None]) & member.any(-1, keepdims=True)
        found.append(_Group(member, axes * held[..., None]))
    return found


def _parted(
    middle: Weights, change: Weights, features: FeatureDistribution, order: Sequence[str], parallel: float
) -> tuple[np.ndarray, np.ndarray]:
    sound = np.asarray(np.isfinite(change + middle)).all((1, 2)).reshape(-1)
    M, dW = (np.where(sound[:, None, None], each, 0.0) for each in (middle, change))
    sets = [_Set.of(M, own) for own in slices(features)]
    groups = _groups(sets, parallel)
    n, m = M.shape[1:]
    frame = _Frame(M)
    frame.add(_antisymmetric(M, m))
    squares, dimensions = np.zeros((len(M), len(order) + 1)), np.zeros((len(M), len(order) + 1))

    def count(part: int, vectors: Float[np.ndarray, "motion vector feature hidden"]) -> None:
        new = frame.add(vectors)
        squares[:, part] += np.square(new @ dW.reshape(len(M), n * m, 1)).sum((1, 2))
        dimensions[:, part] += new.any(-1).sum(-1)

    for number, name in enumerate(order):
        if name == "separation":
            # A common rotation of centroids counts as turn, or as rest if turn is not in the order.
            count(order.index("turn") if "turn" in order else -1, _rotated_as_one(M, sets))
        for vectors in _space(name, M, sets, groups):
            count(number, vectors)
        if name == "twist":
            squares[~np.any([each.member.any(-1) for each in groups], 0), number] = np.nan
    total = np.square(dW).sum((1, 2))
    still = total <= (NO_MOTION * np.linalg.norm(M, axis=(1, 2))) ** 2
    # As a difference, the rest may be slightly negative.
    squares[:, -1] = np.maximum(total - np.nansum(squares[:, :-1], -1), 0.0)
    dimensions[:, -1] += n * m - frame.count
    squares[still] *= 0.0
    squares[~sound] = np.nan
    return squares, dimensions


def _rotated_as_one(M: Weights, sets: Sequence[_Set]) -> Float[np.ndarray, "motion vector feature hidden"]:
    """The motions of all centroids under each generator of rotations, with the members of a set following."""
    centroids = np.zeros_like(M)
    for each in sets:
        centroids[:, each.own] = each.centroid[:, None]
    return _antisymmetric(centroids, M.shape[2])


def _space(
    name: str, M: Weights, sets: Sequence[_Set], groups: Sequence[_Group]
) -> list[Float[np.ndarray, "motion vector feature hidden"]]:
    """Vectors that span the motions of one name, not orthogonal to one another."""
    m = M.shape[2]
    if name == "scaling":
        return [M[:, None]]
    if name == "stretch":
        return [np.stack([M @ _unit_matrix(m, a, b, 1.0) for a in range(m) for b in range(a, m)], 1)]
    found = []
    for number, each in enumerate(sets):
        size = each.own.stop - each.own.start
        lengths = np.linalg.norm(each.centroid, axis=-1, keepdims=True)
        along = np.divide(each.centroid, lengths, out=np.zeros_like(each.centroid), where=lengths > 0)
        match name:
            case "inflation":
                inner = along[:, None, None].repeat(size, 2)
            case "separation":
                across = np.eye(m) - along[:, :, None] * along[:, None]
                inner = across[:, :, None].repeat(size, 2)
            case "opening":
                inner = np.einsum("biw,bwh->bwih", each.left, each.axes) * (each.widths > 0)[..., None, None]
            case "twist":
                found.append(_twists(M, sets, groups[number], number))
                continue
            case "turn":
                inner = _antisymmetric(each.deviations, m)
            case _:
                raise ValueError(f"motions(order=(…, {name!r}, …)): there is no motion of this name")
        vectors = np.zeros((len(M), inner.shape[1], *M.shape[1:]))
        vectors[:, :, each.own] = inner
        found.append(vectors)
    return found


def _twists(
    M: Weights, sets: Sequence[_Set], group: _Group, number: int
) -> Float[np.ndarray, "motion vector feature hidden"]:
    """Rotations of one set within the subspace of its group, minus those of the group as a whole."""
    pairs = list(combinations(range(M.shape[2]), 2))
    vectors = np.zeros((len(M), len(pairs), *M.shape[1:]))
    for at, (a, b) in enumerate(pairs):
        one, other = group.basis[:, a, :, None], group.basis[:, b, None]
        within = one * other - (one * other).swapaxes(1, 2)
        together, alone = np.zeros_like(M), np.zeros_like(M)
        for k, each in enumerate(sets):
            turned = (each.deviations @ within) * group.member[:, k, None, None]
            together[:, each.own] = turned
            if k == number:
                alone[:, each.own] = turned
        sizes = [np.square(each).sum((1, 2))[:, None, None] for each in (alone, together)]
        part = np.divide(sizes[0], sizes[1], out=np.zeros_like(sizes[0]), where=sizes[1] > 0)
        vectors[:, at] = alone - part * together
    return vectors


def _antisymmetric(rows: np.ndarray, m: int) -> Float[np.ndarray, "motion vector feature hidden"]:
    """The motions of rows under each generator of rotations."""
    turned = [rows @ _unit_matrix(m, a, b, -1.0) for a, b in combinations(range(m), 2)]
    return np.stack(turned, 1) if turned else np.zeros((len(rows), 0, *rows.shape[1:]))


def _unit_matrix(m: int, a: int, b: int, sign: float) -> Float[np.ndarray, "m m"]:
    matrix = np.zeros((m, m))
    matrix[b, a] = sign
    matrix[a, b] = 1.0
    return matrix


@final
class _Frame:
    """A growing orthonormal frame in weight space, for many models at once."""

    def __init__(self, weights: Weights) -> None:
        self._vectors: list[Float[np.ndarray, "motion vector parameter"]] = []
        self._scale = np.linalg.norm(weights, axis=(1, 2))

    @property
    def count(self) -> Any:
        """The number of vectors for each model."""
        return sum(each.any(-1).sum(-1) for each in self._vectors)

    def add(self, vectors: Float[np.ndarray, "motion vector feature hidden"]) -> Float[np.ndarray, "motion vector _"]:
        """Add vectors, and return the new orthonormal directions; rows of zeros where a vector adds none."""
        rows = vectors.reshape(*vectors.shape[:2], vectors.shape[2] * vectors.shape[3])
        sizes = np.linalg.norm(rows, axis=-1, keepdims=True)
        least = ZERO * self._scale[:, None, None]
        rows = np.divide(rows, sizes, out=np.zeros_like(rows), where=sizes > least)
        new = np.zeros_like(rows)
        for _ in range(2):
            for old in self._vectors:
                rows = rows - (rows @ old.swapaxes(1, 2)) @ old
        for number in range(rows.shape[1]):
            row = rows[:, number, None]
            # Orthogonalise twice: a short remainder loses its orthogonality to rounding in one pass.
            for _ in range(2):
                row = row - (row @ new[:, :number].swapaxes(1, 2)) @ new[:, :number]
                for old in self._vectors:
                    row = row - (row @ old.swapaxes(1, 2)) @ old
            length = np.linalg.norm(row, axis=-1, keepdims=True)
            new[:, number] = np.divide(row, length, out=np.zeros_like(row), where=length > ZERO)[:, 0]
        self._vectors.append(new)
        return new
