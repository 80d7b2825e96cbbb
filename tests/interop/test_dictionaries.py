"""Dictionaries written by the packages themselves: every class of SAELens and of dictionary_learning."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

import tegum as tg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these packages warn of while they are imported is not ours
    import torch
    from dictionary_learning import dictionary as classes
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from dictionary_learning.utils import load_dictionary
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY
    from sae_lens.saes.sae import SAE

INPUTS, FEATURES, OUTPUTS = 16, 64, 24
OPTIONS: dict[str, Any] = {
    "d_out": OUTPUTS, "k": 3, "matryoshka_widths": [8, 32, 64], "n_heads": 2, "n_attn_layers": 1,
    "bottleneck_factor": 4, "tied_weights": False, "decoder_init_norm": 1.0,
}  # fmt: skip


def made(name: str, registry: Any) -> Any:
    """A dictionary of SAELens with random numbers."""
    kind, config = registry[name]
    options = {each.name: OPTIONS[each.name] for each in dataclasses.fields(config) if each.name in OPTIONS}
    if "transcoder" in name:
        options["apply_b_dec_to_input"] = False
    found = kind(config(d_in=INPUTS, d_sae=FEATURES, **options))
    with torch.no_grad():
        for each in found.parameters():
            each.copy_(torch.randn_like(each))
    return found


def check(folder: Path, expected: torch.Tensor, architecture: str) -> None:
    found = tg.load_dictionary(folder)
    assert_array_equal(found, expected.detach())
    assert (found.format, found.architecture, found.likely_transposed) == ("SAELens", architecture, "")


@pytest.mark.parametrize("name", SAE_CLASS_REGISTRY)
def test_every_architecture_of_saelens(name: str, tmp_path: Path):
    given = made(name, SAE_CLASS_REGISTRY)
    given.save_model(tmp_path / "sae")
    check(tmp_path / "sae", given.W_dec, name)
    again = SAE.load_from_disk(tmp_path / "sae")
    assert_array_equal(tg.load_dictionary(tmp_path / "sae"), again.W_dec.detach())
    found = tg.load_dictionary(tmp_path / "sae")
    assert_array_equal(found.b_dec, again.b_dec.detach())
    state = again.state_dict()
    for vector in ("b_enc", "b_gate", "b_mag", "r_mag", "threshold"):
        assert (vector in found.coords) == (vector in state)
        if vector in state:
            assert_array_equal(found[vector], state[vector])
    if "W_enc" in state:
        assert_array_equal(tg.load_dictionary(tmp_path / "sae", "W_enc"), state["W_enc"].T)


@pytest.mark.parametrize("name", SAE_TRAINING_CLASS_REGISTRY)
def test_every_architecture_that_saelens_trains(name: str, tmp_path: Path):
    given = made(name, SAE_TRAINING_CLASS_REGISTRY)
    given.save_model(tmp_path / "training")
    check(tmp_path / "training", given.W_dec, name)
    given.save_inference_model(tmp_path / "inference")
    again = SAE.load_from_disk(tmp_path / "inference")
    check(tmp_path / "inference", again.W_dec, again.cfg.architecture())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtypes_of_saelens(dtype: str, tmp_path: Path):
    kind, config = SAE_CLASS_REGISTRY["standard"]
    given = kind(config(d_in=INPUTS, d_sae=FEATURES, dtype=dtype))
    given.save_model(tmp_path / "sae")
    assert_array_equal(tg.load_dictionary(tmp_path / "sae"), given.W_dec.detach().float())


@pytest.mark.parametrize(
    "make",
    [
        lambda: classes.AutoEncoder(INPUTS, FEATURES),
        lambda: classes.AutoEncoderNew(INPUTS, FEATURES),
        lambda: classes.GatedAutoEncoder(INPUTS, FEATURES),
        lambda: classes.JumpReluAutoEncoder(INPUTS, FEATURES),
        lambda: AutoEncoderTopK(INPUTS, FEATURES, 3),
        lambda: BatchTopKSAE(INPUTS, FEATURES, 3),
        lambda: MatryoshkaBatchTopKSAE(INPUTS, FEATURES, 3, [16, 48]),
    ],
)
def test_every_class_of_dictionary_learning(make: Any, tmp_path: Path):
    given = make()
    name = type(given).__name__
    torch.save(given.state_dict(), tmp_path / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": INPUTS, "dict_size": FEATURES, "k": 3}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
    found = tg.load_dictionary(tmp_path)
    assert (found.format, found.architecture, found.likely_transposed) == ("dictionary_learning", name, "")
    # What one feature adds to the output, whatever the class calls its arrays.
    with torch.no_grad():
        expected = given.decode(torch.eye(FEATURES)) - given.decode(torch.zeros(1, FEATURES))
    torch.testing.assert_close(torch.tensor(found.values), expected, rtol=1e-6, atol=1e-6)
    again, config = load_dictionary(str(tmp_path), "cpu")
    assert json.loads(found.config) == config
    assert type(again) is type(given)
