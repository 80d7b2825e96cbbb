"""Peak memory of one training call, above the memory in use before it and without the snapshots it returns.

Every case runs in a fresh process: import, a small call that compiles, then the one that is measured. Linux
only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import CASES, make_spec
from rich.console import Console
from rich.table import Table

LIMIT_MB = 200.0
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Load:
    """One call to measure: a case by name, its steps and its snapshots besides the start."""

    case: str
    steps: int
    snapshots: int


LOADS = (
    Load("6x2", steps=500, snapshots=1),
    Load("6x2", steps=1_000, snapshots=1_000),
    Load("20x5", steps=200, snapshots=100),
    Load("40x5", steps=500, snapshots=250),
    Load("80x20", steps=300, snapshots=150),
    Load("400x30", steps=300, snapshots=1),
    Load("400x30", steps=300, snapshots=150),
)


def resident(field: str = "VmRSS") -> int:
    """Resident memory of this process, bytes: now (VmRSS), or the most since the last reset (VmHWM)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


class Peak:
    """The most resident memory while the `with` block runs, in `bytes` afterwards.

    The kernel's own high-water mark where it may be reset; a sample every 5 ms elsewhere, which can miss a
    short peak.
    """

    def __enter__(self) -> Peak:
        self.bytes = 0
        self._stop = threading.Event()
        try:
            CLEAR_REFS.write_text("5")
            self.method = "high-water mark"
        except OSError:
            self.method = "samples every 5 ms"
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.method == "high-water mark":
            self.bytes = resident("VmHWM")
        else:
            self._stop.set()
            self._thread.join()

    def _sample(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident())
            if self._stop.wait(0.005):
                return


def measure_here(load: Load, threads: int) -> dict[str, Any]:
    """Measure in this process; bytes and seconds."""
    import tegum as tg

    case = CASES[load.case]
    tg.train(make_spec(case, steps=3, runs=2), threads=threads)
    spec = make_spec(case, steps=load.steps, snapshots=load.snapshots)
    gc.collect()
    # Memory that the compiler freed but the allocator keeps would be reused by the call, and hide its own.
    ctypes.CDLL(None).malloc_trim(0)
    before = resident()
    start = time.perf_counter()
    with Peak() as peak:
        run = tg.train(spec, threads=threads)
    seconds = time.perf_counter() - start
    return {
        "before": before,
        "peak": peak.bytes,
        "method": peak.method,
        "returned": int(run.nbytes),
        "snapshots": int(run.sizes["step"]),
        "used": peak.bytes - before - int(run.nbytes),
        "seconds": seconds,
    }


def measure(index: int, threads: int) -> dict[str, Any]:
    """Measure one load in a fresh process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--here", str(index)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def main() -> int:
    """Measure, print, and return 1 if the limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be given again")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here is not None:
        print(json.dumps(measure_here(LOADS[arguments.here], arguments.threads)))
        return 0

    table = Table(title=f"peak memory of one training call, MB (10⁶ bytes), {arguments.threads} threads")
    for heading in ("case", "snapshots", "before", "peak", "returned", "used by the call", "limit", ""):
        table.add_column(heading, justify="left" if heading in ("case", "") else "right")
    results = []
    for index, load in enumerate(LOADS):
        if arguments.case and load.case not in arguments.case:
            continue
        result = measure(index, arguments.threads)
        passed = result["used"] <= LIMIT_MB * 1e6
        megabytes = [f"{result[key] / 1e6:,.1f}" for key in ("before", "peak", "returned", "used")]
        verdict = "[green]pass[/]" if passed else "[red]FAIL[/]"
        table.add_row(CASES[load.case].title, str(result["snapshots"]), *megabytes, f"{LIMIT_MB:g}", verdict)
        results.append({"case": load.case, "steps": load.steps} | result | {"passed": passed})

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
    console.print(f"measured by: {', '.join(sorted({result['method'] for result in results}))}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"limit_mb": LIMIT_MB, "results": results}, indent=2) + "\n")
    return int(not all(result["passed"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
