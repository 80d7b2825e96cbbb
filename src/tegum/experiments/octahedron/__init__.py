"""Two correlated sets of three become an octahedron in regimes, each a geometric transformation, along several routes.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.octahedron.routes import GRID_DENSITIES, SCALES, TURNED, rotations
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import SAMPLING, Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.octahedron.findings import OctahedronFindings
    from tegum.training.spec.spec import Spec

BASE = 500
"""The base seed of the first cell of the grid; every other cell has the next one."""


@final
class Octahedron(Experiment["OctahedronFindings"]):
    """The claim about learning as a sequence of geometric transformations.

    It is tested on mini-batch runs over a grid of densities and scales of the initial weights, by the exact population
    loss along each trajectory. Regimes are found in the loss alone and motions (inflation, separation, opening, twist,
    turn) in the weights alone. For each regime we ask which motion dominates, and for each run in what order.

    - end: does the run become an octahedron whose pairs join both sets, if need be after descent to its minimum?
    - regimes: are they in the claimed order, and purer than the same regimes of the run in any other order?
    - routes: do the sets become opposite triangles before the first antipodal pair forms (straight), or after it (pairs
      first), and which properties of the initial weights are associated with that?

    The nulls are pairs matched at random, Xavier starts, regimes elsewhere in the run, and labels permuted within the
    cells of the grid. Twins trained without noise show which saddles lie on the routes.
    """

    claim: ClassVar[str] = (
        "Two correlated sets of three in three dimensions learn in distinct regimes that are visible in the loss, each "
        "one geometric transformation, and end on several routes as an octahedron whose antipodal pairs join both sets."
    )

    question: ClassVar[str] = "Does training go through distinct regimes?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 15, "default": 75}

    further_figures: ClassVar[tuple[str, ...]] = ("routes",)

    varies: ClassVar[Mapping[str, Range]] = SAMPLING

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Twelve cells of 20, 80 or 320 runs, two transformed copies of one, and 8, 64 or 256 runs at density 0.2."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated
        from tegum.core.model import initial_weights
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        seeds, dense, steps, count = {
            "quick": (20, 8, 10_000, 60),
            "default": (80, 64, 30_000, 100),
            "full": (320, 256, 100_000, 200),
        }[size]
        kept = np.unique(np.rint(np.geomspace(10, steps, count)).astype(int)).tolist()

        def spec(density: float, scale: float | None, number: int, runs: int) -> Spec:
            return Spec(
                features=FeatureDistribution([Correlated(3, density)] * 2),
                hidden=3,
                initial_scale=scale,
                training=Sampled(steps=steps),
                snapshots=Snapshots(steps=kept),
                seeds=runs,
                base_seed=BASE + number,
            )

        def again(cell: Spec) -> list[Spec]:
            weights = np.stack([initial_weights(cell.base_seed, run, 6, 3, cell.initial_scale) for run in range(seeds)])
            turns = rotations(seeds, np.random.default_rng(BASE))
            return [cell.replace(initial_scale=None, start=weights @ each) for each in turns]

        cells = [(density, scale) for density in GRID_DENSITIES for scale in SCALES]
        grid = [spec(density, scale, number, seeds) for number, (density, scale) in enumerate(cells)]
        return {"run": grid, "dense": spec(0.2, 0.05, len(cells), dense), "turned": again(grid[cells.index(TURNED)])}

    def further(self, runs: Mapping[str, xr.Dataset]) -> Mapping[str, Spec | Sequence[Spec]]:
        """Continue unfinished runs to a minimum of the exact loss, and train noiseless twins of some runs."""
        from tegum.experiments.octahedron.findings import further

        return further(runs)

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[OctahedronFindings]:
        """Find regimes, final states, routes and saddles; `shown` is an `OctahedronFindings`."""
        from tegum.experiments.octahedron.criteria import answer, criteria
        from tegum.experiments.octahedron.figure import caption
        from tegum.experiments.octahedron.findings import find
        from tegum.experiments.octahedron.measures import measures

        found = find(runs)
        measured = by_key(measures(found))
        judged = criteria(found, measured)
        told = answer(measured) if judged else ""
        return Findings(tuple(measured.values()), judged, caption(found), found, tested=bool(judged), answer=told)

    def drawn_runs(self, findings: Findings[OctahedronFindings]) -> Mapping[tuple[str, int], Sequence[int]]:
        """The run of the first figure."""
        found = findings.shown
        at = found.drawn
        return {} if at is None else {("run", int(found.cell[at])): [int(found.seed[at])]}

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[OctahedronFindings]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """Draw the polyhedron at the end of each regime of one run, the loss of that run, and the tree of routes."""
        from tegum.experiments.octahedron.figure import figure

        return figure(findings.shown)
