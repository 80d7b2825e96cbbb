"""The criteria of the experiment `energy-levels`, fixed before the run."""

from __future__ import annotations

from collections.abc import Mapping

from tegum.experiments.energy_levels.findings import Ensemble
from tegum.experiments.framework import Criterion
from tegum.experiments.reporting import Measure


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
        ),
        Criterion(
            "late_jumps_beyond_steady_null",
            "There are more late jumps per run than in the null of steady change.",
            above("late_jumps_per_run"),
        ),
        Criterion(
            "late_jumps_meet_opposite",
            "Late jumps coincide with a jump in the opposite direction more often than by chance.",
            above("late_jumps_with_opposite"),
        ),
        Criterion(
            "features_swap_places",
            "In at least one late event two features swap places.",
            any(event.swaps for event in ensemble.events),
        ),
        Criterion(
            "loss_drops_across_late_events",
            "The loss drops across most late events, by more than in the time-shifted null.",
            above("late_events_with_loss_drop", 0.5),
        ),
        Criterion(
            "late_events_and_drops_meet",
            "Late events and drops found in the loss alone coincide more often than when shifted in time.",
            all(
                above(key) and (measured[key].null or 0.0) < 0.1
                for key in ("late_events_with_drop_found_alone", "drops_found_alone_with_event")
            ),
        ),
        Criterion(
            "late_decrease_lies_inside_events",
            "More of the late decrease of the loss falls inside late events than when these are shifted in time.",
            ensemble.inside is not None and bool(ensemble.events) and ensemble.inside.p < 0.05,
        ),
    )
