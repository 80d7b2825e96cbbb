"""A Spec as the page reads it.

The page's own rules stand beside its module, in `page/rules.json`. What they do not allow is refused here, in the
sentence that the page itself would say, so that nobody is handed a page that refuses what it is to show. Golden files
bind the two.

What Python alone can train, the page still shows: `described` has what it needs to know of a run that is not its own.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from tegum.core.description import short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import FeatureSet, GatedSet, mixture_of
from tegum.data.schema import one_selected
from tegum.training.dataset import specs_of
from tegum.training.spec.methods import Descent, Sampled, Training
from tegum.training.spec.optimisers import OPTIMISERS
from tegum.training.spec.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

_LONGEST = 1_000_000
"""The most characters of an address: Firefox refuses more than 2²⁰, Chromium more than twice as many."""


@functools.cache
def rules() -> dict[str, Any]:
    """What the page can train: names of kinds, laws, activations and optimisers, and the `most` of numbers."""
    return json.loads(resources.files("tegum.lab").joinpath("page", "rules.json").read_text(encoding="utf-8"))


def page_address(spec: Spec) -> str:
    """The part of a page's address behind #, with which the page trains the first run of a Spec, with its changes.

    Args:
        spec: what is trained.

    Returns:
        At most a million characters, all of which may stand in an address.

    Raises:
        ValueError: the page cannot train it; one sentence says why.

    """
    parts = {"spec": page_spec(spec)} | ({"changes": page_changes(spec)} if spec.changes else {})
    address = urlencode({key: json.dumps(part, separators=(",", ":")) for key, part in parts.items()})
    if len(address) > _LONGEST:
        rule = f"the page keeps a Spec in its address, which must have at most {_LONGEST:,}"
        raise ValueError(f"Spec(of {len(address):,} characters): {rule}")
    return address


def page_spec(spec: Spec) -> dict[str, Any]:
    """A Spec in the JSON form that the page reads, short: without defaults, and equal sets in a row as `copies`.

    Changes belong to a run in the page, and are apart from its Spec: `page_changes` has them.

    Args:
        spec: what is trained.

    Returns:
        The fields by their names.

    Raises:
        ValueError: the page cannot train it; one sentence says why.

    """
    for sentence in itertools.chain(_refusals(spec), _refused_changes(spec)):
        raise ValueError(sentence)
    brief = _brief(spec, page_set)
    brief.pop("changes", None)
    return brief


def page_changes(spec: Spec) -> list[dict[str, Any]]:
    """The changes of a Spec in the JSON form in which the page makes and records them.

    Args:
        spec: what is trained.

    Returns:
        The changes, in the order of their steps.

    Raises:
        ValueError: the page cannot make one of them; one sentence says why.

    """
    for sentence in _refused_changes(spec):
        raise ValueError(sentence)
    return _changes(spec)


def _changes(spec: Spec) -> list[dict[str, Any]]:
    return [each.model_dump(mode="json") for each in spec.changes]


def _brief(spec: Spec, describe: Callable[[FeatureSet], dict[str, Any]]) -> dict[str, Any]:
    """A Spec without defaults, each set as `describe` has it, and equal ones in a row as `copies`."""
    sets = []
    for one, equal in itertools.groupby(spec.features.sets):
        fields, copies = describe(one), sum(1 for _ in equal)
        if fields.get("importance") == 1:
            del fields["importance"]
        sets.append(fields | ({"copies": copies} if copies > 1 else {}))
    return spec.model_dump(mode="json", exclude_defaults=True) | {"features": sets}


def page_set(given: FeatureSet) -> dict[str, Any]:
    """A feature set as the page reads it: as tegum describes it, or, of a kind that only Python knows, its table.

    Args:
        given: a set that the page can draw.

    Returns:
        The fields by their names.

    Raises:
        ValueError: the set has no mixture table.

    """
    described = _fields(given)
    if given.kind in rules()["kinds"]:
        return described
    if (mixture := mixture_of(given)) is None:
        raise ValueError(f"{given!r}: {_undrawn(given)}")
    weights, gates = mixture
    table = {"kind": "table", "weights": weights.tolist(), "gates": gates.tolist(), "source": described}
    return table | {key: described[key] for key in ("importance", "magnitude") if key in described}


def described(spec: Spec) -> dict[str, Any]:
    """What the page knows of a run that is trained elsewhere: by Python, live or recorded.

    Args:
        spec: what is trained.

    Returns:
        `spec` in tegum's JSON form without defaults and changes; `page`, the same as the page reads it, or None with
        the sentence `why` if it cannot train it; the `changes` made on the way; `n`, `m`, the number of each feature's
        set (`groups`), what may be changed of each of the `sets`, and the learning `rate`, or None where there is
        none, as they are at the start; the `method` of training in words, the `last` step, `seeds`, and where losses
        come from: "sample" or "exact".

    Example:
        >>> import tegum as tg
        >>> from tegum.lab.described import described
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=2, training=tg.Flow(steps=50))
        >>> found = described(spec)
        >>> found["n"], found["last"], found["losses"], found["page"]
        (3, 50, 'exact', None)

    """
    why = next(itertools.chain(_refusals(spec), _refused_changes(spec)), None)
    return {
        "spec": {key: value for key, value in _brief(spec, _fields).items() if key != "changes"},
        "page": None if why else page_spec(spec),
        "why": why,
        "changes": _changes(spec),
        "n": spec.features.n,
        "m": spec.hidden,
        "groups": np.asarray(spec.features.set_of_feature).tolist(),
        "sets": [_changeable(each) for each in spec.features.sets],
        "rate": _rate(spec.training),
        "method": _method(spec),
        "last": spec.training.steps,
        "seeds": spec.seeds,
        "losses": "exact" if spec.training.samples_evaluated is None else "sample",
    }


def described_run(run: xr.Dataset, call: str = "films") -> dict[str, Any]:
    """As `described`, of recorded runs of one Spec; of these it has the last step that is recorded.

    Args:
        run: a trajectory of one Spec.
        call: what errors begin with.

    Returns:
        The fields by their names.

    Raises:
        ValueError: its Spec is unknown, or does not fit its sizes.

    """
    if "spec" not in run.attrs:
        raise ValueError(f"{call}(run without the attribute 'spec'): it must say what was trained")
    specs = specs_of(run)
    if len(specs) != 1:
        raise ValueError(f"{call}(run of {len(specs)} Specs): select one of them, as {one_selected(run)} does")
    (spec,) = specs
    sizes, ours = (run.sizes["feature"], run.sizes["hidden"]), (spec.features.n, spec.hidden)
    if sizes != ours:
        rule = "n and m must be those of its Spec"
        raise ValueError(
            f"{call}(run of {sizes[0]} features in {sizes[1]} dimensions): {rule}, {ours[0]} and {ours[1]}"
        )
    if "set" in run.coords and not np.array_equal(run["set"].values, spec.features.set_of_feature):
        rule = "its features must be in the order of its Spec"
        raise ValueError(f"{call}(run with features of the sets {short(run['set'].values.tolist(), 40)}): {rule}")
    return described(spec) | {"last": int(run["step"].values[-1])}


def _fields(given: FeatureSet) -> dict[str, Any]:
    """A set in tegum's JSON form."""
    (fields,) = FeatureDistribution([given]).to_json()
    return fields


def _changeable(given: FeatureSet) -> dict[str, Any]:
    """Of a set its kind, its size, and those of its numbers that may change while a run trains."""
    fields = _fields(given)
    numbers = {key: fields[key] for key in ("density", "strength", "importance") if key in fields}
    return {"kind": given.kind, "size": given.features} | numbers


def _rate(training: Training) -> float | None:
    """The learning rate, for training whose steps have one."""
    if not isinstance(training, Descent):
        return None
    return None if OPTIMISERS[training.kind][training.optimiser].rule == "lbfgs" else training.rate


def _method(spec: Spec) -> str:
    """How a Spec is trained, in a few words: "relu; adamw, batch 1,024"."""
    training = spec.training
    way = str(getattr(training, "optimiser", f"gradient {training.kind}"))
    if training.samples_evaluated is None:
        way += " of the exact loss" if training.kind == "flow" else " on the exact loss"
    batch = getattr(training, "batch", None)
    return f"{spec.activation}; {way}" + (f", batch {batch:,}" if batch else "")


def _refusals(spec: Spec) -> Iterator[str]:
    """What the page cannot do of a Spec, in its own words."""
    known, n = rules(), spec.features.n
    if n > known["features"]:
        rule = f"the page trains at most {known['features']} features; tegum in Python trains more"
        yield f"Spec(features of {n:,} features): {rule}"
    yield from (f"Spec(features=[…, {each!r}, …]): {why}" for each in spec.features.sets if (why := _undrawn(each)))
    if not isinstance(spec.training, Sampled):
        rule = f"must be 'sampled' in the page; tegum in Python trains '{spec.training.kind}'"
        yield f'Spec(training.kind="{spec.training.kind}"): training.kind {rule}'
        return
    for key, names in (("activation", known["activations"]), ("training.optimiser", known["optimisers"])):
        if (name := _value(spec, key)) not in names:
            yield f'Spec({key}="{name}"): {key} must be {" or ".join(map(repr, names))}'
    for key, most in known["most"].items():
        if (value := _value(spec, key)) > most:
            yield f"Spec({key}={value}): {key} must be at most {most:,} in the page"
    most = known["most"]["snapshots.count"]
    if len(steps := spec.snapshots.steps or ()) > most:
        yield f'Spec(snapshots.steps="{len(steps)} steps"): snapshots.steps must list at most {most:,} steps'
    for key in ("training.batch", "training.evaluation"):
        if (value := _value(spec, key)) > (most := known["samples"] // n):
            yield f"Spec({key}={value}): {key} must be at most {most} in the page with {n} features"


def _refused_changes(spec: Spec) -> Iterator[str]:
    """What the page cannot change on the way, as it knows only the tables of some kinds."""
    for number, change in enumerate(spec.changes):
        for place, each in enumerate(change.sets):
            kind = spec.features.sets[each.set].kind
            for key, value in each.values.items():
                if kind not in rules()["kinds"] and key != "importance":
                    rule = f"the page draws sets of the kind {kind!r} from their tables, which have no {key} to change"
                    yield f"Spec(changes.{number}.sets.{place}.{key}={value}): {rule}"


def _undrawn(given: FeatureSet) -> str | None:
    """Why the page has no samples of a set; None if it has."""
    if isinstance(given, GatedSet) and given.magnitude.kind not in rules()["laws"]:
        return f"magnitudes must be of the laws {', '.join(rules()['laws'])} in the page"
    if given.kind in rules()["kinds"]:
        return None
    if not (isinstance(given, GatedSet) and given.gated):
        return f"the page draws from mixture tables, and this set has none, as {given.ungated_because}"
    if given.mixture.gates.size > rules()["table"]:
        return f"the table of a set must hold at most {rules()['table']:,} numbers in the page"
    return None


def _value(spec: Spec, key: str) -> Any:
    """The value at a dotted key."""
    return functools.reduce(getattr, key.split("."), spec)
