"""Correlated sets are in local non-superposition: how far this holds, and whether PCA then finds them.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.local_basis.findings import HIDDEN, REFERENCE, REFERENCE_DENSITIES, SIZE, Cell, is_reference
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.local_basis.findings import LocalBasisFindings
    from tegum.training.spec.spec import Spec

SMALL_CELL = (4, 6, 8)
"""Set size, number of sets and hidden dimension of the cells that are also trained on the exact loss."""

FIRST_BASE_SEED = 7000
"""The base seed of the first Spec; every Spec has its own, counting up from here."""


@final
class LocalBases(Experiment["LocalBasisFindings"]):
    """The claim about local non-superposition.

    It is tested on models of correlated sets of equal size and density, trained over set size, number of sets and
    density. In every cell of that grid three things are measured: the interference within sets compared with that
    between sets; what the tied read-out of a set misses, with the set alone and with the set active; and how much of a
    set's embeddings PCA captures where the set is active. Criteria are judged at the reference cells, sets of 10 in
    superposition. Elsewhere lines through the grid show up to where each property holds.

    The nulls are random groups of the features of the same models, and models trained without correlation.
    """

    claim: ClassVar[str] = (
        "In a model in superposition, the features of a correlated set are almost orthogonal to one another, so that "
        "where the set is active their own embeddings read them out and PCA finds their subspace."
    )

    question: ClassVar[str] = "Are features of one set kept orthogonal?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 30, "default": 390}

    further_figures: ClassVar[tuple[str, ...]] = ("read-out", "read-out-in-use", "pca")

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=2)}
    """An interval needs at least two runs."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """One training per shape of the weights, with a Spec for each cell and null, of 3, 5 or 20 runs each."""
        from tegum.training.spec.methods import Exact, Sampled
        from tegum.training.spec.spec import Spec

        steps, seeds = {"quick": (2_000, 3), "default": (10_000, 5), "full": (10_000, 20)}[size]
        shapes: dict[tuple[int, int], list[Spec]] = {}
        number = FIRST_BASE_SEED
        for cell in sorted(set(_grid(size))):
            null = [cell.independent()] if is_reference(cell) and cell.density == REFERENCE_DENSITIES[1] else []
            for features in (cell.correlated(), *null):
                spec = Spec(
                    features=features,
                    hidden=cell.hidden,
                    training=Sampled(steps=steps),
                    snapshots=1,
                    seeds=seeds,
                    base_seed=number,
                )
                shapes.setdefault((cell.features, cell.hidden), []).append(spec)
                number += 1
        small = [
            Spec(
                features=Cell(*SMALL_CELL, density).correlated(),
                hidden=SMALL_CELL[2],
                training=Sampled(),
                snapshots=1,
                seeds={"quick": 4, "default": 16, "full": 64}[size],
                base_seed=number + position,
            )
            for position, density in enumerate(REFERENCE_DENSITIES)
        ]
        return {
            **{f"n{n}-m{m}": specs for (n, m), specs in shapes.items()},
            "small": small,
            "exact": [spec.replace(training=Exact(gradient_tolerance=1e-6)) for spec in small],
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[LocalBasisFindings]:
        """Measure all cells, and find where each property ends along the lines; `shown` is the `LocalBasisFindings`."""
        from tegum.experiments.local_basis.criteria import answer, criteria
        from tegum.experiments.local_basis.figure import caption
        from tegum.experiments.local_basis.findings import find
        from tegum.experiments.local_basis.measures import measures

        found = find(runs)
        judged = criteria(found)
        return Findings(tuple(measures(found)), judged, caption(found), found, answer=answer(found, judged))

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[LocalBasisFindings]) -> tuple[Figure, ...]:  # noqa: ARG002 (it is in the findings)
        """Interference, read-out error and PCA over the size, number and density of sets."""
        from tegum.experiments.local_basis.figure import figure

        return figure(findings.shown)


def _grid(size: Size) -> list[Cell]:
    """All cells of the grid, some of them more than once."""
    parts, numbers, pairs, references = {
        "quick": (
            {(4, 20): (10, 15, 20, 25), (10, 20): (5, 10, 15)},
            (4, 7, 10),
            dict.fromkeys(((5, 10), (10, 4)), (0.025, 0.1, 0.2)),
            REFERENCE[:2],
        ),
        "default": (
            {(4, 20): (10, 15, 20, 25), (10, 20): (5, 10, 15, 20), (20, 20): (2, 3, 5, 10), (10, 10): (2, 3, 5, 8)},
            (4, 7, 10, 14, 20),
            {
                (5, 10): (0.006, 0.018, 0.035, 0.1, 0.2),
                (10, 4): (0.006, 0.018, 0.035, 0.1, 0.2),
                (10, 10): (0.006, 0.018, 0.035, 0.1, 0.2),
                (5, 20): (0.006, 0.018, 0.035),
            },
            REFERENCE,
        ),
        "full": (
            {
                (4, 20): (8, 10, 12, 15, 18, 20, 22, 25, 30),
                (10, 20): (3, 4, 5, 7, 10, 12, 15, 18, 20, 25),
                (20, 20): (2, 3, 4, 5, 7, 10, 15),
                (10, 10): (2, 3, 4, 5, 6, 7, 8, 10, 12),
                (10, 40): (6, 10, 15, 20, 25, 30, 36, 40),
            },
            (4, 5, 7, 10, 12, 14, 17, 20),
            dict.fromkeys(
                ((3, 10), (5, 10), (5, 20), (10, 4), (10, 10), (10, 20), (15, 4), (15, 10)),
                (0.003, 0.006, 0.009, 0.015, 0.018, 0.021, 0.025, 0.03, 0.035, 0.042, 0.07, 0.1, 0.14, 0.2),
            ),
            REFERENCE,
        ),
    }[size]
    return [
        *(Cell(k, sets, m, p) for p in REFERENCE_DENSITIES for (sets, m), sizes in parts.items() for k in sizes),
        *(Cell(SIZE, sets, HIDDEN, p) for p in REFERENCE_DENSITIES for sets in numbers),
        *(
            Cell(k, sets, HIDDEN, p)
            for (k, sets), densities in pairs.items()
            for p in (*REFERENCE_DENSITIES, *densities)
        ),
        *(Cell(SIZE, sets, m, p) for sets, m in references for p in REFERENCE_DENSITIES),
    ]
