"""Fresh samples inside the kernel.

A run owns sixteen xoshiro128+ generators (Blackman & Vigna 2021), one per lane, seeded from (base seed, run), so that
what it draws does not depend on the runs trained with it, on the thread, or on where training was interrupted.
Magnitudes are uniform on [0, 1] until `quantiles` gives a block those of other laws.
"""

from __future__ import annotations

import numpy as np

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import (
    LANES,
    gather,
    lane,
    lane_numbers,
    load,
    pointers,
    select,
    small_to_float,
    splat,
    store,
    to_float,
)
from tegum.training.sampled.kernels.quantiles import apply_laws, has_laws
from tegum.training.sampled.kernels.tables import GUIDE

STREAM_WORDS = 4 * LANES
"""The number of uint32 words in a run's stream in the kernel: four per lane."""

FEW_COMPONENTS = 4
"""Up to this many components, comparisons select a lane's component faster than a gather."""

_UNIT = np.float32(2.0**-32)
_ROTATION = np.uint32(11)
_REST = np.uint32(21)
_SHIFT = np.uint32(9)
_HALF = np.uint32(2**31)
_ZERO, _ONE = np.uint32(0), np.uint32(1)
_WORD = np.uint64(32)


@kernel
def _next(s0, s1, s2, s3):
    """Sixteen times 32 random bits, and the advanced stream."""
    bits = s0 + s3
    t = s1 << splat(_SHIFT)
    s2 = s2 ^ s0
    s3 = s3 ^ s1
    s1 = s1 ^ s2
    s0 = s0 ^ s3
    s2 = s2 ^ t
    s3 = (s3 << splat(_ROTATION)) ^ (s3 >> splat(_REST))
    return bits, s0, s1, s2, s3


@kernel
def _draw_dense(tables, distribution, stream, x, groups, stride):
    """Fill x (features, groups · 16) with samples of one distribution; advance the stream."""
    state = load(stream, 0), load(stream, LANES), load(stream, 2 * LANES), load(stream, 3 * LANES)
    for one in range(tables.sets_of[distribution], tables.sets_of[distribution + 1]):
        if tables.set_samples[one] != 0:
            state = _draw_rows(tables, one, state, x, groups, stride)
        elif tables.set_components[one] == 1:
            state = _draw_independent(tables, one, state, x, groups, stride)
        else:
            state = _draw_mixture(tables, one, state, x, groups, stride)
    for k in range(4):
        store(stream, k * LANES, state[k])


@inlined
def _draw_independent(tables, one, state, x, groups, stride):
    """Draw a set in which features are active independently."""
    s0, s1, s2, s3 = state
    gates, nothing = tables.set_gates[one], splat(np.float32(0))
    for i in range(tables.set_size[one]):
        limit, scale = splat(tables.limit[gates + i]), splat(tables.scale[gates + i])
        row = (tables.set_first[one] + i) * stride
        if tables.limit[gates + i] < _HALF:
            # Where the feature is active the bits are below 2³¹ too; elsewhere their value is not used.
            for g in range(groups):
                bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
                store(x, row + g * LANES, select(bits <= limit, small_to_float(bits) * scale, nothing))
        else:
            for g in range(groups):
                bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
                store(x, row + g * LANES, select(bits <= limit, to_float(bits) * scale, nothing))
    return s0, s1, s2, s3


@inlined
def _draw_mixture(tables, one, state, x, groups, stride):
    """Draw a set that is a mixture: a component for each sample, then its features, which are independent given it."""
    s0, s1, s2, s3 = state
    first, size, bounds = tables.set_first[one], tables.set_size[one], tables.set_bounds[one]
    step, nothing = splat(np.uint32(size)), splat(np.float32(0))
    for g in range(groups):
        bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        # The position of each lane's own component in the table of gates.
        component = splat(_ZERO)
        for c in range(tables.set_components[one] - 1):
            after = select(bits < splat(tables.bounds[bounds + c]), splat(_ZERO), step)
            component = component + after
        for i in range(size):
            bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
            limit, scale = _gates(tables, one, i, component)
            store(x, (first + i) * stride + g * LANES, select(bits <= limit, to_float(bits) * scale, nothing))
    return s0, s1, s2, s3


@inlined
def _gates(tables, one, i, component):
    """The gate of feature i in each lane's own component, and what its random bits are multiplied with."""
    gates, size, components = tables.set_gates[one], tables.set_size[one], tables.set_components[one]
    if components > FEW_COMPONENTS:
        limit, scale = gather(tables.limit, gates + i, component), gather(tables.scale, gates + i, component)
    else:
        limit, scale = splat(tables.limit[gates + i]), splat(tables.scale[gates + i])
        for c in range(1, components):
            before = component < splat(np.uint32(c * size))
            limit = select(before, limit, splat(tables.limit[gates + c * size + i]))
            scale = select(before, scale, splat(tables.scale[gates + c * size + i]))
    return limit, scale


@inlined
def _draw_rows(tables, one, state, x, groups, stride):
    """Pick rows of a user's activations, each as likely as any other."""
    s0, s1, s2, s3 = state
    first, nothing = tables.set_first[one], splat(np.float32(0))
    for i in range(first, first + tables.set_size[one]):
        for g in range(groups):
            store(x, i * stride + g * LANES, nothing)
    rows = np.uint64(tables.set_samples[one])
    for g in range(groups):
        high, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        low, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        for k in range(LANES):
            # 64 random bits times the number of rows, of which the highest count: no row is likelier by 1e-9.
            carried = np.uint64(np.uint64(lane(low, k)) * rows) >> _WORD
            row = tables.set_row[one] + np.int64((np.uint64(lane(high, k)) * rows + carried) >> _WORD)
            for t in range(tables.row_first[row], tables.row_first[row + 1]):
                x[(first + tables.row_feature[t]) * stride + g * LANES + k] = tables.row_value[t]
    return s0, s1, s2, s3


@kernel
def draw_count(tables, distribution, batch, stream):
    """The number of samples of a batch to draw: all, or only those with anything active."""
    if tables.pattern_bits[distribution] < 0:
        return batch
    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    high, low = stream[0] + stream[3 * LANES], stream[1] + stream[3 * LANES + 1]
    # 53 bits, and never 1.
    uniform = (np.uint32(high) * 2.0**21 + (np.uint32(low) >> np.uint32(11))) * 2.0**-53
    _, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
    store(stream, 0, s0)
    store(stream, LANES, s1)
    store(stream, 2 * LANES, s2)
    store(stream, 3 * LANES, s3)
    # The guide gives a close lower bound; on average one or two comparisons remain.
    count = tables.count_guide[distribution * GUIDE + int(uniform * GUIDE)]
    first = distribution * (batch + 1)
    while count < batch and uniform >= tables.active_count[first + count]:
        count += 1
    return count


@kernel
def _draw_patterns(tables, distribution, features, start, count, stream, x, groups, stride):
    """Fill x (features, groups · 16) with samples that have something active, and with zeros from sample `count` on.

    `start` is the number of the first sample among the `count` active ones.
    """
    first, bits_used = tables.pattern_first[distribution], np.uint32(tables.pattern_bits[distribution])
    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    zero, unit, nothing = splat(_ZERO), splat(_UNIT), splat(np.float32(0))
    top, rest = splat(np.uint32(np.uint32(31) - bits_used)), splat(bits_used)
    for g in range(groups):
        bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        # Two shifts, because a shift by 32 (for a table of one entry) is undefined.
        entry = (bits >> top) >> splat(_ONE)
        keep = (bits << rest) < gather(tables.pattern_limit, first, entry)
        kept = gather(tables.pattern_kept, first, entry)
        active = select(keep, kept, gather(tables.pattern_alias, first, entry))
        there = lane_numbers() < splat(np.uint32(max(0, count - start - g * LANES)))
        active = select(there, active, zero)
        for i in range(features):
            bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
            on = (active & splat(np.uint32(_ONE << np.uint32(i)))) != zero
            store(x, i * stride + g * LANES, select(on, to_float(bits) * unit, nothing))
    store(stream, 0, s0)
    store(stream, LANES, s1)
    store(stream, 2 * LANES, s2)
    store(stream, 3 * LANES, s3)


@kernel
def next_groups(samples, most):
    """Groups of sixteen in the next block when this many samples are left: an even number, at most `most`."""
    return min(most, (samples + 2 * LANES - 1) // (2 * LANES) * 2)


@kernel
def row_stride(groups):
    """How far apart the rows of a block begin: an odd number of cache lines, see `step`."""
    return (groups // 2 * 2 + 1) * LANES


@kernel
def draw_block(tables, distribution, features, start, count, stream, x, groups, stride):
    """Fill x (features, groups · 16) with samples start, start + 1, … of the `count` to be drawn; zeros beyond it."""
    if tables.pattern_bits[distribution] >= 0:
        _draw_patterns(tables, distribution, features, start, count, stream, x, groups, stride)
    else:
        _draw_dense(tables, distribution, stream, x, groups, stride)
        for i in range(features):
            for surplus in range(count - start, groups * LANES):
                x[i * stride + surplus] = 0
    if has_laws(tables.laws, distribution, features):
        apply_laws(tables.laws, distribution, features, x, groups, stride)


@kernel
def draw_batch(tables, distribution, features, batch, most_groups, stream, x, out):
    """The batch that training would draw from this stream, as rows of out (batch, features)."""
    tables = pointers(tables)
    count = draw_count(tables, distribution, batch, stream)
    out[:] = 0
    start = 0
    while start < count:
        groups = next_groups(count - start, most_groups)
        stride = row_stride(groups)
        draw_block(tables, distribution, features, start, count, stream, x, groups, stride)
        for sample in range(start, min(count, start + groups * LANES)):
            for i in range(features):
                out[sample, i] = x[i * stride + sample - start]
        start += groups * LANES
