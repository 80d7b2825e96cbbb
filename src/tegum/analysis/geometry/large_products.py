"""Products of large matrices in parts: a product cannot be interrupted, so none may take long."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

LARGEST = 2**33
"""The most multiplications in one part: about a second on one core."""


def inner_products(W: Float[np.ndarray, "matrix feature hidden"]) -> Float[np.ndarray, "matrix feature feature"]:
    """W Wᵀ of each matrix."""
    count, n, m = W.shape
    if n * n * m <= LARGEST:
        return W @ W.swapaxes(-1, -2)
    found = np.empty((count, n, n))
    rows = max(1, LARGEST // (n * m))
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        found[:, part] = W[:, part] @ W.swapaxes(-1, -2)
    return found
