"""Speed of training on a user's activations: the fused kernel beside the JAX engine, on the same cores.

20,000 sparse rows of 1,500 features, 7 of them active in each, into 64 dimensions; two runs, one a core. Early is from
step 10, where half of all outputs are positive; late is where few are. Blocks of both engines alternate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table

ROWS, FEATURES, ACTIVE, HIDDEN, RUNS = 20_000, 1_500, 7, 64, 2
STARTS = {"early": 10, "late": 4_000}
"""The step at which a block starts."""
BLOCKS = {"kernel": 200, "jax": 20}
"""Steps of a block, besides those that a call takes anyway."""


def features() -> Any:
    """The activations as a feature distribution."""
    import scipy.sparse

    import tegum as tg

    rng = np.random.default_rng(0)
    columns = np.concatenate([rng.choice(FEATURES, ACTIVE, replace=False) for _ in range(ROWS)])
    values = rng.uniform(0, 1, columns.size).astype(np.float32)
    starts = np.arange(0, columns.size + 1, ACTIVE)
    rows = scipy.sparse.csr_array((values, columns, starts), shape=(ROWS, FEATURES))
    return tg.FeatureDistribution([tg.Empirical(rows)])


def block(spec: Any, engine: Any, steps: int) -> float:
    """Milliseconds of a run and step on the whole machine: a long call less a short one, so that no start counts."""
    import tegum as tg

    taken = []
    for length in (2, 2 + steps):
        start = time.perf_counter()
        tg.train(spec.replace(training=tg.Sampled(steps=length)), engine=engine, progress=False)
        taken.append(time.perf_counter() - start)
    return (taken[1] - taken[0]) / steps / RUNS * 1e3


def measure(repetitions: int) -> list[dict[str, Any]]:
    """The times of both engines, early and late."""
    import tegum as tg

    spec = tg.Spec(features=features(), hidden=HIDDEN, training=tg.Sampled(steps=10), seeds=RUNS, snapshots=1)
    found = []
    for name, step in STARTS.items():
        print(f"training to step {step:,} …", file=sys.stderr, flush=True)
        run = tg.train(spec.replace(training=tg.Sampled(steps=step)), progress=False)
        there = spec.continued_from(
            run["weights"].values[:, -1], run["bias"].values[:, -1], training=tg.Sampled(steps=1), snapshots=1
        )  # fmt: skip
        times: dict[str, list[float]] = {engine: [] for engine in BLOCKS}
        for number in range(repetitions + 1):
            for engine, steps in BLOCKS.items():
                taken = block(there, engine, steps)
                if number:  # the first one compiles
                    times[engine].append(taken)
        ratios = np.array(times["jax"]) / np.array(times["kernel"])
        found.append({"block": name, "step": step, "ms": times, "ratios": ratios.tolist()})
    return found


def show(result: dict[str, Any]) -> None:
    """Print the machine and a table."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = result["machine"]
    console.print(f"{about['cpu']}, {about['unit']}, sgemm {about['sgemm']:,.0f} GFLOP/s on 2 threads")
    table = Table(title=f"{FEATURES:,} features, {ACTIVE} active, {HIDDEN} dimensions, {RUNS} runs, batch 1,024")
    for heading in ("from step", "kernel, ms", "JAX engine, ms", "ratio", "quartiles", "x̂ alone, ms"):
        table.add_column(heading, justify="right")
    for each in result["blocks"]:
        low, middle, high = np.quantile(each["ratios"], [0.25, 0.5, 0.75])
        kernel, jax = (np.median(each["ms"][engine]) for engine in BLOCKS)
        least = 2 * FEATURES * HIDDEN * 1024 / (about["sgemm"] * 1e9) * 1e3
        table.add_row(
            f"{each['step']:,}", f"{kernel:.2f}", f"{jax:.2f}", f"{middle:.1f}", f"{low:.1f}–{high:.1f}", f"{least:.2f}"
        )
    console.print(table)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="of both engines in turn (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    arguments = parser.parse_args()
    machine.confine(2)
    from tegum.core.compiled.target import UNIT

    about = {"cpu": machine.cpu_model(), "busy": machine.busy_share(), "unit": UNIT.name}
    about["sgemm"] = machine.sgemm_gflops(2)
    result = {"machine": about, "blocks": measure(arguments.repetitions)}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
