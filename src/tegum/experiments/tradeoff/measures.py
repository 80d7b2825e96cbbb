"""The findings of the experiment `tradeoff` as measures; those of boundaries stand in `boundary_measures`."""

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
    """Everything that is reported of all planes, and of how the starts of the main one ended."""
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
        Measure("grid_points", "points of the grid", points, "point", n=starts, meaning=f"with {starts} starts each"),
        share(
            "converged_starts",
            "starts that converge",
            int((ended == "converged").sum()),
            ended.size,
            "others end beside kinks",
        ),
        average(
            "starts_that_find_best",
            "starts that find the best",
            hits,
            "1",
            f"mean over all points; from {hits.min():.3g} to {hits.max():.3g}",
        ),
        Measure(
            "points_improved_by_neighbours",
            "points where neighbours knew better",
            here.improved,
            "point",
            n=points,
            meaning="than all starts",
        ),
        Measure(
            "mixtures",
            "mixtures",
            found.share(lambda _, shape: mixture(shape)),
            "1",
            n=points,
            meaning="part of the plane, log density by strength",
        ),
        share(
            "sparse_and_correlated.mixtures",
            "mixtures where sparse and correlated",
            sum(mixture(shape) for shape in both),
            len(both),
            f"points of density up to {SPARSE_UP_TO:g} and strength from {CORRELATED_FROM:g}; null: any two features "
            "that share a direction at strength 0",
            null=free,
        ),
        Measure(
            "superposition_without_collapse",
            "superposition without collapse",
            found.share(lambda _, shape: shape.collapsed == 0 and not shape.pca),
            "1",
            n=points,
            meaning="part of the plane",
        ),
        Measure("pca", "PCA", found.share(lambda _, shape: shape.pca), "1", n=points, meaning="part of the plane"),
    ]
    if sparse:
        where = f"among points of the grid of density up to {SPARSE_UP_TO:g}"
        listed += [
            Measure(
                "least_density_of_mixture",
                "least density of a mixture",
                min(place.density for place in sparse),
                "density",
                n=points,
            ),
            Measure(
                "least_strength_of_mixture",
                "least strength of a mixture",
                min(place.strength for place in sparse),
                "strength",
                n=points,
                meaning=f"{where}; where it is denser, pairs are hardly correlated and share directions by chance",
            ),
        ]
    for name, step in (("density", rising), ("strength", growing)):
        text = f"{step.fallen} of {step.steps} steps of the grid; the largest is {step.largest:.2g}"
        listed.append(
            Measure(
                f"falls_of_relative_loss_with_{name}",
                f"falls of the relative loss with {name}",
                step.fallen / step.steps,
                "1",
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
            "1",
            n=counts.size,
            meaning=f"{(counts < 0).sum()} of {counts.size} steps of the grid; it rises in {(counts > 0).sum()}",
        )
    )
    listed.append(
        Measure(
            "density_from_which_relative_loss_rises_with_strength",
            "density from which on the relative loss rises with strength",
            growing.clear,
            "density",
            n=points,
            meaning="in every step; none if it falls at the highest density of the grid",
        )
    )
    return [*listed, *of_boundaries(found)]


def _of_other(name: str, found: PhaseMap) -> list[Measure]:
    """What there is on another plane."""
    key, of, points = f"plane_{name.replace('-', '_')}.", f"{name}: ", found.map.hits.size
    return [
        Measure(
            f"{key}mixtures",
            f"{of}mixtures",
            found.share(lambda _, shape: mixture(shape)),
            "1",
            n=points,
            meaning="of the plane",
        ),
        Measure(
            f"{key}pca", f"{of}PCA", found.share(lambda _, shape: shape.pca), "1", n=points, meaning="of the plane"
        ),
        *of_boundaries(found, key, of),
    ]
