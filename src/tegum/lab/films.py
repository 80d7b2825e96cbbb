"""Recorded runs as the page plays them: a film of each Spec, small enough for one file that opens from a disk.

W and b are rounded to 16 bits (1/32,767 of a run's largest entry), far below what a picture shows; losses are kept in
float32. What `packed` writes, and the page reads: a line that names the format, the length of the header in four bytes
(little-endian), the header as JSON, and for each film its numbers, deflated. These are for each run the differences of
W and b from frame to frame, parameter by parameter, then all losses; low bytes stand before high ones.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float, UInt8

from tegum.analysis.dynamics.happenings import happenings
from tegum.core.description import short
from tegum.data.schema import MEASURES, check, leading
from tegum.lab.described import described_run
from tegum.training.dataset import changed_at

if TYPE_CHECKING:
    import xarray as xr

FORMAT = b"tegum film 1\n"

MOST_RUNS = 64
"""The most runs that a film shows where nobody asked for others."""
MOST_FRAMES = 600
"""The most recorded steps of a film where nobody asked for others."""
_USUAL_NUMBERS, _MOST_NUMBERS = 5_000_000, 50_000_000
"""The most numbers that films take by themselves (a page of about 10 MB), and on demand."""
_LARGEST = 2**15 - 1
_EXPLODED = 30.0
"""From how many times its median on the largest entry of a run that diverges is left out."""


@final
@dataclass(frozen=True)
class PageFilm:
    """The runs of one Spec, as the page plays them."""

    header: dict[str, Any]
    """What is shown: `title`, what was trained (`described`), `steps`, and `runs` with their events."""
    numbers: bytes
    """W, b and losses, deflated."""
    taken: str
    """What of the trajectory is in it, in words: "64 of 1,024 runs, 300 of 1,001 steps"."""


def films(
    trajectory: xr.Dataset, *, seeds: Sequence[int] | None = None, every: int | None = None, call: str = "films"
) -> list[PageFilm]:
    """Make a film of each Spec of a trajectory.

    Args:
        trajectory: runs of one Spec or of several.
        seeds: the runs to take; by default the first ones, as many as a small file can hold, at most 64.
        every: how many recorded steps to go on from frame to frame; the last one is always taken. By default as few
            as leave at most 600 frames.
        call: what errors begin with.

    Returns:
        The films, in the order of the Specs.

    Raises:
        ValueError: the Dataset is no trajectory, has none of these runs, or the films would be too large.

    """
    if trajectory.attrs.get("schema") == MEASURES:
        raise ValueError(f"{call}(run): it holds measures of runs, and no states")
    check(trajectory, ("weights", "bias", "loss", "step", "result"), call=f"{call}(run)")
    if every is not None and every < 1:
        raise ValueError(f"{call}(every={every}): every must be at least 1")
    if 0 in trajectory["weights"].shape:
        rule = "there must be at least one run, snapshot, feature and hidden dimension"
        raise ValueError(f"{call}(run with weights of shape {trajectory['weights'].shape}): {rule}")
    if (specs := specs_in(trajectory)) > MOST_RUNS:
        rule = f"a page shows at most {MOST_RUNS}; select some of them first"
        raise ValueError(f"{call}(run of {specs:,} Specs): {rule}")
    parts = [of_spec(trajectory, at) for at in range(specs)]
    first = parts[0][1]
    size = first.sizes["feature"] * (first.sizes["hidden"] + 1)
    frames = _frames(first.sizes["step"], every)
    known = first["seed"].values.tolist()
    if seeds is None:
        fitting = _USUAL_NUMBERS // (size * len(frames) * len(parts))
        chosen = known[: max(1, min(MOST_RUNS // len(parts), fitting))]
        least = max(_USUAL_NUMBERS // (size * len(chosen) * len(parts)), 2)
        if every is None and least < len(frames):
            # A film of a very large model has fewer frames, but its beginning and end.
            frames = _frames(first.sizes["step"], math.ceil(first.sizes["step"] / least))
    else:
        chosen = list(seeds)
    if missing := [each for each in chosen if each not in known]:
        whole = len(known) > 2 and known == list(range(known[0], known[-1] + 1))
        rule = f"the runs are {known[0]} to {known[-1]}" if whole else f"its runs are {short(known, 80)}"
        raise ValueError(f"{call}(seeds={missing[0]}): there is no such run; {rule}")
    if not chosen or len({*chosen}) < len(chosen):
        raise ValueError(f"{call}(seeds={chosen}): there must be at least one run, and none twice")
    if (numbers := size * len(frames) * len(chosen) * len(parts)) > _MOST_NUMBERS:
        rule = f"a page holds at most {_MOST_NUMBERS:,}; take fewer runs (seeds) or fewer steps (every)"
        raise ValueError(f"{call}(run): the film would hold {numbers:,} numbers, and {rule}")
    return [_film(title, part.sel(seed=chosen), part, frames, call) for title, part in parts]


def film_of(title: str, part: xr.Dataset, seeds: Sequence[int], every: int) -> PageFilm:
    """Make a film of some runs of one Spec, however large.

    Args:
        title: what tells it apart from other films of the page; empty if there are none.
        part: a trajectory of one Spec.
        seeds: the runs to take.
        every: how many recorded steps to go on from frame to frame.

    Returns:
        The film.

    """
    return _film(title, part.sel(seed=list(seeds)), part, _frames(part.sizes["step"], every), "film_of")


def packed(several: Sequence[PageFilm]) -> bytes:
    """Write films as the bytes that the page reads.

    Args:
        several: the films.

    Returns:
        The bytes.

    """
    heads = [each.header | {"bytes": len(each.numbers)} for each in several]
    header = json.dumps(heads, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((FORMAT, struct.pack("<I", len(header)), header, *(each.numbers for each in several)))


def _film(title: str, chosen: xr.Dataset, part: xr.Dataset, frames: list[int], call: str) -> PageFilm:
    """The film of some runs and steps of a trajectory of one Spec."""
    happened = happenings(chosen, changed_at(chosen))
    shown = chosen.isel(step=frames).transpose("seed", "step", "feature", "hidden")
    steps = shown["step"].values.tolist()
    runs, blocks = [], []
    for at in range(shown.sizes["seed"]):
        one = shown.isel(seed=at)
        weights, bias = (one[name].values.astype(np.float64) for name in ("weights", "bias"))
        parameters = np.concatenate([weights.reshape(len(steps), -1), bias], axis=1)
        finite = np.isfinite(parameters).all(axis=1)
        # What comes after a divergence is no state; the film of this run is over then, and before it explodes, since
        # its numbers would leave no digits to all others.
        length = len(steps) if finite.all() else int(np.argmin(finite))
        if str(one["result"].values) == "diverged" and length > 1:
            largest = np.abs(parameters[:length]).max(axis=1)
            length = max(1, int(np.argmax(np.append(largest, np.inf) > _EXPLODED * max(np.median(largest), 1.0))))
        rounded, scales = _rounded(parameters[:length], weights[0].size)
        loss = one["loss"].values[:length].astype(np.float32)
        blocks += [_planes(rounded), _planes(loss)]
        run = {"run": int(one["seed"]), "frames": length, "scales": scales, "result": str(one["result"].values)}
        runs.append(run | {"happenings": happened[at]})
    header = {"title": title, "described": described_run(part, call), "steps": steps, "runs": runs}
    taken = f"{len(runs):,} of {part.sizes['seed']:,} runs, {len(frames):,} of {part.sizes['step']:,} recorded steps"
    return PageFilm(header, zlib.compress(b"".join(blocks), 6), taken)


def _rounded(parameters: Float[np.ndarray, "frame parameter"], weights: int) -> tuple[np.ndarray, list[float]]:
    """W and b in 16 bits, as differences from frame to frame, parameter by parameter; and the units of both."""
    ends = [parameters[:, :weights], parameters[:, weights:]]
    units = [float(np.abs(end).max(initial=0)) / _LARGEST or 1.0 for end in ends]
    whole = np.concatenate([np.rint(end / unit) for end, unit in zip(ends, units, strict=True)], axis=1)
    return np.diff(whole.astype(np.int16), axis=0, prepend=np.int16(0)).T.astype("<i2"), units


def _planes(numbers: np.ndarray) -> bytes:
    """The bytes of numbers, all first bytes before all second ones, which deflates better."""
    little = np.ascontiguousarray(numbers.astype(numbers.dtype.newbyteorder("<")))
    bytes_: UInt8[np.ndarray, "number byte"] = little.reshape(-1).view(np.uint8).reshape(-1, numbers.dtype.itemsize)
    return bytes_.T.tobytes()


def specs_in(trajectory: xr.Dataset) -> int:
    """How many Specs a trajectory has runs of.

    Args:
        trajectory: runs of one Spec or of several.

    Returns:
        The product of the sizes of its leading dimensions.

    """
    return math.prod(trajectory.sizes[dim] for dim in leading(trajectory))


def of_spec(trajectory: xr.Dataset, at: int) -> tuple[str, xr.Dataset]:
    """The trajectory of one of its Specs, with what tells it apart from the others.

    Args:
        trajectory: runs of one Spec or of several.
        at: the position of the Spec, with the last leading dimension the fastest.

    Returns:
        A title, empty if there is only one Spec, and the trajectory.

    """
    lead = leading(trajectory)
    if not lead:
        return "", trajectory
    own = [name for name, each in trajectory.coords.items() if len(each.dims) == 1 and each.dims[0] in lead]
    # Seeds differ wherever Specs are listed, and say nothing.
    names = [str(name) for name in own if name not in ("spec", "base_seed")]
    place = np.unravel_index(at, [trajectory.sizes[dim] for dim in lead])
    one = trajectory.isel({dim: int(where) for dim, where in zip(lead, place, strict=True)})
    return ", ".join(f"{name} = {_label(one[name].values)}" for name in names) or f"Spec {at}", one


def _label(value: Any) -> str:
    return repr(float(value)).removesuffix(".0") if np.issubdtype(value.dtype, np.floating) else str(value)


def _frames(steps: int, every: int | None) -> list[int]:
    """The positions of the recorded steps that are taken."""
    return sorted({*range(0, steps, every or math.ceil(steps / MOST_FRAMES)), steps - 1})
