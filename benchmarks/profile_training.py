"""Where the time of a training step goes, and how near each part comes to what one core of this machine can do.

    python benchmarks/profile_training.py [--case 20x5 …] [--unit AVX2] [--json FILE]

The parts are the kernels' own functions, called on the states of a few runs, early and late in training: sampling;
forward, a pass without gradient less the sampling in it; backward, a pass with gradient less one without; and the
optimiser with the sums over lanes before it. Beside them stands a step measured whole, by training itself: what the
parts leave out or count twice is the difference. See README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import machine
from cases import BATCH, CASES, Case, advance, make_spec
from tables import show
from units import CAPS, choose

EARLY = 10
RUNS, TRAINED = 4, 256
"""Runs whose parts are timed, one after the other, each with its own weights and samples; and the most that are trained
for a whole step, so many that what a call of training does besides its steps is no matter."""
SECONDS = 0.02
"""How long one timing should take; the least of `TIMINGS` counts, as other load only adds time."""
TIMINGS = 9


def seconds_per_call(works: dict[str, Callable[[int], Any]]) -> dict[str, float]:
    """Seconds of processor time that each `work(count)` takes for one of its `count` repetitions.

    They are timed in turn, so that what slows the machine for a while does not fall on one of them alone.
    """
    counts = {name: _repetitions(work) for name, work in works.items()}
    best = dict.fromkeys(works, float("inf"))
    for _ in range(TIMINGS):
        for name, work in works.items():
            begin = time.process_time()
            work(counts[name])
            best[name] = min(best[name], (time.process_time() - begin) / counts[name])
    return best


def _repetitions(work: Callable[[int], Any]) -> int:
    work(1)
    count = 1
    while True:
        begin = time.process_time()
        work(count)
        if time.process_time() - begin >= SECONDS:
            return count
        count *= 2


def machine_rates() -> dict[str, dict[str, Any]]:
    """What one core can do: multiply-adds in registers, random numbers, and copying memory beyond all caches."""
    import numpy as np
    from profile_kernels import FUSED_FLOPS, RANDOM_WORDS, many_fused, many_random

    from tegum.core.compiled.lanes import LANES
    from tegum.training.sampled.kernels.draw import STREAM_WORDS

    ones = np.zeros(1024, np.float32)
    stream = np.arange(1, STREAM_WORDS + 1, dtype=np.uint32)
    words = np.zeros(LANES, np.uint32)
    source = np.ones(2**25, np.float32)
    target = np.zeros_like(source)

    def copy(count: int) -> None:
        for _ in range(count):
            np.copyto(target, source)

    seconds = seconds_per_call(
        {
            "fused": lambda count: many_fused(ones, count),
            "random": lambda count: many_random(stream, words, count),
            "copy": copy,
        }
    )
    return {
        "multiply-adds": {"value": FUSED_FLOPS / seconds["fused"] / 1e9, "unit": "GFLOP/s"},
        "random numbers": {"value": RANDOM_WORDS / seconds["random"] / 1e9, "unit": "10⁹/s"},
        "memory": {"value": 2 * source.nbytes / seconds["copy"] / 1e9, "unit": "GB/s, read and written"},
    }


class Profile:
    """The parts of a step on the states of a few runs of a case."""

    def __init__(self, case: Case, state: Any) -> None:
        from tegum.training.sampled.kernels.advance import block_groups, scratch
        from tegum.training.sampled.kernels.draw import STREAM_WORDS
        from tegum.training.sampled.kernels.tables import compile_tables
        from tegum.training.start import streams

        self.case, self.state = case, state
        spec = make_spec(case, 1, runs=1)
        self.tables = compile_tables([spec.features], BATCH)
        self.scratch, self.groups = scratch(case.features, case.hidden), block_groups(case.features)
        self.evaluation = streams([spec], "evaluation", STREAM_WORDS)[0]
        self.batches = -(-spec.training.evaluation // BATCH)

    def us(self, run: int) -> dict[str, float]:
        """Microseconds of each call on the state of a run, repeated with ever new samples."""
        from profile_kernels import drawing, evaluating, fill, passing, updating

        s, n, m = self.scratch, self.case.features, self.case.hidden
        shape = (self.tables, n, m, BATCH, self.groups)
        fill(s, self.state.weights[run].ravel(), self.state.bias[run], self.state.stream[run], n, m)
        seconds = seconds_per_call(
            {
                "draw": lambda count: drawing(self.tables, n, BATCH, self.groups, s, count),
                "forward": lambda count: passing(*shape, s, False, count),
                "both": lambda count: passing(*shape, s, True, count),
                "update": lambda count: updating(s, n, m, BATCH, count),
                "evaluation": lambda count: evaluating(*shape, self.batches, self.evaluation, s, count),
            }
        )
        return {name: 1e6 * each for name, each in seconds.items()}

    def measure(self, step: int) -> dict[str, Any]:
        """Microseconds of all parts, mean over a few runs, and what each achieves."""
        n, m = self.case.features, self.case.hidden
        of_runs = [self.us(run) for run in range(min(RUNS, len(self.state.weights)))]
        draw, forward, both, update, evaluation = (
            fmean(each[name] for each in of_runs) for name in ("draw", "forward", "both", "update", "evaluation")
        )
        words = n * BATCH + (n // self.case.set_size * BATCH if self.case.set_size > 1 else 0)
        # Read and written: values and both moments; read: the lanes of the gradient; cleared: these.
        size = self.scratch.values.size
        moved = 4 * (6 * size + 2 * self.scratch.lanes.size)
        parts = {
            "sampling": (draw, words / 1e9, "10⁹ numbers/s", "random numbers"),
            "forward": (forward - draw, 4 * n * m * BATCH / 1e9, "GFLOP/s", "multiply-adds"),
            "backward": (both - forward, 6 * n * m * BATCH / 1e9, "GFLOP/s", "multiply-adds"),
            "optimiser": (update, moved / 1e9, "GB/s", "memory"),
        }
        return {
            "step": step,
            "parts": {
                name: {"us": us, "rate": amount / (us * 1e-6), "unit": unit, "bound": bound}
                for name, (us, amount, unit, bound) in parts.items()
            },
            "sum_us": both + update,
            "step_us": self.whole_step(),
            "evaluation_us": evaluation,
        }

    def whole_step(self) -> float:
        """Microseconds of a step of one run, by training itself."""
        runs, steps = len(self.state.weights), self.case.block
        taken = []
        for _ in range(3):
            begin = time.process_time()
            advance(self.case, self.state, steps, threads=1, runs=runs)
            taken.append(time.process_time() - begin)
        return min(taken) / (runs * steps) * 1e6


def measure(case: Case) -> dict[str, Any]:
    """The profile of a case, early and late."""
    runs = min(TRAINED, case.runs)
    print(f"{case.title}: training to step {case.late:,} …", file=sys.stderr, flush=True)
    early, _ = advance(case, None, EARLY, threads=1, runs=runs)
    late, _ = advance(case, early, case.late - EARLY, threads=1, runs=runs)
    return {
        "case": case.name,
        "title": case.title,
        "early": Profile(case, early).measure(EARLY),
        "late": Profile(case, late).measure(case.late),
    }


def main() -> None:
    """Profile, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be given again")
    parser.add_argument("--unit", choices=CAPS, default="native", help="the vector unit to compile for (native)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    arguments = parser.parse_args()
    machine.confine(1)
    choose(arguments.unit)
    described = machine.describe(threads=1)
    before = machine_rates()
    results = [measure(CASES[name]) for name in arguments.case or CASES]
    # The higher of two measurements: other load only lowers a rate.
    after = machine_rates()
    rates = {name: max(before[name], after[name], key=lambda rate: rate["value"]) for name in before}
    content = {"kind": "profile", "machine": described, "rates": rates, "results": results}
    if arguments.json:
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    show(content)


if __name__ == "__main__":
    main()
