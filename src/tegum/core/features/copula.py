"""Feature sets whose features are active where correlated normal variables lie below thresholds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import PlainValidator, model_validator

from tegum.core import lapack
from tegum.core.description import broken
from tegum.core.features import gaussian
from tegum.core.features.activity import MOST_COMPONENTS, ActivitySet, check_table, with_magnitudes
from tegum.core.features.gaussian import MOST_FACTORS, Lattice
from tegum.core.features.magnitudes import Magnitude
from tegum.core.features.tables import MixtureTable

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers, Uniforms

MOST_NUMBERS = 2**20
"""The most numbers of a matrix, which the description holds: 1,000 correlated features, or 40,000 with 25 factors."""

_TOLERANCE = 1e-6
"""How far a matrix may be from a correlation matrix by rounding to single precision."""

_EIGENVALUE_ROUNDING = 1e-14
"""Eigenvalues this near to the smallest one, for each row of the matrix, are taken to be equal to it."""

_LEAST_UNIFORM = 2.0**-33
"""Stands for a uniform of 0; below it there is nothing but 0 among those of 32 bits."""

_MULTIPLIED_AT_ONCE = 2**13
"""About how many variables are computed at once with NumPy."""

_LEAST_SPREAD = 1e-30
"""Stands for a spread of zero, by which one could not divide."""


def _matrix(value: Any) -> tuple[tuple[float, ...], ...] | None:
    if value is None:
        return None
    try:
        given = np.asarray(value)
    except (ValueError, TypeError):
        given = np.zeros(0)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "fiu":
        raise ValueError("must be a matrix, a list of rows of numbers of equal length")
    if given.size > MOST_NUMBERS:
        raise ValueError(f"must have at most {MOST_NUMBERS:,} numbers; a few factors may take their place")
    array = given.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError("must be finite")
    rows: Any = array.tolist()
    return tuple(tuple(row) for row in rows)


MatrixOrNone = Annotated[tuple[tuple[float, ...], ...] | None, PlainValidator(_matrix)]


class _Variables(NamedTuple):
    """The normal variables z_i = F_i · y + σ_i ε_i of a set, with independent y and ε_i, and z_i ~ N(0, 1)."""

    thresholds: Float[np.ndarray, " size"]
    """A feature is active where its variable lies below."""
    factors: Float[np.ndarray, "size factor"]
    spread: Float[np.ndarray, " size"]


class CopulaShape(NamedTuple):
    """All that a compiled program depends on: copulas of one shape share it."""

    size: int
    """The number of features."""
    factors: int
    """The number of factors."""
    magnitude: Magnitude
    """The law of their magnitudes."""

    @property
    def features(self) -> int:
        """The number of features."""
        return self.size

    def draw_from(self, arrays: Any, uniforms: Uniforms, batch: int) -> Any:
        """Samples (batch, size), for the thresholds, factors and spread of one copula."""
        return with_magnitudes(self.magnitude, _below(arrays, uniforms, batch), uniforms)


class Copula(ActivitySet, kind="copula"):
    """Features that are active where normal variables with given correlations lie below thresholds.

    Feature i is active where z_i < Φ⁻¹(density[i]), with z ~ N(0, R). R is `correlation`, or comes from `factors` F,
    one row a feature, as R = F Fᵀ + diag(1 − |F_i|²): few factors describe thousands of features. Magnitudes are
    independent. This is the Gaussian copula with which synthetic data for sparse autoencoders are made (SAELens: its
    low-rank matrices are `factors`).

    R is not the correlation of the features, nor of their activity, which is weaker, and the more so the sparser they
    are: for z of correlation 0.5 the activity of two features has a correlation of 0.33 at density 0.5, 0.20 at 0.05
    and 0.05 at 0.001; for z of correlation −0.5 of −0.33, −0.05 and −0.001, as sparse features are rarely active
    together anyway.

    The set has a table, and so a population loss, where one or two factors suffice: it is a quadrature over these
    factors, whose characteristic functions are right to 1e-12, with at most 4,096 nodes. A correlation matrix is taken
    apart into factors and independent rests of equal variance; two factors suffice for up to three features, and one
    for any number of equal correlations above 0. Moments are exact either way.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        Two features of density ½, as correlated as cos 60°, are both active where both variables are below 0, in
        ¼ + 30° / 360° of the samples (Sheppard 1899).

        >>> import tegum as tg
        >>> pair = tg.Copula(density=0.5, correlation=[[1.0, 0.5], [0.5, 1.0]])
        >>> (4 * pair.second_moment()[0, 1]).round(6).item()
        0.333333

    """

    positional: ClassVar[tuple[str, ...]] = ("density", "correlation", "importance")
    correlation: MatrixOrNone = None
    """The correlation matrix R of the normal variables: symmetric, positive semidefinite, with 1 on its diagonal."""
    factors: MatrixOrNone = None
    """In place of `correlation`, a row of factors for each feature, whose squares sum to at most 1."""

    if TYPE_CHECKING:

        def __init__(
            self,
            density: Numbers,
            correlation: Any = None,
            importance: Numbers = 1.0,
            *,
            factors: Any = None,
            magnitude: Magnitude = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _has_one_matrix(cls, values: Any) -> Any:
        if isinstance(values, dict) and (values.get("correlation") is None) == (values.get("factors") is None):
            raise broken("correlation", None, "must be given, or factors, and not both", missing=True)
        return values

    @model_validator(mode="after")
    def _variables_exist(self) -> Copula:
        if self.factors is not None:
            squares = np.square(self.factors).sum(1)
            worst = int(squares.argmax())
            if squares[worst] > 1 + _TOLERANCE:
                rule = f"must have squares that sum to at most 1 for each feature; those of {worst} sum to"
                raise broken("factors", self.factors, f"{rule} {squares[worst]:.6g}")
        if self.correlation is not None:
            given = np.array(self.correlation)
            if given.shape[0] != given.shape[1]:
                raise broken("correlation", self.correlation, f"must be square, and its shape is {given.shape}")
            for wrong, rule, verb in (
                (np.abs(given - given.T), "must be symmetric", "is"),
                (np.abs(np.diag(given) - 1), "must have 1 on its diagonal", "has"),
            ):
                if wrong.max() > _TOLERANCE:
                    place = ", ".join(map(str, np.unravel_index(wrong.argmax(), wrong.shape)))
                    raise broken("correlation", self.correlation, f"{rule}, and it {verb} not at [{place}]")
            if (least := lapack.eigvalsh((given + given.T) / 2)[0]) < -_TOLERANCE:
                rule = "must be positive semidefinite, and has an eigenvalue of"
                raise broken("correlation", self.correlation, f"{rule} {least:.6g}")
        return self

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return len(self.correlation or self.factors or ())

    @cached_property
    def _variables(self) -> _Variables:
        from scipy.special import ndtri

        if self.factors is not None:
            factors = gaussian.principal(np.array(self.factors))
            spread = np.sqrt(np.maximum(1 - np.square(factors).sum(1), 0))
        else:
            # The smallest eigenvalue is what the variables have of their own; the rest are factors.
            given = np.array(self.correlation)
            values, axes = lapack.eigh((given + given.T) / 2)
            own = max(values[0], 0.0)
            kept = values - own > _EIGENVALUE_ROUNDING * len(values)
            factors, spread = axes[:, kept] * np.sqrt(values[kept] - own), np.full(len(values), np.sqrt(own))
        # Rounding apart, all variances are 1 already.
        scale = np.sqrt(np.square(factors).sum(1) + spread**2)
        spread = np.maximum(spread / scale, _LEAST_SPREAD)
        return _Variables(ndtri(self.densities), factors / scale[:, None], spread)

    @cached_property
    def _lattice(self) -> Lattice | None:
        return gaussian.lattice(*self._variables, self.most_components)

    @property
    def components(self) -> int:
        """The nodes of the quadrature; more than a table may have, if there are too many factors."""
        return MOST_COMPONENTS + 1 if self._lattice is None else len(self._lattice.weights)

    @property
    def ungated_because(self) -> str:
        """Why the set has no table."""
        if (count := self._variables.factors.shape[1]) > MOST_FACTORS:
            return f"its variables have {count} common factors, and there is a quadrature over at most {MOST_FACTORS}"
        return f"a quadrature over the factors of its variables would need more than {self.most_components:,} nodes"

    @property
    def table_size(self) -> int:
        """The numbers in the set's table; without one, those that drawing needs."""
        return super().table_size if self.gated else self._variables.factors.size + 2 * self.features

    def table(self) -> MixtureTable:
        """Write the set as a component for each node of a quadrature over the factors, given which gates are apart.

        Returns:
            The table.

        Raises:
            ValueError: there are too many factors, or nodes.

        """
        from scipy.special import ndtr

        check_table(self)
        assert self._lattice is not None
        weights, nodes = self._lattice
        return MixtureTable(weights, ndtr(gaussian.conditional(*self._variables, nodes)))

    def active(self) -> Float[np.ndarray, " size"]:
        """The probability that each feature is active, its density."""
        return self.densities

    def _together(self) -> Float[np.ndarray, "size size"]:
        thresholds, factors, _ = self._variables
        given = np.clip(factors @ factors.T, -1, 1) if self.factors is not None else np.array(self.correlation)
        together = np.zeros((self.features, self.features))
        for i in range(1, self.features):
            # Symmetric to rounding: the lower half stands for both.
            row = gaussian.both_below(thresholds[i : i + 1], thresholds[:i], np.clip(given[i, :i], -1, 1))
            together[i, :i] = together[:i, i] = row
        return together

    def _activity(self, uniforms: Uniforms, batch: int) -> Any:
        return _below(self._variables, uniforms, batch)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Thresholds, factors and spread, in float32."""
        return tuple(each.astype(np.float32) for each in self._variables)

    def traced(self) -> CopulaShape:
        """The numbers of features and factors, and the law: other densities and correlations have the same program."""
        return CopulaShape(self.features, self._variables.factors.shape[1], self.magnitude)


def _below(variables: tuple[Any, ...], uniforms: Uniforms, batch: int) -> Any:
    """Draw which variables lie below their thresholds, (batch, size)."""
    u = uniforms((batch, len(variables[0])))
    xp = u.__array_namespace__()
    if isinstance(u, np.ndarray):
        from scipy.special import ndtr, ndtri
    else:
        from jax.scipy.special import ndtr, ndtri
    arrays = _Variables(*(xp.asarray(each, dtype=u.dtype) for each in variables))
    # Not 0, whose normal variable would be infinite.
    y: Any = ndtri(xp.maximum(uniforms((batch, arrays.factors.shape[1])), _LEAST_UNIFORM))
    # Given the factors, features are active independently of one another.
    if isinstance(u, np.ndarray):
        return gaussian.below_probability(u, _rests(arrays, y))
    return u < ndtr((arrays.thresholds - y @ arrays.factors.T) / arrays.spread)


def _rests(variables: _Variables, y: np.ndarray) -> np.ndarray:
    """What lies below its threshold where z does, given the factors: ε < (threshold − F y) / σ, (batch, size)."""
    thresholds, factors, spread = variables
    if factors.shape[1] > 1:
        return (thresholds - _in_pieces(y, factors)) / spread
    # A feature at a time, as NumPy is slow at rows of few numbers.
    each = zip(thresholds, factors[:, 0], spread, strict=True)
    return np.stack([(threshold - factor * y[:, 0]) / rest for threshold, factor, rest in each], axis=1)


def _in_pieces(y: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The products y Fᵀ, a few rows at a time.

    A library of linear algebra would start threads for many rows, and rounds differently by their number.
    """
    rows = max(_MULTIPLIED_AT_ONCE // len(factors), 1)
    return np.concatenate([y[start : start + rows] @ factors.T for start in range(0, len(y), rows)])
