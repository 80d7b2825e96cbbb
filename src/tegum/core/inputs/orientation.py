"""Whether the rows of a matrix are directions, as everywhere in tegum, or more likely its columns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped

EQUAL = 0.01
"""Norms are equal if they differ by at most this part of the largest; those of unit directions in bfloat16 are."""

_BLOCK_ELEMENTS = 2**22


def norms(
    matrix: Shaped[np.ndarray, "row column"],
) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, " column"]]:
    """The norms of all rows and of all columns, in one pass over a matrix that may be mapped.

    Raises:
        ValueError: a number is not finite, or its square is beyond float64; the message is "must be …".

    """
    rows, columns = np.zeros(len(matrix)), np.zeros(matrix.shape[1])
    step = max(1, _BLOCK_ELEMENTS // matrix.shape[1])
    for start in range(0, len(matrix), step):
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.square(np.asarray(matrix[start : start + step], np.float64))
            rows[start : start + step] = squares.sum(1)
            columns += squares.sum(0)
    if not np.isfinite(rows).all():
        raise ValueError(f"must be finite numbers, and row {int(np.argmin(np.isfinite(rows)))} is not")
    return np.sqrt(rows), np.sqrt(columns)


def doubt(rows: Float64[np.ndarray, " row"], columns: Float64[np.ndarray, " column"], *, weak: bool) -> str:
    """Evidence that directions are the columns, as a sentence about "it"; empty if there is none.

    Dictionaries are often trained with directions of one norm, which is strong evidence, and most of them have more
    features than dimensions, which is weak.

    Args:
        rows: the norms of the rows.
        columns: the norms of the columns.
        weak: whether weak evidence counts, as it does for what is known to be a dictionary.

    """
    n, m = len(rows), len(columns)
    if m <= n or _equal(rows):
        return ""
    read = f"it is read as {n:,} feature{'' if n == 1 else 's'} in {m:,} dimensions"
    if _equal(columns):
        return f"{read}, whose norms differ, while the other way round all {m:,} norms are equal"
    return f"{read}, and most dictionaries have more features than dimensions" if weak else ""


def _equal(norms: Float64[np.ndarray, " each"]) -> bool:
    """Whether all norms are equal but for those that are zero."""
    there = norms[norms > 0]
    return there.size > 0 and bool(np.ptp(there) <= EQUAL * there.max())
