"""The result of training: the trajectory of all runs, and its provenance."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int64

from tegum.data.schema import described_by, trajectory
from tegum.training.spec.labels import one_type

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec
    from tegum.training.state import Recorded, TrainingState, Worker

_LIBRARIES = ("diffrax", "jax", "numba", "numpy", "xarray", "zarr")

_NUMERICAL = ("diffrax", "jax", "jaxlib", "llvmlite", "numba", "numpy", "scipy")
"""Libraries whose versions may change the bits of a training."""


def dataset(
    specs: Sequence[Spec],
    runs: Sequence[int],
    whole: Recorded,
    state: TrainingState,
    done: int,
    worker: Worker,
    seconds: float,
    gradient_error: Float[np.ndarray, " run"] | None = None,
) -> xr.Dataset:
    """The trajectory of all runs: `tegum.data.schema` describes it.

    Args:
        specs: the Specs trained together; several give a leading dimension `spec`, and a grid one dimension for each
            of its parameters.
        runs: the numbers of the runs that were trained.
        whole: the arrays for all snapshots.
        state: the state in which training ended.
        done: the number of snapshots taken.
        worker: the engine that trained, or its name and threads.
        seconds: wall time of the training.
        gradient_error: of each run of a flow, where the state does not tell.

    """
    from tegum.training.spec.grid import Grid

    grid = specs if isinstance(specs, Grid) else None
    several = grid is not None or len(specs) > 1
    outer = grid.shape if grid is not None else (len(specs),) if several else ()
    lead = (*outer, len(runs))

    def shaped(array: np.ndarray) -> np.ndarray:
        return array.reshape(*lead, *array.shape[1:])

    def recorded(array: np.ndarray) -> np.ndarray:
        # A view: results kept during training must not take the memory twice.
        return shaped(array[:, :done])

    def along_features(values: list[Any]) -> Any:
        changing = any(np.ndim(value) > 1 for value in values)
        if changing:
            values = [np.broadcast_to(value, (done, np.shape(value)[-1])) for value in values]
        # Of several Specs steps would pass for Specs.
        same = all(np.array_equal(value, values[0]) for value in values) and not (changing and several)
        if same:
            return values[0]
        stacked = np.stack([np.asarray(value) for value in values])
        return stacked.reshape(*outer, *stacked.shape[1:])

    training, steps = specs[0].training, whole.steps[:done]
    # If training was interrupted in between, no snapshot shows the converged run.
    converged_at = np.where(state.converged_at <= steps[-1], state.converged_at, -1)
    result = np.where(converged_at >= 0, "converged", "completed" if done == len(whole.steps) else "interrupted")
    result = np.where(state.diverged_at >= 0, "diverged", result)
    times = training.time(steps)
    gradient_error = training.gradient_error(state) if gradient_error is None else gradient_error
    return trajectory(
        weights=recorded(whole.weights),
        bias=recorded(whole.bias),
        loss=recorded(whole.loss),
        result=shaped(result),
        diverged_at=shaped(state.diverged_at),
        converged_at=shaped(converged_at) if training.converges else None,
        gradient_error=None if gradient_error is None else shaped(gradient_error),
        seed=np.array(runs),
        step=steps,
        time=None if times is None else np.broadcast_to(times, (*lead, done)).copy(),
        set_=along_features([spec.features.set_of_feature for spec in specs]),
        kind=along_features([spec.features.kind_of_feature for spec in specs]),
        density=along_features([at_steps(spec, steps, "density") for spec in specs]),
        importance=along_features([at_steps(spec, steps, "importance") for spec in specs]),
        specs=differences([spec.to_json() for spec in specs]) if several and grid is None else None,
        grid=None if grid is None else grid.labels,
        attrs=provenance(specs, worker.name, worker.threads, seconds),
    )


def at_steps(
    spec: Spec, steps: Int64[np.ndarray, " step"], name: Literal["density", "importance"]
) -> Float[np.ndarray, "*step feature"]:
    """A property of features, (feature,), or where changes give it several values at these steps, (step, feature)."""
    number = np.searchsorted(spec.changed_at, steps, side="right")
    begins = (0, *spec.changed_at)
    found = {phase: getattr(spec.in_force(begins[phase]).features, name) for phase in np.unique(number).tolist()}
    first = found[min(found)]
    if all(np.array_equal(each, first) for each in found.values()):
        return first
    return np.stack([found[phase] for phase in number.tolist()])


def provenance(specs: Sequence[Spec], engine: str, threads: int, seconds: float) -> dict[str, Any]:
    """The attributes that say what was trained, by which code and where."""
    from tegum.training.spec.grid import Grid

    descriptions = [spec.to_json() for spec in specs]
    several = isinstance(specs, Grid) or len(specs) > 1
    return {
        "spec": json.dumps(descriptions if several else descriptions[0]),
        "spec_hash": " ".join(spec.hash for spec in specs),
        "tegum_version": version_of("tegum"),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_s": round(seconds, 3),
        "engine": engine,
        "threads": threads,
        "code": code_digest(),
        "vector_unit": vector_unit(),
        "versions": {"python": platform.python_version()} | {library: version_of(library) for library in _LIBRARIES},
    }


def specs_of(run: xr.Dataset) -> list[Spec]:
    """The Specs of a trajectory, in the order of its leading dimensions if it has any, the last fastest.

    Raises:
        ValueError: the attribute `spec` does not describe Specs, or describes those of other runs.

    """
    from tegum.training.spec.spec import Spec

    described = json.loads(run.attrs["spec"])
    specs = [Spec.from_json(each) for each in (described if isinstance(described, list) else [described])]
    which = described_by(run, "specs_of(run)")
    return specs if which is None else [specs[each] for each in which]


def spec_of(run: xr.Dataset) -> Spec:
    """The Spec of the runs of a trajectory that has one.

    Raises:
        ValueError: it has several.

    """
    specs = specs_of(run)
    if len(specs) != 1:
        raise ValueError(f"spec_of(run): its runs belong to {len(specs)} Specs; select one of them")
    return specs[0]


def changed_at(run: xr.Dataset) -> tuple[int, ...]:
    """The steps at which what the runs of one Spec are trained on changes; none where the Spec is not known."""
    return specs_of(run)[0].changed_at if "spec" in run.attrs else ()


def digest_of_code(*folders: str, also: str = "") -> str:
    """The SHA-256 of all code in some folders of the package, and of a text besides."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (package / folder).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(also.encode())
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """A digest of all that the bits of a training depend on besides its Spec: our code and the libraries it uses."""
    versions = " ".join(f"{library}={version_of(library)}" for library in _NUMERICAL)
    return digest_of_code("core", "training", also=versions)[:16]


def vector_unit() -> str:
    """The vector unit that compiled code uses here: "AVX-512", "AVX2", "NEON", or the processor's architecture."""
    from tegum.core.compiled.target import UNIT

    return UNIT.name


@cache
def version_of(library: str) -> str:
    """The version of an installed library; reading it takes milliseconds."""
    return importlib.metadata.version(library)


def differences(descriptions: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The leaves in which JSON-able descriptions differ, by dotted key, with one value for each description.

    A list of numbers (densities of each feature, a given start) is one leaf. A value that changes in every set of
    features alike is one coordinate, `features.density`, not one for each set.
    """
    from tegum.core.description import flatten

    flat = [flatten(each) for each in descriptions]
    keys = list(dict.fromkeys(key for each in flat for key in each))
    varying = {key: [each.get(key) for each in flat] for key in keys}
    varying = {key: values for key, values in varying.items() if any(value != values[0] for value in values)}
    of_sets = [key for key in keys if key.startswith("features.")]
    for name in dict.fromkeys(key.split(".")[-1] for key in varying if key in of_sets):
        alike = [key for key in of_sets if key.endswith(f".{name}")]
        if all(varying.get(key) == varying.get(alike[0]) for key in alike):
            merged = varying[alike[0]]
            varying = {key: values for key, values in varying.items() if key not in alike}
            varying[f"features.{name}"] = merged
    return {key: one_type(values) for key, values in varying.items()}
