"""JSON beside arrays: configurations, and indices that name other files of the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST_JSON = 2**26
"""The most bytes of JSON that are read."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: it is not one, has a key twice, or is longer than 64 MiB; or json raises something else.

    """
    with path.open("rb") as stream:
        text = stream.read(_MOST_JSON + 1)
    if len(text) > _MOST_JSON:
        raise ValueError(f"it is longer than {_MOST_JSON} bytes")
    found = json.loads(text, object_pairs_hook=once)
    if not isinstance(found, dict):
        raise ValueError("it must hold a JSON object")
    return found


def beside(folder: Path, name: str) -> Path:
    """The file of this name in a folder.

    Raises:
        ValueError: it is a path and no name, or a symbolic link that leads elsewhere; one into the `blobs` of a
            Hugging Face cache leads to the same download.

    """
    place = folder / name
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"it names {name[:100]!r}, which must be a file in the same folder, without a path")
    if place.is_symlink():
        here, target = folder.resolve(), place.resolve()
        cached = here.parent.name == "snapshots" and target.parent == here.parent.parent / "blobs"
        if target.parent != here and not cached:
            raise ValueError(f"{name[:100]!r} must be a file in the same folder, but is a symbolic link to elsewhere")
    return place


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The table of a JSON object; raises ValueError if a name is there twice."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("two of its entries have the same name")
    return dict(pairs)
