"""Kinds of training without samples, by an engine made for these tests: what surrounds every engine."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import types

import numpy as np
import pytest

import tegum as tg
from tegum import terminal
from tegum.core.threads import Threaded
from tegum.training.start import starting_state
from tegum.training.state import Recorded, TrainingState

EVERY = 64
"""Steps between the places where the engine can be cut."""
NEVER = 2**62


class Shrinking(Threaded):
    """Divides the start of every run by the number of the step + 1.

    Run r converges at step 50 r, if the training knows that, but the last one diverges at step 70.
    """

    def __init__(self, specs, threads):
        super().__init__(threads or 1)
        self.specs = specs

    def start(self):
        state = starting_state(self.specs, 0)
        return dataclasses.replace(state, first=np.zeros((len(state.weights), 0)))

    def stop_at(self, step):
        return -(-step // EVERY) * EVERY

    def advance(self, state, stop, snapshots):
        training = self.specs[0].training
        assert state.step % EVERY == 0
        assert stop % EVERY == 0 or stop == training.steps
        start, runs = self.start(), len(state.weights)
        ends = np.arange(runs) * 50 if training.converges else np.full(runs, NEVER)
        fails = np.full(runs, NEVER)
        ends[-1], fails[-1] = NEVER, 70
        recorded = Recorded.empty(snapshots, runs, *start.weights.shape[1:], dtype=np.float64)
        for column, step in enumerate(snapshots):
            divisor = np.where(step >= fails, np.nan, np.minimum(step, ends) + 1)
            recorded.weights[:, column] = start.weights / divisor[:, None, None]
            recorded.bias[:, column] = start.bias / divisor[:, None]
            recorded.loss[:, column] = 1 / divisor
        new = dataclasses.replace(
            state,
            step=stop,
            weights=start.weights / (np.minimum(stop, ends) + 1)[:, None, None],
            converged_at=np.where(ends <= stop, ends, -1),
            diverged_at=np.where(fails <= stop, fails, -1),
        )
        return new, recorded


class ExactEngine(Shrinking):
    name = "exact"


class FlowEngine(Shrinking):
    name = "flow"


@pytest.fixture(autouse=True)
def engines(monkeypatch):
    for engine in (ExactEngine, FlowEngine):
        module = types.ModuleType(f"tegum.training.{engine.name}.engine")
        setattr(module, engine.__name__, engine)
        monkeypatch.setitem(sys.modules, module.__name__, module)


EXACT, FLOW = tg.Exact(steps=1000), tg.Flow(steps=1000, duration=50.0)


def spec(training=EXACT, **changes):
    values = {"features": [tg.Correlated(2, 0.1)] * 3, "hidden": 2, "snapshots": 20, "seeds": 4}
    return tg.Spec(**values | {"training": training} | changes)


@pytest.mark.parametrize("training", [EXACT, FLOW])
def test_segments_end_where_the_engine_can_be_cut(training):
    segments = list(tg.iterate(spec(training), segment_seconds=1e-9))
    assert len(segments) == -(-1000 // EVERY)
    assert segments[-1].state.step == 1000 == segments[-1].steps
    assert all(a.state.step == b.start for a, b in itertools.pairwise(segments))
    steps = np.concatenate([segment.recorded.steps for segment in segments])
    np.testing.assert_array_equal(steps, np.arange(0, 1001, 50))


def test_the_last_step_need_not_be_such_a_place():
    (only,) = tg.iterate(spec(tg.Exact(steps=10), snapshots=5))
    assert only.state.step == 10
    (only,) = tg.iterate(spec(tg.Exact(steps=0)))
    np.testing.assert_array_equal(only.recorded.steps, [0])


def test_exact_training_tells_which_runs_converged_and_keeps_every_bit(tmp_path):
    run = tg.train(spec())
    assert run.attrs["engine"] == "exact"
    np.testing.assert_array_equal(run.result, ["converged", "converged", "converged", "diverged"])
    np.testing.assert_array_equal(run.converged_at, [0, 50, 100, -1])
    np.testing.assert_array_equal(run.diverged_at, [-1, -1, -1, 70])
    assert "time" not in run.variables
    assert run.weights.dtype == run.bias.dtype == np.float64
    start = starting_state([spec()], 0).weights
    np.testing.assert_array_equal(run.weights[:, 0], start)
    np.testing.assert_array_equal(run.weights[2, -1], start[2] / 101)
    np.testing.assert_array_equal(run.loss[1, 1:], np.full(20, 1 / 51))
    tg.save(run, tmp_path / "run.zarr")
    loaded = tg.load(tmp_path / "run.zarr")
    assert loaded.identical(run)
    assert loaded.weights.dtype == np.float64


def test_starts_are_those_of_sampled_training_and_given_ones_are_not_rounded():
    sampled = tg.train(spec(tg.Sampled(steps=0)))
    np.testing.assert_array_equal(tg.train(spec(tg.Exact(steps=0))).weights[:3], sampled.weights[:3])
    assert sampled.weights.dtype == np.float32
    assert "converged_at" not in sampled.variables
    given = np.full((6, 2), 0.1)
    for training in (tg.Exact(steps=0), tg.Flow(steps=0)):
        run = tg.train(spec(training, start=(given, given[:, 0])))
        np.testing.assert_array_equal(run.weights[0, 0], given)
        np.testing.assert_array_equal(run.bias[0, 0], given[:, 0])


def test_a_flow_has_a_time():
    run = tg.train(spec(FLOW))
    assert run.attrs["engine"] == "flow"
    assert run.time.dims == ("seed", "step")
    np.testing.assert_array_equal(run.time, np.broadcast_to(FLOW.time(run.step.values), (4, 21)))
    assert (run.time[:, -1] == 50).all()
    assert run.time.values.flags.writeable
    assert "converged_at" not in run.variables
    assert list(run.result.values) == ["completed"] * 3 + ["diverged"]
    *_, last = tg.iterate(spec(FLOW))
    assert last.time == 50
    assert next(tg.iterate(spec(tg.Sampled(steps=0)))).time is None


@pytest.mark.parametrize("training", [EXACT, FLOW])
def test_several_specs_lead(training):
    run = tg.train([spec(training, initial_scale=scale) for scale in (0.1, 0.2)])
    assert run.result.dims == ("spec", "seed")
    np.testing.assert_array_equal(run.initial_scale, [0.1, 0.2])
    if training is FLOW:
        assert run.time.dims == ("spec", "seed", "step")
    else:
        np.testing.assert_array_equal(run.converged_at, [[0, 50, 100, 150], [200, 250, 300, -1]])


def test_no_interrupted_run_is_called_converged_before_a_snapshot_shows_it():
    def interrupt(segment):
        if segment.state.step >= 2 * EVERY:
            raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted) as caught:
        tg.train(spec(snapshots=[0, 50, 60, 999]), progress=interrupt)
    run = caught.value.run
    np.testing.assert_array_equal(run.step, [0, 50, 60])
    np.testing.assert_array_equal(run.result, ["converged", "converged", "interrupted", "diverged"])
    np.testing.assert_array_equal(run.converged_at, [0, 50, -1, -1])


@pytest.mark.parametrize("training", [EXACT, FLOW])
@pytest.mark.parametrize("engine", ["kernel", "jax"])
def test_an_engine_of_sampled_training_is_refused(training, engine):
    sentence = (
        f"(engine={engine!r}): only sampled training has a choice of engines; "
        f"with training of the kind {training.kind!r} it must be 'auto'"
    )
    with pytest.raises(ValueError, match=r"^train") as caught:
        tg.train(spec(training), engine=engine)
    assert str(caught.value) == f"train{sentence}"
    with pytest.raises(ValueError, match=r"^iterate") as caught:
        next(tg.iterate(spec(training), engine=engine))
    assert str(caught.value) == f"iterate{sentence}"


def test_a_kind_without_an_engine_is_refused(monkeypatch):
    monkeypatch.setattr(tg.Exact, "kind", "annealed")
    with pytest.raises(ValueError, match=r"^train\(Spec\(training=Exact\(.*\)\)\): no engine trains this kind$"):
        tg.train(spec())


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (EXACT, FLOW, "the kind of training ('exact' and 'flow')"),
        (EXACT, EXACT.replace(accuracy=1e-4), "training.accuracy (1e-08 and 0.0001)"),
        (EXACT, EXACT.replace(gradient_tolerance=1e-4), "training.gradient_tolerance (1e-09 and 0.0001)"),
        (EXACT, EXACT.replace(optimiser="gd"), "training.optimiser ('lbfgs' and 'gd')"),
        (FLOW, FLOW.replace(duration=51), "training.duration (50.0 and 51.0)"),
        (FLOW, FLOW.replace(solver="explicit"), "training.solver ('implicit' and 'explicit')"),
        (FLOW, FLOW.replace(rtol=1e-3), "training.rtol (1e-06 and 0.001)"),
    ],
)
def test_specs_that_cannot_be_trained_together(one, other, what):
    with pytest.raises(ValueError, match=r"^train\(\[…\]\): Specs 0 and 1 differ in ") as caught:
        tg.train([spec(one), spec(other)])
    assert what in str(caught.value)


def test_rates_may_differ_in_one_call():
    descent = tg.Exact(optimiser="adam", steps=1000)
    run = tg.train([spec(descent), spec(descent.replace(rate=0.1, schedule="cosine"))])
    np.testing.assert_array_equal(run["training.rate"], [1e-3, 0.1])


def test_a_state_goes_on_only_where_it_fits():
    segment = next(tg.iterate(spec()))
    state = TrainingState.from_arrays(segment.state.arrays())
    assert next(tg.iterate(spec(), state)).start == state.step == EVERY
    with pytest.raises(ValueError, match="'converged_at' is missing"):
        TrainingState.from_arrays({name: value for name, value in state.arrays().items() if name != "converged_at"})
    with pytest.raises(ValueError, match=r"^iterate\(state with first: float64 of shape \(4, 3\)\)"):
        next(tg.iterate(spec(), dataclasses.replace(state, first=np.zeros((4, 3)))))
    sampled = next(tg.iterate(spec(tg.Sampled(steps=0)))).state
    with pytest.raises(ValueError, match="engine 'exact' need float64 of shape"):
        next(tg.iterate(spec(), sampled))


@pytest.mark.parametrize("engine", ["kernel", "jax"])
def test_sampled_training_never_converges(engine):
    *_, last = tg.iterate(spec(tg.Sampled(steps=3)), engine=engine)
    np.testing.assert_array_equal(last.state.converged_at, [-1] * 4)


def test_progress_tells_the_time_of_a_flow_and_how_many_have_converged(capsys):
    for training in (FLOW, EXACT, tg.Sampled(steps=5)):
        with terminal.working("title"):
            tg.train(spec(training, snapshots=5))
    flow, exact, sampled = (line for line in capsys.readouterr().err.splitlines() if "step" in line)
    assert flow.startswith("title: training 4 runs: 100 %, step 1,000 of 1,000, time 50 of 50")
    assert "converged" not in flow + sampled
    assert exact.startswith("title: training 4 runs: 100 %, 3 of 4 runs converged, step 1,000 of 1,000 at most")
    assert "time" not in exact + sampled
    assert "left" not in flow + exact + sampled
