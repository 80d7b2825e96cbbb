"""What every peer must pass before it is compared: the same checks for PyTorch, torch.compile and JAX.

Gradients against the same written out by hand in NumPy at float64, the loss against tegum's own, the densities and
magnitudes of the samples, one step of AdamW, and that the loss falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from team import Recipe

BATCH = 1024


def gradient_by_hand(W: np.ndarray, bias: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the loss (importance 1) for one instance, written out.

    Takes W (feature, hidden), bias (feature,) and x (sample, feature); returns the derivatives by W and bias.
    """
    h = x @ W
    z = h @ W.T + bias
    dz = 2.0 * (np.maximum(z, 0.0) - x) * (z > 0.0) / x.size
    dh = dz @ W
    return x.T @ dh + dz.T @ h, dz.sum(axis=0)


def check_recipe(recipe: Recipe, name: str, **options: Any) -> None:
    """Check a recipe; raises AssertionError if something is wrong. `options` are further arguments of its `build`."""
    rng = np.random.default_rng(0)
    _check_gradient(recipe, rng, options)
    _check_samples(recipe, options)
    _check_update(recipe, options)
    first, last = _descent(recipe, options)
    assert last < 0.6 * first, (first, last)
    print(f"{name}: gradient, loss, samples, update and descent as expected; loss {first:.4f} -> {last:.4f}")


def _check_gradient(recipe: Recipe, rng: np.random.Generator, options: dict[str, Any]) -> None:
    """Three instances with different samples; the loss of all is also what tegum finds for the same samples."""
    import tegum as tg

    recipe.build(3, features=8, hidden=3, density=0.3, set_size=2, **options)
    W = rng.normal(size=(3, 8, 3)).astype(np.float32) * 0.5
    bias = rng.normal(size=(3, 8)).astype(np.float32) * 0.1
    recipe.load(W, bias)
    x = (rng.random((BATCH, 3, 8)) * (rng.random((BATCH, 3, 8)) < 0.3)).astype(np.float32)
    loss, dW, dbias = recipe.loss_and_gradient(x)
    ours = 0.0
    for i in range(3):
        by_W, by_bias = gradient_by_hand(*(a.astype(np.float64) for a in (W[i], bias[i], x[:, i])))
        np.testing.assert_allclose(dW[i], by_W, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(dbias[i], by_bias, rtol=1e-4, atol=1e-6)
        # The recipe takes the mean over features, tegum the sum.
        ours += float(tg.empirical_loss(W[i], bias[i], x[:, i])) / 8
    np.testing.assert_allclose(loss, ours, rtol=1e-5)


def _check_samples(recipe: Recipe, options: dict[str, Any]) -> None:
    """Each set is active with its density, independently of others, and magnitudes are uniform on [0, 1]."""
    for set_size in (1, 2):
        recipe.build(1, features=8, hidden=3, density=0.3, set_size=set_size, **options)
        x = recipe.samples(100_000)
        active = x > 0.0
        np.testing.assert_allclose(active.mean(axis=0), 0.3, atol=0.01)
        np.testing.assert_allclose((active[:, 0] & active[:, 2]).mean(), 0.09, atol=0.01)
        together = 0.3 if set_size == 2 else 0.09
        np.testing.assert_allclose((active[:, 0] & active[:, 1]).mean(), together, atol=0.01)
        both = active[:, 0] & active[:, 1]
        assert abs(np.corrcoef(x[both, 0], x[both, 1])[0, 1]) < 0.05
        for quantile in (0.1, 0.5, 0.9):
            np.testing.assert_allclose(np.quantile(x[:, 0][active[:, 0]], quantile), quantile, atol=0.02)
        assert 0.0 <= x.min() <= x.max() <= 1.0


def _check_update(recipe: Recipe, options: dict[str, Any]) -> None:
    """The first step of AdamW moves each parameter by the rate, against its gradient, after the decay."""
    recipe.build(2, features=6, hidden=2, density=1.0, set_size=1, **options)
    W, bias = np.full((2, 6, 2), 0.5, np.float32), np.full((2, 6), 0.25, np.float32)
    recipe.load(W, bias)
    recipe.train(1)
    # With all weights alike every output is too large, so all gradients are positive and move alike.
    for before, after in zip((W, bias), recipe.parameters(), strict=True):
        np.testing.assert_allclose(after, before * (1 - 1e-5) - 1e-3, rtol=1e-5)


def _descent(recipe: Recipe, options: dict[str, Any]) -> tuple[float, float]:
    """The exact loss at the start and after 1,500 steps, mean over eight runs."""
    import tegum as tg

    recipe.build(8, features=6, hidden=2, density=0.05, set_size=2, **options)
    pairs = tg.FeatureDistribution([tg.Correlated(2, 0.05)] * 3)
    losses = []
    for steps in (1, 1500):
        recipe.train(steps)
        W, bias = (a.astype(np.float64) for a in recipe.parameters())
        losses.append(float(np.mean(tg.population_loss(W, bias, pairs, tol=1e-6))))
    return losses[0], losses[1]
