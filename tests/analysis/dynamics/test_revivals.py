import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import tegum as tg
from tegum.analysis.dynamics.drops import find_drops
from tegum.analysis.dynamics.levels import find_jumps
from tegum.analysis.dynamics.revivals import dead_outputs, find_revivals

STEPS = np.arange(0, 50_001, 100)
FEATURES = tg.FeatureDistribution([tg.Independent(4, density=0.4)])


def run_of(bias_of_last, last_row=(0.0, 0.0), seed=0):
    """A digon, a lone feature, and a fourth one with a bias of its own, along the steps."""
    W = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], last_row])
    weights = np.broadcast_to(W, (1, len(STEPS), 4, 2))
    bias = np.zeros((1, len(STEPS), 4))
    bias[0, :, 3] = bias_of_last
    coords = {"seed": [seed], "step": STEPS}
    return (
        xr.DataArray(weights, dims=("seed", "step", "feature", "hidden"), coords=coords),
        xr.DataArray(bias, dims=("seed", "step", "feature"), coords=coords),
    )


def revived(start=20_000, length=300):
    """A bias that is below 0, and rises to the mean of the feature."""
    return np.interp(STEPS, (start, start + length), (-0.05, 0.2))


def test_a_revival_is_found_where_it_is_and_is_no_jump_but_a_drop_of_the_loss():
    weights, bias = run_of(revived(), seed=6)
    (revival,) = find_revivals(weights, bias, FEATURES)
    assert (revival.seed, revival.feature) == (6, 3)
    # The bias passes 0 after 60 steps, and nine tenths of its rise after 270.
    assert (revival.start, revival.end) == (20_000, 20_300)
    assert (revival.before, revival.after, revival.visible) == (0.0, 0.0, False)
    assert find_jumps(tg.dimensionality(weights)) == []
    W, b = (array.values[0].astype(float) for array in (weights, bias))
    loss = tg.population_loss(W, b, FEATURES)
    # A dead output costs E[x²] = p/3, a constant at the mean p/2 its variance: p²/4 less.
    assert_allclose(loss[0] - loss[-1], 0.4**2 / 4, rtol=1e-6)
    found = xr.DataArray(loss[None], dims=("seed", "step"), coords={"seed": [6], "step": STEPS})
    (drop,) = find_drops(found + 1e-6 * np.random.default_rng(0).normal(size=(1, 501)))
    assert drop.start < revival.end
    assert revival.start < drop.end
    assert_allclose(drop.size, 0.04, rtol=0.1)


def test_dead_is_what_no_input_moves():
    weights, bias = run_of(np.where(STEPS < 30_000, -0.3, -0.1), last_row=(0.2, 0.0))
    # It is coupled to the first feature by 0.2 and to itself by 0.04: above that it is dead.
    dead = dead_outputs(weights, bias, FEATURES)
    assert dead[0, :300, 3].all()
    assert not dead[0, 300:].any()
    assert not dead[0, :, :3].any()
    x = np.random.default_rng(0).random((20_000, 4))
    W = weights.values[0, 0]
    assert (x @ W @ W.T + bias.values[0, 0])[:, 3].max() < 0 < (x @ W @ W.T + bias.values[0, -1])[:, 3].max()


def test_with_many_features_dead_is_what_hardly_any_input_moves():
    features = tg.FeatureDistribution([tg.Independent(101, density=0.4)])
    W = np.vstack([np.ones((100, 1)) * 0.1, [[0.1]]])
    coords = {"seed": [0], "step": STEPS[:2]}
    weights = xr.DataArray(
        np.broadcast_to(W, (1, 2, 101, 1)), dims=("seed", "step", "feature", "hidden"), coords=coords
    )
    # z is 0.01 Σ x + b, at most 1.01 + b; its mean is 0.202 + b, its standard deviation about 0.03.
    for offset, dead in ((-1.02, True), (-0.5, True), (-0.3, False), (0.0, False)):
        bias = xr.DataArray(np.full((1, 2, 101), offset), dims=("seed", "step", "feature"), coords=coords)
        assert (dead_outputs(weights, bias, features) == dead).all()


def test_at_a_low_density_an_output_that_one_feature_moves_is_not_dead():
    features = tg.FeatureDistribution([tg.Independent(4, density=0.02)])
    coords = {"seed": [0], "step": STEPS[:2]}
    weights = xr.DataArray(
        np.broadcast_to(np.eye(4), (1, 2, 4, 4)), dims=("seed", "step", "feature", "hidden"), coords=coords
    )
    # It reaches 1 + b where its own feature is 1, however rarely.
    for offset, dead in ((-0.4, False), (-0.99, False), (-1.01, True)):
        bias = xr.DataArray(np.full((1, 2, 4), offset), dims=("seed", "step", "feature"), coords=coords)
        assert (dead_outputs(weights, bias, features) == dead).all()


@pytest.mark.parametrize(
    ("why", "bias"),
    [
        ("always alive", np.full(501, 0.2)),
        ("always dead", np.full(501, -0.1)),
        ("dies", revived()[::-1]),
        ("dead too shortly before", np.where(STEPS < 20_000, 0.2, revived(20_300, 200))),
        ("alive too shortly", np.where((STEPS > 20_000) & (STEPS < 20_600), 0.2, -0.1)),
        ("flickering", np.where(np.arange(501) % 2, 0.01, -0.01)),
    ],
)
def test_what_is_no_revival_is_not_found(why, bias):
    assert find_revivals(*run_of(bias), FEATURES) == [], why


def test_a_revival_with_an_embedding_is_visible():
    weights, bias = run_of(revived())
    grown = weights.values.copy()
    grown[0, STEPS > 20_100, 3] = (0.0, -1.0)
    (revival,) = find_revivals(weights.copy(data=grown), bias, FEATURES)
    assert revival.visible
    assert_allclose((revival.before, revival.after), (0, 0.5))


def test_few_snapshots_have_no_revival_and_bad_numbers_are_refused():
    weights, bias = run_of(revived())
    few = {"step": slice(195, 210)}
    assert find_revivals(weights.isel(few), bias.isel(few), FEATURES) == []
    with pytest.raises(ValueError, match=r"find_revivals\(rest=0\): rest must be above 0"):
        find_revivals(weights, bias, FEATURES, rest=0)
    for call in (dead_outputs, find_revivals):
        with pytest.raises(ValueError, match=rf"^{call.__name__}\(features of n=2\): the weights have 4 features"):
            call(weights, bias, tg.FeatureDistribution([tg.Independent(2, density=0.4)]))
