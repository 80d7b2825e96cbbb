"""Training in phases: an engine for each part of a training between changes, behind the face of one."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Int64

from tegum.training.state import Engine, Recorded, TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

Phase = tuple[int, Sequence["Spec"]]
"""The step at which a phase begins, and the Specs of what is in force from there on."""


def phases(specs: Sequence[Spec]) -> list[Phase]:
    """The phases of Specs trained together, whose changes take effect at the same steps; at least one, from step 0."""
    if not any(spec.changes for spec in specs):
        return [(0, specs)]
    return [(step, tuple(spec.in_force(step) for spec in specs)) for step in (0, *specs[0].changed_at)]


@final
class PhasedEngine:
    """Hands runs from one engine to the next where something changes.

    A phase has the snapshots from its first step on: there, the loss is already that of the changed features. Its
    engine is made when the phase begins, and renews the state (`Engine.renewed`) as soon as it is reached, whether a
    segment ends there or not: a state at the first step of a phase is always one to go on from, and bits do not depend
    on where segments end.
    """

    def __init__(self, of: Sequence[Phase], make: Callable[[Sequence[Spec]], Engine]) -> None:
        """Prepare to train in the phases `of`, with the engine that `make` makes of the Specs of a phase."""
        self._begins: list[int] = [begin for begin, _ in of]
        self._specs: list[Sequence[Spec]] = [specs for _, specs in of]
        self._make = make
        self._number, self._engine = 0, make(self._specs[0])
        self._entered = False
        self.name: str = self._engine.name
        self.threads: int = self._engine.threads

    def __enter__(self) -> PhasedEngine:
        self._engine.__enter__()
        self._entered = True
        return self

    def __exit__(self, *error: object) -> None:
        self._entered = False
        self._engine.__exit__(*error)

    def start(self) -> TrainingState:
        """The state before the first step."""
        return self._of_phase(0).start()

    def renewed(self, state: TrainingState) -> TrainingState:
        """As `Engine.renewed`, for what is in force at the step of the state."""
        return self._of_phase(self._phase_at(state.step)).renewed(state)

    def stop_at(self, step: int) -> int:
        """The next step at which the engine of a phase can pause, or a phase ends."""
        # Engines differ in features and rate alone, and where they can pause depends on neither.
        there = self._engine.stop_at(step)
        return min([there, *(begin for begin in self._begins if step <= begin)])

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`, in as many phases as there are on the way; as `Engine.advance`."""
        parts, first = [], self._phase_at(state.step)
        for phase in range(first, len(self._begins)):
            begin = self._begins[phase]
            end = self._begins[phase + 1] if phase + 1 < len(self._begins) else stop + 1
            if begin > stop:
                break
            engine = self._of_phase(phase)
            if phase > first:
                state = engine.renewed(state)
            own = snapshots[(begin <= snapshots) & (snapshots < end)]
            if phase == first or begin < stop or len(own):
                state, recorded = engine.advance(state, min(stop, end), own)
                parts.append(recorded)
        return state, _joined(parts)

    def _phase_at(self, step: int) -> int:
        return bisect.bisect_right(self._begins, step) - 1

    def _of_phase(self, phase: int) -> Engine:
        """The engine of a phase, in place of the one before: there is only one at a time."""
        if phase != self._number:
            engine = self._make(self._specs[phase])
            if self._entered:
                engine.__enter__()
                self._engine.__exit__(None, None, None)
            self._number, self._engine = phase, engine
        return self._engine


def _joined(parts: Sequence[Recorded]) -> Recorded:
    """The snapshots of successive phases as those of one segment."""
    if len(parts) == 1:
        return parts[0]
    weights, bias, loss = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("weights", "bias", "loss")
    )
    return Recorded(np.concatenate([part.steps for part in parts]), weights, bias, loss)
