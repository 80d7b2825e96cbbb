"""Over density and correlation strength, superposition wins where features are sparse, PCA where they are correlated.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure
from tegum.experiments.tradeoff.findings import Trades, trades
from tegum.experiments.tradeoff.measures import of_boundaries
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY
from tegum.solutions.plane import Place, Shape
from tegum.solutions.solution import density_of, lowest
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec

SETS = 3
"""How many sets there are."""

SPARSE, STRONG = 0.5, 0.5
"""Up to this density and from this strength on features are both sparse and correlated."""

MIXED = 0.1
"""The least part of these points that are mixtures."""

ROUNDING = 1e-6
"""A relative loss that changes by less does not change."""

FRESH = 64
"""So many fresh starts are trained in the middle of every boundary, and at triple points; at most as many as the grid's
in the quick form."""

ABSENT = 0.1
"""A row shorter than this part of the longest is absent."""

OTHERS = ((2, 3), (3, 2), (3, 3), (4, 2), (4, 3))
"""Sizes of sets and hidden dimensions of the full form's other planes."""

SHOWN = 0.01
"""Solutions that are the best in so large a part of the plane are drawn."""


@final
@dataclass(frozen=True)
class Step:
    """How often the relative loss falls where it should not."""

    fallen: int
    steps: int
    largest: float
    """The most it falls by, in one step."""
    clear: float | None
    """The density from which on it never does."""


@final
class Tradeoff(Experiment["Trades"]):
    """The claim about the space of trade-offs between superposition and PCA."""

    claim: ClassVar[str] = (
        "Sparser features favour superposition and more correlated ones PCA, with mixtures of both where features are "
        "sparse and correlated."
    )

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """The lowest of fewer starts is often not the best; fresh ones have a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Starts over density and strength, without correlation, and in the full form other sizes of sets."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import PartiallyCorrelated
        from tegum.training.spec.methods import Exact
        from tegum.training.spec.spec import Spec

        (low, high, p), (weak, rho), starts = {
            "quick": ((0.04, 0.7, 10), (0.5, 5), 12),
            "default": ((0.02, 0.95, 40), (0.025, 40), 32),
            "full": ((0.02, 0.95, 80), (0.0125, 80), 128),
        }[size]

        def densities(count: int) -> list[float]:
            # Rounded, so that they are the same numbers wherever they are computed.
            return np.round(np.geomspace(low, high, count), 6).tolist()

        def spec(members: int, hidden: int, density: float, strength: float, seeds: int) -> Spec:
            sets = [PartiallyCorrelated(members, density, strength)] * SETS
            exact = Exact(gradient_tolerance=1e-6)
            return Spec(
                features=FeatureDistribution(sets), hidden=hidden, training=exact, snapshots=1, seeds=seeds, base_seed=4
            )

        def plane(members: int, hidden: int, sides: tuple[int, int], seeds: int) -> list[Spec]:
            strengths = np.round(np.linspace(weak, 1, sides[1]), 6).tolist()
            return [
                spec(members, hidden, each, strength, seeds) for each in densities(sides[0]) for strength in strengths
            ]

        others = OTHERS if size == "full" else ()
        return {
            "run": plane(2, 2, (p, rho), starts),
            "null": [spec(2, 2, each, 0.0, starts) for each in densities(p)],
            **{f"{members}-in-{hidden}": plane(members, hidden, (40, 40), 32) for members, hidden in others},
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Trades]:
        """The map of best solutions and its boundaries; `shown` is the `Trades` of the pairs in the plane."""
        found = {}
        for name, run in runs.items():
            if name != "null":
                specs = specs_of(run)
                many = specs[0].seeds >= FRESH // 2
                found[name] = trades(run, specs, fresh=min(FRESH, 2 * specs[0].seeds), orders=many)
        null = _null(runs["null"])
        main = found["run"]
        rising, growing = _steps(main, 0), _steps(main, 1)
        measures = _measures(runs["run"], main, rising, growing, null)
        for name, other in found.items():
            if name != "run":
                measures += _of_other(name, other)
        return Findings(tuple(measures), _criteria(main, rising, growing, null), _caption(main), main)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Trades]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """The number of collapsed pairs and the relative loss over the plane, with boundaries, and the solutions."""
        from tegum.figures.tradeoff import Lines, tradeoff

        found = findings.shown
        plane = found.map.plane
        return tradeoff(
            (np.array(plane.densities), np.array(plane.strengths)),
            [[shape.name for shape in row] for row in found.map.shapes],
            found.ratios,
            Lines(
                [np.array(border.curve.places) for border in found.borders],
                np.array([each.place for each in found.breakings if each.continuous]).reshape(-1, 2),
                np.array([each.place for each in found.found.triples]).reshape(-1, 2),
            ),
            _pictures(found),
            findings.caption,
        )


def mixture(shape: Shape) -> bool:
    """Whether a solution is neither superposition alone nor PCA."""
    return shape.collapsed > 0 and not shape.pca


def _null(run: xr.Dataset) -> list[tuple[float, bool]]:
    """Density, and whether two features share a direction in the best solution without correlation."""
    specs = specs_of(run)
    best = lowest(run, [density_of(spec) for spec in specs])
    return [(each.value, _shared(each.weights)) for each in best]


def _shared(weights: Float[np.ndarray, "feature hidden"]) -> bool:
    """Whether any two features are collapsed: without correlation sets mean nothing."""
    from tegum.analysis.sets.collapse import collapsed_count
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Correlated

    norms = np.linalg.norm(weights, axis=1)
    two = FeatureDistribution([Correlated(2, 0.5)])
    present = np.flatnonzero(norms > ABSENT * norms.max())
    return any(collapsed_count(weights[[i, j]], two) for k, i in enumerate(present) for j in present[k + 1 :])


def _steps(found: Trades, axis: int) -> Step:
    """How often the relative loss falls from a point of the grid to the next in density (0) or strength (1)."""
    change = np.diff(found.ratios, axis=axis)
    fallen = change < -ROUNDING
    densities = found.map.plane.densities
    bad = [k for k in range(len(fallen)) if fallen[k].any()]
    clear = densities[0] if not bad else densities[bad[-1] + 1] if bad[-1] + 1 < len(densities) else None
    return Step(int(fallen.sum()), change.size, float(max(-change.min(), 0.0)), clear)


def _measures(
    run: xr.Dataset, found: Trades, rising: Step, growing: Step, null: Sequence[tuple[float, bool]]
) -> list[Measure]:
    from tegum.experiments.reporting import average, share

    here, starts = found.map, found.map.starts
    ended = run["result"].values
    points = here.reached.shape[0] * here.reached.shape[1]
    mixed = [place for place, shape in _points(found) if mixture(shape)]
    sparse = [place for place in mixed if place.density <= SPARSE]
    both = _sparse_and_strong(found)
    free = float(np.mean([shared for density, shared in null if density <= SPARSE]))
    hits = here.hits.ravel() / starts
    measures = [
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
            f"points of density up to {SPARSE:g} and strength from {STRONG:g}; null: any two features that share a "
            "direction at strength 0",
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
        where = f"among points of the grid of density up to {SPARSE:g}"
        measures += [
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
        measures.append(
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
    measures.append(
        Measure(
            "falls_of_collapsed_pairs_with_strength",
            "falls of the number of collapsed pairs with strength",
            float((counts < 0).mean()),
            "1",
            n=counts.size,
            meaning=f"{(counts < 0).sum()} of {counts.size} steps of the grid; it rises in {(counts > 0).sum()}",
        )
    )
    measures.append(
        Measure(
            "density_from_which_relative_loss_rises_with_strength",
            "density from which on the relative loss rises with strength",
            growing.clear,
            "density",
            n=points,
            meaning="in every step; none if it falls at the highest density of the grid",
        )
    )
    return [*measures, *of_boundaries(found)]


def _of_other(name: str, found: Trades) -> list[Measure]:
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


def _sparse_and_strong(found: Trades) -> list[Shape]:
    return [shape for place, shape in _points(found) if place.density <= SPARSE and place.strength >= STRONG]


def _points(found: Trades) -> list[tuple[Place, Shape]]:
    rows = zip(found.map.plane.places, found.map.shapes, strict=True)
    return [each for row in rows for each in zip(*row, strict=True)]


def _criteria(found: Trades, rising: Step, growing: Step, null: Sequence[tuple[float, bool]]) -> tuple[Criterion, ...]:
    both = _sparse_and_strong(found)
    return (
        Criterion(
            "relative_loss_rises_with_density",
            "At every strength the relative loss never falls as density rises.",
            rising.fallen == 0,
        ),
        Criterion(
            "relative_loss_rises_with_strength",
            "At every density the relative loss never falls as the strength rises.",
            growing.fallen == 0,
        ),
        Criterion(
            "mixtures_where_sparse_and_correlated",
            f"At least {MIXED:g} of the points that are sparse and correlated are mixtures.",
            bool(both) and bool(np.mean([mixture(shape) for shape in both]) >= MIXED),
        ),
        Criterion(
            "no_shared_directions_without_correlation",
            f"Without correlation no two features share a direction, at densities up to {SPARSE:g}.",
            not any(shared for density, shared in null if density <= SPARSE),
        ),
    )


def _pictures(found: Trades) -> list[tuple[str, Place, Float[np.ndarray, "feature hidden"]]]:
    """Name, place and weights of the solution in the middle of each part of the plane, from sparse to dense."""
    kinds: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
    for at in np.ndindex(found.map.reached.shape[:2]):
        shape = found.map.shapes[at[0]][at[1]]
        kinds.setdefault((shape.name, shape.represented, shape.symmetry), []).append(at)
    plane, points = found.map.plane, found.map.hits.size
    chosen = []
    for (name, _, _), own in kinds.items():
        if len(own) >= SHOWN * points:
            inside = np.array(own)
            i, j = own[int(np.square(inside - inside.mean(0)).sum(1).argmin())]
            chosen.append((name, plane.places[i][j], found.map.ends[i][j].weights))
    return sorted(chosen, key=lambda each: (each[0], each[1].density))


def _caption(found: Trades) -> str:
    plane, starts = found.map.plane, found.map.starts
    first = sum(each.kind == "first order" for each in found.borders)
    checked = sum(bool(each.kind) for each in found.borders)
    orders = f"; of {checked} whose order was determined {first} are of first order" if checked else ""
    smooth = sum(each.continuous for each in found.breakings)
    return (
        f"Three pairs of features, m = 2: the best of {starts} starts on the exact loss at each of "
        f"{len(plane.densities)} × {len(plane.strengths)} points. Left: its number of collapsed pairs. Right: its loss "
        "over that of the best linear model; dotted: 0.99. Lines: the best solution changes at once "
        f"({len(found.borders)} curves{orders}); circles: "
        f"{len(found.found.triples)} triple points; crosses: a symmetry is lost continuously ({smooth} places). Below: "
        "the solutions at the letters, one colour for each pair."
    )
