"""Errors of recorded losses, the best of many runs, and what is known of a loss."""

import json
from inspect import unwrap

import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

import tegum as tg
from tegum.training.compare import known_loss

best = unwrap(tg.best)


def spec(density, seeds=16, **settings):
    training = {"steps": 1_500, "rate": 5e-3} | settings.pop("training", {})
    features = settings.pop("features", [tg.Independent(6, density=density)])
    given = {"features": features, "hidden": 2, "snapshots": 1, "seeds": seeds} | settings
    return tg.Spec(training=tg.Sampled(**training), **given)


@pytest.fixture(scope="module")
def sparse():
    return tg.train(spec(0.01))


def exact(run, density):
    """The exact losses of the last snapshots, model by model."""
    features = tg.FeatureDistribution([tg.Independent(6, density=density)])
    w, b = run.weights.isel(step=-1).values.astype(float), run.bias.isel(step=-1).values.astype(float)
    return np.array([tg.population_loss(*each, features, tol=1e-11) for each in zip(w, b, strict=True)])


@pytest.mark.parametrize("density", [0.05, 0.01])
def test_the_best_run_is_that_of_the_least_exact_loss(density, sparse):
    run = sparse if density == 0.01 else tg.train(spec(density))
    losses = exact(run, density)
    found = tg.best(run)
    assert int(found.seed) == int(losses.argmin())
    assert float(found.best_value) == pytest.approx(losses.min(), abs=1e-8)
    assert (int(found.runs_compared), int(found.runs_left_out)) == (16, 0)
    np.testing.assert_array_equal(found.weights, run.weights[losses.argmin()])
    # The ranks of all runs: those of what runs are compared by, and those of the truth.
    along = tg.population_loss_along(run.isel(step=-1))
    assert spearmanr(along, losses)[0] > 0.95
    # A choice by the recorded loss is one, too.
    assert int(tg.best(run, by="loss").seed) == int(run.loss.values[:, -1].argmin())


def test_the_recorded_loss_cannot_rank_mirror_images():
    # A digon and a pair without room, in the three ways there are: one loss, and three on any sample.
    weights = np.zeros((3, 3, 1))
    for left_out in range(3):
        weights[left_out, np.delete(np.arange(3), left_out), 0] = 1, -1
    run = tg.train(spec(1, 3, features=[tg.Independent(3, 0.01)], hidden=1, start=weights, training={"steps": 0}))
    losses = tg.population_loss_along(run).values[:, 0]
    assert np.ptp(losses) < 1e-12
    assert np.ptp(run.loss.values[:, 0]) > 0.01 * losses[0]
    assert int(tg.best(run).seed) == 0  # the first of the same


@pytest.mark.parametrize("density", [0.3, 0.01, 1e-3, 1e-4])
def test_errors_are_the_spread_over_evaluation_samples(density):
    start = np.random.default_rng(0).normal(size=(6, 2)) / 2
    one = spec(density, 1, start=start, training={"steps": 0, "evaluation": 2048})
    whole = tg.train([one.replace(base_seed=seed) for seed in range(400)])
    values, first = whole.loss.values[:, 0, 0], tg.train(one)
    error, truth = (float(each[0, 0]) for each in (tg.loss_error(first), tg.population_loss_along(first)))
    # The standard deviation of 400 values is off by 4 %, and by more where few samples have something active.
    assert abs(values.std(ddof=1) / error - 1) < 0.2
    assert abs(values.mean() - truth) < 4 * error / np.sqrt(400)


def test_errors_have_the_shape_of_the_loss_and_shrink_with_the_sample(sparse):
    sparse = sparse.isel(step=[0, -1])
    error = tg.loss_error(sparse)
    assert error.dims == sparse.loss.dims
    assert (error > 0).all()
    assert float(tg.loss_error(sparse.isel(seed=3, step=-1))) == pytest.approx(float(error[3, -1]))
    larger = json.loads(sparse.attrs["spec"])
    # Whole batches are drawn: 4 × 4,096 samples are 16 of 1,024.
    larger["training"]["evaluation"] = 4 * 4096 - 7
    np.testing.assert_allclose(tg.loss_error(sparse.assign_attrs(spec=json.dumps(larger))), error / 2)
    whole = tg.train(spec(0.1, 2).replace(training=tg.Exact(steps=2)))
    assert (tg.loss_error(whole) == 0).all()


def test_several_specs_have_a_best_each():
    both = tg.train([spec(0.01, 5), spec(0.3, 5)])
    found = tg.best(both)
    losses = tg.population_loss_along(both).values[..., -1]
    np.testing.assert_array_equal(found.seed, losses.argmin(1))
    np.testing.assert_array_equal(found.best_value, losses.min(1))
    for number in range(2):
        np.testing.assert_array_equal(found.weights[number], both.weights[number, losses[number].argmin()])
    np.testing.assert_array_equal(found["features.density"], [0.01, 0.3])
    assert tg.population_loss_along(found).dims == ("spec", "step")
    turned = both.transpose("seed", "step", "spec", ...).assign(weights=both.weights, bias=both.bias)
    np.testing.assert_array_equal(best(turned).seed, found.seed)


def test_a_value_of_one_s_own_and_an_earlier_step(sparse):
    norm = np.abs(sparse.weights).sum(("feature", "hidden"))
    assert int(tg.best(sparse, by=norm).seed) == int(norm.values[:, -1].argmin())
    assert int(tg.best(sparse, by=norm.isel(step=0)).seed) == int(norm.values[:, 0].argmin())
    first = sparse.isel(step=[0])
    assert int(tg.best(first).seed) == int(tg.population_loss_along(first).values.argmin())
    shuffled = sparse.isel(seed=[7, 3, 9])
    assert int(tg.best(shuffled, by="loss").seed) in (7, 3, 9)


def test_runs_that_diverged_are_left_out():
    wild = tg.train(spec(0.5, 6, training={"optimiser": "sgd", "rate": 12.0, "steps": 40, "batch": 4}))
    result = wild.result.values
    assert {*result} == {"diverged"}
    with pytest.raises(ValueError, match="all 6 runs diverged or have no finite value, so there is none to choose"):
        best(wild)
    some = tg.train(spec(0.5, 6, training={"steps": 40}))
    least = int(tg.best(some).seed)
    some["result"][least], some["diverged_at"][least] = "diverged", 40
    some["weights"][least, -1] = np.nan
    found = tg.best(some)
    assert int(found.seed) != least
    assert (int(found.runs_compared), int(found.runs_left_out)) == (5, 1)


def test_what_cannot_be_chosen_is_refused(sparse):
    rows = tg.Empirical(np.random.default_rng(0).random((20, 2)))
    mixed = tg.train(spec(1, 2, features=[rows, tg.Independent(2, 0.1)], training={"steps": 1}))
    for call, sentence in (
        (lambda: best(mixed), r'an Empirical set must be the only one.*best\(run, by="loss"\) chooses by the recorded'),
        (lambda: best(sparse.isel(seed=0)), "there must be several runs"),
        (lambda: best(sparse.isel(step=[])), "there must be a snapshot"),
        (lambda: best(sparse, "los"), r"best\(run, by='los'\): there is no such loss; did you mean 'loss'"),
        (lambda: best(sparse, 3), r"best\(run, by=3\): by must be 'population_loss', 'loss' or a DataArray"),
        (lambda: best(sparse, sparse.weights), "by must hold numbers with the sizes"),
        (lambda: best(sparse, sparse.result), "by must hold numbers with the sizes"),
        (lambda: best(sparse.isel(seed=[1, 0]), sparse.loss.isel(seed=[0, 1])), "along seed, must be those"),
        (lambda: best(sparse, tol=0.0), r"best\(tol=0.0\): tol must be a positive finite number"),
        (lambda: best(sparse, sparse.loss * np.nan), "all 16 runs diverged or have no finite value"),
        (lambda: best(sparse, np.arange(16)), r"best\(run, by=int64 array of shape \(16,\)\)"),
        (lambda: best(sparse.isel(seed=[])), "there must be several runs"),
        (lambda: best(sparse.weights), "run must be a tegum trajectory"),
        (lambda: best(None), r"best\(None\): run must be a tegum trajectory"),
        (lambda: best(sparse.drop_attrs()), "there is no exact loss to choose by .the attribute 'spec' is missing"),
        (lambda: unwrap(tg.loss_error)(sparse.drop_attrs()), "the attribute 'spec' is missing"),
        (lambda: unwrap(tg.loss_error)(sparse.isel(feature=slice(0, 3))), "weights has 3 features, where"),
        (lambda: unwrap(tg.loss_error)(7), "run must be a trajectory"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


def test_what_is_known_of_a_loss(sparse, monkeypatch):
    known = known_loss(sparse)
    assert (known.exact, known.note) == (True, "")
    np.testing.assert_array_equal(known.loss, tg.population_loss_along(sparse))
    assert known.error is not None
    assert float(known.error.max()) <= 1e-8
    # Too long for the time that is allowed: the recorded one, and its error.
    monkeypatch.setattr("tegum.training.compare._seconds", lambda *_: 60.0)
    recorded = known_loss(sparse)
    assert not recorded.exact
    xr.testing.assert_identical(recorded.loss, sparse.loss)
    assert recorded.error is not None
    np.testing.assert_array_equal(recorded.error, tg.loss_error(sparse))
    assert "recorded on 4,096 samples, ± its standard error; the exact loss is not shown: it would take about" in (
        recorded.note
    )
    # Of many snapshots some errors are interpolated.
    often = tg.train(spec(0.05, 4, snapshots=40, training={"steps": 200}))
    few = known_loss(often).error
    assert few is not None
    np.testing.assert_allclose(few.values, tg.loss_error(often).values, rtol=0.1)


def test_nothing_is_known_of_a_loss_whose_spec_or_samples_are_missing(sparse):
    known = known_loss(sparse.drop_attrs())
    assert (known.exact, known.error) == (False, None)
    assert known.note == "its error is not known: the attribute 'spec' is missing, which holds the feature distribution"
    described = json.loads(sparse.attrs["spec"])
    described["features"] = [{"kind": "empirical", "digest": "0" * 32, "samples": 9, "size": 6}]
    known = known_loss(sparse.assign_attrs(spec=json.dumps(described)))
    assert (known.exact, known.error) == (False, None)
    assert "neither its error nor the exact loss is shown: Empirical(samples=9" in known.note
    # A kind of set, or of training, that this process does not know.
    described["features"] = [{"kind": "mine", "count": 6}]
    assert "mine" in known_loss(sparse.assign_attrs(spec=json.dumps(described))).note
    described = json.loads(sparse.attrs["spec"]) | {"training": {"kind": "theirs"}}
    assert "theirs" in known_loss(sparse.assign_attrs(spec=json.dumps(described))).note
    # What was trained on the exact loss has recorded it.
    whole = tg.train(spec(0.1, 2).replace(training=tg.Exact(steps=2)))
    known = known_loss(whole)
    assert (known.exact, known.error, known.note) == (True, None, "")
    xr.testing.assert_identical(known.loss, whole.loss)


def test_a_run_that_explodes_does_not_hide_the_losses_of_others(sparse):
    both = sparse.isel(step=-1).copy(deep=True)
    both["weights"][0] *= 1e6
    both["loss"][0] *= 1e24
    known = known_loss(both)
    assert known.exact
    np.testing.assert_array_equal(known.loss[1:], tg.population_loss_along(sparse)[1:, -1])
    assert float(known.loss[0]) > 1e10
