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
"""A p-value below this is significant."""

PART = 0.25
"""A loss that is composed of jumps must show more than this share of what synthetic losses made of jumps show."""


def criteria(each: JumpAttribution | None) -> tuple[Criterion, ...]:
    """The criteria of the protocol, for the largest size; the part of synthetic losses is left out if they show none.

    Args:
        each: the findings for the largest size; None if too few of its runs trained to their end.

    """
    if each is None:
        text = f"At least {FEWEST_RUNS_FOR_P} of the largest models train to their end."
        return (Criterion("trained", text, False),)
    found = each.measures

    def beyond_shifts(compared: OwnAndOthers) -> bool:
        low = average("own", "", compared.own, "", "").low
        return low is not None and compared.shifted is not None and low > compared.shifted

    part = None if each.made is None else each.made.part("share", found.share)
    low = None if part is None else average("part", "", part, "", "").low
    composed = Criterion(
        "part_of_made",
        f"The excess of the decrease inside own jumps over others' is more than {100 * PART:g} % of that of synthetic "
        "losses made of jumps.",
        low is not None and low > PART,
    )
    return (
        Criterion(
            "own_jumps_hold_decrease",
            f"With {each.features} features, more of the decrease lies inside a run's own jumps than inside those of "
            "other runs.",
            found.share.p < RARE,
        ),
        Criterion(
            "falls_with_rises",
            "Falls of the loss correlate with rises of the number of represented features, beyond both nulls.",
            beyond_shifts(each.change) and each.change.p < RARE,
        ),
        Criterion(
            "sum_of_own_jumps_predicts_falls",
            "A sum of a run's own jumps predicts where its loss falls, beyond both nulls.",
            beyond_shifts(found.sums) and found.sums.p < RARE,
        ),
        Criterion(
            "apart_from_course",
            "Where the fall of a run departs from the common course, it correlates with its own jumps rather than "
            "others'.",
            found.apart.p < RARE,
        ),
        *([] if part is None else [composed]),
        Criterion(
            "own_jumps_remove_error",
            "Added to the mean course of the other runs, a run's own jumps remove more of its error than others' "
            "jumps.",
            found.removed.p < RARE,
        ),
    )
