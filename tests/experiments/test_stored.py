"""Findings as a file, and back."""

import io
import json
import zipfile
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.experiments.stored import VERSION, dump, load


class Pair(NamedTuple):
    one: float
    other: np.ndarray


@dataclass(frozen=True)
class Found:
    names: tuple[str, ...]
    table: dict
    inner: object = field(default=None)

    def __post_init__(self):
        if self.names == ("never",):
            raise AssertionError


def again(value):
    return load(dump(value, __name__), __name__, "draw x")


def test_values_come_back_as_they_were():
    spec = tg.Spec(features=[tg.Correlated(2, 0.1), tg.Independent(3, 0.5)], hidden=2, training=tg.Sampled(steps=5))
    values = [
        None, True, -3, 2**70, 0.1, float("inf"), "ρ → m", [], (), {}, (1, (2.5, "x")), {"a": [1], ("b", 2): None},
        frozenset({1, 2}), {3}, np.float32(0.5), np.int64(7), np.bool_(True), np.zeros((0, 4)), np.array(2.0),
        np.str_("a"), np.arange(6, dtype=np.uint8).reshape(2, 3), np.array(["a", "bcd"]), np.array([1 + 2j]), spec,
        spec.features,
    ]  # fmt: skip
    for value in values:
        found = again(value)
        assert type(found) is type(value)
        if isinstance(value, np.ndarray):
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value)
        else:
            assert found == value
    assert np.isnan(again(float("nan")))
    assert again(OrderedDict(b=1, a=2)) == {"b": 1, "a": 2}


def test_objects_come_back_without_being_made_anew():
    made = Found(("a",), {1: Pair(0.5, np.arange(3))}, Found((), {}))
    object.__setattr__(made, "names", ("never",))  # which __init__ would refuse
    found = again(made)
    assert isinstance(found, Found)
    assert found.names == ("never",)
    assert found.inner == Found((), {})
    pair = found.table[1]
    assert isinstance(pair, Pair)
    np.testing.assert_array_equal(pair.other, [0, 1, 2])
    # Arrays that lay beside each other in the file can be changed one by one.
    one, other = again([np.zeros(2), np.ones(2)])
    one[:] = 5
    assert other.tolist() == [1, 1]


def test_xarray_comes_back_with_coordinates_and_attributes():
    data = xr.Dataset(
        {"loss": (("seed", "step"), np.arange(6.0).reshape(2, 3), {"units": "1"}), "name": ("seed", ["a", "bc"])},
        {"step": [0, 10, 20], "density": ("seed", [0.1, 0.2])},
        {"spec": "{}", "size": 3},
    )
    assert again(data).identical(data)
    assert again(data["loss"]).identical(data["loss"])
    assert again(xr.DataArray([1.0])).identical(xr.DataArray([1.0]))


class Half(StrEnum):
    ONE = "one"


@dataclass
class Counted:
    total: int

    def __post_init__(self):
        self.seen = self.total + 1

    @cached_property
    def double(self):
        return 2 * self.total


def unset():
    made = Counted(1)
    del made.seen
    assert made.double == 2
    return made


def incomplete():
    made = unset()
    del made.total
    return made


def local():
    @dataclass
    class Inside:
        one: int

    return Inside(1)


def test_what_was_only_computed_from_the_fields_is_left_out():
    assert vars(again(unset())) == {"total": 1}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.ma.masked_array([1.0, -999.0, 3.0], [0, 1, 0]), "findings: a MaskedArray cannot be stored"),
        ([Counter("aab")], r"findings\[0\]: a Counter cannot be stored"),
        ({"a": defaultdict(list)}, r"findings\['a'\]: a defaultdict cannot be stored"),
        (Half.ONE, "findings: a Half cannot be stored"),
        ((Counted(1),), r"findings\[0\]: a Counted cannot be stored; its attribute 'seen' is none of its fields"),
        (local(), "findings: a Inside cannot be stored; its class is defined inside a function"),
        (incomplete(), "findings: they cannot be stored .*total"),
        ({"a": "\ud800"}, "findings: they cannot be stored .*surrogates"),
        pytest.param(10**5000, "findings: they cannot be stored .*digits", id="digits"),
        (lambda: 0, "findings: a function cannot be stored"),
        ({"runs": [object()]}, r"findings\['runs'\]\[0\]: a object cannot be stored"),
        (Found((), {}, io.StringIO()), r"findings.inner: a StringIO cannot be stored"),
        (np.array([object()]), "findings: an array of dtype object cannot be stored"),
        (np.array(["2020-01-01"], "M8[D]"), "findings: an array of dtype datetime64"),
    ],
)
def test_anything_else_is_refused_with_its_place(value, where):
    with pytest.raises(TypeError, match=where):
        dump(value, __name__)


def test_what_holds_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(TypeError, match="hold themselves"):
        dump(value, __name__)


def test_the_same_findings_are_the_same_bytes():
    value = Found(("a",), {"x": np.random.default_rng(0).normal(size=100)})
    assert dump(value, __name__) == dump(value, __name__)


def structured(structure):
    content = io.BytesIO()
    text = structure if isinstance(structure, str) else json.dumps(structure)
    np.savez(content, structure=np.frombuffer(text.encode(), np.uint8), f8=np.arange(2.0))
    return content.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        {"class": "os:system", "fields": {}},
        {"class": "os.path:join", "fields": {}},
        {"class": "builtins:object", "fields": {}},
        {"class": "nowhere.at.all:Class", "fields": {}},
        {"class": "tegum.experiments.framework:Experiment", "fields": {}},
        {"class": "tegum.experiments.framework:Criterion", "fields": {"key": "a"}},
        {"array": ["f8", 0, [3]]},
        {"array": ["f8", -5, [2]]},
        {"array": ["f8", 0, [-1]]},
        {"array": ["f8", 0, [0, 10**30]]},
        {"array": ["f8", 0, 2]},
        {"scalar": ["f8", 0, [2]]},
        [{"array": ["f8", 0, [2]]}, {"array": ["f8", 0, [2]]}],
        {"float": "abc"},
        {"class": 3, "fields": {}},
        {"class": "tegum.experiments.framework:Criterion", "fields": 3},
        {"mapping": [[1, 2, 3]]},
        {"FeatureDistribution": 3},
        {"Dataset": 3},
        {"unheard": 1},
    ],
)
def test_a_file_that_was_made_by_something_else_is_refused_and_runs_nothing(value):
    with pytest.raises(ValueError, match=r"draw x: findings.npz is damaged, or was made by another version"):
        load(structured({"version": VERSION, "value": value}), __name__, "draw x")


def test_damaged_files_and_later_ones_are_refused():
    for content in (b"", b"no zip", dump([1.5, np.arange(9)], __name__)[:-30]):
        with pytest.raises(ValueError, match="damaged"):
            load(content, __name__, "draw x")
    pickled = io.BytesIO()
    np.savez(pickled, structure=np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"damaged|pickle"):
        load(pickled.getvalue(), __name__, "draw x")
    with pytest.raises(ValueError, match=rf"has version {VERSION + 1}; this version of tegum reads up to {VERSION}"):
        load(structured({"version": VERSION + 1, "value": None}), __name__, "draw x")
    assert zipfile.is_zipfile(io.BytesIO(dump(None, __name__)))


def test_a_structure_of_another_type_and_deep_nesting_are_damage():
    for structure in (3, [], "[]", {"version": "1", "value": 1}, {"version": -1, "value": 1}, "[" * 100_000):
        with pytest.raises(ValueError, match=r"draw x: findings.npz is damaged"):
            load(structured(structure), __name__, "draw x")
    deep = '{"version": 1, "value": ' + "[" * 5000 + "]" * 5000 + "}"
    with pytest.raises(ValueError, match=r"draw x: findings.npz is damaged"):
        load(structured(deep), __name__, "draw x")


def rewritten(part):
    """A file whose only part is this one, compressed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("structure.npy", part)
    return content.getvalue()


def test_a_header_that_declares_more_than_there_is_is_damage():
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n"
    for size in (5, 10**15, 10**40):
        text = (header % size).encode()
        part = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"{}"
        with pytest.raises(ValueError, match=r"draw x: findings.npz is damaged"):
            load(rewritten(part), __name__, "draw x")


def test_a_file_that_would_take_too_much_memory_is_refused_before_it_is_read(monkeypatch):
    content = rewritten(bytes(3_000_000))
    assert len(content) < 5000
    monkeypatch.setenv("TEGUM_MEMORY_LIMIT", "10MB")
    with pytest.raises(ValueError, match=r"draw x: findings.npz would take 81 MB of memory, and TEGUM_MEMORY_LIMIT"):
        load(content, __name__, "draw x")


def test_flipped_bytes_and_cut_files_are_read_or_refused_in_a_sentence():
    spec = tg.Spec(features=[tg.Independent(3, 0.5)], hidden=2, training=tg.Sampled(steps=5))
    value = Found(("a",), {"x": np.arange(9), 2: [spec, "é", 0.5, {1}]}, Pair(float("inf"), np.array(["a", "bc"])))
    whole, rng = dump(value, __name__), np.random.default_rng(0)
    refused = 0
    for number in range(200):
        content = bytearray(whole)
        if number % 4:
            for place in rng.integers(0, len(whole), 1 + number % 3):
                content[place] ^= 1 << rng.integers(0, 8)
        else:
            del content[rng.integers(0, len(whole)) :]
        try:
            load(bytes(content), __name__, "draw x")
        except ValueError as error:
            assert str(error).startswith("draw x: findings.npz ")  # noqa: PT017 (it may also be read)
            refused += 1
    assert refused > 100
