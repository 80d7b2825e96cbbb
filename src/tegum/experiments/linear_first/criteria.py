"""The criteria of the experiment `linear-first`, fixed before the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tegum.experiments.framework import Criterion
from tegum.experiments.linear_first.measures import place_key
from tegum.experiments.reporting import Measure

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
    return (
        Criterion("room_to_spare.linear_where_slowest",
                  "With dimensions to spare, the first plateau of most runs is at the linear optimum of rank k where "
                  "slowest.",
                  most([f"{each.key}.first_plateau_at_full_rank" for each in spare])),
        Criterion("room_to_spare.linear_at_some_time",
                  "With dimensions to spare, most first plateaus are at the linear optimum of rank k at some time.",
                  most([f"{each.key}.first_plateau_at_full_rank_at_some_time" for each in spare])),
        Criterion("room_is_short.linear_where_slowest",
                  "With k ≤ m < 2k, the first plateau of most runs is at the linear optimum of rank k where slowest.",
                  most([f"{each.key}.first_plateau_at_full_rank" for each in short])),
        Criterion("linear_runs_end_lower",
                  "More than 90 % of the runs whose first plateau is linear end below every linear solution.",
                  _low(measured["linear_runs_that_end_below_linear_solutions"]) > NEARLY_ALL),
        Criterion("apart.rests_rank_after_rank",
                  "With well-separated eigenvalues, SGD rests at the linear optimum of one rank after another.",
                  most(of(["sgd"], "every_expected_plateau", "apart"))
                  and bool(nearer) and all(_low(each) > 0 for each in nearer)),
        Criterion("descent_in_predicted_order",
                  "With SGD and gradient flow, most runs learn the principal directions in the predicted order.",
                  most(of(descent, "in_predicted_order"))),
        Criterion("apart.times_as_predicted",
                  "With well-separated eigenvalues, most runs learn every direction within 5 % of its predicted time.",
                  most(of(descent, "every_time_as_predicted", "apart"))),
        Criterion("close.times_as_predicted",
                  "With close eigenvalues, most runs learn every direction within 5 % of its predicted time.",
                  most(of(descent, "every_time_as_predicted", "close"))),
        Criterion("adamw_in_predicted_order",
                  "With AdamW, too, most runs learn the principal directions in the predicted order.",
                  most(of(["adamw"], "in_predicted_order"))),
    )  # fmt: skip


def _low(measure: Measure) -> float:
    return -math.inf if measure.low is None else measure.low
