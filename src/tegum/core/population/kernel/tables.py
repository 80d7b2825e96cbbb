"""Feature distributions, frequencies and working memory as the kernel of the population loss reads them.

Runs are worked on in blocks of eight, one run a lane. The runs of a block may differ in every number of their
distributions but not in *structure*: the sizes of the sets, their components, and which gates are zero. Features
are taken in an order of their own, their *positions*: first those that are independent of all others, then sets
that share one gate, then all other mixtures. All arrays are flat; "row" r of an array of lanes is its elements
8 r … 8 r + 7.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled.lanes import WIDE_LANES
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.tables import MixtureTable
from tegum.core.population.kernel.memory import RECORD, STATE, Scratch, SecondDerivatives, aligned
from tegum.core.population.truncation import SHORTER, window
from tegum.core.stopping import current

_KEPT = 16
"""How many series and plans are kept, which nobody changes: a search asks for the same few again and again. The
longest series has 4 MB."""

COLUMNS = 4 + len(SHORTER)
"""Numbers kept for each frequency, see `frequencies`."""


class Plan(NamedTuple):
    """The structure that the runs of a block have in common; numba takes it as it is."""

    features: int
    hidden: int
    singles: int
    """Features independent of all others: positions 0 … singles − 1, each a set of its own."""
    shared: int
    """Sets with one gate for all of their features, which come next."""
    sets: int
    rows: int
    """Rows of a block's table. The first 2 n: importance and mean of each position. Then, for each single, the
    probability that it is active and that it is not. The last holds nothing but 1."""
    feature: Int[np.ndarray, " position"]
    set_of: Int[np.ndarray, " position"]
    first: Int[np.ndarray, " set_1"]
    """The positions of set g are first[g] … first[g + 1] − 1."""
    covariance: Int[np.ndarray, " set"]
    """Row of the set's covariance matrix."""
    weight: Int[np.ndarray, " set"]
    """Row of the weights of the set's components; of a shared set that nothing and that all is active."""
    component: Int[np.ndarray, " set_1"]
    """The components of set g are component[g] … component[g + 1] − 1. Singles and shared sets have them as well, for
    code that needs no special case for these."""
    part: Int[np.ndarray, " component_1"]
    """A component's gates that are not zero are parts part[c] … part[c + 1] − 1."""
    position: Int[np.ndarray, " part"]
    gate: Int[np.ndarray, " part"]
    """Row of the gate."""

    @property
    def parameters(self) -> int:
        """Weights and biases of a run."""
        return self.features * (self.hidden + 1)


@dataclass(frozen=True)
class Group:
    """Runs of one structure, eight a block."""

    plan: Plan
    runs: Int[np.ndarray, "block lane"]
    """Which run is where; the last one fills what would stay empty."""
    count: int
    """How many runs there are: lanes from here on, block by block, only repeat the last run."""
    tables: Float[np.ndarray, "block row_lane"]


@functools.lru_cache(maxsize=_KEPT)
def frequencies(count: int) -> Float[np.ndarray, "frequency column"]:
    """The odd frequencies k = 1, 3, … of a truncated series with its windows.

    The window w(η) of the r-th frequency, η = (r + ½) / count, is 1 up to η = ½ and falls to 0 at η = 1 with all
    its derivatives. Columns: k, 1/k, w/k, w/k², and w/k² with the windows of fewer frequencies (`SHORTER`).

    Args:
        count: how many, at least 1. The result has an even number of rows, the last perhaps with windows of zero.

    Raises:
        ValueError: `count` is not positive.

    """
    if count < 1:
        raise ValueError(f"frequencies({count}): there must be at least one")
    rows = -(-count // 2) * 2
    k = 2.0 * np.arange(rows) + 1
    full, *less = (window((np.arange(rows) + 0.5) / (part * count)) for part in (1.0, *SHORTER))
    return np.ascontiguousarray(np.stack([k, 1 / k, full / k, full / k**2, *(w / k**2 for w in less)], -1))


@functools.lru_cache(maxsize=_KEPT)
def frequencies_in_lanes(count: int) -> Float[np.ndarray, "group column lane"]:
    """The frequencies in groups of eight, an even number of groups: their k and w/k."""
    columns = frequencies(count)[:, [0, 2]]
    rows = -(-count // (2 * WIDE_LANES)) * 2 * WIDE_LANES
    beyond = np.arange(len(columns), rows)
    columns = np.concatenate([columns, np.stack([2.0 * beyond + 1, np.zeros(len(beyond))], -1)])
    return np.ascontiguousarray(columns.reshape(-1, WIDE_LANES, 2).swapaxes(1, 2))


def groups(
    distributions: Sequence[FeatureDistribution],
    distribution: Int[np.ndarray, " run"],
    hidden: int,
    alone: bool = False,
    moments: bool = False,
) -> list[Group]:
    """Runs sorted by structure into blocks of eight.

    Args:
        distributions: made of mixture tables.
        distribution: which of them each run has.
        hidden: m.
        alone: whether each run has a block of its own, in all of its lanes.
        moments: whether importances, means and covariances are all that will be read, so that any set will do.

    Raises:
        ValueError: a set is no mixture table.

    """
    if not moments:
        for each in distributions:
            list(each.tables())  # refuses sets that are no mixture table
    by_structure: dict[tuple, list[int]] = {}
    structures = [_structure(each) for each in distributions]
    for run, number in enumerate(distribution):
        by_structure.setdefault(structures[number], []).append(run)
    found = []
    for structure, runs in by_structure.items():
        plan = _plan(structure, hidden)
        needed = {distribution[run] for run in runs}
        rows = {number: _rows(distributions[number]) for number in needed}
        count = len(runs)
        filled = np.repeat(runs, WIDE_LANES) if alone else np.array(runs + [runs[-1]] * (-count % WIDE_LANES))
        padded = filled.reshape(-1, WIDE_LANES)
        tables = aligned(padded.size * plan.rows).reshape(len(padded), -1)
        for block, table in zip(padded, tables, strict=True):
            table[:] = np.stack([rows[distribution[run]] for run in block], -1).ravel()
        found.append(Group(plan, padded, count, tables))
    return found


def second_derivatives(
    plan: Plan, count: int, entries: Float[np.ndarray, "block feature row feature_1"]
) -> SecondDerivatives:
    """What the kernel needs for second derivatives with that many frequencies, which it writes to `entries`."""
    series = frequencies_in_lanes(count)
    sums = aligned((plan.features + 1) ** 2 * WIDE_LANES)
    return SecondDerivatives(entries.reshape(-1), series.reshape(-1), len(series), sums)


def scratch(plan: Plan) -> Scratch:
    """Working memory for one thread and models of this structure, with the flag of the call that it works for."""
    return Scratch(aligned(plan.features * RECORD * WIDE_LANES), aligned(STATE * WIDE_LANES), current().flag)


def _sets(distribution: FeatureDistribution) -> list[tuple[np.ndarray, MixtureTable | None]]:
    """The sets as (features, table), where those of one component are taken apart; in the order of positions."""
    sets: list[tuple[np.ndarray, MixtureTable | None]] = []
    start = 0
    for each in distribution.sets:
        size = each.features
        features = np.arange(start, start + size)
        table = each.transform() if each.gated else None
        if not isinstance(table, MixtureTable):
            sets.append((features, None))
        elif len(table.weights) == 1:
            sets += [(features[i : i + 1], MixtureTable(np.ones(1), table.gates[:, i : i + 1])) for i in range(size)]
        elif size == 1:
            active = (table.weights @ table.gates)[None]
            sets.append((features, MixtureTable(np.ones(1), active)))
        else:
            sets.append((features, table))
        start += size
    return sorted(sets, key=lambda each: (_kind(each[1]), each[0][0]))


SINGLE, SHARED, MIXTURE, UNTABLED = 0, 1, 2, 3


def _kind(table: MixtureTable | None) -> int:
    if table is None:
        return UNTABLED
    if table.gates.size == 1:
        return SINGLE
    nothing_or_all = len(table.weights) == 2 and not table.gates[0].any() and (table.gates[1] == 1).all()
    return SHARED if nothing_or_all else MIXTURE


@functools.lru_cache(maxsize=_KEPT)
def _structure(distribution: FeatureDistribution) -> tuple:
    """What runs of one block must have in common; hashable."""
    found = []
    for features, table in _sets(distribution):
        active = (table.gates != 0).tolist() if table is not None and len(features) > 1 else []
        found.append((_kind(table), tuple(features.tolist()), tuple(map(tuple, active))))
    return tuple(found)


@functools.lru_cache(maxsize=_KEPT)
def _plan(structure: tuple, hidden: int) -> Plan:
    kinds = [kind for kind, _, _ in structure]
    sizes = [len(features) for _, features, _ in structure]
    n, singles, shared = sum(sizes), kinds.count(SINGLE), kinds.count(SHARED)
    first = np.cumsum([0, *sizes])
    rows = 2 * n + 2 * singles
    always = rows + sum(_rows_of_set(*each) for each in structure)
    covariance, weight, component, part, position, gate = [], [], [0], [0], [], []
    for g, (kind, features, active) in enumerate(structure):
        size = len(features)
        covariance.append(rows)
        rows += size**2
        if kind == SINGLE:
            weight.append(always)
            position.append(g)
            gate.append(2 * n + g)
            part.append(len(position))
        if kind == SHARED:
            weight.append(rows)
            rows += 2
            part.append(len(position))
            position += range(first[g], first[g + 1])
            gate += [always] * size
            part.append(len(position))
        if kind == MIXTURE:
            weight.append(rows)
            rows += len(active)
            for gates in active:
                positions = [first[g] + i for i in range(size) if gates[i]]
                position += positions
                gate += range(rows, rows + len(positions))
                rows += len(positions)
                part.append(len(position))
        component.append(len(part) - 1)
    integers = [
        [i for _, features, _ in structure for i in features], np.repeat(np.arange(len(sizes)), sizes), first,
        covariance, weight, component, part, position, gate,
    ]  # fmt: skip
    arrays = [np.array(each, np.int64) for each in integers]
    return Plan(n, hidden, singles, shared, len(sizes), always + 1, *arrays)


def _rows_of_set(kind: int, features: tuple[int, ...], active: tuple[tuple[bool, ...], ...]) -> int:
    """The rows of a table that belong to one set: covariances, then weights and gates."""
    own = {SINGLE: 0, SHARED: 2, MIXTURE: len(active) + sum(map(sum, active)), UNTABLED: 0}[kind]
    return len(features) ** 2 + own


@functools.lru_cache(maxsize=_KEPT)
def _rows(distribution: FeatureDistribution) -> Float[np.ndarray, " row"]:
    """The table of one run."""
    sets = _sets(distribution)
    order, covariance = np.concatenate([features for features, _ in sets]), distribution.covariance()
    chance = [table.gates[0, 0] for _, table in sets if table is not None and _kind(table) == SINGLE]
    columns = [distribution.importance[order], distribution.first_moment()[order], chance, 1 - np.array(chance)]
    for features, table in sets:
        columns.append(covariance[np.ix_(features, features)].ravel())
        if table is None:
            continue
        kind = _kind(table)
        if kind in (SHARED, MIXTURE):
            columns.append(table.weights)
        if kind == MIXTURE:
            columns += [gates[gates != 0] for gates in table.gates]
    return np.concatenate([*columns, [1.0]])
