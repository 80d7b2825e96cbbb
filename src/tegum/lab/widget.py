"""The lab as a widget of a notebook: it plays films, and what is shown is linked to the cells. Needs anywidget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final
from uuid import uuid4

import anywidget
import traitlets

from tegum.core.arguments import is_integer
from tegum.core.description import short
from tegum.lab.films import PageFilm, packed
from tegum.lab.framed import LabFrame, LabView
from tegum.lab.page_file import module_text

_VIEW = "application/vnd.jupyter.widget-view+json"


class LinkError(traitlets.TraitError, ValueError):
    """A value that a linked name of a view cannot have, in one sentence."""


class _Number(traitlets.TraitType[Any, Any]):
    """A linked number among those that the films have, or None where that may be.

    Args:
        rule: the numbers that a widget allows, and what it must be, in words.
        none: whether it may be None.

    """

    def __init__(self, rule: Callable[[LabWidget], tuple[Sequence[int], str]], *, none: bool = False) -> None:
        super().__init__(None if none else 0, allow_none=none)
        self.rule = rule

    def validate(self, obj: Any, value: Any) -> int | None:
        allowed, words = self.rule(obj)
        if value is None:
            if self.allow_none:
                return None
        elif is_integer(value) and int(value) in allowed:
            return int(value)
        must = f"{self.name} must be {'None or ' * self.allow_none}{words}"
        raise LinkError(f"view(run).{self.name} = {short(value)}: {must}")


def _number(rule: Callable[[LabWidget], tuple[Sequence[int], str]], *, none: bool = False) -> Any:
    """A linked number, which the browser is told of."""
    return _Number(rule, none=none).tag(sync=True)


@final
class LabWidget(anywidget.AnyWidget, LabView):
    """Recorded runs as a widget, which `tegum.view` makes.

    Args:
        several: their films.
        frame: what the notebook keeps of them.

    """

    _esm = module_text()
    _films = traitlets.Bytes(b"").tag(sync=True)
    _address = traitlets.Unicode().tag(sync=True)
    _of = traitlets.Unicode().tag(sync=True)
    _height = traitlets.Int(800).tag(sync=True)
    step: int = _number(lambda own: (range(own._last + 1), f"an int from 0 to {own._last:,}"))
    selection: int | None = _number(lambda own: (range(own._n), f"an int from 0 to {own._n - 1}"), none=True)
    run: int = _number(lambda own: (own._runs, f"one of {short(own._runs)}"))
    spec: int = _number(lambda own: (range(own._specs), f"an int from 0 to {own._specs - 1}"))

    def __init__(self, several: Sequence[PageFilm], frame: LabFrame) -> None:
        first = several[0].header
        self._last = int(first["described"]["last"])
        self._n = int(first["described"]["n"])
        self._runs = [int(each["run"]) for each in first["runs"]]
        self._specs = len(several)
        frame.linked = uuid4().hex
        self._frame: LabFrame | None = frame
        self._words = repr(frame)
        given = {"_films": packed(several), "_address": frame.address, "_of": frame.linked, "_height": frame.height}
        super().__init__(**given, step=self._last, run=self._runs[0])

    def close(self) -> None:
        """Take the widget away, and free what it holds."""
        super().close()
        self._films, self._frame = b"", None

    def __repr__(self) -> str:
        return self._words

    def _ipython_display_(self, **_: Any) -> None:
        """Show it in two parts: what the notebook keeps, and the widget, which replaces it where it lives.

        As one part with two forms JupyterLab would choose the widget, and say that it is missing when there is no
        kernel.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if self._frame is None:
            return
        display({"text/html": self._frame._repr_html_(), "text/plain": repr(self)}, raw=True)
        if hasattr(get_ipython(), "kernel"):
            widget = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            display({_VIEW: widget, "text/plain": ""}, raw=True)
