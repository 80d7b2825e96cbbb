"""Weights and activations that a user brings: matrices in .npy, .npz, .safetensors and zarr files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tegum.core.activations import UnreadableError, chosen, read_matrix

SUFFIXES = (".npy", ".npz", ".safetensors", ".zarr")


def open_matrix(path: str | os.PathLike[str], key: str | None = None, *, call: str, sparse: bool = False) -> Any:
    """The matrix in a file; an array in a .npy file is mapped and not read.

    Args:
        path: a .npy file; a .npz file (of arrays, or a sparse matrix of scipy); a .safetensors file; or a zarr array or
            group, which is a folder.
        key: the name of the array in the file, or its path in a zarr group; None where there is one only.
        call: what an error begins with.
        sparse: whether a sparse matrix will do.

    Returns:
        A NumPy array of two dimensions, real numbers of at most 64 bits; or a sparse matrix of scipy.

    Raises:
        ValueError: there is no such file or array, it cannot be read, or it is no matrix of real numbers.

    """
    file = Path(path)
    try:
        if file.suffix == ".safetensors":
            matrix = _from_safetensors(file, key)
        elif file.is_dir():
            matrix = _from_zarr(file, key)
        elif file.suffix in (".npy", ".npz") or not file.exists():
            matrix = read_matrix(file, key)
        else:
            raise UnreadableError("path", str(file), f"must end in one of {', '.join(SUFFIXES)}")
    except UnreadableError as error:
        value = file.name if error.field == "path" else error.value
        raise ValueError(f"{call}({error.field}={value!r}): {error.field} {error.rule}") from None
    if hasattr(matrix, "tocsr") and not sparse:
        raise ValueError(f"{call}(path={file.name!r}): path must lead to a dense matrix, and this one is sparse")
    # bfloat16 and its kin, which NumPy does not know as numbers.
    if matrix.dtype.kind == "V" and matrix.dtype.names is None and matrix.dtype.itemsize <= 2:
        matrix = matrix.astype(np.float32)
    if len(matrix.shape) != 2 or 0 in matrix.shape or matrix.dtype.kind not in "fiub" or matrix.dtype.itemsize > 8:
        raise ValueError(
            f"{call}(path={file.name!r}): path must lead to a matrix of real numbers, and this is {matrix.dtype} of "
            f"shape {tuple(matrix.shape)}"
        )
    return matrix


def _from_safetensors(file: Path, key: str | None) -> Any:
    if not file.is_file():
        raise UnreadableError("path", str(file), "must lead to a file, and there is none")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            return opened.get_tensor(chosen(key, list(opened.keys()), file))
    except UnreadableError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(file, "a readable .safetensors file", error) from None


def _from_zarr(file: Path, key: str | None) -> Any:
    import zarr

    try:
        found: Any = zarr.open(file, mode="r")
        if not isinstance(found, zarr.Array):
            # Only what is asked for is read: a group may hold much else.
            names = [name for name, _ in found.arrays()]
            inner = key if key is not None and key in found else chosen(key, names, file)
            found = found[inner]
        elif key is not None:
            raise UnreadableError("key", key, f"must be None, as {file.name!r} is one array without a name")
        if not isinstance(found, zarr.Array):
            raise UnreadableError("key", key, "must be the path of an array, and this is a group")
        return found[...] if found.ndim == 2 else np.broadcast_to(np.zeros((), found.dtype), found.shape)
    except UnreadableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(file, "a readable zarr array or group", error) from None


def _damaged(file: Path, what: str, error: Exception) -> UnreadableError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UnreadableError("path", str(file), f"must lead to {what}: {reason}")
