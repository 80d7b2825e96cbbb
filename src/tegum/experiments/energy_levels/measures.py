"""The findings of the experiment `energy-levels` as measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tegum.analysis.dynamics.windows import Window
from tegum.experiments.energy_levels import events_in_exact_loss, unmatched_drops
from tegum.experiments.energy_levels.findings import Ensemble
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    from tegum.analysis.dynamics.levels import Event, Jump
    from tegum.analysis.dynamics.matches import Coincidence, ShareInside

LEVELS = (0.0, 0.5)
"""Where features of these runs come to rest: not represented, or in a digon."""

NEAR = 0.03
"""A jump within this of a level leads to it: what the noise of AdamW leaves open."""


def measures(ensemble: Ensemble) -> list[Measure]:
    """Every measured number of the experiment."""
    return [
        *_of_jumps(ensemble),
        *_of_matches(ensemble),
        *unmatched_drops.measures(ensemble.lone, ensemble.seeds),
        *_of_kinds(ensemble),
        *events_in_exact_loss.measures(ensemble.looked),
    ]


def _of_jumps(ensemble: Ensemble) -> list[Measure]:
    from tegum.analysis.dynamics.levels import LATE, LONGEST
    from tegum.experiments.reporting import average, by_run, mean, share

    seeds, jumps, drops = ensemble.seeds, ensemble.jumps, ensemble.drops
    measured = [drop for drop in drops if drop.measurable]
    jumping = {jump.seed for jump in jumps}
    null_jumping = {jump.seed for jump in ensemble.null_jumps}
    digons = {ending.seed for ending in ensemble.endings if ending.digons}
    sizes = by_run([(drop.event.seed, drop.size) for drop in measured])
    null_size = mean([float(np.median(drop.null)) for drop in measured])
    limit = mean([drop.limit for drop in measured])
    return [
        Measure("runs", "runs", len(seeds), "run", n=len(seeds), meaning="runs that trained to their end"),
        share(
            "runs_that_end_in_digons",
            "runs that end in digons",
            len(digons),
            len(seeds),
            "every represented feature is in one",
        ),
        average(
            "represented_features",
            "represented features",
            np.array([ending.represented for ending in ensemble.endings]),
            "feature",
            f"at the end of a run, of {ensemble.features}",
        ),
        average(
            "late_jumps_per_run",
            "late jumps per run",
            np.array([sum(jump.seed == seed for jump in jumps) for seed in seeds]),
            "jump",
            "null: each feature's late change at a steady rate, with its noise",
            null=mean([float(sum(jump.seed == seed for jump in ensemble.null_jumps)) for seed in seeds]),
        ),
        share(
            "runs_with_late_jumps",
            "runs with late jumps",
            len(jumping),
            len(seeds),
            "at least one; null: each feature's late change at a steady rate, with its noise",
            null=mean([float(seed in null_jumping) for seed in seeds]),
        ),
        share(
            "digon_runs_with_late_jumps",
            "digon runs with late jumps",
            len(jumping & digons),
            len(digons),
            "of those that end in digons",
        ),
        average(
            "late_jump_duration",
            "duration of a late jump",
            by_run([(jump.seed, jump.end - jump.start) for jump in jumps]),
            "step",
            "mean over runs",
        ),
        Measure(
            "slower_late_passages",
            "slower late passages",
            ensemble.slower,
            "passage",
            n=len(seeds),
            meaning=f"between plateaus in more than {LONGEST:,} steps: not counted as jumps",
        ),
        share(
            "late_jumps_that_lead_to_level",
            "late jumps that lead to a level",
            sum(min(abs(jump.after - level) for level in LEVELS) <= NEAR for jump in jumps),
            len(jumps),
            f"0 or 1/2, within {NEAR}; where nearly all features are late in training",
            runs=len(jumping),
        ),
        share(
            "late_jumps_with_opposite",
            "late jumps with an opposite one",
            sum(bool(_opposite(jump, event)) for event in ensemble.events for jump in event.jumps),
            len(jumps),
            "at the same time; null: at independent times",
            runs=len(jumping),
            null=mean([_chance(jump, jumps, (1 - LATE) * ensemble.steps) for jump in jumps]),
        ),
        share(
            "late_events_with_swap",
            "late events with a swap",
            sum(bool(event.swaps) for event in ensemble.events),
            len(drops),
            "two features change places",
            runs=len(jumping),
        ),
        share(
            "late_events_with_loss_drop",
            "late events with a drop of the loss",
            sum(drop.significant for drop in measured),
            len(measured),
            f"above the 95 % quantile of the time-shifted null; measurable in {len(measured)} of {len(drops)} events",
            runs=len(sizes),
            null=0.05,
        ),
        average(
            "loss_drop", "drop of the loss", sizes, "loss, sum over features", "across a late event", null=null_size
        ),
        average(
            "loss_drop_per_feature",
            "drop of the loss per feature",
            sizes / ensemble.features,
            "loss, mean over features",
            "across a late event, divided by n",
            null=None if null_size is None else null_size / ensemble.features,
        ),
        *(
            Measure(
                f"{name}_loss_drop",
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


def _of_matches(ensemble: Ensemble) -> list[Measure]:
    from tegum.experiments.reporting import average, by_run, share

    def meeting(key: str, name: str, found: Coincidence | None, windows: Sequence[Window], meaning: str) -> Measure:
        """A share with its null, over the runs that have such windows."""
        hits, runs = () if found is None else found.hits, len({window.seed for window in windows})
        p = "" if found is None or not hits else f"; p = {found.p:.1g}"
        null = None if found is None else found.null
        return share(key, name, sum(hits), len(hits), f"{meaning}; null: shifted in time{p}", runs=runs, null=null)

    def crossed(name: str, found: Coincidence | ShareInside | None, measure: Measure, meaning: str) -> Measure:
        """A measure beside the null that keeps the time profile."""
        null = None if found is None or not np.isfinite(found.others) else found.others
        p = "" if found is None or null is None else f"; p = {found.p_others:.1g}"
        return replace(
            measure,
            key=f"{measure.key}_beside_other_runs",
            name=name,
            null=null,
            meaning=f"{meaning}; null: those of other runs, at their times{p}",
        )

    found, events, inside = ensemble.found, ensemble.events, ensemble.inside
    seeds = ensemble.seeds
    in_events = Measure(
        "late_decrease_inside_events",
        "late decrease inside events",
        None,
        "1",
        n=0,
        meaning="the loss does not decrease late",
    )
    if inside is not None:
        low, high = inside.interval()
        meaning = (
            f"of the late decrease of the loss, in {inside.time:.2g} of late time; null: shifted in time, "
            f"in 95 % of draws below {inside.limit:.2g}; p = {inside.p:.1g}"
        )
        in_events = Measure(
            "late_decrease_inside_events",
            "late decrease inside events",
            inside.share,
            "1",
            low,
            high,
            len(seeds),
            inside.null,
            meaning,
        )
    met = meeting(
        "late_events_with_drop_found_alone",
        "late events with a drop found alone",
        ensemble.met,
        events,
        "windows overlap",
    )
    met_back = meeting(
        "drops_found_alone_with_event", "drops found alone with an event", ensemble.meeting, found, "windows overlap"
    )
    return [
        average(
            "drops_found_alone_per_run",
            "drops found alone per run",
            np.array([sum(drop.seed == seed for drop in found) for seed in seeds]),
            "drop",
            "late, in the loss without a look at any jump",
        ),
        average(
            "drop_found_alone_duration",
            "duration of a drop found alone",
            by_run([(drop.seed, drop.end - drop.start) for drop in found]),
            "step",
            "mean over runs",
        ),
        met,
        met_back,
        in_events,
        crossed("late events with a drop, beside other runs", ensemble.met, met, "events that overlap a drop"),
        crossed("drops with an event, beside other runs", ensemble.meeting, met_back, "drops that overlap an event"),
        crossed(
            "late decrease inside events, beside other runs",
            inside,
            in_events,
            "share of the late decrease of the loss inside late events",
        ),
    ]


def _of_kinds(ensemble: Ensemble) -> list[Measure]:
    """What events are, from level to level; births and the like by dimensionality and by who faces whom."""
    from tegum.analysis.dynamics.levels import transitions

    events, runs = ensemble.events, len(ensemble.seeds)
    facing = Counter(each.change(pair) for each in ensemble.rearranged for pair in (*each.born, *each.ended))
    counts = [
        (
            "late_completions",
            "late completions",
            sum(len(event.completions) for event in events),
            "digon",
            "a lone feature gets a partner",
        ),
        (
            "late_births",
            "late births",
            sum(len(event.births) for event in events),
            "digon",
            "two absent features become a digon",
        ),
        ("late_swaps", "late swaps", sum(len(event.swaps) for event in events), "pair", "two features change places"),
        (
            "late_deaths",
            "late deaths",
            sum(len(event.deaths) for event in events),
            "death",
            "a feature, or a pair, becomes absent",
        ),
        (
            "digons_completed_by_weights",
            "digons completed, by weights",
            facing["completion"],
            "digon",
            "face each other after an event only",
        ),
        ("digons_born_by_weights", "digons born, by weights", facing["birth"], "digon", "of two absent features"),
        (
            "digons_that_exchange_partner_by_weights",
            "digons that exchange a partner",
            facing["exchange"],
            "digon",
            "those before and those after, by weights",
        ),
        (
            "digons_that_end_by_weights",
            "digons that end, by weights",
            facing["death"],
            "digon",
            "without a new partner",
        ),
        (
            "late_revivals",
            "late revivals",
            len(ensemble.revivals),
            "output",
            f"a dead output lives again; {sum(revival.visible for revival in ensemble.revivals)} with another "
            "dimensionality",
        ),
    ]
    moves = sorted(transitions(ensemble.jumps).items(), key=lambda item: (-item[1], item[0]))
    return [
        *(Measure(key, name, count, unit, n=runs, meaning=meaning) for key, name, count, unit, meaning in counts),
        *(
            Measure(
                f"late_jumps_from_{_level_key(before)}_to_{_level_key(after)}",
                f"late jumps from {before} to {after}",
                count,
                "jump",
                n=runs,
                meaning="known levels within 0.02",
            )
            for (before, after), count in moves
        ),
    ]


def _level_key(level: str) -> str:
    """A known level in the key of a measure: "1_2" of "1/2"."""
    return level.replace("/", "_")


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
