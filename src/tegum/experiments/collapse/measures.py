"""The findings of the experiment `collapse` as measures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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
    """All measures: of the findings, and of how the starts in `run` ended."""
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
    below = [state.collapsed for density, state in zip(found.densities, found.states, strict=True) if density < 1]
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
            "changes that agree with the published figure",
            len(found.agreeing),
            "changes",
            n=len(found.changes),
            meaning=f"of the {len(PUBLISHED)} published changes, those found at the same density within a factor of "
            f"{AGREEMENT_FACTOR:g}",
        ),
        Measure(
            "lowest_density.collapsed_pairs",
            "collapsed pairs at the lowest density",
            found.states[0].collapsed,
            "pairs",
            n=starts,
            meaning=f"in the best solution at density {found.densities[0]:g}",
        ),
        Measure(
            "falls_of_collapsed_pairs_with_density",
            "falls of the number of collapsed pairs with density",
            sum(low > high for low, high in pairwise(below)),
            "falls",
            n=len(below),
            meaning="steps of the grid towards higher density, below density 1, along which the number of collapsed "
            "pairs falls",
        ),
        Measure("densities", "densities", len(best), "", n=starts, meaning=f"on the grid, with {starts} starts each"),
        share(
            "converged_starts",
            "converged starts",
            int((ended == "converged").sum()),
            ended.size,
            "the rest stop at a non-smooth point of the loss",
        ),
        Measure(
            "largest_gradient_norm",
            "largest gradient norm",
            float(np.linalg.norm(slopes, axis=1).max()),
            "loss",
            n=len(best),
            meaning="norm of the gradient of the exact loss at the best solution, the largest over all densities",
        ),
        *(
            root(
                key,
                f"change {change.name}",
                change.density,
                change.error,
                "density at which the best solution changes its number of collapsed pairs or becomes PCA "
                f"({change.kind}{'' if change.confirmed else ', not confirmed'}). {change.agreement}",
            )
            for key, change in zip(_keys(found.changes, "density"), found.changes, strict=True)
        ),
        *(
            root(
                key,
                f"change {change.name} of the median start",
                change.density,
                change.error,
                "density from which at least half of all starts have more collapsed pairs, between two densities of "
                f"the grid. {change.agreement}",
            )
            for key, change in zip(_keys(found.median, "median_start"), found.median, strict=True)
        ),
        *(
            root(
                f"other_shape_{number}.density",
                f"change of shape {number}, {state_of(spec, each.low).name} → {state_of(spec, each.high).name}",
                boundary.value,
                boundary.error,
                "density at which the best solution changes its shape but not its name "
                f"({boundary.kind}{'' if each.confirmed else ', not confirmed'})",
            )
            for number, (each, boundary) in enumerate(shapes, 1)
        ),
        Measure(
            "crossings_without_root",
            "crossings without a root",
            len(found.crossings) - len(roots),
            "crossings",
            n=len(found.crossings),
            meaning="places where the best solution changes, but no root was found",
        ),
        Measure(
            "largest_change_of_root",
            "largest relative change of a root",
            max((each.change for each in roots if np.isfinite(each.change)), default=None),
            "",
            n=len(roots),
            meaning="density of a crossing, compared between two tolerances of the root search",
        ),
        Measure(
            "confirmed_crossings",
            "confirmed crossings",
            sum(each.confirmed for each in found.crossings),
            "crossings",
            n=starts,
            meaning=f"of {len(found.crossings)} crossings, those where {starts} fresh starts find nothing lower",
        ),
        *_of_pca(found, first),
        Measure(
            "null.collapsed_pairs",
            "collapsed pairs without correlation",
            max(null),
            "pairs",
            n=len(null),
            meaning=f"most in any best solution of independent features, at densities up to {NULL_UP_TO:g}",
        ),
    ]
    for density, hits, total in found.sampled:
        exact = next((each.hits / each.starts for each in best if each.value == density), None)
        key = f"density_{in_key(density, 3)}.mini_batches_find_best"
        name = f"mini-batch runs that find the best solution at density {density:.3g}"
        listed.append(share(key, name, hits, total, "null: share of starts on the exact loss that find it", null=exact))
    return listed


def _keys(changes: Sequence[NameChange], what: str) -> list[str]:
    """A key for each change: "change_0_to_1.density", with a number appended if the same change came before."""
    names = [change.name.lower().replace(" → ", "_to_") for change in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"change_{name}.{what}{f'_{k}' if k > 1 else ''}" for name, k in zip(names, times, strict=True)]


def _of_pca(found: Landscape, first: Sequence[int]) -> list[Measure]:
    """How close the dense solutions come to the best linear model."""
    if not first:
        return []
    dense = [state for density, state in zip(found.densities, found.states, strict=True) if density >= PCA_FROM]
    relative = "loss of the best solution / loss of the best linear model"
    return [
        *(
            Measure(
                f"relative_loss_{in_key(part, 3)}.density",
                f"density at which the loss reaches {100 * part:g} % of the best linear model's",
                value,
                "density",
                value - error,
                value + error,
                len(found.best),
                meaning="from this density upwards the best solution costs at least that much",
            )
            for part, value, error in found.almost
        ),
        Measure(
            "dense.least_relative_loss",
            "least relative loss when dense",
            min(state.ratio for state in dense),
            "",
            n=len(dense),
            meaning=f"{relative}, the least at densities of at least {PCA_FROM:g}",
        ),
        Measure(
            "density_1.relative_loss", "relative loss at density 1", found.states[-1].ratio, "", n=1, meaning=relative
        ),
        Measure(
            "dense.largest_angle_to_pca",
            "largest angle to PCA when dense",
            max(state.angle for state in dense),
            "rad",
            n=len(dense),
            meaning="angle between the best solution and the nearest principal subspace, the largest at densities of "
            f"at least {PCA_FROM:g}",
        ),
    ]
