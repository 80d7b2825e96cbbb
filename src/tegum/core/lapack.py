"""Decompositions of matrices that may be large: one call of LAPACK cannot be stopped, so it is known while it lasts.

Whoever shows progress names it (`under_way`), so that nobody wonders why nothing moves and Ctrl-C does nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

_NOTED = 400
"""The smaller side of a matrix from which on a decomposition is noted: below it takes milliseconds."""

_running: dict[int, str] = {}
_numbers = itertools.count()


def under_way() -> str | None:
    """Of those under way the one that has lasted longest, "eigenvalues of a 4,000 × 4,000 matrix"; None: none is."""
    return next(iter(tuple(_running.values())), None)


def eigh(matrix: Any) -> Any:
    """`numpy.linalg.eigh`."""
    with noted("eigenvectors", np.shape(matrix)):
        return np.linalg.eigh(matrix)


def eigvalsh(matrix: Any) -> Any:
    """`numpy.linalg.eigvalsh`."""
    with noted("eigenvalues", np.shape(matrix)):
        return np.linalg.eigvalsh(matrix)


def svd(matrix: Any, *, full_matrices: bool = True) -> Any:
    """`numpy.linalg.svd`, with vectors."""
    with noted("singular vectors", np.shape(matrix)):
        return np.linalg.svd(matrix, full_matrices=full_matrices)


@contextlib.contextmanager
def noted(what: str, shape: tuple[int, ...]) -> Iterator[None]:
    """What is done in here looks for something of a matrix of this shape, by itself or now and then."""
    rows, columns = shape[-2:]
    if min(rows, columns) < _NOTED:
        yield
        return
    number = next(_numbers)
    _running[number] = f"{what} of a {rows:,} × {columns:,} matrix"
    try:
        yield
    finally:
        del _running[number]
