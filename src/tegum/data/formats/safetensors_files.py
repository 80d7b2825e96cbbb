"""Arrays in .safetensors files; numbers are mapped, not read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import final

import numpy as np

from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.files import ArrayFile, StoredArray, UnreadableError, reading
from tegum.data.formats.json_files import once

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
                header = json.loads(stream.read(length), object_pairs_hook=once)
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
