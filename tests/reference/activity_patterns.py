"""How often each pattern of active features occurs, pattern by pattern, from what a kind of set promises in words.

Patterns are numbered so that bit i of the number says whether feature i is active.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import comb

import numpy as np

from tegum.core.features.tables import MixtureTable


def patterns(size: int) -> np.ndarray:
    """All patterns, (2^size, size)."""
    return np.arange(2**size)[:, None] >> np.arange(size) & 1 == 1


def of_table(table: MixtureTable) -> np.ndarray:
    """Their probabilities in a mixture."""
    gates = table.gates[:, None]
    return table.weights @ np.where(patterns(table.gates.shape[1]), gates, 1 - gates).prod(-1)


def of_samples(x: np.ndarray) -> np.ndarray:
    """How often each occurs among samples."""
    return np.bincount((x > 0) @ (1 << np.arange(x.shape[1])), minlength=1 << x.shape[1])


def exactly(size: int, k: int, density: float) -> np.ndarray:
    """Every choice of k alike."""
    found = np.where(patterns(size).sum(1) == k, density / comb(size, k), 0.0)
    found[0] += 1 - density
    return found


def hierarchy(parents: Sequence[int], density: Sequence[float], excludes: Sequence[bool]) -> np.ndarray:
    """Each feature by its parent's state; of children that exclude one another all by one choice."""
    size = len(parents)
    children = [[child for child in range(size) if parents[child] == i] for i in range(size)]
    found = np.zeros(2**size)
    for number, active in enumerate(patterns(size).tolist()):
        chance = 1.0
        for i, parent in enumerate(parents):
            if parent >= 0 and not active[parent]:
                chance *= not active[i]
            elif parent < 0 or not excludes[parent]:
                chance *= density[i] if active[i] else 1 - density[i]
            if excludes[i] and active[i]:
                chance *= _choice(density, children[i], active)
        found[number] = chance
    return found


def _choice(density: Sequence[float], children: list[int], active: list[bool]) -> float:
    """The probability that of these children, of which at most one can be active, just those are that are."""
    chosen = [child for child in children if active[child]]
    if len(chosen) > 1:
        return 0.0
    return density[chosen[0]] if chosen else 1 - sum(density[child] for child in children)


def moments(probability: np.ndarray) -> np.ndarray:
    """The probability that two features are both active; on the diagonal, that one is."""
    active = patterns(len(probability).bit_length() - 1).astype(float)
    return (active.T * probability) @ active


def forests(size: int) -> list[tuple[int, ...]]:
    """Every list of parents that leads to roots."""
    found = []
    for parents in product(range(-1, size), repeat=size):
        roots = list(range(size))
        for _ in range(size):
            roots = [parents[i] if i >= 0 else -1 for i in roots]
        if max(roots) < 0:
            found.append(parents)
    return found
