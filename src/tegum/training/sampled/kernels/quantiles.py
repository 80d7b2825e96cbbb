"""Magnitudes of other laws than the uniform one on [0, 1], inside the kernel.

Every sample is drawn with magnitudes uniform on [0, 1], which most sets have. Those of other laws are then replaced by
the inverse of the law's distribution function, sixteen at a time; features that are 0 stay so. A magnitude of exactly
0 is taken for an inactive feature, which happens once in 2³² draws.
"""

from __future__ import annotations

import math

import numpy as np

from tegum.core.compiled.compile import inlined, part
from tegum.core.compiled.lanes import (
    LANES,
    at_most,
    fma,
    from_bits,
    load,
    select,
    small_to_float,
    splat,
    sqrt,
    store,
    to_bits,
)
from tegum.training.sampled.kernels.laws import AFFINE, HALF_NORMAL, LAW_NUMBERS, UNCHANGED

_BELOW_ONE = np.float32(1 - 2.0**-24)
_ROOT_HALF_BITS, _ONE_BITS = np.uint32(0x3F3504F3), np.uint32(0x3F800000)
"""The bits of √½ and of 1."""
_MANTISSA, _FRACTION, _BIAS = np.uint32(23), np.uint32(0x7FFFFF), np.float32(127)
_LOG2 = np.float32(math.log(2))
_THIRD, _FIFTH, _SEVENTH, _NINTH = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)

_CENTRE = tuple(
    map(
        np.float32,
        (
            2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941,
        ),
    )
)  # fmt: skip
_TAIL = tuple(
    map(
        np.float32,
        (
            -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
            0.00943887047, 1.00167406, 2.83297682,
        ),
    )
)  # fmt: skip
"""Polynomials of erf⁻¹(u)/u in w − 5/2 for w = −log(1 − u²) < 5, and in √w − 3 beyond (Giles, "Approximating the erfinv
function", GPU Computing Gems 2, 2012); both from the highest power down. With the logarithm below the relative error is
less than 3e-7."""


@inlined
def _log(y):
    """Natural logarithms of positive normal numbers of at most 1: y = 2^e · m with m in [√½, √2)."""
    shifted = to_bits(y) + splat(np.uint32(_ONE_BITS - _ROOT_HALF_BITS))
    exponent = small_to_float(shifted >> splat(_MANTISSA)) - splat(_BIAS)
    m = from_bits((shifted & splat(_FRACTION)) + splat(_ROOT_HALF_BITS))
    one = splat(np.float32(1))
    s = (m - one) / (m + one)
    square = s * s
    # log m = 2 artanh s
    series = fma(splat(_NINTH), square, splat(_SEVENTH))
    series = fma(series, square, splat(_FIFTH))
    series = fma(series, square, splat(_THIRD))
    series = fma(series, square, one)
    return fma(exponent, splat(_LOG2), (s + s) * series)


@inlined
def _inverse_erf(u):
    """erf⁻¹(u) for u in [0, 1]; 1 counts as the number below it."""
    u = at_most(u, splat(_BELOW_ONE))
    one = splat(np.float32(1))
    w = splat(np.float32(0)) - _log((one - u) * (one + u))
    near, far = w - splat(np.float32(2.5)), sqrt(w) - splat(np.float32(3))
    inside, outside = splat(_CENTRE[0]), splat(_TAIL[0])
    for k in range(1, 9):
        inside = fma(inside, near, splat(_CENTRE[k]))
        outside = fma(outside, far, splat(_TAIL[k]))
    return select(w < splat(np.float32(5)), inside, outside) * u


@inlined
def has_laws(laws, distribution, features):
    """Whether a distribution has magnitudes that are not uniform on [0, 1]."""
    return laws[distribution * (features * LAW_NUMBERS + 1)] != 0


@part
def apply_laws(laws, distribution, features, x, groups, stride):
    """Give the active features of a block, x (features, groups · 16), magnitudes of their own laws in place."""
    nothing = splat(np.float32(0))
    first = distribution * (features * LAW_NUMBERS + 1) + 1
    for i in range(features):
        law = laws[first + i * LAW_NUMBERS]
        offset, scale = splat(laws[first + i * LAW_NUMBERS + 1]), splat(laws[first + i * LAW_NUMBERS + 2])
        if law == AFFINE:
            for g in range(groups):
                u = load(x, i * stride + g * LANES)
                store(x, i * stride + g * LANES, select(u != nothing, fma(u, scale, offset), nothing))
        elif law == HALF_NORMAL:
            for g in range(groups):
                u = load(x, i * stride + g * LANES)
                store(x, i * stride + g * LANES, _inverse_erf(u) * scale)
        elif law != UNCHANGED:
            raise ValueError("the law of a feature's magnitude must be one that the kernel knows")
