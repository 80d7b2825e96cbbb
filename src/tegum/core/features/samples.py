"""A matrix of feature activations that a user brings: rows are samples, columns features; dense or sparse.

The matrix itself is not part of a description, which refers to it by the digest of its numbers. The process keeps it
for as long as a description of it is alive, and keeps the last `KEPT_MATRICES` matrices that were given in any case.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple, final
from weakref import WeakValueDictionary

import numpy as np
from jaxtyping import Float, Int

from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.sparse import checked
from tegum.core.limits import check_memory

SMALLEST, LARGEST = 1e-30, 1e15
"""The range of activations other than 0: training computes in float32, which must hold the sum of their squares and
must not round them to zero."""

CHECKED_ELEMENTS = 2**20
"""The most elements in a block of rows that is checked at once (8 MiB in float64)."""

KEPT_MATRICES = 4
"""The number of matrices, the last ones given, that are kept even if no description of them is alive."""

SPARSE_DENSITY = 0.25
"""Sparse matrices with a larger share of entries than this are multiplied as dense ones."""


class Dense(NamedTuple):
    """A dense matrix as compiled programs take it."""

    values: Any
    """(sample, feature)."""


class Sparse(NamedTuple):
    """A sparse matrix, row by row, as compiled programs take it."""

    starts: Any
    """Where the entries of each sample begin, (sample,)."""
    counts: Any
    """The number of entries of each sample, (sample,)."""
    columns: Any
    """The feature of each entry, (entry,)."""
    values: Any
    """(entry,)."""


@final
class Activations:
    """A checked, immutable matrix, identified by its digest."""

    def __init__(self, values: Any, digest: str) -> None:
        """Take a NumPy array or a `scipy.sparse.csr_array` in canonical form, and the digest of its numbers."""
        self._values = values
        self.digest = digest
        self.samples: int = int(values.shape[0])
        self.size: int = int(values.shape[1])

    def __reduce__(self) -> Any:
        # This also registers the matrix under its digest in the other process.
        return _restored, (np.asarray(self._values) if self.dense else self._values, self.digest)

    @classmethod
    def of(cls, given: Any) -> Activations:
        """The activations in an array or a sparse matrix.

        A writeable array is copied, as it could change behind the description's back; a read-only one is not.

        Raises:
            ValueError: the matrix breaks a rule; the message is that rule, "must …".

        """
        given = numbers_of(given, ("sample", "feature"))
        values = _sparse(given) if hasattr(given, "tocsr") else _dense(given)
        _check(values)
        return _remembered(cls(values, _digest(values)))

    @property
    def dense(self) -> bool:
        """Whether the matrix is an array rather than sparse."""
        return isinstance(self._values, np.ndarray)

    def rows(self, which: Any) -> Float[np.ndarray, "sample feature"]:
        """Some rows, by a slice or by their numbers, dense and in float64."""
        values = self._values[which]
        return np.asarray(values if self.dense else values.toarray(), np.float64)

    def blocks(self) -> Iterator[Float[np.ndarray, "sample feature"]]:
        """All rows, a block at a time, dense and in float64."""
        for part in _parts(self._values):
            yield self.rows(part)

    @cached_property
    def active(self) -> Float[np.ndarray, " feature"]:
        """The share of samples in which each feature is not 0."""
        if self.dense:
            counts = sum((block != 0).sum(0) for block in self.blocks())
        else:
            counts = np.bincount(self._values.indices, minlength=self.size)
        return np.asarray(counts / self.samples, np.float64)

    @cached_property
    def mean(self) -> Float[np.ndarray, " feature"]:
        """E[x_i]."""
        return np.asarray(sum(block.sum(0) for block in self.blocks()) / self.samples)

    @cached_property
    def second(self) -> Float[np.ndarray, "feature feature"]:
        """E[x_i x_j]."""
        check_memory(f"Empirical(digest={self.digest!r})", "the second moment", 8 * self.size**2)
        if not self.dense and self._values.nnz < SPARSE_DENSITY * self.samples * self.size:
            entries = self._values.astype(np.float64)
            return np.asarray((entries.T @ entries).toarray() / self.samples)
        return np.asarray(sum(block.T @ block for block in self.blocks()) / self.samples)

    @cached_property
    def largest(self) -> float:
        """The largest entry."""
        return float(self._values.max())

    @cached_property
    def longest(self) -> int:
        """The largest number of entries in a row; the number of columns if the matrix is dense."""
        return self.size if self.dense else int(np.diff(self._values.indptr).max(initial=1))

    @property
    def dtype(self) -> np.dtype:
        """The dtype in which the numbers are kept."""
        return self._values.dtype

    def arrays(self, dtype: Any = np.float32) -> Dense | Sparse:
        """The numbers as compiled programs take them; `gathered` picks rows."""
        if self.dense:
            width = np.dtype(dtype).itemsize if self.dtype != dtype else 0
            call = f"Empirical(digest={self.digest!r})"
            check_memory(call, f"the matrix in {np.dtype(dtype)}", width * self.samples * self.size)
            return Dense(np.asarray(self._values, dtype))
        matrix = self._values
        if matrix.nnz >= 2**31:
            raise ValueError(f"Empirical(digest={self.digest!r}): {matrix.nnz} entries are too many: at most 2**31 − 1")
        starts, columns = (each.astype(np.int32) for each in (matrix.indptr[:-1], matrix.indices))
        return Sparse(starts, np.diff(matrix.indptr).astype(np.int32), columns, matrix.data.astype(dtype))

    def listed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The non-zero values row by row: how many each row has, their columns (uint32), the values (float32)."""
        counts, columns, values = [], [], []
        for part in _parts(self._values):
            block = self._values[part]
            if isinstance(block, np.ndarray):
                row, column = np.nonzero(block)
                counts.append(np.bincount(row, minlength=len(block)))
                columns.append(column.astype(np.uint32))
                values.append(block[row, column].astype(np.float32))
            else:
                counts.append(np.diff(block.indptr))
                columns.append(block.indices.astype(np.uint32))
                values.append(block.data.astype(np.float32))
        return np.concatenate(counts), np.concatenate(columns), np.concatenate(values)


def gathered(arrays: Dense | Sparse, which: Int[Any, " row"], size: int, longest: int) -> Any:
    """Pick rows, by number, from the result of `Activations.arrays`, for JAX: dense, (row, size).

    Args:
        arrays: the matrix.
        which: row numbers, (row,).
        size: the number of columns.
        longest: the largest number of entries in a sparse row.

    """
    import jax.numpy as jnp

    if isinstance(arrays, Dense):
        return jnp.asarray(arrays.values)[which]
    starts, counts, columns, values = map(jnp.asarray, arrays)
    empty = jnp.zeros((len(which), size), values.dtype)
    if not values.size:
        return empty
    place = jnp.arange(longest)
    entry = jnp.minimum(starts[which, None] + place, values.size - 1)
    there = jnp.where(place < counts[which, None], values[entry], 0)
    # Added rather than set: past the end of a row there are zeros, in the columns of another row.
    return empty.at[jnp.arange(len(which))[:, None], columns[entry]].add(there)


def recalled(digest: str) -> Activations | None:
    """The activations of that digest, if this process has been given them."""
    return _HELD.get(digest)


_HELD: WeakValueDictionary[str, Activations] = WeakValueDictionary()
_LAST: deque[Activations] = deque(maxlen=KEPT_MATRICES)


def _remembered(activations: Activations) -> Activations:
    kept = _HELD.setdefault(activations.digest, activations)
    if kept not in _LAST:
        _LAST.append(kept)
    return kept


def _restored(values: Any, digest: str) -> Activations:
    if isinstance(values, np.ndarray):
        values.flags.writeable = False  # and so it is not copied
    found = Activations.of(values)
    if found.digest != digest:
        raise ValueError(f"the pickled activations have the digest {found.digest} and not {digest}: they are damaged")
    return found


def _dense(values: np.ndarray) -> np.ndarray:
    _check_kind(values)
    if values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    if values.flags.writeable:
        values = values.copy()
        values.flags.writeable = False
    return values


def _sparse(given: Any) -> Any:
    matrix = checked(given)
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.flags.writeable = False
    return matrix


def _check_kind(values: np.ndarray) -> None:
    if values.dtype.kind not in "fiub" or len(values.shape) != 2:
        raise ValueError(
            "must be a matrix of real numbers, dense or sparse, with samples as rows and features as columns"
        )
    if 0 in values.shape:
        raise ValueError("must have at least one row, a sample, and one column, a feature")


def _check(values: Any) -> None:
    """Refuse a number that cannot be an activation, naming its row and column."""
    for part in _parts(values):
        block = values[part]
        numbers = np.asarray(block if isinstance(block, np.ndarray) else block.data, np.float64)
        # NaN compares as False, so this finds it as well.
        wrong = ~((numbers == 0) | ((numbers >= SMALLEST) & (numbers <= LARGEST)))
        if wrong.any():
            first = tuple(int(each[0]) for each in np.nonzero(wrong))
            if not isinstance(block, np.ndarray):
                place = first[0]
                row, column = int(np.searchsorted(block.indptr, place, "right")) - 1, int(block.indices[place])
            else:
                row, column = first
            raise ValueError(
                f"must hold 0 or numbers between {SMALLEST:g} and {LARGEST:g}, but row {part.start + row}, column "
                f"{column} holds {numbers[first]:g}"
            )


def _parts(values: Any) -> Iterator[slice]:
    """Slices of rows that make blocks of a bounded size."""
    size = max(1, CHECKED_ELEMENTS // values.shape[1])
    for start in range(0, values.shape[0], size):
        yield slice(start, min(start + size, values.shape[0]))


def _digest(values: Any) -> str:
    """A digest of the numbers, 32 hexadecimal digits: the same dense or sparse, in any precision that holds them.

    These are the first digits of the SHA-256 of the shape and of three SHA-256 digests: of the number of non-zero
    entries in each row, of their columns, and of their values in float64, all in 8 bytes, least significant byte first.
    """
    counts, columns, numbers = (hashlib.sha256() for _ in range(3))
    for part in _parts(values):
        block = values[part]
        if isinstance(block, np.ndarray):
            there = block != 0
            found = there.sum(1), np.nonzero(there)[1], block[there]
        else:
            found = np.diff(block.indptr), block.indices, block.data
        for each, array, kind in zip((counts, columns, numbers), found, ("<i8", "<i8", "<f8"), strict=True):
            each.update(np.ascontiguousarray(array, kind).tobytes())
    whole = f"{values.shape[0]} x {values.shape[1]}".encode()
    for each in (counts, columns, numbers):
        whole += each.digest()
    return hashlib.sha256(whole).hexdigest()[:32]
