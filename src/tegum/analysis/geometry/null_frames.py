"""What embeddings of given lengths look like without any polytopes: nulls for dimensionalities and for names.

Random directions have no structure at all. An even frame has the lengths and, for equal lengths, the dimensionality m/n
of every feature, as regular polytopes have, but no factors: features that are spread evenly over the whole space are at
a level without being parts of a polytope.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tegum.core.arguments import refusing
from tegum.core.limits import check_memory

SETTLED_FRAME = 1e-9
"""An even frame whose entries change by less in one turn is one."""


@refusing
def even_frame(
    lengths: Float[np.ndarray, " feature"], hidden: int, key: int = 0, rounds: int = 500
) -> Float[np.ndarray, "feature hidden"]:
    """Vectors of these lengths whose random directions are spread evenly over the space: as tight a frame as they can.

    The nearest tight frame and the nearest vectors of these lengths are taken in turn (Tropp et al., IEEE
    Transactions on Information Theory 51, 2005).

    Args:
        lengths: of the vectors, positive.
        hidden: the dimension; fewer vectors become orthogonal.
        key: of the random numbers.
        rounds: how many turns at most.

    Returns:
        The vectors as rows, shape (n, hidden).

    Raises:
        ValueError: lengths are no row of positive finite numbers, or a number is below 1.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> frame = tg.even_frame(np.ones(5), hidden=2)
        >>> (frame.T @ frame).round(6) + 0.0  # tight: 5/2 of the identity
        array([[2.5, 0. ],
               [0. , 2.5]])

    """
    lengths = _checked("even_frame", lengths, hidden)
    if rounds < 1:
        raise ValueError(f"even_frame(rounds={rounds}): rounds must be at least 1")
    frame = random_directions(lengths, hidden, key)
    for _ in range(rounds):
        # V (VᵀV)^(−1/2) is the nearest tight frame; in fewer dimensions than there are, that of the space they span.
        squares, axes = np.linalg.eigh(frame.T @ frame)
        spanned = squares > 1e-12 * squares[-1]
        tight = frame @ (axes[:, spanned] / np.sqrt(squares[spanned])) @ axes[:, spanned].T
        before, frame = frame, tight / np.linalg.norm(tight, axis=1, keepdims=True) * lengths[:, None]
        if np.abs(frame - before).max() < SETTLED_FRAME:
            break
    return frame


@refusing
def random_directions(
    lengths: Float[np.ndarray, " feature"], hidden: int, key: int = 0
) -> Float[np.ndarray, "feature hidden"]:
    """Vectors of these lengths in random directions, uniform on the sphere.

    Args:
        lengths: of the vectors, positive.
        hidden: the dimension.
        key: of the random numbers.

    Returns:
        The vectors as rows, shape (n, hidden).

    Raises:
        ValueError: lengths are no row of positive finite numbers, or the dimension is below 1.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> directions = tg.random_directions(np.array([1.0, 2.0, 0.5]), hidden=3)
        >>> np.linalg.norm(directions, axis=1).round(12)
        array([1. , 2. , 0.5])

    """
    lengths = _checked("random_directions", lengths, hidden)
    drawn = np.random.default_rng(key).standard_normal((len(lengths), hidden))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * lengths[:, None]


def _checked(call: str, lengths: Float[np.ndarray, ...], hidden: int) -> Float[np.ndarray, " feature"]:
    lengths = np.asarray(lengths, np.float64)
    if lengths.ndim != 1 or not lengths.size or not ((lengths > 0) & np.isfinite(lengths)).all():
        raise ValueError(f"{call}(lengths of shape {lengths.shape}): lengths must be a row of positive finite numbers")
    if hidden < 1:
        raise ValueError(f"{call}(hidden={hidden}): hidden must be at least 1")
    check_memory(
        f"{call}(hidden={hidden})", f"{len(lengths)} vectors", 8 * 6 * (len(lengths) + hidden) * hidden, "fewer fit"
    )
    return lengths
