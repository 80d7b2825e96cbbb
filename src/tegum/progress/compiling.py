"""Whether numba or JAX is compiling, and for how long: compiling is shown as a phase, and does not count in rates."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, final

_PHASES = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
"""JAX's names for the phases of a compilation."""


@final
class Stopwatch:
    """Runs while anything is under way, without counting several threads, or nested work, more than once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start at zero."""
        self._clock = clock
        self._lock = threading.Lock()
        self._depth = 0
        self._since = self._seconds = 0.0

    def begin(self) -> None:
        """Record that something begins."""
        with self._lock:
            if self._depth == 0:
                self._since = self._clock()
            self._depth += 1

    def end(self) -> None:
        """Record that something ends; ignored if its beginning was not recorded, as before listening started."""
        with self._lock:
            if self._depth:
                self._depth -= 1
                if self._depth == 0:
                    self._seconds += self._clock() - self._since

    def took(self, seconds: float) -> None:
        """Record something that has ended after this many seconds, and whose beginning was not reported."""
        with self._lock:
            if self._depth == 0:
                self._seconds += seconds

    def seconds(self) -> float:
        """The total seconds it has run."""
        with self._lock:
            return self._seconds + (self._clock() - self._since if self._depth else 0.0)

    def running(self) -> float | None:
        """The seconds since it last started; None if it is stopped."""
        with self._lock:
            return self._clock() - self._since if self._depth else None


compiling: Stopwatch = Stopwatch()
"""The time of all compilation in this process since `watch` was first called."""

_watched: set[str] = set()


def watch() -> None:
    """Listen to numba and JAX once they have been imported, without importing them."""
    for module, listen in (("numba.core.event", _listen_to_numba), ("jax.monitoring", _listen_to_jax)):
        if module not in _watched and (there := sys.modules.get(module)) is not None:
            try:
                listen(there)
            except AttributeError:
                continue  # Another thread is still importing it, or this version lacks it.
            _watched.add(module)


def _listen_to_numba(event: Any) -> None:
    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:  # noqa: ARG002 (numba calls it so)
            compiling.begin()

        def on_end(self, event: Any) -> None:  # noqa: ARG002
            compiling.end()

    event.register("numba:compile", Listener())


def _listen_to_jax(monitoring: Any) -> None:
    begins: set[str] = set()

    def began(event: str, _: float, **__: Any) -> None:
        # Newer versions report the beginning of a phase as a scalar of the same name.
        if event in _PHASES:
            begins.add(event)
            compiling.begin()

    def ended(event: str, seconds: float, **_: Any) -> None:
        if event in begins:
            compiling.end()
        elif event in _PHASES:
            compiling.took(seconds)

    scalar, duration = monitoring.register_scalar_listener, monitoring.register_event_duration_secs_listener
    scalar(began)
    duration(ended)
