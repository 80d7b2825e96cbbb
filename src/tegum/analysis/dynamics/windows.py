"""Windows of time in runs, and the evenly spaced snapshots on which they are searched."""

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
    """Whether two windows belong to one run and share more than an end; a window that lasts no time meets nothing.

    Args:
        one: a window.
        other: another window.

    Returns:
        Whether they overlap.

    """
    return one.seed == other.seed and max(one.start, other.start) < min(one.end, other.end)


def intervals(steps: int, step: Int[np.ndarray, " step"]) -> int:
    """How many intervals between snapshots fit into a number of steps, rounded.

    Args:
        steps: the number of optimiser steps.
        step: the evenly spaced steps of the snapshots.

    Returns:
        The number of intervals; 0 if there is only one snapshot.

    """
    return round(steps * (len(step) - 1) / (step[-1] - step[0])) if len(step) > 1 else 0


def labels(array: xr.DataArray, dim: str) -> Int[np.ndarray, " label"]:
    """The labels of a dimension, or its positions if it has none.

    Args:
        array: any DataArray.
        dim: one of its dims.

    Returns:
        The labels, in their order.

    """
    return array[dim].values


def arranged(
    array: xr.DataArray, dims: Sequence[str], call: str
) -> tuple[Float[np.ndarray, "*shape"], Int[np.ndarray, " step"]]:
    """Return the values of a DataArray in float64 with its dims in a given order, and its steps.

    Args:
        array: a DataArray with the coordinate `step`.
        dims: all of its dims, in the order wanted.
        call: what errors begin with.

    Returns:
        The values, and the steps.

    Raises:
        ValueError: the dims are others, or the steps are not evenly spaced.

    """
    given: Any = getattr(array, "dims", None)
    if given is None or set(given) != set(dims):
        shown = f"dims {given}" if given is not None else f"a {type(array).__name__}"
        raise ValueError(f"{call} with {shown}: it must be a DataArray with the dims {tuple(dims)}")
    step = array["step"].values
    distances = np.diff(step)
    # Rounding to whole steps turns an even spacing into two distances that differ by 1.
    if len(distances) and distances.max() > distances.min() + 1:
        rule = f"the snapshots must be evenly spaced; these lie {distances.min()} to {distances.max()} steps apart"
        raise ValueError(f"{call}: {rule}")
    return array.transpose(*dims).values.astype(np.float64), step
