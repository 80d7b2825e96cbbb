"""What the experiment `pair` finds: the best solutions of two correlated features, alone and with competitors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.solutions.descent import KEY
from tegum.solutions.solution import Solution, density_of, lowest
from tegum.solutions.transitions import Passage, passage
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec

OTHER_FEATURES = (1, 2, 3)
"""The numbers of independent features that compete with the pair for two hidden dimensions, one system each."""

PRINCIPAL_UP_TO, SINGLE_FROM = 0.01, 0.1
"""Angles of W to (a + b)/√2, in radians: up to the first W is the principal component, from the second it is not."""

IGNORED_UP_TO, REPRESENTED_FROM = 0.01, 0.1
"""Shares of the second principal component (`second_share`): up to the first the model ignores it, from the second it
represents it."""

NULL_UP_TO, IGNORED_AT = 0.5, 0.9
"""Densities: the null without correlation is judged up to the first; at the other the second component should be
ignored."""

FRESH_STARTS_AT_LEAST = 32
"""At least this many fresh starts check the best solution at a transition."""


@final
@dataclass(frozen=True)
class Transition:
    """The value of a parameter at which the principal component becomes the best, or the second one is ignored."""

    at: float
    """The value of what is held fixed: the density, or the number of other features."""
    there: Passage
    jump: bool
    """Whether the best solution changes abruptly."""


@final
@dataclass(frozen=True, eq=False)
class PairSolutions:
    """The best solutions of a pair in all three settings, and where they change."""

    densities: Float[np.ndarray, " density"]
    strengths: Float[np.ndarray, " strength"]
    angles: Float[np.ndarray, "density strength"]
    """Angles of the best solutions to (a + b)/√2, in radians."""
    losses: Float[np.ndarray, "density strength"]
    starts: int
    principal: tuple[Transition, ...]
    """For each density, the strength from which the principal component is the best solution."""
    along: Float[np.ndarray, " p"]
    """The densities at which the impact is measured."""
    symmetric: Float[np.ndarray, "case p"]
    """The least loss with only the principal component represented, at strengths 1 and 0."""
    room: Float[np.ndarray, " q"]
    """The densities at which the pair competes with other features."""
    shares: Float[np.ndarray, "k q"]
    """Shares of the second component in the best solutions, for each number k of other features."""
    second: tuple[Transition, ...]
    """For each k, the density up to which the second component is represented."""


def find(runs: Mapping[str, xr.Dataset]) -> PairSolutions:
    """The best solutions of all trainings, and where they change along strength or density."""
    specs = specs_of(runs["angle"])
    densities = np.unique([density_of(spec) for spec in specs])
    strengths = np.unique([_strength(spec) for spec in specs])
    grid = lowest(runs["angle"], [_strength(spec) for spec in specs])
    rows = [grid[k : k + len(strengths)] for k in range(0, len(grid), len(strengths))]
    impact = lowest(runs["impact"], [density_of(spec) for spec in specs_of(runs["impact"])])
    symmetric = np.array([each.loss for each in impact]).reshape(2, -1)
    principal = []
    for row, density in zip(rows, densities.tolist(), strict=True):
        spec = next(each for each in specs if density_of(each) == density)
        principal += _transitions(spec, "strength", density, row, lambda each: angle(each.weights), SINGLE_FROM)
    room, shares, second = np.zeros(0), [], []
    for k in OTHER_FEATURES:
        own = specs_of(runs[f"room-{k}"])
        room = np.array([density_of(spec) for spec in own])
        best = lowest(runs[f"room-{k}"], room.tolist())
        shares.append([second_share(each.weights) for each in best])
        second += _transitions(
            own[0], "density", float(k), best, lambda each: second_share(each.weights), REPRESENTED_FROM
        )
    return PairSolutions(
        densities=densities,
        strengths=strengths,
        angles=np.array([[angle(each.weights) for each in row] for row in rows]),
        losses=np.array([[each.loss for each in row] for row in rows]),
        starts=specs[0].seeds,
        principal=tuple(principal),
        along=densities,
        symmetric=symmetric,
        room=room,
        shares=np.array(shares),
        second=tuple(second),
    )


def variance(density: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Variance of one feature, p/3 − p²/4: by this much the loss falls when only that feature is represented."""
    return density / 3 - density**2 / 4


def covariance(density: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Covariance of two fully correlated features, p(1 − p)/4."""
    return density * (1 - density) / 4


def angle(weights: Float[np.ndarray, "2 1"]) -> float:
    """Angle between W and (1, 1)/√2 in feature space, in radians from 0 to π/2."""
    a, b = np.ravel(weights).tolist()
    return float(np.arctan2(abs(a - b), abs(a + b)))


def second_share(weights: Float[np.ndarray, "feature hidden"]) -> float:
    """|W_a − W_b|² / |W_a + W_b|² of the first two features; infinite if W_a = −W_b."""
    first, second = (float(np.square(weights[0] + sign * weights[1]).sum()) for sign in (1, -1))
    return second / first if first > 0 else np.inf


def _strength(spec: Spec) -> float:
    return float(getattr(spec.features.sets[0], "strength", 1.0))


def _transitions(
    spec: Spec, parameter: str, at: float, best: Sequence[Solution], size: Callable[[Solution], float], limit: float
) -> list[Transition]:
    """Where, as the parameter rises, some size of the lowest solution falls below a limit for good, if it does."""

    def passed(one: Solution) -> bool:
        return size(one) < limit

    changes = [k for k, (low, high) in enumerate(pairwise(best)) if passed(low) != passed(high)]
    if not changes or not passed(best[-1]):
        return []
    ends = best[changes[-1]], best[changes[-1] + 1]
    there = passage(spec, parameter, *ends, passed, starts=max(spec.seeds, FRESH_STARTS_AT_LEAST), key=KEY)
    return [Transition(at, there, size(there.low) - size(there.high) > limit / 2)]
