"""Features jump between energy levels late in training, and the loss drops as they do.

Elhage et al., "Toy Models of Superposition" (2022), on learning dynamics: in models with many features of equal
importance and density, of which one is picked where all features converge into digons, "the dimensionality of
some features 'jump' between different values and swap places. As this happens, the loss curve also undergoes a
sudden drop".

Grid. Runs of one model that differ by seed alone: 40 independent features of density 0.4 in 5 dimensions, ReLU,
AdamW at a rate of 1e-3, from a Xavier start. The whole ensemble is measured; one run of it is drawn.

Definitions are those of `tegum.analysis.levels`. Late is what starts after the first tenth of training, a jump
leads from one plateau of at least 1,000 steps to another by at least 0.1 within 2,000 steps, and jumps that
overlap are one event. They were fixed on runs of the base seeds 0 and 1, where late jumps took 200 to 700 steps and
slower passages 2,600 and more; the runs here are others, of the base seed 2.

Criteria, each a part of the claim, by intervals of 95 %:

1. A run with late jumps ends with every represented feature in a digon.
2. Late jumps per run: the interval lies above the null, in which every feature makes its late change at a steady
   rate, with its own noise.
3. Late jumps meet a jump in the opposite direction: the interval of their share lies above the null, jumps as long
   at independent times.
4. In at least one late event two features swap places: the lower one becomes the higher one.
5. The loss drops across late events: the interval of the share of events with a drop above the 95 % quantile of
   the null (the same measurement, shifted in time to wherever nothing jumps) lies above one half.

The claim holds if all of them pass, does not hold if none does, and holds in part otherwise; it is not tested if no run
trained to its end. That late jumps lead to a level, 0 or 1/2 within 0.03, is reported and is no criterion: nearly all
late dimensionalities are there, so it would not tell jumps from chance. (It was a criterion, which these runs passed,
until the null it was compared with proved too easy.) Jumps of one run are
not independent, so the intervals of shares of jumps and events count runs, not jumps.

The run that is drawn is the first by seed of those with the most late events, then the most late jumps, among the
runs with late events in which all represented features end in digons; if there are none, among the other runs with
late events, or else among all runs. The caption tells which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.base import Criterion, Experiment, Findings, Measure, Size

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.analysis.levels import Drop, Event, Jump
    from tegum.training.spec import Spec

LEVELS = (0.0, 0.5)
"""Where features of these runs come to rest: not represented, or in a digon."""

NEAR = 0.03
"""A jump within this of a level leads to it: what the noise of AdamW leaves open."""


@final
@dataclass(frozen=True)
class Ending:
    """How one run ended."""

    seed: int
    represented: int
    digons: bool
    """Whether every represented feature is in a digon."""
    largest_unrepresented: float
    """Dimensionality; 0 where all features are represented."""


@final
@dataclass(frozen=True)
class Ensemble:
    """What was found in the runs that trained to their end."""

    features: int
    steps: int
    endings: tuple[Ending, ...]
    jumps: tuple[Jump, ...]
    """The late ones."""
    slower: int
    """Late passages between plateaus that took too long for a jump."""
    drops: tuple[Drop, ...]
    """Of every late event."""
    null_jumps: tuple[Jump, ...]
    """Late ones in the null."""

    @property
    def seeds(self) -> list[int]:
        """The runs."""
        return [ending.seed for ending in self.endings]

    @property
    def events(self) -> list[Event]:
        """The late ones."""
        return [drop.event for drop in self.drops]

    def of(self, seed: int) -> list[Drop]:
        """The events of one run."""
        return [drop for drop in self.drops if drop.event.seed == seed]


@final
class EnergyLevels(Experiment):
    """The claim about jumps between energy levels."""

    claim: ClassVar[str] = (
        "In models of many equal features that end in digons, some features jump late in training between levels "
        "of dimensionality and swap places, and the loss drops suddenly as they do."
    )

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """One ensemble of runs: 24, 32 or 256."""
        from tegum.core.features import FeatureDistribution, Independent
        from tegum.training.spec import Sampled, Snapshots, Spec

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
            base_seed=2,
        )
        return {"run": spec}

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Jumps are found on evenly spaced snapshots only."""
        for spec in specs.values():
            snapshots = getattr(spec, "snapshots", None)
            if snapshots is not None and (snapshots.spacing != "linear" or snapshots.steps is not None):
                raise ValueError(
                    f"{self.name}: run(snapshots={snapshots!r}): "
                    "snapshots.spacing must be 'linear', without snapshots.steps"
                )

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings:
        """Jumps, events and drops of the whole ensemble; `shown` is an `Ensemble` and the seed of the run drawn."""
        run = runs["run"]
        ensemble = _ensemble(run)
        measures = {measure.name: measure for measure in _measures(ensemble)}
        seed = _chosen(ensemble)
        caption = f"No run of {run.sizes['seed']} trained to its end."
        if seed is not None:
            caption = _caption(ensemble, seed, run)
        return Findings(
            tuple(measures.values()), _criteria(ensemble, measures), caption, (ensemble, seed), tested=seed is not None
        )

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings) -> Figure:
        """The chosen run: dimensionality of each feature above, the loss below."""
        from tegum.analysis.geometry import dimensionality
        from tegum.figures.levels import energy_levels

        ensemble, seed = findings.shown
        run = runs["run"].isel(seed=0) if seed is None else runs["run"].sel(seed=seed)
        drops = [] if seed is None else ensemble.of(seed)
        return energy_levels(dimensionality(run["weights"]), run["loss"], drops, findings.caption)


def _ensemble(run: xr.Dataset) -> Ensemble:
    from tegum.analysis.geometry import dimensionality
    from tegum.analysis.levels import find_jumps, group_jumps, late_jumps, loss_drops, steadied
    from tegum.data import schema

    steps = int(run["step"][-1])
    whole = run.isel(seed=np.flatnonzero(np.isin(run["result"].values, schema.WHOLE)))
    levels = dimensionality(whole["weights"])
    jumps = find_jumps(levels)
    late = late_jumps(jumps, steps)
    passages = late_jumps(find_jumps(levels, longest=steps), steps)
    return Ensemble(
        features=run.sizes["feature"],
        steps=steps,
        endings=tuple(_ending(whole.sel(seed=seed)) for seed in whole["seed"].values.tolist()),
        jumps=tuple(late),
        slower=len(set(passages) - set(late)),
        drops=tuple(loss_drops(group_jumps(late), whole["loss"], jumps)),
        null_jumps=tuple(late_jumps(find_jumps(steadied(levels)), steps)),
    )


def _ending(run: xr.Dataset) -> Ending:
    from tegum.analysis.geometry import dimensionality
    from tegum.analysis.polytopes import name_polytope

    weights = run["weights"].isel(step=-1).values
    polytope = name_polytope(weights)
    others = dimensionality(weights)[list(polytope.unrepresented)]
    return Ending(
        seed=int(run["seed"]),
        represented=len(weights) - len(others),
        digons={factor.name for factor in polytope.factors} == {"digon"},
        largest_unrepresented=float(others.max(initial=0.0)),
    )


def _chosen(ensemble: Ensemble) -> int | None:
    """The seed of the run to draw, by the rule above."""

    def merit(ending: Ending) -> tuple[int, int, int, int]:
        drops = ensemble.of(ending.seed)
        jumps = sum(len(drop.event.jumps) for drop in drops)
        return 2 * bool(drops) + (ending.digons and bool(drops)), len(drops), jumps, -ending.seed

    return max(ensemble.endings, key=merit).seed if ensemble.endings else None


def _measures(ensemble: Ensemble) -> list[Measure]:
    from tegum.analysis.levels import LATE, LONGEST
    from tegum.experiments._measures import average, by_run, mean, share

    seeds, jumps, drops = ensemble.seeds, ensemble.jumps, ensemble.drops
    measured = [drop for drop in drops if drop.measurable]
    jumping = {jump.seed for jump in jumps}
    null_jumping = {jump.seed for jump in ensemble.null_jumps}
    digons = {ending.seed for ending in ensemble.endings if ending.digons}
    sizes = by_run([(drop.event.seed, drop.size) for drop in measured])
    null_size = mean([float(np.median(drop.null)) for drop in measured])
    limit = mean([drop.limit for drop in measured])
    return [
        Measure("runs", len(seeds), "run", n=len(seeds), meaning="runs that trained to their end"),
        share("runs that end in digons", len(digons), len(seeds), "every represented feature is in one"),
        average(
            "represented features",
            np.array([ending.represented for ending in ensemble.endings]),
            "feature",
            f"at the end of a run, of {ensemble.features}",
        ),
        average(
            "late jumps per run",
            np.array([sum(jump.seed == seed for jump in jumps) for seed in seeds]),
            "jump",
            "null: each feature's late change at a steady rate, with its noise",
            null=mean([float(sum(jump.seed == seed for jump in ensemble.null_jumps)) for seed in seeds]),
        ),
        share(
            "runs with late jumps",
            len(jumping),
            len(seeds),
            "null: the same steady rates",
            null=mean([float(seed in null_jumping) for seed in seeds]),
        ),
        share("digon runs with late jumps", len(jumping & digons), len(digons), "of those that end in digons"),
        average(
            "duration of a late jump",
            by_run([(jump.seed, jump.end - jump.start) for jump in jumps]),
            "step",
            "mean over runs",
        ),
        Measure(
            "slower late passages",
            ensemble.slower,
            "passage",
            n=len(seeds),
            meaning=f"between plateaus in more than {LONGEST:,} steps: not counted as jumps",
        ),
        share(
            "late jumps that lead to a level",
            sum(min(abs(jump.after - level) for level in LEVELS) <= NEAR for jump in jumps),
            len(jumps),
            f"0 or 1/2, within {NEAR}; where nearly all features are late in training",
            runs=len(jumping),
        ),
        share(
            "late jumps with an opposite one",
            sum(bool(_opposite(jump, event)) for event in ensemble.events for jump in event.jumps),
            len(jumps),
            "at the same time; null: at independent times",
            runs=len(jumping),
            null=mean([_chance(jump, jumps, (1 - LATE) * ensemble.steps) for jump in jumps]),
        ),
        share(
            "late events with a swap",
            sum(bool(event.swaps) for event in ensemble.events),
            len(drops),
            "two features change places",
            runs=len(jumping),
        ),
        share(
            "late events with a drop of the loss",
            sum(drop.significant for drop in measured),
            len(measured),
            f"above the 95 % quantile of the time-shifted null; measurable in {len(measured)} of {len(drops)} events",
            runs=len(sizes),
            null=0.05,
        ),
        average("drop of the loss", sizes, "loss, sum over features", "across a late event", null=null_size),
        average(
            "drop of the loss per feature",
            sizes / ensemble.features,
            "loss, mean over features",
            "the same, divided by n",
            null=None if null_size is None else null_size / ensemble.features,
        ),
        *(
            Measure(
                f"{name} drop of the loss",
                pick((drop.size for drop in measured), default=None),
                "loss, sum over features",
                n=len(sizes),
                null=limit,
                meaning="of all late events; null: its 95 % quantile, mean over events",
            )
            for name, pick in (("least", min), ("largest", max))
        ),
    ]


def _criteria(ensemble: Ensemble, measures: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    def above(name: str, least: float | None = None) -> bool:
        low, least = measures[name].low, measures[name].null if least is None else least
        return low is not None and least is not None and low > least

    both = [ending for ending in ensemble.endings if ending.digons and ensemble.of(ending.seed)]
    return (
        Criterion("A run with late jumps ends with every represented feature in a digon.", bool(both)),
        Criterion("There are more late jumps per run than in the steady null.", above("late jumps per run")),
        Criterion(
            "Late jumps meet a jump in the opposite direction more often than chance.",
            above("late jumps with an opposite one"),
        ),
        Criterion(
            "In at least one late event two features swap places.", any(event.swaps for event in ensemble.events)
        ),
        Criterion(
            "The loss drops across most late events, beyond the time-shifted null.",
            above("late events with a drop of the loss", 0.5),
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
    return " ".join(sentences)


def _opposite(jump: Jump, event: Event) -> list[Jump]:
    """The jumps of its event that overlap it, in the other direction."""
    return [
        other
        for other in event.jumps
        if other.change * jump.change < 0 and other.start < jump.end and jump.start < other.end
    ]


def _chance(jump: Jump, jumps: Sequence[Jump], time: float) -> float:
    """The chance that an opposite jump of the same run overlaps this one, were their times independent."""
    lengths = [
        other.end - other.start
        for other in jumps
        if other.seed == jump.seed and other.change * jump.change < 0 and other is not jump
    ]
    apart = np.prod([1 - min(1.0, (length + jump.end - jump.start) / time) for length in lengths])
    return float(1 - apart)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
