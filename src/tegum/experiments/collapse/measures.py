"""The findings of the experiment `collapse` as measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.collapse.findings import (
    AGREEMENT_FACTOR,
    NULL_UP_TO,
    PCA_FROM,
    PUBLISHED,
    Landscape,
    NameChange,
    features_at,
    state_of,
)
from tegum.experiments.reporting import Measure, in_key, share
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr


def measures(found: Landscape, run: xr.Dataset) -> list[Measure]:
    """Everything that is reported of the findings, and of how the starts of `run` ended."""
    from tegum.core.population.evaluate import evaluate

    spec, best, null = specs_of(run)[0], found.best, found.null
    starts = spec.seeds
    slopes = evaluate(
        np.array([each.weights for each in best]),
        np.array([each.bias for each in best]),
        [features_at(spec, each.value) for each in best],
        order=1,
        tol=1e-10,
        strict=False,
    ).gradient
    assert slopes is not None
    ended = run["result"].values
    roots = [each for each in found.crossings if each.boundary is not None]
    first = found.of("PCA")
    shapes = [
        (each, each.boundary)
        for each in roots
        if each.boundary is not None and all(change.density != each.boundary.value for change in found.changes)
    ]

    def root(key: str, name: str, value: float, error: float, meaning: str) -> Measure:
        return Measure(key, name, value, "density", value - error, value + error, starts, meaning=meaning)

    listed = [
        Measure(
            "changes_agreeing_with_picture",
            "changes where the picture has them",
            len(found.agreeing),
            "change",
            n=len(found.changes),
            meaning=f"of {len(PUBLISHED)} published ones, within a factor of {AGREEMENT_FACTOR:g}",
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
            meaning=f"the most in a best solution of independent features, densities up to {NULL_UP_TO:g}",
        ),
    ]
    for density, hits, total in found.sampled:
        exact = next((each.hits / each.starts for each in best if each.value == density), None)
        key = f"density_{in_key(density, 3)}.mini_batches_find_best"
        name = f"mini-batches find the best at {density:.3g}"
        listed.append(share(key, name, hits, total, "null: starts on the exact loss", null=exact))
    return listed


def _keys(changes: Sequence[NameChange], what: str) -> list[str]:
    """Of what is measured of each change: "change_0_to_1.density"; with a number if the same change came before."""
    names = [change.name.lower().replace(" → ", "_to_") for change in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"change_{name}.{what}{f'_{k}' if k > 1 else ''}" for name, k in zip(names, times, strict=True)]


def _of_pca(found: Landscape, first: Sequence[int]) -> list[Measure]:
    """How near the dense solutions are to the best linear model."""
    if not first:
        return []
    dense = [state for density, state in zip(found.densities, found.states, strict=True) if density >= PCA_FROM]
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
            meaning=f"densities of at least {PCA_FROM:g}",
        ),
    ]
