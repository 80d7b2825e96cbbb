"""Sweeps of which a worker, the coordinator or the scheduler is killed: the store has the same bits every time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_kills import Killed, free_port, workers_of

MOMENTS = 3
"""Kills of each kind here; `slow` has twenty, whose outcome is in benchmarks/kills.md."""

WORKERS = ("--workers", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a sweep that nobody has disturbed, made by one worker."""
    sweep = Killed(tmp_path_factory.mktemp("undisturbed"))
    finish(sweep, "--workers", "1")
    sweep.end()
    assert set(sweep.made().values()) == {1}
    return sweep.contents()


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Killed]:
    killed = Killed(tmp_path)
    yield killed
    killed.end()


def finish(sweep: Killed, *args: str) -> None:
    """Call it again, as a user would, until it is done."""
    process = sweep.start(*args)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said


def check(sweep: Killed, undisturbed: dict[str, str], twice: int) -> None:
    """The store has the bits of an undisturbed one, and only packs that were under way were made twice."""
    assert sweep.contents() == undisturbed
    assert sweep.left() == []
    made = sweep.made()
    assert len(made) == sweep.packs
    assert sum(made.values()) <= sweep.packs + twice


def kill_workers(sweep: Killed, moments: random.Random, kills: int) -> None:
    coordinator = sweep.start(*WORKERS)
    sweep.begun()
    for _ in range(kills):
        time.sleep(moments.uniform(0.0, 1.5))
        if (found := workers_of(coordinator.pid)) and coordinator.poll() is None:
            os.kill(moments.choice(found), signal.SIGKILL)
    said, _ = coordinator.communicate(timeout=300)
    # Where the same pack was killed three times, it is set aside, and the next call makes it.
    assert coordinator.returncode in (0, 1), said
    finish(sweep, *WORKERS)


def test_workers_that_are_killed_are_replaced(sweep: Killed, undisturbed: dict[str, str]) -> None:
    kill_workers(sweep, random.Random(1), MOMENTS)
    check(sweep, undisturbed, twice=MOMENTS)


def kill_coordinators(sweep: Killed, moments: random.Random, kills: int) -> None:
    for _ in range(kills):
        coordinator = sweep.start(*WORKERS)
        sweep.begun(1 + sum(sweep.made().values()) if coordinator.poll() is None else 0)
        time.sleep(moments.uniform(0.0, 1.0))
        left = workers_of(coordinator.pid)
        coordinator.kill()
        coordinator.wait()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{each}").exists() for each in left):
            assert time.monotonic() < until, "the workers of a killed coordinator go on"
            time.sleep(0.05)
        if len(sweep.made()) == sweep.packs:
            break
    finish(sweep, *WORKERS)


def test_a_coordinator_that_is_killed_leaves_no_workers_and_loses_nothing(
    sweep: Killed, undisturbed: dict[str, str]
) -> None:
    kill_coordinators(sweep, random.Random(2), MOMENTS)
    check(sweep, undisturbed, twice=2 * MOMENTS)


def cluster(sweep: Killed, port: int) -> list[subprocess.Popen[str]]:
    return [sweep.scheduler(port), sweep.worker(port), sweep.worker(port)]


def kill_cluster_workers(sweep: Killed, moments: random.Random, kills: int) -> None:
    port = free_port()
    _, *workers = cluster(sweep, port)
    address = ("--scheduler", f"tcp://127.0.0.1:{port}")
    coordinator = sweep.start(*address)
    sweep.begun()
    for _ in range(kills):
        time.sleep(moments.uniform(0.0, 1.5))
        victim = moments.randrange(len(workers))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = sweep.worker(port)
    said, _ = coordinator.communicate(timeout=300)
    assert coordinator.returncode in (0, 1), said
    finish(sweep, *address)


def test_workers_of_a_cluster_that_are_killed_cost_only_what_they_did(
    sweep: Killed, undisturbed: dict[str, str]
) -> None:
    kill_cluster_workers(sweep, random.Random(3), MOMENTS)
    # A worker also takes with it what it has made and not yet said.
    check(sweep, undisturbed, twice=2 * MOMENTS)


def kill_schedulers(sweep: Killed, moments: random.Random, kills: int) -> None:
    for _ in range(kills):
        port = free_port()
        scheduler, *workers = cluster(sweep, port)
        coordinator = sweep.start("--scheduler", f"tcp://127.0.0.1:{port}")
        before = sum(sweep.made().values())
        sweep.begun(min(before + 1, sweep.packs))
        time.sleep(moments.uniform(0.0, 1.0))
        scheduler.kill()
        scheduler.wait()
        said, _ = coordinator.communicate(timeout=120)
        if coordinator.returncode == 0:  # it was done before
            break
        assert coordinator.returncode == 2, said
        assert "there is no connection to the scheduler" in said or "the scheduler has lost it" in said
        assert "the same call continues it" in said
        for worker in workers:
            worker.kill()
            worker.wait()
    finish(sweep, *WORKERS)


def test_a_scheduler_that_is_killed_ends_the_call_in_a_sentence_and_loses_nothing(
    sweep: Killed, undisturbed: dict[str, str]
) -> None:
    kill_schedulers(sweep, random.Random(4), MOMENTS)
    check(sweep, undisturbed, twice=2 * MOMENTS)
