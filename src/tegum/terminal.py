"""How results look in a terminal: tables and verdicts; and progress, in plain lines where there is no terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from tegum.experiments.framework import Summary
    from tegum.experiments.reporting import Measure


_lost: list[OSError | ValueError] = []
"""Why standard output takes nothing more, once it does not."""


def prepare() -> None:
    """Make standard output and error take every character: what an encoding lacks is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def lost(error: OSError | ValueError) -> None:
    """Take note that standard output takes nothing more; from here on nothing is printed, and the work goes on."""
    _lost.append(error)


def close(code: int) -> int:
    """Have all that was printed written, and say where it could not be.

    Args:
        code: the exit code, were it all written.

    Returns:
        The exit code: 1 in place of 0 where something could not be printed, unless its reader just went away, as `head`
        does.

    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        lost(error)
    if not _lost:
        return code
    # What is still in the buffer goes nowhere; the interpreter would try once more, and complain.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(_lost[0], BrokenPipeError):
        return code
    say(f"not everything could be printed: {getattr(_lost[0], 'strerror', None) or _lost[0]}")
    return code or 1


def say(sentence: str) -> None:
    """Say something on standard error, on one line; where nobody listens, the work goes on."""
    with suppress(OSError, ValueError, AttributeError):
        print(f"tegum: {line(sentence)}", file=sys.stderr, flush=True)


def lines(text: str) -> None:
    """Print lines to standard error as they are, such as a traceback's; where nobody listens, the work goes on."""
    with suppress(OSError, ValueError, AttributeError):
        print("\n".join(map(line, text.splitlines())), file=sys.stderr, flush=True)


def line(text: str) -> str:
    """A text on one line: names may hold line ends, and codes that a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _show(what: Any) -> None:
    """Print to standard output, as long as it takes something."""
    if _lost:
        return
    if sys.stdout is None or sys.stdout.closed:
        lost(ValueError("standard output is closed"))
        return
    try:
        # A width of 0, as some programs set it, is no width.
        unusable = os.environ.get("COLUMNS", "").strip() in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
        console = Console(width=80 if unusable else None)
        # Written by ourselves: where nobody reads any more, the console would end the process.
        with console.capture() as printed:
            console.print(what, highlight=False)
        sys.stdout.write(printed.get())
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        lost(error)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table to standard output."""
    # As Text: what users name may look like markup.
    drawn = Table(title=Text(line(title)), title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        drawn.add_column(Text(column), overflow="fold")
    for row in rows:
        drawn.add_row(*map(_cell, row))
    _show(drawn)


def records(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table whose columns are the keys of its rows."""
    table(title, list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    return Text(value if isinstance(value, str) else f"{value:.6g}")


def note(text: str) -> None:
    """Print a sentence below a table."""
    _show(Text(line(text)))


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
        _show(Text(f"Not measured, as {why}: {'; '.join(missing)}."))
    table(
        f"Verdict: {result.verdict}",
        ("criterion", "passed"),
        [(criterion.text, "yes" if criterion.passed else "no") for criterion in result.criteria],
    )
    wrote(result.files)


def _with_unit(measure: Measure) -> str:
    return measure.text() if measure.unit == "1" else f"{measure.text()} ({measure.unit})"


def _explained(name: str, meaning: str) -> Text:
    """A name with its meaning below: beside it, a table of 80 columns would have to break words."""
    return Text.assemble(name, (f"\n  {meaning}", "dim")) if meaning else Text(name)


def wrote(files: Iterable[Path]) -> None:
    """Print which files were written."""
    for file in files:
        _show(Text(line(f"wrote {file}"), overflow="ignore", no_wrap=True))


def analysis(title: str, found: xr.Dataset) -> None:
    """Print what `tegum.analyse` found."""
    numbers = [(name, each) for name, each in found.data_vars.items() if not each.ndim]
    rows = [
        (_explained(str(name), each.attrs["long_name"]), float(each),
         f"{float(found[f'{name}_null']):.6g}" if f"{name}_null" in found else "")
        for name, each in numbers
        if not str(name).endswith("_null") or str(name)[:-5] not in found or found[str(name)[:-5]].ndim
    ]  # fmt: skip
    table(title, ("measure", "value", "by chance"), rows)
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
            (
                _explained(f"local_{name}", values.attrs["long_name"]),
                float(values.mean()),
                float(values.min()),
                float(values.max()),
            )
            for name in names
            if (values := found[f"local_{name}"]) is not None
        ]
        title = f"Local bases of {found.sizes['local']} features"
        table(title, ("measure", "mean", "least", "largest"), local)


def working(title: str) -> AbstractContextManager[Any]:
    """Work of which progress is shown on standard error, with whatever in it tells of its own."""
    from tegum.progress.showing import shown
    from tegum.progress.tasks import Stage

    return shown(True, Stage(title), "tegum", plain_lines=True)
