"""What a model keeps of a feature that occurs in different rotations: Fourier modes, polygons, or single orientations.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.equivariant.findings import RotatedSolutions
    from tegum.training.spec.spec import Spec


@final
class EquivariantFeatures(Experiment["RotatedSolutions"]):
    """The claim about features in different rotations.

    It is tested on the exact loss of a feature in eight orientations, which respond through their tuning curves to one
    random angle: the wider the tuning, the more neighbours respond together. Over width, density and hidden dimension,
    the lowest of many starts, and of descents from the neighbours' solutions, counts. That solution is PCA, or regular
    (it treats all orientations alike), or uneven. Its shares of |W|² say which Fourier modes over the orientations it
    keeps. Where its name changes along width is found by bisection. Two such features, families of six orientations
    each, are studied over width and density: which of the hidden dimensions does each take?

    The null is the same number of independent features. The experiment also reports how often mini-batch runs reach
    the best solution.
    """

    claim: ClassVar[str] = (
        "A feature in many orientations is kept as its leading Fourier modes, as in PCA, where the tuning is wide, as "
        "a regular polygon of all orientations where it is narrower, and unevenly where it is narrowest; two such "
        "features take planes of their own only when dense."
    )

    question: ClassVar[str] = "How is a feature at many angles stored?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 20, "default": 170}

    further_figures: ClassVar[tuple[str, ...]] = ("two-families",)

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """With fewer starts the lowest is often not the best; fresh starts use a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """The null for one family and for two, from the same starts as the maps, and mini-batch runs."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.experiments.equivariant.families import rotating
        from tegum.training.spec.methods import Exact, Sampled
        from tegum.training.spec.spec import Spec

        hidden, seeds, densities = {
            "quick": ((2,), 16, (0.1, 1.0)),
            "default": ((2, 3, 4), 64, (0.1, 0.01, 1.0)),
            "full": ((2, 3, 4, 5), 256, (0.1, 0.01, 0.4, 1.0)),
        }[size]
        pair_hidden, pair_seeds, pair_densities = {
            "quick": ((4,), 4, (0.03, 0.7)),
            "default": ((2, 3, 4), 24, (0.03, 0.1, 0.3, 0.7, 1.0)),
            "full": ((2, 3, 4), 96, (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)),
        }[size]
        widths, runs, steps = {
            "quick": ((0.6, 1.5), 4, 1_000),
            "default": ((0.2, 0.6, 1.5), 16, 10_000),
            "full": ((0.2, 0.3, 0.6, 1.0, 1.5), 64, 10_000),
        }[size]

        def independent(count: int, density: float, m: int, starts: int) -> Spec:
            features = FeatureDistribution([Independent(count, density)])
            exact = Exact(gradient_tolerance=1e-6)
            return Spec(features=features, hidden=m, training=exact, snapshots=1, seeds=starts, base_seed=5)

        return {
            **{f"null-{m}": [independent(8, p, m, seeds) for p in densities] for m in hidden},
            **{f"null-two-{m}": [independent(12, p, m, pair_seeds) for p in pair_densities] for m in pair_hidden},
            "sampled": [
                Spec(
                    features=rotating(8, 0.1, width), hidden=2, training=Sampled(steps=steps), snapshots=1, seeds=runs,
                    base_seed=5,
                )
                for width in widths
            ],
        }  # fmt: skip

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[RotatedSolutions]:
        """Find the best solutions, what they keep, and where that changes; `shown` is the `RotatedSolutions`."""
        from tegum.experiments.equivariant.criteria import answer, criteria
        from tegum.experiments.equivariant.figure import caption
        from tegum.experiments.equivariant.findings import find
        from tegum.experiments.equivariant.measures import measures

        found = find(runs)
        judged = criteria(found)
        return Findings(tuple(measures(found)), judged, caption(found), found, answer=answer(judged))

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[RotatedSolutions]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """Embeddings along width, shares of |W|² by Fourier mode, the loss, and two families over width and density."""
        from tegum.experiments.equivariant.figure import figure

        return figure(findings.shown)
