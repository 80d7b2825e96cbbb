"""The command line, run as a user runs it: real processes, real files."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import tegum

import tegum as tg
from tegum import cli

PAIRS = """
hidden = 2
seeds = 4

[training]
steps = 500

[[features]]
kind = "correlated"
size = 2
density = 0.05
copies = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pairs.toml").write_text(PAIRS)
    return tmp_path


def test_help_names_the_verbs_and_imports_nothing_heavy(tmp_path):
    code, out, _ = tegum("--help", cwd=tmp_path)
    assert code == 0
    assert all(f" {verb} " in out for verb in ("list", "run", "train", "sweep", "show"))
    program = "import sys, tegum, tegum.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"jax", "numba", "numpy", "xarray", "zarr", "pandas", "matplotlib", "pydantic"}
    assert not heavy & set(run.stdout.split())


def test_every_whole_number_is_refused_where_it_is_none():
    """By itself the command line's library would round it."""
    for name in ("list_", "run", "train", "sweep", "show", "render", "analyse"):
        for parameter in inspect.signature(getattr(cli, name)).parameters.values():
            if re.search(r"\bint\b", str(parameter.annotation)):
                assert "Whole" in str(parameter.annotation), (name, parameter)
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as told:
        cli.app(["analyse", "W.npy", "--features", "1", "--features", "1.5"])
    assert "1.5 must be a whole number" in told.getvalue()


def test_list_names_experiments_with_their_claims(tmp_path):
    code, out, _ = tegum("list", "--claims", cwd=tmp_path)
    assert code == 0
    assert "energy-levels" in out
    assert "dimensionality" in out


def test_train_then_show(folder):
    code, out, err = tegum("train", "pairs.toml", "--set", "training.steps=300", "--set", "seeds=3", cwd=folder)
    assert code == 0, err
    run = tg.load(folder / "pairs.zarr")
    spec = tg.Spec.from_toml(folder / "pairs.toml", ["training.steps=300", "seeds=3"])
    np.testing.assert_array_equal(run.weights, tg.train(spec).weights)
    # Progress is plain lines where there is no terminal, and never on standard output.
    assert "step 300 of 300" in err
    assert "\x1b" not in out + err
    assert "run-steps/s" not in out
    code, shown, _ = tegum("show", "pairs.zarr", cwd=folder)
    assert code == 0
    for text in ("3 × correlated", "completed", "300, of which 101 recorded", spec.hash):
        assert text in shown
        assert text in out


def test_show_describes_measures(folder):
    spec = tg.Spec.from_toml(folder / "pairs.toml", ["training.steps=20", "seeds=3"])
    keep = {
        "loss": lambda loss: loss[:, -1],
        "size": tg.dimensionality,
        "form": lambda run: ["pair"] * run.sizes["seed"],
    }
    tg.train(tg.grid(spec, density=[0.1, 0.2]), keep=keep, out=folder / "kept.zarr")
    code, shown, err = tegum("show", "kept.zarr", cwd=folder)
    assert (code, err) == (0, "")
    rows = [re.split("  +", line.replace("│", " ").strip()) for line in shown.splitlines()]
    for row in (
        ["runs, of which measures were kept", "2 × 3"],
        ["measure: loss", "float64 for each run"],
        ["measure: size", "float64 (step=21, feature=6) for each run"],
        ["measure: form", "text for each run"],
        ["how the runs ended", "6 × completed"],
        ["differs: density", "0.1 … 0.2"],
    ):
        assert row in rows


def test_progress_is_live_in_a_terminal(folder):
    import pty

    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tegum", "train", "pairs.toml", "--set", "training.steps=40000"],
        stdout=subprocess.DEVNULL, stderr=secondary, cwd=folder,
        env=os.environ | {"COLUMNS": "160", "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(secondary)
    seen = b""
    try:
        while chunk := os.read(primary, 4096):
            seen += chunk
    except OSError:
        pass  # how Linux says that the other end is closed
    os.close(primary)
    assert process.wait(60) == 0
    assert b"run-steps/s" in seen
    assert b"\x1b[" in seen


def test_nothing_is_overwritten_unasked(folder):
    assert tegum("train", "pairs.toml", cwd=folder)[0] == 0
    code, _, err = tegum("train", "pairs.toml", cwd=folder)
    assert code == 2
    assert err == "tegum: train --out pairs.zarr: something is already there; --overwrite replaces it\n"
    code, _, err = tegum("train", "pairs.toml", "--overwrite", "--set", "seeds=2", cwd=folder)
    assert code == 0, err
    assert tg.load(folder / "pairs.zarr").sizes["seed"] == 2


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("train", "none.toml"), "none.toml: there is no such file"),
        (
            ("train", "pairs.toml", "--set", "hiden=3"),
            "pairs.toml with hiden=3: Spec(hiden=3): there is no key 'hiden'; did you mean 'hidden'?",
        ),
        (
            ("train", "pairs.toml", "--set", "features.density=1.5"),
            "features.0.density=1.5): features.0.density must lie in (0, 1]",
        ),
        (
            ("train", "pairs.toml", "--set", "training.kind=exact", "--set", "training.momentum=0.5"),
            "training.momentum must stay 0.0 with the optimiser 'lbfgs': only 'gd' has it",
        ),
        (
            ("train", "pairs.toml", "--set", "training.kind=flow", "--engine", "jax"),
            "train(engine='jax'): only sampled training has a choice of engines; with training of the kind 'flow' "
            "it must be 'auto'",
        ),
        (("train", "pairs.toml", "--threads", "0"), "train(threads=0): threads must be an int of at least 1"),
        (("train", "pairs.toml", "--out", "none/run.zarr"), "none' does not exist; create it first"),
        (("train", "pairs.toml", "--out", "pairs.toml", "--overwrite"), "is not a tegum store"),
        (
            ("train", "pairs.toml", "--set", "seeds=1000000000000"),
            "fewer snapshots or seeds fit, and the environment variable TEGUM_MEMORY_LIMIT",
        ),
        (("show", "none.zarr"), "load('none.zarr'): there is nothing at this path"),
        (("run", "energy-level"), "did you mean 'energy-levels'?"),
        (("run", "energy-levels", "--quick", "--full"), "choose either the quick or the full form"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing_behind(folder, args, sentence):
    code, out, err = tegum(*args, cwd=folder)
    assert code == 2
    assert out == ""
    *progress, last = err.splitlines()
    assert not any(line.startswith("tegum: ") for line in progress)
    assert last.startswith("tegum: ")
    assert sentence in last
    assert [path.name for path in folder.iterdir()] == ["pairs.toml"]
