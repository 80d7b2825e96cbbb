"""What events do to digons, seen in the weights: which pairs face each other before and after.

Dimensionality alone (`Event.births`, `Event.deaths`) cannot tell who faces whom when several features jump together.
Here a digon is two represented features that are antipodal, of comparable norms, and each other's most opposite
feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.dynamics.levels import ABSENT_DIMENSIONALITY, Event
from tegum.analysis.dynamics.windows import arranged, labels
from tegum.analysis.geometry.measures import dimensionality
from tegum.analysis.geometry.polytopes import COMPARABLE_NORMS
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

ANTIPODAL = -0.95
"""The largest cosine of two features that face each other."""

Change = Literal["birth", "completion", "exchange", "death"]


@final
@dataclass(frozen=True)
class Rearrangement:
    """The digons that an event makes and breaks."""

    event: Event
    """The event."""
    born: tuple[tuple[int, int], ...]
    """The pairs of features that face each other after the event and did not before."""
    ended: tuple[tuple[int, int], ...]
    """The pairs of features that faced each other before the event and no longer do."""
    absent: frozenset[int]
    """The features that were not represented before the event."""

    def change(self, pair: tuple[int, int]) -> Change:
        """Name what happened to a pair that was born or has ended.

        A pair that is born is an exchange if a member had another partner before, a birth if both members were
        absent, and otherwise a completion. A pair that has ended is an exchange if a member has a new partner, and
        otherwise a death.

        Args:
            pair: one of `born` or `ended`.

        Returns:
            "birth", "completion", "exchange" or "death".

        Raises:
            ValueError: the pair was neither born nor has it ended.

        """
        if pair in self.born:
            if any(set(pair) & set(other) for other in self.ended):
                return "exchange"
            missing = len(self.absent.intersection(pair))
            return "birth" if missing == 2 else "completion"
        if pair in self.ended:
            return "exchange" if any(set(pair) & set(other) for other in self.born) else "death"
        raise ValueError(f"change({pair!r}): this pair was neither born nor has it ended in the event")


def digons(weights: Float[np.ndarray, "feature hidden"]) -> tuple[tuple[int, int], ...]:
    """Find the pairs of represented features that face each other in one model.

    Args:
        weights: W, shape (n, m); features are rows.

    Returns:
        Pairs of positions, the lower one first.

    """
    norms = np.linalg.norm(weights, axis=1)
    present = np.flatnonzero((dimensionality(weights) > ABSENT_DIMENSIONALITY) & (norms > 0))
    if len(present) < 2:
        return ()
    unit = weights[present] / norms[present, None]
    cosines = unit @ unit.T
    partner = cosines.argmin(1)
    pairs = []
    for a, b in enumerate(partner.tolist()):
        one, other = int(present[a]), int(present[b])
        comparable = min(norms[one], norms[other]) >= COMPARABLE_NORMS * max(norms[one], norms[other])
        if a < b and partner[b] == a and cosines[a, b] <= ANTIPODAL and comparable:
            pairs.append((one, other))
    return tuple(pairs)


@refusing
def rearrangements(events: Iterable[Event], weights: xr.DataArray) -> list[Rearrangement]:
    """Find which digons each event makes and breaks, from the weights before and after it.

    Args:
        events: events of the runs in `weights`.
        weights: W at every snapshot, dims (seed, step, feature, hidden), at evenly spaced steps.

    Returns:
        One `Rearrangement` per event.

    Raises:
        ValueError: the dims are others, or an event belongs to no run in `weights`.

    Example:
        Feature 0 has a dimension to itself until feature 1, absent so far, appears opposite to it: a completion.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> weights = np.array([[[1.0], [0.0]], [[1.0], [-1.0]]])[None]
        >>> coords = {"seed": [0], "step": [0, 100], "feature": [0, 1]}
        >>> weights = xr.DataArray(weights, coords, ("seed", "step", "feature", "hidden"))
        >>> event = tg.Event((tg.Jump(0, 1, start=0, end=100, before=0.0, after=0.5),))
        >>> [found] = tg.rearrangements([event], weights)
        >>> found.born, found.change((0, 1))
        (((0, 1),), 'completion')

    """
    values, step = arranged(weights, ("seed", "step", "feature", "hidden"), "rearrangements(weights)")
    seeds, names = labels(weights, "seed").tolist(), labels(weights, "feature").tolist()
    found = []
    for event in events:
        if event.seed not in seeds:
            raise ValueError(f"rearrangements(event of the run {event.seed}): weights have no run of that seed")
        own = values[seeds.index(event.seed)]
        before, after = (own[np.searchsorted(step, at)] for at in (event.start, event.end))
        old, new = ({(names[a], names[b]) for a, b in digons(each)} for each in (before, after))
        absent = frozenset(names[at] for at in np.flatnonzero(dimensionality(before) <= ABSENT_DIMENSIONALITY))
        found.append(Rearrangement(event, tuple(sorted(new - old)), tuple(sorted(old - new)), absent))
    return found
