"""The order and the times in which runs learn principal directions, and whether they rest at linear optima on the way.

`tegum.analysis.linear.escapes` measures when each direction escapes from a small start, and predicts when it should.
Here the runs of one Spec are compared with the prediction, with one direction for each set of correlated features.
What follows from no run is NaN.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from tegum.analysis.linear.losses import OTHER_LEVELS, at_level, linear_losses, runs_with_losses
from tegum.core.arguments import refusing
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
        return self.learned & (self.measured[:, :-1] < self.measured[:, 1:]).all(1)

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
        met = [self._errors(by).max(1, initial=0.0) <= ON_TIME for by in range(1, len(self.measured))]
        return float(np.mean(met)) if met else math.nan

    @property
    def error_by_others(self) -> float:
        """The null of `error`: its mean, with times predicted from the starts of all other runs."""
        errors = [self._errors(by)[self.learned].mean(1) for by in range(1, len(self.measured))]
        return float(np.mean(errors)) if errors and self.learned.any() else math.nan

    @property
    def delay(self) -> Float[np.ndarray, "run mode"]:
        """Signed ln (measured/predicted) of each direction, for the runs that learn all of them."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.measured[self.learned] / self.predicted[self.learned])

    def ratio(self, rank: int) -> float:
        """The ratio of eigenvalue number `rank`, from 1, to the next; infinite if the next is 0 or there is none."""
        value, following = float(self.eigenvalues[rank - 1]), float(np.append(self.eigenvalues, 0.0)[rank])
        return value / following if following > 0 else math.inf

    @property
    def expected(self) -> tuple[int, ...]:
        """The ranks at which a plateau is predicted: those of optima that lose something."""
        ranks = range(1, min(self.modes, len(self.losses) - 1) + 1)
        return tuple(rank for rank in ranks if self.losses[rank] > 0 and self.ratio(rank) >= WELL_APART)

    def plateaus_at(self, rank: int, shift: float = 1.0) -> Bool[np.ndarray, " run"]:
        """Whether each run has a plateau at the linear optimum of a rank, or at its level times a factor.

        Args:
            rank: from 0 to m.
            shift: the factor.

        Returns:
            Booleans, one for each run.

        Raises:
            ValueError: there is no optimum of this rank.

        """
        if not 0 <= rank < len(self.losses):
            raise ValueError(f"plateaus_at(rank={rank!r}): rank must be from 0 to {len(self.losses) - 1}")
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
        return float(np.mean(found)) if found and len(self.measured) else math.nan

    def resting_distances(self) -> Float[np.ndarray, "some pair"]:
        """The distance of the loss from L_r between escapes r and r + 1, mean over r of |ln (loss/L_r)|.

        Each run that learns the directions in order has two numbers: the distance where the loss changes most slowly,
        and the null, the mean distance at a random time between the same two escapes.
        """
        found = []
        for run in np.flatnonzero(self.in_order):
            change, wait = np.abs(np.diff(self.loss[run])), np.diff(self.time)
            pairs = []
            # A model with superposition learns more directions than there are linear optima.
            waits = list(itertools.pairwise(self.measured[run]))[: len(self.losses) - 1]
            for rank, (here, there) in enumerate(waits, 1):
                between = np.flatnonzero((self.time[:-1] >= here) & (self.time[1:] <= there))
                if len(between) and self.losses[rank] > 0:
                    away = np.abs(np.log(self.loss[run, between] / self.losses[rank]))
                    slowest = np.argmin(change[between] / wait[between])
                    pairs.append((away[slowest], np.average(away, weights=wait[between])))
            if pairs:
                found.append(np.mean(pairs, 0))
        return np.array(found, float).reshape(-1, 2)

    @property
    def exponents(self) -> Float[np.ndarray, " some"]:
        """The exponent of the learning time in the size of a set, for each run that learns all directions.

        NaN if all sets have one size, or where a direction is learned from the start.
        """
        return self._exponents(self.measured[self.learned])

    @property
    def exponent_predicted(self) -> float:
        """The median over runs of the exponent that the closed form predicts; NaN where it predicts none."""
        found = self._exponents(self.predicted)
        found = found[np.isfinite(found)]
        return float(np.median(found)) if len(found) else math.nan

    def _exponents(self, times: Float[np.ndarray, "some mode"]) -> Float[np.ndarray, " some"]:
        if len(set(self.sizes)) < 2:
            return np.full(len(times), np.nan)
        slopes = [
            np.polyfit(np.log(self.sizes), np.log(row), 1)[0] if np.isfinite(row).all() and row.min() > 0 else np.nan
            for row in times
        ]
        return np.array(slopes, float)

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


@refusing
def escape_order(
    run: xr.Dataset,
    features: FeatureDistribution,
    activation: Activation = "relu",
    *,
    time_of_step: float = 1.0,
    tol: float = 1e-4,
) -> EscapeOrder:
    """Find the escapes and plateaus of the runs of one Spec, with one principal direction for each set of features.

    From a small start, linear networks learn principal directions one after another, and rest between two of them at
    the optimum of that rank (Saxe, McClelland & Ganguli 2014; for autoencoders: Gidel, Bach & Lacoste-Julien 2019).
    A direction is learned when its strength (`mode_strengths`) reaches 1/2, and should be at the time of
    `predicted_escapes`. A plateau (`find_plateaus`) is at a linear optimum if the loss of the model, and that of its
    weights in the linear model, differ from that of the optimum by at most 5 %.

    Args:
        run: a trajectory of one Spec, dims (seed, step, …), from the start of training on; runs that did not complete
            training are left out. A flow has its times in the coordinate `time`.
        features: the feature distribution that was trained on. One principal direction of each set must be much
            stronger than its others.
        activation: the activation of the trained model.
        time_of_step: for other trajectories, the flow time that one step corresponds to, such as the rate of gradient
            descent.
        tol: the largest error of a population loss, which is computed unless the run is a flow and has recorded it;
            smaller losses count as `tol`.

    Returns:
        The measured and the predicted time of each escape, losses, and the losses of the best linear solutions, with
        what follows from them: whether directions come in order and on time, and at which ranks the loss rests. NaN
        for what follows from no run.

    Raises:
        ValueError: `run` is not a trajectory of one Spec, a completed run is not finite, a flow has a loss below
            0, or times that do not rise alike in all runs, `features` has another number of features, no variance or
            several leading directions in one set, there is no activation of that name, `time_of_step` or `tol` is
            not a positive number, or there is no population loss to that accuracy (`population_loss`).

    Example:
        Two features of variance λ = p/3 − p²/4, each with a weight of 0.01 at the start, are learned at ln(9999)/(8λ).

        >>> import tegum as tg
        >>> import numpy as np
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(1, 0.3), tg.Independent(1, 0.1)],
        ...     hidden=2,
        ...     activation="linear",
        ...     start=0.01 * np.eye(2),
        ...     training=tg.Exact(steps=500, optimiser="gd", rate=0.1),
        ... )
        >>> order = tg.escape_order(tg.train(spec), spec.features, "linear", time_of_step=0.1)
        >>> order.predicted[0].round(1).tolist(), order.in_order.tolist(), order.on_time.tolist()
        ([14.9, 37.3], [True], [True])
        >>> [round(float(np.log(9999) / (8 * (p / 3 - p**2 / 4))), 1) for p in (0.3, 0.1)]
        [14.9, 37.3]

    """
    from tegum.analysis.linear.escapes import escape_times, mode_strengths, predicted_escapes
    from tegum.analysis.linear.pca import axes_of_sets, linear_optimum

    if not 0 < time_of_step < np.inf:
        raise ValueError(f"escape_order(time_of_step={time_of_step!r}): time_of_step must be a positive finite number")
    kept, loss = runs_with_losses("escape_order", run, features, activation, tol)
    axes, modes = axes_of_sets("escape_order", features), len(features.sets)
    weights = kept["weights"].values.astype(float)
    strengths = mode_strengths(weights, features, modes)
    time = _times(run, time_of_step)
    optimum = linear_optimum(features, weights.shape[-1])
    return EscapeOrder(
        time=time.astype(float),
        steps=kept["step"].values,
        loss=loss,
        linear=linear_losses(weights, features),
        measured=escape_times(strengths, time.astype(float)),
        predicted=predicted_escapes(weights[:, 0], features, modes),
        eigenvalues=optimum.eigenvalues,
        losses=optimum.losses,
        # Each principal direction lies within one set.
        sizes=tuple((np.abs(axes) > ROUNDED).sum(0).tolist()),
    )


def _times(run: xr.Dataset, time_of_step: float) -> Num[np.ndarray, " step"]:
    """The times of the snapshots, which the runs of one flow have in common; raises ValueError where they have not."""
    if "time" not in run.coords:
        return run["step"].values * time_of_step
    times = run["time"].values.reshape(-1, run.sizes["step"])
    # NaN is not equal to itself.
    if not (times == times[0]).all() or not (np.diff(times[0]) > 0).all():
        raise ValueError("escape_order(run with the coordinate time): times must rise, and be the same for all runs")
    return times[0]
