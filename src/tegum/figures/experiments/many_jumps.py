"""The figure of jumps in larger models: the loss of single runs with jumps under way, and what jumps explain of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OWN, _OTHERS, _SHIFTED, _COURSE = style.ACCENTS[0], style.ACCENTS[1], style.ACCENTS[4], "ink"
"""The colours of lines; "ink" is that of text."""
_LOOKS = {
    "own jumps": (_OWN, "o", "-"),
    "other runs' jumps": (_OTHERS, "s", (0, (4, 2))),
    "jumps shifted in time": (_SHIFTED, "^", (0, (1, 2))),
    "mean of other runs": (_COURSE, "D", "-"),
}
_PARTS = {
    "decrease inside jumps": (_OWN, "o", "-"),
    "prediction of the fall": (style.ACCENTS[2], "v", "-"),
    "apart from the mean": (style.ACCENTS[3], "P", "-"),
}
"""The look of lines that are relative to synthetic losses."""


class One(NamedTuple):
    """The loss of one run, and its jumps."""

    title: str
    unit: str
    """What `step` counts: training steps or flow time."""
    step: Int[np.ndarray, " snapshot"]
    loss: Float[np.ndarray, " snapshot"]
    """The loss, summed over features."""
    course: Float[np.ndarray, " snapshot"]
    """The mean loss of all other runs."""
    under_way: Float[np.ndarray, " interval"]
    """The number of jumps under way."""


Line = Sequence[tuple[float, float, float, float]]
"""Points of a line: the number of features, the value, and the ends of its interval."""


class Panel(NamedTuple):
    """Lines over the number of features."""

    title: str
    label: str
    lines: Mapping[str, Line]
    flows: Mapping[str, Line]
    """The lines of gradient flow, drawn hollow."""


def many_jumps(ones: Sequence[One], panels: Sequence[Panel]) -> tuple[Figure, Figure]:
    """What jumps explain over the number of features; and single runs with their jumps.

    Args:
        ones: at most three runs; none if there is nothing to show.
        panels: at most three panels.

    """
    with style.drawing():
        first, second = (_figure(content, 0.6) for content in (panels, ones))
        for place, panel in zip(first.axes, panels, strict=True):
            _draw_panel(place, panel)
        _explain(first)
        for place, one in zip(list(second.axes), ones, strict=True):
            _draw_run(place, one)
        if not ones:
            second.text(0.5, 0.5, "nothing to show: no two runs of a size", ha="center")
    return first, second


def _figure(content: Sequence[One] | Sequence[Panel], more: float) -> Figure:
    narrow, count = style.is_narrow(), len(content)
    figure = new_figure((1.9 * max(count, 1) if narrow else 2.3) + more, layout="constrained")
    if content:
        figure.subplots(*((count, 1) if narrow else (1, count)), squeeze=False)
    return figure


def _colour(name: str) -> Any:
    return style.ink() if name == "ink" else name


def _explain(figure: Figure) -> None:
    """Draw one legend for the first panels, and one for the last."""
    from matplotlib.lines import Line2D

    looks: Mapping[str, tuple[Any, str, Any]]
    place: Any
    for looks, place in ((_LOOKS, "outside upper center"), (_PARTS, "outside lower center")):
        marks = [
            Line2D([], [], color=_colour(colour), marker=marker, ls=dashes, ms=4, label=label)
            for label, (colour, marker, dashes) in looks.items()
        ]
        figure.legend(
            handles=marks, loc=place, ncols=2 if style.is_narrow() else 4, handletextpad=0.5, columnspacing=1.2,
            handlelength=1.6,
        )  # fmt: skip


def _draw_run(place: Axes, one: One) -> None:
    place.plot(one.step, one.course, color=style.ink(), lw=0.9, ls=(0, (3, 2)), zorder=3)
    place.plot(one.step, one.loss, color=_OWN, lw=1.3, zorder=3)
    shown = np.concatenate([one.loss, one.course])
    span = float(np.ptp(shown)) or 1.0
    # The lower half is left to the jumps.
    place.set_ylim(float(shown.min()) - 0.75 * span, float(shown.max()) + 0.05 * span)
    place.set_xlim(float(one.step[0]), float(one.step[-1]))
    place.set_xscale("log")
    ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000) if one.step[0] <= tick <= one.step[-1]]
    place.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    place.set_xticks([], minor=True)
    place.set_xlabel(f"{one.unit} (log scale)")
    place.set_ylabel("loss, sum over features", labelpad=2)
    place.set_title(one.title, pad=4)
    place.ticklabel_format(axis="y", useOffset=False)
    counts = place.twinx()
    counts.stairs(one.under_way, one.step, fill=True, color=style.ACCENTS[5], alpha=0.55, lw=0, zorder=1)
    most = max(float(one.under_way.max(initial=0)), 1.0)
    counts.set_ylim(0, 2.6 * most)
    counts.set_yticks([0, round(most)])
    counts.spines["right"].set_visible(True)
    counts.set_ylabel("active jumps", y=0.26, labelpad=1)
    place.set_zorder(counts.get_zorder() + 1)
    place.patch.set_visible(False)


def _draw_panel(place: Axes, panel: Panel) -> None:
    sizes: set[float] = set()
    for lines, hollow in ((panel.lines, False), (panel.flows, True)):
        for name, line in lines.items():
            if not line:
                continue
            looks = _PARTS if name in _PARTS else _LOOKS
            colour, marker, dashes = looks[name]
            colour = _colour(colour)
            n, value, low, high = np.array(line, float).T
            sizes.update(n.tolist())
            # Shifted sideways so that markers do not cover each other.
            shifted = n * (1 + 0.05 * (list(looks).index(name) - 1.5) * (-1 if hollow else 1))
            place.plot(
                shifted, value, color=colour, marker=marker, ms=4, lw=0.9, ls="none" if hollow else dashes,
                mfc=style.paper() if hollow else colour, zorder=3,
            )  # fmt: skip
            place.vlines(shifted, low, high, color=colour, lw=0.9, zorder=2)
    place.set_xscale("log")
    ticks = sorted(sizes)
    place.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    place.set_xticks([], minor=True)
    if ticks:
        place.set_xlim(ticks[0] / 1.4, ticks[-1] * 1.4)
    if any(name in _PARTS for name in panel.lines):
        for level in (0, 1):
            place.axhline(level, color=style.muted(), lw=0.7, ls=(0, (1, 2)), zorder=1)
    place.set_xlabel("number of features n")
    place.set_ylabel(panel.label)
    place.set_title(panel.title, pad=4)
