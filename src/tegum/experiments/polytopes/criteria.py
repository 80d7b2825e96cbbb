"""The criteria of the experiment `polytopes`, fixed before the run."""

from __future__ import annotations

from collections.abc import Mapping

from tegum.experiments.framework import Criterion
from tegum.experiments.polytopes.measures import AGAIN
from tegum.experiments.reporting import Measure

HALF = 0.5
"""Most are more than half: the interval of their share must lie above this."""

SEVERAL, FEW = 3, 0.1
"""At least this many polytopes are several; other polytopes are few if they hold less than this share of features."""


def criteria(measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds; without a model in the range of the levels nothing is measured."""
    if not measured:
        return (Criterion("model_in_range", "At least one model ends up in the range of the levels.", False),)

    def above(key: str, least: float) -> bool:
        low = measured[key].low
        return low is not None and low > least

    def most(text: str, key: str) -> Criterion:
        low, high = measured[key].low, measured[key].high
        # An interval that could not be measured may contain anything.
        undecided = low is None or high is None or low <= HALF < high
        sentence = f"{text}{' (undecided: the interval contains 1/2)' if undecided else ''}."
        return Criterion(f"most_{key}", sentence, above(key, HALF))

    def sticks(where: str, at: str) -> Criterion:
        measure = measured[f"dimensions_per_feature_stick_at_{where}"]
        passed = measure.value is not None and measure.null is not None and measure.value > measure.null
        return Criterion(f"stick_at_{where}", f"As density varies, the dimensions per feature stick at {at}.", passed)

    found, others = measured["polytopes_found"].value, measured["features_with_other_names"].value
    return (
        Criterion(
            "features_at_level",
            "Represented features are at an ideal level more often than at shifted levels, and more often than in even "
            "frames.",
            above("features_at_level_less_elsewhere", 0.0) and above("features_at_level_less_even_frames", 0.0),
        ),
        most("Most represented features belong to a named polytope", "features_in_named_polytopes"),
        Criterion(
            "several_polytopes_found",
            f"At least {SEVERAL} of the five polytopes are found, each at {AGAIN} or more densities, and few others.",
            found is not None and found >= SEVERAL and others is not None and others < FEW,
        ),
        most("Most models are tegum products of named polytopes", "tegum_products"),
        sticks("one", "1"),
        sticks("half", "0.5"),
    )
