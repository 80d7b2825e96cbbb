"""Vector units: what each side of a comparison must be told so that it uses one and nothing wider.

A processor with AVX-512 can so stand for one that has only AVX2. Everything here is an environment variable, and has to
be set before the libraries that read it are loaded.
"""

from __future__ import annotations

import os

_AVX2_FEATURES = "+avx,+avx2,+fma,+bmi,+bmi2,+popcnt,+sse4.2,+f16c,+lzcnt"

UNITS: dict[str, dict[str, str]] = {
    "native": {},
    "AVX2": {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": _AVX2_FEATURES},
    "SSE": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}
"""What numba compiles tegum's kernels for. What a machine lacks it cannot run."""

CAPS: dict[str, dict[str, str]] = {
    "native": {},
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels, and what torch.compile writes vectors for
        "TORCHINDUCTOR_CPP_MARCH": "haswell",  # the instructions that the C++ compiler may use for the rest
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",  # NumPy's products, so the rate of sgemm
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}
"""What keeps the peers, and the libraries under them, to a unit. Only what has an entry here can be compared."""


def choose(unit: str) -> None:
    """Hold this process, and all that it starts, to a vector unit; before numba, NumPy, PyTorch or JAX is imported."""
    chosen = UNITS[unit] | CAPS[unit]
    if flags := chosen.get("XLA_FLAGS"):
        given = os.environ.get("XLA_FLAGS", "").split()
        chosen["XLA_FLAGS"] = " ".join([*(each for each in given if each not in flags.split()), flags])
    os.environ.update(chosen)
