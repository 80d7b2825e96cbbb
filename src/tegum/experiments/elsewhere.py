"""Trainings of an experiment on a cluster: as sweeps that keep whole trajectories, which are then joined to one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.data.store import write
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping, Kept
from tegum.sweeps.places import FolderPlace
from tegum.sweeps.sweep import opened, swept
from tegum.training.dataset import dataset
from tegum.training.sizes import engine_name
from tegum.training.spec.spec import Spec
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    import xarray as xr


def trained(
    specs: Spec | Sequence[Spec], executor: Any, target: Path, packs: Path, *, resume: bool, progress: Any, call: str
) -> xr.Dataset:
    """Train in packs on a cluster, and store the trajectory: with the bits that `train` would give here.

    Args:
        specs: what to train in one call.
        executor: who trains, as `tegum.sweep` takes it.
        target: the store to write.
        packs: the folder of the sweep, which goes once the store is written.
        resume: whether to continue from packs that are there.
        progress: as in `train`; a function, which is called with segments of training, hears nothing of a cluster.
        call: what errors begin with.

    Raises:
        ValueError: a worker has other code or another vector unit.
        OSError: the scheduler cannot be reached, or nothing can be written.

    """
    begin = time.perf_counter()
    several = (specs,) if isinstance(specs, Spec) else specs
    place = FolderPlace(packs, call)
    timed = several[0].training.time(0) is not None
    names = ["weights", "bias", "loss"]
    keep = [*(Kept(name, "all") for name in names), *([Kept("gradient_error")] if timed else [])]
    try:
        swept(
            place, design(list(several), call=call), Keeping(keep, call), executor=executor, workers=None,
            engine="auto",
            pack=None, part=None, mixed=False, overwrite=not resume, verify=False,
            progress=progress if isinstance(progress, bool) else False, call=call,
        )  # fmt: skip
    except BaseException as error:
        # It says how to continue a sweep, and an experiment is continued otherwise.
        vars(error).pop("__notes__", None)
        raise
    made = opened(place, call).to_dataset().load()
    missing = int((made["result"] == "missing").sum())
    if missing:
        rule = f"{missing} runs could not be trained, and why is in {place.address}/failed"
        raise ValueError(f"{call}: {rule}; --resume tries again")
    run = _joined(several, made, time.perf_counter() - begin)
    write(run, target, overwrite=True, call=call)
    place.clear("")
    return run


def _joined(specs: Sequence[Spec], made: xr.Dataset, seconds: float) -> xr.Dataset:
    """The trajectory of all runs, as `train` would return it."""
    first = specs[0]

    def flat(name: str) -> np.ndarray:
        values = made[name].values
        return values.reshape(-1, *values.shape[2:])

    whole = Recorded(first.snapshots.at(first.training.steps), flat("weights"), flat("bias"), flat("loss"))
    count = len(whole.loss)
    nothing = np.zeros((count, 0), np.float32)
    state = TrainingState(
        step=first.training.steps,
        weights=whole.weights[:, -1],
        bias=whole.bias[:, -1],
        first=nothing,
        second=nothing,
        stream=np.zeros((count, 0), np.uint32),
        diverged_at=flat("diverged_at"),
        converged_at=flat("converged_at") if "converged_at" in made else np.full(count, -1),
    )
    errors = flat("gradient_error") if "gradient_error" in made else None
    worker = _Workers(engine_name(specs))
    return dataset(specs, range(first.seeds), whole, state, len(whole.steps), worker, seconds, errors)


class _Workers:
    """Who trained, as a trajectory says it: each worker has one thread."""

    threads = 1

    def __init__(self, name: str) -> None:
        self.name = name
