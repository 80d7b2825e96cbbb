import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import tegum as tg
from tegum.analysis.linear.escapes import escape_times, mode_strengths, predicted_escapes
from tegum.analysis.linear.pca import linear_optimum, principal_axes

SETS = tg.FeatureDistribution([tg.Correlated(3, 0.1), tg.Correlated(2, 0.08, importance=0.8), tg.Correlated(2, 0.03)])


def followed(W, features, times):
    """The gradient flow of the tied linear model's loss with the best bias, by SciPy."""
    covariance, importance = features.covariance(), np.diag(features.importance)

    def downhill(_, row):
        here = row.reshape(W.shape)
        rest = np.eye(len(W)) - here @ here.T
        slope = importance @ rest @ covariance
        return (2 * (slope + slope.T) @ here).ravel()

    way = solve_ivp(downhill, (0, times[-1]), W.ravel(), "LSODA", times, rtol=1e-9, atol=1e-12)
    return way.y.T.reshape(-1, *W.shape)


@pytest.mark.parametrize("hidden", [3, 5])
@pytest.mark.parametrize("key", [0, 1, 2])
def test_directions_come_when_the_closed_form_says(hidden, key):
    start = 1e-4 * np.random.default_rng(key).normal(size=(SETS.n, hidden))
    values = principal_axes(SETS)[0]
    times = np.linspace(0, 14 / (4 * values[2]), 800)
    strengths = mode_strengths(followed(start, SETS, times), SETS, 3)
    measured = escape_times(strengths, times)
    assert (np.diff(measured) > 0).all()
    assert_allclose(predicted_escapes(start, SETS, 3), measured, rtol=0.01)


def test_a_single_direction_is_exactly_logistic():
    features = tg.FeatureDistribution([tg.Independent(1, 0.3)])
    variance = 0.3 / 3 - 0.3**2 / 4
    start = np.array([[0.2, 0.1]])
    times = np.linspace(0, 40, 4001)
    measured = escape_times(mode_strengths(followed(start, features, times), features, 1), times)
    exact = np.log((1 - 0.05) / 0.05) / (8 * variance)
    assert_allclose(predicted_escapes(start, features, 1), [exact], rtol=1e-12)
    assert_allclose(measured, [exact], rtol=1e-4)


def test_the_linear_optimum_has_full_strength_in_its_rank():
    weights = linear_optimum(SETS, 2).weights
    assert_allclose(mode_strengths(weights, SETS, 3), [1, 1, 0], atol=1e-12)


def test_a_rotation_of_hidden_space_changes_nothing():
    rng = np.random.default_rng(3)
    start = 0.01 * rng.normal(size=(4, SETS.n, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert_allclose(mode_strengths(start @ turn, SETS, 4), mode_strengths(start, SETS, 4), rtol=1e-10)
    assert_allclose(predicted_escapes(start @ turn, SETS, 3), predicted_escapes(start, SETS, 3), rtol=1e-8)


def test_no_room_and_no_time():
    start = 0.01 * np.random.default_rng(4).normal(size=(SETS.n, 2))
    assert np.isinf(predicted_escapes(start, SETS, 3)).tolist() == [False, False, True]
    assert_allclose(predicted_escapes(linear_optimum(SETS, 2).weights, SETS, 2), [0, 0])
    assert np.isinf(predicted_escapes(np.zeros((SETS.n, 2)), SETS, 2)).all()
    flat = np.array([[0.6, 0.0], [0.7, 0.2], [0.8, 0.4]])
    assert_allclose(escape_times(flat, np.array([0.0, 1.0, 2.0])), [0, np.inf])
    rising = np.array([[0.0], [0.25], [0.75]])
    assert_allclose(escape_times(rising, np.array([0.0, 2.0, 4.0])), [3])


def test_what_has_diverged_is_not_predicted():
    start = 0.01 * np.random.default_rng(4).normal(size=(2, SETS.n, 2))
    start[1, 0, 0] = np.nan
    found = predicted_escapes(start, SETS, 2)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    strengths = np.array([[0.0], [np.nan], [0.75]])
    assert not np.isfinite(escape_times(strengths[:2], np.array([0.0, 2.0]))).any()


def test_data_arrays_keep_their_dims():
    run = tg.train(tg.Spec(features=SETS, hidden=2, training=tg.Sampled(steps=10), snapshots=2, seeds=2))
    strengths = mode_strengths(run.weights, SETS, 3)
    assert strengths.dims == ("seed", "step", "mode")
    assert_allclose(strengths, mode_strengths(run.weights.values, SETS, 3))


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match=r"mode_strengths\(weights with 4 rows\): there must be 7 rows"):
        mode_strengths(np.zeros((4, 2)), SETS, 2)
    with pytest.raises(ValueError, match="count must be an int from 1 to 7"):
        predicted_escapes(np.zeros((7, 2)), SETS, 8)
    with pytest.raises(ValueError, match="there are 3 snapshots"):
        escape_times(np.zeros((3, 2)), np.arange(2.0))
    with pytest.raises(ValueError, match="times of snapshots must rise"):
        escape_times(np.zeros((3, 2)), np.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match=r"mode_strengths\(count=True\): count must be an int"):
        mode_strengths(np.zeros((7, 2)), SETS, True)
