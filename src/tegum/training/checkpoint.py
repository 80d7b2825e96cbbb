"""A training kept at its place: what is done beside it as it goes on, the whole at the end, and going on from there.

While `run.zarr` is trained, `run.partial.zarr` beside it is an ordinary store of what was recorded so far, which also
holds the state to go on from. A finished result is the only thing that ever gets the name `run.zarr`; the partial store
is removed once it is there. A partial store says what its bits depend on: the Spec, the engine, the code, and the
vector unit of the machine.
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

from tegum.data.atomic import remove
from tegum.data.disk_space import ReservedSpace
from tegum.data.keeping import KeptElsewhereError, keep, uninterrupted
from tegum.data.store import check_place, foreign, load, read, write
from tegum.training.dataset import code_digest, vector_unit
from tegum.training.sizes import trajectory_bytes
from tegum.training.state import TrainingState

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec
    from tegum.training.state import Engine, Recorded

EVERY_SECONDS = 20.0
"""How long training goes on before what is done is kept again, and so how much of it a kill can cost."""

_PART_OF_TIME = 30
"""And at least so many times as long as keeping it took the last time."""

_STATE = "state_"
"""What the names of the state's variables begin with."""


@final
class Checkpoint:
    """The place of a training, from before its first step until it is whole."""

    def __init__(
        self,
        specs: Sequence[Spec],
        out: str | os.PathLike[str],
        *,
        overwrite: bool,
        resume: bool,
        seconds: float = EVERY_SECONDS,
    ) -> None:
        """Take the place.

        Args:
            specs: what is trained.
            out: where the trajectory is to be, in a folder that exists.
            overwrite: whether a trajectory that is there may be replaced, once the new one is whole.
            resume: whether to go on from what an unfinished training has left.
            seconds: between two times that what is done is kept.

        Raises:
            FileExistsError: something is there and is not to be replaced.
            OSError: nothing can be written there, or the disk has no room for it.

        """
        self._call = f"train(out={os.fspath(out)!r})"
        self.target = check_place(out, overwrite=overwrite, call=self._call)
        self.partial = partial_of(self.target)
        shown = partial_of(Path(out))
        # Where `out` is a symbolic link, what is done is kept beside what it leads to.
        self._shown = self.partial if Path(out).is_symlink() else shown
        self._specs, self._seconds = tuple(specs), float(seconds)
        check_place(self.partial, overwrite=True, call=self._call)
        left = os.path.lexists(self.partial)
        if left and not (resume or overwrite):
            raise FileExistsError(
                f"{self._call}: {str(self._shown)!r} holds an unfinished training; resume=True (--resume) goes on with "
                "it, and overwrite=True (--overwrite) begins anew"
            )
        self._resumes = resume and left
        self._former = _step_of(self.partial, self._specs) if left and not resume else -1
        self._size = trajectory_bytes(self._specs)
        self._room: ReservedSpace | None = None
        self._last, self._took = time.monotonic(), 0.0
        self._works = True
        self.is_whole = False
        """Whether the whole trajectory is at its place."""
        self._kept_step = -1
        self.vector_unit = vector_unit()

    def __enter__(self) -> Checkpoint:
        self._room = ReservedSpace(self.target.parent, self._size, call=self._call, what="the trajectory")
        return self

    def __exit__(self, *_: object) -> None:
        if self._room is not None:
            self._room.release()

    def begin(self, worker: Engine, whole: Recorded) -> tuple[TrainingState | None, int, float]:
        """Where to go on: a state, how many snapshots are recorded already, and the seconds it took; None at the start.

        Args:
            worker: the engine.
            whole: gets the snapshots that are recorded.

        Raises:
            ValueError: what was left is of another Spec, engine or version of the code, or it is damaged.

        """
        origin = {"engine": worker.name, "code": code_digest()}
        self._last = time.monotonic()
        if not self._resumes:
            return None, 0, 0.0
        call = f"{self._call} with resume=True"
        run = read(self.partial, call=f"{call}: reading {str(self._shown)!r}")
        where = repr(str(self._shown))
        if run.attrs.get("spec_hash") != " ".join(spec.hash for spec in self._specs):
            raise ValueError(f"{call}: {where} is of another Spec; train that one on, or remove it")
        for name, what in (("engine", "engine"), ("code", "version of tegum's code or of the libraries beneath it")):
            if run.attrs.get(name) != origin[name]:
                raise ValueError(
                    f"{call}: {where} was trained by another {what}, which may give other bits; remove it to begin anew"
                )
        here, there = vector_unit(), str(run.attrs.get("vector_unit"))
        if here != there:
            warnings.warn(
                f"{where} was begun on a machine with {there}, and this one has {here}: the bits may differ from those "
                "of an undisturbed run",
                stacklevel=2,
            )
            # What comes of it says so.
            self.vector_unit = f"{there}, then {here}"
        state = _state_in(run, worker.start(), call)
        done = run.sizes["step"]
        for name in ("weights", "bias", "loss"):
            array = getattr(whole, name)
            array[:, :done] = run[name].values.reshape(array.shape[0], done, *array.shape[2:])
        if done and not np.array_equal(run["step"].values, whole.steps[:done]):
            raise ValueError(f"{call}: {where} holds other snapshots than this Spec asks for")
        self._kept_step = state.step
        return state, done, float(run.attrs["wall_time_s"])

    def due(self) -> bool:
        """Whether it is time to keep what is done."""
        return self._works and time.monotonic() - self._last >= max(self._seconds, _PART_OF_TIME * self._took)

    def update(self, make: Callable[[], xr.Dataset], state: TrainingState) -> None:
        """Keep what is done, as it goes on; a disk that refuses is told of once, and training goes on without.

        Args:
            make: makes the trajectory up to now.
            state: where training stands.

        """
        if state.step <= self._former:
            # A further state of the same training is there already.
            self._last = time.monotonic()
            return
        begun = time.monotonic()
        try:
            with uninterrupted():
                write(self._with_state(make(), state), self.partial, overwrite=True, call=self._call)
            self._kept_step = state.step
        except Exception as error:  # whatever it is, the training is worth more
            self._works = False
            warnings.warn(f"{error}; training goes on, but could not be resumed from here", stacklevel=2)
        self._last = time.monotonic()
        self._took = self._last - begun

    def stop(self, run: xr.Dataset, state: TrainingState) -> str:
        """Keep what is done where training ends early.

        Args:
            run: the trajectory up to its last snapshot.
            state: where training stands.

        Returns:
            A sentence that says where it is.

        Raises:
            OSError: it could be kept nowhere.

        """
        step = f"step {state.step:,} of {self._specs[0].training.steps:,}"
        shown = repr(str(self._shown))
        if state.step <= self._former:
            return f"{shown} holds more of the same training than the {step} of this one, and stays as it is"
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
        return f"what was done ({step}) is kept in {shown}, and resume=True (--resume) goes on with it"

    def finish(self, run: xr.Dataset, *, overwrite: bool) -> None:
        """Keep the whole trajectory at its place, and remove what was kept of it on the way.

        Raises:
            KeptElsewhereError: it is in another folder.
            OSError: it could be kept nowhere.

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
            warnings.warn(f"{str(self._shown)!r} is done with, and stays, as {name!r} is in it", stacklevel=2)

    def _release(self) -> None:
        if self._room is not None:
            self._room.release()

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
    """Where what is done of an unfinished training is kept: `run.partial.zarr` of `run.zarr`."""
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
            raise ValueError(f"{call}: {name!r} is missing, or is not what this engine needs; remove it to begin anew")
        arrays[field.name] = run[name].values.reshape(wanted.shape)
    return TrainingState.from_arrays(arrays)


def _step_of(partial: Path, specs: Sequence[Spec]) -> int:
    """The step that a former training of the same Specs by the same code has reached, −1 where there is none."""
    try:
        attrs = load(partial).attrs
    except (ValueError, OSError):
        return -1
    same = attrs.get("spec_hash") == " ".join(spec.hash for spec in specs) and attrs.get("code") == code_digest()
    return int(attrs.get("state_step", -1)) if same else -1


def finished(path: Path, specs: Spec | Sequence[Spec], *, call: str) -> xr.Dataset:
    """The whole trajectory at a path, if it is what training these Specs here and now would give.

    Raises:
        ValueError: it is of other Specs, or was trained by other code.

    """
    run = load(path)
    several = [specs] if not isinstance(specs, Sequence) else specs
    if run.attrs.get("spec_hash") != " ".join(spec.hash for spec in several):
        raise ValueError(f"{call}: {str(path)!r} is of another Spec; remove it to begin anew")
    if run.attrs.get("code") != code_digest():
        raise ValueError(f"{call}: {str(path)!r} was trained by other code, which may give other bits; remove it")
    return run
