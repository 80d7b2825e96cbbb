"""A pack: some runs, trained and measured in one call by whichever process, and sealed with a checksum.

A pack is one file: a line that says what it is, a header, the shards of its variables as zarr writes them, and the
SHA-256 of all of it. Its name is a digest of everything its bits depend on: the Specs, the numbers of the runs, what is
kept of them, the code, the engine and the vector unit. So a pack of this name is either whole, or made again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

from tegum.data import schema
from tegum.sweeps.kept import MEASURE, Keeping, Source
from tegum.sweeps.layout import Layout, fitted, shard
from tegum.sweeps.places import full, place_at
from tegum.training.dataset import code_digest, vector_unit, version_of
from tegum.training.spec.spec import Spec

FORMAT = b"tegum pack 1\n"

PLAN = "sweep.json"
"""The file by which a worker sees that it has the place of a sweep before it."""

_VERSIONS = ("tegum", "numpy", "numba", "jax", "scipy")


@final
class Identity(NamedTuple):
    """What the bits of a run depend on besides its Spec, as a worker has it."""

    code: str
    """A digest of tegum's code for training, and of the versions of the libraries it uses."""
    measures: str
    """A digest of what is kept, and of the code that measures it."""
    unit: str
    """The vector unit, or for the JAX engine the kind of device."""
    versions: Mapping[str, str]
    """Of libraries, for the message if the code differs."""


@final
class PackTask(NamedTuple):
    """What a worker needs to make a pack; nothing else is read."""

    name: str
    place: str
    plan: str
    """The digest of the plan, by which the worker knows the place again."""
    specs: tuple[str, ...]
    """The Specs as JSON."""
    runs: tuple[int, int]
    """The numbers of the runs, from the first to before the last."""
    keep: tuple[Any, ...]
    sources: Mapping[str, Source]
    engine: str
    layout: Layout
    position: tuple[int, int]
    identity: Identity
    mixed: bool
    """Whether vector units may differ from worker to worker."""


@final
class Made(NamedTuple):
    """What a worker says of a pack that it has made."""

    name: str
    content: bytes | None
    """The sealed pack, if the worker does not see the place; None if the pack is there."""
    seconds: float
    size: int
    unit: str


@final
class DifferentWorkerError(ValueError):
    """A worker has another version of the code, or another vector unit, than the sweep was begun with."""


@final
class DamagedPackError(ValueError):
    """A pack is not whole, or is not as it was sealed."""


def make(task: PackTask) -> Made:
    """Train and measure the runs of a pack, and put the sealed pack in its place.

    Args:
        task: what to do.

    Returns:
        What became of it.

    Raises:
        DifferentWorkerError: this process would not give the bits that the sweep asks for.
        OSError: the pack cannot be written.
        Exception: whatever training or a measure raises.

    """
    begin = time.perf_counter()
    keeping = _keeping(json.dumps(task.keep), tuple(sorted(task.sources.items())))
    own = identity(keeping, task.engine, [Spec.from_json(task.specs[0])])
    check_same(task.identity, own, mixed=task.mixed)
    from tegum.training.engine import train

    specs = [Spec.from_json(each) for each in task.specs]
    engine: Any = task.engine
    found = train(
        specs if len(specs) > 1 else specs[0],
        keep=keeping.functions,
        runs=range(*task.runs),
        threads=1,
        engine=engine,
        progress=False,
    )
    shards = {}
    for array in task.layout.arrays:
        shards[task.layout.key(array, task.position)] = shard(
            task.layout, array, fitted(array, found[array.name], task.layout.coordinates)
        )
    made = {"seconds": round(time.perf_counter() - begin, 3), "unit": own.unit, "machine": platform.node()}
    content = sealed(task.name, shards, made)
    place = place_at(task.place, f"sweep {task.place}")
    seen = _sees(task.place, task.plan)
    if seen:
        try:
            place.write(path_of(task.name), content)
        except OSError as error:
            if not (full(error) or isinstance(error, PermissionError)):
                raise
            # The coordinator writes it, and meets the same error: one that is sent there loses its number on the way.
            seen = False
    seconds = time.perf_counter() - begin
    return Made(task.name, None if seen else content, seconds, len(content), own.unit)


@functools.lru_cache(4)
def _keeping(keep: str, sources: tuple[tuple[str, Source], ...]) -> Keeping:
    # A file is run once in a process, and not for every pack.
    return Keeping(json.loads(keep), "sweep", dict(sources))


@functools.lru_cache(64)
def _seen(address: str, plan: str) -> bool:
    try:
        return hashlib.sha256(place_at(address, "sweep").read(PLAN)).hexdigest() == plan
    except (OSError, ValueError):
        return False


def _sees(address: str, plan: str) -> bool:
    """Whether this process sees the place of the sweep; what is at the same path of another machine is another."""
    return _seen(address, plan)


def identified(given: tuple[str, Mapping[str, Source], str, str]) -> Identity:
    """What a worker is, asked before it does anything.

    Args:
        given: what is kept, as JSON, with its sources, the engine, and a Spec as JSON.

    """
    keep, sources, engine, spec = given
    return identity(_keeping(keep, tuple(sorted(sources.items()))), engine, [Spec.from_json(spec)])


def identity(keeping: Keeping, engine: str, specs: Sequence[Spec]) -> Identity:
    """What this process is, for the bits of runs.

    Args:
        keeping: what is kept.
        engine: the argument of `train`.
        specs: Specs, whose kind of training may have an engine of its own.

    """
    from tegum.training.sizes import engine_name

    unit = vector_unit()
    if engine_name(specs, engine) == "jax":
        import jax

        device = jax.devices()[0]
        unit = unit if device.platform == "cpu" else device.device_kind
    versions = {"python": platform.python_version()} | {name: version_of(name) for name in _VERSIONS}
    return Identity(code_digest(), keeping.digest, unit, versions)


def check_same(planned: Identity, own: Identity, *, mixed: bool) -> None:
    """Refuse a worker that would give other bits than the sweep was begun with.

    Args:
        planned: what the sweep was begun with.
        own: what the worker is.
        mixed: whether vector units may differ.

    Raises:
        DifferentWorkerError: naming the machine and what differs.

    """
    here = f"the worker on {platform.node()}"
    if planned.code != own.code:
        differ = [
            f"{name} {own.versions.get(name)}, not {known}"
            for name, known in planned.versions.items()
            if own.versions.get(name) != known
        ]
        what = f"has {', '.join(differ)}" if differ else "has other code of tegum"
        rule = "a sweep has one version throughout: install the same there, or begin another sweep"
        raise DifferentWorkerError(f"{here} {what}, and {rule}")
    if planned.measures != own.measures:
        rule = "install the same there, or begin another sweep"
        raise DifferentWorkerError(f"{here} has other code of the measures than the sweep was begun with; {rule}")
    if planned.unit != own.unit and not mixed:
        raise DifferentWorkerError(
            f"{here} computes with {own.unit}, and this sweep was begun with {planned.unit}, whose bits differ; "
            "allow_mixed=True (--allow-mixed) at the beginning of a sweep waives equality of bits"
        )


def said_by(error: BaseException) -> str:
    """What an error that a worker has met says, in one line, with the name of the measure if one has raised it."""
    said = " ".join(str(error).split())
    # Training adds a note of where its runs are, which they are not any more.
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(MEASURE)]
    return ", ".join([f"{type(error).__name__}: {said}" if said else type(error).__name__, *notes])


def path_of(name: str) -> str:
    """The path of a pack in the place of its sweep."""
    return f"packs/{name[:2]}/{name}"


def pack_name(
    specs: Sequence[Spec], runs: tuple[int, int], where: tuple[str | int, ...], engine: str, identity: Identity
) -> str:
    """The name of a pack: a digest of all that its bits depend on, and of its place, as two Specs may be equal."""
    made = [engine, identity.code, identity.measures, identity.unit]
    told = [[spec.hash for spec in specs], list(runs), list(where), *made]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def sealed(name: str, shards: Mapping[str, bytes], made: Mapping[str, Any]) -> bytes:
    """A pack as one file.

    Args:
        name: its name.
        shards: the bytes of each shard by its path in the store.
        made: where it was made, and in how many seconds; nothing depends on it.

    """
    listed = [[key, len(content), digest_of(content)] for key, content in shards.items()]
    header = json.dumps({"name": name, "shards": listed, "made": dict(made)}).encode()
    whole = b"".join((FORMAT, struct.pack("<I", len(header)), header, *shards.values()))
    return whole + hashlib.sha256(whole).digest()


def opened(content: bytes, name: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The shards of a sealed pack by their paths, and where it was made.

    Raises:
        DamagedPackError: it is not whole, not as it was sealed, or another pack.

    """
    whole, digest = content[:-32], content[-32:]
    if not content.startswith(FORMAT) or len(content) < len(FORMAT) + 36 or hashlib.sha256(whole).digest() != digest:
        raise DamagedPackError(f"the pack {name} is damaged: its checksum does not fit")
    at = len(FORMAT)
    (length,) = struct.unpack_from("<I", whole, at)
    header = json.loads(whole[at + 4 : at + 4 + length])
    if header["name"] != name:
        raise DamagedPackError(f"the pack {name} is damaged: in its place is the pack {header['name']}")
    at += 4 + length
    shards = {}
    for key, size, _ in header["shards"]:
        shards[key] = whole[at : at + size]
        at += size
    return shards, header["made"]


def digest_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


SCHEMA = "tegum sweep"
"""The schema of the store of a sweep."""

VERSION = schema.VERSION
