"""Work that can be stopped: a flag that kernels check, and threads that are never left running.

Python handles a signal between two of its own instructions, in the main thread. Long work therefore runs in other
threads, whose kernels release the interpreter lock; the main thread waits, and raises the flag when it is interrupted.
Kernels see the flag within a fraction of a second and return unfinished; what they have written is thrown away.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int, UInt32

from tegum.core.signals import LATER

_Result = TypeVar("_Result")


class Stopped(Exception):  # noqa: N818 (it is no error, and never leaves this module's threads)
    """Ends the work of a thread whose call has been stopped."""


class Stop:
    """A flag that is raised when a call is to end; several threads and their kernels check it."""

    def __init__(self) -> None:
        self.flag: Int[np.ndarray, " 1"] = np.zeros(1, np.int64)
        """What kernels read (`simd.is_set`): 0, or 1 when they are to return."""

    @property
    def address(self) -> UInt32[np.ndarray, " 2"]:
        """The address of the flag in two 32-bit words, as JAX programs in single precision have no longer ones.

        Such a program must end while the flag lives: wait for it in a thread of `all_done`, which nothing interrupts.
        """
        return np.array([self.flag.ctypes.data], np.int64).view(np.uint32)

    def set(self) -> None:
        """Raise the flag."""
        self.flag[0] = 1

    def clear(self) -> None:
        """Lower the flag, for another call."""
        self.flag[0] = 0

    def check(self) -> None:
        """End the work of this thread if the flag is raised.

        Raises:
            Stopped: it is.

        """
        if self.flag[0]:
            raise Stopped


_of_thread = threading.local()


@contextmanager
def working_for(stop: Stop) -> Iterator[None]:
    """Inside, this thread works for a call with this flag: kernels see it, and calls that are made in here end with it.

    Raises:
        Stopped: the flag was raised already.

    """
    before = getattr(_of_thread, "stop", None)
    _of_thread.stop = stop
    try:
        stop.check()
        yield
    finally:
        _of_thread.stop = before


def current() -> Stop:
    """The flag of the call that this thread works for; if it works for none, a flag that nobody raises."""
    return getattr(_of_thread, "stop", None) or Stop()


def all_done(pool: Executor, calls: Iterable[Callable[[], _Result]], stop: Stop) -> list[_Result]:
    """Make all calls in the threads of a pool and return their results, never before all calls have ended.

    An interruption of the wait (Ctrl-C in the main thread) raises the flag and then propagates. If a call fails, those
    that have not begun are not made. Where this thread works for a call itself, they end with that.

    Raises:
        Stopped: the flag was raised from elsewhere, or that of the call for which this thread works.

    """
    with heard():
        return _all_done(pool, calls, stop)


def _all_done(pool: Executor, calls: Iterable[Callable[[], _Result]], stop: Stop) -> list[_Result]:
    futures: list[Future[_Result]] = []
    try:
        for call in calls:
            futures.append(pool.submit(_work, call, stop))  # noqa: PERF401 (what has begun must be known)
        _wait(futures, stop)
    except BaseException:
        stop.set()
        raise
    finally:
        for future in futures:
            future.cancel()
        wait(futures)  # they write into arrays of the caller: never leave before they have
    stop.check()
    for future in futures:
        if not future.cancelled():
            future.result()
    return [future.result() for future in futures]


def _wait(futures: list[Future[Any]], stop: Stop) -> None:
    """Wait until all calls are done or one has failed; raise the flag once that of this thread's own call is raised."""
    outer: Stop | None = getattr(_of_thread, "stop", None)
    while outer is not None and outer is not stop:
        done, left = wait(futures, LATER, FIRST_EXCEPTION)
        if not left or any(each.exception() is not None for each in done):
            return
        if outer.flag[0]:
            stop.set()
            return
    wait(futures, return_when=FIRST_EXCEPTION)


def interruptible(call: Callable[[], _Result]) -> _Result:
    """Make a call that may take long and checks the flag; from the main thread, in a thread of its own."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    with ThreadPoolExecutor(1, thread_name_prefix="tegum") as pool:
        return all_done(pool, [call], Stop())[0]


@contextmanager
def heard() -> Iterator[None]:
    """Inside, an interruption that Python would drop is repeated a moment later.

    Python raises nothing out of a finaliser or a callback of its garbage collector, and JAX has such a callback: a
    KeyboardInterrupt from a signal that arrives there is printed and forgotten. The command line, which handles SIGINT
    in its own way, repeats it by itself, too (`tegum.core.signals.listen`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = sys.unraisablehook

    def repeat(lost: Any) -> None:
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours and issubclass(lost.exc_type, KeyboardInterrupt):
            # A real signal, which also wakes what sleeps or waits.
            threading.Timer(LATER, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        else:
            before(lost)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        if sys.unraisablehook is repeat:
            sys.unraisablehook = before


def _work(call: Callable[[], _Result], stop: Stop) -> _Result:
    with working_for(stop):
        return call()
