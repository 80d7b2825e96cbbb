"""How linear-first judges what it measured, and what it says of it: criteria, caption, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.analysis.linear.onset import DEFINITIONS
from tegum.analysis.linear.plateau_ranks import PLATEAU_KINDS
from tegum.experiments.framework import Criterion
from tegum.experiments.linear_first.measures import EARLY, LATE, place_key, where_key
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    from tegum.experiments.linear_first.findings import LinearFirstFindings, StartScales

MOST_RUNS, NEARLY_ALL = 0.5, 0.9
"""Shares of runs that criteria ask for."""

FEWEST_TESTED_RUNS = 4
"""With fewer runs not even all of them would be more than half by an interval of 95 %."""


def testable(found: LinearFirstFindings) -> bool:
    """Whether every ensemble has so many runs that trained to their end that it could pass."""
    return found.fewest >= FEWEST_TESTED_RUNS


def criteria(found: LinearFirstFindings, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Those of the experiment's docstring, in its order."""
    spare = [system for system in found.systems if system.hidden >= 2 * system.sets]
    short = [system for system in found.systems if system.sets <= system.hidden < 2 * system.sets]

    def most(keys: Sequence[str]) -> bool:
        chosen = [measured[key] for key in keys]
        return bool(chosen) and all(_low(each) > max(MOST_RUNS, each.null or 0.0) for each in chosen)

    def of(trainings: Sequence[str], what: str, group: str = "") -> list[str]:
        return [
            f"{place_key(way, training)}.{what}"
            for way, training in found.orders
            if training in trainings and way.startswith(group)
        ]

    nearer = [measured[key] for key in of(["sgd"], "rests_nearer_than_random_times", "apart")]
    descent = ["sgd", "flow"]
    return (
        Criterion("room_to_spare.linear_where_slowest",
                  "With room to spare the first plateau of most runs is the linear optimum of rank k where slowest.",
                  most([f"{each.key}.first_plateau_at_full_rank" for each in spare])),
        Criterion("room_to_spare.linear_at_some_time", "With room to spare it is there at some time.",
                  most([f"{each.key}.first_plateau_at_full_rank_at_some_time" for each in spare])),
        Criterion("room_is_short.linear_where_slowest", "Where room is short, k ≤ m < 2k, it is there where slowest.",
                  most([f"{each.key}.first_plateau_at_full_rank" for each in short])),
        Criterion("linear_runs_end_lower",
                  "More than 90 % of the runs whose first plateau is linear end below every linear solution.",
                  _low(measured["linear_runs_that_end_below_linear_solutions"]) > NEARLY_ALL),
        Criterion("apart.rests_rank_after_rank",
                  "Where eigenvalues are well apart, SGD rests at the linear optimum of one rank after the other.",
                  most(of(["sgd"], "every_expected_plateau", "apart"))
                  and bool(nearer) and all(_low(each) > 0 for each in nearer)),
        Criterion("descent_in_predicted_order",
                  "By SGD and gradient flow most runs learn principal directions in the predicted order.",
                  most(of(descent, "in_predicted_order"))),
        Criterion("apart.times_as_predicted",
                  "Where eigenvalues are well apart, most learn each of them at the predicted time, to 5 %.",
                  most(of(descent, "every_time_as_predicted", "apart"))),
        Criterion("close.times_as_predicted",
                  "Where eigenvalues are close, most learn each of them at the predicted time, to 5 %.",
                  most(of(descent, "every_time_as_predicted", "close"))),
        Criterion("adamw_in_predicted_order", "With AdamW, too, most runs learn them in the predicted order.",
                  most(of(["adamw"], "in_predicted_order"))),
    )  # fmt: skip


def caption(found: LinearFirstFindings) -> str:
    """What the panels show."""
    runs = len(found.systems[0].runs[0].first)
    return (
        "First row, left: population loss of k = 4 correlated sets of three, density 0.05, m = 8, AdamW, the first run "
        "from each start scale; lines are the best linear solutions of each rank. Right: three sets of 24, 6 and 1 "
        "features, SGD, the first run; ticks are predicted times. Second row: what the first plateau of "
        f"{runs} runs is, by start scale (X: Xavier), k rising in each group. "
        "Third row, left: share of runs with a plateau at L_r, over the ratio of eigenvalues r and r + 1, SGD; hollow: "
        "close eigenvalues. Right: share of runs that learn the directions in order (filled), and each within 5 % of "
        "its predicted time (hollow). Fourth row: 20 independent features, m = 5, AdamW, start scale "
        f"{np.nanmin([each.scale for each in found.onsets['adamw']]):g}: medians over time; marks: 90 % of the fall of "
        "the loss is done; black: the linear model at density 0.3; dashed: a linear optimum. Fifth row: when "
        "superposition begins, by represented features (solid) and by "
        "|W|²_F > 1.1 m (dotted; from Xavier starts within few steps), and how much of the fall of the loss is done "
        "then. Bars are 95 % intervals."
    )


def failures(found: LinearFirstFindings) -> str:
    """When the claim about plateaus fails, and what the runs do instead."""
    spare = [system for system in found.systems if system.hidden >= 2 * system.sets]
    tight = [system for system in found.systems if system.hidden < 2 * system.sets]
    parts = []
    for name, group in (("m = 2k", spare), ("m = 3", tight)):
        if group:
            counts = Counter(kind for system in group for kind in system.runs[0].kinds)
            told = [f"{counts[kind]} {words}" for kind, words in PLATEAU_KINDS.items() if counts[kind]]
            parts.append(f"{name}: {', '.join(told)}")
    held = [_largest(system) for system in spare]
    return (
        f"First plateaus from scale {found.systems[0].scales[0]:g}; {'; '.join(parts)}. With m = 2k half of the "
        f"runs are at rank k at some time up to a scale of {_range([each for each in held if each], 'g') or 'none'}."
    )


def _largest(system: StartScales) -> float:
    """The largest start scale up to which half of the runs are on the linear optimum at some time; 0 if none is."""
    shares = [np.mean(np.isin(runs.kinds, ("linear", "begun"))) for runs in system.runs[:-1]]
    at = next((number for number, each in enumerate(shares) if each <= MOST_RUNS), len(shares))
    return system.scales[at - 1] if at else 0.0


def answer(found: LinearFirstFindings, measured: Mapping[str, Measure]) -> str:
    """Early or late, by the rule of `when`, in a sentence with numbers for each definition."""
    group = found.onsets["adamw"]
    chosen = [each for each in group if each.scale == np.nanmin([one.scale for one in group])]
    parts = []
    for by, rule in DEFINITIONS.items():
        steps = {each: each.onset.begins(by) for each in chosen}
        reached = [each for each in chosen if np.isfinite(steps[each]).all()]
        if not reached:
            parts.append(f"by {rule}, some runs have none")
            continue
        fallen = [measured[f"{where_key('adamw', each)}.fall_done_at_onset_by_{by}"] for each in reached]
        words = dict.fromkeys(when(each.low, each.high) for each in fallen)
        densities = _range([each.density for each in reached], "g")
        done = _range([each.value for each in fallen if each.value is not None])
        parts.append(f"by {rule}, {' or '.join(words)}: when {done} of the loss's fall is done (densities {densities})")
    return f"Superposition of independent features begins, {'; '.join(parts)}."


def when(low: float | None, high: float | None) -> str:
    """Early, late or midway, by the interval of the part of the fall that is done when superposition begins."""
    if low is None or high is None:
        return "at an unknown time"
    return "early" if high < EARLY else "late" if low > LATE else "midway"


def _low(measure: Measure) -> float:
    return -np.inf if measure.low is None else measure.low


def _range(values: Sequence[float], form: str = ".0%") -> str:
    if not values:
        return ""
    low, high = (format(pick(values), form) for pick in (min, max))
    return low if low == high else f"{low} to {high}"
