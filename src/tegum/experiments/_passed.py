"""Saddles that runs pass on their routes: critical points of the exact loss next to plateaus of noiseless twins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape import CriticalPoint
    from tegum.training.spec import Spec

ACCURACY = 1e-6
"""Of the twins' loss."""

TOL = 1e-6
"""Of the gradient at a critical point."""

FINE = 1e-8
"""The same where the index is undecided and there are no kinks."""

STEPS = 40
"""The most steps to it."""

REACH = 0.25
"""A critical point within this distance of the plateau is near; the octahedron has the length √6."""

SNAPSHOTS = 120


@final
@dataclass(frozen=True, eq=False)
class Passed:
    """Where a twin is slow, and the critical point near it."""

    start: int
    end: int
    """First and last step of the plateau; for two triangles that turn, of their turning."""
    turning: bool
    """Whether that is the last turn, on which the loss may fall too little to part two plateaus."""
    point: CriticalPoint
    near: bool
    cosine: float
    """Between the centroids of the point; NaN where it has none."""

    @property
    def label(self) -> str:
        """What it is."""
        return str(self.point) if self.near else "none near"


def twins(spec: Spec, weights: np.ndarray) -> xr.Dataset:
    """Runs without noise from the starts of sampled ones: Adam with the same settings on the exact loss."""
    from tegum.training.engine import train
    from tegum.training.spec import Sampled, Snapshots

    training = spec.training
    if not isinstance(training, Sampled):
        raise TypeError(f"twins(training={training.kind}): only sampled training has twins")
    return train(
        spec.replace(
            training=training.noiseless(accuracy=ACCURACY),
            snapshots=Snapshots(count=SNAPSHOTS, spacing="logarithmic"),
            seeds=len(weights),
            initial_scale=None,
            start=weights.astype(np.float64),
        )
    )


def passed(run: xr.Dataset) -> list[Passed]:
    """What lies next to the plateaus of one twin, in order, and to where its open triangles turn most slowly."""
    from tegum.analysis.landscape import critical_point
    from tegum.analysis.plateaus import find_plateaus
    from tegum.experiments._routes import course
    from tegum.training.spec import Spec

    loss, steps = np.maximum(run["loss"].values, ACCURACY), run["step"].values
    seen = course(run["weights"].values[None], Spec.from_json(run.attrs["spec"]).features)
    face, whole = int(seen.facing[0]), int(seen.whole[0])
    places = [(each.start, each.end, False, each.slowest) for each in find_plateaus(loss, steps)]
    if whole - face > 2:
        rate = np.abs(np.diff(np.log(loss[face : whole + 1])) / np.diff(np.log(steps[face : whole + 1])))
        last = min(whole, len(steps) - 1)
        places.insert(-1, (int(steps[face]), int(steps[last]), True, face + int(np.argmin(rate))))

    def look(start: int, end: int, turning: bool, at: int) -> Passed:
        snapshot = run.isel(step=at)
        point = critical_point(snapshot, tol=TOL, reach=REACH, steps=STEPS)
        if point.converged and point.index is None and not point.kinks:
            # Hessians are known the better, the smaller the tolerance; beside kinks that is dear, and decides nothing.
            point = critical_point(snapshot, tol=FINE, reach=REACH, steps=STEPS)
        centroids = [point.weights[:3].mean(0), point.weights[3:].mean(0)]
        lengths = [float(np.linalg.norm(each)) for each in centroids]
        cosine = float(centroids[0] @ centroids[1] / np.prod(lengths)) if min(lengths) > 0.05 else float("nan")
        return Passed(start, end, turning, point, point.converged and point.moved <= REACH, cosine)

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(look, *each) for each in places]
        return [each.result() for each in jobs]
