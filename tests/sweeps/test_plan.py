"""The plan of a sweep: written and read, with names of packs that depend on what bits depend on, and no more."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tegum as tg
from tegum.sweeps import plan as plans
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping
from tegum.sweeps.layout import Array, Layout
from tegum.sweeps.packs import PLAN, Identity
from tegum.sweeps.places import SweepPlace, place_at
from tegum.sweeps.plan import RunGroup, SweepPlan, per_pack

SPEC = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)
HERE = Identity("code", "measures", "AVX2", {"tegum": "0.1.0"})
ARRAYS = (Array("loss", (), (), "float64", {"units": "1"}), Array("result", (), (), "string", {}))


def made(spec=SPEC, parameters=None, *, pack: int = 3, **changes) -> SweepPlan:
    described = design(spec, parameters or ({"density": [0.1, 0.2, 0.4]} if isinstance(spec, tg.Spec) else None))
    groups = plans.grouped(described)
    found = []
    for members, path in zip(groups, plans.group_paths(described, groups), strict=True):
        seeds = described.specs[members[0]].seeds
        size = per_pack(len(members), seeds, np.ones(len(members)), 100, 1.0, pack)
        layout = Layout(path, len(members), seeds, size, ARRAYS, ())
        found.append(RunGroup(members, layout, ((0.1, 1.0), (0.4, 2.0)), 50.0, False))
    keeping = Keeping(["loss"], "sweep")
    plan = SweepPlan(described, tuple(keeping.to_json()), keeping.sources, "auto", HERE, False, tuple(found))
    return dataclasses.replace(plan, **changes)


@pytest.fixture
def place(tmp_path) -> SweepPlace:
    return place_at(tmp_path / "sweep", "sweep")


def test_a_plan_is_read_as_it_was_written(place, tmp_path):
    (tmp_path / "mine.py").write_text("def height(run): return run['loss']\n")
    keeping = Keeping([f"{tmp_path}/mine.py:height", {"measure": "loss", "every": 2}], "sweep")
    plan = made(keep=tuple(keeping.to_json()), sources=keeping.sources, mixed=True)
    assert plans.read(place, "sweep") is None
    place.write(PLAN, plan.content)
    again = plans.read(place, "sweep")
    assert again is not None
    assert again.digest == plan.digest
    assert again.content == plan.content
    assert again.packs == plan.packs
    assert again.groups == plan.groups
    assert again.sources == plan.sources
    assert again.design.specs == plan.design.specs
    assert (again.keep, again.engine, again.identity, again.mixed) == (plan.keep, "auto", HERE, True)
    moved = again.with_files(["x"], {})
    assert moved.keep == ("x",)
    assert moved.digest == plan.digest


def test_a_plan_that_another_version_wrote_keeps_its_digest(place):
    place.write(PLAN, json.dumps(json.loads(made().content), indent=3).encode())
    again = plans.read(place, "sweep")
    assert again is not None
    assert again.content == place.read(PLAN)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"^sweep: .*/sweep/sweep.json is damaged: it is not the plan of a sweep$"),
        (b"[1]", r"is damaged: it is not the plan of a sweep$"),
        (b"{}", r"is damaged: it is not the plan of a sweep$"),
        (b"\xff\xfe\x00", r"is damaged: it is not the plan of a sweep$"),
        (
            b'{"schema": "tegum sweep", "version": 99}',
            r"has the schema 'tegum sweep', version 99, but this tegum reads",
        ),
        (b'{"schema": "tegum sweep", "version": 1}', r"^sweep: .*/sweep/sweep.json is damaged \('design'\)$"),
    ],
)
def test_a_damaged_plan_is_one_sentence(place, content, sentence):
    place.write(PLAN, content)
    with pytest.raises(ValueError, match=sentence) as caught:
        plans.read(place, "sweep")
    assert "\n" not in str(caught.value)


def test_a_plan_with_any_part_missing_is_one_sentence(place):
    whole = json.loads(made().content)

    def without(told, path):
        return told if not path else {**told, path[0]: without(told[path[0]], path[1:])} if path[1:] else {
            key: each for key, each in told.items() if key != path[0]
        }  # fmt: skip

    for path in [(key,) for key in whole] + [
        ("design", key) for key in whole["design"] if key not in ("count", "seed")
    ]:
        place.write(PLAN, json.dumps(without(whole, path)).encode())
        with pytest.raises(ValueError, match=r"^sweep: .*sweep.json is damaged") as caught:
            plans.read(place, "sweep")
        assert "\n" not in str(caught.value)
    for key, value in (("groups", [{}]), ("identity", {}), ("sources", {"a": [1]}), ("groups", 3), ("keep", None)):
        place.write(PLAN, json.dumps({**whole, key: value}).encode())
        with pytest.raises(ValueError, match=r"^sweep: .*sweep.json is damaged"):
            plans.read(place, "sweep")


def names(plan: SweepPlan) -> set[str]:
    found = [pack.name for pack in plan.packs]
    assert len(set(found)) == len(found)
    return set(found)


def test_names_depend_on_what_bits_depend_on():
    first = names(made())
    for other in (
        made(SPEC.override({"training.rate": 0.5})), made(parameters={"density": [0.15, 0.25]}), made(engine="kernel"),
        made(identity=HERE._replace(code="x")), made(identity=HERE._replace(measures="x")),
        made(identity=HERE._replace(unit="x")), made(pack=2),
    ):  # fmt: skip
        assert not first & names(other)


def test_names_depend_on_nothing_else():
    first = names(made())
    groups = tuple(dataclasses.replace(group, seconds=((0.1, 9.0),), bytes=7.0, least=True) for group in made().groups)
    for other in (
        made(groups=groups), made(mixed=True), made(identity=HERE._replace(versions={"tegum": "0.2.0"})),
        made([SPEC.override({"features.density": each}) for each in (0.1, 0.2, 0.4)]),
    ):  # fmt: skip
        assert first == names(other)
    # A sweep with more Specs has the packs of one with fewer among its own, where packs are runs of one Spec.
    assert first <= names(made(parameters={"density": [0.1, 0.2, 0.4, 0.8]}))


def test_specs_of_several_shapes_are_groups():
    several = {"size": {"features.0.density": [0.1, 0.2, 0.3], "features.0.count": [3, 5, 3], "hidden": [1, 2, 1]}}
    plan = made(parameters=several)
    assert [(group.members, group.layout.path) for group in plan.groups] == [((0, 2), "3x1"), ((1,), "5x2")]
    assert {pack.group for pack in plan.packs} == {0, 1}
    assert plan.runs == 3 * 4
    assert all(key.startswith(("3x1/", "5x2/")) for pack in plan.packs for key in pack.keys)


def test_several_groups_of_one_shape_are_numbered():
    described = design(
        [SPEC, SPEC.override({"training.steps": 30}), SPEC.override({"seeds": 5}), SPEC.replace(hidden=2)]
    )
    groups = plans.grouped(described)
    assert plans.group_paths(described, groups) == ["3x1-1", "3x1-2", "3x1-3", "3x2"]
    one = design(SPEC)
    assert plans.group_paths(one, plans.grouped(one)) == [""]


@given(
    st.integers(1, 40), st.integers(1, 40), st.one_of(st.none(), st.integers(1, 2000)), st.floats(1e-7, 1e4),
    st.floats(1, 100), st.integers(0, 10**10),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_packs_hold_every_run_once(specs, seeds, pack, second, spread, run_bytes):
    seconds = second * np.linspace(1, spread, specs)
    size = per_pack(specs, seeds, seconds, run_bytes, float(seconds.sum()) * seeds, pack)
    assert 1 <= size[0] <= specs
    assert 1 <= size[1] <= seeds
    layout = Layout("", specs, seeds, size, (), ())
    counted = np.zeros((specs, seeds), int)
    for place in layout.places():
        along, across = layout.within(place)
        assert len(along) * len(across) == layout.runs(place) >= 1
        counted[along.start : along.stop, across.start : across.stop] += 1
    assert (counted == 1).all()
    if pack is not None:
        assert math.prod(size) <= pack
        assert math.prod(size) == min(pack, size[0] * seeds) or size[0] == specs or pack >= seeds
    else:
        # A pack of several runs takes no longer than two minutes, and no more memory than a few hundred megabytes.
        assert math.prod(size) == 1 or math.prod(size) * second <= 2 * plans._MOST_PACK_SECONDS
        assert math.prod(size) == 1 or math.prod(size) * run_bytes <= 2 * plans._MOST_PACK_BYTES


def test_what_is_missing_is_counted_with_the_pace_of_each_density():
    plan = made(pack=4)
    runs, packs, seconds, stored = plan.missing()
    assert (runs, packs) == (12, 3)
    # A run takes 1 s at density 0.1 and 2 s at 0.4, and in between what lies between.
    assert seconds == pytest.approx(4 * (1 + (1 + 1 / 3) + 2))
    assert stored == 12 * 50.0
    assert plan.missing({plan.packs[0].name})[:3] == (8, 2, pytest.approx(4 * (1 + 1 / 3 + 2)))
    assert plan.missing(names(plan)) == (0, 0, 0.0, 0.0)


def test_too_many_packs_are_refused():
    layout = Layout("", 100_000, 1000, (1, 1), (), ())
    group = RunGroup(tuple(range(100_000)), layout, ((0.1, 1.0),), 1.0, False)
    with pytest.raises(
        ValueError, match=r"^sweep: there would be 100,000,000 packs, and at most 10,000,000 are allowed"
    ):
        plans.check_packs([group], "sweep")


def test_a_task_has_all_that_a_worker_needs(place):
    plan = made(pack=8)
    task = plan.task(plan.packs[1], place)
    assert [tg.Spec.from_json(json.loads(each)) for each in task.specs] == [plan.design.specs[2]]
    assert (task.runs, task.position, task.plan) == ((0, 4), (1, 0), plan.digest)
    assert (task.identity, task.keep, task.engine, task.place) == (HERE, plan.keep, "auto", place.address)
