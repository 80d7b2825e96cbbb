"""As correlated pairs become denser they collapse one after another, and end up as principal components.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.collapse.findings import NULL_UP_TO
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.collapse.findings import Landscape
    from tegum.training.spec.spec import Spec


@final
class Collapse(Experiment["Landscape"]):
    """The claim about the collapse of correlated pairs.

    It is tested on the exact population loss of three fully correlated pairs in two hidden dimensions. At each density
    the lowest of many starts counts. That solution is named by its number of collapsed pairs, or PCA if it spans the
    principal subspace and its loss is nearly that of the best linear model. Where the name changes, both branches are
    followed to the density at which their losses are equal, and fresh starts there must find nothing lower. The
    densities of these changes are compared with those in the published figure.

    The null is six independent features, of which no pair may collapse up to density 0.5. The experiment also reports
    how often mini-batch training finds the best solution.
    """

    claim: ClassVar[str] = (
        "As three correlated pairs in two dimensions become denser, the best solution goes from a hexagon through one, "
        "two and three collapsed pairs to PCA, at the densities shown in the published figure."
    )

    question: ClassVar[str] = "Do correlated pairs collapse one by one?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 10, "default": 55}

    further_figures: ClassVar[tuple[str, ...]] = ("branches",)

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """With fewer starts the lowest is often not the best; fresh starts use a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Exact descents at 16, 42 or 82 densities, the null, and mini-batch runs at a few of the densities."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent
        from tegum.training.spec.methods import Exact, Sampled
        from tegum.training.spec.spec import Spec

        count, seeds, nulls, runs, where = {
            "quick": (14, 24, 3, 16, (0.1, 0.25)),
            "default": (40, 64, 10, 64, (0.02, 0.1, 0.25, 0.6)),
            "full": (80, 256, 20, 256, (0.01, 0.02, 0.04, 0.1, 0.2, 0.3, 0.45, 0.6)),
        }[size]
        # Rounded, so that the densities are the same numbers on every machine.
        grid = sorted({0.8, 0.9, *np.round(np.geomspace(0.005, 1, count), 6).tolist()})

        def spec(*sets: object) -> Spec:
            features = FeatureDistribution(sets)  # pyright: ignore[reportArgumentType]
            exact = Exact(gradient_tolerance=1e-6 if size == "quick" else 1e-8)
            return Spec(features=features, hidden=2, training=exact, snapshots=1, seeds=seeds, base_seed=2)

        pairs = [spec(*[Correlated(2, density=p)] * 3) for p in grid]
        near = [int(np.argmin(np.abs(np.log(np.array(grid) / p)))) for p in where]
        return {
            "run": pairs,
            "null": [
                spec(Independent(6, density=p)) for p in np.round(np.geomspace(0.005, NULL_UP_TO, nulls), 6).tolist()
            ],
            "sampled": [pairs[k].replace(training=Sampled(), seeds=runs) for k in near],
        }

    def further(self, runs: Mapping[str, xr.Dataset]) -> Mapping[str, Spec | Sequence[Spec]]:
        """Descent from the end of each mini-batch run to the minimum of the exact loss in whose basin it lies."""
        from tegum.solutions.descent import descents_of_ends
        from tegum.solutions.solution import density_of
        from tegum.training.dataset import specs_of

        sampled = runs["sampled"]
        densities = [density_of(each) for each in specs_of(sampled)]
        spec = specs_of(runs["run"])[0]
        return {"sampled-refined": descents_of_ends(spec, "density", sampled, densities)}

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Landscape]:
        """Find the best solutions, the branches and their crossings; `shown` is the `Landscape`."""
        from tegum.experiments.collapse.criteria import answer, criteria
        from tegum.experiments.collapse.figure import caption
        from tegum.experiments.collapse.findings import find
        from tegum.experiments.collapse.measures import measures

        found = find(runs)
        listed = tuple(measures(found, runs["run"]))
        return Findings(listed, criteria(found), caption(found), found, answer=answer(found))

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Landscape]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """The solutions as pictures, the loss of each branch against density, and how often the best one is found."""
        from tegum.experiments.collapse.figure import figure

        return figure(findings.shown)
