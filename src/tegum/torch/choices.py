"""Children of which several may fire, and one of those that fire is chosen, each as likely as any other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_MOST_STEPS, _STEP_TOLERANCE = 60, 1e-12
"""How many steps Newton's method may take, and below which change it has arrived."""

_CERTAIN = 4 * float(np.finfo(np.float64).eps)
"""How far below 1 the sum of probabilities may be by rounding, for each of them."""


def chosen(p: Float[np.ndarray, " child"]) -> Float[np.ndarray, " child"]:
    """The probability that each fires and is chosen among those that fire: p_i ∫ Π_{j≠i} (1 − p_j t) dt over [0, 1].

    Give each a uniform time in [0, 1], and choose the first of those that fire: child i is chosen at its time t if none
    of the others has fired before t.

    Args:
        p: the probability that each fires, independent of the others.

    Returns:
        The probability that each is chosen; with none chosen in the rest of the samples.

    """
    # Exact for polynomials of this degree.
    nodes, weights = np.polynomial.legendre.leggauss(len(p) // 2 + 1)
    missing = 1 - np.outer((nodes + 1) / 2, p)
    others = np.stack([np.delete(missing, i, axis=1).prod(1) for i in range(len(p))], axis=1)
    return p * (weights / 2 @ others)


def before_choice(wanted: Float[np.ndarray, " child"]) -> Float[np.ndarray, " child"]:
    """The probabilities of which `chosen` makes these, by Newton's method, within (0, 1].

    Args:
        wanted: the probability that each is chosen, which sum to at most 1.

    Returns:
        The probability that each fires; `chosen` of it says how near it has come.

    """
    nodes, weights = np.polynomial.legendre.leggauss(len(wanted) // 2 + 1)
    t, found = (nodes + 1) / 2, wanted.astype(np.float64)
    free = np.ones(len(wanted), bool)
    if wanted.sum() > 1 - _CERTAIN * len(wanted):
        # Where one is always chosen, one always fires, which must be the one that is chosen most. Left to be found, it
        # would be a multiple root, of which rounding hides all digits but five.
        free[wanted.argmax()], found[wanted.argmax()] = False, 1.0
    for _ in range(_MOST_STEPS):
        alone = 1 / (1 - np.outer(t, found))
        nobody = weights / 2 / alone.prod(1)
        others = nobody @ alone
        slope = -found[:, None] * (alone.T @ (alone * (nobody * t)[:, None]))
        np.fill_diagonal(slope, others)
        # Singular where several must fire for certain.
        step = np.zeros(len(wanted))
        step[free] = np.linalg.lstsq(slope[np.ix_(free, free)], (wanted - found * others)[free], rcond=1e-12)[0]
        last, found = found, np.clip(found + step, wanted, 1.0)
        if np.abs(found - last).max() < _STEP_TOLERANCE:
            break
    return found
