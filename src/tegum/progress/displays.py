"""Where progress is shown: a line of a terminal, an output of a notebook, or plain lines."""

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
from tegum.progress.tasks import Said, percent

OFF = "TEGUM_PROGRESS"
"""The variable of the environment that switches progress off."""

_NARROWEST = 60
"""Columns below which there is no bar."""

_BAR = 20


class Display(abc.ABC):
    """Something that shows what is said. Whatever it raises ends the showing."""

    delay: float = 1.0
    """Seconds before anything is shown: short work shows nothing."""
    every: float
    """Seconds between what is shown."""

    def begin(self, title: str) -> None:  # noqa: B027 (most say nothing)
        """Work has begun."""

    @abc.abstractmethod
    def show(self, said: Said) -> None:
        """Show this in place of what was shown before."""

    def finished(self, said: Said) -> None:  # noqa: B027
        """A part of the work that is worth a line has come to its end."""

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: B027
        """All is over, after so long; `whole` unless it was interrupted, or failed."""


@final
class Terminal(Display):
    """One line of a terminal, drawn again and again, and gone at the end. The cursor is never hidden."""

    every = 0.2

    def __init__(self, descriptor: int, encoding: str) -> None:
        """Write to a file descriptor: a thread that holds a stream of Python's at exit would end it badly."""
        self._descriptor, self._encoding = descriptor, encoding
        self._plain = not _can_encode("━─…", encoding)
        self._console: Any = None
        self._last = ""

    def show(self, said: Said) -> None:
        """Draw the line."""
        if self._in_background():
            return
        if (drawn := self._drawn(said)) != self._last:
            self._write(f"\r{drawn}\x1b[K")
            self._last = drawn

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: ARG002 (nothing stays)
        """Clear the line."""
        if self._last and not self._in_background():
            self._write("\r\x1b[K")

    def _drawn(self, said: Said) -> str:
        from rich.console import Console
        from rich.text import Text

        width = max(_columns(self._descriptor) - 1, 1)
        if self._console is None:
            # rich knows colours, NO_COLOR, and how wide a character is; what it draws is written here.
            self._console = Console(
                file=io.StringIO(), force_terminal=True, force_jupyter=False, legacy_windows=False, emoji=False
            )
        console, out = self._console, io.StringIO()
        console.file, console.width = out, width
        full, empty, overflow = ("#", "-", "crop") if self._plain else ("━", "─", "ellipsis")
        bar = Text()
        if said.part is None:
            bar.append(": ")
        else:
            if width >= _NARROWEST:
                done = int(_BAR * said.part)
                bar.append(f" {full * done}", style="bar.complete").append(empty * (_BAR - done), style="bar.back")
            bar.append(f" {percent(said.part)}", style="progress.percentage").append(", " if said.words else "")
        bar.append(", ".join(said.words))
        title = Text(said.title)
        if title.cell_len + bar.cell_len > width:
            title.truncate(max(width // 2, width - bar.cell_len), overflow=overflow)
        title.stylize("bold")
        line = Text.assemble(title, bar)
        line.truncate(width, overflow=overflow)
        console.print(line, end="", soft_wrap=True, highlight=False)
        return out.getvalue()

    def _in_background(self) -> bool:
        # A shell's other jobs have the terminal now, and may have forbidden writing to it on pain of being stopped.
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
    """A line every few seconds, and after many lines every minute, where nothing can be drawn again."""

    every = 5.0

    def __init__(self, stream: Any, *, announced: bool) -> None:
        """Write to a stream; `announced` work says when it has begun."""
        self._stream, self._announced = stream, announced
        if announced:
            self.delay = self.every
        self._last = ""

    def begin(self, title: str) -> None:
        """Say so, if it is to be said."""
        if self._announced:
            self._write(f"{title}: started")

    def show(self, said: Said) -> None:
        """Write a line, unless it is the last one again."""
        if (text := said.text()) != self._last:
            self._write(text)
            self._last, self.every = text, min(1.1 * self.every, 60.0)

    def finished(self, said: Said) -> None:
        """How it ended, where beginnings are told too."""
        if self._announced:
            self.show(said)

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        data = f"{text}\n".encode(encoding, "replace")
        try:
            descriptor = self._stream.fileno()
        except (AttributeError, OSError):  # It is no file, as in a test or a window.
            self._stream.write(data.decode(encoding))
            self._stream.flush()
            return
        while data:
            data = data[os.write(descriptor, data) :]


@final
class Notebook(Display):
    """One output of a cell of a Jupyter notebook, replaced in place; what stays says how long it took."""

    every = 1.0

    _handle: Any = None

    def show(self, said: Said) -> None:
        """Replace the output."""
        bar = "" if said.part is None else f'<progress value="{said.part:.3f}" max="1"></progress> '
        words = ", ".join((*(() if said.part is None else (percent(said.part),)), *said.words))
        self._put(said.text(), f"<bdi>{html.escape(said.title)}</bdi> {bar}{html.escape(words)}")

    def end(self, title: str, seconds: float, whole: bool) -> None:
        """Leave one line."""
        if self._handle is not None:
            text = f"{title}: {'done in' if whole else 'stopped after'} {duration(seconds)}"
            self._put(text, f"<bdi>{html.escape(text)}</bdi>")

    def _put(self, text: str, marked: str) -> None:
        # IPython is there where a kernel is. tqdm and rich need ipywidgets here, and warn or litter without.
        data = {"text/plain": text, "text/html": f"<pre>{marked}</pre>"}
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


@final
class Marimo(Display):
    """A spinner in the output of a marimo cell, gone at the end."""

    every = 1.0

    def __init__(self, marimo: Any) -> None:
        """Belong to the cell that is running."""
        self._marimo = marimo
        # marimo finds the cell by the thread, and here another one shows; its own threads replace `print` for good.
        self._context = importlib.import_module("marimo._runtime.context").get_context()
        self._spinner: Any = None
        self._shown: Any = None

    def show(self, said: Said) -> None:
        """Change the spinner's words."""
        words = said.text().removeprefix(f"{said.title}: ")
        with self._context.install():
            if self._spinner is None:
                self._spinner = self._marimo.status.spinner(title=said.title, subtitle=words)
                self._shown = self._spinner.__enter__()
            else:
                self._shown.update(title=said.title, subtitle=words)

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: ARG002 (nothing stays)
        """Take the spinner away."""
        if self._spinner is not None:
            with self._context.install():
                self._spinner.__exit__(None, None, None)


def fitting(*, always: bool) -> Display | None:
    """Where progress is shown here: in terminals and notebooks; None elsewhere, in workers, and where it is off.

    Args:
        always: plain lines where there is neither, as on the command line.

    """
    if os.environ.get(OFF, "").strip().lower() in ("0", "no", "off", "false"):
        return None
    with contextlib.suppress(Exception):  # Another version of marimo may be otherwise inside.
        if (marimo := sys.modules.get("marimo")) is not None and marimo.running_in_notebook():
            return Marimo(marimo)
    if is_worker():
        return None
    if _in_notebook():
        return Notebook()
    stream = sys.stderr
    with contextlib.suppress(Exception):  # There is none, it is closed, or something else stands in its place.
        if stream.isatty():
            with contextlib.suppress(OSError):
                if os.isatty(stream.fileno()) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
                    return Terminal(stream.fileno(), stream.encoding or "ascii")
            return Lines(stream, announced=always)
        if always:
            return Lines(stream, announced=True)
    return None


def is_worker() -> bool:
    """Whether this is a process that another one started to work for it, or not the main thread."""
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
