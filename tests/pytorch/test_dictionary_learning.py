"""The folder of a dictionary: the published AutoEncoder computes with it what the toy model computes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import tegum as tg
from tegum.torch import ToyModel
from tegum.torch.dictionary_learning import write_dictionary

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
