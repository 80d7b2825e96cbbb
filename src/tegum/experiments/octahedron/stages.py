"""Regimes of many runs, which transformation rules each, and what regimes elsewhere would show.

Two nulls keep a run's motion and put its boundaries elsewhere: its own regimes, with their lengths in ln step, in
another *order*; and as many regimes at random *places*, whose lengths are others. The second is the easier one to beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from math import factorial
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.dynamics.motions import Parts
from tegum.analysis.dynamics.regimes import Regime, find_regimes, motion_shares

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

PLACED = 20
"""So many times the regimes of a run are put at random places."""

ORDERED = 720
"""The regimes of a run are put in all orders, or in so many random ones if there are more: from seven regimes on."""


@final
@dataclass(frozen=True)
class Stage:
    """A regime with the share of each transformation in it."""

    regime: Regime
    shares: dict[str, float]

    @property
    def ruler(self) -> str:
        """The transformation with the largest share; "nothing" where nothing moves."""
        known = {name: share for name, share in self.shares.items() if np.isfinite(share)}
        return max(known, key=lambda name: known[name]) if known else "nothing"

    @property
    def share(self) -> float:
        """Of the ruler."""
        return self.shares.get(self.ruler, float("nan"))


Stages = tuple[Stage, ...]


def stages(
    weights: Float[np.ndarray, "run step 6 3"],
    loss: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " step"],
    features: FeatureDistribution,
    rng: np.random.Generator,
) -> tuple[list[Parts], list[Stages], list[Chances]]:
    """The motions and the stages of each run, and how pure its regimes are elsewhere."""
    from tegum.analysis.dynamics.motions import motions

    parts = motions(weights, features)
    each, found, null = [], [], []
    for run in range(len(weights)):
        own = Parts(parts.names, parts.squares[run], parts.dimensions[run])
        regimes = find_regimes(loss[run], steps)
        each.append(own)
        found.append(tuple(Stage(one, motion_shares(own, steps, one.first, one.last)) for one in regimes))
        null.append(_by_chance(own, regimes, steps, rng))
    return each, found, null


@final
class Purity(NamedTuple):
    """How far each regime of a run is one transformation, and another one than the next; NaN without regimes."""

    share: float
    """Of the ruler: the mean over regimes."""
    over_time: float
    """The same, each regime weighted by its length in ln step."""
    changes: float
    """The part of the boundaries at which the ruler changes; NaN where there is none."""


@final
class Chances(NamedTuple):
    """The mean purity of a run's regimes where its boundaries stand elsewhere."""

    order: Purity
    """Its own regimes, by their lengths in ln step, in all orders."""
    places: Purity
    """As many regimes at random places."""


def purity(run: Stages) -> Purity:
    """Of the regimes of a run."""
    shares = [each.share for each in run]
    lengths = [np.log(each.regime.end / each.regime.start) for each in run]
    return _purity(shares, lengths, [each.ruler for each in run])


def _purity(shares: Sequence[float], lengths: Sequence[float], rulers: Sequence[Any]) -> Purity:
    if not shares:
        return Purity(np.nan, np.nan, np.nan)
    changes = [one != other for one, other in pairwise(rulers)]
    return Purity(
        float(np.mean(shares)),
        float(np.average(shares, weights=lengths)),
        float(np.mean(changes)) if changes else np.nan,
    )


def _by_chance(
    parts: Parts, regimes: Sequence[Regime], steps: Int[np.ndarray, " step"], rng: np.random.Generator
) -> Chances:
    if not regimes:
        return Chances(*[Purity(np.nan, np.nan, np.nan)] * 2)
    first, last = regimes[0].first, regimes[-1].last
    time = np.log(steps[first : last + 1])
    squares = np.nan_to_num(parts.squares[first:last]) / np.diff(time)[:, None]
    summed = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, 0)])
    inner = [rng.choice(np.arange(1, last - first), len(regimes) - 1, replace=False) for _ in range(PLACED)]
    places = [time[[0, *np.sort(each), last - first]] for each in inner]
    lengths = np.log([each.end / each.start for each in regimes])
    orders = [time[0] + np.concatenate([[0.0], np.cumsum(lengths[each])]) for each in _orders(len(lengths), rng)]
    return Chances(_elsewhere(time, summed, np.array(orders)), _elsewhere(time, summed, np.array(places)))


def _orders(count: int, rng: np.random.Generator) -> Int[np.ndarray, "order place"]:
    """All orders of so many, or `ORDERED` random ones."""
    if factorial(count) <= ORDERED:
        return np.array(list(permutations(range(count))))
    return rng.permuted(np.tile(np.arange(count), (ORDERED, 1)), axis=1)


def _elsewhere(
    time: Float[np.ndarray, " snapshot"],
    summed: Float[np.ndarray, "snapshot part"],
    edges: Float[np.ndarray, "way edge"],
) -> Purity:
    """The mean purity where boundaries stand at these times, between snapshots too: the velocity is constant there."""
    at = np.stack([np.interp(edges, time, column) for column in summed.T], -1)
    pieces = np.diff(at, axis=1)
    shares = pieces.max(2) / np.maximum(pieces.sum(2), 1e-300)
    ways = zip(shares.tolist(), np.diff(edges).tolist(), pieces.argmax(2).tolist(), strict=True)
    return Purity(*np.mean([_purity(*each) for each in ways], 0).tolist())


def falls(run: Stages) -> list[Stage]:
    """The stages on which the loss falls."""
    return [each for each in run if each.regime.kind == "fall"]


def in_order(run: Stages) -> bool:
    """Whether the first fall is ruled by inflation, a later one by opening, and none by inflation after that."""
    rulers = [each.ruler for each in falls(run)]
    if "opening" not in rulers or rulers[0] != "inflation":
        return False
    return "inflation" not in rulers[rulers.index("opening") :]


def sequence(run: Stages) -> str:
    """The rulers in order, one that goes on counted once: "inflation → opening → twist"."""
    rulers = [each.ruler for each in run]
    kept = [ruler for k, ruler in enumerate(rulers) if not k or ruler != rulers[k - 1]]
    return " → ".join(kept)


def commonest(runs: Sequence[Stages], count: int) -> list[tuple[str, int]]:
    """The most frequent sequences with how many runs have them."""
    return Counter(map(sequence, runs)).most_common(count)


def named(runs: Sequence[Stages]) -> dict[str, list[tuple[int, Stage]]]:
    """Stages of many runs by their place: position of the run, and the stage.

    What comes before the first fall ruled by opening are the growth and the plateaus and other falls after it; then
    the falls from there on, and the plateau at the end.
    """
    found: dict[str, list[tuple[int, Stage]]] = {
        "start": [],
        "first fall": [],
        "other falls before the opening": [],
        "plateau before the opening": [],
        "opening fall": [],
        "later falls": [],
        "end": [],
    }
    for at, run in enumerate(runs):
        down = [k for k, each in enumerate(run) if each.regime.kind == "fall"]
        opens = [k for k in down if run[k].ruler == "opening"]
        if not opens or not in_order(run):
            continue
        first, opening = down[0], opens[0]
        for k, stage in enumerate(run):
            plateau = stage.regime.kind == "plateau"
            if k < first:
                name = "start"
            elif k == first:
                name = "first fall"
            elif k == opening:
                name = "opening fall"
            elif k > opening:
                name = ("end" if k == len(run) - 1 else "") if plateau else "later falls"
            else:
                name = "other falls before the opening" if not plateau else "plateau before the opening"
            if name == "plateau before the opening" and k != opening - 1:
                continue
            if name:
                found[name].append((at, stage))
    return found
