"""The criteria of the experiment `energy-levels`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from tegum.analysis.dynamics.levels import LATE
from tegum.experiments.energy_levels.findings import Ensemble
from tegum.experiments.reporting import Measure, said, weakest
from tegum.experiments.summary import Criterion

MEETING = ("late_events_with_drop_found_alone", "drops_found_alone_with_event")
"""The shares of events with a drop and of drops with an event, both of which must lie above chance."""


def criteria(ensemble: Ensemble, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""

    def above(key: str, least: float | None = None) -> bool:
        low, least = measured[key].low, measured[key].null if least is None else least
        return low is not None and least is not None and low > least

    both = [ending for ending in ensemble.endings if ending.digons and ensemble.of(ending.seed)]
    return (
        Criterion(
            "run_with_late_jumps_ends_in_digons",
            "At least one run with late jumps ends with every represented feature in a digon.",
            bool(both),
            "Of runs that end in pairs some jump late",
            "digon_runs_with_late_jumps",
            "0",
        ),
        Criterion(
            "late_jumps_beyond_steady_null",
            "There are more late jumps per run than in the null of steady change.",
            above("late_jumps_per_run"),
            "Late jumps per run: more than if steady",
            "late_jumps_per_run",
        ),
        Criterion(
            "late_jumps_meet_opposite",
            "Late jumps coincide with a jump in the opposite direction more often than by chance.",
            above("late_jumps_with_opposite"),
            "One feature rises as another falls",
            "late_jumps_with_opposite",
        ),
        Criterion(
            "features_swap_places",
            "In at least one late event two features swap places.",
            any(event.swaps for event in ensemble.events),
            "Two features exchange their levels",
            "late_events_with_swap",
            "0",
        ),
        Criterion(
            "loss_drops_across_late_events",
            "The loss drops across most late events, by more than in the time-shifted null.",
            above("late_events_with_loss_drop", 0.5),
            "Most late jumps lower the loss",
            "late_events_with_loss_drop",
            "50 %",
        ),
        Criterion(
            "late_events_and_drops_meet",
            "Late events and drops found in the loss alone coincide more often than when shifted in time.",
            all(above(key) and (measured[key].null or 0.0) < 0.1 for key in MEETING),
            "Loss drops meet jumps, beyond chance",
            weakest(measured, MEETING),
        ),
        Criterion(
            "late_decrease_lies_inside_events",
            "More of the late decrease of the loss falls inside late events than when these are shifted in time.",
            ensemble.inside is not None and bool(ensemble.events) and ensemble.inside.p < 0.05,
            "Late fall lies in jumps, beyond chance",
            "late_decrease_inside_events",
        ),
    )


def answer(ensemble: Ensemble, measured: Mapping[str, Measure]) -> str:
    """What was found, in plain words."""
    jumping, swaps = {jump.seed for jump in ensemble.jumps}, sum(len(event.swaps) for event in ensemble.events)
    if not jumping:
        return f"In none of {len(ensemble.seeds)} runs does a feature jump late in training."
    inside = measured["late_decrease_inside_events"]
    chance = "" if inside.null is None else f" ({100 * inside.null:.2g} % by chance)"
    swapping = f"{swaps} times two exchange levels" if swaps else "No two exchange levels"
    paired, alone = sum("completion" in event.kinds for event in ensemble.events), 0
    if ensemble.meeting is not None:
        alone = sum(not hit for hit in ensemble.meeting.hits)
    return (
        f"In {len(jumping)} of {len(ensemble.seeds)} runs features jump late (after {100 * LATE:.0f} % of training): "
        f"in {paired} of {len(ensemble.events)} events an ignored one becomes the opposite of a lone one, and each "
        f"gets half a dimension. {said(inside)} of the late fall in loss is in jumps{chance}; {alone} of "
        f"{len(ensemble.found)} drops have none. {swapping}."
    )
