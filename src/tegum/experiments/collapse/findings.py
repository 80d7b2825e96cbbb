"""What the experiment `collapse` finds: the best solutions, their names, and where those change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.solutions import naming
from tegum.solutions.descent import KEY, descended
from tegum.solutions.naming import State
from tegum.solutions.solution import SAME, Solution, density_of, lowest, others, solution
from tegum.solutions.transitions import Crossing, beyond, continuous, crossings, passage
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

RELATIVE_LOSSES = (0.9, 0.95)
"""Relative losses besides the 0.99 that defines PCA, which show how much depends on that choice."""

PUBLISHED: Mapping[str, tuple[float, float]] = {
    "0 → 1": (0.05, 0.05),
    "1 → 2": (0.15, 0.15),
    "2 → 3": (0.2, 0.25),
    "3 → PCA": (0.5, 0.5),
}
"""Density range of each change, as read off the figure of Elhage et al. (2022)."""

AGREEMENT_FACTOR = 1.25
"""A change agrees with the published one if it lies within this factor of the published range of densities."""

PCA_FROM, NULL_UP_TO = 0.8, 0.5
"""Densities: from the first upwards the best solution should be PCA; up to the second the null must not collapse."""

SHOWN_BEYOND = 1.25
"""Each branch is followed this far, as a ratio of densities, beyond the crossing where it stops being the best."""


@final
@dataclass(frozen=True)
class NameChange:
    """A change in the name of the best solution."""

    name: str
    """ "0 → 1" """
    density: float
    error: float
    kind: str
    """ "first order", "continuous" or "gradual"."""
    confirmed: bool
    """Whether fresh starts find nothing lower there."""

    @property
    def agreement(self) -> str:
        """Whether the published figure agrees, in words."""
        return agreement(self.name, self.density)

    @property
    def agrees(self) -> bool:
        """Whether the published figure has the change there."""
        return agrees(self.name, self.density)


@final
@dataclass(frozen=True, eq=False)
class Landscape:
    """The best solutions over density, the branches they belong to, and every change of name."""

    densities: tuple[float, ...]
    best: tuple[Solution, ...]
    states: tuple[State, ...]
    crossings: tuple[Crossing, ...]
    changes: tuple[NameChange, ...]
    seen: tuple[tuple[Solution, State], ...] = field(repr=False)
    """Every other solution that the starts found."""
    branches: tuple[tuple[str, Float[np.ndarray, "_ 2"]], ...] = field(repr=False)
    """Each branch beyond its crossing, where it is no longer the best: its name, and its densities with its relative
    excess loss over the best."""
    almost: tuple[tuple[float, float, float], ...]
    """A relative loss, the density from which the best solution reaches it, and the error of that density."""
    median: tuple[NameChange, ...]
    """Where the number of collapsed pairs of the median start changes."""
    sampled: tuple[tuple[float, int, int], ...]
    """For each density with mini-batch runs: the density, the runs that found the best solution, and all runs."""
    null: tuple[int, ...]
    """The number of collapsed pairs in the best solution of independent features, for each density of the null."""

    @property
    def agreeing(self) -> list[str]:
        """The changes that the published figure has at the same place."""
        return [change.name for change in self.changes if change.agrees]

    def of(self, name: str) -> list[int]:
        """The positions of the densities at which the best solution has this name."""
        return [k for k, state in enumerate(self.states) if state.name == name]


def agrees(name: str, density: float) -> bool:
    """Whether a change at this density lies where the published figure has it, within `AGREEMENT_FACTOR`."""
    low, high = PUBLISHED.get(name, (np.inf, -np.inf))
    return low / AGREEMENT_FACTOR <= density <= high * AGREEMENT_FACTOR


def agreement(name: str, density: float) -> str:
    """Whether the published figure agrees with a change at this density, in words."""
    if name not in PUBLISHED:
        return "Elhage et al.'s figure shows no such change"
    low, high = PUBLISHED[name]
    shown = f"about {low:g}" if low == high else f"{low:g} to {high:g}"
    return f"Elhage et al.'s figure shows {shown}: we {'agree' if agrees(name, density) else 'disagree'}"


def features_at(spec: Spec, density: float) -> FeatureDistribution:
    """The features of a Spec at another density."""
    from tegum.analysis.landscape.tracks import vary

    return vary(spec.features, "density", density)


def _linear(spec: Spec, density: float) -> float:
    """The loss of the best linear model."""
    from tegum.analysis.linear.pca import linear_optimum

    return linear_optimum(features_at(spec, density), spec.hidden).loss


def _ratio(spec: Spec, of: Solution) -> float:
    return of.loss / _linear(spec, of.value)


def state_of(spec: Spec, of: Solution) -> State:
    """The state of a solution: how many sets have collapsed, and whether it is PCA."""
    return naming.state_of(of.weights, of.loss, features_at(spec, of.value))


def find(runs: Mapping[str, xr.Dataset]) -> Landscape:
    """The lowest solutions over density, and where one replaces another."""
    run = runs["run"]
    specs = specs_of(run)
    spec, densities = specs[0], [density_of(each) for each in specs]
    best = lowest(run, densities)
    states = [state_of(spec, each) for each in best]
    # Beyond the first density with PCA, principal subspaces that are all but equally good replace one another.
    last = next((k for k, state in enumerate(states) if state.pca), len(states) - 1)
    same = continuous(spec, "density", best[: last + 1])
    pairs = [(best[k], best[k + 1]) for k in np.flatnonzero(~same)]
    met = crossings(spec, "density", pairs, starts=spec.seeds, key=KEY)
    return Landscape(
        densities=tuple(densities),
        best=tuple(best),
        states=tuple(states),
        crossings=tuple(met),
        changes=tuple(_changes(spec, best, states, met)),
        seen=tuple((each, state_of(spec, each)) for each in others(run, best)),
        branches=tuple(_lines(spec, best, met)),
        almost=tuple(_almost(spec, best, states)),
        median=tuple(_median(spec, run, densities)),
        sampled=tuple(_sampled(runs["sampled"], runs["sampled-refined"], best)),
        null=tuple(_null(spec, runs["null"])),
    )


def _null(spec: Spec, run: xr.Dataset) -> list[int]:
    """How many pairs, as the correlated Spec defines them, have collapsed in the best solutions without correlation."""
    best = lowest(run, [density_of(each) for each in specs_of(run)])
    return [state_of(spec, each).collapsed for each in best]


def _lines(spec: Spec, best: Sequence[Solution], met: Sequence[Crossing]) -> list[tuple[str, Float[np.ndarray, "_ 2"]]]:
    lines = beyond(spec, "density", met, SHOWN_BEYOND)
    # Between two densities of the grid, the best solution lies on a branch that is the best at a nearby density.
    known = [*best, *(line[0] for line in lines)]
    places = [each.value for line in lines for each in line]
    nearest = [sorted(known, key=lambda each, at=at: abs(np.log(each.value / at)))[:3] for at in places]
    floors = descended(
        spec, "density", [(at, each) for at, beside in zip(places, nearest, strict=True) for each in beside]
    )
    least = {at: min(each.loss for each in floors if each.value == at) for at in places}
    return [
        (
            state_of(spec, line[0]).name,
            np.array([(each.value, max(each.loss / least[each.value] - 1, 0.0)) for each in line]),
        )
        for line in lines
    ]


def _almost(spec: Spec, best: Sequence[Solution], states: Sequence[State]) -> list[tuple[float, float, float]]:
    found = []
    for part in RELATIVE_LOSSES:
        enough = [state.ratio >= part for state in states]
        first = enough.index(True) if True in enough else 0
        if first:
            ends = best[first - 1], best[first]
            there = passage(spec, "density", *ends, lambda each, part=part: _ratio(spec, each) >= part)
            found.append((part, there.value, there.error))
    return found


def _median(spec: Spec, run: xr.Dataset, densities: Sequence[float]) -> list[NameChange]:
    """Where on the grid half of all starts have more collapsed pairs, there and at every higher density below 1."""
    from tegum.analysis.sets.collapse import collapsed_count

    weights = run["weights"].isel(step=-1).values
    counts = np.array([collapsed_count(W, features_at(spec, p)) for W, p in zip(weights, densities, strict=True)])
    correlated = np.flatnonzero(np.array(densities) < 1)
    found = []
    for count in range(3):
        less = [k for k in correlated.tolist() if (counts[k] > count).mean() < 0.5]
        if less and less[-1] < correlated[-1]:
            low, high = densities[less[-1]], densities[less[-1] + 1]
            found.append(NameChange(f"{count} → {count + 1}", (low + high) / 2, (high - low) / 2, "median start", True))
    return found


def _changes(
    spec: Spec, best: Sequence[Solution], states: Sequence[State], met: Sequence[Crossing]
) -> list[NameChange]:
    """Every change in the name of the best solution, in order of rising density, up to the first PCA."""
    found: list[NameChange] = []

    def gradual(before: str, after: str, low: Solution, high: Solution) -> None:
        if before != after:
            there = passage(spec, "density", low, high, lambda each: state_of(spec, each).name != before)
            found.append(NameChange(f"{before} → {after}", there.value, there.error, "gradual", True))

    for (first, before), (last, after) in pairwise(zip(best, states, strict=True)):
        low, name = first, before.name
        for crossing in met:
            root = crossing.boundary
            if root is None or not first.value < root.value <= last.value:
                continue
            below, above = (solution(root.value, point) for point in (root.a, root.b))
            gradual(name, state_of(spec, below).name, low, below)
            name, next_name, low = state_of(spec, below).name, state_of(spec, above).name, above
            if name != next_name:
                found.append(NameChange(f"{name} → {next_name}", root.value, root.error, root.kind, crossing.confirmed))
            name = next_name
        gradual(name, after.name, low, last)
        if after.pca:
            break
    return found


def _sampled(run: xr.Dataset, refined: xr.Dataset, best: Sequence[Solution]) -> list[tuple[float, int, int]]:
    """For each density: the density, how many mini-batch runs end in the basin of the best solution, and all runs.

    Args:
        run: the mini-batch runs.
        refined: the same runs, taken from their ends down to minima of the exact loss.
        best: the lowest solutions.

    """
    densities = [density_of(each) for each in specs_of(run)]
    by_density = {each.value: each for each in best}
    found = []
    for number, density in enumerate(densities):
        losses = refined["loss"].isel(step=-1).values[number]
        known = by_density[density].loss if density in by_density else np.nanmin(losses)
        found.append((density, int((losses <= (1 + SAME) * known).sum()), int(np.isfinite(losses).sum())))
    return found


def hexagon(weights: Float[np.ndarray, "6 2"]) -> bool:
    """Whether six embeddings form a hexagon in which 0 and 1, 2 and 3, 4 and 5 are neighbours."""
    norms, angles = np.linalg.norm(weights, axis=1), np.arctan2(weights[:, 1], weights[:, 0])
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    beside = {frozenset(pair) for pair in pairwise([*order.tolist(), int(order[0])])}
    partners = all(frozenset((k, k + 1)) in beside for k in (0, 2, 4))
    return bool(partners and norms.min() >= 0.9 * norms.max() and np.abs(gaps - np.pi / 3).max() <= np.pi / 12)
