"""The frames of a film of one run: its embeddings in the plane or in space, next to its loss."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, assert_never, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.report import with_error
from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.films.files import Image
from tegum.figures.groups import feature_groups

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Clock = Literal["snapshots", "linear", "logarithmic"]
"""The time axis of a film: equal time per snapshot, per step, or per logarithm of the step."""

_INCHES = (9.6, 4.8)
"""The width and height of a frame, in inches; its resolution follows from the width in pixels."""

_LABELLED, _CROWDED = 12, 40
"""Up to the first number features are labelled in normal type, and up to the second in smaller type."""

_DECADE = 10.0
"""The loss is drawn on a log axis if it falls by more than this factor."""

_SECONDS = 20.0
"""The most time spent on computing exact losses, in seconds."""

_BURST = 3.0
"""In a diverged run, the axes leave out embeddings longer than this multiple of the usual length."""


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
        turn: float | int = 0.0,
    ) -> None:
        """Lay out the frame for a run with dims step, feature and hidden, all finite.

        Raises:
            ValueError: dimensions, clock, width or turn are out of range.

        """
        from tegum.analysis.geometry.embedding_views import view

        if dimensions is not None and (not isinstance(dimensions, int | np.integer) or dimensions not in (2, 3)):
            raise ValueError(f"render(dimensions={dimensions!r}): dimensions must be 2 or 3")
        if clock not in ("snapshots", "linear", "logarithmic"):
            raise ValueError(f"render(clock={clock!r}): clock must be 'snapshots', 'linear' or 'logarithmic'")
        if width % 2:
            raise ValueError(f"render(width={width}): width must be even, as video needs it")
        self._axes = dimensions or (2 if run.sizes["hidden"] <= 2 else 3)
        angle = isinstance(turn, Real) and not isinstance(turn, bool) and np.isfinite(turn)
        if not angle or (turn and self._axes == 2):
            raise ValueError(f"render(turn={turn!r}): turn must be a finite angle, and 0 in two dimensions")
        self._run, self._turn = run, turn
        self._clock: Clock = clock
        self.steps: Int[np.ndarray, " step"] = run["step"].values
        self._view = view(run["weights"].transpose("step", "feature", "hidden").values.astype(float), self._axes)
        self._diverged = "result" in run and str(run["result"].values) == "diverged"
        self._reach = 1.12 * max(_extent(self._view.positions, self._diverged), 1e-12)
        self.size: tuple[int, int] = (width, 2 * round(width * _INCHES[1] / _INCHES[0] / 2))
        with style.drawing():
            dpi = width / _INCHES[0]
            self._figure = new_figure(figsize=(_INCHES[0], self.size[1] / dpi), dpi=dpi)
            self._canvas: Any = self._figure.canvas
            self._space()
        # What moves is drawn on top of a background that is drawn once, which is several times as fast.
        self._still: Any = None
        self._moving: list[Any] = []

    def schedule(self, frames: int | None = None) -> Int[np.ndarray, " frame"]:
        """The snapshot that each of `frames` frames shows; None gives one frame per snapshot."""
        count = len(self.steps) if frames is None else frames
        first, last = float(self.steps[0]), float(self.steps[-1])
        match self._clock:
            case "snapshots":
                return np.rint(np.linspace(0, len(self.steps) - 1, count)).astype(np.int64)
            case "linear":
                now = np.linspace(first, last, count)
            case "logarithmic":
                now = np.geomspace(max(first, 1.0), last, count)
                now[0] = first
            case _:
                assert_never(self._clock)
        now[-1] = last
        return np.searchsorted(self.steps, now + 1e-9 * last, side="right") - 1

    def image(self, at: int, part: float = 0.0) -> Image:
        """The frame that shows snapshot `at`, after a fraction `part` of the film, over which the camera turns."""
        with style.drawing():
            if not self._moving:
                # Exact losses may take a while, so they come after all checks of the input.
                self._curve()
                self._moving = [self._spokes, *self._points, *self._numbers, self._passed, self._mark, self._title]
                for artist in self._moving:
                    artist.set_animated(True)
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
        """Lay out the panel of the embeddings, with everything that does not move."""
        from matplotlib.collections import LineCollection
        from mpl_toolkits.mplot3d.art3d import Line3DCollection

        positions, reach, flat = self._view.positions, self._reach, self._axes == 2
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
            place.plot(np.cos(around), np.sin(around), color=style.muted(), lw=0.7, ls=(0, (3, 3)), zorder=0)
            place.set_xlim(-reach, reach)
            place.set_ylim(-reach, reach)
        else:
            place.view_init(elev=22, azim=-60)
            place.locator_params(nbins=5)
            for axis in (place.xaxis, place.yaxis, place.zaxis):
                axis.pane.set_alpha(0.25)
        coords = self._run.coords
        self._groups, names, colours = feature_groups(
            self._run.sizes["feature"],
            coords["set"].values if "set" in coords else None,
            coords["kind"].values if "kind" in coords else None,
        )
        lines = [colour for members, colour in zip(self._groups, colours, strict=True) for _ in members]
        self._order = np.concatenate(self._groups)
        collection = LineCollection if flat else Line3DCollection
        still = np.stack([np.zeros_like(positions[0]), positions[0]], 1)[self._order]
        self._spokes: Any = collection(list(still), colors=lines, linewidths=1.4)
        place.add_collection(self._spokes)
        self._points = [
            place.plot(*positions[0][members].T, "o", color=colour, ms=6, label=name, ls="none")[0]
            for members, colour, name in zip(self._groups, colours, names, strict=True)
        ]
        self._numbers, count = [], positions.shape[1]
        if count <= _CROWDED:
            size = 8.0 if count <= _LABELLED else 6.5
            for feature in self._run["feature"].values.tolist():
                self._numbers.append(
                    place.text(*np.zeros(self._axes), str(feature), fontsize=size, ha="center", va="center")
                )
        self._title = self._figure.text(0.02, 0.945, "", fontsize=11.0, fontweight="bold", va="center")
        note = "in the same pose at all steps"
        if self._run.sizes["hidden"] > self._axes:
            note = (
                f"projected from {self._run.sizes['hidden']} hidden dimensions onto the {self._axes} leading "
                f"directions of the last step, {100 * self._view.share:.0f} % of |W|²"
            )
        self._figure.text(0.02, 0.895, note, fontsize=7.5, color=style.muted(), va="center")
        noted = ["diverged: finite snapshots only, cut off at the axes"] if self._diverged else []
        if not self._numbers:
            noted.append(f"{count} features, too many to number")
        self._figure.text(0.975, 0.825, "\n".join(noted), fontsize=7.5, color=style.muted(), ha="right", va="bottom")
        if 1 < len(names) <= len(style.ACCENTS):
            self._figure.legend(
                handles=self._points, loc="upper right", bbox_to_anchor=(0.99, 0.985), ncols=min(3, len(names)),
                columnspacing=1.0, handletextpad=0.1, fontsize=8.0,
            )  # fmt: skip

    def _curve(self) -> None:
        """Draw the panel with the whole loss curve, on which a marker moves."""
        from tegum.training.compare import known_loss

        place: Axes = self._figure.add_axes((0.6, 0.13, 0.375, 0.68))
        self._known = known_loss(self._run, seconds=_SECONDS)
        self._loss = loss = self._known.loss.values.astype(float)
        error = self._known.error
        middle = self.steps[len(self.steps) // 2]
        match self._clock:
            case "snapshots":
                logarithmic = bool(middle < 0.2 * self.steps[-1])
            case "linear":
                logarithmic = False
            case "logarithmic":
                logarithmic = True
            case _:
                assert_never(self._clock)
        place.plot(self.steps, loss, color=style.muted(), lw=1.2)
        (self._passed,) = place.plot([], [], color=style.ink(), lw=2.2)
        (self._mark,) = place.plot([], [], "o", color=style.ink(), ms=7, zorder=4)
        falls = bool((loss > 0).all()) and loss.max() > _DECADE * loss.min()
        if falls:
            place.set_yscale("log", nonpositive="clip")
        scale = ""
        if logarithmic and self.steps[0] < 1:
            # Step 0 has no place on a log axis; up to the next recorded step the axis is linear.
            least, most = (len(str(int(step))) - 1 for step in (self.steps[1], self.steps[-1]))
            decades = 10.0 ** np.arange(least, most + 1)
            place.set_xscale("symlog", linthresh=decades[0], linscale=0.4)
            # Matplotlib would also put ticks below the threshold, on top of the tick at 0.
            place.set_xticks([0.0, *decades])
            place.set_xticks(
                [tick for tick in np.outer(decades, range(2, 10)).flat if tick < self.steps[-1]], minor=True
            )
            scale = f" (log scale, linear below {decades[0]:,.0f})"
        elif logarithmic:
            place.set_xscale("log")
            scale = " (log scale)"
        else:
            place.xaxis.set_major_formatter("{x:,.0f}")
            place.locator_params(axis="x", nbins=5)
        place.set_xlabel(f"training step{scale}")
        place.set_ylabel(f"{self._known.name}, sum over features{' (log scale)' if falls else ''}")
        place.margins(x=0.03)
        if error is not None and not self._known.exact:
            limits = place.get_ylim()
            low, high = loss - error.values, loss + error.values
            place.fill_between(self.steps, low, high, color=style.muted(), alpha=0.25, lw=0)
            if falls:  # On a log axis a band that reaches 0 would have no lower end.
                place.set_ylim(limits)

    def _show(self, at: int, part: float) -> None:
        here = self._view.positions[at]
        far = np.abs(here).max(-1, keepdims=True)
        inside = far <= self._reach
        # Clipped here, as matplotlib clips nothing in three dimensions and no text in two.
        ends = np.where(inside, here, here * (self._reach / np.where(inside, 1.0, far)))
        points = np.where(inside, here, np.nan)
        self._spokes.set_segments(list(np.stack([np.zeros_like(ends), ends], 1)[self._order]))
        for artist, members in zip(self._points, self._groups, strict=True):
            if self._axes == 2:
                artist.set_data(*points[members].T)
            else:
                artist.set_data_3d(*points[members].T)
        for text, row, shown in zip(self._numbers, here, inside[:, 0], strict=bool(self._numbers)):
            length = float(np.linalg.norm(row))
            # Next to the point, outwards; near the origin numbers would overlap.
            text.set_visible(bool(shown) and length > 0.2 * self._reach)
            outside = row * (1 + (0.085 if self._axes == 2 else 0.13) * self._reach / max(length, 1e-12))
            text.set_position(outside) if self._axes == 2 else text.set_position_3d(outside)
        if self._turn:
            self._place.view_init(elev=22, azim=-60 + self._turn * part)
        self._passed.set_data(self.steps[: at + 1], self._loss[: at + 1])
        self._mark.set_data(self.steps[at : at + 1], self._loss[at : at + 1])
        words = [f"step {int(self.steps[at]):,}"]
        if "time" in self._run.coords and np.ndim(self._run["time"].values) == 1:
            words.append(f"time {float(self._run['time'].values[at]):,.4g}")
        error = np.nan if self._known.error is None else float(self._known.error.values[at])
        words.append(f"{self._known.name} {with_error(self._loss[at], error, self._known.exact)}")
        if "seed" in self._run.coords and not np.ndim(self._run["seed"].values):
            words.insert(0, f"run {int(self._run['seed'])}")
        self._title.set_text(" · ".join(words))


def _extent(positions: Float[np.ndarray, "step feature axis"], diverged: bool) -> float:
    """The length that the axes cover: the longest embedding, unless the run explodes, which would hide all the rest."""
    longest = np.sort(np.linalg.norm(positions, axis=-1).max(-1))
    usual = longest[(len(longest) - 1) // 2]
    return float(longest[longest <= _BURST * usual][-1] if diverged else longest[-1])
