"""The findings of the experiment `tradeoff` as measures; those of boundaries are in `boundary_measures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.reporting import Measure, average, share
from tegum.experiments.tradeoff.boundary_measures import of_boundaries
from tegum.experiments.tradeoff.findings import (
    CORRELATED_FROM,
    SPARSE_UP_TO,
    TradeoffPlanes,
    mixture,
    points_of,
    sparse_and_correlated,
)

if TYPE_CHECKING:
    import xarray as xr

    from tegum.experiments.tradeoff.phase_map import PhaseMap


def measures(found: TradeoffPlanes, run: xr.Dataset) -> list[Measure]:
    """All measures: of every plane, and of how the starts on the main plane ended."""
    listed = [*_of_main(found, run)]
    for name, other in found.others.items():
        listed += _of_other(name, other)
    return listed


def _of_main(planes: TradeoffPlanes, run: xr.Dataset) -> list[Measure]:
    found, rising, growing = planes.main, planes.along_density, planes.along_strength
    here, starts = found.map, found.map.starts
    ended = run["result"].values
    points = here.reached.shape[0] * here.reached.shape[1]
    mixed = [place for place, shape in points_of(found) if mixture(shape)]
    sparse = [place for place in mixed if place.density <= SPARSE_UP_TO]
    both = sparse_and_correlated(found)
    free = float(np.mean([shared for density, shared in planes.null if density <= SPARSE_UP_TO]))
    hits = here.hits.ravel() / starts
    listed = [
        Measure("grid_points", "grid points", points, "points", n=starts, meaning=f"with {starts} starts each"),
        share(
            "converged_starts",
            "converged starts",
            int((ended == "converged").sum()),
            ended.size,
            "the rest stop at a non-smooth point of the loss",
        ),
        average(
            "starts_that_find_best",
            "starts that find the best solution",
            hits,
            "share",
            f"share of the starts at a grid point, mean over all points; from {hits.min():.3g} to {hits.max():.3g}",
        ),
        Measure(
            "points_improved_by_neighbours",
            "points improved by their neighbours",
            here.improved,
            "points",
            n=points,
            meaning="grid points where descent from a neighbour's solution ends lower than every start",
        ),
        Measure(
            "mixtures",
            "mixtures",
            found.share(lambda _, shape: mixture(shape)),
            "share",
            n=points,
            meaning="share of the plane (log density by strength) with some pairs collapsed, but not PCA",
        ),
        share(
            "sparse_and_correlated.mixtures",
            "mixtures where sparse and correlated",
            sum(mixture(shape) for shape in both),
            len(both),
            f"grid points with density up to {SPARSE_UP_TO:g} and strength from {CORRELATED_FROM:g} whose best "
            "solution is a mixture; null: share of densities at strength 0 where two features share a direction",
            null=free,
        ),
        Measure(
            "null.shared_directions",
            "densities at which uncorrelated features share directions",
            free,
            "share",
            n=sum(density <= SPARSE_UP_TO for density, _ in planes.null),
            meaning=f"share of densities up to {SPARSE_UP_TO:g} at strength 0 where two features share a direction",
        ),
        Measure(
            "superposition_without_collapse",
            "superposition without collapse",
            found.share(lambda _, shape: shape.collapsed == 0 and not shape.pca),
            "share",
            n=points,
            meaning="share of the plane whose best solution has no collapsed pair and is not PCA",
        ),
        Measure(
            "pca",
            "PCA",
            found.share(lambda _, shape: shape.pca),
            "share",
            n=points,
            meaning="share of the plane whose best solution is PCA",
        ),
    ]
    if sparse:
        where = f"among grid points with density up to {SPARSE_UP_TO:g}"
        listed += [
            Measure(
                "least_density_of_mixture",
                "lowest density of a mixture",
                min(place.density for place in sparse),
                "density",
                n=points,
                meaning=where,
            ),
            Measure(
                "least_strength_of_mixture",
                "lowest strength of a mixture",
                min(place.strength for place in sparse),
                "strength",
                n=points,
                meaning=f"{where}; at higher densities pairs are barely correlated, and share directions by chance",
            ),
        ]
    for name, step in (("density", rising), ("strength", growing)):
        text = (
            f"{step.fallen} of {step.steps} steps of the grid towards higher {name} along which the loss relative to "
            f"the best linear model falls; the largest fall is {step.largest:.2g}"
        )
        listed.append(
            Measure(
                f"falls_of_relative_loss_with_{name}",
                f"falls of the relative loss with {name}",
                step.fallen / step.steps,
                "share",
                n=step.steps,
                meaning=text,
            )
        )
    counts = np.diff(found.collapsed, axis=1)
    listed.append(
        Measure(
            "falls_of_collapsed_pairs_with_strength",
            "falls of the number of collapsed pairs with strength",
            float((counts < 0).mean()),
            "share",
            n=counts.size,
            meaning=f"{(counts < 0).sum()} of {counts.size} steps of the grid towards higher strength along which the "
            f"number of collapsed pairs falls; it rises along {(counts > 0).sum()}",
        )
    )
    listed.append(
        Measure(
            "density_from_which_relative_loss_rises_with_strength",
            "density from which the relative loss rises with strength",
            growing.clear,
            "density",
            n=points,
            meaning="lowest grid density from which the relative loss falls along no step towards higher strength; "
            "none if it still falls at the highest density",
        )
    )
    return [*listed, *of_boundaries(found)]


def _of_other(name: str, found: PhaseMap) -> list[Measure]:
    """The measures of one of the other planes."""
    key, of, points = f"plane_{name.replace('-', '_')}.", f"{name}: ", found.map.hits.size
    return [
        Measure(
            f"{key}mixtures",
            f"{of}mixtures",
            found.share(lambda _, shape: mixture(shape)),
            "share",
            n=points,
            meaning="share of the plane whose best solution has collapsed sets and is not PCA",
        ),
        Measure(
            f"{key}pca",
            f"{of}PCA",
            found.share(lambda _, shape: shape.pca),
            "share",
            n=points,
            meaning="share of the plane whose best solution is PCA",
        ),
        *of_boundaries(found, key, of),
    ]
