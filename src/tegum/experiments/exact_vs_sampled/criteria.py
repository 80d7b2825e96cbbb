"""The criteria of the experiment `exact-vs-sampled`, fixed before the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tegum.experiments.exact_vs_sampled.findings import SYSTEMS, TwinnedRuns
from tegum.experiments.framework import Criterion
from tegum.experiments.reporting import Measure


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
        ),
        Criterion(
            f"{name}.nearer_to_own_twin",
            f"A sampled run is closer to its own twin than to those of other starts ({SYSTEMS[name]}).",
            distance.high is not None and distance.null is not None and distance.high < distance.null,
        ),
    ]
