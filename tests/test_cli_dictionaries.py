"""`tegum analyse` of dictionaries as other tools save them, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dictionary_files import CONFIG, DIRECTIONS, KINDS, SAE, crosscoder, saelens
from numpy.testing import assert_allclose
from processes import tegum

import tegum as tg


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str, tmp_path: Path):
    name, write, at = KINDS[kind]
    path = write(tmp_path / name).relative_to(tmp_path)
    code, out, err = tegum("analyse", str(path), *(["--slice", at] if at else []), cwd=tmp_path)
    assert (code, err) == (0, f"{path.name}: started\n")
    assert out.startswith("9 directions in 4 dimensions: the ")
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if line.count("│") > 2}
    expected = tg.analyse(DIRECTIONS)
    for measure in ("features", "dimensions", "total_dimensions", "effective_rank", "squared_cosine"):
        assert_allclose(float(rows[measure]), expected[measure], rtol=1e-5)
    assert_allclose(float(rows["norm"]), np.linalg.norm(DIRECTIONS, axis=1).mean(), rtol=1e-5)


def test_what_is_likely_transposed_is_said_once(tmp_path: Path):
    directions = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    np.save(tmp_path / "w.npy", directions.T)
    code, out, err = tegum("analyse", "w.npy", "--out", "found", cwd=tmp_path)
    reason = (
        "it is read as 4 features in 9 dimensions, whose norms differ, while the other way round all 9 norms are equal"
    )
    assert code == 0, err
    assert err.splitlines()[0] == (
        f"tegum: analyse w.npy: the array is more likely stored the other way round: {reason}; "
        "transpose=True (--transpose) takes its columns"
    )
    assert (err + out).count("the other way round") == 2  # in this sentence
    told = json.loads((tmp_path / "found" / "summary.json").read_text())
    assert told["likely_transposed"] == reason
    assert told["source"]["transposed"] is False
    code, out, err = tegum("analyse", "w.npy", "--transpose", "--out", "turned", cwd=tmp_path)
    assert (code, err) == (0, "w.npy: started\n")
    found = xr.open_zarr(tmp_path / "turned" / "measures.zarr", consolidated=False).load()
    assert found.identical(tg.analyse(directions))
    told = json.loads((tmp_path / "turned" / "summary.json").read_text())
    assert (told["likely_transposed"], told["source"]["transposed"]) == ("", True)
    assert told["source"]["directions"] == "9 directions in 4 dimensions: the columns of the array (npy)."


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (
            lambda path: saelens(path, config=CONFIG | {"d_sae": 10}),
            "must lead to a dictionary whose parts agree: ",
        ),
        (
            lambda path: saelens(path, SAE | {"W_dec": DIRECTIONS * np.inf}),
            "'W_dec' must be finite numbers, and row 0 is",
        ),
        (lambda path: path.mkdir(), "in this folder there is no file of weights: it is empty"),
        (lambda path: crosscoder(path.with_name("sae")), "path must end in one of "),
        (
            lambda path: saelens(path, SAE | {"W_dec": np.stack([DIRECTIONS, DIRECTIONS])}),
            "(slice=None): slice (--slice) must be given, as 'W_dec' has the shape (2, 9, 4): ",
        ),
        (
            lambda path: saelens(path, {"one": DIRECTIONS, "other": DIRECTIONS}),
            "(key=None): key (--key) must be given, as 'sae_weights.safetensors' holds 2 arrays: one, other",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing_behind(
    write: Callable[[Path], object], sentence: str, tmp_path: Path
):
    write(tmp_path / "sae")
    code, out, err = tegum("analyse", "sae", "--out", "found", cwd=tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("tegum: analyse sae(")
    assert sentence in err
    assert [file.name for file in tmp_path.iterdir()] == ["sae"]


def test_zeros_are_said_to_be_zeros_once(tmp_path: Path):
    np.save(tmp_path / "w.npy", np.zeros((9, 4)))
    code, out, err = tegum("analyse", "w.npy", cwd=tmp_path)
    assert code == 0
    assert err.splitlines()[0] == (
        "tegum: analyse w.npy: the array holds nothing but zeros, so that no feature has a direction"
    )
    assert (err + out).count("nothing but zeros") == 1


def test_activations_have_options_of_their_own(tmp_path: Path):
    np.save(tmp_path / "w.npy", DIRECTIONS)
    np.savez(tmp_path / "x.npz", one=np.eye(9), other=np.eye(9))
    code, _, err = tegum("analyse", "w.npy", "--activations", "x.npz", cwd=tmp_path)
    assert code == 2
    assert err == (
        "tegum: analyse --activations x.npz(key=None): key (--activations-key) must be given, as 'x.npz' holds 2 "
        "arrays: one, other\n"
    )


def test_nothing_is_said_of_trained_toy_models():
    """Of some, half of whose features are absent, all columns have one norm; none may be taken for directions."""
    sets = [
        [tg.Independent(40, [0.01] * 20 + [0.3] * 20)],
        [tg.Independent(40, 0.03)],
        [tg.Correlated(size=2, density=0.3)] * 20,
    ]
    equal = 0
    for features in sets:
        run = tg.train(tg.Spec(features=features, hidden=10, training=tg.Sampled(steps=2_000), seeds=8))
        for W in run.weights.isel(step=-1).values:
            assert tg.analyse(W, neighbours=False).likely_transposed == ""
            rows, columns = np.linalg.norm(W, axis=1), np.linalg.norm(W, axis=0)
            equal += np.ptp(columns) < 0.01 * columns.max() and np.ptp(rows) > 0.1 * rows.max()
    assert equal >= 4
