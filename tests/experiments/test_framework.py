import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from matplotlib.figure import Figure

import tegum as tg
from tegum import experiments, screens
from tegum.experiments.framework import Experiment, Findings, verdict
from tegum.experiments.reporting import Measure, by_key, weakest
from tegum.experiments.summary import Criterion, Summary
from tegum.experiments.varied import ANY
from tegum.progress.displays import Display
from tegum.progress.tasks import Stage
from tegum.training.dataset import spec_of
from tegum.training.engine import TrainingInterrupted

FILES = ["run.zarr", "test-framework.png", "test-framework.svg", "findings.npz", "test-framework.html", "summary.json"]


class Tiny(Experiment):
    """Two runs of three features, over in no time."""

    claim: ClassVar[str] = "Losses fall."
    varies: ClassVar = {"training.steps": ANY, "seeds": ANY}

    def trainings(self, size):
        steps = {"quick": 20, "default": 40, "full": 80}[size]
        return {
            "run": tg.Spec(
                features=[tg.Independent(3, density=0.5)],
                hidden=2,
                training=tg.Sampled(steps=steps, batch=64, evaluation=64),
                snapshots=4,
                seeds=2,
                base_seed=5,
            )
        }

    def analyse(self, runs):
        fall = runs["run"].loss.isel(step=0) - runs["run"].loss.isel(step=-1)
        measures = (
            Measure("fall", "fall", float(fall.mean()), "loss, sum over features", n=2),
            Measure("none", "none", np.nan, "1"),
        )
        return Findings(measures, (Criterion("falls", "It falls.", bool(fall.mean() > 0)),), "Nothing to see.", shown=7)

    def draw(self, runs, findings):
        assert findings.shown == 7
        figure = Figure()
        figure.subplots().plot(runs["run"].step, runs["run"].loss.T)
        return figure


class Broken(Tiny):
    def analyse(self, runs):
        raise ZeroDivisionError(runs)


class Several(Tiny):
    def trainings(self, size):
        (spec,) = super().trainings(size).values()
        return {"one": spec, "two": [spec, spec.replace(base_seed=6)]}

    def analyse(self, runs):
        assert dict(runs["two"].sizes)["spec"] == 2
        return super().analyse({"run": runs["one"]})

    def draw(self, runs, findings):
        return super().draw({"run": runs["one"]}, findings)


class Staged(Tiny):
    """Goes on from where its runs end, and once more from where these end."""

    stages = ("second", "third")

    def further(self, runs):
        given, last = {}, "run"
        for name in self.stages:
            if last in runs:
                end = runs[last].isel(step=-1)
                training = tg.Sampled(steps=10, batch=64, evaluation=64)
                given[name] = spec_of(runs[last]).continued_from(
                    end["weights"].values, end["bias"].values, training=training, snapshots=2
                )
            last = name
        return given


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("result") / "made" / "here"
    return Tiny().run(out, size="quick"), out


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_makes_the_folder_and_writes_its_files_and_nothing_else(result):
    summary, out = result
    assert names_in(out) == sorted(FILES)
    assert list(summary.files) == [out / file for file in FILES]
    assert (out / "test-framework.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "test-framework.svg").read_text().startswith("<?xml")
    assert tg.load(out / "run.zarr").sizes["step"] == 5


def test_a_summary_is_read_again_also_one_without_keys(result, tmp_path):
    summary, out = result
    again = Summary.read(out)
    assert json.dumps(again.to_json()) == json.dumps(summary.to_json())
    assert again.files == summary.files
    told = summary.to_json()
    del told["schema"]
    for each in (*told["measures"], *told["criteria"]):
        del each["key"]
    # Version 3 has added these.
    del told["question"], told["answer"]
    for each in told["criteria"]:
        del each["title"], each["measure"]
    told["measures"][0]["name"] = "Fall of the loss, 95 %"
    (tmp_path / "summary.json").write_text(json.dumps(told))
    first = Summary.read(tmp_path)
    assert [each.key for each in first.measures] == ["a_fall_of_the_loss_95", "a_none"]
    assert [each.key for each in first.criteria] == ["a_it_falls"]
    assert first.measures[0].value == summary.measures[0].value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not the summary of an experiment"),
        ("[]", "is not the summary of an experiment"),
        ('{"name": "a"}', "is not the summary of an experiment"),
        ('{"schema": 4}', r"its schema is 4; this version of tegum reads up to 3"),
    ],
)
def test_what_is_no_summary_is_refused_in_a_sentence(tmp_path, text, sentence):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=rf"^Summary\.read\('.*'\): .*{sentence}"):
        Summary.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no summary\.json in it"):
        Summary.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changed",
    [
        {"size": "huge"}, {"size": []}, {"verdict": "maybe"}, {"verdict": None}, {"wall_time_s": "x"},
        {"wall_time_s": None}, {"wall_time_s": math.nan}, {"answer": 3}, {"further_captions": [1]},
        {"further_captions": {"a": 1}}, {"name": 3}, {"caption": None}, {"files": [3]}, {"files": None}, {"source": 3},
        {"spec": 3}, {"versions": []}, {"schema": "3"}, {"measures": [3]}, {"measures": [{"key": "a"}]},
        {"measures": [{"key": "a", "name": "a", "value": "x", "unit": ""}]},
        {"measures": [{"key": "a", "name": 3, "value": 1, "unit": ""}]},
        {"criteria": [{"key": "A!", "text": "a", "passed": True}]},
        {"criteria": [{"key": "a", "text": "a", "passed": True, "measure": []}]},
        {"criteria": [{"text": 3, "passed": True}]},
    ],
)  # fmt: skip
def test_a_summary_with_a_value_of_another_kind_is_refused_in_a_sentence(result, tmp_path, changed):
    (tmp_path / "summary.json").write_text(json.dumps(result[0].to_json() | changed))
    with pytest.raises(ValueError, match=r"^Summary\.read\('.*'\): summary\.json is not the summary of an experiment$"):
        Summary.read(tmp_path)


@pytest.mark.parametrize("key", ["", "A", "two words", "a.", ".a", "1a", "a-b", "ä"])
def test_a_key_is_an_identifier(key):
    with pytest.raises(ValueError, match="must be words of a-z"):
        Measure(key, "a", 1, "1")
    with pytest.raises(ValueError, match="must be words of a-z"):
        Criterion(key, "a", True)


def test_a_criterion_names_a_measure_that_is_there():
    measure = Measure("fall", "fall", 1, "")
    assert (
        Findings((measure,), (Criterion("falls", "It falls.", True, "falls", "fall"),), "").criteria[0].measure
        == "fall"
    )
    with pytest.raises(ValueError, match=r"^Findings\(criteria\): criterion 'falls': its measure 'rise' is not one of"):
        Findings((measure,), (Criterion("falls", "It falls.", True, measure="rise"),), "")


def test_a_number_is_short_enough_for_a_narrow_table():
    assert Measure("a", "a", 0.8182, "share", 0.5234, 0.9486, 11, 0.05).parts() == ("81.8 %", "[52.3, 94.9]", "5 %")
    assert Measure("a", "a", 1, "changes").parts() == ("1 change", "", "")
    assert Measure("a", "a", 0, "pairs", null=2.5).parts() == ("0 pairs", "", "2.5")
    assert Measure("a", "a", 0.0334, "loss, sum over features").parts() == ("0.0334", "", "")
    assert Measure("a", "a", None, "share", null=0.1).parts() == ("not measured", "", "")


def test_the_weakest_measure_lies_least_above_its_null():
    measured = {
        "high": Measure("high", "a", 0.9, "share", 0.8, 1.0, null=0.1),
        "low": Measure("low", "a", 0.95, "share", 0.5, 1.0, null=0.4),
    }
    assert weakest(measured, ["high", "low", "missing"]) == "low"
    measured["none"] = Measure("none", "a", None, "share")
    assert weakest(measured, measured) == "none"
    assert weakest(measured, ()) is None


def test_two_measures_with_one_key_are_refused():
    one, other = Measure("a", "one", 1, "1"), Measure("a", "other", 2, "1")
    assert by_key([one]) == {"a": one}
    with pytest.raises(ValueError, match=r"'one' and 'other' have the same key, 'a'"):
        by_key([one, other])


def test_the_summary_tells_everything(result):
    summary, out = result
    told = json.loads((out / "summary.json").read_text())
    assert told == json.loads(json.dumps(summary.to_json()))
    assert (told["name"], told["claim"], told["verdict"], told["size"]) == (
        "test-framework",
        "Losses fall.",
        "holds",
        "quick",
    )
    falls = {"key": "falls", "text": "It falls.", "passed": True, "title": "", "measure": None, "needs": ""}
    assert told["criteria"] == [falls]
    fall = told["measures"][0]
    run = tg.load(out / "run.zarr")
    assert fall["value"] == pytest.approx(float((run.loss[:, 0] - run.loss[:, -1]).mean()))
    assert (fall["name"], fall["unit"], fall["n"]) == ("fall", "loss, sum over features", 2)
    assert told["measures"][1]["value"] is None
    assert tg.Spec.from_json(told["spec"]["run"]) == Tiny().trainings("quick")["run"]
    assert told["seed"] == {"run": 5}
    assert {"python", "tegum", "numpy", "numba", "matplotlib"} <= set(told["versions"])
    assert 0 < told["wall_time_s"] < 600
    assert told["files"] == FILES
    assert told["caption"] == "Nothing to see."


def test_an_answer_that_utf_8_cannot_write_costs_no_result(tmp_path, capsys):
    class Odd(Tiny):
        def analyse(self, runs):
            return dataclasses.replace(super().analyse(runs), answer="half a letter: \udc80")

    Odd().run(tmp_path, size="quick")
    again = Summary.read(tmp_path)
    assert again.answer == "half a letter: \udc80"
    screens.screen(again)
    assert r"half a letter: \udc80" in capsys.readouterr().out


def test_changes_reach_the_spec(tmp_path):
    segments = []
    summary = Tiny().run(tmp_path, changes=["training.steps=12", "seeds=3"], progress=segments.append)
    assert summary.spec["run"]["training"]["steps"] == 12
    assert tg.load(tmp_path / "run.zarr").sizes["seed"] == 3
    assert segments[-1].state.step == 12


def test_measuring_and_drawing_are_shown_beside_training(tmp_path, monkeypatch):
    titles: list[str] = []

    class Titles(Display):
        delay, every = 0.0, 60.0

        def show(self, said):
            titles.append(said.title)

        def finished(self, said):
            titles.append(said.title)

    monkeypatch.setattr("tegum.progress.showing.choose_display", lambda **_: Titles())
    monkeypatch.setattr(Stage, "noted", True)
    Tiny().run(tmp_path / "loud")
    assert [title for title in titles if ": " in title] == [
        f"test-framework (default): {what}" for what in ("training 2 runs", "measuring", "drawing")
    ]
    titles.clear()
    Tiny().run(tmp_path / "silent", progress=False)
    assert titles == []


def test_an_earlier_result_is_refused_before_training_and_replaced_on_demand(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    first = Tiny().run(tmp_path, size="quick")
    before = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(FileExistsError, match=r"holds run.zarr already; overwrite=True \(on the command line"):
        Tiny().run(tmp_path, progress=lambda _: pytest.fail("it trained"))
    assert (tmp_path / "summary.json").read_bytes() == before
    second = Tiny().run(tmp_path, overwrite=True)
    assert first.spec["run"]["training"]["steps"] == 20
    assert second.spec["run"]["training"]["steps"] == 40
    assert int(tg.load(tmp_path / "run.zarr").step[-1]) == 40
    assert names_in(tmp_path) == sorted([*FILES, "notes.txt"])


STAGED = ["run.zarr", "second.zarr", "third.zarr", *FILES[1:]]


def stopped_in(stage):
    """Progress of a run that is interrupted in one of its trainings."""
    begun = []

    def interrupt(segment):
        if segment.start == 0:
            begun.append(segment)
        if len(begun) == stage:
            raise KeyboardInterrupt

    return interrupt


def test_what_follows_from_trainings_is_trained_kept_and_gone_on_with(tmp_path):
    summary = Staged().run(tmp_path / "whole", size="quick", changes=["seeds=3"])
    assert [file.name for file in summary.files] == STAGED
    assert names_in(tmp_path / "whole") == sorted(STAGED)
    assert set(summary.spec) == set(summary.seed) == {"run"}
    runs = {name: tg.load(tmp_path / "whole" / f"{name}.zarr") for name in ("run", "second", "third")}
    for before, after in (("run", "second"), ("second", "third")):
        assert runs[after].sizes["seed"] == 3
        np.testing.assert_array_equal(runs[after].weights.isel(step=0), runs[before].weights.isel(step=-1))
    out = tmp_path / "out"
    with pytest.raises(TrainingInterrupted):
        Staged().run(out, size="quick", changes=["seeds=3"], progress=stopped_in(2))
    assert names_in(out / "partial") == ["run.zarr", "second.partial.zarr", "unfinished.json"]
    with pytest.raises(FileExistsError, match="holds an unfinished result"):
        Staged().run(out, size="quick", changes=["seeds=3"])
    first = []
    Staged().run(out, size="quick", changes=["seeds=3"], resume=True, progress=first.append)
    assert [segment.state.step for segment in first if segment.state.step == segment.steps] == [10, 10]
    assert names_in(out) == sorted(STAGED)
    for name, run in runs.items():
        assert tg.load(out / f"{name}.zarr").drop_attrs().identical(run.drop_attrs())
    by_hand = Staged().train_all(Staged().changed("quick", ["seeds=3"]))
    assert list(by_hand) == ["run", "second", "third"]
    np.testing.assert_array_equal(by_hand["third"].weights, runs["third"].weights)


def test_of_a_replaced_result_no_trajectory_is_left(tmp_path, monkeypatch):
    Staged().run(tmp_path, size="quick")
    (tmp_path / "mine.zarr").mkdir()
    monkeypatch.setattr(Staged, "stages", ("second",))
    with pytest.raises(ZeroDivisionError):
        Staged().run(tmp_path, size="quick", overwrite=True, progress=lambda _: 1 / 0)
    assert set(names_in(tmp_path)) == {*STAGED, "mine.zarr", "partial"}
    Staged().run(tmp_path, size="quick", overwrite=True)
    assert names_in(tmp_path) == sorted({*STAGED, "mine.zarr"} - {"third.zarr"})


def test_what_stands_under_a_name_that_follows_is_left_alone(tmp_path):
    (tmp_path / "second.zarr").mkdir()
    (tmp_path / "second.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds second\.zarr already"):
        Staged().run(tmp_path, size="quick")
    assert names_in(tmp_path / "partial") == ["run.zarr"]
    with pytest.raises(FileExistsError, match=r"second\.zarr': what is at this path is not a tegum store"):
        Staged().run(tmp_path, size="quick", overwrite=True)
    assert names_in(tmp_path / "second.zarr") == ["notes.txt"]
    assert not (tmp_path / "run.zarr").exists()


def test_a_note_that_is_none_of_ours_is_left_alone(tmp_path):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "unfinished.json").write_text('{"mine": 1}')
    with pytest.raises(FileExistsError, match=r"holds unfinished\.json, which is not part"):
        Staged().run(tmp_path, size="quick", overwrite=True)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, r'further\(runs\) must give Specs by their names, such as \{"run": spec\}, not NoneType'),
        ({"a/b": []}, r"further\(runs\) names a training 'a/b': use only letters, digits, - and _"),
        ({"next": 3}, r"further\(runs\)\['next'\] must be a Spec, or a list of Specs"),
        ({"next": []}, r"further\(runs\)\['next'\] must be a Spec, or a list of Specs"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(tmp_path, monkeypatch, given, sentence):
    monkeypatch.setattr(Staged, "further", lambda *_: given)
    with pytest.raises(ValueError, match=f"^test-framework: {sentence}"):
        Staged().run(tmp_path, size="quick")


def test_an_analysis_that_returns_nothing_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "analyse", lambda *_: None)
    with pytest.raises(ValueError, match=r"^test-framework: analyse\(runs\) must return Findings, not NoneType"):
        Tiny().run(tmp_path, size="quick")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file; a result is a folder"):
        Tiny().run(tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"changes": ["hidden=3"]}, "hidden cannot be changed here"), ({"size": "huge"}, "size must be")],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tiny().run(tmp_path / "out", **options)
    assert names_in(tmp_path) == []


def test_an_error_while_training_keeps_what_was_trained(tmp_path):
    def fail(_):
        raise RuntimeError

    with pytest.raises(RuntimeError) as raised:
        Tiny().run(tmp_path / "out", progress=fail)
    assert names_in(tmp_path / "out" / "partial") == ["run.partial.zarr"]
    assert "run.partial.zarr', and resume=True (--resume) continues it" in raised.value.__notes__[0]


def test_an_error_in_the_analysis_keeps_the_trajectory_and_makes_no_summary(tmp_path):
    with pytest.raises(ZeroDivisionError) as raised:
        Broken().run(tmp_path / "out")
    assert "what was trained is kept in" in raised.value.__notes__[0]
    assert names_in(tmp_path / "out") == ["partial"]
    assert names_in(tmp_path / "out" / "partial") == ["run.zarr"]
    assert tg.load(tmp_path / "out" / "partial" / "run.zarr").sizes["seed"] == 2


def test_an_interruption_keeps_what_was_done_and_goes_on_up(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as raised:
        Tiny().run(tmp_path / "out", progress=interrupt)
    assert "what was done (step 1 of 40) is kept in" in raised.value.__notes__[0]
    kept = tg.load(tmp_path / "out" / "partial" / "run.partial.zarr")
    assert kept.drop_vars([name for name in kept if str(name).startswith("state_")]).equals(raised.value.run)
    assert set(kept.result.values) == {"interrupted"}
    assert np.isfinite(kept.weights.isel(step=0)).all()
    assert names_in(tmp_path / "out") == ["partial"]


def test_an_interruption_while_replacing_leaves_the_former_result_as_it_is(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    Tiny().run(tmp_path, size="quick")
    before = {file: (tmp_path / file).read_bytes() for file in FILES if not file.endswith(".zarr")}
    with pytest.raises(TrainingInterrupted):
        Tiny().run(tmp_path, overwrite=True, progress=interrupt)
    assert names_in(tmp_path) == sorted([*FILES, "partial"])
    assert {file: (tmp_path / file).read_bytes() for file in before} == before
    assert int(tg.load(tmp_path / "run.zarr").step[-1]) == 20


def test_an_unfinished_result_is_gone_on_with_and_not_replaced_unasked(tmp_path):
    def interrupt(segment):
        if segment.state.step > 5:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        Tiny().run(tmp_path / "out", progress=interrupt)
    with pytest.raises(FileExistsError, match=r"holds an unfinished result; resume=True \(--resume\) continues it"):
        Tiny().run(tmp_path / "out")
    first = []
    Tiny().run(tmp_path / "out", resume=True, progress=first.append)
    assert first[0].start > 5
    assert names_in(tmp_path / "out") == sorted(FILES)
    Tiny().run(tmp_path / "whole")
    resumed, whole = tg.load(tmp_path / "out" / "run.zarr"), tg.load(tmp_path / "whole" / "run.zarr")
    assert resumed.drop_attrs().identical(whole.drop_attrs())


def test_of_an_unfinished_result_what_is_trained_is_not_trained_again(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Broken().run(tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        Broken().run(tmp_path / "out", resume=True, progress=lambda _: pytest.fail("it trained"))
    with pytest.raises(ValueError, match="belongs to another Spec; remove it to start again"):
        Broken().run(tmp_path / "out", resume=True, changes=["seeds=3"])
    Tiny().run(tmp_path / "out", overwrite=True)
    assert names_in(tmp_path / "out") == sorted(FILES)


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_a_users_own_folder_named_partial_is_left_alone(tmp_path, options):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, which is not part of an unfinished result"):
        Tiny().run(tmp_path, progress=lambda _: pytest.fail("it trained"), **options)
    assert names_in(tmp_path / "partial") == ["notes.txt"]


def test_what_is_in_a_store_and_not_of_it_is_left_alone(tmp_path):
    Tiny().run(tmp_path / "out", size="quick")
    for place in ("run.zarr", "partial/run.partial.zarr"):
        (tmp_path / "out" / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / place / "notes.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=r"^test-framework: .*notes\.txt"):
            Tiny().run(tmp_path / "out", overwrite=True, progress=lambda _: pytest.fail("it trained"))
        (tmp_path / "out" / place / "notes.txt").unlink()


def test_what_comes_while_it_works_is_not_removed(tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out" / "partial"
    Tiny().run(out, size="quick", progress=lambda _: (partial / "notes.txt").write_text("mine"))
    assert names_in(out) == sorted([*FILES, "partial"])
    assert names_in(partial) == ["notes.txt"]


def test_an_empty_unfinished_result_is_none(tmp_path):
    """As a run leaves it that is killed before anything was kept; also one killed while that was written."""
    (tmp_path / "out" / "partial" / ".run.partial.zarr.01234567.part").mkdir(parents=True)
    Tiny().run(tmp_path / "out", size="quick")
    assert names_in(tmp_path / "out") == sorted(FILES)
    (tmp_path / "other" / "partial").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError):
        Tiny().run(tmp_path / "other", progress=lambda _: 1 / 0)
    Tiny().run(tmp_path / "other", resume=True)
    assert names_in(tmp_path / "other") == sorted(FILES)


@pytest.mark.parametrize("moved", range(len(FILES)))
def test_a_result_that_was_killed_on_its_way_to_its_place_arrives_with_the_next_call(tmp_path, moved):
    """Each of the renames may have been the last."""
    old, new = tmp_path / "out", tmp_path / "new"
    Tiny().run(old, size="quick")
    (old / "notes.txt").write_text("mine")
    Tiny().run(new)
    new.rename(old / "partial")
    names = [*sorted(file for file in FILES if file != "summary.json"), "summary.json"]
    for name in names[:moved]:
        if (old / name).is_dir():
            (old / name).rename(old / "partial" / f"{name}.old")
        (old / "partial" / name).replace(old / name)
    with pytest.raises(FileExistsError, match="already"):
        Tiny().run(old)
    assert names_in(old) == sorted([*FILES, "notes.txt"])
    assert json.loads((old / "summary.json").read_text())["spec"]["run"]["training"]["steps"] == 40
    assert int(tg.load(old / "run.zarr").step[-1]) == 40


def test_an_experiment_may_train_several_times(tmp_path):
    summary = Several().run(tmp_path, size="quick", changes=["seeds=3"])
    assert names_in(tmp_path) == sorted(["one.zarr", "two.zarr", *FILES[1:]])
    assert summary.seed == {"one": 5, "two": [5, 6]}
    assert [spec["seeds"] for spec in (summary.spec["one"], *summary.spec["two"])] == [3, 3, 3]


def test_the_verdict_is_that_of_the_criteria():
    passed, failed = Criterion("a", "a", True), Criterion("b", "b", False)
    assert verdict([passed, passed]) == "holds"
    assert verdict([passed, failed]) == "holds in part"
    assert verdict([failed]) == "does not hold"
    with pytest.raises(ValueError, match="a claim needs at least one criterion"):
        verdict([])


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure("a", "a", 0.8182, "1", 0.5234, 0.9486, 11, 0.05), "0.818 [0.523, 0.949], null 0.05"),
        (Measure("a", "a", 3, "run"), "3"),
        (Measure("a", "a", 12_345, "step"), "12,345"),
        (Measure("a", "a", 12_345.6, "step"), "12,346"),
        (Measure("a", "a", 1.2345e-5, "loss"), "1.23e-05"),
        (Measure("a", "a", None, "1", null=0.05), "not measured"),
        (Measure("a", "a", float("nan"), "1"), "not measured"),
    ],
)
def test_a_measure_as_text(measure, text):
    assert measure.text() == text


def test_experiments_are_found_by_their_files():
    assert "energy-levels" in experiments.names()
    assert not {"framework", "folder", "reporting"} & set(experiments.names())
    for name in experiments.names():
        experiment = experiments.get(name)
        assert experiment.name == name
        assert experiments.claims()[name] == experiment.claim


@pytest.mark.parametrize("name", experiments.names())
def test_an_experiment_has_its_protocol_beside_it(name):
    """With the claim that it is run under, word for word."""
    experiment = experiments.get(name)
    text = Path(str(sys.modules[type(experiment).__module__].__file__)).with_name("PROTOCOL.md").read_text()
    assert text.startswith(f"# {name}: the protocol\n")
    assert experiment.claim in " ".join(text.split())
    assert {"## Claim", "## Quotation", "## Criteria"} <= set(text.splitlines())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "energy-level",
            "experiment 'energy-level': there is no experiment of this name; did you mean 'energy-levels'?",
        ),
        ("energy_levels", "did you mean 'energy-levels'?"),
        ("framework", "experiment 'framework': there is no experiment of this name"),
        ("qqq", "known are collapse, "),
    ],
)
def test_an_unknown_experiment_is_refused_with_the_nearest(name, sentence):
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        experiments.get(name)


def test_finding_experiments_and_their_claims_loads_nothing_heavy():
    code = (
        "import sys; from tegum import experiments; experiments.claims(); "
        "print(*{'jax', 'numba', 'matplotlib', 'xarray', 'zarr', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
