"""`tg.view`: recorded runs in a notebook, as a widget that is linked to its cells, or as a page where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tegum.core.arguments import refusing
from tegum.lab.films import films
from tegum.lab.framed import LabFrame, LabView, kept

if TYPE_CHECKING:
    import xarray as xr

_LOWEST, _HIGHEST = 240, 4000
"""The least and the largest height, in pixels of a style sheet."""


@refusing
def view(
    run: xr.Dataset, *, seeds: Sequence[int] | None = None, every: int | None = None, height: int = 800
) -> LabView:
    """Show recorded runs in a notebook, with the lab's views of them: scene, loss, dimensionalities, Gram matrix.

    In JupyterLab, VS Code and marimo it is a widget whose `step`, `selection`, `run` and `spec` are linked both ways:
    a cell can set the step that is shown, and read which feature is selected; in marimo, cells that read them are run
    again with `mo.ui.anywidget(tg.view(run))`. Without the extra `notebook` the page of the lab is shown in its place,
    which plays the same runs, but cannot be asked.

    A notebook keeps that page, too, so that it shows the runs where no kernel is: opened again, or exported as HTML.
    It holds as many runs and steps as 2 MB can, and says which.

    Args:
        run: a trajectory, of one Spec or of several.
        seeds: the runs to take; by default the first ones, as many as a small film can hold, at most 64.
        every: how many recorded steps to go on from frame to frame; the last one is always taken. By default as few as
            leave at most 600 frames.
        height: how high it is, in pixels from 240 to 4000; what is higher scrolls.

    Returns:
        The widget, which a notebook shows when it ends a cell; `close()` frees what it holds. Its `step` is one of
        training, at most the last recorded one; `selection` is the number of a feature, or None; `run` is the number of
        the run, and `spec` that of its Spec among several.

    Raises:
        ValueError: the Dataset is no trajectory, has none of these runs, or they are too many for a film.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=2, training=tg.Sampled(steps=4), snapshots=2)
        >>> shown = tg.view(tg.train(spec, progress=False))
        >>> shown.step = 4
        >>> shown.selection = 3
        Traceback (most recent call last):
            ...
        tegum.lab.widget.LinkError: view(run).selection = 3: selection must be None or an int from 0 to 2
        >>> shown.step, shown.selection, shown.run
        (4, None, 0)

    """
    if not _LOWEST <= height <= _HIGHEST:
        raise ValueError(f"view(height={height}): height must lie between {_LOWEST} and {_HIGHEST}")
    several = films(run, seeds=seeds, every=every, call="view")
    frame = LabFrame(kept(run, several), height)
    if find_spec("anywidget") is None:
        return frame
    from tegum.lab.widget import LabWidget

    return LabWidget(several, frame)
