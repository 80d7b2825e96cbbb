"""What the files of other packages hold of a toy model: the parameters of one run, in a folder of their own."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tegum.core.inputs.files import obstacle
from tegum.data.atomic import explaining, replacing_file
from tegum.torch.model import ToyModel


def parameters_of_one(model: ToyModel, call: str, *activations: str) -> tuple[Tensor, Tensor]:
    """The parameters of a model of one run, as other packages take them.

    Args:
        model: the model.
        call: what errors begin with.
        activations: names of the activations that the format knows; none where the activation plays no part.

    Returns:
        W, shape (n, m), and b, shape (n,): float32, on the model's device, apart from the model's own.

    Raises:
        ValueError: it is of several runs, has another activation, or a parameter is not finite in float32.

    """
    if model.run_shape:
        rule = f"the model must be of one run, and this one has {'×'.join(map(str, model.run_shape))}"
        raise ValueError(f"{call}: {rule}; ToyModel.from_run(run, seed=0) takes one")
    if activations and model.activation_name not in activations:
        known = " or ".join(map(repr, activations))
        raise ValueError(
            f"{call}: the activation must be {known}, as the format has no other: {model.activation_name!r}"
        )
    W, b = (each.detach().to(torch.float32, copy=True) for each in (model.weights, model.bias))
    for name, values in (("weights", W), ("bias", b)):
        if not bool(values.isfinite().all()):
            number = int(torch.nonzero(~values.isfinite())[0, 0])
            rule = f"weights and biases must be finite in float32, and {name}[{number}] is not"
            raise ValueError(f"{call}: {rule}; the run may have diverged")
    return W, b


def write_folder(path: str | os.PathLike[str], files: Mapping[str, str | Mapping[str, Any]], call: str) -> None:
    """Write files into a folder, which is made; each appears complete or not at all, and replaces one of its name.

    Args:
        path: the folder.
        files: by their names, texts or states of a model.
        call: what errors begin with.

    Raises:
        ValueError: something else than a folder is at the path.
        OSError: the system does not let it be written; the sentence says where.

    """
    folder = Path(path)
    found = obstacle(folder, "folder")
    if found not in (None, "and there is none"):
        raise ValueError(f"{call}: the path must be that of a folder, {found}")
    with explaining(f"{call}: making the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing_file(folder / name, overwrite=True, call=f"{call}: {name}") as part:
            part.write_bytes(content.encode() if isinstance(content, str) else _saved(content))


def _saved(state: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(dict(state), stream)
    return stream.getvalue()
