"""`train(keep=…)`: the same measures as those of the trajectory, in memory that does not grow with the runs."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.training import measuring

SPEC = tg.Spec(
    features=[tg.Correlated(2, 0.2)] * 2, hidden=2, training=tg.Sampled(steps=20, batch=16, evaluation=16),
    seeds=7, snapshots=4,
)  # fmt: skip
KEEP = {
    "loss": lambda run: run.loss.isel(step=-1),
    "form": lambda run: tg.polytope_names(run.weights.isel(step=-1)),
    "dimensionality": tg.dimensionality,
    "largest": lambda run: abs(run.weights.values).max((1, 2, 3)),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of two or three runs."""
    monkeypatch.setattr(measuring, "_CHUNK_BYTES", 1500)
    monkeypatch.setattr(measuring, "_MOST_BYTES", 1500)


def same(kept, run):
    for name, measure in KEEP.items():
        wanted = measure(run.weights if name == "dimensionality" else run)
        wanted = wanted if isinstance(wanted, xr.DataArray) else None
        if wanted is not None:
            assert kept[name].dims == wanted.dims
            np.testing.assert_array_equal(kept[name], wanted)
    np.testing.assert_array_equal(kept["result"], run["result"])
    np.testing.assert_array_equal(kept["seed"], run["seed"])


@pytest.mark.parametrize("training", [SPEC.training, tg.Exact(steps=5)], ids=lambda one: one.kind)
def test_measures_are_bit_identical_to_those_of_the_trajectory(training):
    spec = SPEC.replace(training=training)
    parts = measuring.chunks([spec], 1)
    assert len(parts) > 2
    assert [seed for _, runs in parts for seed in runs] == list(range(7))
    kept = tg.train(spec, keep=KEEP, threads=1)
    run = tg.train(spec)
    same(kept, run)
    np.testing.assert_array_equal(kept.largest, abs(run.weights).max(["step", "feature", "hidden"]))
    assert ("converged_at" in kept) == (training.kind == "exact")
    assert kept["step"].variable.identical(run["step"].variable)


def test_runs_keep_their_numbers_and_given_starts():
    starts = np.random.default_rng(0).normal(size=(7, 4, 2))
    spec = SPEC.replace(start=tg.Start(starts, np.zeros(4)))
    part = spec.some_runs(range(3, 5))
    assert part.runs == range(3, 5)
    np.testing.assert_array_equal(part.start.arrays()[0], starts[3:5])
    chosen = tg.train(part)
    assert chosen.seed.values.tolist() == [3, 4]
    np.testing.assert_array_equal(chosen.weights, tg.train(spec).weights[3:5])
    same(tg.train(spec, keep=KEEP), tg.train(spec))


@pytest.mark.parametrize("seeds", [2, 7])
def test_measures_of_a_grid_have_its_dimensions(seeds, tmp_path):
    grid = tg.grid(SPEC.replace(seeds=seeds), density=[0.1, 0.2, 0.4], rate=[1e-3, 1e-2])
    kept, run = tg.train(grid, keep=KEEP, out=tmp_path / "kept.zarr"), tg.train(grid)
    assert kept.loss.dims == ("density", "rate", "seed")
    for name in ("loss", "form", "dimensionality"):
        values = (
            KEEP[name](run.weights if name == "dimensionality" else run)
            if name != "form"
            else (tg.polytope_names(run.weights.isel(step=-1)))
        )
        np.testing.assert_array_equal(kept[name], values)
    again = tg.load(tmp_path / "kept.zarr")
    assert again.identical(kept)
    assert again.sel(density=0.2).sel(rate=0.008, method="nearest").identical(kept.sel(density=0.2, rate=0.01))
    listed = tg.train(list(grid), keep={"loss": KEEP["loss"]})
    assert listed.loss.dims == ("spec", "seed")
    assert listed["training.rate"].values.tolist() == [1e-3, 1e-2] * 3
    np.testing.assert_array_equal(listed.loss.values.reshape(kept.loss.shape), kept.loss)


def test_a_function_sees_the_runs_of_one_spec_and_their_description():
    seen = []

    def look(run):
        seen.append((dict(run.sizes), run.seed.values.tolist(), float(run.density[0])))
        return tg.population_loss_along(run.isel(step=-1), progress=False)

    grid = tg.grid(SPEC.replace(seeds=2), density=[0.1, 0.2])
    kept = tg.train(grid, keep=[look], threads=1)
    assert [each[1:] for each in seen] == [([0, 1], 0.1), ([0, 1], 0.2)]
    assert seen[0][0] == {"seed": 2, "step": 5, "feature": 4, "hidden": 2}
    np.testing.assert_array_equal(kept.look, tg.population_loss_along(tg.train(grid).isel(step=-1), progress=False))


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (tg.dimensionality, r"train\(keep=<.*\): keep must be a dictionary of functions by name, or a list"),
        ({}, "there must be at least one measure"),
        ({"loss": 1}, r"train\(keep=\{'loss': 1\}\): keep must be"),
        ([lambda run: run.loss], "functions in a list must have names of their own"),
        ({"feature": KEEP["loss"]}, "feature is a coordinate of trajectories; give the measure another name"),
        ({"density": KEEP["loss"]}, "density is a coordinate of trajectories; give the measure another name"),
        ({"result": KEEP["loss"]}, "result is kept of every run; give the measure another name"),
        ({"best": lambda run: float(run.loss.min())}, r"it returned 0\.\d+; a measure must return a DataArray with"),
        ({"mean": lambda run: run.loss.mean("seed")}, r"a DataArray with the dims \('step',\); a measure must"),
    ],
)
def test_what_is_no_measure_of_runs_is_refused(keep, sentence):
    with pytest.raises(ValueError, match=sentence):
        # Annotations are checked only in tests, and would refuse some first.
        inspect.unwrap(tg.train)(SPEC, keep=keep)


def test_what_was_measured_before_an_error_is_not_lost():
    def fail(run):
        if 4 in run.seed:
            raise KeyError("their own mistake")
        return run.loss.isel(step=-1)

    with pytest.raises(KeyError, match="their own mistake") as raised:
        tg.train(SPEC, keep={"loss": fail}, threads=1)
    found = raised.value.run
    first = next(runs.start for _, runs in measuring.chunks([SPEC], 1) if 4 in runs)
    assert first > 0
    reached = found.result.values != "interrupted"
    assert reached.tolist() == [seed < first for seed in range(7)]
    np.testing.assert_array_equal(found.loss[reached], tg.train(SPEC).loss[reached, -1])
    assert np.isnan(found.loss[~reached]).all()
    with pytest.raises(ValueError, match="cannot be resumed"):
        tg.train(SPEC, keep=[tg.dimensionality], out="x.zarr", resume=True)


SMALL = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4, snapshots=2)


def in_turn(*values):
    """A measure that gives one value after the other."""
    left = iter(values)
    return {"a": lambda _: next(left)}


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (np.arange(4), np.arange(4) + 0.5, "float64"),
        (np.arange(4), np.array([1, 2, np.nan, 3.0]), "float64"),
        (np.arange(4, dtype="int8"), np.arange(1000, 1004), "int64"),
        (np.array([True, False, True, True]), np.array([2.7, 0, 1, 3]), "float64"),
        (np.arange(4, dtype="float32"), np.arange(4) + 1e-9, "float64"),
        (np.array(list("abcd")), np.array(["longer", "x", "y", "z"]), "<U6"),
    ],
)
def test_no_value_changes_with_the_dtype_of_the_first_ones(first, second, dtype):
    kept = tg.train(tg.grid(SMALL, density=[0.1, 0.5]), keep=in_turn(first, second), threads=1).a
    assert kept.dtype == dtype
    np.testing.assert_array_equal(kept[0], first)
    np.testing.assert_array_equal(kept[1], second)


def test_runs_that_were_not_reached_have_no_values():
    def second_fails(run):
        if run.density[0] > 0.2:
            raise KeyError
        return np.array(list("abcd"))

    keep = {
        "count": lambda run: run.seed.values,
        "good": lambda loss: loss.isel(step=-1) > -1,
        "name": second_fails,
    }
    with pytest.raises(KeyError) as raised:
        tg.train(tg.grid(SMALL, density=[0.1, 0.5]), keep=keep)
    found = raised.value.run
    assert found.result.values.tolist() == [["completed"] * 4, ["interrupted"] * 4]
    np.testing.assert_array_equal(found["count"], [[0, 1, 2, 3], [np.nan] * 4])
    np.testing.assert_array_equal(found.good, [[1.0] * 4, [np.nan] * 4])
    assert found.name.values.tolist() == [list("abcd"), [""] * 4]
    assert (found.diverged_at == -1).all()


def test_values_stay_with_their_runs_and_dimensions():
    last = tg.train(SMALL).loss[:, -1]
    kept = tg.train(SMALL, keep={"a": lambda loss: loss.isel(step=-1).sortby("seed", ascending=False)})
    np.testing.assert_array_equal(kept.a, last)

    def turned(weights):
        found = weights.isel(hidden=0)
        return found if 0 in weights.seed else found.transpose("feature", "step", "seed")

    runs = SMALL.replace(seeds=60)
    kept = tg.train(runs, keep={"a": turned}, threads=1)
    assert kept.a.dims == ("seed", "step", "feature")
    np.testing.assert_array_equal(kept.a, tg.train(runs).weights[..., 0])


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ({"a": lambda loss: loss[:, -1].assign_coords(seed=[7, 8, 9, 10])}, "its coordinate seed has other values"),
        (in_turn(np.arange(4), np.array(list("abcd"))), "it is text for some runs and a number for others"),
        (in_turn(np.arange(4).astype("M8[s]")), r"its values have the dtype datetime64\[s\]; a measure must hold"),
        (in_turn(np.array([1, "a", None, 2], object)), "its values have the dtype object; a measure must hold"),
    ],
)
def test_what_cannot_be_joined_is_refused(keep, sentence):
    with pytest.raises(ValueError, match=r"train\(keep=\{'a': …\}\): " + sentence):
        tg.train(tg.grid(SMALL, density=[0.1, 0.5]), keep=keep)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (
            {"half": lambda weights: weights.isel(step=[0]), "last": lambda weights: weights.isel(step=[2])},
            r"train\(keep=\{'last': …\}\): its coordinate step differs from that of the measure 'half'; rename the dim",
        ),
        (
            {"half": lambda weights: weights.isel(step=[0]), "all": lambda weights: weights},
            r"train\(keep=\{'all': …\}\): its dimension step has the length 3, and that of the measure 'half' 1",
        ),
    ],
)
def test_measures_with_different_coordinates_are_refused(keep, sentence):
    with pytest.raises(ValueError, match=sentence):
        tg.train(SMALL, keep=keep)


def test_coordinates_that_differ_between_specs_are_those_of_each():
    keep = {"d": tg.dimensionality}
    grid = tg.grid(SMALL, p={"features.density": [0.1, 0.5]}, importance=[1.0, 0.5, 0.2])
    kept, run = tg.train(grid, keep=keep), tg.train(grid)
    assert kept.density.dims == ("p", "importance", "feature")
    for name in ("density", "set", "kind", "step", "feature", "p", "importance"):
        assert kept[name].variable.identical(run[name].variable), name
    listed = tg.train(list(grid), keep=keep)
    assert listed.importance.dims == ("spec", "feature")
    np.testing.assert_array_equal(listed.importance[:, 0], [1.0, 0.5, 0.2] * 2)


def untrained(_):
    raise AssertionError("it was trained")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rate", r"train\(keep=\{'rate': …\}\): rate tells the Specs apart; give the measure another name"),
        ("a/b", r"train\(keep=\{'a/b': …\}, out=…\): 'a/b' cannot name a stored variable"),
    ],
)
def test_names_are_refused_before_training(name, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        tg.train(tg.grid(SMALL, rate=[0.1, 0.2]), keep={name: untrained}, out=tmp_path / "x.zarr", progress=untrained)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (lambda loss: loss[:, ::-1], "step goes from 20 to 10; steps must increase"),
        (lambda loss: loss.assign_attrs(by=object), "an attribute is text"),
        (lambda loss: loss.rename(step="rate"), "it has the dimension rate, but there is a dimension of the Specs"),
        (lambda loss: loss.rename(step="a"), "it has the dimension a, but there is a measure 'a'"),
        (lambda loss: loss.assign_coords(a=("step", [1, 2, 3])), "it has the coordinate a, but there is a measure"),
    ],
)
def test_what_cannot_be_kept_is_refused_after_the_first_runs(keep, sentence, tmp_path):
    calls = []

    def measure(loss):
        calls.append(loss)
        return keep(loss)

    grid = tg.grid(SMALL.replace(seeds=60), rate=[0.1, 0.2])
    with pytest.raises(ValueError, match=sentence) as raised:
        tg.train(grid, keep={"a": measure}, out=tmp_path / "x.zarr", threads=1)
    assert len(calls) == 1
    assert raised.value.run.sizes["seed"] == 60


@pytest.mark.parametrize("at", [0, 1])
def test_an_interrupted_training_holds_measures(at):
    def interrupt(run):
        if run.density[0] == (0.1, 0.5)[at]:
            raise KeyboardInterrupt
        return run.loss[:, -1]

    with pytest.raises(tg.TrainingInterrupted, match="the measures of the runs done are in the attribute") as raised:
        tg.train(tg.grid(SMALL, density=[0.1, 0.5]), keep={"a": interrupt})
    found = raised.value.run
    assert ("weights" in found, "a" in found) == (False, at == 1)
    assert found.result.values.tolist() == [["completed" if at else "interrupted"] * 4, ["interrupted"] * 4]
    assert (found.diverged_at == -1).all()
    assert raised.value.__notes__ == [
        f"the measures of {4 * at} of 8 runs are in the attribute `run` of this exception; they are not on disk"
    ]


def test_training_interrupted_in_the_first_chunk_holds_measures():
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted) as raised:
        tg.train(SMALL, keep={"a": lambda loss: loss[:, -1]}, progress=stop)
    assert raised.value.run.attrs["schema"] == "tegum measures"
    assert set(raised.value.run.data_vars) == {"result", "diverged_at"}
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_the_time_of_a_flow_stays():
    flow = SMALL.replace(training=tg.Flow(duration=3.0, steps=4))
    keep = {"loss": lambda loss: loss, "weights": lambda weights: weights}
    kept = tg.train(flow, keep=keep)
    assert kept.time.variable.identical(tg.train(flow).time.variable)
    np.testing.assert_allclose(kept.time, [[0, 1.5, 3]] * 4)
    assert tg.plot.loss(kept).get_xlabel() == "time"
    grid = tg.grid(flow, density=[0.1, 0.5])
    assert tg.train(grid, keep=keep).time.variable.identical(tg.train(grid).time.variable)


@pytest.mark.slow
def test_100_000_runs_add_at_most_200_mb_to_the_process():
    """Measured: 124 MB, of which 42 MB are the measures themselves."""
    script = PEAKS.replace("measuring._CHUNK_BYTES = 2**21\n", "").replace(
        "peak(300), peak(3000)", "peak(300), peak(100_000)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=3600, check=True)
    before, after = map(float, found.stdout.split())
    assert after - before < 200


PEAKS = """
import resource, sys
import tegum as tg
from tegum.training import measuring

measuring._CHUNK_BYTES = 2**21
keep = {"loss": lambda run: run.loss.isel(step=-1), "form": lambda run: tg.polytope_names(run.weights.isel(step=-1))}
def peak(seeds):
    spec = tg.Spec(features=[tg.Correlated(2, 0.1)] * 3, hidden=2, seeds=seeds, snapshots=100,
                   training=tg.Sampled(steps=100, batch=16, evaluation=16))
    tg.train(spec, keep=keep, progress=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
print(peak(300), peak(3000))
"""


def test_memory_does_not_grow_with_the_runs():
    """The snapshots of 2,700 more runs take 20 MB, in memory twice while they are made; measures take 0.2 MB."""
    found = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, timeout=300, check=True)
    before, after = map(float, found.stdout.split())
    assert after - before < 8


def test_100_000_runs_are_not_refused(monkeypatch):
    """Their snapshots would take a gigabyte, and do not fit; those of a chunk do."""
    spec = SPEC.replace(seeds=100_000, snapshots=1000, training=tg.Sampled(steps=1000, batch=16, evaluation=16))
    monkeypatch.setattr("tegum.core.limits.memory_limit", lambda: 2**28)
    with pytest.raises(ValueError, match=r"the trajectory of 100,000 runs"):
        tg.train(spec)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted):
        tg.train(spec, keep=KEEP, progress=stop)
