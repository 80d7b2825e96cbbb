"""The folder of a dictionary: the published AutoEncoder computes with it what the toy model computes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import tegum as tg
from tegum.torch import ToyModel
from tegum.torch.dictionary_learning import write_dictionary
from tegum.torch.spd import write_target

SPEC = tg.Spec(features=[tg.Independent(6, 0.1)], hidden=2, training=tg.Sampled(steps=5))
MODEL = ToyModel(np.random.default_rng(0).normal(size=(6, 2)), np.linspace(-0.5, 0.5, 6), dtype=torch.float32)


def test_the_encoder_is_the_output_layer_and_the_decoder_the_embedding(tmp_path):
    write_dictionary(tmp_path / "truth", MODEL)
    state = torch.load(tmp_path / "truth" / "ae.pt", weights_only=True)
    x = torch.rand(50, 6)
    h = x @ MODEL.weights
    encoded = torch.relu((h - state["bias"]) @ state["encoder.weight"].T + state["encoder.bias"])
    torch.testing.assert_close(encoded, MODEL(x))
    torch.testing.assert_close(x @ state["decoder.weight"].T + state["bias"], h)
    trainer = json.loads((tmp_path / "truth" / "config.json").read_text())["trainer"]
    assert_array_equal(tg.load_dictionary(tmp_path / "truth"), MODEL.weights.detach())
    assert trainer == {"dict_class": "AutoEncoder", "activation_dim": 2, "dict_size": 6}


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (ToyModel(np.ones((2, 3, 6, 2))), "the model must be of one run, and this one has 2×3"),
        (ToyModel(np.ones((6, 2)), activation="linear"), "the activation must be 'relu'"),
        (ToyModel(np.eye(3)[:, :2]), "every feature must have a direction, and row 2 of the weights is 0"),
    ],
)
def test_what_is_no_dictionary_is_refused_in_a_sentence(model, sentence, tmp_path):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        write_dictionary(tmp_path / "truth", model)
    assert not (tmp_path / "truth").exists()


def diverged(name: str, number: int) -> ToyModel:
    """As training may leave a model."""
    model = ToyModel(np.ones((6, 2)))
    getattr(model, name).data[number] = torch.nan
    return model


@pytest.mark.parametrize("write", [write_dictionary, lambda path, model: write_target(path, model, SPEC)])
def test_places_and_models_that_cannot_be_written_are_refused_in_a_sentence(write, tmp_path):
    for model, where in (
        (diverged("weights", 0), r"weights\[0\]"),
        (ToyModel(np.full((6, 2), 1e300)), r"weights\[0\]"),  # beyond float32
        (diverged("bias", 2), r"bias\[2\]"),
    ):
        with pytest.raises(ValueError, match=rf"weights and biases must be finite in float32, and {where} is not"):
            write(tmp_path / "new", model)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"file'\): the path must be that of a folder, and this is a file$"):
        write(tmp_path / "file", MODEL)
    with pytest.raises(ValueError, match=r"the path must be that of a folder, and the system refuses this name \("):
        write("a\0b", MODEL)
    with pytest.raises(OSError, match=r"^write_\w+\('.*inside'\): making the folder: Not a directory$"):
        write(tmp_path / "file" / "inside", MODEL)
    assert (tmp_path / "file").read_text() == "mine"
    for name in ("ae.pt", "tms.pth"):
        (tmp_path / "taken" / name).mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"taken'\): (ae\.pt|tms\.pth): a folder is at this path$"):
        write(tmp_path / "taken", MODEL)
    write(tmp_path / "new" / "folder", MODEL)
    write(tmp_path / "new" / "folder", MODEL)
    assert len([*(tmp_path / "new" / "folder").iterdir()]) == 2


def test_wrong_arguments_get_a_sentence():
    """In a process of its own: here types are checked while tests run, which would come first."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", WRONG], capture_output=True, text=True, timeout=200)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "write_dictionary(path=None): path must be a string or a path",
        "write_dictionary(model=None): model must be a ToyModel",
        "write_target(path=3): path must be a string or a path",
        "write_target(model=None): model must be a ToyModel",
        "write_target('x'): spec must be a Spec, not None",
        "read_target(path=None): path must be a string or a path",
    ]


WRONG = """
from tegum.torch import ToyModel
from tegum.torch.dictionary_learning import write_dictionary
from tegum.torch.spd import read_target, write_target
model = ToyModel([[1.0], [1.0]])
for call in (
    lambda: write_dictionary(None, model), lambda: write_dictionary("x", None), lambda: write_target(3, model, None),
    lambda: write_target("x", None, None), lambda: write_target("x", model, None), lambda: read_target(None),
):
    try:
        call()
        print("no error")
    except ValueError as error:
        print(error)
"""
