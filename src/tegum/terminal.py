"""Results in a terminal: tables, notes, and progress, in plain lines if the output is not a terminal."""

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


_lost: list[OSError | ValueError] = []
"""The error after which standard output accepts nothing more, if there was one."""


def prepare() -> None:
    """Make standard output and error accept every character: those an encoding lacks are written as codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def lost(error: OSError | ValueError) -> None:
    """Note that standard output accepts nothing more. From here on nothing is printed, and the work goes on."""
    _lost.append(error)


def close(code: int) -> int:
    """Flush everything that was printed, and report on standard error if that fails.

    Args:
        code: the exit code if everything could be printed.

    Returns:
        The exit code: 1 in place of 0 if something could not be printed, unless the reader simply went away, as `head`
        does.

    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        lost(error)
    if not _lost:
        return code
    # Discard what is still in the buffer: the interpreter would try to write it again, and complain.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(_lost[0], BrokenPipeError):
        return code
    say(f"not everything could be printed: {getattr(_lost[0], 'strerror', None) or _lost[0]}")
    return code or 1


def say(sentence: str) -> None:
    """Print a sentence to standard error, on one line; if that fails, the work goes on."""
    with suppress(OSError, ValueError, AttributeError):
        print(f"tegum: {line(sentence)}", file=sys.stderr, flush=True)


def lines(text: str) -> None:
    """Print lines to standard error as they are, such as those of a traceback; if that fails, the work goes on."""
    with suppress(OSError, ValueError, AttributeError):
        print("\n".join(map(line, text.splitlines())), file=sys.stderr, flush=True)


def line(text: str) -> str:
    """A text on one line, as names may contain line breaks and control codes for the terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def show(what: Any) -> None:
    """Print something that rich can draw to standard output, as long as that accepts anything."""
    if _lost:
        return
    if sys.stdout is None or sys.stdout.closed:
        lost(ValueError("standard output is closed"))
        return
    try:
        # Write it ourselves: the console would end the process if the reader has gone.
        drawn = console()
        with drawn.capture() as printed:
            drawn.print(what, highlight=False)
        sys.stdout.write(printed.get())
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        lost(error)


def console() -> Console:
    """A console for standard output, with a width that can be used."""
    # Some programs set a width of 0, which is not a width.
    unusable = os.environ.get("COLUMNS", "").strip() in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    return Console(width=80 if unusable else None)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table to standard output."""
    # As Text, because names chosen by users may look like markup.
    drawn = Table(title=Text(line(title)), title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        drawn.add_column(Text(column), overflow="fold")
    for row in rows:
        drawn.add_row(*map(_cell, row))
    show(drawn)


def records(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table with the keys of its rows as columns."""
    table(title, list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    return Text(value if isinstance(value, str) else f"{value:.6g}")


def raw(text: str) -> None:
    """Print a text as it is, such as a script for another program."""
    if _lost:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError) as error:
        lost(error if isinstance(error, OSError | ValueError) else ValueError("standard output is closed"))


def note(text: str) -> None:
    """Print a sentence below a table."""
    show(Text(line(text)))


def explained(name: str, meaning: str) -> Text:
    """A name with its meaning below it: side by side, a table of 80 columns would have to break words."""
    return Text.assemble(name, (f"\n  {meaning}", "dim")) if meaning else Text(name)


def wrote(files: Iterable[Path]) -> None:
    """Print the paths of the files that were written."""
    for file in files:
        show(Text(line(f"wrote {file}"), overflow="ignore", no_wrap=True))


def analysis(title: str, found: xr.Dataset, about: str) -> None:
    """Print what `tegum.analyse` found, below a sentence about the directions."""
    note(about)
    numbers = [(name, each) for name, each in found.data_vars.items() if not each.ndim]
    rows = [
        (explained(str(name), each.attrs["long_name"]), float(each),
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
            ("nearest_quantile", "cosine with the nearest feature"),
            ("nearest_quantile_null", "  by chance"),
            ("opposite_quantile", "cosine with the most opposite feature"),
            ("opposite_quantile_null", "  by chance"),
        )
        if name in found
    ]
    table("Cosines", ("quantile", *quantiles), chance)
    if found.sizes.get("local"):
        names = ("capture", "capture_null", "capture_everywhere", "capture_others", "interference")
        local = [
            (
                explained(f"local_{name}", values.attrs["long_name"]),
                float(values.mean()),
                float(values.min()),
                float(values.max()),
            )
            for name in names
            if (values := found[f"local_{name}"]) is not None
        ]
        count = found.sizes["local"]
        title = f"Local bases of {count} feature{'' if count == 1 else 's'}"
        table(title, ("measure", "mean", "minimum", "maximum"), local)


def working(title: str) -> AbstractContextManager[Any]:
    """A context for work whose progress, and that of all work inside it, is shown on standard error."""
    from tegum.progress.showing import shown
    from tegum.progress.tasks import Stage

    return shown(True, Stage(title), "tegum", plain_lines=True)
