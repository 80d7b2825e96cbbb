"""A trajectory in a few rows of text: what was trained, how runs ended, and what they found."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.geometry.polytopes import polytope_names
from tegum.data import schema

if TYPE_CHECKING:
    import xarray as xr


def describe(trajectory: xr.Dataset) -> list[tuple[str, str]]:
    """Describe what was trained, in (name, value) rows.

    Args:
        trajectory: a trajectory, or the measures that `train(keep=…)` gives.

    Returns:
        The rows, as text.

    Raises:
        ValueError: the Dataset is neither.

    """
    measured = trajectory.attrs.get("schema") == schema.MEASURES
    rows = _of_measures(trajectory) if measured else _of_trajectory(trajectory)
    attrs, lead = trajectory.attrs, schema.leading(trajectory)
    specs = json.loads(attrs.get("spec", "[]"))
    first = specs[0] if isinstance(specs, list) and specs else specs or {}
    rows += [
        (key, ", ".join(f"{name} {value}" for name, value in first[key].items() if value is not None))
        for key in ("training",)
        if isinstance(first, dict) and key in first
    ]
    if isinstance(first, dict) and first.get("changes"):
        rows.append(("changes", "; ".join(map(_change, first["changes"]))))
    rows += [
        (f"differs: {name}", _range(coordinate.values))
        for name, coordinate in trajectory.coords.items()
        if len(lead) and len(coordinate.dims) == 1 and coordinate.dims[0] in lead
    ]
    rows += [
        (key.replace("_", " "), f"{attrs[key]:,}" if isinstance(attrs[key], float | int) else str(attrs[key]))
        for key in ("spec_hash", "created", "wall_time_s", "engine", "tegum_version")
        if key in attrs
    ]
    return rows


def _of_trajectory(trajectory: xr.Dataset) -> list[tuple[str, str]]:
    schema.check(trajectory, call="describe(trajectory)")
    sizes = trajectory.sizes
    rows = [
        ("features, n", str(sizes["feature"])),
        ("hidden dimension, m", str(sizes["hidden"])),
        ("kinds of set", _counted(_sets(trajectory))),
        ("density of a feature", _range(trajectory["density"].values)),
        ("importance", _range(trajectory["importance"].values)),
        ("runs", _runs(trajectory)),
        ("steps", f"{int(trajectory['step'][-1]):,}, of which {sizes['step']} recorded"),
    ]
    if "time" in trajectory.coords:
        rows.append(("time at the end", _range(trajectory["time"].isel(step=-1).values)))
    if "converged_at" in trajectory and (at := trajectory["converged_at"].values)[at >= 0].size:
        rows.append(("steps to convergence", _range(at[at >= 0])))
    return rows


def _of_measures(measures: xr.Dataset) -> list[tuple[str, str]]:
    """What was measured of each run, and how runs ended."""
    schema.check_stored(measures, call="describe(measures)")
    rows = [("runs, of which measures were kept", _runs(measures))]
    run = {*schema.leading(measures), "seed"}
    for name, each in measures.data_vars.items():
        if name not in schema.FIELDS or name in ("weights", "bias", "loss"):
            sizes = ", ".join(f"{dim}={size}" for dim, size in each.sizes.items() if dim not in run)
            kind = "text" if each.dtype.kind in "OU" else each.dtype.name
            rows.append((f"measure: {name}", f"{kind}{sizes and f' ({sizes})'} for each run"))
    return [*rows, ("how the runs ended", _counted(np.ravel(measures["result"].values).tolist()))]


def _runs(dataset: xr.Dataset) -> str:
    return " × ".join(str(dataset.sizes[dim]) for dim in (*schema.leading(dataset), "seed") if dim in dataset.sizes)


def last_snapshots(trajectory: xr.Dataset) -> xr.Dataset:
    """Select the last snapshot of each run whose loss is finite, without the dimension `step`; the first if none is.

    Args:
        trajectory: a trajectory.

    Returns:
        The snapshots, one per run.

    Raises:
        ValueError: the Dataset has no loss or result.

    """
    import xarray as xr

    schema.check(trajectory, ["loss", "result"], call="last_snapshots(trajectory)")
    loss = trajectory["loss"]
    finite = np.isfinite(loss.transpose(..., "step").values)
    if finite[..., -1].all():
        return trajectory.isel(step=-1)
    dims = [dim for dim in loss.dims if dim != "step"]
    last = np.where(finite.any(-1), finite.shape[-1] - 1 - finite[..., ::-1].argmax(-1), 0)
    places = {str(dim): xr.Variable((dim,), np.arange(loss.sizes[dim])) for dim in dims}
    return trajectory.isel({"step": xr.Variable(dims, last), **places})


def endings(
    last: xr.Dataset, loss: xr.DataArray, error: xr.DataArray | None, exact: bool = False, name: str = "loss"
) -> list[dict[str, str]]:
    """List, for each way in which runs ended, their number and the mean, least and largest of their finite losses.

    The error of the mean is the mean error: runs share an evaluation sample, so all may be off in the same direction.

    Args:
        last: the last snapshots of runs, as `last_snapshots` gives them.
        loss: the losses of these snapshots.
        error: the errors of these losses; None if unknown.
        exact: whether this is the exact loss, and the error a bound.
        name: the name of the loss in column heads.

    Returns:
        One row per way of ending, from column head to text.

    """
    dims = last["result"].dims
    result = last["result"].values.ravel()
    values = loss.transpose(*dims).values.ravel().astype(float)
    errors = np.full(values.shape, np.nan) if error is None else error.transpose(*dims).values.ravel()
    rows = []
    for way in dict.fromkeys(result.tolist()):
        own = np.flatnonzero((result == way) & np.isfinite(values))
        shown = ("none",) * 3
        if len(own):
            ends = own[np.argmin(values[own])], own[np.argmax(values[own])]
            pairs = [(values[own].mean(), errors[own].mean()), *((values[at], errors[at]) for at in ends)]
            shown = tuple(with_error(float(value), float(error), exact) for value, error in pairs)
        losses = dict(zip((f"{name}, mean", "least", "largest"), shown, strict=True))
        rows.append({"result": str(way), "runs": str(int((result == way).sum())), **losses})
    return rows


def with_error(value: float, error: float, exact: bool = False) -> str:
    """Write a number with as many digits as its error allows.

    An exact number has up to six digits, as far as the bound of its error permits. Any other is followed by its
    standard error with two digits; if that is not known (NaN), the number has three digits.

    Args:
        value: the number.
        error: its standard error, or for an exact number a bound of its error.
        exact: whether the number is exact.

    Returns:
        The number as text; "none" if it is not finite.

    """
    if not np.isfinite(value):
        return "none"
    if exact:
        sure = 6 if value == 0 or not error > 0 else _magnitude(value) - _magnitude(error)
        return f"{value:.{min(max(sure, 1), 6)}g}"
    if not np.isfinite(error):
        return f"{value:.3g}"
    if error == 0 or (value and _magnitude(value) - _magnitude(error) > 5):
        return f"{value:.6g} ± {error:.1g}"
    largest = max(_magnitude(value) if value else _magnitude(error), _magnitude(error))
    decimals = 1 - _magnitude(error)
    if largest > -4 and decimals >= 0:
        return f"{value:.{decimals}f} ± {error:.{decimals}f}"
    scale, decimals = 10.0**largest, largest + decimals
    return f"({value / scale:.{decimals}f} ± {error / scale:.{decimals}f})e{largest:+03d}"


def _magnitude(value: float) -> int:
    """The power of ten of the leading digit after rounding to two digits."""
    return int(f"{abs(value):.1e}".split("e")[1])


def polytopes_found(trajectory: xr.Dataset, most: int = 12) -> list[dict[str, str]]:
    """Count the polytopes at the last recorded step of all runs, with their shares, the most frequent first.

    Returns:
        One row per name, from column head to text.

    """
    schema.check(trajectory, ["weights"], call="polytopes_found(trajectory)")
    names = Counter(np.ravel(polytope_names(trajectory["weights"].isel(step=-1)).values).tolist())
    runs = sum(names.values())
    counts = names.most_common(most)
    if rest := len(names) - len(counts):
        counts.append((f"{rest} others", runs - sum(count for _, count in counts)))
    return [{"polytope": name, "runs": str(count), "share": f"{count / runs:.0%}"} for name, count in counts]


def _sets(trajectory: xr.Dataset) -> list[str]:
    """The kind of each set, of the first Spec if there are several."""
    kind, number = (
        trajectory[name].isel(dict.fromkeys(trajectory[name].dims[:-1], 0)).values for name in ("kind", "set")
    )
    return [str(kind[np.argmax(number == each)]) for each in np.unique(number)]


def _change(change: dict[str, Any]) -> str:
    """A change of a Spec in words: "at step 400 rate 0.002, set 0 density 0.1"."""
    parts = [f"rate {change['rate']}"] if "rate" in change else []
    for each in change.get("sets", ()):
        parts += [f"set {each['set']} {name} {value}" for name, value in each.items() if name != "set"]
    return f"at step {change['step']:,} {', '.join(parts) or 'nothing'}"


def _counted(words: list[str]) -> str:
    return ", ".join(f"{count} × {word}" for word, count in Counter(words).items())


def _range(values: Any) -> str:
    if values.dtype.kind not in "iuf":
        return ", ".join(dict.fromkeys(map(str, values.ravel().tolist())))
    low, high = np.min(values), np.max(values)
    return f"{low:.6g}" if low == high else f"{low:.6g} … {high:.6g}"
