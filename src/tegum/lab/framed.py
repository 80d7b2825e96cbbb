"""The page of the lab in a frame of a notebook: it needs no kernel, and stands in the notebook's file.

A notebook's file is written again at every change, so that what it keeps of large films is a part of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, final

from tegum.lab.films import PageFilm, films, packed
from tegum.lab.page_file import page

if TYPE_CHECKING:
    import xarray as xr

_VIEWS = "loss,dimensionality,gram"
"""What is shown beside the scene at first; its buttons show the rest."""

_MOST_KEPT = 1_500_000
"""The most bytes of a film in a notebook, where they are written as text of 2 MB."""

_FRAME = """\
<div class="tegum-lab" data-of="{of}">
<style>
.jp-OutputArea-child:has(> .jp-OutputArea-output .tegum-lab[data-of="{of}"]) + .jp-OutputArea-child:not(:has(tegum-lab))
{{ display: none }}
</style>
<iframe title="tegum lab: {words}" style="width: 100%; height: {height}px; border: 0; display: block" loading="lazy"
sandbox="allow-scripts allow-downloads allow-popups" srcdoc="{page}"></iframe>
<div style="font-size: 85%; opacity: 0.8">tegum lab: {words}, in a page of {size}. It stands in the notebook
itself, and is seen above this line wherever notebooks are trusted.{hint}</div>
</div>
"""
# The frame is followed by the widget of the same runs. Where that lives, it takes the frame away; where it cannot,
# JupyterLab has only an error to show, which the rule above hides.


class LabView:
    """What `tegum.view` returns: what is shown, linked both ways where there is a widget."""

    step: int
    """The shown step of training."""
    selection: int | None
    """The number of the selected feature, or None."""
    run: int
    """The number of the shown run."""
    spec: int
    """The position of its Spec, among several."""

    def close(self) -> None:
        """Take it away, and free what it holds."""


def _unlinked() -> Any:
    return _Unlinked()


class _Unlinked:
    """A name that the widget links to what is shown, and which is refused without it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, frame: object, owner: type | None = None) -> Any:
        if frame is None:
            return self
        raise AttributeError(self._sentence)

    def __set__(self, frame: object, value: object) -> None:
        raise AttributeError(self._sentence)

    @property
    def _sentence(self) -> str:
        return f"view(run).{self.name}: a page cannot be asked; for a widget that can, pip install 'tegum[notebook]'"


@final
class LabFrame(LabView):
    """Recorded runs in a notebook without a kernel, or without the package of widgets: the page of the lab.

    Args:
        several: the films.
        height: how high it is, in pixels.

    """

    def __init__(self, several: Sequence[PageFilm], height: int) -> None:
        self._several = tuple(several)
        self.height: int = int(height)
        self.linked: str | None = None
        """The name by which a widget of the same runs finds it, where one follows."""

    @property
    def address(self) -> str:
        """What the page opens: the last step."""
        return f"views={_VIEWS}&step={self._several[0].header['steps'][-1]}"

    @property
    def words(self) -> str:
        """What of the trajectory is in it."""
        first, specs = self._several[0], len(self._several)
        return first.taken + (f", of each of {specs} Specs" if specs > 1 else "")

    def _repr_html_(self) -> str:
        whole = page(self.address, films=packed(self._several))
        return _FRAME.format(
            of=self.linked or "",
            words=escape(self.words),
            height=self.height,
            page=escape(whole),
            size=f"{max(len(whole) / 1e6, 0.1):.1f} MB",
            hint=_HINT if self.linked is None else "",
        )

    def __repr__(self) -> str:
        return f"<tegum lab: {self.words}>"

    step: int = _unlinked()
    selection: int | None = _unlinked()
    run: int = _unlinked()
    spec: int = _unlinked()


_HINT = " With <code>pip install 'tegum[notebook]'</code> cells can set and read what is shown."


def kept(run: xr.Dataset, several: Sequence[PageFilm]) -> Sequence[PageFilm]:
    """Choose what a notebook keeps of films: all of them, or of large ones as many runs, then steps, as 2 MB hold.

    Args:
        run: the trajectory.
        several: its films.

    Returns:
        Films, of at least one run each, with its first and its last step.

    """
    share = _MOST_KEPT / len(packed(several))
    if share >= 1:
        return several
    (runs, steps), *_ = ((each.header["runs"], each.header["steps"]) for each in several)
    fewer = max(1, int(share * len(runs)))
    fewest = max(2, int(min(1.0, share * len(runs)) * len(steps)))
    every = max(1, math.ceil(run.sizes["step"] / fewest))
    return films(run, seeds=[each["run"] for each in runs[:fewer]], every=every, call="view")
