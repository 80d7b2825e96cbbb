"""Training of which only measures are kept: in chunks of runs, whose snapshots go once they are measured."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tegum.core.description import short
from tegum.core.threads import available_cores
from tegum.data import schema
from tegum.data.keeping import keep
from tegum.data.store import check_place, write
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts
from tegum.training.dataset import differences, provenance
from tegum.training.sizes import trajectory_bytes
from tegum.training.spec.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec

Measure = Callable[..., Any]

_CHUNK_BYTES, _MOST_BYTES = 2**25, 2**27
"""Bytes of the snapshots of a chunk, and the most that they may take where fewer runs would leave cores idle."""

_AT_LEAST = 32
"""Runs for each thread, if they fit: what the exact loss computes side by side."""

_OWN = {"seed", "spec", "result", "diverged_at", "converged_at"}
"""Names that measures cannot have."""


def named_measures(given: Any, call: str) -> dict[str, Measure]:
    """The functions to keep, by name.

    Raises:
        ValueError: naming `call`: it is neither a dictionary of functions nor a list of them.

    """
    rule = "keep must be a dictionary of functions by name, or a list of functions"
    if not isinstance(given, Mapping):
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise ValueError(f"{call}(keep={short(given)}): {rule}")
        names = [getattr(each, "__name__", "") for each in given]
        if len({*names}) < len(names) or "<lambda>" in names or "" in names:
            raise ValueError(f"{call}(keep={short(names)}): functions in a list must have names of their own; {rule}")
        given = dict(zip(names, given, strict=True))
    if not given:
        raise ValueError(f"{call}(keep={{}}): there must be at least one measure")
    for name, measure in given.items():
        if not isinstance(name, str) or not callable(measure):
            raise ValueError(f"{call}(keep={{{name!r}: {short(measure)}}}): {rule}")
        if name in _OWN:
            raise ValueError(
                f"{call}(keep={{{name!r}: …}}): {name} is kept of every run; give the measure another name"
            )
    return dict(given)


def chunks(specs: Sequence[Spec], threads: int) -> list[tuple[slice, range]]:
    """Divide runs into chunks of some Specs and some of their runs, Spec by Spec."""
    seeds = specs[0].seeds
    each = max(1, trajectory_bytes(specs[:1]) // seeds)
    runs = max(_CHUNK_BYTES // each, min(_AT_LEAST * threads, _MOST_BYTES // each), threads)
    of_specs = max(1, runs // seeds)
    return [
        (slice(first, min(first + of_specs, len(specs))), range(start, min(start + runs, seeds)))
        for first in range(0, len(specs), of_specs)
        for start in range(0, seeds, runs)
    ]


def chunk_specs(specs: Sequence[Spec], chunk: tuple[slice, range]) -> list[Spec]:
    """The Specs of the runs of a chunk."""
    return [spec.some_runs(chunk[1]) for spec in tuple(specs)[chunk[0]]]


@final
@dataclass
class _Kept:
    """What is known of all runs so far."""

    specs: Sequence[Spec]
    variables: dict[str, np.ndarray] = field(default_factory=dict)
    """Values for each run, shape (spec, seed, …), by name."""
    like: dict[str, xr.DataArray] = field(default_factory=dict)
    """Values for one run, with their dimensions, coordinates and attributes."""
    done: int = 0

    def put(self, name: str, found: xr.DataArray, place: tuple[int, range]) -> None:
        """Keep the values of some runs of one Spec."""
        found = found.transpose("seed", ...)
        values = found.values
        text = values.dtype.kind in "OU"
        if name not in self.variables:
            of_runs = [key for key, each in found.coords.items() if "seed" in each.dims]
            self.like[name] = found.drop_vars(of_runs).isel(seed=0)
            shape = (len(self.specs), self.specs[0].seeds, *values.shape[1:])
            fill = "" if text else np.nan if values.dtype.kind in "fc" else 0
            self.variables[name] = np.full(shape, fill, object if text else values.dtype)
        spec, seeds = place
        whole = self.variables[name]
        if whole.shape[2:] != values.shape[1:]:
            raise ValueError(
                f"train(keep={{{name!r}: …}}): its values have the shape {values.shape[1:]} for some runs and "
                f"{whole.shape[2:]} for others; a measure must have one shape"
            )
        whole[spec, seeds.start : seeds.stop] = values

    def dataset(self, engine: str, threads: int, seconds: float) -> xr.Dataset:
        """The measures of all runs; those not reached have the result "interrupted"."""
        grid = self.specs if isinstance(self.specs, Grid) else None
        several = grid is not None or len(self.specs) > 1
        outer = grid.shape if grid is not None else (len(self.specs),) if several else ()
        self.variables["result"][self.variables["result"] == ""] = "interrupted"
        variables = {}
        for name, values in self.variables.items():
            like = self.like[name]
            array = values.astype(str) if values.dtype.kind == "O" else values
            variables[name] = (like.dims, array.reshape(*outer, *values.shape[1:]), like.attrs, like.coords)
        return schema.measures(
            variables,
            seed=np.array(self.specs[0].runs),
            specs=differences([spec.to_json() for spec in self.specs]) if several and grid is None else None,
            grid=None if grid is None else grid.labels,
            attrs=provenance(self.specs, engine, threads, seconds),
        )


def train_measured(
    specs: Sequence[Spec],
    measures: Mapping[str, Measure],
    train: Callable[..., xr.Dataset],
    *,
    threads: int | None,
    engine: str,
    progress: Any,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> xr.Dataset:
    """Train in chunks by `train`, and keep what `measures` say of each."""
    call = f"train(out={os.fspath(out)!r})" if out is not None else "train"
    target = None if out is None else check_place(out, overwrite=overwrite, call=call)
    begin = time.perf_counter()
    kept, total = _Kept(specs), len(specs) * specs[0].seeds
    used = engine, threads or available_cores()
    with shown(False if callable(progress) else progress, Counts("keeping measures", "runs"), "train") as report:
        try:
            for chunk in chunks(specs, used[1]):
                run = train(chunk_specs(specs, chunk), threads=threads, engine=engine, progress=progress)
                used = run.attrs["engine"], run.attrs["threads"]
                for number, one in enumerate(_of_each_spec(run, chunk_specs(specs, chunk)), chunk[0].start):
                    # All of a Spec at once, so that an error leaves no run with some of its measures.
                    for name, value in list(_measured(one, measures)):
                        kept.put(name, value, (number, chunk[1]))
                kept.done += (chunk[0].stop - chunk[0].start) * len(chunk[1])
                del run
                report(kept.done, total)
        except BaseException as error:
            if kept.done:
                # Also after an error in a user's measure: what is done must not be lost.
                vars(error)["run"] = kept.dataset(*used, time.perf_counter() - begin)
                error.add_note(
                    f"the measures of {kept.done:,} of {total:,} runs are in the attribute `run` of this exception"
                )
            raise
    found = kept.dataset(*used, time.perf_counter() - begin)
    if target is not None:
        try:
            keep(
                lambda path: write(found, path, overwrite=overwrite and path == target, call=call), target,
                call=call, what="the Dataset of measures",
            )  # fmt: skip
        except BaseException as error:
            vars(error)["run"] = found
            raise
    return found


def _of_each_spec(run: xr.Dataset, specs: Sequence[Spec]) -> Iterator[xr.Dataset]:
    """The runs of each Spec, described by it alone."""
    for number, spec in enumerate(specs):
        one = run.isel(spec=number, drop=True) if len(specs) > 1 else run
        if len(specs) > 1:
            one = one.drop_vars([name for name, value in one.coords.items() if "." in str(name) and not value.dims])
        yield one.assign_attrs(spec=json.dumps(spec.to_json()), spec_hash=spec.hash)


def _measured(run: xr.Dataset, measures: Mapping[str, Measure]) -> Iterator[tuple[str, xr.DataArray]]:
    """The measures of the runs of one Spec, and how they ended."""
    import xarray as xr

    for name in ("result", "diverged_at", "converged_at"):
        if name in run:
            yield name, run[name]
    for name, measure in measures.items():
        found = measure(_argument(run, measure))
        if isinstance(found, np.ndarray | list) and np.shape(found) == (run.sizes["seed"],):
            found = xr.DataArray(np.asarray(found), dims="seed")
        if not isinstance(found, xr.DataArray) or found.sizes.get("seed") != run.sizes["seed"]:
            given = f"a DataArray with the dims {found.dims}" if isinstance(found, xr.DataArray) else short(found, 60)
            raise ValueError(
                f"train(keep={{{name!r}: …}}): it returned {given}; a measure must return a DataArray with the "
                "dimension seed, or one number for each run"
            )
        yield name, found


def _argument(run: xr.Dataset, measure: Measure) -> Any:
    """The variable that the first parameter of a function names, such as weights; otherwise the trajectory."""
    try:
        first = next(itertools.islice(inspect.signature(measure).parameters, 1), "")
    except (TypeError, ValueError):  # some functions in C have no signature
        first = ""
    return run[first] if first in run.data_vars else run
