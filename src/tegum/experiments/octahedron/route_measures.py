"""The measures of the experiment `octahedron` that tell of its routes: which there are, what decides, which saddles."""

from __future__ import annotations

import numpy as np

from tegum.experiments.octahedron.findings import OctahedronFindings
from tegum.experiments.octahedron.routes import GRID_DENSITIES, PAIRS_FIRST, SMALL_STARTS, STRAIGHT
from tegum.experiments.reporting import Measure, average, in_key, mean, share

DIAGONAL = 3**0.5 / 2
"""The mean cosine of a random direction in three dimensions to the nearest diagonal of the axes: √3 E|x|."""

ROUTES = {STRAIGHT: "straight", PAIRS_FIRST: "pairs_first", "other": "other"}
STANDS = {"opposite": "opposite", "bent": "bent", "not collapsed": "not_collapsed"}
KIND_KEYS = {"opposite": "opposite", "bent, straight": "bent_straight", "bent, pairs first": "bent_pairs_first"}
OUTCOMES = {
    "opposite, by the start": "opposite_by_start",
    "pairs first, by the start": "pairs_first_by_start",
    "pairs first, by the collapsed sets": "pairs_first_by_collapsed_sets",
}
FEATURES = {
    "cosine of centroids": "cosine_of_centroids",
    "larger centroid": "larger_centroid",
    "ratio of centroids": "ratio_of_centroids",
    "spread over centroid": "spread_over_centroid",
    "second width over first": "second_width_over_first",
    "parallel planes": "parallel_planes",
    "parallel first axes": "parallel_first_axes",
    "coordinates of opposite sign": "coordinates_of_opposite_sign",
}
"""All these, in keys."""


def of_routes(found: OctahedronFindings) -> list[Measure]:
    """All of them."""
    return [*_of_counts(found), *_of_associations(found), *_of_axes(found), *_of_saddles(found)]


def _of_counts(found: OctahedronFindings) -> list[Measure]:
    small = np.flatnonzero(found.small).tolist()
    rows = []
    for of, names, label, meaning in (
        ("route", ROUTES, found.routes, "from small starts"),
        ("stand", STANDS, found.stands, "when they begin to open"),
        ("kind", KIND_KEYS, found.kinds, "from small starts"),
    ):
        rows += [
            share(f"{of}_{key}", f"{of} {name}", sum(label[k] == name for k in small), len(small), meaning)
            for name, key in names.items()
        ]
    return [*rows, *_of_straight_routes(found), *_of_agreement(found)]


def _of_straight_routes(found: OctahedronFindings) -> list[Measure]:
    """How many runs of each cell with a small start go straight, and of each larger start."""
    small, large = (np.flatnonzero(each).tolist() for each in (found.small, ~found.small))
    rows = []
    for density in GRID_DENSITIES:
        for scale in SMALL_STARTS:
            used = [found.routes[k] for k in small if found.density(k) == density and found.scale(k) == scale]
            key = f"density_{in_key(density)}.start_{in_key(scale)}.route_straight"
            name = f"route straight at {density:g}, start {scale:g}"
            rows.append(share(key, name, used.count(STRAIGHT), len(used), "of its cell"))
    for scale, of, told in ((0.2, "start_0_2", "0.2"), (None, "xavier", "Xavier's")):
        used = [found.routes[k] for k in large if found.scale(k) == scale]
        key, name = f"{of}.route_straight", f"route straight, start {told}"
        rows.append(share(key, name, used.count(STRAIGHT), len(used), "all densities"))
    return rows


def _of_agreement(found: OctahedronFindings) -> list[Measure]:
    if found.agreement is None:
        return []
    index, limit, n = found.agreement
    told = "of three clusters of trajectories with the three kinds; null: 97.5 % limit of kinds permuted in cells"
    return [Measure("adjusted_rand_index", "adjusted Rand index", index, "1", n=n, null=limit, meaning=told)]


def _of_axes(found: OctahedronFindings) -> list[Measure]:
    """Adam's first steps are as long in every coordinate: along the diagonals of hidden space, which gauge has not."""
    rows = []
    for scale in SMALL_STARTS:
        runs = [k for k in np.flatnonzero(found.small).tolist() if found.scale(k) == scale and found.stages[k]]
        grown = [found.weights[k, found.stages[k][0].regime.last] for k in runs]
        centroids = [np.stack([each[:3].mean(0), each[3:].mean(0)]) for each in grown]
        along = [np.mean(np.abs(each).sum(1) / np.linalg.norm(each, axis=1) / np.sqrt(3)) for each in centroids]
        told = "at the end of the first regime; null: a random direction"
        rows.append(
            average(
                f"start_{in_key(scale)}.centroids_along_diagonals",
                f"centroids along diagonals, start {scale:g}",
                np.array(along),
                "1",
                f"cosine {told}",
                null=DIAGONAL,
            )
        )
    rotated, flipped, chance = found.turned
    for of, name, kept in (
        ("rotated", "rotated", rotated),
        ("axes_permuted_and_flipped", "axes permuted and flipped", flipped),
    ):
        told = "as from the start itself, on the same mini-batches; null: two runs from different starts"
        rows.append(share(f"{of}.routes_kept", f"routes kept, start {name}", sum(kept), len(kept), told, null=chance))
    return rows


def _of_associations(found: OctahedronFindings) -> list[Measure]:
    return [
        Measure(
            f"{OUTCOMES[outcome]}.{FEATURES[each.feature]}",
            f"{outcome}: {each.feature}",
            each.area,
            "1",
            each.low,
            each.high,
            each.n,
            null=0.5 + each.limit if each.area >= 0.5 else 0.5 - each.limit,
            meaning="of the bent; " * outcome.startswith("pairs")
            + "area under the curve, pairs of a cell; null: 95 % limit of outcomes permuted in cells, for the largest",
        )
        for outcome, associations in found.decides.items()
        for each in associations
    ]


def _of_saddles(found: OctahedronFindings) -> list[Measure]:
    places = [each for _, _, passed in found.passed for each in passed]
    fast = [float(each.fast_is_saddle) for each in places if each.fast_is_saddle is not None]
    rows = [
        share(
            "slow_places_near_saddle",
            "slow places of noiseless twins near a saddle",
            sum(each.saddle for each in places),
            len(places),
            "all but the last plateau should be; null: where the loss falls fastest between them",
            runs=len(found.passed),
            null=mean(fast),
        )
    ]
    for kind, _, passed in found.passed:
        for number, each in enumerate(passed, 1):
            cosine = f", cosine of centroids {each.cosine:.2f}" if each.near and np.isfinite(each.cosine) else ""
            where = "triangles turn" if each.turning else "plateau"
            told = f"{each.label}{cosine}; {where} at steps {each.start} to {each.end}"
            value = each.point.loss if each.near else None
            key, name = f"{KIND_KEYS[kind]}.critical_point_{number}", f"{kind}, critical point {number}"
            rows.append(Measure(key, name, value, "loss", n=1, meaning=told))
    return rows
