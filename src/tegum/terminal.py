"""How things look in a terminal: tables, verdicts, live progress; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, final

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from tegum.experiments.base import Measure, Summary
    from tegum.training.engine import Segment

_PLAIN_SECONDS = 5.0
"""How often a line is printed where there is no terminal."""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table to standard output."""
    drawn = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, str) else f"{cell:.6g}" for cell in row))
    console = Console()
    console.print(drawn)


def summary(result: Summary) -> None:
    """Print what an experiment found."""
    rows = [
        (_explained(measure.name, measure.meaning), _with_unit(measure), "" if measure.n is None else str(measure.n))
        for measure in result.measures
        if measure.value is not None
    ]
    table(result.claim, ("measure", "value [95 % interval], null", "n"), rows)
    if missing := [measure.name for measure in result.measures if measure.value is None]:
        why = "there was nothing to measure them on" if rows else "no ensemble was large enough"
        Console().print(f"Not measured, as {why}: {'; '.join(missing)}.", markup=False, highlight=False)
    table(
        f"Verdict: {result.verdict}",
        ("criterion", "passed"),
        [(criterion.text, "yes" if criterion.passed else "no") for criterion in result.criteria],
    )
    wrote(result.files)


def _with_unit(measure: Measure) -> str:
    return measure.text() if measure.unit == "1" else f"{measure.text()} ({measure.unit})"


def _explained(name: str, meaning: str) -> str:
    """A name with its meaning below: beside it, a table of 80 columns would have to break words."""
    return f"{name}\n  [dim]{meaning}[/dim]" if meaning else name


def wrote(files: Iterable[Path]) -> None:
    """Print which files were written."""
    console = Console()
    console.print(*(f"wrote {file}" for file in files), sep="\n", highlight=False, markup=False)


def analysis(title: str, found: xr.Dataset) -> None:
    """Print what `tegum.analyse` found."""
    numbers = [(name, each) for name, each in found.data_vars.items() if not each.ndim]
    rows = [
        (str(name), float(each), f"{float(found[f'{name}_null']):.6g}" if f"{name}_null" in found else "",
         each.attrs["long_name"])
        for name, each in numbers
        if not str(name).endswith("_null") or str(name)[:-5] not in found or found[str(name)[:-5]].ndim
    ]  # fmt: skip
    table(title, ("measure", "value", "by chance", "meaning"), rows)
    shown = (0.01, 0.05, 0.5, 0.95, 0.99)
    spread = [
        (name, float(values.mean()), *(float(values.quantile(p)) for p in shown))
        for name in ("norm", "dimensionality", "nearest_cosine", "opposite_cosine", "density")
        if name in found and (values := found[name].dropna("feature")).size
    ]
    quantiles = tuple(f"{p:.0%}" for p in shown)
    table("Over features", ("measure", "mean", *quantiles), spread)
    chance = [
        (label, *(float(found[name].sel(quantile=p)) for p in shown))
        for name, label in (
            ("cosine_quantile", "cosine of two features"),
            ("cosine_quantile_null", "  by chance"),
            ("nearest_quantile", "cosine with the nearest"),
            ("nearest_quantile_null", "  by chance"),
            ("opposite_quantile", "cosine with the most opposite"),
            ("opposite_quantile_null", "  by chance"),
        )
        if name in found
    ]
    table("Cosines", ("quantile", *quantiles), chance)
    if found.sizes.get("local"):
        names = ("capture", "capture_null", "capture_everywhere", "capture_others", "interference")
        local = [
            (f"local_{name}", float(values.mean()), float(values.min()), float(values.max()), values.attrs["long_name"])
            for name in names
            if (values := found[f"local_{name}"]) is not None
        ]
        title = f"Local bases of {found.sizes['local']} features"
        table(title, ("measure", "mean", "least", "largest", "meaning"), local)


@final
class Working:
    """Progress of long work on standard error: what is being done, and how far it is."""

    def __init__(self, title: str) -> None:
        """Prepare to show progress under a title."""
        self._title, self._console = title, Console(stderr=True)
        self._live: RichProgress | None = None
        self._tasks: dict[str, Any] = {}
        self._printed = time.monotonic()

    def __enter__(self) -> Working:
        if self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
            self._live = RichProgress(*columns, console=self._console, transient=True)
            self._live.start()
        else:
            print(f"{self._title}: started", file=sys.stderr, flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def part(self, what: str, done: float) -> None:
        """Show which part of one thing is done, in [0, 1]."""
        if self._live is not None:
            if what not in self._tasks:
                self._tasks[what] = self._live.add_task(f"{self._title}: {what}", total=1.0)
            self._live.update(self._tasks[what], completed=done)
        elif time.monotonic() - self._printed > _PLAIN_SECONDS:
            self._printed = time.monotonic()
            print(f"{self._title}: {what}, {done:.0%}", file=sys.stderr, flush=True)


@final
class Progress:
    """Progress of training on standard error: how far, how fast, how long still."""

    def __init__(self, title: str) -> None:
        """Prepare to show progress under a title."""
        self._title = title
        self._console = Console(stderr=True)
        self._live: RichProgress | None = None
        self._task: Any = None
        self._begin = self._printed = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._live.start()
            self._task = self._live.add_task(self._title, total=None, rate="compiling")
        else:
            self._line(f"{self._title}: started")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def segment(self, segment: Segment) -> None:
        """Show that a segment of training is done."""
        runs, step, steps = len(segment.state.weights), segment.state.step, segment.steps
        pace = runs * (step - segment.start) / max(segment.seconds, 1e-9)
        rate = f"{pace:,.0f} run-steps/s"
        if converged := int((segment.state.converged_at >= 0).sum()):
            rate += f", {converged:,} of {runs:,} runs converged"
        there = "" if segment.time is None else f"time {segment.time:,.6g}, "
        if self._live is not None:
            self._live.update(self._task, completed=step, total=steps, rate=there + rate)
            return
        now = time.monotonic()
        if now - self._printed < _PLAIN_SECONDS and step < steps:
            return
        self._printed = now
        left = (now - self._begin) * (steps - step) / max(step, 1)
        self._line(f"{self._title}: step {step:,} of {steps:,}, {there}{rate}, {left:.0f} s left")

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
