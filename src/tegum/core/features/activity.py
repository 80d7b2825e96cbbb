"""Gated sets that say which features are active together, and whose mixture table may be too large to have.

Such a set draws activity itself, and magnitudes apart from it, whether it has its table or not. Where the table has at
most `MOST_COMPONENTS` components and `MOST_ENTRIES` gates, compiled kernels train on it and the set has a population
loss; otherwise the JAX engine trains on its samples.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from tegum.core.description import broken
from tegum.core.features.magnitudes import Magnitude
from tegum.core.features.sets import GatedSet, PerFeature, Size, one_gate, placed
from tegum.core.features.tables import MixtureTable

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers, Uniforms

MOST_COMPONENTS, MOST_ENTRIES = 4096, 2**20
"""The most components, and the most gates in all, of a table: beyond, drawing from it is slower than without."""

_SHOWN = 16
"""The most numbers of a value that a repr spells out."""


class ActivitySet(GatedSet):
    """The base of gated sets whose table may be too large to have.

    A kind of this sort provides the number of components of its table, and the table for when that is small; how
    often features are active, and two together, in closed form; and a way to draw which are active.

    Example:
        >>> import tegum as tg
        >>> tg.ExactlyK(size=4, k=2).gated, tg.ExactlyK(size=40, k=20).gated
        (True, False)

    """

    @property
    @abc.abstractmethod
    def components(self) -> int:
        """The number of components of the set's table, or a lower bound above `MOST_COMPONENTS`."""

    @abc.abstractmethod
    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active, in closed form."""

    @abc.abstractmethod
    def _together(self) -> Float[np.ndarray, "size size"]:
        """The probability that two features are both active, in closed form; what the diagonal has is not used."""

    @abc.abstractmethod
    def _activity(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw which features are active: booleans (batch, size)."""

    @property
    def most_components(self) -> int:
        """The most components that the set's table may have."""
        return min(MOST_COMPONENTS, MOST_ENTRIES // self.features)

    @property
    def gated(self) -> bool:
        """Whether the set's table is small enough to have."""
        return self.components <= self.most_components

    @property
    def ungated_because(self) -> str:
        """Why the set has no table."""
        return f"its table would have more than {self.most_components:,} components"

    @property
    def table_size(self) -> int:
        """The numbers in the set's table; without one, those that drawing needs."""
        return self.components * self.features if self.gated else 2 * self.features

    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw which features are active, and then magnitudes."""
        return with_magnitudes(self.magnitude, self._activity(uniforms, batch), uniforms)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _brief(value)


def with_magnitudes(law: Magnitude, active: Any, uniforms: Uniforms) -> Any:
    """Samples in which these features are active: magnitudes of a law, and 0 elsewhere."""
    return placed(law, active, uniforms(active.shape))


class _Shape:
    """Stands in a repr for an array that is too long for it."""

    def __init__(self, *shape: int) -> None:
        self._shape = shape

    def __repr__(self) -> str:
        return f"<{' × '.join(map(str, self._shape))} numbers>"


def _brief(value: Any) -> Any:
    """The value, or its shape if it is a long tuple or a matrix of many numbers."""
    if not isinstance(value, tuple):
        return value
    inner = len(value[0]) if value and isinstance(value[0], tuple) else None
    if len(value) * (inner or 1) <= _SHOWN:
        return value
    return _Shape(len(value)) if inner is None else _Shape(len(value), inner)


class ExactlyK(ActivitySet, kind="exactly-k"):
    """Features of which exactly `k` are active whenever the set is: each choice of `k` is equally likely.

    With probability `density` the set is active, so that a feature is active with probability density · k / size.
    For k = 1 it is `Anticorrelated`. A set with at most 4,096 choices has a table.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        Two of four features are active: each in half of the samples, and each pair in 1/6 of them.

        >>> import tegum as tg
        >>> two = tg.ExactlyK(size=4, k=2)
        >>> two.active().tolist(), (4 * two.second_moment()[0, 1:]).round(6).tolist()
        ([0.5, 0.5, 0.5, 0.5], [0.166667, 0.166667, 0.166667])

    """

    positional: ClassVar[tuple[str, ...]] = ("size", "k", "density", "importance")
    size: Size
    """The number of features in the set."""
    k: Annotated[int, Field(ge=1, strict=True)]
    """The number of features that are active whenever the set is, at most its size."""
    density: PerFeature = 1.0
    """The probability that the set is active, in (0, 1]; one number, as its features have one gate."""

    if TYPE_CHECKING:

        def __init__(
            self, size: int, k: int, density: float = 1.0, importance: Numbers = 1.0, *, magnitude: Magnitude = ...
        ) -> None: ...

    _density_is_one_number = field_validator("density")(one_gate)

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> ExactlyK:
        if self.k > self.size:
            raise broken("k", self.k, f"must be at most {self.size}, the size of the set")
        return self

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return self.size

    @property
    def _gate(self) -> float:
        return float(np.ravel(self.density)[0])

    @property
    def components(self) -> int:
        """One for each choice of features, and one with nothing active."""
        few = min(self.k, self.size - self.k, 16)  # of these alone there are too many where 16 is the smallest
        return math.comb(self.size, few) + (self._gate < 1)

    def table(self) -> MixtureTable:
        """Write the set as components with exactly k features active, and one with nothing active.

        Returns:
            The table, with as many components as there are choices.

        Raises:
            ValueError: there would be too many.

        """
        check_table(self)
        choices = np.array(list(itertools.combinations(range(self.size), self.k)))
        gates = np.zeros((len(choices), self.size))
        np.put_along_axis(gates, choices, 1.0, axis=1)
        weights = np.full(len(choices), self._gate / len(choices))
        if self._gate < 1:
            gates, weights = np.pad(gates, ((1, 0), (0, 0))), np.append(1 - self._gate, weights)
        return MixtureTable(weights, gates)

    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active, density · k / size."""
        return self.densities * (self.k / self.size)

    def _together(self) -> Float[np.ndarray, "size size"]:
        pair = (self.k - 1) / max(self.size - 1, 1)
        return np.full((self.size, self.size), self._gate * self.k / self.size * pair)

    def _activity(self, uniforms: Uniforms, batch: int) -> Any:
        # One feature after the other: of those that are left, so many are still to be active. Sorting takes far longer.
        u, opened = uniforms((batch, self.size)), uniforms((batch, 1)) < self._gate
        left = np.arange(self.size, 0, -1, dtype=u.dtype)
        if isinstance(u, np.ndarray):
            return _of_those_left(u, left, self.k, opened[:, 0])
        import jax.numpy as jnp
        from jax.lax import scan

        def step(wanted: Any, feature: tuple[Any, Any]) -> tuple[Any, Any]:
            number, others = feature
            active = number * others < wanted
            return wanted - active, active

        wanted = jnp.full(batch, self.k, dtype=np.int32)
        return scan(step, wanted, (u.T, jnp.asarray(left)))[1].T & opened


def _of_those_left(u: np.ndarray, left: np.ndarray, k: int, opened: np.ndarray) -> np.ndarray:
    """Which features are active, (batch, size), in NumPy: a feature at a time for all samples."""
    number = np.multiply(u.T, left[:, None], order="C")
    chosen, wanted = np.empty(number.shape, dtype=bool), np.full(len(u), k, dtype=u.dtype)
    for each, active in zip(number, chosen, strict=True):
        np.less(each, wanted, out=active)
        wanted -= active
    return (chosen & opened).T


def check_table(given: ActivitySet) -> None:
    """Refuse a table that is too large.

    Raises:
        ValueError: it is.

    """
    if not given.gated:
        raise ValueError(f"{given!r}: this set has no mixture table, as {given.ungated_because}; use samples of it")
