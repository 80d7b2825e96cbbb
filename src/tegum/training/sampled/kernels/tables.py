"""Feature distributions as the flat arrays that the kernels read.

The samples of a batch are exchangeable, so for distributions with few activation patterns they are not drawn one by
one: first the number of samples with anything active (a binomial variable) is drawn, then a pattern for each of those
from Walker's alias table. The samples with nothing active share one closed form. Other distributions are drawn densely,
one uniform per feature. Of a user's activations, rows are picked and only their non-zero values are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.features.sets import FeatureSet, GatedSet
from tegum.core.features.tables import MixtureTable
from tegum.training.sampled.kernels.laws import LAW_NUMBERS, UNCHANGED, KernelLaw, has_law, kernel_law

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
    """0: a user's activations."""
    set_bounds: Int[np.ndarray, " set"]
    """Where the set's component bounds start: a draw ≥ its k-th bound is of component k + 1 or later."""
    set_gates: Int[np.ndarray, " set"]
    """Where the set's gates (component, feature) start in `limit` and `scale`."""
    bounds: UInt32[np.ndarray, " bound"]
    limit: UInt32[np.ndarray, " gate"]
    """A feature is active when its 32 random bits are at most this; the same bits, scaled, are its magnitude."""
    scale: Float[np.ndarray, " gate"]
    laws: Float[np.ndarray, " distribution_law"]
    """float32. For each distribution 1 if a magnitude is not uniform on [0, 1], then a `KernelLaw` for each feature."""
    set_samples: Int[np.ndarray, " set"]
    """The number of rows of a user's activations; 0 for other sets."""
    set_row: Int[np.ndarray, " set"]
    """Where these rows begin in `row_first`."""
    row_first: Int[np.ndarray, " row"]
    """The non-zero values of a row are row_first[row] … row_first[row + 1] − 1."""
    row_feature: UInt32[np.ndarray, " value"]
    row_value: Float[np.ndarray, " value"]
    """float32."""
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


def drawable(sets: Iterable[FeatureSet]) -> bool:
    """Whether the kernel can draw all of these sets."""
    return not any(map(undrawable_because, sets))


def undrawable_because(given: FeatureSet) -> str | None:
    """Why the kernel cannot draw a set; None for one with a mixture table and a law it knows, and for activations."""
    if isinstance(given, Empirical):
        return None
    if not (isinstance(given, GatedSet) and given.gated):
        return given.ungated_because
    return None if has_law(given.magnitude) else f"it does not know the law {given.magnitude!r}"


def table_bytes(sets: Sequence[FeatureSet]) -> int:
    """What the tables of some sets take."""
    matrices = {each.digest: each for each in sets if isinstance(each, Empirical)}
    entries = sum(8 * each.samples + 8 * round(each.samples * each.active().sum()) for each in matrices.values())
    return sum(48 * each.table_size + 16 * each.features for each in sets) + entries


def compile_tables(distributions: Sequence[FeatureDistribution], batch: int) -> DistributionTables:
    """Pack distributions of equal size for batches of `batch` samples; `drawable` says which it can.

    Raises:
        ValueError: a set has no mixture table, or this process has not been given its activations.

    """
    importance = np.stack([each.importance for each in distributions]).astype(np.float32)
    sets_of = [0]
    sets: list[tuple[int, ...]] = []
    laws: list[KernelLaw] = []
    bounds, gates, matrices = _Packed(np.zeros(0)), _Packed(np.zeros(0)), _Matrices()
    bits, firsts, entries, counts = [], [], [], []
    n_entries = 0
    for distribution in distributions:
        first, tables = 0, []
        for each in distribution.sets:
            if isinstance(each, Empirical):
                laws.append(KernelLaw(UNCHANGED))
                sets.append((first, each.features, 0, 0, 0, each.samples, matrices.add(each)))
            else:
                if not isinstance(each, GatedSet) or not drawable([each]):
                    raise ValueError(f"{each!r}: the kernel cannot draw it, as {undrawable_because(each)}")
                laws.append(kernel_law(each.magnitude))
                table = each.mixture
                tables.append(table)
                at = bounds.add(np.cumsum(table.weights)[:-1]), gates.add(table.gates.ravel())
                sets.append((first, each.features, len(table.weights), *at, 0, 0))
            first += each.features
        sets_of.append(len(sets))
        patterns = _patterns(tables) if len(tables) == len(distribution.sets) else None
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
    columns = np.array(sets, np.int64).T.copy()
    law = np.repeat(np.array(laws), columns[1], axis=0).reshape(len(distributions), -1)
    others = (law[:, ::LAW_NUMBERS] != UNCHANGED).any(1, keepdims=True)
    limit, scale = _limits(gates.whole)
    pattern_limit, pattern_kept, pattern_alias = (
        np.concatenate([np.zeros(0, np.uint32), *(each[k] for each in entries)]) for k in range(3)
    )
    rows, features, values = matrices.packed()
    return DistributionTables(
        importance=importance.ravel(),
        sets_of=np.array(sets_of, np.int64),
        set_first=columns[0],
        set_size=columns[1],
        set_components=columns[2],
        set_bounds=columns[3],
        set_gates=columns[4],
        set_samples=columns[5],
        set_row=columns[6],
        bounds=_bits(bounds.whole),
        limit=limit,
        scale=scale,
        laws=np.concatenate([others, law], axis=1).astype(np.float32).ravel(),
        row_first=rows,
        row_feature=features,
        row_value=values,
        pattern_bits=np.array(bits, np.int64),
        pattern_first=np.array(firsts, np.int64),
        pattern_limit=pattern_limit,
        pattern_kept=pattern_kept,
        pattern_alias=pattern_alias,
        active_count=np.concatenate(counts),
        count_guide=np.concatenate([np.searchsorted(each, np.arange(GUIDE) / GUIDE, side="right") for each in counts]),
    )


class _Packed:
    """Arrays one after the other."""

    def __init__(self, *parts: np.ndarray) -> None:
        self._parts, self._size = list(parts), sum(len(part) for part in parts)

    def add(self, part: np.ndarray) -> int:
        """Append an array, and return where it begins."""
        self._parts.append(part)
        self._size += len(part)
        return self._size - len(part)

    @property
    def whole(self) -> np.ndarray:
        """All of them; the only one is not copied."""
        filled = [part for part in self._parts if len(part)]
        return filled[0] if len(filled) == 1 else np.concatenate(self._parts)


class _Matrices:
    """Matrices of activations as lists of non-zero values, each once."""

    def __init__(self) -> None:
        self._rows, self._features = _Packed(), _Packed(np.zeros(0, np.uint32))
        self._values = _Packed(np.zeros(0, np.float32))
        self._places: dict[str, int] = {}

    def add(self, given: Empirical) -> int:
        """Append a matrix, unless it is there already, and return where its rows begin."""
        if given.digest not in self._places:
            counts, columns, values = given.data.listed()
            start = self._features.add(columns)
            self._values.add(values)
            self._places[given.digest] = self._rows.add(start + np.concatenate([[0], np.cumsum(counts)]))
        return self._places[given.digest]

    def packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the values of each row begin, and after each matrix where they end; their features; the values."""
        rows = self._rows.whole if self._places else np.zeros(1, np.int64)
        return rows.astype(np.int64), self._features.whole, self._values.whole


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
        if len(found) > MOST_PATTERNS:
            break
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
