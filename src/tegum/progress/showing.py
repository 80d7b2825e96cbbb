"""`shown`: the only way in which long work reports progress: on a display, to a function, or not at all.

The outermost call owns the line. Calls inside it report in the same line, which shows the innermost work after the
titles of what surrounds it: an experiment shows its trainings, and a training inside an analysis shows as such. If the
outermost call is silent, or reports to a function, everything inside it is silent.
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
from tegum.core.stopping import heard
from tegum.progress.compiling import compiling, watch
from tegum.progress.displays import Display, choose_display
from tegum.progress.tasks import Status, Task

_NOTICED = 0.3
"""Seconds of compiling before it is shown."""

_PATIENCE = 0.5
"""Seconds that the end of work waits for a blocked terminal, as after Ctrl-S."""

_DEEPEST_REPORTED = 3
"""How deeply a task may be nested for its end to be reported in plain lines."""


@contextlib.contextmanager
def shown(given: Any, task: Task, call: str, *, plain_lines: bool = False) -> Iterator[Callable[..., Any]]:
    """Show the progress of work while it runs; yields the function to call with updates.

    Args:
        given: the user's argument `progress`. True or None: show progress on standard error where that makes sense, in
            terminals and notebooks and the main thread, not in workers, and not if the variable TEGUM_PROGRESS is 0;
            it appears after a second. False: silent. A function: it is called with the updates, and nothing is shown.
        task: the kind of work, which interprets the updates.
        call: the function whose argument it is, for the error message.
        plain_lines: also show plain lines where standard error is neither a terminal nor a notebook.

    Raises:
        ValueError: `given` is something else.

    """
    if given is not None and not isinstance(given, bool) and not callable(given):
        raise ValueError(f"{call}(progress={short(given)}): progress must be True, False, or a function to be called")
    with heard(), _reporting(given, task, plain_lines=plain_lines) as report:
        yield report


@contextlib.contextmanager
def _reporting(given: Any, task: Task, *, plain_lines: bool) -> Iterator[Callable[..., Any]]:
    if callable(given):
        with _inside(_Silence()):
            yield given
        return
    around = _around.get()
    if given is False or isinstance(around, _Silence):
        with _inside(_Silence()):
            yield _ignore
    elif around is None:
        display = choose_display(plain_lines=plain_lines)
        if display is None:
            with _inside(_Silence()):
                yield _ignore
        else:
            with Line(display, task) as line, _inside(line):
                yield line.reporter(task)
    elif around.here():
        with around.within(task):
            yield around.reporter(task)
    else:
        yield _ignore


@final
class _Silence:
    """Surrounds work that shows nothing."""


@final
class Line:
    """The line that shows work, and the thread that updates it. It never raises: a failure only ends the showing."""

    def __init__(self, display: Display, task: Task) -> None:
        """Show a task, and the tasks inside it, on a display."""
        self._display, self._tasks = display, [task]
        self._thread_of_work = threading.get_ident()
        self._over = threading.Event()
        self._failed = False
        self._lock = threading.Lock()
        context = contextvars.copy_context()
        # From the copied context a notebook knows to which cell the output belongs.
        self._thread = threading.Thread(target=lambda: context.run(self._show), name="tegum progress", daemon=True)

    def __enter__(self) -> Line:
        self._begin = time.monotonic()
        watch()
        self._guarded(lambda: self._display.begin(self._tasks[0].title))
        try:
            self._thread.start()
        except RuntimeError:  # No thread can be started.
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

    def reporter(self, task: Task) -> Callable[..., None]:
        """A function that passes updates to a task, and never raises either."""

        def report(*news: Any) -> None:
            if not self._failed:
                try:
                    task.update(*news)
                except Exception:
                    self._failed = True

        return report

    @contextlib.contextmanager
    def within(self, task: Task) -> Iterator[None]:
        """Show this task, which is part of the current one, until it ends."""
        self._tasks.append(task)
        watch()
        try:
            yield
            self._end_of(task)
        finally:
            self._tasks.remove(task)

    def status(self) -> Status:
        """The status to show now."""
        tasks = tuple(self._tasks)
        title = ": ".join(dict.fromkeys(task.title for task in tasks))
        seconds = compiling.running()
        if seconds is not None and seconds > _NOTICED:
            return Status(title, None, (f"compiling, {duration(seconds)}",))
        words = tasks[-1].words()
        if (call := lapack.under_way()) is not None:
            words = (f"{call} (cannot be stopped)", *words)
        return Status(title, tasks[-1].part(), words)

    def _end_of(self, task: Task) -> None:
        if task.noted and len(self._tasks) <= _DEEPEST_REPORTED:
            self._guarded(lambda: self._display.finished(self.status()))

    def _show(self) -> None:
        wait = self._display.delay
        while not self._failed and not self._over.wait(wait):
            watch()
            self._guarded(lambda: self._display.show(self.status()))
            wait = self._display.every

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._failed or not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            act()
        except Exception:  # The terminal is gone, the disk is full, …: the work matters more than its progress.
            self._failed = True
        finally:
            self._lock.release()


_around: contextvars.ContextVar[Line | _Silence | None] = contextvars.ContextVar("tegum_progress", default=None)


@contextlib.contextmanager
def _inside(around: Line | _Silence) -> Iterator[None]:
    """Make everything called in the block report to this line, or to silence."""
    before = _around.set(around)
    try:
        yield
    finally:
        _around.reset(before)


def _ignore(*_: Any) -> None:
    """Ignore an update."""
