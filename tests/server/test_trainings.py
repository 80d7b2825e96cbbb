"""Training while a page watches: the bits of `train`, only so much in memory, and an end when the page goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from lab_client import Client, encoded, numbers

import tegum as tg
from tegum.server.courses import Courses
from tegum.server.running import Lab
from tegum.server.specs import same_until
from tegum.server.trainings import THREADS

pytestmark = pytest.mark.quick_form

SETS = [tg.Independent(3, 0.1), tg.Correlated(2, 0.05)]
SPECS = {
    "kernel": tg.Spec(features=SETS, hidden=2, training=tg.Sampled(steps=300, batch=64), snapshots=30, seeds=4),
    "exact": tg.Spec(features=SETS, hidden=2, training=tg.Exact(steps=60), snapshots=30, seeds=4),
    "adam": tg.Spec(
        features=SETS,
        hidden=2,
        training=tg.Exact(steps=60, optimiser="adam", rate=0.01),
        snapshots=range(0, 61, 7),
        seeds=4,
    ),
}
ENDLESS: dict[str, Any] = {
    "features": [{"kind": "independent", "count": 5, "density": 0.05}],
    "hidden": 2,
    "training": {"kind": "sampled", "steps": 10_000_000, "batch": 256},
    "seeds": 64,
}


def training(spec: tg.Spec | dict[str, Any], run: int = 0, number: int = 1, **rest: Any) -> dict[str, Any]:
    described = spec.to_json() if isinstance(spec, tg.Spec) else spec
    return {"type": "train", "id": number, "spec": described, "run": run, "changes": [], **rest}


def at_work() -> list[str]:
    """The threads that train or measure for a page."""
    return [each.name for each in threading.enumerate() if each.name.startswith(THREADS)]


def until(happens: Callable[[], bool]) -> None:
    """Wait for what must happen; the limit is against hanging alone."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


def check_bits(client: Client, spec: tg.Spec, run: int, changes: Sequence[dict[str, Any]] = ()) -> None:
    whole = tg.train(spec.replace(changes=changes), progress=False).sel(seed=run)
    with client.page() as page:
        page.say(training(spec, run, changes=changes))
        frames, last = page.frames(1)
    assert [each["step"] for each in frames] == whole.step.values.tolist()
    weights = np.stack([numbers(each["weights"]) for each in frames])
    np.testing.assert_array_equal(weights.reshape(whole.weights.shape), whole.weights.values.astype(np.float64))
    np.testing.assert_array_equal(np.stack([numbers(each["bias"]) for each in frames]), whole.bias.values)
    assert [each["loss"] for each in frames] == whole.loss.values.tolist()
    assert (last["done"], last["diverged"]) == (True, False)


@pytest.mark.parametrize(
    "name", ["kernel", *(pytest.param(name, marks=pytest.mark.quick_form) for name in ("exact", "adam"))]
)
def test_a_run_has_the_bits_that_train_gives_it(client: Client, name: str) -> None:
    check_bits(client, SPECS[name], 2)


CHANGES = [{"step": 20, "rate": 0.02}, {"step": 33, "sets": [{"set": 1, "density": 0.4, "importance": 2.0}]}]


@pytest.mark.parametrize(
    "name", ["kernel", *(pytest.param(name, marks=pytest.mark.quick_form) for name in ("exact", "adam"))]
)
def test_changes_are_made_on_the_way(client: Client, name: str) -> None:
    """L-BFGS has no rate, which is refused."""
    changes = CHANGES[1:] if name == "exact" else CHANGES
    check_bits(client, SPECS[name], 2, changes)
    with client.page() as page:
        page.say(training(SPECS[name], 2, changes=[{"step": 5, "sets": [{"set": 7, "density": 0.1}]}]))
        assert "Spec(changes.0.sets.0.set=7)" in page.hear()["sentence"]


def test_a_branch_replays_what_is_the_same(client: Client) -> None:
    """To the page it is a run like any other, from its first frame on."""
    spec, changes = SPECS["kernel"], [{"step": 150, "rate": 0.05}]
    whole = tg.train(spec.replace(changes=changes), progress=False).sel(seed=3)
    with client.page() as page:
        page.say(training(spec, 3, 1))
        former, _ = page.frames(1)
        page.say(training(spec, 3, 2, changes=changes))
        frames, _ = page.frames(2)
    assert [each["loss"] for each in frames] == whole.loss.values.tolist()
    same = [one == other for one, other in zip(former, frames, strict=True)]
    # The state at the step of the change is still the same.
    assert same == [each["step"] <= 150 for each in frames]


@pytest.mark.quick_form
@pytest.mark.parametrize("way", ["flow", "jax"])
def test_a_run_has_the_bits_that_train_gives_it_in_jax(client: Client, way: str) -> None:
    """Gradient flow, and a kind of set that the fused kernel cannot draw."""
    flow = tg.Flow(steps=20, duration=30.0)
    copula = tg.Copula(density=0.1, correlation=[[1.0, 0.5], [0.5, 1.0]]) if way == "jax" else None
    given: dict[str, Any] = {"features": SETS, "training": flow} if copula is None else {"features": [copula]}
    check_bits(
        client, tg.Spec(**{"training": tg.Sampled(steps=20, batch=16)} | given, hidden=2, seeds=3, snapshots=5), 1
    )


def test_stopped_training_ends_and_sends_nothing_more(client: Client) -> None:
    with client.page() as page:
        page.say(training(ENDLESS))
        assert page.hear()["id"] == 1
        until(lambda: len(at_work()) == 1)
        page.say({"type": "stop", "id": 1})
        until(lambda: not at_work())
        page.say({"type": "taken", "id": 1})
        page.say(training(SPECS["kernel"], number=2))
        assert page.hear()["id"] == 2


def test_what_was_stopped_before_it_came_does_not_begin(client: Client) -> None:
    """Requests that are sent side by side may arrive in another order."""
    with client.page() as page:
        page.say({"type": "stop", "id": 1})
        page.say(training(ENDLESS))
        page.say(training(SPECS["kernel"], number=2))
        assert page.hear()["id"] == 2
        assert f"{THREADS} 1" not in at_work()


def test_a_page_that_is_closed_trains_no_longer(client: Client) -> None:
    with client.page() as page:
        page.say(training(ENDLESS))
        page.hear()
        page.say({"type": "ensemble", "id": 2, "spec": ENDLESS, "changes": [], "first": 0, "every": 1, "runs": 64})
        until(lambda: len(at_work()) == 2)
    until(lambda: not at_work())
    assert client.told("POST", "/api/say", {"page": "page-0001", "request": {"type": "stop", "id": 1}})[0] == 409


def test_a_page_that_listens_anew_begins_anew(client: Client) -> None:
    with client.page() as former:
        former.say(training(ENDLESS))
        former.hear()
        with client.page() as page:
            with pytest.raises(EOFError):
                former.hear_all()
            until(lambda: not at_work())
            page.say(training(SPECS["kernel"]))
            assert page.hear()["type"] == "frames"


def test_pages_do_not_disturb_one_another(client: Client) -> None:
    with client.page("page-one") as one, client.page("page-other") as other:
        one.say(training(ENDLESS, number=7))
        other.say(training(SPECS["kernel"], run=3, number=7))
        frames, _ = other.frames(7)
        assert frames[-1]["step"] == 300
        other.say({"type": "stop", "id": 7})
        first = one.hear()["frames"][-1]["step"]
        one.say({"type": "taken", "id": 7})
        assert one.hear()["frames"][0]["step"] > first


def test_a_slow_page_gets_larger_bundles_and_nothing_queues(client: Client) -> None:
    """Until a bundle was taken none is sent; the next one then has all that is there, and none is lost."""
    spec = SPECS["kernel"].replace(snapshots=300)
    with client.page() as page:
        page.say(training(spec))
        first = page.hear()["frames"]
        until(lambda: not at_work())
        page.say({"type": "ask", "id": 2, "spec": spec.to_json(), "changes": [], "step": 0,
                  "weights": first[0]["weights"], "bias": first[0]["bias"]})  # fmt: skip
        assert page.hear()["type"] == "answer"
        page.say({"type": "taken", "id": 1})
        rest = page.hear()
    assert [each["step"] for each in first + rest["frames"]] == list(range(301))
    assert rest["done"]


def test_bundles_are_bounded(client: Client) -> None:
    """Frames of 400 features in 30 dimensions have 100 kB; a bundle has at most about a megabyte."""
    spec = tg.Spec(
        features=[tg.Independent(400, 0.01)],
        hidden=30,
        training=tg.Sampled(steps=40, batch=1, evaluation=1),
        snapshots=40,
    )
    with client.page() as page:
        page.say(training(spec))
        until(lambda: not at_work())
        found, sizes = 0, []
        while found < 41:
            answer = page.hear()
            found += len(answer["frames"])
            sizes.append(
                sum(numbers(each["weights"]).nbytes + numbers(each["bias"]).nbytes for each in answer["frames"])
            )
            page.say({"type": "taken", "id": 1})
    assert max(sizes) <= 2**20
    assert len(sizes) >= 4


def test_a_page_that_reads_nothing_holds_up_its_ensemble_and_not_the_memory(client: Client) -> None:
    """Of 50,000 ends only some wait; the rest is trained as the page reads."""
    spec = {**ENDLESS, "seeds": 50_000, "training": {"kind": "sampled", "steps": 0, "batch": 1, "evaluation": 1}}
    spec |= {"features": [{"kind": "independent", "count": 400, "density": 0.05}], "hidden": 30}
    with client.page() as page:
        page.say({"type": "ensemble", "id": 1, "spec": spec, "changes": [], "first": 0, "every": 1, "runs": 50_000})
        runs = [page.hear()["run"] for _ in range(100)]
        assert runs == list(range(100))
        assert at_work()
    until(lambda: not at_work())


def test_a_run_that_diverges_is_a_message(client: Client) -> None:
    """Of its frames there are those that are states, as `train` has them; nothing else is disturbed."""
    spec = SPECS["kernel"].replace(training=tg.Sampled(steps=300, batch=64, optimiser="sgd", rate=30.0))
    whole = tg.train(spec, progress=False).sel(seed=1)
    count = int(np.isfinite(whole.weights.values).all((1, 2)).sum())
    assert 0 < count < 31
    with client.page() as page:
        page.say(training(spec, 1))
        frames, last = page.frames(1)
        assert (len(frames), last["diverged"]) == (count, True)
        np.testing.assert_array_equal(numbers(frames[-1]["weights"]), whole.weights.values[count - 1].ravel())
        page.say(
            {"type": "ensemble", "id": 2, "spec": spec.to_json(), "changes": [], "first": 1, "every": 1, "runs": 2}
        )
        assert np.isnan(numbers(page.hear()["frame"]["weights"])).all()


def test_an_ensemble_ends_as_train_does(client: Client) -> None:
    spec = SPECS["kernel"]
    last = tg.train(spec, progress=False).isel(step=-1)
    for every in (1, 2):
        with client.page() as page:
            given = {"spec": spec.to_json(), "changes": [], "first": 0, "every": every, "runs": 4}
            page.say({"type": "ensemble", "id": 5, **given})
            for run in range(0, 4, every):
                end = page.hear()
                assert (end["type"], end["run"], end["frame"]["step"]) == ("end", run, 300)
                np.testing.assert_array_equal(numbers(end["frame"]["weights"]), last.weights.values[run].ravel())
                assert end["frame"]["loss"] == float(last.loss[run])


@pytest.mark.parametrize(
    ("changed", "run", "word"),
    [
        ({"hidden": 0}, 0, "hidden=0"),
        ({}, 64, "numbers 0 to 63"),
        ({"features": [{"kind": "independent", "count": 10**12, "density": 0.1}]}, 0, "at most 2,000"),
        ({"hidden": 10**6}, 0, "at most 250,000"),
        ({"training": {"kind": "sampled", "steps": 10**9}}, 0, "at most 10,000,000 steps"),
        ({"training": {"kind": "sampled", "batch": 10**9}}, 0, "samples of 5 features"),
        ({"training": {"kind": "sampled", "evaluation": 10**9}}, 0, "samples of 5 features"),
        ({"training": {"kind": "sampled", "steps": 10**7, "batch": 10**7}}, 0, "for a day at most"),
        ({"snapshots": {"count": 9_000_000}}, 0, "fewer snapshots fit"),
        ({"seeds": 10**9}, 0, "at most 1,000,000 runs"),
        ({"activation": "gelu"}, 0, "activation"),
        ({"training": {"kind": "flow"}, "features": [{"kind": "independent", "count": 3, "density": 0.1,
          "magnitude": {"kind": "half-normal"}}]}, 0, "magnitudes must be uniform"),
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_before_it_begins(
    client: Client, changed: dict[str, Any], run: int, word: str
) -> None:
    with client.page() as page:
        page.say(training({**ENDLESS, **changed}, run))
        answer = page.hear()
        assert (answer["type"], answer["id"]) == ("refused", 1)
        assert word in answer["sentence"]
        assert "\n" not in answer["sentence"]
        # It does not count any more.
        for number in (2, 3):
            page.say(training(SPECS["kernel"], number=number))
        assert {page.hear()["type"] for _ in range(2)} == {"frames"}


def test_a_page_has_its_share(client: Client) -> None:
    with client.page() as page:
        for number in (1, 2, 3, 4):
            page.say(training(ENDLESS, number, number))
            page.hear()
        page.say(training(ENDLESS, 5, 5))
        assert page.hear() == {
            "type": "refused", "id": 5, "sentence": "training: a page has at most 4 of them at a time; stop one first"
        }  # fmt: skip
        page.say(training(ENDLESS, 1, 1))
        assert "something else under this number" in page.hear()["sentence"]
        page.say({"type": "stop", "id": 1})
        page.say(training(ENDLESS, 6, 6))
        assert page.hear()["id"] == 6
        ensemble = {"type": "ensemble", "spec": ENDLESS, "changes": [], "first": 0, "every": 1, "runs": 64}
        for number in (7, 8, 9):
            page.say({**ensemble, "id": number})
        while (answer := page.hear())["type"] != "refused":
            pass
        assert "ensemble: a page has at most 2" in answer["sentence"]


def test_an_error_that_nobody_foresaw_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("odd\nkey")

    monkeypatch.setattr("tegum.server.trainings.trained", broken)
    with client.page() as page:
        page.say(training(SPECS["kernel"]))
        sentence = page.hear()["sentence"]
    assert sentence == "an error that should not occur: KeyError: 'odd\\nkey'"


def test_the_same_run_is_not_trained_twice(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS["kernel"]
    with client.page() as page:
        page.say(training(spec, 1, 1))
        first, _ = page.frames(1)
        until(lambda: not at_work())
        monkeypatch.setattr("tegum.server.trainings.trained", None)
        page.say(training(spec, 1, 2))
        again, last = page.frames(2)
    assert (again, last["done"]) == (first, True)


def test_only_what_was_used_last_is_kept() -> None:
    """Of four runs two fit."""
    spec = SPECS["kernel"]
    one = Courses().begin(spec, spec.hash, [], 0).bytes
    courses = Courses(most=2 * one + one // 2)
    for run in (0, 1):
        courses.begin(spec, spec.hash, [], run)
    courses.found(spec, 0)
    courses.begin(spec, spec.hash, [], 2)
    assert courses.found(spec, 0).run == 0
    with pytest.raises(ValueError, match=r"^run 1: this page has not trained it, or long ago"):
        courses.found(spec, 1)


@pytest.mark.parametrize(
    ("one", "other", "step"),
    [
        ([], [], float("inf")),
        ([{"step": 3}], [{"step": 3}], float("inf")),
        ([], [{"step": 3}], 3),
        ([{"step": 3}], [{"step": 3}, {"step": 8, "rate": 1.0}], 8),
        ([{"step": 3, "rate": 1.0}], [{"step": 3, "rate": 2.0}], 3),
        ([{"step": 9}, {"step": 9}], [{"step": 5}], 5),
        ([{"step": 9}, {"step": 12}], [{"step": 9}, {"step": 11}, {"step": 12}], 11),
    ],
)
def test_runs_are_the_same_until_their_changes_differ(one: list, other: list, step: float) -> None:
    assert same_until(one, other) == same_until(other, one) == step


def test_a_run_goes_on_where_it_begins_to_be_another() -> None:
    """What is kept of it is used up to the last state before that, and no snapshot of the step itself."""
    spec = SPECS["kernel"]
    courses = Courses()
    course = courses.begin(spec, spec.hash, [], 1)
    for segment in tg.iterate(spec, runs=[1], segment_seconds=0.0):
        course.add(segment)
    assert course.ended
    kept = [state.step for state in course.states]
    assert 6 <= len(kept) <= 9
    changes = [{"step": 200, "rate": 0.02, "sets": [{"set": 0, "density": 0.3}]}]
    other = spec.replace(changes=changes)
    branched = courses.begin(other, spec.hash, changes, 1)
    assert branched.state is not None
    assert branched.state.step == max(step for step in kept if step < 200)
    steps = spec.snapshots.at(300)
    assert branched.done == (steps <= branched.state.step).sum()
    for segment in tg.iterate(other, branched.state, runs=[1]):
        branched.add(segment)
    whole = tg.train(other, runs=[1], progress=False)
    for name in ("weights", "bias", "loss"):
        np.testing.assert_array_equal(getattr(branched.whole, name), whole[name].values)
    assert not np.array_equal(branched.whole.loss, course.whole.loss)


def test_the_lab_ends_with_pages_at_work(tmp_path) -> None:
    before = set(at_work())
    with Lab(tmp_path) as lab, Client(lab.address).page() as page:
        page.say(training(ENDLESS))
        page.hear()
        assert at_work()
        lab.__exit__()
        until(lambda: not set(at_work()) - before)
        with pytest.raises(EOFError):
            page.hear_all()
    assert encoded([1.0]) == "AAAAAAAA8D8="
