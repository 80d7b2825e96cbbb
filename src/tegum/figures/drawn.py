"""The figure that all figures are: on the Agg canvas, and drawn under its own settings whenever that happens."""

from __future__ import annotations

from typing import Any, final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tegum.figures.style import drawing


@final
class Drawn(Figure):
    """A figure that keeps its look where it is saved or shown under other settings of matplotlib."""

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
