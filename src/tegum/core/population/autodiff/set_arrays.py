"""A feature distribution as arrays for the population loss: sets of one form and one shape, side by side."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.tables import MixtureTable, RayTable

KEPT_SERIES = 16
"""The number of distributions whose arrays are kept."""


class AlikeSets(NamedTuple):
    """Sets of one form and one shape."""

    features: Any
    """The features of each set, (set, size)."""
    table: MixtureTable | RayTable
    """The tables, with the set as first axis."""
    mean: Any
    """E[x], (set, size)."""
    second: Any
    """E[x xᵀ], (set, size, size)."""


class Moments(NamedTuple):
    """The moments that the closed-form part of the loss needs."""

    mean: Any
    covariance: Any
    power: Any
    """E[x²], (n,)."""
    importance: Any


class Series(NamedTuple):
    """A feature distribution as the series needs it: a tree of arrays."""

    groups: tuple[AlikeSets, ...]
    coarse: tuple[AlikeSets, ...]
    """The sets with half the nodes of their quadrature; empty if none has one."""
    moments: Moments
    stop: Any = None
    """The address of a flag (`Stop.address`) that sums on a CPU check, if any: once it is raised they end soon, with
    arbitrary values."""


@functools.lru_cache(maxsize=KEPT_SERIES)
def series_of(features: FeatureDistribution, form: bool = True) -> Series:
    """The arrays of a distribution, with or without those that characteristic functions need."""
    coarse = () if features.gated or not form else _groups(features, coarse=True)
    moments = Moments(
        mean=features.first_moment(),
        covariance=features.covariance(),
        power=np.diag(features.second_moment()).copy(),
        importance=features.importance,
    )
    return Series(_groups(features, coarse=False) if form else (), coarse, moments)


def _groups(features: FeatureDistribution, coarse: bool) -> tuple[AlikeSets, ...]:
    collected: dict[Any, list[Any]] = {}
    mean, second = features.first_moment(), features.second_moment()
    end = 0
    tables = features.tables() if features.gated else (each.transform() for each in features.sets)
    for each, whole in zip(features.sets, tables, strict=True):
        start, end = end, end + each.features
        table: Any = each.coarse_transform() if coarse else whole
        pieces = [(np.arange(start, end), table)]
        if isinstance(table, MixtureTable) and len(table.weights) == 1:
            # One component: its features are independent of one another.
            pieces = [
                (np.array([start + i]), MixtureTable(table.weights, table.gates[:, i : i + 1]))
                for i in range(each.features)
            ]
        for index, piece in pieces:
            key = (type(piece), *(np.shape(array) for array in piece))
            group = AlikeSets(index, piece, mean[index], second[np.ix_(index, index)])
            collected.setdefault(key, []).append(group)
    return tuple(_stacked(groups) for groups in collected.values())


def _stacked(groups: list[AlikeSets]) -> AlikeSets:
    tables: list[Any] = [group.table for group in groups]
    table = type(tables[0])(*(np.stack(arrays) for arrays in zip(*tables, strict=True)))
    rest = zip(*((group.features, group.mean, group.second) for group in groups), strict=True)
    features, mean, second = (np.stack(arrays) for arrays in rest)
    return AlikeSets(features, table, mean, second)
