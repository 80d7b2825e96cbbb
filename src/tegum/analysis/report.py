"""A trajectory in a few rows of text: what was trained, how it ended, what it found."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.polytopes import polytope_names
from tegum.data import schema

if TYPE_CHECKING:
    import xarray as xr


def describe(trajectory: xr.Dataset) -> list[tuple[str, str]]:
    """What was trained, as (what, value) rows.

    Raises:
        ValueError: the Dataset is no trajectory.

    """
    schema.check(trajectory, call="describe(trajectory)")
    sizes, attrs = trajectory.sizes, trajectory.attrs
    specs = json.loads(attrs.get("spec", "[]"))
    first = specs[0] if isinstance(specs, list) and specs else specs or {}
    rows = [
        ("features, n", str(sizes["feature"])),
        ("hidden dimension, m", str(sizes["hidden"])),
        ("kinds of set", _counted(_sets(trajectory))),
        ("density of a feature", _range(trajectory["density"].values)),
        ("importance", _range(trajectory["importance"].values)),
        ("runs", " × ".join(str(sizes[dim]) for dim in (schema.SPEC, "seed") if dim in sizes)),
        ("steps", f"{int(trajectory['step'][-1]):,}, of which {sizes['step']} recorded"),
    ]
    if "time" in trajectory.coords:
        rows.append(("time at the end", _range(trajectory["time"].isel(step=-1).values)))
    if "converged_at" in trajectory and (at := trajectory["converged_at"].values)[at >= 0].size:
        rows.append(("steps to convergence", _range(at[at >= 0])))
    rows += [
        (key, ", ".join(f"{name} {value}" for name, value in first[key].items() if value is not None))
        for key in ("training",)
        if isinstance(first, dict) and key in first
    ]
    rows += [
        (f"differs: {name}", _range(coordinate.values))
        for name, coordinate in trajectory.coords.items()
        if coordinate.dims == (schema.SPEC,)
    ]
    rows += [
        (key.replace("_", " "), f"{attrs[key]:,}" if isinstance(attrs[key], float | int) else str(attrs[key]))
        for key in ("spec_hash", "created", "wall_time_s", "engine", "tegum_version")
        if key in attrs
    ]
    return rows


def endings(trajectory: xr.Dataset) -> list[tuple[str, str, float, float, float]]:
    """For each way runs ended: how many, and the mean, least and largest of their last finite losses."""
    schema.check(trajectory, ["loss", "result"], call="endings(trajectory)")
    result = trajectory["result"].values.ravel()
    loss = trajectory["loss"].values.reshape(len(result), -1)
    last = np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in loss])
    rows = []
    for name in dict.fromkeys(result.tolist()):
        own = last[(result == name) & np.isfinite(last)]
        figures = (own.mean(), own.min(), own.max()) if len(own) else (np.nan,) * 3
        rows.append((str(name), str(int((result == name).sum())), *map(float, figures)))
    return rows


def polytopes_found(trajectory: xr.Dataset, most: int = 12) -> list[tuple[str, str, str]]:
    """The names of the polytopes at each run's last recorded step, with counts and shares, the most frequent first."""
    schema.check(trajectory, ["weights"], call="polytopes_found(trajectory)")
    names = Counter(np.ravel(polytope_names(trajectory["weights"].isel(step=-1)).values).tolist())
    runs = sum(names.values())
    rows = [(name, str(count), f"{count / runs:.0%}") for name, count in names.most_common(most)]
    if rest := len(names) - len(rows):
        others = runs - sum(count for _, count in names.most_common(most))
        rows.append((f"{rest} others", str(others), f"{others / runs:.0%}"))
    return rows


def _sets(trajectory: xr.Dataset) -> list[str]:
    """The kind of each set (of the first Spec, if there are several)."""
    kind, number = (
        trajectory[name].isel({schema.SPEC: 0} if schema.SPEC in trajectory[name].dims else {}).values
        for name in ("kind", "set")
    )
    return [str(kind[np.argmax(number == each)]) for each in np.unique(number)]


def _counted(words: list[str]) -> str:
    return ", ".join(f"{count} × {word}" for word, count in Counter(words).items())


def _range(values: Any) -> str:
    if values.dtype.kind not in "iuf":
        return ", ".join(dict.fromkeys(map(str, values.ravel().tolist())))
    low, high = np.min(values), np.max(values)
    return f"{low:.6g}" if low == high else f"{low:.6g} … {high:.6g}"
