"""Toy models as dictionaries in the folders of the package `dictionary_learning`: `ae.pt` beside `config.json`.

Data for its trainers are `Hidden` batches as they are; dictionaries that it has trained are read by
`tegum.load_dictionary`.
"""

from __future__ import annotations

import json
import os

import torch

from tegum.core.arguments import refusing
from tegum.torch.exchange import parameters_of_one, write_folder
from tegum.torch.model import ToyModel


@refusing
def write_dictionary(path: str | os.PathLike[str], model: ToyModel) -> None:
    """Write a toy model as an `AutoEncoder`, the dictionary that knows the truth about its hidden activations.

    Its encoder is the model's own output layer, relu(W h + b) = x̂, with W as `encoder.weight` and b as `encoder.bias`;
    its decoder is the embedding, h = Wᵀ x̂, with Wᵀ as `decoder.weight`; and it subtracts no bias from h. Where a
    dictionary is loaded with unit directions, as by default, W is divided by the norms of its rows in the decoder, and
    multiplied by them in the encoder.

    Args:
        path: the folder, which is made; files of these names in it are replaced.
        model: a model of one run with the activation "relu".

    Raises:
        ValueError: the format cannot describe the model, a feature has no direction, as its row of W is 0, or the path
            is that of something else than a folder.
        OSError: the system does not let it be written there.

    """
    call = f"write_dictionary({os.fspath(path)!r})"
    W, b = (each.cpu() for each in parameters_of_one(model, call, "relu"))
    if len(none := torch.nonzero(W.norm(dim=1) == 0)):
        raise ValueError(f"{call}: every feature must have a direction, and row {int(none[0])} of the weights is 0")
    n, m = W.shape
    encoder = {"encoder.weight": W, "encoder.bias": b}
    state = {"bias": torch.zeros(m), **encoder, "decoder.weight": W.mT.contiguous()}
    trainer = {"dict_class": "AutoEncoder", "activation_dim": m, "dict_size": n}
    config = json.dumps({"trainer": trainer, "buffer": None}, indent=2)
    write_folder(path, {"ae.pt": state, "config.json": config}, call)
