"""The model: its forward pass against a naive loop, and starts that are normal and independent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import combinations, product
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Independent
from tegum.core.model import (
    ACTIVATIONS,
    Activation,
    activation_named,
    forward,
    initial_weights,
    stream_seed,
)

# Under the jaxtyping import hook an argument of a wrong type or shape never reaches the function's own check.
forward_unchecked = inspect.unwrap(forward)
activation_unchecked = inspect.unwrap(activation_named)
start_unchecked = inspect.unwrap(initial_weights)
seed_unchecked = inspect.unwrap(stream_seed)


def model(seed: int, *runs: int, n: int = 5, m: int = 2, batch: int = 7) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*runs, n, m)), rng.standard_normal((*runs, n)), rng.random((batch, n))


def naive_output(W: np.ndarray, b: np.ndarray, x: np.ndarray, activation: str) -> np.ndarray:
    n, m = W.shape
    out = np.zeros_like(x)
    for sample, row in enumerate(x):
        hidden = [sum(W[i, k] * row[i] for i in range(n)) for k in range(m)]
        for j in range(n):
            z = b[j] + sum(W[j, k] * hidden[k] for k in range(m))
            out[sample, j] = max(z, 0) if activation == "relu" else z
    return out


def bonferroni(comparisons: int) -> float:
    """What the largest |z| of so many correct comparisons exceeds with probability below 1e-6."""
    return float(scipy.stats.norm.isf(1e-6 / 2 / comparisons))


# The forward pass


@pytest.mark.parametrize("runs", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_forward_is_the_naive_loop(xp: Any, activation: Activation, runs: tuple[int, ...]):
    W, b, x = (xp.asarray(array) for array in model(0, *runs))
    out = forward(W, b, x, activation)
    assert isinstance(out, np.ndarray if xp is np else jax.Array)
    assert out.shape == (*runs, 7, 5)
    for run in np.ndindex(runs):
        expected = naive_output(np.asarray(W[run]), np.asarray(b[run]), np.asarray(x), activation)
        assert_allclose(out[run], expected, rtol=1e-12 if xp is np else 1e-4, atol=1e-14 if xp is np else 1e-6)


def test_forward_keeps_the_precision_of_its_arrays():
    W, b, x = (array.astype(np.float32) for array in model(1))
    assert forward(W, b, x).dtype == np.float32
    assert forward(*map(jnp.asarray, (W, b, x))).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.float16, bool, jnp.bfloat16])
@pytest.mark.parametrize("xp", [np, jnp])
def test_small_numbers_are_computed_in_a_precision_that_holds_their_products(xp: Any, dtype: Any):
    W, b, x = xp.ones((3, 2), dtype) * 100, xp.zeros(3, dtype), xp.ones((1, 3), dtype) * 100
    W, x = W.astype(dtype), x.astype(dtype)
    hundred = 1.0 if dtype is bool else 100.0
    out = forward(W, b, x)
    assert out.dtype in (np.float32, np.float64)
    assert_array_equal(np.asarray(out), [[6 * hundred**3] * 3])


@pytest.mark.parametrize("which", [0, 1, 2], ids=["weights", "bias", "x"])
def test_one_jax_array_makes_the_output_one(which: int):
    arrays = list(model(2))
    expected = forward(*arrays)
    arrays[which] = jnp.asarray(arrays[which])
    out = forward(*arrays)
    assert isinstance(out, jax.Array)
    assert_allclose(out, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", get_args(Activation))
def test_an_activation_is_a_floor(name: Activation):
    activation = ACTIVATIONS[name]
    z = np.array([-3.0, -1e-300, -0.0, 0.0, 1e-300, 2.5, -np.inf, np.inf])
    assert activation.name == name
    assert_array_equal(activation.function(z), np.maximum(z, activation.floor))
    assert_array_equal(activation.function(jnp.asarray(z, dtype=jnp.float32)) == 2.5, z == 2.5)
    # Compiled kernels call an output alive where z > floor; the derivative must agree, at the kink too.
    at = jnp.array([-1.0, 0.0, 1.0])
    assert_array_equal(jax.vmap(jax.grad(activation.function))(at), at > activation.floor)


def test_the_names_of_activations_are_their_keys():
    assert tuple(ACTIVATIONS) == get_args(Activation)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_what_is_not_a_number_stays_so(xp: Any, activation: Activation):
    W, b, x = (xp.asarray(array) for array in model(3))
    assert xp.isnan(forward(W, b * np.nan, x, activation)).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            ((5,), (5,), (7, 5)),
            "forward(weights of shape (5,)): weights must have the shape (..., feature, hidden)",
        ),
        (
            ((5, 2), (4,), (7, 5)),
            "forward(bias of shape (4,)): bias must have the shape (5,), as weights has (5, 2)",
        ),
        (
            ((3, 5, 2), (5,), (7, 5)),
            "forward(bias of shape (5,)): bias must have the shape (3, 5), as weights has (3, 5, 2)",
        ),
        (
            ((5, 2), (5,), (7, 4)),
            "forward(x of shape (7, 4)): x must have the shape (batch, 5), with a batch of at least 1, "
            "as weights has (5, 2)",
        ),
        (
            ((5, 2), (5,), (0, 5)),
            "forward(x of shape (0, 5)): x must have the shape (batch, 5), with a batch of at least 1, "
            "as weights has (5, 2)",
        ),
    ],
    ids=repr,
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        forward_unchecked(*map(np.zeros, shapes))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "end"),
    [("rellu", "did you mean 'relu'?"), ("tanh", "known are linear, relu"), (None, "known are linear, relu")],
)
def test_an_unknown_activation_is_refused(name: Any, end: str):
    with pytest.raises(ValueError, match="no such activation") as caught:
        activation_unchecked(f"forward(activation={name!r})", name)
    assert str(caught.value) == f"forward(activation={name!r}): there is no such activation; {end}"


def test_forward_knows_its_activations():
    with pytest.raises(ValueError, match="no such activation"):
        forward_unchecked(*model(0), "rellu")


# Starts


@pytest.mark.parametrize("scale", [None, 0.05, 3.0, 1], ids=str)
@pytest.mark.parametrize(("n", "m"), [(6, 2), (20, 5), (1, 1)])
def test_starts_are_normal_with_the_given_deviation(n: int, m: int, scale: float | None):
    deviation = np.sqrt(2 / (n + m)) if scale is None else scale
    starts = np.stack([initial_weights(11, run, n, m, scale) for run in range(500)])
    assert starts.dtype == np.float32
    z = starts.astype(np.float64).reshape(len(starts), -1) / deviation
    # Every entry over the runs, and all of them together: mean 0 and, as Var(z²) = 2, mean square 1.
    scores = [*(z.mean(0) * len(z) ** 0.5), *((z**2 - 1).mean(0) * (len(z) / 2) ** 0.5)]
    assert np.abs(z.mean(1)).max() * (n * m) ** 0.5 < bonferroni(len(z))
    assert abs(z.mean()) * z.size**0.5 < bonferroni(1)
    # Chi-squared has heavier tails than the normal that so many runs approach.
    assert np.abs(scores).max() < 1.15 * bonferroni(len(scores))
    assert abs((z**2 - 1).mean()) * (z.size / 2) ** 0.5 < 1.15 * bonferroni(1)
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 1e-6


def test_scale_stretches_the_same_draw():
    one = initial_weights(0, 0, 6, 2, 1.0)
    assert_allclose(initial_weights(0, 0, 6, 2, 0.01), 0.01 * one, rtol=1e-6)
    assert_allclose(initial_weights(0, 0, 6, 2), one / 2, rtol=1e-6)


def test_the_same_key_gives_the_same_bits():
    assert_array_equal(initial_weights(3, 4, 6, 2), initial_weights(np.int64(3), np.uint32(4), 6, 2))


def test_streams_stay_what_they_are_between_versions():
    expected = {
        (0, 0): [[0.9134892821311951, -0.16096603870391846], [0.6152217984199524, -0.8521380424499512]],
        (0, 1): [[0.04080940783023834, -0.21699485182762146], [0.1944158375263214, 0.21991389989852905]],
        (2**40, 3): [[-0.1704307496547699, 1.4745928049087524], [0.8230332136154175, -1.0706841945648193]],
    }
    for (base_seed, run), weights in expected.items():
        assert_array_equal(initial_weights(base_seed, run, 2, 2), np.array(weights, dtype=np.float32))
    words = {
        "start": [0xC2F02BABC72204BB, 0xE7584365E3A2DAF7],
        "training": [0xCBA17BBBA8877730, 0xF6AA48AEA2816EE4],
        "evaluation": [0xAB6A08921FAEDD23, 0x1E55F9D623609A94],
    }
    for purpose, state in words.items():
        assert stream_seed(3, 4, purpose).generate_state(2, np.uint64).tolist() == state


def test_streams_are_independent_across_base_seed_run_and_purpose():
    # Among them keys that a SeedSequence of plain entropy would take for one another.
    numbers = [0, 1, 2, 2**32, 2**32 + 1, 2**64 - 1]
    keys = list(product(numbers, numbers, ("start", "training", "evaluation")))
    length = 2_000
    draws = np.stack([np.random.Generator(np.random.Philox(stream_seed(*key))).standard_normal(length) for key in keys])
    # The product of two independent standard normals has mean 0 and variance 1.
    scores = (draws @ draws.T)[np.triu_indices(len(keys), 1)] / length**0.5
    assert np.abs(scores).max() < bonferroni(len(scores))


def test_no_two_keys_share_a_start_or_a_feature_stream():
    numbers = [0, 1, 2, 2**32, 2**64 - 1]
    starts = [initial_weights(*key, 3, 2) for key in product(numbers, numbers)]
    assert all(not np.array_equal(a, b) for a, b in combinations(starts, 2))

    # With density 1 the samples are the stream's own uniforms.
    features = FeatureDistribution([Independent(4, 1.0)])
    plain = [features.sample(key, 1).ravel() for key in [0, 1, (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 1, 0)]]
    keyed = [
        np.random.Generator(np.random.Philox(stream_seed(*key))).random(4)
        for key in product([0, 1], [0, 1], ("start", "training", "evaluation"))
    ]
    assert all(not np.array_equal(a, b) for a, b in combinations(plain + keyed, 2))


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: start_unchecked(0, 0, 0, 2), "initial_weights(n=0): n must be an int of at least 1"),
    (lambda: start_unchecked(0, 0, 6, 0), "initial_weights(m=0): m must be an int of at least 1"),
    (lambda: start_unchecked(0, 0, 6.0, 2), "initial_weights(n=6.0): n must be an int of at least 1"),
    (lambda: start_unchecked(0, 0, 6, True), "initial_weights(m=True): m must be an int of at least 1"),
    *(
        (
            lambda scale=scale: start_unchecked(0, 0, 6, 2, scale),
            f"initial_weights(scale={scale!r}): scale must be a positive finite number, or None for Xavier",
        )
        for scale in (0.0, -1.0, float("nan"), float("inf"), "0.1", True, [0.1])
    ),
    (
        lambda: start_unchecked(-1, 0, 6, 2),
        "stream_seed(base_seed=-1): base_seed must be an int in [0, 2**64)",
    ),
    (lambda: seed_unchecked(0, -1, "start"), "stream_seed(run=-1): run must be an int in [0, 2**64)"),
    (lambda: seed_unchecked(0, 1.0, "start"), "stream_seed(run=1.0): run must be an int in [0, 2**64)"),
    (
        lambda: seed_unchecked(True, 1, "start"),
        "stream_seed(base_seed=True): base_seed must be an int in [0, 2**64)",
    ),
    (
        lambda: seed_unchecked(2**64, 1, "start"),
        f"stream_seed(base_seed={2**64}): base_seed must be an int in [0, 2**64)",
    ),
    (
        lambda: seed_unchecked(0, 0, "star"),
        "stream_seed(purpose='star'): there is no such purpose; did you mean 'start'?",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_refused_in_one_sentence(call: Callable[[], Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call()
    assert str(caught.value) == message
