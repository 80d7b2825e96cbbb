"""One training step: forward pass, loss, gradient, for a block of samples side by side.

Arrays are flat. A block is `width` samples, a multiple of 32; x, dz are (features, samples), h and dh (hidden,
samples), and their rows begin `stride` apart, an odd number of cache lines: at a power of two the same samples of all
rows would compete for a few places of the cache. With z = W h + b, h = Wᵀ x and dz = 2 I (x̂ − x) 1[z > 0],

    dW = dzᵀ h + xᵀ dh,   dh = Wᵀ dz,   db = Σ dz,

summed over samples. Sums over samples stay in the lanes of a register until the end of the step.

Every product is cut into tiles (`tegum.core.compiled.tiles`) of at most `MOST_ROWS` rows.
"""

from __future__ import annotations

import numpy as np

from tegum.core.compiled.compile import kernel, part
from tegum.core.compiled.tiles import (
    MOST_ROWS,
    TILE_COLUMNS,
    VECTOR,
    add_outers,
    add_products,
    add_tiles,
    columns_for,
    load_tile,
    residuals,
    row_sums,
    spread_rows,
    store_tile,
    tile_total,
    zeros,
)


def _by_rows(make):
    """A kernel that calls `make(rows)` with the number of rows it is given first, from 1 to `MOST_ROWS`."""
    assert MOST_ROWS == 6
    one, two, three, four, five, six = (part(make(rows)) for rows in range(1, MOST_ROWS + 1))

    @part
    def of_rows(rows, *arguments):
        if rows == 1:
            return one(*arguments)
        if rows == 2:
            return two(*arguments)
        if rows == 3:
            return three(*arguments)
        if rows == 4:
            return four(*arguments)
        if rows == 5:
            return five(*arguments)
        return six(*arguments)

    return of_rows


def _make_project(rows):
    columns = columns_for(rows)

    def project_rows(weights, source, target, features, hidden, width, stride, k):
        """Rows k … k + rows − 1 of the target, as many samples at once as there are registers for, then the rest."""
        wide = columns * VECTOR
        for g in range(0, width - wide + 1, wide):
            tile = add_outers(zeros(rows, columns), features, weights, k, 1, hidden, source, g, stride)
            store_tile(tile, target, k * stride + g, stride, VECTOR)
        for g in range(width // wide * wide, width, TILE_COLUMNS * VECTOR):
            rest = add_outers(zeros(rows, TILE_COLUMNS), features, weights, k, 1, hidden, source, g, stride)
            store_tile(rest, target, k * stride + g, stride, VECTOR)

    return project_rows


_project_rows = _by_rows(_make_project)


@kernel
def project(weights, source, target, features, hidden, width, stride):
    """Target (hidden, samples) = Wᵀ source (features, samples)."""
    pieces, k = -(-hidden // MOST_ROWS), 0
    for left in range(pieces, 0, -1):
        rows = (hidden - k) // left
        _project_rows(rows, weights, source, target, features, hidden, width, stride, k)
        k += rows


def _make_outputs(rows):
    def outputs_of_rows(s, importance, importance_at, floor, hidden, width, stride, j):
        """Outputs j … j + rows − 1; gives their loss."""
        loss = zeros(1, TILE_COLUMNS)
        sums = load_tile(rows, 1, s.db, j * VECTOR, VECTOR, VECTOR)
        slopes = spread_rows(rows, 1, importance, importance_at + j)
        slopes = add_tiles(slopes, slopes)
        for g in range(0, width, TILE_COLUMNS * VECTOR):
            z = spread_rows(rows, TILE_COLUMNS, s.bias, j)
            z = add_outers(z, hidden, s.values, j * hidden, hidden, 1, s.h, g, stride)
            x = load_tile(rows, TILE_COLUMNS, s.x, j * stride + g, stride, VECTOR)
            dz, loss = residuals(z, x, slopes, floor, loss)
            store_tile(dz, s.dz, j * stride + g, stride, VECTOR)
            sums = add_tiles(sums, row_sums(dz))
        store_tile(sums, s.db, j * VECTOR, VECTOR, VECTOR)
        return tile_total(loss)

    return outputs_of_rows


_outputs_of_rows = _by_rows(_make_outputs)


@kernel
def outputs(s, importance, importance_at, floor, features, hidden, width, stride):
    """Write dz, add its sums to db (features, lanes), return the loss of the block."""
    loss = 0.0
    pieces, j = -(-features // MOST_ROWS), 0
    for left in range(pieces, 0, -1):
        rows = (features - j) // left
        # Twice the loss, as 2 I (x̂ − x) is at hand.
        loss += np.float64(_outputs_of_rows(rows, s, importance, importance_at, floor, hidden, width, stride, j))
        j += rows
    return loss / 2


def _make_accumulate(rows):
    def accumulate_rows(dw, left, right, hidden, width, stride, j):
        """Rows j … j + rows − 1 of dw."""
        row = hidden * VECTOR
        for k in range(0, hidden - TILE_COLUMNS + 1, TILE_COLUMNS):
            at = (j * hidden + k) * VECTOR
            tile = load_tile(rows, TILE_COLUMNS, dw, at, row, VECTOR)
            tile = add_products(tile, width // VECTOR, left, j * stride, stride, right, k * stride, stride)
            store_tile(tile, dw, at, row, VECTOR)
        for k in range(hidden // TILE_COLUMNS * TILE_COLUMNS, hidden):
            at = (j * hidden + k) * VECTOR
            column = load_tile(rows, 1, dw, at, row, VECTOR)
            column = add_products(column, width // VECTOR, left, j * stride, stride, right, k * stride, stride)
            store_tile(column, dw, at, row, VECTOR)

    return accumulate_rows


_accumulate_rows = _by_rows(_make_accumulate)


@kernel
def accumulate(dw, left, right, features, hidden, width, stride):
    """Dw (features, hidden, lanes) += left (features, samples) times right (hidden, samples)."""
    pieces, j = -(-features // MOST_ROWS), 0
    for left_over in range(pieces, 0, -1):
        rows = (features - j) // left_over
        _accumulate_rows(rows, dw, left, right, hidden, width, stride, j)
        j += rows
