"""The examples: each is at most twelve lines of code, and draws or finds what its first sentence says."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import tegum as tg

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
MOST_LINES = 12
DRAWN_BY_COMMAND = "own_experiment"
WITH_OTHERS = "sparse_autoencoder"
"""Needs packages of others; `tests/interop/` draws it."""


def code_lines(source: str) -> list[str]:
    """The lines of a script after its docstring, but for empty ones."""
    return [line for line in source.split('"""')[2].splitlines() if line.strip()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short(name):
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(code_lines(source)) <= MOST_LINES
    assert max(map(len, source.splitlines())) <= 120


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs an example in an empty folder, once; gives its variables and the folder."""
    kept = {}

    def run(name):
        if name not in kept:
            folder = tmp_path_factory.mktemp(name)
            before = Path.cwd()
            os.chdir(folder)
            try:
                kept[name] = runpy.run_path(str(EXAMPLES / f"{name}.py")), folder
            finally:
                os.chdir(before)
                mpl.pyplot.close("all")
        return kept[name]

    return run


@pytest.mark.parametrize("name", [each for each in SCRIPTS if each not in (DRAWN_BY_COMMAND, WITH_OTHERS)])
def test_an_example_draws_a_picture(made, name):
    _, folder = made(name)
    (picture,) = folder.glob(f"{name}.p*")
    begin = picture.read_bytes()[:8]
    assert begin.startswith(b"%PDF" if picture.suffix == ".pdf" else b"\x89PNG")


def test_sparser_features_are_represented_in_greater_number(made):
    found, _ = made("introduction")
    # Elhage et al. 2022: two features when dense, two digons, a pentagon.
    assert tg.represented(found["best"].weights.isel(step=-1)).sum("feature").values.tolist() == [2, 4, 5]
    titles = [text.get_text() for text in found["ax"].texts]
    assert {"density = 1", "density = 0.2", "density = 0.05"} <= set(titles)


def test_a_second_feature_is_ignored_shares_or_takes_the_dimension(made):
    found, _ = made("phase_diagram")
    second = found["second"].isel(step=-1).values
    assert second[-1, 0] == pytest.approx(0, abs=1e-3)
    assert second[-1, -1] == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(second[0], 0.5, atol=0.01)


def test_a_rarer_feature_leaves_the_pentagon(made):
    found, _ = made("pentagon_to_digons")
    assert tg.represented(found["best"].weights.isel(step=-1)).sum("feature").values.tolist() == [5, 5, 5, 4]


def test_dimensions_per_feature_fall_from_one_past_a_half(made):
    found, _ = made("geometry")
    values = tg.dimensions_per_feature(found["run"].weights.isel(step=-1)).mean("seed").values
    assert values[0] == pytest.approx(1, abs=0.05)
    assert (np.diff(values) < 0).all()
    assert (abs(values - 0.5) < 0.05).sum() >= 2


def test_the_film_and_the_figure_for_a_paper_have_their_sizes(made):
    _, folder = made("film")
    gif = (folder / "film.gif").read_bytes()
    assert int.from_bytes(gif[6:8], "little") == 480
    _, folder = made("paper_figure")
    assert b"/MediaBox [ 0 0 244.8 129.6 ]" in (folder / "paper_figure.pdf").read_bytes()


def test_an_experiment_of_your_own_is_run_by_the_command_line(tmp_path):
    call = [sys.executable, "-m", "tegum", "run", str(EXAMPLES / "own_experiment.py"), "--out", "out"]
    found = subprocess.run(
        call, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=300, check=True
    )
    assert "HOLDS" in found.stdout
    assert (tmp_path / "out" / "own-experiment.png").is_file()
