"""Tiles: small matrices of sums kept in registers, the inner loops of every product of matrices in a kernel.

A product is fast when as many sums as fit into registers grow side by side, each multiplication taking its operands
from registers, too. How many fit depends on the machine: AVX-512 has 32 registers of sixteen float32, AVX2 sixteen of
eight, NEON 32 of four. A tile therefore is `rows` × `columns` vectors of `VECTOR` lanes, one register each, and kernels
take its size from here.

The sums of a tile are added in the order of the loop, whatever its size, so that results do not depend on how a matrix
is cut into tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

from tegum.core.compiled.lanes import multiply_add, pointer_to, spread
from tegum.core.compiled.target import UNIT

VECTOR = UNIT.lanes
"""The lanes of a register."""

MOST_ROWS = 6
"""The rows of the largest tile."""

TILE_COLUMNS = 4 if (UNIT.lanes, UNIT.registers) == (4, 32) else 2
"""The columns of a tile: with six rows, its sums and what is multiplied take 15 of 16 registers, or 29 of 32."""


class Tile(types.Type):
    """The numba type of rows × columns vectors of `VECTOR` float32."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows: int = rows
        self.columns: int = columns
        self.vector: Any = ir.VectorType(ir.FloatType(), VECTOR)
        super().__init__(name=f"Tile({rows}, {columns})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Tile) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(fe_type.vector, fe_type.rows * fe_type.columns))


def _operation(function: Any) -> Any:
    """An operation whose sizes are constants of the kernel."""
    return intrinsic(prefer_literal=True)(function)


def columns_for(rows: int) -> int:
    """The columns of a tile of fewer rows: as many as there are registers for, and for what is multiplied.

    Example:
        >>> from tegum.core.compiled.tiles import TILE_COLUMNS, columns_for
        >>> columns_for(2) >= columns_for(6) >= TILE_COLUMNS
        True

    """
    columns = TILE_COLUMNS
    while 2 * columns * rows + 2 * columns + 1 <= UNIT.registers and columns < 4 * TILE_COLUMNS:
        columns *= 2
    return columns


class _Place:
    """A position in a flat float32 array, from which vectors and numbers are read, and where vectors are written."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, at: Any) -> None:
        self.builder = builder
        self.first = pointer_to(context, builder, kind, array, at)
        self.vector = ir.VectorType(ir.FloatType(), VECTOR)

    def _at(self, offset: Any) -> Any:
        return self.builder.gep(self.first, [offset])

    def load(self, offset: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(self._at(offset), self.vector.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, offset: Any) -> None:
        self.builder.store(value, self.builder.bitcast(self._at(offset), self.vector.as_pointer()), align=4)

    def splat(self, offset: Any) -> Any:
        return spread(self.builder, self.builder.load(self._at(offset)), VECTOR)


def _times(builder: Any, step: Any, k: int) -> Any:
    return builder.mul(step, ir.Constant(step.type, k))


def _constant(k: int) -> Any:
    return ir.Constant(ir.IntType(64), k)


def _fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return multiply_add(builder, f"v{VECTOR}f32", x, y, z)


def _packed(builder: Any, kind: Tile, vectors: list[Any]) -> Any:
    value = ir.Constant(ir.ArrayType(kind.vector, len(vectors)), ir.Undefined)
    for k, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, k)
    return value


def _unpacked(builder: Any, kind: Tile, value: Any) -> list[Any]:
    return [builder.extract_value(value, k) for k in range(kind.rows * kind.columns)]


@_operation
def spread_rows(typingctx: Any, rows: Any, columns: Any, array: Any, at: Any) -> Any:
    """The tile whose row r has array[at + r] in every lane."""
    tile = Tile(rows.literal_value, columns.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _Place(context, builder, sig.args[2], *args[2:])
        rows = [place.splat(_constant(r)) for r in range(tile.rows)]
        return _packed(builder, tile, [row for row in rows for _ in range(tile.columns)])

    return tile(rows, columns, array, at), emit


@_operation
def zeros(typingctx: Any, rows: Any, columns: Any) -> Any:
    """The tile of zeros."""
    tile = Tile(rows.literal_value, columns.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.ArrayType(tile.vector, tile.rows * tile.columns), None)

    return tile(rows, columns), emit


@_operation
def load_tile(typingctx: Any, rows: Any, columns: Any, array: Any, at: Any, row: Any, column: Any) -> Any:
    """The tile of the vectors from array[at + r·row + c·column] on."""
    tile = Tile(rows.literal_value, columns.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place, row, column = _Place(context, builder, sig.args[2], *args[2:4]), args[4], args[5]
        return _packed(
            builder,
            tile,
            [
                place.load(builder.add(_times(builder, row, r), _times(builder, column, c)))
                for r in range(tile.rows)
                for c in range(tile.columns)
            ],
        )

    return tile(rows, columns, array, at, types.int64, types.int64), emit


@_operation
def store_tile(typingctx: Any, tile: Any, array: Any, at: Any, row: Any, column: Any) -> Any:
    """Write the vectors of a tile to array[at + r·row + c·column] and on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place, row, column = _Place(context, builder, sig.args[1], *args[1:3]), args[3], args[4]
        for k, vector in enumerate(_unpacked(builder, tile, args[0])):
            r, c = divmod(k, tile.columns)
            place.store(vector, builder.add(_times(builder, row, r), _times(builder, column, c)))
        return context.get_dummy_value()

    return types.void(tile, array, at, types.int64, types.int64), emit


@_operation
def add_outers(
    typingctx: Any, tile: Any, count: Any, left: Any, at: Any, row: Any, step: Any, right: Any, to: Any, stride: Any
) -> Any:
    """The tile with `count` outer products added, of left[at + k·step + r·row] and the vectors right[to + k·stride …].

    That is a piece of a product of matrices, `count` being the length of what is summed over.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lefts, row, step = _Place(context, builder, sig.args[2], *args[2:4]), args[4], args[5]
        rights, stride = _Place(context, builder, sig.args[6], *args[6:8]), args[8]
        offsets = [_times(builder, row, r) for r in range(tile.rows)]

        def term(k: Any, sums: list[Any]) -> list[Any]:
            first, begun = builder.mul(k, step), builder.mul(k, stride)
            vectors = [rights.load(builder.add(begun, _constant(c * VECTOR))) for c in range(tile.columns)]
            factors = [lefts.splat(builder.add(first, offset)) for offset in offsets]
            return _outer(builder, factors, vectors, sums)

        return _packed(builder, tile, _repeated(builder, args[1], _unpacked(builder, tile, args[0]), term))

    whole = types.int64
    return tile(tile, whole, left, at, whole, whole, right, to, whole), emit


@_operation
def add_products(
    typingctx: Any, tile: Any, count: Any, left: Any, at: Any, row: Any, right: Any, to: Any, column: Any
) -> Any:
    """The tile with the products, lane by lane, of `count` vectors each from left[at + r·row] and right[to + c·column].

    What is summed over lies in the lanes: the lanes of the tile have yet to be added up.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lefts, row = _Place(context, builder, sig.args[2], *args[2:4]), args[4]
        rights, column = _Place(context, builder, sig.args[5], *args[5:7]), args[7]
        offsets = [_times(builder, row, r) for r in range(tile.rows)]
        columns = [_times(builder, column, c) for c in range(tile.columns)]

        def term(k: Any, sums: list[Any]) -> list[Any]:
            begun = builder.mul(k, _constant(VECTOR))
            vectors = [rights.load(builder.add(begun, each)) for each in columns]
            return _outer(builder, [lefts.load(builder.add(begun, each)) for each in offsets], vectors, sums)

        return _packed(builder, tile, _repeated(builder, args[1], _unpacked(builder, tile, args[0]), term))

    whole = types.int64
    return tile(tile, whole, left, at, whole, right, to, whole), emit


def _outer(builder: Any, rows: list[Any], columns: list[Any], sums: list[Any]) -> list[Any]:
    """The sums with every row times every column added."""
    pairs = itertools.product(rows, columns)
    return [_fused(builder, row, column, before) for (row, column), before in zip(pairs, sums, strict=True)]


def _repeated(builder: Any, count: Any, values: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """LLVM's loop `for k in range(count): values = body(k, values)`.

    It is not unrolled: a tile has enough to do in one turn, and unrolled code takes long to compile.
    """
    before, loop, after = builder.block, builder.append_basic_block("tile"), builder.append_basic_block("tiled")
    builder.cbranch(builder.icmp_signed(">", count, _constant(0)), loop, after)
    builder.position_at_end(loop)
    k, turns = builder.phi(count.type), [builder.phi(value.type) for value in values]
    k.add_incoming(_constant(0), before)
    ends = body(k, turns)
    following = builder.add(k, _constant(1))
    k.add_incoming(following, loop)
    for turn, value, end in zip(turns, values, ends, strict=True):
        turn.add_incoming(value, before)
        turn.add_incoming(end, loop)
    again = builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    # A loop is named by metadata that begin with themselves.
    rolled = builder.module.add_metadata([ir.MetaDataString(builder.module, "llvm.loop.unroll.disable")])
    name = builder.module.add_metadata([rolled, _constant(len(builder.module.metadata))])
    name.operands = (name, rolled)
    again.set_metadata("llvm.loop", name)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in values]
    for result, value, end in zip(results, values, ends, strict=True):
        result.add_incoming(value, before)
        result.add_incoming(end, loop)
    return results


@_operation
def add_tiles(typingctx: Any, one: Any, other: Any) -> Any:
    """The sum of two tiles of one size."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = zip(_unpacked(builder, one, args[0]), _unpacked(builder, one, args[1]), strict=True)
        return _packed(builder, one, [builder.fadd(*pair) for pair in pairs])

    return one(one, one), emit


@_operation
def row_sums(typingctx: Any, tile: Any) -> Any:
    """The tile of one column with the sum of each row's vectors."""
    result = Tile(tile.rows, 1)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = _unpacked(builder, tile, args[0])
        return _packed(
            builder,
            result,
            [_sum(builder, vectors[at : at + tile.columns]) for at in range(0, len(vectors), tile.columns)],
        )

    return result(tile), emit


@_operation
def residuals(typingctx: Any, z: Any, x: Any, slopes: Any, floor: Any, loss: Any) -> Any:
    """Give ∂loss/∂z = slope (x̂ − x) 1[z > floor] with x̂ = max(z, floor), and `loss` with slope (x̂ − x)² added.

    `slopes` has one column, and `loss` one row.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lowest = spread(builder, args[3], VECTOR)
        steep = _unpacked(builder, slopes, args[2])
        derivatives: list[Any] = []
        # One chain for each column would wait for itself: squares are added within a column first, in pairs.
        squares: list[list[Any]] = [[] for _ in range(z.columns)]
        for k, (total, value) in enumerate(
            zip(_unpacked(builder, z, args[0]), _unpacked(builder, x, args[1]), strict=True)
        ):
            r, c = divmod(k, z.columns)
            # In this form a NaN stays one.
            output = builder.select(builder.fcmp_ordered("<", total, lowest), lowest, total)
            error = builder.fsub(output, value)
            slope = builder.fmul(error, steep[r])
            above = builder.fcmp_ordered(">", total, lowest)
            derivatives.append(builder.select(above, slope, ir.Constant(slope.type, None)))
            if len(squares[c]) < 2:
                squares[c].append(builder.fmul(error, slope))
            else:
                squares[c][r % 2] = _fused(builder, error, slope, squares[c][r % 2])
        before = _unpacked(builder, loss, args[4])
        losses = [builder.fadd(each, _sum(builder, own)) for each, own in zip(before, squares, strict=True)]
        pair = [_packed(builder, z, derivatives), _packed(builder, loss, losses)]
        return context.make_tuple(builder, sig.return_type, pair)

    return types.Tuple((z, loss))(z, x, slopes, types.float32, loss), emit


@_operation
def tile_total(typingctx: Any, tile: Any) -> Any:
    """The sum of everything in a tile, in double precision."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _sum(builder, _unpacked(builder, tile, args[0]))
        lanes = [builder.extract_element(vector, ir.Constant(ir.IntType(32), k)) for k in range(VECTOR)]
        return _sum(builder, [builder.fpext(lane, ir.DoubleType()) for lane in lanes])

    return types.float64(tile), emit


def _sum(builder: Any, values: list[Any]) -> Any:
    """The sum of some values, added in pairs."""
    while len(values) > 1:
        pairs = [builder.fadd(*values[k : k + 2]) for k in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) // 2 * 2 :]
    return values[0]
