"""What a sweep takes above the kernel's own time: many runs of 6 features in 2 dimensions, of which measures are kept.

    python benchmarks/sweep_overhead.py [--runs 100000] [--steps 10000] [--keep loss dimensionality] [--repeats 1]
    python benchmarks/sweep_overhead.py --costs

The kernel's own time is that of `tegum.train` on all cores for a tenth of the runs, before and after the sweep, times
ten: the same runs, of which only the last loss is kept. The sweep starts its processes, tries the pace, trains in
packs, keeps what it is told to, and seals its store. Told are both times, their ratio, and what the sweep had promised
to take in seconds and bytes before it started. `--costs` tells the last of sweeps of several kinds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

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


def costs() -> dict[str, tuple[Any, dict[str, Any], list[Any]]]:
    """Sweeps of several kinds: a Spec, what varies in it, and what is kept."""
    pairs, many = [tg.Correlated(2, 0.05)] * 3, [tg.Correlated(4, 0.1)] * 10
    densities = {"density": tg.Between(0.02, 0.5, scale="log", count=8)}
    sampled = tg.Spec(features=pairs, hidden=2, training=tg.Sampled(steps=5000), snapshots=1, seeds=2000)
    recorded = tg.Spec(features=pairs, hidden=2, training=tg.Sampled(steps=5000), snapshots=201, seeds=500)
    large = tg.Spec(features=many, hidden=8, training=tg.Sampled(steps=2000), snapshots=1, seeds=100)
    exact = tg.Spec(features=pairs, hidden=2, training=tg.Exact(steps=400), snapshots=1, seeds=400)
    flow = tg.Spec(features=pairs, hidden=2, training=tg.Flow(duration=60.0), snapshots=101, seeds=24)
    rates = {"rate": [1e-3, 3e-3], **densities}
    return {
        "6 in 2, densities and rates": (sampled, rates, ["loss", "polytope_names"]),
        "6 in 2, 201 snapshots": (recorded, densities, [{"measure": "dimensionality", "at": "all"}, "events"]),
        "40 in 8, states": (large, densities, ["states"]),
        "6 in 2, without samples": (exact, densities, ["loss"]),
        "6 in 2, gradient flow": (flow, densities, ["loss"]),
    }  # fmt: skip


class Taken(NamedTuple):
    """What a sweep has taken."""

    whole: float
    """All seconds of the call."""
    after: float
    """The seconds after it had told what it costs."""
    promised: Any
    stored: int
    """The bytes of all values."""

    def __str__(self) -> str:
        promised = self.promised
        least = "at least " if promised.least else ""
        return (
            f"{promised.runs:,} runs in {promised.packs:,} packs: promised {least}{promised.seconds:.1f} s, "
            f"{promised.seconds / self.after:.2f} of what followed, and {promised.bytes:,.0f} bytes, "
            f"{promised.bytes / self.stored:.2f} of what was stored"
        )


def sweep(described: Any, keep: list[Any], folder: Path) -> Taken:
    """What a sweep takes."""
    out, promised = folder / "sweep", []
    begin = time.perf_counter()
    swept(
        place_at(out, "sweep"), described, Keeping(keep, "sweep"), executor=None, workers=None, engine="auto",
        pack=None, part=None, mixed=False, overwrite=False, verify=False, progress=False, call="sweep",
        told=lambda cost, _: promised.extend([cost, time.perf_counter()]),
    )  # fmt: skip
    end = time.perf_counter()
    stored = sum(path.stat().st_size for path in (out / "runs.zarr").rglob("c/**/*") if path.is_file())
    shutil.rmtree(out)
    return Taken(end - begin, end - promised[1], promised[0], stored)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--keep", nargs="+", default=["loss", "dimensionality"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--costs", action="store_true", help="only what sweeps of several kinds had promised")
    args = parser.parse_args()
    print(json.dumps(describe(2)))
    kernel(64, 100)
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        for name, (spec, parameters, keep) in costs().items() if args.costs else ():
            print(f"{name}: {sweep(design(spec, parameters), keep, folder)}", flush=True)
        if args.costs:
            return
        own = [10 * kernel(args.runs // 10, args.steps)]
        for _ in range(args.repeats):
            taken = sweep(design(spec_of(args.runs, args.steps)), args.keep, folder)
            own.append(10 * kernel(args.runs // 10, args.steps))
            alone = (own[-2] + own[-1]) / 2
            print(
                f"kernel {own[-2]:.1f} s and {own[-1]:.1f} s, sweep {taken.whole:.1f} s, ratio "
                f"{taken.whole / alone:.3f}; {taken}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
