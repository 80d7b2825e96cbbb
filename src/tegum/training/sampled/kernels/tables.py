"""Feature distributions as the flat arrays that the kernels read.

The samples of a batch are exchangeable, so for distributions with few activation patterns they are not drawn one by
one: first the number of samples with anything active (a binomial variable) is drawn, then a pattern for each of those
from Walker's alias table. The samples with nothing active share one closed form. Other distributions are drawn densely,
one uniform per feature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.tables import MixtureTable

MOST_PATTERNS = 4096
MOST_PATTERN_FEATURES = 32
DENSE_ABOVE = 0.9
"""Independent features are drawn densely if more than this share of samples has anything active."""

GUIDE = 256
"""The number of entries in the guide table of a cumulative distribution function."""

_FULL = 2.0**32


class DistributionTables(NamedTuple):
    """Several distributions with the same number of features, as flat arrays that numba takes directly."""

    importance: Float[np.ndarray, " distribution_feature"]
    """float32."""
    sets_of: Int[np.ndarray, " distribution_1"]
    """The sets of distribution d are sets_of[d] … sets_of[d + 1] − 1."""
    set_first: Int[np.ndarray, " set"]
    set_size: Int[np.ndarray, " set"]
    set_components: Int[np.ndarray, " set"]
    set_bounds: Int[np.ndarray, " set"]
    """Where the set's component bounds start: a draw ≥ its k-th bound is of component k + 1 or later."""
    set_gates: Int[np.ndarray, " set"]
    """Where the set's gates (component, feature) start in `limit` and `scale`."""
    bounds: UInt32[np.ndarray, " bound"]
    limit: UInt32[np.ndarray, " gate"]
    """A feature is active when its 32 random bits are at most this; the same bits, scaled, are its magnitude."""
    scale: Float[np.ndarray, " gate"]
    pattern_bits: Int[np.ndarray, " distribution"]
    """The alias table has 2^bits entries; −1: draw densely."""
    pattern_first: Int[np.ndarray, " distribution"]
    pattern_limit: UInt32[np.ndarray, " entry"]
    pattern_kept: UInt32[np.ndarray, " entry"]
    """Bit i: feature i is active."""
    pattern_alias: UInt32[np.ndarray, " entry"]
    active_count: Float[np.ndarray, " distribution_batch"]
    """P(at most k samples of a batch have anything active), k = 0 … batch."""
    count_guide: Int[np.ndarray, " distribution_guide"]
    """For each of `GUIDE` equal parts of [0, 1), the count at its lower end."""


def compile_tables(distributions: Sequence[FeatureDistribution], batch: int) -> DistributionTables:
    """Pack distributions of equal size for batches of `batch` samples.

    Raises:
        ValueError: a set has no mixture table.

    """
    n = distributions[0].n
    importance = np.zeros((len(distributions), n), np.float32)
    sets_of = [0]
    sets: list[tuple[int, int, int, int, int]] = []
    bounds: list[np.ndarray] = []
    gates: list[np.ndarray] = []
    n_bounds = n_gates = n_entries = 0
    bits, firsts, entries, counts = [], [], [], []
    for d, distribution in enumerate(distributions):
        importance[d] = distribution.importance
        tables = list(distribution.tables())
        first = 0
        for table in tables:
            components, size = table.gates.shape
            sets.append((first, size, components, n_bounds, n_gates))
            bounds.append(np.cumsum(table.weights)[:-1])
            gates.append(table.gates.ravel())
            first, n_bounds, n_gates = first + size, n_bounds + components - 1, n_gates + table.gates.size
        sets_of.append(len(sets))
        patterns = _patterns(tables)
        if patterns is None:
            bits.append(-1)
            firsts.append(0)
            counts.append(np.zeros(batch + 1))
        else:
            masks, probabilities, nonempty = patterns
            alias = _alias(masks, probabilities)
            bits.append(len(alias[0]).bit_length() - 1)
            firsts.append(n_entries)
            entries.append(alias)
            counts.append(_binomial_distribution(batch, nonempty))
            n_entries += len(alias[0])
    set_first, set_size, set_components, set_bounds, set_gates = np.array(sets, np.int64).T.copy()
    limit, scale = _limits(np.concatenate(gates))
    pattern_limit, pattern_kept, pattern_alias = (
        np.concatenate([np.zeros(0, np.uint32), *(each[k] for each in entries)]) for k in range(3)
    )
    return DistributionTables(
        importance.ravel(),
        np.array(sets_of, np.int64),
        set_first,
        set_size,
        set_components,
        set_bounds,
        set_gates,
        _bits(np.concatenate(bounds)) if n_bounds else np.zeros(0, np.uint32),
        limit,
        scale,
        np.array(bits, np.int64),
        np.array(firsts, np.int64),
        pattern_limit,
        pattern_kept,
        pattern_alias,
        np.concatenate(counts),
        np.concatenate([np.searchsorted(each, np.arange(GUIDE) / GUIDE, side="right") for each in counts]),
    )


def _bits(probability: np.ndarray) -> np.ndarray:
    """Thresholds on 32 random bits; 1 becomes the largest number, a bias of 2^−32."""
    return np.minimum(np.rint(probability * _FULL), _FULL - 1).astype(np.uint32)


def _limits(gates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chances = np.rint(gates * _FULL)
    scale = np.where(chances > 0, 1 / np.maximum(chances, 1), 0).astype(np.float32)
    return np.maximum(chances - 1, 0).astype(np.uint32), scale


def _patterns(tables: Sequence[MixtureTable]) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Non-empty activation patterns as bit masks, their conditional probabilities, and their total probability."""
    sizes = [table.gates.shape[1] for table in tables]
    if sum(sizes) > MOST_PATTERN_FEATURES:
        return None
    masks, probabilities = np.zeros(1, np.uint64), np.ones(1)
    first = 0
    for table, size in zip(tables, sizes, strict=True):
        own_masks, own_probabilities = _patterns_of_set(table)
        if len(masks) * len(own_masks) > MOST_PATTERNS:
            return None
        masks = (masks[:, None] | (own_masks << np.uint64(first))).ravel()
        probabilities = np.outer(probabilities, own_probabilities).ravel()
        first += size
    something = masks != 0
    nonempty = math.fsum(probabilities[something])
    if nonempty > DENSE_ABOVE and all(len(table.weights) == 1 for table in tables):
        return None
    return masks[something].astype(np.uint32), probabilities[something] / nonempty, min(nonempty, 1.0)


def _patterns_of_set(table: MixtureTable) -> tuple[np.ndarray, np.ndarray]:
    """Masks and probabilities of the patterns of one set; stops early if there are too many to use."""
    found: dict[int, float] = {}
    for weight, gates in zip(*table, strict=True):
        own = {0: float(weight)}
        for feature, q in enumerate(gates):
            if len(own) > MOST_PATTERNS:
                break
            if q == 1:
                own = {mask | 1 << feature: p for mask, p in own.items()}
            elif q > 0:
                own = {mask: p * (1 - q) for mask, p in own.items()} | {
                    mask | 1 << feature: p * q for mask, p in own.items()
                }
        for mask, p in own.items():
            found[mask] = found.get(mask, 0.0) + p
    return np.array(list(found), np.uint64), np.array(list(found.values()))


def _alias(masks: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Walker's alias table with 2^bits entries: limit on the remaining random bits, mask kept, mask otherwise."""
    size = 1 << max(0, (len(masks) - 1).bit_length())
    share = np.zeros(size)
    share[: len(masks)] = probabilities * size
    kept = np.zeros(size, np.uint32)
    kept[: len(masks)] = masks
    alias = kept.copy()
    small = [i for i in range(size) if share[i] < 1]
    large = [i for i in range(size) if share[i] >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = kept[high]
        share[high] -= 1 - share[low]
        if share[high] < 1:
            small.append(large.pop())
    for i in small + large:  # what rounding left over
        share[i], alias[i] = 1, kept[i]
    return _bits(share), kept, alias


def _binomial_distribution(batch: int, probability: float) -> Float[np.ndarray, " count"]:
    """P(at most k successes in `batch` trials), k = 0 … batch."""
    if probability >= 1:
        return np.concatenate([np.zeros(batch), [1.0]])
    k = np.arange(batch + 1)
    # Not a list, which for a large batch would take more memory than all the arrays.
    log_factorial = np.fromiter(map(math.lgamma, range(1, batch + 2)), np.float64, batch + 1)
    log_mass = log_factorial[-1] - log_factorial - log_factorial[::-1]
    log_mass += k * math.log(probability) + (batch - k) * math.log1p(-probability)
    cumulative = np.cumsum(np.exp(log_mass))
    return cumulative / cumulative[-1]
