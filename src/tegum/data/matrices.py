"""Weights and activations that a user brings: matrices in files of NumPy, safetensors, PyTorch and zarr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from tegum.core.inputs.files import (
    ArrayFile,
    StoredArray,
    UnreadableError,
    damaged,
    numpy_file,
    obstacle,
    reading,
    shown,
)
from tegum.data import torch_files, zarr_setup
from tegum.data.safetensors_files import INDEX, SafetensorsFile, ShardedFile

SUFFIXES = (".npy", ".npz", ".safetensors", INDEX, *torch_files.SUFFIXES, ".zarr")


def open_matrix(path: str | os.PathLike[str], key: str | None = None, *, call: str, sparse: bool = False) -> Any:
    """The matrix in a file; an array in a .npy file is memory-mapped rather than read.

    Args:
        path: a file of one of the kinds of `array_file`.
        key: the name of the array in the file, or its path in a zarr group; None if there is only one.
        call: what errors begin with.
        sparse: whether a sparse matrix is allowed.

    Returns:
        A two-dimensional NumPy array of real numbers of at most 64 bits, or a SciPy sparse matrix.

    Raises:
        ValueError: there is no such file or array, it cannot be read, or it is not a matrix of real numbers.

    """
    with refusing_files(Path(path), call):
        file = array_file(Path(path))
        matrix = file.matrix(file.chosen(key))
        if hasattr(matrix, "tocsr"):
            if sparse:
                return matrix
            raise UnreadableError("path", str(path), "must lead to a dense matrix, but this one is sparse")
    return matrix.astype(np.float64) if matrix.dtype.itemsize > 8 else matrix


def array_file(path: Path) -> ArrayFile:
    """The arrays in a .npy or .npz file, a .safetensors file or the index of several, a .pt file, or a zarr folder.

    Raises:
        UnreadableError: there is no such file, or it cannot be read.

    """
    if found := obstacle(path, "either"):
        raise UnreadableError("path", str(path), f"must lead to a file, {found}")
    if path.is_dir():
        return _ZarrFolder(path)
    if path.name.endswith(INDEX):
        return ShardedFile(path)
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in torch_files.SUFFIXES:
        return torch_files.TorchFile(path)
    if path.suffix in (".npy", ".npz"):
        return numpy_file(path)
    raise UnreadableError("path", str(path), f"must end in one of {', '.join(SUFFIXES)}")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any(os.path.lexists(path / name) for name in ("zarr.json", ".zarray", ".zgroup"))


@contextmanager
def refusing_files(path: Path, call: str) -> Iterator[None]:
    """Turn an UnreadableError into a ValueError, one sentence that begins with `call`."""
    try:
        yield
    except UnreadableError as error:
        call = call.replace(str(path), shown(path))
        value = path.name if error.field == "path" else error.value
        raise ValueError(f"{call}({error.field}={value!r}): {error.field} {error.rule}") from None


_ZARR = "a readable zarr array or group"


@final
class _ZarrFolder(ArrayFile):
    def __init__(self, path: Path) -> None:
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
