"""JAX behind its one door: forked processes, settings of the environment, and an end to what it keeps."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tegum.core import jax_setup

PREPARED = """
import hashlib, multiprocessing, sys, warnings
import numpy as np
import tegum as tg

PAIR = tg.FeatureDistribution([tg.Independent(2, density=0.2)])
ROWS = tg.FeatureDistribution([tg.Empirical(np.eye(4, 3, dtype=np.float32))])
RAYS = tg.FeatureDistribution([tg.Equivariant(3, 0.2, 1.0)])
W, b = np.array([[0.9], [-0.8]]), np.array([0.01, 0.02])

def trained(features, training, **options):
    return tg.train(tg.Spec(features=features, hidden=1, seeds=1, training=training), **options).weights.values

SHORT = tg.Sampled(steps=4, batch=16, evaluation=32)
JAX = {
    "rows": lambda: trained(ROWS, SHORT, engine="jax"),
    "engine": lambda: trained(PAIR, SHORT, engine="jax"),
    "flow": lambda: trained(PAIR, tg.Flow(duration=1.0, steps=2, solver="explicit")),
    "rays": lambda: np.asarray(tg.population_loss(np.eye(3, 1), np.zeros(3), RAYS)),
}
"""

FORKS = """
NUMBA = {
    "sampled": lambda: trained(PAIR, SHORT),
    "exact": lambda: trained(PAIR, tg.Exact(steps=3)),
    "loss": lambda: tg.population_loss(W, b, PAIR),
    "finite": lambda: tg.population_loss(np.eye(3, 1), np.zeros(3), ROWS),
    "analysis": lambda: tg.analyse(np.eye(6, 3)),
}

def child(name):
    try:
        (NUMBA | JAX | ARRAYS)[name]()
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    return f"{name}: works"

ARRAYS = {}
if __name__ == "__main__":
    warnings.simplefilter("ignore")  # JAX's own word about forking, and Python's
    for work in (*NUMBA.values(), *JAX.values()):
        work()
    import jax
    import jax.numpy as jnp
    given, key = (jnp.asarray(W), jnp.asarray(b)), jax.random.key(0)
    ARRAYS = {
        "arrays": lambda: tg.population_loss(*given, PAIR),
        "forward": lambda: tg.forward(*given, np.ones((1, 2))),
        "key": lambda: PAIR.sample(key, 3),
    }
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(*pool.map_async(child, [*NUMBA, *JAX, *ARRAYS]).get(60), sep="\\n")
"""

HASHES = """
for name, work in JAX.items():
    try:
        print(name, hashlib.sha1(work().tobytes()).hexdigest())
    except Exception as error:
        print(name, f"{type(error).__name__}: {error}")
import jax
print(jax.config.jax_numpy_dtype_promotion, jax.config.jax_enable_x64, jax.config.jax_debug_nans)
"""


def run(script: str, **environment: str) -> list[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    found = subprocess.run(
        [sys.executable, "-c", PREPARED + script], capture_output=True, text=True, timeout=240, env=known | environment
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_a_forked_process_works_or_says_so():
    said = dict(line.split(": ", 1) for line in run(FORKS))
    for name in ("sampled", "exact", "loss", "finite", "analysis"):
        assert said.pop(name) == "works"
    assert list(said) == ["rows", "engine", "flow", "rays", "arrays", "forward", "key"]
    for sentence in said.values():
        assert re.match(r"RuntimeError: process \d+ was forked from one in which JAX had started", sentence)


@pytest.mark.slow  # Two processes that compile everything there is for JAX.
def test_settings_of_the_environment_change_no_bit_and_stay():
    *plain, untouched = run(HASHES)
    *found, theirs = run(
        HASHES,
        JAX_NUMPY_DTYPE_PROMOTION="strict",
        JAX_NUMPY_RANK_PROMOTION="raise",
        JAX_ENABLE_X64="1",
        JAX_DEBUG_NANS="1",
        JAX_DEBUG_INFS="1",
        JAX_DISABLE_JIT="1",
        JAX_DEFAULT_MATMUL_PRECISION="bfloat16",
        JAX_THREEFRY_PARTITIONABLE="0",
        JAX_CHECK_TRACER_LEAKS="1",
        JAX_TRACEBACK_FILTERING="off",
    )
    assert found == plain
    assert len(plain) == 4
    assert untouched.endswith("False False")
    assert theirs.endswith("True True")
    assert "strict" in theirs


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_told(platform):
    *said, _ = run(HASHES, JAX_PLATFORMS=platform)
    assert len(said) == 4
    for line in said:
        assert f"ValueError: JAX_PLATFORMS='{platform}' (jax_platforms): JAX finds no " in line


class TestCompiled:
    def test_keeps_a_bounded_number_of_programs(self):
        @jax_setup.compiled()
        def doubled(x):
            return 2 * x

        for size in range(1, 2 * jax_setup.KEPT_PROGRAMS):
            assert np.asarray(doubled(np.ones(size))).sum() == 2 * size
            assert doubled.count() <= jax_setup.KEPT_PROGRAMS + 1

    def test_uses_a_program_again(self):
        traced = []

        @jax_setup.compiled()
        def noted(x):
            traced.append(x.shape)
            return x

        for _ in range(3):
            for size in range(1, jax_setup.KEPT_PROGRAMS):
                noted(np.ones(size))
        assert len(traced) == jax_setup.KEPT_PROGRAMS - 1

    def test_keeps_as_many_as_one_training_needs(self):
        from tegum.training.sampled import jax_programs as programs

        programs.keep_programs(100)
        assert programs.train.keep >= 100
        programs.keep_programs(1)
        assert programs.train.keep < 100

    @pytest.mark.slow
    def test_memory_ends_to_grow(self):
        script = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
sizes = []
for size in range(3, 63):
    rows = np.random.default_rng(0).random((20, size)).astype(np.float32)
    trained(tg.FeatureDistribution([tg.Empirical(rows)]), SHORT)
    sizes.append(resident())
print(*sizes)
"""
        sizes = np.array(run(script)[0].split(), float)
        # Without an end it grows by about 18 MiB for each of the last 24 shapes.
        assert sizes[-1] - sizes[-24] < 24 * 6
