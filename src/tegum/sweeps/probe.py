"""A trial before a sweep: what its measures look like, how long a run takes, and how much is stored of it.

It runs on the workers, which may be other machines than the one that asks, and on all of them at once, as cores that
share memory and heat are slower together. Training is cut short after a moment; what is missing of the trajectory is
filled with the last snapshot, so that measures can be tried before hours of work, and not after.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from tegum.sweeps.kept import Keeping, Source
from tegum.sweeps.layout import Array, Coordinate, Layout, described, fitted, shard
from tegum.sweeps.packs import Identity, identity
from tegum.training.dataset import dataset
from tegum.training.engine import TrainingInterrupted, iterate
from tegum.training.measuring import train_measured
from tegum.training.sizes import training_seconds
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec
from tegum.training.state import Recorded

if TYPE_CHECKING:
    import xarray as xr

_MOST_RUNS = 32
_LONG_MEASURE = 10.0
"""Seconds of measuring beside which importing and compiling are short."""

CORES = 8
"""The most workers on which the pace is tried."""


@final
class PaceTrial(NamedTuple):
    """What a worker is asked to try: Specs of one group."""

    specs: tuple[Mapping[str, Any], ...]
    keep: tuple[Any, ...]
    sources: Mapping[str, Source]
    engine: str
    seconds: float
    """How long each Spec may train, in seconds."""


@final
class Tried(NamedTuple):
    """What a worker has found."""

    identity: Identity
    arrays: tuple[Array, ...]
    coordinates: tuple[Coordinate, ...]
    seconds: tuple[float, ...]
    """For each Spec, the seconds of a run on one core."""
    bytes: float
    """What is stored of a run."""
    least: bool
    """Whether the seconds are a lower bound."""


def tried(trial: PaceTrial) -> Tried:
    """Train a few runs of some Specs for a moment, and measure them.

    Args:
        trial: what to try.

    Raises:
        ValueError: a measure cannot be kept.
        Exception: whatever training or a measure raises.

    """
    try:
        specs = [Spec.from_json(each) for each in trial.specs]
    except ValueError as error:  # it was a Spec where it came from
        rule = "a worker knows the kinds of set that installed packages declare, and none that a script defines"
        raise ValueError(f"sweep: the worker on {platform.node()} cannot read a Spec: {error}; {rule}") from None
    keeping = Keeping(trial.keep, "sweep", trial.sources)
    found, paces, least = [], [], False
    for spec in specs:
        runs = range(_few(spec, trial.engine, trial.seconds))
        short = _Short(trial.engine, trial.seconds)
        measured, measuring = _measured(spec, runs, keeping, short)
        if measuring < _LONG_MEASURE:
            # Once more, since the first time includes what a measure imports or compiles.
            measured, measuring = _measured(spec, runs, keeping, short)
        paces.append((short.whole + measuring) / len(runs))
        least = least or short.least
        found.append(measured)
    names = [str(name) for name in found[0].data_vars]
    arrays, coordinates = described(names, found[0])
    stored = [_stored(arrays, coordinates, each) for each in found]
    return Tried(identity(keeping, trial.engine, specs), arrays, coordinates, tuple(paces), max(stored), least)


def _measured(spec: Spec, runs: range, keeping: Keeping, short: _Short) -> tuple[xr.Dataset, float]:
    """What is kept of some runs, and the seconds that measuring took."""
    begin, trained = time.perf_counter(), short.took
    found = train_measured(
        (spec,), (spec.some_runs(runs),), keeping.functions, short.train, interrupted=TrainingInterrupted,
        threads=1, engine=short.engine, progress=False, out=None, overwrite=False,
    )  # fmt: skip
    return found, max(time.perf_counter() - begin - (short.took - trained), 0.0)


def _few(spec: Spec, engine: str, seconds: float) -> int:
    """The number of runs that can be tried together."""
    from tegum.training.sizes import engine_name

    estimate = training_seconds([spec], engine_name([spec], engine), 1)
    each = 0.1 if estimate is None else estimate.seconds / spec.seeds
    return int(np.clip(seconds / max(each, 1e-6), 1, min(_MOST_RUNS, spec.seeds)))


class _Short:
    """Training that ends after a moment, with its trajectory filled up."""

    def __init__(self, engine: str, seconds: float) -> None:
        self.engine, self._seconds = engine, seconds
        self.took = self.whole = 0.0
        """What it took, and what the whole training would have taken, in seconds."""
        self.least = False
        self._trained: dict[tuple[Spec, ...], xr.Dataset] = {}

    def train(self, specs: Sequence[Spec], **_: Any) -> xr.Dataset:
        """As `tegum.train`, for a moment; what was trained once is not trained again."""
        if (known := self._trained.get(tuple(specs))) is not None:
            return known
        begin = time.perf_counter()
        engine: Any = self.engine
        training, steps = specs[0].training, specs[0].snapshots.at(specs[0].training.steps)
        count = len(specs) * specs[0].seeds
        whole = Recorded.empty(steps, count, specs[0].features.n, specs[0].hidden, training.dtype)
        done, timed, first = 0, 0.0, None
        state: Any = None
        for segment in iterate(specs, threads=1, engine=engine, segment_seconds=self._seconds / 10):
            end = done + len(segment.recorded.steps)
            whole.weights[:, done:end] = segment.recorded.weights
            whole.bias[:, done:end] = segment.recorded.bias
            whole.loss[:, done:end] = segment.recorded.loss
            done, state = end, segment.state
            if first is None:
                # The first segment is a single step, and may have compiled the kernel.
                first = state.step
            else:
                timed += segment.seconds
            if timed > self._seconds and state.step < training.steps:
                break
        whole.weights[:, done:] = state.weights[:, None]
        whole.bias[:, done:] = state.bias[:, None]
        whole.loss[:, done:] = whole.loss[:, max(done - 1, 0), None]
        part = (state.step - (first or 0)) / max(training.steps, 1)
        self.whole += timed / part if part > 0 else time.perf_counter() - begin
        self.least = self.least or (not isinstance(training, Sampled) and state.step < training.steps)
        took = time.perf_counter() - begin
        self.took += took
        made = dataset(specs, specs[0].runs, whole, state, len(steps), _Worker(), took)
        return self._trained.setdefault(tuple(specs), made)


class _Worker:
    name, threads = "trial", 1


def _stored(arrays: Sequence[Array], coordinates: tuple[Coordinate, ...], found: xr.Dataset) -> float:
    """The bytes that are stored of a run, compressed, as far as a few runs tell."""
    seeds = found.sizes["seed"]
    layout = Layout("", 1, seeds, (1, seeds), tuple(arrays), coordinates)
    total = 0.0
    for array in arrays:
        values = fitted(array, found[array.name])
        index = 16 * max(1, seeds * array.size // 2**20) + 4
        head = 120 if array.dtype == "string" or values.dtype.kind in "biu" else 20
        total += max(len(shard(layout, array, values)) - index - head, 0) / seeds + 0.02 * array.itemsize
    return total


def trial_specs(specs: Sequence[Spec], most: int) -> list[int]:
    """The Specs of a group that are tried: spread evenly over their mean densities, the least and the largest included.

    Args:
        specs: the Specs.
        most: how many.

    Returns:
        Their positions.

    """
    from tegum.sweeps.plan import mean_density

    densities = np.array([mean_density(spec) for spec in specs])
    order = np.argsort(densities, kind="stable")
    chosen = order[np.unique(np.rint(np.linspace(0, len(specs) - 1, most)).astype(int))]
    _, first = np.unique(densities[chosen], return_index=True)
    return chosen[first].tolist()
