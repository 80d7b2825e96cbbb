"""The critical point near a state of a run, as accurate as its index requires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.analysis.landscape.critical_points import CORNERS, CriticalPoint, critical_point
from tegum.analysis.landscape.surface import distance

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

POINT_TOLERANCE, EIGENVALUE_TOLERANCE = 1e-6, 1e-8
"""The largest gradient norm at a critical point, and the smaller one required if the first leaves the sign of an
eigenvalue undecided."""

STEPS = 40
"""The most Newton steps to a critical point."""


def critical_near(
    spec: Spec,
    weights: Float[np.ndarray, "feature hidden"],
    bias: Float[np.ndarray, " feature"],
    reach: float,
    corners: Sequence[float] = CORNERS,
) -> CriticalPoint:
    """The critical point to which Newton's method leads from a state, sought no farther away than `reach`.

    A smaller tolerance makes the Hessian more accurate. Near kinks this is costly and never settles the index, so it is
    not done there. `corners` is passed to `critical_point`.
    """
    search = partial(
        critical_point, features=spec.features, steps=STEPS, reach=reach, corners=corners, activation=spec.activation
    )
    point = search(weights, bias, tol=POINT_TOLERANCE)
    if point.index is not None or point.gradient_norm > POINT_TOLERANCE or point.kinks or point.moved > reach:
        return point
    finer = search(point.weights, point.bias, tol=EIGENVALUE_TOLERANCE)
    # The distance from the state, and not from where the coarser search ended.
    return replace(finer, moved=distance(finer.weights, finer.bias, weights, bias))
