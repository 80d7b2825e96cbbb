"""The fused kernel of the population loss: exact values and gradients, and lanes that do not know of one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.population_truth import Case, cases, truth

import tegum as tg
from tegum.core.population.kernel import tables as tables
from tegum.core.population.kernel.evaluate import value_and_gradient

EXACT = [case for case in cases() if case.exact]
PAIRS = tg.FeatureDistribution([tg.Correlated(2, 0.05)] * 3)
MIXED = tg.FeatureDistribution(
    [
        tg.PartiallyCorrelated(3, [0.1, 0.2, 0.5], 0.7, [1.0, 2.0, 0.5]),
        tg.Independent(2, [0.3, 1.0]),
        tg.Correlated(2, 0.2, 0.3),
        tg.Anticorrelated(3, 0.9),
        tg.Correlated(3, [0.1, 0.2, 0.2]),
    ]
)


def models(n, hidden, runs, seed=0, scale=0.6):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((runs, n, hidden)), 0.1 * rng.standard_normal((runs, n))


def evaluated(case: Case, frequencies: int):
    loss, dw, db, error = value_and_gradient(case.W[None], case.b[None], case.features, frequencies=frequencies)
    return loss[0], np.concatenate([dw.ravel(), db.ravel()]), error[0]


def same_bits(one, other):
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.id)
def test_exact_with_many_frequencies(case):
    expected, gradient = truth(case.W, case.b, case.features, derivatives=1)
    size = max(1.0, np.abs(gradient).max())
    loss, found, error = evaluated(case, 4096)
    assert abs(loss - expected) <= 2e-13 * max(1.0, expected)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-10 * size)
    for frequencies in (16, 32, 64, 200):
        loss, found, error = evaluated(case, frequencies)
        assert abs(loss - expected) <= 2 * error
        # The gradient is about the number of frequencies less accurate than the value.
        assert np.abs(found - gradient).max() <= 1e-12 * size + 60 * frequencies * error


@pytest.mark.parametrize("case", [case for case in EXACT if "wide" not in case.id][::4], ids=lambda case: case.id)
def test_very_many_frequencies_lose_no_digits(case):
    expected, gradient = truth(case.W, case.b, case.features, derivatives=1)
    loss, found, _ = evaluated(case, 65536)
    assert abs(loss - expected) <= 2e-13 * max(1.0, expected)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=3e-13 * max(1.0, np.abs(gradient).max()))


def series_in_numpy(weights, bias, features, frequencies):
    """The loss by its series alone, as it is written down: no event taken out, no window, no lanes."""
    gram, mean, second = weights @ weights.T, features.first_moment(), features.second_moment()
    k = 2 * np.arange(frequencies) + 1.0
    loss = 0.0
    for j, (a, b) in enumerate(zip(gram, bias, strict=True)):
        bound = 1.5 * (abs(b) + np.abs(a).sum())
        t = k * np.pi / bound
        s = t[:, None] * a
        u = (np.exp(1j * s) - 1) / (1j * s)
        v = (np.exp(1j * s) - u) / (1j * s)
        plain = marked = np.exp(1j * t * b)
        start = 0
        for table in features.tables():
            here = slice(start, start + table.gates.shape[1])
            start = here.stop
            q = table.gates[:, None]
            factor = 1 - q + q * u[None, :, here]
            own = np.where(np.arange(here.start, here.stop) == j, q * v[None, :, here], factor)
            plain = plain * (table.weights @ factor.prod(-1))
            marked = marked * (table.weights @ own.prod(-1))
        z, squared = b + a @ mean, b**2 + 2 * b * (a @ mean) + a @ second @ a
        own_size = bound / 2 * mean[j] - 4 * bound / np.pi**2 * (marked.real / k**2).sum()
        signed = bound * z - 8 * bound**2 / np.pi**3 * (plain.imag / k**3).sum()
        own_z = b * mean[j] + a @ second[j]
        loss += features.importance[j] * (second[j, j] - own_z - own_size + squared / 2 + signed / 2)
    return loss


@pytest.mark.parametrize(
    "features",
    [
        MIXED,
        tg.FeatureDistribution([tg.Independent(30, np.linspace(0.01, 0.9, 30), np.linspace(2, 0.1, 30))]),
        tg.FeatureDistribution([tg.Correlated(2, 0.1)] * 8),
        tg.FeatureDistribution([tg.Anticorrelated(12, 0.7), tg.Correlated(11, 0.3)]),
        tg.FeatureDistribution([tg.PartiallyCorrelated(20, np.linspace(0.05, 0.5, 20), 0.3)]),
        tg.FeatureDistribution([tg.Independent(5, 1.0), tg.Correlated(4, 1.0)]),
    ],
    ids=["mixed", "independent", "pairs", "large", "nested", "always active"],
)
def test_against_the_series_as_written_down(features):
    weights, bias = models(features.n, 4, 2, scale=0.4)
    loss, *_ = value_and_gradient(weights, bias, features, frequencies=1024)
    expected = [series_in_numpy(w, b, features, 1024) for w, b in zip(weights, bias, strict=True)]
    np.testing.assert_allclose(loss, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("frequencies", [1, 7, 40])
@pytest.mark.parametrize("features", [MIXED, PAIRS, tg.FeatureDistribution([tg.Independent(9, 0.2)])])
def test_gradient_is_that_of_the_value_at_a_frozen_scale(features, frequencies):
    weights, bias = models(features.n, 3, 1, seed=4)
    bound = np.abs(weights[0] @ weights[0].T).sum(1) + np.abs(bias[0])
    theta = np.concatenate([weights.ravel(), bias.ravel()])
    steps = 1e-5 * np.concatenate([np.eye(theta.size), -np.eye(theta.size)])
    moved = np.concatenate([theta[None], theta + steps])
    w, b = moved[:, : weights.size].reshape(-1, *weights.shape[1:]), moved[:, weights.size :]
    scale = np.tile(2 * bound, (len(moved), 1))
    loss, dw, db, _ = value_and_gradient(w, b, features, frequencies=frequencies, scale=scale)
    up, down = loss[1:].reshape(2, -1)
    found = np.concatenate([dw[0].ravel(), db[0]])
    np.testing.assert_allclose(found, (up - down) / 2e-5, rtol=0, atol=1e-8)


def test_outputs_that_keep_their_sign_are_moments():
    features = tg.FeatureDistribution([tg.Independent(2, 0.3), tg.Correlated(2, 0.2)])
    weights = np.array([[1.0, 0], [0.5, 0], [0, 0], [0, 0]])
    bias = np.array([0.1, -2.0, 0.2, 0.0])
    loss, dw, db, _ = value_and_gradient(weights[None], bias[None], features, frequencies=1)
    mean, second = features.first_moment(), features.second_moment()
    a = np.array([1.0, 0.5, 0, 0])
    residual = a - [1, 0, 0, 0]
    expected = 0.01 + 0.2 * residual @ mean + residual @ second @ residual
    expected += second[1, 1] + (second[2, 2] - 0.4 * mean[2] + 0.04) + second[3, 3]
    assert loss[0] == pytest.approx(expected, abs=1e-15)
    np.testing.assert_allclose(db[0], [0.2 + 2 * residual @ mean, 0, 0.4 - 2 * mean[2], 0], atol=1e-15)
    slope = 2 * 0.1 * mean + 2 * second @ residual
    expected_dw = np.outer(slope, weights[0])
    expected_dw[0] += slope @ weights
    dead = 2 * 0.2 * mean - 2 * second[2]
    expected_dw[2] += dead @ weights
    expected_dw += np.outer(dead, weights[2])
    np.testing.assert_allclose(dw[0], expected_dw, atol=1e-15)


def test_runs_do_not_influence_one_another():
    densities = [0.02, 0.3, 0.05, 0.5, 0.11, 0.9, 0.07, 0.2, 0.6, 0.04, 0.08]
    features = [
        tg.FeatureDistribution([tg.Correlated(2, p, [1, p]), tg.PartiallyCorrelated(3, p, 0.5), tg.Independent(2, p)])
        for p in densities
    ]
    weights, bias = models(7, 2, len(features), seed=2)
    # What runs do in other lanes must not matter: rows that are dead, orthogonal, alike, huge, or not numbers.
    weights[1, 3:] = 0
    weights[2] = np.eye(7, 2)
    weights[4] = weights[3]
    weights[5] *= 1e8
    weights[6] = np.nan
    bias[7] = -5
    bias[8] = 0
    together = value_and_gradient(weights, bias, features, frequencies=24)
    assert np.isnan(together[0][6])
    assert np.isfinite(np.delete(together[0], 6)).all()
    order = np.random.default_rng(3).permutation(len(features))
    shuffled = value_and_gradient(weights[order], bias[order], [features[run] for run in order], frequencies=24)
    same_bits([each[order] for each in together], shuffled)
    for run in range(len(features)):
        alone = value_and_gradient(weights[[run]], bias[[run]], [features[run]], frequencies=24)
        same_bits([each[[run]] for each in together], alone)
    threaded = value_and_gradient(weights, bias, features, frequencies=24, threads=2)
    same_bits(together, threaded)


def test_runs_of_unequal_structure_come_back_in_their_order():
    features = [
        PAIRS,
        tg.FeatureDistribution([tg.Independent(6, 0.1)]),
        tg.FeatureDistribution([tg.Correlated(6, 0.1)]),
    ]
    weights, bias = models(6, 2, 30)
    chosen = [features[run % 3] for run in range(30)]
    together = value_and_gradient(weights, bias, chosen, frequencies=16, threads=3)
    for kind in range(3):
        alone = value_and_gradient(weights[kind::3], bias[kind::3], features[kind], frequencies=16)
        same_bits([each[kind::3] for each in together], alone)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["weight", "bias"])
def test_parameters_that_are_not_finite_show_in_the_value(bad, place):
    weights, bias = models(6, 2, 8)
    expected = value_and_gradient(weights, bias, PAIRS, frequencies=16)
    if place == "weight":
        weights[3, 2, 1] = bad
    else:
        bias[3, 2] = bad
    found = value_and_gradient(weights, bias, PAIRS, frequencies=16)
    assert not np.isfinite(found[0][3])
    others = np.arange(8) != 3
    same_bits([each[others] for each in found], [each[others] for each in expected])


def test_a_scale_that_is_too_small_gives_infinity():
    weights, bias = models(6, 2, 8)
    bound = (np.abs(weights @ weights.swapaxes(1, 2))).sum(2) + np.abs(bias)
    good = value_and_gradient(weights, bias, PAIRS, frequencies=256, scale=1.5 * bound)
    np.testing.assert_allclose(good[0], value_and_gradient(weights, bias, PAIRS, frequencies=256)[0], rtol=1e-7)
    scale = 1.5 * bound
    scale[2, 4] = 0.1 * bound[2, 4]
    found = value_and_gradient(weights, bias, PAIRS, frequencies=256, scale=scale)
    assert found[0][2] == np.inf
    assert np.isfinite(found[1]).all()
    assert np.isfinite(found[2]).all()
    others = np.arange(8) != 2
    same_bits([each[others] for each in found], [each[others] for each in good])


def test_features_without_importance_cost_nothing():
    features = tg.FeatureDistribution([tg.Correlated(2, 0.1, [1.0, 0.0]), tg.Independent(2, 0.1, [0.0, 2.0])])
    weights, bias = models(4, 2, 1)
    loss, dw, db, _ = value_and_gradient(weights, bias, features, frequencies=512)
    expected, gradient = truth(weights[0], bias[0], features, derivatives=1)
    assert loss[0] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(np.concatenate([dw.ravel(), db.ravel()]), gradient, atol=1e-9)
    assert (db[0, 1:3] == 0).all()


def test_one_component_is_as_good_as_independent():
    weights, bias = models(5, 2, 3)
    kinds = [
        [tg.Independent(5, 0.3)],
        [tg.Independent(2, 0.3), tg.Independent(3, 0.3)],
        [tg.PartiallyCorrelated(5, 0.3, 0.0)],
        [tg.Correlated(1, 0.3), tg.Anticorrelated(1, 0.3), tg.PartiallyCorrelated(1, 0.3, 0.5), tg.Independent(2, 0.3)],
    ]
    first, *others = (value_and_gradient(weights, bias, tg.FeatureDistribution(sets), frequencies=20) for sets in kinds)
    for other in others:
        for left, right in zip(first, other, strict=True):
            np.testing.assert_allclose(left, right, rtol=0, atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 5]))
def test_hidden_space_may_be_turned(seed, hidden):
    weights, bias = models(MIXED.n, hidden, 3, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((hidden, hidden)))[0]
    loss, dw, db, _ = value_and_gradient(weights, bias, MIXED, frequencies=32)
    turned, dw_turned, db_turned, _ = value_and_gradient(weights @ turn, bias, MIXED, frequencies=32)
    np.testing.assert_allclose(turned, loss, rtol=1e-12)
    np.testing.assert_allclose(dw_turned, dw @ turn, atol=1e-11)
    np.testing.assert_allclose(db_turned, db, atol=1e-11)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(len(MIXED.sets))), st.integers(0, 2**32 - 1))
def test_sets_may_change_places(order, seed):
    weights, bias = models(MIXED.n, 2, 2, seed)
    places = np.concatenate([np.flatnonzero(MIXED.set_of_feature == number) for number in order])
    features = tg.FeatureDistribution([MIXED.sets[number] for number in order])
    loss, dw, db, _ = value_and_gradient(weights, bias, MIXED, frequencies=32)
    moved, dw_moved, db_moved, _ = value_and_gradient(weights[:, places], bias[:, places], features, frequencies=32)
    np.testing.assert_allclose(moved, loss, rtol=1e-12)
    np.testing.assert_allclose(dw_moved, dw[:, places], atol=1e-11)
    np.testing.assert_allclose(db_moved, db[:, places], atol=1e-11)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 20), st.data())
def test_batches_may_be_split(runs, data):
    weights, bias = models(6, 2, runs, seed=runs)
    cut = data.draw(st.integers(0, runs))
    whole = value_and_gradient(weights, bias, PAIRS, frequencies=8)
    parts = [
        value_and_gradient(weights[part], bias[part], PAIRS, frequencies=8) for part in (slice(cut), slice(cut, None))
    ]
    same_bits(whole, [np.concatenate(each) for each in zip(*parts, strict=True)])


def test_frequencies_are_odd_and_windowed():
    columns = tables.frequencies(9)
    assert columns.shape == (10, tables.COLUMNS)
    k = columns[:, 0]
    np.testing.assert_array_equal(k, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
    np.testing.assert_allclose(columns[:, 1], 1 / k)
    window = columns[:, 2] * k
    assert (window[:4] == 1).all()
    assert (np.diff(window[4:9]) < 0).all()
    assert window[9] == 0
    np.testing.assert_allclose(columns[:, 3], window / k**2)
    assert (columns[:, 4:] <= columns[:, 3:4]).all()
    assert (columns[7:, 4] == 0).all()
    with pytest.raises(ValueError, match="at least one"):
        tables.frequencies(0)


def test_last_block_is_filled_with_the_last_run():
    densities = [tg.FeatureDistribution([tg.Correlated(2, p)]) for p in (0.1, 0.2)]
    other = tg.FeatureDistribution([tg.Independent(2, 0.1)])
    first, second = tables.groups([*densities, other], np.array([0, 1] * 5 + [2]), 3)
    np.testing.assert_array_equal(first.runs, [range(8), [8, 9, 9, 9, 9, 9, 9, 9]])
    assert (first.count, second.count, second.runs.tolist()) == (10, 1, [[10] * 8])
    rows = first.tables.reshape(2, first.plan.rows, 8)
    weight = first.plan.weight[0]
    np.testing.assert_allclose(rows[0, weight + 1], [0.1, 0.2] * 4)
    np.testing.assert_allclose(rows[1, weight], [0.9] + [0.8] * 7)
    assert first.tables.ctypes.data % 64 == 0


def test_refused():
    weights, bias = models(6, 2, 3)
    with pytest.raises(ValueError, match="2 distributions for 3 runs"):
        value_and_gradient(weights, bias, [PAIRS, PAIRS], frequencies=8)
    with pytest.raises(ValueError, match="must have 6 features"):
        value_and_gradient(weights, bias, tg.FeatureDistribution([tg.Independent(5, 0.1)]), frequencies=8)
    with pytest.raises(ValueError, match="at least one"):
        value_and_gradient(weights, bias, PAIRS, frequencies=0)
    with pytest.raises(ValueError, match="no mixture table"):
        value_and_gradient(weights, bias, tg.FeatureDistribution([tg.Equivariant(6, 0.1, 0.5)]), frequencies=8)
