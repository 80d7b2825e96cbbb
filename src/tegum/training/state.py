"""What training needs to continue: the state of all runs between two steps, and the snapshots recorded so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float64, Int64, UInt32

_PIECE = 2**24
"""The most numbers written at once."""


@final
@dataclass(frozen=True, eq=False)
class TrainingState:
    """The state of all runs after `step` updates; continuing from it is bit-identical to not stopping.

    It consists of plain arrays, so that `np.savez(path, **state.arrays())` is a checkpoint, which
    `TrainingState.from_arrays(np.load(path))` reads back. Runs of several Specs follow one another, Spec by Spec.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=5), seeds=4)
        >>> *_, last = tg.iterate(spec)
        >>> last.state.step, last.state.weights.shape
        (5, (4, 3, 1))
        >>> tg.TrainingState.from_arrays(last.state.arrays()).step
        5

    """

    step: int
    """The number of updates made so far."""
    weights: Float[np.ndarray, "run feature hidden"]
    """The weights W of every run, shape (run, n, m); float32 in sampled training, float64 on the exact loss."""
    bias: Float[np.ndarray, "run feature"]
    """The biases b of every run, shape (run, n), of the dtype of the weights."""
    first: Float[np.ndarray, "run _first"]
    """The first part of what the optimiser remembers of each run, in a form that belongs to the engine. For AdamW and
    SGD it is the mean gradient, or the momentum: of the weights, row by row, and then of the bias."""
    second: Float[np.ndarray, "run _second"]
    """The rest of what the optimiser remembers. For AdamW it is the mean squared gradient, in the same order."""
    stream: UInt32[np.ndarray, "run word"]
    """The position of each run in its stream of random numbers, in a form that belongs to the engine; empty if training
    draws none."""
    diverged_at: Int64[np.ndarray, " run"]
    """The step at which a run's loss stopped being finite, −1 if it did not."""
    converged_at: Int64[np.ndarray, " run"]
    """The step at which a run ended by its tolerance, −1 if it has not; always −1 in sampled training."""

    def copy(self) -> TrainingState:
        """Copy the state into arrays of its own.

        Returns:
            An equal state that shares no memory with this one.

        """
        copies: dict[str, Any] = {name: value.copy() for name, value in self.arrays().items() if name != "step"}
        return replace(self, **copies)

    def arrays(self) -> dict[str, Any]:
        """Return the state as named arrays.

        Returns:
            The fields by their names.

        """
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> TrainingState:
        """Rebuild a state from its named arrays.

        Args:
            arrays: what `arrays()` returned, such as a loaded .npz file.

        Returns:
            The state.

        Raises:
            ValueError: an array is missing.

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
    """The steps of the snapshots."""
    weights: Float[np.ndarray, "run snapshot feature hidden"]
    """The weights W of every run at each snapshot, shape (run, snapshot, n, m), of the dtype of the state's."""
    bias: Float[np.ndarray, "run snapshot feature"]
    """The biases b of every run at each snapshot, shape (run, snapshot, n), of the dtype of the state's."""
    loss: Float64[np.ndarray, "run snapshot"]
    """The exact loss of each snapshot, or in sampled training the loss on the evaluation sample; summed over features.
    """

    @classmethod
    def empty(
        cls,
        steps: Int64[np.ndarray, " snapshot"],
        runs: int,
        features: int,
        hidden: int,
        dtype: npt.DTypeLike = np.float32,
    ) -> Recorded:
        """Arrays for snapshots, NaN until they are recorded; `dtype` is that of weights and bias."""
        shape = runs, len(steps), features
        weights, bias = np.empty((*shape, hidden), dtype), np.empty(shape, dtype)
        for array in (weights, bias):
            # In pieces, as filling many gigabytes at once could not be interrupted.
            flat = array.reshape(-1)
            for start in range(0, flat.size, _PIECE):
                flat[start : start + _PIECE] = np.nan
        return cls(steps, weights, bias, np.full(shape[:2], np.nan))


@runtime_checkable
class Worker(Protocol):
    """What a trajectory says of who trained it."""

    name: str
    threads: int


@runtime_checkable
class Engine(Worker, Protocol):
    """An engine of training, as `tegum.training.engine` chooses one."""

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...

    def start(self) -> TrainingState:
        """The state before the first step."""
        ...

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`, recording at `snapshots`, from `state.step` to `stop`; leaves `state` as it is.

        Runs that have converged stay where they are, at no cost.
        """
        ...

    def renewed(self, state: TrainingState) -> TrainingState:
        """The state with which runs go on after their objective has changed, here and now; leaves `state` as it is.

        What the optimiser knows of the former loss is forgotten, and runs that have converged on it wake up. Averages
        over gradients stay, as sampled training would not notice a change of the samples either.
        """
        ...

    def stop_at(self, step: int) -> int:
        """The first step at or after this one at which training can pause without changing a bit of the result.

        A step beyond the last one stands for the last, where every training stops.
        """
        ...
