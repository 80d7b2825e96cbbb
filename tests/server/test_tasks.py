"""What only Python can answer: loss and gradient of any state, saddles and ways out, events; and runs that are kept."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_client import Client, Page, encoded, numbers

import tegum as tg
from tegum.analysis.dynamics.happenings import happenings
from tegum.data.store import verify

pytestmark = pytest.mark.quick_form

FIVE = tg.Spec(
    features=[tg.Independent(5, 0.05)], hidden=2, training=tg.Sampled(steps=60, batch=64, evaluation=256), snapshots=30,
    seeds=3,
)  # fmt: skip


NUMBERS = itertools.count(1000)


def asked(kind: str, spec: tg.Spec, weights: Any, bias: Any, number: int | None = None) -> dict[str, Any]:
    """A question about a state, under a number of its own."""
    state = {"step": 0, "weights": weights, "bias": bias}
    of = {"spec": spec.to_json(), "changes": []}
    return {"type": kind, "id": next(NUMBERS) if number is None else number, **of, **state}


def trained(page: Page, spec: tg.Spec, run: int, number: int = 90) -> None:
    """Train a run to its end."""
    page.say({"type": "train", "id": number, "spec": spec.to_json(), "changes": [], "run": run})
    page.frames(number)


def differences(loss: Any, weights: np.ndarray, bias: np.ndarray, size: float) -> np.ndarray:
    """The gradient of a loss by central differences, W row by row and then b."""
    theta, n = np.concatenate([weights.ravel(), bias]), len(bias)
    slopes = []
    for at in range(len(theta)):
        ends = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[at] += sign * size
            ends.append(loss(moved[:-n].reshape(n, -1), moved[-n:]))
        slopes.append((ends[0] - ends[1]) / (2 * size))
    return np.array(slopes)


def test_a_recorded_state_has_its_recorded_loss(client: Client) -> None:
    """On the same evaluation sample, in float64 where training has float32."""
    run = tg.train(FIVE, progress=False).isel(seed=1, step=-1)
    with client.page() as page:
        for form in (encoded, lambda array: array.tolist()):
            page.say(asked("ask", FIVE, form(run.weights.values), form(run.bias.values)))
            answer = page.hear()
            assert answer["type"] == "answer"
            assert answer["loss"] == pytest.approx(float(run.loss), rel=1e-5)


@pytest.mark.parametrize("way", ["sampled", pytest.param("exact", marks=pytest.mark.quick_form)])
def test_the_gradient_is_that_of_the_loss(client: Client, way: str) -> None:
    spec = FIVE if way == "sampled" else FIVE.replace(training=tg.Exact(steps=10))
    chance = np.random.default_rng(0)
    weights, bias = chance.normal(size=(5, 2)) * 0.6, chance.normal(size=5) * 0.1

    with client.page() as page:

        def asks(W: np.ndarray, b: np.ndarray) -> dict[str, Any]:
            page.say(asked("ask", spec, encoded(W), encoded(b)))
            return page.hear()

        answer = asks(weights, bias)
        found = np.concatenate([numbers(answer["weights"]), numbers(answer["bias"])])
        size = 1e-4 if way == "exact" else 1e-6
        slopes = differences(lambda W, b: asks(W, b)["loss"], weights, bias, size)
    np.testing.assert_allclose(found, slopes, atol=2e-3 * np.abs(slopes).max())
    if way == "exact":
        assert answer["loss"] == pytest.approx(tg.population_loss(weights, bias, spec.features), abs=1e-6)


@pytest.mark.parametrize("kind", ["ask", pytest.param("look", marks=pytest.mark.quick_form)])
def test_a_state_is_measured_by_what_is_in_force(client: Client, kind: str) -> None:
    """From step 7 on the features are others, and so are the evaluation sample and the exact loss."""
    changes = [{"step": 7, "sets": [{"set": 0, "density": 0.5}]}]
    run = tg.train(FIVE.replace(changes=changes), progress=False).isel(seed=1)
    with client.page() as page:
        for step in (6, 8):
            state = run.sel(step=step)
            of = {"step": step, "changes": changes}
            if kind == "ask":
                page.say(asked("ask", FIVE, encoded(state.weights), encoded(state.bias)) | of)
                assert page.hear()["loss"] == pytest.approx(float(state.loss), rel=1e-5)
                continue
            page.say(asked("look", FIVE, encoded(state.weights), encoded(state.bias)) | of)
            density = 0.05 if step < 7 else 0.5
            features = tg.FeatureDistribution([tg.Independent(5, density)])
            loss = tg.population_loss(state.weights.values.astype(float), state.bias.values.astype(float), features)
            assert page.hear()["loss"] == pytest.approx(loss, abs=1e-8)
        page.say(asked(kind, FIVE, [0.0] * 10, [0.0] * 5) | {"step": 61})
        assert "there is no such step" in page.hear()["sentence"]


@pytest.mark.parametrize(
    ("weights", "bias", "word"),
    [([0.0] * 9, [0.0] * 5, "weights of 9 numbers"), ([0.0] * 10, [0.0] * 6, "bias of 6 numbers")],
)
def test_a_state_must_fit_its_spec(client: Client, weights: list, bias: list, word: str) -> None:
    with client.page() as page:
        for kind in ("ask", "look"):
            page.say(asked(kind, FIVE, weights, bias))
            answer = page.hear()
            assert (answer["type"], word in answer["sentence"]) == ("refused", True)


def negative(spec: tg.Spec, weights: np.ndarray, bias: np.ndarray) -> int:
    """The number of negative eigenvalues of the Hessian by central differences of the exact gradient."""
    n, m = weights.shape
    theta, size = np.concatenate([weights.ravel(), bias]), 1e-4

    def gradient(at: np.ndarray) -> np.ndarray:
        slopes = tg.population_gradient(at[: n * m].reshape(n, m), at[n * m :], spec.features, tol=1e-10)
        return np.concatenate([each.ravel() for each in slopes])

    steps = size * np.eye(len(theta))
    hessian = np.array([(gradient(theta + step) - gradient(theta - step)) / (2 * size) for step in steps])
    return int((np.linalg.eigvalsh((hessian + hessian.T) / 2) < -1e-4).sum())


def looks(page: Page, spec: tg.Spec, weights: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    page.say(asked("look", spec, encoded(weights), encoded(bias)))
    answer = page.hear()
    assert answer["type"] == "look", answer
    return answer


@pytest.mark.quick_form
def test_at_zero_weights_every_entry_of_w_leads_down(client: Client) -> None:
    """There x̂ = b, the best constant is the mean p/2, and along each entry of W the curvature is −4 Var x."""
    spec = FIVE.replace(features=[tg.Independent(3, 0.3)], hidden=1)
    near = np.full((3, 1), 0.01), np.full(3, 0.14)
    with client.page() as page:
        found = looks(page, spec, *near)
    assert found["why"] is None
    assert found["loss"] == pytest.approx(tg.population_loss(*near, spec.features), abs=1e-8)
    slopes = tg.population_gradient(*near, spec.features)
    assert found["gradient"] == pytest.approx(float(np.hypot(*(np.linalg.norm(each) for each in slopes))), abs=1e-7)
    point = found["point"]
    assert (point["found"], point["index"], point["undecided"], point["words"]) == (True, 3, 0, "saddle of index 3")
    assert point["loss"] == pytest.approx(3 * (0.3 / 3 - 0.15**2), abs=1e-6)
    assert point["distance"] == pytest.approx(float(np.sqrt(3 * 0.01**2 + 3 * 0.01**2)), abs=1e-4)
    np.testing.assert_allclose(point["negative"], -4 * (0.3 / 3 - 0.15**2), rtol=1e-4)
    assert negative(spec, np.zeros((3, 1)), np.full(3, 0.15)) == 3
    assert len(found["ways"]) == 3


def square() -> tuple[np.ndarray, np.ndarray]:
    """Four of five features as two digons, and one that is absent, whose output is constant."""
    return np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0]]), np.array([-0.01, -0.01, -0.01, -0.01, 0.025])


def digon() -> tuple[np.ndarray, np.ndarray]:
    """Two of five features as a digon, and nothing in the second dimension, near a saddle."""
    return np.array([[1.0, 0], [-1, 0], [0, 0], [0, 0], [0, 0]]), np.array([-0.01, -0.01, 0.025, 0.025, 0.025])


@pytest.mark.quick_form
def test_the_ways_out_of_a_digon_lead_out(client: Client) -> None:
    """Its index is that of a Hessian by finite differences, and from the states sent the loss falls on away from it."""
    with client.page() as page:
        found = looks(page, FIVE, *digon())
        point = tg.critical_point(*digon(), FIVE.features, tol=1e-8)
        there = found["point"]
        assert there["found"]
        assert there["index"] == point.index == negative(FIVE, point.weights, point.bias) > 0
        assert there["loss"] == pytest.approx(point.loss, abs=1e-9)
        assert there["name"] == "digon"
        way = found["ways"][0]
        assert way["eigenvalue"] == pytest.approx(point.eigenvalues[0], rel=1e-4)
        sides = [way] if way["other"] is None else [way, way["other"]]
        for side in sides:
            weights, bias = numbers(side["weights"]).reshape(5, 2), numbers(side["bias"])
            assert float(np.hypot(np.linalg.norm(weights - point.weights), np.linalg.norm(bias - point.bias))) < 0.06
            loss = tg.population_loss(weights, bias, FIVE.features)
            assert loss < point.loss
            # Its slope there leads on: down, and farther away along the same direction.
            slopes = tg.population_gradient(weights, bias, FIVE.features)
            away = np.concatenate([(weights - point.weights).ravel(), bias - point.bias])
            assert np.concatenate([each.ravel() for each in slopes]) @ away < 0
        # What grows in the dimension that is free is what is not there yet.
        assert set(way["features"]) <= {2, 3, 4}


def test_what_cannot_be_had_is_said(client: Client) -> None:
    """The name is told whatever the loss."""
    ungated = FIVE.replace(features=[tg.Independent(5, 0.05, magnitude=tg.HalfNormalMagnitude())])
    wide = FIVE.replace(features=[tg.Independent(501, 0.05)])
    many = FIVE.replace(features=[tg.Independent(60, 0.05)], hidden=20)
    with client.page() as page:
        found = looks(page, ungated, *square())
        assert (found["loss"], found["point"], found["ways"]) == (None, None, [])
        assert "magnitudes must be uniform" in found["why"]
        assert found["name"] == "square (2 digons)"
        assert "at most 500 features" in looks(page, wide, np.ones((501, 2)), np.zeros(501))["why"]
        found = looks(page, many, np.eye(60, 20), np.zeros(60))
        assert found["loss"] is not None
        assert "at most 1,000" in found["why"]


@pytest.mark.quick_form
def test_a_look_can_be_stopped(client: Client) -> None:
    spec = FIVE.replace(features=[tg.Independent(30, 0.05)], hidden=20)
    chance = np.random.default_rng(0)
    with client.page() as page:
        page.say(asked("look", spec, encoded(chance.normal(size=(30, 20))), encoded(np.zeros(30)), 1))
        page.say(asked("look", FIVE, encoded(square()[0]), encoded(square()[1]), 2))
        page.say({"type": "stop", "id": 1})
        assert page.hear()["id"] == 2


def test_the_events_of_a_run_are_those_of_the_detectors(client: Client, place: Path) -> None:
    spec = FIVE.replace(training=tg.Sampled(steps=3000, batch=64, rate=0.01), snapshots=300)
    run = tg.train(spec, progress=False)
    tg.save(run, place / "events.zarr", overwrite=True)
    expected = happenings(run)[1]
    assert len(expected) > 2
    with client.page() as page:
        trained(page, spec, 1)
        page.say({"type": "events", "id": 2, "spec": spec.to_json(), "changes": [], "run": 1})
        assert page.hear() == {"type": "events", "id": 2, "happenings": expected}
        page.say({"type": "events", "id": 3, "path": "events.zarr", "run": 1})
        assert page.hear() == {"type": "events", "id": 3, "happenings": expected}
        for request, word in (
            ({"path": "events.zarr", "run": 9}, "no such run"),
            ({"path": "../events.zarr", "run": 0}, "inside the folder"),
            ({"path": "none.zarr", "run": 0}, "there is nothing"),
            ({"spec": spec.to_json(), "changes": [], "run": 2}, "this page has not trained it"),
            ({"spec": spec.to_json(), "changes": [], "run": 3}, "numbers 0 to 2"),
        ):
            page.say({"type": "events", "id": next(NUMBERS), **request})
            assert word in page.hear()["sentence"]


@pytest.mark.parametrize(
    "way", ["sampled", pytest.param("exact", marks=pytest.mark.quick_form), "changing", "diverging"]
)
def test_a_run_that_is_kept_is_the_one_that_train_stores(client: Client, place: Path, way: str) -> None:
    spec = {
        "sampled": FIVE,
        "exact": FIVE.replace(training=tg.Exact(steps=400)),
        "changing": FIVE.replace(changes=[{"step": 11, "rate": 0.02}]),
        "diverging": FIVE.replace(training=tg.Sampled(steps=60, batch=64, optimiser="sgd", rate=50.0)),
    }[way]
    with client.page() as page:
        trained(page, spec, 2)
        of = {"spec": spec.to_json(), "changes": [], "run": 2}
        page.say({"type": "keep", "id": next(NUMBERS), **of, "name": f"{way}.zarr"})
        answer = page.hear()
    assert (answer["type"], answer.get("path")) == ("kept", f"{way}.zarr"), answer
    kept, other = tg.load(place / f"{way}.zarr"), tg.train(spec, runs=[2], threads=1, progress=False)
    verify(place / f"{way}.zarr")
    differing = {"created", "wall_time_s"}
    assert {**kept.attrs, **dict.fromkeys(differing)} == {**other.attrs, **dict.fromkeys(differing)}
    assert kept.drop_attrs(deep=False).identical(other.drop_attrs(deep=False))
    assert str(kept.result.values[0]) == {"exact": "converged", "diverging": "diverged"}.get(way, "completed")


def test_nothing_is_replaced_by_what_is_kept(client: Client, place: Path) -> None:
    (place / "mine.zarr").mkdir()
    (place / "dangling.zarr").symlink_to(place / "nowhere")
    before = sorted(each.name for each in place.iterdir())
    with client.page() as page:
        trained(page, FIVE, 0)
        for name in ("mine.zarr", "dangling.zarr"):
            of = {"spec": FIVE.to_json(), "changes": [], "run": 0}
            page.say({"type": "keep", "id": next(NUMBERS), **of, "name": name})
            answer = page.hear()
            assert (answer["type"], "is not replaced" in answer["sentence"]) == ("refused", True)
        page.say({"type": "keep", "id": 3, "spec": FIVE.to_json(), "changes": [], "run": 1, "name": "new.zarr"})
        assert "this page has not trained it" in page.hear()["sentence"]
    assert sorted(each.name for each in place.iterdir()) == before
    assert not [*(place / "mine.zarr").iterdir()]
