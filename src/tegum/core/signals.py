"""Signals that ask a program to stop: they interrupt its work once, and wait while a result is written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

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

LATER = 0.02
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
            threading.Timer(LATER, _repeat).start()
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
