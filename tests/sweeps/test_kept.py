"""What a sweep keeps: how measures are named and found, on which snapshots they look, and when their code differs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tegum as tg
from tegum.analysis.dynamics.happenings import happenings
from tegum.sweeps.kept import Keeping, Kept
from tegum.sweeps.packs import said_by

SPEC = tg.Spec(
    features=[tg.Independent(3, 0.3)], hidden=2, training=tg.Sampled(steps=60, rate=0.05), seeds=3, snapshots=21
)


@pytest.fixture(scope="module")
def run():
    return tg.train(SPEC, progress=False)


def height(run):
    return np.abs(run["weights"]).max(["feature", "hidden"])


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with measures, and a neighbour that it imports."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "mine.py").write_text(
        textwrap.dedent("""
            import numpy as np
            from scaling import FACTOR

            def height(run):
                return FACTOR * np.abs(run["weights"]).max(["feature", "hidden"])

            def depth(run):
                return -height(run)

            not_a_function = 3
        """)
    )
    (folder / "scaling.py").write_text("FACTOR = 2.0\n")
    return folder / "mine.py"


def measured(entry, run, call: str = "sweep"):
    keeping = Keeping([entry], call)
    return {name: function(run) for name, function in keeping.functions.items()}


def test_a_measure_of_tegum_by_its_name_and_as_a_function(run):
    wanted = tg.polytope_names(run["weights"].isel(step=-1))
    for entry in ("polytope_names", tg.polytope_names, tg.Kept("polytope_names"), {"measure": "polytope_names"}):
        found = measured(entry, run)
        assert list(found) == ["polytope_names"]
        np.testing.assert_array_equal(found["polytope_names"], wanted)


def test_variables_and_states(run):
    found = measured("states", run)
    assert list(found) == ["weights", "bias", "loss"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, run[name].isel(step=-1))
        np.testing.assert_array_equal(measured(name, run)[name], run[name].isel(step=-1))
    np.testing.assert_array_equal(measured(Kept("loss", "all"), run)["loss"], run["loss"])
    assert list(measured(Kept("loss", named="last_loss"), run)) == ["last_loss"]


def test_functions_of_a_file_and_of_a_package(run, mine, monkeypatch):
    wanted = np.abs(run["weights"].isel(step=-1)).max(["feature", "hidden"])
    np.testing.assert_array_equal(measured(f"{mine}:height", run)["height"], 2 * wanted)
    np.testing.assert_array_equal(measured(f"{mine}:depth", run)["depth"], -2 * wanted)
    monkeypatch.chdir(mine.parent)
    np.testing.assert_array_equal(measured("mine.py:height", run)["height"], 2 * wanted)
    np.testing.assert_array_equal(measured("tegum.analysis.runs:completed", run)["completed"], [True] * 3)


def test_a_measure_of_ones_own_does_not_have_the_label_of_what_it_was_made_of(run, mine):
    assert run["weights"].attrs["long_name"]
    (mine.parent / "labels.py").write_text(
        "def plain(weights):\n    return (weights**2).sum('feature')\n\n\n"
        "def labelled(weights):\n    return plain(weights).assign_attrs(long_name='mine')\n"
    )
    assert measured(f"{mine.parent}/labels.py:plain", run)["plain"].attrs == {}
    assert measured(f"{mine.parent}/labels.py:labelled", run)["labelled"].attrs["long_name"] == "mine"
    assert measured("loss", run)["loss"].attrs == run["loss"].attrs


def test_an_error_of_a_measure_names_it(run, mine):
    (mine.parent / "wrong.py").write_text("def wrong(W):\n    return W**2 + 'a'\n")
    with pytest.raises(Exception, match=r".") as caught:
        measured(f"{mine.parent}/wrong.py:wrong", run)
    assert said_by(pickle.loads(pickle.dumps(caught.value))).endswith(", in the measure wrong")


def test_a_relative_path_means_the_same_file_wherever_a_worker_is(run, mine, monkeypatch, tmp_path):
    monkeypatch.chdir(mine.parent)
    keeping = Keeping(["mine.py:height"], "sweep")
    monkeypatch.chdir(tmp_path)
    there = Keeping(keeping.to_json(), "sweep", keeping.sources)
    assert there.digest == keeping.digest
    np.testing.assert_array_equal(there.functions["height"](run), keeping.functions["height"](run))


def test_a_worker_runs_the_code_that_it_is_sent(run, mine):
    keeping = Keeping([f"{mine}:height"], "sweep")
    wanted = keeping.functions["height"](run)
    mine.write_text(mine.read_text().replace("FACTOR *", "5 * FACTOR *"))
    there = Keeping(keeping.to_json(), "sweep", keeping.sources)
    np.testing.assert_array_equal(there.functions["height"](run), wanted)
    assert there.digest == keeping.digest != Keeping([f"{mine}:height"], "sweep").digest


def test_functions_that_others_can_import_are_found_by_their_names():
    assert Kept(tg.dimensionality).measure == "dimensionality"
    assert Kept(np.linalg.norm).measure == "numpy.linalg:norm"
    assert Kept(tg.dimensionality, every=3).name == "dimensionality"


class Measure:
    def __call__(self, run):
        return run

    def method(self, run):
        return run


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda run: run, "<lambda>"),
        (Measure(), "Measure"),
        (Measure().method, r"Measure\.method"),
        (__import__("functools").partial(height, 1), "partial"),
        ((lambda: (lambda: 0).__code__ and (lambda run: run))(), "<lambda>"),
    ],
    ids=["lambda", "object", "method", "partial", "nested"],
)
def test_functions_that_others_cannot_import_are_refused(function, what):
    with pytest.raises(ValueError, match=f"must be a function that other processes can import, and .*{what} is not: "
                                         r"put it in a file, and name it as 'mine.py:\w+'") as caught:  # fmt: skip
        Keeping([function], "sweep")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("sweep(keep=…): Kept(measure=")


NOTEBOOK = """
import tegum as tg
from tegum.sweeps.kept import Keeping

def height(run):
    return run["loss"]

try:
    Keeping([height], "sweep")
except ValueError as error:
    print(error)
"""

UNGUARDED = """
from tegum.sweeps.kept import Keeping

def height(run):
    return run["loss"].isel(step=-1)

print(sorted(Keeping([height], "sweep").functions))
"""

GUARDED = """
from tegum.sweeps.kept import Keeping

def height(run):
    return run["loss"]

if __name__ == "__main__":
    keeping = Keeping([height], "sweep")
    print(keeping.entries[0].measure, sorted(keeping.functions))
"""


def test_functions_of_notebooks_and_scripts(tmp_path):
    def answer(*args: str, given: str | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *args], input=given, capture_output=True, text=True, cwd=tmp_path, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = answer("-", given=NOTEBOOK)
    assert code == 0, err
    assert "must be a function that other processes can import, and height is not: put it in a file" in out
    assert "name it as 'mine.py:height'" in out
    assert out.count("\n") == 1

    (tmp_path / "guarded.py").write_text(GUARDED)
    code, out, err = answer("guarded.py")
    assert (code, out) == (0, f"{tmp_path}/guarded.py:height ['height']\n"), err

    # The file is run again to find the function, and would come to its own sweep again.
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    code, out, err = answer("unguarded.py")
    assert code == 1
    assert err.splitlines()[-1].startswith("ValueError: sweep(keep=['")
    assert 'if __name__ == "__main__":' in err.splitlines()[-1]
    assert out == ""


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("dimensionalty", r"^sweep\(keep=\['dimensionalty'\]\): there is no such measure; did you mean 'dim"),
        ("statse", r"^sweep\(keep=\['statse'\]\): there is no such measure; did you mean 'states'\?$"),
        ("xyzzy", r"^sweep\(keep=\['xyzzy'\]\): there is no such measure; functions of your own are named as"),
        ("", r"^sweep\(keep=\[''\]\): there is no such measure"),
        ("nowhere.py:height", r"^sweep\(keep=\['/.*/nowhere.py:height'\]\): there is no such file$"),
        ("nowhere:height", r"^sweep\(keep=\['nowhere:height'\]\): nowhere cannot be imported \(No module"),
        (":height", r"^sweep\(keep=\[':height'\]\): "),
        ("..x:height", r"^sweep\(keep=\['..x:height'\]\): "),
        ("tegum.analysis.runs:complete", r"there is no function complete in it; did you mean 'completed'\?$"),
        ("tegum.analysis.runs:", r"^sweep\(keep=\['tegum.analysis.runs:'\]\): "),
        (3, r"^sweep\(keep=…\): Kept\(3\): must be the name of a measure, a function, or a table of these keys$"),
        (None, r"^sweep\(keep=…\): Kept\(None\): must be the name"),
        ({"measur": "loss"}, r"^sweep\(keep=…\): Kept.*measur"),
        ({"measure": "loss", "at": "first"}, r"^sweep\(keep=…\): Kept\(at='first'\)"),
        ({"measure": "loss", "every": 0}, r"^sweep\(keep=…\): Kept\(every=0\)"),
        ({"measure": "loss", "every": 2, "at": "all"}, r"Kept\(every=2\): every must not be given together with at$"),
        ({"measure": "events", "every": 2}, r"Kept\(measure='events'\): .*whole trajectory"),
        ({"measure": "states", "named": "s"}, r"must not be given with states"),
        ({"measure": "loss", "named": ""}, r"^sweep\(keep=…\): Kept\(named=''\)"),
        ({"measure": "loss", "named": "a/b"}, r"^sweep\(keep=…\): Kept\(named='a/b'\)"),
        ({"measure": "loss", "named": "seed"}, r"^sweep\(keep=\{'seed': …\}\): seed is a coordinate of traj"),
        ({"measure": "loss", "named": "result"}, r"^sweep\(keep=\{'result': …\}\): result is kept of every run; give"),
        ({"measure": "loss", "named": "spec"}, r"^sweep\(keep=\{'spec': …\}\): spec is a coordinate"),
        ({"measure": "loss", "named": "zarr.json"}, r"^sweep\(keep=…\): Kept\(named='zarr.json'\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(entry, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        Keeping([entry], "sweep")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_measures_are_refused(tmp_path, mine):
    with pytest.raises(ValueError, match=r"there is no function heigth in it; did you mean 'height'\?$"):
        Keeping([f"{mine}:heigth"], "sweep")
    with pytest.raises(ValueError, match=r"there is no function not_a_function in it"):
        Keeping([f"{mine}:not_a_function"], "sweep")
    (tmp_path / "latin.py").write_bytes("# é\ndef f(run): return run\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^sweep\(keep=\['.*latin.py:f'\]\): .*UTF-8$"):
        Keeping([f"{tmp_path}/latin.py:f"], "sweep")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ValueError, match=r"^sweep\(keep=\['.*folder.py:f'\]\): this must be a Python file"):
        Keeping([f"{tmp_path}/folder.py:f"], "sweep")


@pytest.mark.parametrize("keep", [[], "loss"])
def test_what_is_no_list_of_measures_is_refused(keep):
    with pytest.raises(
        ValueError, match=r"^sweep\(keep=.*\): (keep must be a list|there must be at least one)"
    ) as caught:
        Keeping(keep, "sweep")
    assert "\n" not in str(caught.value)


def test_two_measures_with_one_name():
    with pytest.raises(
        ValueError, match=r"^sweep\(keep=…\): two measures have the name loss; an entry \{measure = …, named"
    ):
        Keeping(["loss", Kept("loss", "all")], "sweep")
    with pytest.raises(ValueError, match="two measures have the name dimensionality"):
        Keeping([tg.dimensionality, Kept(tg.dimensionality, every=2)], "sweep")
    assert set(Keeping(["states", "loss"], "sweep").functions) == {"weights", "bias", "loss"}
    assert set(Keeping(["loss", Kept("loss", "all", named="losses")], "sweep").functions) == {"loss", "losses"}


def test_thinning_includes_the_last_snapshot(run):
    steps = run["step"].values
    last = len(steps) - 1
    for every in (1, 2, 3, last, last + 1, 10**6):
        found = Kept("loss", every=every).thinned(run)["step"].values
        wanted = [at for at in range(last + 1) if at % every == 0 or at == last]
        np.testing.assert_array_equal(found, steps[wanted])
    one = run.isel(step=[-1])
    np.testing.assert_array_equal(Kept("loss", every=3).thinned(one)["step"], steps[[-1]])
    np.testing.assert_array_equal(Kept("loss").thinned(run)["loss"], run["loss"].isel(step=-1))
    assert Kept("loss", "all").thinned(run) is run


def test_events_are_those_of_the_analysis(run):
    found = measured("events", run)["events"]
    assert [json.loads(each) for each in found] == happenings(run)
    assert any(json.loads(each) for each in found)


def test_events_are_looked_for_between_changes():
    changed = SPEC.override({"changes": [{"step": 30, "rate": 0.2}]})
    run = tg.train(changed, progress=False)
    found = [json.loads(each) for each in measured("events", run)["events"]]
    # The training is changed, and not the features: nothing is cut.
    assert found == happenings(run, list(changed.changed_at))


def test_the_digest_is_that_of_the_code(mine, tmp_path):
    def digest(path: Path, *names: str) -> str:
        script = "import sys; from tegum.sweeps.kept import Keeping; print(Keeping(sys.argv[1:], 'sweep').digest)"
        return subprocess.run(
            [sys.executable, "-c", script, *(f"{path}:{name}" for name in names)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = digest(mine, "height")
    moved = tmp_path / "elsewhere"
    mine.parent.rename(moved)
    mine = moved / "mine.py"
    assert digest(mine, "height") == first
    (moved / "scaling.py").write_text("FACTOR = 3.0\n")
    second = digest(mine, "height")
    assert second != first
    mine.write_text(mine.read_text() + "\n# The same, but for a comment.\n")
    assert digest(mine, "height") not in (first, second)
    assert digest(mine, "depth") != digest(mine, "height")


@pytest.mark.parametrize("folder", ["lib/site-packages", "work"])
def test_the_digest_of_a_measure_in_a_package_is_that_of_the_whole_package(tmp_path, folder):
    package = tmp_path / folder / "ownlab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "measures.py").write_text(
        "from .scaling import FACTOR\ndef height(run): return FACTOR * run['loss'][-1]\n"
    )
    (package / "scaling.py").write_text("FACTOR = 2.0\n")
    script = "from tegum.sweeps.kept import Keeping; print(Keeping(['ownlab.measures:height'], 'sweep').digest)"

    def digest() -> str:
        path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=own)
        return done.stdout

    first = digest()
    assert digest() == first
    (package / "scaling.py").write_text("FACTOR = 3.0\n")
    assert digest() != first


def test_the_digest_does_not_depend_on_what_else_was_run_in_the_process(mine):
    (mine.parent / "plain.py").write_text("def width(run):\n    return run['loss'].isel(step=-1)\n")
    entries = [f"{mine.parent}/plain.py:width", f"{mine}:height"]
    alone = Keeping(entries[:1], "sweep").digest
    first = Keeping(entries, "sweep").digest
    assert Keeping(entries, "sweep").digest == first
    assert Keeping(entries[:1], "sweep").digest == alone


def test_a_neighbour_that_has_changed_is_imported_again(run, mine):
    entry = f"{mine}:height"
    first = Keeping([entry], "sweep")
    before = first.functions["height"](run)
    (mine.parent / "scaling.py").write_text("BASE = 2\nFACTOR = BASE * 2.0\n")
    second = Keeping([entry], "sweep")
    assert second.digest != first.digest
    np.testing.assert_array_equal(second.functions["height"](run), 2 * before)
    # A worker that finds another neighbour than the sweep was begun with says that its code is another.
    assert Keeping(first.to_json(), "sweep", first.sources).digest not in (first.digest, second.digest[::-1])


def test_a_file_that_raises_says_so(mine):
    for code, sentence in (
        ("def height(run:\n", r"the file raises SyntaxError: '\(' was never closed"),
        ("1 / 0\n", r"the file raises ZeroDivisionError: division by zero$"),
        ("import nowhere_at_all\n", r"the file raises ModuleNotFoundError: No module named 'nowhere_at_all'$"),
    ):
        mine.write_text(code)
        with pytest.raises(ValueError, match=sentence) as caught:
            Keeping([f"{mine}:height"], "sweep")
        assert str(caught.value).startswith(f"sweep(keep=['{mine}:height']): ")
        assert "\n" not in str(caught.value)


def test_the_digest_tells_measures_of_tegum_apart_but_not_the_order_of_its_making():
    one, other = Keeping(["loss"], "sweep"), Keeping(["bias"], "sweep")
    assert one.digest != other.digest
    assert Keeping(["loss"], "sweep").digest == Keeping([Kept("loss")], "other").digest == one.digest
    assert Keeping([Kept("loss", "last")], "sweep").digest == one.digest
    assert Keeping([Kept("loss", "all")], "sweep").digest != one.digest
    assert Keeping([Kept("loss", every=2)], "sweep").digest != Keeping([Kept("loss", every=3)], "sweep").digest
    assert Keeping([Kept("loss", named="a")], "sweep").digest != one.digest


def test_what_is_kept_is_written_and_read_again(mine):
    keep = ["loss", Kept("dimensionality", every=3), Kept(f"{mine}:height", every=3, named="heights"), "events"]
    keeping = Keeping(keep, "sweep")
    again = Keeping(json.loads(json.dumps(keeping.to_json())), "sweep", keeping.sources)
    assert again.entries == keeping.entries
    assert again.digest == keeping.digest
    assert list(again.functions) == ["loss", "dimensionality", "heights", "events"]
    assert Keeping([Kept("loss", "last")], "sweep").to_json() == Keeping(["loss"], "sweep").to_json()
