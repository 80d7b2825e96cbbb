"""Dictionaries as other tools save them: the directions are found and are rows, or a sentence says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from dictionary_files import (
    CONFIG,
    DIMENSIONS,
    DIRECTIONS,
    FEATURES,
    KINDS,
    LINEAR,
    SAE,
    crosscoder,
    gemma_scope,
    plain,
    raw,
    saelens,
    sharded,
)
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file

import tegum as tg
from tegum.core.inputs import orientation
from tegum.core.limits import VARIABLE

UNIT = np.random.default_rng(1).normal(size=(12, 5))
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)
RANDOM = np.random.default_rng(2).normal(size=(100, 64))
ROTATION = np.linalg.qr(RANDOM[:64])[0]
THIRDS = 2 * np.pi * np.arange(3) / 3


def refused(sentence: str, path: Path, *args: Any, **options: Any) -> None:
    with pytest.raises(ValueError, match=r"^load_dictionary\((path|key|slice)=") as caught:
        tg.load_dictionary(path, *args, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str, tmp_path: Path):
    name, write, at = KINDS[kind]
    found = tg.load_dictionary(write(tmp_path / name), slice=at)
    assert found.dims == ("feature", "hidden")
    assert found.dtype == np.float32
    assert_array_equal(found, DIRECTIONS)
    assert found.attrs["likely_transposed"] == ""
    assert found.attrs["transposed"] == (kind == "PyTorch's Linear")
    assert_allclose(tg.analyse(found, neighbours=False).norm, np.linalg.norm(DIRECTIONS, axis=1), rtol=1e-6)


def test_in_a_process_that_has_imported_nothing_else(tmp_path: Path):
    """Narrow dtypes come first: what is read before them might import ml_dtypes."""
    names = sorted(KINDS, key=lambda kind: "float" not in kind)
    paths = [[str(KINDS[kind][1](tmp_path / KINDS[kind][0])), KINDS[kind][2]] for kind in names]
    program = (
        "import json, sys, tegum as tg; assert 'ml_dtypes' not in sys.modules\n"
        "print(json.dumps([tg.load_dictionary(p, slice=at).values.tolist() for p, at in json.loads(sys.argv[1])]))\n"
        "assert 'torch' not in sys.modules"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, json.dumps(paths)], capture_output=True, text=True, timeout=100
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == [DIRECTIONS.tolist()] * len(KINDS)


def test_what_lies_beside_the_directions(tmp_path: Path):
    arrays = SAE | {"threshold": np.arange(FEATURES, dtype=np.float32), "k": np.array(3)}
    found = tg.load_dictionary(saelens(tmp_path / "sae", arrays))
    assert {name: each.dims for name, each in found.coords.items()} == {
        "b_enc": ("feature",), "b_dec": ("hidden",), "threshold": ("feature",),
    }  # fmt: skip
    for name in found.coords:
        assert_array_equal(found[name], arrays[str(name)])
    assert json.loads(found.config) == CONFIG
    assert (found.format, found.architecture, found.key) == ("SAELens", "standard", "W_dec")
    encoder = tg.load_dictionary(tmp_path / "sae", "W_enc")
    assert_array_equal(encoder, 2 * DIRECTIONS)
    assert encoder.transposed
    assert isinstance(found.values.base, np.memmap)


@pytest.mark.parametrize("dtype", ["?", "i1", "<u8", ">f4", "<f2", "<f8", "g"])
def test_every_kind_of_real_number(dtype: str, tmp_path: Path):
    given = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    np.save(tmp_path / "w.npy", given)
    found = tg.load_dictionary(tmp_path / "w.npy")
    assert_array_equal(found, given)
    assert found.dtype.itemsize <= 8


def test_a_run_of_ours(tmp_path: Path):
    weights = np.arange(2.0 * 3 * 5 * 2).reshape(2, 3, 5, 2)
    zarr.create_group(tmp_path / "run.zarr").create_array("weights", data=weights)
    assert_array_equal(tg.load_dictionary(tmp_path / "run.zarr", "weights", slice="1,-1"), weights[1, -1])


def test_a_transcoder_has_its_directions_where_it_writes(tmp_path: Path):
    arrays = SAE | {"W_enc": np.ones((6, FEATURES), np.float32), "W_skip": np.ones((DIMENSIONS, 6), np.float32)}
    folder = saelens(tmp_path / "sae", arrays, CONFIG | {"d_in": 6, "d_out": DIMENSIONS, "architecture": "transcoder"})
    assert_array_equal(tg.load_dictionary(folder), DIRECTIONS)
    assert tg.load_dictionary(folder, "W_enc").shape == (FEATURES, 6)


@pytest.mark.parametrize(
    ("arrays", "transposed"),
    [
        # As Qwen Scope has them: names of SAELens, the other way round.
        (SAE | {"W_dec": DIRECTIONS.T, "W_enc": DIRECTIONS}, True),
        (LINEAR | {"decoder.weight": DIRECTIONS}, False),
    ],
)
def test_lengths_of_biases_are_believed_before_names(arrays: dict[str, Any], transposed: bool, tmp_path: Path):
    save_file(plain(arrays), tmp_path / "sae.safetensors")
    with pytest.warns(UserWarning, match=r"^load_dictionary: '.*' is stored the other way round than its name says"):
        found = tg.load_dictionary(tmp_path / "sae.safetensors")
    assert_array_equal(found, DIRECTIONS)
    assert found.transposed == transposed


def test_a_configuration_is_believed_before_names(tmp_path: Path):
    folder = saelens(tmp_path / "sae", {"W_dec": DIRECTIONS.T})
    with pytest.warns(
        UserWarning, match=r"its columns are the directions: its shape is \(4, 9\), and d_sae = 9 in cfg"
    ):
        assert_array_equal(tg.load_dictionary(folder), DIRECTIONS)
    assert_array_equal(tg.load_dictionary(folder, transpose=True), DIRECTIONS)
    assert_array_equal(tg.load_dictionary(folder, transpose=False), DIRECTIONS.T)


@pytest.mark.parametrize(
    ("scale", "reason"), [(False, "all 12 norms are equal"), (True, "most dictionaries have more")]
)
def test_what_is_likely_transposed_is_said_to_be_so(scale: bool, reason: str, tmp_path: Path):
    given = UNIT * np.linspace(1, 2, 12)[:, None] if scale else UNIT
    np.save(tmp_path / "w.npy", given.T)
    with pytest.warns(
        UserWarning,
        match=rf"stored the other way round: it is .*{reason}.*; transpose=True \(--transpose\) takes its columns",
    ):
        found = tg.load_dictionary(tmp_path / "w.npy")
    assert_array_equal(found, given.T)
    assert "5 features in 12 dimensions" in found.likely_transposed
    # Said once: what is loaded keeps it, and analysis repeats it without a warning.
    assert tg.analyse(found, neighbours=False).likely_transposed == found.likely_transposed
    for transpose in (True, False):
        chosen = tg.load_dictionary(tmp_path / "w.npy", transpose=transpose)
        assert_array_equal(chosen, given if transpose else given.T)
        assert chosen.likely_transposed == ""
    if scale:
        assert tg.analyse(given.T, neighbours=False).likely_transposed == ""
        return
    with pytest.warns(
        UserWarning, match=r"^analyse\(weights of shape \(5, 12\)\): weights are more likely transposed: it"
    ):
        assert reason in tg.analyse(given.T, neighbours=False).likely_transposed


@pytest.mark.parametrize(
    "rows",
    [
        UNIT, UNIT[:4], np.eye(7)[:3], np.ones((1, 9)), np.vstack([UNIT[:3], np.zeros((1, 5))]),
        np.eye(64), ROTATION, -2 * ROTATION, ROTATION * np.linspace(1, 2, 64)[:, None],
        # The decoder of a toy model of principal components, and of one that also has absent features.
        np.eye(100)[:, :64], ROTATION[:, :16], np.vstack([ROTATION[:, :16], np.zeros((9, 16))]),
        # Of all features in one dimension, or few, there is no telling.
        RANDOM[:, :1], RANDOM[:, :2] / np.linalg.norm(RANDOM[:, :2], axis=0),
        RANDOM / np.linalg.norm(RANDOM, axis=1, keepdims=True), RANDOM[:64], RANDOM,
        # Two digons and a triangle in four dimensions: a tight frame.
        np.vstack([np.kron(np.eye(2), [[1.0], [-1.0]]) @ np.eye(4)[:2],
                   np.sqrt(4 / 3) * np.stack([np.cos(THIRDS), np.sin(THIRDS)], 1) @ np.eye(4)[2:]]),
    ],
)  # fmt: skip
def test_nothing_is_said_of_rows_that_are_directions(rows: np.ndarray, tmp_path: Path):
    """Few directions too, if they have one norm."""
    assert tg.analyse(rows, neighbours=False).likely_transposed == ""
    np.save(tmp_path / "w.npy", rows)
    assert tg.load_dictionary(tmp_path / "w.npy").likely_transposed == ""


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(100, 64), (64, 64), (64, 8), (3000, 20)])
def test_equal_norms_of_columns_are_evidence_even_where_there_are_fewer_of_them(
    shape: tuple[int, int], dtype: str, tmp_path: Path
):
    import ml_dtypes

    given = np.random.default_rng(3).normal(size=shape)
    given /= np.linalg.norm(given, axis=0)
    rounded = given.astype(getattr(ml_dtypes, dtype, dtype)).astype(np.float64 if dtype == "float64" else np.float32)
    np.save(tmp_path / "w.npy", rounded)
    reason = f"whose norms differ, while the other way round all {shape[1]} norms are equal"
    with pytest.warns(UserWarning, match=rf"{reason}; transpose=True \(--transpose\) takes its columns"):
        assert reason in tg.load_dictionary(tmp_path / "w.npy").likely_transposed
    with pytest.warns(UserWarning, match=rf"are more likely transposed: .*{reason}"):
        assert reason in tg.analyse(rounded, neighbours=False).likely_transposed
    assert tg.load_dictionary(tmp_path / "w.npy", transpose=True).likely_transposed == ""
    # A name that says what the columns are is doubted, too, and leads to the rows.
    if shape == (64, 64):
        save_file({"decoder.weight": np.ascontiguousarray(rounded.T)}, tmp_path / "w.safetensors")
        with pytest.warns(UserWarning, match=r"transpose=False \(--no-transpose\) takes its rows"):
            tg.load_dictionary(tmp_path / "w.safetensors")


def test_norms_that_are_equal_because_directions_are_long_are_no_evidence():
    """Columns of 10⁵ random numbers have norms within 1 %: their standard deviation is 1 / √(2 · 10⁵), 0.2 %."""
    given = np.random.default_rng(4).normal(size=(100_000, 8)).astype(np.float32)
    norms = np.linalg.norm(given, axis=0)
    assert np.ptp(norms) < orientation.EQUAL * norms.max()
    assert tg.analyse(given, neighbours=False).likely_transposed == ""


def test_a_dictionary_of_zeros_is_said_to_be_one(tmp_path: Path):
    save_file({"W_dec": np.zeros((9, 4), np.float32)}, tmp_path / "w.safetensors")
    with pytest.warns(
        UserWarning, match=r"^load_dictionary: 'W_dec' holds nothing but zeros, so that no feature has a "
    ):
        found = tg.load_dictionary(tmp_path / "w.safetensors")
    assert found.likely_transposed == ""
    assert not tg.analyse(found, neighbours=False).represented.any()  # said once
    for given in (np.zeros((2, 3)), np.zeros((3, 2))):
        with pytest.warns(
            UserWarning, match=r"^analyse\(weights of shape .*\): weights hold nothing but zeros, so that no"
        ):
            tg.analyse(given, neighbours=False)
        np.save(tmp_path / "w.npy", given)
        with pytest.warns(UserWarning, match=r"^load_dictionary: the array holds nothing but zeros"):
            assert tg.load_dictionary(tmp_path / "w.npy").likely_transposed == ""


def test_slices_of_a_crosscoder(tmp_path: Path):
    file = crosscoder(tmp_path / "w.safetensors")
    for at, expected in ((":,1,:", -3 * DIRECTIONS), (":, -1", -3 * DIRECTIONS), (":,0,:", DIRECTIONS)):
        found = tg.load_dictionary(file, slice=at)
        assert_array_equal(found, expected)
        assert found.attrs["slice"] == (":,-1,:" if "-" in at else at)
    refused(
        "slice=None): slice must be given, as 'W_dec' has the shape (9, 2, 4): '0,:,:' to '8,:,:' of shape (2, 4), "
        "':,0,:' to ':,1,:' of shape (9, 4), ':,:,0' to ':,:,3' of shape (9, 2)",
        file,
    )
    refused("must lie inside, as 'W_dec' has the shape (9, 2, 4), and 2 does not", file, slice=":,2,:")
    for wrong in ("", ":", "0,0", "0,0,:,:", "a", "1:3", ":,0x1", ":,999999999999999999999", ":,٣"):
        refused("slice must be one of the matrices of 'W_dec': ", file, slice=wrong)
    # A row of the result would be a layer, and there are nine features by the length of b_enc.
    refused("parts agree: 'W_dec' has the shape (2, 4), but 'b_enc' has the length 9", file, slice="0")
    assert tg.load_dictionary(file, slice="0", transpose=False).shape == (2, DIMENSIONS)
    # By layer, as dictionary_learning's crosscoders have them: of more than two dimensions names say nothing.
    save_file(plain({"decoder.weight": np.stack([DIRECTIONS, -DIRECTIONS])}), file)
    assert_array_equal(tg.load_dictionary(file, slice="1"), -DIRECTIONS)
    np.save(tmp_path / "four.npy", np.arange(120.0).reshape(2, 3, 5, 4))
    assert_array_equal(tg.load_dictionary(tmp_path / "four.npy", slice="1,2"), np.arange(100, 120).reshape(5, 4))
    refused("'0,0,:,:' is the first in its last two dimensions, of shape (5, 4)", tmp_path / "four.npy")
    np.save(tmp_path / "w.npy", DIRECTIONS)
    refused("slice must be None, as the array has the shape (9, 4)", tmp_path / "w.npy", slice="0")


def test_a_decoder_is_found_by_its_name_alone_if_it_is_the_only_one(tmp_path: Path):
    file = tmp_path / "w.safetensors"
    save_file(plain({f"sae.{name}": each for name, each in SAE.items()} | {"head.bias": np.zeros(3)}), file)
    assert_array_equal(tg.load_dictionary(file), DIRECTIONS)
    save_file(plain({f"layers.{layer}.{name}": each for layer in (3, 7) for name, each in SAE.items()}), file)
    refused("key must be given, as 'w.safetensors' holds 2 arrays: layers.3.W_dec, layers.7.W_dec", file)
    assert_array_equal(tg.load_dictionary(file, "layers.7.W_dec"), DIRECTIONS)
    save_file(plain({"w_dec": DIRECTIONS, "w_enc": DIRECTIONS.T, "b_enc": SAE["b_enc"]}), file)  # Gemma Scope 2
    assert_array_equal(tg.load_dictionary(file), DIRECTIONS)
    save_file(plain({"one": DIRECTIONS, "other": DIRECTIONS}), file)
    refused("key must be given, as 'w.safetensors' holds 2 arrays: one, other", file)
    refused("key must be the name of an array in 'w.safetensors'; did you mean 'other'?", file, "othr")
    save_file(plain({"a\nb": DIRECTIONS, "c" * 10**5: DIRECTIONS}), file)
    refused("key must be given, as 'w.safetensors' holds 2 arrays: a\\nb, ccc", file)
    save_file(plain({"one": DIRECTIONS, "other": DIRECTIONS}), file)
    # Transcoders of all layers have W_dec_0, …: not a name that is known.
    assert_array_equal(tg.load_dictionary(file, "one"), DIRECTIONS)


def changed(**new: Any) -> Callable[[Path], Path]:
    return lambda path: saelens(path, config=CONFIG | new)


def with_arrays(**new: Any) -> Callable[[Path], Path]:
    return lambda path: saelens(path, SAE | new)


def beside(name: str, content: bytes = b"") -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        (saelens(path) / name).write_bytes(content)
        return path

    return write


def without(name: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        (saelens(path) / name).unlink()
        return path

    return write


def folder_in_place_of(name: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        (saelens(path) / name).unlink()
        (path / name).mkdir()
        return path

    return write


def two_files(path: Path) -> Path:
    path.mkdir()
    for name in ("a.npy", "b.npy"):
        np.save(path / name, DIRECTIONS)
    return path


def nothing(path: Path) -> Path:
    path.mkdir()
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no path": (lambda path: path, "must lead to a file, and there is none"),
    "empty": (nothing, "in this folder there is no file of weights: it is empty"),
    "other files": (
        without("sae_weights.safetensors"),
        "there is no file of weights: it holds 'cfg.json', 'sparsity.saf",
    ),
    "two formats": (
        beside("ae.pt"),
        "one dictionary, but this folder holds 'ae.pt', 'sae_weights.safetensors'; name one",
    ),
    "more features": (
        changed(d_sae=10),
        "parts agree: 'W_dec' has the shape (9, 4), but d_sae = 10 in cfg.json and d_in = 4",
    ),
    "fewer dimensions": (
        changed(d_in=3),
        "'W_dec' has the shape (9, 4), but d_sae = 9 in cfg.json and d_in = 3 in cfg.json",
    ),
    "a size in words": (
        changed(d_sae="nine"),
        "must lead to a folder whose cfg.json makes sense, but d_sae in it is 'nine'",
    ),
    "a size of 4,000 digits": (changed(d_sae=10**4000), "but d_sae = int of 13288 bits in cfg.json"),
    "a size of zero": (changed(d_in=0), "but d_in in it is 0"),
    "a size that is true": (changed(d_in=True), "but d_in in it is True"),
    "no table": (lambda path: saelens(path, config=[1]), "a readable cfg.json: it must hold a JSON object"),
    "no JSON": (beside("cfg.json", b"{'d_in': 4"), "must lead to a folder with a readable cfg.json: "),
    "JSON in UTF-16": (beside("cfg.json", "é".encode("utf-16")), "must lead to a folder with a readable cfg.json: "),
    "twice the same": (beside("cfg.json", b'{"d_in": 4, "d_in": 5}'), "two of its entries have the same name"),
    "deep JSON": (beside("cfg.json", b"[" * 100_000), "must lead to a folder with a readable cfg.json: "),
    "a folder as cfg.json": (folder_in_place_of("cfg.json"), "a file 'cfg.json', and this is a folder"),
    "a folder as weights": (
        folder_in_place_of("sae_weights.safetensors"),
        "a folder with a file 'sae_weights.safetensors', and this is a folder",
    ),
    "other biases": (
        with_arrays(b_enc=np.zeros(8, np.float32)),
        "has the shape (9, 4), but d_sae = 9 in cfg.json and d_in = 4 ",
    ),
    "NaN": (
        with_arrays(W_dec=DIRECTIONS * np.nan),
        "must lead to a sound matrix: 'W_dec' must be finite numbers, and row 0",
    ),
    "infinite": (with_arrays(W_dec=np.where(np.eye(9, 4), np.inf, 1)), "finite numbers, and row 0 is not"),
    "complex": (
        with_arrays(W_dec=DIRECTIONS.astype(np.complex64)),
        "of real numbers, but this is complex64 of shape (9, 4)",
    ),
    "a vector": (
        with_arrays(W_dec=DIRECTIONS[0]),
        "must lead to a matrix of real numbers, but this is float32 of shape (4,)",
    ),
    "no rows": (
        with_arrays(W_dec=DIRECTIONS[:0]),
        "must lead to a matrix of real numbers, but this is float32 of shape (0, 4)",
    ),
    "truncated": (
        beside("sae_weights.safetensors", b"\x10\0\0\0\0\0\0\0{}"),
        "must lead to a readable .safetensors file: ",
    ),
    "no safetensors": (beside("sae_weights.safetensors", b"weights"), "must lead to a readable .safetensors file: "),
    "a text": (lambda path: (path.write_text("x"), path)[1], "must end in one of .npy, .npz, .safetensors, "),
    "two files": (two_files, "must lead to one dictionary, but this folder holds 'a.npy', 'b.npy'; name one of these"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused(what: str, tmp_path: Path):
    write, sentence = BAD[what]
    refused(sentence, write(tmp_path / "sae"))


@pytest.mark.parametrize(
    ("shard", "sentence"),
    [
        ("model-9.safetensors", "it names the file 'model-9.safetensors', and there is none"),
        (
            "../elsewhere.safetensors",
            "names '../elsewhere.safetensors', which must be a file in the same folder, without",
        ),
        ("/etc/passwd", "names '/etc/passwd', which must be a file in the same folder, without a path"),
        ("..", "names '..', which must be a file in the same folder, without a path"),
        ("", "names '', which must be a file in the same folder, without a path"),
        ("a\0b", "it names the file 'a\\x00b', and the system refuses this name"),
        (
            "link.safetensors",
            "'link.safetensors' must be a file in the same folder, but is a symbolic link to elsewhere",
        ),
        ("folder.safetensors", "it names the file 'folder.safetensors', and this is a folder"),
        ("other.safetensors", "must lead to a true index, but 'other.safetensors' does not hold 'W_dec'"),
        ("cfg.json", "it names the file 'cfg.json', which must end in .safetensors"),
        (3, "its weight_map must have the name of a file for the name of each array"),
    ],
)
def test_an_index_that_lies(shard: Any, sentence: str, tmp_path: Path):
    save_file(plain(SAE), tmp_path / "elsewhere.safetensors")
    folder = sharded(tmp_path / "sae")
    (folder / "link.safetensors").symlink_to("../elsewhere.safetensors")
    (folder / "folder.safetensors").mkdir()
    save_file({"x": DIRECTIONS}, folder / "other.safetensors")
    (folder / "cfg.json").write_text("{}")
    index = folder / "model.safetensors.index.json"
    held = json.loads(index.read_text())
    held["weight_map"]["W_dec"] = shard
    index.write_text(json.dumps(held))
    refused(sentence, folder)
    refused(sentence, index)
    for content in ('{"weight_map": {}}', '{"weight_map": []}', "{}", "[]", "", '{"a": 1, "a": 2}', "[" * 100_000):
        index.write_text(content)
        refused("must lead to a readable index of .safetensors files: ", folder)


def test_links_within_a_download_are_followed(tmp_path: Path):
    """A cache of Hugging Face has its files as symbolic links into a folder beside that of the snapshot."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(sharded(blobs).iterdir())):
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
        file.rename(blobs / str(number))
    assert_array_equal(tg.load_dictionary(snapshot), DIRECTIONS)
    outside = saelens(tmp_path / "outside")
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("cfg.json", "sae_weights.safetensors"):
        (linked / name).symlink_to(outside / name)
    refused("'sae_weights.safetensors' must be a file in the same folder, but is a symbolic link to elsewhere", linked)
    (tmp_path / "whole").symlink_to(outside)  # the user's own link to a folder
    assert_array_equal(tg.load_dictionary(tmp_path / "whole"), DIRECTIONS)


@pytest.mark.parametrize(
    ("kind", "shape", "end"),
    [("F32", [9, 4], 140), ("F32", [10, 4], 144), ("F32", [9, -4], 144), ("F32", [2**62, 4], 144), ("X", [9, 4], 144)],
)
def test_headers_that_announce_more_than_there_is(kind: str, shape: list[int], end: int, tmp_path: Path):
    header = {"W_dec": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}
    refused("path must lead to ", raw(tmp_path / "w.safetensors", header, DIRECTIONS.tobytes()))


def test_memory_is_asked_for_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "3.9MB")
    file = tmp_path / "w.safetensors"
    header = {"W_dec": {"dtype": "BF16", "shape": [1000, 1000], "data_offsets": [0, 2_000_000]}}
    refused("of shape (1000, 1000) would take 4.0 MB of memory", raw(file, header, bytes([0, 63]) * 1_000_000))
    header["W_dec"]["shape"] = [1000, 2, 500]
    assert tg.load_dictionary(raw(file, header, bytes([0, 63]) * 1_000_000), slice=":,0,:").shape == (1000, 500)
    # What is mapped takes none.
    np.save(tmp_path / "w.npy", np.eye(1000, dtype=np.float32))
    assert_array_equal(tg.load_dictionary(tmp_path / "w.npy").values.diagonal(), 1)
    scipy.sparse.save_npz(tmp_path / "w.npz", scipy.sparse.eye_array(1000, dtype=np.float32, format="csr"))
    refused("must lead to a matrix that fits into memory: dense, it would take 4.0 MB", tmp_path / "w.npz")
    with pytest.raises(
        ValueError, match=r"^analyse\(weights\): 1,000 × 1,000 weights, dense would take 4.0 MB of memory"
    ):
        tg.analyse(scipy.sparse.eye_array(1000, dtype=np.float32, format="csr"))


def test_sparse_weights_are_measured_as_dense_ones():
    for form in ("csr_array", "csc_array", "coo_array"):
        assert tg.analyse(getattr(scipy.sparse, form)(DIRECTIONS)).identical(tg.analyse(DIRECTIONS))


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.marker,)


def test_no_code_is_run(tmp_path: Path):
    marker, file = tmp_path / "ran", tmp_path / "params.npz"
    np.savez(file, **SAE, config=np.array(Malicious(marker)))
    assert_array_equal(tg.load_dictionary(file), DIRECTIONS)
    refused("it holds Python objects, which are not read", file, "config")
    np.save(tmp_path / "w.npy", np.array([[Malicious(marker)]]))
    refused("it holds Python objects, which are not read", tmp_path / "w.npy")
    assert not marker.exists()
    np.load(file, allow_pickle=True)["config"]
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_tensors_need_pytorch(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / f"ae{suffix}").write_bytes(b"")
    refused("path can be read only where PyTorch is installed (", tmp_path / f"ae{suffix}")
    refused("): pip install torch", tmp_path / f"ae{suffix}")


def outcome(path: Path) -> Any:
    """The directions, or the sentence that refuses the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is likely transposed
        try:
            return tg.load_dictionary(path)
        except ValueError as error:
            return str(error)


def mutated(whole: bytes, random: np.random.Generator) -> bytes:
    broken = bytearray(whole)
    # The first part holds headers, where a byte matters most.
    reach = len(whole) if random.random() < 0.3 else min(len(whole), 300)
    match random.integers(4):
        case 0:
            del broken[random.integers(len(whole)) :]
        case 1:
            broken[random.integers(reach)] = random.integers(256)
        case 2:
            at = random.integers(reach)
            broken[at : at + random.integers(1, 9)] = random.bytes(random.integers(9))
        case _:
            broken[random.integers(reach)] ^= 1 << random.integers(8)
    return bytes(broken)


def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path: Path):
    random = np.random.default_rng(0)
    folders = [saelens(tmp_path / "a"), sharded(tmp_path / "b"), gemma_scope(tmp_path / "c")]
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "w.npy", DIRECTIONS)
    folders.append(tmp_path / "d")
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.name != "sparsity.safetensors"]
    read = 0
    for _ in range(200):
        file = files[random.integers(len(files))]
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, random))
        found = outcome(file.parent)
        file.write_bytes(whole)
        if isinstance(found, str):
            assert found.startswith("load_dictionary("), found
            assert found.isprintable(), found
        else:
            assert np.isfinite(found).all()
            read += 1
    assert 20 < read < 180
    for folder in folders:
        assert_array_equal(tg.load_dictionary(folder), DIRECTIONS)
