"""The criteria of the experiment `linear-first`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tegum.experiments.linear_first.measures import place_key
from tegum.experiments.reporting import Measure, said, weakest
from tegum.experiments.summary import Criterion

if TYPE_CHECKING:
    from tegum.experiments.linear_first.findings import LinearFirstFindings

MOST_RUNS, NEARLY_ALL = 0.5, 0.9
"""Shares of runs that criteria require: most, and nearly all."""

FEWEST_TESTED_RUNS = 4
"""With fewer runs, even if all agree, the 95 % interval of their share does not lie above one half."""


def testable(found: LinearFirstFindings) -> bool:
    """Whether enough runs of every ensemble trained to their end for a criterion to pass."""
    return found.fewest >= FEWEST_TESTED_RUNS


def criteria(found: LinearFirstFindings, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """The criteria of the protocol, in its order."""
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
    full, some_time = "first_plateau_at_full_rank", "first_plateau_at_full_rank_at_some_time"
    lower = measured["linear_runs_that_end_below_linear_solutions"]

    def criterion(key: str, title: str, text: str, keys: Sequence[str], also: bool = True) -> Criterion:
        return Criterion(key, text, most(keys) and also, title, weakest(measured, keys), f"{100 * MOST_RUNS:g} %")

    return (
        criterion("room_to_spare.linear_where_slowest", "Room to spare: rests at linear optimum",
                  "With dimensions to spare, the first plateau of most runs is at the linear optimum of rank k where "
                  "slowest.",
                  [f"{each.key}.{full}" for each in spare]),
        criterion("room_to_spare.linear_at_some_time", "Room to spare: passes linear optimum",
                  "With dimensions to spare, most first plateaus are at the linear optimum of rank k at some time.",
                  [f"{each.key}.{some_time}" for each in spare]),
        criterion("room_is_short.linear_where_slowest", "Room is short: rests at linear optimum",
                  "With k ≤ m < 2k, the first plateau of most runs is at the linear optimum of rank k where slowest.",
                  [f"{each.key}.{full}" for each in short]),
        Criterion("linear_runs_end_lower",
                  "More than 90 % of the runs whose first plateau is linear end below every linear solution.",
                  _low(lower) > NEARLY_ALL, "Over 90 % end below linear solutions", lower.key,
                  f"{100 * NEARLY_ALL:g} %"),
        criterion("apart.rests_rank_after_rank", "Unlike sets: rests rank after rank",
                  "With well-separated eigenvalues, SGD rests at the linear optimum of one rank after another.",
                  of(["sgd"], "every_expected_plateau", "apart"),
                  bool(nearer) and all(_low(each) > 0 for each in nearer)),
        criterion("descent_in_predicted_order", "SGD and flow: the predicted order",
                  "With SGD and gradient flow, most runs learn the principal directions in the predicted order.",
                  of(descent, "in_predicted_order")),
        criterion("apart.times_as_predicted", "Unlike sets: at predicted times",
                  "With well-separated eigenvalues, most runs learn every direction within 5 % of its predicted time.",
                  of(descent, "every_time_as_predicted", "apart")),
        criterion("close.times_as_predicted", "Similar sets: at predicted times",
                  "With close eigenvalues, most runs learn every direction within 5 % of its predicted time.",
                  of(descent, "every_time_as_predicted", "close")),
        criterion("adamw_in_predicted_order", "AdamW: the predicted order",
                  "With AdamW, too, most runs learn the principal directions in the predicted order.",
                  of(["adamw"], "in_predicted_order")),
    )  # fmt: skip


def answer(found: LinearFirstFindings, measured: Mapping[str, Measure], judged: Sequence[Criterion]) -> str:
    """What was found, in plain words."""
    spare = [
        measured[f"{each.key}.first_plateau_at_full_rank"] for each in found.systems if each.hidden >= 2 * each.sets
    ]
    shares = sorted(each.value for each in spare if each.value is not None)
    first = " to ".join(dict.fromkeys(f"{100 * each:.0f}" for each in (*shares[:1], *shares[-1:])))
    passed = {each.key: each.passed for each in judged}
    ordered = "" if passed["apart.rests_rank_after_rank"] and passed["apart.times_as_predicted"] else "not always "
    below = said(measured["linear_runs_that_end_below_linear_solutions"])
    return (
        f"{first or '?'} % of the runs from a small start with room to spare first rest where the best linear model "
        f"would end, and {below} of all that rest there end with a lower loss than any linear model has. Sets that "
        f"differ enough are {ordered}learned one after another, at predicted times."
    )


def _low(measure: Measure) -> float:
    return -math.inf if measure.low is None else measure.low
