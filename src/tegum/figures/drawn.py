"""The class of every figure: on the Agg canvas, and always drawn under its own settings."""

from __future__ import annotations

from typing import Any, final

from tegum.figures.style import current, drawing, looking, matplotlib, width

matplotlib()  # First of all: on its own it refuses to be imported if MPLBACKEND is unknown to it.

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402


@final
class Drawn(Figure):
    """A figure that keeps its look when it is saved or shown under other matplotlib settings."""

    def __init__(self, **options: Any) -> None:
        """Take the options of matplotlib's `Figure`."""
        super().__init__(**options)
        self._look = current()
        FigureCanvasAgg(self)

    def savefig(self, *args: Any, **options: Any) -> None:
        """As matplotlib's own."""
        with looking(self._look), drawing():
            super().savefig(*args, **options)

    def draw(self, renderer: Any) -> None:
        """As matplotlib's own."""
        with looking(self._look), drawing():
            super().draw(renderer)


def new_figure(height: float | None = None, **options: Any) -> Figure:
    """A figure on the Agg canvas, to be made inside `drawing`; it is saved and shown as it was made.

    Args:
        height: the height in inches, for a figure of the width of the current look.
        options: options of matplotlib's `Figure`, such as figsize.

    """
    if height is not None:
        options = {"figsize": (width(), height)} | options
    return Drawn(**options)


def parts(figure: Figure, *heights: int | float) -> list[Any]:
    """Divide a figure into parts one below the other, with these heights in relation to each other."""
    found: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    return list(found)
