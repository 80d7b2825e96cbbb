"""What the experiment `energy-levels` finds: jumps, events, drops and endings of the runs of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.experiments.energy_levels import events_in_exact_loss, unmatched_drops

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.drops import Drop, LossDrop
    from tegum.analysis.dynamics.levels import Event, Jump
    from tegum.analysis.dynamics.matches import Coincidence, ShareInside
    from tegum.analysis.dynamics.rearrangements import Rearrangement
    from tegum.analysis.dynamics.revivals import Revival
    from tegum.experiments.energy_levels.events_in_exact_loss import ExactLossFindings
    from tegum.experiments.energy_levels.unmatched_drops import UnmatchedDrops


@final
@dataclass(frozen=True)
class Ending:
    """How one run ended."""

    seed: int
    represented: int
    digons: bool
    """Whether every represented feature is in a digon."""
    largest_unrepresented: float
    """The largest dimensionality of an unrepresented feature; 0 if all features are represented."""


@final
@dataclass(frozen=True)
class Ensemble:
    """What was found in the runs that completed training."""

    features: int
    steps: int
    endings: tuple[Ending, ...]
    jumps: tuple[Jump, ...]
    """The late jumps."""
    slower: int
    """The number of late transitions between plateaus too slow to count as jumps."""
    drops: tuple[Drop[Event], ...]
    """The change of the loss across every late event."""
    null_jumps: tuple[Jump, ...]
    """The late jumps in the null of steady change."""
    found: tuple[LossDrop, ...] = ()
    """The late drops found in the loss alone."""
    met: Coincidence | None = None
    """Which late events coincide with a drop found in the loss alone; None if this was not examined."""
    meeting: Coincidence | None = None
    """Which drops found in the loss alone coincide with a late event; None if this was not examined."""
    inside: ShareInside | None = None
    """The share of the late decrease of the loss inside late events; None if the loss does not decrease late."""
    rearranged: tuple[Rearrangement, ...] = ()
    """How late events rearrange digons."""
    revivals: tuple[Revival, ...] = ()
    """The late revivals of dead outputs."""
    unmatched: UnmatchedDrops = field(default_factory=unmatched_drops.UnmatchedDrops)
    """What happens in late drops that coincide with no late event."""
    exact_loss: ExactLossFindings = field(default_factory=events_in_exact_loss.ExactLossFindings)
    """What the exact loss shows around some events."""

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return [ending.seed for ending in self.endings]

    @property
    def events(self) -> list[Event]:
        """The late events."""
        return [drop.event for drop in self.drops]

    def of(self, seed: int) -> list[Drop[Event]]:
        """The late events of one run, with their drops."""
        return [drop for drop in self.drops if drop.event.seed == seed]


def find(run: xr.Dataset) -> Ensemble:
    """Find jumps, events, drops and endings in an ensemble of runs of one Spec."""
    from tegum.analysis.dynamics.drops import find_drops, loss_drops
    from tegum.analysis.dynamics.levels import LATE, find_jumps, group_jumps, late_jumps, steadied
    from tegum.analysis.dynamics.matches import coincidence
    from tegum.analysis.dynamics.rearrangements import rearrangements
    from tegum.analysis.dynamics.revivals import find_revivals
    from tegum.analysis.geometry.measures import dimensionality
    from tegum.analysis.runs import completed_runs
    from tegum.training.dataset import spec_of

    spec, step = spec_of(run), run["step"].values
    steps = int(step[-1])
    whole = completed_runs(run)
    levels = dimensionality(whole["weights"])
    jumps = find_jumps(levels)
    late = late_jumps(jumps, steps)
    slower = sorted(set(find_jumps(levels, longest=steps)) - set(jumps), key=lambda jump: (jump.seed, jump.start))
    drops = loss_drops(group_jumps(late), whole["loss"], jumps)
    events, found = [drop.event for drop in drops], find_drops(whole["loss"])
    revivals = find_revivals(whole["weights"], whole["bias"], spec.features)
    runs = whole["seed"].values.tolist()
    calm = [seed for seed in runs if all(event.seed != seed for event in events)]
    meeting = coincidence(found, events, step, runs=runs)
    alone = [drop for drop, hit in zip(found, meeting.hits, strict=True) if not hit]
    chosen = events_in_exact_loss.chosen(drops, whole.sizes["seed"])
    return Ensemble(
        features=run.sizes["feature"],
        steps=steps,
        endings=tuple(_ending(whole.sel(seed=seed)) for seed in runs),
        jumps=tuple(late),
        slower=len(late_jumps(slower, steps)),
        drops=tuple(drops),
        null_jumps=tuple(late_jumps(find_jumps(steadied(levels)), steps)),
        found=tuple(found),
        met=coincidence(events, found, step, runs=runs),
        meeting=meeting,
        inside=_inside(whole["loss"], events),
        rearranged=tuple(rearrangements(events, whole["weights"])),
        revivals=tuple(revival for revival in revivals if revival.start >= LATE * steps),
        unmatched=unmatched_drops.find_unmatched(alone, levels, jumps, slower, revivals),
        exact_loss=events_in_exact_loss.examine(whole, spec, chosen, calm),
    )


def _inside(loss: xr.DataArray, events: Sequence[Event]) -> ShareInside | None:
    """The share of the late decrease of the loss inside events; None if the loss does not decrease beyond noise."""
    from tegum.analysis.dynamics.levels import LATE
    from tegum.analysis.dynamics.matches import share_inside

    late = loss.isel(step=loss["step"].values >= LATE * float(loss["step"][-1]))
    fallen = float((late.isel(step=0) - late.isel(step=-1)).sum()) if late.sizes["step"] else 0.0
    found = share_inside(loss, events) if fallen > 0 else None
    return found if found is not None and np.isfinite(found.share) else None


def _ending(run: xr.Dataset) -> Ending:
    from tegum.analysis.geometry.measures import dimensionality
    from tegum.analysis.geometry.polytopes import name_polytope

    weights = run["weights"].isel(step=-1).values
    polytope = name_polytope(weights)
    others = dimensionality(weights)[list(polytope.unrepresented)]
    return Ending(
        seed=int(run["seed"]),
        represented=len(weights) - len(others),
        digons={factor.name for factor in polytope.factors} == {"digon"},
        largest_unrepresented=float(others.max(initial=0.0)),
    )
