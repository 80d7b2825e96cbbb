"""The result of an experiment as one HTML file: figures, claim, criteria and numbers, and its runs as films.

It opens from a disk and needs nothing but itself. It is made of what is in the result's folder, so that it can be made
again at any time.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion, Summary
from tegum.lab.films import packed
from tegum.lab.page_file import page
from tegum.lab.reels import reels

if TYPE_CHECKING:
    import xarray as xr

DrawnRuns = Mapping[tuple[str, int], Sequence[int]]
"""The numbers of runs, by the name of their training and the position of their Spec in it."""
NONE: DrawnRuns = MappingProxyType({})

_LARGEST_SVG = 400_000
"""The bytes of an SVG beyond which the PNG stands in the page."""

_STYLE = """
body { color-scheme: light dark; background: Canvas; color: CanvasText }
.report { max-width: 60rem; margin: 0 auto; padding: 1rem 1.25rem; overflow-wrap: break-word }
.report h1 { font-size: 1.6rem; margin: .5rem 0 } .report h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.report .verdict { font-weight: 600 } .report .small { font-size: .87rem; opacity: .85 }
.report figure { margin: 1.5rem 0 } .report img { max-width: 100%; height: auto; background: #fff }
.report figcaption { font-size: .9rem; margin-top: .4rem }
.report .wide { overflow-x: auto } .report table { border-collapse: collapse; font-size: .9rem }
.report td, .report th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0 }
.report tr + tr td { border-top: 1px solid color-mix(in srgb, CanvasText 18%, Canvas) }
.report td.number { white-space: nowrap; font-variant-numeric: tabular-nums }
.report summary { cursor: pointer } .report pre { overflow-x: auto; font-size: .8rem }
"""


def result_page(
    summary: Summary, figures: Mapping[str, bytes], runs: Mapping[str, xr.Dataset], drawn: DrawnRuns = NONE
) -> str:
    """Write a result as HTML.

    Args:
        summary: what was found.
        figures: the figures as files, by their names, in SVG and PNG; those of which there are none are left out.
        runs: the trajectories by the names of their trainings.
        drawn: the runs that the figures draw.

    Returns:
        A whole HTML document.

    """
    films = reels(runs, drawn)
    title = f"{summary.name}: {summary.verdict}"
    before, after = f"{_head(summary)}{_figures(summary, figures)}{_numbers(summary)}", _foot(summary)
    if films:
        choose = " Choose above the picture what they were trained on." if len(films) > 1 else ""
        before += f"<h2>Watch the runs</h2><p>Drag along the loss, or go to an event by a click.{choose}</p>"
    around = (
        f'<section class="report" aria-label="Result">{before}</section>',
        f'<footer class="report">{after}</footer>',
        _STYLE,
    )
    return page(films=packed(films) if films else None, around=around, title=title)


def page_of_folder(folder: Path, drawn: DrawnRuns = NONE) -> str:
    """Write the result in a folder as HTML.

    Args:
        folder: a folder that `tegum run` has written.
        drawn: the runs that its figures draw.

    Returns:
        A whole HTML document.

    Raises:
        FileNotFoundError: there is no summary, or a trajectory is missing.
        ValueError: the summary or a trajectory cannot be read.

    """
    from tegum.data.store import load

    summary = Summary.read(folder)
    pictures = [file for file in summary.files if file.suffix in (".svg", ".png")]
    figures = {file.name: file.read_bytes() for file in pictures if file.is_file()}
    runs = {file.stem: load(file) for file in summary.files if file.suffix == ".zarr"}
    return result_page(summary, figures, runs, drawn)


def _head(summary: Summary) -> str:
    passed, count = sum(each.passed for each in summary.criteria), len(summary.criteria)
    asked = summary.question or summary.name
    answer = f"<p>{escape(summary.answer)}</p>" if summary.answer else ""
    return (
        f'<p class="small">{escape(summary.name)}, {summary.size} form</p><h1>{escape(asked)}</h1>{answer}'
        f'<p><span class="verdict">The claim {_judged(summary)}</span>: {escape(summary.claim)} '
        f"({passed} of {count} criteria pass.)</p>"
    )


def _judged(summary: Summary) -> str:
    return "was not tested" if summary.verdict == "not tested" else summary.verdict


def _figures(summary: Summary, figures: Mapping[str, bytes]) -> str:
    words = {summary.name: summary.caption} | dict(summary.further_captions)
    found = []
    for name, caption in words.items():
        svg, png = figures.get(f"{name}.svg"), figures.get(f"{name}.png")
        content = svg if svg is not None and (png is None or len(svg) <= _LARGEST_SVG) else png
        if content is None:
            continue
        kind = "svg+xml" if content is svg else "png"
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        text = escape(caption)
        found.append(f'<figure><img src="{source}" alt="{text or name}"><figcaption>{text}</figcaption></figure>')
    return "".join(found)


def _numbers(summary: Summary) -> str:
    """The criteria, each with the number that decides it, and all numbers below."""
    measured = {each.key: each for each in summary.measures}
    rows = "".join(_criterion(each, measured) for each in summary.criteria)
    head = "<tr><th>met</th><th>criterion</th><th>measured</th><th>95 % interval</th><th>against</th></tr>"
    others = "".join(
        f'<tr><td title="{escape(each.meaning)}">{escape(each.name)}</td>'
        f'<td class="number">{escape(each.text_with_unit())}</td><td class="number">{each.n or ""}</td></tr>'
        for each in summary.measures
        if each.value is not None
    )
    names = "<tr><th>measure</th><th>value [95 % interval], null</th><th>runs</th></tr>"
    return (
        f"<h2>Criteria, fixed before the runs</h2>{_table('Criteria', head + rows)}"
        f"<details><summary>All {len(summary.measures)} numbers</summary>{_table('Numbers', names + others)}</details>"
    )


def _table(label: str, rows: str) -> str:
    """A table that can be scrolled, also by keys."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{rows}</table></div>'


def _criterion(criterion: Criterion, measured: Mapping[str, Measure]) -> str:
    sign = "✓" if criterion.passed else "✗"
    measure = measured.get(criterion.measure or "")
    value, interval, null = ("", "", "") if measure is None else measure.parts()
    cells = "".join(f'<td class="number">{escape(each)}</td>' for each in (value, interval, criterion.needs or null))
    return (
        f'<tr><td aria-label="{"passed" if criterion.passed else "not passed"}">{sign}</td>'
        f"<td>{escape(criterion.text)}</td>{cells}</tr>"
    )


def _foot(summary: Summary) -> str:
    versions = ", ".join(f"{escape(name)} {escape(str(version))}" for name, version in summary.versions.items())
    source = "" if summary.source is None else f" {escape(str(summary.source))}"
    return (
        f'<h2>How it was made</h2><p class="small">tegum run {escape(summary.name)}'
        f"{'' if summary.size == 'default' else f' --{summary.size}'}, in {summary.wall_time_s:,.0f} s.{source} "
        f"{versions}.</p>"
    )
