"""The machine, and how fast it multiplies matrices: a yardstick for every time measured here.

Run as a script, it prints both as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

SIZE = 1024
PACKAGES = ("tegum", "numpy", "numba", "jax", "torch")
# Whichever BLAS NumPy was built with, one of these sets its threads; it reads them when it is loaded.
BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def confine(threads: int) -> None:
    """Restart this program on as many cores as it has threads, unless it already runs on that few.

    Both sides of a comparison then share the same cores. It restarts because libraries size their thread pools when
    they are loaded. Raises ValueError if there are fewer cores than threads. On a system without affinity (anything but
    Linux) it does nothing.
    """
    if not hasattr(os, "sched_getaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0), key=_core_order)
    if len(cores) < threads:
        raise ValueError(f"{threads} threads requested, but there are only {len(cores)} cores to run on")
    if len(cores) > threads:
        os.sched_setaffinity(0, cores[:threads])
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _core_order(cpu: int) -> tuple[int, int]:
    """Sort key that takes one CPU of every physical core before the second of any."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    if not siblings.exists():
        return (0, cpu)
    lowest = int(siblings.read_text().replace("-", ",").split(",")[0])
    return (int(cpu != lowest), cpu)


def sgemm_gflops(threads: int) -> float:
    """Achieved rate of NumPy's float32 product of two 1024 × 1024 matrices, GFLOP/s: the best of many.

    Measured in a separate process, as the thread count of a BLAS is fixed when it is loaded.
    """
    environment = os.environ | dict.fromkeys(BLAS_THREADS, str(threads))
    command = [sys.executable, __file__, "--sgemm-here"]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def _sgemm_here(seconds: float = 1.0) -> float:
    """The best rate in this process within this many seconds, GFLOP/s."""
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = rng.random((2, SIZE, SIZE), dtype=np.float32)
    out = a @ b
    best = float("inf")
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        np.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * SIZE**3 / best / 1e9


def vector_unit() -> str:
    """The vector unit that tegum's kernels are compiled for here; asked in a separate process, which loads them."""
    command = [sys.executable, "-c", "from tegum.core.compiled.target import UNIT; print(UNIT.name)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def busy_share(seconds: float = 0.2) -> float:
    """Share of this program's cores that others keep busy, measured over some seconds in which it does nothing.

    NaN if the system does not say (anything but Linux).
    """
    if not Path("/proc/stat").exists():
        return float("nan")
    busy, total = _ticks()
    time.sleep(seconds)
    busy_after, total_after = _ticks()
    return (busy_after - busy) / max(total_after - total, 1)


def _ticks() -> tuple[int, int]:
    """Clock ticks since the system's start on this program's cores: busy, and all."""
    names = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
    busy = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            # user, nice, system, idle, iowait, irq, softirq, steal; the guests after these are in user.
            ticks = [int(field) for field in fields[:8]]
            total += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4]
    return busy, total


def cpu_model() -> str:
    """Name of the processor, as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores, vector unit of tegum's kernels, sgemm rate (GFLOP/s) with this many threads, and versions."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores_present": os.cpu_count(),
        "cores_used": cores,
        "threads": threads,
        "unit": vector_unit(),
        "date": time.strftime("%Y-%m-%d"),
        "sgemm_gflops": sgemm_gflops(threads),
        "versions": versions,
    }


def main() -> None:
    """Print the description as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sgemm-here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sgemm_here:
        print(_sgemm_here())
        return
    confine(arguments.threads)
    print(json.dumps(describe(arguments.threads), indent=2))


if __name__ == "__main__":
    main()
