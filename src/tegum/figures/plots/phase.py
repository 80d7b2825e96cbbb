"""A phase diagram: one measure over any two parameters of a grid."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.data.schema import SPEC
from tegum.figures import style as look
from tegum.figures.plots.axes import beside, check_numbers, drawing_on, is_geometric, log_ticks, name_of, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_MOST_NAMES = 12
"""The most categories that have colours of their own."""

_MOST_TICKS, _LONGEST_TICK = 6, 6
"""Up to this many values of a parameter are all labelled, if none of them has more letters."""

_NAMES = "OUSTb"
"""The kinds of dtype that are drawn as names; others are numbers."""

_LABEL_WIDTH = 34
"""The most letters of a line beside the colour bar, which is as high as the map."""

_LOSS = "loss, sum over features"
"""What the colours of a trajectory's loss show; the loss describes itself at greater length than there is room for."""


@refusing
def phase(
    data: xr.Dataset | xr.DataArray,
    measure: str | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    ax: Axes | None = None,
    limits: Sequence[float] | None = None,
    contours: Sequence[float] | None = None,
    colours: Any = None,
    label: str | None = None,
    style: str | None = look.SHEET,
) -> Axes:
    """Draw a phase diagram: a measure over two parameters, one cell for each pair of their values.

    Numbers have a colour scale with a bar; names, such as those of polytopes, have a colour each and a legend. Of runs
    that differ by their seed alone the mean is drawn, of names the most frequent one.

    Args:
        data: a measure over the grid, with a dim for each parameter, or a dim `spec` with both as coordinates; or a
            Dataset that holds it. Of a dim `step` the last is taken.
        measure: the name of the measure, if it is a Dataset; by default its loss.
        x: the parameter from left to right; by default the last of two.
        y: the parameter from bottom to top; by default the other one.
        ax: where to draw; by default on a new figure.
        limits: the values with the darkest and the lightest colour; by default the least and the largest.
        contours: values at which lines are drawn.
        colours: for names, the colour of each, as a mapping; for numbers, a colour map. By default those of the style.
        label: what the colours show; by default the name of the measure.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: the measure is not there, does not vary over exactly these two parameters, or has too many names;
            or an option does not fit what is drawn.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> import xarray as xr
        >>> grid = {"importance": [0.5, 1.0, 2.0], "density": [0.01, 0.1]}
        >>> share = xr.DataArray(np.ones((3, 2)), dims=list(grid), coords=grid, name="share")
        >>> ax = tg.plot.phase(share, x="density")
        >>> ax.get_xlabel(), ax.get_ylabel(), ax.collections[0].get_array().shape
        ('density', 'importance (log scale)', (3, 2))

    """
    call = "phase"
    array, names = _over_two(call, _chosen(call, data, measure), x, y)
    array = _in_order(call, array, names)
    values, across, up = array.values, array[names[0]].values, array[names[1]].values
    named = values.dtype.kind in _NAMES
    _check(call, values.shape, limits, contours, colours, named=named)
    described = _LOSS if array.name == "loss" else str(array.attrs.get("long_name") or array.name or "")
    shown_as = textwrap.fill(label or described, _LABEL_WIDTH)
    # A legend of short names takes no more than a colour bar.
    legend = max(0.0, beside(map(shown, values.flat)) - 1.0) if named else 0.0
    with drawing_on(ax, style, (4.0 + legend, 2.9), call) as place:
        at_x, at_y = _scale(place, "x", across, name_of(names[0])), _scale(place, "y", up, name_of(names[1]))
        options: dict[str, Any] = {"shading": "flat", "rasterized": True}
        if named:
            _draw_names(place, (at_x, at_y), values, shown_as, colours, options)
        else:
            given = np.asarray(values, float)
            low, high = (None, None) if limits is None else limits
            picture = place.pcolormesh(at_x, at_y, given.T, cmap=colours, vmin=low, vmax=high, **options)
            if contours is not None:
                place.contour(across, up, given.T, levels=contours, colors=[look.ink()], linestyles=":", linewidths=1.2)
            bar = place.figure.colorbar(picture, cax=place.inset_axes((1.03, 0.0, 0.05, 1.0)))
            bar.set_label(shown_as)
        for spine in place.spines.values():
            spine.set_visible(False)
    return place


def _chosen(call: str, data: Any, measure: str | None) -> xr.DataArray:
    import xarray as xr

    if isinstance(data, xr.Dataset):
        name = "loss" if measure is None else measure
        if name not in data:
            from tegum.core.description import nearest

            raise ValueError(f"{call}(measure={name!r}): {nearest(name, [str(each) for each in data.data_vars])}")
        array = data[name]
    elif isinstance(data, xr.DataArray):
        array = data
    else:
        raise ValueError(f"{call}(data={type(data).__name__}): data must be a Dataset or a DataArray")
    if array.dtype.kind not in _NAMES or not array.size:
        check_numbers(call, array, str(array.name or "data"))
    return array.isel(step=-1) if "step" in array.dims else array


def _check(
    call: str,
    shape: tuple[int, ...],
    limits: Sequence[float] | None,
    contours: Sequence[float] | None,
    colours: Any,
    *,
    named: bool,
) -> None:
    """Refuse options that do not fit what is drawn."""
    from matplotlib import colormaps
    from matplotlib.colors import Colormap, is_color_like

    for option, given in (("limits", limits), ("contours", contours)):
        if given is not None and named:
            raise ValueError(f"{call}({option}={given!r}): {option} must be None, as names have no order")
    if limits is not None and (len(limits) != 2 or not limits[0] < limits[1]):
        raise ValueError(f"{call}(limits={limits!r}): limits must be two numbers, the smaller one first")
    if contours is not None and (not np.all(np.diff(contours) > 0) or min(shape) < 2):
        rule = "contours must be numbers in ascending order" if min(shape) > 1 else "they take a grid of at least 2 × 2"
        raise ValueError(f"{call}(contours={contours!r}): {rule}")
    if colours is None:
        return
    if not named and not (isinstance(colours, Colormap) or (isinstance(colours, str) and colours in colormaps)):
        rule = "colours must be a colour map of matplotlib's, or the name of one"
        raise ValueError(f"{call}(colours={short(colours)}): {rule}")
    if named and not (isinstance(colours, Mapping) and all(map(is_color_like, colours.values()))):
        rule = "colours must be a mapping from names to colours of matplotlib's"
        raise ValueError(f"{call}(colours={short(colours)}): {rule}")


def _over_two(call: str, array: xr.DataArray, x: str | None, y: str | None) -> tuple[xr.DataArray, tuple[str, str]]:
    """The measure with the two parameters as its dims, x first; the mean over runs, or their most frequent name."""
    lead = [str(dim) for dim in array.dims if dim != "seed"]
    if lead == [SPEC]:
        array, lead = _spread(call, array, x, y)
    names = _named(call, lead, x, y)
    for name in names:
        if name not in array.coords:
            array = array.assign_coords({name: np.arange(array.sizes[name])})
    if extra := [dim for dim in array.dims if dim not in (*names, "seed")]:
        rule = "it must vary over two parameters, and besides these only over seeds"
        raise ValueError(f"{call}(data with dims {array.dims}): {rule}; select along {extra[0]!r}")
    array = array.transpose(*names, ...)
    if array.ndim == 2:
        return array, names
    if array.dtype.kind not in "OUST":
        return array.mean("seed", keep_attrs=True), names
    found = [Counter(each).most_common(1)[0][0] for each in array.values.reshape(-1, array.shape[-1]).tolist()]
    first = array.isel(seed=0, drop=True)
    return first.copy(data=np.array(found, object).reshape(first.shape)), names


def _in_order(call: str, array: xr.DataArray, names: tuple[str, str]) -> xr.DataArray:
    """The measure with the numbers of both parameters ascending, as edges of cells must."""
    for name in names:
        places = array[name].values
        if places.dtype.kind not in "iuf":
            continue
        if np.isnan(places.astype(float)).any() or len(np.unique(places)) < len(places):
            raise ValueError(f"{call}(data): the values of {name!r} must be numbers that differ, to have a cell each")
        array = array.sortby(name)
    return array


def _spread(call: str, array: xr.DataArray, x: str | None, y: str | None) -> tuple[xr.DataArray, list[str]]:
    """The measure over the two values in which Specs differ, in place of over Specs."""
    along = [
        str(name)
        for name, each in array.coords.items()
        if each.dims == (SPEC,) and name not in (SPEC, "spec_hash") and len(np.unique(each.values)) > 1
    ]
    two = [name for name in (x, y) if name is not None]
    if len(two) < 2:
        two += [name for name in along if name not in two]
    if len(two) != 2 or not set(two) <= set(along):
        raise ValueError(f"{call}(x={x!r}, y={y!r}): the Specs must differ in two values; they do in {along}")
    if len(set(zip(*(array[name].values.tolist() for name in two), strict=True))) < array.sizes[SPEC]:
        raise ValueError(f"{call}(x={x!r}, y={y!r}): several Specs have the same two values; select some of them")
    others = [name for name in array.coords if SPEC in array[name].dims and name not in two]
    return array.drop_vars(others).set_index({SPEC: two}).unstack(SPEC), two[::-1]


def _named(call: str, dims: Sequence[str], x: str | None, y: str | None) -> tuple[str, str]:
    for name, value in (("x", x), ("y", y)):
        if value is not None and value not in dims:
            raise ValueError(f"{call}({name}={value!r}): {name} must be a parameter of the grid; it has {list(dims)}")
    rest = [dim for dim in dims if dim not in (x, y)]
    across = x or (rest.pop() if rest else None)
    up = y or (rest.pop() if rest else None)
    if across is None or up is None or across == up:
        raise ValueError(f"{call}(x={x!r}, y={y!r}): there must be two parameters; the measure has {list(dims)}")
    return across, up


def _scale(place: Axes, axis: str, values: np.ndarray, name: str) -> np.ndarray:
    """Scale an axis for the values of a parameter, and give the edges of their cells."""
    set_ticks, set_label = (getattr(place, f"set_{axis}{part}") for part in ("ticks", "label"))
    if values.dtype.kind not in "iuf":
        set_ticks(range(len(values)), [shown(value) for value in values])
        set_label(name)
        return np.arange(len(values) + 1) - 0.5
    geometric = is_geometric(values.astype(float))
    set_label(f"{name} (log scale)" if geometric else name)
    if geometric:
        log_ticks(place, axis, values)
    labels = [shown(value) for value in values]
    if len(values) <= _MOST_TICKS and max(map(len, labels)) <= _LONGEST_TICK:
        set_ticks(values, labels)
    elif not geometric:
        getattr(place, f"{axis}axis").set_major_locator(_few())
    return np.exp(_edges(np.log(values))) if geometric else _edges(values.astype(float))


def _edges(values: Float[np.ndarray, " place"]) -> Float[np.ndarray, " edge"]:
    """The ends of cells around values in order: half-way between them, and as far beyond the outermost."""
    if len(values) == 1:
        half = 0.5 * abs(values[0]) or 0.5
        return np.array([values[0] - half, values[0] + half])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _draw_names(
    place: Axes,
    at: tuple[np.ndarray, np.ndarray],
    values: np.ndarray,
    label: str,
    colours: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    words = np.array([[shown(each) for each in row] for row in values])
    frequent = [name for name, _ in Counter(words.ravel().tolist()).most_common()]
    order = [name for name in colours if name in frequent] if colours else []
    order += [name for name in frequent if name not in order]
    if len(order) > _MOST_NAMES:
        raise ValueError(
            f"phase({len(order)} names): at most {_MOST_NAMES} have colours of their own; join some of them"
        )
    strong = [look.pale(look.accent(k), 0.35) for k in range(len(look.ACCENTS))]
    own = strong if len(order) <= len(strong) else look.calm_colours(len(order))
    painted = [(colours or {}).get(name, colour) for name, colour in zip(order, own, strict=False)]
    numbers = np.vectorize(order.index)(words)
    place.pcolormesh(*at, numbers.T, cmap=ListedColormap(painted), vmin=-0.5, vmax=len(order) - 0.5, **options)
    handles = [Patch(facecolor=colour, label=name) for name, colour in zip(order, painted, strict=True)]
    place.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9, handletextpad=0.4,
        labelspacing=0.3, title=label or None, alignment="left",
    )  # fmt: skip
