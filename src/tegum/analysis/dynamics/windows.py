"""Windows of time in runs, and the evenly spaced snapshots on which they are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import xarray as xr


@runtime_checkable
class Window(Protocol):
    """A stretch of one run, such as an event or a drop of the loss."""

    @property
    def seed(self) -> int:
        """The seed of the run."""
        ...

    @property
    def start(self) -> int:
        """The step at which it starts."""
        ...

    @property
    def end(self) -> int:
        """The step at which it ends."""
        ...


def overlap(one: Window, other: Window) -> bool:
    """Whether two windows are of one run and share more than an end; one that lasts no time meets nothing."""
    return one.seed == other.seed and max(one.start, other.start) < min(one.end, other.end)


def intervals(steps: int, step: Int[np.ndarray, " step"]) -> int:
    """How many times the distance of two snapshots goes into so many steps."""
    return round(steps * (len(step) - 1) / (step[-1] - step[0])) if len(step) > 1 else 0


def labels(array: xr.DataArray, dim: str) -> Int[np.ndarray, " label"]:
    """The labels of a dimension, or positions where it has none."""
    return array[dim].values


def arranged(
    array: xr.DataArray, dims: Sequence[str], call: str
) -> tuple[Float[np.ndarray, "*shape"], Int[np.ndarray, " step"]]:
    """The values in float64 with the dims in this order, and the steps."""
    given: Any = getattr(array, "dims", None)
    if given is None or set(given) != set(dims):
        shown = f"dims {given}" if given is not None else f"a {type(array).__name__}"
        raise ValueError(f"{call} with {shown}: it must be a DataArray with the dims {tuple(dims)}")
    step = array["step"].values
    distances = np.diff(step)
    # Rounding to whole steps makes two distances of an even spacing.
    if len(distances) and distances.max() > distances.min() + 1:
        rule = f"the snapshots must be evenly spaced; these lie {distances.min()} to {distances.max()} steps apart"
        raise ValueError(f"{call}: {rule}")
    return array.transpose(*dims).values.astype(np.float64), step
