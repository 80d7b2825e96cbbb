"""Training that is killed and gone on with ends in the bits of an undisturbed one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

import tegum as tg

# As a user would, again and again, but for what is done being kept all the time.
TRAIN = """
import sys
import tegum as tg
from tegum.training import checkpoint

checkpoint._TIMES_WRITING = 1
tg.train(tg.Spec.from_toml("spec.toml"), engine=sys.argv[1], out="run.zarr", resume=True, checkpoint_seconds=0)
"""

SETS = """
hidden = 2
seeds = 4
snapshots = 40

[[features]]
kind = "correlated"
size = 2
density = 0.05
copies = 3

[training]
"""

WAYS = {
    "sampled": ("auto", "steps = 3000000"),
    "jax": ("jax", "steps = 60000"),
    "lbfgs": ("auto", "kind = 'exact'\nsteps = 40000\ngradient_tolerance = 1e-13"),
    "adam": ("auto", "kind = 'exact'\noptimiser = 'adam'\nsteps = 10000"),
    "flow": ("auto", "kind = 'flow'\nsteps = 400"),
}


def kept(folder: Path) -> int | None:
    """Which file system entry the partial store is: another one each time that it is kept anew."""
    try:
        return (folder / "run.partial.zarr").stat().st_ino
    except FileNotFoundError:
        return None


def train_and_kill(folder: Path, engine: str, moment: random.Random) -> bool:
    """Train, and kill it at a random moment after something new was kept; whether it was killed."""
    before, wanted, seen = kept(folder), moment.randint(1, 2), 0
    with subprocess.Popen([sys.executable, "-c", TRAIN, engine], cwd=folder, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < end:
            if (now := kept(folder)) not in (before, None):
                before, seen = now, seen + 1
                if seen == wanted:
                    time.sleep(moment.uniform(0, 0.1))
                    break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        err = process.stderr.read().decode()
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode != 0


def check_resumed(folder: Path, way: str, kills: int, seed: int) -> int:
    """Kill so many times at most, let it end, and compare; how often it was killed."""
    engine, training = WAYS[way]
    (folder / "spec.toml").write_text(SETS + training)
    moment, killed = random.Random(seed), 0
    while killed < kills and train_and_kill(folder, engine, moment):
        killed += 1
    if not (folder / "run.zarr").exists():
        subprocess.run([sys.executable, "-c", TRAIN, engine], cwd=folder, check=True)
    # What a kill may leave is hidden, and removed by who writes next to the same place.
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == {"spec.toml", "run.zarr"}
    whole = tg.train(tg.Spec.from_toml(folder / "spec.toml"), engine=engine, progress=False)  # pyright: ignore[reportArgumentType]
    xr.testing.assert_identical(tg.load(folder / "run.zarr").drop_attrs(), whole.drop_attrs())
    return killed


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_three_times(tmp_path: Path) -> None:
    assert check_resumed(tmp_path, "sampled", kills=3, seed=0) == 3


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_twenty_times(tmp_path: Path, way: str) -> None:
    """In all; of training that is over sooner, again from the start."""
    killed = 0
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        killed += check_resumed(folder, way, kills=20 - killed, seed=seed)
        if killed == 20:
            break
    assert killed == 20
