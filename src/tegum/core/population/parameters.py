"""From derivatives of each output's loss in its couplings and its bias to the Hessian in the parameters."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def hessian_in_parameters(
    weights: Float[np.ndarray, "feature hidden"],
    slopes: Float[np.ndarray, "feature feature_1"],
    curvature: Float[np.ndarray, "feature feature_1 feature_1"],
) -> Float[np.ndarray, "parameter parameter"]:
    """The Hessian of the loss in θ = (W row by row, b), exactly symmetric.

    Output j has the couplings a_p = W_j · W_p and the bias b_j. A coupling is felt by both of its rows, so that each
    second derivative ∂²/∂a_p ∂a_q adds to four blocks, and each first derivative to two.

    Args:
        weights: W.
        slopes: first derivatives of each output's part of the loss, in its couplings and, last, in its bias.
        curvature: second derivatives of the same.

    """
    n, m = weights.shape
    found = np.zeros((n * m + n, n * m + n))
    # Each block of two weight rows (p, q): Σ_j C_jpq W_j W_jᵀ.
    squares = (weights[:, :, None] * weights[:, None]).reshape(n, m * m)
    blocks = curvature[:, :n, :n].reshape(n, n * n).T @ squares
    blocks = np.ascontiguousarray(blocks.reshape(n, n, m, m).swapaxes(1, 2))
    # Of the output's own row with each other one, and with itself: Σ_q C_jpq W_q, and the same summed over p.
    moved = curvature[:, :, :n] @ weights
    crossed = np.einsum("jk,jpl->pkjl", weights, moved[:, :n])
    blocks += crossed
    blocks += crossed.transpose(2, 3, 0, 1)
    j = np.arange(n)
    blocks[j, :, j] += np.einsum("pk,jpl->jkl", weights, moved[:, :n])
    # Slopes are those of W_j · W_p in both.
    both = slopes[:, :n] + slopes[:, :n].T
    for k in range(m):
        blocks[:, k, :, k] += both
    found[: n * m, : n * m] = blocks.reshape(n * m, n * m)
    biases = np.einsum("jp,jk->pkj", curvature[:, :n, n], weights)
    biases[j, :, j] += moved[:, n]
    found[: n * m, n * m :] = biases.reshape(n * m, n)
    found[n * m :, : n * m] = found[: n * m, n * m :].T
    found[n * m + j, n * m + j] = curvature[:, n, n]
    return (found + found.T) / 2
