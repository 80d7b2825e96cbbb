"""Targets of parameter decomposition: written as published, read back, and refused where they say something else.

The model and the configuration that goodfire publishes are described here once more, apart from the code under test.
"""

from __future__ import annotations

import datetime
import json
import re

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import tegum as tg
from tegum.core.limits import VARIABLE
from tegum.torch import ToyModel
from tegum.torch.spd import read_target, write_target

FEATURES = tg.FeatureDistribution([tg.Independent(2, 0.05), tg.Correlated(3, 1 - 0.95**3), tg.Independent(1, 0.05)])
DOUBLED = tg.FeatureDistribution([tg.Independent(6, 0.05, magnitude=tg.UniformMagnitude(0, 2))])
SPEC = tg.Spec(features=FEATURES, hidden=2, training=tg.Sampled(steps=500, batch=64, rate=3e-3), base_seed=4)
MODEL = ToyModel(np.random.default_rng(0).normal(size=(6, 2)), np.linspace(-0.5, 0.5, 6), dtype=torch.float32)


class Published(nn.Module):
    """x → relu(linear2(linear1(x))), with a bias only in the second."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(n, m, bias=False), nn.Linear(m, n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear2(self.linear1(x)))


def described(folder) -> dict:
    return yaml.safe_load((folder / "tms_train_config.yaml").read_text())


def test_the_published_model_computes_the_same(tmp_path):
    write_target(tmp_path / "target", MODEL, SPEC)
    theirs = Published(6, 2)
    theirs.load_state_dict(torch.load(tmp_path / "target" / "tms.pth", weights_only=True))
    assert torch.equal(theirs.linear2.weight, theirs.linear1.weight.T)
    x = torch.rand(100, 6)
    torch.testing.assert_close(theirs(x), MODEL(x))
    config = described(tmp_path / "target")
    # All keys that are published without a default, and their rules.
    assert config == {
        "tms_model_config": {
            "n_features": 6, "n_hidden": 2, "n_hidden_layers": 0, "tied_weights": True, "init_bias_to_zero": True,
            "device": "cpu",
        },
        "feature_probability": pytest.approx(0.05, rel=1e-12),
        "data_generation_type": "at_least_zero_active",
        "synced_inputs": [[2, 3, 4]],
        "batch_size": 64, "steps": 500, "seed": 4, "lr_schedule": {"start_val": 3e-3},
    }  # fmt: skip


def test_there_and_back(tmp_path):
    write_target(tmp_path, MODEL, SPEC)
    target = read_target(tmp_path)
    for one, other in zip(target.model.parameters(), MODEL.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [type(each) for each in target.features.sets] == [type(each) for each in FEATURES.sets]
    np.testing.assert_allclose(target.features.density, FEATURES.density, rtol=1e-12)
    one_of_all = SPEC.replace(features=tg.FeatureDistribution([tg.Anticorrelated(6, 1.0)]))
    write_target(tmp_path, MODEL, one_of_all)
    assert read_target(tmp_path).features == one_of_all.features
    assert described(tmp_path)["data_generation_type"] == "exactly_one_active"


def test_synchronised_features_are_those_of_a_correlated_set():
    """All of them are active where at least one of three independent gates is, with magnitudes of their own."""
    rng = np.random.default_rng(0)
    gates = (rng.random((200_000, 3)) < 0.05).any(1)
    share = FEATURES.density[2]
    assert abs(gates.mean() - share) < 4 * np.sqrt(share * (1 - share) / 200_000)


@pytest.mark.parametrize(
    ("model", "spec", "sentence"),
    [
        (ToyModel(np.ones((3, 6, 2))), SPEC, "the model must be of one run, and this one has 3"),
        (ToyModel(np.ones((6, 2)), activation="linear"), SPEC, "the activation must be 'relu'"),
        (ToyModel(np.ones((5, 2))), SPEC, "the Spec has 6 features and 2 hidden dimensions"),
        (MODEL, SPEC.replace(training=tg.Exact()), "training must be Sampled, of at least one step"),
        (MODEL, SPEC.override({"features.0.density": [0.1, 0.2]}), "must be Independent or Correlated with equal "),
        (MODEL, SPEC.override({"features.0.density": 0.1}), "must be active with one probability"),
        (MODEL, SPEC.replace(features=tg.FeatureDistribution([tg.Anticorrelated(6, 0.5)])), "of density 1"),
        (MODEL, SPEC.replace(changes=[{"step": 5, "rate": 0.5}]), "changes must be empty, as targets know none"),
        (MODEL, SPEC.replace(features=DOUBLED), "magnitudes must be uniform on [0, 1], as those of targets are"),
    ],
)
def test_what_a_target_cannot_say_is_refused_in_a_sentence(model, spec, sentence, tmp_path):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        write_target(tmp_path / "target", model, spec)
    assert not (tmp_path / "target").exists()


def changed(**changes):
    def change(folder):
        config = described(folder) | changes
        (folder / "tms_train_config.yaml").write_text(yaml.safe_dump(config))

    return change


def sized(**sizes):
    return lambda folder: changed(tms_model_config=described(folder)["tms_model_config"] | sizes)(folder)


def weights(**changes):
    def change(folder):
        torch.save(torch.load(folder / "tms.pth") | changes, folder / "tms.pth")

    return change


def text(content, encoding="utf-8"):
    return lambda folder: (folder / "tms_train_config.yaml").write_bytes(content.encode(encoding))


class Evil:
    def __reduce__(self):
        return print, ("pickled code runs",)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "tms.pth").unlink(), "tms.pth must be a state of a model"),
        (lambda folder: torch.save({"linear1.weight": Evil()}, folder / "tms.pth"), "with its weights only"),
        (lambda folder: (folder / "tms.pth").write_bytes(b"PK" * 99), "tms.pth must be a state of a model"),
        (lambda folder: (folder / "tms_train_config.yaml").unlink(), "tms_train_config.yaml cannot be read"),
        (text(""), "must describe the training of a TMSModel"),
        (text("5"), "must describe the training of a TMSModel"),
        (text("tms_model_config: {}"), "with data_generation_type, feature_probability, tms_model_config"),
        (text("[: "), "tms_train_config.yaml must be YAML"),
        (text("[" * 100_000), "tms_train_config.yaml must be YAML"),
        (text("é", "utf-16"), "tms_train_config.yaml must describe"),
        (text("\xe9", "latin-1"), "tms_train_config.yaml must be YAML"),
        (text("steps: 2020-13-45"), "tms_train_config.yaml must be YAML"),
        (text("a: !!python/object/apply:print [ran]"), "tms_train_config.yaml must be YAML"),
        (text(" " * 2**21), "tms_train_config.yaml must have at most 1,048,576 bytes"),
        (text("a: &a [*a]"), "tms_train_config.yaml must have no references (*) to other parts of it"),
        (text("a: &a {b: 1}\nc: {<<: *a}"), "must have no references (*) to other parts of it"),
        (text("{steps: 1, seed: 2, steps: 3}"), "must have each field once, and has 'steps' twice"),
        (sized(n_hidden_layers=1), "there must be no hidden layers beside the embedding, and it has 1"),
        (sized(n_hidden_layers="none"), "must have n_hidden_layers, an int of at least 0, not 'none'"),
        (sized(n_hidden_layers=False), "must have n_hidden_layers, an int of at least 0, not False"),
        (sized(n_hidden=0), "must have n_hidden, an int of at least 1, not 0"),
        (sized(n_features=True), "must have n_features, an int of at least 1, not True"),
        (sized(n_features=datetime.date(2020, 1, 1)), "must have n_features, an int of at least 1, not datetime.date("),
        (sized(n_features=10**12), "must have linear1.weight of shape (2, 1000000000000)"),
        (
            sized(n_hidden=3),
            "must have linear1.weight of shape (3, 6), as tms_train_config.yaml says, and has it of s",
        ),
        (sized(tied_weights=False), "must have tied_weights = true, as toy models have, not False"),
        (sized(tied_weights="yes"), "must have tied_weights = true, as toy models have, not 'yes'"),
        (weights(**{"linear1.weight": torch.ones(2, 6)}), "weights must be tied, and in tms.pth linear2.weight is not"),
        (weights(**{"linear2.bias": None}), "must have linear2.bias of shape (6,), as tms_train_config.yaml says"),
        (weights(**{"linear2.bias": torch.ones(6) * torch.nan}), "linear2.bias of finite numbers, and linear2.bias[0]"),
        (weights(**{"linear2.weight": torch.full((6, 2), torch.inf)}), "and linear2.weight[0, 0] is not"),
        (weights(**{"linear2.weight": torch.ones(6, 2).to_sparse()}), "linear2.weight as a dense tensor, and it is sp"),
        (weights(**{"linear2.bias": torch.ones(6, dtype=torch.int64)}), "linear2.bias of floating-point numbers, not"),
        (weights(**{"linear2.bias": torch.ones(6, dtype=torch.bool)}), "linear2.bias of floating-point numbers, not "),
        (weights(**{"linear2.bias": torch.empty(6, device="meta")}), "tms.pth must be a state of a model"),
        (weights(**{"linear2.bias": 1j * torch.ones(6)}), "linear2.bias of floating-point numbers, not of complex64"),
        (changed(synced_inputs=[[0, 2]]), "must have synced_inputs that are features side by side"),
        (changed(synced_inputs=[[5, 6]]), "must have synced_inputs that are features side by side"),
        (changed(synced_inputs=[[-1, 0]]), "must have synced_inputs that are features side by side"),
        (changed(synced_inputs=[[0, 1], [1, 2]]), "each from 0 to 5 and in one of them, not [1, 2]"),
        (
            changed(synced_inputs=[[]]),
            "must have synced_inputs that are lists of numbers of features, or null, not [",
        ),
        (changed(synced_inputs=[0, 1]), "must have synced_inputs that are lists of numbers of features, or null"),
        (changed(synced_inputs=["01"]), "must have synced_inputs that are lists of numbers of features, or null"),
        (changed(synced_inputs=[[False, True]]), "must have synced_inputs that are lists of numbers of features, or"),
        (
            changed(synced_inputs={"a": [0, 1]}),
            "must have synced_inputs that are lists of numbers of features, or null",
        ),
        (changed(synced_inputs=0), "must have synced_inputs that are lists of numbers of features, or null, not 0"),
        (changed(data_generation_type="exactly_one_active"), "no synced_inputs beside the data_generation_type 'exac"),
        (
            changed(data_generation_type="exactly_two_active"),
            "'at_least_zero_active' or 'exactly_one_active', not 'ex",
        ),
        (changed(data_generation_type=["x"]), "'at_least_zero_active' or 'exactly_one_active', not ['x']"),
        (changed(feature_probability=2), "must have a feature_probability in [0, 1], not 2"),
        (changed(feature_probability="0.05"), "must have a feature_probability in [0, 1], not '0.05'"),
        (changed(feature_probability=True), "must have a feature_probability in [0, 1], not True"),
        (changed(feature_probability=float("nan")), "must have a feature_probability in [0, 1], not nan"),
        (changed(feature_probability=10**400), "must have a feature_probability in [0, 1], not int of 1329 bits"),
        (changed(feature_probability=0), "has the feature_probability 0, and Independent(density=0): density must lie"),
    ],
)
def test_broken_and_other_targets_are_refused_in_a_sentence(spoil, sentence, tmp_path, capsys):
    write_target(tmp_path, MODEL, SPEC)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        read_target(tmp_path)
    assert str(caught.value).startswith(f"read_target({str(tmp_path)!r}): ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    assert capsys.readouterr().out == ""


def test_a_target_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    write_target(tmp_path, MODEL, SPEC)
    monkeypatch.setenv(VARIABLE, "90B")
    with pytest.raises(ValueError, match=r"tms.pth must have linear1.weight that fits into memory: it would take 96"):
        read_target(tmp_path)


def test_an_earlier_configuration_is_read(tmp_path):
    write_target(tmp_path, MODEL, SPEC)
    config = described(tmp_path) | {"lr": 1e-3, "lr_schedule": "constant", "wandb_project": None}
    (tmp_path / "tms_train_config.yaml").write_text(json.dumps(config))
    assert read_target(tmp_path).features.n == 6
