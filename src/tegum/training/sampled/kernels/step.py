"""One training step in lanes: forward pass, loss, gradient.

Arrays are flat. A block is `groups` (an even number) times sixteen samples; x, dz are (features, block), h and dh
(hidden, block), with features padded to a multiple of four. With z = W h + b, h = Wᵀ x and dz = 2 I (x̂ − x) 1[z > 0],

    dW = dzᵀ h + xᵀ dh,   dh = Wᵀ dz,   db = Σ dz,

summed over samples. Sums over samples stay in lanes until the end of the step.

The tiles below keep eight accumulators in registers, as many as two multiply-add units with a latency of four need.
"""

from __future__ import annotations

import numpy as np

from tegum.core.compiled.compile import kernel
from tegum.core.compiled.lanes import LANES, at_least, fma, load, select, splat, store


@kernel
def project(weights, source, target, features, hidden, groups):
    """Target (hidden, block) = Wᵀ source (features, block)."""
    width = groups * LANES
    zero = splat(np.float32(0))
    for k in range(hidden):
        for g in range(groups):
            store(target, k * width + g * LANES, zero)
    for g in range(0, groups, 2):
        for i in range(0, features, 4):
            at = i * width + g * LANES
            x0, y0 = load(source, at), load(source, at + LANES)
            x1, y1 = load(source, at + width), load(source, at + width + LANES)
            x2, y2 = load(source, at + 2 * width), load(source, at + 2 * width + LANES)
            x3, y3 = load(source, at + 3 * width), load(source, at + 3 * width + LANES)
            for k in range(hidden):
                w0, w1 = splat(weights[i * hidden + k]), splat(weights[(i + 1) * hidden + k])
                w2, w3 = splat(weights[(i + 2) * hidden + k]), splat(weights[(i + 3) * hidden + k])
                to = k * width + g * LANES
                s, t = load(target, to), load(target, to + LANES)
                s, t = fma(w0, x0, s), fma(w0, y0, t)
                s, t = fma(w1, x1, s), fma(w1, y1, t)
                s, t = fma(w2, x2, s), fma(w2, y2, t)
                s, t = fma(w3, x3, s), fma(w3, y3, t)
                store(target, to, s)
                store(target, to + LANES, t)


@kernel
def residual(z, x, floor, slope, loss):
    """Lanes of ∂loss/∂z = 2 I (x̂ − x) 1[z > floor], given slope = 2 I, and the loss (twice) with this output added."""
    error = at_least(z, floor) - x
    steep = error * slope
    return select(z > floor, steep, splat(np.float32(0))), fma(error, steep, loss)


@kernel
def outputs(weights, bias, importance, importance_at, h, x, dz, db, floor, features, hidden, groups):
    """Write dz (features, block), add its sums to db (features, lanes), return lanes of the loss."""
    width = groups * LANES
    lowest = splat(floor)
    two = splat(np.float32(2))
    loss = splat(np.float32(0))
    for j in range(0, features, 4):
        b0, b1, b2, b3 = splat(bias[j]), splat(bias[j + 1]), splat(bias[j + 2]), splat(bias[j + 3])
        i0 = two * splat(importance[importance_at + j])
        i1 = two * splat(importance[importance_at + j + 1])
        i2 = two * splat(importance[importance_at + j + 2])
        i3 = two * splat(importance[importance_at + j + 3])
        d0, d1 = load(db, j * LANES), load(db, (j + 1) * LANES)
        d2, d3 = load(db, (j + 2) * LANES), load(db, (j + 3) * LANES)
        for g in range(0, groups, 2):
            s0, s1, s2, s3 = b0, b1, b2, b3
            t0, t1, t2, t3 = b0, b1, b2, b3
            for k in range(hidden):
                u, v = load(h, k * width + g * LANES), load(h, k * width + (g + 1) * LANES)
                w = splat(weights[j * hidden + k])
                s0, t0 = fma(w, u, s0), fma(w, v, t0)
                w = splat(weights[(j + 1) * hidden + k])
                s1, t1 = fma(w, u, s1), fma(w, v, t1)
                w = splat(weights[(j + 2) * hidden + k])
                s2, t2 = fma(w, u, s2), fma(w, v, t2)
                w = splat(weights[(j + 3) * hidden + k])
                s3, t3 = fma(w, u, s3), fma(w, v, t3)
            at = j * width + g * LANES
            s0, loss = residual(s0, load(x, at), lowest, i0, loss)
            t0, loss = residual(t0, load(x, at + LANES), lowest, i0, loss)
            store(dz, at, s0)
            store(dz, at + LANES, t0)
            d0 = d0 + (s0 + t0)
            at += width
            s1, loss = residual(s1, load(x, at), lowest, i1, loss)
            t1, loss = residual(t1, load(x, at + LANES), lowest, i1, loss)
            store(dz, at, s1)
            store(dz, at + LANES, t1)
            d1 = d1 + (s1 + t1)
            at += width
            s2, loss = residual(s2, load(x, at), lowest, i2, loss)
            t2, loss = residual(t2, load(x, at + LANES), lowest, i2, loss)
            store(dz, at, s2)
            store(dz, at + LANES, t2)
            d2 = d2 + (s2 + t2)
            at += width
            s3, loss = residual(s3, load(x, at), lowest, i3, loss)
            t3, loss = residual(t3, load(x, at + LANES), lowest, i3, loss)
            store(dz, at, s3)
            store(dz, at + LANES, t3)
            d3 = d3 + (s3 + t3)
        store(db, j * LANES, d0)
        store(db, (j + 1) * LANES, d1)
        store(db, (j + 2) * LANES, d2)
        store(db, (j + 3) * LANES, d3)
    return loss * splat(np.float32(0.5))


@kernel
def accumulate(dw, left, right, features, hidden, groups):
    """Dw (features, hidden, lanes) += left (features, block) times right (hidden, block)."""
    width = groups * LANES
    for j in range(0, features, 4):
        k = 0
        while k + 1 < hidden:
            at0, at1 = (j * hidden + k) * LANES, ((j + 1) * hidden + k) * LANES
            at2, at3 = ((j + 2) * hidden + k) * LANES, ((j + 3) * hidden + k) * LANES
            s0, t0, s1, t1 = load(dw, at0), load(dw, at0 + LANES), load(dw, at1), load(dw, at1 + LANES)
            s2, t2, s3, t3 = load(dw, at2), load(dw, at2 + LANES), load(dw, at3), load(dw, at3 + LANES)
            for g in range(groups):
                u, v = load(right, k * width + g * LANES), load(right, (k + 1) * width + g * LANES)
                d = load(left, j * width + g * LANES)
                s0, t0 = fma(d, u, s0), fma(d, v, t0)
                d = load(left, (j + 1) * width + g * LANES)
                s1, t1 = fma(d, u, s1), fma(d, v, t1)
                d = load(left, (j + 2) * width + g * LANES)
                s2, t2 = fma(d, u, s2), fma(d, v, t2)
                d = load(left, (j + 3) * width + g * LANES)
                s3, t3 = fma(d, u, s3), fma(d, v, t3)
            store(dw, at0, s0)
            store(dw, at0 + LANES, t0)
            store(dw, at1, s1)
            store(dw, at1 + LANES, t1)
            store(dw, at2, s2)
            store(dw, at2 + LANES, t2)
            store(dw, at3, s3)
            store(dw, at3 + LANES, t3)
            k += 2
        if k < hidden:
            at0, at1 = (j * hidden + k) * LANES, ((j + 1) * hidden + k) * LANES
            at2, at3 = ((j + 2) * hidden + k) * LANES, ((j + 3) * hidden + k) * LANES
            s0, s1, s2, s3 = load(dw, at0), load(dw, at1), load(dw, at2), load(dw, at3)
            for g in range(groups):
                u = load(right, k * width + g * LANES)
                s0 = fma(load(left, j * width + g * LANES), u, s0)
                s1 = fma(load(left, (j + 1) * width + g * LANES), u, s1)
                s2 = fma(load(left, (j + 2) * width + g * LANES), u, s2)
                s3 = fma(load(left, (j + 3) * width + g * LANES), u, s3)
            store(dw, at0, s0)
            store(dw, at1, s1)
            store(dw, at2, s2)
            store(dw, at3, s3)
