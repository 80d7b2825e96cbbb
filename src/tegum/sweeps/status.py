"""How far a sweep is, as anybody can see it who sees its place: while it runs, after a crash, and when it is done."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple, final

import numpy as np

from tegum.core.limits import readable
from tegum.sweeps import plan as plans
from tegum.sweeps import store
from tegum.sweeps.claims import Claims
from tegum.sweeps.places import SweepPlace
from tegum.training.spec.grid import plain_value


@final
class SweepStatus(NamedTuple):
    """How far a sweep is."""

    specs: int
    runs: int
    runs_there: int
    packs: int
    packs_there: int
    complete: bool
    processes: int
    """Processes of this machine that hand out packs at the moment."""
    elsewhere: int
    """Processes of other machines that have begun to, and have not said that they ended: whether they are still alive
    cannot be seen from here at once."""
    set_aside: tuple[dict[str, Any], ...]
    """Packs that have failed, each with its errors."""
    bytes: int
    """What the sweep takes on the disk."""


def status(place: SweepPlace, call: str) -> tuple[plans.SweepPlan, SweepStatus]:
    """The plan of a sweep, and how far it is.

    Raises:
        ValueError: there is no sweep, or its plan is damaged.

    """
    made = plans.read(place, call)
    if made is None:
        raise ValueError(f"{call}: there is no sweep at {place.address}")
    sizes = place.sizes("")
    stored = {*store.receipts(place)}
    there = stored | {path.rpartition("/")[2] for path in sizes if path.startswith("packs/")}
    found = [pack for pack in made.packs if pack.name in there]
    set_aside = []
    for path in sorted(sizes):
        if path.startswith("failed/"):
            try:
                told = json.loads(place.read(path))
                set_aside.append({key: list(told[key]) for key in ("specs", "runs", "errors")} | {"pack": told["pack"]})
            except (OSError, ValueError, KeyError, TypeError):
                continue
    here, elsewhere = Claims.alive_at(place)
    told = SweepStatus(
        specs=len(made.design.specs),
        runs=made.runs,
        runs_there=sum(pack.runs for pack in found),
        packs=len(made.packs),
        packs_there=len(found),
        complete=store.sealed_packs(place) is not None and len(found) == len(made.packs),
        processes=here,
        elsewhere=elsewhere,
        set_aside=tuple(each for each in set_aside if each.get("pack") not in there),
        bytes=sum(sizes.values()),
    )
    return made, told


def rows(made: plans.SweepPlan, told: SweepStatus) -> list[tuple[str, str]]:
    """A sweep as lines of a table."""
    varied = ", ".join(
        f"{name} ({len(set(map(str, values)))} values)" for name, values in made.design.coordinates.items()
    )
    kept = ", ".join(dict.fromkeys(array.name for group in made.groups for array in group.layout.arrays))
    state = "complete" if told.complete else "incomplete"
    if told.processes:
        state += f", {told.processes} process{'es' * (told.processes > 1)} handing out packs"
    if told.elsewhere:
        state += f", {told.elsewhere} on other machines, if still alive"
    found = [
        ("state", state),
        ("Specs", f"{told.specs:,}" + (f", by {varied}" if varied else "")),
        ("runs", f"{told.runs_there:,} of {told.runs:,}"),
        ("packs", f"{told.packs_there:,} of {told.packs:,}"),
        ("kept", kept),
        ("engine", f"{made.engine}, {'mixed vector units' if made.mixed else made.identity.unit}"),
        ("size", readable(told.bytes)),
    ]
    shapes = [group.layout.path for group in made.groups if group.layout.path]
    if shapes:
        found.append(("groups", ", ".join(shapes)))
    for each in told.set_aside[:5]:
        what = f"Specs {_span(each['specs'])}, runs {each['runs'][0]} to {each['runs'][1] - 1}: {each['errors'][-1]}"
        found.append(("set aside", what))
    if len(told.set_aside) > 5:
        found.append(("", f"and {len(told.set_aside) - 5} more packs"))
    return found


def overview(place: SweepPlace, call: str, most: int = 200) -> dict[str, Any]:
    """How far a sweep is, and what is known of each of its Specs, in JSON's types.

    Args:
        place: the place of the sweep.
        call: what errors begin with.
        most: the most Specs that are described, the first ones of each shape.

    Returns:
        The fields of `SweepStatus`; `measures`, the names of what is one value for each run; and `rows`, for each Spec
        its `labels` by parameter, the Spec itself, the number of runs that are there, and the `values` of its
        measures, as means of numbers and as shares of words.

    Raises:
        ValueError: there is no sweep.

    """
    made, told = status(place, call)
    tree = store.datatree(place, made)
    found, names = list[dict[str, Any]](), dict[str, None]()
    labels = made.design.coordinates
    for group in made.groups:
        own = tree[f"/{group.layout.path}"].to_dataset()
        single = [array.name for array in group.layout.arrays if not array.shape and array.name not in _ENDS]
        names |= dict.fromkeys(single)
        members = group.members[: most - len(found)]
        some = own[["result", *single]].isel(spec=slice(len(members))).load()
        for at, number in enumerate(members):
            one = some.isel(spec=at)
            there = (one["result"] != "missing").values
            found.append(
                {
                    "labels": {name: plain_value(values[number]) for name, values in labels.items()},
                    "spec": made.design.specs[number].to_json(),
                    "runs": int(there.sum()),
                    "values": {name: _summed(one[name].values[there]) for name in single} if there.any() else {},
                }
            )
    return told._asdict() | {"measures": list(names), "rows": found}


_ENDS = ("result", "diverged_at", "converged_at")


def _summed(values: Any) -> str:
    """The mean of numbers, or the shares of the most frequent words."""
    if values.dtype.kind in "OUT":
        counts = Counter(map(str, values)).most_common(3)
        return ", ".join(f"{word[:60]} {count / len(values):.0%}" for word, count in counts)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return f"{finite.mean():.4g}" if finite.size else "none is finite"


def _span(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
