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


def test_what_is_likely_transposed_is_said_before_and_after(tmp_path: Path):
    directions = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    np.save(tmp_path / "w.npy", directions.T)
    code, out, err = tegum("analyse", "w.npy", "--out", "found", cwd=tmp_path)
    reason = (
        "it is read as 4 features in 9 dimensions, whose norms differ, while the other way round all 9 norms are equal"
    )
    assert code == 0, err
    assert err.splitlines()[0] == (
        f"tegum: analyse w.npy: the array is more likely stored the other way round: {reason}; "
        "transpose=True takes its columns"
    )
    assert f"More likely they are the other way round: {reason}." in " ".join(out.split())
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
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing_behind(
    write: Callable[[Path], object], sentence: str, tmp_path: Path
):
    write(tmp_path / "sae")
    code, out, err = tegum("analyse", "sae", "--out", "found", cwd=tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("tegum: analyse sae(path='sae'): path must ")
    assert sentence in err
    assert [file.name for file in tmp_path.iterdir()] == ["sae"]
