"""Sixteen lanes at a time, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tegum.core.compiled import lanes as simd
from tegum.core.compiled.compile import kernel
from tegum.core.compiled.target import UNIT

LANES = simd.LANES


@kernel
def arithmetic(x, y, z, out):
    a, b, c = simd.load(x, 0), simd.load(y, 0), simd.load(z, 0)
    simd.store(out, 0 * LANES, a + b)
    simd.store(out, 1 * LANES, a - b)
    simd.store(out, 2 * LANES, a * b)
    simd.store(out, 3 * LANES, a / b)
    simd.store(out, 4 * LANES, simd.fma(a, b, c))
    simd.store(out, 5 * LANES, simd.at_least(a, b))
    simd.store(out, 6 * LANES, simd.sqrt(a * a))
    simd.store(out, 7 * LANES, simd.select(a > b, a, c))
    simd.store(out, 8 * LANES, simd.select(a != b, b, c))
    simd.store(out, 9 * LANES, simd.splat(x[3]))
    return simd.total(a)


@kernel
def integers(x, y, out):
    a, b = simd.load(x, 0), simd.load(y, 0)
    three = simd.splat(np.uint32(3))
    simd.store(out, 0 * LANES, a + b)
    simd.store(out, 1 * LANES, a ^ b)
    simd.store(out, 2 * LANES, a & b)
    simd.store(out, 3 * LANES, a << three)
    simd.store(out, 4 * LANES, a >> three)
    simd.store(out, 5 * LANES, simd.select(a < b, a, b))
    simd.store(out, 6 * LANES, simd.select(a <= b, b, a))
    simd.store(out, 7 * LANES, simd.lane_numbers())
    return simd.count_lanes(a != b)


@kernel
def memory(x, indices, out, some, columns):
    simd.store(out, 0, simd.gather(x, 5, simd.load(indices, 0)))
    simd.store(out, LANES, simd.totals(x, 0))
    a = simd.load(x, 0)
    simd.store_some(some, 2, a, a > simd.splat(np.float32(0)))
    simd.transpose(x, 1, 20, columns, 3, 17)


@kernel
def to_float(x, out):
    simd.store(out, 0, simd.to_float(simd.load(x, 0)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_arithmetic(rng):
    x, y, z = rng.normal(size=(3, LANES)).astype("f")
    y[4] = x[4]
    out = np.zeros(10 * LANES, "f")
    total = arithmetic(x, y, z, out)
    fused = (x.astype(float) * y + z).astype("f")
    expected = [x + y, x - y, x * y, x / y, fused, np.maximum(x, y), np.abs(x), np.where(x > y, x, z)]
    expected += [np.where(x != y, y, z), np.full(LANES, x[3])]
    np.testing.assert_allclose(out.reshape(10, LANES), expected, rtol=2e-7)
    assert total == pytest.approx(x.astype(float).sum(), abs=1e-6)


def test_nan_is_unequal_and_never_larger_and_stays():
    x, y, z = np.full((3, LANES), np.nan, "f")
    y[:], z[:] = 1, 2
    out = np.zeros(10 * LANES, "f")
    assert np.isnan(arithmetic(x, y, z, out))
    rows = out.reshape(10, LANES)
    assert np.isnan(rows[5]).all()
    np.testing.assert_array_equal(rows[7], z)
    np.testing.assert_array_equal(rows[8], y)


def test_unsigned_integers_wrap_and_compare_without_a_sign(rng):
    x, y = rng.integers(0, 2**32, (2, LANES), dtype=np.uint32)
    x[0], y[0] = 2**32 - 1, 1
    x[1], y[1] = 7, 7
    out = np.zeros(8 * LANES, np.uint32)
    unequal = integers(x, y, out)
    expected = [x + y, x ^ y, x & y, x << np.uint32(3), x >> np.uint32(3), np.minimum(x, y), np.maximum(x, y)]
    np.testing.assert_array_equal(out.reshape(8, LANES), [*expected, np.arange(LANES)])
    assert unequal == (x != y).sum()


def test_unsigned_integers_become_floats(rng):
    x = rng.integers(0, 2**32, LANES, dtype=np.uint32)
    x[:2] = 0, 2**32 - 1
    out = np.zeros(LANES, "f")
    to_float(x, out)
    np.testing.assert_array_equal(out, x.astype(np.float32))


def test_memory(rng):
    x = rng.normal(size=400).astype("f")
    indices = rng.integers(0, 300, LANES).astype(np.uint32)
    out, some, columns = np.zeros(2 * LANES, "f"), np.zeros(20, "f"), np.zeros(400, "f")
    memory(x, indices, out, some, columns)
    np.testing.assert_array_equal(out[:LANES], x[5 + indices])
    registers = x[: 16 * UNIT.lanes].reshape(16, UNIT.lanes)
    np.testing.assert_allclose(out[LANES:], registers.sum(1), atol=1e-5)
    positive = x[:LANES][x[:LANES] > 0]
    # What follows them has no meaning.
    np.testing.assert_array_equal(some[: 2 + len(positive)], [0, 0, *positive])
    rows = np.stack([x[1 + 20 * k : 17 + 20 * k] for k in range(16)])
    np.testing.assert_array_equal(np.stack([columns[3 + 17 * k : 19 + 17 * k] for k in range(16)]), rows.T)


@kernel
def wide(x, y, z, out):
    a, b, c = simd.load(x, 0), simd.load(y, 0), simd.load(z, 0)
    n = simd.WIDE_LANES
    simd.store(out, 0 * n, a + b)
    simd.store(out, 1 * n, a - b)
    simd.store(out, 2 * n, a * b)
    simd.store(out, 3 * n, a / b)
    simd.store(out, 4 * n, simd.fma(a, b, c))
    simd.store(out, 5 * n, simd.at_least(a, b))
    simd.store(out, 6 * n, simd.at_most(a, b))
    simd.store(out, 7 * n, simd.absolute(a))
    simd.store(out, 8 * n, simd.negative(a))
    simd.store(out, 9 * n, simd.nearest(a))
    simd.store(out, 10 * n, simd.sqrt(a * a))
    simd.store(out, 11 * n, simd.select(a > b, a, c))
    simd.store(out, 12 * n, simd.select(a >= b, a, c))
    simd.store(out, 13 * n, simd.select(a < b, a, c))
    simd.store(out, 14 * n, simd.select(a <= b, a, c))
    simd.store(out, 15 * n, simd.select(a != b, a, c))
    simd.store(out, 16 * n, simd.select((a > b) & (b > c), a, c))
    simd.store(out, 17 * n, simd.select((a > b) | (b > c), a, c))
    simd.store(out, 18 * n, simd.load(simd.pointer_at(simd.pointer_at(x, 1), 1), 2))
    simd.store(out, 19 * n, simd.splat(x[3]))
    simd.store(out, 20 * n, simd.product_error(a, b, simd.negative(c)))
    return simd.count_lanes(a > b)


def wide_results(x, y, z):
    n = simd.WIDE_LANES
    a, b, c = x[:n], y[:n], z[:n]
    return [
        a + b, a - b, a * b, a / b, a * b + c, np.maximum(a, b), np.minimum(a, b), np.abs(a), -a, np.rint(a), np.abs(a),
        np.where(a > b, a, c), np.where(a >= b, a, c), np.where(a < b, a, c), np.where(a <= b, a, c),
        np.where(a != b, a, c), np.where((a > b) & (b > c), a, c), np.where((a > b) | (b > c), a, c), x[4 : 4 + n],
        np.full(n, x[3]), a * b + c,
    ]  # fmt: skip


def test_eight_doubles(rng):
    x, y, z = rng.normal(size=(3, 2 * simd.WIDE_LANES))
    y[4] = x[4]
    x[5], x[6] = 2.5, -3.5
    out = np.zeros(21 * simd.WIDE_LANES)
    count = wide(x, y, z, out)
    expected = wide_results(x, y, z)
    np.testing.assert_allclose(out.reshape(21, -1), expected, rtol=1e-15, atol=1e-15)
    assert count == (x[:8] > y[:8]).sum()


def test_nan_among_doubles_is_unequal_and_never_ordered_and_stays():
    x, y, z = np.full(16, np.nan), np.ones(16), np.full(16, 2.0)
    out = np.zeros(21 * simd.WIDE_LANES)
    assert wide(x, y, z, out) == 0
    rows = out.reshape(21, -1)
    assert np.isnan(rows[[5, 6, 7, 8, 9, 15]]).all()
    np.testing.assert_array_equal(rows[[11, 12, 13, 14, 16, 17]], 2.0)


def test_the_error_of_a_product_is_rounded_once_and_sums_of_products_where_the_processor_can():
    tiny = 2.0**-30
    x, y, z = np.full(16, 1 + tiny), np.full(16, 1 - tiny), np.full(16, -1.0)
    out = np.zeros(21 * simd.WIDE_LANES)
    wide(x, y, z, out)
    np.testing.assert_array_equal(out.reshape(21, -1)[20], -(tiny**2))
    np.testing.assert_array_equal(out.reshape(21, -1)[4], -(tiny**2) if UNIT.fused else 0.0)
