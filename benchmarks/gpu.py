"""Training on a GPU: whether it is the same, how fast it is, how much memory it takes, and from which size it pays.

tegum's JAX engine runs on the GPU that JAX finds; beside it the recipe in PyTorch, eager and compiled, runs on the same
device, and tegum's kernel on the cores of the same machine. Everything is in one process, one after the other: about
five minutes. Without a GPU it says so and returns 1; `--on-cpu` then checks that the script itself works.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Each library would otherwise take most of the GPU's memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import machine
import numpy as np
from cases import CASES, Case, advance, exact_losses, make_spec, parameters_of
from rich.console import Console
from rich.table import Table
from scipy import stats

SIZES = (1, 16, 256, 4_096, 100_000)
"""The numbers of runs that are tried of each case."""
LARGEST = {"6x2": 100_000, "20x5": 4_096, "40x5": 4_096, "80x20": 4_096, "400x30": 256}
"""The largest of them for each case."""
SECONDS = 0.5
"""What a measurement takes, at least."""
ALIKE = {"6x2": (256, 3_000), "20x5": (128, 3_000)}
"""Runs and steps of the comparison of end states, for each case in it."""


def rate(train: Callable[[int], None], runs: int, seconds: float) -> float:
    """Runs × steps a second: the best of three, after a first call that compiles."""
    steps, best = 2, 0.0
    train(steps)
    while True:
        start = time.perf_counter()
        train(steps)
        taken = time.perf_counter() - start
        if taken > seconds / 2 or steps >= 100_000:
            break
        steps = int(steps * np.clip(seconds / max(taken, 1e-3), 2, 20))
    for _ in range(3):
        start = time.perf_counter()
        train(steps)
        best = max(best, runs * steps / (time.perf_counter() - start))
    return best


def tegum_side(case: Case, runs: int, engine: str, threads: int) -> Callable[[int], None]:
    """Training by one of tegum's engines from step 10, where nothing has settled yet."""
    state, _ = advance(case, None, 10, threads, runs, engine)
    return lambda steps: void(advance(case, state, steps, threads, runs, engine))


def torch_side(case: Case, runs: int, compiled: bool, device: str) -> Callable[[int], None]:
    """The recipe in PyTorch, on a device."""
    import reference
    import torch

    torch.set_default_device(device)
    model = reference.Model(
        runs, case.features, case.hidden, density=case.density, set_size=case.set_size
    )  # fmt: skip
    optimiser = reference.make_optimiser(model, fused=compiled or None)
    loss = model.loss
    if compiled:
        torch.compiler.reset()
        loss = torch.compile(model.loss)
    return lambda steps: void(reference.train(model, optimiser, steps, loss=loss))


def void(_: Any) -> None:
    """Drop a result."""


def measurements(device: str, quick: bool, threads: int) -> Iterator[dict[str, Any]]:
    """The rate of each side for each case and number of runs, with the memory that it took on the device."""
    sides: dict[str, Callable[[Case, int], Callable[[int], None]]] = {
        "kernel on the cores": lambda case, runs: tegum_side(case, runs, "kernel", threads),
        "JAX engine": lambda case, runs: tegum_side(case, runs, "jax", threads),
        "PyTorch eager": lambda case, runs: torch_side(case, runs, compiled=False, device=device),
        "torch.compile": lambda case, runs: torch_side(case, runs, compiled=True, device=device),
    }
    for case in CASES.values():
        for runs in SIZES[:2] if quick else SIZES:
            if runs > LARGEST[case.name]:
                continue
            for name, side in sides.items():
                found: dict[str, Any] = {"case": case.name, "runs": runs, "side": name}
                try:
                    before = memory(device)
                    found["rate"] = rate(side(case, runs), runs, 0.05 if quick else SECONDS)
                    found["bytes"] = max(0, memory(device) - before)
                # An arrangement that does not fit, or that a compiler refuses, is a result too.
                except (RuntimeError, ValueError, MemoryError) as error:
                    found["error"] = str(error).splitlines()[0][:200]
                print(found, file=sys.stderr, flush=True)
                yield found


def memory(device: str) -> int:
    """The most bytes that both libraries have held on the device so far; 0 on a CPU, where nobody counts."""
    if device == "cpu":
        return 0
    import jax
    import torch

    return int((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)) + torch.cuda.max_memory_allocated()


def agreement(quick: bool, threads: int) -> Iterator[dict[str, Any]]:
    """Whether end states of the JAX engine on the device and of the kernel have the same exact losses, as samples.

    Their random numbers differ, so runs cannot be compared one by one. The test is that of Kolmogorov and Smirnov.
    """
    for name, (runs, steps) in ALIKE.items():
        case, ends = CASES[name], {}
        if quick:
            runs, steps = 16, 200
        for engine in ("kernel", "jax"):
            state, _ = advance(case, None, steps, threads, runs, engine)
            ends[engine] = exact_losses(case, *parameters_of(state), threads)
        test = stats.ks_2samp(ends["kernel"], ends["jax"])
        difference = ends["jax"].mean() - ends["kernel"].mean()
        error = np.sqrt(sum(each.var(ddof=1) / runs for each in ends.values()))
        yield {
            "case": name, "runs": runs, "steps": steps, "p": float(test.pvalue), "difference": float(difference),
            "standard_error": float(error), "mean": float(ends["kernel"].mean()),
        }  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """Print what was found as tables."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"{result['device']}; {result['machine']['cpu']}, {result['threads']} threads")
    table = Table(title="end states: JAX engine on the device beside the kernel on the cores")
    for heading in ("case", "runs", "steps", "exact loss", "difference", "p"):
        table.add_column(heading, justify="right")
    for each in result["agreement"]:
        table.add_row(
            each["case"], f"{each['runs']:,}", f"{each['steps']:,}", f"{each['mean']:.5f}",
            f"{each['difference']:.1e} ± {each['standard_error']:.1e}", f"{each['p']:.2f}",
        )  # fmt: skip
    console.print(table)
    names = list(dict.fromkeys(each["side"] for each in result["rates"]))
    table = Table(title="runs × steps a second, in thousands (megabytes on the device)")
    for heading in ("case", "runs", *names):
        table.add_column(heading, justify="right")
    for case, runs in dict.fromkeys((each["case"], each["runs"]) for each in result["rates"]):
        here = {each["side"]: each for each in result["rates"] if (each["case"], each["runs"]) == (case, runs)}
        table.add_row(case, f"{runs:,}", *(cell(here.get(name)) for name in names))
    console.print(table)
    for name, runs in worth(result["rates"]).items():
        console.print(f"{name}: " + (f"the GPU is faster from {runs:,} runs on" if runs else "the cores are faster"))


def cell(each: dict[str, Any] | None) -> str:
    """A rate, with its memory."""
    if each is None or "error" in each:
        return "failed"
    return f"{each['rate'] / 1e3:,.1f}" + (f" ({each['bytes'] / 1e6:,.0f})" if each["bytes"] else "")


def worth(rates: list[dict[str, Any]]) -> dict[str, int | None]:
    """For each case, the fewest runs from which on the JAX engine on the device is faster than the kernel."""
    found: dict[str, int | None] = {}
    for name in dict.fromkeys(each["case"] for each in rates):
        of = {(each["side"], each["runs"]): each.get("rate", 0.0) for each in rates if each["case"] == name}
        first = None
        for runs in sorted({runs for _, runs in of}, reverse=True):
            if of["JAX engine", runs] <= of["kernel on the cores", runs]:
                break
            first = runs
        found[name] = first
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument("--quick", action="store_true", help="little of everything: the numbers mean nothing")
    parser.add_argument("--on-cpu", action="store_true", help="run on the cores, to check the script")
    arguments = parser.parse_args()
    import jax

    device = jax.devices()[0]
    if device.platform not in ("gpu", "cuda") and not arguments.on_cpu:
        print(f"gpu.py: JAX finds no GPU, only {device.device_kind}; install jax[cuda12] on a machine that has one")
        return 1
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind = "cpu" if arguments.on_cpu else "cuda"
    result = {
        "device": device.device_kind,
        "machine": {"cpu": machine.cpu_model(), "busy": machine.busy_share()},
        "threads": threads,
        "batch": make_spec(CASES["6x2"], 1).training.batch,
        "agreement": list(agreement(arguments.quick, threads)),
        "rates": list(measurements(kind, arguments.quick, threads)),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
