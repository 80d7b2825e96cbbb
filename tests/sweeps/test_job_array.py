"""The job array of `examples/cluster`: its script is right for bash, and its tasks together make the whole sweep."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

SCRIPT = Path(__file__).parents[2] / "examples" / "cluster" / "job_array.sh"

SWEEP = """
keep = ["loss", "polytope_names"]

[spec]
hidden = 2
seeds = 3

[spec.training]
steps = 10

[[spec.features]]
kind = "independent"
count = 3
density = 0.1

[parameters]
density = [0.1, 0.5]
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the description of a sweep, and the command `tegum` of this Python."""
    (tmp_path / "sweep.toml").write_text(SWEEP, encoding="utf-8")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "tegum").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tegum "$@"\n', encoding="utf-8")
    (commands / "tegum").chmod(0o755)
    return tmp_path


def task(folder, number, count, **others):
    """Run a task of an array, as SLURM would."""
    settings = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": str(count), "SLURM_CPUS_PER_TASK": "1"}
    settings |= {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", str(SCRIPT), "sweep.toml", "--pack", "1"], cwd=folder, env=os.environ | settings | others,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def runs_there(folder):
    found = xr.open_zarr(folder / "sweep.sweep" / "runs.zarr", chunks=None)
    return int((found.result == "completed").sum())


def test_bash_finds_nothing_wrong():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_it_asks_for_one_core_per_task():
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE))
    assert asked["cpus-per-task"] == "1"
    assert {"array", "mem", "time"} <= set(asked)


def test_tasks_in_turn_complete_the_sweep(folder):
    # An array that begins at 1, of two tasks; six packs of one run each.
    for number in (1, 2):
        done = task(folder, number, 2, SLURM_ARRAY_TASK_MIN="1")
        assert done.returncode == 0, done.stderr
        assert runs_there(folder) == 3 * number
        assert (folder / "sweep.sweep" / "manifest.json").is_file() == (number == 2)


def test_a_task_without_a_sweep_says_how_it_is_called(folder):
    settings = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1"}
    done = subprocess.run(
        ["bash", str(SCRIPT)], cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "usage: sbatch job_array.sh SWEEP.toml" in done.stderr
