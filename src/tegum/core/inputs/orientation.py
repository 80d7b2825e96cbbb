"""Whether the rows of a matrix are directions, as everywhere in tegum, or more likely its columns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped

EQUAL = 0.01
"""Norms are equal if they differ by at most this part of the largest; those of unit directions in bfloat16 are."""

_SEVERAL = 8
"""How many columns there must be: a few may have one norm by chance."""

_OF_CHANCE = 0.1
"""The spread of norms, as a part of that between random directions, up to which they are meant to be equal."""

_OBLIQUE = 0.25
"""The mean squared cosine, as a part of that between random directions, above which columns are not orthogonal."""

_SAMPLED = 64
"""The most columns of which cosines are computed."""

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


def doubt(
    matrix: Shaped[np.ndarray, "row column"],
    rows: Float64[np.ndarray, " row"],
    columns: Float64[np.ndarray, " column"],
    *,
    weak: bool,
) -> str:
    """Evidence that directions are the columns, as a sentence about "it"; empty if there is none.

    Dictionaries are often trained with directions of one norm, which is strong evidence, and most of them have more
    features than dimensions, which is weak. Against that second expectation, norms must be more equal than those of
    random directions, which are nearly equal where these are long; there must be several of them; and they must not
    be orthogonal, as then the rows are a tight frame, whose columns have one norm whatever the rows are: the weights of
    a toy model that has learned principal components, for instance.

    Args:
        matrix: the matrix, of finite numbers.
        rows: the norms of its rows.
        columns: the norms of its columns.
        weak: whether weak evidence counts, as it does for what is known to be a dictionary.

    """
    n, m = len(rows), len(columns)
    if _equal(rows):
        return ""
    read = f"it is read as {n:,} feature{'' if n == 1 else 's'} in {m:,} dimension{'' if m == 1 else 's'}"
    if _equal(columns) and (m > n or _deliberate(matrix, columns)):
        return f"{read}, whose norms differ, while the other way round all {m:,} norms are equal"
    return f"{read}, and most dictionaries have more features than dimensions" if weak and m > n else ""


def _equal(norms: Float64[np.ndarray, " each"]) -> bool:
    """Whether all norms are equal but for those that are zero."""
    there = norms[norms > 0]
    return there.size > 0 and bool(np.ptp(there) <= EQUAL * there.max())


def _deliberate(matrix: Shaped[np.ndarray, "row column"], columns: Float64[np.ndarray, " column"]) -> bool:
    """Whether columns of equal norms have them neither by chance nor as those of a tight frame."""
    there = np.flatnonzero(columns)
    n = len(matrix)
    # Norms of n normal numbers vary by 1 / √(2 n); rounding unit directions to bfloat16 makes a hundredth of that.
    if len(there) < _SEVERAL or columns[there].std() > _OF_CHANCE * columns[there].mean() / np.sqrt(2 * n):
        return False
    some = there[np.linspace(0, len(there) - 1, min(len(there), _SAMPLED), dtype=int)]
    unit = np.asarray(matrix[:, some], np.float64) / columns[some]
    cosines = (unit.T @ unit)[np.triu_indices(len(some), 1)]
    # The mean square between random directions is 1 / n.
    return bool(np.square(cosines).mean() > _OBLIQUE / n)
