"""Views of a trajectory: embeddings in the plane or in space, in one pose through all steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import LARGEST_WEIGHT, align_steps, canonical_pose

Trajectory = Float[np.ndarray, "step feature hidden"]

_TIED = 1e-4
"""Singular values closer than this fraction of the largest count as equal, as rounding in float32 would separate
them."""


class View(NamedTuple):
    """The trajectory of one run, projected to few dimensions."""

    positions: Float[np.ndarray, "step feature axis"]
    """The embeddings in one pose, shape (step, feature, axis): what only rotates in hidden space stands still."""
    share: float
    """The share of ‖W‖² at the last step that is visible; 1 if there are no more dimensions than axes."""


def view(weights: Trajectory, axes: int) -> View:
    """Project the embeddings of one run over its steps to few dimensions, without rotations of the gauge.

    The last step is in canonical pose, and every earlier one in the pose nearest to its successor
    (`tegum.analysis.geometry.measures.align_steps`), so that only what changes the Gram matrix moves. If there are
    more hidden dimensions than axes they are projected onto the leading principal directions of the last embeddings
    in hidden space, the same for all steps, and rotated so that the last step is in canonical pose. If equal
    singular values leave the directions open the features decide: those that come first in canonical pose are
    visible. Missing dimensions are filled with zeros.

    Where embeddings span fewer dimensions than at the step before, their pose relative to the others is
    undetermined; there, and only there, the view depends on the gauge.

    Args:
        weights: W of one run, shape (step, feature, hidden), all finite and none beyond
            `tegum.analysis.geometry.measures.LARGEST_WEIGHT`.
        axes: the number of dimensions, 2 or 3.

    Returns:
        The positions, and the share of ‖W‖² that is visible.

    Raises:
        ValueError: the weights are not of that shape, not finite or too large, there is no step, or `axes` is
            neither 2 nor 3.

    """
    if axes not in (2, 3):
        raise ValueError(f"view(axes={axes!r}): axes must be 2 or 3")
    # NaN compares as False, so this refuses it as well. In float32 the limit would be infinite.
    if weights.size == 0 or not (np.abs(weights.astype(float)) <= LARGEST_WEIGHT).all():
        rule = f"there must be steps, and finite weights of at most {LARGEST_WEIGHT:g}"
        raise ValueError(f"view(weights of shape {weights.shape}): {rule}")
    posed = align_steps(weights)
    missing = axes - posed.shape[-1]
    if missing >= 0:
        return View(np.pad(posed, ((0, 0), (0, 0), (0, missing))), 1.0)
    seen = posed @ _directions(posed[-1], axes)
    total = float(np.square(posed[-1]).sum())
    share = float(np.square(seen[-1]).sum()) / total if total > 0 else 1.0
    # One rotation for all steps: if each were aligned again, each would turn by itself.
    return View(seen @ _to_canonical_pose(seen[-1]), share)


def _directions(last: Float[np.ndarray, "feature hidden"], axes: int) -> Float[np.ndarray, "hidden axis"]:
    """Leading principal directions, as columns: functions of the Gram matrix, even where singular values are equal."""
    _, values, rows = np.linalg.svd(last)
    directions = rows.T
    # With fewer features than hidden dimensions, the other directions are empty.
    values = np.pad(values, (0, len(directions) - len(values)))
    tied = np.flatnonzero(np.abs(values - values[axes - 1]) <= _TIED * values[0])
    if tied[-1] >= axes:
        # In this space the choice of the decomposition depends on rounding, and rounding on the gauge.
        space = directions[:, tied]
        directions[:, tied] = space @ _to_canonical_pose(last @ space)
    return directions[:, :axes]


def _to_canonical_pose(rows: Float[np.ndarray, "feature axis"]) -> Float[np.ndarray, "axis axis"]:
    left, _, right = np.linalg.svd(rows.T @ canonical_pose(rows))
    return left @ right
