"""Saddles along the routes of runs: critical points of the exact loss near plateaus of their noiseless twins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.solutions.searches import searched
from tegum.training.dataset import spec_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec

TWIN_ACCURACY = 1e-6
"""The error allowed in the twins' loss."""

REACH = 0.25
"""A critical point is near a plateau within this distance. For comparison, |W| of the octahedron is √6."""

TWIN_SNAPSHOTS = 120
"""The number of snapshots of a twin, logarithmically spaced."""


@final
@dataclass(frozen=True, eq=False)
class PassedSaddle:
    """A place where a twin is slow, and the critical point found from there."""

    start: int
    """The first step of the plateau, or of the last turn of two open triangles."""
    end: int
    """The last step of the plateau, or of the turn."""
    turning: bool
    """Whether this is the last turn. The loss may fall too little during it to separate two plateaus."""
    point: CriticalPoint
    """The critical point at which the search ends."""
    near: bool
    """Whether the search converges within the distance `REACH`."""
    cosine: float
    """The cosine between the centroids of both sets at the critical point; NaN if a centroid is nearly zero."""
    fast_is_saddle: bool | None
    """The null: whether the same search, started where the loss falls fastest afterwards, finds a saddle nearby.
    None if the loss does not fall afterwards."""

    @property
    def saddle(self) -> bool:
        """Whether the critical point is near and the loss falls from it in some direction."""
        return self.near and self.point.unstable

    @property
    def label(self) -> str:
        """A description of the critical point, or "none near"."""
        return str(self.point) if self.near else "none near"


def twins(spec: Spec, weights: np.ndarray) -> Spec:
    """The Spec of noiseless twins: Adam with the same settings on the exact loss, from the given initial weights."""
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.snapshots import Snapshots

    training = spec.training
    if not isinstance(training, Sampled):
        raise TypeError(f"twins(training={training.kind}): only sampled training has twins")
    snapshots = Snapshots(count=TWIN_SNAPSHOTS, spacing="logarithmic")
    return spec.continued_from(weights, training=training.noiseless(accuracy=TWIN_ACCURACY), snapshots=snapshots)


def saddles_of(run: xr.Dataset) -> list[PassedSaddle]:
    """Find the critical points near the plateaus of one twin and near the slowest point of its last turn, in order."""
    from tegum.analysis.dynamics.plateaus import find_plateaus
    from tegum.experiments.octahedron.routes import course
    from tegum.solutions.saddles import critical_near

    spec = spec_of(run)
    loss, steps = np.maximum(run["loss"].values, TWIN_ACCURACY), run["step"].values
    seen = course(run["weights"].values[None], spec.features)
    face, whole = int(seen.facing[0]), int(seen.whole[0])
    places: list[tuple[int, int, bool, int, int | None]] = [
        (each.start, each.end, False, each.slowest, each.fastest) for each in find_plateaus(loss, steps)
    ]
    if whole - face > 2:
        rate = np.abs(np.diff(np.log(loss[face : whole + 1])) / np.diff(np.log(steps[face : whole + 1])))
        last = min(whole, len(steps) - 1)
        places.append((int(steps[face]), int(steps[last]), True, face + int(np.argmin(rate)), None))

    def near(at: int) -> tuple[CriticalPoint, bool]:
        weights, bias = (run[name].isel(step=at).values.astype(np.float64) for name in ("weights", "bias"))
        point = critical_near(spec, weights, bias, REACH)
        return point, point.converged and point.moved <= REACH

    def look(start: int, end: int, turning: bool, slowest: int, fastest: int | None) -> PassedSaddle:
        point, close = near(slowest)
        centroids = [point.weights[:3].mean(0), point.weights[3:].mean(0)]
        lengths = [float(np.linalg.norm(each)) for each in centroids]
        cosine = float(centroids[0] @ centroids[1] / np.prod(lengths)) if min(lengths) > 0.05 else float("nan")
        fast_is_saddle = None
        if fastest is not None:
            fast, found = near(fastest)
            fast_is_saddle = found and fast.unstable
        return PassedSaddle(start, end, turning, point, close, cosine, fast_is_saddle)

    return searched([partial(look, *each) for each in sorted(places)], "searching for saddles", "plateaus")
