"""Which features are active together, and whether the samples of one lie in the span of its companions.

Activations are a sparse matrix (sample, feature) in float64; a feature is active where its entry is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from tegum.analysis.dictionaries.embeddings import PerFeature, Progress, Weights, blocks
from tegum.analysis.sets.local import captured_variance, sampled_pca
from tegum.core.description import short
from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.sparse import checked
from tegum.core.limits import check_memory

LEAST_SAMPLES, MOST_SAMPLES = 100, 20_000
"""A feature that is active in fewer samples gets no local measures; of more samples this many, evenly spaced, are used.
"""

DENSE = 0.1
"""If a larger share of entries is non-zero, products of dense blocks are faster."""


class Marginals(NamedTuple):
    """Statistics of each feature by itself."""

    density: PerFeature
    """The share of samples in which it is active."""
    mean: PerFeature
    deviation: PerFeature
    """Standard deviation, divided by N."""


class Companions(NamedTuple):
    """The features most correlated with each, the most correlated first."""

    feature: Int[np.ndarray, "feature companion"]
    """The features' numbers, −1 where there are fewer."""
    correlation: Float64[np.ndarray, "feature companion"]
    """Pearson's correlation over all samples; NaN where there are fewer."""


class Local(NamedTuple):
    """For one feature, the shares of its companions' squared norm in principal subspaces, with comparisons."""

    samples: int
    rank: int
    capture: float
    """The share in the principal subspace of x W over the samples where the feature is active."""
    everywhere: float
    """The share in the principal subspace of all samples, of the same rank."""
    others: float
    """The share of as many other features, drawn at random, in the local subspace."""
    interference: float
    """Mean squared cosine among the feature and its companions; random directions have 1/m."""


def as_sparse(activations: Any, call: str) -> Any:
    """Activations as a csr_array in float64, 12 bytes for each non-zero entry.

    Raises:
        ValueError: they are not a matrix of finite real numbers.

    """
    import scipy.sparse

    try:
        given = numbers_of(activations, ("sample", "feature"))
        matrix: Any = checked(given).astype(np.float64) if hasattr(given, "tocsr") else None
    except ValueError as error:
        raise ValueError(f"{call}(activations={short(activations)}): activations {error}") from None
    if matrix is None:
        if given.ndim != 2 or given.dtype.kind not in "fiub" or 0 in given.shape:
            raise ValueError(
                f"{call}(activations of shape {given.shape}): activations must be a matrix of real numbers"
            )
        entries = sum(int(np.count_nonzero(given[part])) for part in blocks(*given.shape))
        check_memory(f"{call}(activations of shape {given.shape})", "their non-zero entries", 24 * entries)
        # A piece at a time: the matrix may be mapped from a file that is larger than the memory.
        pieces = [scipy.sparse.csr_array(given[part].astype(np.float64)) for part in blocks(*given.shape)]
        matrix = scipy.sparse.vstack(pieces, format="csr")
    if not np.isfinite(matrix.data).all():
        row = int(np.searchsorted(matrix.indptr, int(np.argmin(np.isfinite(matrix.data))), "right")) - 1
        raise ValueError(f"{call}(activations): activations must be finite, but row {row} holds a NaN or an infinity")
    return matrix


def marginals(x: Any) -> Marginals:
    """Density, mean and standard deviation of each feature of a csr_array."""
    samples, n = x.shape
    count, total, power = (
        np.bincount(x.indices, weights, minlength=n) for weights in (None, x.data, np.square(x.data))
    )
    mean = total / samples
    return Marginals(count / samples, mean, np.sqrt(np.maximum(power / samples - mean**2, 0.0)))


def companions(x: Any, each: Marginals, most: int, progress: Progress) -> Companions:
    """For each feature the `most` others with the largest positive correlation, among those ever active with it.

    Args:
        x: a csr_array (sample, feature).
        each: its marginals.
        most: the number of companions.
        progress: called for the phase "co-activation".

    """
    samples, n = x.shape
    most = min(most, max(n - 1, 1))  # No feature has more companions than that.
    index, correlation = np.full((n, most), -1), np.full((n, most), np.nan)
    for part, product in _products(x):
        found = product.tocoo()
        row, column = found.row + part.start, found.col
        spread = each.deviation[row] * each.deviation[column]
        value = found.data / samples - each.mean[row] * each.mean[column]
        kept = (row != column) & (spread > 0) & (value > 0)
        row, column, value = row[kept], column[kept], value[kept] / spread[kept]
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        first = place < most
        index[row[first], place[first]] = column[first]
        correlation[row[first], place[first]] = np.minimum(value[first], 1.0)
        progress("co-activation", part.stop / n)
    return Companions(index, correlation)


def _products(x: Any) -> Iterator[tuple[slice, Any]]:
    """Rows of XᵀX, a block at a time, as sparse matrices."""
    import scipy.sparse

    samples, n = x.shape
    if x.nnz < DENSE * samples * n:
        turned = x.T.tocsr()
        for part in blocks(n, n):
            yield part, turned[part] @ x
        return
    for part in blocks(n, n, 2**24):
        total = np.zeros((part.stop - part.start, n))
        for some in blocks(samples, n):
            block = x[some].toarray()
            total += block[:, part].T @ block
        yield part, scipy.sparse.csr_array(total)


def candidates(x: Any, each: Marginals, found: Companions, most: int) -> Int[np.ndarray, " chosen"]:
    """The features with the largest mean correlation with their companions, among those active often enough."""
    often = each.density * x.shape[0] >= LEAST_SAMPLES
    strength = np.where(np.isnan(found.correlation), 0.0, found.correlation).mean(1)
    order = np.argsort(-strength, kind="stable")
    return order[(often & (strength > 0))[order]][:most]


def local_measures(
    weights: Weights, x: Any, found: Companions, chosen: Int[np.ndarray, " chosen"], key: int, progress: Progress
) -> list[Local]:
    """Measures of each chosen feature's local principal subspace, whose rank is the number of its companions.

    Args:
        weights: shape (n, m).
        x: a csr_array (sample, feature).
        found: the companions of each feature.
        chosen: numbers of features, each with a companion and active in at least two samples.
        key: the key of the random numbers that pick other features.
        progress: called for the phase "local bases".

    """
    random = np.random.default_rng(key)
    columns = x.tocsc()
    active = np.flatnonzero(np.diff(columns.indptr))
    whole = sampled_pca(
        _reconstructed(weights, x, np.arange(x.shape[0])), min(found.feature.shape[1], weights.shape[1])
    )
    measures = []
    for done, feature in enumerate(chosen.tolist()):
        mine = found.feature[feature]
        mine = mine[mine >= 0]
        rank = min(len(mine), weights.shape[1])
        here = columns.indices[columns.indptr[feature] : columns.indptr[feature + 1]]
        h = _reconstructed(weights, x, np.sort(here))
        basis = sampled_pca(h, rank).directions
        rest = np.setdiff1d(active, [feature, *mine.tolist()])
        control = random.choice(rest, min(len(mine), len(rest)), replace=False) if len(rest) else rest
        measures.append(
            Local(
                samples=len(h),
                rank=rank,
                capture=_captured(weights, mine, basis),
                everywhere=_captured(weights, mine, whole.directions[:rank]),
                others=_captured(weights, control, basis),
                interference=_interference(weights, np.array([feature, *mine.tolist()])),
            )
        )
        progress("local bases", (done + 1) / len(chosen))
    return measures


def _reconstructed(weights: Weights, x: Any, rows: Int[np.ndarray, " row"]) -> Float64[np.ndarray, "row hidden"]:
    """X W for at most `MOST_SAMPLES` of the samples; only the rows of W that they need become double precision."""
    if len(rows) > MOST_SAMPLES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_SAMPLES).astype(np.int64)]
    h = np.zeros((len(rows), weights.shape[1]))
    # So few samples at a time that the rows of W they need fit into memory.
    for part in blocks(len(rows), max(1, x.nnz // x.shape[0]) * weights.shape[1], 2**25):
        some = x[rows[part]]
        used, where = np.unique(some.indices, return_inverse=True)
        some = type(some)((some.data, where.astype(np.int32), some.indptr), (some.shape[0], max(len(used), 1)))
        if len(used):
            h[part] = some @ np.asarray(weights[used], np.float64)
    return h


def _captured(
    weights: Weights, which: Int[np.ndarray, " some"], basis: Float64[np.ndarray, "component hidden"]
) -> float:
    return float(captured_variance(np.asarray(weights[which], np.float64), basis)) if len(which) else np.nan


def _interference(weights: Weights, which: Int[np.ndarray, " some"]) -> float:
    rows = np.asarray(weights[which], np.float64)
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 0] / norms[norms > 0, None]
    count = len(rows)
    return float((np.square(rows @ rows.T).sum() - count) / (count * (count - 1))) if count > 1 else np.nan
