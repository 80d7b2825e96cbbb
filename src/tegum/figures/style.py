"""The look of every figure, and how it becomes a file: readable, colour-blind safe, and byte-identical each time.

`tegum run` writes figures that look the same whatever the user has configured in matplotlib: a style, a matplotlibrc,
MPLBACKEND. They are made without pyplot, on the Agg canvas, under matplotlib's own defaults, the style sheet
`tegum.plot` and `SETTINGS`. `tegum draw` draws the same figures under a `Look` of the user's: another width, a style of
matplotlib's, their own matplotlibrc. The user's settings stay as they are.

Ink and background are read from the settings in force, so that every figure is as readable on black as on white.
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
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from matplotlib.figure import Figure

Kind = Literal["png", "svg", "pdf"]
"""The formats in which a figure is written."""

Colour = tuple[float, float, float]
"""Red, green and blue, from 0 to 1."""

INK = "#222222"
"""The colour of text and axes in the figures of `tegum run`."""

ACCENTS = ("C0", "C1", "C2", "C3", "C4", "C5")
"""The colours of the style in force, the strongest first, as matplotlib names them. Those of `tegum.plot` are colours
that colour-blind readers can distinguish (Okabe & Ito, 2008). The palette's yellow is left out, which is too pale for a
line, and its black, which is ink."""

WIDTH = 7.2
"""The width of a figure in inches, unless asked otherwise: two columns of a journal."""

LEAST_WIDTH, MOST_WIDTH = 2.5, 20.0
"""The widths for which figures are made, in inches."""

_NARROW = 5.0
"""Up to this width in inches a figure has the layout for one column."""

RESOLUTION = 200
"""The resolution of PNG files, in pixels per inch."""

SHEET = "tegum.plot"
"""The name of the style sheet, as matplotlib finds it: the file plot.mplstyle in the package tegum."""

SETTINGS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is the same everywhere
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "svg.hashsalt": "tegum",
}
"""What the figures of `tegum run` set on top of matplotlib's defaults and the style sheet."""

_ONE_COLUMN: Mapping[Any, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
}


@final
@dataclass(frozen=True)
class Look:
    """How figures are made: their width, and settings other than tegum's own."""

    width: float = WIDTH
    """The width in inches."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of matplotlib on top of tegum's own."""


_LOOK: ContextVar[Look] = ContextVar("_LOOK", default=Look())  # noqa: B039 (it is frozen)


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


def current() -> Look:
    """The look in which figures are being made."""
    return _LOOK.get()


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """A context in which figures are made in this look."""
    before = _LOOK.set(look)
    try:
        yield
    finally:
        _LOOK.reset(before)


def users_look(width: float, name: str | None, call: str) -> Look:
    """The look that a user asks for: tegum's, then whatever they have set in a matplotlibrc, then a style.

    Args:
        width: the width in inches.
        name: a style of matplotlib's, or the path of a style sheet; "default" leaves nothing of tegum's style; None
            adds nothing.
        call: the beginning of every error message.

    Raises:
        ValueError: the width is out of range, there is no such style, or it cannot be read.
        OSError: matplotlib cannot be imported.

    """
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise ValueError(f"{call} --width {width:g}: width must lie in [{LEAST_WIDTH:g}, {MOST_WIDTH:g}], in inches")
    mpl = matplotlib()
    own = {key: mpl.rcParams[key] for key in _settable(mpl)}
    own = {key: value for key, value in own.items() if value != mpl.rcParamsDefault[key]}
    if name is None:
        return Look(width, own)
    from matplotlib import style as styles

    with looking(Look(width, own)), drawing():
        try:
            # Matplotlib would say in a line of its own that it cannot decode a file.
            if os.path.isfile(name):  # noqa: PTH113 (Path.is_file raises at a name that cannot be one)
                Path(name).read_text(encoding="utf-8")
            styles.use(name)
        except ValueError as error:
            why = " ".join(str(error).split())
            raise ValueError(f"{call} --style {name}: the style cannot be read: {why}") from None
        except OSError:
            from tegum.core.description import nearest

            known = nearest(name, styles.available)
            raise ValueError(f"{call} --style {name}: matplotlib has no such style; {known}") from None
        return Look(width, {key: mpl.rcParams[key] for key in _settable(mpl)})


@contextmanager
def explaining_latex(look: Look, call: str) -> Iterator[None]:
    """A context in which, under a look that sets text by LaTeX, it is told in a sentence that LaTeX is missing.

    Raises:
        ValueError: LaTeX failed, or is not there.

    """
    try:
        yield
    except (RuntimeError, FileNotFoundError) as error:
        why = " ".join(str(error).split())
        if not look.settings.get("text.usetex") or "tex" not in why.lower():
            raise
        rule = "text.usetex is True in the style or your matplotlibrc, which needs a working LaTeX"
        raise ValueError(f"{call}: {rule}: {why[:200]}") from None


def _settable(mpl: ModuleType) -> list[str]:
    """All settings except those of the backend: setting or reading it may ask for a display."""
    return [key for key in mpl.rcParamsDefault if not key.startswith("backend")]


@contextmanager
def drawing() -> Iterator[None]:
    """A context in which matplotlib has the settings of the current look; afterwards the former settings return."""
    mpl = matplotlib()
    defaults = {key: mpl.rcParamsDefault[key] for key in _settable(mpl)}
    sheet = mpl.rc_params_from_file(Path(__file__).parents[1] / "plot.mplstyle", use_default_template=False)
    look = current()
    narrow = _ONE_COLUMN if is_narrow() else {}
    with mpl.rc_context(defaults | dict(sheet) | dict(SETTINGS) | dict(narrow) | dict(look.settings)):
        yield


@contextmanager
def styled(name: str | None) -> Iterator[None]:
    """A context in which the user's settings are changed by a style of matplotlib's; None changes nothing."""
    if name is None:
        yield
        return
    matplotlib()
    from matplotlib import style as styles

    with styles.context(name):
        yield


def width() -> float:
    """The width in inches of the figures that are being made."""
    return current().width


def is_narrow() -> bool:
    """Whether figures are being made for one column."""
    return width() <= _NARROW


def ink() -> Colour:
    """The colour of text in the settings in force."""
    return _rgb("text.color")


def paper() -> Colour:
    """The colour of the background in the settings in force; of one that is transparent, the one opposite to ink."""
    from matplotlib.colors import to_rgba

    settings = matplotlib().rcParams
    for key in ("axes.facecolor", "figure.facecolor"):
        *colour, opaque = to_rgba(settings[key])
        if opaque:
            return (colour[0], colour[1], colour[2])
    return (1.0, 1.0, 1.0) if sum(ink()) < 1.5 else (0.0, 0.0, 0.0)


def muted() -> Colour:
    """The colour of explanatory text and lines; its contrast against white is 5.3 : 1."""
    return blend(paper(), 0.33)


def band() -> Colour:
    """The colour of a band that marks a stretch of time, and of other large areas that must not stand out."""
    return blend(paper(), 0.87 if sum(paper()) > 1.5 else 0.75)  # on black a difference is harder to see


def faint() -> Colour:
    """The colour of what is there but of no importance, such as features that no polytope has."""
    return blend(paper(), 0.72)


def accent(number: int) -> Colour:
    """The colour of this number in the settings in force; after the last the first follows."""
    from matplotlib.colors import to_rgb

    return to_rgb(f"C{number}")


def blend(other: Any, part: float, colour: Any = None) -> Colour:
    """A colour that lies between ink, or `colour`, and another one, by this part."""
    from matplotlib.colors import to_rgb

    pairs = zip(ink() if colour is None else to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = ((1 - part) * one + part * two for one, two in pairs)
    return red, green, blue


def pale(colour: Any, part: float = 0.55) -> Colour:
    """A colour moved by this part towards the background."""
    return blend(paper(), part, colour)


def _rgb(key: str) -> Colour:
    from matplotlib.colors import to_rgb

    return to_rgb(matplotlib().rcParams[key])


def calm_colours(count: int) -> list[Colour]:
    """`count` different background colours: pale, nearly equal in lightness, and spread over all hues."""
    # Multiples of the golden ratio are spread most evenly, so colours next in order are far apart in hue.
    hues = [(0.08 + number * 0.6180339887) % 1.0 for number in range(count)]
    return [colorsys.hls_to_rgb(hue, 0.72 - 0.06 * (number % 3), 0.42) for number, hue in enumerate(hues)]


def small() -> float:
    """The size of small type in points, that of legends; print needs at least 7."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(size=matplotlib().rcParams["legend.fontsize"]).get_size_in_points()


def printable(text: str) -> str:
    """A text on one line, with every character that the font of figures lacks replaced by its code."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=[SETTINGS["font.family"]]))).get_charmap()
    return "".join(
        letter if letter.isprintable() and ord(letter) in known else ascii(letter)[1:-1] or letter for letter in text
    )


def wrapped(text: str, letters: int | None = None) -> str:
    """A text in lines that fill the width of a figure, or of at most so many letters."""
    return "\n".join(textwrap.wrap(text, letters or int(118 * width() / WIDTH * 8.0 / small())))


def rendered(figure: Figure, kind: Kind, caption: str = "") -> bytes:
    """The figure as the content of a file; the same figure gives the same bytes.

    Args:
        figure: the figure.
        kind: the format.
        caption: a text to set under it, in full lines; the file is higher by as much.

    Raises:
        ValueError: `kind` is none of the formats.

    """
    if kind not in get_args(Kind):
        raise ValueError(f"rendered(kind={kind!r}): kind must be 'png', 'svg' or 'pdf'")
    # A date or a version would make two files of the same figure differ.
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[kind]
    content = io.BytesIO()
    asked = current().settings.get("savefig.dpi", "figure")
    dpi = float(RESOLUTION if asked == "figure" else asked)
    options: dict[str, Any] = {"format": kind, "dpi": dpi, "metadata": metadata}
    with drawing():
        if caption:
            with _captioned(figure, caption, dpi) as page:
                figure.savefig(content, bbox_inches=page, **options)
        else:
            figure.savefig(content, **options)
    return content.getvalue()


@contextmanager
def _captioned(figure: Figure, caption: str, dpi: float) -> Iterator[Any]:
    """A context in which the figure has a caption below its lower edge; gives the page with both."""
    # The layout is made for the figure alone, at the resolution of the file, and then kept.
    before, figure.dpi = figure.dpi, dpi
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    # Legends of the whole figure would move with the lower edge of the page.
    moved = [each for each in figure.legends if each.get_bbox_to_anchor().bounds == figure.bbox.bounds]
    for legend in moved:
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    text = _set_under(figure, caption)
    try:
        yield _with(figure, text)
    finally:
        text.remove()
        figure.dpi = before
        for legend in moved:
            legend.set_bbox_to_anchor(None)  # pyright: ignore[reportArgumentType]
        if engine is not None:
            figure.set_layout_engine(engine)


def _set_under(figure: Figure, caption: str) -> Any:
    """Write a caption below the lower edge of a figure, in as few lines as fit its width."""
    words = printable(caption)
    across = figure.get_figwidth() * figure.dpi
    text = figure.text(0.02, 0.0, "", va="top", fontsize=small(), linespacing=1.35, parse_math=False)
    text.set_in_layout(False)
    letters = int(118 * figure.get_figwidth() / WIDTH * 8.0 / small())
    while True:
        text.set_text(wrapped(words, letters))
        if text.get_window_extent().width <= 0.97 * across or letters <= 10:
            return text
        letters -= 2


def _with(figure: Figure, text: Any) -> Any:
    """The page of a figure with a text below it."""
    from matplotlib.transforms import Bbox

    # Whole pixels at any usual resolution, so that the figure itself is not moved by a part of one.
    below = 0.05 * np.floor((text.get_window_extent().y0 / figure.dpi - 0.1) / 0.05)
    return Bbox([[0.0, min(float(below), 0.0)], [figure.get_figwidth(), figure.get_figheight()]])
