"""Runs sorted into families, whose losses one call of a kernel can compute, and what the kernels read of each.

Families of a series, or of moments, have feature distributions of the same structure; families of a finite population
have the same matrix of samples. Several of any kind are trained together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, assert_never

import numpy as np
from jaxtyping import Float, Int64

from tegum.core.compiled.lanes import WIDE_LANES
from tegum.core.features.empirical import Empirical
from tegum.core.loss.population import population_path
from tegum.core.model import ACTIVATIONS
from tegum.core.population.kernel.memory import aligned, scale_rows
from tegum.core.population.kernel.rows import listed_rows
from tegum.core.population.kernel.tables import Plan, frequencies, groups
from tegum.training.exact.kernels.probe import Room, Tables, Way, room_of

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec


class RunFamily(NamedTuple):
    """Runs whose losses are computed alike."""

    plan: Plan
    tables: Tables
    room: Room
    runs: Int64[np.ndarray, " member"]
    nothing: Float[np.ndarray, " member"]
    """The loss of each of these runs where every output is zero."""

    @property
    def finite(self) -> bool:
        """Whether the loss is that of a finite population, for which the number of frequencies plays no role."""
        return self.tables.way == Way.FINITE

    def series(self, count: int) -> tuple[Float[np.ndarray, " _"], int]:
        """So many frequencies as kernels read them, and how many rows they have."""
        return _series(1 if self.finite else count)


def families(specs: Sequence[Spec]) -> list[RunFamily]:
    """The runs of Specs that agree in their activation and in the shapes of their models.

    Raises:
        ValueError: the activation has no population loss, or it has one as a series and a set of features has no
            mixture table.

    """
    found = _Finder(specs)
    populations: dict[str, list[int]] = {}
    others: list[int] = []
    for number, way in enumerate(found.ways):
        if way == Way.FINITE:
            populations.setdefault(_rows_of(specs[number]).digest, []).append(number)
        else:
            others.append(number)
    return [*(found.structured(others) if others else ()), *map(found.finite, populations.values())]


class _Finder:
    """What finding families goes by."""

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.specs, self.ways = specs, [_way(spec) for spec in specs]
        self.n, self.m = specs[0].features.n, specs[0].hidden
        self.spec_of_run = np.repeat(np.arange(len(specs)), [spec.seeds for spec in specs])
        # One for all, as it is a part of what every run keeps.
        self.scale = 0 if set(self.ways) == {Way.FINITE} else scale_rows(self.n)

    def structured(self, specs: list[int]) -> Iterator[RunFamily]:
        """Families of some Specs whose losses are series, or moments."""
        features = [self.specs[number].features for number in specs]
        way, (runs, place) = self.ways[specs[0]], self._runs_of(specs)
        power = np.array([each.importance @ np.diag(each.second_moment()) for each in features])
        for group in groups(features, place[runs], self.m, moments=way == Way.MOMENTS):
            own = runs[group.runs.ravel()[: group.count]]
            tables = group.tables.reshape(len(group.runs), -1, WIDE_LANES).swapaxes(1, 2).reshape(-1, group.plan.rows)
            places, firsts = np.unique(place[own], return_index=True)
            distribution = np.zeros(len(place), np.int64)
            distribution[own] = np.searchsorted(places, place[own])
            values = np.ascontiguousarray(tables[firsts]).ravel()
            none = np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0)
            made = Tables(int(way), values, distribution, 0, 0.0, *none)
            yield RunFamily(group.plan, made, room_of(group.plan, way, self.scale), own, power[place[own]])

    def finite(self, specs: list[int]) -> RunFamily:
        """The family of some Specs that have the same finite population."""
        first, (runs, place) = self.specs[specs[0]], self._runs_of(specs)
        rows = listed_rows(_rows_of(first).data, self.m, ACTIVATIONS[first.activation].floor)
        importance = np.stack([self.specs[number].features.importance for number in specs])
        # A table has nothing but the importances.
        none = np.zeros(0, np.int64)
        plan = Plan(self.n, self.m, 0, 0, 0, self.n, *[none] * 9)
        listed = rows.samples, rows.floor, rows.first, rows.place, rows.value
        made = Tables(int(Way.FINITE), importance.ravel(), place, *listed)
        power = importance @ rows.powers()
        return RunFamily(plan, made, room_of(plan, Way.FINITE, self.scale), runs, power[place[runs]])

    def _runs_of(self, specs: list[int]) -> tuple[Int64[np.ndarray, " some"], Int64[np.ndarray, " run"]]:
        """The runs of some Specs; and for every run the place of its Spec among these, 0 where it is none of them."""
        place = np.zeros(len(self.specs), np.int64)
        place[specs] = np.arange(len(specs))
        return np.flatnonzero(np.isin(self.spec_of_run, specs)), place[self.spec_of_run]


def _way(spec: Spec) -> Way:
    """How the loss of a Spec is computed."""
    features = spec.features
    path = population_path("Spec({}, training=Exact(…))", features, spec.activation, "Sampled")
    match path:
        case "moments":
            return Way.MOMENTS
        case "finite":
            return Way.FINITE
        case "series":
            if not features.gated:
                odd = next(each for each in features.sets if not each.gated)
                raise ValueError(
                    f"Spec(features=[…, {odd!r}, …], training=Exact(…)): Exact needs sets with a mixture "
                    f"table, and there is none, as {odd.ungated_because}; use Sampled or Flow"
                )
            return Way.SERIES
        case _:
            assert_never(path)


def _rows_of(spec: Spec) -> Empirical:
    """The set of a Spec with a finite population."""
    [rows] = spec.features.sets
    assert isinstance(rows, Empirical)
    return rows


@cache
def _series(count: int) -> tuple[Float[np.ndarray, " _"], int]:
    table = frequencies(count)
    flat = aligned(table.size)
    flat[:] = table.ravel()
    return flat, len(table)
