"""Toy models as targets of stochastic parameter decomposition, in the files of goodfire's `spd` and `param-decomp`.

A target is a folder with the state of their `TMSModel` (`tms.pth`) and what trained it (`tms_train_config.yaml`). The
package is on no index: this follows the format as it is published, and was not tried with the package.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.magnitudes import UNIT_RANGE
from tegum.core.features.sets import Anticorrelated, Correlated, FeatureSet, GatedSet, Independent
from tegum.torch.model import ToyModel, parameters_of_one
from tegum.training.spec.methods import Sampled

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

STATE, CONFIG = "tms.pth", "tms_train_config.yaml"
"""The names of the two files of a target."""

_DENSITY_TOLERANCE = 1e-9
"""How near two densities are that are meant to be equal."""


class Target(NamedTuple):
    """A target as its folder describes it."""

    model: ToyModel
    """The model, of one run."""
    features: FeatureDistribution
    """The features that it was trained on; the format has no importances."""


def write_target(path: str | os.PathLike[str], model: ToyModel, spec: Spec) -> None:
    """Write a toy model as a target for stochastic parameter decomposition.

    Its `linear1.weight` is Wᵀ, `linear2.weight` W and `linear2.bias` b. The format describes features that are
    active independently with one probability p, of which some are synchronised: all of them are active where one
    would be, as in a `Correlated` set of density 1 − (1 − p)^size; or exactly one of all features at a time. It does
    not describe importances, and has no place for them.

    Args:
        path: the folder, which is made; files of these names in it are replaced.
        model: a model of one run with the activation "relu".
        spec: what it was trained on and how, by `Sampled` training.

    Raises:
        ValueError: the format cannot describe the model, its features or its training.

    Example:
        >>> import tegum as tg, tegum.torch
        >>> from tegum.torch.spd import read_target, write_target
        >>> spec = tg.Spec(features=[tg.Independent(count=5, density=0.05)], hidden=2)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_target(folder, tegum.torch.ToyModel([[0.6, 0.8]] * 5), spec)
        ...     read_target(folder).features == spec.features
        True

    """
    call = f"write_target({os.fspath(path)!r})"
    W, b = parameters_of_one(model, call)
    training, n = spec.training, spec.features.n
    if W.shape != (n, spec.hidden):
        rule = f"the Spec has {n} features and {spec.hidden} hidden dimensions"
        raise ValueError(f"{call}: {rule}, and the model weights of shape {tuple(W.shape)}")
    if not isinstance(training, Sampled) or training.steps < 1:
        rule = "training must be Sampled, of at least one step, as targets know no other"
        raise ValueError(f"{call}: {rule}: {training!r}")
    config = {
        "tms_model_config": {
            "n_features": n,
            "n_hidden": spec.hidden,
            "n_hidden_layers": 0,
            "tied_weights": True,
            "init_bias_to_zero": True,
            "device": "cpu",
        },
        **_described(spec.features, call),
        "batch_size": training.batch,
        "steps": training.steps,
        "seed": spec.base_seed,
        "lr_schedule": {"start_val": training.rate},
    }
    state = {"linear1.weight": W.mT.contiguous(), "linear2.weight": W, "linear2.bias": b}
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / STATE)
    # JSON is YAML.
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def read_target(path: str | os.PathLike[str]) -> Target:
    """Read a target of stochastic parameter decomposition.

    Args:
        path: its folder.

    Returns:
        The model and its features.

    Raises:
        ValueError: naming the folder: a file is missing, broken or of another format, or the target is no toy model
            that tegum knows: one with hidden layers, untied weights, or features of a set that are not side by side.

    """
    folder = Path(path)
    call = f"read_target({os.fspath(path)!r})"
    config = _config(folder / CONFIG, call)
    sizes = config["tms_model_config"]
    n, m = sizes["n_features"], sizes["n_hidden"]
    if layers := sizes.get("n_hidden_layers"):
        raise ValueError(f"{call}: there must be no hidden layers beside the embedding, and it has {layers}")
    shapes = {"linear1.weight": (m, n), "linear2.weight": (n, m), "linear2.bias": (n,)}
    first, second, bias = _state(folder / STATE, shapes, call)
    if not torch.equal(first.mT, second):
        raise ValueError(f"{call}: weights must be tied, and linear2.weight is not linear1.weight transposed")
    return Target(ToyModel(second, bias), _features(config, n, call))


def _described(features: FeatureDistribution, call: str) -> dict[str, Any]:
    """The features as the configuration describes them."""
    sets = features.sets
    if odd := next((each for each in sets if isinstance(each, GatedSet) and each.magnitude != UNIT_RANGE), None):
        raise ValueError(f"{call}: magnitudes must be uniform on [0, 1], as those of targets are, not {odd!r}")
    if len(sets) == 1 and isinstance(one := sets[0], Anticorrelated) and (one.densities == 1).all():
        return {"feature_probability": 1 / one.size, "data_generation_type": "exactly_one_active"}
    probabilities, synced, end = [], [], 0
    for each in sets:
        start, end = end, end + each.features
        density = each.densities if isinstance(each, Independent | Correlated) else None
        if density is None or np.ptp(density) > _DENSITY_TOLERANCE:
            raise ValueError(
                f"{call}: features must be Independent or Correlated with equal densities, or one Anticorrelated set "
                f"of density 1, as targets describe no others, not {each!r}"
            )
        if isinstance(each, Correlated) and each.size > 1:
            synced.append(list(range(start, end)))
            probabilities.append(-np.expm1(np.log1p(-density[0]) / each.size) if density[0] < 1 else 1.0)
        else:
            probabilities.append(density[0])
    if np.ptp(probabilities) > _DENSITY_TOLERANCE:
        raise ValueError(
            f"{call}: features must be active with one probability, as targets have only one, where a correlated set "
            f"of k counts as 1 − (1 − density)^(1/k); here it is {min(probabilities):g} to {max(probabilities):g}"
        )
    return {
        "feature_probability": float(probabilities[0]),
        "data_generation_type": "at_least_zero_active",
        "synced_inputs": synced or None,
    }


def _features(config: dict[str, Any], n: int, call: str) -> FeatureDistribution:
    """The features that a configuration describes."""
    kind, p, synced = config["data_generation_type"], config["feature_probability"], config.get("synced_inputs") or []
    if kind == "exactly_one_active":
        return FeatureDistribution([Anticorrelated(n, 1.0)])
    if kind != "at_least_zero_active":
        rule = "must be 'at_least_zero_active' or 'exactly_one_active'"
        raise ValueError(f"{call}: data_generation_type {rule}, not {kind!r}")
    groups = sorted(sorted(group) for group in synced)
    sets: list[FeatureSet] = []
    end = 0
    for group in groups:
        if group != list(range(group[0], group[0] + len(group))) or not end <= group[0] <= n - len(group):
            raise ValueError(f"{call}: synced_inputs must be features side by side, as those of a set are, not {group}")
        sets += [Independent(group[0] - end, p)] if group[0] > end else []
        sets.append(Correlated(len(group), -np.expm1(len(group) * np.log1p(-p)) if p < 1 else 1.0))
        end = group[0] + len(group)
    return FeatureDistribution([*sets, *([Independent(n - end, p)] if n > end else [])])


def _config(path: Path, call: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{call}: {CONFIG} cannot be read: {error}") from None
    except yaml.YAMLError:
        raise ValueError(f"{call}: {CONFIG} must be YAML") from None
    needed = {"tms_model_config", "feature_probability", "data_generation_type"}
    if not isinstance(found, dict) or needed - found.keys() or not isinstance(found["tms_model_config"], dict):
        raise ValueError(f"{call}: {CONFIG} must describe the training of a TMSModel, with {', '.join(sorted(needed))}")
    sizes = [found["tms_model_config"].get(name) for name in ("n_features", "n_hidden")]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{call}: {CONFIG} must have n_features and n_hidden, ints of at least 1")
    return found


def _state(path: Path, shapes: dict[str, tuple[int, ...]], call: str) -> list[Tensor]:
    try:
        # Weights only: what else a pickle holds may be code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises all kinds of errors
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(f"{call}: {STATE} must be a state of a model, with its weights only: {reason}") from None
    for name, shape in shapes.items():
        tensor = state.get(name) if isinstance(state, dict) else None
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            what = "nothing of that name" if tensor is None else f"shape {tuple(getattr(tensor, 'shape', ()))}"
            raise ValueError(f"{call}: {STATE} must have {name} of shape {shape}, as {CONFIG} says, and has {what}")
    return [state[name].detach() for name in shapes]
