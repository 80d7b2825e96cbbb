"""The criteria of the experiment `polytopes`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tegum.experiments.polytopes.measures import AGAIN
from tegum.experiments.reporting import Measure, said, weakest
from tegum.experiments.summary import Criterion

HALF = 0.5
"""Most are more than half: the interval of their share must lie above this."""

SEVERAL, FEW = 3, 0.1
"""At least this many polytopes are several; other polytopes are few if they hold less than this share of features."""

LESS = ("features_at_level_less_elsewhere", "features_at_level_less_even_frames")
"""By how much features are at a level more often than by chance, in two ways."""


def criteria(measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds; without a model in the range of the levels nothing is measured."""
    if not measured:
        text = "At least one model ends up in the range of the levels."
        return (Criterion("model_in_range", text, False, "A model in the range of the levels"),)

    def above(key: str, least: float) -> bool:
        low = measured[key].low
        return low is not None and low > least

    def most(text: str, key: str, title: str) -> Criterion:
        low, high = measured[key].low, measured[key].high
        # An interval that could not be measured may contain anything.
        undecided = low is None or high is None or low <= HALF < high
        sentence = f"{text}{' (undecided: the interval contains 1/2)' if undecided else ''}."
        return Criterion(f"most_{key}", sentence, above(key, HALF), title, key, f"{100 * HALF:g} %")

    def sticks(where: str, at: str) -> Criterion:
        measure = measured[f"dimensions_per_feature_stick_at_{where}"]
        passed = measure.value is not None and measure.null is not None and measure.value > measure.null
        text = f"As density varies, the dimensions per feature stick at {at}."
        return Criterion(f"stick_at_{where}", text, passed, f"Dimensions per feature stick at {at}", measure.key)

    found, others = measured["polytopes_found"].value, measured["features_with_other_names"].value
    return (
        Criterion(
            "features_at_level",
            "Represented features are at an ideal level more often than at shifted levels, and more often than in even "
            "frames.",
            all(above(key, 0.0) for key in LESS),
            "At ideal levels, beyond chance by",
            weakest(measured, LESS),
        ),
        most(
            "Most represented features belong to a named polytope",
            "features_in_named_polytopes",
            "Over half the features form polytopes",
        ),
        Criterion(
            "several_polytopes_found",
            f"At least {SEVERAL} of the five polytopes are found, each at {AGAIN} or more densities, and few others.",
            found is not None and found >= SEVERAL and others is not None and others < FEW,
            f"At least {SEVERAL} of five polytopes are found",
            "polytopes_found",
        ),
        most(
            "Most models are tegum products of named polytopes",
            "tegum_products",
            "Over half the models are tegum products",
        ),
        sticks("one", "1"),
        sticks("half", "0.5"),
    )


def answer(measured: Mapping[str, Measure], judged: Sequence[Criterion]) -> str:
    """What was found, in plain words."""
    if not measured:
        return ""
    passed = {each.key: each.passed for each in judged}
    sticking = [at for at, key in (("1", "stick_at_one"), ("1/2", "stick_at_half")) if passed[key]]
    where = f"more than by chance at {' and '.join(sticking)}" if sticking else "no more than by chance"
    return (
        f"Where features are not too sparse, {said(measured['features_in_named_polytopes'])} of the features that are "
        f"represented sit in a regular figure with a name, {said(measured['shape.digon.features'])} in digons, two "
        f"features back to back. Dimensions per feature stick {where}."
    )
