"""Designs: which Specs a sweep has, in which order, and that its description gives the same ones again."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tegum as tg
from tegum.core.features.activity import ActivitySet
from tegum.sweeps.design import Design, design

SPEC = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)


def values(made: Design, key: str = "features.density") -> list:
    return list(next(each[key] for each in made.values.values() if key in each))


def of(key: str, specs) -> list:
    match key:
        case "density":
            return [spec.features.sets[0].density for spec in specs]
        case "rate":
            return [spec.training.rate for spec in specs]
        case "hidden":
            return [spec.hidden for spec in specs]
    raise AssertionError(key)


def test_a_product_goes_through_the_last_parameter_first():
    made = design(SPEC, {"density": [0.1, 0.2], "rate": [0.01, 0.02, 0.03]})
    wanted = list(itertools.product([0.1, 0.2], [0.01, 0.02, 0.03]))
    assert list(zip(of("density", made.specs), of("rate", made.specs), strict=True)) == wanted
    assert made.coordinates == {"density": [one for one, _ in wanted], "rate": [other for _, other in wanted]}


def test_a_product_has_the_specs_of_a_grid_in_its_order():
    grid = tg.grid(SPEC, density=[0.1, 0.2], rate=[0.01, 0.02, 0.03])
    assert (
        design(grid).specs
        == tuple(grid.specs)
        == design(SPEC, {"density": [0.1, 0.2], "rate": [0.01, 0.02, 0.03]}).specs
    )


def test_a_zip_takes_the_first_of_all_then_the_second():
    made = design(SPEC, {"density": [0.1, 0.2, 0.1], "rate": [0.01, 0.02, 0.01]}, way="zip")
    assert of("density", made.specs) == [0.1, 0.2, 0.1]
    assert of("rate", made.specs) == [0.01, 0.02, 0.01]


def test_keys_that_change_together_are_one_parameter():
    made = design(SPEC, {"size": {"features.0.count": [2, 3], "hidden": [1, 2]}, "rate": [0.01, 0.02]})
    assert [(spec.features.n, spec.hidden) for spec in made.specs] == [(2, 1), (2, 1), (3, 2), (3, 2)]
    assert made.coordinates["size"] == [2, 2, 3, 3]


def test_without_parameters_a_design_is_its_spec_and_a_list_is_itself():
    assert design(SPEC).specs == (SPEC,)
    assert design(SPEC).coordinates == {}
    others = [SPEC, SPEC.override({"features.density": 0.3})]
    made = design(others)
    assert made.specs == tuple(others)
    assert list(made.coordinates.values()) == [[0.1, 0.3]]


@pytest.mark.parametrize("way", ["random", "sobol"])
def test_draws_are_those_of_their_seed_and_lie_in_their_range(way):
    ranges = {"density": tg.Between(0.05, 0.2), "rate": tg.Between(1e-4, 1e-1, scale="log")}
    one, same, other = (design(SPEC, ranges, way=way, count=50, seed=seed) for seed in (3, 3, 4))
    assert one.specs == same.specs
    assert not set(of("density", one.specs)) & set(of("density", other.specs))
    assert all(0.05 <= each <= 0.2 for each in of("density", one.specs))
    assert all(1e-4 <= each <= 1e-1 for each in of("rate", one.specs))
    assert len(set(of("density", one.specs))) == 50


@pytest.mark.parametrize(
    ("scale", "law"), [("linear", stats.uniform(1e-4, 1 - 1e-4)), ("log", stats.loguniform(1e-4, 1))]
)
def test_random_values_have_the_law_of_their_scale(scale, law):
    made = design(SPEC, {"density": tg.Between(1e-4, 1.0, scale=scale)}, way="random", count=500, seed=1)
    assert stats.kstest(values(made), law.cdf).pvalue > 0.01
    others = {"linear": stats.loguniform(1e-4, 1), "log": stats.uniform(1e-4, 1 - 1e-4)}
    assert stats.kstest(values(made), others[scale].cdf).pvalue < 1e-10


def test_random_parameters_are_independent():
    made = design(SPEC, {"density": tg.Between(0.1, 0.2), "rate": tg.Between(0.1, 0.2)}, way="random", count=500)
    drawn = of("density", made.specs), of("rate", made.specs)
    assert abs(stats.pearsonr(*drawn).statistic) < 4 / math.sqrt(500)


@pytest.mark.parametrize("power", [0, 1, 4, 8])
def test_a_sobol_sequence_is_balanced_at_each_power_of_two(power):
    ranges = {"density": tg.Between(0.0, 1.0), "rate": tg.Between(1e-4, 1.0, scale="log")}
    ranges["density"] = tg.Between(1e-9, 1.0)
    made = design(SPEC, ranges, way="sobol", count=300, seed=2)
    count = 2**power
    for drawn in (np.array(of("density", made.specs)), 1 + np.log10(of("rate", made.specs)) / 4):
        # One point in each of so many equal parts of the range.
        assert sorted(np.floor(drawn[:count] * count).astype(int)) == list(range(count))


def test_a_longer_sobol_sweep_contains_a_shorter_one():
    ranges = {"density": tg.Between(0.1, 0.9), "hidden": tg.Between(1, 9)}
    long = design(SPEC, ranges, way="sobol", count=200, seed=5)
    for count in (1, 2, 3, 64, 65, 127):
        assert design(SPEC, ranges, way="sobol", count=count, seed=5).specs == long.specs[:count]
    # The same holds of random draws.
    drawn = design(SPEC, ranges, way="random", count=200, seed=5)
    assert design(SPEC, ranges, way="random", count=70, seed=5).specs == drawn.specs[:70]


def test_whole_numbers_have_equal_shares_with_both_ends():
    made = design(SPEC, {"hidden": tg.Between(2, 6)}, way="random", count=1000, seed=0)
    drawn = values(made, "hidden")
    assert all(type(each) is int for each in drawn)
    counts = np.bincount(drawn, minlength=7)[2:]
    assert stats.chisquare(counts).pvalue > 0.01
    logarithmic = tg.Between(1, 100, scale="log").at(np.linspace(0, 1, 10_000, endpoint=False))
    assert (min(logarithmic), max(logarithmic)) == (1, 100)
    # Of a logarithmic range each number has the share of what is rounded to it.
    shares = np.bincount(logarithmic)[1:] / 10_000
    edges = np.clip(np.arange(0.5, 101), 1, 100)
    np.testing.assert_allclose(shares, np.diff(np.log(edges)) / math.log(100), atol=2e-4)


def test_whole_numbers_up_to_the_largest_stay_in_their_range():
    drawn = tg.Between(0, 2**63 - 1).at(np.array([0.0, 0.5, np.nextafter(1, 0)]))
    assert all(0 <= each <= 2**63 - 1 for each in drawn)
    assert drawn[0] < drawn[1] < drawn[2]


@given(
    st.integers(-1000, 1000),
    st.integers(1, 1000),
    st.sampled_from(["linear", "log"]),
    st.integers(1, 30),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_evenly_spaced_values_begin_and_end_at_the_ends(low, width, scale, count, whole):
    if scale == "log":
        low = abs(low) + 1
    ends = (low, low + width) if whole else (float(low), low + width / 7)
    spaced = tg.Between(*ends, scale=scale, count=count).spaced()
    assert spaced[0] == ends[0]
    assert (spaced[-1] == ends[1]) == (count > 1)
    assert spaced == sorted(set(spaced))
    assert len(spaced) == count or (whole and len(spaced) < count)
    steps = np.diff(np.log(spaced) if scale == "log" else spaced)
    if not whole and count > 2:
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-6)


def test_values_of_a_list_are_drawn_with_equal_chances():
    made = design(SPEC, {"density": [0.1, 0.2, 0.4]}, way="random", count=600)
    counts = [values(made).count(each) for each in (0.1, 0.2, 0.4)]
    assert sum(counts) == 600
    assert stats.chisquare(counts).pvalue > 0.01
    together = design(SPEC, {"size": {"features.0.count": [2, 3], "hidden": [1, 2]}}, way="sobol", count=64)
    assert [(spec.features.n, spec.hidden) for spec in together.specs].count((2, 1)) == 32
    assert {(spec.features.n, spec.hidden) for spec in together.specs} == {(2, 1), (3, 2)}


CHANGED = SPEC.override({"changes": [{"step": 10, "rate": 0.5}]})
STARTED = SPEC.replace(start=tg.Start(weights=[[1.0], [0.5], [-0.25]], bias=[0.0, 0.1, 0.2]))


@pytest.mark.parametrize(
    "made",
    [
        design(SPEC),
        design([SPEC]),
        design([SPEC, CHANGED, STARTED]),
        design(CHANGED, {"density": [0.1, 0.2]}),
        design(STARTED, {"rate": [0.1, 0.2]}),
        design(tg.grid(SPEC, density=[0.1, 0.2], hidden=[1, 2])),
        design(tg.grid(SPEC, parameters={"size": {"features.0.count": [2, 3], "hidden": [1, 2]}})),
        design(SPEC, {"density": np.linspace(0.1, 0.3, 3), "hidden": range(1, 3)}),
        design(SPEC, {"density": [np.float32(0.1), np.float64(0.2)], "hidden": np.array([1, 2])}),
        design(SPEC, {"density": tg.Between(0.1, 0.4, count=3), "hidden": tg.Between(1, 2, count=2)}),
        design(SPEC, {"density": [0.1, 0.2], "hidden": [1, 1]}, way="zip"),
        design(SPEC, {"density": {"low": 0.1, "high": 0.2}}, way="random", count=5, seed=2**60),
        design(SPEC, {"density": tg.Between(1e-3, 1, scale="log"), "hidden": tg.Between(1, 9)}, way="sobol", count=9),
        design(SPEC, {"p": {"training.optimiser": ["adamw", "sgd"]}}),
        design(SPEC, {"density": (each / 10 for each in range(1, 4))}),
        design(SPEC, {"density": {0.1: 0, 0.2: 0}.keys()}),
        design(SPEC, {"features": [[tg.Independent(3, 0.2)], [tg.Correlated(3, 0.2)]]}),
    ],
    ids=lambda made: f"{made.way} {len(made.specs)}",
)
def test_a_description_gives_the_same_specs(made):
    told = json.loads(json.dumps(made.to_json()))
    again = Design.from_json(told, "sweep")
    assert again.specs == made.specs
    assert [spec.hash for spec in again.specs] == [spec.hash for spec in made.specs]
    assert again.coordinates == made.coordinates
    assert again.to_json() == told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((SPEC, {"densty": [0.1]}), r"^sweep\(densty=\['?0.1\]\): there is no key 'densty'; did you mean 'density'\?$"),
        ((SPEC, {"density": []}), r"^sweep\(density=\[\]\): there must be at least one value"),
        ((SPEC, {"density": [0.1, 0.1]}), r"^sweep\(density=.*\): the value 0.1 is given twice"),
        ((SPEC, {"density": [0.1, 2.0]}), r"^sweep\(…\): .*density must lie in \(0, 1\]"),
        ((SPEC, {"density": 0.1}), r"^sweep\(density=0.1\): density must be a list of values$"),
        ((SPEC, {"density": "0.1"}), r"^sweep\(density='0.1'\): density must be a list of values$"),
        ((SPEC, {"density": None}), r"^sweep\(density=None\): density must be a list of values$"),
        ((SPEC, {"density": tg.Between(0.1, 0.2)}), r"^sweep\(density=…\): Between.*: must have a count"),
        ((SPEC, {"density": {"low": 1, "high": 0}}), r"^sweep\(density=.*\): Between\(high=0\): .* low, which is 1$"),
        (
            (SPEC, {"density": [0.1], "features.0.density": [0.2]}),
            r"^sweep\(features.0.density=…\): features.density is varied as well, and one would undo the other",
        ),
        ((SPEC, {"density": [0.1], "p": {"density": [0.1]}}), r"^sweep\(features.density=…\): two parameters vary"),
        ((SPEC, {"p": {"density": [0.1, 0.2], "hidden": [1]}}), r"^sweep\(p=.*\): .* as many of each key"),
        ((SPEC, {"p": {}}), r"^sweep\(p=\{\}\): there must be at least one value"),
        ((SPEC, {"seed": [1, 2]}), r"^sweep\(seed=\[1, 2\]\): 'seed' is a variable of every trajectory"),
        ((SPEC, {"a/b": [1]}), r"^sweep\(a/b=\[1\]\): a/b must be a word|^sweep\(a/b=\[1\]\): 'a/b' must be a word"),
        (([], None), r"^sweep\(\[\]\): must be given a Spec, a grid, or a list of Specs$"),
        (([SPEC], {"density": [0.1]}), r"^sweep\(\[…\], parameters=…\): parameters vary one Spec"),
        ((tg.grid(SPEC, density=[0.1]), {"rate": [0.1]}), r"^sweep\(grid, parameters=…\): a grid has parameters of"),
        ((SPEC, {"density": tg.Between(0.1, 0.2, count=400), "rate": tg.Between(0.1, 0.2, count=400)}),
         r"^sweep\(…\): there are 160,000 combinations of values; at most 100,000 are allowed"),
        ((SPEC.some_runs([1]), {"density": [0.1]}), r"^sweep\(Spec.*\): a sweep trains all runs of a Spec, and packs"),
        (([SPEC, SPEC.some_runs([1])], None), r"^sweep\(Spec.*\): a sweep trains all runs of a Spec, and packs choose"),
        (([SPEC] * 100_001, None), r"^sweep\(\[…\]\): there are 100,001 Specs; at most 100,000 are allowed$"),
    ],
)  # fmt: skip
def test_a_design_that_cannot_be_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        design(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, r"^sweep\(seed=-1\): seed must be an int of at least 0$"),
        ({"seed": True}, r"^sweep\(seed=True\): seed must be an int"),
        ({"count": 3}, r"^sweep\(count=3\): count is for way='random' and way='sobol', which draw Specs$"),
        (
            {"way": "random"},
            r"^sweep\(count=None\): count must be the number of Specs that are drawn, from 1 to 100,000",
        ),
        ({"way": "sobol", "count": 0}, r"^sweep\(count=0\): count must be the number"),
        ({"way": "sobol", "count": 10**6}, r"^sweep\(count=1000000\): count must be the number"),
        ({"way": "sobol", "count": True}, r"^sweep\(count=True\): count must be the number"),
    ],
)
def test_a_way_that_cannot_be_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        design(SPEC, {"density": [0.1, 0.2]}, **options)


@pytest.mark.parametrize("way", ["random", "sobol"])
@pytest.mark.parametrize("key", ["rate", "training.rate", "density"])
def test_ints_as_the_ends_of_a_range_of_fractions_are_refused(way, key):
    with pytest.raises(ValueError, match=r"takes fractions; write 0.0 and 1.0 for all numbers between them, or list"):
        design(SPEC, {key: tg.Between(0, 1)}, way=way, count=4)
    made = design(SPEC, {key: tg.Between(0.1, 1)}, way=way, count=4)
    assert not any(float(value).is_integer() for value in next(iter(made.coordinates.values())))
    assert len(design(SPEC, {"hidden": tg.Between(1, 2)}, way=way, count=4).specs) == 4


def test_a_zip_of_unequal_lengths_and_draws_of_nothing_are_refused():
    with pytest.raises(ValueError, match=r"same number of values, but density has 2, rate has 3$"):
        design(SPEC, {"density": [0.1, 0.2], "rate": [0.1, 0.2, 0.3]}, way="zip")
    with pytest.raises(ValueError, match=r"^sweep\(way='random'\): there must be at least one parameter to draw$"):
        design(SPEC, way="random", count=3)
    with pytest.raises(ValueError, match=r"its count is for a product or a zip"):
        design(SPEC, {"density": tg.Between(0.1, 0.2, count=3)}, way="random", count=3)


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ((2, 1), r"^Between\(high=1\): .*must be above low, which is 2$"),
        ((1, 1), r"^Between\(high=1\): .*must be above low, which is 1$"),
        ((0.0, float("inf")), r"^Between\(high=inf\): high must be a finite number$"),
        ((float("nan"), 1.0), r"^Between\(low=nan\): low must be a finite number$"),
        ((True, 2), r"^Between\(low=True\): .*must be a finite number$"),
        (("1", 2), r"^Between\(low='1'\): low must be a finite number$"),
    ],
)
def test_a_range_without_an_inside_is_refused(ends, sentence):
    with pytest.raises(ValueError, match=sentence):
        tg.Between(*ends)


def test_a_logarithmic_range_must_lie_above_zero():
    with pytest.raises(ValueError, match=r"^Between\(low=0\): .*must be above 0 for a logarithmic scale$"):
        tg.Between(0, 1, scale="log")
    assert tg.Between(np.int64(2), np.float64(4.0)).at(np.array([0.5])) == [3.0]


def test_own_kinds_of_set_are_swept_where_they_are_known():
    assert issubclass(tg.ExactlyK, ActivitySet)
    spec = SPEC.replace(features=[tg.ExactlyK(4, 2)])
    made = design(spec, {"k": [1, 2, 3]})
    again = Design.from_json(json.loads(json.dumps(made.to_json())), "sweep")
    assert again.specs == made.specs
    assert [spec.features.sets[0].k for spec in again.specs] == [1, 2, 3]
