"""Eight complex numbers at a time, against NumPy, and against fractions where it matters how they are rounded."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tegum.core.compiled.compile import kernel
from tegum.core.compiled.complex_lanes import (
    add_real_of_product,
    complex_lanes,
    load_complex,
    scaled_sum,
    store_complex,
    times_i,
)
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import load, store


@kernel
def everything(given, real, out):
    a, b, x = load_complex(given, 0), load_complex(given, 2 * L), load(real, 0)
    store_complex(out, 0 * L, a + b)
    store_complex(out, 2 * L, a - b)
    store_complex(out, 4 * L, a * b)
    store_complex(out, 6 * L, x * a)
    store_complex(out, 8 * L, a + x)
    store_complex(out, 10 * L, a - x)
    store_complex(out, 12 * L, times_i(a))
    store_complex(out, 14 * L, scaled_sum(x, a, b))
    store_complex(out, 16 * L, scaled_sum(x, a, x))
    store_complex(out, 18 * L, complex_lanes(b.imag, a.real))
    store(out, 20 * L, add_real_of_product(a, b, x))


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    given, x = np.random.default_rng(0).normal(size=(4, L)), np.random.default_rng(1).normal(size=L)
    out = np.empty(21 * L)
    everything(given.ravel(), x, out)
    return given[0] + 1j * given[1], given[2] + 1j * given[3], x, out[: 20 * L].reshape(10, 2, L), out[20 * L :]


def test_agrees_with_numpy(numbers: tuple[np.ndarray, ...]) -> None:
    a, b, x, found, real = numbers
    expected = [a + b, a - b, a * b, x * a, a + x, a - x, 1j * a, x * a + b, x * a + x, b.imag + 1j * a.real]
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], expected, rtol=1e-15, atol=2e-15)
    np.testing.assert_allclose(real, (a * b).real + x, rtol=1e-15, atol=2e-15)


def test_rounds_where_it_says(numbers: tuple[np.ndarray, ...]) -> None:
    """A product's parts are fma(−a″, b″, a′ b′) and fma(a′, b″, a″ b′): two roundings, of these two operations."""

    def fma(x: float, y: float, z: float) -> float:
        return float(Fraction(x) * Fraction(y) + Fraction(z))

    a, b, x, found, real = numbers
    parts = [(p.real, p.imag, q.real, q.imag, r) for p, q, r in zip(a, b, x.tolist(), strict=True)]
    assert_array_equal(found[2, 0], [fma(-ai, bi, ar * br) for ar, ai, br, bi, _ in parts])
    assert_array_equal(found[2, 1], [fma(ar, bi, ai * br) for ar, ai, br, bi, _ in parts])
    assert_array_equal(found[7, 0], [fma(r, ar, br) for ar, _, br, _, r in parts])
    assert_array_equal(found[7, 1], [fma(r, ai, bi) for _, ai, _, bi, r in parts])
    assert_array_equal(real, [fma(ar, br, fma(-ai, bi, r)) for ar, ai, br, bi, r in parts])
