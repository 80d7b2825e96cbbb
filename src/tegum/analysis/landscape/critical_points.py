"""The landscape of the population loss: critical points, their index, and the directions in which they are left.

The loss L(W, b) of the model x̂ = act(W Wᵀ x + b) (Elhage et al. 2022) is exact here
(`tegum.core.population.evaluate`), and so are its critical points: a plateau of training is a saddle if one lies
there and its Hessian has negative eigenvalues. The parameters are θ = (W row by row, b), P = nm + n of them.

L depends on W through W Wᵀ alone. Rotations of hidden space therefore move a critical point along an orbit, whose
directions W A, A antisymmetric, are zero modes. They are projected out and counted, and never identified by the size
of an eigenvalue. An orbit has m(m − 1)/2 directions, less (m − r)(m − r − 1)/2 if W has rank r.

Every eigenvalue is an interval. It is as wide as the error of the Hessian and, where the Hessian itself is not unique,
as the range of values it may have. An output of bias 0 has a kink if no feature that is active is coupled to it (its z
is then 0 and its second derivative jumps), and perfect embeddings sit on just such kinks; an output of bias −‖W_j‖² has
another one where feature j alone is active with magnitude 1 (of magnitudes on [0, h], those of bias −h ‖W_j‖²), and
outputs that are never positive end on those. By Weyl's inequality every eigenvalue grows from one side of a kink to the
other, so that the two sides bound it.

The loss is the importance-weighted sum over features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.landscape.newton import newton_step, pinned, polished, solve
from tegum.analysis.landscape.surface import ORBIT, Parameters, Slope, Surface, rotations, without_rotations
from tegum.core import lapack
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.model import Activation
from tegum.core.reprs import html_table
from tegum.core.threads import serial_blas
from tegum.data.schema import described_by

if TYPE_CHECKING:
    import xarray as xr

TOL = 1e-10
"""The largest norm of the gradient at a critical point, and the largest error of what is computed there."""

STEPS = 100
"""The most Newton steps to a critical point."""

CORNERS = (0.01, 0.03, 0.1)
"""Biases and couplings smaller than each of these are tried at exactly 0 if no critical point is found otherwise."""

AWAY = (1e-3, 2e-3)
"""The distances in θ at which to test whether the loss falls on one side of a kink."""

MOST_ACCURATE = 1e-12
"""The smallest error of the losses there: beyond it more frequencies would not help."""


@final
@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A point at which the gradient of the population loss vanishes, and the curvature there.

    As text it says what it is, such as "minimum" or "saddle of index 2".

    Example:
        A model of zeros with the best constant output is a critical point for one feature: along W its curvature is
        −4 Var x, and along b it is 2.

        >>> import tegum as tg
        >>> import numpy as np
        >>> feature = tg.FeatureDistribution([tg.Independent(count=1, density=0.3)])
        >>> point = tg.critical_point(np.zeros((1, 1)), np.array([0.15]), feature)
        >>> print(point, point.eigenvalues.round(6).tolist())
        saddle of index 1 [-0.31, 2.0]

    """

    weights: Float[np.ndarray, "feature hidden"]
    """The weights W of the point, shape (n, m)."""
    bias: Float[np.ndarray, " feature"]
    """The biases b of the point, shape (n,)."""
    features: FeatureDistribution = field(repr=False)
    """The feature distribution of the loss."""
    activation: Activation = field(repr=False)
    """The activation of the model, "relu" or "linear"."""
    tol: float
    """The tolerance that was asked for."""
    loss: float
    """The population loss at the point, summed over features."""
    loss_error: float
    """A bound of the error of the loss."""
    gradient_norm: float
    """The Euclidean norm of the gradient over all parameters."""
    gradient_error: float
    """A bound of the norm of the gradient's error."""
    moved: float
    """The distance from the start, √(‖W − W₀‖² + ‖b − b₀‖²), minimised over rotations of hidden space."""
    converged: bool
    """Whether the norm of the gradient, and the bound of its error, are at most `tol`."""
    eigenvalues: Float[np.ndarray, " mode"]
    """The eigenvalues of the Hessian, rising, without the zero modes of rotation."""
    eigenvalue_error: Float[np.ndarray, " mode"]
    """How far each eigenvalue may lie to either side: the Hessian's error, and its jump on a kink."""
    zero_modes: int
    """The number of directions in which a rotation of hidden space moves the weights."""
    kinks: tuple[int, ...]
    """The features whose output has its bias on a kink of the loss."""
    mode_weights: Float[np.ndarray, "mode feature hidden"] = field(repr=False)
    """The part of each eigenvector in W, shape (mode, n, m); together with its part in b it has length 1."""
    mode_bias: Float[np.ndarray, "mode feature"] = field(repr=False)
    """The part of each eigenvector in b, shape (mode, n); together with its part in W it has length 1."""
    edge_curvature: Float[np.ndarray, " edge"]
    """The second derivative of the loss along each one-sided direction in which it falls from a kink, in `edge_weights`
    and `edge_bias`; in the opposite direction it rises, or falls at another rate."""
    edge_weights: Float[np.ndarray, "edge feature hidden"] = field(repr=False)
    """The part in W of each one-sided direction in which the loss falls, shape (edge, n, m)."""
    edge_bias: Float[np.ndarray, "edge feature"] = field(repr=False)
    """The part in b of each one-sided direction in which the loss falls, shape (edge, n); the whole direction has
    length 1."""

    @property
    def theta(self) -> Float[np.ndarray, " parameter"]:
        """The parameters θ as one vector: W row by row, and then b."""
        return np.concatenate([self.weights.ravel(), self.bias])

    @property
    def negative(self) -> int:
        """The number of eigenvalues that are negative beyond their errors, a lower bound of the index."""
        return int((self.eigenvalues + self.eigenvalue_error < 0).sum())

    @property
    def undecided(self) -> int:
        """The number of eigenvalues whose sign is undecided within their errors."""
        return int((np.abs(self.eigenvalues) <= self.eigenvalue_error).sum())

    @property
    def index(self) -> int | None:
        """The number of negative eigenvalues; None if it is undecided, or if no critical point was found."""
        return self.negative if self.converged and not self.undecided else None

    @property
    def unstable(self) -> bool:
        """Whether the loss falls in some direction to second order; on a kink, even if the index is undecided."""
        return self.converged and (self.negative > 0 or len(self.edge_curvature) > 0)

    def __str__(self) -> str:
        if not self.converged:
            return f"no critical point (gradient {self.gradient_norm:.2g} ± {self.gradient_error:.1g})"
        if self.undecided:
            unstable = ", unstable" if self.unstable else ""
            return f"undecided ({self.negative}–{self.negative + self.undecided}){unstable}"
        return f"saddle of index {self.negative}" if self.negative else "minimum"

    def __repr__(self) -> str:
        n, m = self.weights.shape
        return f"<CriticalPoint: {self}, loss {self.loss:.6g}, n = {n}, m = {m}>"

    def _repr_html_(self) -> str:
        curvatures = self.eigenvalues
        rows = [
            ("features, n", self.weights.shape[0]),
            ("hidden dimensions, m", self.weights.shape[1]),
            ("loss", f"{self.loss:.8g} ± {self.loss_error:.1g}"),
            ("gradient", f"{self.gradient_norm:.2g} ± {self.gradient_error:.1g}"),
            ("eigenvalues", f"{curvatures.min():.4g} … {curvatures.max():.4g}" if curvatures.size else "none"),
            ("zero modes", self.zero_modes),
            ("features on a kink", ", ".join(map(str, self.kinks)) or "none"),
        ]
        return html_table(f"Critical point: {self}", rows)


@final
@dataclass(frozen=True, eq=False)
class UnstableDirection:
    """A direction in which gradient flow leaves a saddle, and its effect on each feature.

    Its length is 1 over all parameters. Its sign is chosen so that embeddings grow in total; failing that, so that
    the first of those that change most grows; and failing that, so that a bias or a weight rises. A one-sided
    direction has its only sign. If eigenvalues are equal, any combination of their directions is one; shares are
    therefore means over all directions of the same rate.
    """

    rate: float
    """The rate −λ of growth: distances grow as exp(rate · time) under the gradient flow dθ/dt = −∇L."""
    rate_error: float
    """A bound of the error of the rate."""
    multiplicity: int
    """The number of directions with this rate, within errors."""
    weights: Float[np.ndarray, "feature hidden"]
    """The part of the direction in W, dW, shape (n, m)."""
    bias: Float[np.ndarray, " feature"]
    """The part of the direction in b, db, shape (n,)."""
    growth: Float[np.ndarray, " feature"]
    """The relative growth of each embedding, d‖W_i‖ / ‖W_i‖, per unit of the direction; infinite where a zero row
    grows."""
    turn: Float[np.ndarray, " feature"]
    """The rotation of each embedding, ‖part of dW_i orthogonal to W_i‖ / ‖W_i‖, in radians; 0 for a zero row."""
    share: Float[np.ndarray, " feature"]
    """The share of each feature in the squared direction, ‖dW_i‖² + db_i²; shares add up to 1."""
    one_sided: bool = False
    """Whether the direction is a ray from a kink: in the opposite direction the loss rises, or falls at another rate.
    The rate is then accurate to about a tenth of itself."""

    @property
    def mainly(self) -> tuple[int, ...]:
        """The features that the direction mainly affects: those with at least half of the largest share."""
        return tuple(np.flatnonzero(self.share >= (0.5 - 1e-6) * self.share.max()).tolist())


@refusing
def critical_point(
    weights: Any,
    bias: Any = None,
    features: FeatureDistribution | None = None,
    *,
    tol: float = TOL,
    steps: int = STEPS,
    reach: float = float("inf"),
    corners: Sequence[float] = CORNERS,
    activation: Activation = "relu",
) -> CriticalPoint:
    """Find the critical point near a model, a minimum or a saddle of any index.

    Newton's method is applied to ∇L = 0 in the complement of the rotations, within a trust region. A step minimises
    the linear model of ‖∇L‖ (Levenberg–Marquardt) rather than that of L, and therefore leads to saddles as well as
    to minima.

    Args:
        weights: W, shape (n, m); or a snapshot of a trajectory such as `run.isel(seed=0, step=-1)`, a Dataset that
            provides the bias, the features and the activation.
        bias: b, shape (n,).
        features: the feature distribution of the loss; with a snapshot, one that replaces its own.
        tol: the largest norm of the gradient, and the largest error of it and of the loss. That of the Hessian is a
            thousand times larger, relative to max(1, ‖Hessian‖), and at best about 1e-8.
        steps: the most Newton steps.
        reach: the distance from the model at which the search ends; a positive number.
        corners: if no critical point is found, biases and couplings smaller than each of these are tried at exactly
            0, where kinks are; an empty sequence saves the time that this takes in large models.
        activation: "relu" or "linear".

    Returns:
        The point at which the steps ended, with its curvature; `converged` says whether it is a critical point.

    Raises:
        ValueError: the shapes do not fit together, a number is not finite or out of range, a Dataset is not a
            snapshot of one run, or the features have no population loss.

    Example:
        The best linear model of two features in one dimension keeps the more important one. Keeping the other one is
        a saddle.

        >>> import tegum as tg
        >>> import numpy as np
        >>> sets = [tg.Independent(count=1, density=0.3, importance=each) for each in (1.0, 0.5)]
        >>> for W in ([[1.0], [0.0]], [[0.0], [1.0]]):
        ...     bias = 0.15 * (1 - np.ravel(W))
        ...     print(tg.critical_point(W, bias, tg.FeatureDistribution(sets), activation="linear"))
        minimum
        saddle of index 1

    """
    return _critical_point("critical_point", weights, bias, features, tol, steps, reach, corners, activation)


def _critical_point(
    call: str,
    weights: Any,
    bias: Any,
    features: FeatureDistribution | None,
    tol: float,
    steps: int,
    reach: float,
    corners: Sequence[float],
    activation: Activation,
) -> CriticalPoint:
    """Like `critical_point`, for the call that errors should name."""
    if hasattr(weights, "data_vars"):
        weights, bias, features, activation = _snapshot(weights, features, call)
    if bias is None or features is None:
        raise ValueError(f"{call}(weights): bias and features must be given unless weights are a snapshot")
    surface = Surface.of(weights, features, tol, activation, call)
    start = surface.parameters(weights, bias, call)
    if not isinstance(steps, int | np.integer) or steps < 0:
        raise ValueError(f"{call}(steps={steps!r}): steps must be an int of at least 0")
    if not reach > 0:
        raise ValueError(f"{call}(reach={reach!r}): reach must be a positive number")
    with serial_blas(len(start)):
        theta, at = solve(surface, start, steps, reach, longest=reach)
        begun, held = [start], 0.0
        for corner in corners:
            if np.linalg.norm(at.gradient) <= tol:
                break
            begin = pinned(surface, start, corner)[0]
            if any(np.array_equal(begin, other) for other in begun):
                continue
            begun.append(begin)
            # A jump of the second derivatives stops Newton's method before it gets there, so try the kinks nearby.
            other, there = solve(surface, start, steps, reach, corner, longest=reach)
            if np.linalg.norm(there.gradient) < np.linalg.norm(at.gradient):
                theta, at, held = other, there, corner
        theta, at = polished(surface, theta, at, held)
        return characterised(surface, theta, at, start)


@refusing
def saddle_index(
    weights: Any,
    bias: Any = None,
    features: FeatureDistribution | None = None,
    *,
    tol: float = TOL,
    steps: int = STEPS,
    activation: Activation = "relu",
) -> int | None:
    """Find the index of the critical point near a model: the number of its Hessian's negative eigenvalues.

    Args:
        weights: W, shape (n, m), or a snapshot of a trajectory, as in `critical_point`.
        bias: b, shape (n,).
        features: the feature distribution of the loss; with a snapshot, one that replaces its own.
        tol: the largest norm of the gradient, as in `critical_point`.
        steps: the most Newton steps.
        activation: "relu" or "linear".

    Returns:
        The index; 0 is a minimum, None undecided or no critical point nearby.

    Raises:
        ValueError: as for `critical_point`.

    Example:
        At W = 0 every one of the n·m entries of W leads downwards: here 2 features in 1 dimension.

        >>> import tegum as tg
        >>> import numpy as np
        >>> features = tg.FeatureDistribution([tg.Independent(count=2, density=0.3)])
        >>> tg.saddle_index(np.zeros((2, 1)), np.array([0.15, 0.15]), features)
        2

    """
    call = "saddle_index"
    return _critical_point(call, weights, bias, features, tol, steps, float("inf"), CORNERS, activation).index


@refusing
def unstable_directions(point: CriticalPoint) -> list[UnstableDirection]:
    """List the directions in which gradient flow leaves a saddle, the fastest first.

    They are the eigenvectors of the negative eigenvalues of the Hessian, followed by one-sided directions from a
    kink.

    Args:
        point: a critical point, as `critical_point` returns it.

    Returns:
        The directions with their rates and their effect on each feature; none at a minimum.

    Example:
        From W = 0, an embedding grows at the rate 4 Var x = 4 (p/3 − p²/4).

        >>> import tegum as tg
        >>> import numpy as np
        >>> feature = tg.FeatureDistribution([tg.Independent(count=1, density=0.3)])
        >>> point = tg.critical_point(np.zeros((1, 1)), np.array([0.15]), feature)
        >>> [(round(each.rate, 6), each.mainly) for each in tg.unstable_directions(point)]
        [(0.31, (0,))]

    """
    squares = np.square(point.mode_weights).sum(2) + np.square(point.mode_bias)
    norms = np.linalg.norm(point.weights, axis=1)
    found = []
    for mode in range(point.negative):
        value, error = point.eigenvalues[mode], point.eigenvalue_error[mode]
        equal = np.abs(point.eigenvalues - value) <= np.maximum(point.eigenvalue_error, error) + 1e-6 * abs(value)
        weights, bias = point.mode_weights[mode], point.mode_bias[mode]
        sign = _sign(weights, bias, point)
        share = squares[equal].mean(0)
        found.append(_direction(norms, point, -value, error, int(equal.sum()), sign * weights, sign * bias, share))
    for value, weights, bias in zip(point.edge_curvature, point.edge_weights, point.edge_bias, strict=True):
        share = np.square(weights).sum(1) + np.square(bias)
        found.append(_direction(norms, point, -value, 0.1 * abs(value), 1, weights, bias, share, one_sided=True))
    return found


def _sign(weights: Float[np.ndarray, "n m"], bias: Float[np.ndarray, " n"], point: CriticalPoint) -> float:
    """1 or −1, decided by quantities that do not depend on how an eigenvector was computed."""
    growth = (weights * point.weights).sum(1)
    for amounts in (growth.sum(keepdims=True), growth, bias, weights.ravel()):
        sizes = np.abs(amounts)
        if sizes.max() > 1e-6:
            return float(np.sign(amounts[np.argmax(sizes > 0.999 * sizes.max())]))
    return 1.0


def _direction(
    norms: Float[np.ndarray, " n"],
    point: CriticalPoint,
    rate: float,
    error: float,
    multiplicity: int,
    weights: Float[np.ndarray, "n m"],
    bias: Float[np.ndarray, " n"],
    share: Float[np.ndarray, " n"],
    one_sided: bool = False,
) -> UnstableDirection:
    # Rows that should be zero, up to what Newton's steps leave.
    zero = norms <= ORBIT
    length = np.where(zero, 1.0, norms)
    unit = np.where(zero[:, None], 0.0, point.weights / length[:, None])
    along = (weights * unit).sum(1)
    rest = np.linalg.norm(weights - along[:, None] * unit, axis=1)
    return UnstableDirection(
        rate=float(rate),
        rate_error=float(error),
        multiplicity=multiplicity,
        weights=weights,
        bias=bias,
        growth=np.where(zero, np.where(rest > ORBIT, np.inf, 0.0), along / length),
        turn=np.where(zero, 0.0, rest / length),
        share=share,
        one_sided=one_sided,
    )


def characterised(surface: Surface, theta: Parameters, at: Slope, start: Parameters) -> CriticalPoint:
    """The point θ with its curvature; `at` is its slope, and `start` is where the search began."""
    weights, bias = surface.split(theta)
    n, m = weights.shape
    basis = without_rotations(weights)
    below, above, error = surface.curvature(theta)
    (low, edges), (high, _) = (lapack.eigh(basis.T @ side @ basis) for side in (below, above))
    curvatures, axes = lapack.eigh(basis.T @ (below + above) @ basis / 2)
    axes = basis @ axes
    norm = float(np.linalg.norm(at.gradient))
    # The remaining gradient couples the rotations W A to other directions by |g A| / |W A|, and the critical point
    # itself is one more step away, over which the Hessian changes.
    orbit = rotations(weights)[1]
    left = float(np.linalg.norm(newton_step(curvatures, axes.T @ at.gradient, 1.0)))
    error += norm / float(orbit.min(initial=1.0)) + left * float(np.linalg.norm(above))
    eigenvalues, errors = (low + high) / 2, (high - low) / 2 + error
    # On the lower side of kinks, more directions may lead down than on both sides.
    count = int((eigenvalues + errors < 0).sum())
    down = slice(count, int((low + error < 0).sum()))
    edge, fall = _falling(surface, theta, (basis @ edges[:, down]).T, low[down])
    return CriticalPoint(
        weights=weights.copy(),
        bias=bias.copy(),
        features=surface.features,
        activation=surface.activation,
        tol=surface.tol,
        loss=at.loss,
        loss_error=at.error,
        gradient_norm=norm,
        gradient_error=at.gradient_error,
        moved=surface.distance(theta, start),
        # False for NaN.
        converged=norm <= surface.tol and at.gradient_error <= surface.tol,
        eigenvalues=eigenvalues,
        eigenvalue_error=errors,
        zero_modes=len(theta) - len(curvatures),
        kinks=surface.kinks(theta) if (high - low).max() > 2 * error else (),
        mode_weights=axes[: n * m].T.reshape(-1, n, m),
        mode_bias=axes[n * m :].T.copy(),
        edge_curvature=fall,
        edge_weights=edge[:, : n * m].reshape(-1, n, m),
        edge_bias=edge[:, n * m :].copy(),
    )


def _falling(
    surface: Surface,
    theta: Parameters,
    directions: Float[np.ndarray, "direction parameter"],
    expected: Float[np.ndarray, " direction"],
) -> tuple[Float[np.ndarray, "edge parameter"], Float[np.ndarray, " edge"]]:
    """The directions, with either sign, in which the loss falls, and its second derivative along each.

    Losses are as accurate as the second derivatives that the Hessian has there, `expected`, call for.
    """
    if not len(directions):
        return directions, np.zeros(0)
    rays = np.concatenate([directions, -directions])
    least = float(np.abs(expected).min()) * AWAY[0] ** 2 / 2
    accuracy = min(surface.tol, max(least / 100, MOST_ACCURATE))
    at = surface.slope(theta, accuracy)
    losses, errors = surface.losses(np.concatenate([theta + size * rays for size in AWAY]), accuracy)
    # What is left of the gradient at θ would count as a fall, or as curvature.
    slope = rays @ at.gradient
    near, far = (losses - at.loss).reshape(2, -1) - np.outer(AWAY, slope)
    unsure = at.error + errors.reshape(2, -1).max(0)
    curvature = 2 * (2 * near / AWAY[0] ** 2 - far / AWAY[1] ** 2)
    falls = (near + unsure < 0) & (far + unsure < 0) & (curvature < 0)
    return rays[falls], curvature[falls]


def _snapshot(
    dataset: xr.Dataset, features: FeatureDistribution | None, call: str
) -> tuple[Any, Any, FeatureDistribution, Activation]:
    """The weights, bias, features and activation of one run at one step of a trajectory."""
    for name, dims in (("weights", ("feature", "hidden")), ("bias", ("feature",))):
        if name not in dataset:
            held = ", ".join(sorted(map(str, dataset.variables))) or "nothing"
            raise ValueError(f"{call}(dataset): {name} is missing; the dataset has {held}")
        if set(dataset[name].dims) != set(dims):
            rule = "it must be one run at one step, as run.isel(seed=0, step=-1) is"
            raise ValueError(f"{call}(dataset with {name} of dims {dataset[name].dims}): {rule}")
    described = json.loads(dataset.attrs.get("spec", "[]"))
    several = described if isinstance(described, list) else [described]
    if len(several) > 1 and (own := described_by(dataset, f"{call}(dataset)")) is not None:
        several = [several[own[0]]]
    specs = [each for each in several if "features" in each]
    activation = specs[0].get("activation", "relu") if specs else "relu"
    weights, bias = dataset["weights"].transpose("feature", "hidden").values, dataset["bias"].values
    if features is not None:
        return weights, bias, features, activation
    if any(change.get("sets") for each in specs for change in each.get("changes", ())):
        rule = "its Spec has changes, so that the features depend on the step; features must be given"
        raise ValueError(f"{call}(dataset): {rule}, as spec.in_force(step).features")
    # Of a snapshot without the hash of its Spec, only coordinates say to which of several it belongs.
    known = {FeatureDistribution(each["features"]): each.get("activation", "relu") for each in specs}
    fitting = [
        (each, activation)
        for each, activation in known.items()
        if all(
            name not in dataset.coords
            or dataset[name].dims != ("feature",)
            or np.array_equal(dataset[name].values, getattr(each, name))
            for name in ("density", "importance")
        )
    ]
    if len(fitting) != 1:
        count = "several Specs fit the snapshot" if fitting else "no Spec in its attributes fits it"
        raise ValueError(f"{call}(dataset): {count}; features must be given")
    return weights, bias, *fitting[0]
