"""The empirical loss against a naive loop; its gradient against finite differences and JAX's own."""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tegum.core.loss import empirical as losses
from tegum.core.loss.empirical import empirical_gradient, empirical_loss
from tegum.core.model import Activation

# Under the jaxtyping import hook an argument of a wrong type or shape never reaches the function's own check.
loss_unchecked = inspect.unwrap(empirical_loss)
gradient_unchecked = inspect.unwrap(empirical_gradient)

each_activation = pytest.mark.parametrize("activation", get_args(Activation))
each_importance = pytest.mark.parametrize(
    "importance", [1.0, 0.3, np.array([1.0, 0.5, 0.0, 2.0, 0.25])], ids=["one", "a number", "per feature"]
)
each_runs = pytest.mark.parametrize("runs", [(), (3,), (2, 3)], ids=str)


def float64() -> AbstractContextManager[Any]:
    """JAX in double precision, for one block of code."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def model(seed: int, *runs: int, n: int = 5, m: int = 2, batch: int = 23) -> tuple[np.ndarray, ...]:
    """Weights, biases and samples with some features inactive, as real ones are."""
    rng = np.random.default_rng(seed)
    x = rng.random((batch, n)) * (rng.random((batch, n)) < 0.6)
    return rng.standard_normal((*runs, n, m)), rng.standard_normal((*runs, n)) / 2, x


def naive_loss(W: np.ndarray, b: np.ndarray, x: np.ndarray, importance: Any, activation: str) -> float:
    n, m = W.shape
    weight = np.broadcast_to(importance, n)
    total = 0.0
    for row in x:
        for j in range(n):
            z = b[j] + sum(W[j, k] * W[i, k] * row[i] for i in range(n) for k in range(m))
            out = max(z, 0) if activation == "relu" else z
            total += weight[j] * (row[j] - out) ** 2
    return total / len(x)


# The loss


@each_runs
@each_importance
@each_activation
def test_loss_is_the_naive_loop(activation: Activation, importance: Any, runs: tuple[int, ...]):
    W, b, x = model(0, *runs)
    loss = empirical_loss(W, b, x, importance, activation)
    assert loss.shape == runs
    assert loss.dtype == np.float64
    for run in np.ndindex(runs):
        assert_allclose(loss[run], naive_loss(W[run], b[run], x, importance, activation), rtol=1e-13)


def test_loss_is_summed_over_features_and_averaged_over_samples():
    # Nothing is reconstructed: what is left is Σ_j I_j mean(x_j²).
    x = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 0.2]])
    loss = empirical_loss(np.zeros((3, 1)), np.zeros(3), x, np.array([1.0, 10.0, 100.0]))
    assert_allclose(loss, 0.5 + 10 * 0.25 + 100 * 0.02)
    assert_allclose(empirical_loss(np.eye(3), np.zeros(3), x), 0, atol=1e-30)


def test_single_precision_is_computed_in_double():
    W, b, x = (array.astype(np.float32) for array in model(1, 4, batch=1_000))
    doubles = [array.astype(np.float64) for array in (W, b, x)]
    assert_array_equal(empirical_loss(W, b, x), empirical_loss(*doubles))
    for single, double in zip(empirical_gradient(W, b, x), empirical_gradient(*doubles), strict=True):
        assert single.dtype == np.float64
        assert_array_equal(single, double)


@pytest.mark.parametrize("elements", [1, 40, 300, 1_000])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, elements: int):
    W, b, x = model(2, 4, 3)
    importance = np.arange(5.0)
    expected = empirical_loss(W, b, x, importance), *empirical_gradient(W, b, x, importance)
    monkeypatch.setattr(losses, "BLOCK_ELEMENTS", elements)
    blocked = empirical_loss(W, b, x, importance), *empirical_gradient(W, b, x, importance)
    for one, other in zip(blocked, expected, strict=True):
        assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("runs", "n", "m", "batch"), [(3_000, 6, 2, 1_000), (1, 6, 2, 2_000_000), (2_000, 60, 30, 1)], ids=str
)
def test_memory_is_bounded(runs: int, n: int, m: int, batch: int):
    W, b, x = (np.zeros(shape, dtype=np.float32) for shape in ((runs, n, m), (runs, n), (batch, n)))
    tracemalloc.start()
    try:
        empirical_loss(W, b, x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


@each_importance
@each_activation
def test_loss_of_jax_arrays(activation: Activation, importance: Any):
    W, b, x = model(3, 4)
    expected = empirical_loss(W, b, x, importance, activation)
    single = empirical_loss(*map(jnp.asarray, (W, b, x)), importance, activation)
    assert isinstance(single, jax.Array)
    assert single.dtype == jnp.float32
    assert_allclose(single, expected, rtol=1e-5)
    # What JAX compiles knows no value of an importance; mixed arrays take JAX's side.
    compiled = jax.jit(lambda W, b, importance: empirical_loss(W, b, x, importance, activation))
    assert_allclose(compiled(W, b, jnp.asarray(importance)), expected, rtol=1e-5)
    assert_allclose(empirical_loss(W, b, x, jnp.asarray(importance), activation), expected, rtol=1e-5)


# The gradient


@each_importance
@each_activation
def test_gradient_is_that_of_central_differences(activation: Activation, importance: Any):
    W, b, x = model(4)
    step = 1e-6
    # No output comes near its kink within a step.
    assert np.abs(x @ W @ W.T + b).min() > 100 * step
    for array, gradient in zip((W, b), empirical_gradient(W, b, x, importance, activation), strict=True):
        differences = np.empty_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = empirical_loss(W, b, x, importance, activation)
            array[index] = kept - step
            below = empirical_loss(W, b, x, importance, activation)
            array[index] = kept
            differences[index] = (above - below) / (2 * step)
        assert_allclose(gradient, differences, rtol=1e-7, atol=1e-8)


@each_runs
@each_activation
def test_loss_and_gradient_are_those_of_jax_in_double_precision(activation: Activation, runs: tuple[int, ...]):
    W, b, x = model(5, *runs)
    importance = np.array([1.0, 0.5, 0.0, 2.0, 0.25])
    dW, db = empirical_gradient(W, b, x, importance, activation)
    assert dW.shape == W.shape
    assert db.shape == b.shape
    with float64():

        def total(W: Any, b: Any) -> Any:
            return empirical_loss(W, b, x, importance, activation).sum()

        value, expected = jax.jit(jax.value_and_grad(total, (0, 1)))(W, b)
        assert value.dtype == expected[0].dtype == jnp.float64
        assert_allclose(value, empirical_loss(W, b, x, importance, activation).sum(), rtol=1e-13)
        assert_allclose(dW, expected[0], rtol=1e-12, atol=1e-14)
        assert_allclose(db, expected[1], rtol=1e-12, atol=1e-14)


def test_gradient_of_a_linear_model_vanishes_at_the_identity():
    x = model(6)[2]
    dW, db = empirical_gradient(np.eye(5), np.zeros(5), x, 1.0, "linear")
    assert_allclose(dW, 0, atol=1e-15)
    assert_allclose(db, 0, atol=1e-15)


def test_an_output_at_its_kink_is_dead():
    # Rows and biases of zero: z = 0 exactly, where JAX's own maximum would have the derivative ½.
    W, b, x = np.zeros((5, 2)), np.zeros(5), model(7)[2]
    expected = jax.jit(jax.grad(lambda b: empirical_loss(W, b, x)))(b)
    assert_array_equal(empirical_gradient(W, b, x)[1], 0)
    assert_array_equal(expected, 0)


@pytest.mark.parametrize("value", [1e200, np.nan, np.inf], ids=str)
def test_a_diverged_run_leaves_the_others_alone(value: float):
    W, b, x = model(8, 3)
    expected = empirical_loss(W, b, x), *empirical_gradient(W, b, x)
    W[1] = value
    found = empirical_loss(W, b, x), *empirical_gradient(W, b, x)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one[[0, 2]], other[[0, 2]])
        assert not np.isfinite(one[1]).all()


# Bad input

REFUSED: list[tuple[Callable[..., Any], str]] = [
    (lambda call: call(*model(0), -1.0), "(importance=-1.0): importance must be at least 0 and finite"),
    (
        lambda call: call(*model(0), float("nan")),
        "(importance=nan): importance must be at least 0 and finite",
    ),
    (
        lambda call: call(*model(0), float("inf")),
        "(importance=inf): importance must be at least 0 and finite",
    ),
    (
        lambda call: call(*model(0), [1.0, 2.0]),
        "(importance of shape (2,)): importance must be one number or 5, one for each feature",
    ),
    (
        lambda call: call(*model(0)[:2], np.zeros((3, 4))),
        "(x of shape (3, 4)): x must have the shape (batch, 5), with a batch of at least 1, as weights has (5, 2)",
    ),
    (
        lambda call: call(np.zeros((2, 5, 2)), np.zeros(5), np.zeros((3, 5))),
        "(bias of shape (5,)): bias must have the shape (2, 5), as weights has (2, 5, 2)",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
@pytest.mark.parametrize("function", [loss_unchecked, gradient_unchecked], ids=["loss", "gradient"])
def test_bad_values_are_refused_in_one_sentence(function: Any, call: Callable[..., Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call(function)
    assert str(caught.value) == function.__name__ + message


@pytest.mark.parametrize("function", [loss_unchecked, gradient_unchecked], ids=["loss", "gradient"])
def test_an_unknown_activation_is_refused(function: Any):
    said = rf"^{function.__name__}\(activation='rellu'\): there is no such activation; did"
    with pytest.raises(ValueError, match=said):
        function(*model(0), 1.0, "rellu")
