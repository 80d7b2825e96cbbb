"""The speed of work and the time left, estimated from the last seconds; and how rates are written."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

_WINDOW = 15.0
"""Seconds over which a rate is measured."""

_APART = 0.1
"""The least time between two recorded moments, in seconds."""

_SOON = 3.0
"""Seconds of work before a time left is shown."""

_STEADY = 2.0
"""The largest ratio of the speeds in the two halves of the window at which a time left is meaningful."""


class _Moment(NamedTuple):
    time: float
    part: float
    amount: float


@final
class Pace:
    """The speed of work over its last seconds, by a clock that stops while something is compiled."""

    def __init__(self) -> None:
        """Start without any records."""
        self._seen: deque[_Moment] = deque()

    def add(self, time: float, part: float, amount: float) -> None:
        """Record that at this time this part of the whole, in [0, 1], and this amount of what rates count are done."""
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
        """The seconds left; None if the last seconds do not allow an estimate."""
        seen = tuple(self._seen)
        if len(seen) < 3 or seen[-1].time - seen[0].time < _SOON:
            return None
        first, last = seen[0], seen[-1]
        middle = min(seen[1:-1], key=lambda moment: abs(moment.time - (first.time + last.time) / 2))
        speeds = [_speed(first, middle), _speed(middle, last)]
        if min(speeds) <= 0 or max(speeds) > _STEADY * min(speeds):
            return None
        left = (1 - last.part) / _speed(first, last) - (now - last.time)
        # If overdue, the work has become slower than it was.
        return left if left >= 0 else None


def _speed(a: _Moment, b: _Moment) -> float:
    return (b.part - a.part) / (b.time - a.time) if b.time > a.time else 0.0


def rounded(number: int | float) -> str:
    """A rate to three digits: "1,230,000", "12.3", "0.0123"."""
    return f"{float(f'{number:.3g}'):,.0f}" if abs(number) >= 100 else f"{number:.3g}"
