"""How fast work goes and how long it will still take, from its last seconds; and how rates are told."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

_WINDOW = 15.0
"""Seconds over which a rate is taken."""

_APART = 0.1
"""Seconds between two moments that are kept."""

_SOON = 3.0
"""Seconds of work below which nothing is said about the time left."""

_STEADY = 2.0
"""Largest ratio of the speeds in the two halves of the window at which a time left means something."""


class _Moment(NamedTuple):
    time: float
    part: float
    amount: float


@final
class Pace:
    """The speed of work over its last seconds. Times are those of a clock that stands while something is compiled."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seen: deque[_Moment] = deque()

    def add(self, time: float, part: float, amount: float) -> None:
        """Take in that at this time this part of the whole is done, in [0, 1], and this amount of what rates count."""
        seen, moment = self._seen, _Moment(time, part, amount)
        if len(seen) > 1 and seen[-1].time - seen[-2].time < _APART:
            seen[-1] = moment
        else:
            seen.append(moment)
        while len(seen) > 4 and seen[1].time < time - _WINDOW:
            seen.popleft()

    def rate(self) -> float | None:
        """Amount per second."""
        if len(self._seen) < 2 or self._seen[-1].time <= self._seen[0].time:
            return None
        first, last = self._seen[0], self._seen[-1]
        return (last.amount - first.amount) / (last.time - first.time)

    def left(self, now: float) -> float | None:
        """Seconds left; None where the last seconds do not tell."""
        seen = tuple(self._seen)
        if len(seen) < 3 or seen[-1].time - seen[0].time < _SOON:
            return None
        first, last = seen[0], seen[-1]
        middle = min(seen[1:-1], key=lambda moment: abs(moment.time - (first.time + last.time) / 2))
        speeds = [_speed(first, middle), _speed(middle, last)]
        if min(speeds) <= 0 or max(speeds) > _STEADY * min(speeds):
            return None
        left = (1 - last.part) / _speed(first, last) - (now - last.time)
        # Late: it has turned slower than it was.
        return left if left >= 0 else None


def _speed(a: _Moment, b: _Moment) -> float:
    return (b.part - a.part) / (b.time - a.time) if b.time > a.time else 0.0


def rounded(number: int | float) -> str:
    """A rate in three digits: "1,230,000", "12.3", "0.0123"."""
    return f"{float(f'{number:.3g}'):,.0f}" if abs(number) >= 100 else f"{number:.3g}"
