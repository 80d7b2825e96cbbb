"""Dictionaries in files of torch.save: tensors are read, code is not run, and what is damaged is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dictionary_files import DIMENSIONS, DIRECTIONS, FEATURES, LINEAR, SAE
from numpy.testing import assert_allclose, assert_array_equal
from processes import tegum

import tegum as tg
from tegum.core.limits import VARIABLE
from tegum.data.matrices import open_matrix


def tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(each) for name, each in arrays.items()}


TOPK = {"b_dec": SAE["b_dec"], "k": np.int32(3), "threshold": np.float32(-1)}
TOPK |= {name: LINEAR[name] for name in ("decoder.weight", "encoder.weight", "encoder.bias")}
GATED = {"decoder_bias": SAE["b_dec"], "r_mag": SAE["b_enc"], "gate_bias": SAE["b_enc"], "mag_bias": SAE["b_enc"]}
GATED |= {name: LINEAR[name] for name in ("encoder.weight", "decoder.weight")}
NEW = {name: LINEAR[name] for name in ("encoder.weight", "encoder.bias", "decoder.weight")}
CLASSES = {
    "AutoEncoder": LINEAR,
    "AutoEncoderNew": NEW | {"decoder.bias": SAE["b_dec"]},
    "GatedAutoEncoder": GATED,
    "AutoEncoderTopK": TOPK,
    "BatchTopKSAE": TOPK,
    "JumpReluAutoEncoder": SAE | {"threshold": np.full(FEATURES, 0.001, np.float32)},
    "MatryoshkaBatchTopKSAE": SAE | {"k": np.int32(3), "threshold": np.float32(-1), "group_sizes": np.array([2, 7])},
}
"""The state of each class of dictionary_learning."""


def folder(place: Path, name: str, **config: Any) -> Path:
    """As `dictionary_learning.training.trainSAE` writes it."""
    place.mkdir()
    torch.save(tensors(CLASSES[name]), place / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": DIMENSIONS, "dict_size": FEATURES, "lr": 1e-3} | config
    (place / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"d_submodule": 4}}, indent=4))
    return place


def refused(sentence: str, path: Path, *args: Any, **options: Any) -> None:
    with pytest.raises(ValueError, match=r"^load_dictionary\((path|key|slice)=") as caught:
        tg.load_dictionary(path, *args, **options)
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_dictionary_learning(name: str, tmp_path: Path):
    found = tg.load_dictionary(folder(tmp_path / "ae", name))
    assert_array_equal(found, DIRECTIONS)
    assert (found.format, found.architecture, found.likely_transposed) == ("dictionary_learning", name, "")
    assert found.transposed == ("decoder.weight" in CLASSES[name])
    bias = next(each for each in ("bias", "decoder.bias", "decoder_bias", "b_dec") if each in found.coords)
    assert_array_equal(found[bias], SAE["b_dec"])
    encoder = "encoder.weight" if found.transposed else "W_enc"
    assert_array_equal(tg.load_dictionary(tmp_path / "ae", encoder), 2 * DIRECTIONS)
    assert_array_equal(tg.load_dictionary(tmp_path / "ae" / "ae.pt"), DIRECTIONS)


def test_a_configuration_that_contradicts_the_weights(tmp_path: Path):
    place = folder(tmp_path / "ae", "AutoEncoder", dict_size=10)
    refused("parts agree: 'decoder.weight' has the shape (4, 9), but dict_size = 10 in config.json", place)


def test_in_fresh_processes(tmp_path: Path):
    place = folder(tmp_path / "ae", "AutoEncoder")
    torch.save(torch.nn.Parameter(torch.tensor(DIRECTIONS).bfloat16()), tmp_path / "w.pt")
    program = (
        "import sys, tegum as tg; assert 'torch' not in sys.modules\n"
        "print([tg.load_dictionary(path).values.tolist() for path in sys.argv[1:]])"
    )
    command = [sys.executable, "-c", program, str(place), str(tmp_path / "w.pt")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == [DIRECTIONS.tolist()] * 2
    code, out, err = tegum("analyse", "ae", cwd=tmp_path)
    assert (code, err) == (0, "ae: started\n")
    assert out.startswith("9 directions in 4 dimensions: the columns of 'decoder.weight' (dictionary_learning,")


W = torch.tensor(DIRECTIONS)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: W, None),
        (lambda: torch.nn.Parameter(W), None),
        (lambda: {"W_dec": W.T.contiguous().T}, None),
        (lambda: {"W_dec": torch.cat([W, W])[9:]}, None),
        (lambda: {"state_dict": tensors(SAE), "step": 3, "name": "x", "more": [W]}, None),
        (lambda: {"sae": {"layers": {3: tensors(SAE)}}, "other": W}, "sae.layers.3.W_dec"),
        (lambda: W.bfloat16(), None),
        (lambda: W.half(), None),
        (lambda: W.double(), None),
        (lambda: W.to(torch.float8_e4m3fn), None),
        (lambda: W.to(torch.float8_e5m2), None),
        (lambda: W.to_sparse(), None),
        (lambda: W.to_sparse_csr(), None),
        (lambda: W.to_sparse_csc(), None),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_every_kind_of_tensor(make: Callable[[], Any], key: str | None, suffix: str, tmp_path: Path):
    file = tmp_path / f"w{suffix}"
    held = make()
    torch.save(held, file)
    assert_array_equal(tg.load_dictionary(file, key), DIRECTIONS)
    if isinstance(held, torch.Tensor):
        norms = np.linalg.norm(DIRECTIONS, axis=1)
        assert_allclose(tg.analyse(held, neighbours=False).norm, norms, rtol=1e-3 if held.dtype == torch.half else 1e-6)


def test_slices_and_the_format_before_archives(tmp_path: Path):
    # (layer, feature, dimension), as the crosscoders of dictionary_learning's fork.
    layers = {"decoder.weight": torch.stack([W, 2 * W]), "encoder.bias": torch.zeros(FEATURES)}
    for new in (True, False):
        torch.save(layers, tmp_path / "ae.pt", _use_new_zipfile_serialization=new)
        assert_array_equal(tg.load_dictionary(tmp_path / "ae.pt", slice="1,:,:"), 2 * DIRECTIONS)
        refused(
            "slice must be given, as 'decoder.weight' has the shape (2, 9, 4): '0,:,:' to '1,:,:' of",
            tmp_path / "ae.pt",
        )


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_no_code_is_run(tmp_path: Path):
    marker = tmp_path / "ran"
    held = {"W_dec": W, "other": Malicious(marker)}
    file = tmp_path / "ae.pt"
    for new in (True, False):
        torch.save(held, file, _use_new_zipfile_serialization=new)
        refused("it holds Python objects beside tensors, which could run code and are not read; torch.save(", file)
    (tmp_path / "w.pt").write_bytes(pickle.dumps(held))
    refused("torch.save did not write it, and other pickles are not read", tmp_path / "w.pt")
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists()


def repacked(file: Path, change: Callable[[str, bytes], bytes | None], packed: int = zipfile.ZIP_STORED) -> Path:
    """The archive with other contents."""
    with zipfile.ZipFile(file) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(file, "w", packed) as archive:
        for name, content in members:
            if (new := change(name, content)) is not None:
                archive.writestr(name, new)
    return file


def test_files_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "w.pt"

    def changed(old: bytes, new: bytes) -> Path:
        torch.save({"W_dec": W}, file)

        def change(name: str, content: bytes) -> bytes:
            assert not name.endswith("data.pkl") or old in content
            return content.replace(old, new) if name.endswith("data.pkl") else content

        return repacked(file, change)

    def with_numbers(change: Callable[[bytes], bytes | None]) -> Path:
        torch.save({"W_dec": W}, file)
        return repacked(file, lambda name, content: change(content) if name.endswith("data/0") else content)

    more, unread = "the tensor 'W_dec' announces more numbers than there are", "a file of torch.save that can be read: "
    # The numbers of the storage (36), and the shape of the tensor.
    refused(more, changed(b"K\x24t", b"M\xe8\x03t"))
    refused(unread, changed(b"K\x09K\x04\x86", b"M\x10\x27M\x10\x27\x86"))
    refused(more, with_numbers(lambda content: content[:20]))
    refused(unread, with_numbers(lambda _: None))
    # Numbers that a tensor repeats need memory, of which there may be too little.
    torch.save({"W_dec": W[:1].expand(FEATURES, DIMENSIONS)}, file)
    assert_array_equal(tg.load_dictionary(file), DIRECTIONS[[0] * FEATURES])
    torch.save({"W_dec": W[:1].expand(10**15, DIMENSIONS)}, file)
    refused("must lead to a matrix that fits into memory: one of shape (1000000000000000, 4) would take 16 PB", file)
    # Compressed entries cannot be mapped: they are read, if they fit into memory.
    torch.save({"W_dec": torch.ones(1000, 1000)}, file)
    repacked(file, lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 20_000
    assert (tg.load_dictionary(file) == 1).all()
    monkeypatch.setenv(VARIABLE, "3.9MB")
    refused("must lead to tensors that fit into memory: they would take 4.0 MB", file)
    torch.save({"W_dec": torch.ones(1000, 1000)}, file)
    assert (tg.load_dictionary(file) == 1).all()  # mapped
    torch.save({"W_dec": torch.ones(1000, 1000).bfloat16()}, file)
    refused("of shape (1000, 1000) would take 4.0 MB", file)


@pytest.mark.filterwarnings("ignore:torch.quantize", "ignore:.*torch.jit:DeprecationWarning")
def test_other_things_in_a_file(tmp_path: Path):
    file = tmp_path / "w.pt"
    for content in (b"", b"text", b"PK\x03\x04", b"\x80\x02."):
        file.write_bytes(content)
        refused("must lead to a file of torch.save that can be read: torch.save did not write it", file)
    for held in ({}, {"a": 3}, "text", [W], 3.0):
        torch.save(held, file)
        refused("must lead to tensors, but there are none in this file", file)
    for held in (torch.nn.Linear(3, 4), {"W_dec": DIRECTIONS}):
        torch.save(held, file)
        refused("it holds Python objects beside tensors", file)
    torch.save({"W_dec": W * 1j}, file)
    refused("must lead to a matrix of real numbers, but this is complex64 of shape (9, 4)", file)
    torch.save({"W_dec": W * torch.nan}, file)
    refused("'W_dec' must be finite numbers, and row 0 is not", file)
    torch.save({"W_dec": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)}, file)
    refused("the tensor 'W_dec' of qint8 is quantised; .dequantize() makes plain numbers", file)
    torch.save({"W_dec": torch.empty(9, 4, device="meta")}, file)
    refused("must lead to ", file)
    torch.save({"a": W, "b": W}, file)
    refused("key must be given, as 'w.pt' holds 2 arrays: a, b", file)
    inside: dict[str, Any] = {"W": W}
    inside["inside"] = inside
    torch.save(inside, file)
    refused("key must be given, as 'w.pt' holds ", file)
    assert_array_equal(tg.load_dictionary(file, "inside.inside.W"), DIRECTIONS)
    torch.jit.script(torch.nn.Linear(3, 4)).save(str(file))
    refused("must lead to a file of torch.save that can be read: ", file)


def test_versions_that_let_code_through_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save(W, tmp_path / "w.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    refused("path can be read safely by PyTorch 2.6 or newer, and 2.5.1+cpu is installed", tmp_path / "w.pt")


def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path: Path):
    random = np.random.default_rng(0)
    file = tmp_path / "ae.pt"
    wholes = []
    for new in (True, False):
        torch.save(tensors(SAE), file, _use_new_zipfile_serialization=new)
        wholes.append(file.read_bytes())
    read = 0
    for number in range(200):
        whole = wholes[number % 2]
        broken = bytearray(whole)
        at = int(random.integers(len(whole) if random.random() < 0.5 else 700))
        if random.random() < 0.2:
            del broken[at:]
        else:
            broken[at] ^= 1 << random.integers(8)
        file.write_bytes(broken)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                found = tg.load_dictionary(file)
        except ValueError as error:
            said = str(error)
        else:
            read += np.isfinite(found).all().item()
            continue
        assert said.startswith("load_dictionary("), said
        assert said.isprintable(), said
    assert 20 < read < 180


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_activations_in_files(tmp_path: Path):
    x = np.where(np.random.default_rng(2).random((300, FEATURES)) < 0.2, 1.0, 0.0)
    np.savez(tmp_path / "x.npz", x)
    torch.save(torch.tensor(x).to_sparse_csr(), tmp_path / "x.pt")
    expected = open_matrix(tmp_path / "x.npz", call="f")
    assert_array_equal(open_matrix(tmp_path / "x.pt", call="f", sparse=True).toarray(), expected)
    with pytest.raises(
        ValueError, match=r"^f\(path='x.pt'\): path must lead to a dense matrix, but this one is sparse"
    ):
        open_matrix(tmp_path / "x.pt", call="f")


def test_sparse_weights_are_measured_as_dense_ones():
    expected = tg.analyse(DIRECTIONS, neighbours=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that some of its formats may change
        for given in (W.to_sparse(), W.to_sparse_csr(), W.to_sparse_csc()):
            assert tg.analyse(given, neighbours=False).identical(expected)


def test_tensors_of_one_name_and_tensors_without_a_shape(tmp_path: Path):
    file, one, other = tmp_path / "w.pt", torch.ones(3, 2), 2 * torch.ones(3, 2)
    for held in ({"a.decoder.weight": one, "a": {"decoder.weight": other}}, {1: one, "1": other}):
        torch.save(held, file)
        refused("must lead to tensors with names of their own, but two in it are called ", file)
    torch.save({"": one, "decoder.weight": other.T}, file)
    assert_array_equal(tg.load_dictionary(file), other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls nested tensors a prototype
        torch.save(torch.nested.nested_tensor([one, one[:2]]), file)
    refused("must lead to a file of torch.save that can be read: ", file)


def shards(place: Path, suffix: str, arrays: Mapping[str, Any]) -> Path:
    """As transformers writes a model of several files; returns the index."""
    place.mkdir()
    held = {name: f"pytorch_model-{number:05}-of-00009{suffix}" for number, name in enumerate(arrays, 1)}
    for name, shard in held.items():
        torch.save({name: torch.tensor(arrays[name])}, place / shard)
    index = place / f"pytorch_model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": held}))
    return index


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
def test_several_files_with_an_index(suffix: str, tmp_path: Path):
    index = shards(tmp_path / "sae", suffix, LINEAR)
    for path in (index, index.parent):
        found = tg.load_dictionary(path)
        assert_array_equal(found, DIRECTIONS)
        assert_array_equal(found["bias"], SAE["b_dec"])
        assert (found.format, found.transposed) == (suffix[1:], True)
    assert_array_equal(tg.load_dictionary(index, "encoder.weight"), 2 * DIRECTIONS)
    assert_array_equal(open_matrix(index, "encoder.weight", call="f"), 2 * DIRECTIONS)


def test_an_index_of_tensors_that_lies(tmp_path: Path):
    marker = tmp_path / "ran"
    index = shards(tmp_path / "sae", ".bin", {"W_dec": DIRECTIONS, "b_enc": SAE["b_enc"]})
    first, second = sorted(index.parent.glob("*.bin"))
    whole = first.read_bytes()
    torch.save({"W_dec": W, "other": Malicious(marker)}, first)
    refused("it holds Python objects beside tensors, which could run code and are not read", index)
    assert not marker.exists()
    first.write_bytes(whole[:-100])
    refused("must lead to a file of torch.save that can be read: ", index)
    torch.save(W, first)
    refused("must lead to a true index, but 'pytorch_model-00001-of-00009.bin' does not hold 'W_dec'", index)
    first.write_bytes(whole)
    held = {"W_dec": first.name, "b_enc": second.name}
    for shard, sentence in (
        ("../sae/x.bin", "names '../sae/x.bin', which must be a file in the same folder, without a path"),
        ("missing.bin", "a readable index of .bin files: it names the file 'missing.bin', and there is none"),
        (index.name, "it names the file 'pytorch_model.bin.index.json', which must end in .bin"),
    ):
        index.write_text(json.dumps({"weight_map": held | {"W_dec": shard}}))
        refused(sentence, index.parent)
    # Where both kinds of index are there, it takes one of them.
    (index.parent / "model.safetensors.index.json").write_text("{}")
    refused("this folder holds 'model.safetensors.index.json', 'pytorch_model.bin.index.json'; name one", index.parent)
