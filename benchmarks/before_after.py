"""Speed of one checkout compared with another's: what a change of the code has cost, or gained.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py ../before/src src [CASE ...] [--repetitions 41] [--unit AVX2]

Each checkout runs in a process of its own, on one thread. They take turns, call by call, so that the load of a shared
machine falls on both; what counts is the ratio of each pair. Processor times are compared. Printed for each case: the
median of the ratios after/before, with a 95 % interval by the bootstrap.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from units import UNITS

RESAMPLES = 4000


def cases() -> dict[str, Callable[[], object]]:
    """What is timed: training by every method, the population loss, and a search for critical points."""
    import tegum as tg

    rng = np.random.default_rng(0)
    mixed = [
        tg.Independent(3, [0.05, 0.3, 1.0], [1.0, 0.5, 2.0]),
        tg.Anticorrelated(3, 0.3),
        tg.PartiallyCorrelated(2, 0.2, 0.5),
        tg.Correlated(4, 0.1),
    ]
    pairs = [tg.Correlated(2, 0.05)] * 3

    def training(features: list, how: object, seeds: int, hidden: int = 2, activation: str = "relu") -> Callable:
        spec = tg.Spec(
            features=features, hidden=hidden, training=how, snapshots=1, seeds=seeds, activation=activation
        )  # fmt: skip
        return lambda: [segment.state for segment in tg.iterate(spec, threads=1)]

    def gradient(features: list, runs: int) -> Callable:
        distribution = tg.FeatureDistribution(features)
        weights = rng.normal(size=(runs, distribution.n, 2)) * 0.7
        bias = rng.normal(size=(runs, distribution.n)) * 0.3
        return lambda: tg.population_gradient(weights, bias, distribution, tol=1e-6)

    def critical_points() -> Callable:
        distribution, starts = tg.FeatureDistribution(pairs), rng.normal(size=(6, 6, 2)) * 0.6
        return lambda: [tg.critical_point(start, np.zeros(6), distribution, tol=1e-4) for start in starts]

    def large_critical_point() -> Callable:
        # A few steps from the same place, so that the checkouts do the same work.
        distribution, start = tg.FeatureDistribution([tg.Independent(40, 0.05)]), rng.normal(size=(40, 5)) * 0.4
        return lambda: tg.critical_point(start, np.zeros(40), distribution, tol=1e-6, steps=3, corners=())

    def hessian(features: list, hidden: int) -> Callable:
        from tegum.core.population.evaluate import evaluate

        distribution = tg.FeatureDistribution(features)
        weights, bias = rng.normal(size=(1, distribution.n, hidden)) * 0.4, rng.normal(size=(1, distribution.n)) * 0.1
        return lambda: evaluate(weights, bias, distribution, order=2, tol=1e-6)

    descent = tg.Exact(steps=60, optimiser="gd", rate=0.05)
    return {
        "6x2": training(pairs, tg.Sampled(steps=1200), 128),
        "20x5": training([tg.Independent(20, 0.05)], tg.Sampled(steps=400), 16, 5),
        "40x5": training([tg.Independent(40, 0.4)], tg.Sampled(steps=250), 8, 5),
        "80x20": training([tg.Independent(80, 0.05)], tg.Sampled(steps=120), 4, 20),
        "400x30": training([tg.Independent(400, 0.01)], tg.Sampled(steps=120), 1, 30),
        "gradient, pairs": gradient(pairs, 1500),
        "gradient, mixed": gradient(mixed, 120),
        "L-BFGS, pairs": training(pairs, tg.Exact(steps=10_000), 96),
        "L-BFGS, mixed": training(mixed, tg.Exact(steps=40), 16),
        "Adam, pairs": training(pairs, tg.Exact(steps=100, optimiser="adam"), 64),
        "Adam, mixed": training(mixed, tg.Exact(steps=20, optimiser="adam"), 16),
        "gradient descent, pairs": training(pairs, descent, 64),
        "gradient descent, mixed": training(mixed, tg.Exact(steps=20, optimiser="gd", rate=0.05), 16),
        "Adam, linear": training(pairs, tg.Exact(steps=2000, optimiser="adam"), 64, activation="linear"),
        "flow, pairs": training(pairs, tg.Flow(duration=20.0), 8),
        "flow, linear": training(pairs, tg.Flow(duration=50.0), 8, activation="linear"),
        "critical points": critical_points(),
        "critical points, 40x5": large_critical_point(),
        "Hessian, pairs": hessian(pairs, 2),
        "Hessian, 40x5": hessian([tg.Independent(40, 0.05)], 5),
    }


def serve() -> None:
    """Answer each name of a case on standard input with the processor time that it took, in seconds."""
    known = cases()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.process_time()
        known[line.strip()]()
        print(time.process_time() - start, flush=True)


class Checkout:
    """A process that runs the cases with the tegum of one source folder."""

    def __init__(self, source: str, unit: str) -> None:
        if not (Path(source) / "tegum").is_dir():
            raise SystemExit(f"before_after.py: {source!r} must be a source folder, with tegum in it")
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env=os.environ | one | UNITS[unit] | {"PYTHONPATH": str(Path(source).resolve())},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._told()

    def time(self, case: str) -> float:
        """The processor time of one call, in seconds."""
        assert self._process.stdin is not None
        print(case, file=self._process.stdin, flush=True)
        return float(self._told())

    def _told(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f"before_after.py: a process ended, with exit code {self._process.wait()}")
        return line


def main() -> None:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="the source folder of the first checkout")
    parser.add_argument("after", help="and of the second")
    parser.add_argument("cases", nargs="*", help="all, unless some are named")
    parser.add_argument("--repetitions", type=int, default=41)
    parser.add_argument("--unit", choices=UNITS, default="native", help="the vector unit to compile for")
    given = parser.parse_args()
    known = list(cases())
    if unknown := [case for case in given.cases if case not in known]:
        raise SystemExit(f"before_after.py: there is no case {unknown[0]!r}; known are {', '.join(known)}")
    before, after = Checkout(given.before, given.unit), Checkout(given.after, given.unit)
    rng = np.random.default_rng(0)
    for case in given.cases or known:
        before.time(case), after.time(case)  # compiled and warm
        ratios, first = np.zeros(given.repetitions), np.zeros(given.repetitions)
        for k in range(given.repetitions):
            if k % 2:
                other, first[k] = after.time(case), before.time(case)
            else:
                first[k], other = before.time(case), after.time(case)
            ratios[k] = other / first[k]
        low, high = np.quantile(np.median(rng.choice(ratios, (RESAMPLES, len(ratios))), 1), [0.025, 0.975])
        print(
            f"{case}: {np.median(ratios):.3f} [{low:.3f}, {high:.3f}], {np.median(first) * 1e3:.0f} ms before",
            flush=True,
        )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
