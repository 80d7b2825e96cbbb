"""The look of every figure, and how it becomes a file: readable, colour-blind safe, and byte-identical each time.

Figures look the same whatever the user has configured in matplotlib: a style, a matplotlibrc, MPLBACKEND. They are made
without pyplot, on the Agg canvas, under matplotlib's own defaults and `SETTINGS`. The user's settings stay as they are.
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
"""The colour of explanatory text and lines; its contrast against white is 5.3 : 1."""
BAND = "#e3e8ee"
"""The colour of a band that marks a stretch of time."""

ACCENTS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK = ACCENTS
"""Colours that colour-blind readers can distinguish (Okabe & Ito, 2008), the strongest first. The original palette's
yellow is left out: it is too pale for a line."""

WIDTH = 7.2
"""The width of every figure, in inches: two columns of a journal."""

_LINE = 0.15
"""The height of one line of a caption, in inches."""

RESOLUTION = 200
"""The resolution of PNG files, in pixels per inch."""

SETTINGS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is the same everywhere
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
    "svg.fonttype": "none",  # text stays text, which can be searched, and edited for a paper
    "svg.hashsalt": "tegum",
}
"""The matplotlib settings under which figures are made and saved, on top of its own defaults."""


def matplotlib() -> ModuleType:
    """The module `matplotlib`, imported whatever MPLBACKEND names.

    On its own, matplotlib refuses to be imported if MPLBACKEND names a backend that it does not know, such as the
    notebook backend of another environment. Call this before long work whose result will be drawn, so that a failure to
    import comes before the work and not after it.

    Raises:
        OSError: it cannot be imported, for instance because a matplotlibrc is not a text file.

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
        # As matplotlib itself would have done, for the user's own figures.
        with suppress(ValueError):
            module.rcParams["backend"] = asked
    return module


@contextmanager
def drawing() -> Iterator[None]:
    """A context in which matplotlib has its own defaults and `SETTINGS`; afterwards the former settings return."""
    mpl = matplotlib()
    # Except the backend: setting or reading it may ask for a display.
    own = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context(own | dict(SETTINGS)):
        yield


def calm_colours(count: int) -> list[tuple[float, float, float]]:
    """`count` different background colours: pale, nearly equal in lightness, and spread over all hues."""
    # Multiples of the golden ratio are spread most evenly, so colours next in order are far apart in hue.
    hues = [(0.08 + number * 0.6180339887) % 1.0 for number in range(count)]
    return [colorsys.hls_to_rgb(hue, 0.72 - 0.06 * (number % 3), 0.42) for number, hue in enumerate(hues)]


def printable(text: str) -> str:
    """A text on one line, with every character that the font of figures lacks replaced by its code."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=[SETTINGS["font.family"]]))).get_charmap()
    return "".join(
        letter if letter.isprintable() and ord(letter) in known else ascii(letter)[1:-1] or letter for letter in text
    )


def wrapped(text: str, width: int = 118) -> str:
    """A caption, broken into lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(text, width))


@final
class Caption:
    """The caption under the panels of a figure, in full lines."""

    def __init__(self, text: str) -> None:
        self.text = wrapped(text)

    @property
    def height(self) -> float:
        """The height of its lines in inches: the space to leave below the panels, on top of that for their labels."""
        return _LINE * (self.text.count("\n") + 1)

    def write(self, figure: Figure, top: float) -> None:
        """Write it at the left edge of a figure, its first line this many inches above the lower edge."""
        figure.text(0.02, top / figure.get_figheight(), self.text, va="top", fontsize=8.0, linespacing=1.35)


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as the content of a file; the same figure gives the same bytes.

    Raises:
        ValueError: `kind` is neither "png" nor "svg".

    """
    if kind not in ("png", "svg"):
        raise ValueError(f"rendered(kind={kind!r}): kind must be 'png' or 'svg'")
    # A date or a version would make two files of the same figure differ.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    content = io.BytesIO()
    with drawing():
        figure.savefig(content, format=kind, dpi=RESOLUTION, metadata=metadata)
    return content.getvalue()
