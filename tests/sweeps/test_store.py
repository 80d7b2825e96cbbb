"""The store of a sweep: it opens at any time, in any reader, and what is damaged is found and made again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.sweeps import plan as plans
from tegum.sweeps import store
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping
from tegum.sweeps.packs import PLAN, make, path_of
from tegum.sweeps.places import SweepPlace, place_at
from tegum.sweeps.sweep import planned

SPEC = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4, snapshots=3)
DENSITIES = [0.1, 0.2, 0.5]
KEEP = ["loss", {"measure": "polytope_names"}, {"measure": "dimensionality", "every": 1}, {"measure": "weights"}]


class Here:
    """Work in this thread."""

    link = ""

    def submit(self, function, given) -> Future:
        future = Future()
        future.set_result(function(given))
        return future

    def everyone(self, function, given) -> list:
        return [function(given)]

    def count(self) -> int:
        return 1

    def check(self) -> None:
        pass

    def close(self, *, now: bool) -> None:
        pass


@pytest.fixture(scope="module")
def plan() -> plans.SweepPlan:
    return planned(
        design(SPEC, {"density": DENSITIES}), Keeping(KEEP, "sweep"), Here(), engine="auto", pack=4, mixed=False,
        call="sweep",
    )  # fmt: skip


@pytest.fixture(scope="module")
def contents(plan, tmp_path_factory) -> dict[str, bytes]:
    """The sealed packs of the plan by their paths."""
    place = place_at(tmp_path_factory.mktemp("made") / "sweep", "sweep")
    place.write(PLAN, plan.content)
    for pack in plan.packs:
        assert make(plan.task(pack, place)).content is None
    return {path: place.read(path) for path in place.sizes("packs")}


@pytest.fixture
def place(plan, contents, tmp_path) -> SweepPlace:
    """A sweep whose packs are all made, and none of them in the store."""
    made = place_at(tmp_path / "sweep", "sweep")
    made.write(PLAN, plan.content)
    store.begin(made, plan)
    for path, content in contents.items():
        made.write(path, content)
    return made


def files(place: SweepPlace) -> dict[str, str]:
    return {path: hashlib.sha256(place.read(path)).hexdigest() for path in place.sizes("runs.zarr")}


def opened(place: SweepPlace) -> xr.Dataset:
    return xr.open_zarr(f"{place.address}/runs.zarr").load()


OPEN = """
import sys, json, xarray
found = xarray.open_zarr(sys.argv[1]).load()
print(json.dumps([found["result"].values.tolist(), found["loss"].isnull().values.tolist(),
                  found["density"].values.tolist(), sorted(map(str, found.dims)), "tegum" in sys.modules]))
"""


def in_another_process(place: SweepPlace) -> list:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPEN, f"{place.address}/runs.zarr"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_store_opens_before_during_and_after(place, plan):
    assert in_another_process(place) == [
        [["missing"] * 4] * 3, [[True] * 4] * 3, DENSITIES, ["feature", "hidden", "seed", "spec", "step"], False,
    ]  # fmt: skip
    assert store.consolidate(place, plan.packs[1:2]) == []
    during = opened(place)
    assert during["result"].values.tolist() == [["missing"] * 4, ["completed"] * 4, ["missing"] * 4]
    assert np.isnan(during["weights"].values[[0, 2]]).all()
    assert (during["polytope_names"].values[[0, 2]] == "").all()
    assert store.consolidate(place, plan.packs) == [plan.packs[1]]  # it had gone
    store.seal(place, alone=True)
    after = in_another_process(place)
    assert after[0] == [["completed"] * 4] * 3
    assert not np.any(after[1])


def test_values_are_those_of_training(place, plan):
    store.consolidate(place, plan.packs)
    found = opened(place)
    for number, density in enumerate(DENSITIES):
        run = tg.train(SPEC.override({"features.density": density}), progress=False)
        last = run.isel(step=-1)
        np.testing.assert_array_equal(found["loss"][number], last["loss"])
        np.testing.assert_array_equal(found["weights"][number], last["weights"])
        np.testing.assert_array_equal(found["dimensionality"][number], tg.dimensionality(run["weights"]))
        np.testing.assert_array_equal(found["polytope_names"][number], tg.polytope_names(last["weights"]))
        assert found["step"].values.tolist() == run["step"].values.tolist()
        assert found["loss"].attrs == run["loss"].attrs
    assert found["spec_hash"].values.tolist() == [spec.hash for spec in plan.design.specs]
    assert found["seed"].values.tolist() == [0, 1, 2, 3]


def test_packs_that_are_consolidated_twice_change_nothing(place, plan, contents):
    assert store.consolidate(place, plan.packs) == []
    first = files(place)
    for path, content in contents.items():
        place.write(path, content)
    assert store.consolidate(place, plan.packs) == []
    assert files(place) == first
    assert {*store.receipts(place)} == {pack.name for pack in plan.packs}
    assert place.sizes("packs") == {}
    store.seal(place, alone=True)
    assert files(place) == first


def test_the_order_of_packs_changes_nothing(place, plan, tmp_path, contents):
    store.consolidate(place, plan.packs)
    store.seal(place, alone=True)
    other = place_at(tmp_path / "other", "sweep")
    other.write(PLAN, plan.content)
    store.begin(other, plan)
    for pack in reversed(plan.packs):
        other.write(path_of(pack.name), contents[path_of(pack.name)])
        store.consolidate(other, [pack])
    store.seal(other, alone=True)
    assert files(other) == files(place)
    assert other.read("manifest.json") == place.read("manifest.json")
    assert set(other.sizes("")) == set(place.sizes(""))


def test_damaged_packs_are_given_back(place, plan, contents):
    first, second, third = plan.packs
    flipped = bytearray(contents[path_of(first.name)])
    flipped[len(flipped) // 2] ^= 1
    place.write(path_of(first.name), bytes(flipped))
    place.write(path_of(second.name), contents[path_of(third.name)])
    assert store.consolidate(place, plan.packs) == [first, second]
    assert place.sizes("packs") == {}
    assert opened(place)["result"].values.tolist() == [["missing"] * 4, ["missing"] * 4, ["completed"] * 4]
    assert {*store.receipts(place)} == {third.name}


def test_a_sealed_store_is_complete_and_has_nothing_else(place, plan):
    assert store.sealed_packs(place) is None
    place.write("failed/x.json", b"{}")
    place.write("claims/x", b"x")
    store.consolidate(place, plan.packs)
    store.seal(place, alone=True)
    assert {path.partition("/")[0] for path in place.sizes("")} == {"sweep.json", "manifest.json", "runs.zarr"}
    packs = store.sealed_packs(place)
    assert packs is not None
    assert {*packs} == {pack.name for pack in plan.packs}
    # The manifest lists every shard that is there, as it is there.
    listed = {f"runs.zarr/{key}": each for shards in packs.values() for key, each in shards.items()}
    assert {*listed} == {path for path in place.sizes("runs.zarr") if "/c/" in path and f"{path}".split("/")[1] in
                         {"loss", "weights", "dimensionality", "polytope_names", "result", "diverged_at"}}  # fmt: skip
    for path, (size, digest) in listed.items():
        content = place.read(path)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"packs": {}, "sha256": "x"}', b"\xff"])
def test_a_damaged_manifest_is_one_sentence(place, plan, content):
    store.consolidate(place, plan.packs)
    store.seal(place, alone=True)
    place.write("manifest.json", content)
    with pytest.raises(ValueError, match=r"^sweep .*/sweep: the file 'manifest.json' is damaged; remove it, and what "
                                         r"is missing is made again$"):  # fmt: skip
        store.sealed_packs(place)


def test_a_manifest_with_one_flipped_byte_is_damaged_or_the_same(place, plan):
    store.consolidate(place, plan.packs)
    store.seal(place, alone=True)
    content, packs = place.read("manifest.json"), store.sealed_packs(place)
    for at in range(0, len(content), 37):
        flipped = bytearray(content)
        flipped[at] ^= 1
        place.write("manifest.json", bytes(flipped))
        with suppress(ValueError):
            assert store.sealed_packs(place) == packs


@pytest.fixture(params=["sealed", "unsealed"])
def stored(request, place, plan) -> SweepPlace:
    store.consolidate(place, plan.packs)
    if request.param == "sealed":
        store.seal(place, alone=True)
    return place


def test_nothing_is_wrong_in_a_store_that_is_whole(stored):
    assert list(store.wrong_in(stored, everything=True)) == []


@pytest.mark.parametrize("what", ["flipped", "truncated", "missing", "swapped", "emptied", "grown"])
@pytest.mark.parametrize("variable", ["loss", "polytope_names", "result"])
def test_what_is_wrong_in_a_store_is_found_and_made_again(stored, plan, contents, what, variable):
    before = files(stored)
    keys = [next(key for key in pack.keys if key.startswith(f"{variable}/")) for pack in plan.packs]
    content = stored.read(f"runs.zarr/{keys[1]}")
    match what:
        case "flipped":
            changed = {1: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]}
        case "truncated":
            changed = {1: content[:-1]}
        case "emptied":
            changed = {1: b""}
        case "grown":
            changed = {1: content + b"\0"}
        case "swapped":
            changed = {0: content, 1: stored.read(f"runs.zarr/{keys[0]}")}
        case _:
            changed = {}
            stored.remove(f"runs.zarr/{keys[1]}")
    for number, wrong in changed.items():
        stored.write(f"runs.zarr/{keys[number]}", wrong)
    found = dict(store.wrong_in(stored, everything=True))
    same = what == "swapped" and stored.read(f"runs.zarr/{keys[0]}") == content == changed[1]
    wanted = {plan.packs[number].name for number in changed or {1: b""}}
    assert found.keys() == (set() if same else wanted)
    quick = dict(store.wrong_in(stored, everything=False))
    assert quick.keys() <= found.keys()
    assert (what not in ("truncated", "missing", "emptied", "grown")) or quick.keys() == wanted
    store.forget(stored, [*found])
    assert store.sealed_packs(stored) is None
    assert {*store.receipts(stored)} == {pack.name for pack in plan.packs} - found.keys()
    for pack in plan.packs:
        if pack.name in found:
            stored.write(path_of(pack.name), contents[path_of(pack.name)])
            assert store.consolidate(stored, [pack]) == []
    assert list(store.wrong_in(stored, everything=True)) == []
    assert files(stored) == before
    store.seal(stored, alone=True)
    assert {*(store.sealed_packs(stored) or ())} == {pack.name for pack in plan.packs}


def test_a_pack_that_is_made_again_has_the_same_bytes(place, plan, contents):
    store.consolidate(place, plan.packs)
    first = files(place)
    store.forget(place, [pack.name for pack in plan.packs])
    for pack in plan.packs:
        make(plan.task(pack, place))
    assert store.consolidate(place, plan.packs) == []
    assert files(place) == first
    assert contents


def test_metadata_that_was_lost_or_damaged_is_written_again(place, plan):
    before = files(place)
    for path in ("runs.zarr/zarr.json", "runs.zarr/loss/zarr.json", "runs.zarr/density/c/0"):
        content = place.read(path)
        for wrong in (None, content[:-1], bytes([content[0] ^ 1]) + content[1:]):
            if wrong is None:
                place.remove(path)
            else:
                place.write(path, wrong)
            assert store.begin(place, plan, everything=True) == [path]
            assert files(place) == before
            assert store.begin(place, plan) == []


def test_a_damaged_receipt_costs_only_its_packs(place, plan):
    store.consolidate(place, plan.packs[:2])
    store.consolidate(place, plan.packs[2:])
    for path in place.sizes("done"):
        if plan.packs[0].name in place.read(path).decode():
            place.write(path, b"\0" * 10)
    assert {*store.receipts(place)} == {plan.packs[2].name}


@pytest.mark.parametrize("content", [b"[]", b"3", b'"x"', b"null", b"\xff\xff", b'{"a": 3}', b'{"a": {"b": 3}}'])
def test_a_receipt_of_another_form_is_none(place, plan, content):
    store.consolidate(place, plan.packs)
    place.write("done/0.json", content)
    assert {*store.receipts(place)} == {pack.name for pack in plan.packs}
    assert list(store.wrong_in(place, everything=True)) == []


def test_the_tree_selects_by_the_values_of_parameters(place, plan):
    store.consolidate(place, plan.packs)
    tree = store.datatree(place, plan)
    found = tree["loss"].sel(density=0.2)
    assert found.dims == ("seed",)
    np.testing.assert_array_equal(found, opened(place)["loss"][1])
    assert next(iter(tree.data_vars)) in ("result", "loss")
    assert json.loads(tree.attrs["design"]) == plan.design.to_json()


def iterated(place: SweepPlace) -> Iterator[Path]:
    yield from Path(place.address).rglob("*")


def test_nothing_hidden_is_left(place, plan):
    store.consolidate(place, plan.packs)
    store.seal(place, alone=True)
    assert [path for path in iterated(place) if path.name.startswith(".")] == []
