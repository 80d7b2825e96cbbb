"""The figure of the experiment `polytopes`, and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tegum.experiments.polytopes.findings import COUNTED, TOLERANCES, Model, examples_of, found_of
from tegum.experiments.polytopes.measures import with_tolerance
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(models: Sequence[Model]) -> tuple[Figure, Figure]:
    """Dimensionalities over 1/p, the share of features in each polytope, and an example of each polytope.

    Args:
        models: the models to draw.

    """
    from tegum.figures.experiments.polytopes import Dots, polytopes

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
    return polytopes(dots, examples_of(models))


def caption(models: Sequence[Model], measures: Mapping[str, Measure]) -> tuple[str, str]:
    """What the figures show, in sentences."""
    if not models:
        return "No model completed training.", ""
    densities, hidden = len({model.density for model in models}), models[0].weights.shape[1]
    counted, widest = TOLERANCES[COUNTED], TOLERANCES[-1]
    text = (
        f"Dimensionality of every feature (models: {len(models)}, densities: {densities}, m = {hidden}). "
        "Represented features are dots coloured by their polytope: light if it has its name only with a tolerance of "
        f"{widest:g} on cosines and not with {counted:g}, grey if it has none. Other features are specks. Dashed: "
        "ideal levels; line: dimensions per feature. Below: share of represented features in polytopes of each name."
    )
    examples = (
        "An example of each polytope as found, most frequent first, with the third dimension drawn obliquely. "
        f"Polytopes found: {_found(models, COUNTED)}. With a tolerance of {widest:g}: "
        f"{_found(models, len(TOLERANCES) - 1)}."
    )
    ranged = [1 / model.density for model in models if model.in_range]
    if not ranged:
        return f"{text} No model is in the range of the levels.", examples
    key = "features_in_named_polytopes"
    sparser = measures[f"sparser.{key}"].value
    found = (
        f"{text} In the range of the levels (1/p from {min(ranged):.3g} to {max(ranged):.3g}) "
        f"{_percent(measures[key].value)} of the represented features belong to named polytopes "
        f"({_percent(measures[f'{with_tolerance(len(TOLERANCES) - 1)[0]}{key}'].value)} with a tolerance of "
        f"{widest:g}){'' if sparser is None else f', and {_percent(sparser)} in sparser models'}."
    )
    return found, examples


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def _found(models: Sequence[Model], tolerance: int) -> str:
    found = found_of(models, tolerance).most_common()
    return ", ".join(f"{count} × {name}" for name, count in found) or "none that has a name"
