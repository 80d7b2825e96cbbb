"""Sweeps as processes that can be killed: coordinators, their workers, and clusters of separately started processes."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SWEEP = """
keep = ["loss", "states", "noting.py:noted"]
pack = {pack}

[spec]
hidden = 2
seeds = {seeds}
snapshots = 2

[spec.training]
steps = {steps}

[[spec.features]]
kind = "independent"
count = 5
density = 0.2

[parameters]
density = [0.1, 0.3]
"""

NOTING = '''
"""A measure that notes which packs were made, by their first run and their number of runs."""

import os
from pathlib import Path


def noted(run):
    seeds = run.seed.values
    line = f"{float(run.density[0])} {seeds[0]} {len(seeds)}\\\\n".encode()
    file = os.open(Path(__file__).parent / "made.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)
    return abs(run.weights).max(["feature", "hidden"])
'''.replace("\\\\n", "\\n")


@dataclass
class Killed:
    """A sweep in a folder, which processes work on that are killed."""

    folder: Path
    seeds: int = 80
    pack: int = 40
    steps: int = 10_000
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = SWEEP.format(seeds=self.seeds, pack=self.pack, steps=self.steps)
        (self.folder / "sweep.toml").write_text(text)
        (self.folder / "noting.py").write_text(NOTING)

    @property
    def out(self) -> Path:
        return self.folder / "sweep.sweep"

    @property
    def packs(self) -> int:
        return 2 * -(-self.seeds // self.pack)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A running `tegum sweep`."""
        return self._started([sys.executable, "-m", "tegum", "sweep", "sweep.toml", *args])

    def _started(self, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TEGUM_PROGRESS": "0"} | (environment or {}),
        )
        self.processes.append(process)
        return process

    def scheduler(self, port: int) -> subprocess.Popen[str]:
        """A Dask scheduler."""
        command = ["distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard", "--host", "127.0.0.1"]
        process = self._started([sys.executable, "-m", *command])
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return process
            time.sleep(0.1)
        raise AssertionError("the scheduler did not start")

    def worker(self, port: int, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """A Dask worker with an address of its own."""
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder / "dask")]
        command = ["distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", *options]
        return self._started([sys.executable, "-m", *command], environment)

    def await_workers(self, port: int, count: int) -> None:
        """Wait until a scheduler has so many workers."""
        from distributed import Client

        with Client(f"tcp://127.0.0.1:{port}", set_as_default=False) as client:
            until = time.monotonic() + 60
            while len(client.scheduler_info(n_workers=-1)["workers"]) != count:
                assert time.monotonic() < until, "the workers did not come"
                time.sleep(0.1)

    def begun(self, packs: int = 1, seconds: float = 60) -> None:
        """Wait until some packs have been made."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if sum(self.made().values()) >= packs:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {packs} packs within {seconds} s")

    def made(self) -> Counter[str]:
        """How often each pack was made; trials before the sweep have fewer runs."""
        file = self.folder / "made.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(line for line in lines if line.endswith(f" {self.pack}"))

    def contents(self) -> dict[str, str]:
        """The digest of every file of the finished store, and of its manifest."""
        files = [*(self.out / "runs.zarr").rglob("*"), self.out / "manifest.json"]
        return {
            path.relative_to(self.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(files)
            if path.is_file()
        }

    def left(self) -> list[str]:
        """What is in the folder of the finished sweep besides its store, manifest and plan."""
        known = {"runs.zarr", "manifest.json", "sweep.json"}
        return [path.name for path in self.out.iterdir() if path.name not in known]

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes:
            for child in children(process.pid):
                with suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            with suppress(OSError):
                process.kill()
            process.communicate()


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(each) for each in task.read_text().split()]
    return found


def workers_of(process: int) -> list[int]:
    """The worker processes of a coordinator, without the one that only looks after their resources."""
    found = []
    for child in children(process):
        with suppress(OSError):
            if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text():
                found.append(child)
    return found


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
