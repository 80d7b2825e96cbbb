"""How results look in a terminal: tables and verdicts; and progress, in plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from tegum.experiments.base import Summary


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
        (measure.name, measure.text(), measure.unit, "" if measure.n is None else str(measure.n), measure.meaning)
        for measure in result.measures
    ]
    table(result.claim, ("measure", "value [interval]", "unit", "n", "meaning"), rows)
    table(
        f"Verdict: {result.verdict}",
        ("criterion", "passed"),
        [(criterion.text, "yes" if criterion.passed else "no") for criterion in result.criteria],
    )
    wrote(result.files)


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


def working(title: str) -> AbstractContextManager[Any]:
    """Work of which progress is shown on standard error, with whatever in it tells of its own."""
    from tegum.progress.showing import shown
    from tegum.progress.tasks import Stage

    return shown(True, Stage(title), "tegum", always=True)
