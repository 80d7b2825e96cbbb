"""The public population loss: its JAX form against exact arithmetic, its derivatives, and what it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference.population_truth import Case, cases, sampled_loss, truth

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Correlated, Equivariant, FeatureSet, Independent
from tegum.core.loss.population import population_gradient, population_loss

CASES = {case.id: case for case in cases()}
PAIRS = FeatureDistribution([Correlated(2, 0.1)] * 2)
RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(4, 2)) * 0.6, RNG.normal(size=4) * 0.1

# Under the jaxtyping import hook an argument of a wrong type never reaches the function's own check.
loss_unchecked = inspect.unwrap(population_loss)


def jax_case(case: Case) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(case.W), jnp.asarray(case.b)


def slow(*names: str) -> list[Any]:
    """Cases that cost a compilation each."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    "name",
    [
        "independent-4",
        "two-digons-zero-bias-dead-rows",
        "zero",
        *slow(
            "independent-unequal-3",
            "mixed-6",
            "correlated-4",
            "correlated-always-active-3",
            "anticorrelated-unequal-3",
            "partially-4",
            "dead-positive-bias",
            "two-digons-negative-bias-dead-rows",
            "nearly-orthogonal-1e-06",
            "collapsed-pairs",
        ),
    ],
)
def test_jax_agrees_with_the_truth(name: str) -> None:
    case = CASES[name]
    with jax.enable_x64(True):
        loss, error = population_loss(*jax_case(case), case.features, with_error=True)
    assert loss.dtype == np.float64
    assert abs(float(loss) - truth(case.W, case.b, case.features)) <= float(error) <= 1e-8


@pytest.mark.parametrize("name", slow("digon-negative-bias-dead-rows", "independent-4", "mixed-5", "orthogonal"))
def test_jax_gradient_agrees_with_the_truth(name: str) -> None:
    case = CASES[name]
    _, gradient = truth(case.W, case.b, case.features, 1)
    with jax.enable_x64(True):
        found = jax.grad(lambda model: population_loss(*model, case.features))(jax_case(case))
    assert_allclose(np.append(found[0], found[1]), gradient, atol=1e-8)


@pytest.mark.parametrize("name", slow("correlated-2", "digon-negative-bias"))
def test_jax_hessian_agrees_with_the_truth(name: str) -> None:
    case = CASES[name]
    *_, hessian = truth(case.W, case.b, case.features, 2)
    size = case.W.size
    with jax.enable_x64(True):
        theta = jnp.append(*jax_case(case))
        found = jax.jit(
            jax.hessian(lambda theta: population_loss(theta[:size].reshape(case.W.shape), theta[size:], case.features))
        )(theta)
    assert_allclose(found, hessian, atol=1e-5 * np.linalg.norm(hessian))


@pytest.mark.slow
def test_transformations_and_single_precision_leave_the_configuration_alone() -> None:
    w, b = jnp.asarray(W), jnp.asarray(B)
    assert w.dtype == np.float32
    # As many models as in the test of leading dimensions, so that one program serves both.
    loss = population_loss(jnp.broadcast_to(w, (2, 3, 4, 2)), jnp.broadcast_to(b, (2, 3, 4)), PAIRS)
    assert loss.dtype == np.float64
    expected = truth(np.asarray(w, np.float64), np.asarray(b, np.float64), PAIRS)
    assert_allclose(loss, np.full((2, 3), expected), rtol=0, atol=1e-8)
    # All transformations at once: each by itself compiles the whole again.
    both, gradients = jax.jit(jax.vmap(jax.value_and_grad(lambda w: population_loss(w, b, PAIRS))))(jnp.stack([w, w]))
    assert_allclose(both, [expected, expected], atol=1e-7)
    assert gradients.dtype == np.float32
    assert_allclose(gradients, [truth(W, B, PAIRS, 1)[1][:8].reshape(4, 2)] * 2, atol=1e-6)
    assert not jax.config.read("jax_enable_x64")
    assert jnp.ones(1).dtype == np.float32


def test_leading_dimensions() -> None:
    w = RNG.normal(size=(2, 3, 4, 2))
    b = RNG.normal(size=(2, 3, 4)) * 0.1
    loss, error = population_loss(w, b, PAIRS, with_error=True)
    assert loss.shape == error.shape == (2, 3)
    assert loss[1, 2] == population_loss(w[1, 2], b[1, 2], PAIRS)
    dw, db = population_gradient(w, b, PAIRS)
    assert dw.shape == w.shape
    assert db.shape == b.shape
    with jax.enable_x64(True):
        assert_allclose(population_loss(jnp.asarray(w), jnp.asarray(b), PAIRS), loss, atol=2e-8)


def test_gradient_agrees_with_the_truth() -> None:
    dw, db = population_gradient(W, B, PAIRS, tol=1e-10)
    assert_allclose(np.append(dw, db), truth(W, B, PAIRS, 1)[1], atol=1e-10)


def test_linear_model_in_both_forms_against_samples() -> None:
    features = FeatureDistribution([Correlated(2, 0.3), Independent(2, (0.4, 0.8), importance=(1.0, 0.2))])
    x = features.sample(3, 500_000)
    each = ((x - x @ W @ W.T - B) ** 2 * features.importance).sum(1)
    loss = population_loss(W, B, features, activation="linear")
    assert abs(loss - each.mean()) < 4.5 * each.std() / np.sqrt(len(each))
    with jax.enable_x64(True):
        assert_allclose(
            population_loss(jnp.asarray(W), jnp.asarray(B), features, activation="linear"), loss, rtol=1e-13
        )
        gradient = jax.grad(lambda w: population_loss(w, jnp.asarray(B), features, activation="linear"))(jnp.asarray(W))
    assert_allclose(gradient, population_gradient(W, B, features, activation="linear")[0], atol=1e-12)


@pytest.mark.quick_form
def test_equivariant_by_jax_against_samples() -> None:
    features = FeatureDistribution([Equivariant(4, 0.3, 0.7)])
    mean, error = sampled_loss(W, B, features, 1_000_000, seed=1)
    loss, bound = population_loss(W, B, features, with_error=True)
    assert bound <= 1e-8
    assert abs(loss - mean) < 4.5 * error


def test_scales_of_single_precision_do_not_matter() -> None:
    # float32 weights, as sampled training leaves them, are taken as the numbers they are.
    w, b = W.astype(np.float32), B.astype(np.float32)
    assert population_loss(w, b, PAIRS) == population_loss(w.astype(np.float64), b.astype(np.float64), PAIRS)


class _Opaque(Independent):
    """A set that can be sampled only."""

    def transform(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


def test_refusals_in_one_sentence() -> None:
    bad = W.copy()
    bad[2, 1] = np.nan
    refused: list[tuple[tuple, dict, str]] = [
        ((bad, B, PAIRS), {}, r"population_loss\(weights\): weights must be finite"),
        ((W, B[:3], PAIRS), {}, r"population_loss\(bias of shape \(3,\)\): bias must have the shape \(4,\)"),
        ((W[:3], B[:3], PAIRS), {}, r"population_loss\(weights of shape \(3, 2\)\): weights must have the shape"),
        ((np.zeros((0, 4, 2)), np.zeros((0, 4)), PAIRS), {}, "there must be at least one model"),
        (
            (W, B, [Correlated(2, 0.1)] * 2),
            {},
            r"population_loss\(features=list\): features must be a",
        ),
        ((W, B, PAIRS), {"tol": 0.0}, r"population_loss\(tol=0.0\): tol must be a positive finite number"),
        ((W, B, PAIRS), {"tol": 1e-19}, r"population_loss\(tol=1e-19\): tol cannot be reached"),
        (
            (jnp.asarray(W), jnp.asarray(B), PAIRS),
            {"tol": 1e-19},
            r"population_loss\(tol=1e-19\): tol cannot be reached",
        ),
        ((W, B, PAIRS), {"activation": "gelu"}, r"activation='gelu'"),
    ]
    for arguments, options, sentence in refused:
        with pytest.raises(ValueError, match=sentence) as caught:
            loss_unchecked(*arguments, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"Correlated\(density=1.7\): density must lie in \(0, 1\]"):
        Correlated(2, 1.7)
    with pytest.raises(ValueError, match=r"Correlated\(density=0\): density must lie in \(0, 1\]"):
        Correlated(2, 0)


def test_a_set_without_characteristic_function_names_the_alternative() -> None:
    features = FeatureDistribution([_Opaque(4, 0.1)])
    assert isinstance(features.sets[0], FeatureSet)
    with pytest.raises(
        ValueError,
        match=r"^population_loss\(features=\[…, .*\]\): there is no series .*; train with Sampled, and use",
    ):
        population_loss(jnp.asarray(W), jnp.asarray(B), features)
