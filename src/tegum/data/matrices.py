"""Weights and activations that a user brings: matrices in .npy, .npz, .safetensors and zarr files."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.files import UnreadableError, check_matrix, chosen, damaged, obstacle, read_matrix, shown
from tegum.data import zarr_setup

SUFFIXES = (".npy", ".npz", ".safetensors", ".zarr")


def open_matrix(path: str | os.PathLike[str], key: str | None = None, *, call: str, sparse: bool = False) -> Any:
    """The matrix in a file; an array in a .npy file is memory-mapped rather than read.

    Args:
        path: a .npy file; a .npz file (of arrays, or a SciPy sparse matrix); a .safetensors file; or a zarr array or
            group, which is a folder.
        key: the name of the array in the file, or its path in a zarr group; None if there is only one.
        call: what errors begin with.
        sparse: whether a sparse matrix is allowed.

    Returns:
        A two-dimensional NumPy array of real numbers of at most 64 bits, or a SciPy sparse matrix.

    Raises:
        ValueError: there is no such file or array, it cannot be read, or it is not a matrix of real numbers.

    """
    file = Path(path)
    call = call.replace(str(file), shown(file))
    try:
        if found := obstacle(file, "either"):
            raise UnreadableError("path", str(file), f"must lead to a file, {found}")
        if file.is_dir():
            matrix = _from_zarr(file, key)
        elif file.suffix == ".safetensors":
            matrix = _from_safetensors(file, key)
        elif file.suffix in (".npy", ".npz"):
            matrix = read_matrix(file, key)
        else:
            raise UnreadableError("path", str(file), f"must end in one of {', '.join(SUFFIXES)}")
    except UnreadableError as error:
        value = file.name if error.field == "path" else error.value
        raise ValueError(f"{call}({error.field}={value!r}): {error.field} {error.rule}") from None
    if hasattr(matrix, "tocsr"):
        if sparse:
            return matrix
        raise ValueError(f"{call}(path={file.name!r}): path must lead to a dense matrix, but this one is sparse")
    return matrix.astype(np.float64) if matrix.dtype.itemsize > 8 else matrix


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


def _from_safetensors(file: Path, key: str | None) -> np.ndarray:
    from safetensors import safe_open

    try:
        # The library checks the header for consistency and against the file's length, and reads no numbers.
        with safe_open(file, framework="numpy"):
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length), object_pairs_hook=_once)
        name = chosen(key, [each for each in header if each != "__metadata__"], file)
        kind, shape, (start, _) = (header[name][field] for field in ("dtype", "shape", "data_offsets"))
        if kind in _DTYPES:
            dtype = np.dtype(_DTYPES[kind])
        elif kind in _NARROW:
            import ml_dtypes

            dtype = np.dtype(getattr(ml_dtypes, _NARROW[kind]))
        else:
            raise UnreadableError(
                "path", str(file), f"must lead to a matrix of real numbers, but this is {kind} of shape {tuple(shape)}"
            )
        narrow = kind in _NARROW
        check_matrix(file, np.dtype(np.float32) if narrow else dtype, tuple(shape), mapped=not narrow)
        # Mapped as bytes first: the numbers may not be aligned in the file.
        raw = np.memmap(file, np.uint8, "r", 8 + length + start, (math.prod(shape) * dtype.itemsize,))
        return numbers_of(raw.view(dtype).reshape(shape))
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # safetensors and json raise all kinds of errors at a damaged file
        raise damaged(file, "a readable .safetensors file", error) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("two entries of its header have the same name")
    return dict(pairs)


def _from_zarr(file: Path, key: str | None) -> np.ndarray:
    zarr_setup.imported(file.name)
    import zarr

    from tegum.data.chunks import DamagedChunkError, read

    if not any(os.path.lexists(file / name) for name in ("zarr.json", ".zarray", ".zgroup")):
        raise damaged(file, "a readable zarr array or group", ValueError("there is none in this folder"))
    try:
        with zarr_setup.scope():
            found: Any = zarr.open(file, mode="r")
            if not isinstance(found, zarr.Array):
                # Only the array asked for is read: a group may hold much else.
                names = [name for name, _ in found.arrays()]
                inner = key if key is not None and key in found else chosen(key, names, file)
                found = found[inner]
            elif key is not None:
                raise UnreadableError("key", key, f"must be None, as {file.name!r} is one array without a name")
            if not isinstance(found, zarr.Array):
                raise UnreadableError("key", key, "must be the path of an array, but this is a group")
            check_matrix(file, found.dtype, found.shape)
            return read(found)
    except DamagedChunkError as error:
        raise UnreadableError("path", str(file), f"must lead to a complete zarr array: {error}") from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # zarr and json raise all kinds of errors at a damaged file
        raise damaged(file, "a readable zarr array or group", error) from None
