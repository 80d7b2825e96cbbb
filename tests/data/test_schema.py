"""The schema of a trajectory: what is built, what is let pass, what is refused and how."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from tegum.data import schema

ATTRS = {
    "spec": '{"hidden": 2}',
    "spec_hash": "0123abcd",
    "tegum_version": "0.1.0",
    "created": "2025-01-01T00:00:00+00:00",
    "wall_time_s": 1.5,
    "engine": "kernel",
    "threads": 2,
    "versions": {"numpy": "2.1"},
}


def arrays(runs=2, steps=3, features=5, hidden=2, specs=None):
    lead = () if specs is None else (specs,)
    rng = np.random.default_rng(0)
    return {
        "weights": rng.normal(size=(*lead, runs, steps, features, hidden)).astype(np.float32),
        "bias": rng.normal(size=(*lead, runs, steps, features)).astype(np.float32),
        "loss": rng.random((*lead, runs, steps)),
        "result": np.full((*lead, runs), "completed"),
        "diverged_at": np.full((*lead, runs), -1),
        "seed": range(runs),
        "step": [0, 10, 1000][:steps],
        "set_": [0, 0, 1, 1, 2][:features],
        "kind": ["Correlated"] * 4 + ["Independent"],
        "density": [0.05] * features,
        "importance": np.ones(features, np.float32),
        "attrs": ATTRS,
    }


def test_a_trajectory_is_what_the_table_says():
    run = schema.trajectory(**arrays())
    assert run.sizes == {"seed": 2, "step": 3, "feature": 5, "hidden": 2}
    for name, field in schema.FIELDS.items():
        if field.optional:
            assert name not in run.variables
            continue
        variable = run[name]
        assert variable.dims == field.dims
        assert variable.dtype == field.dtype or (field.dtype == "str" and variable.dtype.kind == "U")
        assert variable.attrs == {"long_name": field.long_name, "units": field.units}
        assert (name in run.coords) == field.coordinate
    assert run.attrs["schema"] == "tegum trajectory"
    assert run.attrs["schema_version"] == 1
    assert json.loads(run.attrs["versions"]) == {"numpy": "2.1"}
    assert {*schema.PROVENANCE} < {*run.attrs}


def test_large_arrays_are_not_copied():
    given = arrays()
    run = schema.trajectory(**given)
    for name in ("weights", "bias", "loss"):
        assert np.shares_memory(run[name].values, given[name])


def test_several_specs_lead():
    given = arrays(specs=4) | {"density": np.full((4, 5), 0.1), "time": np.zeros((4, 2, 3))}
    coordinates = {
        "rate": [1, 0.1, 0.01, 0.001],
        "optimiser": ["sgd", "adamw", "sgd", "adamw"],
        "on": [True] * 4,
    }
    run = schema.trajectory(**given, specs=coordinates)
    assert run.weights.dims == ("spec", "seed", "step", "feature", "hidden")
    assert run.time.dims == ("spec", "seed", "step")
    assert run.density.dims == ("spec", "feature")
    assert run.importance.dims == ("feature",)
    assert run.rate.dtype == np.float64
    assert list(run.optimiser.values) == coordinates["optimiser"]
    assert run.on.dtype == bool
    schema.check(run.isel(spec=[1]))
    schema.check(run.isel(spec=1))


def test_a_flow_has_a_time():
    run = schema.trajectory(**arrays(), time=np.zeros((2, 3)))
    assert run.time.dims == ("seed", "step")


@pytest.mark.parametrize("specs", [None, 4])
def test_runs_may_have_converged_in_double_precision(specs):
    given = arrays(specs=specs)
    given |= {name: given[name].astype(np.float64) for name in ("weights", "bias")}
    shape = given["result"].shape
    given["result"] = np.broadcast_to(["converged", "completed"], shape)
    run = schema.trajectory(**given, converged_at=np.broadcast_to([0, -1], shape))
    for name in ("weights", "bias"):
        assert run[name].dtype == np.float64
        assert np.shares_memory(run[name].values, given[name])
    assert run["converged_at"].dims == run["result"].dims
    assert run["converged_at"].dtype == np.int64
    assert "converged_at" in run.data_vars
    schema.check(run.isel(seed=[0]))
    with pytest.raises(ValueError, match="converged_at is a coordinate; it must be a data variable"):
        schema.check(run.set_coords("converged_at"))


def test_own_attributes_are_kept_and_the_schema_is_not_overwritten():
    run = schema.trajectory(**arrays() | {"attrs": ATTRS | {"note": "mine", "schema_version": 7}})
    assert run.attrs["note"] == "mine"
    assert run.attrs["schema_version"] == schema.VERSION


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"weights": np.zeros((2, 3))},
            "weights must have the dimensions (seed, step, feature, hidden), or these after",
        ),
        (
            {"weights": np.zeros((2, 3, 5, 2), np.float16)},
            "(weights=float16 array of shape (2, 3, 5, 2)): weights must already be float32 or float64",
        ),
        ({"bias": np.zeros((2, 3, 5), int)}, "bias must already be float32 or float64"),
        ({"loss": np.zeros((2, 3), np.float32)}, "loss must already be float64"),
        ({"bias": np.zeros((2, 3, 4), "f4")}, "bias must have the shape (seed=2, step=3, feature=5)"),
        ({"loss": np.zeros((2, 4))}, "loss must have the shape (seed=2, step=3)"),
        ({"seed": [0.0, 1.0]}, "seed must hold integers"),
        ({"step": [0, 10, 10]}, "step goes from 10 to 10; steps must increase"),
        ({"kind": [1, 2, 3, 4, 5]}, "kind must hold text"),
        ({"density": ["a"] * 5}, "density must hold floating-point numbers"),
        ({"set_": [0, 1]}, "trajectory(set=int64 array of shape (2,)): set must have the shape (feature=5)"),
        (
            {"result": ["completed", "lost"]},
            "result holds 'lost'; a result is one of completed, converged, diverged, interrupted",
        ),
        ({"diverged_at": [-1, 3]}, "a run with the result 'completed' has diverged_at=3"),
        (
            {"converged_at": [3, -1]},
            "a run with the result 'completed' has converged_at=3; converged_at is a step of a converged run",
        ),
        (
            {"converged_at": [-1, -1], "result": ["completed", "converged"]},
            "a run with the result 'converged' has converged_at=-1",
        ),
        ({"converged_at": [0.5, -1]}, "converged_at must hold integers"),
        ({"converged_at": [-1]}, "converged_at must have the shape (seed=2)"),
        ({"seed": np.array([1, 2**63], np.uint64)}, "seed must fit int64"),
        ({"attrs": {"spec": ""}}, "trajectory(attrs=['spec']): the attribute 'spec_hash' must be given"),
        ({"specs": {"rate": [1]}}, "weights has no leading spec dimension"),
    ],
)
def test_bad_arrays_are_refused(change, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        schema.trajectory(**arrays() | change)


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ({"rate": [1, 2, 3]}, "rate must have one value for each of the 4 Specs"),
        ({"density": [1, 2, 3, 4]}, "density is a variable of every trajectory"),
        ({"rate": [1, "a", 2, 3]}, "only numbers, only booleans or only text"),
        ({"rate": [1, None, 2, 3]}, "rate must hold integers, floats, booleans or text"),
    ],
)
def test_bad_spec_coordinates_are_refused(specs, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        schema.trajectory(**arrays(specs=4), specs=specs)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: run.drop_vars("bias"), "bias is missing; the dataset has density, "),
        (lambda run: run.drop_vars("step"), "step is missing"),
        (
            lambda run: run.transpose("seed", "step", "hidden", "feature"),
            "weights has the dimensions (seed, step, hidden, feature); it must have (seed, step, feature, ",
        ),
        (lambda run: run.isel(seed=0), "weights has the dimensions (step, feature, hidden)"),
        (
            lambda run: run.assign(weights=run.weights.astype(int)),
            "weights has the dtype int64; it must hold floating",
        ),
        (lambda run: run.reset_coords("density"), "density is a data variable; it must be a coordinate"),
        (lambda run: run.set_coords("loss"), "loss is a coordinate; it must be a data variable"),
        (lambda run: run.isel(step=[1, 0]), "step goes from 10 to 0"),
        (
            lambda run: run.assign(rate=("spec", [1, 2])),
            "weights has the dimensions (seed, step, feature, hidden); it must",
        ),
    ],
)
def test_what_is_no_trajectory_is_refused(spoil, sentence):
    with pytest.raises(ValueError, match="^" + re.escape(f"check(dataset): {sentence}")):
        schema.check(spoil(schema.trajectory(**arrays())))


def test_the_sentence_starts_with_the_callers_call():
    with pytest.raises(ValueError, match=re.escape("dimensionality(run): weights is missing; the dataset has nothing")):
        schema.check(xr.Dataset(), ["weights"], call="dimensionality(run)")


def test_a_dataset_made_by_hand_needs_only_what_is_needed():
    made = xr.Dataset({"weights": (("seed", "step", "feature", "hidden"), np.zeros((1, 1, 2, 2)))})
    schema.check(made, ["weights"])
    with pytest.raises(ValueError, match="bias is missing"):
        schema.check(made, ["weights", "bias"])


def test_what_is_not_known_is_let_pass():
    run = schema.trajectory(**arrays())
    schema.check(run.assign(population_loss=(("seed", "step"), np.zeros((2, 3))), names=("other", ["a", "b"])))
    schema.check(run.assign_coords(colour="red"))


def test_no_runs_are_a_trajectory_too():
    run = schema.trajectory(**arrays())
    schema.check(run.isel(seed=run.result == "diverged"))
