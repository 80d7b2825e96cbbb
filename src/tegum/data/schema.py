"""What a trajectory is: an xarray.Dataset whose dimensions, variables, units and attributes are listed here.

It holds runs (dimension `seed`) of one Spec, or of several, recorded at the same steps. Several Specs give a leading
dimension `spec`, or those of a grid one leading dimension for each of its parameters, with the parameter's values as
its coordinate; the attribute `grid` then says which keys each of them varies. A part of a grid, selected by value or
trained by itself, has the same layout, so that parts join along a parameter by value.

Snapshots after a divergence are NaN, those after a run has converged repeat its final state, and an interrupted
trajectory ends at its last snapshot. Additional variables and coordinates are allowed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Shaped

if TYPE_CHECKING:
    import xarray as xr

NAME = "tegum trajectory"
MEASURES = "tegum measures"
"""The schema of measures that are kept of runs in place of their trajectories."""

VERSION = 1
"""Increased by one whenever a reader of the previous version would misread the new one."""

SPEC = "spec"
"""The optional leading dimension: one index for each of several Specs trained together."""

GRID = "grid"
"""The attribute of a trajectory of a grid: JSON text, from each leading dimension to the keys of the Spec it varies."""

SPEC_HASH = "spec_hash"
"""A coordinate that says which Spec a run belongs to, also after runs are selected, reordered or joined."""

RESULTS = ("completed", "converged", "diverged", "interrupted")

WHOLE = ("completed", "converged")
"""The results of runs that reached their end: after all steps, or earlier, by the tolerance of their optimiser."""

PROVENANCE = (
    "spec",  # the Spec as JSON text, or a JSON list of them
    "spec_hash",
    "tegum_version",
    "created",  # ISO 8601, UTC
    "wall_time_s",
    "engine",  # "kernel", "jax", "exact" or "flow"
    "threads",
    "versions",  # of the libraries used, as JSON text
)
"""The attributes every trajectory made by tegum has, besides `schema` and `schema_version`."""


@final
@dataclass(frozen=True)
class Field:
    """One variable of a trajectory: its dimensions (without a leading `spec`), dtype, unit and meaning."""

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    coordinate: bool = True
    optional: bool = False
    or_double: bool = False
    """Whether float64 is allowed in place of float32, if the training computed in it."""
    or_each_step: bool = False
    """Whether a leading `step` is allowed, for what changes while runs train."""

    @property
    def attrs(self) -> dict[str, str]:
        """The attributes the variable carries."""
        return {"long_name": self.long_name, "units": self.units}


FIELDS: Mapping[str, Field] = {
    "weights": Field(
        ("seed", "step", "feature", "hidden"),
        "float32",
        "1",
        "weights (a row is a feature's embedding)",
        False,
        or_double=True,
    ),
    "bias": Field(("seed", "step", "feature"), "float32", "1", "bias", False, or_double=True),
    "loss": Field(("seed", "step"), "float64", "1", "importance-weighted squared error, summed over features", False),
    "result": Field(("seed",), "str", "1", "how the run ended", False),
    "diverged_at": Field(("seed",), "int64", "step", "step of the divergence, -1 if there was none", False),
    "converged_at": Field(
        ("seed",),
        "int64",
        "step",
        "step at which the run had converged, -1 if it had not",
        False,
        optional=True,
    ),
    "gradient_error": Field(
        ("seed",),
        "float64",
        "1",
        "largest error of the gradient's entries met on the way, as estimated",
        False,
        optional=True,
    ),
    "seed": Field(("seed",), "int64", "1", "number of the run"),
    "step": Field(("step",), "int64", "step", "steps taken (in a flow, equal intervals of time)"),
    "feature": Field(("feature",), "int64", "1", "number of the feature"),
    "hidden": Field(("hidden",), "int64", "1", "number of the hidden dimension"),
    "set": Field(("feature",), "int64", "1", "number of the feature's set"),
    "kind": Field(("feature",), "str", "1", "kind of the feature's set"),
    "density": Field(("feature",), "float64", "1", "probability that the feature is active", or_each_step=True),
    "importance": Field(("feature",), "float64", "1", "importance of the feature in the loss", or_each_step=True),
    "time": Field(("seed", "step"), "float64", "1", "time of the gradient flow", optional=True),
}
"""Every variable of a trajectory by its name; measures computed by analysis are not among them."""

_NUMPY_KINDS = {"int64": "iu", "float32": "f", "float64": "f", "str": "UO"}
"""NumPy's letters for the kinds of dtype that a variable of each dtype of the schema may have."""
_WORDS = {
    "int64": "integers",
    "float32": "floating-point numbers",
    "float64": "floating-point numbers",
    "str": "text",
}


def trajectory(
    *,
    weights: Shaped[np.ndarray, "*_shape"],
    bias: Shaped[np.ndarray, "*_shape"],
    loss: Shaped[np.ndarray, "*_shape"],
    result: Any,
    diverged_at: Any,
    seed: Any,
    step: Any,
    set_: Any,
    kind: Any,
    density: Any,
    importance: Any,
    attrs: Mapping[str, Any],
    time: Any = None,
    converged_at: Any = None,
    gradient_error: Any = None,
    specs: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    grid: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> xr.Dataset:
    """A trajectory from plain arrays; `weights`, `bias` and `loss` are kept as they are, not copied.

    In place of `spec` there may be the dimensions of a grid.

    Args:
        weights: ([spec,] seed, step, feature, hidden) float32 or float64.
        bias: ([spec,] seed, step, feature) float32 or float64.
        loss: ([spec,] seed, step) float64, importance-weighted squared error summed over features.
        result: ([spec,] seed) each run's "completed", "converged", "diverged" or "interrupted".
        diverged_at: ([spec,] seed) step of the divergence, -1 if there was none.
        seed: (seed,) number of each run.
        step: (step,) steps taken at each snapshot, increasing.
        set_: ([spec,] feature) number of the feature's set.
        kind: ([spec,] feature) kind of that set.
        density: ([spec,] feature) probability of being active; ([spec,] step, feature) where it changes on the way.
        importance: ([spec,] feature) weight in the loss, or ([spec,] step, feature).
        attrs: every attribute in PROVENANCE and any more; `versions` may be a mapping.
        time: ([spec,] seed, step) time of a gradient flow.
        converged_at: ([spec,] seed) step at which a run had converged, -1 if it had not.
        gradient_error: ([spec,] seed) largest estimated error of the gradient's entries during the run.
        specs: with a leading `spec`, coordinates on it by name: integers, floats, booleans or text.
        grid: the leading dimensions of a grid, in order, each with its keys and their values; those of the first key
            are its coordinate.

    Returns:
        The Dataset that `check` describes.

    Raises:
        ValueError: a shape, a dtype or a value breaks the schema, or an attribute is missing.

    """
    import xarray as xr

    weights = np.asarray(weights)
    run = FIELDS["weights"].dims
    lead = tuple(grid or ()) or (SPEC,)
    if weights.ndim not in (len(run), len(run) + len(lead)):
        raise ValueError(
            f"trajectory(weights={brief(weights)}): weights must have the dimensions {_tuple(run)}, or "
            f"these after {', '.join(lead)}"
        )
    lead = () if weights.ndim == len(run) else lead
    dims = (*lead, *run)
    sizes = dict(zip(dims, weights.shape, strict=True))
    given = {
        "weights": weights,
        "bias": bias,
        "loss": loss,
        "result": result,
        "diverged_at": diverged_at,
        "seed": seed,
        "step": step,
        "feature": np.arange(sizes["feature"]),
        "hidden": np.arange(sizes["hidden"]),
        "set": set_,
        "kind": kind,
        "density": density,
        "importance": importance,
        "time": time,
        "converged_at": converged_at,
        "gradient_error": gradient_error,
    }
    # A parameter of a grid may have the name of a property of features, which then is left to the Spec.
    variables = {
        name: _variable(name, value, sizes, lead)
        for name, value in given.items()
        if value is not None and name not in lead
    }
    variables |= _spec_coordinates(specs or {}, sizes.get(SPEC)) | _grid_coordinates(grid or {}, sizes)
    # A trajectory made by hand may have any other text there.
    if len(numbers := _hash_numbers(attrs.get(SPEC_HASH, ""))) == math.prod(sizes[dim] for dim in lead):
        variables[SPEC_HASH] = _spec_of_each_run(numbers, sizes, lead)
    if missing := [name for name in PROVENANCE if name not in attrs]:
        raise ValueError(f"trajectory(attrs={sorted(attrs)}): the attribute {missing[0]!r} must be given")
    own = {"schema": NAME, "schema_version": VERSION}
    versions = attrs["versions"]
    if isinstance(versions, Mapping):
        versions = json.dumps(dict(versions))
    trained = [name for name, field in FIELDS.items() if not field.coordinate and name in variables]
    dataset = xr.Dataset(
        {name: variables.pop(name) for name in trained},
        variables,
        own | dict(attrs) | {"versions": versions} | own | _grid_attrs(grid),
    )
    check(dataset, call="trajectory(...)")
    return dataset


def measures(
    variables: Mapping[str, tuple[Any, ...]],
    *,
    coords: Mapping[str, tuple[Any, ...]],
    seed: Any,
    attrs: Mapping[str, Any],
    specs: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    grid: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> xr.Dataset:
    """Measures of runs as a Dataset with the dimensions of a trajectory: those of several Specs, and `seed`.

    Args:
        variables: for each its further dimensions, its values ([spec,] seed, …) and attributes.
        coords: coordinates along the further dimensions, for each its dimensions, its values ([spec,] …) and
            attributes.
        seed: (seed,) number of each run.
        attrs: as of a trajectory.
        specs: as of a trajectory.
        grid: as of a trajectory.

    Returns:
        The Dataset.

    """
    import xarray as xr

    several = next(np.ndim(values) - len(dims) > 1 for dims, values, _ in variables.values())
    lead = (tuple(grid or ()) or (SPEC,)) if several else ()
    run, sizes = (*lead, "seed"), dict[str, int]()
    data, held = {}, {"seed": _variable("seed", seed, {"seed": len(seed)}, ())}
    for name, (dims, values, own) in variables.items():
        sizes |= dict(zip(run, values.shape, strict=False))
        data[name] = xr.Variable((*run, *dims), values, own)
    for name, (dims, values, own) in coords.items():
        # A parameter of a grid may have the name of a property of features, which then is left to the Spec.
        if name not in lead:
            held[name] = xr.Variable((*lead, *dims) if np.ndim(values) > len(dims) else dims, values, own)
    held |= _spec_coordinates(specs or {}, sizes.get(SPEC)) | _grid_coordinates(grid or {}, sizes)
    own = {"schema": MEASURES, "schema_version": VERSION} | _grid_attrs(grid)
    return xr.Dataset(data, held, dict(attrs) | {"versions": json.dumps(dict(attrs["versions"]))} | own)


def check_stored(dataset: xr.Dataset, *, call: str) -> None:
    """Check a Dataset that is to be stored, or was: a trajectory, or measures of runs.

    Raises:
        ValueError: as `check` does.

    """
    if dataset.attrs.get("schema") != MEASURES:
        check(dataset, call=call)
        return
    if "result" not in dataset.variables:
        held = ", ".join(sorted(map(str, dataset.variables))) or "nothing"
        raise ValueError(f"{call}: result is missing; the dataset has {held}")
    _check_field(dataset, "result", FIELDS["result"], leading(dataset), call)
    _check_values(dataset, call)


def check(dataset: xr.Dataset, needs: Iterable[str] | None = None, *, call: str = "check(dataset)") -> None:
    """Check that a Dataset is a trajectory; variables that the schema does not know are accepted.

    A Dataset made by hand need not have tegum's attributes, and its floating-point numbers may have any width. Only
    the values of `step`, `result`, `diverged_at` and `converged_at` are read; of the others, dimensions and dtype are
    checked.

    Args:
        dataset: a Dataset with the dimensions (seed, step, feature, hidden), after `spec` or the parameters of a
            grid if there are several Specs.
        needs: the variables that must be present, for a measure that needs only some; None means all of a trajectory.
        call: what errors begin with.

    Raises:
        ValueError: for the first variable that is missing, misshapen, of the wrong dtype, or mistaken for a
            coordinate (or not one); for steps that do not increase; for a result that no run can have, or one that
            its `diverged_at` or `converged_at` contradicts.

    """
    required = [name for name, field in FIELDS.items() if not field.optional] if needs is None else list(needs)
    for name in required:
        if name not in dataset.variables:
            held = ", ".join(sorted(map(str, dataset.variables))) or "nothing"
            raise ValueError(f"{call}: {name} is missing; the dataset has {held}")
    lead, parameters = leading(dataset), grid_of(dataset)
    for name, field in FIELDS.items():
        # Optional variables are checked too: a measure may use one if it is there.
        if name in dataset.variables and not (name in parameters and dataset.variables[name].dims in ((), (name,))):
            _check_field(dataset, name, field, lead, call)
    _check_values(dataset, call)


def grid_of(dataset: xr.Dataset) -> dict[str, list[str]]:
    """The parameters of the grid that a Dataset comes from, each with the keys it varies; empty if there is none."""
    try:
        found = json.loads(dataset.attrs.get(GRID, "{}"))
    except (TypeError, ValueError):  # a user's own attribute of that name
        return {}
    return found if isinstance(found, dict) else {}


def leading(dataset: xr.Dataset) -> tuple[str, ...]:
    """The dimensions that tell Specs apart: `spec`, or parameters of a grid; none where all runs have one Spec."""
    if SPEC in dataset.dims:
        return (SPEC,)
    return tuple(name for name in grid_of(dataset) if name in dataset.dims)


def one_selected(dataset: xr.Dataset) -> str:
    """How to select the runs of one of the Specs of a Dataset, as a sentence proposes it."""
    lead = leading(dataset)
    if all(dim.isidentifier() for dim in lead):
        return f"run.isel({', '.join(f'{dim}=0' for dim in lead)})"
    return f"run.isel({dict.fromkeys(lead, 0)})"


def _allowed(name: str, lead: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The dimensions a variable may have, with one Spec or with several."""
    field = FIELDS[name]
    changing = [(*lead, "step", *field.dims)] if field.or_each_step else []
    if not lead or field.dims == (name,):
        return [field.dims, *changing]
    # A coordinate that is the same for all Specs needs no leading dimension; results of training always have it.
    several = (*lead, *field.dims)
    return [field.dims, several, *changing] if field.coordinate else [several]


def _check_field(dataset: xr.Dataset, name: str, field: Field, lead: tuple[str, ...], call: str) -> None:
    variable = dataset.variables[name]
    allowed = _allowed(name, lead)
    if variable.dims not in allowed:
        rule = " or ".join(_tuple(dims) for dims in allowed)
        raise ValueError(f"{call}: {name} has the dimensions {_tuple(variable.dims)}; it must have {rule}")
    if variable.dtype.kind not in _NUMPY_KINDS[field.dtype]:
        raise ValueError(f"{call}: {name} has the dtype {variable.dtype}; it must hold {_WORDS[field.dtype]}")
    if field.coordinate and name not in dataset.coords:
        raise ValueError(f"{call}: {name} is a data variable; it must be a coordinate: dataset.set_coords({name!r})")
    if not field.coordinate and name in dataset.coords:
        raise ValueError(f"{call}: {name} is a coordinate; it must be a data variable: dataset.reset_coords({name!r})")


def _check_values(dataset: xr.Dataset, call: str) -> None:
    if "step" in dataset.variables:
        step = dataset["step"].values
        if (late := np.flatnonzero(step[1:] <= step[:-1])).size:
            at = int(late[0])
            raise ValueError(f"{call}: step goes from {step[at]} to {step[at + 1]}; steps must increase")
    if "result" in dataset.variables:
        result = dataset["result"].values
        if unknown := {str(value) for value in result.ravel()} - {*RESULTS}:
            raise ValueError(f"{call}: result holds {min(unknown)!r}; a result is one of {', '.join(RESULTS)}")
        for ending in ("diverged", "converged"):
            name = f"{ending}_at"
            if name not in dataset.variables:
                continue
            at = dataset[name].values
            if (wrong := np.flatnonzero((at.ravel() >= 0) != (result.ravel() == ending))).size:
                index = int(wrong[0])
                raise ValueError(
                    f"{call}: a run with the result {str(result.ravel()[index])!r} has {name}="
                    f"{at.ravel()[index]}; {name} is a step of a {ending} run and -1 of any other"
                )


def _variable(name: str, value: Any, sizes: Mapping[str, int], lead: tuple[str, ...]) -> xr.Variable:
    """The value as the variable `name` of a trajectory with these lengths of dimensions."""
    import xarray as xr

    field = FIELDS[name]
    if name in ("weights", "bias", "loss"):
        # These may fill the memory, so they are never converted behind the caller's back.
        array = np.asarray(value)
        right = (field.dtype, "float64") if field.or_double else (field.dtype,)
        if array.dtype not in map(np.dtype, right):
            raise ValueError(f"trajectory({name}={brief(array)}): {name} must already be {' or '.join(right)}")
    else:
        array = _converted(name, value, field)
    allowed = _allowed(name, lead)
    for dims in allowed:
        if array.shape == tuple(sizes[dim] for dim in dims):
            return xr.Variable(dims, array, field.attrs)
    rule = " or ".join(_tuple(f"{dim}={sizes[dim]}" for dim in dims) for dims in allowed)
    raise ValueError(f"trajectory({name}={brief(array)}): {name} must have the shape {rule}, to agree with weights")


def _converted(name: str, value: Any, field: Field) -> Shaped[np.ndarray, "*_shape"]:
    """The value with the schema's dtype, unless that would change it."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and field.dtype == "int64":
        raise ValueError(f"trajectory({name}={brief(array)}): {name} must hold integers")
    if (array.dtype.kind in "UT") != (field.dtype == "str") or array.dtype.kind not in "iufUT":
        raise ValueError(f"trajectory({name}={brief(array)}): {name} must hold {_WORDS[field.dtype]}")
    converted = array.astype(field.dtype, copy=False)
    if array.dtype.kind == "u" and not np.array_equal(converted, array):
        raise ValueError(f"trajectory({name}={brief(array)}): {name} must fit {field.dtype}")
    return converted


def _spec_coordinates(specs: Mapping[str, Any], length: int | None) -> dict[str, xr.Variable]:
    import xarray as xr

    if specs and length is None:
        raise ValueError(f"trajectory(specs={sorted(specs)}): weights has no leading spec dimension for them")
    variables = {}
    for name, values in specs.items():
        shown = f"trajectory(specs={{{name!r}: {brief(values)}}})"
        if name in FIELDS:
            raise ValueError(f"{shown}: {name} is a variable of every trajectory; give the coordinate another name")
        array = values if isinstance(values, np.ndarray) else _plain(values, shown)
        if array.shape != (length,):
            raise ValueError(f"{shown}: {name} must have one value for each of the {length} Specs")
        if array.dtype.kind not in "biufU":
            raise ValueError(f"{shown}: {name} must hold integers, floats, booleans or text")
        variables[name] = xr.Variable((SPEC,), array, {"long_name": name, "units": "1"})
    return variables


def _grid_attrs(grid: Mapping[str, Mapping[str, Sequence[Any]]] | None) -> dict[str, str]:
    return {GRID: json.dumps({dim: list(keys) for dim, keys in grid.items()})} if grid else {}


def _grid_coordinates(grid: Mapping[str, Mapping[str, Sequence[Any]]], sizes: Mapping[str, int]) -> dict[str, Any]:
    import xarray as xr

    variables = {}
    for dim, keys in grid.items():
        for name, (key, values) in zip((dim, *list(keys)[1:]), keys.items(), strict=True):
            shown = f"trajectory(grid={{{dim!r}: {{{key!r}: {brief(values)}}}}})"
            array = _plain(values, shown)
            if array.shape != (sizes[dim],):
                raise ValueError(f"{shown}: there must be one value for each of the {sizes[dim]} along {dim}")
            variables[name] = xr.Variable((dim,), array, {"long_name": key, "units": "1"})
    return variables


def _spec_of_each_run(numbers: Sequence[int], sizes: Mapping[str, int], lead: tuple[str, ...]) -> xr.Variable:
    import xarray as xr

    attrs = {"long_name": "which of the Specs, as a number made of its hash", "units": "1"}
    # For each run: runs of two Specs joined along `seed` keep it, whatever xarray does with other coordinates.
    array = np.repeat(np.array(numbers, np.uint64)[:, None], sizes["seed"], axis=1)
    dims = (*lead, "seed")
    return xr.Variable(dims, array.reshape([sizes[dim] for dim in dims]), attrs)


def described_by(run: xr.Dataset, call: str) -> list[int] | None:
    """For each entry of the leading dimensions, the last fastest, the index of its Spec in the attribute `spec`.

    Runs may have been selected and sorted since. None if they do not say which Spec they belong to.

    Raises:
        ValueError: naming `call`: the attribute does not describe the runs.

    """
    if SPEC_HASH not in run.coords:
        return None
    held, known = run[SPEC_HASH], _hash_numbers(run.attrs.get(SPEC_HASH, ""))
    lead = [dim for dim in leading(run) if dim in held.dims]
    rows = held.transpose(*lead, ...).values.reshape(math.prod(held.sizes[dim] for dim in lead), -1)
    of_each = [np.unique(row).tolist() for row in rows]
    places = {number: index for index, number in enumerate(known)}
    if any(len(found) != 1 or found[0] not in places for found in of_each):
        raise ValueError(
            f"{call}: it holds runs of other Specs than its attribute 'spec' describes, as after xarray.concat; "
            "evaluate each trajectory separately, then join the results"
        )
    return [places[found[0]] for found in of_each]


def _hash_numbers(hashes: Any) -> list[int]:
    """The numbers by which the coordinate `spec_hash` identifies Specs, for the hashes in the attribute."""
    return [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in str(hashes).split()]


def _plain(values: Sequence[Any], shown: str) -> Shaped[np.ndarray, "*_shape"]:
    # numpy would silently turn [1, "a"] into text and [True, 2] into integers.
    if len({(isinstance(value, str), isinstance(value, bool | np.bool_)) for value in values}) > 1:
        raise ValueError(f"{shown}: a coordinate must hold only numbers, only booleans or only text")
    return np.asarray(values)


def _tuple(dims: Iterable[Any]) -> str:
    return f"({', '.join(map(str, dims))})"


def brief(value: Any) -> str:
    """A value as a message quotes it: an array by its dtype and shape, a long text by its beginning."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if hasattr(value, "data_vars"):
        return type(value).__name__
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}…"
