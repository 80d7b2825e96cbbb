"""Stages of training: regimes of the loss with the motion that dominates each, and what regimes elsewhere would show.

Two nulls keep the motion of a run and move its boundaries: its own regimes, with their lengths in ln step, in another
*order*; and as many regimes at random *places*, which changes their lengths. The second is easier to beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from math import factorial
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from tegum.analysis.dynamics.motions import Parts, motions
from tegum.analysis.dynamics.regimes import Regime, motion_shares, regimes_of
from tegum.analysis.linear.subspaces import check_features
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution

PLACED = 20
"""The number of times the regimes of a run are put at random places."""

ORDERED = 720
"""The largest number of orders of the regimes of a run: all of them, or this many random ones from seven regimes on."""


@final
@dataclass(frozen=True)
class MotionStage:
    """A regime of the loss, with the share of each motion in it."""

    regime: Regime
    """The stretch of training."""
    shares: dict[str, float]
    """The share of each motion by name, as `motion_shares` gives it."""

    @property
    def dominant(self) -> str:
        """The motion with the largest share, or "nothing" if nothing moves."""
        known = {name: share for name, share in self.shares.items() if np.isfinite(share)}
        return max(known, key=lambda name: known[name]) if known else "nothing"

    @property
    def dominant_share(self) -> float:
        """The share of the dominant motion; NaN if nothing moves."""
        return self.shares.get(self.dominant, float("nan"))


Stages = tuple[MotionStage, ...]
"""The stages of one run, in order of time."""


@final
class Purity(NamedTuple):
    """How far each regime of a run is a single motion, and differs from the next.

    NaN without regimes, or where nothing moves in one.
    """

    share: float
    """The share of the dominant motion, mean over regimes."""
    over_time: float
    """The share of the dominant motion, mean over regimes weighted by their lengths in ln step."""
    changes: float
    """The share of boundaries at which the dominant motion changes; NaN if there are none."""


@final
class PurityByChance(NamedTuple):
    """The null: the mean purity of a run's regimes with boundaries elsewhere; a stretch without motion counts as 0."""

    order: Purity
    """The purity of the run's own regimes, with their lengths in ln step, in all orders."""
    places: Purity
    """The purity of as many regimes at random places."""


def purity(run: Stages) -> Purity:
    """The purity of the regimes of a run."""
    shares = [each.dominant_share for each in run]
    lengths = [np.log(each.regime.end / each.regime.start) for each in run]
    return _purity(shares, lengths, [each.dominant for each in run])


def _purity(shares: Sequence[float], lengths: Sequence[float], dominant: Sequence[Any]) -> Purity:
    if not shares:
        return Purity(np.nan, np.nan, np.nan)
    changes = [one != other for one, other in pairwise(dominant)]
    return Purity(
        float(np.mean(shares)),
        float(np.average(shares, weights=lengths)),
        float(np.mean(changes)) if changes else np.nan,
    )


def purity_by_chance(
    parts: Parts, regimes: Sequence[Regime], steps: Int[np.ndarray, " step"], rng: np.random.Generator
) -> PurityByChance:
    """Compute the purity of one run with its regimes in other orders, and at random places."""
    if not regimes:
        return PurityByChance(*[Purity(np.nan, np.nan, np.nan)] * 2)
    first, last = regimes[0].first, regimes[-1].last
    time = np.log(steps[first : last + 1])
    squares = np.nan_to_num(parts.squares[first:last]) / np.diff(time)[:, None]
    summed = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, 0)])
    inner = [rng.choice(np.arange(1, last - first), len(regimes) - 1, replace=False) for _ in range(PLACED)]
    places = [time[[0, *np.sort(each), last - first]] for each in inner]
    lengths = np.log([each.end / each.start for each in regimes])
    orders = [time[0] + np.concatenate([[0.0], np.cumsum(lengths[each])]) for each in _orders(len(lengths), rng)]
    return PurityByChance(_elsewhere(time, summed, np.array(orders)), _elsewhere(time, summed, np.array(places)))


def _orders(count: int, rng: np.random.Generator) -> Int[np.ndarray, "order place"]:
    """All orders of `count` things, or `ORDERED` random ones if there are more."""
    if factorial(count) <= ORDERED:
        return np.array(list(permutations(range(count))))
    return rng.permuted(np.tile(np.arange(count), (ORDERED, 1)), axis=1)


def _elsewhere(
    time: Float[np.ndarray, " snapshot"],
    summed: Float[np.ndarray, "snapshot part"],
    edges: Float[np.ndarray, "way edge"],
) -> Purity:
    """The mean purity with boundaries at these times. Between snapshots the velocity is taken as constant."""
    at = np.stack([np.interp(edges, time, column) for column in summed.T], -1)
    pieces = np.diff(at, axis=1)
    shares = pieces.max(2) / np.maximum(pieces.sum(2), 1e-300)
    ways = zip(shares.tolist(), np.diff(edges).tolist(), pieces.argmax(2).tolist(), strict=True)
    return Purity(*np.mean([_purity(*each) for each in ways], 0).tolist())


def falls(run: Stages) -> list[MotionStage]:
    """The stages on which the loss falls."""
    return [each for each in run if each.regime.kind == "fall"]


def sequence(run: Stages) -> str:
    """The dominant motions in order, repetitions merged: "inflation → opening → twist"."""
    dominant = [each.dominant for each in run]
    kept = [motion for k, motion in enumerate(dominant) if not k or motion != dominant[k - 1]]
    return " → ".join(kept)


def commonest(runs: Sequence[Stages], count: int) -> list[tuple[str, int]]:
    """The most frequent sequences of dominant motions, each with its number of runs."""
    return Counter(map(sequence, runs)).most_common(count)


@final
@dataclass(frozen=True, eq=False)
class RunStages:
    """The stages of one run, with its motions and the null of its purity."""

    parts: Parts
    """The decomposed motions from each snapshot to the next."""
    stages: Stages
    """The regimes, with the share of each motion."""
    by_chance: PurityByChance
    """The purity of regimes with boundaries elsewhere."""

    @property
    def purity(self) -> Purity:
        """The purity of the regimes as they are, to compare with `by_chance`."""
        return purity(self.stages)


@refusing
def motion_stages(
    weights: ArrayLike, loss: ArrayLike, steps: ArrayLike, features: FeatureDistribution, *, key: int = 0
) -> list[RunStages]:
    """Find the stages of each run, and how pure regimes with other boundaries would be.

    Elhage et al. 2022 ("Learning as Geometric Transformations") see training proceed in regimes of the loss, each with
    a geometric transformation of its own. A stage is a regime (`find_regimes`) with the share of each motion in it
    (`motion_shares`). That a regime is mainly one motion says something only if stretches with other boundaries are
    less pure: the regimes of a run in other orders, and as many at random places.

    Args:
        weights: W at every snapshot, shape (run, step, n, m), such as `run.weights`; features are rows.
        loss: the loss at every snapshot, shape (run, step), positive and nearly without noise, such as
            `population_loss_along(run)`; NaN from a divergence on.
        steps: the steps of the snapshots, whole numbers that rise.
        features: the feature distribution, which says which features form a set.
        key: the seed of the random orders and places.

    Returns:
        For each run its motions, its stages in order of time, and their purity with that of regimes elsewhere. A run
        that has fewer than two finite losses from step 1 on has no stages, and its purity is NaN.

    Raises:
        ValueError: the shapes do not fit together, there is no second snapshot, `features` is not a distribution of
            as many features, a loss is not positive, steps are not whole or do not rise, or the key is negative.

    Example:
        Two collapsed pairs grow while the loss falls as 1/step, from step 100 to step 1,000.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> steps = np.unique(np.geomspace(1, 100_000, 51).round().astype(int))
        >>> loss = np.clip(100 / steps, 0.1, 1)
        >>> [run] = tg.motion_stages([W / each for each in loss[None, :, None, None]], [loss], steps, pairs)
        >>> [(stage.regime.start, stage.regime.end, stage.dominant) for stage in run.stages]
        [(1, 100, 'nothing'), (100, 1000, 'inflation'), (1000, 100000, 'nothing')]

    """
    W, losses, at = np.asarray(weights, float), np.asarray(loss, float), np.asarray(steps)
    check_features("motion_stages", W, features)
    if W.ndim != 4 or W.shape[1] < 2 or 0 in W.shape[2:]:
        rule = "it must have the shape (run, step, n, m), with at least two snapshots and one hidden dimension"
        raise ValueError(f"motion_stages(weights of shape {W.shape}): {rule}")
    if losses.shape != W.shape[:2] or at.shape != W.shape[1:2]:
        rule = f"they must have the shapes {W.shape[:2]} and {W.shape[1:2]}, as weights has {W.shape}"
        raise ValueError(f"motion_stages(loss of shape {losses.shape}, steps of shape {at.shape}): {rule}")
    if not (np.isfinite(at).all() and (at == np.floor(at)).all()):
        raise ValueError("motion_stages(steps): steps must be whole numbers")
    # Before the motions, which take longer.
    regimes_of_runs = [regimes_of(row, at, "motion_stages") for row in losses]
    parts, rng = motions(W, features), np.random.default_rng(key)
    found = []
    for run, regimes in enumerate(regimes_of_runs):
        own = Parts(parts.names, parts.squares[run], parts.dimensions[run])
        stages = tuple(MotionStage(one, motion_shares(own, at, one.first, one.last)) for one in regimes)
        found.append(RunStages(own, stages, purity_by_chance(own, regimes, at, rng)))
    return found
