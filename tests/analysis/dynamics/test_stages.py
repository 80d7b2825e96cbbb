from itertools import permutations

import numpy as np
import pytest
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
