"""`tegum analyse`, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from processes import tegum
from safetensors.numpy import save_file

import tegum as tg
from tegum.data.results import result_bytes
from tegum.figures.directions import embeddings

RANDOM = np.random.default_rng(0)
PENTAGON = np.stack([np.cos(angles := 2 * np.pi * np.arange(5) / 5), np.sin(angles)], 1)
W = np.pad(PENTAGON, ((0, 0), (0, 2))) @ np.linalg.qr(RANDOM.normal(size=(4, 4)))[0]
X = np.where(RANDOM.random((500, 5)) < 0.3, RANDOM.random((500, 5)), 0)
X[:, 1] = np.where(X[:, 0] > 0, X[:, 1] + 0.1, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "turned.npy", W.T.astype(np.float32))
    save_file({"decoder": W, "bias": W[0]}, tmp_path / "w.safetensors")
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_array(X))
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    return tmp_path


def test_directions_are_normalised_and_centred(folder: Path):
    args = "--key", "decoder", "--normalise", "--centre", "--out", "prepared"
    code, out, err = tegum("analyse", "w.safetensors", *args, cwd=folder)
    assert code == 0, err
    assert "mean_norm" in out
    found = xr.open_zarr(folder / "prepared" / "measures.zarr", consolidated=False).load()
    assert found.identical(tg.analyse(W, normalise=True, centre=True))
    told = json.loads((folder / "prepared" / "summary.json").read_text())
    assert (told["normalise"], told["centre"]) == (True, True)


def test_a_table_and_a_folder(folder: Path):
    args = "analyse", "w.safetensors", "--key", "decoder", "--activations", "x.npz", "--features", "0", "--out", "out"
    code, out, err = tegum(*args, cwd=folder)
    assert code == 0, err
    assert err.startswith("w.safetensors: started\n")
    for text in ("total_dimensions", "participation_ratio", "-0.809017", "Local bases of 1 feature", "wrote out/"):
        assert text in out
    assert {file.name for file in (folder / "out").iterdir()} == {
        "summary.json", "measures.zarr", "embeddings.png", "embeddings.svg",
    }  # fmt: skip
    found = xr.open_zarr(folder / "out" / "measures.zarr", consolidated=False).load()
    assert found.identical(tg.analyse(W, X, features=[0]))
    assert_allclose(found.dimensionality, 2 / 5)
    assert_array_equal(found.companion[0, 0], 1)
    told = json.loads((folder / "out" / "summary.json").read_text())
    assert told["source"]["weights"] == "w.safetensors"
    assert_allclose(told["measures"]["total_dimensions"]["value"], 2)
    assert_allclose(told["measures"]["dimensionality"]["quantiles"]["0.5"], 2 / 5)
    assert {"nearest", "opposite", "companion"} == found.data_vars.keys() - told["measures"].keys()
    before = (folder / "out" / "summary.json").stat().st_mtime_ns
    code, _, err = tegum(*args, cwd=folder)
    assert (code, err) == (2, "tegum: analyse --out out: something is already there; --overwrite replaces it\n")
    assert (folder / "out" / "summary.json").stat().st_mtime_ns == before


def test_columns_can_be_the_directions_and_neighbours_be_left_out(folder: Path):
    code, out, err = tegum("analyse", "turned.npy", "--transpose", "--no-neighbours", cwd=folder)
    assert code == 0, err
    assert "total_dimensions" in out
    assert "nearest_cosine" not in out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("none.npy",), "analyse none.npy(path='none.npy'): path must lead to a file, and there is none"),
        (
            ("nan.npy",),
            "analyse nan.npy(path='nan.npy'): path must lead to a sound matrix: the array must be finite numbers",
        ),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing_behind(folder: Path, args: tuple[str, ...], sentence: str):
    before = sorted(folder.iterdir())
    code, out, err = tegum("analyse", *args, "--out", "out", cwd=folder)
    assert (code, out) == (2, "")
    *progress, last = err.splitlines()
    assert all(line.startswith("nan.npy: ") for line in progress)
    assert last.startswith("tegum: ")
    assert sentence in last
    assert sorted(folder.iterdir()) == before


def test_the_figure_shows_what_was_found():
    figure = embeddings(tg.analyse(W, neighbours=False), "pentagon")
    left, right = figure.axes
    points = np.asarray(left.collections[0].get_offsets())
    assert_allclose(points, np.tile([1.0, 2 / 5], (5, 1)), rtol=1e-9)
    # Five unit rows in four dimensions: 1 / (1 + 4/4).
    line = left.lines[0].get_xydata()
    assert_allclose(np.interp(1.0, line[:, 0], line[:, 1]), 1 / 2, rtol=1e-3)
    assert right.get_yscale() == "log"
    with pytest.warns(UserWarning, match="nothing but zeros"):
        nothing = tg.analyse(np.zeros((3, 2)))
    for found in (nothing, tg.analyse(np.ones((1, 1)))):
        embeddings(found).canvas.draw()


@pytest.mark.parametrize(("features", "companions"), [(3, 0), (400, 8), (400, 399)])
def test_a_result_is_at_most_as_large_as_is_said(tmp_path, features, companions):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "W.npy", rng.normal(size=(features, 8)))
    np.savez(tmp_path / "x.npz", rng.random((300, features)))
    options = ["--activations", "x.npz", "--companions", str(companions)] if companions else []
    code, _, err = tegum("analyse", "W.npy", *options, "--out", "found", cwd=tmp_path)
    assert code == 0, err
    size = sum(file.stat().st_size for file in (tmp_path / "found").rglob("*") if file.is_file())
    assert size <= result_bytes(features, companions) <= 2**21 + 40 * size
