"""Eight complex numbers of 2 × 64 bits as one value inside numba kernels: `p = p * u`, not four products of parts.

A value is a vector of real and one of imaginary parts, and stays in two registers. The operators say where rounding
happens, since results are to be reproducible bit by bit:

    a · b = (fma(−a″, b″, a′ b′), fma(a′, b″, a″ b′)),

with two roundings in each part. The two factors play different roles in the imaginary part, so that a · b and b · a may
differ in the last bit. A real factor multiplies both parts, a real summand is added to the real part alone.
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import cgutils, types
from numba.extending import make_attribute_wrapper, models, register_model

from tegum.core.compiled.compile import part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import call_llvm, define_operator, f64, load, operation, store


class ComplexLanes(types.Type):
    """The numba type of eight complex numbers."""

    def __init__(self) -> None:
        super().__init__(name="ComplexLanes")


c64: Any = ComplexLanes()


@register_model(ComplexLanes)
class _ComplexModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: ComplexLanes) -> None:
        super().__init__(dmm, fe_type, [("real", f64), ("imag", f64)])


make_attribute_wrapper(ComplexLanes, "real", "real")
make_attribute_wrapper(ComplexLanes, "imag", "imag")


def _parts(builder: Any, value: Any) -> tuple[Any, Any]:
    return builder.extract_value(value, 0), builder.extract_value(value, 1)


def _made(builder: Any, real: Any, imag: Any) -> Any:
    return cgutils.pack_struct(builder, (real, imag))


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return call_llvm(builder, f"llvm.fma.v{f64.lanes}{f64.short}", f64.vector, [x, y, z])


def _product(builder: Any, a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = _parts(builder, a), _parts(builder, b)
    real = _fma(builder, builder.fneg(ai), bi, builder.fmul(ar, br))
    return _made(builder, real, _fma(builder, ar, bi, builder.fmul(ai, br)))


def _scaled(builder: Any, x: Any, a: Any) -> Any:
    return _made(builder, *(builder.fmul(x, part) for part in _parts(builder, a)))


def _sum(builder: Any, a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = _parts(builder, a), _parts(builder, b)
    return _made(builder, builder.fadd(ar, br), builder.fadd(ai, bi))


def _difference(builder: Any, a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = _parts(builder, a), _parts(builder, b)
    return _made(builder, builder.fsub(ar, br), builder.fsub(ai, bi))


def _plus_real(builder: Any, a: Any, x: Any) -> Any:
    real, imag = _parts(builder, a)
    return _made(builder, builder.fadd(real, x), imag)


def _minus_real(builder: Any, a: Any, x: Any) -> Any:
    real, imag = _parts(builder, a)
    return _made(builder, builder.fsub(real, x), imag)


define_operator(operator.mul, c64, c64, c64, _product)
define_operator(operator.mul, f64, c64, c64, _scaled)
define_operator(operator.add, c64, c64, c64, _sum)
define_operator(operator.sub, c64, c64, c64, _difference)
define_operator(operator.add, c64, f64, c64, _plus_real)
define_operator(operator.sub, c64, f64, c64, _minus_real)


@operation
def complex_lanes(typingctx: Any, real: Any, imag: Any) -> Any:
    """The complex numbers of these parts."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _made(builder, *args)

    return c64(f64, f64), emit


@operation
def times_i(typingctx: Any, a: Any) -> Any:
    """The number i times a, exactly."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        real, imag = _parts(builder, args[0])
        return _made(builder, builder.fneg(imag), real)

    return c64(c64), emit


@operation
def scaled_sum(typingctx: Any, x: Any, a: Any, b: Any) -> Any:
    """X · a + b for real x, each part rounded once; b is complex, or real: then the imaginary part is x · a″."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, (real, imag) = args[0], _parts(builder, args[1])
        if sig.args[2] == f64:
            return _made(builder, _fma(builder, x, real, args[2]), builder.fmul(x, imag))
        add_real, add_imag = _parts(builder, args[2])
        return _made(builder, _fma(builder, x, real, add_real), _fma(builder, x, imag, add_imag))

    return c64(f64, c64, b), emit


@operation
def add_real_of_product(typingctx: Any, a: Any, b: Any, x: Any) -> Any:
    """Re(a · b) + x for real x, as fma(a′, b′, fma(−a″, b″, x))."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (ar, ai), (br, bi) = _parts(builder, args[0]), _parts(builder, args[1])
        return _fma(builder, ar, br, _fma(builder, builder.fneg(ai), bi, args[2]))

    return f64(c64, c64, f64), emit


@part
def load_complex(array, index):
    """Complex numbers from a flat float64 array: eight real parts from `index` on, then eight imaginary ones."""
    return complex_lanes(load(array, index), load(array, index + L))


@part
def store_complex(array, index, value):
    """Write complex numbers to a flat float64 array, as `load_complex` reads them."""
    store(array, index, value.real)
    store(array, index + L, value.imag)
