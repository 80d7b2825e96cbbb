"""Sparse matrices from outside: every index is checked against the shape before native code follows it.

SciPy's classes accept any indices, and its compiled functions trust them: an index outside the matrix makes them write
outside it. Flags that describe a matrix ("canonical") are not trusted either.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from tegum.core.limits import beyond_memory

PARTS: Mapping[str, tuple[str, ...]] = {
    "csr": ("indptr", "indices", "data"),
    "csc": ("indptr", "indices", "data"),
    "bsr": ("indptr", "indices", "data"),
    "coo": ("row", "col", "data"),
    "dia": ("offsets", "data"),
}
"""The arrays that make up a matrix, by SciPy's name for its format; SciPy's files have the same formats."""

_ADDRESSED = 2**62


def checked(given: Any) -> Any:
    """Copy a SciPy sparse matrix of any format to a `csr_array` whose indices are valid.

    Duplicate entries add up, as they do in SciPy, but not in the small integer type in which they may be held.

    Raises:
        ValueError: its structure, its kind of numbers or its size breaks a rule; the message is that rule, "must …".

    """
    import scipy.sparse

    if not scipy.sparse.issparse(given):
        try:
            given = given.tocsr()
        except Exception:  # another library may raise anything
            given = None
        if not scipy.sparse.issparse(given):
            raise ValueError("must be an array, or a SciPy sparse matrix")
    shape = tuple(map(int, given.shape))
    _check_kind(given.dtype, shape)
    match given.format:
        case "csr" | "csc" | "bsr":
            return assembled(given.format, shape, {name: getattr(given, name) for name in PARTS[given.format]})
        case "coo":
            row, col = given.coords if hasattr(given, "coords") else (given.row, given.col)
            return assembled("coo", shape, {"row": row, "col": col, "data": given.data})
        case "dia":
            return assembled("dia", shape, {"offsets": given.offsets, "data": given.data})
        case "lil":
            return assembled("coo", shape, _of_lists(given.rows, given.data, shape, given.dtype))
        case "dok":
            keys = np.array(list(given.keys()) or np.zeros((0, 2), np.int64))
            if keys.ndim != 2 or keys.shape[1] != 2:
                raise ValueError("must have a row and a column for each entry")
            data = np.fromiter(given.values(), given.dtype, len(keys))
            return assembled("coo", shape, {"row": keys[:, 0], "col": keys[:, 1], "data": data})
        case other:
            raise ValueError(f"must be a sparse matrix of a known format, not {other!r}; .tocsr() converts it")


def assembled(form: str, shape: tuple[int, ...], parts: Mapping[str, Any]) -> Any:
    """A `csr_array` from the arrays that make up a matrix (`PARTS`), in canonical form.

    Args:
        form: SciPy's name for the format.
        shape: rows and columns.
        parts: arrays by their names, not checked yet.

    Raises:
        ValueError: as from `checked`.

    """
    import scipy.sparse

    data = parts["data"]
    if not isinstance(data, np.ndarray):
        raise ValueError("must have an array of numbers as its data")
    _check_kind(data.dtype, shape)
    rows, columns = shape
    # SciPy allocates one number per row, and users of the matrix one per column, even if it is empty.
    if too_much := beyond_memory(8 * (rows + 1) + 8 * columns + 16 * data.size):
        raise ValueError(f"must fit into memory: with {rows} rows and {columns} columns it {too_much}")
    data = _plain(data)
    match form:
        case "csr" | "csc":
            inner = columns if form == "csr" else rows
            pointers, indices = _compressed(parts, rows if form == "csr" else columns, inner, len(data), data.ndim == 1)
            kind = scipy.sparse.csr_array if form == "csr" else scipy.sparse.csc_array
            matrix: Any = kind((data, indices, pointers), shape, copy=True).tocsr()
        case "bsr":
            high, wide = data.shape[1:] if data.ndim == 3 else (0, 0)
            if not high or not wide or rows % high or columns % wide:
                raise ValueError(f"must have blocks that divide its shape, but its data have the shape {data.shape}")
            pointers, indices = _compressed(parts, rows // high, columns // wide, len(data), True)
            matrix = scipy.sparse.bsr_array((data, indices, pointers), shape, copy=True).tocsr()
        case "coo":
            matrix = _from_entries(parts["row"], parts["col"], data, shape)
        case "dia":
            offsets = _indices(parts["offsets"], "offsets")
            if data.ndim != 2 or len(data) != len(offsets):
                raise ValueError(f"must have a row of data for each of its {len(offsets)} diagonals")
            if len(np.unique(offsets)) != len(offsets):
                raise ValueError("must have each diagonal once")
            _check_inside(offsets, 1 - rows, columns, "diagonal")
            number, col = (part.ravel() for part in np.indices(data.shape))
            row = col - offsets[number]
            # Corners of the data lie outside the matrix; by SciPy's definition they are not part of it.
            there = (row >= 0) & (row < rows) & (col < columns) & (data.ravel() != 0)
            matrix = _from_entries(row[there], col[there], data.ravel()[there], shape)
        case other:
            raise ValueError(f"must be a sparse matrix of a known format ({', '.join(PARTS)}), not {other!r}")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _check_kind(dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.kind not in "fiub" or len(shape) != 2:
        raise ValueError(
            "must be a matrix of real numbers, dense or sparse, with samples as rows and features as columns"
        )
    if min(shape) < 1:
        raise ValueError("must have at least one row, a sample, and one column, a feature")
    if max(shape) > _ADDRESSED:
        raise ValueError(f"must have fewer rows and columns than {max(shape)}")


def _plain(data: np.ndarray) -> np.ndarray:
    """The numbers in a dtype that SciPy computes in, and in which no sum of duplicates overflows."""
    if data.dtype.kind in "iu" or data.dtype.itemsize > 8:
        return data.astype(np.float64)
    return data.astype(np.float32 if data.dtype.itemsize == 2 else data.dtype.newbyteorder("="), copy=False)


def _indices(given: Any, name: str) -> np.ndarray:
    if not isinstance(given, np.ndarray) or given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(f"must have a one-dimensional array of ints as its {name}")
    return given


def _check_inside(indices: np.ndarray, least: int, end: int, what: str) -> None:
    """Refuse an index outside [least, end), naming its entry; of any width, signed or not."""
    if not indices.size:
        return
    for at in (int(indices.argmin()), int(indices.argmax())):
        if not least <= int(indices[at]) < end:
            raise ValueError(
                f"must have indices inside its shape: {what} of entry {at} is {int(indices[at])}, but must lie "
                f"between {least} and {end - 1}"
            )


def _compressed(
    parts: Mapping[str, Any], outer: int, inner: int, entries: int, flat: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Pointers and indices of a compressed format, both checked."""
    pointers, indices = _indices(parts["indptr"], "indptr"), _indices(parts["indices"], "indices")
    if len(pointers) != outer + 1:
        raise ValueError(f"must have an indptr of {outer + 1} numbers, not {len(pointers)}")
    if not flat or len(indices) != entries:
        raise ValueError(f"must have one index for each entry, but has {len(indices)} for {entries}")
    if int(pointers[0]) != 0 or int(pointers[-1]) != entries or (pointers[1:] < pointers[:-1]).any():
        raise ValueError(f"must have an indptr that begins with 0, never falls, and ends with its {entries} entries")
    _check_inside(indices, 0, inner, "the index")
    wide = np.int32 if max(inner, entries) < 2**31 else np.int64
    return pointers.astype(wide), indices.astype(wide)


def _from_entries(row: Any, col: Any, data: np.ndarray, shape: tuple[int, ...]) -> Any:
    import scipy.sparse

    row, col = _indices(row, "rows"), _indices(col, "columns")
    if data.ndim != 1 or not len(row) == len(col) == len(data):
        raise ValueError(
            f"must have a row and a column for each entry, but has {len(row)} and {len(col)} for {data.size}"
        )
    _check_inside(row, 0, shape[0], "the row")
    _check_inside(col, 0, shape[1], "the column")
    wide = np.int32 if max(*shape, len(data)) < 2**31 else np.int64
    return scipy.sparse.coo_array((data, (row.astype(wide), col.astype(wide))), shape).tocsr()


def _of_lists(rows: Any, data: Any, shape: tuple[int, ...], dtype: np.dtype) -> dict[str, np.ndarray]:
    """The entries of a list of lists, SciPy's format in which each row has a list of columns and one of numbers."""
    if np.shape(rows) != shape[:1] or np.shape(data) != shape[:1]:
        raise ValueError(f"must have two lists for each of its {shape[0]} rows")
    for number, (columns, numbers) in enumerate(zip(rows, data, strict=True)):
        if not isinstance(columns, list) or not isinstance(numbers, list) or len(columns) != len(numbers):
            raise ValueError(f"must have one column for each number, but row {number} does not")
    lengths = [len(columns) for columns in rows]
    col = np.array(list(chain.from_iterable(rows)) or np.zeros(0, np.int64))
    numbers = np.array(list(chain.from_iterable(data)), dtype)
    return {"row": np.repeat(np.arange(len(lengths)), lengths), "col": col, "data": numbers}
