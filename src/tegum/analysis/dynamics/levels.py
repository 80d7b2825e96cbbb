"""Energy levels: jumps of features between plateaus of dimensionality, and the events that they form.

Elhage et al. 2022 ("Discrete 'Energy Level' Jumps") saw features jump between dimensionalities during training, and
the loss drop as they did. Here both are defined so that they can be measured, and can be absent:

- A feature is *at rest* while its dimensionality stays within a band of height / 2 for `rest` steps. Maximal times
  at rest are its plateaus.
- A *jump* leads from one plateau to the next within `longest` steps, over a distance of at least `height`, with at
  least half of that distance between the plateaus rather than on them. A slow drift is not a jump, nor is a bump
  that returns to where it was, and a pause shorter than `rest` does not divide one jump into two.
- An *event* is a group of jumps in one run whose times overlap. Some events have names: in a swap two features
  change places, at a birth two absent features become a digon, at a completion a lone feature gains a partner, and
  at a death features become absent.

What the loss does meanwhile is measured by `tegum.analysis.dynamics.drops`. Times are in optimiser steps.
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
"""The least distance of a jump in dimensionality: from a digon (1/2) to the next level, the pentagon's (2/5)."""

REST = 1_000
"""The least length of a plateau, in steps. At its usual rate of 1e-3 Adam moves a weight by at most about 1 in this
time, so that it is about the least in which a whole embedding can appear or vanish."""

LONGEST = 2_000
"""The longest jump, in steps: one feature up and another down in sequence, at that speed."""

LATE = 0.1
"""The initial fraction of training that is left out: its jumps overlap, and form one decline rather than many events.
"""

FEWEST = 4
"""The least number of snapshots in a plateau, or in a line fitted to the loss."""

ABSENT_DIMENSIONALITY = 0.1
"""A feature of at most this dimensionality is absent (not represented); from here to 1/2 is four times HEIGHT."""

NEAR = HEIGHT / 2
"""The largest distance in dimensionality at which a feature is at a level: what a plateau may vary by."""

AT = 0.02
"""The largest distance in dimensionality at which a jumping feature is at a known level: twice AdamW's noise."""

Kind = Literal["swap", "birth", "completion", "death", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an event may be, judged by the dimensionalities of its features."""


@final
@dataclass(frozen=True)
class Jump:
    """One feature's passage from one plateau of dimensionality to the next.

    Example:
        A feature that was absent becomes part of a digon.

        >>> import tegum as tg
        >>> tg.Jump(seed=0, feature=3, start=4_000, end=4_500, before=0.0, after=0.5).change
        0.5

    """

    seed: int
    """The seed of the run."""
    feature: int
    """The label of the feature."""
    start: int
    """The last step at rest on the old plateau."""
    end: int
    """The first step at rest on the new plateau."""
    before: float
    """The dimensionality at the end of the old plateau."""
    after: float
    """The dimensionality at the beginning of the new plateau."""

    @property
    def change(self) -> float:
        """The change in dimensionality, positive for a jump up."""
        return self.after - self.before


@final
@dataclass(frozen=True)
class Event:
    """Jumps of one run that overlap in time, in the order in which they start, and the names of what they do.

    The names are decided by dimensionality alone: a feature is absent up to `ABSENT_DIMENSIONALITY`, and in a digon
    within `NEAR` of 1/2. Which features face each other can be told only from the weights (`rearrangements`). Two
    features form a pair only if their jumps overlap in time, and no feature is in two pairs: first as many swaps and
    completions as possible are matched, then births and deaths among the remaining features.

    Example:
        Two absent features rise to 1/2 together: a digon is born.

        >>> import tegum as tg
        >>> jumps = [tg.Jump(0, feature, 4_000, 4_500, before=0.0, after=0.5) for feature in (3, 7)]
        >>> event = tg.Event(jumps=tuple(jumps))
        >>> event.kinds, event.births
        (('birth',), ((3, 7),))

    """

    jumps: tuple[Jump, ...]
    """The jumps, in the order in which they start."""

    @property
    def seed(self) -> int:
        """The seed of the run."""
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
        """Pairs (rising, falling) that swap places: the lower becomes the higher, by `HEIGHT` before and after."""
        return tuple((up.feature, down.feature) for up, down in self._traded if _swap(up, down))

    @property
    def completions(self) -> tuple[tuple[int, int], ...]:
        """Pairs (newcomer, lone) that become a digon: an absent feature rises to 1/2, one above 1/2 falls to it."""
        return tuple((up.feature, down.feature) for up, down in self._traded if not _swap(up, down))

    @property
    def births(self) -> tuple[tuple[int, int], ...]:
        """Pairs of absent features, in no swap or completion, that rise to 1/2 together."""
        return _together([jump for jump in self._free if _newcomer(jump)])

    @property
    def deaths(self) -> tuple[tuple[int, ...], ...]:
        """Features that become absent and are not replaced: pairs that fall from 1/2 together, or single features."""
        dying = [jump for jump in self._free if jump.change < 0 and jump.after <= ABSENT_DIMENSIONALITY]
        pairs = _together([jump for jump in dying if _half(jump.before)])
        paired = {feature for pair in pairs for feature in pair}
        return pairs + tuple((feature,) for feature in dict.fromkeys(j.feature for j in dying) if feature not in paired)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind of change that the event contains, or "other" if it contains none."""
        found = {"swap": self.swaps, "birth": self.births, "completion": self.completions, "death": self.deaths}
        return tuple(kind for kind in KINDS if found.get(kind)) or ("other",)

    @cached_property
    def _traded(self) -> list[tuple[Jump, Jump]]:
        """As many pairs (rising, falling) as possible that swap or complete, with no feature in two pairs."""
        pairs: list[tuple[Jump, Jump]] = []
        free = list(self.jumps)
        # Repeat: a feature that jumps twice may have been matched twice, and only its first pair was kept.
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
    """Find every jump of a feature from one plateau of dimensionality to another, in every run.

    The definition is in `tegum.analysis.dynamics.levels`. A run that diverged, with a dimensionality that is not
    finite, has no jumps from there on, nor across such a gap.

    Args:
        dimensionality: of every feature at every snapshot, dims (seed, step, feature), at evenly spaced steps.
        height: the least distance of a jump, above 0.
        rest: the least length of a plateau, in steps; at least four snapshots.
        longest: the longest duration of a jump, in steps.

    Returns:
        The jumps, ordered by seed, start and feature.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, or a number is not positive.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> level = np.where(step < 5_000, 0.0, 0.5)[None, :, None]
        >>> coords = {"seed": [0], "step": step, "feature": [0]}
        >>> jumps = tg.find_jumps(xr.DataArray(level, coords, ("seed", "step", "feature")))
        >>> [(jump.start, jump.end, jump.before, jump.after) for jump in jumps]
        [(4900, 5000, 0.0, 0.5)]

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
    # NaN compares as False, so that nothing is at rest in a run that has diverged.
    row, first, last = _stretches(windows.max(-1) - windows.min(-1) <= height / 2)
    same = row[1:] == row[:-1]
    # Both are positions of windows; a plateau extends to the end of its last window.
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
    """Select the jumps that start after the initial fraction `late` of training.

    Early jumps overlap and form one decline of the loss, in which single events cannot be distinguished.

    Args:
        jumps: jumps of any runs.
        steps: the length of training, in steps.
        late: the initial fraction of training that is left out, in [0, 1).

    Returns:
        The jumps with start ≥ late × steps, in the order given.

    Raises:
        ValueError: `late` lies outside [0, 1).

    Example:
        >>> import tegum as tg
        >>> jumps = [tg.Jump(0, 0, start, start + 100, before=0.0, after=0.5) for start in (500, 6_000)]
        >>> [jump.start for jump in tg.late_jumps(jumps, steps=10_000)]
        [6000]

    """
    if not 0 <= late < 1:
        raise ValueError(f"late_jumps(late={late!r}): late must lie in [0, 1)")
    return [jump for jump in jumps if jump.start >= late * steps]


@refusing
def group_jumps(jumps: Iterable[Jump]) -> list[Event]:
    """Group jumps of the same run that overlap in time, directly or in a chain, into events.

    Args:
        jumps: jumps of any runs, in any order.

    Returns:
        The events, ordered by seed and start.

    Example:
        >>> import tegum as tg
        >>> times = [(1_000, 1_400), (1_300, 1_600), (5_000, 5_200)]
        >>> jumps = [tg.Jump(0, i, start, end, before=0.0, after=0.5) for i, (start, end) in enumerate(times)]
        >>> [(event.start, event.end, len(event.jumps)) for event in tg.group_jumps(jumps)]
        [(1000, 1600, 2), (5000, 5200, 1)]

    """
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
    """Name the known level at which a feature is: "0" if it is absent, "1/2" and the like, or "elsewhere".

    Args:
        dimensionality: the dimensionality of the feature.
        near: the largest distance from a level; if two are within it, the nearer one counts.

    Returns:
        The level as a fraction, "0" or "elsewhere".

    """
    if dimensionality <= ABSENT_DIMENSIONALITY:
        return "0"
    level = min(LEVELS.values(), key=lambda level: abs(float(level) - dimensionality))
    return str(level) if abs(float(level) - dimensionality) <= near else "elsewhere"


def transitions(jumps: Iterable[Jump], near: float = AT) -> Counter[tuple[str, str]]:
    """Count how many jumps lead from each known level to each other one.

    Args:
        jumps: jumps of any runs.
        near: the largest distance from a level, as in `level_of`.

    Returns:
        Counts by (from, to), with levels named as `level_of` names them.

    """
    return Counter((level_of(jump.before, near), level_of(jump.after, near)) for jump in jumps)


def steadied(dimensionality: xr.DataArray, *, rest: int = REST, late: float = LATE, key: int = 0) -> xr.DataArray:
    """Make the null model of late jumps: the same late changes and the same noise, but nothing sudden.

    Each feature goes at a steady rate from where it is when late training begins to where it ends. Noise as strong
    and as fast as its own is added: the deviation of its dimensionality from a running median, with the phases of
    its Fourier components randomised (Theiler et al., Physica D 58, 1992).

    Args:
        dimensionality: of every feature at every snapshot, dims (seed, step, feature), at evenly spaced steps.
        rest: the length of the running median, in steps.
        late: the initial fraction of training, which stays as it is.
        key: the seed of the random phases.

    Returns:
        Surrogate dimensionalities, with the dims in the order (seed, feature, step).

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
    # All components but the mean, which has no phase.
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
    """The number of steps for which two jumps overlap."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _matched(jumps: Sequence[Jump]) -> list[tuple[Jump, Jump]]:
    """The largest matching of rising and falling jumps that overlap in time and swap places or complete a digon.

    Of several such matchings, take one with the most swaps, and of these one with the longest overlap.
    """
    from scipy.optimize import linear_sum_assignment

    ups, downs = ([jump for jump in jumps if sign * jump.change > 0] for sign in (1, -1))
    merit = np.zeros((len(ups), len(downs)))
    longest, size = 1 + max((jump.end - jump.start for jump in jumps), default=0), 1 + len(jumps)
    for (i, up), (j, down) in itertools.product(enumerate(ups), enumerate(downs)):
        completes = _newcomer(up) and down.before > 0.5 + NEAR and _half(down.after)
        if up.feature != down.feature and _shared(up, down) and (_swap(up, down) or completes):
            # Weighted so that no sum of smaller terms can outweigh one larger term.
            merit[i, j] = size**2 + size * _swap(up, down) + _shared(up, down) / longest
    pairs = zip(*linear_sum_assignment(merit, maximize=True), strict=True)
    return [(ups[i], downs[j]) for i, j in pairs if merit[i, j]]


def _together(jumps: Sequence[Jump]) -> tuple[tuple[int, int], ...]:
    """As many pairs of features as possible whose jumps overlap in time, with no feature in two pairs.

    The jump that ends first is paired with the one it overlaps that ends next. A later jump that overlaps this partner
    also overlaps the other candidates, so that no pair is lost.
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
