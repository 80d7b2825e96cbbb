"""Arrays in zarr folders, read only if they are complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, final

import numpy as np

from tegum.core.inputs.files import ArrayFile, StoredArray, UnreadableError, damaged, reading
from tegum.data import zarr_setup

_ZARR = "a readable zarr array or group"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any(os.path.lexists(path / name) for name in ("zarr.json", ".zarray", ".zgroup"))


@final
class ZarrFolder(ArrayFile):
    """An array in a folder, or those of a group."""

    def __init__(self, path: Path) -> None:
        """Open the folder; raises UnreadableError if there is no zarr array or group."""
        zarr_setup.imported(path.name)
        import zarr

        if not is_zarr(path):
            raise damaged(path, _ZARR, ValueError("there is none in this folder"))
        with reading(path, _ZARR), zarr_setup.scope():
            self._found: Any = zarr.open(path, mode="r")
            alone = isinstance(self._found, zarr.Array)
            super().__init__(path, None if alone else [name for name, _ in self._found.arrays()])

    def chosen(self, key: str | None) -> str:
        """The name of the array to read, which may also be a path in the group."""
        with reading(self.path, _ZARR), zarr_setup.scope():
            if self.names is not None and key is not None and key in self._found:
                return key
        return super().chosen(key)

    def array(self, name: str) -> StoredArray:
        """An array of this folder; it is read as a whole."""
        import zarr

        from tegum.data.chunks import DamagedChunkError, read

        def numbers(at: tuple[int | slice, ...]) -> np.ndarray:
            with reading(self.path, _ZARR), zarr_setup.scope():
                try:
                    return read(found)[at]
                except DamagedChunkError as error:
                    rule = f"must lead to a complete zarr array: {error}"
                    raise UnreadableError("path", str(self.path), rule) from None

        with reading(self.path, _ZARR), zarr_setup.scope():
            found = self._found if self.names is None else self._found[name]
            if not isinstance(found, zarr.Array):
                raise UnreadableError("key", name, "must be the path of an array, but this is a group")
            return StoredArray(found.shape, np.dtype(found.dtype), numbers)
