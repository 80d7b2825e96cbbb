"""Energy levels: jumps of features between plateaus of dimensionality, and the events that they make.

Elhage et al., "Toy Models of Superposition" (2022), saw features jump between dimensionalities while a model
trains, and the loss drop as they do. Here both are defined so that they can be measured and can be absent:

- A feature is *at rest* while its dimensionality stays within a band of height / 2 for `rest` steps. Maximal
  times at rest are its plateaus.
- A *jump* leads from one plateau to the next within `longest` steps, over a distance of at least `height`, at
  least half of it between the plateaus and not on them. A slow drift is no jump, a bump that comes back is none,
  and a pause shorter than `rest` makes no second one.
- An *event* is a group of jumps in one run whose times overlap. Some have names: in a swap two features change
  places, at a birth two absent features become a digon, at a completion a lone feature gets a partner, and at a
  death features become absent.

What the loss does then is for `tegum.analysis.dynamics.drops`. Times are in optimiser steps; dimensionality has no
unit.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, final, get_args

import numpy as np
from jaxtyping import Bool, Int

from tegum.analysis.dynamics.windows import arranged, intervals, labels
from tegum.analysis.geometry.polytopes import LEVELS
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

HEIGHT = 0.1
"""The least distance of a jump: that between a digon (1/2) and the level next to it, the pentagon's (2/5)."""

REST = 1_000
"""The least length of a plateau, in steps. Adam at its usual rate of 1e-3 moves a weight by no more than about 1
in this time, so that it is about the least in which a whole embedding can come or go."""

LONGEST = 2_000
"""The longest jump, in steps: one up and one down in sequence, at that speed."""

LATE = 0.1
"""Jumps in this first part of training overlap, and are one decline of the loss rather than many events."""

FEWEST = 4
"""Snapshots that a plateau, or a line fitted to the loss, needs at least."""

ABSENT_DIMENSIONALITY = 0.1
"""The dimensionality up to which a feature is not represented: between it and 1/2 lie four times HEIGHT."""

NEAR = HEIGHT / 2
"""A feature is at a level within this of it: what a plateau may vary by."""

AT = 0.02
"""A feature that jumps is at a known level within this of it: the noise of AdamW at its usual rate, twice."""

Kind = Literal["swap", "birth", "completion", "death", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an event may be, by its features' dimensionalities."""


@final
@dataclass(frozen=True)
class Jump:
    """One feature's passage from one plateau to the next."""

    seed: int
    feature: int
    start: int
    """The last step at rest on the old plateau."""
    end: int
    """The first step at rest on the new one."""
    before: float
    """The dimensionality at the end of the old plateau."""
    after: float
    """The dimensionality at the beginning of the new one."""

    @property
    def change(self) -> float:
        """By how much the dimensionality rises; negative where it falls."""
        return self.after - self.before


@final
@dataclass(frozen=True)
class Event:
    """Jumps of one run that overlap in time, in the order in which they start, and what they are called.

    Names go by dimensionality alone: absent is at most `ABSENT_DIMENSIONALITY`, in a digon is 1/2 to within `NEAR`.
    Which features face each other only weights tell (`tegum.analysis.dynamics.rearrangements`). Two features are a pair
    only where their jumps overlap in time, and no feature is in two: first come as many swaps and completions as can
    be, then births and deaths of the features that are left.
    """

    jumps: tuple[Jump, ...]

    @property
    def seed(self) -> int:
        """The run."""
        return self.jumps[0].seed

    @property
    def start(self) -> int:
        """The step at which the first jump starts."""
        return min(jump.start for jump in self.jumps)

    @property
    def end(self) -> int:
        """The step at which the last jump ends."""
        return max(jump.end for jump in self.jumps)

    @property
    def rising(self) -> tuple[int, ...]:
        """The features that jump up."""
        return tuple(jump.feature for jump in self.jumps if jump.change > 0)

    @property
    def falling(self) -> tuple[int, ...]:
        """The features that jump down."""
        return tuple(jump.feature for jump in self.jumps if jump.change < 0)

    @property
    def swaps(self) -> tuple[tuple[int, int], ...]:
        """Pairs (rising, falling) that swap places: by HEIGHT at least the lower one becomes the higher."""
        return tuple((up.feature, down.feature) for up, down in self._traded if _swap(up, down))

    @property
    def completions(self) -> tuple[tuple[int, int], ...]:
        """Pairs (newcomer, lone) of which a digon is made: an absent feature rises to 1/2, one above it falls there."""
        return tuple((up.feature, down.feature) for up, down in self._traded if not _swap(up, down))

    @property
    def births(self) -> tuple[tuple[int, int], ...]:
        """Pairs of which a digon is born: two absent features, in no swap or completion, rise to 1/2 together."""
        return _together([jump for jump in self._free if _newcomer(jump)])

    @property
    def deaths(self) -> tuple[tuple[int, ...], ...]:
        """Features that become absent without another in their place: pairs that fall from 1/2 together, or one."""
        dying = [jump for jump in self._free if jump.change < 0 and jump.after <= ABSENT_DIMENSIONALITY]
        pairs = _together([jump for jump in dying if _half(jump.before)])
        paired = {feature for pair in pairs for feature in pair}
        return pairs + tuple((feature,) for feature in dict.fromkeys(j.feature for j in dying) if feature not in paired)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the event is: every kind that it holds, or other."""
        found = {"swap": self.swaps, "birth": self.births, "completion": self.completions, "death": self.deaths}
        return tuple(kind for kind in KINDS if found.get(kind)) or ("other",)

    @cached_property
    def _traded(self) -> list[tuple[Jump, Jump]]:
        """Pairs (rising, falling) that are swaps or completions: as many as can be, every feature in one of them."""
        pairs: list[tuple[Jump, Jump]] = []
        free = list(self.jumps)
        # Again where a feature that jumps up and down, or twice, was matched twice.
        while matched := _matched(free):
            for pair in matched:
                if all(jump in free for jump in pair):
                    pairs.append(pair)
                    free = [jump for jump in free if jump.feature not in (pair[0].feature, pair[1].feature)]
        return sorted(pairs, key=lambda pair: (min(jump.start for jump in pair), pair[0].feature))

    @property
    def _free(self) -> list[Jump]:
        """The jumps of features in no swap or completion."""
        used = {jump.feature for pair in self._traded for jump in pair}
        return [jump for jump in self.jumps if jump.feature not in used]


@refusing
def find_jumps(
    dimensionality: xr.DataArray, *, height: float = HEIGHT, rest: int = REST, longest: int = LONGEST
) -> list[Jump]:
    """All jumps of all runs, ordered by seed, start, and feature.

    A run has none where its dimensionality is not finite, nor across such a gap.

    Args:
        dimensionality: dims (seed, step, feature), dimensionless, recorded at evenly spaced steps.
        height: the least distance of a jump, above 0.
        rest: the least length of a plateau, in steps; of at least four snapshots where these lie far apart.
        longest: the longest jump, in steps.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, or a number is not positive.

    """
    for name, value in (("height", height), ("rest", rest), ("longest", longest)):
        if not value > 0:
            raise ValueError(f"find_jumps({name}={value!r}): {name} must be above 0")
    values, step = arranged(dimensionality, ("seed", "feature", "step"), "find_jumps(dimensionality)")
    values = np.where(np.isfinite(values), values, np.nan)
    seeds, features = (labels(dimensionality, dim) for dim in ("seed", "feature"))
    width = max(FEWEST, intervals(rest, step) + 1)
    if len(step) < width:
        return []
    rows = values.reshape(-1, len(step))
    windows = np.lib.stride_tricks.sliding_window_view(rows, width, axis=1)
    # NaN compares as False: nothing rests in a run that has diverged.
    row, first, last = _stretches(windows.max(-1) - windows.min(-1) <= height / 2)
    same = row[1:] == row[:-1]
    # Both are positions of windows; a plateau reaches to the end of its last one.
    leaves, arrives, row = last[:-1][same], first[1:][same], row[1:][same]
    before, after = (np.median(windows[row, at], axis=-1) for at in (leaves, arrives))
    start, end = step[leaves + width - 1], step[arrives]
    distance = np.abs(after - before)
    sudden = np.abs(rows[row, arrives] - rows[row, leaves + width - 1]) >= distance / 2
    missing = np.cumsum(np.isnan(rows), axis=1)
    whole = missing[row, arrives] == missing[row, leaves + width - 1]
    found = (distance >= height) & sudden & whole & (end > start) & (end - start <= longest)
    run, feature = np.divmod(row, len(features))
    columns = (seeds[run], features[feature], start, end, before, after)
    jumps = [Jump(*fields) for fields in zip(*(column[found].tolist() for column in columns), strict=True)]
    return sorted(jumps, key=lambda jump: (jump.seed, jump.start, jump.feature))


@refusing
def late_jumps(jumps: Iterable[Jump], steps: int, late: float = LATE) -> list[Jump]:
    """Those that start after the first part `late` of a training of `steps` steps.

    Raises:
        ValueError: `late` lies outside [0, 1).

    """
    if not 0 <= late < 1:
        raise ValueError(f"late_jumps(late={late!r}): late must lie in [0, 1)")
    return [jump for jump in jumps if jump.start >= late * steps]


@refusing
def group_jumps(jumps: Iterable[Jump]) -> list[Event]:
    """Events, ordered by seed and start: jumps of one run that overlap in time, or in a chain of such."""
    events: list[list[Jump]] = []
    end = 0
    for jump in sorted(jumps, key=lambda jump: (jump.seed, jump.start, jump.feature)):
        if events and events[-1][0].seed == jump.seed and jump.start < end:
            events[-1].append(jump)
            end = max(end, jump.end)
        else:
            events.append([jump])
            end = jump.end
    return [Event(tuple(jumps)) for jumps in events]


def level_of(dimensionality: float, near: float = AT) -> str:
    """The known level at which a feature is: "0" where it is absent, "1/2" and the like, or "elsewhere".

    Args:
        dimensionality: of the feature.
        near: the largest distance from a level; of two levels that are near the nearer one counts.

    """
    if dimensionality <= ABSENT_DIMENSIONALITY:
        return "0"
    level = min(LEVELS.values(), key=lambda level: abs(float(level) - dimensionality))
    return str(level) if abs(float(level) - dimensionality) <= near else "elsewhere"


def transitions(jumps: Iterable[Jump], near: float = AT) -> Counter[tuple[str, str]]:
    """How many jumps lead from one known level to another: counts by (from, to), in the words of `level_of`."""
    return Counter((level_of(jump.before, near), level_of(jump.after, near)) for jump in jumps)


def steadied(dimensionality: xr.DataArray, *, rest: int = REST, late: float = LATE, key: int = 0) -> xr.DataArray:
    """The null of late jumps: the same late changes and the same noise, but nothing sudden.

    Each feature goes from where it is when late training begins to where it ends at a steady rate. To that is
    added noise as strong and as quick as its own: what is left of its dimensionality around a running median,
    with the phases of its Fourier components drawn anew (Theiler et al., Physica D 58, 1992).

    Args:
        dimensionality: dims (seed, step, feature), recorded at evenly spaced steps.
        rest: length of the running median, in steps.
        late: the first part of training, which stays as it is.
        key: of the random numbers.

    Returns:
        The same, with the dims in the order (seed, feature, step).

    Raises:
        ValueError: the dims are others, or the steps are not evenly spaced.

    """
    dims = ("seed", "feature", "step")
    values, step = arranged(dimensionality, dims, "steadied(dimensionality)")
    first = int(np.searchsorted(step, late * step[-1]))
    part = values[..., first:]
    half = max(FEWEST, intervals(rest, step)) // 2
    padded = np.pad(part, [(0, 0)] * (part.ndim - 1) + [(half, half)], mode="edge")
    noise = part - np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1), axis=-1)
    spectrum = np.fft.rfft(noise, axis=-1)
    # All but the mean, which has no phase.
    spectrum[..., 1:] *= np.exp(2j * np.pi * np.random.default_rng(key).random(spectrum[..., 1:].shape))
    noise = np.fft.irfft(spectrum, n=part.shape[-1], axis=-1)
    progress = np.linspace(0.0, 1.0, part.shape[-1])
    surrogate = values.copy()
    surrogate[..., first:] = part[..., :1] + progress * (part[..., -1:] - part[..., :1]) + noise
    return dimensionality.transpose(*dims).copy(data=surrogate)


def _half(dimensionality: float) -> bool:
    return abs(dimensionality - 0.5) <= NEAR


def _order(jump: Jump) -> tuple[int, int]:
    return jump.start, jump.feature


def _newcomer(jump: Jump) -> bool:
    return jump.before <= ABSENT_DIMENSIONALITY and _half(jump.after)


def _swap(up: Jump, down: Jump) -> bool:
    return min(down.before - up.before, up.after - down.after) >= HEIGHT


def _shared(one: Jump, other: Jump) -> int:
    """For how many steps two jumps overlap."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _matched(jumps: Sequence[Jump]) -> list[tuple[Jump, Jump]]:
    """The largest matching of rising with falling jumps that overlap in time and swap places or complete a digon.

    Of several it is one with the most swaps, and of these one that overlaps for the longest.
    """
    from scipy.optimize import linear_sum_assignment

    ups, downs = ([jump for jump in jumps if sign * jump.change > 0] for sign in (1, -1))
    merit = np.zeros((len(ups), len(downs)))
    longest, size = 1 + max((jump.end - jump.start for jump in jumps), default=0), 1 + len(jumps)
    for (i, up), (j, down) in itertools.product(enumerate(ups), enumerate(downs)):
        completes = _newcomer(up) and down.before > 0.5 + NEAR and _half(down.after)
        if up.feature != down.feature and _shared(up, down) and (_swap(up, down) or completes):
            # No sum of the smaller terms comes up to one of the next larger.
            merit[i, j] = size**2 + size * _swap(up, down) + _shared(up, down) / longest
    pairs = zip(*linear_sum_assignment(merit, maximize=True), strict=True)
    return [(ups[i], downs[j]) for i, j in pairs if merit[i, j]]


def _together(jumps: Sequence[Jump]) -> tuple[tuple[int, int], ...]:
    """As many pairs of features as can be whose jumps overlap in time, every feature in one of them.

    The jump that ends first goes with the one, among those that it meets, that ends next: what meets that one meets the
    others too, so that no pair is lost.
    """
    free = sorted(jumps, key=lambda jump: (jump.end, jump.start, jump.feature))
    pairs: list[tuple[Jump, Jump]] = []
    while free:
        first = free.pop(0)
        mate = next((jump for jump in free if jump.feature != first.feature and _shared(first, jump)), None)
        if mate is not None:
            pairs.append((min(first, mate, key=_order), max(first, mate, key=_order)))
            free = [jump for jump in free if jump.feature not in (first.feature, mate.feature)]
    return tuple((one.feature, other.feature) for one, other in sorted(pairs, key=lambda pair: _order(pair[0])))


def _stretches(
    flags: Bool[np.ndarray, "row position"],
) -> tuple[Int[np.ndarray, " stretch"], Int[np.ndarray, " stretch"], Int[np.ndarray, " stretch"]]:
    """The row, first and last position of every maximal stretch of true flags, row after row."""
    edges = np.diff(np.pad(flags, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edges == 1)
    return row, first, np.nonzero(edges == -1)[1] - 1
