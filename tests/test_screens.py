"""What a user sees of a result first: a screen of 80 columns by 24 lines; and all the rest on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

import tegum as tg
from tegum import cli, experiments, screens
from tegum.core.limits import duration
from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion, Summary

STORED = json.loads((Path(__file__).parent / "experiments" / "summaries.json").read_text(encoding="utf-8"))
"""The summary of the quick form of every experiment, with the measures that decide."""

PROGRAM = """
import os, sys
from pathlib import Path
from tegum import screens
from tegum.experiments import Summary
for folder in sorted(Path().iterdir()):
    print("#", folder.name, flush=True)
    screens.screen(Summary.read(folder.name))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each experiment with the summary of its quick form."""
    place = tmp_path_factory.mktemp("results")
    for name, summary in STORED.items():
        (place / name).mkdir()
        specs = {key: as_json(each) for key, each in experiments.get(name).trainings("quick").items()}
        (place / name / "summary.json").write_text(json.dumps(summary | {"spec": specs}))
    return place


def as_json(specs: tg.Spec | list[tg.Spec]) -> Any:
    return specs.to_json() if isinstance(specs, tg.Spec) else [each.to_json() for each in specs]


def printed(place: Path, encoding: str) -> dict[str, list[str]]:
    """The lines of the screen of each result, from a process with this encoding."""
    environment = os.environ | {"COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=place, env=environment, capture_output=True, check=True)
    parts = done.stdout.decode(encoding).split("# ")[1:]
    return {part.splitlines()[0]: part.splitlines()[1:] for part in parts}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_experiment_fits_a_screen_with_all_that_decides(results, encoding):
    shown = printed(results, encoding)
    assert sorted(shown) == experiments.names()
    tick, cross = "✓✗" if encoding == "utf-8" else "+-"
    for name, lines in shown.items():
        told = STORED[name]
        assert len(lines) < 24, (name, len(lines))  # the last line is for the prompt
        assert max(map(cell_len, lines)) <= 80
        text = " ".join(" ".join(lines).split())
        # Nothing had to be cut.
        assert "…" not in text
        assert "..." not in text
        assert lines[0].startswith(f"{name}, quick form: ")
        passed = sum(each["passed"] for each in told["criteria"])
        count = len(told["criteria"])
        assert f"Verdict {told['verdict'].upper()} ({passed} of {count} criteria pass)" in text
        assert [line[:3] for line in lines].count(f" {tick} ") == passed
        assert [line[:3] for line in lines].count(f" {cross} ") == count - passed
        assert f"Files {name}/: " in text
        assert text.endswith(
            f"Took {duration(told['wall_time_s'])}. All {len(told['measures'])} measures: tegum show {name}"
        )
        if encoding == "utf-8":
            assert told["claim"] in text
            assert told["answer"] in text
            assert told["question"] in text
            assert all(each["title"] in text for each in told["criteria"])


def test_each_criterion_shows_the_number_that_decides_it(results):
    lines = printed(results, "utf-8")["energy-levels"]
    (jumps,) = (line for line in lines if "more than if steady" in line)
    measures = {each["key"]: each for each in STORED["energy-levels"]["measures"]}
    each = measures["late_jumps_per_run"]
    assert jumps.split()[-5:] == [
        f"{each['value']:.3g}", "jumps", f"[{each['low']:.3g},", f"{each['high']:.3g}]", f"{each['null']:.3g}",
    ]  # fmt: skip
    (inside,) = (line for line in lines if "Late fall lies in jumps" in line)
    assert f"{100 * measures['late_decrease_inside_events']['value']:.3g} %" in inside


def test_the_texts_of_every_experiment_are_short_enough():
    for each in experiments.listed():
        assert 0 < len(each.question) <= 44, each.name
        assert each.seconds["quick"] <= 120, each.name
        criteria = STORED[each.name]["criteria"]
        assert all(0 < len(one["title"]) <= 40 and one["measure"] for one in criteria), each.name


def summary(criteria, measures=(), claim="A claim.", answer="", verdict="holds in part", files=("out/summary.json",)):
    paths = tuple(Path(file).absolute() for file in files)
    return Summary(
        "mine", claim, verdict, tuple(criteria), tuple(measures), "A caption.", "default", {}, {}, {}, 5000.0, paths,
        answer=answer,
    )  # fmt: skip


def lines_of(result, monkeypatch, capsys, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    screens.screen(result)
    return capsys.readouterr().out.splitlines()


def test_whatever_a_user_writes_fits_the_screen(monkeypatch, capsys):
    many = [Criterion(f"c{k}", f"Sentence {k} has many words. " * 9, k % 3 > 0) for k in range(30)]
    lines = lines_of(summary(many, claim="A long claim " * 80, answer="So many words " * 60), monkeypatch, capsys)
    assert len(lines) < 24
    assert max(map(cell_len, lines)) <= 80
    shown = sum(line.startswith((" ✓", " ✗")) for line in lines)
    left = 30 - shown
    (rest,) = (line for line in lines if "more criteria" in line)
    assert rest.strip() == f"{left} more criteria, {sum(k % 3 == 0 for k in range(shown, 30))} of them not passed"
    assert lines[-2].startswith("Files    out/: summary.json")
    assert lines[-1].startswith("Took 83 min.")


def test_few_criteria_without_titles_are_shown_in_full(monkeypatch, capsys):
    text = "In all runs of the ensemble the loss of the model falls below a third of the loss of zero weights."
    measures = [Measure("fall", "fall", 0.25, "", 0.2, 0.3, 8, 0.33)]
    lines = lines_of(summary([Criterion("falls", text, True, measure="fall")], measures), monkeypatch, capsys)
    joined = " ".join(line[:50] for line in lines)
    assert text in " ".join(joined.replace("✓", "").split())
    assert any(line.split()[-4:] == ["0.25", "[0.2,", "0.3]", "0.33"] for line in lines)


def test_a_result_of_an_earlier_version_is_shown(tmp_path, monkeypatch, capsys):
    told = json.loads(json.dumps(STORED["pair"])) | {"schema": 2}
    del told["question"], told["answer"]
    for each in told["criteria"]:
        del each["title"], each["measure"]
    (tmp_path / "summary.json").write_text(json.dumps(told))
    text = " ".join(" ".join(lines_of(Summary.read(tmp_path), monkeypatch, capsys)).split())
    assert text.startswith("pair, quick form Claim Of two correlated features")
    assert told["criteria"][0]["text"] in text
    assert "measured" not in text


@pytest.mark.parametrize("width", [0, 30, 40, 60, 300])
def test_any_width_will_do(width, tmp_path, monkeypatch, capsys):
    (tmp_path / "summary.json").write_text(json.dumps(STORED["energy-levels"]))
    monkeypatch.chdir(tmp_path)  # a path is never broken, however long it is
    result = Summary.read(tmp_path)
    lines = lines_of(result, monkeypatch, capsys, width)
    assert any("HOLDS IN PART" in line for line in lines)
    if width >= 60:
        assert max(map(cell_len, lines)) <= min(width, 100)


def test_run_with_all_prints_everything(monkeypatch, capsys):
    result = summary([Criterion("falls", "It falls.", True)], [Measure("fall", "fall of the loss", 0.25, "")])
    experiment = SimpleNamespace(name="mine", run=lambda *_, **__: result)
    monkeypatch.setattr(experiments, "get", lambda _: experiment)
    for options, shown in (((), False), (("--all",), True)):
        with pytest.raises(SystemExit) as left:
            cli.app(["run", "mine", *options])
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert "Verdict  HOLDS IN PART" in out
        assert ("fall of the loss" in out) == shown


def test_not_tested_is_said_and_no_criterion_is_needed(monkeypatch, capsys):
    lines = lines_of(summary([], verdict="not tested"), monkeypatch, capsys)
    assert "Verdict  NOT TESTED  (the runs give nothing to compare with the criteria)" in lines


def test_all_measures_stand_in_groups_by_the_first_part_of_their_keys(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    keys = ("runs", "n20.jumps", "n20.drops", "small.octahedra", "n40.jumps", "n40.drops")
    measures = [Measure(key, f"name of {key}", number + 100, "runs") for number, key in enumerate(keys)]
    screens.everything(summary([Criterion("falls", "It falls.", False, "falls", "n40.jumps")], measures))
    out = capsys.readouterr().out
    order = [
        "It falls.", "104 (runs)", "decided by: name of n40.jumps", "Measures", "name of runs",
        "name of small.octahedra", "\nn20", "name of n20.jumps", "name of n20.drops", "\nn40", "A caption.",
    ]  # fmt: skip
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    assert all(out.count(str(number + 100)) == 1 + (number == 4) for number in range(len(keys)))


def test_list_has_a_line_for_each_experiment_with_its_time(tmp_path):
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "tegum", "list"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    for each in experiments.listed():
        (line,) = (line for line in lines if line.startswith(f"{each.name} "))
        assert each.question in line
        assert duration(each.seconds["quick"]) in line
