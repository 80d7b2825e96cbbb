"""What each experiment lets be changed, the refusal of everything else before training, and texts that follow."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
from result_files import beside_runs

from tegum import experiments
from tegum.core.description import flatten
from tegum.experiments.varied import ANY, Range
from tegum.figures import style

NAMES = experiments.names()


def specs_of(name):
    """Every Spec of the quick form."""
    groups = experiments.get(name).trainings("quick").values()
    return [spec for group in groups for spec in (group if isinstance(group, Sequence) else [group])]


def keys_of(name):
    """Every key of its Specs, with one value it has; numbers of sets and of steps left out."""
    leaves = {}
    for spec in specs_of(name):
        leaves |= flatten(spec.to_json())
    plain = {".".join(part for part in key.split(".") if not part.isdecimal()): value for key, value in leaves.items()}
    return {key: value for key, value in plain.items() if isinstance(value, int | float | str)}


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_spec_varies_or_is_refused_with_what_does(tmp_path, name):
    experiment = experiments.get(name)
    keys = keys_of(name)
    assert set(experiment.varies) <= {*keys, "initial_scale", "training.weight_decay"}
    assert experiment.varies, "there is something to vary"
    for key, value in keys.items():
        if key in experiment.varies:
            continue
        with pytest.raises(ValueError, match=rf"^{name}: run\({key}=") as refusal:
            experiment.run(tmp_path / "new", size="quick", changes=[f"{key}={json.dumps(value)}"])
        assert f"{key} cannot be changed here; these keys can: " in str(refusal.value)
        assert all(each in str(refusal.value) for each in experiment.varies)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_ranges_are_taken_and_what_is_beyond_is_refused(name):
    experiment = experiments.get(name)
    for key, each in experiment.varies.items():
        step = 1 if isinstance(each.low, int) else 1e-6
        for end, beyond in ((each.low, each.low - step), (each.high, 2 * each.high)):
            if abs(end) < 1e300:
                # Alone; with others it may be refused: the snapshots of so many steps.
                assert each.holds(end)
                with pytest.raises(ValueError, match=rf"{key} must be (at least|at most|from) "):
                    experiment.changed("quick", [f"{key}={beyond}"])
        if each.never is not None:
            with pytest.raises(ValueError, match=rf"{key} must not be {each.never}"):
                experiment.changed("quick", [f"{key}={each.never}"])
    for spec in specs_of(name):
        low = experiment.varies["seeds"].low if "seeds" in experiment.varies else 1
        assert spec.seeds >= low or spec.start is not None or name == "equivariant", "its own sizes are in the range"


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "collapse",
            "hidden=3",
            r"hidden cannot be changed here; these keys can: seeds \(at least 8\), base_seed \(not 10\)",
        ),
        ("collapse", "features.density=0.1", "features.density cannot be changed"),
        ("pair", "features.0.density=0.1", "features.density cannot be changed"),
        ("tradeoff", "activation=linear", "activation cannot be changed"),
        ("tradeoff", "features.size=3", "features.size cannot be changed"),
        ("equivariant", "training.steps=10", "training.steps cannot be changed"),
        ("local-basis", "seeds=1", r"run\(seeds=1\): seeds must be at least 2"),
        ("local-basis", "features.copies=3", "features.copies cannot be changed"),
        ("energy-levels", "snapshots.spacing=logarithmic", "snapshots.spacing cannot be changed"),
        ("energy-levels", "snapshots=[1, 2]", "snapshots.steps cannot be changed"),
        (
            "energy-levels",
            "snapshots=74",
            "snapshots.count must be at least 75, so that plateaus of 1,000 steps",
        ),
        ("energy-levels", "hidden=40", "hidden must be below the number of features, 40"),
        ("energy-levels", "features.density=[0.1, 0.2]", "features.density must be a single number or word"),
        ("energy-levels", "features.density=1.5", r"must lie in \(0, 1\]"),
        ("energy-levels", "training.optimiser=lbfgs", "must be 'adamw' or 'sgd'"),
        ("energy-levels", "training.rate=nan", "must be a finite number"),
        ("octahedron", "initial_scale=0.1", "initial_scale cannot be changed"),
        ("octahedron", "training.rate=0.2", "training.rate must be at most 0.1"),
        ("octahedron", "training={rate = 0.01}", "training cannot be changed"),
        ("many-jumps", "hidden=5", "hidden cannot be changed"),
        ("many-jumps", "snapshots=119", "snapshots.count must be at least 120"),
        ("polytopes", "hidden=64", "hidden must be below the number of features, 64"),
        ("linear-first", "seeds=3", "seeds must be at least 4"),
        ("exact-vs-sampled", "training.kind=sampled", "training.kind cannot be changed"),
        ("exact-vs-sampled", "start=[[1.0]]", "start cannot be changed"),
        ("polytopes", "sedes=3", "sedes cannot be changed here; these keys can: seeds, "),
        ("polytopes", "seeds", "must be written key=value"),
    ],
)
def test_what_cannot_be_measured_or_drawn_is_refused_before_training(tmp_path, name, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        experiments.get(name).run(
            tmp_path / "new", size="quick", changes=[change], progress=lambda _: pytest.fail("it trained")
        )
    assert not (tmp_path / "new").exists()


def test_changes_may_be_a_dictionary_or_come_one_by_one():
    polytopes = experiments.get("polytopes")
    changed = [
        polytopes.changed("quick", {"hidden": 3, "training.steps": 7}),
        polytopes.changed("quick", (each for each in ("hidden=3", " training.steps = 7"))),
    ]
    for specs in changed:
        assert {(spec.hidden, spec.training.steps) for spec in specs["run"]} == {(3, 7)}
    assert polytopes.changed("quick") == dict(polytopes.trainings("quick"))
    with pytest.raises(ValueError, match="hidden must be below the number of features"):
        polytopes.changed("quick", {"hidden": 3, "features.count": 3})


def test_ranges_in_words():
    ranges = [ANY, Range(low=2), Range(high=0.1), Range(1, 3), Range(never=10), Range(low=10_000, never=20_000)]
    assert [str(each) for each in ranges] == [
        "", "at least 2", "at most 0.1", "from 1 to 3", "not 10", "at least 10,000, not 20000",
    ]  # fmt: skip
    assert not Range(low=2).holds(1.5)
    assert Range(low=2).holds("none")
    assert not ANY.holds([1])


@pytest.mark.quick_form  # It takes as long as the quick form of some experiment.
def test_texts_follow_what_was_changed(tmp_path):
    changes = ["hidden=3", "features.count=12", "training.steps=60", "training.batch=32", "seeds=2"]
    summary = experiments.get("polytopes").run(tmp_path / "polytopes", size="quick", changes=changes)
    assert "models: 44, densities: 22, m = 3)" in summary.caption


def test_figures_that_cannot_be_drawn_are_known_before_training(tmp_path, monkeypatch):
    def fail():
        raise OSError("figures need matplotlib, which cannot be imported: no")

    monkeypatch.setattr(style, "matplotlib", fail)
    with pytest.raises(OSError, match="figures need matplotlib"):
        experiments.get("pair").run(tmp_path / "new", size="quick", progress=lambda _: pytest.fail("it trained"))
    assert not (tmp_path / "new").exists()


@pytest.mark.quick_form  # It takes as long as the quick form of some experiment.
def test_in_a_process_of_a_notebook_it_ends_with_figure_and_summary(tmp_path):
    changes = ("hidden=2", "features.count=6", "training.steps=20", "training.batch=8")
    flags = [word for change in changes for word in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "tegum", "run", "polytopes", "--quick", "--out", str(tmp_path / "out"), *flags],
        env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "COLUMNS": "80"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"run.zarr", *beside_runs(experiments.get("polytopes"))} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
