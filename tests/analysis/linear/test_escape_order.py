import dataclasses

import numpy as np
import pytest
import xarray as xr
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


def logistic(time: np.ndarray, rate: float, start: float) -> np.ndarray:
    """The strength of a direction that grows alone, from the start q: odds grow as exp(rate t)."""
    odds = start / (1 - start) * np.exp(rate * time)
    return odds / (1 + odds)


def grown(starts: np.ndarray, densities: list[float], results: list[str]) -> tuple[xr.Dataset, tg.FeatureDistribution]:
    """Runs of the linear model of features that are sets of their own, by the closed form of each weight."""
    features = tg.FeatureDistribution([tg.Independent(1, p) for p in densities])
    time = np.linspace(0, 200, 2001)
    rates = np.array([8 * (p / 3 - p**2 / 4) for p in densities])
    strengths = np.stack([[logistic(time, *each) for each in zip(rates, run, strict=True)] for run in starts])
    rows = np.sqrt(strengths).transpose(0, 2, 1)
    weights = rows[..., None] * np.eye(len(densities))
    # (1 − q)² of each variance is lost.
    loss = (np.square(1 - np.square(rows)) * rates / 8).sum(-1)
    dims = ("seed", "step", "feature", "hidden")
    data = {"weights": (dims, weights), "bias": (dims[:3], 0 * rows), "loss": (dims[:2], loss)}
    coords = {"step": np.arange(len(time)), "time": (dims[:2], np.tile(time, (len(starts), 1)))}
    return xr.Dataset({**data, "result": (dims[:1], results)}, coords), features


def test_escapes_of_features_that_grow_alone_are_those_of_the_closed_form():
    starts = np.array([[1e-4, 1e-4], [1e-6, 1e-3], [1e-4, 0.3]])
    run, features = grown(starts, [0.3, 0.1], ["completed", "converged", "diverged"])
    found = tg.escape_order(run, features, "linear")
    exact = np.log((1 - starts) / starts) / [8 * (p / 3 - p**2 / 4) for p in (0.3, 0.1)]
    assert_allclose(found.measured, exact[:2], rtol=1e-4)
    assert_allclose(found.predicted, exact[:2], rtol=1e-9)
    assert found.in_order.tolist() == [True, True]
    assert found.on_time.all()
    # The third starts with the second direction nearly learned.
    early = tg.escape_order(run.assign(result=("seed", ["diverged", "diverged", "completed"])), features, "linear")
    assert early.in_order.tolist() == [False]
    # As many dimensions as features: nothing is left after the second direction, and no plateau is expected there.
    assert found.ratio(1) == pytest.approx((0.1 - 0.0225) / (0.1 / 3 - 0.0025))
    assert found.ratio(2) == np.inf
    assert found.expected == ()
    rarer = tg.escape_order(*grown(starts[:1], [0.3, 0.05], ["completed"]), "linear")
    assert rarer.expected == (1,)
    assert rarer.every_expected_plateau.tolist() == [True]
    with pytest.raises(ValueError, match=r"^plateaus_at\(rank=3\): rank must be from 0 to 2"):
        rarer.plateaus_at(3)


def test_what_follows_from_no_run_is_not_a_number():
    run, features = grown(np.full((2, 2), 1e-4), [0.3, 0.1], ["diverged", "interrupted"])
    found = tg.escape_order(run, features, "linear")
    for name in ("learned", "in_order", "on_time", "error", "every_expected_plateau", "exponents"):
        assert getattr(found, name).shape == (0,)
    for value in (found.on_time_by_others, found.error_by_others, found.exponent_predicted, found.by_chance((1,))):
        assert np.isnan(value)
    assert found.delay.shape == found.resting_distances().shape == (0, 2)
    assert found.plateaus_at(1).shape == (0,)


def test_one_run_has_no_others():
    found = tg.escape_order(*grown(np.full((1, 2), 1e-4), [0.3, 0.1], ["completed"]), "linear")
    assert found.on_time.all()
    assert np.isnan(found.on_time_by_others)
    assert np.isnan(found.error_by_others)


def test_sets_of_one_size_have_no_exponent_nor_have_directions_learned_from_the_start():
    times = np.array([[1.0, 2.0], [3.0, 4.0]])
    same = ordered(times, predicted=times, sizes=(3, 3))
    assert np.isnan(same.exponents).all()
    assert np.isnan(same.exponent_predicted)
    alone = ordered(times[:, :1], predicted=times[:, :1], sizes=(3,))
    assert np.isnan(alone.exponents).all()
    assert alone.in_order.all()
    begun = ordered(np.array([[0.0, 2.0], [1.0, 2.0]]), predicted=np.array([[0.0, 2.0], [1.0, np.inf]]), sizes=(4, 2))
    assert np.isnan(begun.exponents[0])
    assert begun.exponents[1] == pytest.approx(-1)
    assert np.isnan(begun.exponent_predicted)
    assert not np.isfinite(begun.delay).all()


def test_a_digon_of_sets_learns_more_directions_than_there_are_dimensions():
    # Both strengths are 1, and there is no linear optimum between the second escape and a third.
    run, features = grown(np.array([[1e-4, 1e-4]]), [0.3, 0.1], ["completed"])
    weights = run.weights.sum("hidden", keepdims=True) * [[1.0], [-1.0]]
    one = run.drop_vars("weights").assign(weights=weights.transpose("seed", "step", "feature", "hidden"))
    found = tg.escape_order(one, features)
    assert found.learned.all()
    assert len(found.losses) == 2
    assert np.isinf(found.predicted[:, 1]).all()
    assert found.expected == ()
    assert found.resting_distances().shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"time_of_step": 0.0}, r"\(time_of_step=0.0\): time_of_step must be a positive finite number"),
        ({"time_of_step": np.inf}, r"\(time_of_step=inf\): time_of_step must be a positive finite number"),
        (
            {"run": grown(np.full((2, 2), 0.1), [0.3, 0.1], ["completed"] * 2)[0].assign_coords(
                time=(("seed", "step"), np.arange(4002.0).reshape(2, 2001))
            )},
            r"\(run with the coordinate time\): times must rise, and be the same for all runs",
        ),
        (
            {"run": grown(np.full((1, 2), 0.1), [0.3, 0.1], ["completed"])[0].assign_coords(
                time=(("seed", "step"), np.zeros((1, 2001)))
            )},
            r"\(run with the coordinate time\): times must rise",
        ),
    ],
)  # fmt: skip
def test_times_that_are_none_are_refused(change, sentence):
    run, features = grown(np.full((1, 2), 0.1), [0.3, 0.1], ["completed"])
    with pytest.raises(ValueError, match=rf"^escape_order{sentence}"):
        tg.escape_order(**{"run": run, "features": features, **change})


@pytest.mark.parametrize("name", ["escape_order", "first_plateaus"])
def test_sets_without_one_leading_direction_each_are_refused(name):
    two = tg.FeatureDistribution([tg.Independent(2, 0.3), tg.Independent(1, 0.1)])
    run, _ = grown(np.full((1, 3), 0.1), [0.3, 0.3, 0.1], ["completed"])
    rule = "the 2 leading principal directions must be one of each set; set 0 has several of them"
    with pytest.raises(ValueError, match=rf"^{name}\(features of 2 sets\): {rule}"):
        getattr(tg, name)(run, two, "linear")
    still = tg.FeatureDistribution([tg.Empirical(activations=np.ones((2, 3)))])
    with pytest.raises(ValueError, match=rf"^{name}\(features without variance\): one at least must vary"):
        getattr(tg, name)(run, still, "linear")


def test_runs_whose_features_change_on_the_way_are_refused():
    spec = tg.Spec(
        features=[tg.Independent(2, [0.1, 0.3])],
        hidden=2,
        activation="linear",
        training=tg.Exact(steps=20, optimiser="gd", rate=0.1),
        snapshots=4,
        changes=[tg.Change(10, sets=[tg.SetChange(0, density=[0.9, 0.05])])],
    )
    run = tg.train(spec, progress=False)
    for measure in (tg.escape_order, tg.first_plateaus, tg.superposition_onset):
        with pytest.raises(ValueError, match=r"\(run\): its Spec has changes, so that there is no one distribution"):
            measure(run, spec.features, "linear")
