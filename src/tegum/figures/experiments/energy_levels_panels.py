"""Panels of a whole ensemble: between which levels features jump, and how often jumps and loss drops coincide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from tegum.analysis.dynamics.levels import level_of
from tegum.analysis.geometry.polytopes import LEVELS
from tegum.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tegum.analysis.dynamics.levels import Jump

_KIND_GAP = 0.35
"""The fraction of the width of each kind of jump that is left free as a gap to the next."""
_CROWD = 16
"""More jumps of one kind than this would merge into a block as arrows: they become thin lines around one arrow."""


@final
@dataclass(frozen=True)
class Share:
    """A share with its interval and its null, for one row of the panel of shares."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    null: float | None


def draw_jumps(panel: Axes, jumps: Sequence[Jump]) -> None:
    """Draw each jump as an arrow from its old to its new dimensionality, sorted and counted by the levels at both ends.

    If there are many jumps of a kind, they are thin lines and only the middle one is an arrow. Where an end is at no
    known level, the mean of these ends stands in its place.
    """
    kinds: dict[tuple[str, str], list[Jump]] = {}
    for jump in jumps:
        kinds.setdefault((level_of(jump.before), level_of(jump.after)), []).append(jump)
    order = sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
    for value in LEVELS.values():
        digon = float(value) == 0.5
        panel.axhline(float(value), color=style.ink() if digon else style.muted(), lw=0.6, ls=(0, (1, 2)), zorder=1)
    ticks, names = [], []
    for place, kind in enumerate(order):
        own = sorted(kinds[kind], key=lambda jump: jump.after - jump.before)
        _draw_kind(panel, place, own)
        ticks.append(place)
        means = (sum(getattr(jump, end) for jump in own) / len(own) for end in ("before", "after"))
        start, end = (f"{mean:.2g}" if level == "elsewhere" else level for level, mean in zip(kind, means, strict=True))
        names.append(f"{start}\n→ {end}\n{len(own)}×")
    panel.set_xlim(-0.6, max(len(order), 1) - 0.4)
    panel.set_ylim(-0.03, 0.82)
    panel.set_xticks(ticks, names)
    panel.tick_params(axis="x", length=0)
    panel.set_ylabel("feature dimensionality")
    panel.set_title("late jumps of all runs, by level")
    if not order:
        panel.text(0.5, 0.5, "none", transform=panel.transAxes, ha="center", color=style.muted())


def _draw_kind(panel: Axes, place: int, own: Sequence[Jump]) -> None:
    """Draw the jumps of one kind side by side."""
    width = (1 - _KIND_GAP) / max(len(own), 4)
    for number, jump in enumerate(own):
        at = place + (number + 0.5 - len(own) / 2) * width
        colour = style.ACCENTS[0] if jump.change > 0 else style.ACCENTS[1]
        crowded = len(own) > _CROWD
        if crowded:
            panel.plot([at, at], [jump.before, jump.after], color=colour, lw=0.3, alpha=0.6, zorder=2)
        if not crowded or number == len(own) // 2:
            width_of_line, head = (1.4, 9) if crowded else (0.7, 5)
            arrow = {"arrowstyle": "-|>", "color": colour, "lw": width_of_line, "mutation_scale": head}
            arrow |= {"shrinkA": 0, "shrinkB": 0}
            panel.annotate("", (at, jump.after), xytext=(at, jump.before), arrowprops=arrow, zorder=3)


def draw_shares(panel: Axes, shares: Sequence[Share]) -> None:
    """Draw each share as a point with its interval, and its null as an open diamond."""
    rows = range(len(shares) - 1, -1, -1)
    for row, share in zip(rows, shares, strict=True):
        if share.null is not None:
            panel.plot(share.null, row, marker="D", mfc=style.paper(), mec=style.muted(), ms=5, ls="none", zorder=2)
        if share.value is None:
            panel.text(0.5, row, "not measured", ha="center", va="center", color=style.muted(), fontsize=style.small())
            continue
        if share.low is not None and share.high is not None:
            panel.plot([share.low, share.high], [row, row], color=style.ACCENTS[1], lw=1.4, zorder=3)
        panel.plot(share.value, row, marker="o", color=style.ACCENTS[1], ms=5, ls="none", zorder=4)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.6, len(shares) - 0.4)
    panel.set_yticks(list(rows), [share.name for share in shares])
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("share (◇ null: shifted in time)")
