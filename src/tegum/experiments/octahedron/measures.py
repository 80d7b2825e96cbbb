"""The measures of the experiment `octahedron`: how runs end, and their regimes."""

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
"""Of the matchings of six features in pairs, so many join different sets of three only."""

BY_DIMENSION = {"inflation": 2 / 15, "separation": 1 / 15, "opening": 4 / 15, "twist": 1 / 15, "turn": 5 / 15}
"""The share of each transformation in a motion of random direction of two open sets of three, in three dimensions;
where they stand exactly opposite, separation has 2/15 and turn 4/15."""

PURITIES = {
    "share": "share of the ruler, by regimes",
    "over_time": "share of the ruler, over time",
    "changes": "boundaries at which the ruler changes",
}
"""What is measured of `Purity`."""

PLACE_KEYS = {
    "start": "start",
    "first fall": "first_fall",
    "other falls before the opening": "other_falls_before_opening",
    "plateau before the opening": "plateau_before_opening",
    "opening fall": "opening_fall",
    "later falls": "later_falls",
    "end": "end",
}
"""Places in the order of stages, in keys."""


LEAST_SHARE_OF_MOTION = 0.02
"""Transformations with a smaller mean share of the motion are not reported."""


def measures(found: OctahedronFindings) -> list[Measure]:
    """All of them, the ends first."""
    small, xavier = found.small, found.xavier
    stages = [found.stages[k] for k in np.flatnonzero(small).tolist()]
    null = [found.stages[k] for k in np.flatnonzero(xavier).tolist()]
    return [
        Measure(
            "runs", "runs", len(found.routes), "run", n=len(found.routes), meaning="in the grid, trained to their end"
        ),
        *_of_ends(found),
        Measure(
            "regimes",
            "regimes",
            *_interval([len(each) for each in stages]),
            n=len(stages),
            null=mean([float(len(each)) for each in null]),
            meaning="from small starts; null: Xavier's",
        ),
        share(
            "small.regimes_in_order",
            "regimes in order",
            sum(map(in_order, stages)),
            len(stages),
            "from small starts: inflation rules the first fall, opening a later one; null: Xavier's",
            null=mean([float(in_order(each)) for each in null]),
        ),
        share(
            "xavier.regimes_in_order",
            "regimes in order, Xavier's start",
            sum(map(in_order, null)),
            len(null),
            "from Xavier's starts: inflation rules the first fall, opening a later one",
        ),
        *_of_purity(found),
        *_of_stages(found),
        *_of_sequences(found),
        *_of_twist(found),
        *of_routes(found),
    ]


def _interval(values: Sequence[int]) -> tuple[float | None, str, float | None, float | None]:
    one = average("regimes", "", np.array(values, float), "regime", "")
    return one.value, one.unit, one.low, one.high


def _of_ends(found: OctahedronFindings) -> list[Measure]:
    small = found.small
    rows = []

    def octahedra(of: str, name: str, used: Bool[np.ndarray, " run"], meaning: str) -> Measure:
        ends = [found.ends[k] == "octahedron" for k in np.flatnonzero(used).tolist()]
        told = f"{meaning}; null: pairs matched at random"
        return share(f"{of}.octahedra", name, sum(ends), len(ends), told, null=MATCHED)

    became = [found.becomes[k] == "octahedron" for k in np.flatnonzero(small).tolist()]
    rows.append(
        share(
            "octahedra_that_join_both_sets",
            "octahedra that join both sets",
            sum(became),
            len(became),
            "from small starts, unfinished runs brought to a minimum; null: pairs matched at random",
            null=MATCHED,
        )
    )
    rows.append(octahedra("small", "octahedra, small starts", small, "at the last step"))
    whole = [k for k, end in enumerate(found.ends) if end == "octahedron"]
    over = np.array([found.loss[k, -1] / found.density(k) ** 2 for k in whole])
    told = "exact loss over p², that of six unit embeddings without bias"
    rows.append(average("loss_of_octahedra", "loss of octahedra", over, "p²", told))
    for density in GRID_DENSITIES:
        at = np.array([found.density(run) == density for run in range(len(found.ends))], bool)
        for start, name, used in (("small", "small", small), ("xavier", "Xavier's", found.xavier)):
            of, told = f"density_{in_key(density)}.{start}", f"octahedra at {density:g}, {name} start"
            rows.append(octahedra(of, told, at & used, "at the last step"))
    every = np.ones(len(small), bool)
    rows.append(octahedra("grid", "octahedra, all runs of the grid", every, "at the last step"))
    left = [k for k, end in enumerate(found.ends) if end != "octahedron"]
    became = sum(found.becomes[k] == "octahedron" for k in left)
    rows.append(
        share(
            "unfinished_runs_that_become_octahedra",
            "unfinished runs that become octahedra",
            became,
            len(left),
            "of the others, brought to a minimum",
        )
    )
    told = Counter((found.ends[k], found.becomes[k]) for k in left)
    rows += [
        Measure(
            f"end_to_minimum_{number}",
            f"{end} → {become}",
            count,
            "run",
            n=len(found.ends),
            meaning="at the last step → at its minimum",
        )
        for number, ((end, become), count) in enumerate(told.most_common(), 1)
    ]
    others = [k for k in left if not found.becomes[k].startswith("octahedron")]
    for number, k in enumerate(others, 1):
        start = found.scale(k)
        where = f"density {found.density(k):g}, start {'Xavier' if start is None else f'{start:g}'}"
        rows.append(
            Measure(
                f"not_octahedron_{number}",
                f"not an octahedron: cell {int(found.cell[k])}, run {int(found.seed[k])}",
                float(found.loss[k, -1]),
                "loss",
                n=1,
                meaning=f"{where}; {found.ends[k]}; {found.becomes[k]}",
            )
        )
    ends, becomes = found.dense
    rows.append(
        share(
            "dense.octahedra",
            "octahedra at 0.2",
            becomes.count("octahedron"),
            len(becomes),
            "at the minimum; at the last step "
            + ", ".join(f"{count} {end}" for end, count in Counter(ends).most_common(4)),
        )
    )
    return rows


def _of_stages(found: OctahedronFindings) -> list[Measure]:
    """Every place in the order of regimes: what rules it, when it is, and what each transformation has of it."""
    runs = [found.stages[k] for k in np.flatnonzero(found.small).tolist()]
    return [row for place, stages in by_place(runs).items() if stages for row in _of_place(place, stages)]


def _of_place(place: str, stages: Sequence[tuple[int, MotionStage]]) -> list[Measure]:
    """One place: positions of runs, and what stands there in each."""
    of = PLACE_KEYS[place]
    rulers = Counter(stage.dominant for _, stage in stages)
    told = ", ".join(f"{ruler} {count}" for ruler, count in rulers.most_common())
    starts, ends = ([(run, getattr(stage.regime, name)) for run, stage in stages] for name in ("start", "end"))
    drops = by_run([(run, 1 - stage.regime.after / stage.regime.before) for run, stage in stages])
    rows = [
        _geometric_mean(f"{of}.begin", f"{place}: begin", starts),
        _geometric_mean(f"{of}.end", f"{place}: end", ends),
        average(f"{of}.fall_of_loss", f"{place}: fall of the loss", drops, "1", f"part of it; rulers: {told}"),
    ]
    for name in ORDER:
        values = [(run, stage.shares[name]) for run, stage in stages if np.isfinite(stage.shares[name])]
        if values and np.mean([each for _, each in values]) >= LEAST_SHARE_OF_MOTION:
            rows.append(
                average(
                    f"{of}.{name}",
                    f"{place}: {name}",
                    by_run(values),
                    "1",
                    "share of the motion; null: a motion in a random direction",
                    null=BY_DIMENSION[name],
                )
            )
    return rows


def _geometric_mean(key: str, name: str, steps: Sequence[tuple[int, int]]) -> Measure:
    """Of steps, over runs."""
    one = average(key, name, by_run([(run, np.log(step)) for run, step in steps]), "step", "")
    value, low, high = (None if each is None else float(np.exp(each)) for each in (one.value, one.low, one.high))
    return Measure(key, name, value, "step", low, high, one.n, meaning="geometric mean")


def _of_sequences(found: OctahedronFindings) -> list[Measure]:
    rows = []
    for of, start, used in (("small", "small", found.small), ("xavier", "Xavier's", found.xavier)):
        runs = [found.stages[k] for k in np.flatnonzero(used).tolist()]
        for number, (told, count) in enumerate(commonest(runs, 4), 1):
            key, name = f"{of}.sequence_{number}", f"{start} start: {told}"
            rows.append(share(key, name, count, len(runs), "rulers of the regimes in order"))
    return rows


def _of_purity(found: OctahedronFindings) -> list[Measure]:
    """How far regimes are one transformation each, and how far they are with their boundaries elsewhere."""
    small = [k for k in np.flatnonzero(found.small).tolist() if len(found.stages[k]) > 1]
    rows = []
    for name, key, meaning in (
        ("share", "ruler_share_by_regimes", "share of the ruler, mean over the regimes of a run"),
        ("over_time", "ruler_share_over_time", "share of the ruler, mean over ln step"),
        ("changes", "ruler_changes", "part of the boundaries of regimes at which the ruler changes"),
    ):
        own = np.array([getattr(purity(found.stages[k]), name) for k in small])
        order, places = (
            np.array([getattr(getattr(found.by_chance[k], null), name) for k in small]) for null in ("order", "places")
        )
        told = PURITIES[name]
        null = mean(order.tolist())
        rows += [
            average(
                key, told, own, "1", f"{meaning}, from small starts; null: the same regimes in any order", null=null
            ),
            average(
                f"{key}_over_any_order",
                f"{told}, over any order",
                own - order,
                "1",
                f"{meaning}, less that of the same regimes in any order",
            ),
            average(
                f"{key}_over_random_places",
                f"{told}, over random places",
                own - places,
                "1",
                f"{meaning}, less that of regimes at random places",
            ),
        ]
    for name, kind in (("start", "fall"), ("end", "plateau")):
        # Of a fall: where it begins, and where a plateau follows it.
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
        key, told = f"ruler_changes_at_{name}_of_fall", f"ruler changes at the {name} of a fall"
        chance = mean([found.by_chance[k].order.changes for k in small])
        meaning = f"part of the {name}s of falls; null: those of the same regimes in any order"
        rows.append(average(key, told, np.array(changed), "1", meaning, null=chance))
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
            "falls ruled by twist, straight",
            sum(seen),
            len(seen),
            "of the straight runs from small starts have one; null: runs in which pairs come first",
            null=mean([float(each) for each in null]),
        ),
        average(
            "straight.twist_in_last_regime",
            "twist in the last regime, straight",
            np.array(last),
            "1",
            "its share in the motion; null: runs in which pairs come first",
            null=mean(nulls),
        ),
        average(
            "straight.twist_in_last_turn",
            "twist in the last turn, straight",
            np.array([each for each in turn if np.isfinite(each)]),
            "1",
            "its share, from two open triangles to three pairs; null: from the first pair, where pairs come first",
            null=mean([each for each in null_turn if np.isfinite(each)]),
        ),
        average(
            "straight.time_from_triangles_to_octahedron",
            "time from triangles to the octahedron, straight",
            turns,
            "1",
            "ln step, from two open triangles that stand opposite to three antipodal pairs",
        ),
        average(
            "straight.fall_of_loss_from_triangles_to_octahedron",
            "fall of the loss in this time, straight",
            drops,
            "1",
            "part of it",
        ),
    ]
