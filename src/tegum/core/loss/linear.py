"""The loss of the linear model, x̂ = W Wᵀ x + b: a polynomial in W and b that asks for moments of the features alone.

Output j misses its feature by r_j · x + b_j, with r_j the rows of G − 1 and G = W Wᵀ, so that

    L = Σ_j I_j E[(r_j · x + b_j)²] = Σ_j I_j (r_j S r_j + 2 b_j r_j · μ + b_j²),

S = E[x xᵀ] and μ = E[x]. The best bias, b = (1 − G) μ, takes the mean away: what is left is the same with the
covariance C in place of S, tr[I (1 − G) C (1 − G)].

Whoever needs this loss takes it from here, NumPy and JAX alike, but for the kernel that trains on it
(`tegum.training.exact.kernels.probe`), which goes through the sets one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from tegum.core.model import namespace_of


def linear_loss(
    weights: Float[Any, "n m"],
    bias: Float[Any, " n"],
    mean: Float[Any, " n"],
    second: Float[Any, "n n"],
    importance: Float[Any, " n"],
) -> Float[Any, ""]:
    """L of one model, from first and second moments; in JAX it can be differentiated."""
    off = weights @ weights.T - namespace_of(weights).eye(len(mean))
    through = off @ mean
    return importance @ (((off @ second) * off).sum(1) + 2 * bias * through + bias**2)


def moment_form(mean: Float[Any, " n"], second: Float[Any, "n n"]) -> tuple[Float[Any, "k k"], Float[Any, "n k"]]:
    """The moments F of (x, 1), and E[x_j (x, 1)] as row j of a: with g_j = (G_j, b_j), output j is g_j · (x, 1).

    So its squared error is S_jj + g_j F g_j − 2 g_j · a_j in the mean: `squared_errors`.
    """
    xp = namespace_of(mean, second)
    form = xp.block([[second, mean[:, None]], [mean[None], xp.ones((1, 1))]])
    return form, xp.concatenate([second, mean[:, None]], 1)


def squared_errors(
    rows: Float[Any, "*run n k"], pull: Float[Any, "*run n k"], aim: Float[Any, "n k"], power: Float[Any, " n"]
) -> Float[Any, "*run n"]:
    """E[(x_j − x̂_j)²] of each output.

    Args:
        rows: g_j = (G_j, b_j).
        pull: F g_j, which derivatives ask for as well.
        aim: a of `moment_form`.
        power: S_jj.

    """
    return power + ((pull - 2 * aim) * rows).sum(-1)


def missed_at_best_bias(
    weights: Float[np.ndarray, "*run n m"], covariance: Float[np.ndarray, "n n"], importance: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "*run n n"], Float[np.ndarray, "*run n n"]]:
    """1 − G, and S = I (1 − G) C, of which the gradient is made: with the best bias ∂L/∂W = −2 (S + Sᵀ) W."""
    missed = np.eye(weights.shape[-2]) - weights @ np.swapaxes(weights, -1, -2)
    return missed, importance[:, None] * (missed @ covariance)


def loss_at_best_bias(
    weights: Float[np.ndarray, "*run n m"], covariance: Float[np.ndarray, "n n"], importance: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*run"]:
    """tr[I (1 − G) C (1 − G)]: L with the best bias for these weights."""
    missed, slope = missed_at_best_bias(weights, covariance, importance)
    return np.asarray((slope * missed).sum((-2, -1)))
