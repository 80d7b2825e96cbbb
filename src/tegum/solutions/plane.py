"""The lowest solutions of many starts over a plane of density and correlation strength.

At each point of a grid many starts are trained on the exact loss, and the lowest solution counts. What the starts of
one point have missed its neighbours may have found: every solution descends at the neighbours of its point as well,
and takes the place of theirs where it is lower, until nothing changes. Two neighbours are the same branch if descent
from each leads to the loss of the other; where they are not, a boundary passes between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.solutions.descent import descent, trained
from tegum.solutions.naming import State, state_of
from tegum.solutions.solution import SAME, lowest, others

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

REPRESENTED = 0.3
"""A row shorter than this part of the longest is not represented."""

ALIKE = 1e-3
"""Up to this difference of Gram matrix and biases a permutation of features leaves a solution as it is."""

NUDGE = 1e-3
"""So far aside of its starts descent begins, so that it leaves saddles: where a solution loses a symmetry, what was a
minimum becomes one."""

RIVALS = 0.05
"""Other minima are kept at a point of the grid if their loss is at most by this part higher."""

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""From a point of the grid to its neighbours: steps in density and in strength."""


class Place(NamedTuple):
    """A point of the plane."""

    density: float
    strength: float


class Minimum(NamedTuple):
    """A local minimum of the exact loss, where a descent ends."""

    weights: Float[np.ndarray, "feature hidden"]
    bias: Float[np.ndarray, " feature"]
    loss: float


@final
@dataclass(frozen=True)
class SolutionShape(State):
    """What a solution is, and what it looks like."""

    represented: int
    """The number of its represented features."""
    symmetry: int
    """How many of the permutations of features that leave the data alike leave it as it is."""

    @property
    def label(self) -> str:
        """Name, represented features and symmetry: "1/6/4"."""
        return f"{self.name}/{self.represented}/{self.symmetry}"


@final
@dataclass(frozen=True)
class Plane:
    """Densities and strengths of one grid of Specs; between them logarithmic and linear, each from 0 to 1."""

    spec: Spec
    """Any of the grid."""
    densities: tuple[float, ...]
    strengths: tuple[float, ...]

    @classmethod
    def of(cls, specs: Sequence[Spec]) -> Plane:
        """The grid of Specs in the order of densities, and at each density of strengths."""
        places = [place_of(each) for each in specs]
        densities, strengths = (tuple(dict.fromkeys(values)) for values in zip(*places, strict=True))
        return cls(specs[0], densities, strengths)

    def features(self, place: Place) -> FeatureDistribution:
        """The features at a point."""
        from tegum.core.features.distribution import FeatureDistribution

        change = {"density": place.density, "strength": place.strength}
        return FeatureDistribution([each.replace(**change) for each in self.spec.features.sets])

    def at(self, place: Place) -> Spec:
        """The Spec at a point."""
        return self.spec.replace(features=self.features(place))

    def place(self, point: Float[np.ndarray, " xy"]) -> Place:
        """The point of coordinates from 0 to 1."""
        (low, high), (weak, strong) = self.bounds
        x, y = np.clip(point, 0.0, 1.0).tolist()
        # The ends exactly: a strength of 1 has fewer components than one next to it.
        density = low if x == 0 else high if x == 1 else low * (high / low) ** x
        strength = weak if y == 0 else strong if y == 1 else weak + (strong - weak) * y
        return Place(density, strength)

    def point(self, place: Place) -> Float[np.ndarray, " xy"]:
        """The coordinates, each from 0 to 1, of a point."""
        (low, high), (weak, strong) = self.bounds
        x = np.log(place.density / low) / np.log(high / low)
        return np.array([x, (place.strength - weak) / (strong - weak)])

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of densities and of strengths."""
        return (self.densities[0], self.densities[-1]), (self.strengths[0], self.strengths[-1])

    @cached_property
    def places(self) -> list[list[Place]]:
        """The points of the grid: one list for each density."""
        return [[Place(density, strength) for strength in self.strengths] for density in self.densities]

    @cached_property
    def symmetries(self) -> Int[np.ndarray, "permutation feature"]:
        """The permutations of features that leave the data alike: of equal sets, and within each."""
        size, count = self.spec.features.sets[0].features, len(self.spec.features.sets)
        inside = list(itertools.permutations(range(size)))
        return np.array(
            [
                [size * number + member for number, own in zip(order, chosen, strict=True) for member in own]
                for order in itertools.permutations(range(count))
                for chosen in itertools.product(inside, repeat=count)
            ]
        )

    def descended(self, places: Sequence[Place], starts: Sequence[Sequence[Minimum]]) -> list[list[Minimum]]:
        """Where descent at each point ends from next to each of its starts: as many at every point."""
        if not places:
            return []
        shape = (self.spec.features.n, self.spec.hidden)
        aside = NUDGE * np.random.default_rng(0).standard_normal(shape)
        specs = [
            descent(
                self.at(place), np.array([each.weights for each in own]) + aside, np.array([each.bias for each in own])
            )
            for place, own in zip(places, starts, strict=True)
        ]
        end = trained(specs).isel(step=-1)
        weights, bias, loss = (end[name].values for name in ("weights", "bias", "loss"))
        return [
            [Minimum(weights[k, seed], bias[k, seed], float(loss[k, seed])) for seed in range(weights.shape[1])]
            for k in range(len(places))
        ]

    def shape(self, place: Place, of: Minimum) -> SolutionShape:
        """What a solution at a point is."""
        state = state_of(of.weights, of.loss, self.features(place))
        norms = np.linalg.norm(of.weights, axis=1)
        return SolutionShape(
            state.collapsed,
            state.angle,
            state.ratio,
            represented=int((norms > REPRESENTED * norms.max()).sum()),
            symmetry=symmetry(of, self.symmetries),
        )


def place_of(spec: Spec) -> Place:
    """Where on the plane a Spec is."""
    first = spec.features.sets[0]
    return Place(float(np.ravel(first.density)[0]), float(getattr(first, "strength", 1.0)))


def symmetry(of: Minimum, permutations: Int[np.ndarray, "permutation feature"]) -> int:
    """How many of the permutations leave the Gram matrix and the biases as they are."""
    gram = of.weights @ of.weights.T
    found = 0
    # Sets of four have 82,944 permutations: in parts.
    for part in np.array_split(permutations, -(-len(permutations) // 4096)):
        moved = np.abs(gram[part[:, :, None], part[:, None, :]] - gram).max((1, 2))
        found += int(((moved < ALIKE) & (np.abs(of.bias[part] - of.bias).max(1) < ALIKE)).sum())
    return found


@final
@dataclass(frozen=True, eq=False)
class PlaneMap:
    """The lowest solution at every point of a grid; lists of lists are over densities and strengths."""

    plane: Plane
    ends: list[list[Minimum]] = field(repr=False)
    rivals: list[list[list[Minimum]]] = field(repr=False)
    """Other minima that starts have found."""
    shapes: list[list[SolutionShape]] = field(repr=False)
    reached: Bool[np.ndarray, "density strength 4"]
    """Whether descent leads from each of the neighbours (`SIDES`) to the lowest solution here."""
    improved: int
    """At so many points a neighbour's solution was lower than what the starts had found."""
    hits: Int[np.ndarray, "density strength"]
    """How many starts found the lowest solution."""
    starts: int

    def same(self, at: tuple[int, int], side: int) -> bool:
        """Whether the lowest solutions at a point and at its neighbour on one side are one branch."""
        i, j = np.add(at, SIDES[side]).tolist()
        return bool(self.reached[(*at, side)] and self.reached[i, j, side ^ 1])

    def edges(self) -> Iterable[tuple[tuple[int, int], int, tuple[int, int]]]:
        """Each point, side, and the neighbour there that is denser or more correlated."""
        rows, columns = self.reached.shape[:2]
        for i, j in np.ndindex(rows, columns):
            for side in (1, 3):
                x, y = i + SIDES[side][0], j + SIDES[side][1]
                if x < rows and y < columns:
                    yield (i, j), side, (x, y)


def map_of(run: xr.Dataset, specs: Sequence[Spec]) -> PlaneMap:
    """The map of a trajectory with the dim `spec`, one for each Spec of the grid.

    Raises:
        ValueError: at some point no run trained to its end.

    """
    plane = Plane.of(specs)
    shape = len(plane.densities), len(plane.strengths)
    # Their values are the numbers of the Specs.
    best = lowest(run, list(map(float, range(len(specs)))))
    rivals: list[list[Minimum]] = [[] for _ in best]
    for each in others(run, best):
        if each.loss <= (1 + RIVALS) * best[int(each.value)].loss:
            rivals[int(each.value)].append(Minimum(each.weights, each.bias, each.loss))
    ends = np.empty(shape, object)
    for at, each in zip(np.ndindex(*shape), best, strict=True):
        ends[at] = Minimum(each.weights, each.bias, each.loss)
    reached = _spread(plane, ends)
    losses = np.array([[each.loss for each in row] for row in ends])
    first = np.array([each.loss for each in best]).reshape(shape)
    found = run["loss"].isel(step=-1).values.reshape(*shape, -1)
    rows = [slice(k, k + shape[1]) for k in range(0, len(best), shape[1])]
    return PlaneMap(
        plane,
        ends.tolist(),
        [rivals[row] for row in rows],
        [[plane.shape(*each) for each in zip(*row, strict=True)] for row in zip(plane.places, ends, strict=True)],
        np.abs(reached / losses[..., None] - 1) <= SAME,
        int((first > (1 + SAME) * losses).sum()),
        (found <= (1 + SAME) * losses[..., None]).sum(-1),
        best[0].starts,
    )


def _spread(plane: Plane, ends: np.ndarray) -> Float[np.ndarray, "density strength 4"]:
    """Let every solution descend at the neighbours of its point, in place; returns the losses it ends with."""
    reached = np.full((*ends.shape, len(SIDES)), np.nan)
    changed = np.ones(ends.shape, bool)
    while changed.any():
        going = _next_to(changed)
        found = _from_neighbours(plane, ends, going)
        changed[:] = False
        for at, there in zip(going, found, strict=True):
            reached[at] = [np.nan if end is None else end.loss for end in there]
            best = min((end for end in there if end is not None), key=lambda each: each.loss)
            if best.loss < (1 - SAME) * ends[at].loss:
                ends[at], changed[at] = best, True
    return reached


def _from_neighbours(plane: Plane, ends: np.ndarray, going: Sequence[tuple[int, int]]) -> list[list[Minimum | None]]:
    """Where the solutions of the neighbours (`SIDES`) of some places end there; None beyond the plane's edge."""
    around = [[_beside(ends, at, side) for side in SIDES] for at in going]
    found = plane.descended(
        [plane.places[i][j] for i, j in going],
        [[ends[at] if each is None else each for each in own] for at, own in zip(going, around, strict=True)],
    )
    return [
        [None if known is None else end for known, end in zip(own, there, strict=True)]
        for own, there in zip(around, found, strict=True)
    ]


def _next_to(changed: Bool[np.ndarray, "density strength"]) -> list[tuple[int, int]]:
    """All places that have a neighbour which has changed."""
    around = np.pad(changed, 1)
    beside = around[:-2, 1:-1] | around[2:, 1:-1] | around[1:-1, :-2] | around[1:-1, 2:]
    return [(i, j) for i, j in np.argwhere(beside).tolist()]


def _beside(ends: np.ndarray, at: tuple[int, int], side: tuple[int, int]) -> Minimum | None:
    i, j = at[0] + side[0], at[1] + side[1]
    return ends[i, j] if 0 <= i < ends.shape[0] and 0 <= j < ends.shape[1] else None
