"""Features end in a few polytopes with fractional dimensionality, often tegum products of smaller ones.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.polytopes.findings import COUNTED, TOLERANCES, Model, examples_of, found_of, models_of
from tegum.experiments.polytopes.measures import AGAIN, DENSE, measures_of, with_tolerance
from tegum.experiments.reporting import Measure, by_key
from tegum.experiments.varied import ANY, SAMPLING, Range, refuse_room

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec

HALF = 0.5
"""What more than half is."""

SEVERAL, FEW = 3, 0.1
"""Polytopes of the text that are several, and the share of features in others that is little."""


@final
class Polytopes(Experiment["list[Model]"]):
    """The claim about discrete polytopes."""

    claim: ClassVar[str] = (
        "Equal features end in a few polytopes with fractional dimensionality, often as tegum products of smaller "
        "ones, and over density the dimensions per feature stick at 1 and 1/2."
    )

    varies: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("seeds", "hidden", "features.count"), ANY),
        **SAMPLING,
        "training.steps": ANY,
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """A model at each of 22, 23 or 60 densities; three at each in the full size."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        n, m, steps, fine, coarse, seeds = {
            "quick": (64, 10, 4_000, 20, 2, 1),
            "default": (400, 30, 30_000, 20, 3, 1),
            "full": (400, 30, 30_000, 45, 15, 3),
        }[size]
        ratios = [*np.geomspace(1, DENSE, fine), *np.geomspace(DENSE, 100, coarse + 1)[1:]]
        return {
            "run": [
                Spec(
                    features=FeatureDistribution([Independent(n, density=float(np.round(1 / ratio, 6)))]),
                    hidden=m,
                    training=Sampled(steps=steps),
                    snapshots=Snapshots(count=1),
                    seeds=seeds,
                    base_seed=500 + number,
                )
                for number, ratio in enumerate(ratios)
            ]
        }

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Features have too little room for all."""
        group = specs["run"]
        refuse_room(self.name, group[0] if isinstance(group, Sequence) else group)

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[list[Model]]:
        """Levels and shapes of every model; `shown` is the list of `Model`s."""
        models = models_of(runs["run"])
        tested = any(model.in_range for model in models)
        measures = by_key(measures_of(models)) if tested else {}
        untested = Criterion("model_in_range", "A model ends in the range of the levels.", False)
        criteria = _criteria(measures) if tested else (untested,)
        return Findings(tuple(measures.values()), criteria, _caption(models, measures), models, tested=tested)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[list[Model]]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """Dimensionalities over 1/p, the shapes found at each, and a factor of each shape."""
        from tegum.figures.polytopes import Dots, polytopes

        models = findings.shown
        dots = [
            Dots(
                1 / model.density,
                model.per_feature,
                model.levels,
                model.counted.shapes,
                model.named[-1].shapes,
                model.rest,
            )
            for model in models
        ]
        return polytopes(dots, examples_of(models), findings.caption)


def _criteria(measures: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    def above(key: str, least: float) -> bool:
        low = measures[key].low
        return low is not None and low > least

    def most(text: str, key: str) -> Criterion:
        low, high = measures[key].low, measures[key].high
        # An interval that could not be measured holds everything.
        undecided = low is None or high is None or low <= HALF < high
        told = f"{text}{' (undecided: the interval holds 1/2)' if undecided else ''}."
        return Criterion(f"most_{key}", told, above(key, HALF))

    def sticks(where: str, at: str) -> Criterion:
        measure = measures[f"dimensions_per_feature_stick_at_{where}"]
        passed = measure.value is not None and measure.null is not None and measure.value > measure.null
        return Criterion(f"stick_at_{where}", f"Over density, the dimensions per feature stick at {at}.", passed)

    found, others = measures["polytopes_found"].value, measures["features_with_other_names"].value
    return (
        Criterion(
            "features_at_level",
            "Represented features are at an ideal level more often than at levels elsewhere, and than in even frames.",
            above("features_at_level_less_elsewhere", 0.0) and above("features_at_level_less_even_frames", 0.0),
        ),
        most("Most represented features lie in a named polytope", "features_in_named_polytopes"),
        Criterion(
            "several_polytopes_found",
            f"At least {SEVERAL} of the five polytopes are found, each at {AGAIN} densities or more, and few others.",
            found is not None and found >= SEVERAL and others is not None and others < FEW,
        ),
        most("Most models are tegum products of named polytopes", "tegum_products"),
        sticks("one", "1"),
        sticks("half", "0.5"),
    )


def _caption(models: Sequence[Model], measures: Mapping[str, Measure]) -> str:
    if not models:
        return "No model trained to its end."
    densities, hidden = len({model.density for model in models}), models[0].weights.shape[1]
    counted, widest = TOLERANCES[COUNTED], TOLERANCES[-1]
    text = (
        f"Top: dimensionality of every feature (models: {len(models)}, densities: {densities}, m = {hidden}): "
        "represented ones as dots, a colour for each polytope, light where it has its name only with a tolerance of "
        f"cosines of {widest:g} and not of {counted:g}, grey where it has none; the others as specks; dashed: ideal "
        "levels; line: dimensions per feature. Middle: the share of represented features in polytopes of each name. "
        "Bottom: one of each as found, commonest first, the third dimension drawn obliquely. Found are "
        f"{_found(models, COUNTED)}; with {widest:g} {_found(models, len(TOLERANCES) - 1)}."
    )
    ranged = [1 / model.density for model in models if model.in_range]
    if not ranged:
        return f"{text} No model is in the range of the levels."
    key = "features_in_named_polytopes"
    sparser = measures[f"sparser.{key}"].value
    return (
        f"{text} In the range of the levels (1/p from {min(ranged):.3g} to {max(ranged):.3g}) "
        f"{_percent(measures[key].value)} of the represented features lie in named polytopes "
        f"({_percent(measures[f'{with_tolerance(len(TOLERANCES) - 1)[0]}{key}'].value)} with {widest:g})"
        f"{'' if sparser is None else f', in sparser models {_percent(sparser)}'}."
    )


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def _found(models: Sequence[Model], tolerance: int) -> str:
    found = found_of(models, tolerance).most_common()
    return ", ".join(f"{count} × {name}" for name, count in found) or "none with a name"
