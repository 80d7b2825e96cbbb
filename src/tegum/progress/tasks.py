"""Kinds of long work, and what the line of progress says about each."""

from __future__ import annotations

import abc
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tegum.core.limits import duration
from tegum.progress.compiling import compiling
from tegum.progress.pace import Pace, rounded

Clock = Callable[[], float]

_LONG = 60.0
"""Seconds of training above which its estimated duration is shown at the start."""


@final
@dataclass(frozen=True)
class Status:
    """What is shown of work under way."""

    title: str
    part: float | None
    """The part of the whole that is done, in [0, 1]; None if it is not known."""
    words: tuple[str, ...]
    """Details, the most important first, as a narrow line cuts off the rest."""

    def text(self) -> str:
        """The whole status in one line."""
        part = () if self.part is None else (percent(self.part),)
        return f"{self.title}: {', '.join((*part, *self.words))}"


def percent(part: float) -> str:
    """A part of the whole in per cent; 100 % only if all of it is done."""
    return f"{100 if part >= 1 else min(int(100 * part + 1e-9), 99)} %"


def one_line(text: str) -> str:
    """A user's text as part of a line: without line breaks, control characters and changes of direction."""
    kept = (" " if unicodedata.category(each)[0] in "CZ" else each for each in text)
    return " ".join("".join(kept).split())


def working_clock() -> float:
    """A clock in seconds that stops while something is compiled."""
    return time.monotonic() - compiling.seconds()


class Task(abc.ABC):
    """Something that takes long, and turns updates into words."""

    noted: ClassVar[bool] = False
    """Whether its end gets a line of its own where plain lines are printed."""

    def __init__(self, title: str, *, clock: Clock | None = None) -> None:
        """Work under a title; by default the clock for rates stops while something is compiled."""
        self.title: str = one_line(title)
        self._clock = clock or working_clock
        self._wall = clock or time.monotonic
        self._begin = self._wall()

    @abc.abstractmethod
    def update(self, *news: Any) -> None:
        """Take in what is done; a function given as `progress` is called with the same arguments."""

    @abc.abstractmethod
    def part(self) -> float | None:
        """The part of the whole that is done; None if it is not known."""

    @abc.abstractmethod
    def words(self) -> tuple[str, ...]:
        """Further details, the most important first."""

    def _since(self) -> tuple[str, ...]:
        return (duration(self._wall() - self._begin),)


@final
class Stage(Task):
    """Work of which only the name and the time so far are known."""

    def update(self, *news: Any) -> None:
        """Do nothing, as there are no updates."""

    def part(self) -> float | None:
        """Return None, as it is not known."""
        return None

    def words(self) -> tuple[str, ...]:
        """The time so far."""
        return self._since()


@final
class Phases(Task):
    """Work in one or more phases; updates are (phase, part of it that is done, or None if that is not known)."""

    _what: str | None = None
    _part: float | None = None
    _pace: Pace

    def update(self, *news: Any) -> None:
        """Take in the phase and the part of it that is done."""
        what, part = news
        now = self._clock()
        if what != self._what:
            self._what, self._pace = what, Pace()
        self._part = part
        if part is not None:
            self._pace.add(now, float(part), float(part))

    def part(self) -> float | None:
        """The part of the current phase that is done."""
        return self._part

    def words(self) -> tuple[str, ...]:
        """The phase and its time left."""
        if self._what is None:
            return self._since()
        details = self._since() if self._part is None else _left(self._pace.left(self._clock()))
        return (one_line(self._what), *details)


class Counts(Task):
    """Work on many items of a kind; updates are (number done, number in all)."""

    def __init__(self, title: str, kind: str, *, clock: Clock | None = None) -> None:
        """Work under a title, on items of a kind: "snapshots"."""
        super().__init__(title, clock=clock)
        self._kind = kind
        self._done = self._all = 0
        self._pace = Pace()
        self._pace.add(self._clock(), 0.0, 0.0)

    def update(self, *news: Any) -> None:
        """Take in the number done and the number in all."""
        self._done, self._all = news
        self._pace.add(self._clock(), self._done / max(self._all, 1), float(self._done))

    def part(self) -> float | None:
        """The share of items that are done."""
        return self._done / self._all if self._all else None

    def words(self) -> tuple[str, ...]:
        """The time left, the count, and the rate."""
        if not self._all:
            return self._since()
        rate = self._pace.rate()
        return (
            *_left(self._pace.left(self._clock())),
            f"{self._done:,} of {self._all:,} {self._kind}",
            *(() if rate is None else (f"{rounded(rate)}/s",)),
        )


@final
class Steps(Task):
    """Training; an update is a `Segment` of it."""

    noted: ClassVar[bool] = True
    _segment: Any = None
    _ended = _converged = 0
    _done = 0.0

    def __init__(
        self,
        runs: int,
        *,
        converges: bool,
        until: float | None = None,
        expected: float | None = None,
        least: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Training of some runs, each perhaps to convergence, or (a flow) until a time.

        If the duration in seconds can be estimated beforehand, or bounded from below, it is shown until the pace is
        known.
        """
        super().__init__(f"training {runs:,} {'run' if runs == 1 else 'runs'}", clock=clock)
        self._runs, self._converges, self._until = runs, converges, until
        known = "at least" if least else "about"
        self._expected = None if expected is None or expected < _LONG else f"{known} {duration(expected)} in all"
        self._pace = Pace()

    def update(self, *news: Any) -> None:
        """Take in a segment."""
        (segment,) = news
        start, stop, state = segment.start, segment.state.step, segment.state
        # Runs that have ended cost nothing and count for nothing.
        converged, diverged = np.asarray(state.converged_at), np.asarray(state.diverged_at)
        ended = (converged >= 0) | (diverged >= 0)
        ends = np.where(ended, np.maximum(converged, diverged), stop)
        self._converged, self._ended = int((converged >= 0).sum()), int(ended.sum())
        self._done += float((np.clip(ends, start, stop) - start).sum())
        self._segment = segment
        self._pace.add(self._clock(), self._done_part(), self._done)

    def _done_part(self) -> float:
        segment = self._segment
        if segment.state.step >= segment.steps:
            return 1.0
        if self._converges:
            return self._ended / self._runs
        if self._until is not None and segment.time is not None:
            return min(segment.time / self._until, 1.0)
        return segment.state.step / segment.steps

    def part(self) -> float | None:
        """The part that is done, of the steps, of a flow's time, or of the runs that train to convergence."""
        return None if self._segment is None else self._done_part()

    def words(self) -> tuple[str, ...]:
        """The time left, if training runs to its last step; how far it is, and how fast."""
        segment = self._segment
        expected = () if self._expected is None else (self._expected,)
        if segment is None:
            return (*expected, *self._since())
        step, steps, rate = segment.state.step, segment.steps, self._pace.rate()
        most = " at most" if self._converges else ""
        words = [f"step {step:,} of {steps:,}{most}"]
        if self._converges:
            # Nobody knows how many steps the others need, so there is no estimate of the time left.
            words.insert(0, f"{self._converged:,} of {self._runs:,} runs converged")
        else:
            words[:0] = _left(self._pace.left(self._clock())) or expected
        if self._until is not None and segment.time is not None:
            words.append(f"time {segment.time:,.6g} of {self._until:,.6g}")
        if rate:
            words.append(f"{rounded(rate)} run-steps/s")
        return tuple(words)


def _left(seconds: float | None) -> tuple[str, ...]:
    return () if seconds is None else (f"{duration(seconds)} left",)


@final
class Sweeping(Counts):
    """A sweep; updates are (runs done, runs in all, packs set aside)."""

    noted: ClassVar[bool] = True
    _set_aside = 0

    def __init__(self, title: str, *, link: str = "", clock: Clock | None = None) -> None:
        """Work under a title, which may be watched in detail at an address."""
        super().__init__(title, "runs", clock=clock)
        self._link = link

    def update(self, *news: Any) -> None:
        """Take in the number of runs that are done, of all runs, and of packs that were set aside."""
        done, runs, self._set_aside = news
        super().update(done, runs)

    def words(self) -> tuple[str, ...]:
        """The time left, the count and the rate, what was set aside, and where to watch."""
        failed = f"{self._set_aside} pack{'s' * (self._set_aside != 1)} set aside"
        return (*super().words(), *((failed,) if self._set_aside else ()), *((self._link,) if self._link else ()))
