"""Decompositions of matrices that may be large: a LAPACK call cannot be stopped, so it is announced while it runs.

The progress display names it (`under_way`), so that nobody wonders why nothing moves and Ctrl-C does nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tegum.core.threads import serial_blas

_NOTED = 400
"""Decompositions are noted if the smaller side of the matrix is at least this; smaller ones take milliseconds."""

_running: dict[int, str] = {}
_numbers = itertools.count()


def under_way() -> str | None:
    """The decomposition that has run longest, "eigenvalues of a 4,000 × 4,000 matrix"; None if none is running."""
    return next(iter(tuple(_running.values())), None)


def eigh(matrix: Any) -> Any:
    """`numpy.linalg.eigh`."""
    with noted("eigenvectors", np.shape(matrix)), serial_blas(np.shape(matrix)[-1]):
        return np.linalg.eigh(matrix)


def eigvalsh(matrix: Any) -> Any:
    """`numpy.linalg.eigvalsh`."""
    with noted("eigenvalues", np.shape(matrix)), serial_blas(np.shape(matrix)[-1]):
        return np.linalg.eigvalsh(matrix)


def svd(matrix: Any, *, full_matrices: bool = True) -> Any:
    """`numpy.linalg.svd`, with vectors."""
    with noted("singular vectors", np.shape(matrix)), serial_blas(max(np.shape(matrix)[-2:])):
        return np.linalg.svd(matrix, full_matrices=full_matrices)


@contextlib.contextmanager
def noted(what: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Announce, while the block runs, that it computes `what` of a matrix of this shape."""
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
