"""The loss over training, of one run or of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from tegum.core.arguments import refusing
from tegum.figures import style as look
from tegum.figures.plots.axes import cells, check_numbers, drawing_on, plain_decades

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_WIDE = 5
"""Losses that span more than this factor are drawn on a log axis."""

_SPREAD = 10
"""Steps have a log axis if the last interval is longer than the first one by more than this factor."""


@refusing
def loss(
    run: xr.Dataset | xr.DataArray,
    *,
    ax: Axes | None = None,
    exact: bool = False,
    x_scale: Literal["auto", "log", "linear"] = "auto",
    y_scale: Literal["auto", "log", "linear"] = "auto",
    labels: bool = True,
    style: str | None = look.SHEET,
) -> Axes:
    """Draw the loss over training: a line for each run, and the median of runs that differ by their seed alone.

    Args:
        run: a trajectory, or its loss with the dims (..., step).
        ax: where to draw; by default on a new figure.
        exact: whether to compute the population loss at every snapshot, in place of the loss that was recorded.
        x_scale: the scale of the steps (for a flow, of the time); "auto" takes the logarithm if snapshots are closer
            together at the beginning than at the end.
        y_scale: the scale of the loss; "auto" takes the logarithm if it spans more than a factor of 5.
        labels: whether a legend names the values in which Specs differ, if there are several and at most six.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: there is no loss, a scale is unknown, or nothing has a logarithm; or as for
            `tg.population_loss_along`.

    Example:
        >>> import tegum as tg
        >>> import xarray as xr
        >>> falling = xr.DataArray([8.0, 4.0, 1.0], dims="step", coords={"step": [0, 10, 20]})
        >>> ax = tg.plot.loss(falling)
        >>> ax.get_yscale(), ax.get_ylabel()
        ('log', 'loss, sum over features')

    """
    call = "loss"
    for name, scale in (("x_scale", x_scale), ("y_scale", y_scale)):
        if scale not in ("auto", "log", "linear"):
            raise ValueError(f"{call}({name}={scale!r}): {name} must be 'auto', 'log' or 'linear'")
    data: Any = run
    values = _losses(call, data, exact=exact)
    given = values if "seed" in values.dims else values.expand_dims("seed")
    groups, names = cells(given, ("seed", "step"))
    flow = "time" in data.coords
    over = (data["time"] if flow else _steps(values)).broadcast_like(given)
    times, _ = cells(over, ("seed", "step"))
    for name, scale, drawn in (("x_scale", x_scale, times[0, 0]), ("y_scale", y_scale, groups)):
        if scale == "log" and not (drawn > 0).any():
            what = "step" if name == "x_scale" else "loss"
            raise ValueError(f"{call}({name}='log'): no {what} is positive, and so none has a logarithm")
    with drawing_on(ax, style, (4.4, 3.0), call) as place:
        _draw(place, groups, times, names if labels else [""] * len(names))
        finite = groups[np.isfinite(groups)]
        wide = bool(finite.size) and finite.max() > _WIDE * finite.min() > 0
        if y_scale == "log" or (y_scale == "auto" and wide):
            place.set_yscale("log")
        x = times[0, 0]
        if x_scale == "log" or (x_scale == "auto" and _is_spread(x)):
            place.set_xscale("log")
            place.set_xlim(float(x[x > 0][0]), float(x[-1]))
        place.set_xlabel(f"{'time' if flow else 'training step'}{' (log scale)' * (place.get_xscale() == 'log')}")
        place.set_ylabel(f"{'population loss' if exact else 'loss'}, sum over features")
        if y_scale != "linear":
            plain_decades(place)
    return place


def _losses(call: str, data: Any, *, exact: bool) -> xr.DataArray:
    """The losses of a trajectory, recorded or computed, or those that are given as such."""
    held = getattr(data, "data_vars", ())
    if exact:
        if "weights" not in held:
            raise ValueError(f"{call}(exact=True): it computes the loss from the weights of a trajectory")
        from tegum.training.exact_losses import population_loss_along

        return population_loss_along(data)
    values = data["loss"] if "loss" in held else data
    if not hasattr(values, "to_dataset") or "step" not in values.dims:
        raise ValueError(f"{call}(run): it must be a trajectory, or losses with the dim 'step'")
    check_numbers(call, values, "losses")
    return values


def _steps(values: xr.DataArray) -> xr.DataArray:
    import xarray as xr

    return values["step"] if "step" in values.coords else xr.DataArray(np.arange(values.sizes["step"]), dims="step")


def _is_spread(x: Float[np.ndarray, " step"] | Int[np.ndarray, " step"]) -> bool:
    positive = x[x > 0]
    return len(positive) > 3 and bool(positive[-1] - positive[-2] > _SPREAD * (positive[1] - positive[0]))


def _draw(place: Axes, groups: Float[np.ndarray, "group seed step"], over: np.ndarray, names: list[str]) -> None:
    coloured = len(groups) <= len(look.ACCENTS)
    runs = groups.shape[0] * groups.shape[1]
    alone = groups.shape[1] == 1
    for number, (losses, times) in enumerate(zip(groups, over, strict=True)):
        colour = look.accent(number if len(groups) > 1 else 1) if coloured else look.muted()
        label = names[number] if coloured and len(groups) > 1 and names[number] else None
        if not alone:
            share = max(0.06, min(0.5, 8 / runs))
            place.plot(times.T, losses.T, color=colour, lw=0.6, alpha=share)
        # A run that has diverged no longer has a loss.
        alive = np.isfinite(losses).any(0)
        middle = np.nanmedian(losses[:, alive], axis=0)
        place.plot(times[0, alive], middle, color=colour, lw=1.5 if coloured else 0.8, label=label)
    if coloured and len(groups) > 1 and any(names):
        place.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4, labelspacing=0.3)
