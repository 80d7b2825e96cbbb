"""The same products as in `step`, but only over non-zero values.

In a large sparse problem few features of a sample are active, and once training is under way few outputs are non-zero.
The non-zero values are listed by feature, and for each of them a row over the hidden dimension is accumulated, with
hidden units as lanes. Arrays whose names end in `_rows` are (sample, hidden) or (feature, hidden), where x, h, dz and
dh are (feature or hidden, sample). Their rows are `row` long, a multiple of sixteen; the padding beyond the hidden
dimension is read and written, but has no meaning.
"""

from __future__ import annotations

import numpy as np

from tegum.core.compiled.compile import kernel
from tegum.core.compiled.lanes import LANES, count_lanes, fma, lane_numbers, load, splat, store, store_some, transpose

LEAST_HIDDEN = 8
MOST_SHARE = 0.1
"""Values are listed if at most this share of them is non-zero, and the hidden dimension is at least `LEAST_HIDDEN`."""


@kernel
def list_pairs(source, features, width, stride, first, sample, value):
    """List the non-zero values of source (features, width), with their samples; gives whether there are few enough.

    Those of feature i have the numbers first[i] … first[i + 1] − 1. If there are too many, the list is not whole.
    """
    most = np.int64(MOST_SHARE * features * width)
    zero, numbers = splat(np.float32(0)), lane_numbers()
    count = 0
    for i in range(features):
        first[i] = count
        for g in range(0, width, LANES):
            values = load(source, i * stride + g)
            there = values != zero
            store_some(value, count, values, there)
            store_some(sample, count, numbers + splat(np.uint32(g)), there)
            count += count_lanes(there)
        if count > most:
            return False
    first[features] = count
    return True


@kernel
def project_pairs(weights, target_rows, features, hidden, row, width, first, sample, value):
    """target_rows (width, row) = the transpose of Wᵀ source (features, width), from the pairs of source."""
    zero = splat(np.float32(0))
    for p in range(0, width * row, LANES):
        store(target_rows, p, zero)
    for i in range(features):
        for k in range(0, hidden, LANES):
            w = load(weights, i * hidden + k)
            for t in range(first[i], first[i + 1]):
                to = np.int64(sample[t]) * row + k
                store(target_rows, to, fma(splat(value[t]), w, load(target_rows, to)))


@kernel
def accumulate_pairs(dw_rows, source_rows, features, hidden, row, first, sample, value):
    """dw_rows (features, row) += left (features, width) times source_rows (width, row), from the pairs of left."""
    for i in range(features):
        if first[i] == first[i + 1]:
            continue
        for k in range(0, hidden, LANES):
            s = load(dw_rows, i * row + k)
            for t in range(first[i], first[i + 1]):
                s = fma(splat(value[t]), load(source_rows, np.int64(sample[t]) * row + k), s)
            store(dw_rows, i * row + k, s)


@kernel
def rows_to_columns(rows, columns, row, width, stride):
    """Columns (row, width) = the transpose of rows (width, row)."""
    for at in range(0, width, LANES):
        for k in range(0, row, LANES):
            transpose(rows, at * row + k, row, columns, k * stride + at, stride)


@kernel
def columns_to_rows(columns, rows, row, width, stride):
    """Rows (width, row) = the transpose of columns (row, width)."""
    for at in range(0, width, LANES):
        for k in range(0, row, LANES):
            transpose(columns, k * stride + at, stride, rows, at * row + k, row)


@kernel
def add_rows(gradient, dw_rows, features, hidden, row, share):
    """Gradient (features, hidden) += share · dw_rows (features, row); dw_rows is set to zero."""
    for i in range(features):
        for k in range(hidden):
            gradient[i * hidden + k] += share * dw_rows[i * row + k]
            dw_rows[i * row + k] = 0
