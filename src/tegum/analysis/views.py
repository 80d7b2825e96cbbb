"""Trajectories as they are looked at: embeddings in the plane or in space, in one pose through all steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry import align_steps

Trajectory = Float[np.ndarray, "step feature hidden"]


class View(NamedTuple):
    """A trajectory of one run, seen in few dimensions."""

    positions: Float[np.ndarray, "step feature axis"]
    """Embeddings in one pose: what only rotates in hidden space stands still."""
    share: float
    """The part of |W|² of the last step that is seen: 1 where there are no more dimensions."""


def view(weights: Trajectory, axes: int) -> View:
    """The embeddings of one run over its steps, in so many dimensions and without the rotations of the gauge.

    The last step is in canonical pose and every earlier one in the pose nearest to its successor
    (`tegum.analysis.geometry.align_steps`), so that nothing jumps or spins but what the Gram matrix does. More hidden
    dimensions than axes are projected on the leading principal directions of the last embeddings in hidden space, which
    are the same at all steps, then turned so that the last step is in canonical pose; where these are not unique (equal
    singular values) they are one choice of many. Fewer are filled up with zeros.

    Args:
        weights: of one run, shape (step, feature, hidden), all finite.
        axes: 2 or 3.

    Raises:
        ValueError: the weights are not of that shape or not finite, there is no step, or axes is another number.

    """
    if axes not in (2, 3):
        raise ValueError(f"view(axes={axes!r}): axes must be 2 or 3")
    if weights.size == 0 or not np.isfinite(weights).all():
        raise ValueError(f"view(weights of shape {weights.shape}): there must be steps, and finite weights")
    posed = align_steps(weights)
    missing = axes - posed.shape[-1]
    if missing >= 0:
        return View(np.pad(posed, ((0, 0), (0, 0), (0, missing))), 1.0)
    directions = np.linalg.svd(posed[-1], full_matrices=False)[2][:axes].T
    seen = posed @ directions
    total = float(np.square(posed[-1]).sum())
    share = float(np.square(seen[-1]).sum()) / total if total > 0 else 1.0
    # One rotation for all steps: aligned once more, each would turn by itself.
    left, _, right = np.linalg.svd(seen[-1].T @ align_steps(seen[-1:])[0])
    return View(seen @ (left @ right), share)
