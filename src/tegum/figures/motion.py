"""A run to watch: its embeddings in the plane or in space, beside the loss, as an MP4 or a GIF.

The embeddings keep one pose (`tegum.analysis.views`): what moves is learning, not the gauge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from jaxtyping import Int

from tegum.figures import style
from tegum.figures.films import Image, write_gif, write_mp4

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Clock = Literal["snapshots", "linear", "logarithmic"]
"""What goes on evenly: snapshots, steps, or the logarithm of steps."""

_INCHES = (9.6, 4.8)
"""Of a frame, whose resolution follows from the width in pixels."""

_NARROWEST, _WIDEST = 320, 3840
"""Pixels."""

_LABELLED = 12
"""So many features at most are numbered."""

_DECADE = 10.0
"""The loss is drawn on a log axis where it falls to less than a part of so much."""


def render(
    run: xr.Dataset,
    target: str | os.PathLike[str],
    *,
    seed: int = 0,
    spec: int | None = None,
    dimensions: int | None = None,
    clock: Clock = "snapshots",
    start: int | None = None,
    stop: int | None = None,
    every: int = 1,
    fps: int = 25,
    seconds: float | None = None,
    width: int = 960,
    turn: float = 0.0,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write one run of a trajectory as a film: an MP4 or a GIF, by the ending of `target`.

    A frame shows the last snapshot recorded up to its step; nothing is made up between snapshots. A diverged run ends
    at its last finite snapshot.

    Args:
        run: a trajectory, or one run of it.
        target: the file; it appears complete or not at all.
        seed: of the run.
        spec: the number of its Spec, where there are several.
        dimensions: 2 or 3; by default 2 where m ≤ 2, and 3 otherwise. More hidden dimensions are projected on the
            leading principal directions of the last embeddings, and the frame says so.
        clock: what goes on evenly; by default each snapshot is shown for as long.
        start: no snapshot before this step.
        stop: no snapshot after this step.
        every: only every so many snapshots, and the last.
        fps: frames per second, from 1 to 60; a GIF can show 50 at most.
        seconds: how long; by default there are as many frames as snapshots.
        width: of a frame, in pixels, even; it is half as high.
        turn: by how many degrees the camera turns over the whole film, in three dimensions.
        overwrite: replace a file.
        progress: called with "frames" and the part that is done.

    Returns:
        The path of the file.

    Raises:
        ValueError: an option is out of range, there is no such run, or nothing to animate.
        FileExistsError: the file is there and is not to be replaced.
        FileNotFoundError: its folder is not there.
        OSError: the file could not be written.

    """
    from tegum.data.atomic import replacing_file

    path = Path(target)
    call = f"render({str(path)!r})"
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise ValueError(f"{call}: the name of the file must end in .mp4 or .gif")
    for name, value, low, high in (
        ("fps", fps, 1, 60),
        ("every", every, 1, None),
        ("width", width, _NARROWEST, _WIDEST),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low or value > (high or value):
            rule = f"an int of at least {low}" if high is None else f"an int from {low} to {high}"
            raise ValueError(f"render({name}={value!r}): {name} must be {rule}")
    if seconds is not None and not 0 < seconds < np.inf:
        raise ValueError(f"render(seconds={seconds!r}): seconds must be a positive finite number")
    film = Film(
        chosen(run, seed=seed, spec=spec, start=start, stop=stop, every=every),
        dimensions=dimensions,
        clock=clock,
        width=int(width),
        turn=turn,
    )
    frames = film.schedule(None if seconds is None else max(2, round(fps * seconds)))
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{call}: the folder {str(path.parent)!r} does not exist; make it first")

    def images() -> Iterator[Image]:
        for number, at in enumerate(frames.tolist()):
            if progress is not None:
                progress("frames", number / len(frames))
            yield film.image(at, number / max(1, len(frames) - 1))

    with replacing_file(path.absolute(), overwrite=overwrite, call=call) as part:
        if path.suffix.lower() == ".mp4":
            write_mp4(part, images(), film.size, int(fps), call)
        else:
            # The colours of the last snapshot are those of all.
            write_gif(part, images(), film.image(len(film.steps) - 1), int(fps))
    if progress is not None:
        progress("frames", 1.0)
    return path


def chosen(
    run: xr.Dataset, *, seed: int = 0, spec: int | None = None, start: int | None, stop: int | None, every: int
) -> xr.Dataset:
    """One run, from one step to another, up to its last finite snapshot; dims step, feature and hidden.

    Raises:
        ValueError: there is no such run, or there are fewer than two snapshots.

    """
    call = "render(run)"
    if missing := [name for name in ("weights", "loss") if name not in run]:
        raise ValueError(f"{call}: {missing[0]!r} must be there, as in a trajectory of tegum")
    if "spec" in run["weights"].dims:
        count = run.sizes["spec"]
        if spec is None or not 0 <= spec < count:
            raise ValueError(
                f"render(spec={spec!r}): there are {count} Specs; spec must be a number from 0 to {count - 1}"
            )
        run = run.isel(spec=spec)
    elif spec is not None:
        raise ValueError(f"render(spec={spec!r}): there is one Spec only; leave spec out")
    if "seed" in run.dims:
        seeds = run["seed"].values.tolist()
        if seed not in seeds:
            raise ValueError(f"render(seed={seed!r}): there is no such run; seeds are {min(seeds)} to {max(seeds)}")
        run = run.sel(seed=seed)
    if "step" not in run.dims:
        raise ValueError(f"{call}: there is nothing to animate in one snapshot")
    steps = run["step"].values
    within = (steps >= (steps[0] if start is None else start)) & (steps <= (steps[-1] if stop is None else stop))
    finite = np.isfinite(run["weights"].values).all((1, 2)) & np.isfinite(run["loss"].values)
    kept = np.flatnonzero(within & finite)
    kept = np.unique(np.append(kept[::every], kept[-1:]))
    if len(kept) < 2:
        found = f"{len(kept)} of {len(steps)} snapshots left"
        raise ValueError(f"{call}: there is nothing to animate with {found}; it takes two finite ones at least")
    return run.isel(step=kept)


@final
class Film:
    """The frames of one run."""

    def __init__(
        self,
        run: xr.Dataset,
        *,
        dimensions: int | None = None,
        clock: Clock = "snapshots",
        width: int = 960,
        turn: float = 0.0,
    ) -> None:
        """Lay out the frame for a run with dims step, feature and hidden, all finite.

        Raises:
            ValueError: dimensions, clock, width or turn are out of range.

        """
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        from tegum.analysis.views import view

        if dimensions not in (None, 2, 3):
            raise ValueError(f"render(dimensions={dimensions!r}): dimensions must be 2 or 3")
        if clock not in ("snapshots", "linear", "logarithmic"):
            raise ValueError(f"render(clock={clock!r}): clock must be 'snapshots', 'linear' or 'logarithmic'")
        if width % 2:
            raise ValueError(f"render(width={width}): width must be even, as video needs it")
        self._axes = dimensions or (2 if run.sizes["hidden"] <= 2 else 3)
        if not np.isfinite(turn) or (turn and self._axes == 2):
            raise ValueError(f"render(turn={turn!r}): turn must be a finite angle, and 0 in two dimensions")
        self._run, self._turn, self._clock = run, turn, clock
        self.steps: Int[np.ndarray, " step"] = run["step"].values
        self._view = view(run["weights"].transpose("step", "feature", "hidden").values.astype(float), self._axes)
        self._settings = dict(style.SETTINGS)
        self.size = (width, 2 * round(width * _INCHES[1] / _INCHES[0] / 2))
        with mpl.rc_context(self._settings):
            dpi = width / _INCHES[0]
            self._figure = Figure(figsize=(_INCHES[0], self.size[1] / dpi), dpi=dpi)
            self._canvas = FigureCanvasAgg(self._figure)
            self._space()
            self._curve()
        # Drawn upon the rest, which is drawn once: several times as fast.
        self._still: Any = None
        self._moving = [self._spokes, *self._points, *self._numbers, self._passed, self._mark, self._title]
        for artist in self._moving:
            artist.set_animated(True)

    def schedule(self, frames: int | None = None) -> Int[np.ndarray, " frame"]:
        """Which snapshot each of so many frames shows; None is one frame for each snapshot."""
        count = len(self.steps) if frames is None else frames
        first, last = float(self.steps[0]), float(self.steps[-1])
        if self._clock == "snapshots":
            return np.rint(np.linspace(0, len(self.steps) - 1, count)).astype(np.int64)
        if self._clock == "linear":
            now = np.linspace(first, last, count)
        else:
            now = np.geomspace(max(first, 1.0), last, count)
            now[0] = first
        now[-1] = last
        return np.searchsorted(self.steps, now + 1e-9 * last, side="right") - 1

    def image(self, at: int, part: float = 0.0) -> Image:
        """The frame that shows the snapshot `at`; `part` of the film is over, by which the camera has turned."""
        import matplotlib as mpl

        with mpl.rc_context(self._settings):
            self._show(at, part)
            if self._still is None or self._turn:
                self._canvas.draw()
                self._still = self._canvas.copy_from_bbox(self._figure.bbox)
            self._canvas.restore_region(self._still)
            if self._axes == 3:
                self._spokes.do_3d_projection()
            for artist in self._moving:
                (artist.axes or self._figure).draw_artist(artist)
            return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _space(self) -> None:
        """The panel of the embeddings, with all that does not move."""
        from matplotlib.collections import LineCollection
        from mpl_toolkits.mplot3d.art3d import Line3DCollection

        positions, flat = self._view.positions, self._axes == 2
        reach = 1.12 * max(float(np.linalg.norm(positions, axis=-1).max()), 1e-12)
        box = (0.075, 0.12, 0.41, 0.74) if flat else (0.0, 0.05, 0.49, 0.84)
        place: Any = self._figure.add_axes(box, projection=None if flat else "3d")
        self._place = place
        names = [f"hidden direction {number + 1}" for number in range(self._axes)]
        for axis, name in zip("xyz", names, strict=False):
            getattr(place, f"set_{axis}lim")(-reach, reach)
            getattr(place, f"set_{axis}label")(name)
        place.set_aspect("equal")
        if flat:
            around = np.linspace(0, 2 * np.pi, 200)
            place.plot(np.cos(around), np.sin(around), color=style.MUTED, lw=0.7, ls=(0, (3, 3)), zorder=0)
            place.set_xlim(-reach, reach)
            place.set_ylim(-reach, reach)
        else:
            place.view_init(elev=22, azim=-60)
            place.locator_params(nbins=5)
            for axis in (place.xaxis, place.yaxis, place.zaxis):
                axis.pane.set_alpha(0.25)
        self._groups, names, colours = self._coloured()
        lines = [colour for members, colour in zip(self._groups, colours, strict=True) for _ in members]
        self._order = np.concatenate(self._groups)
        collection = LineCollection if flat else Line3DCollection
        still = np.stack([np.zeros_like(positions[-1]), positions[-1]], 1)[self._order]
        self._spokes: Any = collection(list(still), colors=lines, linewidths=1.4)
        place.add_collection(self._spokes)
        self._points = [
            place.plot(*positions[-1][members].T, "o", color=colour, ms=6, label=name, ls="none")[0]
            for members, colour, name in zip(self._groups, colours, names, strict=True)
        ]
        self._numbers = []
        if positions.shape[1] <= _LABELLED:
            for feature in self._run["feature"].values.tolist():
                self._numbers.append(
                    place.text(*np.zeros(self._axes), str(feature), fontsize=8.0, ha="center", va="center")
                )
        self._title = self._figure.text(0.02, 0.945, "", fontsize=11.0, fontweight="bold", va="center")
        told = "in one pose through all steps"
        if self._run.sizes["hidden"] > self._axes:
            told = (
                f"projected on the {self._axes} leading directions of the last of {self._run.sizes['hidden']} hidden "
                f"dimensions, {self._view.share:.0%} of |W|²"
            )
        if "result" in self._run and str(self._run["result"].values) == "diverged":
            told += "; diverged, up to its last finite snapshot"
        self._figure.text(0.02, 0.895, told, fontsize=8.0, color=style.MUTED, va="center")
        if 1 < len(names) <= len(style.ACCENTS):
            self._figure.legend(
                handles=self._points, loc="upper right", bbox_to_anchor=(0.99, 0.985), ncols=min(4, len(names)),
                columnspacing=1.0, handletextpad=0.1, fontsize=8.0,
            )  # fmt: skip

    def _coloured(self) -> tuple[list[Int[np.ndarray, " member"]], list[str], list[Any]]:
        """Features that share a colour: those of a set, and each independent feature for itself; names and colours."""
        features = self._run.sizes["feature"]
        number = self._run["set"].values if "set" in self._run.coords else np.zeros(features, int)
        kind = self._run["kind"].values.tolist() if "kind" in self._run.coords else [""] * features
        keys = [
            (int(own), feature if word == "independent" else -1)
            for feature, (own, word) in enumerate(zip(number, kind, strict=True))
        ]
        groups = {key: np.flatnonzero([other == key for other in keys]) for key in dict.fromkeys(keys)}
        names = [
            f"feature {feature}" if feature >= 0 else f"set {own}, {kind[int(groups[own, feature][0])]}"
            for own, feature in groups
        ]
        few = len(groups) <= len(style.ACCENTS)
        return (
            list(groups.values()),
            names,
            list(style.ACCENTS[: len(groups)]) if few else style.calm_colours(len(groups)),
        )

    def _curve(self) -> None:
        """The panel of the loss, whole; a mark moves on it."""
        place: Axes = self._figure.add_axes((0.6, 0.13, 0.375, 0.68))
        loss = self._run["loss"].values.astype(float)
        middle = self.steps[len(self.steps) // 2]
        logarithmic = self._clock == "logarithmic" or (self._clock == "snapshots" and middle < 0.2 * self.steps[-1])
        # Step 0 has no place on a log axis: it stands at the next one.
        self._at = np.maximum(self.steps, self.steps[1]) if logarithmic and self.steps[0] < 1 else self.steps
        place.plot(self._at, loss, color=style.MUTED, lw=1.2)
        (self._passed,) = place.plot([], [], color=style.INK, lw=2.2)
        (self._mark,) = place.plot([], [], "o", color=style.INK, ms=7, zorder=4)
        falls = bool((loss > 0).all()) and loss.max() > _DECADE * loss.min()
        if falls:
            place.set_yscale("log")
        if logarithmic:
            place.set_xscale("log")
        else:
            place.xaxis.set_major_formatter("{x:,.0f}")
            place.locator_params(axis="x", nbins=5)
        place.set_xlabel(f"training step{' (log scale)' if logarithmic else ''}")
        place.set_ylabel(f"loss, sum over features{' (log scale)' if falls else ''}")
        place.margins(x=0.03)
        self._loss = loss

    def _show(self, at: int, part: float) -> None:
        here = self._view.positions[at]
        self._spokes.set_segments(list(np.stack([np.zeros_like(here), here], 1)[self._order]))
        for points, members in zip(self._points, self._groups, strict=True):
            if self._axes == 2:
                points.set_data(*here[members].T)
            else:
                points.set_data_3d(*here[members].T)
        reach = np.abs(self._place.get_xlim()).max()
        for text, row in zip(self._numbers, here, strict=bool(self._numbers)):
            length = float(np.linalg.norm(row))
            # Beside the point, outwards; next to the origin numbers would cover each other.
            text.set_visible(length > 0.2 * reach)
            beside = row * (1 + (0.085 if self._axes == 2 else 0.13) * reach / max(length, 1e-12))
            text.set_position(beside) if self._axes == 2 else text.set_position_3d(beside)
        if self._turn:
            self._place.view_init(elev=22, azim=-60 + self._turn * part)
        self._passed.set_data(self._at[: at + 1], self._loss[: at + 1])
        self._mark.set_data(self._at[at : at + 1], self._loss[at : at + 1])
        words = [f"step {int(self.steps[at]):,}"]
        if "time" in self._run.coords and np.ndim(self._run["time"].values) == 1:
            words.append(f"time {float(self._run['time'].values[at]):,.4g}")
        words.append(f"loss {self._loss[at]:.4g}")
        if "seed" in self._run.coords and not np.ndim(self._run["seed"].values):
            words.insert(0, f"run {int(self._run['seed'])}")
        self._title.set_text(" · ".join(words))
