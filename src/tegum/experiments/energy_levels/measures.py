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
"""The dimensionalities at which features of these runs settle: not represented, or in a digon."""

NEAR = 0.03
"""A jump that ends within this distance of a level leads to it; the noise of AdamW allows no smaller one."""


def measures(ensemble: Ensemble) -> list[Measure]:
    """All measures of the experiment."""
    return [
        *_of_jumps(ensemble),
        *_of_matches(ensemble),
        *unmatched_drops.measures(ensemble.unmatched, ensemble.seeds),
        *_of_kinds(ensemble),
        *events_in_exact_loss.measures(ensemble.exact_loss),
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
        Measure("runs", "runs", len(seeds), "runs", n=len(seeds), meaning="runs that completed training"),
        share(
            "runs_that_end_in_digons",
            "runs that end in digons",
            len(digons),
            len(seeds),
            "runs in which every represented feature is in a digon at the end",
        ),
        average(
            "represented_features",
            "represented features",
            np.array([ending.represented for ending in ensemble.endings]),
            "features",
            f"number at the end of a run, out of {ensemble.features}; mean over runs",
        ),
        average(
            "late_jumps_per_run",
            "late jumps per run",
            np.array([sum(jump.seed == seed for jump in jumps) for seed in seeds]),
            "jumps",
            "mean over runs; null: each feature makes its late change at a steady rate, with its own noise",
            null=mean([float(sum(jump.seed == seed for jump in ensemble.null_jumps)) for seed in seeds]),
        ),
        share(
            "runs_with_late_jumps",
            "runs with late jumps",
            len(jumping),
            len(seeds),
            "runs with at least one late jump; null: each feature makes its late change at a steady rate, with its own "
            "noise",
            null=mean([float(seed in null_jumping) for seed in seeds]),
        ),
        share(
            "digon_runs_with_late_jumps",
            "runs ending in digons that have late jumps",
            len(jumping & digons),
            len(digons),
            "of the runs that end in digons, those with at least one late jump",
        ),
        average(
            "late_jump_duration",
            "duration of a late jump",
            by_run([(jump.seed, jump.end - jump.start) for jump in jumps]),
            "steps",
            "from the start of a jump to its end, mean over runs",
        ),
        Measure(
            "slower_late_passages",
            "late transitions too slow for jumps",
            ensemble.slower,
            "transitions",
            n=len(seeds),
            meaning=f"transitions between plateaus that take more than {LONGEST:,} steps, not counted as jumps",
        ),
        share(
            "late_jumps_that_lead_to_level",
            "late jumps that lead to a level",
            sum(min(abs(jump.after - level) for level in LEVELS) <= NEAR for jump in jumps),
            len(jumps),
            f"jumps that end within {NEAR} of dimensionality 0 or 1/2, where nearly all features are late in training",
            runs=len(jumping),
        ),
        share(
            "late_jumps_with_opposite",
            "late jumps with an opposite jump",
            sum(bool(_opposite(jump, event)) for event in ensemble.events for jump in event.jumps),
            len(jumps),
            "jumps that overlap in time with a jump in the opposite direction; null: jumps at independent times",
            runs=len(jumping),
            null=mean([_chance(jump, jumps, (1 - LATE) * ensemble.steps) for jump in jumps]),
        ),
        share(
            "late_events_with_swap",
            "late events with a swap",
            sum(bool(event.swaps) for event in ensemble.events),
            len(drops),
            "events in which two features swap places",
            runs=len(jumping),
        ),
        share(
            "late_events_with_loss_drop",
            "late events with a drop of the loss",
            sum(drop.significant for drop in measured),
            len(measured),
            f"events with a drop above the 95 % quantile of the time-shifted null; measurable in {len(measured)} of "
            f"{len(drops)} events",
            runs=len(sizes),
            null=0.05,
        ),
        average(
            "loss_drop",
            "drop of the loss",
            sizes,
            "loss, sum over features",
            "drop across a late event, mean over runs; null: shifted in time, median",
            null=null_size,
        ),
        average(
            "loss_drop_per_feature",
            "drop of the loss per feature",
            sizes / ensemble.features,
            "loss, mean over features",
            "drop across a late event divided by n, mean over runs; null: shifted in time, median",
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
                meaning=f"the {name} drop across any late event; null: 95 % quantile of the time-shifted null, mean "
                "over events",
            )
            for name, pick in (("least", min), ("largest", max))
        ),
    ]


def _of_matches(ensemble: Ensemble) -> list[Measure]:
    from tegum.experiments.reporting import average, by_run, share

    def meeting(key: str, name: str, found: Coincidence | None, windows: Sequence[Window], meaning: str) -> Measure:
        """A share with its null, over the runs that have such windows in time."""
        hits, runs = () if found is None else found.hits, len({window.seed for window in windows})
        p = "" if found is None or not hits else f"; p = {found.p:.1g}"
        null = None if found is None else found.null
        return share(key, name, sum(hits), len(hits), f"{meaning}; null: shifted in time{p}", runs=runs, null=null)

    def crossed(name: str, found: Coincidence | ShareInside | None, measure: Measure, meaning: str) -> Measure:
        """The same measure with the null that keeps the time profile."""
        null = None if found is None or not np.isfinite(found.others) else found.others
        p = "" if found is None or null is None else f"; p = {found.p_others:.1g}"
        return replace(
            measure,
            key=f"{measure.key}_beside_other_runs",
            name=name,
            null=null,
            meaning=f"{meaning}; null: the windows of other runs, at their own times{p}",
        )

    found, events, inside = ensemble.found, ensemble.events, ensemble.inside
    seeds = ensemble.seeds
    in_events = Measure(
        "late_decrease_inside_events",
        "late decrease inside events",
        None,
        "share",
        n=0,
        meaning="share of the late decrease of the loss inside late events; the loss does not decrease late",
    )
    if inside is not None:
        low, high = inside.interval()
        meaning = (
            f"share of the late decrease of the loss inside late events, which take up {100 * inside.time:.2g} % of "
            f"late training; null: shifted in time, 95 % of draws below {inside.limit:.2g}; p = {inside.p:.1g}"
        )
        in_events = Measure(
            "late_decrease_inside_events",
            "late decrease inside events",
            inside.share,
            "share",
            low,
            high,
            len(seeds),
            inside.null,
            meaning,
        )
    met = meeting(
        "late_events_with_drop_found_alone",
        "late events with a drop found in the loss alone",
        ensemble.met,
        events,
        "events that overlap in time with a drop found in the loss alone",
    )
    met_back = meeting(
        "drops_found_alone_with_event",
        "drops found in the loss alone with an event",
        ensemble.meeting,
        found,
        "drops found in the loss alone that overlap in time with a late event",
    )
    return [
        average(
            "drops_found_alone_per_run",
            "drops found in the loss alone, per run",
            np.array([sum(drop.seed == seed for drop in found) for seed in seeds]),
            "drops",
            "late drops detected without reference to any jump, mean over runs",
        ),
        average(
            "drop_found_alone_duration",
            "duration of a drop found in the loss alone",
            by_run([(drop.seed, drop.end - drop.start) for drop in found]),
            "steps",
            "from beginning to end of a late drop, mean over runs",
        ),
        met,
        met_back,
        in_events,
        crossed("late events with a drop, compared with other runs", ensemble.met, met, "events that overlap a drop"),
        crossed(
            "drops with an event, compared with other runs", ensemble.meeting, met_back, "drops that overlap an event"
        ),
        crossed(
            "late decrease inside events, compared with other runs",
            inside,
            in_events,
            "share of the late decrease of the loss inside late events",
        ),
    ]


def _of_kinds(ensemble: Ensemble) -> list[Measure]:
    """The kinds of events: by the levels between which features jump, and by which features face each other."""
    from tegum.analysis.dynamics.levels import transitions

    events, runs = ensemble.events, len(ensemble.seeds)
    facing = Counter(each.change(pair) for each in ensemble.rearranged for pair in (*each.born, *each.ended))
    counts = [
        (
            "late_completions",
            "late completions",
            sum(len(event.completions) for event in events),
            "digons",
            "digons completed in late events: a lone feature gains a partner",
        ),
        (
            "late_births",
            "late births",
            sum(len(event.births) for event in events),
            "digons",
            "digons born in late events: two absent features become a digon",
        ),
        (
            "late_swaps",
            "late swaps",
            sum(len(event.swaps) for event in events),
            "pairs",
            "pairs of features that swap places in late events",
        ),
        (
            "late_deaths",
            "late deaths",
            sum(len(event.deaths) for event in events),
            "deaths",
            "features, or pairs of features, that become absent in late events",
        ),
        (
            "digons_completed_by_weights",
            "digons completed, by weights",
            facing["completion"],
            "digons",
            "pairs of a lone feature and an absent one that face each other only after a late event",
        ),
        (
            "digons_born_by_weights",
            "digons born, by weights",
            facing["birth"],
            "digons",
            "pairs of absent features that face each other only after a late event",
        ),
        (
            "digons_that_exchange_partner_by_weights",
            "digons that exchange a partner, by weights",
            facing["exchange"],
            "digons",
            "digons before and after a late event in which a feature changes its partner",
        ),
        (
            "digons_that_end_by_weights",
            "digons that end, by weights",
            facing["death"],
            "digons",
            "digons that end in a late event without a new partner for either feature",
        ),
        (
            "late_revivals",
            "late revivals",
            len(ensemble.revivals),
            "outputs",
            "dead outputs that come back to life late in training, "
            f"{sum(revival.visible for revival in ensemble.revivals)} of them with a change of dimensionality",
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
                "jumps",
                n=runs,
                meaning="late jumps between these levels, within 0.02; elsewhere: at no known level",
            )
            for (before, after), count in moves
        ),
    ]


def _level_key(level: str) -> str:
    """A known level as part of a key: "1/2" becomes "1_2"."""
    return level.replace("/", "_")


def _opposite(jump: Jump, event: Event) -> list[Jump]:
    """The jumps of the same event that overlap this one, in the opposite direction."""
    return [
        other
        for other in event.jumps
        if other.change * jump.change < 0 and other.start < jump.end and jump.start < other.end
    ]


def _chance(jump: Jump, jumps: Sequence[Jump], time: float) -> float:
    """The probability that an opposite jump of the same run overlaps this one if their times are independent."""
    lengths = [
        other.end - other.start
        for other in jumps
        if other.seed == jump.seed and other.change * jump.change < 0 and other is not jump
    ]
    apart = np.prod([1 - min(1.0, (length + jump.end - jump.start) / time) for length in lengths])
    return float(1 - apart)
