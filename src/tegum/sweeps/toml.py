"""A sweep as a TOML file: the Spec, what varies, and what is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final, get_args

from tegum.core.arguments import is_integer
from tegum.core.description import short
from tegum.core.inputs.files import shown
from tegum.core.words import nearest
from tegum.sweeps.design import Design, design
from tegum.sweeps.kept import Keeping
from tegum.training.engine import EngineName
from tegum.training.spec.overrides import Changes, read_toml
from tegum.training.spec.spec import Spec, with_places

_KEYS = ("spec", "parameters", "way", "count", "seed", "keep", "engine", "pack", "allow_mixed")


@final
class DescribedSweep(NamedTuple):
    """What a file says of a sweep."""

    design: Design
    keeping: Keeping
    engine: Any
    pack: int | None
    mixed: bool


def read_sweep(path: str | os.PathLike[str], changes: Changes = ()) -> DescribedSweep:
    """Read a sweep from a TOML file.

    Args:
        path: the file. Its keys are the arguments of `tegum.sweep`: `spec` (a table of the keys of a Spec, or the path
            of another TOML file), `parameters`, `way`, `count`, `seed`, `keep`, `engine`, `pack`, `allow_mixed`.
            Paths in it are relative to its folder.
        changes: changes of the Spec, as `Spec.override` takes them.

    Returns:
        What it describes.

    Raises:
        ValueError: naming the file: it cannot be read, or does not describe a sweep.

    """
    file = Path(path)
    values = read_toml(file)
    name = shown(file)
    if unknown := [key for key in values if key not in _KEYS]:
        raise ValueError(f"{name}: there is no key {short(unknown[0])}; {nearest(unknown[0], _KEYS)}")
    if "spec" not in values:
        raise ValueError(f"{name}: spec is missing: a table [spec] with the keys of a Spec, or the path of its file")
    spec = _spec(values["spec"], file, name, changes)
    for key, fits, rule in (
        ("engine", lambda value: value in get_args(EngineName), "'auto', 'kernel' or 'jax'"),
        ("allow_mixed", lambda value: isinstance(value, bool), "true or false"),
        ("pack", lambda value: is_integer(value) and value >= 1, "a whole number of at least 1"),
    ):
        if key in values and not fits(values[key]):
            raise ValueError(f"{name}: {key}={short(values[key])}: {key} must be {rule}")
    chosen = {key: values[key] for key in ("way", "count", "seed") if key in values}
    try:
        made = design(spec, values.get("parameters"), **chosen, call="sweep")
        keeping = Keeping(_keep(values.get("keep", ["states"]), file), "sweep")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return DescribedSweep(
        made, keeping, values.get("engine", "auto"), values.get("pack"), values.get("allow_mixed", False)
    )


def _spec(given: Any, file: Path, name: str, changes: Changes) -> Spec:
    if isinstance(given, str):
        return Spec.from_toml(file.parent / given, changes)
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: spec={short(given)}: must be a table of the keys of a Spec, or the path of its file")
    try:
        return Spec.from_json(with_places(given, file), changes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _keep(given: Any, file: Path) -> Any:
    """What is kept, with the paths of Python files made absolute from the folder of the file."""
    if not isinstance(given, list):
        return given
    return [
        {**each, "measure": _placed(each["measure"], file)}
        if isinstance(each, Mapping) and "measure" in each
        else _placed(each, file)
        for each in given
    ]


def _placed(measure: Any, file: Path) -> Any:
    if not isinstance(measure, str):
        return measure
    where, colon, function = measure.rpartition(":")
    if not colon or not where.endswith(".py") or Path(where).is_absolute():
        return measure
    return f"{(file.absolute().parent / where).as_posix()}:{function}"
