"""`shown`: the one way in which long work is told, by default, to a function, or not at all.

The outermost call has the line. What it calls in its turn is told in the same line, the innermost work with the titles
of what is around it: an experiment shows its trainings, and a training inside an analysis shows as that. Where the
outermost call is silent, or tells a function, all inside it is silent.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, final

from tegum.core import lapack
from tegum.core.description import short
from tegum.core.limits import duration
from tegum.progress.compiling import compiling, watch
from tegum.progress.displays import Display, fitting
from tegum.progress.tasks import Said, Task

_NOTICED = 0.3
"""Seconds of compiling before it is worth a word."""

_PATIENCE = 0.5
"""Seconds that the end of work waits for a terminal that takes nothing, as after Ctrl-S."""

_NOTEWORTHY = 3
"""How deep a task may lie in others for its end to be told in plain lines."""


@contextlib.contextmanager
def shown(given: Any, task: Task, call: str, *, always: bool = False) -> Iterator[Callable[..., Any]]:
    """Tell of work while it goes on; yields the function that is to be told the news.

    Args:
        given: what the user gave as `progress`. True or None: shown where it makes sense, on standard error, in
            terminals and notebooks, in the main thread and not in workers, and not where the variable TEGUM_PROGRESS
            is 0; after a second. False: silent. A function: it is called with the news, and nothing is shown.
        task: the kind of work, which takes the news.
        call: the function whose argument it is, for the refusal.
        always: also show plain lines where standard error is neither.

    Raises:
        ValueError: `given` is something else.

    """
    if callable(given):
        with _inside(_Silence()):
            yield given
        return
    if given is not None and not isinstance(given, bool):
        raise ValueError(f"{call}(progress={short(given)}): progress must be True, False, or a function to be called")
    around = _around.get()
    if given is False or isinstance(around, _Silence):
        with _inside(_Silence()):
            yield _nobody
    elif around is None:
        display = fitting(always=always)
        if display is None:
            with _inside(_Silence()):
                yield _nobody
        else:
            with Line(display, task) as line, _inside(line):
                yield line.teller(task)
    elif around.here():
        with around.within(task):
            yield around.teller(task)
    else:
        yield _nobody


@final
class _Silence:
    """What surrounds work of which nothing is shown."""


@final
class Line:
    """What is shown of work, and the thread that shows it. It never raises: a failure ends the showing alone."""

    def __init__(self, display: Display, task: Task) -> None:
        """Show a task, and what it is made of, on a display."""
        self._display, self._tasks = display, [task]
        self._thread_of_work = threading.get_ident()
        self._over = threading.Event()
        self._failed = False
        self._lock = threading.Lock()
        context = contextvars.copy_context()
        # A copy of the context tells a notebook to which cell the output belongs.
        self._thread = threading.Thread(target=lambda: context.run(self._show), name="tegum progress", daemon=True)

    def __enter__(self) -> Line:
        self._begin = time.monotonic()
        watch()
        self._guarded(lambda: self._display.begin(self._tasks[0].title))
        try:
            self._thread.start()
        except RuntimeError:  # No thread can be had.
            self._failed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._end_of(self._tasks[-1])
        finally:
            self._over.set()
            if not self._failed:
                self._thread.join(_PATIENCE)
            if not self._thread.is_alive():
                seconds = time.monotonic() - self._begin
                self._guarded(lambda: self._display.end(self._tasks[0].title, seconds, kind is None))

    def here(self) -> bool:
        """Whether this thread does the work that is shown."""
        return threading.get_ident() == self._thread_of_work

    def teller(self, task: Task) -> Callable[..., None]:
        """What takes in the news of a task, and raises nothing either."""

        def tell(*news: Any) -> None:
            if not self._failed:
                try:
                    task.tell(*news)
                except Exception:
                    self._failed = True

        return tell

    @contextlib.contextmanager
    def within(self, task: Task) -> Iterator[None]:
        """Show this task, which is a part of the last one, until it ends."""
        self._tasks.append(task)
        watch()
        try:
            yield
            self._end_of(task)
        finally:
            self._tasks.remove(task)

    def said(self) -> Said:
        """What is to be shown now."""
        tasks = tuple(self._tasks)
        title = ": ".join(dict.fromkeys(task.title for task in tasks))
        seconds = compiling.running()
        if seconds is not None and seconds > _NOTICED:
            return Said(title, None, (f"compiling, {duration(seconds)}",))
        words = tasks[-1].words()
        if (call := lapack.under_way()) is not None:
            words = (f"{call} (cannot be stopped)", *words)
        return Said(title, tasks[-1].part(), words)

    def _end_of(self, task: Task) -> None:
        if task.noted and len(self._tasks) <= _NOTEWORTHY:
            self._guarded(lambda: self._display.finished(self.said()))

    def _show(self) -> None:
        wait = self._display.delay
        while not self._failed and not self._over.wait(wait):
            watch()
            self._guarded(lambda: self._display.show(self.said()))
            wait = self._display.every

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._failed or not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            act()
        except Exception:  # The terminal went away, the disk is full, …: work is worth more than its progress.
            self._failed = True
        finally:
            self._lock.release()


_around: contextvars.ContextVar[Line | _Silence | None] = contextvars.ContextVar("tegum_progress", default=None)


@contextlib.contextmanager
def _inside(around: Line | _Silence) -> Iterator[None]:
    """What is called in here belongs to a line, or to silence."""
    before = _around.set(around)
    try:
        yield
    finally:
        _around.reset(before)


def _nobody(*_: Any) -> None:
    """Nobody is told."""
