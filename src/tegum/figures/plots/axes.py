"""What the plots share: the Axes on which they draw, under which style, and what they read from what is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Num, Shaped

from tegum.data.schema import SPEC
from tegum.figures import style as look

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


_IN_FULL = {"rate": "learning rate", "hidden": "hidden dimensions", "batch": "batch size"}
"""Keys of a Spec that are too short to be a label."""


@contextmanager
def drawing_on(ax: Axes | None, style: str | None, size: tuple[float, float], call: str) -> Iterator[Axes]:
    """A context in which the settings of a style hold, and the Axes: those given, or fresh ones of pyplot's.

    Args:
        ax: the Axes to draw on, or None.
        style: a style of matplotlib's; None leaves the user's settings as they are.
        size: width and height of a fresh figure, in inches.
        call: the beginning of every error message.

    Raises:
        ValueError: matplotlib has no such style, or `ax` is none of matplotlib's Axes with straight axes.

    """
    if ax is not None and not hasattr(ax, "transAxes"):
        raise ValueError(f"{call}(ax={type(ax).__name__}): ax must be matplotlib Axes, or None for a new figure")
    if ax is not None and ax.name != "rectilinear":
        raise ValueError(f"{call}(ax with the projection {ax.name!r}): ax must be Axes without a projection")
    if ax is not None:
        with _styled(style, call):
            yield ax
        return
    pyplot = _pyplot()
    with _styled(style, call):
        figure, fresh = pyplot.subplots(figsize=size, layout="constrained")
        try:
            yield fresh
            # The layout decides what ticks there are, and these the layout: who saves the figure once gets the second.
            figure.draw_without_rendering()
        except BaseException:
            pyplot.close(figure)
            raise


def _pyplot() -> ModuleType:
    """Pyplot with its backend loaded; only for new figures of the user's, as a backend may ask for a display.

    Pyplot loads it with the first figure. That of notebooks then makes matplotlib interactive, without which no figure
    is shown; under a style, the end of the style would undo it.
    """
    look.matplotlib()
    from matplotlib import pyplot

    if not pyplot.get_fignums():
        pyplot.draw_if_interactive()
    return pyplot


@contextmanager
def _styled(style: str | None, call: str) -> Iterator[None]:
    context = look.styled(style)
    try:
        context.__enter__()
    except (OSError, UnicodeError):
        rule = "style must be a style of matplotlib's, the path of a style sheet, or None for your own settings"
        raise ValueError(f"{call}(style={style!r}): {rule}") from None
    try:
        yield
    finally:
        context.__exit__(None, None, None)


def inches_of(place: Axes) -> tuple[float, float]:
    """The width and height of a panel in inches, which a layout may still change a little."""
    box = place.get_window_extent()
    dpi = place.get_figure(root=True).dpi  # type: ignore[union-attr]
    return box.width / dpi, box.height / dpi


def variable(call: str, given: Any, name: str, dims: Sequence[str]) -> xr.DataArray:
    """The variable of a Dataset, or the DataArray itself, at the last step; the named dims come last.

    A plain array becomes a DataArray whose last axes are these dims.

    Raises:
        ValueError: the variable is missing, lacks a dim, is empty, or does not hold real numbers.

    """
    import xarray as xr

    if isinstance(given, xr.Dataset):
        if name not in given:
            raise ValueError(f"{call}(run without {name}): it must be a trajectory, or the {name} of one")
        given = given[name]
    elif not isinstance(given, xr.DataArray):
        values = np.asarray(given)
        if values.ndim < len(dims):
            raise ValueError(f"{call}({name} of shape {values.shape}): its axes must be ({', '.join(dims)})")
        lead = [f"axis_{axis}" for axis in range(values.ndim - len(dims))]
        given = xr.DataArray(values, dims=(*lead, *dims))
    if missing := [dim for dim in dims if dim not in given.dims]:
        raise ValueError(f"{call}({name} with dims {given.dims}): it must have the dim {missing[0]!r}")
    check_numbers(call, given, name)
    if "step" in given.dims and "step" not in dims:
        given = given.isel(step=-1)
    return given.transpose(..., *dims)


def check_numbers(call: str, array: xr.DataArray, name: str) -> None:
    """Refuse an array that is empty, or holds anything but real numbers."""
    if empty := [dim for dim in array.dims if not array.sizes[dim]]:
        raise ValueError(f"{call}({name} of shape {array.shape}): there must be at least one {empty[0]}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{call}({name} of {array.dtype}): they must be real numbers")


def cells(array: xr.DataArray, dims: Sequence[str]) -> tuple[Shaped[np.ndarray, "cell ..."], list[str]]:
    """All that an array holds beside these last dims, one after another, with a label for each.

    A label names the coordinates in which cells differ: "density = 0.1, seed = 3".
    """
    lead = [dim for dim in array.dims if dim not in dims]
    values = array.transpose(*lead, *dims).values
    labels = []
    for at in np.ndindex(*(array.sizes[dim] for dim in lead)):
        parts = []
        for dim, place in zip(lead, at, strict=True):
            if array.sizes[dim] == 1:
                continue
            names = [str(name) for name, each in array.coords.items() if each.dims == (dim,) and name != "spec_hash"]
            # Along a parameter of a grid, its value; along Specs, whatever they differ in, and not which seed was best.
            if dim in names and dim != SPEC:
                names = [str(dim)]
            else:
                names = [name for name in names if name not in (SPEC, "seed")] or names
            parts += [f"{name_of(name)} = {shown(array[name].values[place])}" for name in names]
            if not names:
                parts.append(f"{'Spec' if dim == SPEC else dim} {place}")
        labels.append(", ".join(parts))
    return values.reshape(-1, *values.shape[len(lead) :]), labels


def name_of(coordinate: str) -> str:
    """The name of a coordinate as a label: "features.0.density" is a density."""
    last = coordinate.rpartition(".")[2]
    return _IN_FULL.get(last, last.replace("_", " "))


def shown(value: Any) -> str:
    """A value of a coordinate as text."""
    return f"{value:.4g}" if isinstance(value, int | float | np.number) and not isinstance(value, bool) else str(value)


def per_feature(array: xr.DataArray, name: str) -> Shaped[np.ndarray, " feature"] | None:
    """A coordinate along features alone, such as the number of each one's set; None if there is none."""
    if name not in array.coords or array[name].dims != ("feature",):
        return None
    return array[name].values


def beside(names: Iterable[str]) -> float:
    """The inches that a legend of these names takes beside a panel, in the type of tegum's style."""
    return 0.062 * max(map(len, names), default=0)


def is_geometric(values: Float[np.ndarray, " place"]) -> bool:
    """Whether ascending positive numbers are spaced more evenly by ratio than by difference."""
    ordered = np.sort(values)
    if len(ordered) < 3 or ordered[0] <= 0 or ordered[-1] < 4 * ordered[0]:
        return False
    ratios, gaps = np.diff(np.log(ordered)), np.diff(ordered)
    return bool(np.std(ratios) / np.mean(ratios) < np.std(gaps) / np.mean(gaps))


def log_ticks(place: Axes, axis: str, values: Num[np.ndarray, " place"], most: int = 5) -> None:
    """Give an axis a logarithmic scale with few ticks, as plain numbers: 0.1, 0.2, 0.5."""
    getattr(place, f"set_{axis}scale")("log")
    low, high = float(np.min(values)), float(np.max(values))
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = np.outer(decades, steps).ravel()
        ticks = ticks[(ticks >= 0.999 * low) & (ticks <= 1.001 * high)]
        if len(ticks) <= most:
            break
    ticks = ticks[:: max(1, -(-len(ticks) // most))]
    getattr(place, f"set_{axis}ticks")(ticks, [f"{tick:g}" for tick in ticks])
    getattr(place, f"set_{axis}ticks")([], minor=True)


def plain_decades(place: Axes) -> None:
    """Give a logarithmic axis of values that spans little more than a decade ticks between its powers of ten."""
    low, high = place.get_ylim()
    if place.get_yscale() == "log" and low > 0 and high < 200 * low:
        log_ticks(place, "y", np.array([low, high]))
        place.set_ylim(low, high)
