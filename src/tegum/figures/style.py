"""How every figure looks, and how it becomes a file: readable, colour-blind safe, and the same bytes each time.

Figures look the same whatever is set of matplotlib outside: a style, a matplotlibrc, MPLBACKEND. They are made without
pyplot, on the Agg canvas, under matplotlib's own defaults and `SETTINGS`, and what is set outside is left as it is.
"""

from __future__ import annotations

import colorsys
import importlib
import io
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, final

if TYPE_CHECKING:
    from types import ModuleType

    from matplotlib.figure import Figure

INK = "#222222"
MUTED = "#6b6b6b"
"""Text and lines that explain; 5.3 : 1 against white."""
BAND = "#e3e8ee"
"""A time that is marked."""

ACCENTS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that stay apart for colour-blind eyes (Okabe & Ito, 2008), the strongest first; its yellow is left
out, too pale for a line."""

WIDTH = 7.2
"""Inches: two columns of a journal."""

_LINE = 0.15
"""Inches that a line of a caption takes."""

RESOLUTION = 200
"""Pixels for an inch, in PNG."""

SETTINGS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and edited for a paper
    "svg.hashsalt": "tegum",
}
"""Settings of matplotlib, besides its own defaults, under which a figure is made and saved."""


def matplotlib() -> ModuleType:
    """The module `matplotlib`, imported whatever MPLBACKEND names.

    By itself it refuses to be imported where that is a backend it does not know, such as that of a notebook in another
    environment. Call it before long work whose result is drawn: what cannot be imported is then known in time.

    Raises:
        OSError: it cannot be imported, for instance because of a matplotlibrc that is no text.

    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        module = importlib.import_module("matplotlib")
    except Exception as error:
        why = " ".join(str(error).split())
        raise OSError(f"figures need matplotlib, which cannot be imported: {why or type(error).__name__}") from None
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    if asked:
        # As it would have done: for the user's own figures.
        with suppress(ValueError):
            module.rcParams["backend"] = asked
    return module


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib has its own defaults and `SETTINGS`; afterwards what it had before."""
    mpl = matplotlib()
    # Not the backend, which asks for a display where it is set or read.
    own = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context(own | dict(SETTINGS)):
        yield


def calm_colours(count: int) -> list[tuple[float, float, float]]:
    """So many different colours that stay in the background: pale, of equal lightness, spread over all hues."""
    # Neighbours in order are far apart in hue: multiples of the golden ratio spread most evenly.
    hues = [(0.08 + number * 0.6180339887) % 1.0 for number in range(count)]
    return [colorsys.hls_to_rgb(hue, 0.72 - 0.06 * (number % 3), 0.42) for number, hue in enumerate(hues)]


def printable(text: str) -> str:
    """A text on one line in letters that the font of figures has; others by their codes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=[SETTINGS["font.family"]]))).get_charmap()
    return "".join(
        letter if letter.isprintable() and ord(letter) in known else ascii(letter)[1:-1] or letter for letter in text
    )


def wrapped(text: str, width: int = 118) -> str:
    """A caption in lines of at most so many letters."""
    return "\n".join(textwrap.wrap(text, width))


@final
class Caption:
    """The caption under the panels of a figure, in full lines."""

    def __init__(self, text: str) -> None:
        self.text = wrapped(text)

    @property
    def height(self) -> float:
        """Inches that its lines take: the room to leave below the panels, besides that for their labels."""
        return _LINE * (self.text.count("\n") + 1)

    def write(self, figure: Figure, top: float) -> None:
        """Write it at the left edge of a figure, its first line this many inches above the lower edge."""
        figure.text(0.02, top / figure.get_figheight(), self.text, va="top", fontsize=8.0, linespacing=1.35)


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as the content of a file, the same bytes for the same figure.

    Raises:
        ValueError: another kind than "png" or "svg".

    """
    if kind not in ("png", "svg"):
        raise ValueError(f"rendered(kind={kind!r}): kind must be 'png' or 'svg'")
    # A date or a version would make two files of one figure differ.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    content = io.BytesIO()
    with drawing():
        figure.savefig(content, format=kind, dpi=RESOLUTION, metadata=metadata)
    return content.getvalue()
