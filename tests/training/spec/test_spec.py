"""Spec: one description, however it is written, its sentences, and its name."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tegum.core.description import flatten
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Anticorrelated, Correlated, Independent
from tegum.training.engine import train
from tegum.training.spec.methods import Exact, Flow, Sampled
from tegum.training.spec.snapshots import Snapshots
from tegum.training.spec.spec import Spec, Start

PAIRS = FeatureDistribution([Correlated(2, 0.05)] * 3)
SPEC = Spec(features=PAIRS, hidden=2, training=Sampled(steps=20_000, rate=0.01), snapshots=[0, 100], seeds=4)
TOML = """
hidden = 2
seeds = 4
snapshots = [0, 100]

[training]
steps = 20000
rate = 1e-2

[[features]]
kind = "correlated"
size = 2
density = 0.05
copies = 3
"""
SPEC_HASH = "53dc83610dd03297"


def spec_of(**values: Any) -> Spec:
    return Spec(**{"features": PAIRS, "hidden": 2} | values)


def write(folder: Path, text: str) -> Path:
    file = folder / "run.toml"
    file.write_text(text)
    return file


def test_defaults_are_those_of_the_public_face():
    spec = spec_of()
    assert spec.training == Sampled()
    assert spec.snapshots == Snapshots()
    assert (spec.activation, spec.initial_scale, spec.start) == ("relu", None, None)
    assert (spec.seeds, spec.base_seed) == (1, 0)


def test_the_same_from_python_toml_json_and_overrides(tmp_path: Path):
    written = [
        Spec.from_toml(write(tmp_path, TOML)),
        Spec.from_json(SPEC.to_json()),
        Spec.from_json(json.dumps(SPEC.to_json())),
        spec_of().override(["training.steps=20000", "training.rate=1e-2", "snapshots=[0, 100]", "seeds = 4"]),
        Spec.from_toml(
            write(tmp_path, "[[features]]\nkind = 'correlated'\nsize = 2\ncopies = 3\n"),
            [
                "hidden=2",
                "features.density=.05",
                "training={steps=20000, rate=0.01}",
                "snapshots.steps=[100, 0, 0]",
                "seeds=4",
            ],
        ),
        spec_of(hidden=np.int8(2), seeds=np.uint64(4), snapshots=np.array([0, 100]), training=SPEC.training),
        Spec(
            features=[{"kind": "correlated", "size": 2, "density": 0.05}] * 3,
            hidden=2,
            training={"steps": 20_000, "rate": 0.01},
            snapshots={"steps": (0, 100)},
            seeds=4,
        ),
        SPEC.replace(hidden=3).replace(hidden=2),
        pickle.loads(pickle.dumps(SPEC)),
    ]
    for spec in written:
        assert spec == SPEC
        assert hash(spec) == hash(SPEC)
        assert spec.hash == SPEC.hash


def test_the_name_does_not_change():
    assert SPEC.hash == SPEC_HASH


def test_another_process_gives_the_same_name_and_loads_no_engine():
    code = f"""
import sys
from tegum.training.spec.spec import Spec
print(Spec.from_json({SPEC.to_json()!r}).hash)
print([name for name in ("jax", "numba", "xarray", "zarr", "matplotlib") if name in sys.modules])
"""
    source = str(Path(sys.modules["tegum"].__path__[0]).parent)
    environment = os.environ | {"PYTHONHASHSEED": "123", "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split("\n") == [SPEC_HASH, "[]", ""], done.stderr


def test_ints_and_floats_and_signed_zeros_are_one_content():
    assert spec_of(initial_scale=1).hash == spec_of(initial_scale=1.0).hash
    assert spec_of(start=np.zeros((6, 2))).hash == spec_of(start=np.full((6, 2), -0.0)).hash
    weights = np.zeros((6, 2), dtype=np.int64)
    assert spec_of(start=weights).hash == spec_of(start=weights.astype(np.float32)).hash


def test_a_list_of_equal_densities_is_other_content():
    assert Spec(features=[Correlated(2, [0.1, 0.1])], hidden=2) != Spec(features=[Correlated(2, 0.1)], hidden=2)


sets = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["correlated", "anticorrelated"]),
        "size": st.integers(1, 4),
        "density": st.floats(1e-300, 1),
        "importance": st.just(0.0) | st.floats(1e-30, 1e30),
    }
)
sampled = st.fixed_dictionaries(
    {
        "kind": st.just("sampled"),
        "steps": st.integers(100, 2**62),
        "optimiser": st.sampled_from(["adamw", "sgd"]),
    },
    optional={
        "rate": st.floats(1e-30, 1e30),
        "schedule": st.sampled_from(["constant", "cosine", "linear"]),
        "warmup": st.integers(0, 100),
        "weight_decay": st.just(0.0) | st.floats(1e-30, 1e30),
        "batch": st.integers(1, 2**62),
        "evaluation": st.integers(1, 2**62),
    },
)
positive = st.floats(1e-30, 1e30)
exact = st.fixed_dictionaries(
    {"kind": st.just("exact"), "steps": st.integers(100, 2**62), "accuracy": positive},
    optional={"gradient_tolerance": positive},
) | st.fixed_dictionaries(
    {"kind": st.just("exact"), "steps": st.integers(100, 2**62), "optimiser": st.sampled_from(["adam", "gd"])},
    optional={
        "rate": positive,
        "schedule": st.sampled_from(["constant", "cosine", "linear"]),
        "warmup": st.integers(0, 100),
        "weight_decay": st.just(0.0) | positive,
    },
)
flow = st.fixed_dictionaries(
    {"kind": st.just("flow"), "steps": st.integers(100, 2**53)},
    optional={
        "duration": positive,
        "solver": st.sampled_from(["implicit", "explicit"]),
        "rtol": positive,
        "atol": positive,
        "accuracy": positive,
    },
)
snapshots = st.one_of(
    st.fixed_dictionaries({"spacing": st.sampled_from(["linear", "logarithmic"]), "count": st.integers(1, 10**6)}),
    st.fixed_dictionaries({"steps": st.lists(st.integers(0, 100))}),
)
tables = st.fixed_dictionaries(
    {"features": st.lists(sets, min_size=1, max_size=4), "hidden": st.integers(1, 2**62)},
    optional={
        "activation": st.sampled_from(["relu", "linear"]),
        "initial_scale": st.floats(1e-30, 1e30),
        "training": sampled | exact | flow,
        "snapshots": snapshots,
        "seeds": st.integers(1, 2**62),
        "base_seed": st.integers(0, 2**62),
    },
)


@given(table=tables)
@settings(deadline=None, max_examples=25)
def test_round_trips(table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory):
    spec = Spec(**table)
    again = [
        Spec.from_json(spec.to_json()),
        Spec.from_json(json.dumps(spec.to_json())),
        Spec.from_toml(write(tmp_path_factory.getbasetemp(), tomli_w.dumps(table))),
        Spec(features=table["features"], hidden=1).override(_as_text(spec.to_json())),
        Spec(features=PAIRS, hidden=1).override(table),
        spec.override([]),
        spec.replace(),
    ]
    for other in again:
        assert other == spec
        assert hash(other) == hash(spec)
        assert other.hash == spec.hash


def _as_text(description: dict[str, Any]) -> list[str]:
    """What a command line would hold for everything but the features."""
    whole = {key: value for key, value in description.items() if key != "features"}
    if "steps" in whole["snapshots"]:
        whole["snapshots.steps"] = whole.pop("snapshots")["steps"]
    flat = flatten({key: value for key, value in whole.items() if not isinstance(value, list)})
    flat |= {key: value for key, value in whole.items() if isinstance(value, list)}
    return [f"{key}={'none' if value is None else json.dumps(value)}" for key, value in flat.items()]


OTHERS = {
    "correlated": "anticorrelated",
    "anticorrelated": "correlated",
    "relu": "linear",
    "linear": "logarithmic",
    "logarithmic": "linear",
    "constant": "cosine",
    "cosine": "constant",
    "adamw": "sgd",
    "sgd": "adamw",
    "lbfgs": "adam",
    "adam": "gd",
    "gd": "adam",
    "implicit": "explicit",
    "explicit": "implicit",
}


def _other(key: str, value: Any) -> Any:
    if key == "training.schedule" and value == "linear":
        return "cosine"
    if key == "activation" and value == "linear":
        return "relu"
    match value:
        case str():
            return OTHERS[value]
        case int():
            return value + 1
        case None:
            return 0.5
        case 0.0:
            return 0.5
        case _:
            # The nearest other float: not one bit may be lost.
            return float(np.nextafter(value, 0))


@given(table=tables, data=st.data())
@settings(deadline=None, max_examples=60)
def test_every_leaf_counts_in_the_name(table: dict[str, Any], data: st.DataObject):
    spec = Spec(**table)
    leaves = flatten(spec.to_json())
    leaves = {key: value for key, value in leaves.items() if key not in ("start", "training.kind")}
    key = data.draw(st.sampled_from(sorted(leaves)))
    if key == "training.betas":
        changes = {"training.betas": [_other(key, leaves[key][0]), 0.5]}
    elif key.startswith("snapshots.steps"):
        changes = {"snapshots": [*(spec.snapshots.steps or ()), 101]}
    else:
        changes = {key: _other(key, leaves[key])}
    try:
        other = spec.override(changes)
    except ValueError:
        assume(False)
        raise
    assert other != spec
    assert other.hash != spec.hash


def test_start_counts_in_the_name():
    weights, bias = np.ones((6, 2)), np.ones(6)
    specs = [spec_of(), spec_of(start=weights), spec_of(start=(weights, bias)), spec_of(start=weights[None])]
    moved = weights.copy()
    moved[5, 1] = np.nextafter(1, 2)
    specs += [spec_of(start=moved), spec_of(start=(weights, -bias))]
    assert len({spec.hash for spec in specs}) == len(specs)
    assert len(set(specs)) == len(specs)


def test_every_way_to_give_a_start():
    weights, bias = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    given_both = [
        (weights, bias),
        Start(weights, bias),
        {"weights": weights, "bias": bias},
        {"weights": weights.tolist(), "bias": bias.tolist()},
        (weights.tolist(), tuple(bias)),
    ]
    for start in given_both:
        assert spec_of(start=start) == spec_of(start=Start(weights=weights, bias=bias))
    for start in [weights, weights.tolist(), (weights, None), Start(weights), {"weights": weights}]:
        assert spec_of(start=start) == spec_of(start=Start(weights=weights))
    json_form = spec_of(start=(weights, bias)).to_json()
    assert json_form["start"] == {"weights": weights.tolist(), "bias": bias.tolist()}
    assert Spec.from_json(json.dumps(json_form)) == spec_of(start=(weights, bias))


def test_a_tuple_of_two_rows_is_weights():
    spec = Spec(features=[Correlated(2, 0.1)], hidden=2, start=((1.0, 0.0), (0.0, 1.0)))
    assert spec.start == Start(np.eye(2))
    with_bias = Spec(features=[Correlated(2, 0.1)], hidden=2, start=(((1.0, 0.0), (0.0, 1.0)), (0.5, 0.25)))
    assert with_bias.start == Start(np.eye(2), [0.5, 0.25])


def test_start_gives_its_arrays_back():
    weights, bias = np.arange(24.0).reshape(2, 6, 2), np.arange(12.0).reshape(2, 6)
    start = spec_of(start=(weights, bias), seeds=2).start
    assert start is not None
    for array, expected in zip(start.arrays(), (weights, bias), strict=True):
        assert array.dtype == np.float64
        assert_array_equal(array, expected)
    assert_array_equal(Start(weights).arrays()[1], np.zeros(6))
    assert repr(start) == "Start(weights=array of shape (2, 6, 2), bias=array of shape (2, 6))"


def test_overrides_of_sets():
    mixed = Spec(features=[Correlated(2, 0.1), Anticorrelated(3, 0.2)], hidden=2)
    assert mixed.override(["features.1.density=0.5"]).features.sets == (
        Correlated(2, 0.1),
        Anticorrelated(3, 0.5),
    )
    assert mixed.override(["features.density=.5"]).features.sets == (
        Correlated(2, 0.5),
        Anticorrelated(3, 0.5),
    )
    assert mixed.override(["features.kind=anticorrelated"]).features.sets[0] == Anticorrelated(2, 0.1)
    assert mixed.override({"features": [Independent(4, 0.1)]}).features.n == 4


def test_overrides_lead_into_short_forms(tmp_path: Path):
    file = write(tmp_path, TOML.replace("[0, 100]", "50"))
    logarithmic = Snapshots(spacing="logarithmic", count=50)
    assert Spec.from_toml(file, ["snapshots.spacing=logarithmic"]).snapshots == logarithmic
    assert SPEC.override(["snapshots=50", "snapshots.spacing=logarithmic"]).snapshots == logarithmic


def test_an_override_may_take_a_value_back():
    assert spec_of(initial_scale=0.5).override(["initial_scale=none"]) == spec_of()
    started = spec_of(start=np.ones((6, 2)))
    assert started.override(["start=none", "initial_scale=0.5"]) == spec_of(initial_scale=0.5)


def test_a_changed_kind_starts_from_its_own_defaults():
    changed = SPEC.override(["training.steps=300", "training.kind=sampled"])
    assert changed.training == Sampled(steps=300, rate=0.01)
    with pytest.raises(ValueError, match=r"^Spec\(training\.kind='annealed'\)"):
        SPEC.override(["training.kind=annealed"])
    assert SPEC.override(["training.kind=exact"]).training == Exact()
    # The order of changes does not matter.
    twin = SPEC.override(["training.optimiser=adam", "training.rate=0.5", "training.kind=exact"])
    assert twin.training == Exact(optimiser="adam", rate=0.5)
    assert twin.override(["training.momentum=0.5", "training.optimiser=gd"]).training == Exact(
        optimiser="gd", rate=0.5, momentum=0.5
    )
    assert twin.override(["training.kind=flow", "training.duration=5e3"]).training == Flow(duration=5000)
    assert twin.override(["training.kind=sampled"]).training == Sampled()


def test_kinds_in_files_with_changes(tmp_path: Path):
    flow = "kind = 'flow'\nsteps = 200\nsolver = 'explicit'"
    file = write(tmp_path, TOML.replace("steps = 20000\nrate = 1e-2", flow))
    assert Spec.from_toml(file).training == Flow(steps=200, solver="explicit")
    assert Spec.from_toml(file, ["training.rtol=1e-4"]).training == Flow(steps=200, solver="explicit", rtol=1e-4)
    assert Spec.from_toml(file, ["training.kind=exact", "training.steps=300"]).training == Exact(steps=300)


def test_kinds_with_the_same_steps_have_other_names():
    kinds = [Sampled(steps=100), Sampled(steps=100).noiseless(), Exact(steps=100), Flow(steps=100)]
    assert len({spec_of(training=kind).hash for kind in kinds}) == len(kinds)


def test_a_spec_is_continued_from_given_parameters():
    spec = Spec(features=[Independent(3, 0.1)], hidden=2, seeds=9, initial_scale=0.3)
    weights, bias = np.random.default_rng(0).normal(size=(4, 3, 2)), np.zeros((4, 3))
    training = Exact(steps=5)
    several = spec.continued_from(weights.astype(np.float32), bias, training=training, snapshots=[0, 5])
    assert (several.seeds, several.training, several.features) == (4, training, spec.features)
    run = train(several)
    assert_array_equal(run["weights"].values[:, 0], weights.astype(np.float32).astype(np.float64))
    one = spec.continued_from(weights[0], training=training)
    assert one.seeds == 1
    assert_array_equal(train(one)["bias"].values[0, 0], np.zeros(3))
