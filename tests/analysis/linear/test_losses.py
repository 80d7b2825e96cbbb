import numpy as np
from numpy.testing import assert_allclose

import tegum as tg
from tegum.analysis.linear.losses import at_level, linear_losses, own_losses
from tegum.analysis.linear.pca import linear_optimum


def test_linear_losses_are_population_losses_of_linear_models():
    features = tg.FeatureDistribution([tg.Correlated(3, 0.2, importance=0.5), tg.Independent(2, 0.4)])
    weights = np.random.default_rng(0).normal(size=(4, 5, 2))
    mean = features.first_moment()
    bias = np.array([mean - each @ each.T @ mean for each in weights])
    expected = tg.population_loss(weights, bias, features, activation="linear")
    assert_allclose(linear_losses(weights, features), expected, rtol=1e-6)
    assert_allclose(linear_losses(linear_optimum(features, 2).weights, features), linear_optimum(features, 2).loss)


def test_levels_are_met_by_both_losses():
    loss, linear = np.array([1.0, 1.04, 1.06, 1.0]), np.array([1.0, 1.0, 1.0, 1.2])
    assert at_level(loss, linear, 1.0).tolist() == [True, True, False, False]


def test_a_flow_has_population_losses_already():
    spec = tg.Spec(features=[tg.Correlated(2, 0.3)], hidden=1, training=tg.Sampled(steps=4), snapshots=2, seeds=2)
    run = tg.train(spec)
    expected = tg.population_loss(run.weights.values.astype(float), run.bias.values.astype(float), spec.features)
    assert_allclose(own_losses(run, spec.features, "relu", 1e-5), expected, atol=1e-5)
    flow = run.assign_coords(time=run.step * 0.1)
    assert (own_losses(flow, spec.features, "relu", 1e-5) == run.loss.values).all()


def test_linear_losses_of_one_set_are_those_of_two_variances():
    # A set of s features of density p: p/12 + s p (1 − p)/4 along (1, …, 1), and p/12 across it. What a W of length a
    # along it keeps is a²: (1 − a²)² of the first are lost, and all of the others.
    s, p = 4, 0.2
    features = tg.FeatureDistribution([tg.Correlated(s, p)])
    lengths = np.array([0.0, 0.5, 1.0, 1.2])
    weights = lengths[:, None, None] * np.full((s, 1), s**-0.5)
    along, across = p / 12 + s * p * (1 - p) / 4, p / 12
    assert_allclose(linear_losses(weights, features), (1 - lengths**2) ** 2 * along + (s - 1) * across, rtol=1e-12)


def test_nothing_is_at_a_level_of_zero():
    # Where there are as many dimensions as features, the optimum of full rank loses nothing.
    nothing, something = np.zeros(1), np.ones(1)
    assert not at_level(nothing, nothing, 0.0).any()
    assert not at_level(something, something, 0.0).any()
