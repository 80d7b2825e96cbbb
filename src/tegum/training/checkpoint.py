"""Checkpoints of a training: a partial store while it runs, the trajectory at the end, and resuming in between.

While `run.zarr` is trained, `run.partial.zarr` next to it is an ordinary store of what was recorded so far, which also
holds the state from which to resume. Only a finished result ever gets the name `run.zarr`; the partial store is then
removed. A partial store says what its bits depend on: the Spec, the engine, the code, and the vector unit of the
machine.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Int64

from tegum.core.signals import uninterrupted
from tegum.data.atomic import remove
from tegum.data.disk_space import ReservedSpace
from tegum.data.keeping import KeptElsewhereError, keep
from tegum.data.store import check_place, foreign, load, read, write
from tegum.training.dataset import code_digest, vector_unit
from tegum.training.sizes import trajectory_bytes
from tegum.training.state import TrainingState

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec
    from tegum.training.state import Engine, Recorded

EVERY_SECONDS = 20.0
"""Seconds between checkpoints, and so the training time that a kill can cost."""

_TIMES_WRITING = 30
"""Checkpoints are at least this many times as far apart as the last one took to write."""

_STATE = "state_"
"""The prefix of the names of the state's variables."""


@final
class Checkpoint:
    """The place where a training is stored, from before its first step until it is complete."""

    def __init__(
        self,
        specs: Sequence[Spec],
        trained: Sequence[Spec],
        out: str | os.PathLike[str],
        *,
        overwrite: bool,
        resume: bool,
        seconds: float = EVERY_SECONDS,
    ) -> None:
        """Check and claim the place.

        Args:
            specs: the Specs, which the trajectory names.
            trained: the Specs of those of their runs that are trained.
            out: the path for the trajectory, in a folder that exists.
            overwrite: whether a trajectory that is there may be replaced, once the new one is complete.
            resume: whether to resume an unfinished training.
            seconds: the time between checkpoints.

        Raises:
            FileExistsError: something is there that must not be replaced.
            OSError: nothing can be written there, or the disk has too little space.

        """
        self._call = f"train(out={os.fspath(out)!r})"
        if resume and not overwrite and os.path.lexists(out) and not os.path.lexists(partial_of(Path(out).resolve())):
            raise FileExistsError(
                f"{self._call} with resume=True (--resume): there is no unfinished training to continue, and what is "
                "there may be complete; overwrite=True (--overwrite) trains again and replaces it"
            )
        self.target: Path = check_place(out, overwrite=overwrite, call=self._call)
        self.partial: Path = partial_of(self.target)
        shown = partial_of(Path(out))
        # If `out` is a symbolic link, the partial store is next to the link's target.
        self._shown = self.partial if Path(out).is_symlink() else shown
        self._specs, self._seconds = tuple(specs), float(seconds)
        self._runs = np.array(trained[0].runs)
        check_place(self.partial, overwrite=True, call=self._call)
        left = os.path.lexists(self.partial)
        if left and not (resume or overwrite):
            raise FileExistsError(
                f"{self._call}: {str(self._shown)!r} holds an unfinished training; resume=True (--resume) continues "
                "it, and overwrite=True (--overwrite) starts again"
            )
        self._resumes = resume and left
        self._former = _step_of(self.partial, self._specs, self._runs) if left and not resume else -1
        self._size = trajectory_bytes(trained)
        self._space: ReservedSpace | None = None
        self._last, self._took = time.monotonic(), 0.0
        self._works = True
        self.is_whole: bool = False
        """Whether the complete trajectory is at its place."""
        self._kept_step = -1
        self.vector_unit: str = vector_unit()

    def __enter__(self) -> Checkpoint:
        self._space = ReservedSpace(self.target.parent, self._size, call=self._call, what="the trajectory")
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def begin(self, worker: Engine, whole: Recorded) -> tuple[TrainingState | None, int, float]:
        """Where to continue: a state (None at the start), the number of recorded snapshots, and the seconds so far.

        Args:
            worker: the engine.
            whole: receives the snapshots already recorded.

        Raises:
            ValueError: the partial store belongs to another Spec, engine or version of the code, or is damaged.

        """
        origin = {"engine": worker.name, "code": code_digest()}
        self._last = time.monotonic()
        if not self._resumes:
            return None, 0, 0.0
        call = f"{self._call} with resume=True"
        run = read(self.partial, call=f"{call}: reading {str(self._shown)!r}")
        where = repr(str(self._shown))
        if run.attrs.get("spec_hash") != " ".join(spec.hash for spec in self._specs):
            raise ValueError(
                f"{call}: {where} belongs to another Spec; continue with that Spec (also the same --set), or remove "
                "the folder"
            )
        if not np.array_equal(run["seed"].values, self._runs):
            raise ValueError(
                f"{call}: {where} belongs to other runs of this Spec; continue with these, or remove the folder"
            )
        for name, what in (("engine", "engine"), ("code", "version of tegum's code or of the libraries it uses")):
            if run.attrs.get(name) != origin[name]:
                raise ValueError(
                    f"{call}: {where} was trained by another {what}, which may give other bits; remove it to restart"
                )
        here, there = vector_unit(), str(run.attrs.get("vector_unit"))
        if here != there:
            warnings.warn(
                f"{where} was started on a machine with {there}, but this one has {here}: the bits may differ from "
                "those of an uninterrupted run",
                stacklevel=2,
            )
            # The trajectory says so.
            self.vector_unit = f"{there}, then {here}"
        state = _state_in(run, worker.start(), call)
        done = run.sizes["step"]
        for name in ("weights", "bias", "loss"):
            array = getattr(whole, name)
            array[:, :done] = run[name].values.reshape(array.shape[0], done, *array.shape[2:])
        if done and not np.array_equal(run["step"].values, whole.steps[:done]):
            raise ValueError(f"{call}: {where} holds other snapshots than this Spec requests")
        self._kept_step = state.step
        return state, done, float(run.attrs["wall_time_s"])

    def due(self) -> bool:
        """Whether a checkpoint is due."""
        return self._works and time.monotonic() - self._last >= max(self._seconds, _TIMES_WRITING * self._took)

    def update(self, make: Callable[[], xr.Dataset], state: TrainingState) -> None:
        """Write a checkpoint; if that fails, warn once, and let training continue without.

        Args:
            make: returns the trajectory so far.
            state: the current state.

        """
        if state.step <= self._former:
            # The store already holds a later state of the same training.
            self._last = time.monotonic()
            return
        begun = time.monotonic()
        try:
            with uninterrupted():
                write(self._with_state(make(), state), self.partial, overwrite=True, call=self._call)
            self._kept_step = state.step
        except Exception as error:  # whatever it is, the training matters more
            self._works = False
            warnings.warn(f"{error}; training continues, but could not be resumed from here", stacklevel=2)
        self._last = time.monotonic()
        self._took = self._last - begun

    def stop(self, run: xr.Dataset, state: TrainingState) -> str:
        """Keep what is done when training ends early.

        Args:
            run: the trajectory up to its last snapshot.
            state: the current state.

        Returns:
            A sentence that says where it is kept.

        Raises:
            OSError: it could not be kept anywhere.

        """
        step = f"step {state.step:,} of {self._specs[0].training.steps:,}"
        shown = repr(str(self._shown))
        if state.step <= self._former:
            return f"{shown} holds a later state of the same training than {step}, and stays as it is"
        if state.step > self._kept_step:
            self._release()
            with uninterrupted():
                part = self._with_state(run, state)
                try:
                    keep(
                        lambda path: write(part, path, overwrite=path == self.partial, call=self._call), self.partial,
                        call=self._call, what="what was done",
                    )  # fmt: skip
                except KeptElsewhereError as error:
                    return str(error)
        return f"what was done ({step}) is kept in {shown}, and resume=True (--resume) continues it"

    def finish(self, run: xr.Dataset, *, overwrite: bool) -> None:
        """Store the complete trajectory at its place, and remove the partial store.

        Raises:
            KeptElsewhereError: the trajectory is in another folder.
            OSError: it could not be stored anywhere.

        """

        def save(path: Path) -> None:
            write(run, path, overwrite=overwrite and path == self.target, call=self._call)

        self._release()
        with uninterrupted():
            keep(save, self.target, call=self._call, what="the trajectory")
            self.is_whole = True
            self._remove_partial()

    def _remove_partial(self) -> None:
        try:
            name = foreign(self.partial)
        except OSError as error:
            name = error.filename
        if name is None:
            remove(self.partial)
        else:
            warnings.warn(f"{str(self._shown)!r} is no longer needed, but stays, as {name!r} is in it", stacklevel=2)

    def _release(self) -> None:
        if self._space is not None:
            self._space.release()

    def _with_state(self, run: xr.Dataset, state: TrainingState) -> xr.Dataset:
        lead = run["result"].dims
        shape = tuple(run.sizes[dim] for dim in lead)
        variables: dict[str, Any] = {}
        for name, values in state.arrays().items():
            if name != "step":
                own = tuple(f"{_STATE}{name}_{axis}" for axis in range(values.ndim - 1))
                variables[f"{_STATE}{name}"] = ((*lead, *own), values.reshape(*shape, *values.shape[1:]))
        return run.assign(variables).assign_attrs(state_step=state.step)


def partial_of(target: Path) -> Path:
    """The path of the partial store of an unfinished training: `run.partial.zarr` for `run.zarr`."""
    return target.with_name(f"{target.stem}.partial{target.suffix}")


def _state_in(run: xr.Dataset, start: TrainingState, call: str) -> TrainingState:
    """The state in a partial store, shaped as the engine's own."""
    arrays: dict[str, Any] = {}
    for field in fields(TrainingState):
        if field.name == "step":
            arrays["step"] = run.attrs.get("state_step")
            continue
        wanted = np.asarray(getattr(start, field.name))
        name = f"{_STATE}{field.name}"
        if name not in run or run[name].size != wanted.size or run[name].dtype != wanted.dtype:
            raise ValueError(
                f"{call}: {name!r} is missing, or is not what this engine needs; remove the store to start again"
            )
        arrays[field.name] = run[name].values.reshape(wanted.shape)
    return TrainingState.from_arrays(arrays)


def _step_of(partial: Path, specs: Sequence[Spec], runs: Int64[np.ndarray, " seed"]) -> int:
    """The step reached by an earlier training of the same runs with the same code, −1 if there is none."""
    try:
        run = load(partial)
    except (ValueError, OSError):
        return -1
    attrs = run.attrs
    same = attrs.get("spec_hash") == " ".join(spec.hash for spec in specs) and attrs.get("code") == code_digest()
    same = same and np.array_equal(run["seed"].values, runs)
    return int(attrs.get("state_step", -1)) if same else -1


def finished(path: Path, specs: Spec | Sequence[Spec], *, call: str) -> xr.Dataset:
    """The complete trajectory at a path, if training these Specs with the current code would give the same.

    Raises:
        ValueError: it belongs to other Specs, or was trained with other code.

    """
    run = load(path)
    several = [specs] if not isinstance(specs, Sequence) else specs
    if run.attrs.get("spec_hash") != " ".join(spec.hash for spec in several):
        raise ValueError(f"{call}: {str(path)!r} belongs to another Spec; remove it to start again")
    if not np.array_equal(run["seed"].values, np.array(several[0].runs)):
        raise ValueError(f"{call}: {str(path)!r} has only some of the runs; remove it to start again")
    if run.attrs.get("code") != code_digest():
        raise ValueError(f"{call}: {str(path)!r} was trained with other code, which may give other bits; remove it")
    return run
