"""The critical point near a state of a run, as accurate as its index needs."""

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
"""The largest norm of the gradient at a critical point, and the smaller one that is asked for where the first leaves
eigenvalues undecided."""

STEPS = 40
"""The most steps to it."""


def critical_near(
    spec: Spec,
    weights: Float[np.ndarray, "feature hidden"],
    bias: Float[np.ndarray, " feature"],
    reach: float,
    corners: Sequence[float] = CORNERS,
) -> CriticalPoint:
    """Where Newton's method leads from a state, if it goes no farther than `reach`; `corners` as `critical_point`'s.

    Hessians are known the better, the smaller the tolerance; beside kinks that is dear, and decides nothing.
    """
    search = partial(
        critical_point, features=spec.features, steps=STEPS, reach=reach, corners=corners, activation=spec.activation
    )
    point = search(weights, bias, tol=POINT_TOLERANCE)
    if point.index is not None or point.gradient_norm > POINT_TOLERANCE or point.kinks or point.moved > reach:
        return point
    finer = search(point.weights, point.bias, tol=EIGENVALUE_TOLERANCE)
    # From the state, and not from where the rougher search ended.
    return replace(finer, moved=distance(finer.weights, finer.bias, weights, bias))
