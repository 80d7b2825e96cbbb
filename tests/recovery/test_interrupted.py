"""Ctrl-C and kills: what was done is kept, what was there before stays, and nothing is left lying about."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from processes import processor_seconds, started, told

import tegum as tg

PAIRS = """
hidden = 2
seeds = 4

[training]
steps = 50000000

[[features]]
kind = "correlated"
size = 2
density = 0.05
copies = 3
"""

# Writes half a store and waits to be killed.
HALF = """
import sys, time
from tegum.data import manifest, store

run = store.load(sys.argv[1]).isel(seed=[0])
def write(root, names):
    (root / "step" / "zarr.json").write_text("half")
    print(root, flush=True)
    time.sleep(60)
manifest.write = write
store.save(run, sys.argv[2], overwrite=True)
"""


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    features = tg.FeatureDistribution([tg.Correlated(2, 0.1)] * 2)
    return tg.train(tg.Spec(features=features, hidden=3, training=tg.Sampled(steps=200), snapshots=8, seeds=2))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, run: xr.Dataset) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    tg.save(run, folder / "run.zarr")
    return folder


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_interrupted_training_keeps_what_is_done(tmp_path, number):
    (tmp_path / "pairs.toml").write_text(PAIRS)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    with started("train", "pairs.toml", cwd=tmp_path) as process:
        assert "started" in told(process, "step")[0]
        asked = processor_seconds(process)
        # A warning that processor time runs out comes again every second: it does not cut short what is kept.
        for _ in range(3 if number == signal.SIGXCPU else 1):
            process.send_signal(number)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - others.ru_utime - others.ru_stime - asked < 10
    assert process.returncode == 128 + number
    assert out == ""
    assert "tegum: interrupted; what was done (step " in err
    assert "of 50,000,000) is kept in 'pairs.partial.zarr', and resume=True (--resume) continues it" in err
    assert "Traceback" not in err
    run = tg.load(tmp_path / "pairs.partial.zarr")
    assert (run.result == "interrupted").all()
    assert np.isfinite(run.loss).all()
    assert 0 <= run.step[-1] < 50_000_000
    assert names_in(tmp_path) == {"pairs.toml", "pairs.partial.zarr"}


# For each warning a process that has listened: the exit code would be 128 and the number that it prints.
WARNED = """
import os, signal, sys
from tegum.core import signals

for name in ("SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM"):
    number = getattr(signal, name)
    if not (child := os.fork()):
        signals.listen()
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            with signals.uninterrupted():
                for _ in range(3):
                    signal.raise_signal(number)
            os._exit(signals.asked_by())
        os._exit(0)
    print(name, signal.Signals(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).name)
# In a process that is not ours they are left to whoever listens to them.
came = []
signal.signal(signal.SIGALRM, lambda *_: came.append(1))
with signals.uninterrupted():
    signal.raise_signal(signal.SIGALRM)
    signal.raise_signal(signal.SIGALRM)
    print(len(came))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_warnings_of_batch_systems_are_heard():
    done = subprocess.run([sys.executable, "-c", WARNED], capture_output=True, text=True, timeout=60, check=True)
    heard = [f"{name} {name}" for name in ("SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM")]
    assert done.stdout.splitlines()[-5:] == [*heard, "2"]


# For each signal a process that has listened, and is signalled where Python drops what is raised: the repeated signal
# wakes it, and the next one ends it.
DROPPED = """
import gc, os, signal, sys, time, weakref
from tegum.core import signals

class Thing:
    pass

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), number)
        time.sleep(0.1)  # the handler runs here

def signalled(*_):
    os.kill(os.getpid(), number)
    time.sleep(0.1)

def collected(phase, _):
    if phase == "stop":
        gc.callbacks.remove(collected)
        signalled()

def lose(how):
    if how == "finaliser":
        Finalised()
    elif how == "weak reference":
        thing = Thing()
        reference = weakref.ref(thing, signalled)
        del thing
    else:
        gc.callbacks.append(collected)
        gc.collect()

for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    for how in ("finaliser", "weak reference", "collector"):
        number = getattr(signal, name)
        if not (child := os.fork()):
            signals.listen()
            try:
                lose(how)
                time.sleep(30)
                os._exit(99)
            except KeyboardInterrupt:
                if signals.asked_by() != number:
                    os._exit(98)
            os.kill(os.getpid(), number)
            time.sleep(30)
            os._exit(97)
        print(name, how, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 128 == number)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_signal_whose_exception_python_drops_is_repeated():
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{name} {how} True"
        for name in ("SIGINT", "SIGTERM", "SIGHUP")
        for how in ("finaliser", "weak reference", "collector")
    ]


@pytest.mark.parametrize("name", ["run.mp4", "run.gif"])
def test_an_interrupted_film_leaves_nothing_behind(stored, name):
    options = "--out", name, "--seconds", "600", "--turn", "90"
    with started("render", "run.zarr", *options, cwd=stored) as process:
        assert "started" in told(process, "frames")[0]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "tegum: interrupted"
    assert names_in(stored) == {"run.zarr"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_save_leaves_the_old_store_or_none(tmp_path, run):
    source, old, new = (tmp_path / f"{name}.zarr" for name in ("source", "old", "new"))
    for path in (source, old):
        tg.save(run, path)

    def leftovers() -> list[str]:
        return [name for name in names_in(tmp_path) if name.startswith(".")]

    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # Both at once: most of the time goes into importing.
    writers = {
        path: subprocess.Popen(
            [sys.executable, "-c", HALF, str(source), str(path)], stdout=subprocess.PIPE, env=environment
        )
        for path in (old, new)
    }
    for path, writer in writers.items():
        with writer:
            assert writer.stdout is not None
            part = writer.stdout.readline().decode().strip()
            assert path.name in part
            if path == old:
                # Still locked: another save leaves it alone.
                tg.save(run, path, overwrite=True)
                assert Path(part).is_dir()
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        assert len([name for name in leftovers() if path.name in name]) == 1
    kept = tg.load(old)
    xr.testing.assert_identical(kept, run)
    assert kept.weights.values.tobytes() == run.weights.values.tobytes()
    assert not new.exists()
    tg.save(run, new)
    tg.save(run, old, overwrite=True)
    assert leftovers() == []
