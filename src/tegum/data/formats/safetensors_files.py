"""Arrays in .safetensors files, single or several with an index; numbers are mapped, not read."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any, final

import numpy as np

from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.files import ArrayFile, StoredArray, UnreadableError, obstacle, reading

INDEX = ".safetensors.index.json"
"""The end of the name of a file that says in which shard each array is."""

_MOST_JSON = 2**26
"""The most bytes of JSON that are read."""

_DTYPES = {
    "BOOL": "bool", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
"""NumPy's dtypes by their names in safetensors."""

_NARROW = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip
"""The dtypes that NumPy lacks, by their names in safetensors, with those in ml_dtypes."""


@final
class SafetensorsFile(ArrayFile):
    """One file; its header is checked when it is opened."""

    def __init__(self, path: Path) -> None:
        """Read the header; raises UnreadableError if it lies."""
        from safetensors import safe_open

        with reading(path, "a readable .safetensors file"):
            # The library checks the header for consistency and against the file's length, and reads no numbers.
            with safe_open(path, framework="numpy"):
                pass
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(length), object_pairs_hook=_once)
            self._start = 8 + length
            self._header = {name: each for name, each in header.items() if name != "__metadata__"}
        super().__init__(path, list(self._header))

    def array(self, name: str) -> StoredArray:
        """An array of this file, mapped unless NumPy lacks its dtype."""
        path = self.path
        kind, shape, (start, _) = (self._header[name][field] for field in ("dtype", "shape", "data_offsets"))
        if kind in _DTYPES:
            dtype = np.dtype(_DTYPES[kind])
        elif kind in _NARROW:
            import ml_dtypes

            dtype = np.dtype(getattr(ml_dtypes, _NARROW[kind]))
        else:
            raise UnreadableError(
                "path", str(path), f"must lead to a matrix of real numbers, but this is {kind} of shape {tuple(shape)}"
            )

        def read(at: tuple[int | slice, ...]) -> np.ndarray:
            # Mapped as bytes first: the numbers may not be aligned in the file.
            with reading(path, "a readable .safetensors file"):
                raw = np.memmap(path, np.uint8, "r", self._start + start, (math.prod(shape) * dtype.itemsize,))
                return numbers_of(raw.view(dtype).reshape(shape)[at])

        narrow = kind in _NARROW
        return StoredArray(tuple(shape), np.dtype(np.float32) if narrow else dtype, read, not narrow)


@final
class ShardedFile(ArrayFile):
    """Several .safetensors files in one folder, with an index that says which of them holds each array."""

    def __init__(self, path: Path) -> None:
        """Read the index; raises UnreadableError if one of its shards is missing, or lies outside the folder."""
        with reading(path, "a readable index of .safetensors files"):
            held = read_json(path).get("weight_map")
            if not isinstance(held, dict) or not held or not all(isinstance(each, str) for each in held.values()):
                raise ValueError("its weight_map must have the name of a file for the name of each array")
            self._shards = {shard: beside(path.parent, shard) for shard in sorted({*held.values()})}
            for shard, place in self._shards.items():
                if found := obstacle(place):
                    raise ValueError(f"it names the file {shard[:100]!r}, {found}")
        self._held = held
        self._open = functools.cache(SafetensorsFile)
        super().__init__(path, list(held))

    def array(self, name: str) -> StoredArray:
        """An array in one of the files."""
        shard = self._open(self._shards[self._held[name]])
        if name not in (shard.names or ()):
            raise UnreadableError(
                "path", str(self.path), f"must lead to a true index, but {shard.path.name!r} does not hold {name!r}"
            )
        return shard.array(name)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: it is not one, has a key twice, or is longer than 64 MiB; or json raises something else.

    """
    with path.open("rb") as stream:
        text = stream.read(_MOST_JSON + 1)
    if len(text) > _MOST_JSON:
        raise ValueError(f"it is longer than {_MOST_JSON} bytes")
    found = json.loads(text, object_pairs_hook=_once)
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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("two of its entries have the same name")
    return dict(pairs)
