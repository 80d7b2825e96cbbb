"""Weights and activations that a user brings: matrices in files of NumPy, safetensors, PyTorch and zarr."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tegum.core.inputs.files import ArrayFile, UnreadableError, numpy_file, obstacle, shown
from tegum.data.formats.sharded_files import INDEXES, KINDS, ShardedFile
from tegum.data.formats.zarr_folders import ZarrFolder

SUFFIXES = (".npy", ".npz", *KINDS, *INDEXES, ".zarr")


def open_matrix(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    call: str,
    sparse: bool = False,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """The matrix in a file; an array in a .npy file is memory-mapped rather than read.

    Args:
        path: a file of one of the kinds of `array_file`.
        key: the name of the array in the file, or its path in a zarr group; None if there is only one.
        call: what errors begin with.
        sparse: whether a sparse matrix is allowed.
        options: what arguments are called on a command line, for errors there.

    Returns:
        A two-dimensional NumPy array of real numbers of at most 64 bits, or a SciPy sparse matrix.

    Raises:
        ValueError: there is no such file or array, it cannot be read, or it is not a matrix of real numbers.

    """
    with refusing_files(Path(path), call, options):
        file = array_file(Path(path))
        matrix = file.matrix(file.chosen(key))
        if hasattr(matrix, "tocsr"):
            if sparse:
                return matrix
            raise UnreadableError("path", str(path), "must lead to a dense matrix, but this one is sparse")
    return matrix.astype(np.float64) if matrix.dtype.itemsize > 8 else matrix


def array_file(path: Path) -> ArrayFile:
    """The arrays in a .npy or .npz file, a .safetensors or .pt file or the index of several, or a zarr folder.

    Raises:
        UnreadableError: there is no such file, or it cannot be read.

    """
    if found := obstacle(path, "either"):
        raise UnreadableError("path", str(path), f"must lead to a file, {found}")
    if path.is_dir():
        return ZarrFolder(path)
    if path.name.endswith(INDEXES):
        return ShardedFile(path)
    if path.suffix in KINDS:
        return KINDS[path.suffix](path)
    if path.suffix in (".npy", ".npz"):
        return numpy_file(path)
    raise UnreadableError("path", str(path), f"must end in one of {', '.join(SUFFIXES)}")


@contextmanager
def refusing_files(path: Path, call: str, options: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Turn an UnreadableError into a ValueError, one sentence that begins with `call` and names the option, if any."""
    try:
        yield
    except UnreadableError as error:
        call = call.replace(str(path), shown(path))
        value = path.name if error.field == "path" else error.value
        named = f"{error.field} ({options[error.field]})" if error.field in options else error.field
        raise ValueError(f"{call}({error.field}={value!r}): {named} {error.rule}") from None
