from itertools import permutations

import numpy as np
import pytest
import xarray as xr
from triangles import triangles

import tegum as tg
from tegum.analysis.dynamics.regimes import Regime
from tegum.analysis.dynamics.stages import MotionStage, motion_stages, purity, sequence

SETS = tg.FeatureDistribution([tg.Correlated(3, density=0.05)] * 2)


def test_regimes_elsewhere_are_less_pure_where_regimes_are_what_moves():
    # Growth while the loss falls, a twist on the long plateau, growth again on a fall: boundaries lie where they must.
    steps = np.unique(np.rint(np.geomspace(10, 10_000, 61)).astype(int))
    time = (np.log(steps) - np.log(10)) / np.log(1_000)
    height = 0.2 + 0.2 * np.clip(time / 0.2, 0, 1) + 0.2 * np.clip((time - 0.7) / 0.3, 0, 1)
    twist = 0.3 + 0.6 * np.clip((time - 0.2) / 0.5, 0, 1)
    weights = np.stack([triangles(0.5, each) * [1, 1, 2 * up] for each, up in zip(twist, height, strict=True)])
    loss = np.exp(-10 * height)
    (found,) = motion_stages(weights[None], loss[None], steps, SETS)
    run, chance = found.stages, found.by_chance
    assert [each.dominant for each in run] == ["inflation", "twist", "inflation"]
    assert purity(run).over_time > 0.97
    # In all six orders of lengths 0.2, 0.5 and 0.3. Squared speeds: six members move along the axis; around it three
    # of one set at a radius of √0.75, of which half is a rotation of both.
    grid = (np.arange(10_000) + 0.5) / 10_000
    grown = np.where(grid < 0.2, 6.0, np.where(grid > 0.7, 6 * (2 / 3) ** 2, 0.0))
    twisted = np.where((grid > 0.2) & (grid < 0.7), 3 * 0.75 * 1.2**2 / 2, 0.0)
    means = []
    for lengths in permutations((0.2, 0.5, 0.3)):
        pieces = np.split(np.stack([grown, twisted]), np.rint(np.cumsum(lengths)[:2] * 10_000).astype(int), axis=1)
        means.append(sum(k * each.sum(1).max() / each.sum() for k, each in zip(lengths, pieces, strict=True)))
    assert chance.order.over_time == pytest.approx(np.mean(means), abs=0.02)
    assert np.mean(means) < 0.9
    # The same where velocity is the same throughout: no boundary is better than another.
    steady = np.stack([triangles(0.5, each) * [1, 1, 1 + each] for each in 0.3 + time])
    (found,) = motion_stages(steady[None], loss[None], steps, SETS)
    run, chance = found.stages, found.by_chance
    assert purity(run).over_time == pytest.approx(chance.order.over_time, abs=0.01)


def stage(kind, dominant, first=0):
    shares: dict[str, float] = dict.fromkeys(("inflation", "opening", "twist"), 0.1)
    shares[dominant] = 0.8
    return MotionStage(Regime(kind, first, first + 1, 10**first, 10 ** (first + 1), 1.0, 0.5), shares)


def test_purity_and_sequence_of_stages_made_by_hand():
    run = (stage("fall", "inflation"), stage("plateau", "opening", 1), stage("fall", "opening", 2))
    assert sequence(run) == "inflation → opening"
    assert purity(run) == pytest.approx((0.8, 0.8, 0.5))
    assert np.isnan(purity(())).all()
    still = MotionStage(run[0].regime, {"inflation": np.nan, "opening": np.nan})
    assert still.dominant == "nothing"
    assert np.isnan(still.dominant_share)


def test_one_regime_alone_is_in_every_order_and_at_every_place():
    # Growth on one fall without a plateau: nothing can be put elsewhere, and all nulls are what is seen.
    steps = np.unique(np.rint(np.geomspace(10, 10_000, 61)).astype(int))
    time = np.log(steps / 10)
    weights = np.stack([triangles(0.5, 0.3) * [1, 1, 1 + 0.1 * each] for each in time])
    (found,) = motion_stages(weights[None], np.exp(-time)[None], steps, SETS)
    assert [each.dominant for each in found.stages] == ["inflation"]
    assert purity(found.stages).share == pytest.approx(1)
    assert found.by_chance.order[:2] == pytest.approx((1, 1))
    assert found.by_chance.places[:2] == pytest.approx((1, 1))


STEPS = np.unique(np.geomspace(1, 100_000, 51).round().astype(int))
LOSS = np.clip(100 / STEPS, 0.1, 1)
PAIRS = tg.FeatureDistribution([tg.Correlated(2, density=0.1)] * 2)
COLLAPSED = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
GROWING = COLLAPSED / LOSS[None, :, None, None]


def test_growth_on_the_only_fall_is_the_only_stage_that_moves():
    # Arrays of any kind will do, of whole trajectories too.
    dims = ("seed", "step", "feature", "hidden")
    given = (
        xr.DataArray(GROWING, dims=dims),
        xr.DataArray(LOSS[None], dims=dims[:2]),
        xr.DataArray(STEPS, dims="step"),
    )
    for weights, loss, steps in (given, (GROWING.tolist(), LOSS[None].tolist(), STEPS.tolist())):
        (found,) = tg.motion_stages(weights, loss, steps, PAIRS)
        assert [(each.regime.kind, each.regime.start, each.regime.end) for each in found.stages] == [
            ("plateau", 1, 100),
            ("fall", 100, 1_000),
            ("plateau", 1_000, 100_000),
        ]
        assert [each.dominant for each in found.stages] == ["nothing", "inflation", "nothing"]
        assert found.stages[1].shares["inflation"] == pytest.approx(1)
        # Nothing moves in two regimes, which therefore are no motion.
        assert np.isnan(found.purity.share)
        assert found.purity.changes == 1


def test_the_purity_of_a_run_is_that_of_its_stages():
    wider = COLLAPSED + np.log(STEPS)[:, None, None] / 100 * np.array([[0, 1.0], [0, -1.0], [1.0, 0], [-1.0, 0]])
    (found,) = tg.motion_stages((wider * (1 / LOSS)[:, None, None])[None], LOSS[None], STEPS, PAIRS)
    assert found.purity == purity(found.stages)
    assert 0 < found.purity.share <= 1
    # The same draws by the same key.
    (again,) = tg.motion_stages((wider * (1 / LOSS)[:, None, None])[None], LOSS[None], STEPS, PAIRS, key=0)
    (other,) = tg.motion_stages((wider * (1 / LOSS)[:, None, None])[None], LOSS[None], STEPS, PAIRS, key=1)
    assert found.by_chance == again.by_chance
    assert found.by_chance.order == other.by_chance.order
    assert found.by_chance.places != other.by_chance.places


def test_a_run_that_diverges_has_stages_until_then_and_one_without_losses_none():
    finite = STEPS < 5_000
    loss = np.where(finite, LOSS, np.nan)
    weights = np.where(finite[:, None, None], GROWING[0], np.nan)
    ended, lost = tg.motion_stages([weights, weights], [loss, np.full(len(STEPS), np.nan)], STEPS, PAIRS)
    assert [each.dominant for each in ended.stages] == ["nothing", "inflation", "nothing"]
    assert ended.stages[-1].regime.end == STEPS[finite][-1]
    assert lost.stages == ()
    assert np.isnan([*lost.purity, *lost.by_chance.order, *lost.by_chance.places]).all()
    # Neither do two snapshots of which one lies before step 1, nor no runs.
    (short,) = tg.motion_stages(GROWING[:, :2], LOSS[None, :2], [0, 1], PAIRS)
    assert short.stages == ()
    assert tg.motion_stages(GROWING[:0], LOSS[None][:0], STEPS, PAIRS) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"weights": GROWING[0]},
            r"\(weights of shape \(48, 4, 2\)\): it must have the shape \(run, step, n, m\), with at",
        ),
        ({"weights": GROWING[:, :1]}, r"\(weights of shape \(1, 1, 4, 2\)\): it must have the shape"),
        ({"weights": GROWING[..., :0]}, r"\(weights of shape \(1, 48, 4, 0\)\): it must .* and one hidden dimension"),
        ({"weights": [[1.0], [1.0, 2.0]]}, r"\(weights=.*\): weights must be an array of real numbers"),
        ({"loss": LOSS}, r"\(loss of shape \(48,\), steps of shape \(48,\)\): they must have the shapes \(1, 48\) and"),
        ({"loss": -LOSS[None]}, r"\(loss with minimum -1\): losses must be positive and steps rise"),
        ({"loss": 0 * LOSS[None]}, r"\(loss with minimum 0\): losses must be positive and steps rise"),
        ({"steps": STEPS[:-1]}, r"\(loss of shape \(1, 48\), steps of shape \(47,\)\): they must have the shapes"),
        ({"steps": STEPS[::-1]}, r"\(loss with minimum 0.1\): losses must be positive and steps rise"),
        ({"steps": STEPS / 10}, r"\(steps\): steps must be whole numbers"),
        ({"steps": np.where(STEPS < 1e5, STEPS, np.inf)}, r"\(steps\): steps must be whole numbers"),
        ({"features": SETS}, r"\(weights with 4 rows\): there must be 6 rows, as features has n = 6"),
        ({"features": [1]}, r"\(features=\[1\]\): features must be a FeatureDistribution"),
        ({"key": -1}, r"\(key=-1\): key must be an int of at least 0"),
    ],
)
def test_refuses_in_one_sentence_what_has_no_stages(change, sentence):
    with pytest.raises(ValueError, match=rf"^motion_stages{sentence}") as caught:
        tg.motion_stages(**{"weights": GROWING, "loss": LOSS[None], "steps": STEPS, "features": PAIRS, **change})
    assert "\n" not in str(caught.value)
