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
from tegum.data.store import check_name, check_place, check_storable, write
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

_ENDS: Mapping[str, Any] = {"result": "interrupted", "diverged_at": -1, "converged_at": -1}
"""What is kept of every run, and what stands there for a run that was not reached."""

_COORDINATES = {schema.SPEC, schema.SPEC_HASH, *(name for name, each in schema.FIELDS.items() if each.coordinate)}
"""Names that measures cannot have, either."""


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
        if name in _ENDS or name in _COORDINATES:
            what = "kept of every run" if name in _ENDS else "a coordinate of trajectories"
            raise ValueError(f"{call}(keep={{{name!r}: …}}): {name} is {what}; give the measure another name")
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
    numbers = specs[0].runs[chunk[1].start : chunk[1].stop]
    return [spec.some_runs(numbers) for spec in tuple(specs)[chunk[0]]]


@final
@dataclass
class _Kept:
    """What is known of all runs so far."""

    specs: Sequence[Spec]
    """The Specs, which the measures name."""
    trained: Sequence[Spec]
    """The Specs of those of their runs that are trained."""
    variables: dict[str, np.ndarray] = field(default_factory=dict)
    """Values for each run, shape (spec, seed, …), by name."""
    like: dict[str, xr.DataArray] = field(default_factory=dict)
    """Values for one run, with their dimensions and attributes."""
    coords: dict[str, xr.Variable] = field(default_factory=dict)
    """The coordinates of the measures, as the first Spec has them."""
    others: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    """By name and number of the Spec, the values of coordinates that differ from those of the first Spec."""

    def __post_init__(self) -> None:
        grid = self.specs if isinstance(self.specs, Grid) else None
        self.grid = None if grid is None else grid.labels
        several = grid is not None or len(self.specs) > 1
        self.outer = grid.shape if grid is not None else (len(self.specs),) if several else ()
        self.lead = (tuple(self.grid) if self.grid else (schema.SPEC,)) if several else ()
        self.differences = differences([spec.to_json() for spec in self.specs]) if several and grid is None else None
        self.reached = np.zeros((len(self.specs), self.trained[0].seeds), bool)
        self._spec, self._of_spec = -1, dict[str, tuple[str, Any]]()

    @property
    def taken(self) -> set[str]:
        """The names of what tells the Specs apart."""
        return {*self.lead, *(self.differences or ()), *(key for keys in (self.grid or {}).values() for key in keys)}

    def put(self, found: Mapping[str, xr.DataArray], place: tuple[int, range]) -> None:
        """Keep the measures of some runs of one Spec: all of them or, after an error, none."""
        fitting = {name: self._fitting(name, each) for name, each in found.items()}
        if not self.like:
            _check_together(fitting, self.lead)
        spec, seeds = place
        self._keep_coordinates(fitting, spec)
        for name, each in fitting.items():
            if name not in self.like:
                self.like[name] = each.isel(seed=0).drop_vars(list(each.coords)).copy()
            self.variables[name] = _widened(self.variables.get(name), each.values, self.reached.shape)
            self.variables[name][spec, seeds.start : seeds.stop] = each.values
        self.reached[spec, seeds.start : seeds.stop] = True

    def _fitting(self, name: str, found: xr.DataArray) -> xr.DataArray:
        """The values of some runs, with the dimensions in the order of those of the first runs."""
        found, like = found.transpose("seed", ...), self.like.get(name)
        if (kind := found.dtype.kind) not in "biufcOUT" or (
            kind == "O" and any(not isinstance(value, str) for value in found.values.flat)
        ):
            rule = "a measure must hold numbers, booleans or text"
            raise ValueError(f"train(keep={{{name!r}: …}}): its values have the dtype {found.dtype}; {rule}")
        if like is None:
            return found
        if {*found.dims} == {"seed", *like.dims}:
            found = found.transpose("seed", *like.dims)
        sizes = {dim: size for dim, size in found.sizes.items() if dim != "seed"}
        if sizes != dict(like.sizes):
            raise ValueError(
                f"train(keep={{{name!r}: …}}): its values have the dimensions {sizes} for some runs and "
                f"{dict(like.sizes)} for others; a measure must have the same for all runs"
            )
        if (kind in "OUT") != (like.dtype.kind in "OUT"):
            raise ValueError(f"train(keep={{{name!r}: …}}): it is text for some runs and a number for others")
        return found

    def _keep_coordinates(self, found: Mapping[str, xr.DataArray], spec: int) -> None:
        """Keep the coordinates of the measures, each of which must have one meaning for all measures of a Spec."""
        first = not self.like
        if spec != self._spec:
            self._spec, self._of_spec = spec, {}
        for name, each in found.items():
            for key, variable in _coordinates(each).items():
                owner, known = self._of_spec.setdefault(key, (name, variable))
                if not known.equals(variable):
                    whom = f"that of the measure {owner!r}" if owner != name else "that for other runs of the same Spec"
                    raise ValueError(
                        f"train(keep={{{name!r}: …}}): its coordinate {key} differs from {whom}; "
                        f"{'rename the dimension' if key in variable.dims else 'drop or rename it'}"
                    )
                if first:
                    self.coords.setdefault(key, variable)
                elif key in self.coords and not self.coords[key].equals(variable):
                    if key in variable.dims or variable.shape != self.coords[key].shape:
                        raise ValueError(
                            f"train(keep={{{name!r}: …}}): its coordinate {key} differs between Specs; drop it, as "
                            f"drop_vars({key!r}) does"
                        )
                    self.others.setdefault(key, {})[spec] = variable.values

    def dataset(self, engine: str, threads: int, seconds: float) -> xr.Dataset:
        """The measures of all runs; those not reached have the result "interrupted" and no values."""
        variables = {
            name: (self.like[name].dims, values.reshape(*self.outer, *values.shape[1:]), self.like[name].attrs)
            for name, values in self._filled()
        }
        for name in () if variables else ("result", "diverged_at"):
            none = np.full((*self.outer, self.reached.shape[1]), _ENDS[name])
            variables[name] = (), none, schema.FIELDS[name].attrs
        return schema.measures(
            variables,
            coords=self._all_coordinates(),
            seed=np.array(self.trained[0].runs),
            specs=self.differences,
            grid=self.grid,
            attrs=provenance(self.specs, engine, threads, seconds),
        )

    def _filled(self) -> Iterator[tuple[str, np.ndarray]]:
        """The values of all runs, with what stands for those that were not reached."""
        left = ~self.reached
        for name, known in self.variables.items():
            values = known
            if left.any():
                # There is no integer and no boolean that says that nothing was measured.
                if values.dtype.kind in "biu" and name not in _ENDS:
                    values = values.astype(float)
                values[left] = _ENDS.get(name, "" if values.dtype.kind == "O" else np.nan)
            yield name, values.astype(str) if values.dtype.kind == "O" else values

    def _all_coordinates(self) -> dict[str, tuple[Any, ...]]:
        """The coordinates of the measures, with the leading dimensions where they differ between Specs.

        Of Specs that were not reached they are not known: then only those of dimensions are left.
        """
        whole = bool(self.reached.any(axis=1).all())
        found: dict[str, tuple[Any, ...]] = {}
        for key, first in self.coords.items():
            values = first.values
            if not whole and key not in first.dims:
                continue
            if other := self.others.get(key):
                stacked = np.stack([other.get(spec, values) for spec in range(len(self.specs))])
                values = stacked.reshape(*self.outer, *values.shape)
            dims = first.dims
            if key == "time" and dims == schema.FIELDS[key].dims[1:]:
                # As a trajectory has it: for every run.
                dims, count = schema.FIELDS[key].dims, self.reached.shape[1]
                values = np.broadcast_to(values[..., None, :], (*self.outer, count, values.shape[-1])).copy()
            found[key] = dims, values, first.attrs
        return found


def _widened(whole: np.ndarray | None, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The array of all runs, of a dtype that also holds these values of some."""
    if values.dtype.kind in "OUT":
        return np.full((*shape, *values.shape[1:]), "", object) if whole is None else whole
    if whole is None:
        return np.zeros((*shape, *values.shape[1:]), values.dtype)
    return whole.astype(np.result_type(whole.dtype, values.dtype), copy=False)


def _coordinates(found: xr.DataArray) -> dict[str, xr.Variable]:
    """The coordinates along further dimensions; the time of a flow, too, which is the same for all runs of a Spec."""
    kept = {}
    for key, each in found.coords.items():
        variable = each.variable.to_base_variable()
        if key == "time" and "seed" in variable.dims:
            first = variable.isel(seed=0).copy()
            variable = first if bool((variable == first).all()) else variable
        if variable.dims and "seed" not in variable.dims:
            kept[str(key)] = variable
    return kept


def _check_together(found: Mapping[str, xr.DataArray], lead: tuple[str, ...]) -> None:
    """Refuse measures that one Dataset cannot hold."""
    sizes: dict[Any, tuple[str, int]] = {}
    for name, each in found.items():
        for dim, size in each.sizes.items():
            if dim in lead or dim in found:
                what = f"a measure {dim!r}" if dim in found else "a dimension of the Specs with this name"
                raise ValueError(f"train(keep={{{name!r}: …}}): it has the dimension {dim}, but there is {what}")
            owner, known = sizes.setdefault(dim, (name, size))
            if known != size:
                raise ValueError(
                    f"train(keep={{{name!r}: …}}): its dimension {dim} has the length {size}, and that of the measure "
                    f"{owner!r} {known}; rename one of them"
                )
        if named := [key for key in _coordinates(each) if key in found]:
            raise ValueError(
                f"train(keep={{{name!r}: …}}): it has the coordinate {named[0]}, but there is a measure of this name"
            )


def train_measured(
    specs: Sequence[Spec],
    trained: Sequence[Spec],
    measures: Mapping[str, Measure],
    train: Callable[..., xr.Dataset],
    *,
    interrupted: Callable[[xr.Dataset], BaseException],
    threads: int | None,
    engine: str,
    progress: Any,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> xr.Dataset:
    """Train in chunks by `train`, and keep what `measures` say of each; `trained` has the runs of `specs` that are."""
    call = f"train(out={os.fspath(out)!r})" if out is not None else "train"
    target = None if out is None else check_place(out, overwrite=overwrite, call=call)
    begin = time.perf_counter()
    kept, total = _Kept(specs, trained), len(specs) * trained[0].seeds
    for name in measures:
        if name in kept.taken:
            raise ValueError(
                f"train(keep={{{name!r}: …}}): {name} tells the Specs apart; give the measure another name"
            )
        if target is not None:
            check_name(name, f"train(keep={{{name!r}: …}}, out=…)")
    used = engine, threads or available_cores()
    with shown(False if callable(progress) else progress, Counts("keeping measures", "runs"), "train") as report:
        try:
            for chunk in (parts := chunks(trained, used[1])):
                run = train(chunk_specs(trained, chunk), threads=threads, engine=engine, progress=progress)
                used = run.attrs["engine"], run.attrs["threads"]
                _keep_chunk(kept, run, chunk, measures)
                del run
                if target is not None and chunk is parts[0]:
                    _check_storable(kept, call)
                report(int(kept.reached.sum()), total)
        except BaseException as error:
            ended = _with_what_was_measured(error, kept, time.perf_counter() - begin, used, interrupted)
            if ended is error:
                raise
            raise ended from None
    whole = kept.dataset(*used, time.perf_counter() - begin)
    if target is not None:
        try:
            keep(
                lambda path: write(whole, path, overwrite=overwrite and path == target, call=call), target,
                call=call, what="the Dataset of measures",
            )  # fmt: skip
        except BaseException as error:
            vars(error)["run"] = whole
            raise
    return whole


def _keep_chunk(kept: _Kept, run: xr.Dataset, chunk: tuple[slice, range], measures: Mapping[str, Measure]) -> None:
    """Keep the measures of a chunk of runs: all of a Spec at once, so that an error leaves no run with some of them."""
    for number, one in enumerate(_of_each_spec(run, chunk_specs(kept.trained, chunk)), chunk[0].start):
        kept.put(dict(_measured(one, measures)), (number, chunk[1]))


def _with_what_was_measured(
    error: BaseException,
    kept: _Kept,
    seconds: float,
    used: tuple[str, int],
    interrupted: Callable[[xr.Dataset], BaseException],
) -> BaseException:
    """What to raise for an error that ended training: with the measures until then, in place of a chunk's runs.

    Also after an error in a user's measure: what is done must not be lost.
    """
    vars(error).pop("run", None)
    try:
        run = kept.dataset(*used, seconds)
    except Exception as refused:  # must not replace the error that ended training
        error.add_note(f"the measures of the runs done could not be joined: {refused}")
        return error
    ended = interrupted(run) if isinstance(error, KeyboardInterrupt) else error
    vars(ended)["run"] = run
    ended.add_note(
        f"the measures of {kept.reached.sum():,} of {kept.reached.size:,} runs are in the attribute `run` of this "
        "exception; they are not on disk"
    )
    return ended


def _check_storable(kept: _Kept, call: str) -> None:
    """Refuse measures that a store could not hold, while only some runs have been trained."""
    import xarray as xr

    one = {name: (("seed", *each.dims), each.values[None], each.attrs) for name, each in kept.like.items()}
    dataset = xr.Dataset(one, kept.coords, {"schema": schema.MEASURES})
    schema.check_stored(dataset, call=call)
    check_storable(dataset, call)


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
        found = measure(argument_of(run, measure))
        if isinstance(found, np.ndarray | list) and np.shape(found) == (run.sizes["seed"],):
            found = xr.DataArray(np.asarray(found), dims="seed")
        if not isinstance(found, xr.DataArray) or found.sizes.get("seed") != run.sizes["seed"]:
            given = f"a DataArray with the dims {found.dims}" if isinstance(found, xr.DataArray) else short(found, 60)
            raise ValueError(
                f"train(keep={{{name!r}: …}}): it returned {given}; a measure must return a DataArray with the "
                "dimension seed, or one number for each run"
            )
        yield name, _in_order(found, run, name)


def _in_order(found: xr.DataArray, run: xr.Dataset, name: str) -> xr.DataArray:
    """The values in the order of the runs, if they say which run they belong to."""
    if "seed" not in found.coords or np.array_equal(found["seed"].values, run["seed"].values):
        return found
    if found["seed"].dims != ("seed",) or sorted(found["seed"].values) != sorted(run["seed"].values):
        rule = "it must keep those of the runs"
        raise ValueError(f"train(keep={{{name!r}: …}}): its coordinate seed has other values; {rule}")
    return found.sel(seed=run["seed"].values)


def argument_of(run: xr.Dataset, measure: Measure) -> Any:
    """The variable that the first parameter of a function names, such as weights; otherwise the trajectory."""
    try:
        first = next(itertools.islice(inspect.signature(measure).parameters, 1), "")
    except (TypeError, ValueError):  # some functions in C have no signature
        first = ""
    return run[first] if first in run.data_vars else run
