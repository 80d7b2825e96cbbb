"""What a reader of a figure would complain about: text that is cut off, too small, or on top of other text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

KINDS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
"""The formats, and how files of each begin."""

ONE_OF_EACH = ((7.2, None, "png"), (3.4, "dark_background", "pdf"), (3.4, None, "svg"))
"""Width, style and format: as many as a test of every day can draw."""

HIGHEST = 9.5
"""The height of a page in inches, without its margins."""

SMALLEST = 7.0
"""The smallest type in points, at the size in which the figure is printed."""


def shown_texts(figure: Figure) -> list[Text]:
    """All texts of a figure that are drawn, after it was drawn."""
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    hidden: set[int] = set()
    for axes in figure.findobj(Axes):
        hidden |= _hidden(axes)
    return [
        text
        for text in figure.findobj(Text)
        if id(text) not in hidden
        and text.get_visible()
        and text.get_text().strip()
        and not (isinstance(text, Annotation) and not text._check_xy(renderer))
    ]


def _hidden(axes: Any) -> set[int]:
    """The texts of Axes that are not drawn: all of those that are invisible, and labels of ticks beyond the limits."""
    if not axes.get_visible():
        return {id(text) for text in axes.findobj(Text)}
    hidden: set[int] = set()
    for axis in axes.findobj(Axis):
        if axes.axison and axis.get_visible():
            ticks = (*axis.get_major_ticks(), *axis.get_minor_ticks())
            hidden |= {id(text) for tick in ticks for text in tick.findobj(Text)}
            hidden -= {id(text) for tick in axis._update_ticks() for text in (tick.label1, tick.label2)}
        else:
            hidden |= {id(text) for text in axis.findobj(Text)}
    return hidden


def complaints(figure: Figure, draws: int = 2) -> list[str]:
    """Complaints about the texts of a figure, one a line; empty if there is nothing to complain about.

    It is drawn twice, because the first time the layout may still change what ticks there are.
    """
    for _ in range(draws):
        figure.canvas.draw()
    page = figure.bbox
    found, boxes = [], []
    for text in shown_texts(figure):
        name = text.get_text().replace("\n", " / ")
        box = text.get_window_extent() if not isinstance(text, Annotation) else Text.get_window_extent(text)
        if text.get_fontsize() < SMALLEST - 1e-6:
            found.append(f"{name!r} has {text.get_fontsize():.1f} points")
        if box.x0 < page.x0 - 1 or box.y0 < page.y0 - 1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1:
            found.append(f"{name!r} is cut off")
        boxes.append((name, _ink(box, text)))
    found += [f"{one!r} and {other!r} overlap" for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]
    return found


def _ink(box: Bbox, text: Text) -> Bbox:
    """The box without the room that every line has above and below its letters."""
    room = 0.18 * text.get_fontsize() * text.get_figure(root=True).dpi / 72
    upright = text.get_rotation() % 180 == 0
    dx, dy = (0.5, room) if upright else (room, 0.5)
    return Bbox([[box.x0 + dx, box.y0 + dy], [max(box.x1 - dx, box.x0 + dx), max(box.y1 - dy, box.y0 + dy)]])


def complaints_about(name: str, out: Path, ways: Iterable[tuple[float, str | None, str]]) -> list[str]:
    """Draw the figures of a result again in several ways, each with its caption, and give every complaint about them.

    Args:
        name: the name of the experiment.
        out: the folder of the result.
        ways: the width, the style and the format.

    """
    from tegum import experiments
    from tegum.experiments.redrawing import opened
    from tegum.experiments.summary import Summary
    from tegum.figures import style

    experiment = experiments.get(name)
    runs, findings = opened(experiment, out, "test")
    assert Summary.read(out).name == name
    found = []
    for width, named, kind in ways:
        with style.looking(style.users_look(width, named, "test")):
            for file, (figure, words) in experiment.drawn(runs, findings).items():
                found += [f"{file}, {width} inches, {named}: {each}" for each in complaints(figure)]
                if figure.get_figheight() > HIGHEST:
                    found.append(f"{file}, {width} inches: it is higher than a page")
                if not style.rendered(figure, kind, words).startswith(KINDS[kind]):  # type: ignore[arg-type]
                    found.append(f"{file}: it is no {kind}")
    return found
