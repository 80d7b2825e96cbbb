"""Sweeps on clusters: what is asked of SLURM and Kubernetes, and a sweep whose jobs are processes of this machine."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"

SBATCH = """#!/usr/bin/env bash
# SLURM copies the script, and tells the number of the job.
job=$(mktemp {folder}/job-XXXXXX)
cp "$1" "$job"
setsid bash "$job" > "$job.log" 2>&1 < /dev/null &
echo $! > "{folder}/$!.pid"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/usr/bin/env bash
for job in "$@"; do kill -- "-$job" || true; done
"""


def example(name: str) -> dict[str, Any]:
    """What a script defines; as it is not the main program, it starts nothing."""
    return runpy.run_path(str(CLUSTER / name))


def options_of(words: list[str]) -> dict[str, str]:
    """The options of a command, each with the word that follows."""
    return {word: after for word, after in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}


def test_a_slurm_job_is_one_worker_with_one_thread():
    with example("slurm.py")["cluster"]() as jobs:
        script = jobs.job_script()
    asked = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]
    assert {"-n 1", "--cpus-per-task=1", "--mem=2G", "-t 04:00:00"} <= set(asked)
    (command,) = [line for line in script.splitlines() if "dask_worker" in line]
    words = shlex.split(command)
    assert words[:3] == [sys.executable, "-m", "distributed.cli.dask_worker"]
    assert words[3].startswith("tcp://")
    told = options_of(words)
    assert told["--nthreads"] == "1"
    assert "--nworkers" not in told
    # 2 GB, in binary units.
    assert told["--memory-limit"] == "1.86GiB"
    # The latest that a worker leaves is before its job ends.
    latest = sum(int(told[name].removesuffix("m")) for name in ("--lifetime", "--lifetime-stagger"))
    assert 200 < latest < 4 * 60


def test_pods_have_the_image_and_one_worker_with_one_thread_each():
    script = example("kubernetes.py")
    spec = script["cluster_spec"]()["spec"]
    assert spec["worker"]["replicas"] == script["PODS"]
    (worker,) = spec["worker"]["spec"]["containers"]
    (scheduler,) = spec["scheduler"]["spec"]["containers"]
    assert worker["image"] == scheduler["image"] == script["IMAGE"]
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert scheduler["args"] == ["dask", "scheduler", "--host", "0.0.0.0"]
    assert worker["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}
    variables = {each["name"]: each for each in worker["env"]}
    assert {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(variables)
    # Keys are in no file.
    assert all("valueFrom" in variables[name] for name in variables if "KEY" in name)


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_the_commands_of_the_pods_are_installed(role):
    (container,) = example("kubernetes.py")["cluster_spec"]()["spec"][role]["spec"]["containers"]
    program, command = container["args"][:2]
    told = subprocess.run(
        [Path(sys.executable).parent / program, command, "--help"], capture_output=True, text=True, check=True
    )
    named = {each for each in container["args"] if each.startswith("--") and each != "--dashboard"}
    assert [each for each in named if each not in told.stdout] == []


def test_jobs_that_end_are_replaced_until_the_sweep_is_complete(tmp_path):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (commands / name).write_text(text.format(folder=tmp_path) if name == "sbatch" else text, encoding="utf-8")
        (commands / name).chmod(0o755)
    script = (CLUSTER / "slurm.py").read_text(encoding="utf-8")
    for there, instead in {
        "JOBS = 100": "JOBS = 2",
        "steps=10_000": "steps=1_000",
        "seeds=10_000": "seeds=100",
        "count=25": "count=3",
        '"225m"': '"12s"',
        '"10m"': '"1s"',
    }.items():
        assert script.count(there) == 1
        script = script.replace(there, instead)
    # Packs of a few runs, so that the sweep takes longer than a worker stays.
    script = script.replace("executor=client", "executor=client, pack=5")
    (tmp_path / "small.py").write_text(script, encoding="utf-8")
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "small.py"], cwd=tmp_path, env=os.environ | {"PATH": path}, timeout=500, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.pid"))) > 2
    swept = xr.open_zarr(tmp_path / "pairs.sweep" / "runs.zarr")
    assert dict(swept.result.sizes) == {"spec": 12, "seed": 100}
    assert (swept.result == "completed").all()
