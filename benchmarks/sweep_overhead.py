"""What a sweep takes above the kernel's own time: many runs of 6 features in 2 dimensions, of which measures are kept.

    python benchmarks/sweep_overhead.py [--runs 100000] [--steps 10000] [--repeats 1] [--folder FOLDER]

The kernel's own time is that of `tegum.train` on all cores for a tenth of the runs, before and after the sweep, times
ten: the same runs, of which only the last loss is kept. The sweep starts its processes, tries the pace, trains in
packs, keeps the losses and the names of polytopes, and seals its store. Told are both times, their ratio, and what the
sweep had promised to take in seconds and bytes before it started.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

import tegum as tg
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping
from tegum.sweeps.places import place_at
from tegum.sweeps.sweep import swept


def spec_of(runs: int, steps: int) -> tg.Spec:
    """Three correlated pairs in two dimensions."""
    features = [tg.Correlated(2, 0.05)] * 3
    return tg.Spec(features=features, hidden=2, training=tg.Sampled(steps=steps), snapshots=1, seeds=runs)


def kernel(runs: int, steps: int) -> float:
    """The seconds of the kernel on all cores."""
    begin = time.perf_counter()
    tg.train(spec_of(runs, steps), keep={"end": lambda run: run.loss.isel(step=-1)}, progress=False)
    return time.perf_counter() - begin


def sweep(runs: int, steps: int, folder: Path) -> tuple[float, Any, int]:
    """The seconds of a sweep, what it had promised, and the bytes that it has stored."""
    out, promised = folder / "sweep", []
    begin = time.perf_counter()
    swept(
        place_at(out, "sweep"), design(spec_of(runs, steps)), Keeping(["loss", "polytope_names"], "sweep"),
        executor=None, workers=None, engine="auto", pack=None, part=None, mixed=False, overwrite=False, verify=False,
        progress=False, call="sweep", told=lambda cost, _: promised.append(cost),
    )  # fmt: skip
    took = time.perf_counter() - begin
    stored = sum(path.stat().st_size for path in (out / "runs.zarr").rglob("*") if path.is_file())
    shutil.rmtree(out)
    return took, promised[0], stored


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    print(json.dumps(describe(2)))
    kernel(64, 100)
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        own = [10 * kernel(args.runs // 10, args.steps)]
        for _ in range(args.repeats):
            took, promised, stored = sweep(args.runs, args.steps, folder)
            own.append(10 * kernel(args.runs // 10, args.steps))
            alone = (own[-2] + own[-1]) / 2
            print(
                f"{args.runs:,} runs: kernel {own[-2]:.1f} s and {own[-1]:.1f} s, sweep {took:.1f} s, "
                f"ratio {took / alone:.3f}; promised {promised.seconds:.1f} s ({promised.seconds / took:.2f}) and "
                f"{promised.bytes:,.0f} bytes ({promised.bytes / stored:.2f} of {stored:,})",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
