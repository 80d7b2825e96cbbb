"""What happens in drops of the loss that meet no event: which features move, and why their passage is no jump."""

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
class LoneDrops:
    """The late drops found alone that no late event meets."""

    moves: tuple[Move[LossDrop], ...] = ()
    """Of each drop the feature that moves most in it."""
    early: int = 0
    """Of them, those in a jump that began before late training did."""
    slower: int = 0
    """Of the others, those in a passage between plateaus that took too long for a jump."""
    reviving: int = 0
    """Of all, those at the revival of a dead output."""

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind, in words; every drop is of one."""
        rest = len(self.moves) - self.early - self.slower
        return {"in an early jump": self.early, "in a slower passage": self.slower, "in no passage": rest}


def lone_drops(
    drops: Sequence[LossDrop],
    levels: xr.DataArray,
    jumps: Sequence[Window],
    slower: Sequence[Window],
    revivals: Sequence[Window],
) -> LoneDrops:
    """What there is to say of drops without an event.

    Args:
        drops: late, without an event.
        levels: dimensionality, dims (seed, step, feature).
        jumps: all of them, early ones included.
        slower: passages that took too long for a jump, early ones included.
        revivals: of dead outputs.

    """
    from tegum.analysis.dynamics.moves import largest_moves

    def met(drop: LossDrop, windows: Sequence[Window]) -> bool:
        return any(overlap(drop, window) for window in windows)

    return LoneDrops(
        moves=tuple(largest_moves(drops, levels, jumps)),
        early=sum(met(drop, jumps) for drop in drops),
        slower=sum(met(drop, slower) and not met(drop, jumps) for drop in drops),
        reviving=sum(met(drop, revivals) for drop in drops),
    )


def measures(lone: LoneDrops, seeds: Sequence[int]) -> list[Measure]:
    """Every measured number of them; `seeds` are the runs that were looked at."""
    from tegum.experiments.reporting import average, by_run, mean, share

    measured = [move for move in lone.moves if move.measurable]
    moved = by_run([(move.window.seed, abs(move.change)) for move in measured])
    meanings = (
        "one that began before late training did",
        "between plateaus, too long for a jump",
        "between no two plateaus",
        "of a dead output, whatever else they are",
    )
    keys = ("in_early_jump", "in_slower_passage", "in_no_passage", "at_revival")
    counts = zip(keys, (*lone.counts, "at a revival"), (*lone.counts.values(), lone.reviving), meanings, strict=True)
    return [
        share(
            "drops_without_event_in_which_feature_moves",
            "drops without an event in which a feature moves",
            sum(move.significant for move in measured),
            len(measured),
            "by more than the 95 % quantile of the time-shifted null; "
            f"measurable in {len(measured)} of {len(lone.moves)}",
            runs=len(moved),
            null=0.05,
        ),
        average(
            "dimensionality_change_in_drop_without_event",
            "change of dimensionality in a drop without an event",
            moved,
            "1",
            "of the feature that moves most; null: shifted in time, median",
            null=mean([float(np.median(move.null)) for move in measured]),
        ),
        *(
            Measure(
                f"drops_without_event_{key}",
                f"drops without an event {name}",
                count,
                "drop",
                n=len(seeds),
                meaning=f"{meaning}; of {len(lone.moves)}",
            )
            for key, name, count, meaning in counts
        ),
    ]
