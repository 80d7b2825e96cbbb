"""Weights and activations that a user brings: matrices in files of NumPy, safetensors, PyTorch and zarr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tegum.core.inputs.files import ArrayFile, UnreadableError, numpy_file, obstacle, shown
from tegum.data.formats.safetensors_files import INDEX, SafetensorsFile, ShardedFile
from tegum.data.formats.torch_files import TORCH_SUFFIXES, TorchFile
from tegum.data.formats.zarr_folders import ZarrFolder

SUFFIXES = (".npy", ".npz", ".safetensors", INDEX, *TORCH_SUFFIXES, ".zarr")


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
        return ZarrFolder(path)
    if path.name.endswith(INDEX):
        return ShardedFile(path)
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in TORCH_SUFFIXES:
        return TorchFile(path)
    if path.suffix in (".npy", ".npz"):
        return numpy_file(path)
    raise UnreadableError("path", str(path), f"must end in one of {', '.join(SUFFIXES)}")


@contextmanager
def refusing_files(path: Path, call: str) -> Iterator[None]:
    """Turn an UnreadableError into a ValueError, one sentence that begins with `call`."""
    try:
        yield
    except UnreadableError as error:
        call = call.replace(str(path), shown(path))
        value = path.name if error.field == "path" else error.value
        raise ValueError(f"{call}({error.field}={value!r}): {error.field} {error.rule}") from None
