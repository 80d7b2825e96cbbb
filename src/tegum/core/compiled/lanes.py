"""Sixteen lanes of 32 bits, or eight of 64, as one value inside numba kernels.

A kernel written with these reads like scalar code in which every number is sixteen float32 or uint32 side by side
(samples, or runs), or eight float64: an array's type says which. LLVM maps a vector to one AVX-512 register, two AVX2
registers or four NEON registers. Left to itself it
stops vectorising, without a word, when a loop touches many arrays; explicit lanes cannot silently become slow, and
their order of summation does not depend on what the optimiser thinks of a loop.

Arrays are one-dimensional and positions are flat indices of their elements: `load(a, i)` is a[i : i + 16], of
float64 a[i : i + 8].
Nothing checks bounds. Kernels hand one another pointers, made of arrays by `pointers` where Python's arrays come in:
an array that is passed on or taken out of a tuple has its references counted, which costs a small step more than
its arithmetic. A pointer is indexed like an array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from tegum.core.compiled.target import UNIT

LANES = 16
WIDE_LANES = 8
"""Lanes of float64."""

_F32, _F64, _U32, _BIT = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(1)


class Lanes(types.Type):
    """The numba type of sixteen float32, uint32 or truth values, or of eight float64 or truth values."""

    def __init__(self, name: str, scalar: types.Type, element: ir.Type, lanes: int = LANES) -> None:
        self.scalar = scalar
        self.lanes = lanes
        self.vector: Any = ir.VectorType(element, lanes)
        self.short: str = name if name.startswith("f") else name.replace("u", "i")
        super().__init__(name=f"Lanes({name})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, fe_type.vector)


f32: Any = Lanes("f32", types.float32, _F32)
u32: Any = Lanes("u32", types.uint32, _U32)
f64: Any = Lanes("f64", types.float64, _F64, WIDE_LANES)
mask: Any = Lanes("mask", types.boolean, _BIT)
wide_mask: Any = Lanes("wide_mask", types.boolean, _BIT, WIDE_LANES)

_LANES_OF = {types.float32: f32, types.uint32: u32, types.float64: f64}
_MASK_OF = {f32: mask, u32: mask, f64: wide_mask}


# numba's decorators are untyped: what they make is Any.
_inferred: Any = infer_global


def operation(function: Callable[..., Any]) -> Any:
    """An operation that kernels may call: `function` gives its type and writes its LLVM code."""
    return intrinsic(function)


def call_llvm(builder: Any, name: str, result: ir.Type, args: list[Any]) -> Any:
    """Call an LLVM intrinsic."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def multiply_add(builder: Any, short: str, x: Any, y: Any, z: Any) -> Any:
    """LLVM's x·y + z, in one instruction if there is one: without it, LLVM would call a function for every lane."""
    if UNIT.fused:
        return call_llvm(builder, f"llvm.fma.{short}", x.type, [x, y, z])
    return builder.fadd(builder.fmul(x, y), z)


def spread(builder: Any, value: Any, lanes: int = LANES) -> Any:
    """LLVM's vector with one number in every lane."""
    vector = ir.VectorType(value.type, lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(_U32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_U32, lanes), [0] * lanes))


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """LLVM's pointer to element `index` of an array, or of what a pointer points to."""
    is_pointer = isinstance(array_type, types.CPointer)
    data = array if is_pointer else context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def define_operator(
    op: Callable[..., Any], left: types.Type, right: types.Type, result: types.Type, emit: Callable[..., Any]
) -> None:
    """Let kernels apply an operator of Python to lanes; `emit` writes its LLVM code."""

    @_inferred(op)
    class _Template(ConcreteTemplate):
        cases = [signature(result, left, right)]  # noqa: RUF012 (numba's own convention)

    @lower_builtin(op, left, right)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)


for _floats, _truths in ((f32, mask), (f64, wide_mask)):
    define_operator(operator.add, _floats, _floats, _floats, lambda b, x, y: b.fadd(x, y))
    define_operator(operator.sub, _floats, _floats, _floats, lambda b, x, y: b.fsub(x, y))
    define_operator(operator.mul, _floats, _floats, _floats, lambda b, x, y: b.fmul(x, y))
    define_operator(operator.truediv, _floats, _floats, _floats, lambda b, x, y: b.fdiv(x, y))
    define_operator(operator.gt, _floats, _floats, _truths, lambda b, x, y: b.fcmp_ordered(">", x, y))
    define_operator(operator.ge, _floats, _floats, _truths, lambda b, x, y: b.fcmp_ordered(">=", x, y))
    define_operator(operator.lt, _floats, _floats, _truths, lambda b, x, y: b.fcmp_ordered("<", x, y))
    define_operator(operator.le, _floats, _floats, _truths, lambda b, x, y: b.fcmp_ordered("<=", x, y))
    define_operator(operator.ne, _floats, _floats, _truths, lambda b, x, y: b.fcmp_unordered("!=", x, y))
    define_operator(operator.and_, _truths, _truths, _truths, lambda b, x, y: b.and_(x, y))
    define_operator(operator.or_, _truths, _truths, _truths, lambda b, x, y: b.or_(x, y))
define_operator(operator.add, u32, u32, u32, lambda b, x, y: b.add(x, y))
define_operator(operator.xor, u32, u32, u32, lambda b, x, y: b.xor(x, y))
define_operator(operator.and_, u32, u32, u32, lambda b, x, y: b.and_(x, y))
define_operator(operator.lshift, u32, u32, u32, lambda b, x, y: b.shl(x, y))
define_operator(operator.rshift, u32, u32, u32, lambda b, x, y: b.lshr(x, y))
define_operator(operator.lt, u32, u32, mask, lambda b, x, y: b.icmp_unsigned("<", x, y))
define_operator(operator.le, u32, u32, mask, lambda b, x, y: b.icmp_unsigned("<=", x, y))
define_operator(operator.ne, u32, u32, mask, lambda b, x, y: b.icmp_unsigned("!=", x, y))


@operation
def pointers(typingctx: Any, arrays: Any) -> Any:
    """A named tuple with each array in it replaced by a pointer to its data; its arrays must outlive it."""
    is_array = [isinstance(item, types.Array) for item in arrays.types]
    items = [types.CPointer(item.dtype) if array else item for item, array in zip(arrays.types, is_array, strict=True)]
    result = types.NamedTuple(items, arrays.instance_class)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = []
        for k, (item, array) in enumerate(zip(sig.args[0].types, is_array, strict=True)):
            value = builder.extract_value(args[0], k)
            values.append(context.make_array(item)(context, builder, value).data if array else value)
        return context.make_tuple(builder, sig.return_type, values)

    return result(arrays), emit


@operation
def pointer_at(typingctx: Any, array: Any, index: Any) -> Any:
    """A pointer to element `index` of a flat array, which must outlive it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return pointer_to(context, builder, sig.args[0], *args)

    return types.CPointer(array.dtype)(array, index), emit


@operation
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Elements index … index + 15 of a flat float32 or uint32 array, or … index + 7 of a float64 array."""
    lanes = _LANES_OF[array.dtype]

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], *args)
        value = builder.load(builder.bitcast(pointer, lanes.vector.as_pointer()))
        value.align = 4
        return value

    return lanes(array, index), emit


@operation
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write lanes to a flat array, from element `index` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], builder.bitcast(pointer, args[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), emit


@operation
def gather(typingctx: Any, array: Any, base: Any, indices: Any) -> Any:
    """Elements base + indices of a flat array; `indices` are lanes of uint32."""
    lanes = _LANES_OF[array.dtype]

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = pointer_to(context, builder, sig.args[0], args[0], args[1])
        address = ir.IntType(64)
        wide = ir.VectorType(address, LANES)
        start = spread(builder, builder.ptrtoint(first, address))
        offset = builder.shl(builder.zext(args[2], wide), ir.Constant(wide, [2] * LANES))
        pointers = builder.inttoptr(builder.add(start, offset), ir.VectorType(first.type, LANES))
        everywhere = ir.Constant(mask.vector, [1] * LANES)
        nothing = ir.Constant(lanes.vector, ir.Undefined)
        name = f"llvm.masked.gather.v16{lanes.short}.v16p0"
        return call_llvm(builder, name, lanes.vector, [pointers, ir.Constant(_U32, 4), everywhere, nothing])

    return lanes(array, base, indices), emit


@operation
def splat(typingctx: Any, value: Any) -> Any:
    """One float32, uint32 or float64 in every lane."""
    result = _LANES_OF[value]

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return spread(builder, args[0], result.lanes)

    return result(value), emit


@operation
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x·y + z, rounded once where the processor can."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return multiply_add(builder, f"v{x.lanes}{x.short}", *args)

    return x(x, x, x), emit


@operation
def product_error(typingctx: Any, x: Any, y: Any, product: Any) -> Any:
    """x·y − product, rounded once on every processor: what is lost in a rounded product."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.fma.v{x.lanes}{x.short}", x.vector, [args[0], args[1], builder.fneg(args[2])])

    return x(x, x, x), emit


@operation
def at_least(typingctx: Any, x: Any, y: Any) -> Any:
    """X, or y where x is smaller; a NaN in x stays one."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), args[1], args[0])

    return x(x, x), emit


@operation
def at_most(typingctx: Any, x: Any, y: Any) -> Any:
    """X, or y where x is larger; a NaN in x stays one."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), args[1], args[0])

    return x(x, x), emit


@operation
def negative(typingctx: Any, x: Any) -> Any:
    """−x."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fneg(args[0])

    return x(x), emit


@operation
def absolute(typingctx: Any, x: Any) -> Any:
    """|x|."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.fabs.v{x.lanes}{x.short}", x.vector, list(args))

    return x(x), emit


@operation
def nearest(typingctx: Any, x: Any) -> Any:
    """The integer next to x, the even one of two; still a float."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.rint.v{x.lanes}{x.short}", x.vector, list(args))

    return x(x), emit


@operation
def sqrt(typingctx: Any, x: Any) -> Any:
    """Square roots."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.sqrt.v{x.lanes}{x.short}", x.vector, list(args))

    return x(x), emit


@operation
def select(typingctx: Any, where: Any, x: Any, y: Any) -> Any:
    """X where the mask is true, y elsewhere."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return x(_MASK_OF[x], x, x), emit


@operation
def to_float(typingctx: Any, x: Any) -> Any:
    """Unsigned integers as float32, rounded."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.uitofp(args[0], f32.vector)

    return f32(u32), emit


@operation
def small_to_float(typingctx: Any, x: Any) -> Any:
    """Unsigned integers below 2³¹ as float32, rounded; `to_float` takes several instructions without AVX-512."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], f32.vector)

    return f32(u32), emit


@operation
def to_bits(typingctx: Any, x: Any) -> Any:
    """The 32 bits of each float32."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], u32.vector)

    return u32(f32), emit


@operation
def from_bits(typingctx: Any, x: Any) -> Any:
    """The float32 that each 32 bits are."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], f32.vector)

    return f32(u32), emit


@operation
def lane_numbers(typingctx: Any) -> Any:
    """0, 1, …, 15."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(u32.vector, list(range(LANES)))

    return u32(), emit


@operation
def lane(typingctx: Any, x: Any, number: Any) -> Any:
    """One of the lanes, as a number."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], args[1])

    return x.scalar(x, number), emit


@operation
def count_lanes(typingctx: Any, where: Any) -> Any:
    """In how many lanes a mask is true, as an int64."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.zext(builder.bitcast(args[0], ir.IntType(where.lanes)), ir.IntType(64))
        return call_llvm(builder, "llvm.ctpop.i64", ir.IntType(64), [bits])

    return types.int64(where), emit


@operation
def store_some(typingctx: Any, array: Any, index: Any, value: Any, where: Any) -> Any:
    """Write the lanes in which the mask is true to consecutive elements from `index` on.

    What follows them, up to element index + 15, is overwritten, with nothing of meaning.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1])
        match UNIT.name:
            case "AVX-512":
                # In a register first: the instruction that compresses into memory is very slow on some processors.
                name = f"llvm.experimental.vector.compress.v16{value.short}"
                nothing = ir.Constant(value.vector, ir.Undefined)
                packed = call_llvm(builder, name, value.vector, [args[2], args[3], nothing])
                builder.store(packed, builder.bitcast(pointer, value.vector.as_pointer()), align=4)
            case "AVX2":
                _store_by_table(builder, pointer, value, args[2], args[3])
            case _:
                # Every lane is written, and the next one over it if it was none of those.
                for k in range(LANES):
                    lane = ir.Constant(_U32, k)
                    builder.store(builder.extract_element(args[2], lane), pointer)
                    bit = builder.zext(builder.extract_element(args[3], lane), ir.IntType(64))
                    pointer = builder.gep(pointer, [bit])
        return context.get_dummy_value()

    return types.void(array, index, value, where), emit


def _store_by_table(builder: Any, pointer: Any, kind: Lanes, value: Any, where: Any) -> None:
    """Write some lanes by halves: a table has, for each mask of eight bits, the lanes that move to the front."""
    order = [[*(k for k in range(8) if bits >> k & 1), *[0] * (8 - bits.bit_count())] for bits in range(256)]
    half = ir.VectorType(_U32, 8)
    content = ir.Constant(ir.ArrayType(half, 256), [ir.Constant(half, row) for row in order])
    name = "tegum.lanes_to_front"
    table = builder.module.globals.get(name)
    if table is None:
        table = cgutils.global_constant(builder.module, name, content)
    nothing = ir.Constant(value.type, ir.Undefined)
    none = ir.Constant(where.type, ir.Undefined)
    permute = {"f32": "permps", "i32": "permd"}[kind.short]
    for first in (0, 8):
        lanes = ir.Constant(half, list(range(first, first + 8)))
        part = builder.shuffle_vector(value, nothing, lanes)
        bits = builder.bitcast(builder.shuffle_vector(where, none, lanes), ir.IntType(8))
        row = builder.load(builder.gep(table, [ir.Constant(_U32, 0), builder.zext(bits, ir.IntType(64))]))
        packed = call_llvm(builder, f"llvm.x86.avx2.{permute}", part.type, [part, row])
        builder.store(packed, builder.bitcast(pointer, part.type.as_pointer()), align=4)
        count = call_llvm(builder, "llvm.ctpop.i8", ir.IntType(8), [bits])
        pointer = builder.gep(pointer, [builder.zext(count, ir.IntType(64))])


@operation
def totals(typingctx: Any, array: Any, index: Any) -> Any:
    """The sums of sixteen registers' lanes of a flat float32 array, from `index` on: lane k is the sum of the k-th.

    A sum alone takes a chain of dependent shuffles; sixteen at once take two for each.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = UNIT.lanes
        register = ir.VectorType(_F32, lanes)
        first = builder.bitcast(pointer_to(context, builder, sig.args[0], *args), register.as_pointer())
        vectors = []
        for k in range(LANES):
            vectors.append(builder.load(builder.gep(first, [ir.Constant(_U32, k)])))
            vectors[-1].align = 4
        selectors = [ir.Constant(ir.VectorType(_U32, lanes), list(range(start, 2 * lanes, 2))) for start in (0, 1)]
        while len(vectors) > LANES // lanes:
            # Neighbouring lanes are added; the sums of two vectors fill one.
            vectors = [
                builder.fadd(*(builder.shuffle_vector(one, other, lanes) for lanes in selectors))
                for one, other in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        while len(vectors) > 1:
            joined = ir.Constant(ir.VectorType(_U32, 2 * vectors[0].type.count), list(range(2 * vectors[0].type.count)))
            vectors = [
                builder.shuffle_vector(one, other, joined)
                for one, other in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    return f32(array, index), emit


@operation
def transpose(
    typingctx: Any,
    source: Any,
    at: Any,
    stride: Any,
    target: Any,
    to: Any,
    target_stride: Any,
) -> Any:
    """Sixteen rows of sixteen float32, the first at source[at], become columns of target, from target[to] on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def rows(array_type: Any, array: Any, start: Any, step: Any) -> list[Any]:
            places = [builder.add(start, builder.mul(step, ir.Constant(step.type, k))) for k in range(LANES)]
            pointers = [pointer_to(context, builder, array_type, array, place) for place in places]
            return [builder.bitcast(pointer, f32.vector.as_pointer()) for pointer in pointers]

        vectors = []
        for pointer in rows(sig.args[0], *args[:3]):
            vectors.append(builder.load(pointer))
            vectors[-1].align = 4
        for width in (1, 2, 4, 8):
            # Exchange the off-diagonal quarters of every square of 2 · width rows and columns.
            keep = [k if not k & width else LANES + k - width for k in range(LANES)]
            swap = [k + width if not k & width else LANES + k for k in range(LANES)]
            selectors = [ir.Constant(ir.VectorType(_U32, LANES), lanes) for lanes in (keep, swap)]
            mixed = list(vectors)
            for k in range(LANES):
                if not k & width:
                    pair = vectors[k], vectors[k + width]
                    mixed[k], mixed[k + width] = (builder.shuffle_vector(*pair, lanes) for lanes in selectors)
            vectors = mixed
        for vector, pointer in zip(vectors, rows(sig.args[3], *args[3:]), strict=True):
            builder.store(vector, pointer, align=4)
        return context.get_dummy_value()

    return types.void(source, at, stride, target, to, target_stride), emit


@operation
def is_set(typingctx: Any, flag: Any) -> Any:
    """Whether the first element of an array of int64 is not 0, as another thread may have made it by now.

    An atomic read: of a plain one the optimiser may think that once is enough.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], ir.Constant(ir.IntType(64), 0))
        value = builder.load_atomic(pointer, "monotonic", 8)
        return builder.icmp_signed("!=", value, ir.Constant(value.type, 0))

    return types.boolean(flag), emit


@operation
def total(typingctx: Any, x: Any) -> Any:
    """The sum of the lanes, added pairwise in a fixed order."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, width = args[0], LANES
        while width > 1:
            width //= 2
            nothing = ir.Constant(value.type, ir.Undefined)
            halves = [
                builder.shuffle_vector(
                    value, nothing, ir.Constant(ir.VectorType(_U32, width), list(range(start, start + width)))
                )
                for start in (0, width)
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, ir.Constant(_U32, 0))

    return types.float32(f32), emit
