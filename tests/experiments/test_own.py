"""Experiments that are not tegum's own: in a file, and in other packages."""

import doctest
import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from processes import tegum

import tegum as tg
from tegum import experiments
from tegum.core.inputs import python_files
from tegum.experiments import files, framework
from tegum.experiments.installed import installed

OWN = Path(__file__).parent / "own"
FILE, NEIGHBOUR = OWN / "falling_loss.py", OWN / "ratios.py"

CLASS = """
from tegum.experiments import Experiment

class {name}(Experiment):
    claim = "{name} is a claim."

    def trainings(self, size):
        return {{}}

    def analyse(self, runs):
        return None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with the example, in which the process works; what is imported from there is forgotten."""
    for file in (FILE, NEIGHBOUR):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(python_files, "_neighbours", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path, *names):
    path.write_text("".join(CLASS.format(name=name) for name in names))
    return path


@pytest.mark.parametrize("of", [framework.Experiment, files.split])
def test_examples_in_docstrings_run(of):
    (example,) = (each for each in doctest.DocTestFinder(recurse=False).find(of, globs=dict(vars(files))))
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.quick_form
def test_a_file_is_run_and_gone_on_with_after_a_mistake_in_it(folder):
    """As a user meets it: an error in the analysis, put right, and nothing is trained again."""
    sound = (folder / "falling_loss.py").read_text()
    (folder / "falling_loss.py").write_text(sound.replace("ends, FEATURES, DENSITY)", "1.0, 0, DENSITY)"))
    code, out, err = tegum("run", "falling_loss.py", "--quick", "--set", "seeds=2", cwd=folder)
    assert (code, out) == (2, "")
    begin = err.index("Traceback")
    assert "training 2 runs: 100 %, step 200 of 200" in err[:begin]
    told = [line.strip() for line in err[begin:].splitlines()]
    assert [line.rpartition(", line")[0] for line in told if line.startswith("File ")] == [
        f'File "{folder / "falling_loss.py"}"',
        f'File "{folder / "ratios.py"}"',
    ]
    assert "return loss / (features * density / 3)" in told
    assert told[-1] == (
        "tegum: falling_loss.py: ZeroDivisionError: float division by zero; what was trained is kept in "
        "'falling-loss/partial', and resume=True (--resume) continues it"
    )
    assert {path.name for path in (folder / "falling-loss").iterdir()} == {"partial"}

    (folder / "falling_loss.py").write_text(sound)
    code, out, err = tegum("run", "falling_loss.py", "--quick", "--set", "seeds=2", "--resume", cwd=folder)
    assert code == 0, err
    assert "tegum: falling-loss: the code of this experiment has changed since its unfinished result was begun" in err
    assert "training" not in err
    # The experiment has neither a question nor titles: its claim and its criteria are shown as they are.
    assert "Verdict  HOLDS  (2 of 2 criteria pass)" in out
    assert "✓ Without noise the loss of every run falls further." in out
    files = (
        "Files falling-loss/: falling-loss.png, .svg, run.zarr, ends.zarr, findings.npz, falling-loss.html, "
        "summary.json"
    )
    assert files in " ".join(out.split())
    assert "All 2 measures: tegum show falling-loss" in out
    code, shown, err = tegum("show", "falling-loss", cwd=folder)
    assert code == 0, err
    for text in ("mean over runs", "least loss without noise", "Losses of four features in three dimensions."):
        assert text in shown
        assert text not in out
    result = folder / "falling-loss"
    names = [
        "run.zarr",
        "ends.zarr",
        "falling-loss.png",
        "falling-loss.svg",
        "findings.npz",
        "falling-loss.html",
        "summary.json",
    ]
    assert {path.name for path in result.iterdir()} == set(names)
    told = json.loads((result / "summary.json").read_text())
    assert (told["schema"], told["name"], told["files"]) == (3, "falling-loss", names)
    assert told["source"] == {
        "file": str(folder / "falling_loss.py"),
        "sha256": hashlib.sha256(FILE.read_bytes()).hexdigest(),
        "neighbours": {"ratios.py": hashlib.sha256(NEIGHBOUR.read_bytes()).hexdigest()},
    }
    assert framework.Summary.read(result).source == told["source"]
    # The second stage goes on from where the first one ends.
    run, ends = tg.load(result / "run.zarr"), tg.load(result / "ends.zarr")
    assert run.sizes["seed"] == 2
    np.testing.assert_array_equal(ends.weights.isel(step=0), run.weights.isel(step=-1))
    measure, least = told["measures"]
    losses = tg.population_loss(run.weights[:, -1].values, run.bias[:, -1].values, experiment_features())
    assert measure["value"] == pytest.approx(np.mean(losses) / (4 * 0.5 / 3), rel=1e-6)

    code, _, err = tegum("draw", str(result), "--format", "svg", "--overwrite", cwd=folder.parent)
    assert code == 0, err

    # What the file takes from xarray and numpy has become JSON's.
    assert least["value"] == pytest.approx(float(ends.loss[:, -1].min()))
    assert told["criteria"][1]["passed"] is True

    code, _, err = tegum("run", "falling_loss.py", "--quick", cwd=folder)
    assert code == 2
    assert "'falling-loss' holds run.zarr already" in err
    code, _, err = tegum("run", "falling_loss.py", "--quick", "--set", "hidden=2", "--overwrite", cwd=folder)
    assert code == 2
    assert "falling-loss: run(hidden=2): hidden cannot be changed here; these keys can: training.rate, seeds" in err
    assert "Traceback" not in err


def experiment_features():
    return tg.FeatureDistribution([tg.Independent(4, density=0.5)])


def test_a_file_is_found_from_python_with_its_neighbours(folder):
    experiment = experiments.get("falling_loss.py")
    assert experiment.name == "falling-loss"
    assert experiment.claim.startswith("In training the loss falls")
    assert str(experiment.origin) == str(folder / "falling_loss.py")
    assert experiments.get(folder / "falling_loss.py").trainings("quick") == experiment.trainings("quick")
    # A file that has changed is another experiment, and one in another folder has its own neighbours.
    other = folder / "other"
    other.mkdir()
    (other / "ratios.py").write_text("HERE = 1\n")
    write(other / "mine.py", "Mine")
    (other / "mine.py").write_text("from ratios import HERE\n" + (other / "mine.py").read_text())
    assert experiments.get("other/mine.py").name == "mine"
    assert type(experiments.get("other/mine.py:Mine")).__name__ == "Mine"
    write(other / "mine.py", "Changed")
    assert experiments.get(other / "mine.py").claim == "Changed is a claim."


def test_a_file_may_have_the_name_of_a_module(folder):
    write(folder / "json.py", "Mine")
    assert experiments.get("json.py").name == "json"
    assert json.dumps([1]) == "[1]"
    assert sys.modules["json"] is json


def test_of_classes_that_derive_from_each_other_the_last_is_the_experiment(folder):
    write(folder / "two.py", "Base")
    with (folder / "two.py").open("a") as file:
        file.write("class Derived(Base):\n    claim = 'another'\n")
    assert experiments.get("two.py").claim == "another"
    assert experiments.get("two.py:Base").claim == "Base is a claim."


@pytest.mark.parametrize(
    ("content", "name", "error", "sentence"),
    [
        ("", "mine.py", ValueError, r"^mine\.py: there is no experiment in it, a class derived from tegum\.exp"),
        (("One", "Two"), "mine.py", ValueError, r"several experiments in it, One, Two; choose one as FILE\.py:One"),
        (("One", "Two"), "mine.py:Three", ValueError, "there is no class 'Three' in it; its experiments are One, Two"),
        ("X = 1", "mine.py:X", ValueError, r"mine\.py: int is not a class derived from tegum\.experiments\.Experiment"),
        (
            "from tegum.experiments import Experiment\nclass Mine(Experiment):\n    varies = {}",
            "mine.py",
            ValueError,
            r"^mine\.py: Mine lacks claim, analyse, trainings$",
        ),
        ("1 / 0", "mine.py", ZeroDivisionError, "division by zero"),
        ("def f(:", "mine.py", SyntaxError, "invalid syntax"),
        ("", "none.py", FileNotFoundError, r"^experiment 'none\.py': there is no such file$"),
        ("", "mine", ValueError, r"there is no experiment of this name; .*; the file mine\.py is run as mine\.py$"),
    ],
)
def test_what_is_no_experiment_is_refused_in_a_sentence(folder, content, name, error, sentence):
    if isinstance(content, tuple):
        write(folder / "mine.py", *content)
    else:
        (folder / "mine.py").write_text(content)
    before = set(sys.modules)
    with pytest.raises(error, match=sentence) as raised:
        experiments.get(name)
    lines = experiments.own_lines(raised.value, name)
    assert (lines is not None) == (error in (ZeroDivisionError, SyntaxError))
    if lines is not None:
        assert str(folder / "mine.py") in lines
        assert "tegum/experiments" not in lines
        assert not {each for each in set(sys.modules) - before if each.startswith("mine")}


def package(place, name, version, entry_points, **modules):
    """A package as it is installed: its modules, and its dist-info as the wheel format says."""
    for module, text in modules.items():
        (place / f"{module}.py").write_text(text)
    info = place / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)
    (info / "RECORD").write_text("")
    return place


@pytest.fixture
def site(tmp_path):
    place = tmp_path / "site"
    place.mkdir()
    package(
        place, "my-lab", "1.2", "[tegum.experiments]\nmy_jumps = mylab_jumps:Jumps\npair = mylab_jumps\n",
        mylab_jumps=CLASS.format(name="Jumps"),
    )  # fmt: skip
    package(
        place, "broken", "0.1", "[tegum.experiments]\nfails = broken_import\nnumber = broken_number:X\n../bad = a:b\n",
        broken_import="import nothing_of_this_name\n", broken_number="X = 1\n",
    )  # fmt: skip
    package(place, "other", "3", "[console_scripts]\nother = other:main\n")
    return place


def test_experiments_of_packages_are_found_beside_our_own(site, monkeypatch):
    own = experiments.names()
    monkeypatch.syspath_prepend(site)
    with pytest.warns(UserWarning, match=r"package broken calls an experiment '\.\./bad', which is not a valid name"):
        names = experiments.names()
    assert set(names) - set(own) == {"my-jumps", "my-lab.pair", "fails", "number"}
    with pytest.warns(UserWarning, match="not a valid name"):
        jumps = experiments.get("my-jumps")
    assert (jumps.name, jumps.claim, str(jumps.origin)) == ("my-jumps", "Jumps is a claim.", "package my-lab 1.2")
    assert jumps.origin.source == {"package": "my-lab", "version": "1.2"}
    assert experiments.get("pair").origin is None
    with pytest.warns(UserWarning, match="not a valid name"):
        assert experiments.get("my-lab.pair").name == "my-lab.pair"
    with pytest.warns(UserWarning, match="not a valid name"):
        assert experiments.get("my-lab.my-jumps").name == "my-jumps"
    with (
        pytest.warns(UserWarning, match="not a valid name"),
        pytest.raises(ValueError, match=r"'fails' of package broken 0\.1 cannot be imported: ModuleNotFoundError: No"),
    ):
        experiments.get("fails")
    # Another package with the same names: neither is found under the name alone.
    package(site, "late", "5", "[tegum.experiments]\nmy-jumps = mylab_jumps\n")
    with pytest.warns(UserWarning, match="not a valid name"):
        names = experiments.names()
    assert {"my-lab.my-jumps", "late.my-jumps"} < set(names)
    assert "my-jumps" not in names
    with (
        pytest.warns(UserWarning, match="not a valid name"),
        pytest.raises(ValueError, match="there is no experiment of this name"),
    ):
        experiments.get("my-jumps")


def test_a_badly_installed_package_hides_no_other(site, monkeypatch):
    info = package(site, "ruined", "1", "[tegum.experiments]\nno equals sign\n")
    monkeypatch.syspath_prepend(info)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = {each.name for each in installed([])}
    assert {"my-jumps", "pair"} <= found
    assert sum("ruined-1.dist-info cannot be read" in str(each.message) for each in told) == 1


def test_list_says_where_experiments_come_from_whatever_packages_do(site):
    done = subprocess.run(
        [sys.executable, "-c", "from tegum.cli import main; main()", "list"],
        capture_output=True, text=True, check=True, cwd=site, env=environment(site),
    )  # fmt: skip
    rows = {name: rest for name, _, rest in (line.partition("  ") for line in done.stdout.splitlines())}
    assert all(rows[name].rstrip().endswith("(package my-lab 1.2)") for name in ("my-jumps", "my-lab.pair"))
    assert not any("package" in rows[name] for name in experiments.names())
    warned = done.stderr.splitlines()
    assert len(warned) == 3
    assert all(line.startswith("tegum: ") for line in warned)
    assert any("'fails' of package broken 0.1 cannot be imported: ModuleNotFoundError" in line for line in warned)
    assert any("'number' of package broken 0.1: int is not a class derived from" in line for line in warned)


def environment(site):
    paths = os.pathsep.join([str(site), *filter(None, sys.path)])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "TERM": "dumb", "COLUMNS": "200"}
