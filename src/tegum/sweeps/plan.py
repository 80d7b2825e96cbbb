"""The plan of a sweep: its design, what is kept, and its packs. It is written once, and everybody works by it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float64

from tegum.data import schema
from tegum.sweeps.design import Design
from tegum.sweeps.kept import Source, without_folder
from tegum.sweeps.layout import Layout
from tegum.sweeps.packs import PLAN, SCHEMA, VERSION, Identity, PackTask, pack_name
from tegum.sweeps.places import SweepPlace
from tegum.training.dataset import version_of
from tegum.training.engine import agreeing
from tegum.training.spec.spec import Spec

PACK_SECONDS = 60.0
"""How long a pack of a large sweep should take, in seconds: long beside what handing it out costs, and short enough to
lose."""

_MOST_PACK_SECONDS = 120.0
_LEAST_PACK_SECONDS = 2.0
_AT_LEAST_PACKS = 128
"""The packs of a sweep that takes minutes, so that every core has something to do until the end."""

_MOST_PACK_BYTES = 2**28
_MOST_PACKS = 10_000_000


@final
class Pack(NamedTuple):
    """A pack of a plan."""

    name: str
    group: int
    place: tuple[int, int]
    runs: int
    keys: tuple[str, ...]
    """The paths of its shards in the store."""


@final
@dataclass(frozen=True)
class RunGroup:
    """The Specs that are trained together: of one shape, with the same snapshots."""

    members: tuple[int, ...]
    """The Specs, by their numbers in the sweep."""
    layout: Layout
    seconds: tuple[tuple[float, float], ...]
    """What a run takes on one core, by the mean density of its features, as measured when the sweep was planned."""
    bytes: float
    """What is stored of a run, in bytes."""
    least: bool
    """Whether the seconds are a lower bound."""


@final
@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep."""

    design: Design
    keep: tuple[Any, ...]
    sources: Mapping[str, Source]
    engine: str
    identity: Identity
    mixed: bool
    groups: tuple[RunGroup, ...]

    @property
    def runs(self) -> int:
        """The number of runs."""
        return sum(group.layout.specs * group.layout.seeds for group in self.groups)

    @cached_property
    def packs(self) -> tuple[Pack, ...]:
        """The packs, in their order."""
        return tuple(self._packs())

    def _packs(self) -> Iterator[Pack]:
        for number, group in enumerate(self.groups):
            layout = group.layout
            for place in layout.places():
                specs, seeds = layout.within(place)
                own = [self.design.specs[group.members[at]] for at in specs]
                where = layout.path, *place
                name = pack_name(own, (seeds.start, seeds.stop), where, self.engine, self.identity)
                keys = tuple(layout.key(array, place) for array in layout.arrays)
                yield Pack(name, number, place, len(specs) * len(seeds), keys)

    def task(self, pack: Pack, place: SweepPlace) -> PackTask:
        """What a worker needs to make a pack."""
        group = self.groups[pack.group]
        specs, seeds = group.layout.within(pack.place)
        described = tuple(json.dumps(self.design.specs[group.members[at]].to_json()) for at in specs)
        return PackTask(
            name=pack.name,
            place=place.address,
            plan=self.digest,
            specs=described,
            runs=(seeds.start, seeds.stop),
            keep=self.keep,
            sources=self.sources,
            engine=self.engine,
            layout=group.layout,
            position=pack.place,
            identity=self.identity,
            mixed=self.mixed,
        )

    def with_files(self, keep: Sequence[Any], sources: Mapping[str, Source]) -> SweepPlan:
        """The same plan, whose measures are read from where their files are now."""
        made = replace(self, keep=tuple(keep), sources=dict(sources))
        vars(made)["content"] = self.content  # as it is there
        return made

    def part(self, part: tuple[int, int] | None) -> tuple[Pack, ...]:
        """The packs of one of several parts, such as (0, 4); None is all of them."""
        return self.packs if part is None else self.packs[part[0] :: part[1]]

    def missing(
        self, there: Collection[str] = (), part: tuple[int, int] | None = None
    ) -> tuple[int, int, float, float]:
        """The runs, the packs, the seconds on one core and the bytes of what is not there yet.

        Args:
            there: the names of packs that are.
            part: the part of the packs that is looked at.

        """
        runs, packs, seconds, stored = 0, 0, 0.0, 0.0
        paces = [pace(group.seconds, self._densities(group)) for group in self.groups]
        for pack in self.part(part):
            if pack.name not in there:
                specs, seeds = self.groups[pack.group].layout.within(pack.place)
                runs, packs = runs + pack.runs, packs + 1
                seconds += float(paces[pack.group][specs.start : specs.stop].sum()) * len(seeds)
                stored += self.groups[pack.group].bytes * pack.runs
        return runs, packs, seconds, stored

    @property
    def least(self) -> bool:
        """Whether the seconds are a lower bound."""
        return any(group.least for group in self.groups)

    def _densities(self, group: RunGroup) -> Float64[np.ndarray, " spec"]:
        return np.array([mean_density(self.design.specs[at]) for at in group.members])

    def attributes(self) -> dict[str, Any]:
        """What the store says of itself; nothing in it depends on when it was made, or by how many workers."""
        about = {
            "schema": SCHEMA,
            "schema_version": VERSION,
            "keep": json.dumps([without_folder(each) for each in self.keep]),
            "engine": self.engine,
            "code": self.identity.code,
            "vector_unit": "mixed" if self.mixed else self.identity.unit,
            "tegum_version": version_of("tegum"),
            "versions": json.dumps(dict(self.identity.versions)),
        }
        told = json.dumps(self.design.to_json())
        if len(self.design.specs) == 1:
            about |= {"spec": json.dumps(self.design.specs[0].to_json()), schema.SPEC_HASH: self.design.specs[0].hash}
        return about | ({"design": told} if len(told) < 10**6 else {})

    @cached_property
    def content(self) -> bytes:
        """The plan as a file."""
        told = {
            "schema": SCHEMA,
            "version": VERSION,
            "design": self.design.to_json(),
            "keep": list(self.keep),
            "sources": {path: list(source) for path, source in self.sources.items()},
            "engine": self.engine,
            "identity": self.identity._asdict(),
            "mixed": self.mixed,
            "groups": [
                {
                    "members": _as_ranges(group.members),
                    "layout": group.layout.to_json(),
                    "seconds": group.seconds,
                    "bytes": group.bytes,
                    "least": group.least,
                }
                for group in self.groups
            ],
        }
        return json.dumps(told, indent=1).encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of the plan, by which workers know its place."""
        return hashlib.sha256(self.content).hexdigest()


def read(place: SweepPlace, call: str) -> SweepPlan | None:
    """The plan at a place; None if there is none.

    Raises:
        ValueError: what is there is not the plan of a sweep, or that of another version.

    """
    try:
        content = place.read(PLAN)
    except FileNotFoundError:
        return None
    try:
        told = json.loads(content)
        name, version = told["schema"], told["version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{call}: {place.address}/{PLAN} is damaged: it is not the plan of a sweep") from None
    if (name, version) != (SCHEMA, VERSION):
        raise ValueError(
            f"{call}: {place.address}/{PLAN} has the schema {name!r}, version {version!r}, but this tegum reads "
            f"{SCHEMA!r}, version {VERSION}; continue it with the tegum that began it"
        )
    try:
        made = SweepPlan(
            design=Design.from_json(told["design"], call),
            keep=tuple(told["keep"]),
            sources={path: Source(*source) for path, source in told["sources"].items()},
            engine=told["engine"],
            identity=Identity(**told["identity"]),
            mixed=told["mixed"],
            groups=(),
        )
        made = replace(made, groups=tuple(_group(each, len(made.design.specs)) for each in told["groups"]))
        _ = [group.layout.packs for group in made.groups]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise ValueError(f"{call}: {place.address}/{PLAN} is damaged ({' '.join(str(error).split())[:200]})") from None
    vars(made)["content"] = content  # as it is there, whatever this version would write
    return made


def _group(told: Mapping[str, Any], specs: int) -> RunGroup:
    if any(not 0 <= first < end <= specs for first, end in told["members"]):
        raise ValueError("a group has Specs that are not there")
    members = tuple(at for first, end in told["members"] for at in range(first, end))
    seconds = tuple((float(density), float(each)) for density, each in told["seconds"])
    return RunGroup(members, Layout.from_json(told["layout"]), seconds, float(told["bytes"]), bool(told["least"]))


def _as_ranges(numbers: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for each in numbers:
        if found and found[-1][1] == each:
            found[-1][1] = each + 1
        else:
            found.append([each, each + 1])
    return found


def grouped(design: Design) -> list[tuple[int, ...]]:
    """The Specs that are trained together, by their numbers."""
    groups: dict[Any, list[int]] = {}
    for number, spec in enumerate(design.specs):
        groups.setdefault(agreeing(spec), []).append(number)
    return [tuple(members) for members in groups.values()]


def group_paths(design: Design, groups: Sequence[Sequence[int]]) -> list[str]:
    """The path of each group in the store: its shape, with a number if several have it; empty if there is but one."""
    if len(groups) == 1:
        return [""]
    shapes = [f"{(first := design.specs[members[0]]).features.n}x{first.hidden}" for members in groups]
    counted, found = dict[str, int](), []
    for shape in shapes:
        counted[shape] = counted.get(shape, 0) + 1
        found.append(shape if shapes.count(shape) == 1 else f"{shape}-{counted[shape]}")
    return found


def mean_density(spec: Spec) -> float:
    """The mean density of the features of a Spec, on which the pace of training depends."""
    return float(np.mean(spec.features.density))


def pace(
    seconds: Sequence[tuple[float, float]], densities: Float64[np.ndarray, " spec"]
) -> Float64[np.ndarray, " spec"]:
    """The seconds of a run at some densities, between those at which they were measured."""
    known = sorted(seconds)
    return np.interp(densities, [density for density, _ in known], [each for _, each in known])


def per_pack(
    specs: int, seeds: int, seconds: Float64[np.ndarray, " spec"], run_bytes: int, total: float, pack: int | None
) -> tuple[int, int]:
    """The Specs and the seeds of a pack.

    Args:
        specs: the number of Specs of the group.
        seeds: their seeds.
        seconds: what a run of each Spec takes.
        run_bytes: the bytes that are kept of a run.
        total: the seconds that the whole sweep takes.
        pack: the number of runs that a user has asked for.

    """
    if pack is None:
        aim = min(max(total / _AT_LEAST_PACKS, _LEAST_PACK_SECONDS), PACK_SECONDS)
        mean, most = max(float(seconds.mean()), 1e-9), max(float(seconds.max()), 1e-9)
        wanted = min(aim / mean, _MOST_PACK_SECONDS / most, _MOST_PACK_BYTES / max(run_bytes, 1))
        # A power of two: what is measured differs a little from time to time, and the packs should not.
        runs = 2 ** max(0, round(math.log2(max(wanted, 1))))
    else:
        runs = pack
    return (min(max(1, runs // seeds), specs), seeds) if runs >= seeds else (1, runs)


def check_packs(groups: Sequence[RunGroup], call: str) -> None:
    """Refuse a plan of more packs than can be listed.

    Raises:
        ValueError: there are too many.

    """
    if (count := sum(math.prod(group.layout.packs) for group in groups)) > _MOST_PACKS:
        rule = f"at most {_MOST_PACKS:,} are allowed; a larger pack has more runs"
        raise ValueError(f"{call}: there would be {count:,} packs, and {rule}")
