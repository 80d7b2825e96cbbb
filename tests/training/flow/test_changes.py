"""Changes while gradient flow goes on: the solver forgets what it knows of the former loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tegum as tg
from tegum.training.flow.engine import FlowEngine

SETS = [tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)]
SPARSER = [{"set": 0, "density": 0.05, "strength": 0.9}, {"set": 1, "importance": [1, 0.5, 0.25]}]


def spec(solver="implicit", **given):
    values = {
        "features": SETS, "hidden": 2, "training": tg.Flow(steps=60, duration=12.0, solver=solver), "seeds": 3,
        "snapshots": [20, 40], "changes": [{"step": 29, "sets": SPARSER}],
    }  # fmt: skip
    return tg.Spec(**(values | given))


@pytest.mark.quick_form
@pytest.mark.parametrize("solver", [pytest.param("implicit", marks=pytest.mark.slow), "explicit"])
def test_the_flow_goes_on_as_with_another_spec_and_a_fresh_solver(solver):
    changing = spec(solver)
    run = tg.train(changing)
    before, after = FlowEngine([changing.in_force(0)]), FlowEngine([changing.in_force(29)])
    with before, after:
        state, _ = before.advance(before.start(), 29, np.array([0, 20]))
        state = replace(state, first=after.start().first)
        state, recorded = after.advance(state, 60, np.array([40, 60]))
    np.testing.assert_array_equal(run.weights[:, 2:], recorded.weights)
    np.testing.assert_array_equal(run.loss[:, 2:], recorded.loss)
    # The flow of the changed loss, from where it changed, within the tolerance of the solver.
    there = tg.train(changing.replace(snapshots=[29])).sel(step=29)
    start = there.weights.values, there.bias.values
    alone = changing.in_force(29).replace(
        training=tg.Flow(steps=31, duration=6.2, solver=solver), start=start, snapshots=1
    )
    np.testing.assert_allclose(tg.train(alone).weights[:, -1], run.weights[:, -1], atol=1e-5)
    np.testing.assert_allclose(run.loss, tg.population_loss_along(run), atol=1e-6)


@pytest.mark.quick_form
def test_bits_do_not_depend_on_where_training_was_interrupted_nor_on_threads():
    run = tg.train(spec())
    segments = list(tg.iterate(spec(), segment_seconds=0.0))
    # Of 60 steps, 50 are ends of legs without changes, and 29 is none of them.
    assert 29 in [each.state.step for each in segments]
    np.testing.assert_array_equal(np.concatenate([each.recorded.loss for each in segments], 1), run.loss)
    for each in segments[24:30:5]:
        *_, last = tg.iterate(spec(), each.state, segment_seconds=10.0)
        np.testing.assert_array_equal(last.state.weights, run.weights[:, -1])
    np.testing.assert_array_equal(tg.train(spec(), threads=1).weights, run.weights)
    some = tg.train(spec(), runs=[2])
    np.testing.assert_array_equal(some.weights, run.weights.sel(seed=[2]))
    same = spec(changes=[{"step": 29, "sets": [{"set": 0, "density": 0.1}]}])
    np.testing.assert_array_equal(tg.train(same).weights, tg.train(spec(changes=[])).weights)
