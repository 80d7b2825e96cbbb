"""What is added in one table works where it is known, and is refused in a sentence where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tegum.core.model import ACTIVATIONS, ActivationFunction
from tegum.training.spec.optimisers import OPTIMISERS, ExactOptimiser, Rule, SampledOptimiser

PROGRAM = """
import json
import numpy as np
from tegum.core import model
from tegum.training import sizes
from tegum.training.spec import optimisers

model.ACTIVATIONS["shifted"] = model.ActivationFunction("shifted", floor=-0.25)
optimisers.OPTIMISERS["sampled"] |= optimisers._table(
    optimisers.Optimiser("heavy", "momentum", ("momentum",), memory=1),
    optimisers.Optimiser("lion", "lion", ("betas",), memory=1),
)
optimisers.OPTIMISERS["exact"] |= optimisers._table(
    optimisers.Optimiser("newton", "newton", (), memory=0),
    optimisers.Optimiser("quasi", "lbfgs", ("gradient_tolerance",), memory=0),
)

import tegum as tg
from tegum.core.population.autodiff.series import jax_loss

found = {}

def tried(name, call):
    try:
        found[name] = call()
    except ValueError as error:
        found[name] = str(error)

def told(run):
    return {name: run[name].values.tolist() for name in ("weights", "bias", "loss")}

# Every sample is one that can be had again: the rows of a matrix in which there is one row.
row = np.array([[0.5, 0.0, 0.25]])
start = [[0.4, -0.3], [0.2, 0.5], [-0.6, 0.1]], [-0.2, 0.1, -0.9]
W, b = np.array(start[0]), np.array(start[1])
rows, sure = [tg.Empirical(row)], tg.FeatureDistribution([tg.Independent(3, density=0.3)])

def spec(features=rows, activation="shifted", **training):
    training = tg.Sampled(**(dict(steps=3, optimiser="sgd", rate=0.1, batch=8, evaluation=8) | training))
    return tg.Spec(features=features, hidden=2, activation=activation, start=start, training=training, snapshots=3)

def path(**way):
    return tg.Spec(features=sure, hidden=2, activation="shifted", training=way["training"])

tried("jax", lambda: told(tg.train(spec(), engine="jax")))
tried("heavy", lambda: told(tg.train(spec(optimiser="heavy"), engine="jax")))
tried("kernel", lambda: told(tg.train(spec(features=sure, batch=4096, steps=1, rate=1e-30), engine="kernel")))
tried("step", lambda: told(tg.train(spec(features=sure, batch=2**18, steps=1, evaluation=1), engine="kernel")))
tried("empirical_loss", lambda: float(tg.empirical_loss(W, b, row, activation="shifted")))
one = tg.FeatureDistribution(rows)
tried("finite", lambda: float(tg.population_loss(W, b, one, activation="shifted")))
tried("finite gradient", lambda: tg.population_gradient(W, b, one, activation="shifted")[0].tolist())
tried("population_loss", lambda: float(tg.population_loss(W, b, sure, activation="shifted")))
tried("population_gradient", lambda: tg.population_gradient(W, b, sure, activation="shifted"))
import jax.numpy as jnp
tried("population_loss in JAX", lambda: tg.population_loss(jnp.asarray(W), jnp.asarray(b), sure, activation="shifted"))
tried("Exact", lambda: tg.train(path(training=tg.Exact())))
tried("Exact, Adam", lambda: tg.train(path(training=tg.Exact(optimiser="adam"))))
tried("Flow", lambda: tg.train(path(training=tg.Flow())))
of_rows = spec().replace(training=tg.Exact(optimiser="gd", steps=3, rate=0.1))
tried("Exact on rows", lambda: told(tg.train(of_rows)))
tried("critical_point", lambda: tg.critical_point(W, b, sure, activation="shifted"))
tried("saddle_index", lambda: tg.saddle_index(W, b, sure, activation="shifted"))
run = tg.train(path(training=tg.Sampled(steps=1, batch=8, evaluation=8)))
tried("population_loss_along", lambda: tg.population_loss_along(run))
tried("critical_point of a run", lambda: tg.critical_point(run.isel(step=-1, seed=0)))
tried("along rows", lambda: tg.population_loss_along(tg.train(spec())).values.tolist())
tried("spec", lambda: tg.Spec.from_json(spec().to_json()).activation)
tried("unknown", lambda: spec(activation="tanh"))
tried("lion in the kernel", lambda: tg.train(spec(features=sure, optimiser="lion", rate=0.1)))
tried("lion in JAX", lambda: tg.train(spec(optimiser="lion"), engine="jax"))
tried("lion's momentum", lambda: spec(optimiser="lion", momentum=0.5))
tried("lion's twin", lambda: tg.Sampled(optimiser="lion").noiseless())
tried("newton", lambda: tg.train(tg.Spec(features=sure, hidden=2, training=tg.Exact(optimiser="newton"))))

def descended(name):
    training = tg.Exact(optimiser=name)
    spec = tg.Spec(features=sure, hidden=2, training=training)
    return training.ends_early, sum(sizes.training_sizes([spec], "exact", 1)), told(tg.train(spec))

tried("lbfgs", lambda: descended("lbfgs"))
tried("quasi", lambda: descended("quasi"))
for given in (np.tanh, None, "0", True):
    tried(f"gelu, floor {given!r}", lambda: str(model.ActivationFunction("gelu", floor=given)))
tried("waves", lambda: str(model.ActivationFunction("other", 0.0, "waves")))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


ROW = np.array([0.5, 0.0, 0.25])
WEIGHTS, BIAS = np.array([[0.4, -0.3], [0.2, 0.5], [-0.6, 0.1]]), np.array([-0.2, 0.1, -0.9])


def loss(weights: np.ndarray, bias: np.ndarray, x: np.ndarray) -> float:
    out = np.maximum(x @ weights @ weights.T + bias, -0.25)
    return float(np.square(x - out).sum(-1).mean())


def slopes(weights: np.ndarray, bias: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By central differences."""
    theta = np.concatenate([weights.ravel(), bias])
    found = []
    for step in 1e-6 * np.eye(len(theta)):
        ends = [
            loss(at[: weights.size].reshape(weights.shape), at[weights.size :], x)
            for at in (theta + step, theta - step)
        ]
        found.append((ends[0] - ends[1]) / 2e-6)
    return np.reshape(found[: weights.size], weights.shape), np.array(found[weights.size :])


@pytest.mark.parametrize("optimiser", ["jax", "heavy", "Exact on rows"])
def test_a_new_activation_is_trained_on_rows_as_by_numpy(found: dict[str, Any], optimiser: str):
    weights, bias = WEIGHTS.copy(), BIAS.copy()
    # Its floor counts: one output lies below it, where ReLU would cut two.
    assert (np.maximum(ROW @ weights @ weights.T + bias, 0) == 0).sum() > (
        ROW @ weights @ weights.T + bias < -0.25
    ).sum()
    for step in range(4):
        run = found[optimiser]
        assert_allclose(run["weights"][0][step], weights, atol=1e-5)
        assert_allclose(run["bias"][0][step], bias, atol=1e-5)
        assert_allclose(run["loss"][0][step], loss(weights, bias, ROW), rtol=1e-5)
        dW, db = slopes(weights, bias, ROW)
        weights, bias = weights - 0.1 * dW, bias - 0.1 * db


def test_a_new_activation_is_trained_by_the_kernel_as_by_numpy(found: dict[str, Any]):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((2**18, 3)) < 0.3, rng.random((2**18, 3)), 0.0)
    out = np.maximum(x @ WEIGHTS @ WEIGHTS.T + BIAS, -0.25)
    squares = np.square(x - out).sum(1)
    exact, spread = squares.mean(), squares.std()
    assert abs(found["kernel"]["loss"][0][0] - exact) < 4 * spread / np.sqrt(4096)
    # The loss with the floor of ReLU is farther away.
    assert abs(np.square(x - np.maximum(out, 0)).sum(1).mean() - exact) > 10 * spread / np.sqrt(4096)
    # One step of rate 0.1 along the gradient of 2¹⁸ samples, and of as many others.
    dW, db = slopes(WEIGHTS, BIAS, x)
    assert_allclose((WEIGHTS - found["step"]["weights"][0][1]) / 0.1, dW, atol=0.01)
    assert_allclose((BIAS - found["step"]["bias"][0][1]) / 0.1, db, atol=0.01)


def test_a_new_activation_has_an_empirical_loss_and_that_of_a_finite_population(found: dict[str, Any]):
    expected = loss(WEIGHTS, BIAS, ROW)
    assert_allclose([found["empirical_loss"], found["finite"]], expected, rtol=1e-12)
    assert_allclose(found["finite gradient"], slopes(WEIGHTS, BIAS, ROW)[0], atol=1e-8)
    assert_allclose(found["along rows"], found["jax"]["loss"], rtol=1e-5)
    assert found["spec"] == "shifted"


@pytest.mark.parametrize(
    ("call", "beginning"),
    [
        ("population_loss", "population_loss(activation='shifted')"),
        ("population_gradient", "population_gradient(activation='shifted')"),
        ("population_loss in JAX", "population_loss(activation='shifted')"),
        ("Exact", "train(Spec(activation='shifted', training=Exact(…)))"),
        ("Exact, Adam", "train(Spec(activation='shifted', training=Exact(…)))"),
        ("Flow", "train(Spec(activation='shifted', training=Flow(…)))"),
        ("critical_point", "critical_point(activation='shifted')"),
        ("saddle_index", "saddle_index(activation='shifted')"),
        ("population_loss_along", "population_loss(activation='shifted')"),
        ("critical_point of a run", "critical_point(activation='shifted')"),
    ],
)
def test_what_is_exact_refuses_a_new_activation(found: dict[str, Any], call: str, beginning: str):
    assert found[call] == (
        f"{beginning}: the activation must be 'relu' or 'linear', as the population loss of 'shifted' is not known; "
        "empirical_loss on samples, Sampled training and finite populations (one Empirical set) take any activation"
    )


def test_a_new_name_of_a_rule_is_that_rule_in_everything(found):
    early, _, run = found["quasi"]
    assert early is True
    assert len(run["loss"][0]) > 1
    assert found["quasi"] == found["lbfgs"]


def test_what_is_in_no_table_is_refused(found: dict[str, Any]):
    assert found["unknown"] == "Spec(activation='tanh'): activation must be 'relu', 'linear' or 'shifted'"
    rule = "optimiser must be 'adamw', 'sgd' or 'heavy', as engine"
    for engine, name in (("kernel", "lion in the kernel"), ("jax", "lion in JAX")):
        assert found[name] == f"Sampled(optimiser='lion'): {rule} {engine!r} does not implement the rule 'lion'"
    assert found["newton"] == (
        "Exact(optimiser='newton'): optimiser must be 'lbfgs', 'adam', 'gd' or 'quasi', as engine 'exact' does not "
        "implement the rule 'newton'"
    )
    assert found["lion's momentum"] == (
        "Sampled(momentum=0.5): momentum must stay 0.0 with the optimiser 'lion': only 'sgd' and 'heavy' have it"
    )
    assert found["lion's twin"] == (
        "Sampled(optimiser='lion').noiseless(): optimiser must be 'adamw' or 'sgd' for a twin"
    )


@pytest.mark.parametrize("floor", [np.inf, np.nan])
def test_an_activation_of_another_form_cannot_be_entered(found: dict[str, Any], floor: float):
    rule = "floor must be a number below infinity; no engine supports activations of any form but max"
    with pytest.raises(ValueError, match=rule):
        ActivationFunction("gelu", floor=floor)
    told = [sentence for name, sentence in found.items() if name.startswith("gelu")]
    assert len(told) == 4
    assert all("no engine supports activations of any form but max(z, floor)" in sentence for sentence in told)


@pytest.mark.parametrize(("floor", "path"), [(-1.0, "series"), (-1.0, "moments"), (0.0, "moments")])
def test_an_exact_path_is_that_of_its_floor(found: dict[str, Any], floor: float, path: Any):
    with pytest.raises(ValueError, match=f"exact={path!r} must be the path for this floor"):
        ActivationFunction("other", floor, path)
    assert "must be the path for this floor" in found["waves"]


def test_what_type_checkers_are_told_is_what_the_tables_hold():
    assert set(get_args(SampledOptimiser)) == set(OPTIMISERS["sampled"])
    assert set(get_args(ExactOptimiser)) == set(OPTIMISERS["exact"])
    assert {each.rule for group in OPTIMISERS.values() for each in group.values()} == set(get_args(Rule))
    assert all(each.twin is None or each.twin in OPTIMISERS["exact"] for each in OPTIMISERS["sampled"].values())
    assert all(name == each.name for name, each in ACTIVATIONS.items())
