"""Whether the smooth loss of larger models is composed of many small jumps of features.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.analysis.dynamics.own_jumps import FEWEST_RUNS_FOR_P
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import SPARSEST, Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.analysis.dynamics.attribution import JumpAttribution
    from tegum.training.spec.spec import Spec

DENSITY = 0.3
"""The probability of each feature being active."""

RATIO = 10
"""The number of features per hidden dimension."""


@final
class ManyJumps(Experiment["list[JumpAttribution]"]):
    """The claim that smooth losses of larger models are composed of small jumps.

    It is tested on ensembles of independent features, 10 for each hidden dimension, that grow in size. For the largest
    size we ask whether the loss falls where a run's own features jump, and how much of the excess over chance that a
    loss made only of jumps would show (synthetic losses) is really there.

    There are two nulls. Jumps shifted in time are easy to exceed, because early in training the loss falls and features
    jump. The jumps of other runs of the same size, which follow the same course at the same times, leave only what is
    due to a run's own jumps. Gradient flow, without any noise, is reported for small sizes.
    """

    claim: ClassVar[str] = (
        "The seemingly smooth decrease of the loss in larger models is composed of many small jumps of features."
    )

    question: ClassVar[str] = "Is a smooth loss made of many small jumps?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 15, "default": 280}

    further_figures: ClassVar[tuple[str, ...]] = ("runs",)

    varies: ClassVar[Mapping[str, Range]] = {
        "seeds": Range(low=FEWEST_RUNS_FOR_P),
        "features.density": SPARSEST,
        "snapshots.count": Range(low=120),
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """An ensemble of runs for each number of features, and gradient flows for some of them."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.training.spec.methods import Flow, Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        runs, flows = {
            "quick": ({20: 12, 40: 12, 80: 12}, {}),
            "default": ({40: 32, 80: 32, 200: 24, 400: 24}, {20: 16, 40: 8}),
            "full": ({40: 128, 80: 128, 200: 96, 400: 96, 800: 24}, {20: 128, 40: 64}),
        }[size]
        sampled = Sampled(steps=4_000, evaluation=16_384)
        # Errors of integration do not matter here, and tighter tolerances take several times as long.
        flow = Flow(steps=300, duration=300.0, rtol=1e-4, atol=1e-6, accuracy=1e-5)

        def spec(n: int, seeds: int, training: Sampled | Flow, count: int, base_seed: int) -> Spec:
            return Spec(
                features=FeatureDistribution([Independent(n, density=DENSITY)]),
                hidden=n // RATIO,
                training=training,
                snapshots=Snapshots(count=count),
                seeds=seeds,
                base_seed=base_seed,
            )

        return {
            **{f"run-{n}": spec(n, seeds, sampled, 200, 7_000 + n) for n, seeds in runs.items()},
            **{f"flow-{n}": spec(n, seeds, flow, 300, 7_000 + n) for n, seeds in flows.items()},
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[list[JumpAttribution]]:
        """Find jumps and their part in the fall of the loss, for each size; `shown` is a list of `JumpAttribution`."""
        from tegum.experiments.many_jumps.criteria import answer, criteria
        from tegum.experiments.many_jumps.figure import caption
        from tegum.experiments.many_jumps.findings import find, largest_of, rest_of, tested
        from tegum.experiments.many_jumps.measures import measures
        from tegum.training.compare import recorded_on

        found, last = find(runs), largest_of(runs)
        shown, judged = list(found.values()), tested(found.get(last))
        sentences = caption(shown)
        recorded = recorded_on(runs[last].isel(seed=0)) if last in found else ""
        measured = by_key(measure for each in shown for measure in measures(each, rest_of(each.flow)))
        return Findings(
            tuple(measured.values()),
            criteria(judged),
            (sentences[0], f"{sentences[1]} {recorded}".strip()),
            shown,
            tested=judged is not None,
            answer=answer(judged, measured),
        )

    def drawn_runs(self, findings: Findings[list[JumpAttribution]]) -> Mapping[tuple[str, int], Sequence[int]]:
        """The runs of the panels with single runs, as far as they have jumps."""
        from tegum.experiments.many_jumps.figure import single

        drawn = [(each, each.courses[single(each)].jumps) for each in findings.shown]
        names = {True: "flow", False: "run"}
        return {(f"{names[each.flow]}-{each.features}", 0): [jumps[0].seed] for each, jumps in drawn if jumps}

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[list[JumpAttribution]]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """Draw single runs of the smallest and of the largest size, and what jumps explain at all sizes."""
        from tegum.experiments.many_jumps.figure import figure

        return figure(findings.shown)
