"""A trajectory in rows of text."""

from __future__ import annotations

import numpy as np
import pytest

import tegum as tg
from tegum.analysis.report import describe, endings, last_snapshots, polytopes_found, with_error

DIGONS = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
TRIANGLE = np.array([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)], [0, 0]])


@pytest.fixture
def run():
    starts = np.stack([DIGONS, DIGONS, TRIANGLE])
    spec = tg.Spec(features=[tg.Independent(4, 0.1)], hidden=2, start=starts, seeds=3, training=tg.Sampled(steps=0))
    return tg.train(spec)


def test_polytopes_are_counted_by_name(run):
    square = {"polytope": "square (2 digons)", "runs": "2", "share": "67%"}
    assert polytopes_found(run) == [square, {"polytope": "triangle", "runs": "1", "share": "33%"}]
    assert polytopes_found(run, most=1) == [square, {"polytope": "1 others", "runs": "1", "share": "33%"}]


def ended(run, error=None, exact=True):
    last = last_snapshots(run)
    rows = endings(last, last.loss, error, exact, name="recorded loss")
    assert all(list(row) == ["result", "runs", "recorded loss, mean", "least", "largest"] for row in rows)
    return [tuple(row.values()) for row in rows]


def test_endings_ignore_what_is_not_finite(run):
    run["loss"][:] = [[1.0], [3.0], [np.nan]]
    run["result"][:] = ["completed", "completed", "diverged"]
    run["diverged_at"][:] = [-1, -1, 0]
    assert ended(run) == [("completed", "2", "2", "1", "3"), ("diverged", "1", "none", "none", "none")]


def test_endings_are_those_of_the_last_finite_snapshot():
    one = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, seeds=3, training=tg.Sampled(steps=4), snapshots=4)
    both = tg.train([one, one.replace(features=[tg.Independent(3, 0.2)])])
    loss = np.array([[[9, 8, 7, 6, 5], [9, 8, 7, np.nan, np.nan], [np.nan] * 5], [[5, 4, 3, 2, 1]] * 3])
    both["loss"][:] = loss
    last = last_snapshots(both)
    np.testing.assert_array_equal(last.loss, [[5, 7, np.nan], [1, 1, 1]])
    np.testing.assert_array_equal(last.step, [[4, 2, 0], [4, 4, 4]])
    np.testing.assert_array_equal(last.weights[0, 1], both.weights[0, 1, 2])
    np.testing.assert_array_equal(last_snapshots(both.isel(seed=[0])).loss, [[5], [1]])


@pytest.mark.parametrize(
    ("value", "error", "exact", "text"),
    [
        (0.023747512, 0.0012, False, "0.0237 ± 0.0012"),
        (0.0237, 0.00999, False, "0.024 ± 0.010"),
        (4.13e-5, 1.27e-5, False, "(4.1 ± 1.3)e-05"),
        (0.0, 3.0e-7, False, "(0.0 ± 3.0)e-07"),
        (1234.4, 56.0, False, "1234 ± 56"),
        (123_456.0, 2_000.0, False, "(1.235 ± 0.020)e+05"),
        (0.5, 1e-9, False, "0.5 ± 1e-09"),
        (0.0237475, np.nan, False, "0.0237"),
        (np.nan, np.nan, False, "none"),
        (0.0237475123, 1e-12, True, "0.0237475"),
        (4.1299e-7, 1e-9, True, "4.1e-07"),
        (4.1299e-9, 1e-8, True, "4e-09"),
        (0.25, np.nan, True, "0.25"),
    ],
)
def test_numbers_have_the_digits_that_their_error_allows(value, error, exact, text):
    assert with_error(value, error, exact) == text


def test_description_tells_what_was_trained(run):
    rows = dict(describe(run))
    assert rows["features, n"] == "4"
    assert rows["kinds of set"] == "1 × independent"
    assert rows["density of a feature"] == "0.1"
    assert rows["runs"] == "3"


def test_runs_that_converged_are_counted_by_themselves(run):
    run["loss"][:] = [[1.0], [3.0], [2.0]]
    run["result"][:] = ["converged", "completed", "converged"]
    assert "steps to convergence" not in dict(describe(run))
    run["converged_at"] = run["diverged_at"].copy(data=[40, -1, 7])
    assert ended(run) == [("converged", "2", "1.5", "1", "2"), ("completed", "1", "3", "3", "3")]
    assert dict(describe(run))["steps to convergence"] == "7 … 40"


def test_description_tells_the_time_of_a_flow(run):
    assert "time at the end" not in dict(describe(run))
    timed = run.assign_coords(time=(("seed", "step"), np.full((3, 1), 2500.0)))
    assert dict(describe(timed))["time at the end"] == "2500"


def test_description_of_several_specs_tells_what_differs():
    specs = [tg.Spec(features=[tg.Correlated(2, p)], hidden=1, seeds=2, training={"steps": 0}) for p in (0.1, 0.2)]
    rows = dict(describe(tg.train(specs)))
    assert rows["runs"] == "2 × 2"
    assert rows["differs: features.density"] == "0.1 … 0.2"
    assert rows["density of a feature"] == "0.1 … 0.2"


def test_what_is_no_trajectory_is_refused(run):
    with pytest.raises(ValueError, match="loss is missing"):
        last_snapshots(run.drop_vars("loss"))
