"""The criteria of the experiment `exact-vs-sampled`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tegum.experiments.exact_vs_sampled.findings import SYSTEMS, TwinnedRuns
from tegum.experiments.reporting import Measure, said
from tegum.experiments.summary import Criterion

IN_SHORT = {"sets": "sets", "independent": "single"}
"""The systems in a word, for titles."""


def criteria(found: Sequence[TwinnedRuns], measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds, in each system."""
    return tuple(each for system in found for each in _of_system(system.name, measured))


def _of_system(name: str, measures: Mapping[str, Measure]) -> list[Criterion]:
    saddles, distance = measures[f"{name}.escaped_plateaus_at_saddles"], measures[f"{name}.distance_to_twin"]
    return [
        Criterion(
            f"{name}.plateaus_at_saddles",
            f"Escaped plateaus are at saddles more often than snapshots of fastest fall are ({SYSTEMS[name]}).",
            saddles.low is not None and saddles.null is not None and saddles.low > saddles.null,
            f"Plateaus lie at saddles: {IN_SHORT[name]}",
            saddles.key,
        ),
        Criterion(
            f"{name}.nearer_to_own_twin",
            f"A sampled run is closer to its own twin than to those of other starts ({SYSTEMS[name]}).",
            distance.high is not None and distance.null is not None and distance.high < distance.null,
            f"Distance to its own twin: {IN_SHORT[name]}",
            distance.key,
        ),
    ]


def answer(found: Sequence[TwinnedRuns], measured: Mapping[str, Measure]) -> str:
    """What was found, in plain words."""
    if not found:
        return ""
    systems = " and ".join(SYSTEMS[each.name].partition(",")[0] for each in found)
    at = " and ".join(said(measured[f"{each.name}.escaped_plateaus_at_saddles"]) for each in found)
    distances = [measured[f"{each.name}.distance_to_twin"] for each in found]
    own, others = (" and ".join(map(words, distances)) for words in (said, _null))
    return (
        f"Of the plateaus that training leaves, {at} lie at saddles of the exact loss ({systems}). A run stays {own} "
        f"away from the same training without noise, and {others} from that of another start."
    )


def _null(measure: Measure) -> str:
    return "an unknown number" if measure.null is None else f"{measure.null:.3g}"
