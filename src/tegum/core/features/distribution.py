"""Feature distributions: independent sets of features, one after the other (`sets`: their kinds)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import field_validator, model_serializer, model_validator

from tegum.core.description import Description, at, broken, of_kind
from tegum.core.features.sets import (
    FeatureSet,
    GatedSet,
)
from tegum.core.features.tables import MixtureTable
from tegum.core.jax_setup import check
from tegum.core.limits import check_memory

if TYPE_CHECKING:
    from typing import TypeAlias

    from tegum.core.features.sets import Uniforms

    Key: TypeAlias = int | Sequence[int] | Any
    """An int or a sequence of ints (NumPy), or a JAX random key (JAX)."""

MOST_SETS = 1_000_000
"""In a distribution: each is described, copied and looked at by itself. A single set may have more features."""


class FeatureDistribution(Description):
    """Independent sets of features, one after the other: the distribution of x in [0, 1]^n.

    Activations of an `Empirical` set may exceed 1.

    Its JSON-able form (`to_json`) is the list of its sets; there and in TOML a set may carry `copies = k`.
    """

    positional: ClassVar[tuple[str, ...]] = ("sets",)
    unnamed: ClassVar[str | None] = "sets"
    sets: tuple[FeatureSet, ...]
    """One or more; features are numbered through them in this order."""

    if TYPE_CHECKING:

        def __init__(self, sets: Sequence[FeatureSet | Mapping[str, Any]]) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"sets": value} if isinstance(value, list | tuple) else value

    @field_validator("sets", mode="before")
    @classmethod
    def _each_of_a_known_kind(cls, value: Any) -> tuple[FeatureSet, ...]:
        if isinstance(value, FeatureSet) or not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError("must be a list of feature sets, for instance [Correlated(size=2, density=0.05)] * 3")
        sets: list[FeatureSet] = []
        for number, item in enumerate(value):
            with at(number):
                sets += _sets(item, MOST_SETS - len(sets))
        if not sets:
            raise ValueError("must hold at least one feature set")
        return tuple(sets)

    @classmethod
    def inner_keys(cls) -> set[str]:
        """The keys of every kind of set."""
        return {key for kind in FeatureSet.kinds.values() for key in kind.model_fields}

    @model_serializer(mode="plain")
    def _as_list(self) -> list[dict[str, Any]]:
        return [each.model_dump() for each in self.sets]

    def to_json(self) -> list[dict[str, Any]]:
        """The distribution as JSON-able lists and dictionaries; `FeatureDistribution(that)` gives it back."""
        return self.model_dump(mode="json")  # pyright: ignore[reportReturnType]

    @cached_property
    def n(self) -> int:
        """How many features there are."""
        return sum(each.features for each in self.sets)

    @cached_property
    def gated(self) -> bool:
        """Whether every set is a mixture table, as the fused kernels need."""
        return all(isinstance(each, GatedSet) for each in self.sets)

    def tables(self) -> Iterator[MixtureTable]:
        """The mixture table of each set.

        Raises:
            ValueError: a set is no mixture.

        """
        yield from self._tables

    @cached_property
    def _tables(self) -> tuple[MixtureTable, ...]:
        tables = []
        for each in self.sets:
            if not isinstance(each, GatedSet):
                raise ValueError(f"{each!r}: this kind of set has no mixture table; use the JAX path")
            tables.append(each.transform())
        return tuple(tables)

    @property
    def set_of_feature(self) -> Int[np.ndarray, " feature"]:
        """The number of each feature's set."""
        return np.repeat(np.arange(len(self.sets)), [each.features for each in self.sets])

    @property
    def kind_of_feature(self) -> list[str]:
        """The kind of each feature's set."""
        return [each.kind for each in self.sets for _ in range(each.features)]

    @property
    def density(self) -> Float[np.ndarray, " feature"]:
        """The probability that each feature is active."""
        return np.concatenate([each.active() for each in self.sets])

    @property
    def importance(self) -> Float[np.ndarray, " feature"]:
        """The weight of each feature's squared error."""
        return np.concatenate([each.importances for each in self.sets])

    def first_moment(self) -> Float[np.ndarray, " feature"]:
        """E[x_i], exact."""
        return self._moments[0].copy()

    def second_moment(self) -> Float[np.ndarray, "feature feature"]:
        """E[x_i x_j], exact."""
        return self._moments[1].copy()

    @cached_property
    def _moments(self) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, "feature feature"]]:
        what = f"the second moments of {self.n:,} features"
        check_memory(f"FeatureDistribution(n={self.n})", what, 24 * self.n**2, "fewer features fit")
        mean = np.concatenate([each.first_moment() for each in self.sets])
        moment = np.outer(mean, mean)
        end = 0
        for each in self.sets:
            start, end = end, end + each.features
            moment[start:end, start:end] = each.second_moment()
        return mean, moment

    def covariance(self) -> Float[np.ndarray, "feature feature"]:
        """E[x_i x_j] − E[x_i] E[x_j], exact; zero between sets."""
        mean = self.first_moment()
        return self.second_moment() - np.outer(mean, mean)

    def sample(self, key: Key, batch: int | np.integer) -> Any:
        """Draw samples (batch, n).

        Args:
            key: an int or a sequence of ints for a NumPy array in float64, or a JAX random key for a JAX
                array. The same key gives the same samples; 7 and [7] are one key, [7, 0] is another.
            batch: how many, at least 1.

        Raises:
            ValueError: `batch` is not a positive int, or `key` is none of these.

        """
        if not isinstance(batch, int | np.integer) or isinstance(batch, bool) or batch < 1:
            raise ValueError(f"sample(batch={batch!r}): batch must be an int of at least 1")
        uniforms = _uniforms(key)
        what = f"samples of {self.n:,} features"
        check_memory(f"sample(batch={batch})", what, 32 * int(batch) * self.n, "a smaller batch fits")
        parts = [_drawn(each, uniforms, int(batch)) for each in self.sets]
        return parts[0].__array_namespace__().concat(parts, axis=1)


def _sets(item: Any, room: int) -> list[FeatureSet]:
    """A set, or the dictionary that describes one (as read from TOML or JSON), `copies` of it; `room` for so many."""
    if isinstance(item, FeatureSet):
        if room < 1:
            raise broken((), item, f"must be one of at most {MOST_SETS:,} sets")
        return [item]
    if not isinstance(item, Mapping):
        raise broken((), item, "must be a feature set, or a table that describes one")
    copies = item.get("copies", 1)
    if not isinstance(copies, int) or isinstance(copies, bool) or copies < 1:
        raise broken("copies", copies, "must be an int of at least 1")
    if copies > room:
        raise broken("copies", copies, f"must be so few that there are at most {MOST_SETS:,} sets in all")
    values = {key: value for key, value in item.items() if key != "copies"}
    return [of_kind(FeatureSet.kinds, values)] * copies


_DRAWN_AT_ONCE = 2**22
"""The most numbers that are drawn in one call of NumPy, which nothing can stop."""


def _drawn(each: FeatureSet, uniforms: Uniforms, batch: int) -> Any:
    """`each.draw(uniforms, batch)`, by NumPy a piece of the batch after the other."""
    rows = max(_DRAWN_AT_ONCE // each.features, 1)
    if batch <= rows or not isinstance(generator := getattr(uniforms, "__self__", None), np.random.Generator):
        return each.draw(uniforms, batch)
    shapes: list[tuple[int, ...]] = []

    def note(shape: tuple[int, ...]) -> Any:
        shapes.append(shape)
        return np.full(shape, 0.5)

    each.draw(note, 1)
    if any(shape[:1] != (1,) for shape in shapes):  # Its uniforms do not belong to one sample each.
        return each.draw(uniforms, batch)
    pieces = [slice(start, min(start + rows, batch)) for start in range(0, batch, rows)]
    numbers = [np.empty((batch, *shape[1:])) for shape in shapes]
    for array in numbers:
        # A generator goes row by row: pieces have the bits of the whole.
        for piece in pieces:
            generator.random(out=array[piece])

    def drawn(piece: slice) -> Any:
        remaining = iter(numbers)
        return each.draw(lambda _: next(remaining)[piece], piece.stop - piece.start)

    return np.concatenate([drawn(piece) for piece in pieces])


def _uniforms(key: Key) -> Uniforms:
    if isinstance(key, int | np.integer | Sequence):
        numbers = list(key) if isinstance(key, Sequence) else [key]
        if not numbers or not all(map(_is_key_number, numbers)):
            raise ValueError(f"sample(key={key!r}): {_KEY_RULE}")
        return np.random.Generator(np.random.Philox(_seed([int(number) for number in numbers]))).random
    check()
    import jax

    if not isinstance(key, jax.Array):
        raise ValueError(f"sample(key={key!r}): {_KEY_RULE}")
    state = key

    def draw(shape: tuple[int, ...]) -> Any:
        nonlocal state
        state, use = jax.random.split(state)
        return jax.random.uniform(use, shape)

    return draw


_KEY_RULE = "key must be an int of at least 0, a list of such ints, or a JAX random key"


def _is_key_number(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) >= 0


def _seed(numbers: list[int]) -> np.random.SeedSequence:
    """A seed of its own for every list of numbers.

    SeedSequence cuts its numbers into 32-bit words and pads them with zeros, so that 7 and [7, 0], or 2**32
    and [0, 1], would be one seed: lengths are therefore part of what it is given.
    """
    words = [len(numbers)]
    for number in numbers:
        count = max(1, -(-number.bit_length() // 32))
        words += [count, *((number >> 32 * i) % 2**32 for i in range(count))]
    return np.random.SeedSequence(words)
