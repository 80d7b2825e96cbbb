"""How gradient flow leaves a saddle: along which unstable directions, how fast, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec

FLOW_RTOL, FLOW_ACCURACY = 1e-4, 1e-5
"""The relative error of a flow's steps, and the absolute error of its loss, a thousandth of the distance between the
plateaus it is followed through."""


@final
@dataclass(frozen=True, eq=False)
class Flown:
    """The gradient flows of several runs, at the same times."""

    time: Float[np.ndarray, " time"]
    weights: Float[np.ndarray, "run time feature hidden"]
    bias: Float[np.ndarray, "run time feature"]
    loss: Float[np.ndarray, "run time"]

    @property
    def thetas(self) -> Float[np.ndarray, "run time parameter"]:
        """The parameters: W row by row, followed by b."""
        return np.concatenate([self.weights.reshape(*self.weights.shape[:2], -1), self.bias], -1)

    def speeds(self) -> Float[np.ndarray, "run leg"]:
        """The speed |dθ/dt| = |∇L| between snapshots."""
        return np.linalg.norm(np.diff(self.thetas, axis=1), axis=-1) / np.diff(self.time)


def flown(
    spec: Spec,
    weights: Float[np.ndarray, "run feature hidden"],
    bias: Float[np.ndarray, "run feature"],
    duration: float,
    count: int,
) -> Flown:
    """The gradient flow of the exact loss from given states, with `count` snapshots after the first, evenly in time."""
    from tegum.training.engine import train
    from tegum.training.spec.methods import Flow
    from tegum.training.spec.snapshots import Snapshots

    training = Flow(steps=count, duration=float(duration), rtol=FLOW_RTOL, accuracy=FLOW_ACCURACY)
    run = train(spec.continued_from(weights, bias, training=training, snapshots=Snapshots(count=count)))
    found = run["weights"].transpose("seed", "step", "feature", "hidden").values
    # All runs share the same times.
    return Flown(run["time"].values[0], found, run["bias"].values, run["loss"].values)


@final
@dataclass(frozen=True, eq=False)
class Leaving:
    """The escape from a saddle towards a state: their difference within the unstable directions."""

    saddle: Float[np.ndarray, " parameter"]
    """The parameters of the saddle, in the pose of the state."""
    modes: Float[np.ndarray, "mode parameter"]
    """The unstable directions, in the same pose."""
    rates: Float[np.ndarray, " mode"]
    """The growth rate −λ along each direction."""
    amounts: Float[np.ndarray, " mode"]
    """The displacement of the state along each direction."""

    @classmethod
    def of(
        cls,
        point: CriticalPoint,
        weights: Float[np.ndarray, "feature hidden"],
        bias: Float[np.ndarray, " feature"],
    ) -> Leaving | None:
        """The escape from a critical point; None if it is not a saddle.

        If the point is unstable only on one side of a kink, the direction is the fastest one on that side.
        """
        if not point.unstable:
            return None
        count = point.negative
        towards, shifts, curvature = point.mode_weights[:count], point.mode_bias[:count], point.eigenvalues[:count]
        if not count:
            fastest = [int(point.edge_curvature.argmin())]
            towards, shifts = point.edge_weights[fastest], point.edge_bias[fastest]
            curvature = point.edge_curvature[fastest]
        left, _, right = np.linalg.svd(point.weights.T @ weights)
        turn = left @ right
        saddle = np.concatenate([(point.weights @ turn).ravel(), point.bias])
        modes = np.concatenate([(towards @ turn).reshape(len(towards), -1), shifts], 1)
        amounts = modes @ (np.concatenate([weights.ravel(), bias]) - saddle)
        # On a ray, amounts are positive: on the other side the loss does not fall.
        return cls(saddle, modes, -curvature, amounts if count else np.abs(amounts))

    @property
    def start(self) -> float:
        """The distance of the state from the saddle within the unstable directions."""
        return float(np.linalg.norm(self.amounts))

    @property
    def rate(self) -> float:
        """The rate at which the linearised flow leaves the saddle in the direction of the state."""
        return float(np.square(self.amounts / self.start) @ self.rates)

    @property
    def direction(self) -> Float[np.ndarray, " parameter"]:
        """The unit vector towards the state within the unstable directions."""
        return (self.amounts / self.start) @ self.modes

    def shares(self, features: int) -> Float[np.ndarray, " feature"]:
        """Each feature's share of the squared direction, |dW_i|² + db_i²; the shares add up to 1."""
        squares = np.square(self.direction)
        return squares[:-features].reshape(features, -1).sum(1) + squares[-features:]

    def aside(self, size: float) -> Float[np.ndarray, " parameter"]:
        """The point at distance `size` from the saddle, in that direction."""
        return self.saddle + size * self.direction

    def along(self, thetas: Float[np.ndarray, "time parameter"]) -> Float[np.ndarray, " time"]:
        """The distance from the saddle within the unstable directions, over time."""
        return np.linalg.norm((thetas - self.saddle) @ self.modes.T, axis=1)

    def predicted(self, grown: float) -> float:
        """The time linear growth needs to reach `grown`, each direction at its own rate; NaN if it is already there."""
        if not grown > self.start:
            return float("nan")
        from scipy.optimize import root_scalar

        def short(time: float) -> float:
            # In logarithms, so that growth cannot overflow.
            logs = 2 * (np.log(np.maximum(np.abs(self.amounts), 1e-300)) + self.rates * time)
            return float(np.logaddexp.reduce(logs) - 2 * np.log(grown))

        longest = np.log(grown / self.start) / self.rates.min() + 1.0
        return float(root_scalar(short, bracket=(0.0, longest)).root)


def growth(time: Float[np.ndarray, " time"], far: Float[np.ndarray, " time"], times: float) -> float:
    """The rate of exponential growth up to `times` the initial distance; NaN if it is never reached."""
    if not far.max() >= times * far[0]:
        return float("nan")
    end = int(np.argmax(far >= times * far[0])) + 1
    return float(np.polyfit(time[:end], np.log(far[:end]), 1)[0])


def crossing(time: Float[np.ndarray, " time"], loss: Float[np.ndarray, " time"], level: float) -> float:
    """The time at which the loss falls below a level, on a smooth curve through snapshots; NaN if it never does."""
    below = loss < level
    if not below.any():
        return float("nan")
    at = int(np.argmax(below))
    if at == 0:
        return float(time[0])
    times = between(time, loss).solve(level, extrapolate=False)
    return float(times[times >= time[at - 1]][0])


def between(time: Float[np.ndarray, " time"], values: Float[np.ndarray, " time"]) -> PchipInterpolator:
    """A curve through what is finite that rises and falls only where the values do (Fritsch & Butland 1984)."""
    from scipy.interpolate import PchipInterpolator

    known = np.isfinite(values)
    return PchipInterpolator(time[known], values[known])
