"""The manifest of a store: the length and the sha256 of every file in it, and of itself.

It is the metadata of an empty zarr group, `manifest/zarr.json`, since zarr warns about files it does not know.
Written last, it also says that the store is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from tegum.core.inputs.files import obstacle
from tegum.core.words import closest
from tegum.data import schema
from tegum.data.atomic import reading, set_aside

GROUP = "manifest"
METADATA = "zarr.json"
FILE = f"{GROUP}/{METADATA}"
_MOST_ENTRIES = 100
"""The most entries of a folder that are searched for stores."""

Files = Mapping[str, tuple[int, str]]
"""Length in bytes and sha256 of every file of a store, by its path in the store."""


def write(root: Path, names: Iterable[str]) -> None:
    """Write the manifest of the store at `root`, whose arrays are `names`, in this order."""
    arrays = [file for name in names for file in sorted((root / name).rglob("*")) if file.is_file()]
    files = {
        file.relative_to(root).as_posix(): (file.stat().st_size, _digest(file.read_bytes()))
        for file in [root / METADATA, *arrays]
    }
    (root / GROUP).mkdir()
    (root / FILE).write_bytes(_document(files))


def read(root: Path, call: str) -> Files:
    """The files of the store at `root`, after checking that it is a tegum store of this schema version.

    Raises:
        ValueError: the path is not a tegum store, has another schema version, or its manifest is damaged.
        FileNotFoundError: nothing is at the path.

    """
    found = obstacle(root, "folder")
    if found == "and there is none":
        old = set_aside(root)
        hint = f"; an interrupted save that was to replace it left the former store at {str(old)!r}" if old else ""
        raise FileNotFoundError(f"{call}: there is nothing at this path{hint or _neighbour(root)}")
    if found == "and this is a file":
        raise ValueError(f"{call}: this is a file; a tegum store is a folder")
    if found:
        raise ValueError(f"{call}: a tegum store is a folder, {found}")
    if not (root / FILE).is_file():
        raise ValueError(f"{call}: {_without(root)}")
    text = (root / FILE).read_bytes()
    try:
        attributes = json.loads(text)["attributes"]
        name, version = attributes["schema"], attributes["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{call}: {damage(FILE, 'cannot be read')}") from None
    if (name, version) != (schema.NAME, schema.VERSION):
        raise ValueError(other_version(call, name, version))
    # Compared as a whole, so that no altered byte is too small to notice.
    if text != _document(attributes.get("files")):
        raise ValueError(f"{call}: {damage(FILE, 'is not as it was saved')}")
    return {file: (size, digest) for file, (size, digest) in attributes["files"].items()}


def _neighbour(root: Path) -> str:
    """A question after something beside a path that is not there, whose name is nearly the same."""
    try:
        beside = [each.name for each in islice(root.parent.iterdir(), _MOST_ENTRIES) if each.is_dir()]
    except OSError:
        return ""
    close = closest(root.name, beside)
    return f"; did you mean {str(root.with_name(close))!r}?" if close else ""


def other_version(call: str, name: Any, version: Any) -> str:
    """The message about a store of another schema, or of another version of it."""
    return (
        f"{call}: the store has the schema {name!r}, version {version!r}, but this tegum reads "
        f"{schema.NAME!r}, version {schema.VERSION}; load it with the tegum that wrote it, or train the run again"
    )


def compare(root: Path, files: Files, call: str, *, everything: bool) -> None:
    """Compare all lengths, and the digests of everything or only of the metadata.

    Raises:
        ValueError: naming the first file that is missing, truncated or altered, and its variable.

    """
    damaged: list[tuple[str, str]] = []
    for name, (size, digest) in files.items():
        path = root / name
        if not path.is_file():
            damaged.append((name, "is missing"))
        elif (found := path.stat().st_size) != size:
            damaged.append((name, f"has {found} bytes instead of {size}"))
        elif (everything or path.name == METADATA) and _digest(path.read_bytes()) != digest:
            damaged.append((name, "is not as it was saved"))
    if damaged:
        raise ValueError(f"{call}: {damage(*damaged[0], others=len(damaged) - 1)}")


def content(root: Path, name: str, digest: str) -> bytes:
    """One file of a store that was loaded earlier.

    Raises:
        ValueError: it is missing, or has changed.

    """
    call = f"reading from {str(root)!r}"
    try:
        with reading(call):
            data = (root / name).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{call}: {damage(name, 'is missing')}") from None
    if _digest(data) != digest:
        raise ValueError(f"{call}: {damage(name, 'is not as it was saved, or has been replaced since it was loaded')}")
    return data


def damage(file: str, what: str, others: int = 0) -> str:
    """The end of a message about a damaged file."""
    name, inner, _ = file.partition("/")
    variable = f" of the variable {name!r}" if inner and name != GROUP else ""
    more = f" (and {others} more)" if others else ""
    return (
        f"the file {file!r}{variable} {what}{more}; the store is damaged: restore it from a copy, or "
        "train the run again"
    )


def _without(root: Path) -> str:
    """Why a folder without a manifest is not a tegum store."""
    if not (root / METADATA).is_file():
        old = any((root / name).is_file() for name in (".zgroup", ".zarray", ".zmetadata"))
        what = "a zarr store of format 2" if old else "not a zarr store"
        return f"this folder is {what}, {'not' if old else 'nor'} a tegum store{'' if old else _inside(root)}"
    if (root.parent / FILE).is_file():
        return f"this folder is a variable of the store {str(root.parent)!r}, which is loaded as a whole"
    with suppress(ValueError, KeyError, TypeError):
        if json.loads((root / METADATA).read_bytes())["attributes"]["schema"] in (schema.NAME, schema.MEASURES):
            return damage(FILE, "is missing")
    return "this is a zarr store that tegum.save did not write; xarray.open_zarr may open it"


def _inside(root: Path) -> str:
    """Where the stores in a folder are, searched two levels deep."""
    with suppress(OSError):
        near = sorted(islice(root.iterdir(), _MOST_ENTRIES))
        folders = [each for each in near if each.is_dir()]
        further = [each for folder in folders for each in sorted(islice(folder.iterdir(), _MOST_ENTRIES))]
        stores = [str(each) for each in (*near, *further) if (each / FILE).is_file()]
        if len(stores) == 1:
            return f"; there is one inside it: {stores[0]!r}"
        if stores:
            shown = ", ".join(map(repr, stores[:3])) + (", …" if len(stores) > 3 else "")
            return f"; there are {len(stores)} inside it: {shown}"
        if tables := [each for each in near if (each / METADATA).is_file()]:
            return f"; what is inside it, {str(tables[0])!r}, is not a trajectory, but xarray.open_zarr may open it"
    return ""


def _document(files: Any) -> bytes:
    attributes = {"schema": schema.NAME, "schema_version": schema.VERSION, "files": files}
    attributes["sha256"] = _digest(json.dumps(attributes).encode())
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
