"""Tables of results in a narrow terminal."""

import pytest

from tegum import screens
from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion, Summary

MEASURES = (
    Measure(
        "m1",
        "representation of correlated features",
        0.8182,
        "1",
        0.5234,
        0.9486,
        11,
        0.05,
        "of dimensionality; p = 0.1",
    ),
    Measure("m2", "drop of the loss", 1.5e-3, "loss, sum over features", 1e-3, 2e-3, 9, meaning="across a late event"),
    Measure("m3", "runs [version0]", 24, "run", n=24),
    Measure("m4", "late swaps", None, "1", n=0, meaning="never"),
    Measure("m5", "time of escape", float("nan"), "1"),
    Measure("m6", "relative loss", 0.25, ""),
)


def printed(monkeypatch, capsys, width, measures=MEASURES):
    monkeypatch.setenv("COLUMNS", str(width))
    criteria = (Criterion("orthogonal", "Representations of uncorrelated features are orthogonal.", True),)
    summary = Summary("e", "A claim.", "holds", criteria, measures, "", "quick", {}, {}, {}, 1.0, ())
    screens.everything(summary)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_word_is_broken_and_every_number_has_its_meaning_and_unit(monkeypatch, capsys, width):
    text = printed(monkeypatch, capsys, width)
    words = set(text.replace("│", " ").split())
    asked = [measure.name + " " + measure.meaning for measure in MEASURES[:3]] + ["(loss, features)", "uncorrelated"]
    assert {word for each in asked for word in each.split()} <= words
    assert {"0.818", "[0.523,", "0.949],", "0.05", "(run)"} <= words
    assert not {"(1)", "()"} & words
    assert max(map(len, text.splitlines())) <= width


def test_what_was_not_measured_is_one_sentence(monkeypatch, capsys):
    text = " ".join(printed(monkeypatch, capsys, 80).split())
    assert "Not measured (nothing to measure them on): late swaps; time of escape." in text
    assert text.count("late swaps") == 1
    assert "Not measured" not in printed(monkeypatch, capsys, 80, MEASURES[:3])
