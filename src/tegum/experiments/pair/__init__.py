"""Of two correlated features that must share one dimension, the model represents the principal component.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure, in_key
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY
from tegum.solutions.solution import Solution, density_of, lowest
from tegum.solutions.transitions import Passage, passage
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec

ALIGNED, APART = 0.01, 0.1
"""Angles to (a + b)/√2, in radians: up to the first W is the principal component, from the second on it is not."""

EXACT = 1e-6
"""The largest relative difference from a closed form."""

IGNORED, REPRESENTED = 0.01, 0.1
"""Shares of the second component."""

SPARSE, DENSE = 0.5, 0.9
"""The highest density of the null, and the density at which the second component should be ignored."""

OTHERS = (1, 2, 3)
"""How many other features compete with the pair for two dimensions."""

FRESH = 32
"""At least so many fresh starts are trained where something begins."""


@final
@dataclass(frozen=True)
class Begin:
    """Where something begins."""

    at: float
    """The parameter that was held."""
    there: Passage
    jump: bool
    """Whether the best solution changes at once."""


@final
@dataclass(frozen=True, eq=False)
class Found:
    """Everything that was measured."""

    densities: Float[np.ndarray, " density"]
    strengths: Float[np.ndarray, " strength"]
    angles: Float[np.ndarray, "density strength"]
    """Of the best solutions to (a + b)/√2, in radians."""
    losses: Float[np.ndarray, "density strength"]
    starts: int
    principal: tuple[Begin, ...]
    """At each density the strength from which on the principal component is the best."""
    along: Float[np.ndarray, " p"]
    """Densities of the impact."""
    symmetric: Float[np.ndarray, "case p"]
    """The least loss with the principal component alone, at strengths 1 and 0."""
    room: Float[np.ndarray, " q"]
    """Densities of the competition."""
    shares: Float[np.ndarray, "k q"]
    """Of the second component in the best solutions."""
    second: tuple[Begin, ...]
    """For each k the density up to which the second component is represented."""


def variance(density: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Of one feature: p/3 − p²/4, by which it lowers the loss when it alone is represented."""
    return density / 3 - density**2 / 4


def covariance(density: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Of two fully correlated features: p(1 − p)/4."""
    return density * (1 - density) / 4


def angle(weights: Float[np.ndarray, "2 1"]) -> float:
    """Of W to (1, 1)/√2 in feature space, in radians from 0 to π/2."""
    a, b = np.ravel(weights).tolist()
    return float(np.arctan2(abs(a - b), abs(a + b)))


def second_share(weights: Float[np.ndarray, "feature hidden"]) -> float:
    """|W_a − W_b|² / |W_a + W_b|² of the first two features; infinite where W_a = −W_b."""
    first, second = (float(np.square(weights[0] + sign * weights[1]).sum()) for sign in (1, -1))
    return second / first if first > 0 else np.inf


@final
class Pair(Experiment["Found"]):
    """The claim about two correlated features and room for one."""

    claim: ClassVar[str] = (
        "Of two correlated features with room for one, the model represents the principal component, which has more "
        "impact on the loss than either, and ignores the second."
    )

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """The lowest of fewer starts is often not the best; fresh ones have a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Starts over density and strength, symmetric ones over density, and pairs beside 1, 2 and 3 other features."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent, PartiallyCorrelated
        from tegum.training.spec.methods import Exact
        from tegum.training.spec.spec import Spec

        p, rho, starts, q, more = {
            "quick": (6, 6, 16, 10, 16),
            "default": (12, 16, 32, 24, 48),
            "full": (24, 41, 128, 60, 256),
        }[size]
        exact = Exact(gradient_tolerance=1e-8)
        densities = np.round(np.geomspace(0.01, 0.95, p), 6).tolist()
        room = sorted({DENSE, *np.round(np.geomspace(0.01, 0.95, q), 6).tolist()})

        def spec(sets: Sequence[object], hidden: int, seeds: int, start: object = None) -> Spec:
            features = FeatureDistribution(sets)  # pyright: ignore[reportArgumentType]
            return Spec(
                features=features, hidden=hidden, training=exact, snapshots=1, seeds=seeds, base_seed=2, start=start
            )

        return {
            "angle": [
                spec([PartiallyCorrelated(2, each, strength)], 1, starts)
                for each in densities
                for strength in np.round(np.linspace(0, 1, rho), 6).tolist()
            ],
            "impact": [
                # Descent from equal weights keeps them equal.
                spec([PartiallyCorrelated(2, each, strength)], 1, 1, ([[0.7], [0.7]], [0.0, 0.0]))
                for strength in (1.0, 0.0)
                for each in densities
            ],
            **{
                f"room-{k}": [spec([Correlated(2, each), Independent(k, each)], 2, more) for each in room]
                for k in OTHERS
            },
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Found]:
        """Angles, reductions and shares; `shown` is what was `Found`."""
        found = _found(runs)
        return Findings(tuple(_measures(found)), _criteria(found), _caption(found), found)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Found]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """The angle over density and strength, both reductions of the loss, and the second component's share."""
        from tegum.figures.pair import pair

        found = findings.shown
        return pair(
            (found.densities, found.strengths, np.degrees(found.angles)),
            [(each.at, each.there.value) for each in found.principal],
            (found.along, 2 * variance(found.along) - found.symmetric[0]),
            (found.room, dict(zip(OTHERS, found.shares, strict=True))),
            {int(each.at): each.there.value for each in found.second},
            findings.caption,
        )


def _found(runs: Mapping[str, xr.Dataset]) -> Found:
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
        principal += _begins(spec, "strength", density, row, lambda each: angle(each.weights), APART)
    room, shares, second = np.zeros(0), [], []
    for k in OTHERS:
        own = specs_of(runs[f"room-{k}"])
        room = np.array([density_of(spec) for spec in own])
        best = lowest(runs[f"room-{k}"], room.tolist())
        shares.append([second_share(each.weights) for each in best])
        second += _begins(own[0], "density", float(k), best, lambda each: second_share(each.weights), REPRESENTED)
    return Found(
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


def _strength(spec: Spec) -> float:
    return float(getattr(spec.features.sets[0], "strength", 1.0))


def _begins(
    spec: Spec, parameter: str, at: float, best: Sequence[Solution], size: Callable[[Solution], float], limit: float
) -> list[Begin]:
    """Where, as the parameter rises, a size of the lowest solution falls below a limit for good, if it does."""

    def passed(one: Solution) -> bool:
        return size(one) < limit

    changes = [k for k, (low, high) in enumerate(pairwise(best)) if passed(low) != passed(high)]
    if not changes or not passed(best[-1]):
        return []
    ends = best[changes[-1]], best[changes[-1] + 1]
    there = passage(spec, parameter, *ends, passed, starts=max(spec.seeds, FRESH), key=KEY)
    return [Begin(at, there, size(there.low) - size(there.high) > limit / 2)]


def _measures(found: Found) -> list[Measure]:
    full, none = found.angles[:, -1], found.angles[found.densities <= SPARSE, 0]
    exact = found.along / 12
    v, c = variance(found.along), covariance(found.along)
    reduced = 2 * v - found.symmetric
    runs = found.starts
    measures = [
        Measure("densities", "densities", len(found.densities), "density", n=runs, meaning=f"with {runs} starts each"),
        Measure(
            "largest_angle_at_strength_1",
            "largest angle at strength 1",
            float(full.max()),
            "rad",
            n=len(full),
            null=float(none.min()),
            meaning=f"to (a + b)/√2; null: the least at strength 0, densities up to {SPARSE:g}",
        ),
        Measure(
            "largest_difference_from_closed_form",
            "largest difference from p/12",
            float(np.abs(found.losses[:, -1] / exact - 1).max()),
            "1",
            n=len(full),
            meaning="of the loss at strength 1, relative",
        ),
    ]
    measures += [
        _measure(
            f"density_{in_key(begin.at, 3)}.strength_of_principal_component",
            f"strength of the principal component at {begin.at:.3g}",
            begin,
            "strength",
            runs,
        )
        for begin in found.principal
    ]
    for number in (0, len(found.along) // 2, len(found.along) - 1):
        p = float(found.along[number])
        measures += [
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_principal_component",
                f"reduction by the principal component at {p:.3g}",
                float(reduced[0, number]),
                "loss, sum over features",
                n=1,
                null=float(reduced[1, number]),
                meaning=f"closed form {v[number] + c[number]:.6g}; null: strength 0",
            ),
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_one_feature",
                f"reduction by one feature at {p:.3g}",
                float(v[number]),
                "loss, sum over features",
                n=1,
                null=float(v[number]),
                meaning="closed form p/3 − p²/4",
            ),
        ]
    measures += [
        Measure(
            f"{name}_ratio_of_reductions", f"{name} ratio of both reductions", float(pick(reduced[0] / v)), "1",
            n=len(v), null=float(pick(reduced[1] / v)),
            meaning="principal component over one feature; 7/4 in the sparse limit, 1 at density 1; null: strength 0",
        )
        for name, pick in (("least", np.min), ("largest", np.max))
    ]  # fmt: skip
    for k, row in zip(OTHERS, found.shares, strict=True):
        for at in (0, *np.flatnonzero(found.room == DENSE).tolist()):
            key = f"beside_{k}.density_{in_key(found.room[at], 3)}.share_of_second_component"
            name = f"share of the second component beside {k} at {found.room[at]:.3g}"
            measures.append(Measure(key, name, float(row[at]), "1", n=runs, meaning="1 where a and b are orthogonal"))
    for begin in found.second:
        key = f"beside_{begin.at:g}.largest_density_of_second_component"
        name = f"density up to which the second component is represented beside {begin.at:g}"
        measures.append(_measure(key, name, begin, "density", runs))
    return measures


def _measure(key: str, name: str, begin: Begin, unit: str, runs: int) -> Measure:
    there = begin.there
    kind = "the best solution changes at once" if begin.jump else "gradual"
    told = f"{kind}{'' if there.confirmed else ', not confirmed'}"
    return Measure(
        key, name, there.value, unit, there.value - there.error, there.value + there.error, runs, meaning=told
    )


def _criteria(found: Found) -> tuple[Criterion, ...]:
    below = found.densities < 1
    v = variance(found.along)
    closed = np.abs(found.losses[below, -1] / (found.densities[below] / 12) - 1)
    dense = found.shares[:, found.room == DENSE]
    return (
        Criterion(
            "principal_component_when_correlated",
            "Fully correlated, the model represents (a + b)/√2 and ignores (a − b)/√2, with the loss p/12.",
            bool((found.angles[below, -1] < ALIGNED).all() and (closed < EXACT).all()),
        ),
        Criterion(
            "principal_component_lowers_loss_more",
            "The principal component alone lowers the loss by more than one feature alone.",
            bool((2 * v - found.symmetric[0] > v)[found.along < 1].all()),
        ),
        Criterion(
            "no_principal_component_without_correlation",
            f"Without correlation the model does not represent (a + b)/√2, at densities up to {SPARSE:g}.",
            bool((found.angles[found.densities <= SPARSE, 0] > APART).all()),
        ),
        Criterion(
            "second_component_ignored_when_dense",
            f"At density {DENSE:g} the second component is ignored beside 1, 2 and 3 other features.",
            bool(dense.size and (dense <= IGNORED).all()),
        ),
    )


def _caption(found: Found) -> str:
    second = [f"{begin.there.value:.4f} beside {begin.at:g}" for begin in found.second]
    return (
        "Left: angle of the represented direction to (a + b)/√2 in the best of "
        f"{found.starts} starts, two features, m = 1; line: where the principal component begins to be the best. "
        "Middle: by how much the loss falls when the principal component alone, or one feature alone, is represented "
        "(correlation strength 1; lines: closed forms, dots: found by descent). Right: share of the second "
        "principal component of a pair beside 1, 2 and 3 other features, m = 2"
        f"{'; it is represented up to density ' + ', '.join(second) if second else ''}."
    )
