"""The threads of an engine: as many as the process has cores, for as long as the engine is in use."""

from __future__ import annotations

import abc
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

TASKS_PER_THREAD = 4
"""Tasks per thread into which work is divided, so that a thread that finishes early finds more to do."""

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

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._running is None:
            raise RuntimeError(f"{type(self).__name__}: an engine must be used inside a with block")
        return self._running


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
