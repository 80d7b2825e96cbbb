import numpy as np
import pytest
import xarray as xr
from linear_findings import RESTING, resting

import tegum as tg
from tegum.analysis.linear.losses import linear_losses
from tegum.analysis.linear.pca import linear_optimum, principal_axes
from tegum.analysis.linear.plateau_ranks import (
    energy_inside,
    first_plateau,
    first_plateaus,
    least_cosine,
    linear_rank,
)


def antipodal(sets: int) -> tuple[np.ndarray, np.ndarray, tg.FeatureDistribution]:
    """Two of the sets on one axis with opposite signs, the others on axes of their own."""
    features = tg.FeatureDistribution([tg.Correlated(3, 0.05)] * sets)
    rows = np.vstack([-np.eye(sets - 1)[:1], np.eye(sets - 1)]) / np.sqrt(3)
    return np.repeat(rows, 3, 0), np.zeros(3 * sets), features


def test_antipodal_sets_are_no_linear_solution_though_a_relu_loses_little():
    weights, bias, features = antipodal(8)
    losses = linear_optimum(features, 8).losses
    loss = float(tg.population_loss(weights, bias, features))
    assert loss / losses[8] < 1.05
    linear = float(linear_losses(weights, features))
    assert linear / losses[8] > 2
    axes = principal_axes(features)[1][:, :8]
    inside = float(energy_inside(weights, axes))
    assert inside == pytest.approx(1)
    assert least_cosine(axes.T @ weights) == pytest.approx(-1)
    assert linear_rank(loss, linear, inside, losses) == -1
    # The optimum itself is, in both models.
    best = linear_optimum(features, 8)
    loss = float(tg.population_loss(best.weights, best.bias, features))
    assert linear_rank(loss, float(linear_losses(best.weights, features)), 1.0, losses) == 8


def test_cosines_of_sets_that_are_present():
    rows = np.array([[1.0, 0.0], [-0.6, 0.8], [0.0, -0.1]])
    assert least_cosine(rows) == pytest.approx(-0.6)
    assert least_cosine(0.1 * rows) == 1
    assert least_cosine(np.stack([rows, 0.1 * rows])).shape == (2,)


def test_first_plateaus_of_made_up_losses():
    steps = np.unique(np.geomspace(1, 10_000, 300).astype(int))
    time = np.log(steps)

    def falling(levels, places):
        fall = sum(
            (a - b) / (1 + np.exp((time - at) * 8)) for a, b, at in zip(levels, levels[1:], places, strict=False)
        )
        return np.asarray(fall + levels[-1])

    rests = falling([1.0, 0.3, 0.1], [4.0, 7.0])
    plateau = first_plateau(rests, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    # The origin is a plateau as well, left behind or not, and does not count.
    assert first_plateau(np.full(len(steps), 1.0), steps, 1.0, 0.6) is None
    late = falling([1.2, 1.0, 0.3, 0.1], [1.0, 4.0, 7.0])
    plateau = first_plateau(late, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    steady = np.geomspace(1.0, 0.01, len(steps))
    assert first_plateau(steady, steps, 1.0, 0.6) is None


def test_the_rank_of_a_plateau():
    losses = np.array([1.0, 0.6, 0.2, 0.19])
    assert linear_rank(0.61, 0.61, 0.99, losses) == 1
    assert linear_rank(0.201, 0.205, 0.99, losses) == 2
    assert linear_rank(0.192, 0.192, 0.99, losses) == 3
    assert linear_rank(0.201, 0.201, 0.90, losses) == -1
    assert linear_rank(0.201, 0.22, 0.99, losses) == -1
    assert linear_rank(0.4, 0.4, 0.99, losses) == -1
    assert linear_rank(1.0, 1.0, 0.99, losses) == -1


def test_energy_inside_a_subspace():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    assert energy_inside(axes @ rng.normal(size=(3, 4)), axes) == pytest.approx(1)
    assert energy_inside(np.zeros((12, 4)), axes) == 0
    assert energy_inside(rng.normal(size=(4000, 12, 4)), axes).mean() == pytest.approx(3 / 12, abs=0.005)


def test_what_the_first_plateau_of_a_run_is():
    runs = resting(
        slowest=[0.2, 0.3, 0.4, 0.3, 0.3, 0.2],
        purest=[0.2, 0.2, 0.4, 0.3, 0.3, 0.2],
        opposed=[1.0, -0.9, 1.0, -0.9, 0.5, 1.0],
        first=[RESTING] * 5 + [None],
    )
    assert runs.kinds == ("linear", "begun", "lower", "antipodal", "other", "none")
    assert runs.ranks.tolist() == [2, -1, 1, -1, -1, -1]
    assert runs.purest_ranks.tolist() == [2, 2, 1, -1, -1, -1]
    # Levels shifted by factors: 0.3 is one and a half times 0.2, 0.4 is twice, and 0.2 itself is none.
    assert resting([0.2] * 4, [0.2] * 4, [1.0] * 4).chance() == 0
    one = resting([0.3] * 4, [0.2] * 4, [1.0] * 4)
    assert one.chance() > 0
    assert one.chance(purest=True) == 0


def test_a_flow_of_the_linear_model_rests_at_its_optimum_of_rank_one():
    # Two sets of four, of which one is active ten times as often: the second direction grows ten times as slowly.
    sets, hidden = [tg.Correlated(4, 0.2), tg.Correlated(4, 0.02)], 2
    spec = tg.Spec(
        features=tg.FeatureDistribution(sets),
        hidden=hidden,
        activation="linear",
        initial_scale=1e-4,
        seeds=3,
        training=tg.Flow(duration=400.0, steps=400),
        snapshots=200,
    )
    found = first_plateaus(tg.train(spec), spec.features, "linear")
    assert found.ranks.tolist() == [1, 1, 1]
    assert found.kinds == ("lower",) * 3
    # Of the first set three directions of variance p/12 are left, and of the second these and p/12 + 4 p (1 − p)/4.
    left = 3 * 0.2 / 12 + 4 * 0.02 / 12 + 0.02 * 0.98
    for run, plateau in enumerate(found.first):
        assert plateau is not None
        assert found.loss[run, plateau.slowest] == pytest.approx(left, rel=0.01)


def resting_run(levels: list[float], results: list[str]) -> tuple[xr.Dataset, tg.FeatureDistribution]:
    """A flow that rests at the origin, with the first of two features, and with both, each for two decades.

    The weights are the square roots of the strengths, and (1 − q)² of each variance is lost.
    """
    features = tg.FeatureDistribution([tg.Independent(1, p) for p in levels])
    steps = np.unique(np.geomspace(1, 1_000_000, 400).round().astype(int))
    strengths = np.stack([1 / (1 + (at / steps) ** 8) for at in (100, 10_000)], -1)
    variances = np.array([p / 3 - p**2 / 4 for p in levels])
    loss = np.square(1 - strengths) @ variances
    dims, runs = ("seed", "step", "feature", "hidden"), len(results)
    weights = np.tile(np.sqrt(strengths)[None, :, :, None] * np.eye(2), (runs, 1, 1, 1))
    return xr.Dataset(
        {
            "weights": (dims, weights),
            "bias": (dims[:3], np.zeros(weights.shape[:3])),
            "loss": (dims[:2], np.tile(loss, (runs, 1))),
            "result": (dims[:1], results),
        },
        {"seed": np.arange(5, 5 + runs), "step": steps, "time": (dims[:2], np.tile(steps / 10, (runs, 1)))},
    ), features


def test_a_run_that_rests_with_one_feature_is_at_rank_one():
    run, features = resting_run([0.3, 0.2], ["completed", "diverged", "converged"])
    found = tg.first_plateaus(run, features, "linear")
    assert found.seeds == (5, 7)
    assert (found.rank, found.kinds, found.ranks.tolist()) == (2, ("lower", "lower"), [1, 1])
    for plateau in found.first:
        assert plateau is not None
        assert 100 < plateau.start < plateau.end < 10_000
        assert plateau.loss == pytest.approx(0.2 / 3 - 0.01, rel=1e-3)
    # Over the same time without the second feature: only the optimum of full rank is left to rest at.
    late = run.isel(step=run.step.values < 3_000)
    assert tg.first_plateaus(late, features, "linear").ranks.tolist() == [1, 1]


def test_without_a_plateau_or_a_run_there_is_none():
    run, features = resting_run([0.3, 0.2], ["completed"])
    origin = tg.first_plateaus(run.isel(step=run.step.values < 50), features, "linear")
    assert (origin.first, origin.kinds, origin.purest) == ((None,), ("none",), (-1,))
    # Nothing is known before step 1.
    start = run.isel(step=[0]).assign_coords(step=[0])
    assert tg.first_plateaus(start, features, "linear").first == (None,)
    none = tg.first_plateaus(run.assign(result=("seed", ["interrupted"])), features, "linear")
    assert (none.seeds, none.first, none.kinds) == ((), (), ())
    assert none.ranks.shape == none.passing.shape == (0,)
    assert np.isnan(none.chance())
    assert np.isnan(none.chance(purest=True))


def test_an_optimum_that_loses_nothing_is_no_level():
    assert linear_rank(0.01, 0.01, 1.0, np.array([0.1, 0.01, 0.0])) == 1
    assert linear_rank(1e-9, 1e-9, 1.0, np.array([0.1, 0.01, 0.0])) == -1
