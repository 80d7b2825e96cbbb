"""Principal directions that a model learns one after the other: how strong each is, when it comes, and when it should.

From a small start the gradient flow of the tied linear model x̂ = W Wᵀ x + b goes from saddle to saddle, each the best
linear solution of one more rank. Write w_k = v_kᵀ W for the row that a principal direction v_k of the weighted
covariance has in hidden space, λ_k for its eigenvalue, and g_kj = w_k · w_j. With the bias at its best,

    dw_k/dt = 4 λ_k w_k − 2 Σ_j (λ_k + λ_j) g_kj w_j.

Alone, |w_k|² follows the logistic equation of rate 8 λ_k. Where a stronger direction j has grown to |w_j| = 1, what w_k
has along w_j decays, at the rate 2 (λ_j − λ_k), and what is perpendicular to it goes on growing: only the part of the
start that is perpendicular to all stronger directions counts. (For linear networks in general: Saxe, McClelland &
Ganguli, 2014; for autoencoders Gidel, Bach & Lacoste-Julien, 2019.)
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
"""The strength at which a direction has escaped from the saddle before it."""


@refusing
def mode_strengths(weights: Kind, features: FeatureDistribution, count: int) -> Kind:
    """|v_kᵀ W|² of the leading principal directions v_k, in falling order of their eigenvalues; shape (..., mode).

    It is 1 where the best linear model has the direction, and 0 where it has not. Where eigenvalues are equal the
    directions are a choice (`tegum.analysis.linear.pca.principal_axes`), and only the sum over them has a meaning.

    Args:
        weights: shape (..., feature, hidden).
        features: the feature distribution, with its importances.
        count: how many directions, from 1 to n.

    Raises:
        ValueError: as said for `tegum.analysis.geometry.measures`; features do not fit the weights, or count is out of
        range.

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
    """When the gradient flow of the tied linear model gives each leading direction a strength of 1/2; in its time.

    ln((1 − q_k)/q_k) / (8 λ_k) with q_k the squared length of the part of w_k at the start that is perpendicular to
    those of all stronger directions. The loss is the weighted sum over features of squared errors. Infinite where
    nothing is left to grow, as beyond m directions; 0 where a direction has escaped at the start; NaN where weights
    are. The formula is that of a start so small, and of eigenvalues so distinct, that directions come one after the
    other.

    Args:
        weights: at the start, shape (..., feature, hidden).
        features: as in `mode_strengths`.
        count: as there.

    Raises:
        ValueError: as there.

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
    """When each direction first has a strength of 1/2, interpolated between snapshots; infinite if it never has.

    NaN is no strength of 1/2.

    Args:
        strengths: of each snapshot, as `mode_strengths` tells them.
        time: of the snapshots, rising, in any unit.

    Raises:
        ValueError: there are not as many times as snapshots, or they do not rise.

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
