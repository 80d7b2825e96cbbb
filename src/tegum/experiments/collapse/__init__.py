"""Correlated pairs collapse one after the other as they become denser, and end as principal components.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from tegum.experiments.collapse.findings import (
    DENSE,
    PICTURE,
    SPARSE,
    WIDER,
    Change,
    Landscape,
    features_at,
    landscape,
    state_of,
)
from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure, in_key
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY
from tegum.solutions.solution import density_of, lowest
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec


@final
class Collapse(Experiment["Landscape"]):
    """The claim about the collapse of correlated pairs."""

    claim: ClassVar[str] = (
        "As three correlated pairs in two dimensions become denser, the best solution goes from a hexagon through one, "
        "two and three collapsed pairs to PCA, at the densities of the published picture."
    )

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """The lowest of fewer starts is often not the best; fresh ones have a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Exact starts at 16, 42 or 82 densities, the null, and runs on mini-batches at a few of the densities."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent
        from tegum.training.spec.methods import Exact, Sampled
        from tegum.training.spec.spec import Spec

        count, seeds, nulls, runs, where = {
            "quick": (14, 24, 3, 16, (0.1, 0.25)),
            "default": (40, 64, 10, 64, (0.02, 0.1, 0.25, 0.6)),
            "full": (80, 256, 20, 256, (0.01, 0.02, 0.04, 0.1, 0.2, 0.3, 0.45, 0.6)),
        }[size]
        # Rounded, so that they are the same numbers wherever they are computed.
        grid = sorted({0.8, 0.9, *np.round(np.geomspace(0.005, 1, count), 6).tolist()})

        def spec(*sets: object) -> Spec:
            features = FeatureDistribution(sets)  # pyright: ignore[reportArgumentType]
            exact = Exact(gradient_tolerance=1e-6 if size == "quick" else 1e-8)
            return Spec(features=features, hidden=2, training=exact, snapshots=1, seeds=seeds, base_seed=2)

        pairs = [spec(*[Correlated(2, density=p)] * 3) for p in grid]
        near = [int(np.argmin(np.abs(np.log(np.array(grid) / p)))) for p in where]
        return {
            "run": pairs,
            "null": [spec(Independent(6, density=p)) for p in np.round(np.geomspace(0.005, SPARSE, nulls), 6).tolist()],
            "sampled": [pairs[k].replace(training=Sampled(), seeds=runs) for k in near],
        }

    def further(self, runs: Mapping[str, xr.Dataset]) -> Mapping[str, Spec | Sequence[Spec]]:
        """Runs on mini-batches go on to the minima of the exact loss in whose basins they have ended."""
        from tegum.solutions.descent import descents_of_ends
        from tegum.solutions.solution import density_of
        from tegum.training.dataset import specs_of

        sampled = runs["sampled"]
        densities = [density_of(each) for each in specs_of(sampled)]
        spec = specs_of(runs["run"])[0]
        return {"sampled-refined": descents_of_ends(spec, "density", sampled, densities)}

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Landscape]:
        """Best solutions, branches and their crossings; `shown` is the `Landscape`."""
        spec = specs_of(runs["run"])[0]
        found = landscape(spec, runs)
        null = [
            state.collapsed
            for state in (
                state_of(spec, each)
                for each in lowest(runs["null"], [density_of(each) for each in specs_of(runs["null"])])
            )
        ]
        measures = _measures(spec, found, runs, null)
        return Findings(tuple(measures), _criteria(found, null), _caption(found), found)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Landscape]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """The five pictures, over the loss of every branch against density, over how often each best one is found."""
        from tegum.figures.collapse import Curve, Picture, collapse

        found = findings.shown
        pictures = []
        for name in ("0", "1", "2", "3", "PCA"):
            if positions := found.of(name):
                solution = found.best[positions[len(positions) // 2]]
                pictures.append(Picture(name, solution.value, solution.weights))
        shares = [each.hits / each.starts for each in found.best]
        return collapse(
            pictures,
            Curve(
                np.array(found.densities),
                np.array([state.ratio for state in found.states]),
                np.array(shares),
                tuple(state.name for state in found.states),
            ),
            [(each.value, state.ratio, state.name) for each, state in found.seen],
            found.branches,
            [(change.name, change.density) for change in found.changes],
            PICTURE,
            found.sampled,
            findings.caption,
        )


def _measures(spec: Spec, found: Landscape, runs: Mapping[str, xr.Dataset], null: Sequence[int]) -> list[Measure]:
    from tegum.core.population.evaluate import evaluate
    from tegum.experiments.reporting import share

    best, starts = found.best, spec.seeds
    slopes = evaluate(
        np.array([each.weights for each in best]),
        np.array([each.bias for each in best]),
        [features_at(spec, each.value) for each in best],
        order=1,
        tol=1e-10,
        strict=False,
    ).gradient
    assert slopes is not None
    ended = runs["run"]["result"].values
    roots = [each for each in found.crossings if each.boundary is not None]
    first = found.of("PCA")
    shapes = [
        (each, each.boundary)
        for each in roots
        if each.boundary is not None and all(change.density != each.boundary.value for change in found.changes)
    ]

    def root(key: str, name: str, value: float, error: float, meaning: str) -> Measure:
        return Measure(key, name, value, "density", value - error, value + error, starts, meaning=meaning)

    measures = [
        Measure(
            "changes_agreeing_with_picture",
            "changes where the picture has them",
            len(found.agreeing),
            "change",
            n=len(found.changes),
            meaning=f"of {len(PICTURE)} published ones, within a factor of {WIDER:g}",
        ),
        Measure("densities", "densities", len(best), "density", n=starts, meaning=f"with {starts} starts each"),
        share(
            "converged_starts",
            "starts that converge",
            int((ended == "converged").sum()),
            ended.size,
            "others end beside kinks",
        ),
        Measure(
            "largest_gradient_norm",
            "largest gradient norm",
            float(np.linalg.norm(slopes, axis=1).max()),
            "loss",
            n=len(best),
            meaning="of the best solutions",
        ),
        *(
            root(
                key,
                change.name,
                change.density,
                change.error,
                f"{change.kind}{'' if change.confirmed else ', not confirmed'}; {change.agreement}",
            )
            for key, change in zip(_keys(found.changes, "density"), found.changes, strict=True)
        ),
        *(
            root(
                key,
                f"{change.name}, median start",
                change.density,
                change.error,
                f"between two densities of the grid; {change.agreement}",
            )
            for key, change in zip(_keys(found.median, "median_start"), found.median, strict=True)
        ),
        *(
            root(
                f"other_shape_{number}.density",
                f"{state_of(spec, each.low).name} → {state_of(spec, each.high).name}, another shape",
                boundary.value,
                boundary.error,
                f"{boundary.kind}{'' if each.confirmed else ', not confirmed'}; no change of the number",
            )
            for number, (each, boundary) in enumerate(shapes, 1)
        ),
        Measure(
            "crossings_without_root",
            "crossings without a root",
            len(found.crossings) - len(roots),
            "crossing",
            n=len(found.crossings),
            meaning="the best solution changes, and no root was found",
        ),
        Measure(
            "largest_change_of_root",
            "largest change of a root",
            max((each.change for each in roots if np.isfinite(each.change)), default=None),
            "1",
            n=len(roots),
            meaning="relative to it, between two tolerances",
        ),
        Measure(
            "confirmed_crossings",
            "crossings that are confirmed",
            sum(each.confirmed for each in found.crossings),
            "crossing",
            n=starts,
            meaning=f"of {len(found.crossings)}; {starts} fresh starts find nothing lower there",
        ),
        *_of_pca(found, first),
        Measure(
            "null.collapsed_pairs",
            "collapsed pairs without correlation",
            max(null),
            "pair",
            n=len(null),
            meaning=f"the most in a best solution of independent features, densities up to {SPARSE:g}",
        ),
    ]
    for density, hits, total in found.sampled:
        exact = next((each.hits / each.starts for each in best if each.value == density), None)
        key = f"density_{in_key(density, 3)}.mini_batches_find_best"
        name = f"mini-batches find the best at {density:.3g}"
        measures.append(share(key, name, hits, total, "null: starts on the exact loss", null=exact))
    return measures


def _keys(changes: Sequence[Change], what: str) -> list[str]:
    """Of what is measured of each change: "change_0_to_1.density"; with a number if the same change came before."""
    names = [change.name.lower().replace(" → ", "_to_") for change in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"change_{name}.{what}{f'_{k}' if k > 1 else ''}" for name, k in zip(names, times, strict=True)]


def _of_pca(found: Landscape, first: Sequence[int]) -> list[Measure]:
    """How near the dense solutions are to the best linear model."""
    if not first:
        return []
    dense = [state for density, state in zip(found.densities, found.states, strict=True) if density >= DENSE]
    lower = "loss over that of the best linear model"
    return [
        *(
            Measure(
                f"relative_loss_{in_key(part, 3)}.density",
                f"relative loss of {part:g}",
                value,
                "density",
                value - error,
                value + error,
                len(found.best),
                meaning="from there on the best solution is that near to the best linear model",
            )
            for part, value, error in found.almost
        ),
        Measure(
            "dense.least_relative_loss",
            "least relative loss when dense",
            min(state.ratio for state in dense),
            "1",
            n=len(dense),
            meaning=lower,
        ),
        Measure(
            "density_1.relative_loss", "relative loss at density 1", found.states[-1].ratio, "1", n=1, meaning=lower
        ),
        Measure(
            "dense.largest_angle_to_pca",
            "largest angle to PCA when dense",
            max(state.angle for state in dense),
            "rad",
            n=len(dense),
            meaning=f"densities of at least {DENSE:g}",
        ),
    ]


def _criteria(found: Landscape, null: Sequence[int]) -> tuple[Criterion, ...]:
    rising = [state.collapsed for density, state in zip(found.densities, found.states, strict=True) if density < 1]
    dense = [state.pca for density, state in zip(found.densities, found.states, strict=True) if density >= DENSE]
    return (
        Criterion(
            "hexagon_at_lowest_density",
            "At the lowest density no pair is collapsed, and partners stand side by side in a hexagon.",
            found.states[0].collapsed == 0 and hexagon(found.best[0].weights),
        ),
        Criterion(
            "collapsed_pairs_rise_with_density",
            "The number of collapsed pairs never falls with density, and takes the values 0, 1, 2 and 3.",
            all(low <= high for low, high in pairwise(rising)) and set(rising) == {0, 1, 2, 3},
        ),
        Criterion("pca_when_dense", f"From density {DENSE:g} on the best solution is PCA.", all(dense)),
        Criterion("no_collapse_without_correlation", "Without correlation no pair collapses.", max(null) == 0),
        Criterion(
            "changes_agree_with_picture",
            f"All of the changes {', '.join(PICTURE)} lie where the published picture has them, within a factor of "
            f"{WIDER:g}: {', '.join(found.agreeing) or 'none'} {'does' if len(found.agreeing) == 1 else 'do'}.",
            set(PICTURE) <= set(found.agreeing),
        ),
    )


def hexagon(weights: Float[np.ndarray, "6 2"]) -> bool:
    """Whether six embeddings form a hexagon in which 0 and 1, 2 and 3, 4 and 5 are neighbours."""
    norms, angles = np.linalg.norm(weights, axis=1), np.arctan2(weights[:, 1], weights[:, 0])
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    beside = {frozenset(pair) for pair in pairwise([*order.tolist(), int(order[0])])}
    partners = all(frozenset((k, k + 1)) in beside for k in (0, 2, 4))
    return bool(partners and norms.min() >= 0.9 * norms.max() and np.abs(gaps - np.pi / 3).max() <= np.pi / 12)


def _caption(found: Landscape) -> str:
    told = [f"{change.name} at {change.density:.4f} ({change.kind}; {change.agreement})" for change in found.changes]
    return (
        "Top: best solutions in canonical pose, a colour for each pair; of each pair one feature is a broad arrow, the "
        f"other a thin one with a dot. First panel: loss of the best of {found.best[0].starts} starts, and its name: "
        "the number of collapsed pairs, or PCA. Second: how much more other solutions cost that starts find (dots), "
        "and branches beyond the crossing up to which they are the best (lines). Vertical lines are changes of the "
        "name; bars compare them with the picture of Elhage et al. (2022), which has "
        f"{len(found.agreeing)} of its {len(PICTURE)} changes where they are. Third: how often the best solution is "
        f"found, with intervals of 95 %. {'; '.join(told) if told else 'The best solution never changes'}."
    )
