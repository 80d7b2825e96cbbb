"""The order and the times in which runs learn principal directions, and whether they rest at linear optima on the way.

`tegum.analysis.linear.escapes` measures when each direction escapes from a small start, and predicts when it should.
Here the runs of one Spec are compared with the prediction, with one direction for each set of correlated features.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.linear.losses import OTHER_LEVELS, at_level, linear_losses, own_losses
from tegum.analysis.runs import completed_runs
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.model import Activation

if TYPE_CHECKING:
    import xarray as xr

ON_TIME = 0.05
"""A direction is learned at the predicted time if |ln (measured/predicted)| is at most this."""

ROUNDED = 1e-9
"""An entry of a unit vector of at most this size is rounding, and counts as 0."""

WELL_APART = 3.0
"""A plateau is predicted at rank r if eigenvalue r is at least this many times the next."""


@final
@dataclass(frozen=True, eq=False)
class EscapeOrder:
    """Escapes and plateaus of the runs of one Spec that trained to their end."""

    time: Float[np.ndarray, " step"]
    """The times of the snapshots, in units of gradient flow if the training corresponds to such a time."""
    steps: Int[np.ndarray, " step"]
    """The steps of the snapshots."""
    loss: Float[np.ndarray, "run step"]
    """The population loss."""
    linear: Float[np.ndarray, "run step"]
    """The population loss of the same weights in the linear model, with the best bias."""
    measured: Float[np.ndarray, "run mode"]
    """The time at which each principal direction reaches a strength of 1/2; infinite if it never does."""
    predicted: Float[np.ndarray, "run mode"]
    """The predicted time, by the closed form for gradient flow of the linear model."""
    eigenvalues: Float[np.ndarray, " feature"]
    """The eigenvalues of the weighted covariance, falling."""
    losses: Float[np.ndarray, " rank"]
    """The losses of the best linear solutions of each rank."""
    sizes: tuple[int, ...]
    """The numbers of features in the sets, in the order of the modes."""

    @property
    def modes(self) -> int:
        """The number of principal directions: one for each set."""
        return self.measured.shape[1]

    @property
    def learned(self) -> Bool[np.ndarray, " run"]:
        """Whether each run learns all directions."""
        return np.asarray(np.isfinite(self.measured).all(1))

    @property
    def in_order(self) -> Bool[np.ndarray, " run"]:
        """Whether each run learns all directions, in falling order of their eigenvalues."""
        later = np.array([a < b for a, b in itertools.pairwise(self.measured.T)]).reshape(-1, len(self.measured))
        return self.learned & later.all(0)

    @property
    def error(self) -> Float[np.ndarray, " run"]:
        """Mean |ln (measured/predicted)| over directions, for each run that learns all of them."""
        return self._errors()[self.learned].mean(1)

    @property
    def on_time(self) -> Bool[np.ndarray, " run"]:
        """Whether each run learns every direction within `ON_TIME` of its predicted time."""
        return self._errors().max(1, initial=0.0) <= ON_TIME

    @property
    def on_time_by_others(self) -> float:
        """The null of `on_time`: the share of runs on time, with times predicted from the starts of all other runs."""
        return float(np.mean([self._errors(by).max(1, initial=0.0) <= ON_TIME for by in range(1, len(self.measured))]))

    @property
    def error_by_others(self) -> float:
        """The null of `error`: its mean, with times predicted from the starts of all other runs."""
        errors = [self._errors(by)[self.learned].mean(1) for by in range(1, len(self.measured))]
        return float(np.mean(errors)) if self.learned.any() else math.nan

    @property
    def delay(self) -> Float[np.ndarray, "run mode"]:
        """Signed ln (measured/predicted) of each direction, for the runs that learn all of them."""
        return np.log(self.measured[self.learned] / self.predicted[self.learned])

    def ratio(self, rank: int) -> float:
        """The ratio of eigenvalue number `rank` to the next."""
        return float(self.eigenvalues[rank - 1] / self.eigenvalues[rank])

    @property
    def expected(self) -> tuple[int, ...]:
        """The ranks at which a plateau is predicted."""
        return tuple(rank for rank in range(1, self.modes + 1) if self.ratio(rank) >= WELL_APART)

    def plateaus_at(self, rank: int, shift: float = 1.0) -> Bool[np.ndarray, " run"]:
        """Whether each run has a plateau at the linear optimum of a rank, or at its level times a factor."""
        return np.asarray(at_level(*self._resting, float(shift * self.losses[rank])).any(1))

    @property
    def every_expected_plateau(self) -> Bool[np.ndarray, " run"]:
        """Whether each run has all expected plateaus and learns the directions in order."""
        return self.in_order & np.array([self.plateaus_at(rank) for rank in self.expected]).all(0)

    def by_chance(self, ranks: tuple[int, ...]) -> float:
        """The null: the share of plateaus found at the levels of these ranks times a factor, mean over factors.

        As a null for all ranks at once it is generous, as it is the share for a single one.
        """
        found = [self.plateaus_at(rank, shift) for rank in ranks for shift in OTHER_LEVELS]
        return float(np.mean(found)) if found else math.nan

    def resting_distances(self) -> Float[np.ndarray, "some pair"]:
        """The distance of the loss from L_r between escapes r and r + 1, mean over r of |ln (loss/L_r)|.

        Each run that learns the directions in order has two numbers: the distance where the loss changes most slowly,
        and the null, the mean distance at a random time between the same two escapes.
        """
        found = []
        for run in np.flatnonzero(self.in_order):
            change, wait = np.abs(np.diff(self.loss[run])), np.diff(self.time)
            pairs = []
            for rank, (here, there) in enumerate(itertools.pairwise(self.measured[run]), 1):
                between = np.flatnonzero((self.time[:-1] >= here) & (self.time[1:] <= there))
                if len(between):
                    away = np.abs(np.log(self.loss[run, between] / self.losses[rank]))
                    slowest = np.argmin(change[between] / wait[between])
                    pairs.append((away[slowest], np.average(away, weights=wait[between])))
            if pairs:
                found.append(np.mean(pairs, 0))
        return np.array(found, float).reshape(-1, 2)

    @property
    def exponents(self) -> Float[np.ndarray, " some"]:
        """The exponent of the learning time in the size of a set, for each run that learns all directions."""
        return self._exponents(self.measured[self.learned])

    @property
    def exponent_predicted(self) -> float:
        """The median over runs of the exponent that the closed form predicts."""
        return float(np.median(self._exponents(self.predicted)))

    def _exponents(self, times: Float[np.ndarray, "some mode"]) -> Float[np.ndarray, " some"]:
        return np.array([np.polyfit(np.log(self.sizes), np.log(row), 1)[0] for row in times], float)

    def _errors(self, by: int = 0) -> Float[np.ndarray, "run mode"]:
        """|ln (measured/predicted)|, with the predictions of the run `by` places before."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(np.log(self.measured / np.roll(self.predicted, by, 0)))

    @cached_property
    def _resting(self) -> tuple[Float[np.ndarray, "run plateau"], Float[np.ndarray, "run plateau"]]:
        """Both losses of each run where its plateaus are slowest; NaN beyond the plateaus of a run with fewer."""
        from tegum.analysis.dynamics.plateaus import find_plateaus

        found = [[each.slowest for each in find_plateaus(row, self.steps)] for row in self.loss]
        both = np.full((2, len(found), max(map(len, found), default=0)), np.nan)
        for run, at in enumerate(found):
            both[0, run, : len(at)], both[1, run, : len(at)] = self.loss[run, at], self.linear[run, at]
        return both[0], both[1]


def chance(modes: int) -> float:
    """The probability that a random order is the predicted one."""
    return 1 / math.factorial(modes)


def escape_order(
    run: xr.Dataset,
    features: FeatureDistribution,
    activation: Activation = "relu",
    *,
    time_of_step: float = 1.0,
    tol: float = 1e-4,
) -> EscapeOrder:
    """Find the escapes and plateaus of the runs of one Spec, with one principal direction for each set of features.

    Args:
        run: a trajectory, dims (seed, step); a flow has its times in the coordinate `time`.
        features: the feature distribution that was trained on. One principal direction of each set must be much
            stronger than its others.
        activation: the activation of the trained model.
        time_of_step: for other trajectories, the flow time that one step corresponds to, such as the rate of gradient
            descent.
        tol: the largest error of a population loss.

    """
    from tegum.analysis.linear.escapes import escape_times, mode_strengths, predicted_escapes
    from tegum.analysis.linear.pca import linear_optimum, principal_axes

    kept = completed_runs(run)
    modes = len(features.sets)
    weights = kept["weights"].values.astype(float)
    strengths = mode_strengths(weights, features, modes)
    if "time" in kept.coords:
        time = kept["time"].values.reshape(-1, kept.sizes["step"])[0]
    else:
        time = kept["step"].values * time_of_step
    optimum = linear_optimum(features, weights.shape[-1])
    axes = principal_axes(features)[1][:, :modes]
    return EscapeOrder(
        time=time.astype(float),
        steps=kept["step"].values,
        loss=own_losses(kept, features, activation, tol),
        linear=linear_losses(weights, features),
        measured=escape_times(strengths, time.astype(float)),
        predicted=predicted_escapes(weights[:, 0], features, modes),
        eigenvalues=optimum.eigenvalues,
        losses=optimum.losses,
        # Each principal direction lies within one set.
        sizes=tuple((np.abs(axes) > ROUNDED).sum(0).tolist()),
    )
