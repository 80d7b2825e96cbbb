"""Training on the exact loss: L-BFGS, and the noiseless twins of AdamW and SGD."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from reference.population_truth import truth
from scipy.optimize import minimize

import tegum as tg
from tegum.core.population.kernel.evaluate import value_and_gradient
from tegum.training.exact.engine import ExactEngine
from tegum.training.state import TrainingState

PAIRS = [tg.Correlated(2, 0.05)] * 3
MIXED = [tg.Correlated(2, 0.2), tg.Independent(1, density=0.4)]
TOLERANCE = 1e-8


def spec(training=None, **changes):
    training = training or tg.Exact(gradient_tolerance=TOLERANCE, steps=1000)
    values = {"features": PAIRS, "hidden": 2, "snapshots": 4, "seeds": 3}
    return tg.Spec(**values | {"training": training} | changes)


def run(several, state=None, **options):
    """The last state and all that was recorded, one segment after the other."""
    segments = list(tg.iterate(several, state, **options))
    weights, bias, loss = (
        np.concatenate([getattr(each.recorded, name) for each in segments], 1) for name in ("weights", "bias", "loss")
    )
    return segments[-1].state, weights, bias, loss


def assert_same(one, other, runs=slice(None)):
    """Bits of states and records; of the first one some runs only."""
    for name, value in other[0].arrays().items():
        if name != "step":
            np.testing.assert_array_equal(one[0].arrays()[name][runs], value, err_msg=name)
    for ours, theirs in zip(one[1:], other[1:], strict=True):
        np.testing.assert_array_equal(ours[runs], theirs)


def gradient_norm(weights, bias, features, frequencies):
    _, in_weights, in_bias, _ = value_and_gradient(weights, bias, features, frequencies=frequencies)
    return np.sqrt((in_weights**2).sum((1, 2)) + (in_bias**2).sum(1))


@pytest.fixture(scope="module")
def pairs():
    return tg.train(spec(seeds=20), threads=1)


def test_runs_converge_to_where_the_true_gradient_vanishes(pairs):
    assert pairs.attrs["engine"] == "exact"
    assert set(pairs.result.values) == {"converged"}
    assert (pairs.converged_at > 20).all()
    assert (pairs.converged_at < 250).all()
    weights, bias = pairs.weights.values[:, -1], pairs.bias.values[:, -1]
    assert (gradient_norm(weights, bias, tg.FeatureDistribution(PAIRS), 2**15) <= 1.05 * TOLERANCE).all()


def test_what_is_recorded_is_the_loss_and_later_snapshots_repeat_the_end(pairs):
    features = tg.FeatureDistribution(PAIRS)
    for step in (0, -1):
        weights, bias = pairs.weights.values[:, step], pairs.bias.values[:, step]
        loss, *_ = value_and_gradient(weights, bias, features, frequencies=4096)
        np.testing.assert_allclose(pairs.loss.values[:, step], loss, rtol=0, atol=1e-8)
    for name in ("weights", "bias", "loss"):
        values = pairs[name].values
        np.testing.assert_array_equal(values[:, 1:], np.broadcast_to(values[:, -1:], values[:, 1:].shape))


@pytest.mark.parametrize("features", [MIXED, [tg.Anticorrelated(3, 0.6)]])
def test_optimum_is_the_one_that_scipy_finds_on_the_truth(features):
    given = spec(features=features, seeds=4, snapshots=1)
    ours, distribution = tg.train(given, threads=1), tg.FeatureDistribution(features)
    n, m = distribution.n, 2

    def loss(theta):
        return truth(theta[: n * m].reshape(n, m), theta[n * m :], distribution, 1)

    for number in range(4):
        begin = np.concatenate([ours.weights.values[number, 0].ravel(), ours.bias.values[number, 0]])
        end = np.concatenate([ours.weights.values[number, -1].ravel(), ours.bias.values[number, -1]])
        value, gradient = loss(end)
        assert np.linalg.norm(gradient) <= 1.05 * TOLERANCE
        assert ours.result.values[number] == "converged"
        np.testing.assert_allclose(ours.loss.values[number, -1], value, rtol=0, atol=1e-8)
        # From our end scipy finds nothing better, and from our beginning, on its own way, no better minimum of ours.
        assert minimize(loss, end, jac=True, method="L-BFGS-B").fun >= value - 1e-12
        theirs = minimize(loss, begin, jac=True, method="BFGS", options={"gtol": 1e-7})
        others = ours.loss.values[:, -1]
        assert value <= theirs.fun + 1e-9 or np.abs(others - theirs.fun).min() < 1e-6


def test_a_bowl_with_many_features_of_density_one():
    run_ = tg.train(spec(features=[tg.Independent(4, density=1.0)], seeds=3, snapshots=1), threads=1)
    assert set(run_.result.values) == {"converged"}


@pytest.mark.parametrize(
    ("features", "hidden"),
    [([tg.Independent(3, 0.2)], 3), ([tg.Correlated(2, 0.1)] * 2, 5), ([tg.Independent(3, 1.0)], 4)],
)
def test_with_room_for_all_every_feature_is_represented_perfectly(features, hidden):
    """W Wᵀ = 1 and b = 0, of loss 0: a corner of the loss, next to which no series shows how small the gradient is."""
    given = spec(tg.Exact(steps=1000), features=features, hidden=hidden, seeds=8, snapshots=1)
    done, n = tg.train(given, threads=1), tg.FeatureDistribution(features).n
    assert set(done.result.values) == {"converged"}
    assert np.abs(done.loss.values[:, -1]).max() < 1e-8
    for number in range(8):
        weights, bias = done.weights.values[number, -1], done.bias.values[number, -1]
        np.testing.assert_allclose(weights @ weights.T, np.eye(n), rtol=0, atol=3e-8)
        np.testing.assert_allclose(bias, 0, rtol=0, atol=3e-8)
        loss, gradient = truth(weights, bias, tg.FeatureDistribution(features), 1)
        assert np.linalg.norm(gradient) <= 1.05e-9
        assert loss < 1e-15


def test_features_beside_a_perfect_one_converge_as_well():
    """Of six features of unequal densities in two dimensions one may have a dimension of its own."""
    features = [tg.Independent(6, density=(0.01, 0.05, 0.1, 0.3, 0.6, 1.0))]
    done = tg.train(spec(tg.Exact(steps=1000), features=features, seeds=16, snapshots=1), threads=1)
    assert set(done.result.values) == {"converged"}
    weights = done.weights.values[:, -1]
    off = np.abs(weights @ weights.swapaxes(1, 2) - np.eye(6)).max(2)
    alone = np.flatnonzero((off < 1e-9).any(1))
    assert len(alone)
    run_ = done.isel(seed=alone[0], step=-1)
    loss, gradient = truth(run_.weights.values, run_.bias.values, tg.FeatureDistribution(features), 1)
    assert np.linalg.norm(gradient) <= 1.05e-9
    assert abs(float(run_.loss) - loss) < 1e-8


def test_a_collapsed_pair_beside_a_perfect_feature_has_the_loss_of_its_second_component():
    """The principal component (a + b)/√2 is exact, and of (a − b)/√2 the variance p/12 is left; both on corners."""
    features = [tg.Correlated(2, 0.9), tg.Independent(1, 0.9)]
    done = tg.train(spec(tg.Exact(steps=1000), features=features, seeds=16, snapshots=1), threads=1)
    assert set(done.result.values) == {"converged"}
    best = done.isel(seed=int(done.loss.values[:, -1].argmin()), step=-1)
    assert float(best.loss) == pytest.approx(0.9 / 12, abs=1e-8)
    weights = best.weights.values
    np.testing.assert_allclose(weights @ weights.T, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], rtol=0, atol=1e-8)
    _, gradient = truth(weights, best.bias.values, tg.FeatureDistribution(features), 1)
    assert np.linalg.norm(gradient) <= 1.05e-9


@pytest.mark.parametrize("strength", [0.8, 1.0])
def test_a_collapsed_pair_with_a_dimension_to_itself_converges(strength):
    """Two other pairs share the second dimension: one of the minima of three pairs in the plane."""
    features = [tg.PartiallyCorrelated(2, 0.28, strength)] * 3
    done = tg.train(spec(tg.Exact(steps=1000), features=features, seeds=32, snapshots=1), threads=1)
    assert set(done.result.values) == {"converged"}
    weights = done.weights.values[:, -1]
    gram = weights @ weights.swapaxes(1, 2)
    alone = np.array([[np.abs(each[k : k + 2, k : k + 2] - 0.5).max() < 1e-8 for k in (0, 2, 4)] for each in gram])
    assert alone.any()
    for number in np.flatnonzero(alone.any(1)):
        end = done.isel(seed=number, step=-1)
        _, gradient = truth(end.weights.values, end.bias.values, tg.FeatureDistribution(features), 1)
        assert np.linalg.norm(gradient) <= 1.05e-9


def test_no_frequencies_are_too_few_for_what_has_converged():
    """Of importances far apart: what frequencies still change is compared at the highest number of them too."""
    features = [tg.Independent(4, density=0.2, importance=(1e2, 1.0, 1e-2, 1.0))]
    done = tg.train(spec(tg.Exact(steps=1000), features=features, seeds=13, snapshots=1), threads=1)
    assert set(done.result.values) == {"converged"}
    for number in range(13):
        run_ = done.isel(seed=number, step=-1)
        _, gradient = truth(run_.weights.values, run_.bias.values, tg.FeatureDistribution(features), 1)
        assert np.linalg.norm(gradient) <= 1.05e-9


def test_bits_at_corners_depend_on_spec_and_seed_alone():
    given = spec(tg.Exact(steps=80), features=[tg.Independent(3, 0.2)], hidden=3, seeds=34)
    whole = run(given, threads=1)
    assert (whole[0].converged_at > 0).all()
    assert_same(run(given, threads=2), whole)
    assert_same(whole, run(given.replace(seeds=3), threads=1, segment_seconds=1e-9), slice(3))


def test_weights_changed_by_hand_are_where_training_goes_on():
    given = spec(snapshots=[1000])
    last, *_ = run(given, threads=1)
    assert (last.converged_at > 0).all()
    state = last.copy()
    state.weights[1] = 0.3 * np.random.default_rng(0).standard_normal((6, 2))
    state = dataclasses.replace(state, step=500)
    again, weights, bias, loss = run(given, state, threads=1)
    np.testing.assert_array_equal(again.weights[[0, 2]], last.weights[[0, 2]])
    assert again.converged_at[1] > 500
    features = tg.FeatureDistribution(PAIRS)
    assert gradient_norm(weights[1, -1:], bias[1, -1:], features, 2**15) <= 1.05 * TOLERANCE
    np.testing.assert_allclose(loss[1, -1], truth(weights[1, -1], bias[1, -1], features), rtol=0, atol=1e-8)


def test_linear_model_finds_its_principal_components():
    features = [tg.Independent(5, density=0.3, importance=(1, 0.9, 0.8, 0.7, 0.6))]
    done = tg.train(spec(features=features, activation="linear", snapshots=1), threads=1)
    assert set(done.result.values) == {"converged"}
    # The bias takes care of the means: what is left are the variances of the features not represented.
    variance = tg.FeatureDistribution(features).covariance().diagonal()
    np.testing.assert_allclose(done.loss.values[:, -1], variance[2:] @ [0.8, 0.7, 0.6], rtol=1e-9)


def test_bits_depend_on_spec_and_seed_alone():
    other = [tg.Correlated(2, 0.1, importance=0.5)] * 3
    training = tg.Exact(gradient_tolerance=TOLERANCE, steps=150)
    several = [
        spec(training, seeds=11),
        spec(training, features=other, seeds=11),
        spec(training, features=[tg.Independent(6, density=0.2)], seeds=11),
    ]
    whole = run(several, threads=1)
    assert_same(run(several, threads=3), whole)
    assert_same(run(several, threads=1, segment_seconds=1e-9), whole)
    for number, each in enumerate(several):
        assert_same(whole, run(each.replace(seeds=3), threads=1), slice(11 * number, 11 * number + 3))


@pytest.mark.parametrize("training", [tg.Exact(optimiser="adam", rate=0.01), tg.Exact(optimiser="gd", rate=0.5)])
def test_bits_of_descent_depend_on_spec_and_seed_alone(training):
    training = training.replace(steps=130, accuracy=1e-4, warmup=10, schedule="cosine")
    faster = training.replace(rate=2 * training.rate)
    several = [spec(training, seeds=5), spec(faster, features=[tg.Correlated(2, 0.3)] * 3, seeds=5)]
    whole = run(several, threads=1)
    assert len(list(tg.iterate(several, threads=2, segment_seconds=1e-9))) > 10
    assert_same(run(several, threads=2, segment_seconds=1e-9), whole)
    for number, each in enumerate(several):
        assert_same(whole, run(each.replace(seeds=2), threads=1), slice(5 * number, 5 * number + 2))


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam", "gd"])
def test_training_goes_on_from_a_saved_state(optimiser, tmp_path):
    training = tg.Exact(optimiser=optimiser, steps=130, accuracy=1e-6)
    whole = run(spec(training), threads=1)
    segments = tg.iterate(spec(training), threads=1, segment_seconds=1e-9)
    middle = next(itertools.islice(segments, 5, None)).state
    segments.close()
    np.savez(tmp_path / "state.npz", **middle.arrays())
    with np.load(tmp_path / "state.npz") as arrays:
        state = TrainingState.from_arrays(arrays)
    before = {name: value.copy() for name, value in state.arrays().items()}
    last, *_ = run(spec(training), state, threads=1)
    for name, value in whole[0].arrays().items():
        np.testing.assert_array_equal(last.arrays()[name], value, err_msg=name)
        np.testing.assert_array_equal(state.arrays()[name], before[name])


def test_a_run_that_has_stalled_costs_nothing_and_repeats_itself():
    done = tg.train(spec(tg.Exact(gradient_tolerance=1e-30, steps=100_000), seeds=2), threads=1)
    assert list(done.result.values) == ["completed"] * 2
    np.testing.assert_array_equal(done.weights[:, 1], done.weights[:, -1])
    np.testing.assert_array_equal(done.loss[:, 1], done.loss[:, -1])
    weights, bias = done.weights.values[:, -1], done.bias.values[:, -1]
    assert (gradient_norm(weights, bias, tg.FeatureDistribution(PAIRS), 2**15) < 5e-11).all()


def test_zero_weights_stay_and_have_converged():
    run_ = tg.train(spec(start=np.zeros((6, 2)), seeds=1), threads=1)
    assert list(run_.result.values) == ["converged"]
    assert int(run_.converged_at[0]) == 0
    assert not run_.weights.values.any()
    np.testing.assert_allclose(run_.loss[0], 6 * 0.05 / 3)


def test_no_steps_record_the_start():
    for optimiser in ("lbfgs", "adam", "gd"):
        run_ = tg.train(spec(tg.Exact(optimiser=optimiser, steps=0)), threads=1)
        assert run_.sizes["step"] == 1
        assert np.isfinite(run_.loss).all()


def twin(theta, features, shape, steps, update):
    """Parameters after so many steps down the true gradient; `update` is told the step, from 1 on."""
    n, m = shape
    for step in range(1, steps + 1):
        _, gradient = truth(theta[: n * m].reshape(n, m), theta[n * m :], features, 1)
        theta = update(step, theta, gradient)
    return theta


def test_adam_is_adamw_on_the_true_gradient():
    steps, rate, decay, beta1, beta2, eps = 200, 0.01, 0.02, 0.8, 0.95, 1e-6
    training = tg.Exact(
        optimiser="adam", steps=steps, rate=rate, weight_decay=decay, betas=(beta1, beta2), eps=eps,
        schedule="linear", warmup=20, accuracy=1e-10,
    )  # fmt: skip
    run_ = tg.train(spec(training, features=MIXED, snapshots=1), threads=1)
    first, second = np.zeros(9), np.zeros(9)
    factors = training.rates(0, steps)

    def update(step, theta, gradient):
        nonlocal first, second
        here = rate * factors[step - 1]
        theta = theta * (1 - here * decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        return theta - here * (first / (1 - beta1**step)) / (np.sqrt(second / (1 - beta2**step)) + eps)

    begin = np.concatenate([run_.weights.values[1, 0].ravel(), run_.bias.values[1, 0]])
    expected = twin(begin, tg.FeatureDistribution(MIXED), (3, 2), steps, update)
    np.testing.assert_allclose(run_.weights.values[1, -1].ravel(), expected[:6], rtol=0, atol=2e-9)
    np.testing.assert_allclose(run_.bias.values[1, -1], expected[6:], rtol=0, atol=2e-9)
    assert list(run_.result.values) == ["completed"] * 3


def test_gradient_descent_has_momentum_and_coupled_decay():
    steps, rate, decay, momentum = 200, 0.3, 0.02, 0.8
    training = tg.Exact(
        optimiser="gd", steps=steps, rate=rate, weight_decay=decay, momentum=momentum, accuracy=1e-10
    )  # fmt: skip
    run_ = tg.train(spec(training, features=MIXED, snapshots=1), threads=1)
    velocity = np.zeros(9)

    def update(_, theta, gradient):
        nonlocal velocity
        velocity = momentum * velocity + gradient + decay * theta
        return theta - rate * velocity

    begin = np.concatenate([run_.weights.values[2, 0].ravel(), run_.bias.values[2, 0]])
    expected = twin(begin, tg.FeatureDistribution(MIXED), (3, 2), steps, update)
    np.testing.assert_allclose(run_.weights.values[2, -1].ravel(), expected[:6], rtol=0, atol=2e-9)
    np.testing.assert_allclose(run_.bias.values[2, -1], expected[6:], rtol=0, atol=2e-9)


def test_sampled_training_stays_near_its_noiseless_twin():
    for sampled in (tg.Sampled(steps=100, rate=3e-3), tg.Sampled(steps=100, optimiser="sgd", rate=0.05, momentum=0.9)):
        sampled = sampled.replace(batch=8192)
        noisy = tg.train(spec(sampled, features=[tg.Independent(6, density=0.3)]), threads=1)
        quiet = tg.train(spec(sampled.noiseless(1e-5), features=[tg.Independent(6, density=0.3)]), threads=1)
        np.testing.assert_array_equal(noisy.weights[:, 0], quiet.weights[:, 0].astype(np.float32))
        way = np.abs(quiet.weights[:, -1] - quiet.weights[:, 0]).max()
        assert np.abs(noisy.weights - quiet.weights).max() < 0.1 * way
        np.testing.assert_allclose(noisy.loss, quiet.loss, rtol=0.15)


@pytest.mark.parametrize("optimiser", ["adam", "gd"])
def test_a_run_that_diverges_is_marked_while_others_go_on(optimiser):
    calm = tg.Exact(optimiser=optimiser, steps=60, rate=1e-3, accuracy=1e-4)
    wild = calm.replace(rate=1e30, weight_decay=1.0)
    run_ = tg.train([spec(calm), spec(wild)], threads=1)
    assert list(run_.result.values[0]) == ["completed"] * 3
    assert list(run_.result.values[1]) == ["diverged"] * 3
    at = run_.diverged_at.values[1]
    assert ((at >= 1) & (at <= 4)).all()
    assert np.isfinite(run_.loss.values[:, :, 0]).all()
    assert np.isnan(run_.loss.values[1, :, 1:]).all()
    assert np.isnan(run_.weights.values[1, :, 1:]).all()
    alone = tg.train(spec(calm), threads=1)
    np.testing.assert_array_equal(alone.weights, run_.weights[0])
    pieces = run([spec(calm), spec(wild)], threads=1, segment_seconds=1e-9)
    np.testing.assert_array_equal(pieces[0].diverged_at.reshape(2, 3), run_.diverged_at)


def test_a_run_without_a_finite_loss_diverges_at_once_and_others_go_on():
    begin = np.full((3, 6, 2), 0.3) * np.arange(1, 13).reshape(6, 2)
    given = spec(start=begin)
    state = ExactEngine([given], 1).start()
    state.weights[1] = 1e200
    last, weights, _, loss = run(given, state, threads=1)
    np.testing.assert_array_equal(last.diverged_at, [-1, 0, -1])
    assert (last.converged_at[[0, 2]] > 0).all()
    assert np.isnan(weights[1]).all()
    assert np.isnan(loss[1]).all()
    assert np.isfinite(weights[[0, 2]]).all()


def test_sets_without_a_table_are_refused():
    odd = tg.Equivariant(6, 0.1, 0.5)
    with pytest.raises(
        ValueError, match=r"^Spec\(features=\[…, Equivariant\(.*\), …\], training=Exact\(…\)\): Exact needs"
    ):
        tg.train(spec(features=[odd]))


def test_an_engine_computes_inside_a_with_block_only():
    engine = ExactEngine([spec()], 1)
    with pytest.raises(RuntimeError, match="inside a with block"):
        engine.advance(engine.start(), 1, np.array([0]))
    assert engine.stop_at(7) == 7


def test_ctrl_c_leaves_a_trajectory():
    def interrupt(segment):
        if segment.state.step >= 20:
            raise KeyboardInterrupt

    training = tg.Exact(optimiser="adam", steps=10**6, accuracy=1e-4)
    with pytest.raises(tg.TrainingInterrupted) as caught:
        tg.train(spec(training, snapshots=[0, 1, 10**6 - 1]), progress=interrupt, threads=1)
    assert set(caught.value.run.result.values) == {"interrupted"}
