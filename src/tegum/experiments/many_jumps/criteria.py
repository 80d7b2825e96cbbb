"""The criteria of the experiment `many-jumps`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tegum.analysis.dynamics.own_jumps import FEWEST_RUNS_FOR_P
from tegum.experiments.many_jumps.measures import size_key
from tegum.experiments.reporting import Measure, average, said
from tegum.experiments.summary import Criterion

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
        return (Criterion("trained", text, False, f"At least {FEWEST_RUNS_FOR_P} runs end"),)
    found, of = each.measures, size_key(each)

    def beyond_shifts(compared: OwnAndOthers) -> bool:
        low = average("own", "", compared.own, "", "").low
        return low is not None and compared.shifted is not None and low > compared.shifted

    def deciding(compared: OwnAndOthers, key: str) -> str:
        """What fails first: the comparison with jumps shifted in time, or that with other runs."""
        return f"{of}.{key}{'_less_others' * beyond_shifts(compared)}"

    part = None if each.made is None else each.made.part("share", found.share)
    low = None if part is None else average("part", "", part, "", "").low
    composed = Criterion(
        "part_of_made",
        f"The excess of the decrease inside own jumps over others' is more than {100 * PART:g} % of that of synthetic "
        "losses made of jumps.",
        low is not None and low > PART,
        f"> {100 * PART:g} % of what jumps alone would give",
        f"{of}.decrease_inside_jumps_as_part_of_made",
    )
    return (
        Criterion(
            "own_jumps_hold_decrease",
            f"With {each.features} features, more of the decrease lies inside a run's own jumps than inside those of "
            "other runs.",
            found.share.p < RARE,
            "Own jumps hold more than others'",
            f"{of}.decrease_inside_jumps_less_others",
        ),
        Criterion(
            "falls_with_rises",
            "Falls of the loss correlate with rises of the number of represented features, beyond both nulls.",
            beyond_shifts(each.change) and each.change.p < RARE,
            "Falls come with new features (r)",
            deciding(each.change, "correlation_of_changes"),
        ),
        Criterion(
            "sum_of_own_jumps_predicts_falls",
            "A sum of a run's own jumps predicts where its loss falls, beyond both nulls.",
            beyond_shifts(found.sums) and found.sums.p < RARE,
            "A sum of own jumps predicts falls (R²)",
            deciding(found.sums, "r2_of_sum_of_jumps"),
        ),
        Criterion(
            "apart_from_course",
            "Where the fall of a run departs from the common course, it correlates with its own jumps rather than "
            "others'.",
            found.apart.p < RARE,
            "Apart from the mean course, too (r)",
            f"{of}.correlation_with_jumps_apart_from_course",
        ),
        *([] if part is None else [composed]),
        Criterion(
            "own_jumps_remove_error",
            "Added to the mean course of the other runs, a run's own jumps remove more of its error than others' "
            "jumps.",
            found.removed.p < RARE,
            "Own jumps remove more error",
            f"{of}.error_that_jumps_remove_less_others",
        ),
    )


def answer(each: JumpAttribution | None, measured: Mapping[str, Measure]) -> str:
    """What was found, in plain words."""
    if each is None:
        return ""
    of = size_key(each)
    part = measured[f"{of}.decrease_inside_jumps_as_part_of_made"]
    made = "" if part.value is None else f", {100 * part.value:.0f} % of what a loss made only of jumps would show"
    return (
        f"With {each.features} features, {100 * each.inside.share:.1f} % of the fall lies where features of the run "
        f"jump, but {said(measured[f'{of}.decrease_inside_jumps_of_others'])} lies where those of other runs do: an "
        f"excess of {100 * float(each.measures.share.excess.mean()):.1f} %{made}."
    )
