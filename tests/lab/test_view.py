"""`tg.view` as Python sees it: what is linked, what a notebook keeps, what is refused. Browsers: tests/notebooks."""

from __future__ import annotations

import base64
import gc
import re
import weakref
from html import unescape
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import tegum as tg
from tegum.lab.films import films, packed
from tegum.lab.framed import LabFrame, kept

TRAINING = tg.Sampled(steps=20, batch=16, evaluation=16)


SPEC = tg.Spec(features=[tg.Independent(5, 0.1)], hidden=2, seeds=3, training=TRAINING, snapshots=5)


@pytest.fixture(scope="module")
def run() -> Any:
    return tg.train(SPEC, progress=False)


@pytest.fixture
def shown(run: Any) -> Any:
    shown = tg.view(run)
    yield shown
    shown.close()


def test_it_begins_at_the_last_step_of_the_first_run(shown):
    assert (shown.step, shown.selection, shown.run, shown.spec) == (20, None, 0, 0)
    assert repr(shown) == "<tegum lab: 3 of 3 runs, 6 of 6 recorded steps>"


def test_what_is_linked_is_what_the_browser_is_told(shown, run):
    state = shown.get_state()
    own = {name: value for name, value in state.items() if name in ("step", "selection", "run", "spec", "_height")}
    assert own == {"step": 20, "selection": None, "run": 0, "spec": 0, "_height": 800}
    # Films are bytes, which travel as they are, and not as text.
    assert state["_films"] == packed(films(run))
    assert state["_films"].startswith(b"tegum film 1\n")


def test_the_browser_sets_what_cells_read(shown):
    told = []
    shown.observe(lambda change: told.append((change.name, change.new)), ["step", "selection", "run"])
    shown.set_state({"step": 8, "selection": 4, "run": 2})
    assert (shown.step, shown.selection, shown.run) == (8, 4, 2)
    assert told == [("step", 8), ("selection", 4), ("run", 2)]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("step", 21, "step must be an int from 0 to 20"),
        ("step", -1, "step must be an int from 0 to 20"),
        ("step", 2.0, "step must be an int from 0 to 20"),
        ("step", True, "step must be an int from 0 to 20"),
        ("step", None, "step must be an int from 0 to 20"),
        ("selection", 5, "selection must be None or an int from 0 to 4"),
        ("selection", "0", "selection must be None or an int from 0 to 4"),
        ("run", 3, "run must be one of [0, 1, 2]"),
        ("spec", 1, "spec must be an int from 0 to 0"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(shown, name, value, rule):
    before = getattr(shown, name)
    with pytest.raises(ValueError, match="must be") as refused:
        setattr(shown, name, value)
    assert str(refused.value) == f"view(run).{name} = {value!r}: {rule}"
    assert getattr(shown, name) == before
    assert getattr(shown, name) is before


def test_integers_of_numpy_are_integers(shown):
    shown.step = np.int64(8)
    shown.selection = np.uint8(3)
    assert (shown.step, shown.selection) == (8, 3)
    assert type(shown.step) is type(shown.selection) is int


def test_runs_and_steps_are_chosen_as_for_films(run):
    shown = tg.view(run, seeds=[2, 1], every=2, height=400)
    assert shown.run == 2
    assert repr(shown) == "<tegum lab: 2 of 3 runs, 4 of 6 recorded steps>"
    assert shown.get_state()["_films"] == packed(films(run, seeds=[2, 1], every=2))
    assert shown.get_state()["_height"] == 400
    with pytest.raises(ValueError, match=re.escape("view(run).run = 0: run must be one of [2, 1]")):
        shown.run = 0
    shown.close()


def test_several_specs_are_told_apart():
    shown = tg.view(tg.train(tg.grid(SPEC, rate=[0.01, 0.1]), progress=False))
    shown.spec = 1
    assert repr(shown) == "<tegum lab: 3 of 3 runs, 6 of 6 recorded steps, of each of 2 Specs>"
    with pytest.raises(ValueError, match=re.escape("view(run).spec = 2: spec must be an int from 0 to 1")):
        shown.spec = 2
    shown.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"height": 100}, "view(height=100): height must lie between 240 and 4000"),
        ({"every": 0}, "view(every=0): every must be at least 1"),
        ({"seeds": [7]}, "view(seeds=7): there is no such run; the runs are 0 to 2"),
        ({"seeds": []}, "view(seeds=[]): there must be at least one run, and none twice"),
    ],
)
def test_wrong_arguments_are_refused(run, arguments, sentence):
    with pytest.raises(ValueError, match="view") as refused:
        tg.view(run, **arguments)
    assert str(refused.value) == sentence


def outputs(shown: Any) -> list[Any]:
    """What a notebook gets when a cell ends with it."""
    shell = InteractiveShell.instance()
    try:
        shell.kernel = object()  # type: ignore[attr-defined]
        with capture_output() as captured:
            shown._ipython_display_()
    finally:
        InteractiveShell.clear_instance()
    assert captured.stdout == ""
    return [each.data for each in captured.outputs]


def test_a_notebook_keeps_the_page_and_is_handed_the_widget(shown):
    page, widget = outputs(shown)
    assert widget["application/vnd.jupyter.widget-view+json"]["model_id"] == shown.model_id
    assert widget["text/plain"] == ""
    assert page["text/plain"] == repr(shown)
    html = page["text/html"]
    assert f'data-of="{shown.get_state()["_of"]}"' in html
    assert "height: 800px" in html
    (whole,) = re.findall(r'srcdoc="([^"]*)"', html)
    whole = unescape(whole)
    assert whole.startswith("<!doctype html>")
    (data,) = re.findall(r'<script type="text/x-tegum-films">([^<]*)</script>', whole)
    assert base64.b64decode(data) == shown.get_state()["_films"]
    assert f"in a page of {len(whole) / 1e6:.1f} MB" in " ".join(html.split())
    assert "step=20" in re.findall(r'address="([^"]*)"', whole)[0]


def test_in_a_terminal_it_is_a_line(shown):
    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            shown._ipython_display_()
    finally:
        InteractiveShell.clear_instance()
    assert not hasattr(shell, "kernel")
    assert [each.data["text/plain"] for each in captured.outputs] == [repr(shown)]


def test_of_large_films_a_notebook_keeps_a_part(monkeypatch):
    large = tg.train(
        SPEC.replace(features=[tg.Independent(400, 0.1)], hidden=20, seeds=20, snapshots=20), progress=False
    )
    whole = films(large)
    assert len(packed(whole)) > 3_000_000
    part = kept(large, whole)
    steps, runs = part[0].header["steps"], [each["run"] for each in part[0].header["runs"]]
    assert 700_000 < len(packed(part)) < 1_600_000
    assert steps == whole[0].header["steps"] == [*range(21)]
    assert runs == [*range(len(runs))]
    # Of a single run that is too large it keeps some steps.
    monkeypatch.setattr("tegum.lab.framed._MOST_KEPT", 100_000)
    part = kept(large, whole)
    steps, runs = part[0].header["steps"], [each["run"] for each in part[0].header["runs"]]
    assert 40_000 < len(packed(part)) < 150_000
    assert runs == [0]
    assert (steps[0], steps[-1]) == (0, 20)


def test_what_is_closed_holds_nothing(run):
    shown = tg.view(run)
    shown.close()
    assert shown.comm is None
    assert shown._films == b""
    with capture_output() as captured:
        shown._ipython_display_()
    assert captured.outputs == []
    gone = weakref.ref(shown)
    del shown
    gc.collect()
    assert gone() is None


def test_without_the_extra_the_page_is_shown(run, monkeypatch):
    monkeypatch.setattr("tegum.lab.view.find_spec", lambda _: None)
    page = tg.view(run, seeds=[1])
    assert isinstance(page, LabFrame)
    html = page._repr_html_()
    assert "pip install 'tegum[notebook]'" in html
    assert repr(page) == "<tegum lab: 1 of 3 runs, 6 of 6 recorded steps>"
    sentence = "a page cannot be asked; for a widget that can, pip install 'tegum[notebook]'"
    for name in ("step", "selection", "run", "spec"):
        with pytest.raises(AttributeError, match=re.escape(f"view(run).{name}: {sentence}")):
            getattr(page, name)
        with pytest.raises(AttributeError, match=re.escape(f"view(run).{name}: {sentence}")):
            setattr(page, name, 0)
    page.close()
