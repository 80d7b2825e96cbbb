"""Features jump between energy levels late in training, and the loss drops as they do.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure, by_key
from tegum.experiments.varied import ANY, SAMPLING, SPARSEST, Range, refuse_room

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.energy_levels.measures import Ending, Ensemble
    from tegum.training.spec.spec import Spec


@final
class EnergyLevels(Experiment["tuple[Ensemble, int | None]"]):
    """The claim about jumps between energy levels."""

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
        from tegum.experiments.energy_levels.measures import ensemble_of, measures
        from tegum.training.compare import recorded_on

        run = runs["run"]
        ensemble = ensemble_of(run)
        measured = by_key(measures(ensemble))
        seed = _chosen(ensemble)
        caption = f"No run of {run.sizes['seed']} trained to its end."
        if seed is not None:
            caption = f"{_caption(ensemble, seed, run)} {recorded_on(run.sel(seed=seed))}".rstrip()
        return Findings(
            tuple(measured.values()), _criteria(ensemble, measured), caption, (ensemble, seed), tested=seed is not None
        )

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[tuple[Ensemble, int | None]]) -> Figure:
        """The chosen run: dimensionality of each feature above, the loss below; then what the ensemble shows."""
        from tegum.analysis.geometry.measures import dimensionality
        from tegum.figures.level_panels import Share
        from tegum.figures.levels import energy_levels

        ensemble, seed = findings.shown
        run = runs["run"].isel(seed=0) if seed is None else runs["run"].sel(seed=seed)
        drops = [] if seed is None else ensemble.of(seed)
        rows = (
            ("events with a\ndrop found alone", "late_events_with_drop_found_alone"),
            ("drops found alone\nwith an event", "drops_found_alone_with_event"),
            ("late decrease\ninside events", "late_decrease_inside_events"),
        )
        found = by_key(findings.measures)
        shares = [
            Share(name, *(getattr(found[key], part) for part in ("value", "low", "high", "null"))) for name, key in rows
        ]
        levels = dimensionality(run["weights"])
        return energy_levels(levels, run["loss"], drops, findings.caption, ensemble.jumps, shares)


def _chosen(ensemble: Ensemble) -> int | None:
    """The seed of the run to draw, by the rule above."""

    def merit(ending: Ending) -> tuple[int, int, int, int]:
        drops = ensemble.of(ending.seed)
        jumps = sum(len(drop.event.jumps) for drop in drops)
        return 2 * bool(drops) + (ending.digons and bool(drops)), len(drops), jumps, -ending.seed

    return max(ensemble.endings, key=merit).seed if ensemble.endings else None


def _criteria(ensemble: Ensemble, measures: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    def above(key: str, least: float | None = None) -> bool:
        low, least = measures[key].low, measures[key].null if least is None else least
        return low is not None and least is not None and low > least

    both = [ending for ending in ensemble.endings if ending.digons and ensemble.of(ending.seed)]
    return (
        Criterion(
            "run_with_late_jumps_ends_in_digons",
            "A run with late jumps ends with every represented feature in a digon.",
            bool(both),
        ),
        Criterion(
            "late_jumps_beyond_steady_null",
            "There are more late jumps per run than in the steady null.",
            above("late_jumps_per_run"),
        ),
        Criterion(
            "late_jumps_meet_opposite",
            "Late jumps meet a jump in the opposite direction more often than chance.",
            above("late_jumps_with_opposite"),
        ),
        Criterion(
            "features_swap_places",
            "In at least one late event two features swap places.",
            any(event.swaps for event in ensemble.events),
        ),
        Criterion(
            "loss_drops_across_late_events",
            "The loss drops across most late events, beyond the time-shifted null.",
            above("late_events_with_loss_drop", 0.5),
        ),
        Criterion(
            "late_events_and_drops_meet",
            "Late events and drops found in the loss alone meet more often than when shifted in time.",
            all(
                above(key) and (measures[key].null or 0.0) < 0.1
                for key in ("late_events_with_drop_found_alone", "drops_found_alone_with_event")
            ),
        ),
        Criterion(
            "late_decrease_lies_inside_events",
            "More of the late decrease of the loss lies inside late events than when these are shifted in time.",
            ensemble.inside is not None and bool(ensemble.events) and ensemble.inside.p < 0.05,
        ),
    )


def _caption(ensemble: Ensemble, seed: int, run: xr.Dataset) -> str:
    (ending,) = (ending for ending in ensemble.endings if ending.seed == seed)
    n, drops = ensemble.features, ensemble.of(seed)
    with_jumps = {jump.seed for jump in ensemble.jumps}
    digons = {ending.seed for ending in ensemble.endings if ending.digons}
    where = "every represented feature is in a digon" if ending.digons else "not every represented one is in a digon"
    rest = "0" if ending.largest_unrepresented < 0.005 else f"up to {ending.largest_unrepresented:.2f}"
    sentences = [
        f"Run {seed} of {run.sizes['seed']} (n = {n}, m = {run.sizes['hidden']}), one line for each feature; dotted "
        "lines are ideal levels, which a feature that has no partner yet need not meet.",
        f"At the end {where}, and {n - ending.represented} of the {n} features are unrepresented, at dimensionality "
        f"{rest}.",
    ]
    for number, drop in enumerate(drops, 1):
        moves = [f"feature {jump.feature} from {jump.before:.2f} to {jump.after:.2f}" for jump in drop.event.jumps]
        loss = "too close to other jumps to measure what the loss does"
        if drop.measurable:
            change = "the loss drops by" if drop.significant else "the loss drops no more than by chance, by"
            loss = f"{change} {drop.size:.3g} ({drop.size / n:.2g} per feature; by chance {drop.limit:.1g})"
        sentences.append(f"Band {number}: {_listed(moves)}; {loss}.")
    if any(drop.measurable for drop in drops):
        sentences.append("By chance: what 95 % of the same measurements stay below where nothing jumps.")
    if not drops:
        sentences.append("Nothing jumps late in this run, nor in any other.")
    elif not ending.digons:
        sentences.append("No run with late jumps ends in digons only: this is the best of the others.")
    counts = f"{len(digons)} end in digons only and {len(with_jumps)} have late jumps, {len(with_jumps & digons)} both"
    rule = "the one of these with the most events, then jumps, then the lowest seed"
    drawn = f"drawn is {rule if drops and ending.digons else 'one of all'}"
    sentences.append(f"Of {len(ensemble.seeds)} runs {counts}; {drawn}.")
    sentences += _of_the_ensemble(ensemble)
    return " ".join(sentences)


def _of_the_ensemble(ensemble: Ensemble) -> list[str]:
    """What the lower panels show, and what the exact loss says."""
    events = ensemble.events
    kinds = {kind: sum(len(getattr(event, kind)) for event in events) for kind in ("completions", "births", "swaps")}
    named = [f"{count} {kind if count != 1 else kind[:-1]}" for kind, count in kinds.items()]
    sentences = [
        f"Below, left: every late jump of all runs; {len(events)} late events hold {_listed(named)} (a lone feature "
        "gets a partner, two features appear together, two change places). Right: shares with 95 % intervals."
    ]
    lone = ensemble.lone
    if lone.moves:
        parts = ", ".join(f"{count} {name}" for name, count in lone.counts.items() if count)
        sentences.append(f"Drops found alone without an event: {len(lone.moves)} ({parts}).")
    passages, calm = ensemble.looked.passages, ensemble.looked.calm
    if passages:
        left, near = (sum(getattr(each.look, name) for each in passages) for name in ("left", "saddle"))
        sentences.append(
            f"Gradient flow without noise leaves the plateau before {left} of {len(passages)} events looked at, and "
            f"that of {sum(look.left for look in calm)} of {len(calm)} runs without events; a saddle is near {near} "
            f"and {sum(look.saddle for look in calm)} of them."
        )
        ratios = [each.time / each.predicted for each in passages if np.isfinite(each.predicted)]
        if ratios:
            parts = " to ".join(dict.fromkeys(f"{ratio:.2g}" for ratio in (min(ratios), max(ratios))))
            sentences.append(
                f"From where it is slowest it takes {parts} of the time that the saddle's negative eigenvalues alone "
                "would need."
            )
    return sentences


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
