"""Sweeps of which a worker, the coordinator or the scheduler is killed: the store has the same bits every time."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sweep_kills import Killed, free_port, workers_of

import tegum

MOMENTS = 3
"""Kills of each kind here; `slow` has twenty, whose outcome is in benchmarks/kills.md."""

WORKERS = ("--workers", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a sweep that nobody has disturbed, made by one worker; once for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with (shared / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep = Killed(shared / "undisturbed")
        if not sweep.out.exists():
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
    if sweep.left():
        # A worker whose coordinator was killed has gone on, and brought a pack that others had made meanwhile.
        assert sweep.left() == ["packs"]
        time.sleep(5)
        finish(sweep, *WORKERS)
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
        if "there is no scheduler at" in said:  # it was killed before anybody had called it
            break
        assert "there is no connection to the scheduler" in said or "the scheduler has gone" in said
        assert "the same call, with the address of another scheduler or with none, continues it" in said
        for worker in workers:
            worker.kill()
            worker.wait()
    finish(sweep, *WORKERS)


def test_a_scheduler_that_is_killed_ends_the_call_in_a_sentence_and_loses_nothing(
    sweep: Killed, undisturbed: dict[str, str]
) -> None:
    kill_schedulers(sweep, random.Random(4), MOMENTS)
    check(sweep, undisturbed, twice=2 * MOMENTS)


def kill_cluster_coordinators(sweep: Killed, moments: random.Random, kills: int) -> None:
    port = free_port()
    cluster(sweep, port)
    address = ("--scheduler", f"tcp://127.0.0.1:{port}")
    for _ in range(kills):
        coordinator = sweep.start(*address)
        sweep.begun(min(1 + sum(sweep.made().values()), sweep.packs))
        time.sleep(moments.uniform(0.0, 1.0))
        coordinator.kill()
        coordinator.wait()
        if len(sweep.made()) == sweep.packs:
            break
    finish(sweep, *address)


@pytest.mark.slow
def test_a_coordinator_of_a_cluster_that_is_killed_loses_nothing(sweep: Killed, undisturbed: dict[str, str]) -> None:
    kill_cluster_coordinators(sweep, random.Random(5), MOMENTS)
    check(sweep, undisturbed, twice=2 * MOMENTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "at_once"),
    [
        (kill_workers, 1),
        (kill_coordinators, 2),
        (kill_cluster_workers, 2),
        (kill_cluster_coordinators, 2),
        (kill_schedulers, 2),
    ],
)
def test_twenty_kills(kill: Callable[..., None], at_once: int, tmp_path: Path) -> None:
    """Twenty kills in a sweep of 90 packs of two seconds; prints a line for the record."""
    size = {"seeds": 1800, "pack": 40, "steps": 10_000}
    calm = Killed(tmp_path / "calm", **size)
    finish(calm, *WORKERS)
    calm.end()
    disturbed = Killed(tmp_path / "disturbed", **size)
    try:
        kill(disturbed, random.Random(7), 20)
        made = disturbed.made()
        check(disturbed, calm.contents(), twice=20 * at_once)
    finally:
        disturbed.end()
    sys.stderr.write(
        f"{kill.__name__}: {len(made)} packs, {sum(made.values()) - len(made)} made twice, the same bits\n"
    )


def test_a_local_cluster_loses_a_worker(tmp_path: Path, undisturbed: dict[str, str], sweep: Killed) -> None:
    """A LocalCluster of this process, whose nannies start workers anew."""
    program = """
import os, signal, sys, threading, time
from pathlib import Path
import tegum as tg
from distributed import Client, LocalCluster
from tegum.sweeps.toml import read_sweep

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        victim = list(client.run(os.getpid).values())[0]

        def kill():
            while not Path("made.txt").exists() or not Path("sweep.sweep").exists():
                time.sleep(0.05)
            time.sleep(0.5)
            os.kill(victim, signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        described = read_sweep("sweep.toml")
        swept = tg.sweep(
            described.design.spec, described.design.parameters, keep=[*described.keeping.entries],
            pack=described.pack, out="sweep.sweep", executor=client, progress=False,
        )
        print((swept["result"] == "completed").all().item())
"""
    (tmp_path / "own.py").write_text(program)
    process = sweep._started([sys.executable, "own.py"])
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "True" in said
    check(sweep, undisturbed, twice=2)


def test_a_cluster_whose_workers_have_gone_says_so_once(tmp_path: Path) -> None:
    program = """
import time, warnings
from distributed import Client, LocalCluster
from tegum.sweeps.workers import Cluster

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        crew = Cluster(client, owned=False)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            crew.check()
            print(len(said))
            cluster.scale(0)
            end = time.monotonic() + 60
            while not said and time.monotonic() < end:
                time.sleep(0.2)
                crew.check()
            crew.check()
        print(*(str(each.message) for each in said if "cluster" in str(each.message)), sep=";")
"""
    (tmp_path / "gone.py").write_text(program)
    done = subprocess.run([sys.executable, "gone.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = "the cluster has no workers at the moment, and the sweep waits for one"
    assert done.stdout.split("\n")[:2] == ["0", said], done.stderr


def test_workers_of_another_vector_unit_are_refused(sweep: Killed) -> None:
    port = free_port()
    sweep.scheduler(port)
    sweep.worker(port)
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse4.2"}
    other = sweep.worker(port, generic)
    address = ("--scheduler", f"tcp://127.0.0.1:{port}")
    sweep.await_workers(port, 2)
    said, _ = (process := sweep.start(*address)).communicate(timeout=120)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert re.search(
        r"the worker on \S+ computes with \S+, and this sweep was begun with \S+, whose bits differ; ", line
    )
    assert "--allow-mixed" in line
    assert not sweep.out.exists()
    # One that comes later is met with its first pack.
    other.kill()
    other.wait()
    sweep.await_workers(port, 1)
    process = sweep.start(*address)
    sweep.begun()
    sweep.worker(port, generic)
    said, _ = process.communicate(timeout=120)
    if process.returncode:  # it may have been done before
        assert "whose bits differ" in said
        assert "the same call continues it" in said
    else:
        assert len(sweep.made()) == sweep.packs


def test_workers_with_other_code_are_refused(sweep: Killed, tmp_path: Path) -> None:
    package = Path(tegum.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "tegum", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "other" / "tegum" / "training" / "state.py"
    changed.write_text(changed.read_text() + "\n# A line more.\n")
    port = free_port()
    sweep.scheduler(port)
    sweep.worker(port)
    sweep.worker(port, {"PYTHONPATH": str(tmp_path / "other")})
    sweep.await_workers(port, 2)
    said, _ = (process := sweep.start("--scheduler", f"tcp://127.0.0.1:{port}")).communicate(timeout=120)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert "has other code of tegum, and a sweep has one version throughout" in line


def test_no_scheduler_is_told_in_a_sentence(sweep: Killed) -> None:
    process = sweep.start("--scheduler", f"tcp://127.0.0.1:{free_port()}")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert re.match(r"tegum: sweep --out sweep\.sweep: there is no scheduler at .tcp://127", line)


def test_a_disk_that_fills_up_loses_nothing_that_was_made(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk to fill")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted in this container")
    sweep = Killed(place)
    try:
        coordinator = sweep.start(*WORKERS)
        sweep.begun(2)
        filler = place / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        said, _ = coordinator.communicate(timeout=120)
        assert coordinator.returncode == 2, said
        last = said.splitlines()[-1]
        assert re.match(r"tegum: sweep .*: writing '.*': No space left on device; .*the same call continues it", last)
        made = len(sweep.made())
        assert made >= 2
        filler.unlink()
        finish(sweep, *WORKERS)
        # What had been made and could not be written is made again.
        check(sweep, undisturbed, twice=4)
    finally:
        sweep.end()
        subprocess.run(["umount", "-l", place], check=True)


def test_a_place_where_nothing_may_be_written_is_met_before_the_work(sweep: Killed) -> None:
    sweep.out.write_text("a file")
    process = sweep.start(*WORKERS)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert "is a file" in line
    assert sweep.made() == {}
