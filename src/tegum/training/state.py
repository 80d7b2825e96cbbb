"""What training needs to go on: the state of all runs between two steps, and what was recorded on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float64, Int64, UInt32

_PIECE = 2**24
"""Numbers that are written at once."""


@final
@dataclass(frozen=True, eq=False)
class TrainingState:
    """All runs after `step` updates; continuing from it gives the bits that not stopping would have given.

    Plain arrays, so `np.savez(path, **state.arrays())` is a checkpoint and `TrainingState.from_arrays(np.load(path))`
    reads it back. Runs of several Specs follow one another, Spec by Spec.
    """

    step: int
    weights: Float[np.ndarray, "run feature hidden"]
    """float32 in sampled training, float64 in training on the exact loss; so is the bias."""
    bias: Float[np.ndarray, "run feature"]
    first: Float[np.ndarray, "run _first"]
    """What the optimiser remembers of each run; its form belongs to the engine that made it. For AdamW and SGD the
    mean gradient, or the momentum: of the weights, row by row, then of the bias."""
    second: Float[np.ndarray, "run _second"]
    """The rest of what it remembers. For AdamW the mean squared gradient, in the same order."""
    stream: UInt32[np.ndarray, "run word"]
    """Where each run's stream of random numbers stands; its form belongs to the engine that made it. No words at all
    where training draws none."""
    diverged_at: Int64[np.ndarray, " run"]
    """The step at which a run's loss stopped being finite, −1 where it did not."""
    converged_at: Int64[np.ndarray, " run"]
    """The step at which a run came to its end by its tolerance, −1 where it has not; always −1 in sampled training."""

    def copy(self) -> TrainingState:
        """The same state in arrays of its own."""
        copies: dict[str, Any] = {name: value.copy() for name, value in self.arrays().items() if name != "step"}
        return replace(self, **copies)

    def arrays(self) -> dict[str, Any]:
        """The state as named arrays."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> TrainingState:
        """The state whose `arrays()` these are.

        Raises:
            ValueError: one is missing.

        """
        if missing := [field.name for field in fields(cls) if field.name not in arrays]:
            raise ValueError(f"TrainingState.from_arrays({sorted(arrays)}): {missing[0]!r} is missing")
        values: dict[str, Any] = {field.name: np.asarray(arrays[field.name]) for field in fields(cls)}
        values["step"] = int(values["step"])
        return cls(**values)


@final
@dataclass(frozen=True, eq=False)
class Recorded:
    """Snapshots of all runs at some steps; NaN from where a run diverged."""

    steps: Int64[np.ndarray, " snapshot"]
    weights: Float[np.ndarray, "run snapshot feature hidden"]
    """float32 or float64, as in the state; so is the bias."""
    bias: Float[np.ndarray, "run snapshot feature"]
    loss: Float64[np.ndarray, "run snapshot"]
    """The exact loss; in sampled training that on the evaluation sample."""

    @classmethod
    def empty(
        cls,
        steps: Int64[np.ndarray, " snapshot"],
        runs: int,
        features: int,
        hidden: int,
        dtype: npt.DTypeLike = np.float32,
    ) -> Recorded:
        """Room for snapshots, NaN until they are recorded; `dtype` is that of weights and bias."""
        shape = runs, len(steps), features
        weights, bias = np.empty((*shape, hidden), dtype), np.empty(shape, dtype)
        for array in (weights, bias):
            # In pieces: of many gigabytes nothing could stop it before the end.
            flat = array.reshape(-1)
            for start in range(0, flat.size, _PIECE):
                flat[start : start + _PIECE] = np.nan
        return cls(steps, weights, bias, np.full(shape[:2], np.nan))


@runtime_checkable
class Engine(Protocol):
    """What can train: `tegum.training.engine` chooses one."""

    name: str
    threads: int

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...

    def start(self) -> TrainingState:
        """The state before the first step."""
        ...

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`, recording at `snapshots`; leaves `state` as it is.

        Runs that have converged stay where they are, at no cost.
        """
        ...

    def stop_at(self, step: int) -> int:
        """The first step at or after this one at which training can be cut without changing a bit.

        One beyond the last step stands for the last, where every training stops.
        """
        ...
