"""Small kernels for `profile_training.py`: each repeats one part of a training step, or a machine's elementary work.

They call the functions of tegum's own kernels, so that what is timed is what training runs.
"""

from __future__ import annotations

import numpy as np

from tegum.core.compiled.compile import kernel
from tegum.core.compiled.lanes import LANES, load, pointers, store
from tegum.core.compiled.tiles import MOST_ROWS, TILE_COLUMNS, VECTOR, add_outers, store_tile, zeros
from tegum.training.sampled.kernels.advance import _adamw, _clear, _evaluate, _gradient, _pack, _pass
from tegum.training.sampled.kernels.draw import STREAM_WORDS, _next, draw_block, draw_count, next_groups, row_stride
from tegum.training.sampled.kernels.pairs import LEAST_HIDDEN, add_rows

_FLOOR = np.float32(0)
_TURNS = 256
FUSED_FLOPS = _TURNS * MOST_ROWS * TILE_COLUMNS * VECTOR * 2
"""Floating-point operations of one repetition of `many_fused`."""
RANDOM_WORDS = _TURNS * LANES
"""Random numbers of one repetition of `many_random`."""


@kernel
def many_fused(numbers, count):
    """The largest tile of sums that fits into registers, with operands from the fastest cache."""
    tile = zeros(MOST_ROWS, TILE_COLUMNS)
    for _ in range(count):
        tile = add_outers(tile, _TURNS, numbers, 0, 1, 0, numbers, 0, 0)
    store_tile(tile, numbers, numbers.size // 2, TILE_COLUMNS * VECTOR, VECTOR)


@kernel
def many_random(stream, words, count):
    """Random words as the kernel draws them, added up so that all are needed."""
    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    total = load(words, 0)
    for _ in range(count):
        for _ in range(_TURNS):
            bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
            total = total ^ bits
    store(words, 0, total)


@kernel
def fill(scratch, weights, bias, stream, features, hidden):
    """The parameters and the stream of a run into working memory, with moments at zero."""
    s = pointers(scratch)
    size = scratch.values.size
    _clear(s.values, size)
    _clear(s.first, size)
    _clear(s.second, size)
    _clear(s.lanes, size * VECTOR)
    _clear(s.dw_rows, features * (-(-hidden // LANES) * LANES))
    _pack(weights, bias, s.values, features, hidden)
    for word in range(STREAM_WORDS):
        s.stream[word] = stream[word]


@kernel
def drawing(tables, features, batch, most_groups, scratch, count):
    """Draw a batch, block by block."""
    tables, s = pointers(tables), pointers(scratch)
    for _ in range(count):
        samples, done = draw_count(tables, 0, batch, s.stream), 0
        while done < samples:
            groups = next_groups(samples - done, most_groups)
            draw_block(tables, 0, features, done, samples, s.stream, s.x, groups, row_stride(groups))
            done += groups * LANES


@kernel
def passing(tables, features, hidden, batch, most_groups, scratch, train, count):
    """Draw a batch and pass it forward; with `train` also backward."""
    tables, s = pointers(tables), pointers(scratch)
    total = 0.0
    for _ in range(count):
        total += _pass(tables, s, features, hidden, batch, _FLOOR, 0, most_groups, s.stream, train)
    return total


@kernel
def updating(scratch, features, hidden, batch, count):
    """Clear the gradient's lanes, add them up, and take a step of AdamW, at a rate of zero: the state stays."""
    s = pointers(scratch)
    size = scratch.values.size
    row = -(-hidden // LANES) * LANES
    for _ in range(count):
        _gradient(s, size, 1 / batch)
        if hidden >= LEAST_HIDDEN:
            add_rows(s.gradient, s.dw_rows, features, hidden, row, np.float32(1 / batch))
        _adamw(s, size, 0.0, 0.01, 0.9, 0.999, 1e-8, 0.1, 0.001)
        _clear(s.lanes, size * VECTOR)


@kernel
def evaluating(tables, features, hidden, batch, most_groups, batches, start, scratch, count):
    """Evaluate a snapshot."""
    tables, s = pointers(tables), pointers(scratch)
    total = 0.0
    for _ in range(count):
        total += _evaluate(tables, s, features, hidden, batch, batches, _FLOOR, 0, most_groups, start)
    return total
