"""Which share of features, or of runs, ends in which polytope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Num

from tegum.core.arguments import refusing
from tegum.figures import style as look
from tegum.figures.plots.axes import beside, cells, drawing_on, name_of, shown, variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

OTHERS, UNREPRESENTED = "others", "not represented"


@refusing
def polytopes(
    run: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    ax: Axes | None = None,
    of: Literal["features", "runs"] = "features",
    over: str | None = None,
    most: int = 6,
    style: str | None = look.SHEET,
) -> Axes:
    """Draw which share of the features, or of the runs, ends in which polytope, as stacked bars.

    Runs that diverged are left out.

    A feature belongs to the polytope of its tegum factor, such as a digon; a run is called by the whole that its
    features form, such as "5-orthoplex (5 digons)".

    Args:
        run: a trajectory, of which the last step is read, or weights W, shape (..., feature, hidden).
        ax: where to draw; by default on a new figure.
        of: what is counted: "features" or "runs".
        over: a coordinate by whose values there is a bar each, such as "features.density"; by default that in which
            Specs differ, if there is one, and otherwise a single bar for all runs.
        most: the number of polytopes that are named, the most frequent first; the others are counted together.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: there are no weights, all runs diverged, or there is no such coordinate; or as for
            `tg.name_polytope`.

    Example:
        Two features that are antipodal, and two that are absent.

        >>> import numpy as np
        >>> import tegum as tg
        >>> ax = tg.plot.polytopes(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
        >>> [(bar.get_label(), float(bar.patches[0].get_height())) for bar in ax.containers]
        [('digon', 0.5), ('not represented', 0.5)]

    """
    call = "polytopes"
    if of not in ("features", "runs"):
        raise ValueError(f"{call}(of={of!r}): of must be 'features' or 'runs'")
    if most < 1:
        raise ValueError(f"{call}(most={most!r}): most must be at least 1")
    array = variable(call, run, "weights", ("feature", "hidden"))
    counts = counted(call, array, of, over)
    if not any(counts.values()):
        raise ValueError(f"{call}(run): every run has diverged, and there is nothing to count")
    named = [name for name, _ in sum(counts.values(), Counter()).most_common(most)]
    size = 1.1 + 0.35 * max(len(counts), 2) + beside([*named, UNREPRESENTED]), 2.7
    with drawing_on(ax, style, size, call) as place:
        _draw(place, counts, most)
        name = over or _differing(array)
        if name is not None and len(counts) > 1:
            place.set_xlabel(name_of(name))
        place.set_ylabel(f"share of {of}")
    return place


def counted(call: str, array: xr.DataArray, of: str, over: str | None) -> dict[str, Counter[str]]:
    """For each value of the coordinate, as text, how many features or runs end in each polytope."""
    from tegum.analysis.geometry.polytopes import name_polytope

    name = over or _differing(array)
    if name is not None:
        if name not in array.coords or array[name].ndim != 1 or array[name].dims[0] in ("feature", "hidden"):
            known = ", ".join(repr(str(each)) for each in array.coords if array[each].ndim == 1)
            rule = f"over must be a coordinate along one dim of the runs; there are {known}"
            raise ValueError(f"{call}(over={name!r}): {rule}")
        along = array[name].dims[0]
        array = array.transpose(along, ..., "feature", "hidden")
        bars = [(label, array.isel({along: k})) for k, label in enumerate(_labels(array[name].values.tolist()))]
    else:
        bars = [("", array)]
    counts: dict[str, Counter[str]] = {}
    for label, part in bars:
        own = counts.setdefault(label, Counter())
        for weights in cells(part, ("feature", "hidden"))[0]:
            if not np.isfinite(weights).all():
                continue
            found = name_polytope(weights)
            if of == "runs":
                own[found.name] += 1
                continue
            for factor in found.factors:
                own[factor.name] += len(factor.features)
            own[UNREPRESENTED] += len(found.unrepresented)
    return counts


def _labels(values: list[Any]) -> list[str]:
    """The values as text, in full where shorter texts would be alike."""
    labels = list(map(shown, values))
    return labels if len(set(labels)) == len(set(values)) else list(map(str, values))


def _differing(array: xr.DataArray) -> str | None:
    """The coordinate in which the runs of a trajectory differ besides the seed, if there is one alone."""
    names = [
        str(name)
        for name, each in array.coords.items()
        if each.ndim == 1
        and each.dims[0] not in ("seed", "feature", "hidden")
        and each.size > 1
        and name != "spec_hash"
    ]
    return names[0] if len(names) == 1 else None


def _draw(place: Axes, counts: Mapping[str, Counter[str]], most: int) -> None:
    total: Counter[str] = sum(counts.values(), Counter())
    absent = total.pop(UNREPRESENTED, 0)
    rows = [name for name, _ in total.most_common(most)]
    shares: dict[str, list[float]] = {name: _shares(counts, [name]) for name in rows}
    if rest := [name for name in total if name not in rows]:
        shares[OTHERS] = _shares(counts, rest)
    if absent:
        shares[UNREPRESENTED] = _shares(counts, [UNREPRESENTED])
    colours: dict[str, Any] = {name: look.accent(k) for k, name in enumerate(rows)}
    if len(rows) > len(look.ACCENTS):
        colours = dict(zip(rows, look.calm_colours(len(rows)), strict=True))
    colours |= {OTHERS: look.muted(), UNREPRESENTED: look.band()}
    stack_bars(place, np.arange(len(counts)), shares, colours, 0.8)
    place.set_xticks(range(len(counts)), list(counts))
    if list(counts) == [""]:
        place.tick_params(axis="x", length=0)
    place.set_xlim(-0.6, len(counts) - 0.4)


def _shares(counts: Mapping[str, Counter[str]], names: Sequence[str]) -> list[float]:
    return [sum(own[name] for name in names) / max(sum(own.values()), 1) for own in counts.values()]


def stack_bars(
    place: Axes,
    at: Num[np.ndarray, " bar"],
    shares: Mapping[str, Sequence[float]],
    colours: Mapping[str, Any],
    width: float | Float[np.ndarray, " bar"],
    *,
    legend: bool = True,
) -> None:
    """Draw bars of shares stacked from 0 to 1, with a legend at the right."""
    below = np.zeros(len(at))
    for name, share in shares.items():
        place.bar(at, share, width, below, color=colours[name], lw=0, label=name)
        below = below + np.asarray(share)
    place.set_ylim(0, 1)
    place.set_yticks([0, 0.5, 1])
    if legend:
        place.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9, handletextpad=0.4, labelspacing=0.3,
            reverse=True,
        )  # fmt: skip
