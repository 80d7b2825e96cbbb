"""The measures of routes in the experiment `octahedron`: which occur, what they depend on, and the saddles on them."""

from __future__ import annotations

import numpy as np

from tegum.experiments.octahedron.findings import OctahedronFindings
from tegum.experiments.octahedron.routes import GRID_DENSITIES, PAIRS_FIRST, SMALL_STARTS, STRAIGHT
from tegum.experiments.reporting import Measure, average, in_key, mean, share

DIAGONAL = 3**0.5 / 2
"""The mean cosine between a random direction in three dimensions and the nearest diagonal of the axes: √3 E|x|."""

ROUTES = {STRAIGHT: "straight", PAIRS_FIRST: "pairs_first", "other": "other"}
CONFIGURATIONS = {"opposite": "opposite", "bent": "bent", "not collapsed": "not_collapsed"}
KIND_KEYS = {"opposite": "opposite", "bent, straight": "bent_straight", "bent, pairs first": "bent_pairs_first"}
OUTCOMES = {
    "opposite sets (initial weights)": "opposite_by_start",
    "pairs first (initial weights)": "pairs_first_by_start",
    "pairs first (collapsed sets)": "pairs_first_by_collapsed_sets",
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
"""Routes, configurations, kinds, outcomes and properties of weights, as they appear in keys."""

CALLED = {"route": "route", "stand": "configuration", "kind": "kind of run"}


def of_routes(found: OctahedronFindings) -> list[Measure]:
    """All measures of routes."""
    return [*_of_counts(found), *_of_associations(found), *_of_axes(found), *_of_saddles(found)]


def _of_counts(found: OctahedronFindings) -> list[Measure]:
    small = np.flatnonzero(found.small).tolist()
    rows = []
    for of, names, label, meaning in (
        ("route", ROUTES, found.routes, "runs from small starts that take this route"),
        (
            "stand",
            CONFIGURATIONS,
            found.configurations,
            "runs from small starts that have it just before the sets open",
        ),
        ("kind", KIND_KEYS, found.kinds, "runs from small starts of this kind: configuration of the sets, and route"),
    ):
        rows += [
            share(f"{of}_{key}", f"{CALLED[of]}: {name}", sum(label[k] == name for k in small), len(small), meaning)
            for name, key in names.items()
        ]
    return [*rows, *_of_straight_routes(found), *_of_agreement(found)]


def _of_straight_routes(found: OctahedronFindings) -> list[Measure]:
    """The share of straight runs in each cell with a small start, and for each larger start."""
    small, large = (np.flatnonzero(each).tolist() for each in (found.small, ~found.small))
    rows = []
    for density in GRID_DENSITIES:
        for scale in SMALL_STARTS:
            used = [found.routes[k] for k in small if found.density(k) == density and found.scale(k) == scale]
            key = f"density_{in_key(density)}.start_{in_key(scale)}.route_straight"
            name = f"straight runs at density {density:g}, initial scale {scale:g}"
            rows.append(
                share(key, name, used.count(STRAIGHT), len(used), "runs of this cell that take the straight route")
            )
    for scale, of, called in ((0.2, "start_0_2", "initial scale 0.2"), (None, "xavier", "Xavier starts")):
        used = [found.routes[k] for k in large if found.scale(k) == scale]
        key, name, meaning = (
            f"{of}.route_straight",
            f"straight runs, {called}",
            "runs of all densities that go straight",
        )
        rows.append(share(key, name, used.count(STRAIGHT), len(used), meaning))
    return rows


def _of_agreement(found: OctahedronFindings) -> list[Measure]:
    if found.agreement is None:
        return []
    index, limit, n = found.agreement
    meaning = (
        "agreement of three clusters of trajectories with the three kinds of run; null: 97.5 % quantile with kinds "
        "permuted within cells"
    )
    return [Measure("adjusted_rand_index", "adjusted Rand index", index, "", n=n, null=limit, meaning=meaning)]


def _of_axes(found: OctahedronFindings) -> list[Measure]:
    """Dependence on the axes of hidden space: Adam's first steps, equally long in every coordinate, are diagonal."""
    rows = []
    for scale in SMALL_STARTS:
        runs = [k for k in np.flatnonzero(found.small).tolist() if found.scale(k) == scale and found.stages[k]]
        grown = [found.weights[k, found.stages[k][0].regime.last] for k in runs]
        centroids = [np.stack([each[:3].mean(0), each[3:].mean(0)]) for each in grown]
        along = [np.mean(np.abs(each).sum(1) / np.linalg.norm(each, axis=1) / np.sqrt(3)) for each in centroids]
        rows.append(
            average(
                f"start_{in_key(scale)}.centroids_along_diagonals",
                f"alignment of centroids with diagonals, initial scale {scale:g}",
                np.array(along),
                "",
                "cosine between a centroid and the nearest diagonal of the axes at the end of the first regime; "
                "null: a random direction",
                null=DIAGONAL,
            )
        )
    rotated, flipped, chance = found.turned
    for of, name, kept in (
        ("rotated", "rotated starts", rotated),
        ("axes_permuted_and_flipped", "starts with axes permuted and flipped", flipped),
    ):
        meaning = (
            "runs with the same configuration and route as from the original start, on the same mini-batches; "
            "null: two runs from different starts"
        )
        rows.append(share(f"{of}.routes_kept", f"routes kept, {name}", sum(kept), len(kept), meaning, null=chance))
    return rows


def _of_associations(found: OctahedronFindings) -> list[Measure]:
    return [
        Measure(
            f"{OUTCOMES[outcome]}.{FEATURES[each.feature]}",
            f"predictor of {outcome}: {each.feature}",
            each.area,
            "",
            each.low,
            each.high,
            each.n,
            null=0.5 + each.limit if each.area >= 0.5 else 0.5 - each.limit,
            meaning="area under the curve: probability that, of two runs of a cell, the one with the outcome has more"
            + ", among runs with bent sets" * outcome.startswith("pairs")
            + "; null: 95 % limit of the strongest property, with outcomes permuted within cells",
        )
        for outcome, associations in found.predictors.items()
        for each in associations
    ]


def _of_saddles(found: OctahedronFindings) -> list[Measure]:
    places = [each for _, _, passed in found.saddles for each in passed]
    fast = [float(each.fast_is_saddle) for each in places if each.fast_is_saddle is not None]
    rows = [
        share(
            "slow_places_near_saddle",
            "plateaus of noiseless twins near a saddle",
            sum(each.saddle for each in places),
            len(places),
            "slowest points of plateaus and last turns near a saddle, where all but the last plateau should be; "
            "null: where the loss falls fastest between plateaus",
            runs=len(found.saddles),
            null=mean(fast),
        )
    ]
    for kind, _, passed in found.saddles:
        for number, each in enumerate(passed, 1):
            cosine = f", cosine of centroids {each.cosine:.2f}" if each.near and np.isfinite(each.cosine) else ""
            where = "last turn" if each.turning else "plateau"
            meaning = f"{each.label}{cosine}; {where} of the noiseless twin, steps {each.start} to {each.end}"
            value = each.point.loss if each.near else None
            key, name = f"{KIND_KEYS[kind]}.critical_point_{number}", f"loss at critical point {number}, {kind}"
            rows.append(Measure(key, name, value, "loss", n=1, meaning=meaning))
    return rows
