"""Tiles against NumPy, and the code that LLVM makes of them for vector units that this machine need not have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tegum.core.compiled import tiles
from tegum.core.compiled.compile import kernel
from tegum.core.compiled.target import UNIT
from tegum.core.compiled.tiles import MOST_ROWS, TILE_COLUMNS, VECTOR, columns_for

SIZES = [(rows, columns_for(rows)) for rows in range(1, MOST_ROWS + 1)] + [(3, 1), (MOST_ROWS, 1)]


def kernels(rows, columns):
    """One kernel for each operation on tiles of this size."""

    @kernel
    def products(left, right, start, out, count, width):
        tile = tiles.load_tile(rows, columns, start, 0, columns * VECTOR, VECTOR)
        tile = tiles.add_outers(tile, count, left, 0, count, 1, right, 0, width)
        tiles.store_tile(tile, out, 0, columns * VECTOR, VECTOR)
        tile = tiles.zeros(rows, columns)
        tile = tiles.add_products(tile, 1, start, 0, columns * VECTOR, right, 0, width)
        tiles.store_tile(tiles.add_tiles(tile, tile), out, rows * columns * VECTOR, columns * VECTOR, VECTOR)

    @kernel
    def ends(z, x, slope, floor, dz, sums):
        each = tiles.load_tile(rows, columns, z, 0, columns * VECTOR, VECTOR)
        inputs = tiles.load_tile(rows, columns, x, 0, columns * VECTOR, VECTOR)
        steep = tiles.spread_rows(rows, 1, slope, 0)
        found, loss = tiles.residuals(each, inputs, steep, floor, tiles.zeros(1, columns))
        tiles.store_tile(found, dz, 0, columns * VECTOR, VECTOR)
        tiles.store_tile(tiles.row_sums(found), sums, 0, VECTOR, VECTOR)
        return tiles.tile_total(loss)

    return products, ends


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_products_are_those_of_numpy(rows, columns):
    rng = np.random.default_rng(0)
    count, width = 7, columns * VECTOR + 3
    left, right = rng.normal(size=(rows, count)), rng.normal(size=(max(count, columns), width))
    start = rng.normal(size=(rows, columns * VECTOR))
    left, right, start = (each.astype(np.float32) for each in (left, right, start))
    out = np.zeros((2, *start.shape), np.float32)
    products, _ = kernels(rows, columns)
    products(left.ravel(), right.ravel(), start.ravel(), out.ravel(), count, width)
    np.testing.assert_allclose(out[0], start + left @ right[:count, : columns * VECTOR], rtol=1e-5, atol=1e-5)
    rights = right[:columns, :VECTOR]
    lefts = start.reshape(rows, -1)[:, :VECTOR]
    np.testing.assert_allclose(
        out[1].reshape(rows, columns, VECTOR), 2 * lefts[:, None] * rights[None], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("floor", [0.0, -np.inf])
def test_residuals_are_the_derivative_of_the_loss(rows, columns, floor):
    rng = np.random.default_rng(1)
    z, x = rng.normal(size=(2, rows, columns * VECTOR)).astype(np.float32)
    slope = rng.uniform(0.5, 2, rows).astype(np.float32)
    z[0, 3] = np.nan
    dz, sums = np.zeros_like(z), np.zeros((rows, VECTOR), np.float32)
    _, ends = kernels(rows, columns)
    assert np.isnan(ends(z.ravel(), x.ravel(), slope, np.float32(floor), dz.ravel(), sums.ravel()))
    expected = slope[:, None] * (np.maximum(z, floor) - x) * (z > floor)
    np.testing.assert_allclose(np.delete(dz, 3, 1), np.delete(expected, 3, 1), rtol=1e-6)
    z[0, 3] = 0.5
    loss = ends(z.ravel(), x.ravel(), slope, np.float32(floor), dz.ravel(), sums.ravel())
    error = np.maximum(z, floor).astype(float) - x
    assert loss == pytest.approx((slope[:, None] * error**2).sum(), rel=1e-5)
    np.testing.assert_allclose(sums, dz.reshape(rows, columns, VECTOR).sum(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", range(1, MOST_ROWS + 1))
def test_a_tile_and_its_operands_fit_into_registers(rows):
    columns = columns_for(rows)
    assert rows * columns + columns + 1 <= UNIT.registers
    # A block of samples is a multiple of 32 wide.
    assert 32 % (TILE_COLUMNS * VECTOR) == 0
    assert columns % TILE_COLUMNS == 0


# Writes, for each product of a training step, the loops of its code that multiply: [multiplications, moves of vectors
# between registers and memory that only a lack of registers makes necessary].
CODE = r"""
import collections, itertools, json, re, sys
import llvmlite.binding as llvm
from numba.core import types
from tegum.core.compiled.target import UNIT
from tegum.training.sampled.kernels import step

triple, *processors = sys.argv[1:]
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machines = [llvm.Target.from_triple(triple).create_target_machine(cpu=each, opt=3) for each in processors]
floats, whole = types.CPointer(types.float32), types.int64
names = ["values", "bias", "h", "x", "dz", "db"]
scratch = types.NamedTuple([floats] * len(names), collections.namedtuple("Scratch", names))
product = (floats, floats, floats, whole, whole, whole, whole)
signatures = {
    "project": product,
    "outputs": (scratch, floats, whole, types.float32, whole, whole, whole, whole),
    "accumulate": product,
}
found = {}
for name, signature in signatures.items():
    getattr(step, name).compile(signature)
for machine, (name, signature) in itertools.product(machines, signatures.items()):
    machine.set_asm_verbosity(True)
    [code] = getattr(step, name).inspect_llvm().values()
    code = re.sub('target triple = ".*"', f'target triple = "{triple}"', code)
    code = re.sub('target datalayout = ".*"', f'target datalayout = "{machine.target_data}"', code)
    loops = []
    for block in re.split(r"\n(?=\.LBB\w+:)", machine.emit_assembly(llvm.parse_assembly(code))):
        label = block.partition(":")[0]
        # An inner loop is a block that jumps to its own beginning.
        if re.search(rf"\tb?j?\S*\s+.*{re.escape(label)}\b", block):
            multiplications = len(re.findall(r"\t(?:vfmadd\w+|fmla)\t", block))
            moves = [line for line in block.splitlines() if re.search("Spill|Reload", line)]
            if multiplications:
                loops.append([multiplications, sum(bool(re.search(r"[xyz]mm|\bq\d", line)) for line in moves)])
    found[f"{name} {processors[machines.index(machine)]}"] = loops
print(json.dumps([UNIT.name, found]))
"""


@pytest.mark.parametrize(
    ("name", "features", "triple", "processors", "largest"),
    [
        ("AVX-512", "+avx512f,+avx2,+fma", "x86_64-unknown-linux-gnu", ["skylake-avx512", "znver4"], 12),
        ("AVX2", "+avx2,+fma", "x86_64-unknown-linux-gnu", ["haswell", "znver3"], 12),
        ("NEON", "+neon", "aarch64-unknown-linux-gnu", ["apple-m1", "neoverse-n1"], 24),
    ],
    ids=["AVX-512", "AVX2", "NEON"],
)
def test_sums_stay_in_registers(
    tmp_path: Path, name: str, features: str, triple: str, processors: list[str], largest: int
):
    """The code itself is read: nothing of it runs, so that any machine can look at the code for any other."""
    settings = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, triple, *processors], env=os.environ | settings,
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    unit, loops = json.loads(done.stdout.splitlines()[-1])
    assert unit == name
    assert len(loops) == 3 * len(processors)
    for product, found in loops.items():
        assert max(count for count, _ in found) >= largest, product
        assert [moves for _, moves in found] == [0] * len(found), product
