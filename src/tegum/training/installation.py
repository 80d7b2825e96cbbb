"""Whether this installation works: its parts, what a user may want to know of the machine, and a short training.

The training has answers that are known from elsewhere: two fully correlated features of density p share one dimension,
so the exact loss of a trained model is close to p/12 and never below it; the loss recorded on samples agrees with the
exact one within its standard error; and the bits of a run do not depend on the number of threads.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

PACKAGES = ("tegum", "numpy", "numba", "llvmlite", "scipy", "jax", "jaxlib", "xarray", "zarr", "matplotlib")
"""The packages whose versions are shown."""

JAX_SECONDS = 60.0
"""How long JAX may take to find its devices, in a process of its own, as a broken one may hang or end it."""

DENSITY, STEPS, RUNS = 0.5, 20_000, 32
"""The features and the ensemble of the self-test."""

BELOW, ABOVE = 1e-6, 0.02
"""The relative differences allowed between the best loss and its closed form p/12; it cannot lie below."""

STANDARD_ERRORS = 5.0
"""The largest difference between recorded and exact losses, in standard errors; of 32, one in a million is as far."""

State = Literal["good", "slow", "broken"]


class Part(NamedTuple):
    """One part of the installation, and how it is."""

    name: str
    text: str
    state: State = "good"
    """good; slow, if everything works but takes longer; or broken."""


def examined() -> Iterator[Part]:
    """Every part of this installation, one after the other. Whatever is wrong is said, and never raised."""
    for name, look in (
        ("versions", _versions),
        ("processor", _processor),
        ("memory", _memory),
        ("compiled code", _cache),
        ("JAX", _jax),
        ("self-test", _self_test),
    ):
        yield _looked_at(name, look)


def _looked_at(name: str, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except Exception as error:
        what = " ".join(str(error).split())
        return Part(name, f"{type(error).__name__}{f': {what}' if what else ''}", "broken")


def _versions() -> Part:
    found = {"Python": platform.python_version()}
    missing = []
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if missing:
        return Part("versions", f"{text}; {', '.join(missing)} cannot be found: install tegum again", "broken")
    return Part("versions", f"{text}; {platform.system()}, {platform.machine()}")


def _processor() -> Part:
    from tegum.core.compiled.target import UNIT
    from tegum.core.threads import available_cores

    cores, there = available_cores(), os.cpu_count() or 1
    of = "" if cores == there else f" of {there}"
    return Part("processor", f"{cores}{of} core{'' if cores == 1 else 's'}, {UNIT.name}, {UNIT.lanes} lanes of float32")


def _memory() -> Part:
    from tegum.core.limits import VARIABLE, memory_limit, readable

    limit = memory_limit()
    if limit is None:
        return Part("memory", f"unknown; {VARIABLE} sets a limit")
    source = f"set by {VARIABLE}" if os.environ.get(VARIABLE) else "free for this process"
    return Part("memory", f"{readable(limit)}, {source}; larger jobs are refused")


def _cache() -> Part:
    from tegum.training.sampled.kernels.advance import advance

    folder = advance._cache.cache_path
    elsewhere = "NUMBA_CACHE_DIR may name another folder"
    if folder is None:
        text = f"no folder for it can be written, so that every process compiles for up to a minute; {elsewhere}"
        return Part("compiled code", text, "slow")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}), so that every process compiles; {elsewhere}"
        return Part("compiled code", text, "slow")
    return Part("compiled code", f"{folder} and folders beside it, which can be written")


def _jax() -> Part:
    program = "import jax; print(jax.__version__); print(*jax.devices(), sep=', ')"
    without = "gradients of the exact loss, other devices and some kinds of set need it"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=JAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Part("JAX", f"it did not find its devices within {JAX_SECONDS:.0f} s; {without}", "broken")
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        return Part("JAX", f"it does not start ({last.strip()}); {without}", "broken")
    version, devices = done.stdout.splitlines()[-2:]
    return Part("JAX", f"{version}, devices: {devices}")


def _self_test() -> Part:
    import numpy as np

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Correlated
    from tegum.core.loss.population import population_loss
    from tegum.training.compare import loss_error
    from tegum.training.engine import train
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.spec import Spec

    features = FeatureDistribution([Correlated(2, density=DENSITY)])
    training = Sampled(steps=STEPS, evaluation=65_536)
    spec = Spec(features=features, hidden=1, training=training, snapshots=2, seeds=RUNS)
    train(spec.replace(training=training.replace(steps=1)), progress=False)  # compiling is not training
    begun = time.perf_counter()
    run = train(spec, progress=False)
    seconds = time.perf_counter() - begun
    alone = train(spec, threads=1, progress=False)
    last = run.isel(step=-1)
    exact = population_loss(last.weights.values, last.bias.values, features)
    closed = DENSITY / 12
    away = np.abs(last.loss.values - exact) / loss_error(run.isel(step=[-1]), progress=False).values[:, 0]
    least = float(exact.min() / closed - 1)
    failures = [
        sentence
        for failed, sentence in (
            (not run.weights.equals(alone.weights), "runs in one thread and in several differ"),
            (not -BELOW <= least <= ABOVE, f"the best loss is {exact.min():.6g} and not p/12 = {closed:.6g}"),
            (bool((away > STANDARD_ERRORS).any()), f"a recorded loss is {away.max():.1f} standard errors off"),
        )
        if failed
    ]
    if failures:
        return Part("self-test", "; ".join(failures), "broken")
    return Part(
        "self-test",
        f"{RUNS} runs of 2 features in one dimension reach the loss p/12 to {100 * least:.2g} %; recorded losses agree "
        f"with exact ones; results are bit-identical on one thread and on all; {RUNS * STEPS / seconds / 1e6:.2g} "
        "million run-steps a second",
    )
