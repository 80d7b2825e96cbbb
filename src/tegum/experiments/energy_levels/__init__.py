"""Features jump between energy levels late in training, and the loss drops as they do.

Elhage et al., "Toy Models of Superposition" (2022), on learning dynamics: in models with many features of equal
importance and density, of which one is picked where all features converge into digons, "the dimensionality of
some features 'jump' between different values and swap places. As this happens, the loss curve also undergoes a
sudden drop".

Grid. Runs of one model that differ by seed alone: 40 independent features of density 0.4 in 5 dimensions, ReLU,
AdamW at a rate of 1e-3, from a Xavier start. The whole ensemble is measured; one run of it is drawn. The loss of all
runs is recorded on one sample. Every null shifts or deals the same recorded losses, so none takes their errors for
independent; intervals over runs do not hold what that sample has in common for all.

Definitions are those of `tegum.analysis.dynamics.levels`, `drops`, `matches` and `revivals`. Late is what starts after
the first tenth of training, a jump leads from one plateau of at least 1,000 steps to another by at least 0.1 within
2,000 steps, and jumps that overlap are one event: these were fixed on runs of the base seeds 0 and 1, where late jumps
took 200 to 700 steps and slower passages 2,600 and more. Drops are also found in the loss alone, without a look at any
jump; how was fixed on noise, without any run.

Criteria, each a part of the claim, by intervals of 95 %:

1. A run with late jumps ends with every represented feature in a digon.
2. Late jumps per run: the interval lies above the null, in which every feature makes its late change at a steady
   rate, with its own noise. It tells sudden change from steady change and nothing more: next to nothing jumps in it.
3. Late jumps meet a jump in the opposite direction: the interval of their share lies above the null, jumps as long
   at independent times.
4. In at least one late event two features swap places: the lower one becomes the higher one.
5. The loss drops across late events: the interval of the share of events with a drop above the 95 % quantile of
   the null (the same measurement, shifted in time to wherever nothing jumps) lies above one half.
6. Late events meet drops that were found in the loss alone, and these meet events: both intervals lie above the null,
   windows shifted in time, and both nulls are under 0.1.
7. The late decrease of the loss lies inside late events by a larger share than inside the same windows shifted in time:
   p is under 0.05.

The first five were passed or not by runs of the base seed 2, which have been looked at with the measures of the other
two as well; these were written down then. The runs here are of the base seed 3, which nobody had looked at.

The claim holds if all of them pass, does not hold if none does, and holds in part otherwise; it is not tested if no run
trained to its end. That late jumps lead to a level, 0 or 1/2 within 0.03, is reported and is no criterion: nearly all
late dimensionalities are there, so it would not tell jumps from chance. (It was a criterion, which runs of the base
seed 2 passed, until the null it was compared with proved too easy.) Jumps of one run are not independent, so the
intervals of shares of jumps, events and drops count runs.

A shift in time, the null of criteria 6 and 7, takes all late times for equally likely, though both events and the late
decrease crowd soon after late begins. So three measures repeat these shares beside a second null, which keeps the time
profile: windows of one run laid on other runs at the same times. It was added after a look at these runs, is no
criterion, and gives what it gives.

What the other drops are, those found in the loss alone that meet no event, is told by four more measures and is no
criterion either (`_lone_drops`): whether some feature moves in them by more than anywhere else in late training where
nothing jumps, and whether they lie in a jump that began before late training did, or in a passage between two plateaus
that took too long for a jump. It was added after a look at these runs, where each of them does.

Is the plateau before an event a saddle, and is it left as the saddle says? In ensembles of 32 runs or more some events
are looked at in the exact loss (`_levelling`): swaps, births and completions with a drop, the first of each run, by
seed, one for eight runs and at most eight. From 3,000 steps before each goes the gradient flow, for a time of 600; it
leaves the plateau if it ends with another number of represented features, of a dimensionality of 1/4 at least, than
there are just before the event. From where it is slowest on the plateau, Newton's method looks for a critical point; a
saddle is near within a distance of 0.5. The null are runs without events: the flow, and the search, from the same step
of a run with as many represented features. From just beside a saddle goes another flow: its growth along the unstable
directions is compared with the rate −λ that the Hessian gives, and the first flow's time from its slowest place to
half of the drop with the time that growth at these rates would take. These are measures and no criteria. They took
their form on runs of the base seed 3, from which an earlier search, from 500 steps before the event, had flown off
more often than not.

The run that is drawn is the first by seed of those with the most late events, then the most late jumps, among the
runs with late events in which all represented features end in digons; if there are none, among the other runs with
late events, or else among all runs. The caption tells which.
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
class EnergyLevels(Experiment):
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

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings:
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

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings) -> Figure:
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
