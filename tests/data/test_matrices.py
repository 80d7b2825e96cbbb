"""Matrices that users bring, in every kind of file; and results that are written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
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

from tegum.core.limits import VARIABLE
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
def test_npy_is_mapped_and_sparse_stays_sparse(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(open_matrix("w.npy", call="analyse"), np.memmap)
    assert_array_equal(open_matrix("sparse.npz", call="analyse", sparse=True).toarray(), W)
    # What it would take as a dense matrix does not matter.
    scipy.sparse.save_npz("wide.npz", scipy.sparse.csr_array(([1.0], ([0], [9])), (10_000, 10_000)))
    monkeypatch.setenv(VARIABLE, "5MB")
    assert open_matrix("wide.npz", call="analyse", sparse=True).nnz == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "key", "sentence"),
    [
        ("none.npy", None, "analyse(path='none.npy'): path must lead to a file, and there is none"),
        ("none.safetensors", None, "analyse(path='none.safetensors'): path must lead to a file, and there is none"),
        (
            "text.txt",
            None,
            "path must end in one of .npy, .npz, .safetensors, .pt, .pth, .bin, .safetensors.index.json, .pt.in",
        ),
        ("two.npz", None, "analyse(key=None): key must be given, as 'two.npz' holds 2 arrays: bias, decoder"),
        ("two.npz", "decodr", "key must be the name of an array in 'two.npz'; did you mean 'decoder'?"),
        ("two.npz", "bias", "path must lead to a matrix of real numbers, but this is float32 of shape (3,)"),
        ("w.npy", "decoder", "key must be None, as 'w.npy' is one array without a name"),
        ("w.safetensors", None, "key must be given, as 'w.safetensors' holds 2 arrays: bias, decoder"),
        ("w.safetensors", "decodr", "did you mean 'decoder'?"),
        ("bad.safetensors", None, "path must lead to a readable .safetensors file: "),
        ("complex.safetensors", None, "matrix of real numbers, but this is complex64 of shape (4, 3)"),
        ("array.zarr", "decoder", "key must be None, as 'array.zarr' is one array without a name"),
        ("group.zarr", None, "key must be given, as 'group.zarr' holds 2 arrays: bias, decoder"),
        ("group.zarr", "layer", "key must be the path of an array, but this is a group"),
        ("group.zarr", "bias", "path must lead to a matrix of real numbers, but this is float32 of shape (3,)"),
        ("bad.zarr", None, "path must lead to a readable zarr array or group"),
        ("sparse.npz", None, "path must lead to a dense matrix, but this one is sparse"),
    ],
)
def test_bad_files_get_one_sentence(path: str, key: str | None, sentence: str):
    with pytest.raises(ValueError, match=r"^analyse\((path|key)=") as caught:
        open_matrix(path, key, call="analyse")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


NARROW = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


@pytest.mark.usefixtures("folder")
def test_narrow_numbers_in_a_process_that_has_imported_nothing_else():
    for name, kind in NARROW.items():
        values = W.astype(getattr(ml_dtypes, kind))
        header = json.dumps({"w": {"dtype": name, "shape": [4, 3], "data_offsets": [0, values.nbytes]}}).encode()
        Path(f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    program = (
        "import sys; from tegum.data.matrices import open_matrix; assert 'ml_dtypes' not in sys.modules\n"
        "for name in sys.argv[1:]:\n"
        "    found = open_matrix(f'{name}.safetensors', call='f')\n"
        "    print(found.dtype, found.tolist())"
    )
    ran = subprocess.run([sys.executable, "-c", program, *NARROW], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    for line, kind in zip(ran.stdout.splitlines(), NARROW.values(), strict=True):
        assert line == f"float32 {W.astype(getattr(ml_dtypes, kind)).astype(float).tolist()}"
    assert ran.stdout.startswith(f"float32 {W.tolist()}\n")  # seven bits behind the point hold all of them


def npy(header: str, numbers: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + numbers


def told(shape: str, descr: str = "'<f4'", order: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("fortran", [False, True])
def test_headers_that_are_right(version: int, fortran: bool, tmp_path: Path):
    file = tmp_path / "w.npy"
    file.write_bytes(npy(told("(4, 3)", order=fortran), W.tobytes("F" if fortran else "C"), version))
    assert_array_equal(open_matrix(file, call="analyse"), W)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (
            npy(told("(99999999999999999999, 2)")),
            "its header announces 799999999999999999992 bytes of numbers, but there are 0",
        ),
        (npy(told("(-4, 3)"), bytes(48)), "the header has the shape (-4, 3)"),
        (npy(told("(4, -3)"), bytes(48)), "the header has the shape (4, -3)"),
        (npy(told("(4.0, 3)"), bytes(48)), "readable .npy or .npz file: "),
        (npy(told("(4, 3)"), bytes(47)), "its header announces 48 bytes of numbers, but there are 47"),
        (npy(told("(4, 3)"), bytes(52)), "its header announces 48 bytes of numbers, but there are 52"),
        (npy(told("(4, 3)", "'|O'"), bytes(96)), "it holds Python objects, which are not read"),
        (npy(told("(4, 3)", "'<c16'"), bytes(192)), "a matrix of real numbers, but this is complex128 of shape (4, 3)"),
        (npy(told("(4, 3)", "'<U1'"), bytes(48)), "a matrix of real numbers, but this is <U1 of shape (4, 3)"),
        (npy(told("(4, 3)", "'V0'")), "a matrix of real numbers, but this is |V0 of shape (4, 3)"),
        (npy(told("(0, 3)")), "a matrix of real numbers, but this is float32 of shape (0, 3)"),
        (npy(told("(4, 3)", "[('a', '<f4')]"), bytes(48)), "a matrix of real numbers, but this is [('a', '<f4')]"),
        (npy("(" * 3000), "readable .npy or .npz file: "),
        (npy("__import__('os')"), "readable .npy or .npz file: "),
        (npy(told("(4, 3)"), bytes(48), 9), "the format's version 9.0 is unknown"),
        (npy(" " * 2**17 + told("(4, 3)"), bytes(48), 2), "the header is truncated, or implausibly long"),
        (b"\x93NUMPY\x01\x00", "the header is truncated, or implausibly long"),
        (b"PK\x03\x04", "readable .npy or .npz file: "),
        (b"", "readable .npy or .npz file: "),
    ],
)
def test_headers_that_lie(content: bytes, rule: str, tmp_path: Path):
    (tmp_path / "w.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"^analyse\(path='w\.npy'\): path must lead to ") as caught:
        open_matrix(tmp_path / "w.npy", call="analyse")
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def archive(file: Path, *members: tuple[str, bytes], packed: bool = True) -> bytes:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return file.read_bytes()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, right = tmp_path / "w.npz", npy(told("(4, 3)"), W.tobytes())
    whole = archive(file, ("w.npy", right))
    assert_array_equal(open_matrix(file, call="analyse"), W)

    def refused(rule: str) -> None:
        with pytest.raises(ValueError, match=r"^analyse\(path='w\.npz'\): path must lead to ") as caught:
            open_matrix(file, call="analyse")
        assert rule in str(caught.value)

    archive(file, ("w.npy", npy(told("(4000000, 3000000)"), W.tobytes())))
    refused("of shape (4000000, 3000000) would take 48 TB of memory")
    archive(file, ("w.npy", npy(told("(4, 4)"), W.tobytes())))
    refused("its header announces 64 bytes of numbers, but there are 48")
    archive(file, ("w.npy", right), ("w.npy", right))
    refused("two arrays in it have the same name")
    archive(file, ("w.txt", right))
    refused("readable .npy or .npz file")
    # An entry that says it is as long as its numbers, and unpacks to more: the checksum of the rest is another one.
    archive(file, ("w.npy", right + bytes(2**20)))
    file.write_bytes(
        file.read_bytes().replace((len(right) + 2**20).to_bytes(4, "little"), len(right).to_bytes(4, "little"))
    )
    refused("readable .npy or .npz file")
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at])
        refused("readable .npy or .npz file")
    archive(file, ("w.npy", npy(told("(1000, 1000)"), bytes(4_000_000))))
    assert file.stat().st_size < 10_000
    monkeypatch.setenv(VARIABLE, "3.9MB")
    refused("of shape (1000, 1000) would take 4.0 MB of memory, and TEGUM_MEMORY_LIMIT allows 3.9 MB")
    monkeypatch.setenv(VARIABLE, "4MB")
    assert not open_matrix(file, call="analyse").any()


@pytest.mark.parametrize(
    "header",
    [
        '{"w": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 44]}}',
        '{"w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 48]}}',
        '{"w": {"dtype": "F32", "shape": [4, -3], "data_offsets": [0, 48]}}',
        '{"w": {"dtype": "F32", "shape": [4611686018427387904, 3], "data_offsets": [0, 48]}}',
        '{"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 48]}}',
        '{"w": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}, '
        '"v": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}',
        '{"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, '
        '"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 48]}}',
        '{"w": {"dtype": "X32", "shape": [4, 3], "data_offsets": [0, 48]}}',
        '{"w": 3}',
        "[" * 5000,
        "{}",
    ],
    ids=range(11),
)
def test_safetensors_that_lie(header: str, tmp_path: Path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + W.tobytes())
    with pytest.raises(
        ValueError, match=r"^analyse\((path|key)=[^\n]*\): (path must lead to|key must be given)[^\n]*$"
    ):
        open_matrix(file, call="analyse")
    file.write_bytes((2**62).to_bytes(8, "little") + header.encode() + W.tobytes())
    with pytest.raises(ValueError, match=r"path must lead to a readable \.safetensors file: "):
        open_matrix(file, call="analyse")


@pytest.mark.usefixtures("folder")
def test_safetensors_are_mapped():
    assert isinstance(open_matrix("w.safetensors", "decoder", call="analyse").base, np.memmap)


def test_results_are_whole_or_not_there(tmp_path: Path):
    found = xr.Dataset({"norm": ("feature", np.ones(3))})
    target = check_results_place(tmp_path / "out", call="analyse")

    def write(dataset: Any, overwrite: bool = False) -> None:
        write_results(target, dataset, {"summary.json": b"{}"}, overwrite=overwrite, call="analyse")

    # Whatever goes wrong, it is tried elsewhere.
    with pytest.raises(OSError, match=r"^analyse: writing '.*/out': AttributeError \(.*the result is on no disk$"):
        write(None)
    assert list(tmp_path.iterdir()) == []
    write(found)
    assert {file.name for file in target.iterdir()} == {"summary.json", "measures.zarr"}
    assert_array_equal(xr.open_zarr(target / "measures.zarr", consolidated=False).norm, 1)
    with pytest.raises(FileExistsError, match=r"analyse --out .*: something is already there; --overwrite replaces it"):
        check_results_place(target, call="analyse")
    check_results_place(target, overwrite=True, call="analyse")
    write(2 * found, overwrite=True)
    assert_array_equal(xr.open_zarr(target / "measures.zarr", consolidated=False).norm, 2)
    for name in ("notes.txt", "measures.zarr/notes.txt"):
        (target / name).write_text("mine")
        with pytest.raises(
            FileExistsError, match=f"an earlier result is there, but '{name}' in it is not part of that"
        ):
            check_results_place(target, overwrite=True, call="analyse")
        (target / name).unlink()
    target.rename(tmp_path / ".out.01234567.old")
    with (
        pytest.warns(UserWarning, match="back in its place"),
        pytest.raises(FileExistsError, match="something is already there"),
    ):
        check_results_place(target, call="analyse")
    with pytest.raises(FileExistsError, match="what is there is not an earlier result"):
        check_results_place(tmp_path, overwrite=True, call="analyse")
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        check_results_place(tmp_path / "no" / "out", call="analyse")
