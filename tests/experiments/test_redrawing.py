"""Figures of a result drawn again from what was stored: `tegum draw`."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from legible import KINDS, complaints, complaints_about
from matplotlib.image import imread

import tegum as tg
from tegum import experiments
from tegum.experiments import framework
from tegum.figures import style

OWN = """
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

import tegum as tg
from tegum.experiments import Criterion, Experiment, Findings


@dataclass
class Shown:
    curve: np.ndarray
    title: str


class Two(Experiment):
    claim = "It can be drawn."
    further_figures = ("more",)

    def trainings(self, size):
        return {"run": tg.Spec(features=[tg.Independent(2, 0.5)], hidden=1, training=tg.Sampled(steps=5), seeds=2)}

    def analyse(self, runs):
        shown = Shown(np.arange(4.0), "a title")
        return Findings((), (Criterion("a", "a", True),), ("First words.", "Second words."), shown)

    def draw(self, runs, findings):
        first, second = Figure(figsize=(4, 2)), Figure(figsize=(4, 2))
        first.subplots().plot(findings.shown.curve)
        first.axes[0].set_title(findings.shown.title)
        second.subplots().plot(runs["run"].loss.T)
        return first, second


class Plain(Experiment):
    claim = "It needs no figure of its own."

    def trainings(self, size):
        return {"run": tg.Spec(features=[tg.Independent(2, 0.5)], hidden=1, training=tg.Sampled(steps=5), seeds=2)}

    def analyse(self, runs):
        return Findings((), (Criterion("a", "a", True),), "Words.", {"kept": open})
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "two.py").write_text(OWN)
    experiments.get(f"{folder / 'two.py'}:Two").run(folder / "out", progress=False)
    return folder


def test_figures_are_stored_without_captions_and_drawn_again_without_analysing(made, tmp_path, monkeypatch):
    out = made / "out"
    told = json.loads((out / "summary.json").read_text())
    assert told["files"] == [
        "run.zarr", "two.png", "two.svg", "two-more.png", "two-more.svg", "findings.npz", "two.html", "summary.json"
    ]  # fmt: skip
    assert (told["caption"], told["further_captions"]) == ("First words.", {"two-more": "Second words."})
    assert "First words" not in (out / "two.svg").read_text()
    monkeypatch.setattr(framework.Experiment, "train_all", None)
    files = experiments.redraw(out, out=tmp_path / "figure.svg", width=3.4, caption=True)
    assert files == [tmp_path / "figure.svg", tmp_path / "figure-more.svg"]
    first, second = (file.read_text() for file in files)
    assert "a title" in first
    assert "First words." in first
    assert "Second words." in second
    # In points; a figure that was made for another width is scaled with its height, and the caption comes on top.
    assert 'width="244.8pt"' in first
    # The same figure in the same look is the same file as that of `run`.
    (again, _) = experiments.redraw(out, out=tmp_path / "again.png")
    assert again.read_bytes() == (out / "two.png").read_bytes()


def test_the_format_and_the_place_are_those_asked_for_and_nothing_is_replaced_unasked(made, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(made / "out", out)
    assert [file.name for file in experiments.redraw(out)] == ["two.pdf", "two-more.pdf"]
    assert (out / "two.pdf").read_bytes().startswith(b"%PDF")
    before = (out / "two.png").read_bytes()
    with pytest.raises(FileExistsError, match=r"two.png' is there already; overwrite=True \(--overwrite\)"):
        experiments.redraw(out, kind="png", style="dark_background")
    assert (out / "two.png").read_bytes() == before
    experiments.redraw(out, kind="png", style="dark_background", overwrite=True)
    assert imread(out / "two.png")[0, 0].tolist() == [0, 0, 0, 1]


def test_a_caption_stands_under_a_figure_of_run_if_asked(made, tmp_path):
    experiments.get(f"{made / 'two.py'}:Two").run(tmp_path / "out", progress=False, caption=True)
    assert "First words." in (tmp_path / "out" / "two.svg").read_text()
    assert "Second words." in (tmp_path / "out" / "two-more.svg").read_text()


def test_what_cannot_be_drawn_again_is_refused_in_a_sentence(made, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no summary\.json"):
        experiments.redraw(tmp_path)
    out = tmp_path / "out"
    shutil.copytree(made / "out", out)
    with pytest.raises(ValueError, match=r"--out .*figure.gif: the suffix must be .png, .svg or .pdf"):
        experiments.redraw(out, out=tmp_path / "figure.gif")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        experiments.redraw(out, out=tmp_path / "nowhere" / "figure.png")
    told = json.loads((out / "summary.json").read_text())
    earlier = {key: value for key, value in told.items() if key != "further_captions"}
    earlier["files"] = [name for name in told["files"] if name != "findings.npz"]
    (out / "summary.json").write_text(json.dumps(earlier))
    with pytest.raises(ValueError, match=r"no findings.npz to draw from: .* run the experiment again"):
        experiments.redraw(out)
    moved = told | {"source": told["source"] | {"file": str(tmp_path / "gone.py")}}
    (out / "summary.json").write_text(json.dumps(moved))
    with pytest.raises(ValueError, match=r"the file of the experiment, .*gone.py, is not there"):
        experiments.redraw(out)
    changed = told | {"source": told["source"] | {"sha256": "0"}}
    (out / "summary.json").write_text(json.dumps(changed))
    with pytest.warns(UserWarning, match="the code of the experiment has changed since"):
        experiments.redraw(out)


def test_findings_that_cannot_be_stored_are_told_and_the_result_stands(made, tmp_path):
    plain = experiments.get(f"{made / 'two.py'}:Plain")
    with pytest.warns(UserWarning, match=r"findings\['kept'\]: a builtin_function_or_method cannot be stored"):
        summary = plain.run(tmp_path / "out", progress=False)
    assert "findings.npz" not in {file.name for file in summary.files}
    assert not (tmp_path / "out" / "findings.npz").exists()
    assert (tmp_path / "out" / "two.png").is_file()


@pytest.mark.parametrize(
    ("shown", "why"), [({"a": "\ud800"}, "surrogates"), pytest.param(10**5000, "digits", id="digits")]
)
def test_findings_that_cannot_be_written_do_not_cost_the_result(made, tmp_path, monkeypatch, shown, why):
    plain = experiments.get(f"{made / 'two.py'}:Plain")
    found = framework.Findings((), (framework.Criterion("a", "a", True),), "Words.", shown)
    monkeypatch.setattr(type(plain), "analyse", lambda *_: found)
    with pytest.warns(UserWarning, match=rf"they cannot be stored .*{why}.* cannot draw this result again"):
        summary = plain.run(tmp_path / "out", progress=False)
    assert framework.Summary.read(tmp_path / "out").files == summary.files
    assert not (tmp_path / "out" / "partial").exists()


def test_a_wrong_number_of_figures_is_refused(made):
    two = experiments.get(f"{made / 'two.py'}:Two")
    findings = framework.Findings((), (), "Words.", two.analyse({}).shown)
    runs = {"run": tg.load(made / "out" / "run.zarr")}
    assert list(two.drawn(runs, findings)) == ["two", "two-more"]
    type(two).further_figures = ()
    with pytest.raises(ValueError, match="there must be 1 figures and captions, not 2 and 1"):
        two.drawn(runs, findings)
    type(two).further_figures = ("more",)


def test_the_users_matplotlibrc_is_obeyed_by_draw_and_not_by_run(made, tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 7\nsavefig.dpi: 50\n")
    done = subprocess.run(
        [sys.executable, "-m", "tegum", "draw", str(made / "out"), "--out", str(tmp_path / "mine.png")],
        env=os.environ | {"MATPLOTLIBRC": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "mine-more.png") in done.stdout.replace("\n", "")
    assert imread(tmp_path / "mine.png").shape[:2] == (100, 200)


def test_a_style_that_cannot_be_used_is_told_in_a_sentence(made, tmp_path, monkeypatch):
    sheet = tmp_path / "mine.mplstyle"
    sheet.write_bytes("axes.edgecolor: red  # für".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^draw .* --style .*mine.mplstyle: the style cannot be read: 'utf-8'"):
        experiments.redraw(made / "out", out=tmp_path / "a.png", style=str(sheet))
    with pytest.raises(ValueError, match=r"--style dark_backround: matplotlib has no such style; did you mean 'dark_b"):
        experiments.redraw(made / "out", out=tmp_path / "a.png", style="dark_backround")
    sheet.write_text("text.usetex: True\n")
    from matplotlib.texmanager import TexManager

    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("_texcache", "_cache_dir"):  # of whatever has been set on this machine before
        if hasattr(TexManager, name):
            monkeypatch.setattr(TexManager, name, type(getattr(TexManager, name))(tmp_path))
    with pytest.raises(ValueError, match=r"^draw .*: text.usetex is True in the style or your matplotlibrc.*latex"):
        experiments.redraw(made / "out", out=tmp_path / "a.png", style=str(sheet))


def test_an_error_in_an_experiment_of_ones_own_is_told_by_its_own_lines(made, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(made, folder)
    text = OWN.replace("        first, second =", "        1 / 0\n        first, second =")
    (folder / "two.py").write_text(text)
    told = json.loads((folder / "out" / "summary.json").read_text())
    told["source"] |= {"file": str(folder / "two.py"), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (folder / "out" / "summary.json").write_text(json.dumps(told))
    done = subprocess.run(
        [sys.executable, "-m", "tegum", "draw", str(folder / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    said = done.stderr.replace("\n", "")
    assert "two.py" in said
    assert "1 / 0" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "tegum/cli.py" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [each.name for each in experiments.listed() if each.origin == "tegum"])
def test_figures_can_be_read_in_every_combination(run_quick, name):
    """Of one of each, `run_quick` makes sure."""
    _, out, _ = run_quick(experiments.get(name))
    assert complaints_about(name, out, itertools.product((7.2, 3.4), (None, "dark_background"), KINDS)) == []


def test_the_helper_complains_about_what_it_should():
    with style.drawing():
        from tegum.figures.drawn import new_figure

        figure = new_figure(2.0)
        figure.text(0.5, 0.5, "one")
        figure.text(0.505, 0.5, "other")
        figure.text(0.99, 0.9, "beyond the edge")
        figure.text(0.1, 0.9, "tiny", fontsize=6)
        figure.text(0.1, 0.1, "fine")
        place = figure.subplots()
        place.set_axis_off()
    assert complaints(figure) == [
        "'beyond the edge' is cut off", "'tiny' has 6.0 points", "'one' and 'other' overlap"
    ]  # fmt: skip
    assert np.isfinite(figure.get_size_inches()).all()
