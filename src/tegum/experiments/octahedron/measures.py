"""The measures of the experiment `octahedron`: final states, regimes, and the motions in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from tegum.analysis.dynamics.motions import ORDER
from tegum.analysis.dynamics.stages import MotionStage, commonest, falls, purity
from tegum.experiments.octahedron.findings import OctahedronFindings
from tegum.experiments.octahedron.route_measures import of_routes
from tegum.experiments.octahedron.routes import GRID_DENSITIES, PAIRS_FIRST, STRAIGHT
from tegum.experiments.octahedron.stage_order import by_place, in_order
from tegum.experiments.reporting import Measure, average, by_run, in_key, mean, share

MATCHED = 6 / 15
"""The share of matchings of six features in pairs that join only features of different sets of three."""

BY_DIMENSION = {"inflation": 2 / 15, "separation": 1 / 15, "opening": 4 / 15, "twist": 1 / 15, "turn": 5 / 15}
"""The expected share of each transformation in a motion in a random direction, for two open sets of three in three
dimensions. If the sets are exactly opposite, separation has 2/15 and turn 4/15."""

PURITIES = {
    "share": (
        "ruler_share_by_regimes",
        "share of the dominant motion by regime",
        "share of the dominant motion, mean over the regimes of a run",
    ),
    "over_time": (
        "ruler_share_over_time",
        "share of the dominant motion over time",
        "share of the dominant motion, mean over ln step",
    ),
    "changes": (
        "ruler_changes",
        "boundaries where the dominant motion changes",
        "share of boundaries between regimes at which the dominant motion changes",
    ),
}
"""For each number of `Purity`: the key, the name and the meaning of its measure."""

PLACE_KEYS = {
    "start": "start",
    "first fall": "first_fall",
    "other falls before the opening": "other_falls_before_opening",
    "plateau before the opening": "plateau_before_opening",
    "opening fall": "opening_fall",
    "later falls": "later_falls",
    "end": "end",
}
"""Places in the order of stages, as they appear in keys."""


IN_ORDER = "inflation dominates the first fall, opening a later one, and inflation none after that"

AT_LAST_STEP = "runs that are octahedra joining both sets at the last step"
AT_RANDOM = "null: pairs matched at random"
OTHER_ROUTE = "runs from small starts in which pairs come first"

LEAST_SHARE_OF_MOTION = 0.02
"""Transformations with a mean share of the motion below this are not reported."""


def measures(found: OctahedronFindings) -> list[Measure]:
    """All measures of the experiment, final states first."""
    small, xavier = found.small, found.xavier
    stages = [found.stages[k] for k in np.flatnonzero(small).tolist()]
    null = [found.stages[k] for k in np.flatnonzero(xavier).tolist()]
    return [
        Measure(
            "runs",
            "runs",
            len(found.routes),
            "runs",
            n=len(found.routes),
            meaning="runs of the grid that trained to their end",
        ),
        *_of_ends(found),
        Measure(
            "regimes",
            "regimes",
            *_interval([len(each) for each in stages]),
            n=len(stages),
            null=mean([float(len(each)) for each in null]),
            meaning="regimes per run, from small starts; null: Xavier starts",
        ),
        share(
            "small.regimes_in_order",
            "runs with regimes in order, small starts",
            sum(map(in_order, stages)),
            len(stages),
            f"{IN_ORDER}; null: Xavier starts",
            null=mean([float(in_order(each)) for each in null]),
        ),
        share(
            "xavier.regimes_in_order",
            "runs with regimes in order, Xavier starts",
            sum(map(in_order, null)),
            len(null),
            IN_ORDER,
        ),
        *_of_purity(found),
        *_of_stages(found),
        *_of_sequences(found),
        *_of_twist(found),
        *of_routes(found),
    ]


def _interval(values: Sequence[int]) -> tuple[float | None, str, float | None, float | None]:
    one = average("regimes", "", np.array(values, float), "regimes", "")
    return one.value, one.unit, one.low, one.high


def _of_ends(found: OctahedronFindings) -> list[Measure]:
    small = found.small
    rows = []

    def octahedra(of: str, name: str, used: Bool[np.ndarray, " run"], meaning: str) -> Measure:
        ends = [found.ends[k] == "octahedron" for k in np.flatnonzero(used).tolist()]
        return share(f"{of}.octahedra", name, sum(ends), len(ends), f"{meaning}; {AT_RANDOM}", null=MATCHED)

    became = [found.at_minimum[k] == "octahedron" for k in np.flatnonzero(small).tolist()]
    rows.append(
        share(
            "octahedra_that_join_both_sets",
            "octahedra that join both sets, small starts",
            sum(became),
            len(became),
            f"runs that are such octahedra at the last step or, if unfinished, at their minimum; {AT_RANDOM}",
            null=MATCHED,
        )
    )
    rows.append(octahedra("small", "octahedra, small starts", small, AT_LAST_STEP))
    whole = [k for k, end in enumerate(found.ends) if end == "octahedron"]
    over = np.array([found.loss[k, -1] / found.density(k) ** 2 for k in whole])
    meaning = "exact loss of octahedra at the last step, in units of p², the loss of six unit embeddings without bias"
    rows.append(average("loss_of_octahedra", "loss of octahedra", over, "p²", meaning))
    for density in GRID_DENSITIES:
        at = np.array([found.density(run) == density for run in range(len(found.ends))], bool)
        for start, name, used in (("small", "small", small), ("xavier", "Xavier", found.xavier)):
            of, called = f"density_{in_key(density)}.{start}", f"octahedra at density {density:g}, {name} starts"
            rows.append(octahedra(of, called, at & used, AT_LAST_STEP))
    every = np.ones(len(small), bool)
    rows.append(octahedra("grid", "octahedra, all runs of the grid", every, AT_LAST_STEP))
    left = [k for k, end in enumerate(found.ends) if end != "octahedron"]
    became = sum(found.at_minimum[k] == "octahedron" for k in left)
    rows.append(
        share(
            "unfinished_runs_that_become_octahedra",
            "unfinished runs that become octahedra",
            became,
            len(left),
            "runs that are no octahedron at the last step and become one at their minimum",
        )
    )
    fates = Counter((found.ends[k], found.at_minimum[k]) for k in left)
    rows += [
        Measure(
            f"end_to_minimum_{number}",
            f"{end} → {become}",
            count,
            "runs",
            n=len(found.ends),
            meaning="unfinished runs, by their state at the last step → at their minimum",
        )
        for number, ((end, become), count) in enumerate(fates.most_common(), 1)
    ]
    others = [k for k in left if not found.at_minimum[k].startswith("octahedron")]
    for number, k in enumerate(others, 1):
        start = found.scale(k)
        where = f"density {found.density(k):g}, {'Xavier start' if start is None else f'initial scale {start:g}'}"
        rows.append(
            Measure(
                f"not_octahedron_{number}",
                f"not an octahedron: cell {int(found.cell[k])}, run {int(found.seed[k])}",
                float(found.loss[k, -1]),
                "loss",
                n=1,
                meaning=f"exact loss at the last step; {where}; {found.ends[k]} → {found.at_minimum[k]} at its minimum",
            )
        )
    ends, at_minimum = found.dense
    rows.append(
        share(
            "dense.octahedra",
            "octahedra at density 0.2",
            at_minimum.count("octahedron"),
            len(at_minimum),
            "runs that are octahedra at their minimum; at the last step they are "
            + ", ".join(f"{count} {end}" for end, count in Counter(ends).most_common(4)),
        )
    )
    return rows


def _of_stages(found: OctahedronFindings) -> list[Measure]:
    """For each place in the order of regimes: its time, the dominant motions, and the share of each transformation."""
    runs = [found.stages[k] for k in np.flatnonzero(found.small).tolist()]
    return [row for place, stages in by_place(runs).items() if stages for row in _of_place(place, stages)]


def _of_place(place: str, stages: Sequence[tuple[int, MotionStage]]) -> list[Measure]:
    """The measures of one place, from its stages as pairs of the run's position and the stage."""
    of = PLACE_KEYS[place]
    dominant = Counter(stage.dominant for _, stage in stages)
    counts = ", ".join(f"{motion} {count}" for motion, count in dominant.most_common())
    starts, ends = ([(run, getattr(stage.regime, name)) for run, stage in stages] for name in ("start", "end"))
    drops = by_run([(run, 1 - stage.regime.after / stage.regime.before) for run, stage in stages])
    rows = [
        _geometric_mean(f"{of}.begin", f"{place}: first step", starts, "first step of this stage"),
        _geometric_mean(f"{of}.end", f"{place}: last step", ends, "last step of this stage"),
        average(
            f"{of}.fall_of_loss",
            f"{place}: fall of the loss",
            drops,
            "share",
            f"fraction by which the loss falls during this stage; dominant motions: {counts}",
        ),
    ]
    for name in ORDER:
        values = [(run, stage.shares[name]) for run, stage in stages if np.isfinite(stage.shares[name])]
        if values and np.mean([each for _, each in values]) >= LEAST_SHARE_OF_MOTION:
            rows.append(
                average(
                    f"{of}.{name}",
                    f"{place}: {name}",
                    by_run(values),
                    "share",
                    f"share of {name} in the motion during this stage; null: a motion in a random direction",
                    null=BY_DIMENSION[name],
                )
            )
    return rows


def _geometric_mean(key: str, name: str, steps: Sequence[tuple[int, int]], meaning: str) -> Measure:
    """The geometric mean of steps over runs."""
    one = average(key, name, by_run([(run, np.log(step)) for run, step in steps]), "steps", "")
    value, low, high = (None if each is None else float(np.exp(each)) for each in (one.value, one.low, one.high))
    return Measure(key, name, value, "steps", low, high, one.n, meaning=f"{meaning}, geometric mean over runs")


def _of_sequences(found: OctahedronFindings) -> list[Measure]:
    rows = []
    for of, start, used in (("small", "small", found.small), ("xavier", "Xavier", found.xavier)):
        runs = [found.stages[k] for k in np.flatnonzero(used).tolist()]
        for number, (motions, count) in enumerate(commonest(runs, 4), 1):
            key, name = f"{of}.sequence_{number}", f"sequence from {start} starts: {motions}"
            rows.append(share(key, name, count, len(runs), "runs with this sequence of dominant motions"))
    return rows


def _of_purity(found: OctahedronFindings) -> list[Measure]:
    """How far each regime is one transformation, compared with regimes whose boundaries lie elsewhere."""
    small = [k for k in np.flatnonzero(found.small).tolist() if len(found.stages[k]) > 1]
    rows = []
    for name, (key, called, meaning) in PURITIES.items():
        own = np.array([getattr(purity(found.stages[k]), name) for k in small])
        order, places = (
            np.array([getattr(getattr(found.by_chance[k], null), name) for k in small]) for null in ("order", "places")
        )
        rows += [
            average(
                key,
                called,
                own,
                "share",
                f"{meaning}, from small starts; null: the same regimes in any order",
                null=mean(order.tolist()),
            ),
            average(
                f"{key}_over_any_order",
                f"{called}, excess over any order",
                own - order,
                "share",
                f"{meaning}, minus its mean over the same regimes in any order; from small starts",
            ),
            average(
                f"{key}_over_random_places",
                f"{called}, excess over random places",
                own - places,
                "share",
                f"{meaning}, minus its mean over as many regimes at random places; from small starts",
            ),
        ]
    for name, kind in (("start", "fall"), ("end", "plateau")):
        # A fall starts where a fall follows a plateau, and ends where a plateau follows a fall.
        changed = [
            np.mean(own)
            for k in small
            if (
                own := [
                    one.dominant != other.dominant
                    for one, other in pairwise(found.stages[k])
                    if _ends(one, other, kind)
                ]
            )
        ]
        key, called = f"ruler_changes_at_{name}_of_fall", f"{name}s of falls where the dominant motion changes"
        chance = mean([found.by_chance[k].order.changes for k in small])
        meaning = (
            f"share of the {name}s of falls at which the dominant motion changes, from small starts; "
            "null: all boundaries of the same regimes in any order"
        )
        rows.append(average(key, called, np.array(changed), "share", meaning, null=chance))
    return rows


def _ends(one: MotionStage, other: MotionStage, kind: str) -> bool:
    return one.regime.kind != other.regime.kind == kind


def _last(stages: Sequence[MotionStage]) -> float:
    value = stages[-1].shares["twist"] if stages else np.nan
    return value if np.isfinite(value) else 0.0


def _of_twist(found: OctahedronFindings) -> list[Measure]:
    small = np.flatnonzero(found.small).tolist()
    by_route = {route: [k for k in small if found.routes[k] == route] for route in (STRAIGHT, PAIRS_FIRST)}
    straight, other = by_route[STRAIGHT], by_route[PAIRS_FIRST]
    seen, null = (
        [any(each.dominant == "twist" for each in falls(found.stages[k])) for k in runs] for runs in (straight, other)
    )
    last, nulls = ([_last(found.stages[k]) for k in runs] for runs in (straight, other))
    turn, null_turn = ([found.last_turn(k)["twist"] for k in runs] for runs in (straight, other))
    times = found.steps
    whole = [k for k in straight if found.course.whole[k] < len(times)]
    turns = np.array([np.log(times[found.course.whole[k]] / times[found.course.facing[k]]) for k in whole])
    drops = np.array([1 - found.loss[k, found.course.whole[k]] / found.loss[k, found.course.facing[k]] for k in whole])
    return [
        share(
            "straight.falls_ruled_by_twist",
            "runs with a fall dominated by twist, straight",
            sum(seen),
            len(seen),
            f"straight runs from small starts with such a fall; null: {OTHER_ROUTE}",
            null=mean([float(each) for each in null]),
        ),
        average(
            "straight.twist_in_last_regime",
            "twist in the last regime, straight",
            np.array(last),
            "share",
            f"share of twist in the motion of the last regime, straight runs from small starts; null: {OTHER_ROUTE}",
            null=mean(nulls),
        ),
        average(
            "straight.twist_in_last_turn",
            "twist in the last turn, straight",
            np.array([each for each in turn if np.isfinite(each)]),
            "share",
            "share of twist in the motion from two opposite open triangles to three pairs, straight runs from small "
            f"starts; null: from the first pair to three, {OTHER_ROUTE}",
            null=mean([each for each in null_turn if np.isfinite(each)]),
        ),
        average(
            "straight.time_from_triangles_to_octahedron",
            "time from triangles to the octahedron, straight",
            turns,
            "ln step",
            "time from two opposite open triangles to three antipodal pairs, straight runs from small starts",
        ),
        average(
            "straight.fall_of_loss_from_triangles_to_octahedron",
            "fall of the loss from triangles to the octahedron, straight",
            drops,
            "share",
            "fraction by which the loss falls between two opposite open triangles and three antipodal pairs, straight "
            "runs from small starts",
        ),
    ]
