"""Geometry of many directions, a block of rows at a time, as their full Gram matrix would not fit into memory.

Weights W are one matrix, (n features, m dimensions), in any precision and perhaps mapped from a file. Sums are in
float64. The search for neighbours is in float32, and the cosines of the pairs it finds are recomputed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Real

from tegum.analysis.geometry.measures import LARGEST_WEIGHT, ZERO_TOLERANCE
from tegum.core import lapack
from tegum.core.limits import check_memory

BLOCK_ELEMENTS = 2**22
"""The most elements in a block of rows: 32 MiB in float64."""

TILE = 2048
"""Rows and columns of the Gram matrix that are computed together."""

ALL_PAIRS, PAIRS = 2**21, 2**18
"""The most pairs of features for which all cosines are computed, and the size of the random sample from more pairs."""

Weights = Real[np.ndarray, "feature hidden"]
PerFeature = Float64[np.ndarray, " feature"]
Progress = Callable[[str, float], None]
"""Called with the phase of the work and the part of it that is done, in [0, 1]."""


class Shares(NamedTuple):
    """How every feature shares the dimensions."""

    norms: PerFeature
    dimensionality: PerFeature
    """D_i = |W_i|² / Σ_j (Ŵ_i·W_j)² (Elhage et al. 2022); 0 for a zero row."""
    null: PerFeature
    """What D_i would be if Σ_j were its expectation over random directions of the same norms."""
    spectrum: Float64[np.ndarray, " axis"]
    """Eigenvalues of WᵀW, falling: squared singular values of W."""


class Neighbours(NamedTuple):
    """The features that point most and least like each, −1 and NaN where there is none."""

    nearest: Int[np.ndarray, " feature"]
    nearest_cosine: PerFeature
    opposite: Int[np.ndarray, " feature"]
    opposite_cosine: PerFeature


def blocks(count: int, width: int, elements: int = BLOCK_ELEMENTS) -> Iterator[slice]:
    """Slices of `count` rows of `width` numbers, each with at most `elements` numbers or one row."""
    size = max(1, elements // width)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def peak(weights: Weights, call: str) -> float:
    """The largest |entry|; raises ValueError in the name of `call` at an entry that is not finite, or too large."""
    largest = 0.0
    for part in blocks(*weights.shape):
        block = np.abs(np.asarray(weights[part], np.float64))
        # NaN compares as False, so this finds it as well.
        if not (block <= LARGEST_WEIGHT).all():
            row = part.start + int(np.argmin((block <= LARGEST_WEIGHT).all(1)))
            raise ValueError(f"{call}(weights): weights must be finite numbers of at most 1e70, and row {row} is not")
        largest = max(largest, float(block.max()))
    return largest


def directions(
    weights: Weights, largest: float, *, normalise: bool, centre: bool, call: str
) -> tuple[Real[np.ndarray, "feature hidden"], float]:
    """A copy with the mean direction subtracted, and every direction of unit norm; zero rows stay zero.

    Args:
        weights: shape (n, m).
        largest: the largest |entry|.
        normalise: whether rows are divided by their norms; with `centre` before the mean is taken, and again after it
            is subtracted.
        centre: whether the mean of the rows that are not zero is subtracted from them.
        call: what an error begins with.

    Returns:
        The copy, float64 if the weights are in more than single precision and otherwise float32, and the norm of the
        mean (0 if it is not subtracted).

    Raises:
        ValueError: the copy does not fit into memory.

    """
    n, m = weights.shape
    dtype = np.dtype(np.float64 if weights.dtype.itemsize > 4 or weights.dtype.kind in "iu" else np.float32)
    check_memory(call, f"a copy of {n:,} × {m:,} directions", n * m * dtype.itemsize, "fewer fit")
    unit = largest if largest > 0 else 1.0
    found, norms, mean = np.empty((n, m), dtype), np.zeros(n), np.zeros(m)
    for part in blocks(n, m):
        norms[part] = np.linalg.norm(np.asarray(weights[part], np.float64) / unit, axis=1)
    there = norms > ZERO_TOLERANCE * norms.max()

    def scaled(part: slice) -> Float64[np.ndarray, "row hidden"]:
        divisor = norms[part] if normalise else np.ones(part.stop - part.start)
        rows = np.asarray(weights[part], np.float64) / unit
        return np.divide(rows, divisor[:, None], out=np.zeros_like(rows), where=there[part, None])

    if centre:
        for part in blocks(n, m):
            mean += scaled(part).sum(0)
        mean /= max(int(there.sum()), 1)
    for part in blocks(n, m):
        rows = np.where(there[part, None], scaled(part) - mean, 0.0)
        if normalise:
            # A direction that is the mean itself has none left.
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > ZERO_TOLERANCE)
        found[part] = rows if normalise else rows * unit
    return found, float(np.linalg.norm(mean)) * (1.0 if normalise else unit)


def shares(weights: Weights, largest: float, progress: Progress) -> Shares:
    """Norms, dimensionalities and spectrum: two passes over the rows, at a cost of n m² each.

    Σ_j (Ŵ_i·W_j)² is Ŵ_i (WᵀW) Ŵ_iᵀ. For random directions, which have a squared cosine of 1/m on average, it is
    |W_i|² + Σ_{j≠i} |W_j|²/m in expectation.

    Args:
        weights: shape (n, m).
        largest: the largest |entry|.
        progress: called for the phase "dimensionality".

    """
    n, m = weights.shape
    unit = largest if largest > 0 else 1.0
    squares, overlaps, form = np.zeros(n), np.zeros(n), np.zeros((m, m))
    for part in blocks(n, m):
        block = np.asarray(weights[part], np.float64) / unit
        form += block.T @ block
        squares[part] = np.square(block).sum(1)
        progress("dimensionality", part.stop / (2 * n))
    for part in blocks(n, m):
        block = np.asarray(weights[part], np.float64) / unit
        overlaps[part] = ((block @ form) * block).sum(1)
        progress("dimensionality", 0.5 + part.stop / (2 * n))
    # The sum includes the term j = i; rounding must not push a dimensionality above 1.
    overlaps = np.maximum(overlaps, squares**2)
    there = squares > ZERO_TOLERANCE**2 * squares.max()
    others = squares + (squares.sum() - squares) / m
    null = np.divide(squares, others, out=np.zeros(n), where=there)
    measured = np.divide(squares**2, overlaps, out=np.zeros(n), where=there)
    spectrum = np.maximum(lapack.eigvalsh(form)[::-1], 0.0) * unit**2
    return Shares(np.sqrt(squares) * unit, measured, null, spectrum)


def neighbours(weights: Weights, norms: PerFeature, progress: Progress) -> Neighbours:
    """For each feature, those with the largest and the smallest cosine with it: n²m/2 multiplications.

    Zero rows have no direction and are nobody's neighbour.

    Args:
        weights: shape (n, m).
        norms: the norms of the rows.
        progress: called for the phase "neighbours".

    """
    rows = np.flatnonzero(norms > ZERO_TOLERANCE * norms.max(initial=0.0))
    count = len(rows)
    best, worst = np.full(count, -2, np.float32), np.full(count, 2, np.float32)
    near, far = np.full(count, -1), np.full(count, -1)
    starts = range(0, count, TILE)
    done, tiles = 0, len(starts) * (len(starts) + 1) // 2
    for first in starts:
        one = slice(first, min(first + TILE, count))
        left = _directions(weights, norms, rows[one])
        for second in range(first, count, TILE):
            other = slice(second, min(second + TILE, count))
            right = left if second == first else _directions(weights, norms, rows[other])
            tile = left @ right.T
            if second == first:
                np.fill_diagonal(tile, -2)
            _improve(best[one], near[one], tile, second)
            if second == first:
                np.fill_diagonal(tile, 2)
            np.negative(tile, out=tile)
            _improve_least(worst[one], far[one], tile, second)
            if second != first:
                _improve_least(worst[other], far[other], tile.T, first)
                np.negative(tile, out=tile)
                _improve(best[other], near[other], tile.T, first)
            done += 1
            progress("neighbours", done / tiles)
    found = Neighbours(*(np.full(len(norms), value) for value in (-1, np.nan, -1, np.nan)))
    if count > 1:
        for partner, chosen, cosine in ((near, found[0], found[1]), (far, found[2], found[3])):
            chosen[rows] = rows[partner]
            cosine[rows] = cosines(weights, rows, rows[partner])
    return found


def _improve(best: np.ndarray, index: np.ndarray, tile: np.ndarray, offset: int) -> None:
    """Update `best` and `index`, in place, for rows of the tile with a larger entry than the best so far."""
    largest = tile.max(1)
    better = np.flatnonzero(largest > best)
    best[better] = largest[better]
    index[better] = offset + tile[better].argmax(1)


def _improve_least(worst: np.ndarray, index: np.ndarray, negated: np.ndarray, offset: int) -> None:
    """As `_improve`, for the smallest entry, given the tile with the opposite sign."""
    best = -worst
    _improve(best, index, negated, offset)
    worst[:] = -best


def _directions(weights: Weights, norms: PerFeature, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row hidden"]:
    contiguous = len(rows) and rows[-1] - rows[0] == len(rows) - 1
    block = weights[rows[0] : rows[-1] + 1] if contiguous else weights[rows]
    return (np.asarray(block, np.float64) / norms[rows, None]).astype(np.float32)


def cosines(
    weights: Weights, one: Int[np.ndarray, " pair"], other: Int[np.ndarray, " pair"]
) -> Float64[np.ndarray, " pair"]:
    """The cosines of pairs of rows that are not zero, in float64."""
    found = np.empty(len(one))
    for part in blocks(len(one), weights.shape[1]):
        left, right = (np.asarray(weights[which[part]], np.float64) for which in (one, other))
        left, right = (each / np.abs(each).max(1, keepdims=True) for each in (left, right))
        found[part] = (left * right).sum(1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
    return np.clip(found, -1.0, 1.0)


def sampled_cosines(weights: Weights, norms: PerFeature, key: int) -> Float64[np.ndarray, " pair"]:
    """The cosines of all pairs of features, or of `PAIRS` random ones if there are more than `ALL_PAIRS`, sorted."""
    rows = np.flatnonzero(norms > ZERO_TOLERANCE * norms.max(initial=0.0))
    count = len(rows)
    if count * (count - 1) // 2 <= ALL_PAIRS:
        one, other = np.triu_indices(count, 1)
    else:
        random = np.random.default_rng(key)
        one = random.integers(count, size=PAIRS)
        other = (one + random.integers(1, count, size=PAIRS)) % count
    return np.sort(cosines(weights, rows[one], rows[other]))


def null_cdf(cosine: Any, m: int) -> Any:
    """The probability that the cosine of two random directions in m dimensions is at most this.

    (1 + cosine)/2 has the beta distribution with both parameters (m − 1)/2.
    """
    import scipy.special

    x = np.clip((1 + np.asarray(cosine, np.float64)) / 2, 0, 1)
    if m == 1:
        return np.where(x >= 1, 1.0, np.where(x >= 0, 0.5, 0.0))
    return scipy.special.betainc((m - 1) / 2, (m - 1) / 2, x)


def null_quantile(probability: Any, m: int) -> Any:
    """The cosine that two random directions in m dimensions do not exceed with this probability."""
    import scipy.special

    p = np.asarray(probability, np.float64)
    if m == 1:
        return np.where(p <= 0.5, -1.0, 1.0)
    return 2 * scipy.special.betaincinv((m - 1) / 2, (m - 1) / 2, p) - 1


def null_nearest_quantile(probability: Any, m: int, count: int) -> Any:
    """As `null_quantile`, for the largest of the cosines with `count` other random directions."""
    # log1p and expm1: p^(1/count) is nearly 1, and its distance from 1 is what matters in the tail.
    tail = -np.expm1(np.log(np.asarray(probability, np.float64)) / max(count, 1))
    return -null_quantile(tail, m)


def effective_rank(spectrum: Float64[np.ndarray, " axis"]) -> float:
    """The exponential of the entropy of singular values, as parts of their sum (Roy & Vetterli, EUSIPCO 2007).

    0 if W = 0.
    """
    singular = np.sqrt(spectrum)
    parts = singular[singular > 0] / singular.sum() if singular.any() else np.zeros(0)
    return float(np.exp(-(parts * np.log(parts)).sum())) if parts.size else 0.0


def participation_ratio(spectrum: Float64[np.ndarray, " axis"]) -> float:
    """(Σ λ)² / Σ λ² of the eigenvalues of WᵀW: the number of axes over which its squared norm is spread; 0 if W = 0."""
    parts = spectrum / (spectrum.max(initial=0.0) or 1.0)
    return float(parts.sum() ** 2 / np.square(parts).sum()) if parts.any() else 0.0


def represented(norms: PerFeature, threshold: float, scale: float | None) -> Bool[np.ndarray, " feature"]:
    """Which rows are at least threshold × scale long, and not zero; the scale is by default the longest row."""
    return (norms >= threshold * (norms.max() if scale is None else scale)) & (norms > 0)
