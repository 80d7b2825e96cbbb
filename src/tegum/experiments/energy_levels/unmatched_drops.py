"""Drops of the loss that coincide with no event: which features move in them, and why they do not count as jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.analysis.dynamics.windows import Window, overlap
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.drops import LossDrop
    from tegum.analysis.dynamics.moves import Move


@final
@dataclass(frozen=True)
class UnmatchedDrops:
    """The late drops found in the loss alone that coincide with no late event."""

    moves: tuple[Move[LossDrop], ...] = ()
    """The feature that moves most in each drop."""
    early: int = 0
    """The number of drops during a jump that began before late training."""
    slower: int = 0
    """The number of other drops during a transition between plateaus too slow to count as a jump."""
    reviving: int = 0
    """The number of drops, of any kind, at the revival of a dead output."""

    @property
    def counts(self) -> dict[str, int]:
        """The number of drops of each kind, by its description; every drop is of exactly one kind."""
        rest = len(self.moves) - self.early - self.slower
        return {"in an early jump": self.early, "in a slow transition": self.slower, "in no transition": rest}


def find_unmatched(
    drops: Sequence[LossDrop],
    levels: xr.DataArray,
    jumps: Sequence[Window],
    slower: Sequence[Window],
    revivals: Sequence[Window],
) -> UnmatchedDrops:
    """Find out what happens in drops of the loss without an event.

    Args:
        drops: the late drops that coincide with no event.
        levels: the dimensionality of features, with dims (seed, step, feature).
        jumps: all jumps, including early ones.
        slower: transitions too slow to count as jumps, including early ones.
        revivals: the revivals of dead outputs.

    """
    from tegum.analysis.dynamics.moves import largest_moves

    def met(drop: LossDrop, windows: Sequence[Window]) -> bool:
        return any(overlap(drop, window) for window in windows)

    return UnmatchedDrops(
        moves=tuple(largest_moves(drops, levels, jumps)),
        early=sum(met(drop, jumps) for drop in drops),
        slower=sum(met(drop, slower) and not met(drop, jumps) for drop in drops),
        reviving=sum(met(drop, revivals) for drop in drops),
    )


def measures(unmatched: UnmatchedDrops, seeds: Sequence[int]) -> list[Measure]:
    """The measures of drops without an event; `seeds` are the runs examined."""
    from tegum.experiments.reporting import average, by_run, mean, share

    measured = [move for move in unmatched.moves if move.measurable]
    moved = by_run([(move.window.seed, abs(move.change)) for move in measured])
    meanings = (
        "drops during a jump that began before late training",
        "drops during a transition between plateaus that is too slow to count as a jump",
        "drops in which no feature passes from one plateau to another",
        "drops at the revival of a dead output, whatever their kind",
    )
    keys = ("in_early_jump", "in_slower_passage", "in_no_passage", "at_revival")
    counts = zip(
        keys,
        (*unmatched.counts, "at a revival"),
        (*unmatched.counts.values(), unmatched.reviving),
        meanings,
        strict=True,
    )
    return [
        share(
            "drops_without_event_in_which_feature_moves",
            "drops without an event in which a feature moves",
            sum(move.significant for move in measured),
            len(measured),
            "drops in which the dimensionality of some feature changes by more than the 95 % quantile of the "
            "time-shifted null; "
            f"measurable in {len(measured)} of {len(unmatched.moves)}",
            runs=len(moved),
            null=0.05,
        ),
        average(
            "dimensionality_change_in_drop_without_event",
            "change of dimensionality in a drop without an event",
            moved,
            "",
            "change of the feature that moves most, mean over runs; null: shifted in time, median",
            null=mean([float(np.median(move.null)) for move in measured]),
        ),
        *(
            Measure(
                f"drops_without_event_{key}",
                f"drops without an event, {name}",
                count,
                "drops",
                n=len(seeds),
                meaning=f"{meaning}, out of {len(unmatched.moves)} drops without an event",
            )
            for key, name, count, meaning in counts
        ),
    ]
