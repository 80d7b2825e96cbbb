"""Which vector unit kernels are compiled for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tegum.core.compiled.target import UNIT, vector_unit

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+sse2,+avx,+avx2,+fma,+avx512f,+avx512vl", ("AVX-512", 16, 32, True)),
        ("+sse2,+avx,+avx2,+fma,-avx512f", ("AVX2", 8, 16, True)),
        ("+sse2,+avx,+avx2,-fma", ("AVX2", 8, 16, False)),
        ("+sse2,+avx,-avx2,-avx512f", (platform.machine(), 4, 16, False)),
        ("+neon,+fp-armv8", ("NEON", 4, 32, True)),
        ("", (platform.machine(), 4, 16, False)),
    ],
)
def test_the_vector_unit_follows_from_the_features(features, expected):
    assert tuple(vector_unit(features)) == expected


def test_numbas_settings_for_the_processor_decide():
    done = subprocess.run(
        [sys.executable, "-c", "from tegum.core.compiled.target import UNIT; print(UNIT.name)"],
        env=os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "AVX2\n"


@pytest.mark.skipif(not CPUINFO.exists() or platform.machine() != "x86_64", reason="asks Linux")
@pytest.mark.skipif("NUMBA_CPU_FEATURES" in os.environ, reason="compiles for another processor on purpose")
def test_this_processor_is_recognised():
    flags = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")).split()
    expected = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine()
    assert UNIT.name == expected
