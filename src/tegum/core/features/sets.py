"""Kinds of feature set.

Every *gated* kind compiles itself to a `MixtureTable`: components of weight `w_c` in which the features of the set are
independent with densities `q_ci`, and has a law of magnitude (`magnitudes`), by default uniform on [0, 1]. Samplers,
moments and training kernels know only these two, so that a new gated kind is one class here. A kind that is not such a
mixture derives from `FeatureSet`
itself and provides its own moments, its own `draw` and its own characteristic function. A kind made of data hands the
data out as its `arrays`, and compiled programs depend only on their shapes (`traced`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, PlainValidator, field_validator, model_serializer, model_validator

from tegum.core.arguments import is_integer
from tegum.core.description import Description, Positive, broken, plain, short
from tegum.core.features.magnitudes import UNIT_RANGE, Magnitude
from tegum.core.features.tables import MixtureTable, RayTable, checked
from tegum.core.limits import check_memory

if TYPE_CHECKING:
    from typing import TypeAlias

    Uniforms: TypeAlias = Callable[[tuple[int, ...]], Any]
    """A function that draws fresh uniforms on [0, 1) of a given shape, as NumPy or JAX arrays."""

    Numbers: TypeAlias = float | Sequence[float] | np.ndarray
    """One number for every feature of a set, or one for each."""


def numbers_per_feature(value: Any) -> Any:
    """Convert to a Python number or a tuple of them, as descriptions must be hashable and JSON-able."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    several = isinstance(value, list | tuple)
    values = value if several else [value]
    items = [plain(item) for item in values]
    if not items or not all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        raise ValueError("must be a number, or a list of one number for each feature of the set")
    try:
        return tuple(map(float, items)) if several else float(items[0])
    except OverflowError:
        raise ValueError("must be small enough for a float") from None


PerFeature = Annotated[float | tuple[float, ...], PlainValidator(numbers_per_feature)]
"""A number for every feature of the set, or one for each."""


def one_gate(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    """Refuse several densities for a set whose features have one gate; a validator."""
    if isinstance(value, tuple):
        raise ValueError("must be one number: the features of the set have one gate")
    return value


class FeatureSet(Description, abc.ABC):
    """The base of all kinds of feature set: features that are independent of every other set.

    `density` is a probability in (0, 1] and `importance` a weight of the squared error, at least 0. Each is one
    number, or one number per feature of the set. A new kind is a subclass with a `kind` of its own, by which files
    and the command line name it, its number of `features`, the moments and `draw`.

    Raises:
        ValueError: a density lies outside (0, 1], an importance is neither 0 nor between 1e-30 and 1e30, or a
            sequence has another length than the set.

    Example:
        >>> import tegum as tg
        >>> tg.FeatureSet.kinds["anticorrelated"](size=4, density=0.2).active().round(6).tolist()
        [0.05, 0.05, 0.05, 0.05]

    """

    kinds: ClassVar[dict[str, type[FeatureSet]]] = {}
    """Every concrete kind of set, by the name that files use for it; filled as classes are defined."""
    kind: ClassVar[str]

    density: PerFeature
    """The probability of the set's gate, in (0, 1], one number or one per feature; the kind says what it does."""
    importance: PerFeature = 1.0
    """The weight of each feature's squared error in the loss, at least 0; one number or one per feature."""

    def __init_subclass__(cls, kind: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind is not None:
            cls.kind = kind
            FeatureSet.kinds[kind] = cls

    @field_validator("density", check_fields=False)  # a kind made of data has no such field
    @classmethod
    def _density_is_a_probability(cls, value: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if not all(0 < p <= 1 for p in np.atleast_1d(value)):
            raise ValueError("must lie in (0, 1]")
        return value

    @field_validator("importance")
    @classmethod
    def _importance_is_a_weight(cls, value: float | tuple[float, ...]) -> float | tuple[float, ...]:
        # Training computes in float32, which must hold these weights.
        if not all(weight == 0 or 1e-30 <= weight <= 1e30 for weight in np.atleast_1d(value)):
            raise ValueError("must be 0, or lie between 1e-30 and 1e30")
        return value

    @model_validator(mode="after")
    def _is_a_kind(self) -> FeatureSet:
        name = type(self).__name__
        if not hasattr(type(self), "kind"):
            raise ValueError(f'must be of a kind with a name, as in class {name}(…, kind="my-kind")')
        if not is_integer(self.features) or self.features < 1:
            raise ValueError(f"must have features, an int of at least 1, and they are {short(self.features)}")
        return self

    @model_validator(mode="after")
    def _one_value_for_each_feature(self) -> FeatureSet:
        for name in ("density", "importance"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.features:
                raise broken(name, value, f"must be one number or {self.features}, one for each feature of the set")
        return self

    @model_serializer(mode="wrap")
    def _with_kind(self, fields: Any) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """The number of features in the set."""

    @property
    def gated(self) -> bool:
        """Whether the set is a mixture of independent gates and has its table, which compiled kernels require."""
        return False

    @property
    def ungated_because(self) -> str:
        """Why the set has no mixture table, as a clause for sentences that refuse it."""
        return f"the kind {self.kind!r} is no mixture of independent gates"

    @property
    def table_size(self) -> int:
        """An upper bound on the numbers in the set's table, known without building it."""
        return self.features * (self.features + 2)

    def _check_memory(self, what: str, numbers: int) -> None:
        check_memory(repr(self), f"{what} of {self.features:,} features", 8 * numbers, "a smaller set fits")

    @property
    def densities(self) -> Float[np.ndarray, " size"]:
        """`density` spelt out for each feature; shape (size,)."""
        self._check_memory("the density of each", 2 * self.features)
        return np.array(np.broadcast_to(np.asarray(self.density, dtype=np.float64), self.features))

    @property
    def importances(self) -> Float[np.ndarray, " size"]:
        """`importance` spelt out for each feature; shape (size,)."""
        self._check_memory("the importance of each", 2 * self.features)
        return np.array(np.broadcast_to(np.asarray(self.importance, dtype=np.float64), self.features))

    @property
    def largest(self) -> float:
        """The largest value that a feature of the set can have, 1 unless the kind says otherwise."""
        return 1.0

    @abc.abstractmethod
    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active.

        Returns:
            Probabilities, shape (size,).

        """

    @abc.abstractmethod
    def first_moment(self) -> Float[np.ndarray, " size"]:
        """The mean of each feature.

        Returns:
            E[x_i], shape (size,).

        """

    @abc.abstractmethod
    def second_moment(self) -> Float[np.ndarray, "size size"]:
        """The second moments of all pairs of features.

        Returns:
            E[x_i x_j], shape (size, size).

        """

    @abc.abstractmethod
    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw samples of the set.

        Args:
            uniforms: a function that returns fresh uniform numbers on [0, 1) of a given shape, as NumPy or JAX
                arrays.
            batch: the number of samples.

        Returns:
            Samples, shape (batch, size), an array of the kind that `uniforms` returns.

        """

    def arrays(self) -> Any:
        """What `draw_from` needs besides the description.

        Returns:
            A tree of arrays; empty for all kinds but those made of data.

        """
        return ()

    def traced(self) -> Any:
        """What compiled programs are specialised to; they draw by its `features` and its `draw_from`.

        Returns:
            The set itself, or for sets made of data an object that knows only their shapes.

        """
        return self

    def draw_from(self, arrays: Any, uniforms: Uniforms, batch: int) -> Any:  # noqa: ARG002 (for kinds made of data)
        """Draw samples as `draw` does, from what `arrays` returned.

        Args:
            arrays: the arrays of this set.
            uniforms: as in `draw`.
            batch: the number of samples.

        Returns:
            Samples, shape (batch, size).

        """
        return self.draw(uniforms, batch)

    def transform(self) -> MixtureTable | RayTable | None:
        """The ingredients of the characteristic function, in one of the forms of `tegum.core.features.characteristic`.

        Returns:
            A table, or None if there is no such form: the set can then be sampled, but has no population loss.

        """
        return None

    def coarse_transform(self) -> MixtureTable | RayTable | None:
        """As `transform`, with half the nodes if there is a quadrature; the difference measures its error.

        Returns:
            A table, or None.

        """
        return self.transform()

    def characteristic(self, s: Float[np.ndarray, "*batch size"]) -> Any:
        """The characteristic function of the set, F(s) = E exp(i Σ_i s_i x_i).

        Args:
            s: frequencies, shape (..., size); the last axis runs over the features.

        Returns:
            F(s), complex128, shape (...).

        Raises:
            ValueError: the set has no characteristic function in closed form or by quadrature.

        """
        table = self.transform()
        if table is None:
            rule = f"this set has no characteristic function, as {self.ungated_because}"
            raise ValueError(f"{self!r}: {rule}; use samples of it")
        from tegum.core.features.characteristic import characteristic

        return characteristic(table, s)


class GatedSet(FeatureSet):
    """The base of sets that are finite mixtures of independent gates, with magnitudes of one law.

    A new kind of this sort is one class with a `table`: moments, samples, the population loss and the compiled
    training kernel all follow from it.

    Example:
        Two features of which exactly one is active at any time: E[x₀ x₁] = 0, and E[x_i²] = ½ · ⅓.

        >>> import tegum as tg
        >>> import numpy as np
        >>> class Either(tg.GatedSet, kind="either"):
        ...     @property
        ...     def features(self):
        ...         return 2
        ...
        ...     def table(self):
        ...         return tg.MixtureTable(weights=np.array([0.5, 0.5]), gates=np.eye(2))
        >>> Either(density=0.5).second_moment().round(4).tolist()
        [[0.1667, 0.0], [0.0, 0.1667]]

    """

    magnitude: Magnitude = UNIT_RANGE
    """The law of the magnitude of active features, by default uniform on [0, 1]."""

    @field_validator("magnitude", mode="before")
    @classmethod
    def _law(cls, value: Any) -> Magnitude:
        return Magnitude.of(value)

    @model_serializer(mode="wrap")
    def _with_kind(self, fields: Any) -> dict[str, Any]:
        values = {"kind": self.kind, **fields(self)}
        values.pop("magnitude", None)
        # Without the default, descriptions are what they were before there were other laws, and so are their digests.
        return values if self.magnitude == UNIT_RANGE else values | {"magnitude": self.magnitude.model_dump()}

    @property
    def gated(self) -> bool:
        """Whether the set has its table: always, but for kinds whose table may be too large."""
        return True

    @abc.abstractmethod
    def table(self) -> MixtureTable:
        """Write the set as a mixture.

        Returns:
            Components with their probabilities, and the features' densities within each.

        """

    @cached_property
    def mixture(self) -> MixtureTable:
        """The set's `table`, computed once and checked; its arrays are read-only.

        Raises:
            ValueError: the table of a kind that is not tegum's own is no mixture of gates.

        """
        table = checked(self.table(), self.features, f"{type(self).__name__}.table()")
        for array in table:
            array.flags.writeable = False  # all callers share it
        return table

    @property
    def largest(self) -> float:
        """The largest value that a feature can have: that of its magnitude, perhaps infinite."""
        return self.magnitude.support[1]

    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active, Σ_c w_c q_ci."""
        weights, gates = self.mixture
        return weights @ gates

    def first_moment(self) -> Float[np.ndarray, " size"]:
        """The mean of each feature, E[a] Σ_c w_c q_ci; E[a] = ½ for magnitudes uniform on [0, 1]."""
        return self.magnitude.moments(self.active())[0]

    def second_moment(self) -> Float[np.ndarray, "size size"]:
        """The second moments: E[a]² P(i and j active) for i ≠ j, and E[x_i²] = E[a²] P(i active)."""
        self._check_memory("the second moments", 2 * self.features**2)
        mean, _ = self.magnitude.moments()
        moment = self._together() * mean**2
        np.fill_diagonal(moment, self.magnitude.moments(self.active())[1])
        return moment

    def _together(self) -> Float[np.ndarray, "size size"]:
        """The probability that two features are both active, Σ_c w_c q_ci q_cj; what the diagonal has is not used."""
        weights, gates = self.mixture
        return (gates.T * weights) @ gates

    def transform(self) -> MixtureTable | None:
        """The table itself, as F(s) = Σ_c w_c Π_i (1 − q_ci + q_ci u(s_i)) with u(s) = (e^{is} − 1)/(is).

        Returns:
            The table; None if magnitudes are not uniform on [0, 1], for which alone F has this form, or if it would be
            too large.

        """
        return self.mixture if self.gated and self.magnitude == UNIT_RANGE else None

    def characteristic(self, s: Float[np.ndarray, "*batch size"]) -> Any:
        """The characteristic function of the set, F(s) = Σ_c w_c Π_i (1 − q_ci + q_ci E exp(i s_i a)).

        Args:
            s: frequencies, shape (..., size); the last axis runs over the features.

        Returns:
            F(s), complex128, shape (...).

        Raises:
            ValueError: the set's table would be too large, or the law of the magnitude has no characteristic function
                in closed form.

        """
        from tegum.core.features.characteristic import characteristic

        return characteristic(self.mixture, s, self.magnitude.characteristic(np.asarray(s, np.float64)))

    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw a component, and then a gate and a magnitude for each feature.

        One uniform number u serves as gate and magnitude: given u < q, u/q is uniform on [0, 1].
        """
        weights, gates = self.mixture
        u = uniforms((batch, self.features))
        xp = u.__array_namespace__()
        gates = xp.asarray(gates, dtype=u.dtype)
        if len(weights) > 1:
            upper = xp.asarray(np.cumsum(weights)[:-1], dtype=u.dtype)
            v = uniforms((batch, 1))
            component = _number_reached(v[:, 0], upper) if isinstance(v, np.ndarray) else (v >= upper).sum(-1)
            gates = xp.take(gates, component, axis=0)
        return placed(self.magnitude, u < gates, u, gates)


_FEW = 8
"""At most so many bounds are compared with one by one; a search costs more."""


def _number_reached(v: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """How many of these rising bounds each number has reached; NumPy is slow at sums over a short last axis."""
    if len(upper) > _FEW:
        return np.searchsorted(upper, v, side="right")
    reached = np.zeros(v.shape, np.intp)
    for each in upper:
        reached += v >= each
    return reached


def placed(law: Magnitude, active: Any, u: Any, gates: Any = None) -> Any:
    """Samples in which these features are active: magnitudes of a law, and 0 elsewhere.

    Args:
        law: the law.
        active: which features are active, booleans (batch, size).
        u: uniforms on [0, 1), (batch, size), where `gates` is None, and else uniforms below the gates where active.
        gates: the gate of each feature, (batch, size), or (1, size) for all samples.

    Returns:
        Samples, shape (batch, size).

    """
    if not isinstance(u, np.ndarray):
        xp = u.__array_namespace__()
        return xp.where(active, law.drawn(u if gates is None else u / xp.where(gates > 0, gates, 1)), 0)
    # Only where features are active, and most are not.
    there = np.flatnonzero(active)
    chosen = np.take(u, there)
    if gates is not None:
        chosen /= np.take(gates, there % gates.size if len(gates) == 1 else there)
    x = np.zeros(u.shape, u.dtype)
    np.put(x, there, law.drawn(chosen))
    return x


def mixture_of(given: FeatureSet) -> MixtureTable | None:
    """The mixture table of a set, whatever the law of its magnitudes; None if it has none."""
    return given.mixture if isinstance(given, GatedSet) and given.gated else None


Size = Annotated[int, Field(ge=1, strict=True)]


class Independent(GatedSet, kind="independent"):
    """Features that are active independently of one another; magnitudes are uniform on [0, 1] by default.

    The features of Elhage et al. 2022, section "Demonstrating Superposition"; their sparsity S is 1 − density.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> features = tg.Independent(count=3, density=0.3)
        >>> features.first_moment().round(6).tolist()
        [0.15, 0.15, 0.15]
        >>> features.second_moment()[0].round(6).tolist()
        [0.1, 0.0225, 0.0225]

    """

    positional: ClassVar[tuple[str, ...]] = ("count", "density", "importance")
    count: Size
    """The number of features in the set."""

    if TYPE_CHECKING:

        def __init__(
            self, count: int, density: Numbers, importance: Numbers = 1.0, *, magnitude: Magnitude = ...
        ) -> None: ...

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return self.count

    @property
    def table_size(self) -> int:
        """The numbers in the set's table: one per feature."""
        return self.count

    def table(self) -> MixtureTable:
        """Write the set as a single component with the features' own densities."""
        return MixtureTable(np.ones(1), self.densities[None])


class _SizedSet(GatedSet):
    """A gated set whose number of features is called `size`."""

    positional: ClassVar[tuple[str, ...]] = ("size", "density", "importance")
    size: Size
    """The number of features in the set."""

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return self.size

    def _check_table(self) -> None:
        self._check_memory("the table", 3 * self.table_size)


class _NestedSet(_SizedSet):
    """A gated set whose table has one component for each distinct density."""

    @property
    def table_size(self) -> int:
        """An upper bound on the numbers in the set's table: components times features."""
        levels = len(set(self.density)) if isinstance(self.density, tuple) else 1
        return (levels + 2) * self.size


class Correlated(_NestedSet, kind="correlated"):
    """Features that share one gate: all are active together, or none; their magnitudes are independent.

    As in Elhage et al. 2022, "Correlated and Anticorrelated Features". With unequal densities the features share one
    uniform number and feature i is active where it falls below `density[i]`: the strongest correlation that such
    densities allow.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        Both are active in a share p of the samples, so that E[x₀ x₁] = p/4, while E[x₀²] = p/3.

        >>> import tegum as tg
        >>> tg.Correlated(size=2, density=0.36).second_moment().round(6).tolist()
        [[0.12, 0.09], [0.09, 0.12]]

    """

    if TYPE_CHECKING:

        def __init__(
            self, size: int, density: Numbers, importance: Numbers = 1.0, *, magnitude: Magnitude = ...
        ) -> None: ...

    def table(self) -> MixtureTable:
        """Write the set as nested components: nothing active, then the densest features, up to all of them."""
        self._check_table()
        return _nested(self.densities)


class Anticorrelated(_SizedSet, kind="anticorrelated"):
    """Features of which at most one is active: a member is chosen uniformly, then gated by its density.

    `density` belongs to the set's gate, so that a feature is active with probability density / size. As in Elhage et
    al. 2022, "Correlated and Anticorrelated Features".

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> pair = tg.Anticorrelated(size=2, density=0.3)
        >>> pair.active().round(6).tolist(), pair.second_moment().round(6).tolist()
        ([0.15, 0.15], [[0.05, 0.0], [0.0, 0.05]])

    """

    if TYPE_CHECKING:

        def __init__(
            self, size: int, density: Numbers, importance: Numbers = 1.0, *, magnitude: Magnitude = ...
        ) -> None: ...

    def table(self) -> MixtureTable:
        """Write the set as components with nothing active, or with exactly feature i, of weight density[i] / size."""
        self._check_table()
        each = self.densities / self.size
        weights = np.concatenate([[1 - each.sum()], each])
        return _without_impossible(weights, np.concatenate([np.zeros((1, self.size)), np.eye(self.size)]))


class PartiallyCorrelated(_NestedSet, kind="partially-correlated"):
    """Features that share one gate with probability `strength`, and otherwise have gates of their own.

    A mixture of `Correlated` and `Independent`: strength 1 is the former, strength 0 the latter. The densities of
    single features do not depend on the strength.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        The probability that both features of a pair are active goes from p² to p as the strength goes from 0 to 1.

        >>> import tegum as tg
        >>> for strength in (0.0, 0.5, 1.0):
        ...     pair = tg.PartiallyCorrelated(size=2, density=0.2, strength=strength)
        ...     print(strength, round(4 * pair.second_moment()[0, 1], 6))
        0.0 0.04
        0.5 0.12
        1.0 0.2

    """

    positional: ClassVar[tuple[str, ...]] = ("size", "density", "strength", "importance")
    strength: Annotated[float, Field(strict=True)]
    """The probability that all features of the set share one gate, in [0, 1]."""

    if TYPE_CHECKING:

        def __init__(
            self,
            size: int,
            density: Numbers,
            strength: float,
            importance: Numbers = 1.0,
            *,
            magnitude: Magnitude = ...,
        ) -> None: ...

    @field_validator("strength")
    @classmethod
    def _strength_is_a_probability(cls, value: float) -> float:
        if not 0 <= value <= 1:
            raise ValueError("must lie in [0, 1]")
        return value

    def table(self) -> MixtureTable:
        """Write the set as the components of a correlated set, with weight `strength`, and an independent one."""
        self._check_table()
        shared = _nested(self.densities)
        weights = np.concatenate([self.strength * shared.weights, [1 - self.strength]])
        return _without_impossible(weights, np.concatenate([shared.gates, self.densities[None]]))


def _nested(densities: Float[np.ndarray, " size"]) -> MixtureTable:
    """Components of features that share one uniform: nothing active, then the densest, …, then all."""
    levels = np.unique(densities)[::-1]
    bounds = np.concatenate([[1.0], levels, [0.0]])
    gates = np.concatenate([np.zeros((1, len(densities))), densities >= levels[:, None]])
    return _without_impossible(bounds[:-1] - bounds[1:], gates)


def _without_impossible(weights: np.ndarray, gates: np.ndarray) -> MixtureTable:
    possible = weights > 0
    return MixtureTable(weights[possible] / weights[possible].sum(), gates[possible].astype(np.float64))


class Equivariant(FeatureSet, kind="equivariant"):
    """One feature in `size` orientations: copies on a circle, tuned to an angle that is uniformly distributed.

    With probability `density` an angle θ, uniform on the circle, and an amplitude a, uniform on [0, 1], are drawn;
    feature i is then a·κ(θ − 2πi/size), with the von Mises tuning curve κ(θ) = exp((cos θ − 1)/width²). Narrow
    tuning curves behave as separate features; wide ones share a few Fourier modes.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        All orientations are alike, so that the second moments form a circulant matrix.

        >>> import tegum as tg
        >>> import numpy as np
        >>> moments = tg.Equivariant(size=5, density=0.1, width=1.0).second_moment()
        >>> bool(np.allclose(moments, np.roll(moments, (1, 1), (0, 1))))
        True

    """

    positional: ClassVar[tuple[str, ...]] = ("size", "density", "width", "importance")
    size: Size
    """The number of orientations; each is a feature of its own."""
    width: Positive
    """The width of the tuning curve, in radians."""

    if TYPE_CHECKING:

        def __init__(self, size: int, density: float, width: float, importance: Numbers = 1.0) -> None: ...

    _density_is_one_number = field_validator("density")(one_gate)

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return self.size

    @property
    def table_size(self) -> int:
        """The numbers in the set's table: the response of each feature at each angle of the quadrature."""
        return self._nodes * self.size

    @property
    def angles(self) -> Float[np.ndarray, " size"]:
        """The preferred angle of each feature, in radians; shape (size,)."""
        return 2 * np.pi * np.arange(self.size) / self.size

    def _response(self, angle: Any) -> Any:
        """κ(θ − θ_i) for angles of any shape, with the features as one more axis."""
        xp = angle.__array_namespace__()
        return xp.exp((xp.cos(angle[..., None] - xp.asarray(self.angles, dtype=angle.dtype)) - 1) / self.width**2)

    def _rays(self, count: int) -> RayTable:
        angles = 2 * np.pi * (np.arange(count) + 0.5) / count
        return RayTable(np.full(count, self.densities[0] / count), self._response(angles))

    @cached_property
    def _nodes(self) -> int:
        # The trapezoid rule on a circle is exact for smooth functions once it resolves the tuning. The second
        # derivative of a loss jumps where an output changes sign, and that takes more nodes.
        return int(np.clip(2 ** np.ceil(np.log2(2048 / self.width)), 2048, 16384))

    def transform(self) -> RayTable:
        """Rays over the angles of the trapezoid rule: F(s) = 1 − p + p mean_θ u(Σ_i s_i κ(θ − θ_i))."""
        return self._rays(self._nodes)

    def coarse_transform(self) -> RayTable:
        """As `transform`, over half as many angles."""
        return self._rays(self._nodes // 2)

    def active(self) -> Float[np.ndarray, " size"]:
        """The density, for every feature: all of them respond when one does, if only a little."""
        return self.densities

    def first_moment(self) -> Float[np.ndarray, " size"]:
        """The mean of each feature, ½ p mean_θ κ(θ)."""
        weights, directions = self.transform()
        return weights @ directions / 2

    def second_moment(self) -> Float[np.ndarray, "size size"]:
        """The second moments, ⅓ p mean_θ κ(θ − θ_i) κ(θ − θ_j)."""
        weights, directions = self.transform()
        return (directions.T * weights) @ directions / 3

    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw samples; one uniform number is gate and amplitude, another one the angle."""
        u = uniforms((batch, 2))
        xp = u.__array_namespace__()
        p = float(self.densities[0])
        amplitude = xp.where(u[:, 0] < p, u[:, 0] / p, 0)
        return amplitude[:, None] * self._response(2 * np.pi * u[:, 1])
