"""Everything by keyboard alone: no test in this file touches a mouse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browsers import Page, wait


def press(page: Page, *keys: str, held: str | None = None) -> None:
    """Press keys, named as selenium names them or as they are, with another one held down."""
    from selenium.webdriver import ActionChains, Keys

    actions = ActionChains(page.browser)
    if held:
        actions.key_down(getattr(Keys, held))
    for key in keys:
        actions.send_keys(getattr(Keys, key, key))
    if held:
        actions.key_up(getattr(Keys, held))
    actions.perform()


def focused(page: Page) -> Any:
    """What has the focus: its label, or else its text."""
    return page.ask(
        "((at) => at && (at.getAttribute('aria-label') ?? at.closest('label')?.textContent ?? at.textContent).trim())"
        "(root.activeElement)"
    )


def tab_to(page: Page, name: str) -> None:
    """Go on with the tab key until something has the focus whose label or text begins so."""
    for _ in range(120):
        press(page, "TAB")
        if (focused(page) or "").startswith(name):
            return
    pytest.fail(f"the tab key does not lead to {name!r}")


CANVASES = (".scene canvas", ".time.loss", ".time.dimensionality", ".gram")


def pictures(page: Page) -> list[str]:
    """What every view has drawn."""
    return page.ask(f"{json.dumps(CANVASES)}.map((each) => root.querySelector(each).toDataURL())")


def told(page: Page) -> list[str]:
    """The step that every view tells."""
    sliders = page.ask("[...root.querySelectorAll('[role=slider]')].map((each) => each.getAttribute('aria-valuenow'))")
    sentence = page.see(".scene .caption").split(" of ")[0].removeprefix("Step ")
    player = page.see(".player .caption").split(" ")[1]
    return [*sliders, sentence, player]


def test_scrubbing_moves_every_view(small: Page) -> None:
    steps = []
    for keys, held, step in (
        (["END"], None, 200),
        (["HOME"], None, 0),
        (["ARROW_RIGHT", "ARROW_RIGHT"], None, 10),
        (["ARROW_RIGHT"], "CONTROL", 60),
        (["ARROW_LEFT"], None, 55),
    ):
        before = pictures(small)
        press(small, *keys, held=held)
        assert small.ask("store.step.value") == step
        wait(lambda before=before: all(a != b for a, b in zip(pictures(small), before, strict=True)), f"step {step}")
        assert told(small) == [str(step)] * 4
        steps.append(pictures(small))
    press(small, "HOME")
    press(small, "END")
    wait(lambda: pictures(small) == steps[0], "the same step looks the same")


def test_the_time_axis_is_a_slider(small: Page) -> None:
    tab_to(small, "Step, along the loss")
    press(small, "ARROW_RIGHT")
    assert small.ask("store.step.value") == 5
    press(small, "END")
    assert told(small) == ["200"] * 4


def test_playing_and_pausing(small: Page) -> None:
    press(small, "SPACE")
    small.until("store.step.value > 20")
    press(small, "SPACE")
    assert small.ask("store.playing.value") is False
    press(small, "SPACE")
    small.until("store.step.value === 200 && !store.playing.value")


def test_a_branch(small: Page) -> None:
    press(small, *["ARROW_RIGHT"] * 20)
    tab_to(small, "density p")
    press(small, *["ARROW_RIGHT"] * 10)
    tab_to(small, "Branch here")
    press(small, "SPACE")
    small.whole()
    change = {"step": 100, "sets": [{"set": 0, "density": 0.3}]}
    assert small.ask("store.recordings.value.map(({ changes }) => changes)") == [[], [change]]
    same = small.ask(
        "(([one, other]) => one.frames.map(({ weights }, at) => bits(weights) === bits(other.frames[at].weights)))"
        "(store.recordings.value)"
    )
    assert same == [True] * 21 + [False] * 20


def test_a_branch_by_its_own_key(small: Page) -> None:
    press(small, *["ARROW_RIGHT"] * 4)
    press(small, "b")
    assert small.ask("store.recordings.value.length") == 1, "nothing was changed yet"
    tab_to(small, "learning rate")
    press(small, "ARROW_RIGHT", "b")
    assert small.ask("store.recordings.value[1].changes") == [{"step": 20, "rate": 0.0101}]


def test_training_anew(small: Page) -> None:
    tab_to(small, "density p")
    press(small, "ARROW_LEFT")
    tab_to(small, "Train anew")
    press(small, "ENTER")
    small.whole()
    assert small.ask("store.recordings.value.map(({ described }) => described.sets[0].density)") == [0.19]


def test_comparing(small: Page) -> None:
    press(small, "END", "c")
    small.whole()
    assert small.ask("store.recordings.value.map(({ run }) => run)") == [0, 1]
    assert small.see(".one:nth-child(2) h2").startswith("second: run 1")
    assert [frame[0] for frame in small.state()["weights"]] == [200, 200]
    press(small, "x")
    assert small.ask("store.recordings.value.map(({ run }) => run)") == [0]


def test_a_hand_on_an_embedding(small: Page) -> None:
    press(small, "END", "f", "f")
    assert small.ask("store.selected.value") == 1
    press(small, "ARROW_RIGHT", "ARROW_UP", held="ALT")
    small.until("store.hand.value?.loss != null")
    moved = small.ask("[...store.hand.value.weights].map((value, at) => value - store.first.value.posed(40)[at])")
    assert moved[2] > 0.01
    assert moved[3] == pytest.approx(moved[2])
    assert [moved[at] for at in range(10) if at not in (2, 3)] == [0] * 8
    assert small.see(".hand").startswith("Feature 1 is moved: loss ")
    press(small, "ESCAPE")
    assert small.ask("store.hand.value") is None
    press(small, "ARROW_RIGHT", held="ALT")
    press(small, "ENTER")
    small.whole()
    assert small.ask("store.recordings.value.length") == 2
    assert small.ask("store.recordings.value[1].described.trainable.start !== null")


def test_presets(small: Page) -> None:
    tab_to(small, "System")
    press(small, "ARROW_DOWN")
    small.until("store.preset.value?.name === 'octahedron'")
    press(small, "ARROW_DOWN")
    small.until("store.preset.value?.name === 'pentagon'")
    small.until("store.first.value.frames.length > 0")
    assert small.see(".claim h2") == "Five features in two dimensions"


def test_an_ensemble(small: Page) -> None:
    press(small, "e")
    small.until("store.ensemble.value.size === 6")
    wait(lambda: small.see(".ensemble [role=status]").startswith("6 of 6 runs"))
    tab_to(small, "Open run ")
    run = int(focused(small).split(",")[0].removeprefix("Open run "))
    press(small, "ENTER")
    small.whole()
    assert small.ask("store.first.value.run") == run
    assert small.ask(
        "bits(store.first.value.frames[40].weights) === bits(store.ensemble.value.get(store.first.value.run).weights)"
    )


def test_events(small: Page) -> None:
    press(small, *["ARROW_RIGHT"] * 8)
    small.ask("store.branch({ rate: 0.02 })")
    small.ask("store.keep(1)")
    small.whole()
    steps = small.ask("store.events.value.map(({ step }) => step)")
    assert 40 in steps
    press(small, "HOME")
    seen = []
    for _ in steps:
        press(small, "]")
        seen.append(small.ask("store.step.value"))
    assert seen == steps
    press(small, "[")
    assert small.ask("store.step.value") == (steps[-2] if len(steps) > 1 else steps[0])


def test_camera_views_and_axes(small: Page) -> None:
    press(small, "ARROW_LEFT", "ARROW_DOWN", held="SHIFT")
    assert small.ask("store.camera.value") == {"yaw": 0.68, "pitch": 0.43, "zoom": 1}
    press(small, "+", "+", "-")
    assert small.ask("store.camera.value.zoom") == 1.15
    press(small, "1", "4")
    assert small.ask("store.views.value") == ["dimensionality", "gram", "ensemble", "settings", "claim"]
    press(small, "l", "L")
    assert small.ask("store.logarithmic.value") == {"time": True, "loss": False}


def test_what_can_be_opened_is_opened_by_its_own_keys(small: Page) -> None:
    tab_to(small, "How to read this page")
    reading = "root.querySelector('details').open"
    press(small, "SPACE")
    assert small.ask(reading)
    press(small, "ENTER")
    assert not small.ask(reading)
    assert small.ask("store.playing.value") is False


def test_the_list_of_keys(small: Page) -> None:
    tab_to(small, "Keys")
    press(small, "ENTER")
    wait(lambda: focused(small) == "Close")
    dialog = "root.querySelector('.help')"
    assert small.ask(f"{dialog}.textContent").count("select the next or previous feature") == 1
    press(small, "ARROW_RIGHT")
    assert small.ask("store.step.value") == 0, "keys wait while their list is open"
    press(small, "TAB")
    assert focused(small) != "Play"
    press(small, "ESCAPE")
    wait(lambda: small.ask(f"{dialog} === null"))
    assert focused(small) == "Keys"
    press(small, "?")
    wait(lambda: focused(small) == "Close")
    press(small, "?")
    wait(lambda: small.ask(f"{dialog} === null"))
