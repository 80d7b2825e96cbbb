"""A sampled trajectory and its noiseless twin: without noise, the plateaus of the loss turn out to be at saddles.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.experiments.exact_vs_sampled.findings import LOSS_ACCURACY, SYSTEMS
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import ANY, RATE, SPARSEST, Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.exact_vs_sampled.findings import TwinnedRuns
    from tegum.training.spec.spec import Spec


@final
class ExactVsSampled(Experiment["tuple[TwinnedRuns, ...]"]):
    """The claim that plateaus are at saddles, once sampling noise is removed.

    It is tested on two systems with three hidden dimensions: two correlated sets of three, and six independent
    features. Each run is trained twice from the same small start, on mini-batches and, with the same optimiser, on the
    population loss. From the slowest point of each plateau of this noiseless twin, Newton's method searches for a
    critical point. The point counts if it is near and, for a plateau that is escaped, if the loss falls from it in some
    direction.

    There are two nulls: the same search from where the loss falls fastest after the plateau, and the distance between
    a sampled run and the twins of other starts.
    """

    claim: ClassVar[str] = (
        "From a small start a sampled run follows its noiseless twin, and plateaus of the twin's loss are at saddles."
    )

    question: ClassVar[str] = "Is a plateau a saddle of the exact loss?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 20, "default": 110}

    varies: ClassVar[Mapping[str, Range]] = {
        "seeds": Range(low=2),
        "training.rate": RATE,
        "features.density": SPARSEST,
        **dict.fromkeys(("base_seed", "training.schedule", "training.warmup"), ANY),
        "training.steps": Range(low=100),
        "snapshots.count": Range(low=20),
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Each system, sampled and exact, with 3, 16 or 128 runs."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        seeds, steps, snapshots = {"quick": (3, 5_000, 200), "default": (16, 20_000, 400), "full": (128, 30_000, 600)}[
            size
        ]
        systems = {"sets": [Correlated(3, 0.05)] * 2, "independent": [Independent(6, 0.05)]}
        specs: dict[str, Spec | Sequence[Spec]] = {}
        for name, sets in systems.items():
            sampled = Spec(
                features=FeatureDistribution(sets),
                hidden=3,
                initial_scale=0.01,
                training=Sampled(steps=steps, weight_decay=0.0),
                snapshots=Snapshots(count=snapshots, spacing="logarithmic"),
                seeds=seeds,
                base_seed=3,
            )
            specs[f"{name}-sampled"] = sampled
            specs[f"{name}-exact"] = sampled.replace(
                training=Sampled(steps=steps, weight_decay=0.0).noiseless(accuracy=LOSS_ACCURACY)
            )
        return specs

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[tuple[TwinnedRuns, ...]]:
        """Find the plateaus of all twins and their critical points; `shown` is the `TwinnedRuns` of each system."""
        from tegum.experiments.exact_vs_sampled.criteria import answer, criteria
        from tegum.experiments.exact_vs_sampled.figure import caption
        from tegum.experiments.exact_vs_sampled.findings import find
        from tegum.experiments.exact_vs_sampled.measures import measures

        found = find(runs)
        measured = by_key(measures(found))
        judged = criteria(found, measured)
        text, tested, told = caption(found), len(found) == len(SYSTEMS), answer(found, measured)
        return Findings(tuple(measured.values()), judged, text, found, tested=tested, answer=told)

    def drawn_runs(self, findings: Findings[tuple[TwinnedRuns, ...]]) -> Mapping[tuple[str, int], Sequence[int]]:
        """Of each system the run of its panel, trained in both ways."""
        ways = ("sampled", "exact")
        return {(f"{each.name}-{way}", 0): [each.seeds[each.drawn]] for each in findings.shown for way in ways}

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[tuple[TwinnedRuns, ...]]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """One panel per system: both losses of one run on a log axis, with the saddle index at each plateau."""
        from tegum.experiments.exact_vs_sampled.figure import figure

        return figure(findings.shown)
