"""Keeping results whatever happens: signals wait while one is written, and a full disk does not lose it."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, final

from tegum.data.atomic import explained

_STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a program to stop: Ctrl-C, a plain `kill`, and a closed terminal."""

_WARNINGS = tuple(
    getattr(signal, name) for name in ("SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM") if hasattr(signal, name)
)
"""Signals with which batch systems warn that they will soon end a program, some of them repeatedly.

Only `listen` handles them: in a process that is not ours they belong to other code.
"""

_SHOW_CURSOR = b"\x1b[?25h"

_asked: list[int] = []
"""The signal that has asked this process to stop, once `listen` has been called."""

_lost: list[int] = []
"""The same signal, while Python has dropped the exception that it raised and it has not been repeated."""

_LATER = 0.02
"""How long after its exception was dropped a signal is repeated, in seconds."""


def listen() -> None:
    """Let each signal that asks to stop raise KeyboardInterrupt, and a second one end the process at once.

    Ignored signals stay ignored: `nohup` makes a process ignore that its terminal is closed. A warning from a batch
    system counts as the first signal, never as the second: a limit on processor time repeats its warning every second.
    Python drops an exception raised in a finaliser or a callback; the signal is then repeated a moment later.
    """
    for number in (*_STOPS, *_WARNINGS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        # A finaliser, or a callback of a weak reference: importing modules makes many of those.
        if _asked and issubclass(dropped.exc_type, KeyboardInterrupt):
            _lost[:] = _asked
            threading.Timer(_LATER, _repeat).start()
        else:
            before(dropped)

    sys.unraisablehook = hook


def asked_by() -> int | None:
    """The number of the signal that has asked to stop; None if none has."""
    return _asked[0] if _asked else None


def _stop(number: int, _: Any) -> None:
    if _lost:
        _lost.clear()
        raise KeyboardInterrupt
    if _asked:
        if number in _WARNINGS:
            return
        _end(number)
    _asked.append(number)
    raise KeyboardInterrupt


def _repeat() -> None:
    if _lost:
        # A real signal, which also wakes what sleeps or waits.
        signal.pthread_kill(threading.main_thread().ident or 0, _lost[0])


def _end(number: int) -> NoReturn:
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(128 + number)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals that ask to stop until the block is done; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals interrupt only the main thread.
        return
    came: list[tuple[int, Any]] = []

    def wait(number: int, frame: Any) -> None:
        if came and number not in _WARNINGS:
            _end(number)
        came.append((number, frame))

    former = {
        number: handler
        for number in (*_STOPS, *_WARNINGS)
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
        and (number in _STOPS or handler is _stop)  # timers of other code go on
    }
    try:
        for number in former:
            signal.signal(number, wait)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number, frame in came:
            handler = former[number]
            if callable(handler):
                handler(number, frame)
            else:
                signal.raise_signal(number)


@final
class KeptElsewhereError(OSError):
    """A result could not be written where it was asked for, and is at `path` instead."""

    def __init__(self, sentence: str, path: Path) -> None:
        super().__init__(sentence)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, including attributes added later: a process of a pool passes its errors on."""
        return type(self), (self.args[0], self.path), vars(self)


def keep(write: Callable[[Path], object], target: Path, *, call: str, what: str) -> None:
    """Write a result that took work to its place, or to another folder if that fails for any reason.

    Args:
        write: writes the result to a path, where it appears complete or not at all.
        target: the place for the result, an absolute path.
        call: what the message starts with.
        what: the result, as the message names it: "the trajectory".

    Raises:
        KeptElsewhereError: the result is in another folder; the message says why.
        OSError: the result could not be written anywhere; the message says why.

    """
    try:
        write(target)
        return
    except Exception as error:
        # Not only errors of the operating system: the work must survive whatever a library raises.
        refused, cause = _refusal(error, f"{call}: writing {str(target)!r}"), error
    tried = []
    for folder in _others(target.parent):
        place = folder / f"{target.stem}-{secrets.token_hex(4)}{target.suffix}"
        try:
            write(place)
        except Exception:  # as above
            tried.append(str(folder))
            continue
        raise KeptElsewhereError(f"{refused}; {what} is kept in {str(place)!r} instead", place) from cause
    also = f" (nor in {', '.join(map(repr, tried))})" if tried else ""
    raise OSError(f"{refused}; it could not be kept elsewhere{also}: {what} is on no disk") from cause


def _refusal(error: Exception, doing: str) -> str:
    """Why something could not be written, in one sentence."""
    if isinstance(error, OSError):
        return str(error if error.strerror is None else explained(error, doing))
    said = " ".join(str(error).split())
    return f"{doing}: {type(error).__name__}{f' ({said})' if said else ''}"


def _others(folder: Path) -> Iterator[Path]:
    """Folders in which a result might be found again."""
    seen = {folder}
    for find in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        with suppress(OSError, RuntimeError):  # There may be no such folder.
            other = find().resolve()
            if other not in seen:
                seen.add(other)
                yield other
