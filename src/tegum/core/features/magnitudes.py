"""Laws of magnitude: how large a feature is where it is active.

All features of a gated set have magnitudes of one law, independent of one another and of which features are active. A
law is one class here; samplers, moments and characteristic functions follow from it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, model_serializer, model_validator

from tegum.core.description import Description, broken, of_kind

if TYPE_CHECKING:
    from jaxtyping import Complex, Float


def _trainable(value: float) -> float:
    # Gradients go as squares of magnitudes, and AdamW squares them once more.
    if value != 0 and not 1e-9 <= value <= 1e9:
        raise ValueError("must lie between 1e-9 and 1e9, as training computes with fourth powers in float32")
    return value


Size = Annotated[float, Field(strict=True, gt=0), AfterValidator(_trainable)]
"""A positive number whose fourth power float32 can hold."""
SizeOrZero = Annotated[float, Field(strict=True, ge=0), AfterValidator(_trainable)]
"""The same, or 0."""


class Magnitude(Description, abc.ABC):
    """The base of all laws of magnitude: the distribution of a feature's value where the feature is active.

    A new law is a subclass with a `kind` of its own, moments, `support` and `drawn`; it is trained on by the JAX
    engine. The compiled kernel knows the laws in `tegum.training.sampled.kernels.laws`.

    Gradients go as squares of magnitudes, and AdamW adds 1e-8 to the root of their mean square: with magnitudes below
    about 1e-4 it hardly moves weights, as in any program.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        A law with the density 2a on [0, 1]: E[a] = 2/3 and E[a²] = 1/2.

        >>> import tegum as tg
        >>> class Ramp(tg.Magnitude, kind="ramp"):
        ...     @property
        ...     def support(self):
        ...         return 0.0, 1.0
        ...
        ...     def moments(self, active=1.0):
        ...         return active * 2 / 3, active / 2
        ...
        ...     def drawn(self, u):
        ...         return u**0.5
        >>> ramps = tg.Independent(count=2, density=0.3, magnitude=Ramp())
        >>> ramps.second_moment().round(4).tolist()
        [[0.15, 0.04], [0.04, 0.15]]

    """

    kinds: ClassVar[dict[str, type[Magnitude]]] = {}
    """Every concrete law, by the name that files use for it; filled as classes are defined."""
    kind: ClassVar[str]
    default_kind: ClassVar[str] = "uniform"
    """The kind of a table that does not name one."""
    no_series: ClassVar[str] = "its series is known for these only"
    """Why a model with such magnitudes has no exact loss."""

    def __init_subclass__(cls, kind: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind is not None:
            cls.kind = kind
            Magnitude.kinds[kind] = cls

    @classmethod
    def of(cls, value: Any) -> Magnitude:
        """Return a law as it is, or build the one that a dictionary describes.

        Args:
            value: a `Magnitude`, or a dictionary of its fields with its `kind`, "uniform" by default.

        Returns:
            The law.

        Raises:
            ValueError: `value` is neither, or describes no law.

        """
        if isinstance(value, Magnitude):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("must be a law such as UniformMagnitude(0, 2), or a table of its keys")
        return of_kind(Magnitude.kinds, value, cls.default_kind)

    @classmethod
    def inner_keys(cls) -> Iterable[str]:
        """The kind, this law's fields, and those of the others, for suggestions after a misspelt key."""
        others = (name for kind in Magnitude.kinds.values() for name in kind.model_fields)
        return dict.fromkeys(("kind", *cls.model_fields, *others))

    @model_serializer(mode="wrap")
    def _with_kind(self, fields: Any) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}

    @property
    @abc.abstractmethod
    def support(self) -> tuple[float, float]:
        """The least and the largest magnitude; the largest may be infinite."""

    @abc.abstractmethod
    def moments(self, active: Any = 1.0) -> tuple[Any, Any]:
        """The mean and the second moment of features that are active with given probabilities.

        Args:
            active: probabilities, of any shape; 1 gives the moments of the magnitude itself.

        Returns:
            active · E[a] and active · E[a²], shaped as `active`.

        """

    @abc.abstractmethod
    def drawn(self, u: Any) -> Any:
        """Magnitudes from uniform numbers: the inverse of the law's distribution function.

        Args:
            u: uniforms on [0, 1), a NumPy or JAX array of any shape. Rounding may make a few of them 1; where a
                feature is not active they may be anything, and are not used.

        Returns:
            Magnitudes, finite, shaped as `u` and of its dtype.

        """

    def characteristic(self, s: Float[np.ndarray, "*shape"]) -> Complex[np.ndarray, "*shape"]:
        """The characteristic function of the magnitude, E exp(isa).

        Args:
            s: frequencies, of any shape.

        Returns:
            Complex numbers, shaped as `s`.

        Raises:
            ValueError: the law gives none.

        """
        raise ValueError(f"{self!r}.characteristic(s of shape {np.shape(s)}): this law has none in closed form")


class UniformMagnitude(Magnitude, kind="uniform"):
    """Magnitudes uniform on [low, high]; on [0, 1] by default, as in Elhage et al. 2022.

    The population loss of a ReLU model takes ranges that begin at 0, one for all sets.

    Raises:
        ValueError: a field breaks its rule, or `low` is not below `high`; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> mean, square = tg.UniformMagnitude(1, 2).moments()
        >>> mean, round(square, 6)
        (1.5, 2.333333)

    """

    positional: ClassVar[tuple[str, ...]] = ("low", "high")
    low: SizeOrZero = 0.0
    """The least magnitude, 0 or between 1e-9 and 1e9."""
    high: Size = 1.0
    """The largest magnitude, above `low`, between 1e-9 and 1e9."""

    if TYPE_CHECKING:

        def __init__(self, low: float = 0.0, high: float = 1.0) -> None: ...

    @model_validator(mode="after")
    def _a_range(self) -> UniformMagnitude:
        # In float32, in which training computes, there must be numbers between the two.
        if not self.low * (1 + 2.0**-20) < self.high:
            raise broken("low", self.low, f"must lie below high={self.high!r}; ConstantMagnitude is one value")
        return self

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest magnitude, `low` and `high`."""
        return self.low, self.high

    def moments(self, active: Any = 1.0) -> tuple[Any, Any]:
        """The moments of features that are active with given probabilities: E[a] = (l + h)/2, E[a²] = (l² + lh + h²)/3.

        Args:
            active: probabilities, of any shape.

        Returns:
            active · E[a] and active · E[a²].

        """
        # The sums first: for [0, 1] they are 1, and nothing is rounded twice.
        low, high = self.low, self.high
        return active * (low + high) / 2, active * (low * low + low * high + high * high) / 3

    def drawn(self, u: Any) -> Any:
        """Magnitudes low + (high − low) u.

        Args:
            u: uniforms on [0, 1).

        Returns:
            Magnitudes, shaped as `u`.

        """
        scaled = u if self.high - self.low == 1 else u * (self.high - self.low)
        return scaled + self.low if self.low else scaled

    def characteristic(self, s: Float[np.ndarray, "*shape"]) -> Complex[np.ndarray, "*shape"]:
        """E exp(isa) = exp(isl) u(s (h − l)), where u(t) = (e^{it} − 1)/(it).

        Args:
            s: frequencies, of any shape.

        Returns:
            Complex numbers, shaped as `s`.

        """
        from tegum.core.features.characteristic import uniform_transforms

        s = np.asarray(s, np.float64)
        return np.exp(1j * s * self.low) * uniform_transforms(s * (self.high - self.low))[0]


class ConstantMagnitude(Magnitude, kind="constant"):
    """One magnitude for all: a feature is either 0 or `value`.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        A correlated pair is (0, 0) or (2, 2): E[x₀ x₁] = E[x₀²] = 4p.

        >>> import tegum as tg
        >>> pair = tg.Correlated(size=2, density=0.1, magnitude=tg.ConstantMagnitude(2))
        >>> pair.second_moment().round(6).tolist()
        [[0.4, 0.4], [0.4, 0.4]]

    """

    positional: ClassVar[tuple[str, ...]] = ("value",)
    no_series: ClassVar[str] = "a constant makes outputs take single values, where the Fourier series does not converge"
    value: Size = 1.0
    """The magnitude, between 1e-9 and 1e9."""

    if TYPE_CHECKING:

        def __init__(self, value: float = 1.0) -> None: ...

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest magnitude, both `value`."""
        return self.value, self.value

    def moments(self, active: Any = 1.0) -> tuple[Any, Any]:
        """The moments of features that are active with given probabilities: E[a] = c, E[a²] = c².

        Args:
            active: probabilities, of any shape.

        Returns:
            active · E[a] and active · E[a²].

        """
        return active * self.value, active * (self.value * self.value)

    def drawn(self, u: Any) -> Any:
        """The value, as often as there are uniforms.

        Args:
            u: uniforms on [0, 1), which do not matter.

        Returns:
            Magnitudes, shaped as `u`.

        """
        return u.__array_namespace__().full_like(u, self.value)

    def characteristic(self, s: Float[np.ndarray, "*shape"]) -> Complex[np.ndarray, "*shape"]:
        """E exp(isa) = exp(isc).

        Args:
            s: frequencies, of any shape.

        Returns:
            Complex numbers, shaped as `s`.

        """
        return np.exp(1j * np.asarray(s, np.float64) * self.value)


class HalfNormalMagnitude(Magnitude, kind="half-normal"):
    """Magnitudes |z| of a normal variable z with mean 0 and standard deviation `scale`.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        E[a] = σ √(2/π), E[a²] = σ².

        >>> import tegum as tg
        >>> mean, square = tg.HalfNormalMagnitude(scale=2).moments()
        >>> round(mean, 6), square
        (1.595769, 4.0)

    """

    positional: ClassVar[tuple[str, ...]] = ("scale",)
    scale: Size = 1.0
    """The standard deviation σ of the normal variable, between 1e-9 and 1e9."""

    if TYPE_CHECKING:

        def __init__(self, scale: float = 1.0) -> None: ...

    @property
    def support(self) -> tuple[float, float]:
        """The least and the largest magnitude, 0 and ∞."""
        return 0.0, np.inf

    def moments(self, active: Any = 1.0) -> tuple[Any, Any]:
        """The moments of features that are active with given probabilities: E[a] = σ √(2/π), E[a²] = σ².

        Args:
            active: probabilities, of any shape.

        Returns:
            active · E[a] and active · E[a²].

        """
        return active * (self.scale * float(np.sqrt(2 / np.pi))), active * (self.scale * self.scale)

    def drawn(self, u: Any) -> Any:
        """Magnitudes σ √2 erf⁻¹(u).

        Args:
            u: uniforms on [0, 1).

        Returns:
            Magnitudes, shaped as `u`; at most 5.4 σ in single precision, 8.3 σ in double.

        """
        xp = u.__array_namespace__()
        if isinstance(u, np.ndarray):
            from scipy.special import erfinv
        else:
            from jax.scipy.special import erfinv
        # 1, which rounding can make of u, would be infinite.
        below = xp.minimum(u, 1 - xp.finfo(u.dtype).eps / 2)
        return erfinv(below) * (self.scale * float(np.sqrt(2)))

    def characteristic(self, s: Float[np.ndarray, "*shape"]) -> Complex[np.ndarray, "*shape"]:
        """E exp(isa) = w(σs/√2) with the Faddeeva function w(t) = exp(−t²) erfc(−it).

        Args:
            s: frequencies, of any shape.

        Returns:
            Complex numbers, shaped as `s`.

        """
        from scipy.special import wofz

        return wofz(np.asarray(s, np.float64) * self.scale / np.sqrt(2))


UNIT_RANGE = UniformMagnitude()
"""The law that a set has unless it is given another one: uniform on [0, 1]."""
