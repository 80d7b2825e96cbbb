"""The loss of a finite population, the rows of an `Empirical` set, and its gradient: exact but for rounding.

The loss is Σ_j I_j (x_j − x̂_j)², x̂ = act(W h + b), h = Wᵀ x, in the mean over rows. One model at a time: lanes are
eight rows, so that a single run is as fast as one of eight, and no run has a part in the numbers of another. Rows are
taken in blocks of `ROWS`; nothing dense is larger than a block's h. What is computed for h costs as much as there are
active features, z as much as there are features, and where no row of a group lets an output through, its gradient costs
nothing.

A block's values are listed by feature and then by row, whether the user's matrix is dense or sparse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32

from tegum.core.compiled.compile import kernel, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import count_lanes, fma, is_set, load, pointer_at, pointers, select, splat, store

if TYPE_CHECKING:
    from tegum.core.features.samples import Activations

_GROUPS = 4
"""Groups of eight rows that share what is loaded of the weights."""
ROWS = _GROUPS * L
"""Rows in a block."""

_ELEMENTS = 2**20
"""Elements of the dense matrices from which the list is made."""


class ListedRows(NamedTuple):
    """A finite population, and the sizes of the models that are trained on it; numba takes it as it is."""

    features: int
    hidden: int
    samples: int
    floor: float
    """The activation is max(z, floor)."""
    first: Int[np.ndarray, " block_1"]
    """The values of a block are first[block] … first[block + 1] − 1."""
    place: UInt32[np.ndarray, " value"]
    """Feature · `ROWS` + row in the block, ascending in each block."""
    value: Float[np.ndarray, " value"]

    @property
    def parameters(self) -> int:
        """Weights and biases of a model."""
        return self.features * (self.hidden + 1)

    def powers(self) -> Float[np.ndarray, " feature"]:
        """E[x_j²]."""
        return np.bincount(self.place // ROWS, self.value**2, minlength=self.features) / self.samples


def listed_rows(data: Activations, hidden: int, floor: float) -> ListedRows:
    """The list of a matrix's values, block by block, for models with `hidden` dimensions."""
    n = data.size
    blocks = -(-data.samples // ROWS)
    count = round(float((data.active * data.samples).sum()))
    first = np.zeros(blocks + 1, np.int64)
    place, value = np.empty(count, np.uint32), np.empty(count)
    together, end = max(_ELEMENTS // (n * ROWS), 1), 0
    for block in range(0, blocks, together):
        dense = data.rows(slice(block * ROWS, (block + together) * ROWS))
        dense = np.pad(dense, ((0, -len(dense) % ROWS), (0, 0))).reshape(-1, ROWS, n).swapaxes(1, 2)
        which, feature, row = np.nonzero(dense)
        begin, end = end, end + len(which)
        place[begin:end] = feature * ROWS + row
        value[begin:end] = dense[which, feature, row]
        first[block + 1 : block + 1 + len(dense)] = begin + np.cumsum(np.bincount(which, minlength=len(dense)))
    return ListedRows(n, hidden, data.samples, floor, first, place, value)


def room_for_rows(features: int, hidden: int) -> int:
    """Numbers of working memory that `evaluate_rows` takes."""
    return features * (hidden + 1) * L + 2 * hidden * ROWS + 3 * ROWS


@part
def _read(rows, x, at, end, feature):
    """Write the values of a feature in a block to x, from a place in the list on.

    Returns:
        Where the list goes on, and in which groups of rows the feature is active, as bits.

    """
    zero = splat(0.0)
    for g in range(0, ROWS, L):
        store(x, g, zero)
    groups = 0
    while at < end:
        place = np.int64(rows.place[at])
        if place // ROWS != feature:
            break
        row = place % ROWS
        x[row] = rows.value[at]
        groups |= 1 << (row // L)
        at += 1
    return at, groups


@part
def _embed(rows, theta, hidden, x, first, end):
    """H of a block's rows: (k, row)."""
    at = first
    while at < end:
        feature = np.int64(rows.place[at]) // ROWS
        at, groups = _read(rows, x, at, end, feature)
        for g in range(_GROUPS):
            if groups >> g & 1:
                values = load(x, g * L)
                for k in range(rows.hidden):
                    to = k * ROWS + g * L
                    store(hidden, to, fma(splat(theta[feature * rows.hidden + k]), values, load(hidden, to)))


@part
def _embed_slopes(rows, pull, sums, x, first, end):
    """Add to ∂L/∂W what comes through h: x times ∂L/∂h."""
    at = first
    while at < end:
        feature = np.int64(rows.place[at]) // ROWS
        at, groups = _read(rows, x, at, end, feature)
        for g in range(_GROUPS):
            if groups >> g & 1:
                values = load(x, g * L)
                for k in range(rows.hidden):
                    to = (feature * rows.hidden + k) * L
                    store(sums, to, fma(values, load(pull, k * ROWS + g * L), load(sums, to)))


@part
def _outputs(rows, theta, hidden, z, j):
    """Z of an output in all rows of a block."""
    m = rows.hidden
    bias = splat(theta[rows.features * m + j])
    z0, z1, z2, z3 = bias, bias, bias, bias
    for k in range(m):
        w = splat(theta[j * m + k])
        at = k * ROWS
        z0 = fma(w, load(hidden, at), z0)
        z1 = fma(w, load(hidden, at + L), z1)
        z2 = fma(w, load(hidden, at + 2 * L), z2)
        z3 = fma(w, load(hidden, at + 3 * L), z3)
    store(z, 0, z0)
    store(z, L, z1)
    store(z, 2 * L, z2)
    store(z, 3 * L, z3)


@part
def _output_slopes(rows, theta, hidden, pull, sums, j, g, slope):
    """Add an output's slope ∂L/∂z in a group of rows to ∂L/∂W and ∂L/∂h."""
    m = rows.hidden
    for k in range(m):
        at, to = k * ROWS + g * L, (j * m + k) * L
        store(sums, to, fma(slope, load(hidden, at), load(sums, to)))
        store(pull, at, fma(splat(theta[j * m + k]), slope, load(pull, at)))


@part
def _output(rows, theta, weight, hidden, pull, sums, x, z, there, j):
    """The loss of an output in a block, its slopes added to the sums."""
    _outputs(rows, theta, hidden, z, j)
    floor, zero = splat(rows.floor), splat(0.0)
    loss, to = zero, (rows.features * rows.hidden + j) * L
    bias = load(sums, to)
    for g in range(_GROUPS):
        out = load(z, g * L)
        # Not `at_least`: what is not a number must stay so.
        low = out <= floor
        error = (select(low, floor, out) - load(x, g * L)) * load(there, g * L)
        weighted = weight * error
        loss = fma(weighted, error, loss)
        if count_lanes(low) < L:
            slope = select(low, zero, weighted + weighted)
            bias = bias + slope
            _output_slopes(rows, theta, hidden, pull, sums, j, g, slope)
    store(sums, to, bias)
    return loss


@part
def _sum(values, at):
    """The sum of eight numbers, pairwise."""
    low = (values[at] + values[at + 1]) + (values[at + 2] + values[at + 3])
    return low + ((values[at + 4] + values[at + 5]) + (values[at + 6] + values[at + 7]))


@kernel
def evaluate_rows(rows, theta, importance, gradient, room, stop):
    """The loss of one model in the mean over all rows, and its gradient.

    Args:
        rows: a `ListedRows`, its arrays or pointers to them.
        theta: parameters (n m + n): weights row by row, then biases.
        importance: (n).
        gradient: (n m + n), written.
        room: `room_for_rows` numbers.
        stop: a flag.

    Returns:
        The loss. NaN or inf where parameters are; NaN when the flag is raised, and soon.

    """
    rows = pointers(rows)
    n, m = rows.features, rows.hidden
    size = n * (m + 1)
    sums, hidden, pull = room, pointer_at(room, size * L), pointer_at(room, size * L + m * ROWS)
    x = pointer_at(room, size * L + 2 * m * ROWS)
    z, there = pointer_at(x, ROWS), pointer_at(x, 2 * ROWS)
    zero = splat(0.0)
    for p in range(0, size * L, L):
        store(sums, p, zero)
    loss = zero
    for block in range(-(-rows.samples // ROWS)):
        if is_set(stop):
            return math.nan
        first, end = rows.first[block], rows.first[block + 1]
        for row in range(ROWS):
            there[row] = 1.0 if block * ROWS + row < rows.samples else 0.0
        # ∂L/∂h follows h.
        for p in range(0, 2 * m * ROWS, L):
            store(hidden, p, zero)
        _embed(rows, theta, hidden, x, first, end)
        at, of_block = first, zero
        for j in range(n):
            at, _ = _read(rows, x, at, end, j)
            weight = splat(importance[j] / rows.samples)
            of_block = of_block + _output(rows, theta, weight, hidden, pull, sums, x, z, there, j)
        loss = loss + of_block
        _embed_slopes(rows, pull, sums, x, first, end)
    for p in range(size):
        gradient[p] = _sum(sums, p * L)
    store(x, 0, loss)
    return _sum(x, 0)
