"""How the time of a step grows: with the number of features, and with the number of runs, on one core and on two.

    python benchmarks/growth.py measure [--json FILE]     at most six minutes
    python benchmarks/growth.py draw [FILE]               growth.svg and growth.png beside the file, from it alone

Features: one run per core, n from 5 to 3,200, m = n/4 rounded up, density 0.05. Runs: six features in three correlated
pairs in two dimensions, from one run to 100,000. A point that would take too long is left out, and the file says so.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import machine
from cases import Case, make_spec
from tables import show
from team import PEERS, Arrangement, Teams

FILE = Path(__file__).parent / "results" / "growth.json"
FEATURES = (5, 12, 32, 80, 200, 500, 1250, 3200)
RUNS = (1, 10, 100, 1_000, 10_000, 100_000)
CORES = (1, 2)
DENSITY, PER_DIMENSION = 0.05, 4
POINT, LONGEST, LINE = 0.3, 2.0, 20.0
"""Seconds: how long a timing should take; the longest step that is still timed; and after how many seconds of a line no
further point of it is begun."""
MOST_AT_ONCE = {"eager": 128, "jax": 8}
"""Runs in one call of a peer, near its optimum with six features; further runs take further calls, which are alike."""
ROWS_FROM = 64
"""The number of features from which JAX is faster with samples as rows."""


class Sweep(NamedTuple):
    """What is varied, and what is trained at each value."""

    title: str
    label: str
    values: tuple[int, ...]
    case: Callable[[int, int], Case]
    """The case at a value, on so many cores."""


def _of_features(features: int, cores: int) -> Case:
    hidden = -(-features // PER_DIMENSION)
    return Case(features, hidden, DENSITY, 1, cores, 0, 0, 0, 0, 0)


def _of_runs(runs: int, cores: int) -> Case:
    del cores
    return Case(6, 2, DENSITY, 2, runs, 0, 0, 0, 0, 0)


SWEEPS = {
    "features": Sweep("µs per step, one run per core, by number of features", "features n", FEATURES, _of_features),
    "runs": Sweep("µs per step of all runs, by number of runs", "runs", RUNS, _of_runs),
}

Train = Callable[[int], float]
"""Trains for some steps; gives the seconds."""
Prepare = Callable[[Case], AbstractContextManager[tuple[Train, float]]]
"""Makes a case ready: its training, and the number of calls of it that a step of all runs takes."""


@contextmanager
def engine(name: str, cores: int) -> Iterator[Prepare]:
    """One of our engines. It is called without snapshots, whose evaluation would take longer than a step."""
    import numpy as np

    if name == "kernel":
        from tegum.training.sampled.cpu import KernelEngine as Engine
    else:
        from tegum.training.sampled.jax_engine import JaxEngine as Engine
    nothing = np.zeros(0, np.int64)

    @contextmanager
    def prepare(case: Case) -> Iterator[tuple[Train, float]]:
        with Engine([make_spec(case, 10**9)], cores) as ours:
            state = ours.start()

            def train(steps: int) -> float:
                nonlocal state
                begin = time.perf_counter()
                state, _ = ours.advance(state, state.step + steps, nothing)
                return time.perf_counter() - begin

            yield train, 1.0

    yield prepare


@contextmanager
def peer(name: str, cores: int) -> Iterator[Prepare]:
    """PyTorch with all cores for each call, or JAX with a process per core, if there are runs enough."""
    with Teams(cores) as teams:

        @contextmanager
        def prepare(case: Case) -> Iterator[tuple[Train, float]]:
            processes, options = 1, {}
            if name == "jax":
                processes = min(cores, case.runs)
                options = {"gradient": "written", "layout": "rows" if case.features >= ROWS_FROM else "columns"}
            instances = min(-(-case.runs // processes), MOST_AT_ONCE[name])
            team = teams.ready(PEERS[name], Arrangement(processes, instances, options), case)
            yield team.train, case.runs / (instances * processes)

        yield prepare


SIDES: dict[str, Callable[[int], AbstractContextManager[Prepare]]] = {
    "tegum, kernel": partial(engine, "kernel"),
    "tegum, JAX engine": partial(engine, "jax"),
    "PyTorch eager": partial(peer, "eager"),
    "JAX": partial(peer, "jax"),
}


def time_point(prepare: Prepare, case: Case) -> float | None:
    """Microseconds of a step of all runs; None if it takes too long."""
    with prepare(case) as (train, calls):
        train(1)  # compiles
        once = train(1)
        if once > LONGEST:
            return None
        steps = max(1, round(POINT / once))
        return 1e6 * calls * min(train(steps) / steps for _ in range(3 if once < POINT else 1))


def measure_line(sweep: str, side: str, cores: int) -> dict[str, Any]:
    """The points of one side in a sweep, from the smallest value on."""
    begin = time.monotonic()
    which = f"{side}, {cores} core{'s' * (cores > 1)}"
    line: dict[str, Any] = {"name": side, "cores": cores, "at": [], "us": [], "left_out": None}
    with SIDES[side](cores) as prepare:
        for value in SWEEPS[sweep].values:
            why, us = f"the line had taken {LINE:.0f} seconds, most of them to start and to compile", None
            if time.monotonic() - begin < LINE:
                why = f"a step takes more than {LONGEST:g} seconds"
                us = time_point(prepare, SWEEPS[sweep].case(value, cores))
            if us is None:
                line["left_out"] = {"line": which, "above": f"{value:,} {sweep}", "why": why}
                break
            line["at"].append(value)
            line["us"].append(us)
            print(f"{sweep} {value:,}, {which}: {us:,.1f} µs", file=sys.stderr, flush=True)
    return line


def paths() -> list[dict[str, Any]]:
    """The numbers of features at which the kernel takes another path."""
    from tegum.training.sampled.kernels.pairs import LEAST_HIDDEN
    from tegum.training.sampled.kernels.tables import MOST_PATTERNS

    return [
        {"at": math.floor(math.log2(MOST_PATTERNS)) + 0.5, "text": "from here it draws each feature, not patterns"},
        {"at": (LEAST_HIDDEN - 1) * PER_DIMENSION + 0.5, "text": "from here it multiplies only non-zero values"},
    ]


def measure(path: Path) -> None:
    """Measure all lines, those for each number of cores in a process confined to them, and write the file."""
    begin = time.monotonic()
    machine.confine(max(CORES))
    described = machine.describe(max(CORES))
    lines: dict[str, list[dict[str, Any]]] = {sweep: [] for sweep in SWEEPS}
    for cores in CORES:
        command = [sys.executable, __file__, "measure", "--cores-here", str(cores)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for sweep, found in json.loads(answer.splitlines()[-1]).items():
            lines[sweep] += found
    content = {
        "kind": "growth",
        "machine": described | {"sgemm_gflops_after": machine.sgemm_gflops(max(CORES))},
        "sweeps": {
            name: {
                "title": sweep.title,
                "label": sweep.label,
                "values": sweep.values,
                "lines": [{key: line[key] for key in ("name", "cores", "at", "us")} for line in lines[name]],
                "left_out": [line["left_out"] for line in lines[name] if line["left_out"]],
                "paths": paths() if name == "features" else [],
            }
            for name, sweep in SWEEPS.items()
        },
        "seconds": time.monotonic() - begin,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    show(content)


def main() -> None:
    """Measure or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="measure all points and write the file")
    measuring.add_argument("--json", type=Path, default=FILE, metavar="FILE", help=f"the file to write ({FILE.name})")
    measuring.add_argument("--cores-here", type=int, help=argparse.SUPPRESS)
    drawing = commands.add_parser("draw", help="draw the figure from the file")
    drawing.add_argument("file", type=Path, nargs="?", default=FILE)
    given = parser.parse_args()
    if given.command == "draw":
        from growth_figure import draw

        try:
            content = json.loads(given.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            parser.error(f"{given.file} cannot be read: {error}")
        for path in draw(content, given.file):
            print(path)
        return
    try:
        machine.confine(given.cores_here or max(CORES))
    except ValueError as error:
        parser.error(str(error))
    if given.cores_here:
        cores = given.cores_here
        print(json.dumps({name: [measure_line(name, side, cores) for side in SIDES] for name in SWEEPS}))
    else:
        measure(given.json)


if __name__ == "__main__":
    main()
