"""Arrays in several .safetensors files, or several of torch.save, with an index that says in which each array is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

from tegum.core.inputs.files import ArrayFile, StoredArray, UnreadableError, obstacle, reading
from tegum.data.formats.json_files import beside, read_json
from tegum.data.formats.safetensors_files import SafetensorsFile
from tegum.data.formats.torch_files import TORCH_SUFFIXES, TorchFile

KINDS: Mapping[str, Callable[[Path], ArrayFile]] = {
    ".safetensors": SafetensorsFile,
    **dict.fromkeys(TORCH_SUFFIXES, TorchFile),
}
"""What opens a shard, by its suffix."""

INDEX = ".index.json"
"""The end of the name of an index, after the suffix of its shards: `pytorch_model.bin.index.json`."""

INDEXES = tuple(f"{suffix}{INDEX}" for suffix in KINDS)


@final
class ShardedFile(ArrayFile):
    """Several files in one folder, with an index that says which of them holds each array."""

    def __init__(self, path: Path) -> None:
        """Read the index; raises UnreadableError if one of its shards is missing, or lies outside the folder."""
        suffix = f".{path.name.removesuffix(INDEX).rpartition('.')[2]}"
        with reading(path, f"a readable index of {suffix} files"):
            held = read_json(path).get("weight_map")
            if not isinstance(held, dict) or not held or not all(isinstance(each, str) for each in held.values()):
                raise ValueError("its weight_map must have the name of a file for the name of each array")
            self._shards = {shard: beside(path.parent, shard) for shard in sorted({*held.values()})}
            for shard, place in self._shards.items():
                if found := obstacle(place):
                    raise ValueError(f"it names the file {shard[:100]!r}, {found}")
                if place.suffix != suffix:
                    raise ValueError(f"it names the file {shard[:100]!r}, which must end in {suffix}")
        self._held = held
        self._open = functools.cache(KINDS[suffix])
        super().__init__(path, list(held))

    def array(self, name: str) -> StoredArray:
        """An array in one of the files."""
        shard = self._open(self._shards[self._held[name]])
        if name not in (shard.names or ()):
            raise UnreadableError(
                "path", str(self.path), f"must lead to a true index, but {shard.path.name!r} does not hold {name!r}"
            )
        return shard.array(name)
