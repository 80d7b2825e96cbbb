"""What a Spec refuses: one sentence each, whichever way it was written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Correlated
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec

PAIRS = FeatureDistribution([Correlated(2, 0.05)] * 3)
SPEC = Spec(features=PAIRS, hidden=2, training=Sampled(steps=20_000), snapshots=[0, 100])
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
A_START = "must be an array of finite numbers of at most 1e30, of shape"
A_SET = {"kind": "correlated", "size": 2, "density": 0.05}


def spec_of(**values: Any) -> Spec:
    return Spec(**{"features": PAIRS, "hidden": 2} | values)


def write(folder: Path, text: str) -> Path:
    file = folder / "run.toml"
    file.write_text(text)
    return file


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"hidden": 0}, "Spec(hidden=0): hidden must be an int of at least 1"),
    ({"hidden": "3"}, "Spec(hidden='3'): hidden must be an int of at least 1"),
    ({"hidden": 2.0}, "Spec(hidden=2.0): hidden must be an int of at least 1"),
    ({"hidden": True}, "Spec(hidden=True): hidden must be an int of at least 1"),
    ({"hidden": 10**30}, f"Spec(hidden={10**30}): hidden must be an int below 2**63"),
    ({"hiden": 3}, "Spec(hiden=3): there is no key 'hiden'; did you mean 'hidden'?"),
    ({"seed": 3}, "Spec(seed=3): there is no key 'seed'; did you mean 'base_seed'?"),
    ({"steps": 3}, "Spec(steps=3): there is no key 'steps'; did you mean 'training.steps'?"),
    ({"density": 0.1}, "Spec(density=0.1): there is no key 'density'; did you mean 'features.density'?"),
    ({"seeds": 0}, "Spec(seeds=0): seeds must be an int of at least 1"),
    ({"base_seed": -1}, "Spec(base_seed=-1): base_seed must be an int of at least 0"),
    ({"activation": "rleu"}, "Spec(activation='rleu'): activation must be 'relu' or 'linear'"),
    *(
        (
            {"initial_scale": value},
            f"Spec(initial_scale={value!r}): initial_scale must be a finite number above 0, or None",
        )
        for value in (0, -1.0, float("nan"), float("inf"), "a", True)
    ),
    ({"training": {"steps": -5}}, "Spec(training.steps=-5): training.steps must be an int of at least 0"),
    (
        {"training": {"stepz": 5}},
        "Spec(training.stepz=5): there is no key 'training.stepz'; did you mean 'training.steps'?",
    ),
    (
        {"training": {"kind": "sampeld"}},
        "Spec(training.kind='sampeld'): training.kind must be a known kind; did you mean 'sampled'?",
    ),
    ({"duration": 3}, "Spec(duration=3): there is no key 'duration'; did you mean 'training.duration'?"),
    (
        {"training": {"kind": "exact", "momentum": 0.9}},
        "Spec(training.momentum=0.9): training.momentum must stay 0.0 with the optimiser 'lbfgs': only 'gd' has it",
    ),
    (
        {"training": {"kind": "flow", "rate": 0.9}},
        "Spec(training.rate=0.9): there is no key 'training.rate'; "
        "known are accuracy, atol, duration, rtol, solver, steps",
    ),
    (
        {"training": {"kind": "flow", "steps": 50}, "snapshots": [60]},
        "Spec(snapshots.steps=60): snapshots.steps must not go beyond the last step of training, 50",
    ),
    (
        {"training": {"momentum": 0.9}},
        "Spec(training.momentum=0.9): training.momentum must stay 0.0 with the optimiser 'adamw': only 'sgd' has it",
    ),
    *(
        (
            {"training": value},
            f"Spec(training={value!r}): training must be a description such as Sampled(), or a table of its keys",
        )
        for value in (None, 3, "sampled", Sampled)
    ),
    ({"snapshots": 0}, "Spec(snapshots.count=0): snapshots.count must be an int of at least 1"),
    (
        {"snapshots": "all"},
        "Spec(snapshots='all'): snapshots must be a Snapshots, a count, a list of steps, or a table of these keys",
    ),
    (
        {"snapshots": [0, 10_001]},
        "Spec(snapshots.steps=10001): snapshots.steps must not go beyond the last step of training, 10000",
    ),
    *(
        (
            {"features": value},
            f"Spec(features={value!r}): "
            "features must be a FeatureDistribution, or a list of feature sets ([[features]] in TOML)",
        )
        for value in (None, 3, "abc", A_SET, Correlated(2, 0.1))
    ),
    ({"features": []}, "Spec(features=()): features must hold at least one feature set"),
    (
        {"features": [3]},
        "Spec(features.0=3): features.0 must be a feature set, or a table that describes one",
    ),
    (
        {"features": [A_SET, A_SET | {"density": 1.7}]},
        "Spec(features.1.density=1.7): features.1.density must lie in (0, 1]",
    ),
    (
        {"features": [A_SET | {"density": [0.1]}]},
        "Spec(features.0.density=(0.1,)): features.0.density must be one number or 2, one for each feature of the set",
    ),
    (
        {"features": [A_SET | {"densty": 0.1}]},
        "Spec(features.0.densty=0.1): there is no key 'features.0.densty'; did you mean 'features.0.density'?",
    ),
    (
        {"features": [A_SET | {"kind": "corelated"}]},
        "Spec(features.0.kind='corelated'): features.0.kind must be a known kind; did you mean 'correlated'?",
    ),
    ({"features": [{"kind": "correlated", "size": 2}]}, "Spec(): features.0.density must be given"),
    (
        {"features": [A_SET | {"copies": 0}]},
        "Spec(features.0.copies=0): features.0.copies must be an int of at least 1",
    ),
    ({"start": "x"}, "Spec(start='x'): start must be a Start, weights, or a tuple of weights and bias"),
    ({"start": 3}, f"Spec(start.weights=3): start.weights {A_START} (n, m) or (seeds, n, m)"),
    (
        {"start": [[1, 2], [3]]},
        f"Spec(start.weights=[[1, 2], [3]]): start.weights {A_START} (n, m) or (seeds, n, m)",
    ),
    (
        {"start": np.full((6, 2), np.nan)},
        f"Spec(start.weights=array of shape (6, 2)): start.weights {A_START} (n, m) or (seeds, n, m)",
    ),
    (
        {"start": np.ones((6, 2), bool)},
        f"Spec(start.weights=array of shape (6, 2)): start.weights {A_START} (n, m) or (seeds, n, m)",
    ),
    (
        {"start": {"weights": [[1.0]], "bias": "b"}},
        f"Spec(start.bias='b'): start.bias {A_START} (n,) or (seeds, n)",
    ),
    (
        {"start": np.ones((6, 3)), "seeds": 4},
        "Spec(start.weights=array of shape (6, 3)): "
        "start.weights must have shape (6, 2), or (4, 6, 2) with a start for each seed",
    ),
    (
        {"start": (np.ones((6, 2)), np.ones(5)), "seeds": 4},
        "Spec(start.bias=array of shape (5,)): start.bias must have shape (6,), or (4, 6) with a start for each seed",
    ),
    (
        {"start": np.ones((6, 2)), "initial_scale": 0.1},
        "Spec(initial_scale=0.1): initial_scale must not be given together with start",
    ),
    (
        {"start": {"weigths": 3}},
        "Spec(start.weigths=3): there is no key 'start.weigths'; did you mean 'start.weights'?",
    ),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused_in_one_sentence(values: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        spec_of(**values)
    assert type(caught.value) is ValueError
    assert str(caught.value) == message


def test_missing_fields_and_nameless_values():
    with pytest.raises(ValueError, match=r"^Spec\(\): features must be given$"):
        Spec()
    with pytest.raises(ValueError, match=r"^Spec\(\): hidden must be given$"):
        Spec(features=PAIRS)
    with pytest.raises(ValueError, match=r"^Spec\(2, 3\): values must be given by name$"):
        Spec(2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Spec.from_json('{'): must be valid JSON: "),
        ("[1]", "Spec.from_json([1]): must be a table of the keys of a Spec"),
        ('{"hidden": NaN}', "Spec(): features must be given"),
    ],
)
def test_json_that_describes_no_spec(text: str, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (read below)
        Spec.from_json(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("addition", "rule"),
    [
        ("[training]\nsteps = -5", "Spec(training.steps=-5): training.steps must be an int of at least 0"),
        ("stepz = 3", "Spec(stepz=3): there is no key 'stepz'; did you mean 'training.steps'?"),
        ("hidden = nan", "Spec(hidden=nan): hidden must be an int of at least 1"),
        ("features = 3", "the file is not valid TOML: cannot overwrite a value (at line 4"),
    ],
)
def test_a_sentence_about_a_file_names_it(tmp_path: Path, addition: str, rule: str):
    text = f"{addition}\n" if "[" in addition else f"{addition}\nseeds = 1\n"
    text += "[[features]]\nkind = 'correlated'\nsize = 2\ndensity = 0.05\n"
    file = write(tmp_path, text if "hidden" in text else f"hidden = 2\n{text}")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (read below)
        Spec.from_toml(file)
    assert str(caught.value).startswith(f"{file}: {rule}")
    assert "\n" not in str(caught.value)


def test_a_sentence_about_a_changed_file_names_the_changes(tmp_path: Path):
    file = write(tmp_path, TOML)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        Spec.from_toml(str(file), ["seeds=3", "hidden=0"])
    assert str(caught.value) == f"{file} with seeds=3, hidden=0: Spec(hidden=0): hidden must be an int of at least 1"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (["training.stepz=3"], "there is no key 'training.stepz'; did you mean 'training.steps'?"),
        (["steps=3"], "there is no key 'steps'; did you mean 'training.steps'?"),
        (["features.0.densty=1"], "there is no key 'features.0.densty'; did you mean 'features.0.density'?"),
        (["features.density=2"], "features.0.density must lie in (0, 1]"),
        (["features.3.density=1"], "there is no item 3 in features, which has 3 (the first is features.0)"),
        (["hidden"], "must be written key=value, for instance hidden=3"),
        (["hidden='3'"], "hidden must be an int of at least 1"),
        (
            ["training.steps.more=3"],
            "there is no key 'training.steps.more'; training.steps is 20000, not a table",
        ),
        (["snapshots.count=5"], "snapshots.count must not be given together with steps"),
        (
            ["training.kind=exact", "training.warmup=5"],
            "training.warmup must stay 0 with the optimiser 'lbfgs': only 'adam' and 'gd' have it",
        ),
        (
            ["training.kind=exact", "training.gradient_tol=5"],
            "there is no key 'training.gradient_tol'; did you mean 'training.gradient_tolerance'?",
        ),
        (["training.kind=flow", "training.duration=-1"], "training.duration must be a finite number above 0"),
        (
            ["training.momentum=0.5"],
            "training.momentum must stay 0.0 with the optimiser 'adamw': only 'sgd' has it",
        ),
    ],
)
def test_bad_overrides_are_refused(changes: list[str], rule: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
        SPEC.override(changes)
    call, _, rule_said = str(caught.value).partition(": ")
    assert rule_said == rule
    assert call.startswith(("Spec(", "override "))
