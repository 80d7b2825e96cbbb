"""The class of every figure: on the Agg canvas, and always drawn under its own settings."""

from __future__ import annotations

from typing import Any, final

from tegum.figures.style import drawing, matplotlib

matplotlib()  # First of all: on its own it refuses to be imported if MPLBACKEND is unknown to it.

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402


@final
class Drawn(Figure):
    """A figure that keeps its look when it is saved or shown under other matplotlib settings."""

    def __init__(self, **options: Any) -> None:
        """Take the options of matplotlib's `Figure`."""
        super().__init__(**options)
        FigureCanvasAgg(self)

    def savefig(self, *args: Any, **options: Any) -> None:
        """As matplotlib's own."""
        with drawing():
            super().savefig(*args, **options)

    def draw(self, renderer: Any) -> None:
        """As matplotlib's own."""
        with drawing():
            super().draw(renderer)


def new_figure(**options: Any) -> Figure:
    """A figure on the Agg canvas, to be made inside `drawing`; it is saved and shown as it was made.

    Args:
        options: options of matplotlib's `Figure`, such as figsize.

    """
    return Drawn(**options)
