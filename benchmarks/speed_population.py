"""Speed of the population loss: value and gradient in double precision, on one thread.

Blocks of eight runs are evaluated again and again by the fused kernel; times are per run of a full block. Other load
on the machine only adds time, so the fastest repetition is given with the median and the quartiles. `--check` returns
1 where the median misses its target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import tegum as tg

LANES = 8


@dataclass(frozen=True)
class Case:
    """One model at random weights, as training starts.

    Attributes
    ----------
    features, hidden
        n and m.
    density
        Probability that a set is active.
    kind
        "independent", or the kind of set.
    size
        Features in a set.
    frequencies
        Terms of the series.
    target
        Microseconds per run that a value with its gradient may take; None: not judged.

    """

    features: int
    hidden: int
    density: float
    kind: str
    size: int
    frequencies: int
    target: float | None = None

    @property
    def title(self) -> str:
        """The problem in words."""
        sets = "independent" if self.size == 1 else f"{self.kind} sets of {self.size}"
        return f"{self.features}×{self.hidden}, {sets}, density {self.density:g}"

    @property
    def terms(self) -> int:
        """Triples of output, feature and frequency in one evaluation."""
        return self.features**2 * self.frequencies

    def distribution(self) -> tg.FeatureDistribution:
        """The features."""
        import tegum as tg

        kinds = {
            "independent": lambda: tg.Independent(1, self.density),
            "correlated": lambda: tg.Correlated(self.size, self.density),
            "anticorrelated": lambda: tg.Anticorrelated(self.size, self.density),
            "partially correlated": lambda: tg.PartiallyCorrelated(self.size, self.density, 0.5),
        }
        return tg.FeatureDistribution([kinds[self.kind]()] * (self.features // self.size))


CASES = [
    Case(6, 2, 0.05, "correlated", 2, 32, 3),
    Case(6, 2, 0.05, "correlated", 2, 64),
    Case(6, 2, 0.05, "correlated", 2, 256),
    Case(6, 2, 0.05, "independent", 1, 32),
    Case(20, 5, 0.05, "independent", 1, 64, 150),
    Case(20, 5, 0.05, "anticorrelated", 4, 64),
    Case(20, 5, 0.05, "partially correlated", 5, 64),
    Case(80, 20, 0.05, "independent", 1, 64, 3000),
    Case(80, 20, 0.05, "independent", 1, 256),
    Case(400, 30, 0.01, "independent", 1, 64),
]


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Times of one case, in microseconds per run, and the estimated error of the loss."""
    from tegum.core.population.kernel import tables as tables
    from tegum.core.population.kernel.evaluate import evaluate_blocks
    from tegum.core.population.kernel.memory import scale_rows

    features, n, m = case.distribution(), case.features, case.hidden
    rng = np.random.default_rng(0)
    # Enough blocks that a call takes a good part of a millisecond.
    blocks = max(1, round(3e4 / case.terms))
    (group,) = tables.groups([features], np.zeros(blocks * LANES, np.int64), m)
    theta = tables.aligned(blocks * LANES * n * (m + 1)).reshape(blocks, n * (m + 1), LANES)
    theta[:, : n * m] = rng.standard_normal((blocks, n * m, LANES)) * np.sqrt(2 / (n + m))
    theta[:, n * m :] = 0.05 * rng.standard_normal((blocks, n, LANES))
    series = tables.frequencies(case.frequencies)
    value, error, scale = (tables.aligned(blocks * LANES * rows) for rows in (1, 1, scale_rows(n)))
    gradient = tables.aligned(theta.size)
    fixed = (
        group.plan, group.tables.ravel(), series.ravel(), len(series), theta.ravel(), scale, value, gradient, error,
        tables.scratch(group.plan), 0, blocks,
    )  # fmt: skip
    evaluate_blocks(*fixed, True, None)
    evaluate_blocks(*fixed, False, None)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        evaluate_blocks(*fixed, False, None)
        times.append((time.perf_counter() - start) / (blocks * LANES) * 1e6)
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    return asdict(case) | {
        "title": case.title,
        "best": min(times),
        "lower_quartile": low,
        "median": middle,
        "upper_quartile": high,
        "repetitions": len(times),
        "error": float(np.median(error)),
    }


def show(results: list[dict[str, Any]], before: dict[str, Any]) -> None:
    """Print the machine and the table."""
    console = Console()
    if not console.is_terminal:
        # A file or a log has no width to which to fold a table.
        console = Console(width=160)
    console.print(f"{before['cpu']}, others keep {before['busy']:.0%} of the cores busy")
    table = Table(title="population loss and gradient, µs per run of a full block, one thread, float64")
    table.add_column("case")
    for heading in ("frequencies", "best", "median", "quartiles", "target", "", "ns per term", "estimated error"):
        table.add_column(heading, justify="right")
    for r in results:
        terms = r["features"] ** 2 * r["frequencies"]
        table.add_row(
            r["title"], str(r["frequencies"]), f"{r['best']:,.2f}", f"{r['median']:,.2f}",
            f"{r['lower_quartile']:,.2f}–{r['upper_quartile']:,.2f}", f"{r['target'] or '':}", verdict(r),
            f"{r['best'] / terms * 1e3:.2f}", f"{r['error']:.0e}",
        )  # fmt: skip
    console.print(table)


def verdict(result: dict[str, Any]) -> str:
    """Whether the median reaches the target."""
    if result["target"] is None:
        return ""
    return "pass" if result["median"] <= result["target"] else "fail"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case (2)")
    parser.add_argument("--check", action="store_true", help="return 1 if a target was missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    arguments = parser.parse_args()
    machine.confine(1)
    before = {"cpu": machine.cpu_model(), "busy": machine.busy_share()}
    results = []
    for case in CASES:
        print(f"{case.title} …", file=sys.stderr, flush=True)
        results.append(measure(case, arguments.seconds))
    show(results, before)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": before, "results": results}, indent=2) + "\n")
    return int(arguments.check and any(verdict(result) == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
