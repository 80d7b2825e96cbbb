"""Features end in a few polytopes with fractional dimensionality, often tegum products of smaller ones.

Elhage et al., "Toy Models of Superposition" (2022), on the geometry of uniform superposition: over sparsity, the
dimensions per feature m / |W|²_F are "sticky" at 1 and at 1/2, and each feature's own dimensionality clusters at the
levels of a few polytopes (digon 1/2, triangle 2/3, tetrahedron 3/4, pentagon 2/5, square antiprism 3/8), of which
larger ones are made as tegum products.

Grid. One model at each of many densities p, all with 400 independent features of equal importance and density in 30
dimensions (quick: 64 in 10), ReLU, AdamW at a rate of 1e-3, a Xavier start, its last snapshot. 1/p is even on a log
axis from 1 to 10, where dimensions per feature come down to the levels, and coarser from there on to 100. Every
density has a base seed of its own, so that densities are independent; intervals are bootstrapped over them, because the
features of one model are not.

Definitions. A feature is represented if it is at least half as long as the longest. Tegum factors are the connected
blocks of the graph of cosines above 0.1, and have a name if all cosines within them are that near to a polytope's
(`tegum.name_polytope`); a point, a feature on its own, counts as none. *At a level* is a dimensionality within 0.02 of
one of the five. In the *range of the levels* are models below density 1 in which represented features have a mean
dimensionality of at least 3/8 − 0.02: where it is less, they cannot all be at levels.

Nulls. (a) Levels elsewhere: all five moved together along [1/4, 7/8], which is closed to a ring, by every shift that is
not within 0.04 of none. (b) Even frames: the same features, each as long as it is, with random directions that are
spread evenly over the space, to a tight frame: the dimensionality of each is then |W_i|² m / |W|²_F, which may meet
a level, too. (c) Random directions of the same lengths, for names. (d) For what sticks: a steady fall of m / |W|²_F,
on a straight line over the log axis from its first value to its last.

Criteria, fixed before the runs:

1. In the range of the levels, represented features are at a level more often than in (a) and in (b): the intervals of
   both differences, model by model, lie above 0.
2. There, more than half of the represented features lie in a named polytope: the interval of their share is above 1/2.
3. There, at most five names hold nine tenths of the features that lie in named polytopes.
4. There, more than half of the models are tegum products of at least two named polytopes: the interval lies above 1/2.
5. m / |W|²_F sticks at 1: the part of the log axis from 1/p = 1 to 10 on which it is within 0.05 of 1 is larger than
   with (d), counting only what lies between densities at which it is so near.
6. The same at 1/2.

The claim holds if all of them pass, does not hold if none does, and holds in part otherwise; it is not tested if no
model ends in the range of the levels. The range, the tolerance 0.05, the finer grid up to 10 and how (d) is compared
were chosen after a look at runs of other base seeds. What is found in sparser models is reported and is no criterion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from tegum.experiments._branches import density_of
from tegum.experiments._measures import by_run
from tegum.experiments._shapes import TOLERANCES, Model, elsewhere, examples_of, held_by, models_of, near_level
from tegum.experiments.base import Criterion, Experiment, Findings, Measure, Size

if TYPE_CHECKING:
    from fractions import Fraction

    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec import Spec

STICKY = 0.05
"""So near is m / |W|²_F to what it sticks at."""

DENSE = 10.0
"""Up to this 1/p the grid is fine."""

FEW, MOST = 5, 0.9
"""Names that hold this share are few."""


@final
class Polytopes(Experiment):
    """The claim about discrete polytopes."""

    claim: ClassVar[str] = (
        "Equal features end in a few polytopes with fractional dimensionality, often as tegum products of smaller "
        "ones, and over density the dimensions per feature stick at 1 and 1/2."
    )

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """A model at each of 22, 24 or 60 densities; three at each in the full size."""
        from tegum.core.features import FeatureDistribution, Independent
        from tegum.training.spec import Sampled, Snapshots, Spec

        n, m, steps, fine, coarse, seeds = {
            "quick": (64, 10, 4_000, 20, 2, 1),
            "default": (400, 30, 30_000, 17, 7, 1),
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
                    base_seed=200 + number,
                )
                for number, ratio in enumerate(ratios)
            ]
        }

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """The grid is one of falling densities."""
        group = specs["run"]
        densities = [density_of(spec) for spec in group] if isinstance(group, Sequence) else []
        if any(high <= low for high, low in pairwise(densities)):
            raise ValueError(f"{self.name}: run(features.density): densities must fall, and are the grid")

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings:
        """Levels and shapes of every model; `shown` is the list of `Model`s."""
        models = models_of(runs["run"])
        tested = any(model.in_range for model in models)
        measures = {measure.name: measure for measure in _measures(models)} if tested else {}
        criteria = _criteria(measures) if tested else (Criterion("A model ends in the range of the levels.", False),)
        return Findings(tuple(measures.values()), criteria, _caption(models), models, tested=tested)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings) -> Figure:  # noqa: ARG002 (it is in the findings)
        """Dimensionalities over 1/p, the shapes found at each, and a factor of each shape."""
        from tegum.figures.polytopes import Dots, polytopes

        models: list[Model] = findings.shown
        dots = [Dots(1 / model.density, model.per_feature, model.levels, model.shapes) for model in models]
        return polytopes(dots, examples_of(models), findings.caption)


def _measures(models: Sequence[Model]) -> list[Measure]:
    from tegum.experiments._measures import average, share

    ranged = [model for model in models if model.in_range]
    sparse = [model for model in models if model.density < 1 and not model.in_range]
    dense = [model for model in models if 1 / model.density <= DENSE]
    at_level = _by_density(ranged, lambda each: float(near_level(each.levels).mean()))
    moved = _by_density(ranged, lambda each: elsewhere(each.levels))
    even = _by_density(ranged, lambda each: float(near_level(each.even).mean()))
    named = _by_density(ranged, lambda each: each.named[1])
    held = held_by(ranged)
    total = sum(held.values())
    count = len({model.density for model in ranged})
    distances = [
        abs(level - ideal)
        for model in ranged
        for level, name in zip(model.levels.tolist(), model.shapes, strict=True)
        if (ideal := _ideals().get(name)) is not None
    ]
    text = {name: float(level) for name, level in _text().items()}
    measures = [
        Measure("densities", len({model.density for model in models}), "density", n=len(models)),
        Measure("densities in the range of the levels", count, "density", n=len(models)),
        Measure(
            "least density in the range of the levels", min((each.density for each in ranged), default=None), "density"
        ),
        average("features at a level", at_level, "1", "share; null: levels elsewhere", null=float(moved.mean())),
        average("features at a level, less levels elsewhere", at_level - moved, "1", "paired by model", null=0.0),
        average("features at a level, less even frames", at_level - even, "1", "paired by model", null=0.0),
        Measure("features at a level in even frames", float(even.mean()), "1", n=count, meaning="share"),
        average(
            "features in named polytopes",
            named,
            "1",
            "share, tolerance 0.1; null: random directions",
            null=float(np.mean([model.random[0] for model in ranged])),
        ),
        *(
            average(
                f"features in named polytopes, tolerance {tolerance:g}",
                _by_density(ranged, lambda each, at=at: each.named[at]),
                "1",
                "share",
            )
            for at, tolerance in enumerate(TOLERANCES)
            if at != 1
        ),
        *(
            average(
                f"features in a {name}",
                _by_density(ranged, lambda each, name=name: each.shapes.count(name) / len(each.shapes)),
                "1",
                f"share; {sum(kind == name for each in ranged for kind, _ in each.factors)} of them",
            )
            for name in sorted({*text, *held}, key=lambda name: -held[name])
        ),
        Measure(
            "names that hold nine tenths", few(held), "name", n=count, meaning=f"of {total} features in named polytopes"
        ),
        Measure(
            "distance from the ideal dimensionality",
            float(np.median(distances)) if distances else None,
            "1",
            n=count,
            meaning="median over features in named polytopes",
        ),
        Measure(
            "factors without a name",
            sum(map(len, unnamed := [each.others for each in ranged])),
            "factor",
            n=count,
            meaning=f"commonest: {_commonest(name for names in unnamed for name in names)}",
        ),
        share(
            "tegum products",
            sum(len(model.factors) > 1 for model in ranged),
            len(ranged),
            "models with two named polytopes or more; null: random directions",
            runs=count,
            null=float(np.mean([model.random[1] > 1 for model in ranged])),
        ),
    ]
    places = np.log10([1 / model.density for model in dense])
    for at in (1.0, 0.5):
        value, low, high = stretch(places, np.array([model.per_feature for model in dense]), at)
        null, _, _ = stretch(places[[0, -1]], np.array([dense[0].per_feature, dense[-1].per_feature]), at)
        meaning = f"of the axis with 1/p up to {DENSE:g}, within {STICKY:g}; null: a steady fall"
        measures.append(
            Measure(f"dimensions per feature stick at {at:g}", value, "1", low, high, len(dense), null, meaning)
        )
    if sparse:
        values = _by_density(sparse, lambda each: each.named[1])
        measures.append(average("features in named polytopes of sparser models", values, "1", "below the range"))
    return measures


def _commonest(names: Iterable[str]) -> str:
    found = Counter(names).most_common(3)
    return ", ".join(f"{count} × {name}" for name, count in found) if found else "none"


def _by_density(models: Sequence[Model], value: Callable[[Model], float]) -> Float[np.ndarray, " density"]:
    """A value of each model, averaged over the models of one density: these are independent of each other."""
    return by_run([(round(1e6 * model.density), value(model)) for model in models])


def few(held: Mapping[str, int]) -> int:
    """The least number of names that hold MOST of all these features."""
    counts = np.cumsum(sorted(held.values(), reverse=True))
    return int(np.searchsorted(counts, MOST * counts[-1])) + 1 if len(counts) else 0


def stretch(
    places: Float[np.ndarray, " place"], values: Float[np.ndarray, " place"], level: float
) -> tuple[float, float, float]:
    """The part of an axis on which a curve is within STICKY of a level, and the ends of what its points leave open.

    Args:
        places: on the axis, rising; where two are equal, the mean of their values counts.
        values: of the curve, straight between the places.
        level: the value asked for.

    Returns:
        The part, the part between neighbours that are both so near, and that between those of which one is.

    """
    axis = np.unique(places)
    curve = np.array([values[places == place].mean() for place in axis])
    gaps = np.diff(axis) / max(float(np.ptp(axis)), 1e-300)
    near = np.abs(curve - level) <= STICKY
    fine = np.linspace(axis[0], axis[-1], 10_001)
    part = float((np.abs(np.interp(fine, axis, curve) - level) <= STICKY).mean())
    return part, float(gaps[near[1:] & near[:-1]].sum()), float(gaps[near[1:] | near[:-1]].sum())


def _criteria(measures: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    def above(name: str, least: float | None) -> bool:
        low = measures[name].low
        return low is not None and least is not None and low > least

    names = measures["names that hold nine tenths"].value
    sticks = "dimensions per feature stick at {}"
    return (
        Criterion(
            "Represented features are at an ideal level more often than at levels elsewhere, and than in even frames.",
            above("features at a level, less levels elsewhere", 0.0)
            and above("features at a level, less even frames", 0.0),
        ),
        Criterion("Most represented features lie in a named polytope.", above("features in named polytopes", 0.5)),
        Criterion(f"At most {FEW} names hold nine tenths of these features.", names is not None and 0 < names <= FEW),
        Criterion("Most models are tegum products of named polytopes.", above("tegum products", 0.5)),
        *(
            Criterion(
                f"Over density, the dimensions per feature stick at {at}.",
                above(sticks.format(at), measures[sticks.format(at)].null),
            )
            for at in ("1", "0.5")
        ),
    )


def _ideals() -> dict[str, float]:
    from tegum.analysis.polytopes import SHAPES

    return {name: float(shape.dimensionality) for name, shape in SHAPES.items()}


def _text() -> Mapping[str, Fraction]:
    from tegum.analysis.polytopes import LEVELS

    return LEVELS


def _caption(models: Sequence[Model]) -> str:
    if not models:
        return "No model trained to its end."
    ranged = [model for model in models if model.in_range]
    held = held_by(models).most_common()
    counts = [f"{sum(kind == name for model in models for kind, _ in model.factors)} × {name}" for name, _ in held]
    named = float(np.mean([model.named[1] for model in ranged])) if ranged else 0.0
    reach = f"1/p up to {max(1 / model.density for model in ranged):.3g}" if ranged else "none"
    return (
        "Top: dimensionality of every represented feature (dots, a colour for each polytope; grey: in none that has a "
        f"name) of {len(models)} models, one for each density, m = {models[0].weights.shape[1]}; dashed: ideal levels; "
        "line: dimensions per feature. Middle: the share of represented features in polytopes of each name. Bottom: "
        "one of each as found, commonest first, the third dimension drawn obliquely. Found are "
        f"{', '.join(counts) if counts else 'none with a name'}. In the range of the levels ({reach}) "
        f"{100 * named:.0f} % of the represented features lie in named polytopes."
    )
