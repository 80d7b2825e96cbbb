"""The vector unit that kernels are compiled for: what numba's compiler, LLVM, is told of the processor.

That is this machine's processor, unless NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name another.
"""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from numba.core import config as _config

config: Any = _config


class VectorUnit(NamedTuple):
    """What matters to kernels of a vector unit."""

    name: str
    """"AVX-512", "AVX2", "NEON", or for any other the processor's architecture."""
    lanes: int
    """Lanes of float32 in a register."""
    registers: int
    """The number of registers."""
    fused: bool
    """Whether it multiplies and adds in one instruction, rounding once."""


def vector_unit(features: str) -> VectorUnit:
    """The vector unit of a processor with these features, as LLVM writes them: "+avx2,-avx512f,+fma".

    Example:
        >>> from tegum.core.compiled.target import vector_unit
        >>> vector_unit("+sse4.2,+avx,+avx2,+fma,-avx512f")
        VectorUnit(name='AVX2', lanes=8, registers=16, fused=True)

    """
    there = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in there:
        return VectorUnit("AVX-512", 16, 32, fused=True)
    if "avx2" in there:
        return VectorUnit("AVX2", 8, 16, fused="fma" in there)
    if "neon" in there:
        return VectorUnit("NEON", 4, 32, fused=True)
    return VectorUnit(platform.machine(), 4, 16, fused=False)


def _features() -> str:
    if config.CPU_FEATURES is not None:
        return str(config.CPU_FEATURES)
    found = llvm.get_host_cpu_features().flatten()
    # On some systems LLVM lists no features of an ARM processor; with 64 bits, all have NEON.
    arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return found or ("+neon" if arm else "")


UNIT = vector_unit(_features())
"""The vector unit that kernels of this process are compiled for."""
