"""The hidden dimensions that a model spends on each feature, over density or another parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.core.arguments import refusing
from tegum.figures import style as look
from tegum.figures.plots.axes import cells, drawing_on, is_geometric, log_ticks, name_of, variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


@refusing
def dimensions_per_feature(
    run: xr.Dataset | xr.DataArray,
    *,
    ax: Axes | None = None,
    over: str = "density",
    style: str | None = look.SHEET,
) -> Axes:
    """Draw D* = m / |W|²_F, the hidden dimensions spent on each represented feature, over the inverse density.

    A dot is a run, and the line joins the means. Dotted lines are D* = 1, where no dimension is shared, and 1/2, where
    features are in digons; there it sticks (Elhage et al. 2022, "The Geometry of Superposition").

    Args:
        run: a trajectory of several Specs, of which the last step is read, or its weights.
        ax: where to draw; by default on a new figure.
        over: the parameter over which to draw; "density" is drawn as 1/p, so that sparser models are to the right.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: there are no weights, or no such parameter with one value for each run.

    Example:
        >>> import tegum as tg
        >>> specs = [tg.Spec(features=[tg.Independent(2, p)], hidden=1, training=tg.Sampled(steps=1)) for p in (0.1, 1)]
        >>> ax = tg.plot.dimensions_per_feature(tg.train(specs, progress=False))
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('1 / density', 'dimensions per feature, m / |W|²')

    """
    call = "dimensions_per_feature"
    from tegum.analysis.geometry.measures import dimensions_per_feature as measure

    array = variable(call, run, "weights", ("feature", "hidden"))
    at = _parameter(call, array, over)
    measured: xr.DataArray = measure(array)  # type: ignore[assignment]
    values, places = (cells(each, ())[0] for each in (measured, at.broadcast_like(measured)))
    x = 1 / places if over == "density" else places
    with drawing_on(ax, style, (4.0, 2.8), call) as place:
        draw_line(place, x, values)
        if is_geometric(np.unique(x)):
            log_ticks(place, "x", x)
        name = "1 / density" if over == "density" else name_of(over)
        place.set_xlabel(f"{name} (log scale)" if place.get_xscale() == "log" else name)
        place.set_ylim(0, 1.08)
        place.set_ylabel("dimensions per feature, m / |W|²")
    return place


def draw_line(
    place: Axes, x: Float[np.ndarray, " run"], values: Float[np.ndarray, " run"], *, dots: bool = True
) -> None:
    """Draw a dot for each run, the line through their means, and the levels 1 and 1/2."""
    for level in (1.0, 0.5):
        place.axhline(level, color=look.muted(), lw=0.7, ls=(0, (1, 2)), zorder=1)
    finite = np.isfinite(values)
    if dots:
        place.plot(x[finite], values[finite], "o", ms=3, mew=0, color=look.accent(1), alpha=0.6, zorder=3)
    at = np.unique(x[finite])
    means = [values[finite & (x == each)].mean() for each in at]
    place.plot(
        at, means, color=look.accent(1) if dots else look.ink(), lw=1.2, marker=None if dots else "s", ms=2.4,
        zorder=2.5, label="dimensions per feature, m / |W|²",
    )  # fmt: skip


def _parameter(call: str, array: xr.DataArray, over: str) -> xr.DataArray:
    """The values of a parameter, one for each Spec or run."""
    own = [name for name in array.coords if name == over or str(name).rpartition(".")[2] == over]
    for name in sorted(own, key=lambda each: "feature" in array[each].dims):
        values = array[name]
        if "feature" in values.dims:
            if not (values == values.isel(feature=0)).all():
                continue
            values = values.isel(feature=0, drop=True)
        if "hidden" not in values.dims and values.dtype.kind in "iuf":
            return values
    known = ", ".join(repr(str(name)) for name in array.coords if array[name].dtype.kind in "iuf")
    rule = f"it must be a coordinate with one number for each run; there are {known or 'none'}"
    raise ValueError(f"{call}(over={over!r}): {rule}")
