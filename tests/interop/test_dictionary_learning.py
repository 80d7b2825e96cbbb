"""The package dictionary_learning itself: it trains on hidden activations, and loads the toy model as a dictionary."""

from __future__ import annotations

import json

import numpy as np
import torch
from dictionary_learning.trainers import StandardTrainer
from dictionary_learning.training import trainSAE
from dictionary_learning.utils import load_dictionary

import tegum as tg
from tegum.torch import Hidden, ToyModel
from tegum.torch.dictionary_learning import write_dictionary

FEATURES = tg.FeatureDistribution([tg.Independent(6, 0.1)])
MODEL = ToyModel(np.random.default_rng(0).normal(size=(6, 3)), np.linspace(-0.2, 0.2, 6), dtype=torch.float32)


def test_the_toy_model_is_loaded_as_a_dictionary(tmp_path):
    write_dictionary(tmp_path / "truth", MODEL)
    dictionary, config = load_dictionary(str(tmp_path / "truth"), "cpu")
    assert config["trainer"]["dict_size"] == dictionary.dict_size == 6
    x = torch.from_numpy(FEATURES.sample(0, 100)).float()
    h, norms = x @ MODEL.weights, MODEL.weights.norm(dim=1)
    # Directions have unit norm, and features are scaled by the norms that they had.
    torch.testing.assert_close(dictionary.decoder.weight.T * norms[:, None], MODEL.weights.detach())
    torch.testing.assert_close(dictionary.encode(h), MODEL(x) * norms)
    torch.testing.assert_close(dictionary(h), MODEL(x) @ MODEL.weights)


def test_its_trainers_take_hidden_activations_and_its_folders_have_directions(tmp_path):
    trainer = {
        "trainer": StandardTrainer,
        "activation_dim": 3,
        "dict_size": 6,
        "lr": 1e-3,
        "l1_penalty": 0.1,
        "warmup_steps": 0,
        "sparsity_warmup_steps": 0,
        "resample_steps": None,
        "steps": 20,
        "seed": 0,
        "layer": 0,
        "lm_name": "toy",
        "device": "cpu",
    }
    data = iter(Hidden(MODEL, 64, features=FEATURES, batches=20))
    trainSAE(data, [trainer], steps=20, save_dir=str(tmp_path), autocast_dtype=torch.float32, device="cpu")
    folder = tmp_path / "trainer_0"
    dictionary, _ = load_dictionary(str(folder), "cpu")
    directions = torch.tensor(tg.load_dictionary(folder).values)
    torch.testing.assert_close(dictionary.decoder.weight.T.detach(), directions / directions.norm(dim=1, keepdim=True))
    assert json.loads((folder / "config.json").read_text())["trainer"]["dict_class"] == "AutoEncoder"
    assert tg.match_directions(directions, MODEL.weights).match.min() >= 0
