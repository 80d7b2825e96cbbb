import dataclasses

import numpy as np
import pytest
from linear_findings import ordered
from numpy.testing import assert_allclose

import tegum as tg
from tegum.analysis.linear.escape_order import chance, escape_order


def test_orders_of_made_up_times():
    found = ordered(np.array([[1.0, 2.0, 4.0], [2.0, 1.0, 4.0], [1.0, 2.0, np.inf], [1.0, 2.0, 4.3]]))
    assert found.in_order.tolist() == [True, False, False, True]
    assert_allclose(found.error, [0, 2 / 3 * np.log(2), np.log(4.3 / 4) / 3], atol=1e-12)
    # What is not learned, and what is late by more than 5 %, is not as predicted.
    assert found.on_time.tolist() == [True, False, False, False]
    assert_allclose(found.delay[:, 1], [0, -np.log(2), 0], atol=1e-12)
    # Random times: a sixth is in order.
    times = np.random.default_rng(1).exponential(size=(6000, 3))
    assert ordered(times).in_order.mean() == pytest.approx(chance(3), abs=0.015)


def test_times_by_the_starts_of_other_runs():
    times = np.array([[1.0, 2.0], [1.1, 2.2], [1.2, 2.4]])
    found = ordered(times, predicted=times)
    assert found.on_time.all()
    assert found.on_time_by_others == 0
    gaps = np.log([1.1, 1.2, 1.2 / 1.1])
    assert found.error_by_others == pytest.approx(gaps.mean())
    # Where starts make no difference the null is as good.
    same = ordered(np.ones((3, 2)), predicted=np.ones((3, 2)))
    assert same.on_time_by_others == 1


def test_rests_between_escapes_and_random_times():
    times = np.array([[1.0, 6.0]])
    time = np.linspace(0, 10, 101)
    # From 2 to 5 it rests at the level 0.5; before that it falls, and after that it does so again.
    loss = np.interp(time, [0, 1, 2, 5, 6, 7, 10], [1, 0.9, 0.5, 0.5, 0.3, 0.1, 0.1])[None]
    rests = ordered(times, loss=loss, losses=np.array([1.0, 0.5, 0.1])).resting_distances()
    assert rests[0, 0] == pytest.approx(0, abs=1e-12)
    between = time[(time >= 1) & (time < 5.95)]
    assert rests[0, 1] == pytest.approx(np.abs(np.log(np.interp(between, time, loss[0]) / 0.5)).mean(), rel=1e-6)
    # A steady exponential fall has no rest: slowest is where the loss is least, no nearer than elsewhere.
    steady = ordered(
        times, loss=np.exp(-0.3 * time)[None], losses=np.array([1.0, np.exp(-1.05), 0.1])
    ).resting_distances()
    assert steady[0, 0] > steady[0, 1]
    # A rise is no rest either.
    bump = loss + np.where(np.abs(time - 5.5) < 0.06, 0.2, 0.0)
    bumpy = ordered(times, loss=bump, losses=np.array([1.0, 0.5, 0.1])).resting_distances()
    assert bumpy[0, 0] == pytest.approx(0, abs=1e-12)
    # Only runs in order count.
    assert ordered(times[:, ::-1].copy(), loss=loss).resting_distances().shape == (0, 2)


def test_plateaus_at_expected_ranks():
    steps = np.unique(np.geomspace(1, 10_000, 200).astype(int))
    losses = np.array([1.0, 0.3, 0.2, 0.05])
    log = np.log(steps)
    stairs = 0.2 + 0.7 / (1 + np.exp((log - 3) * 8)) + 0.1 / (1 + np.exp((log - 6) * 8))
    slope = np.geomspace(1.0, 0.05, len(steps))
    snapshots = {"steps": steps, "time": steps / 10, "losses": losses}
    loss = np.array([stairs, slope, stairs])
    # The last one is there by a ReLU alone.
    linear = np.array([stairs, slope, 2 * stairs])
    found = ordered(np.tile([1.0, 2.0, 4.0], (3, 1)), loss=loss, linear=linear, **snapshots)
    assert found.plateaus_at(1).tolist() == [True, False, False]
    assert found.plateaus_at(2).tolist() == [True, False, False]
    assert not found.plateaus_at(3).any()
    # Eigenvalues 4 and 1 are apart, and so are 0.9 and 0.1.
    assert found.expected == (1, 3)
    assert not found.every_expected_plateau.any()
    two = dataclasses.replace(found, eigenvalues=np.array([9.0, 3.0, 0.9, 0.8]))
    assert two.expected == (1, 2)
    assert two.every_expected_plateau.tolist() == [True, False, False]
    # Half as high again level 2 is at level 1.
    assert 0 < found.by_chance((2,)) < 0.15


def test_exponents_of_times_in_sizes():
    sizes = np.array([5.0, 4.0, 3.0, 2.0])
    times = np.array([3 * sizes**-1.0, 2 * sizes**-0.5, [1.0, 1.0, 1.0, np.inf]])
    found = ordered(times, predicted=times[:2].repeat(2, 0)[:3], sizes=(5, 4, 3, 2), eigenvalues=np.ones(5))
    assert_allclose(found.exponents, [-1, -0.5], atol=1e-12)
    assert found.exponent_predicted == pytest.approx(-1)


def test_diverged_runs_are_left_out():
    spec = tg.Spec(
        features=[tg.Correlated(2, 0.3)], hidden=1, training=tg.Sampled(steps=20, optimiser="sgd", rate=1e6), seeds=2
    )
    assert len(escape_order(tg.train(spec), spec.features).measured) == 0


def test_gradient_descent_of_the_linear_model_learns_sets_in_order_and_on_time():
    # From so small a start, with eigenvalues so far apart, the closed form holds to a few parts in a hundred; between
    # two escapes the loss rests at the variance that is left, which a set of s features of density p has in s − 1
    # directions (p/12 each) once it is learned, and before that in one more (p/12 + s p (1 − p)/4).
    sizes, p, rate = (12, 3), 0.1, 0.02
    sets = [tg.Correlated(size, p) for size in sizes]
    spec = tg.Spec(
        features=tg.FeatureDistribution(sets),
        hidden=3,
        activation="linear",
        initial_scale=1e-4,
        seeds=4,
        training=tg.Exact(steps=3_000, optimiser="gd", rate=rate),
        snapshots=tg.Snapshots(count=300),
    )
    found = escape_order(tg.train(spec), spec.features, "linear", time_of_step=rate)
    assert found.in_order.all()
    assert found.on_time.all()
    assert found.sizes == sizes
    assert found.expected == (1, 2)
    along = [p / 12 + size * p * (1 - p) / 4 for size in sizes]
    assert_allclose(found.losses[:3], [sum(along) + 13 * p / 12, along[1] + 13 * p / 12, 13 * p / 12], rtol=1e-9)
    assert found.every_expected_plateau.all()
    assert (found.resting_distances()[:, 0] < 0.01).all()
    # A loss of the linear model is the same by both ways.
    assert_allclose(found.loss, found.linear, rtol=0.1)
