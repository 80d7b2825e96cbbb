"""How two sets of three become an octahedron: shapes along the way, routes, and final states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

GRID_DENSITIES = (0.02, 0.05, 0.1)
SCALES = (0.01, 0.05, 0.2, None)
"""The standard deviations of initial weights in the grid; None for Xavier."""
SMALL_STARTS = (0.01, 0.05)
"""The standard deviations that count as small starts."""

TURNED = (0.05, 0.01)
"""The density and initial scale of the runs that are trained again from transformed starts."""

ANTIPODAL, NOT_ANTIPODAL = -0.9, -0.6
"""The cosine of an antipodal pair is at most the first, and no other cosine between one of its features and the other
set is at most the second: collapsed sets that face each other are not pairs."""

OPEN = 0.5
"""A set is open if all cosines within it are below this."""

OPPOSITE = -0.9
"""Two sets are opposite if the cosine between their centroids is at most this."""

REPRESENTED_RATIO = 0.5
"""The shortest embedding of represented features has at least this fraction of the length of the longest."""

FINGERPRINT_LEVELS = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Fractions of the fall of ln loss, from the collapsed sets to the end, at which trajectories are compared."""

STRAIGHT, PAIRS_FIRST = "straight", "pairs first"
ROUTE_KINDS = ("opposite", "bent, straight", "bent, pairs first")
"""The kinds of run: the configuration of the sets just before they open, and the route. The few runs whose sets are
opposite count as one kind."""


@final
@dataclass(frozen=True, eq=False)
class SetShapes:
    """The shape of two sets of three at every snapshot, independent of rotations of hidden space."""

    cosine: Float[np.ndarray, "run step"]
    """The cosine between the centroids of both sets."""
    collapsed: Bool[np.ndarray, "run step"]
    """Whether both sets are collapsed."""
    open: Bool[np.ndarray, "run step"]
    """Whether both sets are open."""
    pairs: Int[np.ndarray, "run step"]
    """The number of antipodal pairs that join features of different sets."""

    @property
    def opening(self) -> Int[np.ndarray, " run"]:
        """The position of the last snapshot at which both sets are collapsed; −1 if they never are."""
        last = self.collapsed.shape[1] - 1 - np.argmax(self.collapsed[:, ::-1], 1)
        return np.where(self.collapsed.any(1), last, -1)

    @property
    def paired(self) -> Int[np.ndarray, " run"]:
        """The position from which there is an antipodal pair for good; the number of snapshots if never."""
        return lasting(self.pairs >= 1)

    @property
    def facing(self) -> Int[np.ndarray, " run"]:
        """The position from which two open triangles are opposite for good; the number of snapshots if never.

        Such triangles form a prism, an antiprism, or anything in between.
        """
        return lasting(self.open & (self.cosine <= OPPOSITE))

    @property
    def whole(self) -> Int[np.ndarray, " run"]:
        """The position from which there are three pairs (an octahedron) for good; the number of snapshots if never."""
        return lasting(self.pairs == 3)

    def routes(self) -> list[str]:
        """The route of each run: straight if its triangles are open and opposite before the first pair forms."""
        last = self.cosine.shape[1]
        return [
            "other" if min(face, pair) == last else STRAIGHT if face <= pair else PAIRS_FIRST
            for face, pair in zip(self.facing.tolist(), self.paired.tolist(), strict=True)
        ]

    def configurations(self) -> list[str]:
        """The configuration of the sets of each run at the last snapshot at which both are collapsed."""
        return [
            "not collapsed" if at < 0 else "opposite" if self.cosine[run, at] <= OPPOSITE else "bent"
            for run, at in enumerate(self.opening.tolist())
        ]


def lasting(mask: Bool[np.ndarray, "run step"]) -> Int[np.ndarray, " run"]:
    """The position from which something is true for good; the number of steps if it is not true at the end."""
    wrong = np.argmax(~mask[:, ::-1], 1)
    return np.where(mask.all(1), 0, mask.shape[1] - wrong)


def course(weights: Float[np.ndarray, "run step feature hidden"], features: FeatureDistribution) -> SetShapes:
    """Find the shapes of two sets of three along trajectories."""
    from tegum.analysis.sets.collapse import collapsed_sets

    W = weights.astype(np.float64)
    lengths = np.linalg.norm(W, axis=-1, keepdims=True)
    directions = W / np.maximum(lengths, 1e-30)
    cosines = directions @ directions.swapaxes(-1, -2)
    centroids = np.stack([W[..., :3, :].mean(-2), W[..., 3:, :].mean(-2)], -2)
    units = centroids / np.maximum(np.linalg.norm(centroids, axis=-1, keepdims=True), 1e-30)
    least = lengths.min((-2, -1)) >= REPRESENTED_RATIO * lengths.max((-2, -1))
    return SetShapes(
        cosine=(units[..., 0, :] * units[..., 1, :]).sum(-1),
        collapsed=np.logical_and.reduce(np.asarray(collapsed_sets(weights, features)), -1),
        open=(_within(cosines).max(-1) < OPEN) & least,
        pairs=antipodal(cosines[..., :3, 3:]).sum((-2, -1)) * least,
    )


def antipodal(cosines: Float[np.ndarray, "*run 3 3"]) -> Bool[np.ndarray, "*run 3 3"]:
    """Whether each feature of one set and each of the other form an antipodal pair, from their cosines."""
    near = cosines <= NOT_ANTIPODAL
    alone = (near.sum(-1, keepdims=True) == 1) & (near.sum(-2, keepdims=True) == 1)
    return (cosines <= ANTIPODAL) & alone


def _within(cosines: Float[np.ndarray, "*run 6 6"]) -> Float[np.ndarray, "*run 6"]:
    rows, columns = np.array([0, 0, 1, 3, 3, 4]), np.array([1, 2, 2, 4, 5, 5])
    return cosines[..., rows, columns]


def ending(weights: Float[np.ndarray, "6 3"], features: FeatureDistribution) -> str:
    """Classify the state of a run as octahedron, still turning, dropped, or other, with the name of its polytope."""
    from tegum.analysis.geometry.polytopes import name_polytope

    name = name_polytope(weights).name
    (now,) = (course(weights[None, None], features),)
    norms = np.linalg.norm(weights, axis=1)
    if not np.isfinite(weights).all():
        return "other: diverged"
    if norms.min() < REPRESENTED_RATIO * norms.max():
        return f"dropped: {name}"
    if name == "octahedron":
        return name if now.pairs[0, 0] == 3 else "other: octahedron with pairs inside sets"
    if now.open[0, 0] and now.cosine[0, 0] <= OPPOSITE:
        return f"still turning: {name}"
    return f"other: {name}"


def continued(spec: Spec, weights: Float[np.ndarray, "*run 6 3"], bias: Float[np.ndarray, "*run 6"]) -> Spec:
    """The Spec that takes one run, or several, from their present weights to a minimum of the exact loss by L-BFGS."""
    from tegum.training.spec.methods import Exact

    return spec.continued_from(weights, bias, training=Exact(gradient_tolerance=1e-7))


def fingerprints(
    weights: Float[np.ndarray, "run step 6 3"], loss: Float[np.ndarray, "run step"], begin: Int[np.ndarray, " run"]
) -> Float[np.ndarray, "run number"]:
    """Describe trajectories by numbers that do not depend on gauge, on the order of features and sets, or on speed.

    At each of `FINGERPRINT_LEVELS` these are the cosines within both sets and those between them, each sorted.

    Args:
        weights: W at every snapshot.
        loss: the exact loss at every snapshot.
        begin: for each run, the position of the snapshot from which the fall counts.

    """
    found = []
    for run, first in enumerate(begin.tolist()):
        height = np.log(loss[run])
        levels = height[first] + np.array(FINGERPRINT_LEVELS) * (height[-1] - height[first])
        below = height[None, first:] <= levels[:, None]
        W = weights[run, first + below.argmax(1)].astype(np.float64)
        directions = W / np.linalg.norm(W, axis=-1, keepdims=True)
        cosines = directions @ directions.swapaxes(-1, -2)
        between = np.sort(cosines[:, :3, 3:].reshape(len(W), 9), 1)
        found.append(np.concatenate([np.sort(_within(cosines), 1), between], 1).ravel())
    return np.array(found)


def clusters(points: Float[np.ndarray, "run number"], count: int) -> Int[np.ndarray, " run"]:
    """Cluster points by Ward's method, cut into `count` clusters (scipy.cluster)."""
    from scipy.cluster.hierarchy import fcluster, linkage

    return fcluster(linkage(points, "ward"), count, "maxclust")


def adjusted_rand(one: Any, other: Any) -> float:
    """Agreement of two partitions: 1 if they are the same, 0 in expectation by chance (Hubert & Arabie, 1985)."""
    table = np.zeros((len(set(one)), len(set(other))))
    np.add.at(table, (np.unique(one, return_inverse=True)[1], np.unique(other, return_inverse=True)[1]), 1)

    def couples(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = couples(table), couples(table.sum(1)), couples(table.sum(0))
    chance = rows * columns / max(couples(table.sum(keepdims=True)), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == chance else (both - chance) / (most - chance)


def rotations(count: int, rng: np.random.Generator) -> Float[np.ndarray, "2 run 3 3"]:
    """Draw random orthogonal matrices of hidden space, and random ones that only permute and flip its axes."""
    free, signs = np.linalg.qr(rng.normal(size=(count, 3, 3))), rng.choice([-1.0, 1.0], (count, 3, 1))
    # Q is uniform only once the signs of the diagonal of R are fixed (Mezzadri, Notices of the AMS 54, 2007).
    uniform = free.Q * np.sign(np.diagonal(free.R, axis1=1, axis2=2))[:, None]
    orders = np.stack([np.eye(3)[rng.permutation(3)] for _ in range(count)])
    return np.stack([uniform, orders * signs])


def start_features(weights: Float[np.ndarray, "run 6 3"]) -> dict[str, Float[np.ndarray, " run"]]:
    """Properties of initial weights, all but the last independent of gauge.

    All are symmetric in the two sets, so that their order does not matter. A relative twist is not among them: it is
    undefined in nearly every start.
    """
    W = weights.astype(np.float64)
    sets = [W[:, :3], W[:, 3:]]
    centroids = [each.mean(1) for each in sets]
    norms = [np.linalg.norm(each, axis=1) for each in centroids]
    spread = [np.linalg.svd(each - c[:, None]) for each, c in zip(sets, centroids, strict=True)]
    widths = [each.S for each in spread]
    normals, axes = ([each.Vh[:, k] for each in spread] for k in (2, 0))
    return {
        "cosine of centroids": (centroids[0] * centroids[1]).sum(1) / (norms[0] * norms[1]),
        "larger centroid": np.maximum(*norms),
        "ratio of centroids": np.minimum(*norms) / np.maximum(*norms),
        "spread over centroid": np.sum([w[:, 0] / c for w, c in zip(widths, norms, strict=True)], 0),
        "second width over first": np.sum([w[:, 1] / w[:, 0] for w in widths], 0),
        "parallel planes": np.abs((normals[0] * normals[1]).sum(1)),
        "parallel first axes": np.abs((axes[0] * axes[1]).sum(1)),
        "coordinates of opposite sign": (centroids[0] * centroids[1] < 0).sum(1).astype(float),
    }


def area_under_curve(
    values: Float[np.ndarray, " run"], hits: Bool[np.ndarray, "*some run"]
) -> Float[np.ndarray, "*some"]:
    """Compute the probability that a run with the outcome has the larger value (Mann–Whitney); ties count half.

    Args:
        values: the value of each run.
        hits: which runs have the outcome; several outcomes may be given at once.

    Returns:
        The area under the curve; NaN if all runs have the outcome, or none has.

    """
    from scipy.stats import rankdata

    positive = hits.sum(-1)
    couples = np.asarray(positive * (hits.shape[-1] - positive), np.float64)
    above = hits @ rankdata(values) - positive * (positive + 1) / 2
    return np.divide(above, couples, out=np.full(np.shape(couples), np.nan), where=couples > 0)


def area_error(values: Float[np.ndarray, " run"], hits: Bool[np.ndarray, " run"]) -> float:
    """The standard error of `area_under_curve`; at least two runs must have the outcome, and two must not.

    From DeLong, DeLong & Clarke-Pearson (Biometrics 44, 1988).
    """
    from scipy.stats import rankdata

    ranks = rankdata(values)
    parts = [(ranks[own] - rankdata(values[own])) / (~own).sum() for own in (hits, ~hits)]
    return float(np.sqrt(sum(each.var(ddof=1) / len(each) for each in parts)))


def area_within(
    values: Float[np.ndarray, " run"], hits: Bool[np.ndarray, "*some run"], cell: Int[np.ndarray, " run"]
) -> Float[np.ndarray, "*some"]:
    """`area_under_curve` over pairs of runs of the same cell: 1/2 if the outcome depends on the cell alone.

    NaN if no cell has runs both with and without the outcome.
    """
    above, couples = np.zeros(hits.shape[:-1]), np.zeros(hits.shape[:-1])
    for own in _members(cell):
        positive = hits[..., own].sum(-1)
        both = positive * (own.sum() - positive)
        above += np.where(both > 0, area_under_curve(values[own], hits[..., own]) * both, 0.0)
        couples += both
    return np.divide(above, couples, out=np.full(hits.shape[:-1], np.nan), where=couples > 0)


def error_within(
    values: Float[np.ndarray, " run"], hits: Bool[np.ndarray, " run"], cell: Int[np.ndarray, " run"]
) -> float:
    """The standard error of `area_within`; in every cell, at least two runs must have the outcome, and two must not."""
    found = [(area_error(values[own], hits[own]), hits[own].sum() * (~hits[own]).sum()) for own in _members(cell)]
    errors, couples = np.array(found).T
    return float(np.linalg.norm(errors * couples) / couples.sum())


def mixed(hits: Bool[np.ndarray, " run"], cell: Int[np.ndarray, " run"]) -> Bool[np.ndarray, " run"]:
    """Whether each run belongs to a cell in which at least two runs have the outcome and at least two do not."""
    least = [own & (min(hits[own].sum(), (~hits[own]).sum()) >= 2) for own in _members(cell)]
    return np.logical_or.reduce(least) if least else np.zeros(0, bool)


def permuted_within(
    labels: Shaped[np.ndarray, " run"], cell: Int[np.ndarray, " run"], times: int, rng: np.random.Generator
) -> Shaped[np.ndarray, "time run"]:
    """Permute labels at random among the runs of each cell, `times` times."""
    found = np.tile(labels, (times, 1))
    for own in _members(cell):
        found[:, own] = rng.permuted(found[:, own], axis=1)
    return found


def _members(cell: Int[np.ndarray, " run"]) -> list[Bool[np.ndarray, " run"]]:
    return [cell == each for each in np.unique(cell).tolist()]
