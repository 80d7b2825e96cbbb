"""The lowest solutions of many starts over a plane of density and correlation strength.

At each point of a grid, many starts are trained on the exact loss, and the lowest solution counts. What the starts at
one point miss, those at its neighbours may find. Every solution therefore also descends at the neighbours of its point,
and replaces theirs if it ends lower, until nothing changes. Two neighbours are on the same branch if descent from each
leads to the loss of the other. Otherwise a boundary passes between them.
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
"""A feature whose embedding is shorter than this fraction of the longest is not represented."""

ALIKE = 1e-3
"""A permutation of features leaves a solution unchanged if no entry of Gram matrix or biases changes by this much."""

NUDGE = 1e-3
"""Descent begins this far away from its starts, in order to leave saddles: where a solution loses a symmetry, a minimum
turns into a saddle."""

RIVALS = 0.05
"""Other minima are kept at a grid point if their loss exceeds the lowest by at most this fraction."""

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""The steps in density and strength from a grid point to its neighbours."""


class Place(NamedTuple):
    """A point of the plane."""

    density: float
    strength: float


class Minimum(NamedTuple):
    """A local minimum of the exact loss, at which a descent has ended."""

    weights: Float[np.ndarray, "feature hidden"]
    bias: Float[np.ndarray, " feature"]
    loss: float


@final
@dataclass(frozen=True)
class SolutionShape(State):
    """The state of a solution, with its represented features and its symmetry."""

    represented: int
    """The number of represented features."""
    symmetry: int
    """The number of feature permutations that leave both the data distribution and the solution unchanged."""

    @property
    def label(self) -> str:
        """Name, represented features and symmetry, as in "1/6/4"."""
        return f"{self.name}/{self.represented}/{self.symmetry}"


@final
@dataclass(frozen=True)
class Plane:
    """The plane of a grid of Specs, with coordinates from 0 to 1: logarithmic in density and linear in strength."""

    spec: Spec
    """Any Spec of the grid."""
    densities: tuple[float, ...]
    strengths: tuple[float, ...]

    @classmethod
    def of(cls, specs: Sequence[Spec]) -> Plane:
        """The plane of a grid of Specs, ordered by density and then by strength."""
        places = [place_of(each) for each in specs]
        densities, strengths = (tuple(dict.fromkeys(values)) for values in zip(*places, strict=True))
        return cls(specs[0], densities, strengths)

    def features(self, place: Place) -> FeatureDistribution:
        """The features at a place."""
        from tegum.core.features.distribution import FeatureDistribution

        change = {"density": place.density, "strength": place.strength}
        return FeatureDistribution([each.replace(**change) for each in self.spec.features.sets])

    def at(self, place: Place) -> Spec:
        """The Spec at a place."""
        return self.spec.replace(features=self.features(place))

    def place(self, point: Float[np.ndarray, " xy"]) -> Place:
        """The place at given coordinates, each from 0 to 1."""
        (low, high), (weak, strong) = self.bounds
        x, y = np.clip(point, 0.0, 1.0).tolist()
        # Exact at the ends: a strength of 1 has fewer mixture components than one close to it.
        density = low if x == 0 else high if x == 1 else low * (high / low) ** x
        strength = weak if y == 0 else strong if y == 1 else weak + (strong - weak) * y
        return Place(density, strength)

    def point(self, place: Place) -> Float[np.ndarray, " xy"]:
        """The coordinates of a place, each from 0 to 1."""
        (low, high), (weak, strong) = self.bounds
        x = np.log(place.density / low) / np.log(high / low)
        return np.array([x, (place.strength - weak) / (strong - weak)])

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The range of densities and the range of strengths."""
        return (self.densities[0], self.densities[-1]), (self.strengths[0], self.strengths[-1])

    @cached_property
    def places(self) -> list[list[Place]]:
        """The places of the grid points, in one list per density."""
        return [[Place(density, strength) for strength in self.strengths] for density in self.densities]

    @cached_property
    def symmetries(self) -> Int[np.ndarray, "permutation feature"]:
        """The permutations of features that leave the data distribution unchanged: of equal sets, and within each."""
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
        """The end of descent from close to each start, at each place; every place has the same number of starts."""
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
        """The shape of a solution at a place."""
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
    """The place of a Spec on the plane."""
    first = spec.features.sets[0]
    return Place(float(np.ravel(first.density)[0]), float(getattr(first, "strength", 1.0)))


def symmetry(of: Minimum, permutations: Int[np.ndarray, "permutation feature"]) -> int:
    """The number of permutations that leave the Gram matrix and the biases unchanged."""
    gram = of.weights @ of.weights.T
    found = 0
    # In parts, because sets of four have 82,944 permutations.
    for part in np.array_split(permutations, -(-len(permutations) // 4096)):
        moved = np.abs(gram[part[:, :, None], part[:, None, :]] - gram).max((1, 2))
        found += int(((moved < ALIKE) & (np.abs(of.bias[part] - of.bias).max(1) < ALIKE)).sum())
    return found


@final
@dataclass(frozen=True, eq=False)
class PlaneMap:
    """The lowest solution at every grid point; lists of lists are by density and then strength."""

    plane: Plane
    ends: list[list[Minimum]] = field(repr=False)
    rivals: list[list[list[Minimum]]] = field(repr=False)
    """Other minima that the starts found."""
    shapes: list[list[SolutionShape]] = field(repr=False)
    reached: Bool[np.ndarray, "density strength 4"]
    """Whether descent from the solution of each neighbour (`SIDES`) leads to the lowest solution here."""
    improved: int
    """The number of points at which a neighbour's solution was lower than anything the starts had found."""
    hits: Int[np.ndarray, "density strength"]
    """The number of starts that found the lowest solution."""
    starts: int

    def same(self, at: tuple[int, int], side: int) -> bool:
        """Whether the lowest solutions at a point and at its neighbour on one side are on one branch."""
        i, j = np.add(at, SIDES[side]).tolist()
        return bool(self.reached[(*at, side)] and self.reached[i, j, side ^ 1])

    def edges(self) -> Iterable[tuple[tuple[int, int], int, tuple[int, int]]]:
        """Every edge of the grid: a point, a side, and the denser or more correlated neighbour on that side."""
        rows, columns = self.reached.shape[:2]
        for i, j in np.ndindex(rows, columns):
            for side in (1, 3):
                x, y = i + SIDES[side][0], j + SIDES[side][1]
                if x < rows and y < columns:
                    yield (i, j), side, (x, y)


def map_of(run: xr.Dataset, specs: Sequence[Spec]) -> PlaneMap:
    """The map of a trajectory whose dim `spec` goes over the Specs of a grid.

    Raises:
        ValueError: at some point, no run was trained to its end.

    """
    plane = Plane.of(specs)
    shape = len(plane.densities), len(plane.strengths)
    # Here the value of a solution is the number of its Spec.
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
    """Let every solution descend at the neighbours of its point, and update `ends`; returns the losses reached."""
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
