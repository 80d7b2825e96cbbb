"""Where progress is shown: one line of a terminal, the output of a notebook cell, or plain lines."""

from __future__ import annotations

import abc
import contextlib
import html
import importlib
import io
import multiprocessing
import os
import sys
import threading
from typing import Any, final

from tegum.core.limits import duration
from tegum.progress.tasks import Status, percent

OFF = "TEGUM_PROGRESS"
"""The environment variable that switches progress off."""

_NARROWEST = 60
"""The least width of a terminal, in columns, at which a bar is shown."""

_BAR = 20


class Display(abc.ABC):
    """Something that shows the status of work. If it raises anything, showing ends."""

    delay: float = 1.0
    """Seconds before anything is shown: short work shows nothing."""
    every: float
    """Seconds between updates."""

    def begin(self, title: str) -> None:  # noqa: B027 (most show nothing)
        """Work has begun."""

    @abc.abstractmethod
    def show(self, status: Status) -> None:
        """Show this in place of what was shown before."""

    def finished(self, status: Status) -> None:  # noqa: B027
        """A part of the work that deserves a line of its own has ended."""

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: B027
        """The work has ended after this many seconds; `whole` unless it was interrupted or failed."""


@final
class Terminal(Display):
    """One line of a terminal, redrawn in place and cleared at the end. The cursor is never hidden."""

    every: float = 0.2

    def __init__(self, descriptor: int, encoding: str) -> None:
        """Write to a file descriptor: a thread that holds a Python stream at exit would crash the interpreter."""
        self._descriptor, self._encoding = descriptor, encoding
        self._plain = not _can_encode("━─…", encoding)
        self._console: Any = None
        self._last = ""

    def show(self, status: Status) -> None:
        """Draw the line."""
        if self._in_background():
            return
        if (drawn := self._drawn(status)) != self._last:
            self._write(f"\r{drawn}\x1b[K")
            self._last = drawn

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: ARG002 (nothing stays)
        """Clear the line."""
        if self._last and not self._in_background():
            self._write("\r\x1b[K")

    def _drawn(self, status: Status) -> str:
        from rich.console import Console
        from rich.text import Text

        width = max(_columns(self._descriptor) - 1, 1)
        if self._console is None:
            # rich handles colours, NO_COLOR, and the width of characters; we write what it draws.
            self._console = Console(
                file=io.StringIO(), force_terminal=True, force_jupyter=False, legacy_windows=False, emoji=False
            )
        console, out = self._console, io.StringIO()
        console.file, console.width = out, width
        full, empty, overflow = ("#", "-", "crop") if self._plain else ("━", "─", "ellipsis")
        bar = Text()
        if status.part is None:
            bar.append(": ")
        else:
            if width >= _NARROWEST:
                done = int(_BAR * status.part)
                bar.append(f" {full * done}", style="bar.complete").append(empty * (_BAR - done), style="bar.back")
            bar.append(f" {percent(status.part)}", style="progress.percentage").append(", " if status.words else "")
        bar.append(", ".join(status.words))
        title = Text(status.title)
        if title.cell_len + bar.cell_len > width:
            title.truncate(max(width // 2, width - bar.cell_len), overflow=overflow)
        title.stylize("bold")
        line = Text.assemble(title, bar)
        line.truncate(width, overflow=overflow)
        console.print(line, end="", soft_wrap=True, highlight=False)
        return out.getvalue()

    def _in_background(self) -> bool:
        # Another job of the shell has the terminal, and writing to it may get this process stopped.
        try:
            return os.tcgetpgrp(self._descriptor) != os.getpgrp()
        except (AttributeError, OSError):
            return False

    def _write(self, text: str) -> None:
        rest = text.encode(self._encoding, "replace")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


@final
class Lines(Display):
    """A line every few seconds, slowing to one a minute, where nothing can be redrawn."""

    every: float = 5.0

    def __init__(self, stream: Any, *, announced: bool) -> None:
        """Write to a stream; with `announced`, also say when work begins and ends."""
        self._stream, self._announced = stream, announced
        if announced:
            self.delay: float = self.every
        self._last = ""

    def begin(self, title: str) -> None:
        """Announce the work, if asked to."""
        if self._announced:
            self._write(f"{title}: started")

    def show(self, status: Status) -> None:
        """Write a line, unless it repeats the last one."""
        if (text := status.text()) != self._last:
            self._write(text)
            self._last, self.every = text, min(1.1 * self.every, 60.0)

    def finished(self, status: Status) -> None:
        """Show how it ended, if its beginning was announced."""
        if self._announced:
            self.show(status)

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        data = f"{text}\n".encode(encoding, "replace")
        try:
            descriptor = self._stream.fileno()
        except (AttributeError, OSError):  # Not a file, as in a test or a window.
            self._stream.write(data.decode(encoding))
            self._stream.flush()
            return
        while data:
            data = data[os.write(descriptor, data) :]


@final
class Notebook(Display):
    """One output of a Jupyter notebook cell, updated in place; in the end it says how long the work took."""

    every: float = 1.0

    _handle: Any = None

    def show(self, status: Status) -> None:
        """Replace the output."""
        bar = "" if status.part is None else f'<progress value="{status.part:.3f}" max="1"></progress> '
        words = ", ".join((*(() if status.part is None else (percent(status.part),)), *status.words))
        self._put(status.text(), f"<bdi>{html.escape(status.title)}</bdi> {bar}{html.escape(words)}")

    def end(self, title: str, seconds: float, whole: bool) -> None:
        """Leave one line."""
        if self._handle is not None:
            text = f"{title}: {'done in' if whole else 'stopped after'} {duration(seconds)}"
            self._put(text, f"<bdi>{html.escape(text)}</bdi>")

    def _put(self, text: str, marked: str) -> None:
        # A kernel always has IPython. tqdm and rich need ipywidgets here, and warn or litter without.
        data = {"text/plain": text, "text/html": f"<pre>{marked}</pre>"}
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


@final
class Marimo(Display):
    """A spinner in the output of a marimo cell, removed at the end."""

    every: float = 1.0

    def __init__(self, marimo: Any) -> None:
        """Attach to the cell that is running."""
        self._marimo = marimo
        # marimo finds the cell by the thread, but another thread shows here; marimo's own threads replace `print` for
        # good.
        self._context = importlib.import_module("marimo._runtime.context").get_context()
        self._spinner: Any = None
        self._shown: Any = None

    def show(self, status: Status) -> None:
        """Update the spinner's text."""
        words = status.text().removeprefix(f"{status.title}: ")
        with self._context.install():
            if self._spinner is None:
                self._spinner = self._marimo.status.spinner(title=status.title, subtitle=words)
                self._shown = self._spinner.__enter__()
            else:
                self._shown.update(title=status.title, subtitle=words)

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: ARG002 (nothing stays)
        """Remove the spinner."""
        if self._spinner is not None:
            with self._context.install():
                self._spinner.__exit__(None, None, None)


def choose_display(*, plain_lines: bool) -> Display | None:
    """The display for this process: in terminals and notebooks; None elsewhere, in workers, and if it is switched off.

    Args:
        plain_lines: show plain lines elsewhere, as on the command line.

    """
    if os.environ.get(OFF, "").strip().lower() in ("0", "no", "off", "false"):
        return None
    with contextlib.suppress(Exception):  # Another version of marimo may differ inside.
        if (marimo := sys.modules.get("marimo")) is not None and marimo.running_in_notebook():
            return Marimo(marimo)
    if is_worker():
        return None
    if _in_notebook():
        return Notebook()
    stream = sys.stderr
    with contextlib.suppress(Exception):  # There may be no stream, or a closed one, or another object.
        if stream.isatty():
            with contextlib.suppress(OSError):
                if os.isatty(stream.fileno()) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
                    return Terminal(stream.fileno(), stream.encoding or "ascii")
            return Lines(stream, announced=plain_lines)
        if plain_lines:
            return Lines(stream, announced=True)
    return None


def is_worker() -> bool:
    """Whether this process was started by another as its worker, or this is not the main thread."""
    return (
        _forked
        or multiprocessing.parent_process() is not None
        or multiprocessing.current_process().name != "MainProcess"
        or threading.current_thread() is not threading.main_thread()
    )


_forked = False


def _in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    with contextlib.suppress(Exception):
        return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
    return False


def _columns(descriptor: int) -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and len(given) < 6 and int(given) > 0:
        return int(given)
    with contextlib.suppress(OSError):
        return os.get_terminal_size(descriptor).columns or 80
    return 80


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True
