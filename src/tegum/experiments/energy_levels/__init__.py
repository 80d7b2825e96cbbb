"""Features jump between energy levels late in training, and the loss drops as they do.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from tegum.experiments.framework import Experiment, Findings, Size
from tegum.experiments.reporting import by_key
from tegum.experiments.varied import ANY, SAMPLING, SPARSEST, Range, refuse_room

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.energy_levels.findings import Ensemble
    from tegum.training.spec.spec import Spec


@final
class EnergyLevels(Experiment["tuple[Ensemble, int | None]"]):
    """The claim about jumps between energy levels.

    It is tested on an ensemble of runs that differ by seed alone, of 40 independent features in 5 dimensions. After the
    first tenth of training, jumps of a feature's dimensionality from one plateau to another are looked for, and drops
    of the loss by themselves, without a look at any jump. Jumps should outnumber those of steady changes, come with a
    jump in the opposite direction, and events of jumps and drops should meet.

    The nulls are features that change at a steady rate with their own noise, jumps at independent times, and windows
    shifted in time, or laid on other runs. In large ensembles the exact loss is asked as well: whether a saddle is near
    before an event, and whether gradient flow without noise leaves it.
    """

    claim: ClassVar[str] = (
        "In models of many equal features that end in digons, some features jump late in training between levels "
        "of dimensionality and swap places, and the loss drops suddenly as they do."
    )

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
    """Late in fewer steps there would hardly be time for a jump between two plateaus."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """One ensemble of runs: 24, 32 or 256."""
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
            # The drops are a thousandth of the loss, far below the noise of a mini-batch.
            training=Sampled(steps=steps, evaluation=evaluation),
            snapshots=Snapshots(count=snapshots),
            seeds=seeds,
            base_seed=3,
        )
        return {"run": spec}

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Plateaus have enough snapshots to be found, and features too little room for all."""
        from tegum.analysis.dynamics.levels import FEWEST, REST

        for spec in specs.values():
            if isinstance(spec, Sequence):
                continue
            refuse_room(self.name, spec)
            fewest = math.ceil(spec.training.steps * (FEWEST - 1) / REST)
            if spec.snapshots.count < fewest:
                rule = f"snapshots.count must be at least {fewest}, for plateaus of {REST:,} steps to have {FEWEST}"
                raise ValueError(f"{self.name}: run(snapshots.count={spec.snapshots.count}): {rule}")

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[tuple[Ensemble, int | None]]:
        """Jumps, events and drops of the whole ensemble; `shown` is an `Ensemble` and the seed of the run drawn."""
        from tegum.experiments.energy_levels.criteria import criteria
        from tegum.experiments.energy_levels.figure import caption, chosen_run
        from tegum.experiments.energy_levels.findings import find
        from tegum.experiments.energy_levels.measures import measures

        ensemble = find(runs["run"])
        measured = by_key(measures(ensemble))
        judged, seed = criteria(ensemble, measured), chosen_run(ensemble)
        told = caption(ensemble, seed, runs["run"])
        return Findings(tuple(measured.values()), judged, told, (ensemble, seed), tested=seed is not None)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[tuple[Ensemble, int | None]]) -> Figure:
        """The chosen run: dimensionality of each feature above, the loss below; then what the ensemble shows."""
        from tegum.experiments.energy_levels.figure import figure

        return figure(*findings.shown, runs["run"], by_key(findings.measures), findings.caption)
