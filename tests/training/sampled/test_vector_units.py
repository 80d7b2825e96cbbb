"""Sampled training compiled for other vector units: right, and with bits that nothing else moves."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tegum.core.compiled.target import UNIT

# The gradient of a batch against the closed form; the bits against other threads, other companions, an interruption.
PROGRAM = """
import sys
import numpy as np
import tegum as tg
from tegum.core.compiled.target import UNIT
from tegum.core.loss.empirical import empirical_gradient
from tegum.training.sampled.cpu import KernelEngine

assert UNIT.name == sys.argv[1], UNIT
nothing = np.zeros(0, np.int64)
systems = {
    "patterns": ([tg.Correlated(2, 0.3)] * 3, 2),
    "dense": ([tg.Independent(13, 0.3), tg.PartiallyCorrelated(4, 0.2, 0.5)], 5),
    "listed": ([tg.Independent(61, 0.03), tg.Correlated(20, 0.02)], 9),
}
rng = np.random.default_rng(0)
for name, (sets, hidden) in systems.items():
    features = tg.FeatureDistribution(sets)
    weights, bias = rng.normal(size=(features.n, hidden)), 0.2 * rng.normal(size=features.n)
    for activation in ("relu", "linear"):
        sgd = tg.Sampled(steps=9, optimiser="sgd", batch=1001)
        start = dict(start=(weights, bias), activation=activation, seeds=2)
        one = tg.Spec(features=features, hidden=hidden, training=sgd, **start)
        with KernelEngine([one]) as engine:
            state = engine.advance(engine.start(), 1, nothing)[0]
            x = engine.batches(1, 1)[0]
        expected = empirical_gradient(weights.astype("f"), bias.astype("f"), x, features.importance, activation)
        expected = np.concatenate([expected[0].ravel(), expected[1]])
        np.testing.assert_allclose(state.first[1], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    one = tg.Spec(features=features, hidden=hidden, training=tg.Sampled(steps=40), seeds=3)
    ends = []
    for threads, stops, seeds in ((1, [40], 3), (2, [40], 3), (1, [7, 8, 40], 3), (1, [40], 5)):
        with KernelEngine([one.replace(seeds=seeds)], threads) as engine:
            state = engine.start()
            for stop in stops:
                state, recorded = engine.advance(state, stop, np.array([40]))
        ends.append((state.weights[:3], state.bias[:3], recorded.loss[:3]))
    for end in ends[1:]:
        for first, other in zip(ends[0], end):
            np.testing.assert_array_equal(first, other, err_msg=name)
print("as expected")
"""

X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="units of x86 processors")


@X86
@pytest.mark.parametrize(
    ("name", "processor", "features"),
    [
        # On a processor whose widest unit this is, all other tests use it.
        *([("AVX2", "haswell", "+avx,+avx2,+fma,+bmi,+bmi2")] if UNIT.name == "AVX-512" else []),
        # Half a minute of compiling, for processors from before 2013.
        pytest.param(platform.machine(), "x86-64", "+sse2", marks=pytest.mark.slow),
    ],
)
def test_training_is_right_on_other_vector_units(tmp_path: Path, name: str, processor: str, features: str):
    settings = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name], env=os.environ | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as expected\n"
