"""A film of one run, with its embeddings in the plane or in space next to its loss, as an MP4 or a GIF.

The embeddings keep one pose (`tegum.analysis.geometry.embedding_views`), so motion shows learning and not the gauge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.core.arguments import refusing
from tegum.core.limits import check_memory
from tegum.data.disk_space import ReservedSpace
from tegum.data.schema import SPEC_HASH, leading, one_selected
from tegum.figures.films.files import FASTEST_GIF, LONGEST_GIF, Image, film_bytes, film_file, write_gif, write_mp4
from tegum.figures.films.frames import Clock, Film
from tegum.progress.showing import shown
from tegum.progress.tasks import Phases

if TYPE_CHECKING:
    import xarray as xr

_NARROWEST, _WIDEST = 320, 3840
"""The least and the largest width of a frame, in pixels."""

_LONGEST = 86_400
"""The longest film, in seconds."""


@refusing
def render(
    run: xr.Dataset,
    target: str | os.PathLike[str],
    *,
    seed: int | None = None,
    spec: int | None = None,
    dimensions: int | None = None,
    clock: Clock = "snapshots",
    start: int | None = None,
    stop: int | None = None,
    every: int = 1,
    fps: int = 25,
    seconds: float | int | None = None,
    width: int = 960,
    turn: float | int = 0.0,
    overwrite: bool = False,
    progress: bool | Callable[[str, float], None] | None = True,
) -> Path:
    """Render one run of a trajectory as a film of its embeddings next to its loss.

    The ending of `target` decides between an MP4 and a GIF. A frame shows the last snapshot recorded up to its step;
    nothing is interpolated. The loss is the exact one if that takes less than about 20 seconds, otherwise the
    recorded one with its standard error. Of a diverged run the finite snapshots are shown, and of their embeddings
    what fits on the axes of most snapshots; the frame says so.

    Args:
        run: a trajectory, or one run of it.
        target: the file to write, which appears complete or not at all.
        seed: the seed of the run; None is the first one.
        spec: the number of its Spec, if there are several.
        dimensions: 2 or 3; None is 2 if m ≤ 2, and otherwise 3. More hidden dimensions are projected onto the
            leading principal directions of the last embeddings, and the frame says so.
        clock: the time axis: equal time per snapshot ("snapshots"), per step ("linear"), or per logarithm of the
            step ("logarithmic").
        start: the first step to show; None is the beginning.
        stop: the last step to show; None is the end.
        every: use every N-th snapshot, and the last one.
        fps: frames per second, from 1 to 60; a GIF has at most 50.
        seconds: the length of the film, up to a day; None gives as many frames as there are snapshots.
        width: the width of a frame in pixels, an even number from 320 to 3840; the height is half of it.
        turn: the angle by which the camera turns over the whole film, in degrees, in three dimensions.
        overwrite: whether to replace an existing file.
        progress: whether to show progress, as in `train`; or a function that is called with "frames" and the
            fraction done.

    Returns:
        The path of the file.

    Raises:
        ValueError: an option is out of range, there is no such run, or there are fewer than two finite snapshots.
        FileExistsError: the file exists and may not be replaced.
        FileNotFoundError: its folder does not exist.
        OSError: the file could not be written.

    Example:
        >>> import tempfile
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=2, training=tg.Sampled(steps=2), snapshots=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     film = tg.render(tg.train(spec), f"{folder}/run.gif", width=320)
        ...     film.name, film.read_bytes()[:6]
        ('run.gif', b'GIF89a')

    """
    path = Path(target)
    call = f"render({str(path)!r})"
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise ValueError(f"{call}: the name of the file must end in .mp4 or .gif")
    for name, value in (("seed", seed), ("spec", spec), ("start", start), ("stop", stop)):
        if value is not None:
            _check_whole(name, value)
    _check_whole("fps", fps, 1, 60)
    _check_whole("every", every, 1)
    _check_whole("width", width, _NARROWEST, _WIDEST)
    if seconds is not None and (not _is_real(seconds) or not 0 < seconds <= _LONGEST):
        raise ValueError(f"render(seconds={seconds!r}): seconds must be a positive number, at most {_LONGEST}")
    gif = path.suffix.lower() == ".gif"
    rate = min(int(fps), FASTEST_GIF) if gif else int(fps)
    film = Film(
        chosen(run, seed=seed, spec=spec, start=start, stop=stop, every=every),
        dimensions=dimensions,
        clock=clock,
        width=int(width),
        turn=turn,
    )
    frames = film.schedule(None if seconds is None else max(2, round(rate * seconds)))
    # An image equal to the previous one takes up almost no space.
    drawn = len(frames) if turn else len(np.unique(frames))
    if gif and (longest := np.bincount(frames).max() / rate) >= LONGEST_GIF:
        rule = f"an image of a GIF must stay for less than {LONGEST_GIF:g} s, and one stays for {longest:.0f} s"
        raise ValueError(f"render(seconds={seconds!r}): {rule}; an .mp4 has no such limit")
    if gif:
        # Pillow keeps every image that differs from the previous one, a byte per pixel, until all are there.
        size = drawn * width * width // 2
        check_memory(f"render(width={width})", f"{drawn:,} images of a GIF", size, "fewer fit, and an .mp4 keeps none")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{call}: the folder {str(path.parent)!r} does not exist; create it first")

    with ReservedSpace(path.absolute().parent, film_bytes(drawn, int(width), gif=gif), call=call, what="the film"):
        pass  # There is enough space now. A film grows as it is written, and could not use space reserved for it.

    with shown(progress, Phases(path.name), "render") as report:

        def images() -> Iterator[Image]:
            for number, at in enumerate(frames.tolist()):
                report("frames", number / len(frames))
                yield film.image(at, number / max(1, len(frames) - 1))

        with film_file(path.absolute(), overwrite=overwrite, call=call) as part:
            if gif:
                # The last snapshot has all the colours.
                write_gif(part, images(), film.image(len(film.steps) - 1), rate, len(frames), call)
            else:
                write_mp4(part, images(), film.size, rate, call)
        report("frames", 1.0)
    return path


def chosen(
    run: xr.Dataset,
    *,
    seed: int | None = None,
    spec: int | None = None,
    start: int | None = None,
    stop: int | None = None,
    every: int = 1,
) -> xr.Dataset:
    """Select one run between two steps, without snapshots that are not finite; its dims are step, feature and hidden.

    Weights beyond `tegum.analysis.geometry.measures.LARGEST_WEIGHT` do not count as finite, and a run with such
    snapshots is marked as diverged in its `result`.

    Raises:
        ValueError: there is no such run, or there are fewer than two snapshots.

    """
    from tegum.analysis.geometry.measures import LARGEST_WEIGHT

    call = "render(run)"
    if missing := [name for name in ("weights", "loss") if name not in run]:
        raise ValueError(f"{call}: {missing[0]!r} is missing; run must be a trajectory of tegum")
    if "spec" in run["weights"].dims:
        count = run.sizes["spec"]
        if spec is None or not 0 <= spec < count:
            raise ValueError(
                f"render(spec={spec!r}): there are {count} Specs; spec must be a number from 0 to {count - 1}"
            )
        run = _only(run.isel(spec=spec), spec)
    elif leading(run):
        raise ValueError(f"{call}: run must be of one Spec of its grid; select it, as {one_selected(run)} does")
    elif spec is not None:
        raise ValueError(f"render(spec={spec!r}): there is only one Spec; leave spec out")
    if "seed" in run.dims:
        seeds = run["seed"].values.tolist()
        if seed is not None and seed not in seeds:
            raise ValueError(f"render(seed={seed!r}): there is no such run; seeds are {min(seeds)} to {max(seeds)}")
        run = run.isel(seed=0 if seed is None else seeds.index(seed))
    elif seed is not None and ("seed" not in run.coords or seed != run["seed"].item()):
        own = f", of seed {run['seed'].item()}" if "seed" in run.coords else ""
        raise ValueError(f"render(seed={seed!r}): there is only one run{own}; leave seed out")
    if "step" not in run.dims:
        raise ValueError(f"{call}: there is nothing to animate in a single snapshot")
    steps = run["step"].values
    within = (steps >= (steps[0] if start is None else start)) & (steps <= (steps[-1] if stop is None else stop))
    # NaN compares as False. The limit would be infinite in float32.
    small = np.abs(run["weights"].transpose("step", "feature", "hidden").values.astype(float)) <= LARGEST_WEIGHT
    finite = small.all((1, 2)) & np.isfinite(run["loss"].values)
    kept = np.flatnonzero(within & finite)
    kept = np.unique(np.append(kept[::every], kept[-1:]))
    if len(kept) < 2:
        found = f"{len(kept)} of {len(steps)} snapshots left"
        raise ValueError(f"{call}: there is nothing to animate with {found}; at least two finite ones are needed")
    if (within & ~finite).any():
        run = run.assign(result="diverged")
    return run.isel(step=kept)


def _only(run: xr.Dataset, spec: int) -> xr.Dataset:
    """The runs of one Spec, with that Spec alone in their attributes, so that their exact loss can be computed.

    Runs that carry the hash of their Spec are left unchanged.
    """
    if SPEC_HASH in run.coords:
        return run
    try:
        described = json.loads(run.attrs["spec"])[spec]
    except (KeyError, IndexError, TypeError, ValueError):
        return run
    return run.assign_attrs(spec=json.dumps(described))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_whole(name: str, value: Any, low: int | None = None, high: int | None = None) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or (low is not None and value < low) or (high is not None and value > high):
        bounds = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        raise ValueError(f"render({name}={value!r}): {name} must be an int{bounds}")
