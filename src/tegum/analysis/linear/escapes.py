"""Principal directions that a model learns one after another: how strong each one is, and when it should appear.

From a small start the gradient flow of the tied linear model x̂ = W Wᵀ x + b moves from saddle to saddle, each the
best linear solution of one more rank. Write w_k = v_kᵀ W for the row of hidden space that belongs to a principal
direction v_k of the weighted covariance, λ_k for its eigenvalue, and g_kj = w_k · w_j. With the bias at its optimum,

    dw_k/dt = 4 λ_k w_k − 2 Σ_j (λ_k + λ_j) g_kj w_j.

On its own, ‖w_k‖² follows the logistic equation of rate 8 λ_k. Once a stronger direction j has grown to ‖w_j‖ = 1,
the part of w_k along w_j decays at the rate 2 (λ_j − λ_k), while the perpendicular part keeps growing: only the part
of the start that is perpendicular to all stronger directions counts. (For linear networks in general: Saxe,
McClelland & Ganguli 2014; for autoencoders: Gidel, Bach & Lacoste-Julien 2019.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Num

from tegum.analysis.geometry.measures import ArrayMeasure, Kind, Matrices
from tegum.analysis.linear.pca import principal_axes
from tegum.analysis.linear.subspaces import check_features, matrix_shape, renamed
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution

HALF = 0.5
"""The strength ‖v_kᵀ W‖² at which a direction counts as having escaped from the saddle before it."""


@refusing
def mode_strengths(weights: Kind, features: FeatureDistribution, count: int) -> Kind:
    """Compute how strongly a model has learned each leading principal direction v_k: ‖v_kᵀ W‖².

    A strength is 1 where the best linear model has the direction and 0 where it has not. If eigenvalues are equal
    the directions are a choice of the solver, and only the sum over them is meaningful.

    Args:
        weights: W, shape (..., n, m) or a DataArray with dims feature and hidden; features are rows.
        features: the feature distribution, with its importances.
        count: the number of directions, from 1 to n.

    Returns:
        Strengths, shape (..., count), in falling order of the eigenvalues of the weighted covariance; NaN for a
        diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), `features` is not a distribution
            of as many features, or `count` is out of range.

    Example:
        Two correlated features, collapsed into one direction, are exactly their principal component (a + b)/√2.

        >>> import tegum as tg
        >>> import numpy as np
        >>> pair = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)])
        >>> tg.mode_strengths(np.array([[1.0], [1.0]]) / np.sqrt(2), pair, count=2).round(6).tolist()
        [1.0, 0.0]

    """
    axes = _leading(weights, features, count, "mode_strengths")[1]
    measure = ArrayMeasure("mode_strengths", "strength of a principal direction", dims=("feature",))

    def kernel(W: Matrices) -> Float[np.ndarray, "matrix feature"]:
        strengths = np.square(axes.T @ W).sum(-1)
        return np.pad(strengths, ((0, 0), (0, W.shape[-2] - count)))

    return renamed(measure.of(kernel, weights), "feature", "mode", np.arange(count))


@refusing
def predicted_escapes(
    weights: Num[Any, "*run feature hidden"], features: FeatureDistribution, count: int
) -> Float[np.ndarray, "*run mode"]:
    """Predict when gradient flow of the tied linear model learns each leading direction, from the weights at the start.

    The prediction is ln((1 − q_k)/q_k) / (8 λ_k), the time at which the strength of `mode_strengths` reaches 1/2.
    Here λ_k is the eigenvalue of direction k, and q_k the squared length of the part of w_k = v_kᵀ W that is
    perpendicular to those of all stronger directions. The formula (derived in `tegum.analysis.linear.escapes`) holds
    for starts so small and eigenvalues so distinct that the directions come one after another. The loss is the
    importance-weighted sum over features.

    Args:
        weights: W at the start, shape (..., n, m); features are rows.
        features: the feature distribution, with its importances.
        count: the number of directions, from 1 to n.

    Returns:
        Escape times, shape (..., count), in units of flow time; infinite where nothing is left to grow, as for
        directions beyond m; 0 where a direction has already escaped; NaN where weights are not finite.

    Raises:
        ValueError: weights have no axes (feature, hidden), `features` is not a distribution of as many features, or
            `count` is out of range.

    Example:
        One feature of density 0.3 has the variance λ = 0.1 − 0.15². From W = 0.1 its weight reaches ‖W‖² = 1/2 at
        ln(0.99/0.01)/(8λ).

        >>> import tegum as tg
        >>> import numpy as np
        >>> feature = tg.FeatureDistribution([tg.Independent(count=1, density=0.3)])
        >>> float(tg.predicted_escapes(np.array([[0.1]]), feature, count=1).round(4)[0])
        7.4115
        >>> float(np.round(np.log(0.99 / 0.01) / (8 * (0.1 - 0.15**2)), 4))
        7.4115

    """
    values, axes = _leading(weights, features, count, "predicted_escapes")
    if matrix_shape(weights) is None:
        rule = "weights must have the shape (..., feature, hidden)"
        raise ValueError(f"predicted_escapes(weights of shape {np.shape(weights)}): {rule}")
    given = np.asarray(weights, np.float64)
    rows = axes.T @ given
    left = np.zeros(rows.shape[:-1])
    for mode in range(min(count, given.shape[-1])):
        left[..., mode] = np.square(rows[..., mode, :]).sum(-1)
        length = np.sqrt(left[..., mode, None])
        direction = np.divide(rows[..., mode, :], length, out=np.zeros_like(rows[..., mode, :]), where=length > 0)
        rows = rows - (rows @ direction[..., None]) * direction[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        # NaN is not at least 1, and stays NaN.
        odds = np.where(left >= 1, -np.inf, np.log((1 - left) / left))
        found = np.where(values > 0, np.maximum(odds, 0.0) / (8 * values), np.inf)
    lost = np.asarray(np.isnan(given).any((-2, -1)))
    return np.where(lost[..., None], np.nan, found)


def escape_times(
    strengths: Float[np.ndarray, "*run step mode"], time: Float[np.ndarray, " time"]
) -> Float[np.ndarray, "*run mode"]:
    """Find when each direction first reaches a strength of 1/2, interpolated between snapshots.

    Args:
        strengths: strengths of each snapshot as `mode_strengths` returns them, shape (..., step, mode); NaN never
            reaches 1/2.
        time: the times of the snapshots, rising, in any unit.

    Returns:
        Times in that unit, shape (..., mode); infinite for a direction that never reaches 1/2.

    Raises:
        ValueError: the numbers of times and snapshots differ, or times do not rise.

    """
    if strengths.shape[-2] != len(time):
        raise ValueError(f"escape_times({len(time)} times): there are {strengths.shape[-2]} snapshots")
    if not (np.diff(time) > 0).all():
        raise ValueError("escape_times(time): times of snapshots must rise")
    reached = strengths >= HALF
    after = np.argmax(reached, -2)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(strengths, at[..., None, :], -2)[..., 0, :] for at in (before, after))
    part = np.divide(HALF - low, high - low, out=np.zeros_like(low), where=(high > low) & (after > 0))
    found = time[before] + part * (time[after] - time[before])
    return np.where(reached.any(-2), found, np.inf)


def _leading(
    weights: Any, features: FeatureDistribution, count: int, call: str
) -> tuple[Float[np.ndarray, " mode"], Float[np.ndarray, "feature mode"]]:
    check_features(call, weights, features)
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= features.n:
        raise ValueError(f"{call}(count={count!r}): count must be an int from 1 to {features.n}")
    values, axes = principal_axes(features)
    return values[:count], axes[:, :count]
