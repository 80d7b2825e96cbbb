"""The Gram matrix of the embeddings as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.core.arguments import refusing
from tegum.figures import style as look
from tegum.figures.plots.axes import cells, drawing_on, per_feature, variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


@refusing
def gram(
    run: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    ax: Axes | None = None,
    by_set: bool = False,
    colour_bar: bool = True,
    limit: float | None = None,
    style: str | None = look.SHEET,
) -> Axes:
    """Draw the Gram matrix W Wᵀ of one run: squared norms on the diagonal, interference beside it.

    Args:
        run: a trajectory of one run, of which the last step is drawn, or weights W, shape (feature, hidden).
        ax: where to draw; by default on a new figure.
        by_set: whether lines separate the sets of features, and ticks number the sets and not the features.
        colour_bar: whether to draw one beside it.
        limit: the value that has the strongest colour; by default the largest that occurs.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: there are no weights or those of several runs, or `by_set` without sets.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> ax = tg.plot.gram(np.array([[1.0], [-1.0]]), colour_bar=False)
        >>> ax.images[0].get_array().tolist()
        [[1.0, -1.0], [-1.0, 1.0]]

    """
    call = "gram"
    array = variable(call, run, "weights", ("feature", "hidden"))
    stack, _ = cells(array, ("feature", "hidden"))
    if len(stack) != 1:
        raise ValueError(f"{call}({len(stack)} runs): it draws one; choose it, as run.isel(seed=0) does")
    number = per_feature(array, "set")
    if by_set and number is None:
        raise ValueError(f"{call}(by_set=True): the run does not say to which set each feature belongs")
    W = stack[0].astype(float)
    with np.errstate(invalid="ignore"):  # a run that has diverged: its cells stay empty
        products = W @ W.T
    most = float(np.abs(products[np.isfinite(products)]).max(initial=0.0)) if limit is None else limit
    if not most > 0:
        most = 1.0
    with drawing_on(ax, style, (3.3, 2.8), call) as place:
        # Without spines a matrix of white entries has an end, too.
        for spine in place.spines.values():
            spine.set_visible(True)
        picture = place.imshow(products, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="none")
        place.set_xlabel("feature")
        place.set_ylabel("feature")
        if by_set and number is not None:
            begins = np.flatnonzero(np.diff(number)) + 1
            for begin in begins.tolist():
                for line in (place.axhline, place.axvline):
                    line(begin - 0.5, color="black", lw=0.7)
            edges = np.array([0, *begins.tolist(), len(number)])
            middles, names = (edges[1:] + edges[:-1] - 1) / 2, [str(number[at]) for at in edges[:-1]]
            place.set_xticks(middles, names)
            place.set_yticks(middles, names)
            place.set_xlabel("set of features")
            place.set_ylabel("set of features")
        else:
            from matplotlib.ticker import MaxNLocator

            for axis in (place.xaxis, place.yaxis):
                axis.set_major_locator(MaxNLocator(7, integer=True))
        if colour_bar:
            bar = place.figure.colorbar(picture, cax=place.inset_axes((1.04, 0.0, 0.05, 1.0)))
            bar.set_label("W Wᵀ")
    return place
