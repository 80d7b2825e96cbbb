"""The threads of an engine, as many as the process has cores, for as long as it is in use; and those of BLAS."""

from __future__ import annotations

import abc
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

TASKS_PER_THREAD = 4
"""Tasks per thread into which work is divided, so that a thread that finishes early finds more to do."""

SERIAL_BELOW = 2000
"""Matrices with fewer rows are decomposed faster by one thread of BLAS than by two that other work disturbs."""

_serial = threading.Lock()
_serial_blocks = 0
_limited: Any = None
"""The limit on BLAS that holds while there are such blocks."""

_Engine = TypeVar("_Engine", bound="Threaded")


class Threaded(abc.ABC):  # noqa: B024 (what an engine does besides is in the protocol `Engine`)
    """An engine that computes in a pool of threads, inside a `with` block."""

    def __init__(self, threads: int) -> None:
        """Prepare for `threads` threads."""
        self.threads = threads
        self._running: ThreadPoolExecutor | None = None

    def __enter__(self: _Engine) -> _Engine:
        self._running = ThreadPoolExecutor(self.threads, thread_name_prefix="tegum")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._running = None

    def stop_at(self, step: int) -> int:
        """The step itself, as training can pause anywhere; an engine that cannot overrides this."""
        return step

    def renewed(self, state: Any) -> Any:
        """The state itself, as nothing in it belongs to an objective; an engine that remembers one overrides this."""
        return state

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._running is None:
            raise RuntimeError(f"{type(self).__name__}: an engine must be used inside a with block")
        return self._running


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _blas(with_scipy: bool) -> Any:  # noqa: ARG001 (SciPy brings a BLAS of its own)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def serial_blas(rows: int = 0) -> Iterator[None]:
    """Let BLAS use one thread, in the whole process, until the last of such blocks has ended.

    The threads of OpenBLAS wait for one another many times in a decomposition. With two threads, and other work on one
    of the cores, be it our own, eigenvectors of a 230 × 230 matrix take 0.8 s; with one thread they take 4 ms.

    Args:
        rows: the size of the matrices in the block; from `SERIAL_BELOW` on, BLAS keeps its threads.

    """
    global _limited, _serial_blocks
    if rows >= SERIAL_BELOW:
        yield
        return
    with _serial:
        if not _serial_blocks:
            _limited = _blas("scipy.linalg" in sys.modules).limit(limits=1, user_api="blas")
        _serial_blocks += 1
    try:
        yield
    finally:
        with _serial:
            _serial_blocks -= 1
            if not _serial_blocks:
                _limited.restore_original_limits()
