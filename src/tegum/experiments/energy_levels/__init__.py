"""Features jump between energy levels late in training, and the loss drops as they do.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import ANY, SAMPLING, SPARSEST, Range, refuse_room

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.energy_levels.figure import Shown
    from tegum.training.spec.spec import Spec


@final
class EnergyLevels(Experiment["Shown"]):
    """The claim about jumps between energy levels.

    It is tested on an ensemble of runs of 40 independent features in 5 dimensions that differ only by seed. In training
    after its first 10 %, jumps of a feature's dimensionality from one plateau to another are detected. Drops of the
    loss are detected separately, from the loss alone. Jumps should be more frequent than steady change would produce,
    and should come with a jump in the opposite direction; events of jumps and drops of the loss should coincide.

    The nulls are features that change at a steady rate with their own noise, jumps at independent times, and windows
    shifted in time or transferred to other runs. In large ensembles the exact loss is examined as well: whether a
    saddle is near before an event, and whether noiseless gradient flow leaves it.
    """

    claim: ClassVar[str] = (
        "In models of many equal features that end in antipodal pairs (digons), some features jump late in training "
        "between levels of dimensionality, the share of a dimension that each has to itself, and swap places, and the "
        "loss drops suddenly as they do."
    )

    question: ClassVar[str] = "Does the loss drop when features jump?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 15, "default": 75}

    further_figures: ClassVar[tuple[str, ...]] = ("ensemble",)

    varies: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("base_seed", "hidden"), ANY),
        "features.density": SPARSEST,
        "initial_scale": Range(high=1),
        "seeds": Range(low=2),
        "features.count": ANY,
        **SAMPLING,
        "training.optimiser": ANY,
        "training.steps": Range(low=10_000),
        "snapshots.count": ANY,
    }
    """With fewer steps, late training would hardly be long enough for a jump between two plateaus."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """One ensemble of 24, 32 or 256 runs."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        seeds, steps, snapshots, evaluation = {
            "quick": (24, 25_000, 500, 16_384),
            "default": (32, 50_000, 500, 32_768),
            "full": (256, 50_000, 500, 65_536),
        }[size]
        spec = Spec(
            features=FeatureDistribution([Independent(40, density=0.4)]),
            hidden=5,
            # Drops are about a thousandth of the loss, far below the noise of a mini-batch.
            training=Sampled(steps=steps, evaluation=evaluation),
            snapshots=Snapshots(count=snapshots),
            seeds=seeds,
            base_seed=3,
        )
        return {"run": spec}

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Refuse runs with too few snapshots to find plateaus, and models that have room for all features."""
        from tegum.analysis.dynamics.levels import FEWEST, REST

        for spec in specs.values():
            if isinstance(spec, Sequence):
                continue
            refuse_room(self.name, spec)
            fewest = math.ceil(spec.training.steps * (FEWEST - 1) / REST)
            if spec.snapshots.count < fewest:
                rule = f"snapshots.count must be at least {fewest}, so that plateaus of {REST:,} steps have {FEWEST}"
                raise ValueError(f"{self.name}: run(snapshots.count={spec.snapshots.count}): {rule}")

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Shown]:
        """Find jumps, events and drops in all runs."""
        from tegum.experiments.energy_levels.criteria import answer, criteria
        from tegum.experiments.energy_levels.figure import Shown, caption
        from tegum.experiments.energy_levels.findings import find
        from tegum.experiments.energy_levels.measures import measures

        ensemble = find(runs["run"])
        measured = by_key(measures(ensemble))
        shown = Shown.of(ensemble, runs["run"])
        return Findings(
            tuple(measured.values()),
            criteria(ensemble, measured),
            caption(ensemble, shown.seed, runs["run"]),
            shown,
            tested=shown.seed is not None,
            answer=answer(ensemble, measured),
        )

    def drawn_runs(self, findings: Findings[Shown]) -> Mapping[tuple[str, int], Sequence[int]]:
        """The run of the first figure."""
        seed = findings.shown.seed
        return {} if seed is None else {("run", 0): [seed]}

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Shown]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """The chosen run, with the dimensionality of each feature above its loss, and panels of the whole ensemble."""
        from tegum.experiments.energy_levels.figure import figure

        return figure(findings.shown, by_key(findings.measures))
