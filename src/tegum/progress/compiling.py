"""When numba or JAX is compiling, and for how long it has been: a phase of its own, and no part of any rate."""

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
"""What JAX calls the phases of a compilation."""


@final
class Stopwatch:
    """Runs while something is under way, once however many threads do it, or one inside another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Stand at zero."""
        self._clock = clock
        self._lock = threading.Lock()
        self._depth = 0
        self._since = self._seconds = 0.0

    def begin(self) -> None:
        """Something begins."""
        with self._lock:
            if self._depth == 0:
                self._since = self._clock()
            self._depth += 1

    def end(self) -> None:
        """Something ends; without a beginning, as when it began before anybody listened, that is nothing."""
        with self._lock:
            if self._depth:
                self._depth -= 1
                if self._depth == 0:
                    self._seconds += self._clock() - self._since

    def took(self, seconds: float) -> None:
        """Something has ended that told nothing of its beginning."""
        with self._lock:
            if self._depth == 0:
                self._seconds += seconds

    def seconds(self) -> float:
        """How long it has run in all."""
        with self._lock:
            return self._seconds + (self._clock() - self._since if self._depth else 0.0)

    def running(self) -> float | None:
        """For how long it has run without a stop; None where it stands."""
        with self._lock:
            return self._clock() - self._since if self._depth else None


compiling = Stopwatch()
"""Of all compilation in this process since somebody first watched."""

_watched: set[str] = set()


def watch() -> None:
    """Listen to numba and JAX, as soon as they have been imported; they are not imported for this."""
    for module, listen in (("numba.core.event", _listen_to_numba), ("jax.monitoring", _listen_to_jax)):
        if module not in _watched and (there := sys.modules.get(module)) is not None:
            try:
                listen(there)
            except AttributeError:
                continue  # Another thread is importing it just now, or this version lacks it.
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
        # Younger versions tell when a phase begins, as a scalar of the same name.
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
