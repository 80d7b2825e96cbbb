"""Toy models as targets of stochastic parameter decomposition, in the files of goodfire's `spd` and `param-decomp`.

A target is a folder with the state of their `TMSModel` (`tms.pth`) and what trained it (`tms_train_config.yaml`). The
package is on no index: this follows the format as it is published, and was not tried with the package.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tegum.core.arguments import is_integer, is_number, refusing
from tegum.core.description import short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.magnitudes import UNIT_RANGE
from tegum.core.features.sets import Anticorrelated, Correlated, FeatureSet, GatedSet, Independent
from tegum.core.inputs.files import ArrayFile, UnreadableError, obstacle, reading
from tegum.core.limits import beyond_memory
from tegum.data.matrices import array_file
from tegum.torch.exchange import parameters_of_one, write_folder
from tegum.torch.model import ToyModel
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec

STATE, CONFIG = "tms.pth", "tms_train_config.yaml"
"""The names of the two files of a target."""

_EMBED, _UNEMBED, _BIAS = "linear1.weight", "linear2.weight", "linear2.bias"
"""The names of the tensors of its model."""

_DENSITY_TOLERANCE = 1e-9
"""How near two densities are that are meant to be equal."""

_MOST_BYTES = 2**20
"""The most bytes of a configuration that are read; a real one has a thousand or two."""


class Target(NamedTuple):
    """A target as its folder describes it."""

    model: ToyModel
    """The model, of one run."""
    features: FeatureDistribution
    """The features that it was trained on; the format has no importances."""


@refusing
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
        ValueError: the format cannot describe the model, its features or its training, or the path is that of something
            else than a folder.
        OSError: the system does not let it be written there.

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
    if not isinstance(spec, Spec):
        raise ValueError(f"{call}: spec must be a Spec, not {short(spec)}")
    W, b = (each.cpu() for each in parameters_of_one(model, call, "relu"))
    training, n = spec.training, spec.features.n
    if W.shape != (n, spec.hidden):
        rule = f"the Spec has {n} features and {spec.hidden} hidden dimensions"
        raise ValueError(f"{call}: {rule}, and the model weights of shape {tuple(W.shape)}")
    if not isinstance(training, Sampled) or training.steps < 1:
        rule = "training must be Sampled, of at least one step, as targets know no other"
        raise ValueError(f"{call}: {rule}: {training!r}")
    if spec.changed_at:
        rule = "changes must be empty, as targets know none; spec.in_force(step) has none"
        raise ValueError(f"{call}: {rule}: {short(spec.changes)}")
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
    state = {_EMBED: W.mT.contiguous(), _UNEMBED: W, _BIAS: b}
    # JSON is YAML.
    write_folder(path, {STATE: state, CONFIG: json.dumps(config, indent=2)}, call)


@refusing
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
    n, m = (_size(config, name, 1, call) for name in ("n_features", "n_hidden"))
    if layers := _size(config, "n_hidden_layers", 0, call, 0):
        raise ValueError(f"{call}: there must be no hidden layers beside the embedding, and it has {layers}")
    tied = config["tms_model_config"].get("tied_weights", True)
    if tied is not True:
        raise ValueError(f"{call}: {CONFIG} must have tied_weights = true, as toy models have, not {short(tied)}")
    first, second, bias = _state(folder / STATE, {_EMBED: (m, n), _UNEMBED: (n, m), _BIAS: (n,)}, call)
    if not np.array_equal(first.T, second):
        raise ValueError(f"{call}: weights must be tied, and in {STATE} {_UNEMBED} is not {_EMBED} transposed")
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
    kind, p, synced = config["data_generation_type"], config["feature_probability"], config.get("synced_inputs")
    groups = [] if synced is None else _groups(synced, n, call)
    if not is_number(p) or not 0 <= p <= 1:
        raise ValueError(f"{call}: {CONFIG} must have a feature_probability in [0, 1], not {short(p)}")
    if kind == "exactly_one_active":
        if groups:
            rule = "must have no synced_inputs beside the data_generation_type 'exactly_one_active'"
            raise ValueError(f"{call}: {CONFIG} {rule}, not {short(synced)}")
        return FeatureDistribution([Anticorrelated(n, 1.0)])
    if kind != "at_least_zero_active":
        rule = "must have the data_generation_type 'at_least_zero_active' or 'exactly_one_active'"
        raise ValueError(f"{call}: {CONFIG} {rule}, not {short(kind)}")
    sets: list[FeatureSet] = []
    end = 0
    try:
        for group in groups:
            sets += [Independent(group[0] - end, p)] if group[0] > end else []
            sets.append(Correlated(len(group), -np.expm1(len(group) * np.log1p(-p)) if p < 1 else 1.0))
            end = group[0] + len(group)
        return FeatureDistribution([*sets, *([Independent(n - end, p)] if n > end else [])])
    except ValueError as error:
        raise ValueError(f"{call}: {CONFIG} has the feature_probability {short(p)}, and {error}") from None


def _groups(synced: Any, n: int, call: str) -> list[list[int]]:
    """Groups of synchronised features in order, each side by side."""
    where = f"{call}: {CONFIG} must have synced_inputs"
    lists = isinstance(synced, list) and all(isinstance(group, list) and group for group in synced)
    if not lists or not all(is_integer(each) for group in synced for each in group):
        raise ValueError(f"{where} that are lists of numbers of features, or null, not {short(synced)}")
    groups, end = sorted(sorted(group) for group in synced), 0
    for group in groups:
        if group != list(range(group[0], group[0] + len(group))) or not end <= group[0] <= n - len(group):
            rule = f"that are features side by side, as those of a set are, each from 0 to {n - 1} and in one of them"
            raise ValueError(f"{where} {rule}, not {short(group)}")
        end = group[0] + len(group)
    return groups


def _config(path: Path, call: str) -> dict[str, Any]:
    try:
        if found := obstacle(path):
            raise UnreadableError("path", str(path), f"must lead to a file, {found}")
        with reading(path, "a file that can be read"), path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
    except UnreadableError as error:
        raise ValueError(f"{call}: {CONFIG} cannot be read: it {error.rule}") from None
    if len(text) > _MOST_BYTES:
        raise ValueError(f"{call}: {CONFIG} must have at most {_MOST_BYTES:,} bytes")
    found = _plain_yaml(text, call)
    needed = {"tms_model_config", "feature_probability", "data_generation_type"}
    if not isinstance(found, dict) or needed - found.keys() or not isinstance(found["tms_model_config"], dict):
        raise ValueError(f"{call}: {CONFIG} must describe the training of a TMSModel, with {', '.join(sorted(needed))}")
    return found


def _plain_yaml(text: bytes, call: str) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """YAML without references, by which a value may contain itself or grow without end, and without repeats."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise UnreadableError("references", "*", "must have no references (*) to other parts of it")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep)
            if len(found) < len(node.value):
                names = [key.value for key, _ in node.value]
                twice = next((name for name in names if names.count(name) > 1), names[-1])
                raise UnreadableError("field", twice, f"must have each field once, and has {short(twice)} twice")
            return found

    try:
        return yaml.load(text, Plain)
    except UnreadableError as error:
        raise ValueError(f"{call}: {CONFIG} {error.rule}") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):  # ValueError: of a date that there is not
        raise ValueError(f"{call}: {CONFIG} must be YAML") from None


def _size(config: dict[str, Any], name: str, least: int, call: str, default: int | None = None) -> int:
    value = config["tms_model_config"].get(name, default)
    if not (is_integer(value) and value >= least):
        raise ValueError(f"{call}: {CONFIG} must have {name}, an int of at least {least}, not {short(value)}")
    return value


def _state(path: Path, shapes: dict[str, tuple[int, ...]], call: str) -> list[np.ndarray]:
    """The tensors of these names; weights only, as what else a pickle holds may be code."""
    try:
        file = array_file(path)
        values = [_tensor(file, name, shape) for name, shape in shapes.items()]
    except UnreadableError as error:
        rule = "must be a state of a model, with its weights only"
        raise ValueError(f"{call}: {STATE} {rule}: it {error.rule}") from None
    except ValueError as error:
        raise ValueError(f"{call}: {STATE} {error}") from None
    return values


def _tensor(file: ArrayFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of this name and shape; raises ValueError "must …"."""
    rule = f"must have {name} of shape {shape}, as {CONFIG} says"
    if name not in (file.names or ()):
        raise ValueError(f"{rule}, and has nothing of that name")
    stored = file.array(name)
    if stored.shape != shape:
        raise ValueError(f"{rule}, and has it of shape {stored.shape}")
    if stored.dtype.kind != "f":
        raise ValueError(f"must have {name} of floating-point numbers, not of {stored.dtype}")
    # A tensor of one number may repeat it as often as it likes.
    if too_much := beyond_memory(8 * math.prod(shape)):
        raise ValueError(f"must have {name} that fits into memory: it {too_much}")
    values = stored.read(())
    if hasattr(values, "tocsr"):
        raise ValueError(f"must have {name} as a dense tensor, and it is sparse")
    if not np.isfinite(values).all():
        at = ", ".join(map(str, np.argwhere(~np.isfinite(values))[0]))
        raise ValueError(f"must have {name} of finite numbers, and {name}[{at}] is not")
    return values
