"""Who makes packs: processes of this machine with a GPU each, executors of others, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tegum.sweeps.workers import Others, Processes, WorkerDiedError, crew_of, devices

pytestmark = pytest.mark.quick_form


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    found = Processes(2, ("GPU-a", "3"))
    yield found
    found.close(now=True)


def test_each_process_has_a_gpu_of_its_own(processes: Processes) -> None:
    asked = [processes.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for _ in range(2)]
    # Both are busy until the other has answered, if they are slow to start.
    seen = Counter(each.result(60) for each in asked)
    until = time.monotonic() + 60
    while len(seen) < 2 and time.monotonic() < until:
        slow = [processes.submit(time.sleep, 0.2) for _ in range(2)]
        seen.update(each.result(60) for each in [processes.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for _ in range(2)])
        _ = [each.result(60) for each in slow]
    assert set(seen) == {"GPU-a", "3"}


def test_a_process_that_dies_costs_its_call_and_is_replaced(processes: Processes) -> None:
    with pytest.raises(WorkerDiedError, match="was killed, or ran out of memory"):
        processes.submit(os._exit, 3).result(60)
    assert processes.submit(abs, -2).result(60) == 2
    assert [each.result(60) for each in [processes.submit(abs, -at) for at in range(10)]] == list(range(10))


def test_errors_of_a_call_are_its_own(processes: Processes) -> None:
    with pytest.raises(ZeroDivisionError):
        processes.submit((0).__rtruediv__, 1).result(60)
    with pytest.raises(Exception, match=r"pickle|lambda|local"):
        processes.submit(lambda given: given, 1).result(60)
    assert processes.submit(abs, -2).result(60) == 2


def test_ctrl_c_is_for_the_one_who_hands_out_the_work(processes: Processes) -> None:
    for _ in range(2):
        processes.submit(abs, -3).result(60)
    found = processes.processes()
    assert found
    for process in found:
        os.kill(process, signal.SIGINT)
    assert processes.submit(abs, -3).result(60) == 3
    assert set(found) <= set(processes.processes())


def test_devices_are_those_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, found in {
        "": (),
        "-1": (),
        "0": ("0",),
        "2, 5": ("2", "5"),
        "GPU-1f,MIG-2": ("GPU-1f", "MIG-2"),
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert devices() == found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices() == ()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-0)'\necho 'GPU 1: NVIDIA H200 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    assert devices() == ("0", "1")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert devices() == ()


def test_an_executor_of_others_is_used_and_not_closed() -> None:
    with ThreadPoolExecutor(3) as threads:
        found = crew_of(threads, None, "auto", "sweep")
        assert isinstance(found, Others)
        assert found.count() == 3
        assert crew_of(threads, 7, "auto", "sweep").count() == 7
        assert found.submit(abs, -1).result() == 1
        assert found.everyone(abs, -4) == [4]
        found.close(now=True)
        assert threads.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("executor", "workers", "rule"),
    [
        (3, None, r"^sweep\(executor=3\): executor must be None, the address of a Dask scheduler"),
        (None, 0, r"^sweep\(workers=0\): workers must be an int of at least 1, or None$"),
        (None, True, r"^sweep\(workers=True\): workers must be"),
        (None, 1.5, r"^sweep\(workers=1.5\): workers must be"),
        ("nonsense://x", None, r"^sweep: there is no scheduler at 'nonsense://x' \("),
    ],
)
def test_who_cannot_work_is_refused_in_a_sentence(executor: object, workers: object, rule: str) -> None:
    with pytest.raises((ValueError, OSError), match=rule) as caught:
        crew_of(executor, workers, "auto", "sweep")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


SCRIPT = """
import tegum as tg

spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)
print(tg.sweep(spec, {"density": [0.1, 0.5]}, keep=["loss"], workers=2, progress=False)["loss"].sizes["spec"])
"""


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Processes that are spawned import the script again, unless it is kept from them: each would start a sweep."""
    (tmp_path / "own.py").write_text(SCRIPT)
    command = [sys.executable, "own.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
