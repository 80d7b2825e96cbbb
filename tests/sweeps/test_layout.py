"""The arrays of a sweep: a shard made alone is what zarr writes, and values come back as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from tegum.data import zarr_setup
from tegum.sweeps import layout as layouts
from tegum.sweeps.layout import Array, Layout, described, fitted, make_array, shard

KINDS = {
    "float64": lambda rng, shape: rng.normal(size=shape),
    "float32": lambda rng, shape: rng.normal(size=shape).astype(np.float32),
    "int64": lambda rng, shape: rng.integers(-(2**62), 2**62, shape),
    "uint8": lambda rng, shape: rng.integers(0, 256, shape).astype(np.uint8),
    "bool": lambda rng, shape: rng.random(shape) < 0.5,
    "complex128": lambda rng, shape: rng.normal(size=shape) + 1j * rng.normal(size=shape),
    "string": lambda rng, shape: np.array(
        [["", "digon", "Δ ≥ 3", "a\0b", "x" * 50][each] for each in rng.integers(0, 5, int(np.prod(shape)))], object
    ).reshape(shape),
}


def layout_of(array: Array, specs: int, seeds: int, pack: tuple[int, int], path: str = "") -> Layout:
    return Layout(path, specs, seeds, pack, (array,), ())


def values_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return KINDS[dtype](np.random.default_rng(0), shape)


def whole(layout: Layout, array: Array, values: np.ndarray) -> dict[str, bytes]:
    """What zarr itself writes for the array of all runs, pack by pack."""
    store = MemoryStore()
    with zarr_setup.scope():
        group = zarr.create_group(store, zarr_format=3)
        if layout.path:
            group = group.create_group(layout.path)
        made = make_array(group, layout, array, whole=True)
        for place in layout.places():
            specs, seeds = layout.within(place)
            made[specs.start : specs.stop, seeds.start : seeds.stop] = values[
                specs.start : specs.stop, seeds.start : seeds.stop
            ]
    return {key: content.to_bytes() for key, content in store._store_dict.items()}


@pytest.mark.parametrize(
    ("runs", "pack"), [((1, 1), (1, 1)), ((3, 4), (1, 4)), ((5, 6), (2, 6)), ((2, 7), (1, 3)), ((3, 4), (3, 4))]
)
@pytest.mark.parametrize("own", [(), (3,), (2, 5), (1, 1, 4)], ids=str)
@pytest.mark.parametrize("dtype", KINDS)
def test_a_shard_made_alone_is_what_zarr_writes(dtype, own, runs, pack):
    array = Array("m", tuple("abc"[: len(own)]), own, dtype, {"units": "1"})
    layout = layout_of(array, *runs, pack, path="3x1")
    values = values_of(dtype, (*runs, *own))
    written = whole(layout, array, values)
    places = list(layout.places())
    assert len(places) == layout.packs[0] * layout.packs[1]
    keys = set()
    for place in places:
        specs, seeds = layout.within(place)
        part = values[specs.start : specs.stop, seeds.start : seeds.stop]
        assert shard(layout, array, part) == written[layout.key(array, place)]
        keys.add(layout.key(array, place))
    assert keys == {key for key in written if "/c/" in key}


@pytest.mark.parametrize("own", [(0,), (3, 0), (0, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "string", "bool"])
def test_variables_without_values_are_stored_and_read(dtype, own):
    array = Array("m", tuple("ab"[: len(own)]), own, dtype, {})
    layout = layout_of(array, 3, 4, (2, 4))
    values = values_of(dtype, (3, 4, *own))
    store = MemoryStore()
    with zarr_setup.scope():
        group = zarr.create_group(store, zarr_format=3)
        make_array(group, layout, array, whole=True)
        for place in layout.places():
            specs, seeds = layout.within(place)
            content = shard(layout, array, values[specs.start : specs.stop, seeds.start : seeds.stop])
            assert isinstance(content, bytes)
        assert group["m"][...].shape == (3, 4, *own)


@pytest.mark.parametrize("dtype", KINDS)
def test_chunks_divide_a_shard_whatever_its_size(dtype, monkeypatch):
    for limit in (1, 100, 1000, 2**20):
        monkeypatch.setattr(layouts, "CHUNK_BYTES", limit)
        array = Array("m", ("a",), (3,), dtype, {})
        layout = layout_of(array, 7, 12, (3, 12))
        values = values_of(dtype, (7, 12, 3))
        written = whole(layout, array, values)
        for place in layout.places():
            specs, _ = layout.within(place)
            assert shard(layout, array, values[specs.start : specs.stop]) == written[layout.key(array, place)]
        metadata = json.loads(written["m/zarr.json"])
        (sharding,) = metadata["codecs"]
        inner = sharding["configuration"]["chunk_shape"]
        assert 3 % inner[0] == 0
        assert 12 % inner[1] == 0
        assert inner[2] == 3
        assert inner[0] * inner[1] * array.size <= limit or inner[:2] == [1, 1]


def test_a_large_variable_is_stored_in_chunks_of_few_runs():
    array = Array("m", ("a",), (200_000,), "float64", {})
    layout = layout_of(array, 2, 3, (1, 3))
    values = values_of("float64", (2, 3, 200_000))
    written = whole(layout, array, values)
    assert shard(layout, array, values[1:]) == written["m/c/1/0/0"]


def test_runs_that_are_not_there_are_told_apart():
    fills = {
        "result": ("string", "missing"), "diverged_at": ("int64", -1), "converged_at": ("int64", -1),
        "name": ("string", ""), "flag": ("bool", False), "count": ("int32", 0),
    }  # fmt: skip
    for name, (dtype, wanted) in fills.items():
        assert Array(name, (), (), dtype, {}).fill == wanted
    assert np.isnan(Array("loss", (), (), "float32", {}).fill)
    assert np.isnan(Array("mode", (), (), "complex128", {}).fill)


def test_a_layout_is_written_and_read_again():
    run = xr.Dataset(
        {
            "m": (("seed", "step", "feature"), np.zeros((2, 3, 4)), {"units": "1", "long_name": "m", "odd": [1, 2]}),
            "t": (("seed", "corner"), np.array([["a", "b"], ["c", "d"]])),
        },
        {"step": ("step", [0, 5, 9], {"units": "1"}), "corner": ("corner", ["x", "y"]), "seed": [0, 1]},
    )
    arrays, coordinates = described(["m", "t"], run)
    assert [(each.name, each.dims, each.shape, each.dtype) for each in arrays] == [
        ("m", ("step", "feature"), (3, 4), "float64"), ("t", ("corner",), (2,), "string"),
    ]  # fmt: skip
    assert dict(arrays[0].attrs) == {"units": "1", "long_name": "m"}
    assert [(each.name, each.values, each.dtype) for each in coordinates] == [
        ("step", (0, 5, 9), "int64"), ("corner", ("x", "y"), "string"),
    ]  # fmt: skip
    layout = Layout("4x2", 5, 7, (2, 7), arrays, coordinates)
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert layout.run_bytes == 3 * 4 * 8 + 2 * 32


@pytest.mark.parametrize(("runs", "pack"), [((7, 5), (2, 5)), ((3, 10), (1, 4)), ((1, 1), (1, 1))])
def test_the_packs_of_a_layout_hold_every_run_once(runs, pack):
    layout = Layout("", *runs, pack, (), ())
    counted = np.zeros(runs, int)
    for place in layout.places():
        specs, seeds = layout.within(place)
        counted[specs.start : specs.stop, seeds.start : seeds.stop] += 1
        assert layout.runs(place) == len(specs) * len(seeds)
    assert (counted == 1).all()


NUMBERS = Array("m", ("a", "b"), (2, 3), "float64", {})


def test_values_are_ordered_as_they_were_planned():
    values = np.arange(4 * 2 * 3.0).reshape(4, 2, 3)
    found = xr.DataArray(values.transpose(2, 0, 1), dims=("b", "seed", "a"))
    np.testing.assert_array_equal(fitted(NUMBERS, found), values[None])
    several = xr.DataArray(np.stack([values, -values], -1), dims=("seed", "a", "b", "spec"))
    np.testing.assert_array_equal(fitted(NUMBERS, several), np.stack([values, -values]))
    ints = xr.DataArray(values.astype(int), dims=("seed", "a", "b"))
    assert fitted(NUMBERS, ints).dtype == np.float64


@pytest.mark.parametrize(
    ("array", "found", "sentence"),
    [
        (NUMBERS, xr.DataArray(np.zeros((4, 2, 2)), dims=("seed", "a", "b")),
         r"^the measure m has the dimensions \{'a': 2, 'b': 2\} for some runs, and had \{'a': 2, 'b': 3\} for the "
         r"first; a measure must have the same for all runs$"),
        (NUMBERS, xr.DataArray(np.zeros((4, 2, 3)), dims=("seed", "a", "c")), r"has the dimensions \{'a': 2, 'c': 3\}"),
        (NUMBERS, xr.DataArray(np.zeros((4, 2)), dims=("seed", "a")), r"has the dimensions \{'a': 2\} for some runs"),
        (NUMBERS, xr.DataArray(np.full((4, 2, 3), "x"), dims=("seed", "a", "b")),
         r"^the measure m has values of dtype string for some runs, and had float64 for the first; a measure must have "
         r"one kind of values for all runs$"),
        (NUMBERS, xr.DataArray(np.zeros((4, 2, 3), complex), dims=("seed", "a", "b")), r"complex128 .* had float64"),
        (Array("m", (), (), "int64", {}), xr.DataArray(np.zeros(4), dims="seed"), r"dtype float64 .* had int64"),
        (Array("m", (), (), "bool", {}), xr.DataArray(np.zeros(4, int), dims="seed"), r"dtype int64 .* had bool"),
        (Array("m", (), (), "string", {}), xr.DataArray(np.zeros(4), dims="seed"), r"dtype float64 .* had string"),
        (Array("m", (), (), "float32", {}), xr.DataArray(np.zeros(4), dims="seed"), r"dtype float64 .* had float32"),
        (Array("m", (), (), "int32", {}), xr.DataArray(np.full(4, 2**40), dims="seed"), r"dtype int64 .* had int32"),
    ],
)  # fmt: skip
def test_a_measure_that_differs_between_packs_is_refused(array, found, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        fitted(array, found)
    assert "\n" not in str(caught.value)
