"""The criteria of the experiment `many-jumps`, fixed before the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tegum.analysis.dynamics.own_jumps import FEWEST_RUNS_FOR_P
from tegum.experiments.framework import Criterion
from tegum.experiments.reporting import average

if TYPE_CHECKING:
    from tegum.analysis.dynamics.attribution import JumpAttribution
    from tegum.analysis.dynamics.own_jumps import OwnAndOthers

RARE = 0.05
"""A p-value below it is no chance."""

PART = 0.25
"""Of what losses made of jumps give, a loss that is composed of them must show more than this."""


def criteria(each: JumpAttribution | None) -> tuple[Criterion, ...]:
    """Those of the largest size; a part that cannot be told there is left out.

    Args:
        each: the largest size; None if too few of its runs trained to their end.

    """
    if each is None:
        text = f"At least {FEWEST_RUNS_FOR_P} of the largest models train to their end."
        return (Criterion("trained", text, False),)
    found = each.measures

    def beyond_shifts(compared: OwnAndOthers) -> bool:
        low = average("own", "", compared.own, "1", "").low
        return low is not None and compared.shifted is not None and low > compared.shifted

    part = None if each.made is None else each.made.part("share", found.share)
    low = None if part is None else average("part", "", part, "1", "").low
    composed = Criterion(
        "part_of_made",
        f"What lies inside its own jumps rather than those of others is more than {PART:g} of what it is where jumps "
        "make the loss.",
        low is not None and low > PART,
    )
    return (
        Criterion(
            "own_jumps_hold_decrease",
            f"With {each.features} features more of the decrease lies inside a run's own jumps than inside those of "
            "other runs.",
            found.share.p < RARE,
        ),
        Criterion(
            "falls_with_rises",
            "Falls of the loss go with rises of the number of represented features, beyond both nulls.",
            beyond_shifts(each.change) and each.change.p < RARE,
        ),
        Criterion(
            "sum_of_own_jumps_predicts_falls",
            "A sum of a run's own jumps predicts where its loss falls, beyond both nulls.",
            beyond_shifts(found.sums) and found.sums.p < RARE,
        ),
        Criterion(
            "apart_from_course",
            "Where the fall of a run leaves the common course, it goes with its own jumps rather than those of others.",
            found.apart.p < RARE,
        ),
        *([] if part is None else [composed]),
        Criterion(
            "own_jumps_remove_error",
            "Added to the mean course of the other runs, its own jumps remove more of its error than those of others.",
            found.removed.p < RARE,
        ),
    )
