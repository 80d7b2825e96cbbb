"""Feature sets in which a feature can only be active together with its parent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import PlainValidator, model_validator

from tegum.core.description import broken, plain
from tegum.core.features.activity import MOST_COMPONENTS, ActivitySet, check_table
from tegum.core.features.magnitudes import Magnitude
from tegum.core.features.tables import MixtureTable

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers, Uniforms

_SUM = 1e-9
"""How far densities that are to sum to at most 1 may exceed it by rounding."""


def _parents(value: Any) -> tuple[int, ...]:
    value = value.tolist() if hasattr(value, "tolist") else value
    items = [plain(item) for item in value] if isinstance(value, list | tuple) else []
    if not items or not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        raise ValueError("must be a list of ints, one for each feature: the number of its parent, or -1")
    if wrong := [item for item in items if not -1 <= item < len(items)]:
        raise ValueError(f"must lie between -1 and {len(items) - 1}, the last feature, and {wrong[0]} does not")
    return tuple(items)


def _booleans(value: Any) -> bool | tuple[bool, ...]:
    value = value.tolist() if hasattr(value, "tolist") else value
    items = value if isinstance(value, list | tuple) else [value]
    if not items or not all(isinstance(item, bool) for item in items):
        raise ValueError("must be True or False, or a list of one for each feature of the set")
    return tuple(items) if isinstance(value, list | tuple) else items[0]


_RAREST = 1e-300
"""The least probability that a feature is active; the product of many densities would underflow to 0."""


class Hierarchy(ActivitySet, kind="hierarchy"):
    """A forest of features: a child is active only together with its parent.

    `density[i]` is the probability that feature i is active, given that its parent is; of a feature without a parent
    it is the probability as such. Children of one parent are independent given the parent, or, where they exclude one
    another, at most one of them is active, child i with probability `density[i]`. Magnitudes are independent.

    Trees are independent of one another. A set has a table if it has few enough combinations of active parents, at most
    4,096; as these multiply from tree to tree, trees that are sets of their own have smaller tables than a forest.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        A parent with two children that exclude one another: child 1 is active in 0.5 · 0.4 = 0.2 of the samples, and
        never together with child 2.

        >>> import tegum as tg
        >>> tree = tg.Hierarchy(parents=[-1, 0, 0], density=[0.5, 0.4, 0.6], exclusive=True)
        >>> tree.active().round(6).tolist(), (4 * tree.second_moment()[1]).round(6).tolist()
        ([0.5, 0.2, 0.3], [0.2, 0.266667, 0.0])

    """

    positional: ClassVar[tuple[str, ...]] = ("parents", "density", "importance")
    parents: Annotated[tuple[int, ...], PlainValidator(_parents)]
    """For each feature the number of its parent within the set, counted from 0; −1 where there is none."""
    exclusive: Annotated[bool | tuple[bool, ...], PlainValidator(_booleans)] = False
    """Whether the children of a feature exclude one another; True, False, or one of them for each parent."""

    if TYPE_CHECKING:

        def __init__(
            self,
            parents: Sequence[int] | np.ndarray,
            density: Numbers,
            importance: Numbers = 1.0,
            *,
            exclusive: bool | Sequence[bool] = False,
            magnitude: Magnitude = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _is_a_forest(self) -> Hierarchy:
        reached = sum(map(len, self._levels))
        if reached < self.features:
            lost = sorted(set(range(self.features)) - {i for level in self._levels for i in level.tolist()})
            raise broken(
                "parents", self.parents, f"must lead to a feature without a parent, and those of {lost[0]} do not"
            )
        if isinstance(self.exclusive, tuple) and len(self.exclusive) != self.features:
            rule = f"must be True or False, or {self.features} of them, one for each feature of the set"
            raise broken("exclusive", self.exclusive, rule)
        for parent in np.flatnonzero(self._excludes).tolist():
            if (total := self.densities[self._children[parent]].sum()) > 1 + _SUM:
                rule = f"must sum to at most 1 over children that exclude one another; those of {parent} sum to"
                raise broken("density", self.density, f"{rule} {total:.6g}")
        if (active := self.active()).min() < _RAREST:
            rule = f"must give each feature a probability of at least {_RAREST:g}, and that of"
            raise broken("density", self.density, f"{rule} {int(active.argmin())} is {active.min():g}")
        return self

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return len(self.parents)

    @cached_property
    def _children(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.parents]
        for child, parent in enumerate(self.parents):
            if parent >= 0:
                found[parent].append(child)
        return found

    @cached_property
    def _levels(self) -> list[Int[np.ndarray, " some"]]:
        """Features without a parent, their children, and so on; what a cycle keeps from a root is in none of them."""
        level = [child for child, parent in enumerate(self.parents) if parent < 0]
        found = []
        while level:
            found.append(np.array(level))
            level = [child for parent in level for child in self._children[parent]]
        return found

    @cached_property
    def _excludes(self) -> np.ndarray:
        """Whether each feature has children that exclude one another."""
        several = np.array([len(children) > 1 for children in self._children])
        return several & np.array(self.exclusive)

    @property
    def components(self) -> int:
        """Combinations of active parents and of children that exclude one another, counted no further than needed."""
        return self._components

    @cached_property
    def _components(self) -> int:
        density, beyond = self.densities, MOST_COMPONENTS + 1
        given, under = [1] * self.features, [1] * self.features  # where the feature is active; where its parent is
        for feature in self._upwards:
            children = self._children[feature]
            if self._excludes[feature]:
                none = bool(density[children].sum() < 1 - _SUM)
                given[feature] = min(sum(given[child] for child in children) + none, beyond)
            else:
                given[feature] = _product([under[child] for child in children], beyond)
            if children:
                under[feature] = given[feature] + bool(density[feature] < 1)
        return _product([under[root] for root in self._levels[0].tolist()], beyond)

    @property
    def ungated_because(self) -> str:
        """Why the set has no table, and what would have one."""
        trees = sum(bool(self._children[root]) for root in self._levels[0].tolist())
        instead = " (those of its trees, as sets of their own, have fewer)" if trees > 1 else ""
        return f"{super().ungated_because}{instead}"

    @property
    def _upwards(self) -> list[int]:
        """All features, children before their parents."""
        return [feature for level in reversed(self._levels) for feature in level.tolist()]

    def table(self) -> MixtureTable:
        """Write the set as components in which it is fixed which parents are active.

        Returns:
            The table; children without children of their own keep their densities within a component.

        Raises:
            ValueError: there would be too many components.

        """
        check_table(self)
        density, nothing = self.densities, MixtureTable(np.ones(1), np.zeros((1, self.features)))
        given = [nothing] * self.features  # for each feature all that is below it, where it is active
        under = [nothing] * self.features  # and it itself, too, where its parent is
        for feature in self._upwards:
            p, children = density[feature], self._children[feature]
            own = nothing
            if self._excludes[feature]:
                rest = max(1 - density[children].sum(), 0.0)
                parts = [(density[child], _with(given[child], child, 1.0)) for child in children]
                own = _either([(rest if rest > _SUM else 0.0, nothing), *parts])
            else:
                for child in children:
                    own = _both(own, under[child])
            given[feature] = own
            if children:
                under[feature] = _either([(1 - p, nothing), (p, _with(own, feature, 1.0))])
            else:
                under[feature] = _with(nothing, feature, p)
        found = nothing
        for root in self._levels[0].tolist():
            found = _both(found, under[root])
        return found

    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active, the product of the densities up to a feature without parent."""
        active = self.densities
        for level in self._levels[1:]:
            active[level] *= active[np.take(self.parents, level)]
        return active

    def _together(self) -> Float[np.ndarray, "size size"]:
        density, active = self.densities, self.active()
        together = np.zeros((self.features, self.features))
        done: list[int] = []
        for feature in (i for level in self._levels for i in level.tolist()):
            parent = self.parents[feature]
            # No feature that is done is below this one: given the parent, this one is independent of all of them.
            row = active[done] if parent < 0 else together[parent, done]
            together[feature, done] = density[feature] * row
            if parent >= 0 and self._excludes[parent]:
                together[feature, self._children[parent]] = 0.0
            together[done, feature] = together[feature, done]
            together[feature, feature] = active[feature]
            done.append(feature)
        return together

    @cached_property
    def _intervals(self) -> tuple[Int[np.ndarray, " size"], Float[np.ndarray, "2 size"]]:
        """For each feature, the number of the uniform that decides on it, and the interval in which it must lie.

        Children that exclude one another share one, and have intervals side by side.
        """
        density, number = self.densities, np.arange(self.features)
        lower = np.zeros(self.features)
        for parent in np.flatnonzero(self._excludes).tolist():
            children = self._children[parent]
            number[children] = children[0]
            lower[children[1:]] = np.cumsum(density[children])[:-1]
        which = np.unique(number, return_inverse=True)[1]
        return which, np.stack([lower, np.minimum(lower + density, 1.0)])

    def _activity(self, uniforms: Uniforms, batch: int) -> Any:
        which, bounds = self._intervals
        u = uniforms((batch, int(which.max()) + 1))
        xp = u.__array_namespace__()
        lower, upper = xp.asarray(bounds, dtype=u.dtype)
        u = u[:, which]
        # Active if all are open from here up; each round looks twice as far up. The last column is above the roots.
        opened = xp.concat([(u >= lower) & (u < upper), xp.ones((batch, 1), dtype=bool)], axis=1)
        above = np.append(np.array(self.parents) % (self.features + 1), self.features)
        for _ in range((len(self._levels) - 1).bit_length()):
            opened, above = opened & opened[:, above], above[above]
        return opened[:, :-1]


def _product(factors: list[int], beyond: int) -> int:
    """The product of numbers, as far as it is at most `beyond`."""
    found = 1
    for factor in factors:
        found = min(found * factor, beyond)
    return found


def _with(table: MixtureTable, feature: int, gate: float) -> MixtureTable:
    """The table with another gate of one feature."""
    gates = table.gates.copy()
    gates[:, feature] = gate
    return MixtureTable(table.weights, gates)


def _both(one: MixtureTable, other: MixtureTable) -> MixtureTable:
    """Two independent parts of a set; the other's features are inactive in each."""
    gates = one.gates[:, None] + other.gates
    return MixtureTable(np.outer(one.weights, other.weights).ravel(), gates.reshape(-1, gates.shape[-1]))


def _either(parts: list[tuple[float, MixtureTable]]) -> MixtureTable:
    """One of several tables, each with its probability; the impossible ones are left out."""
    possible = [(p, table) for p, table in parts if p > 0]
    weights = np.concatenate([p * table.weights for p, table in possible])
    return MixtureTable(weights / weights.sum(), np.concatenate([table.gates for _, table in possible]))
