"""Feature distributions: independent sets of features, one after another (see `sets` for their kinds)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import field_validator, model_serializer, model_validator

from tegum.core.description import Description, at, broken, of_kind
from tegum.core.features.activity import ExactlyK
from tegum.core.features.copula import Copula
from tegum.core.features.empirical import Empirical
from tegum.core.features.hierarchy import Hierarchy
from tegum.core.features.magnitudes import UNIT_RANGE, UniformMagnitude
from tegum.core.features.sets import FeatureSet, GatedSet, mixture_of
from tegum.core.features.tables import MixtureTable
from tegum.core.jax_setup import check
from tegum.core.limits import check_memory
from tegum.core.plugins import entry_points
from tegum.core.reprs import html_table

if TYPE_CHECKING:
    from typing import TypeAlias

    from tegum.core.features.sets import Uniforms

    Key: TypeAlias = int | Sequence[int] | Any
    """An int or a sequence of ints (NumPy), or a JAX random key (JAX)."""

_KINDS = (Hierarchy, ExactlyK, Copula, Empirical)
"""Kinds in modules of their own, imported so that files can name them."""

GROUP = "tegum.sets"
"""The group of entry points by which packages declare kinds of their own: the name is the kind, the value its class."""

MOST_SETS = 1_000_000
"""The most sets in a distribution, since each is described and copied separately. A single set may have more features.
"""

ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""The fraction of a feature's second moment up to which its variance is rounding."""


def centred(second: Float[np.ndarray, "feature feature"], mean: Float[np.ndarray, " feature"]) -> np.ndarray:
    """The covariance of features with these moments; that of a feature which does not vary is exactly 0.

    Rounding would leave it a variance of the order of 1e-17, of either sign.
    """
    covariance = second - np.outer(mean, mean)
    fixed = covariance.diagonal() <= ROUNDING * second.diagonal()
    covariance[fixed], covariance[:, fixed] = 0.0, 0.0
    return covariance


class FeatureDistribution(Description):
    """The distribution of the feature vector x: independent sets of features, placed one after another.

    Features are numbered through the sets in order. Values lie in [0, 1], except those of an `Empirical` set and of
    sets with a `magnitude` of another law, which may exceed 1. The JSON form (`to_json`) is the list of sets; in JSON
    and TOML an entry may carry `copies = k` to stand for k equal sets.

    Raises:
        ValueError: `sets` is not a list of feature sets (or of tables that describe them), or it is empty.

    Example:
        Three pairs of correlated features. The members of a pair are active together, so E[x₀ x₁] = p/4; across
        pairs it is p²/4; and E[x₀²] = p/3, for magnitudes uniform on [0, 1].

        >>> import tegum as tg
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.12)] * 3)
        >>> pairs.n
        6
        >>> pairs.second_moment()[0, :3].round(4).tolist()
        [0.04, 0.03, 0.0036]

    """

    positional: ClassVar[tuple[str, ...]] = ("sets",)
    unnamed: ClassVar[str | None] = "sets"
    sets: tuple[FeatureSet, ...]
    """The independent sets of features, at least one; features are numbered through them in this order."""

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

    def __repr__(self) -> str:
        # Equal sets that follow one another are counted: [Correlated(size=2, density=0.1)] * 3.
        parts: list[str] = []
        alone: list[str] = []
        for one, count in self._counted():
            if count == 1:
                alone.append(repr(one))
                continue
            parts += [f"[{', '.join(alone)}]"] * bool(alone)
            parts.append(f"[{one!r}] * {count}")
            alone = []
        parts += [f"[{', '.join(alone)}]"] * bool(alone)
        return f"{type(self).__name__}({' + '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = [
            (f"{count} × {type(one).__name__}", ", ".join(f"{name}={value!r}" for name, value in one.__repr_args__()))
            for one, count in self._counted()
        ]
        return html_table(f"{type(self).__name__}: {self.n} features", rows)

    def _counted(self) -> list[tuple[FeatureSet, int]]:
        """Sets that follow one another and are equal, with their number."""
        return [(one, sum(1 for _ in equal)) for one, equal in itertools.groupby(self.sets)]

    @cached_property
    def _runs_of_equal(self) -> list[tuple[FeatureSet, int]]:
        # Kept, since comparing many sets takes longer than drawing a small batch of them.
        return self._counted()

    @classmethod
    def inner_keys(cls) -> set[str]:
        """The keys of every kind of set, for suggestions after a misspelt key."""
        return {key for kind in FeatureSet.kinds.values() for key in kind.model_fields}

    @model_serializer(mode="plain")
    def _as_list(self) -> list[dict[str, Any]]:
        return [each.model_dump() for each in self.sets]

    def to_json(self) -> list[dict[str, Any]]:
        """Describe the distribution as lists and dictionaries that JSON can hold.

        Returns:
            One dictionary per set; `FeatureDistribution` of that list is equal to this distribution.

        """
        return self.model_dump(mode="json")  # pyright: ignore[reportReturnType]

    @cached_property
    def n(self) -> int:
        """The number of features."""
        return sum(each.features for each in self.sets)

    @cached_property
    def gated(self) -> bool:
        """Whether every set has a mixture table, which the compiled training kernel requires."""
        return all(each.gated for each in self.sets)

    def tables(self) -> Iterator[MixtureTable]:
        """Iterate over the sets' mixture tables.

        Returns:
            An iterator over one `MixtureTable` per set.

        Raises:
            ValueError: a set is not a mixture of independent gates (`Equivariant`, `Empirical`), its table would be too
                large, or its magnitudes are not uniform on [0, 1], which is what a table stands for.

        """
        yield from self._tables

    @cached_property
    def _tables(self) -> tuple[MixtureTable, ...]:
        tables = []
        for each in self.sets:
            if (table := mixture_of(each)) is None:
                rule = f"this set has no mixture table, as {each.ungated_because}"
                raise ValueError(f"{each!r}: {rule}; use samples of it")
            if isinstance(each, GatedSet) and each.magnitude != UNIT_RANGE:
                raise ValueError(f"{each!r}: a mixture table stands for magnitudes that are uniform on [0, 1]")
            tables.append(table)
        return tuple(tables)

    def rescaled(self, call: str) -> tuple[FeatureDistribution, float]:
        """Take magnitudes that are uniform on [0, h] in units of h, for the loss of a ReLU in expectation.

        With x = h x', a model (W, b) makes of x what (W, b/h) makes of x', times h: its loss is h² times the latter's.

        Args:
            call: what the error begins with, as a template: `{}` stands for what is wrong.

        Returns:
            These features with magnitudes uniform on [0, 1], for which that loss has a series, and h.

        Raises:
            ValueError: a set is no mixture of gates and has no other characteristic function, or magnitudes are not
                uniform on [0, h] with one h for all sets.

        """
        if (opaque := self._opaque) is not None:
            raise ValueError(
                f"{call.format(f'features=[…, {opaque!r}, …]')}: there is no series of the ReLU's population loss with "
                f"this set, as {opaque.ungated_because}; train with Sampled, and use empirical_loss on samples"
            )
        if self._of_another_law is None:
            return self, 1.0
        if self._in_units is None:
            odd = self._of_another_law
            raise ValueError(
                f"{call.format(f'features=[…, {odd!r}, …]')}: magnitudes must be uniform on [0, high], with one high "
                f"for all sets, for the population loss of a ReLU, as {odd.magnitude.no_series}; train with Sampled, "
                "and use empirical_loss on samples"
            )
        return self._in_units

    @cached_property
    def _opaque(self) -> FeatureSet | None:
        """The first set without a characteristic function, whatever its magnitudes are."""
        for each in dict.fromkeys(self.sets):
            other = isinstance(each, GatedSet) and each.magnitude != UNIT_RANGE
            if (each.replace(magnitude=UNIT_RANGE) if other else each).transform() is None:
                return each
        return None

    @cached_property
    def _of_another_law(self) -> GatedSet | None:
        """The first set whose magnitudes are not uniform on [0, 1]."""
        gated = (each for each in self.sets if isinstance(each, GatedSet))
        return next((each for each in gated if each.magnitude != UNIT_RANGE), None)

    @cached_property
    def _in_units(self) -> tuple[FeatureDistribution, float] | None:
        """What `rescaled` returns, or None where it refuses."""
        laws = {each.magnitude if isinstance(each, GatedSet) else UNIT_RANGE for each in self.sets}
        law = laws.pop()
        if laws or type(law) is not UniformMagnitude or law.low > 0:
            return None
        return FeatureDistribution([each.replace(magnitude=UNIT_RANGE) for each in self.sets]), law.high

    @property
    def set_of_feature(self) -> Int[np.ndarray, " feature"]:
        """For each feature, the number of its set, counted from 0; shape (n,)."""
        return np.repeat(np.arange(len(self.sets)), [each.features for each in self.sets])

    @property
    def kind_of_feature(self) -> list[str]:
        """For each feature, the kind of its set as files name it, such as "correlated"."""
        return [each.kind for each in self.sets for _ in range(each.features)]

    @property
    def density(self) -> Float[np.ndarray, " feature"]:
        """The probability that each feature is active; shape (n,)."""
        return np.concatenate([each.active() for each in self.sets])

    @property
    def importance(self) -> Float[np.ndarray, " feature"]:
        """The weight of each feature's squared error in the loss; shape (n,)."""
        return np.concatenate([each.importances for each in self.sets])

    def first_moment(self) -> Float[np.ndarray, " feature"]:
        """The exact mean of each feature.

        Returns:
            E[x_i], shape (n,).

        Raises:
            ValueError: the second moments, which are computed alongside, do not fit in memory.

        """
        return self._moments[0].copy()

    def second_moment(self) -> Float[np.ndarray, "feature feature"]:
        """The exact second moments of all pairs of features.

        Returns:
            E[x_i x_j], shape (n, n).

        Raises:
            ValueError: the matrix does not fit in memory.

        """
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
        """The exact covariance of all pairs of features; features of different sets are uncorrelated.

        Returns:
            E[x_i x_j] − E[x_i] E[x_j], shape (n, n).

        Raises:
            ValueError: the matrix does not fit in memory.

        """
        return centred(self.second_moment(), self.first_moment())

    def sample(self, key: Key, batch: int | np.integer) -> Any:
        """Draw samples of the feature vector.

        Args:
            key: an int or a sequence of ints, for NumPy samples in float64, or a JAX random key, for a JAX array.
                The same key always gives the same samples; 7 and [7] are the same key, [7, 0] is another one.
            batch: the number of samples, at least 1.

        Returns:
            Samples, shape (batch, n).

        Raises:
            ValueError: `batch` is not a positive int, `key` is none of these, or the samples do not fit in memory.

        """
        if not isinstance(batch, int | np.integer) or isinstance(batch, bool) or batch < 1:
            raise ValueError(f"sample(batch={batch!r}): batch must be an int of at least 1")
        uniforms = _uniforms(key)
        what = f"samples of {self.n:,} features"
        check_memory(f"sample(batch={batch})", what, 32 * int(batch) * self.n, "a smaller batch fits")
        if not isinstance(generator := getattr(uniforms, "__self__", None), np.random.Generator):
            parts = [each.draw(uniforms, int(batch)) for each in self.sets]
            return parts[0].__array_namespace__().concat(parts, axis=1)
        x, end = np.empty((int(batch), self.n)), 0
        for each, count in self._runs_of_equal:
            start, end = end, end + count * each.features
            _draw_into(x[:, start:end], each, count, generator)
        return x


def _sets(item: Any, most: int) -> list[FeatureSet]:
    """A set, or `copies` of the set that a dictionary (as read from TOML or JSON) describes; `most` of them at most."""
    if isinstance(item, FeatureSet):
        if most < 1:
            raise broken((), item, f"must be one of at most {MOST_SETS:,} sets")
        return [item]
    if not isinstance(item, Mapping):
        raise broken((), item, "must be a feature set, or a table that describes one")
    copies = item.get("copies", 1)
    if not isinstance(copies, int) or isinstance(copies, bool) or copies < 1:
        raise broken("copies", copies, "must be an int of at least 1")
    if copies > most:
        raise broken("copies", copies, f"must leave at most {MOST_SETS:,} sets in all")
    values = {key: value for key, value in item.items() if key != "copies"}
    if isinstance(kind := values.get("kind"), str) and kind not in FeatureSet.kinds:
        _load(kind)
    return [of_kind(FeatureSet.kinds, values)] * copies


def _load(kind: str) -> None:
    """Import what a package declares for a kind of set, if one does."""
    for point in entry_points(GROUP):
        if point.name == kind:
            try:
                point.load()
            except Exception as error:
                why = " ".join(f"{type(error).__name__}: {error}".split())
                raise broken("kind", kind, f"must be importable; {point.value} is not: {why}") from error


_DRAWN_AT_ONCE = 2**15
"""About how many values are drawn at once with NumPy. With fewer, its calls cost as much as the numbers. More would
leave the processor's cache, and take memory from the system and give it back in every call, which costs more than
drawing them; and a call cannot be interrupted."""


def _draw_into(x: np.ndarray, each: FeatureSet, count: int, generator: np.random.Generator) -> None:
    """Fill x (batch, count · size) with equal sets, side by side: bit-identical to drawing them whole, one by one."""
    batch, size = len(x), each.features
    rows = max(_DRAWN_AT_ONCE // size, 1)
    shapes = _uniforms_of_a_sample(each) if count > 1 or batch > rows else None
    # As many sets together as are drawn at once.
    width = size if shapes is None or batch > rows else max(_DRAWN_AT_ONCE // (batch * size), 1) * size
    for first in range(0, count * size, width):
        part = x[:, first : first + width]
        if shapes is None:
            part[:] = each.draw(generator.random, batch)
        elif batch > rows:
            _draw_in_pieces(part, each, shapes, generator, rows)
        else:
            _draw_side_by_side(part, each, shapes, generator)


def _uniforms_of_a_sample(each: FeatureSet) -> list[tuple[int, ...]] | None:
    """The shapes of what a set draws for one sample, call by call; None if it does not draw a row for each sample."""
    shapes: list[tuple[int, ...]] = []

    def note(shape: tuple[int, ...]) -> Any:
        shapes.append(shape)
        return np.full(shape, 0.5)

    each.draw(note, 2)
    return [shape[1:] for shape in shapes] if shapes and all(shape[:1] == (2,) for shape in shapes) else None


def _draw_in_pieces(
    x: np.ndarray, each: FeatureSet, shapes: list[tuple[int, ...]], generator: np.random.Generator, rows: int
) -> None:
    """Fill x (batch, size) with one set, a few rows at a time."""
    pieces = [x[start : start + rows] for start in range(0, len(x), rows)]
    # A generator fills row by row; but what the set draws first it draws for all samples first.
    *before, last = shapes
    drawn = [[generator.random((len(piece), *shape)) for piece in pieces] for shape in before]
    for number, piece in enumerate(pieces):
        numbers = [*(every[number] for every in drawn), generator.random((len(piece), *last))]
        piece[:] = each.draw(_one_by_one(numbers), len(piece))


def _draw_side_by_side(
    x: np.ndarray, each: FeatureSet, shapes: list[tuple[int, ...]], generator: np.random.Generator
) -> None:
    """Fill x (batch, count · size) with equal sets, drawn as one set of so many times more samples."""
    batch, count = len(x), x.shape[1] // each.features
    ends = list(itertools.accumulate((batch * math.prod(shape) for shape in shapes), initial=0))
    # All numbers of the first set come before those of the second.
    drawn = generator.random((count, ends[-1]))
    numbers = [
        drawn[:, start:end].reshape(count * batch, *shape)
        for shape, (start, end) in zip(shapes, itertools.pairwise(ends), strict=True)
    ]
    samples = np.ascontiguousarray(each.draw(_one_by_one(numbers), count * batch), x.dtype)
    # A set's values in one piece: NumPy copies short rows number by number.
    row = np.dtype((np.void, each.features * x.itemsize))
    x.view(row)[:] = samples.view(row).reshape(count, batch).T


def _one_by_one(numbers: Sequence[Any]) -> Uniforms:
    """Hand out numbers that are drawn already."""
    remaining = iter(numbers)
    return lambda _: next(remaining)


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
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        # JAX's own uniforms are multiples of 2⁻²³: of the values below a density of 1e-6 there would be eight.
        high, low = jax.random.bits(use, (2, *shape), np.uint32).astype(dtype)
        return jax.numpy.minimum(high * 2.0**-32 + low * 2.0**-64, np.nextafter(dtype.type(1), dtype.type(0)))

    return draw


_KEY_RULE = "key must be an int of at least 0, a list of such ints, or a JAX random key"


def _is_key_number(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) >= 0


def _seed(numbers: list[int]) -> np.random.SeedSequence:
    """A distinct seed for every list of numbers.

    SeedSequence cuts its numbers into 32-bit words and pads them with zeros, so that 7 and [7, 0], or 2**32
    and [0, 1], would be one seed: it is therefore given the lengths, too.
    """
    words = [len(numbers)]
    for number in numbers:
        count = max(1, -(-number.bit_length() // 32))
        words += [count, *((number >> 32 * i) % 2**32 for i in range(count))]
    return np.random.SeedSequence(words)
