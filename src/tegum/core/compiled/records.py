"""Numbers with names inside numba kernels: `run.step`, in place of `numbers[STEP * 8 + lane]`.

A record is a row of float64 numbers whose names are the fields of a named tuple. It lies in memory in one of two ways,
and is looked at in one of three:

    record_of(State)(array, start)       one record, its numbers side by side from array[start] on
    lane_of(State)(array, lane)          one of eight records side by side, number k in array[8 k + lane]
    lanes_of(State)(array)               all eight: each name stands for eight lanes

A look is a pointer: nothing is copied, and what is assigned to a name is written at once. Numbers are converted to
float64, members of an IntEnum as well.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_cast, models, register_model

from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import f64, operation, pointer_to


class RecordView(types.Type):
    """The numba type of a look at a record, or at eight of them; `fields` is a class of named tuples."""

    def __init__(self, fields: Any, kind: str) -> None:
        self.names: tuple[str, ...] = fields._fields
        self.stride = 1 if kind == "record" else L
        self.item: Any = f64 if kind == "lanes" else types.float64
        super().__init__(name=f"{kind} of {fields.__module__}.{fields.__qualname__}{self.names}")


@register_model(RecordView)
class _ViewModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: RecordView) -> None:
        super().__init__(dmm, fe_type, ir.DoubleType().as_pointer())


# numba's decorators are untyped: what they make is Any.
_inferred: Any = infer_getattr


@_inferred
class _Attributes(AttributeTemplate):
    key = RecordView

    def generic_resolve(self, typ: RecordView, attr: str) -> types.Type | None:
        return typ.item if attr in typ.names else None


def _place(builder: Any, view: RecordView, start: Any, name: str) -> Any:
    pointer = builder.gep(start, [ir.Constant(ir.IntType(64), view.names.index(name) * view.stride)])
    return builder.bitcast(pointer, f64.vector.as_pointer()) if view.item == f64 else pointer


@lower_getattr_generic(RecordView)
def _read(context: Any, builder: Any, view: RecordView, start: Any, name: str) -> Any:
    value = builder.load(_place(builder, view, start, name))
    value.align = 4
    return value


@lower_setattr_generic(RecordView)
def _write(context: Any, builder: Any, sig: Any, args: Any, name: str) -> Any:
    view, given = sig.args
    value = context.cast(builder, args[1], given, view.item)
    builder.store(value, _place(builder, view, args[0], name), align=4)


@lower_cast(types.IntEnumMember, types.Float)
def _number_of_member(context: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    return context.cast(builder, value, source.dtype, target)


def record_of(fields: Any) -> Any:
    """A look at one record, for kernels: (array, start)."""
    return _look(RecordView(fields, "record"))


def lane_of(fields: Any) -> Any:
    """A look at one of eight records side by side, for kernels: (array, lane)."""
    return _look(RecordView(fields, "lane"))


def lanes_of(fields: Any) -> Any:
    """A look at eight records side by side, for kernels: (array)."""
    view = RecordView(fields, "lanes")

    @operation
    def lanes(typingctx: Any, array: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pointer_to(context, builder, sig.args[0], args[0], ir.Constant(ir.IntType(64), 0))

        return view(array), emit

    return lanes


def _look(view: RecordView) -> Any:
    @operation
    def look(typingctx: Any, array: Any, index: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pointer_to(context, builder, sig.args[0], *args)

        return view(array, index), emit

    return look
