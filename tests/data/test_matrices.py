"""Matrices that users bring, in every kind of file; and results that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
import xarray as xr
import zarr
from numpy.testing import assert_array_equal
from safetensors.numpy import save_file

from tegum.data.matrices import open_matrix
from tegum.data.results import check_results_place, write_results

W = np.arange(12.0, dtype=np.float32).reshape(4, 3) / 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", W)
    np.savez("two.npz", decoder=W, bias=W[0])
    np.savez("one.npz", W)
    save_file({"decoder": W, "bias": W[0]}, "w.safetensors")
    save_file({"decoder": W.astype(ml_dtypes.bfloat16)}, "half.safetensors")
    scipy.sparse.save_npz("sparse.npz", scipy.sparse.csc_array(W))
    zarr.create_array("array.zarr", data=W)
    group = zarr.create_group("group.zarr")
    group.create_array("decoder", data=W)
    group.create_array("bias", data=W[0])
    group.create_group("layer").create_array("decoder", data=2 * W)
    Path("text.txt").write_text("no matrix")
    Path("bad.safetensors").write_text("no matrix")
    Path("bad.zarr").mkdir()
    save_file({"complex": W.astype(np.complex64)}, "complex.safetensors")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "key", "times"),
    [
        ("w.npy", None, 1),
        ("two.npz", "decoder", 1),
        ("one.npz", None, 1),
        ("w.safetensors", "decoder", 1),
        ("half.safetensors", None, 1),
        ("array.zarr", None, 1),
        ("group.zarr", "decoder", 1),
        ("group.zarr", "layer/decoder", 2),
        ("group.zarr/layer", None, 2),
        ("group.zarr/layer/decoder", None, 2),
    ],
)
def test_every_kind_of_file(path: str, key: str | None, times: float):
    found = open_matrix(path, key, call="analyse")
    assert found.dtype == np.float32
    assert_array_equal(found, times * W)


@pytest.mark.usefixtures("folder")
def test_npy_is_mapped_and_sparse_stays_sparse():
    assert isinstance(open_matrix("w.npy", call="analyse"), np.memmap)
    assert_array_equal(open_matrix("sparse.npz", call="analyse", sparse=True).toarray(), W)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "key", "sentence"),
    [
        ("none.npy", None, "analyse(path='none.npy'): path must lead to a file, and there is none"),
        ("none.safetensors", None, "analyse(path='none.safetensors'): path must lead to a file, and there is none"),
        ("text.txt", None, "path must end in one of .npy, .npz, .safetensors, .zarr"),
        ("two.npz", None, "analyse(key=None): key must be given, as 'two.npz' holds 2 arrays: bias, decoder"),
        ("two.npz", "decodr", "key must be the name of an array in 'two.npz'; did you mean 'decoder'?"),
        ("two.npz", "bias", "path must lead to a matrix of real numbers, and this is float32 of shape (3,)"),
        ("w.npy", "decoder", "key must be None, as 'w.npy' is one array without a name"),
        ("w.safetensors", None, "key must be given, as 'w.safetensors' holds 2 arrays: bias, decoder"),
        ("w.safetensors", "decodr", "did you mean 'decoder'?"),
        ("bad.safetensors", None, "path must lead to a readable .safetensors file: "),
        ("complex.safetensors", None, "matrix of real numbers, and this is complex64 of shape (4, 3)"),
        ("array.zarr", "decoder", "key must be None, as 'array.zarr' is one array without a name"),
        ("group.zarr", None, "key must be given, as 'group.zarr' holds 2 arrays: bias, decoder"),
        ("group.zarr", "layer", "key must be the path of an array, and this is a group"),
        ("group.zarr", "bias", "path must lead to a matrix of real numbers, and this is float32 of shape (3,)"),
        ("bad.zarr", None, "path must lead to a readable zarr array or group"),
        ("sparse.npz", None, "path must lead to a dense matrix, and this one is sparse"),
    ],
)
def test_bad_files_get_one_sentence(path: str, key: str | None, sentence: str):
    with pytest.raises(ValueError, match=r"^analyse\((path|key)=") as caught:
        open_matrix(path, key, call="analyse")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_are_whole_or_not_there(tmp_path: Path):
    found = xr.Dataset({"norm": ("feature", np.ones(3))})
    target = check_results_place(tmp_path / "out", call="analyse")

    def write(dataset: Any, overwrite: bool = False) -> None:
        write_results(target, dataset, {"summary.json": b"{}"}, overwrite=overwrite, call="analyse")

    with pytest.raises(AttributeError):
        write(None)
    assert list(tmp_path.iterdir()) == []
    write(found)
    assert {file.name for file in target.iterdir()} == {"summary.json", "measures.zarr"}
    assert_array_equal(xr.open_zarr(target / "measures.zarr", consolidated=False).norm, 1)
    with pytest.raises(FileExistsError, match=r"analyse --out .*: there is something already; --overwrite replaces it"):
        check_results_place(target, call="analyse")
    check_results_place(target, overwrite=True, call="analyse")
    write(2 * found, overwrite=True)
    assert_array_equal(xr.open_zarr(target / "measures.zarr", consolidated=False).norm, 2)
    with pytest.raises(FileExistsError, match="what is there is no earlier result"):
        check_results_place(tmp_path, overwrite=True, call="analyse")
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        check_results_place(tmp_path / "no" / "out", call="analyse")
