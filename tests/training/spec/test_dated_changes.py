"""Changes while a run trains, as a part of a Spec: how they are written, what is in force when, what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import tegum as tg

SETS = [tg.Independent(3, 0.1), tg.PartiallyCorrelated(2, 0.1, 0.5)]
RECORD = (
    '[{"step":400,"rate":0.002,"sets":[{"set":1,"density":0.2,"strength":0.25,"importance":[1.0,0.5]}]},{"step":450}]'
)
"""As the page writes it."""


def spec(**given):
    return tg.Spec(**{"features": SETS, "hidden": 2, "training": tg.Sampled(steps=500, rate=0.01)} | given)


CHANGED = spec(changes=json.loads(RECORD))


def test_the_json_form_is_that_of_the_page():
    assert json.dumps(CHANGED.to_json()["changes"], separators=(",", ":")) == RECORD
    for form in (CHANGED.to_json(), json.dumps(CHANGED.to_json()), CHANGED.model_dump(exclude_defaults=True)):
        assert tg.Spec.from_json(form) == CHANGED
    one = tg.SetChange(1, density=0.2, strength=0.25, importance=[1, 0.5])
    assert spec(changes=[tg.Change(400, rate=0.002, sets=[one]), tg.Change(450)]) == CHANGED
    assert eval(repr(CHANGED.changes), vars(tg) | {"Change": tg.Change, "SetChange": tg.SetChange}) == CHANGED.changes


def test_a_spec_without_changes_is_what_it_was_before_there_were_any():
    assert "changes" not in spec().to_json()
    assert spec(changes=[]).hash == spec().hash
    assert len({spec().hash, CHANGED.hash, spec(changes=[{"step": 400, "rate": 0.003}]).hash}) == 3


def test_what_is_in_force():
    assert CHANGED.changed_at == (400,)
    assert CHANGED.in_force(399) == spec()
    later = spec(
        features=[SETS[0], tg.PartiallyCorrelated(2, 0.2, 0.25, importance=[1, 0.5])],
        training=tg.Sampled(steps=500, rate=0.002),
    )
    assert CHANGED.in_force(400) == CHANGED.in_force(np.int64(500)) == later
    assert spec().in_force(3) == spec()
    assert spec().changed_at == ()


def test_changes_add_up_and_those_of_one_step_are_made_in_order():
    first, second = {"set": 0, "density": 0.5}, {"set": 0, "density": 0.25}
    several = spec(
        changes=[
            {"step": 0, "rate": 0.5},
            {"step": 7, "sets": [first, second]},
            {"step": 7, "sets": [{"set": 1, "importance": 2}]},
            {"step": 9, "rate": 0.125},
        ]
    )
    assert several.changed_at == (7, 9)
    assert [several.in_force(step).training.rate for step in (0, 8, 9)] == [0.5, 0.5, 0.125]
    assert several.in_force(6).features.density.tolist() == spec().features.density.tolist()
    assert several.in_force(9).features.density[0] == 0.25
    assert several.in_force(7).features.importance.tolist() == [1, 1, 1, 2, 2]


def test_a_change_to_what_is_in_force_is_none():
    nothing = [
        {"step": 5},
        {"step": 6, "rate": 0.01, "sets": [{"set": 0, "density": 0.1}]},
        {"step": 7, "rate": 3.0},
        {"step": 7, "rate": 0.01},
    ]
    assert spec(changes=nothing).changed_at == ()


def test_toml_and_overrides(tmp_path):
    file = tmp_path / "changing.toml"
    file.write_text(
        'hidden = 2\n[[features]]\nkind = "independent"\ncount = 3\ndensity = 0.1\n'
        "[[changes]]\nstep = 4\nrate = 0.5\n[[changes.sets]]\nset = 0\ndensity = 0.25\n[[changes]]\nstep = 6\n"
    )
    read = tg.Spec.from_toml(file)
    assert read.changes == (tg.Change(4, rate=0.5, sets=[tg.SetChange(0, density=0.25)]), tg.Change(6))
    assert tg.Spec.from_toml(file, ["changes.0.rate=0.25"]).in_force(4).training.rate == 0.25
    assert read.override(["changes.0.sets.0.density=0.5"]).in_force(4).features.density[0] == 0.5
    assert read.override(["changes=[{step = 3, rate = 0.125}]"]).changes == (tg.Change(3, rate=0.125),)
    assert read.override(["changes=[]"]).changes == ()


def test_runs_that_continue_do_so_with_what_is_in_force_at_the_end():
    on = CHANGED.continued_from(np.zeros((5, 2)), training=tg.Exact())
    assert on.changes == ()
    assert on.features == CHANGED.in_force(500).features


class Chain(tg.GatedSet, kind="changing-chain"):
    """A set that has as many features as densities."""

    @property
    def features(self) -> int:
        return np.size(self.density)

    def table(self) -> tg.MixtureTable:
        return tg.MixtureTable(weights=np.ones(1), gates=np.atleast_2d(self.density))


# It is no kind for others.
del tg.FeatureSet.kinds["changing-chain"]


ROWS = tg.Empirical([[0.0, 1.0], [0.5, 0.0]])


def test_data_keep_their_densities():
    spec = tg.Spec(features=[ROWS], hidden=1, changes=[tg.Change(3, sets=[tg.SetChange(0, importance=[1, 2])])])
    assert spec.in_force(3).features.importance.tolist() == [1, 2]


def of_set(number=0, **values):
    return [{"step": 1, "sets": [{"set": number} | values]}]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"changes": of_set(density=1.7)},
            "Spec(changes.0.sets.0.density=1.7): changes.0.sets.0.density must lie in (0, 1]",
        ),
        ({"changes": of_set(importance=-1)}, "changes.0.sets.0.importance must be 0, or lie between 1e-30 and 1e30"),
        ({"changes": of_set(1, strength=2)}, "changes.0.sets.0.strength must lie in [0, 1]"),
        (
            {"changes": of_set(density=[0.1, 0.2])},
            "Spec(changes.0.sets.0.density=(0.1, 0.2)): changes.0.sets.0.density must be one number or 3, one for each "
            "feature of the set",
        ),
        (
            {"changes": of_set(strength=0.5)},
            "Spec(changes.0.sets.0.strength=0.5): changes.0.sets.0.strength must not be given, as a set of the kind "
            "'independent' has none",
        ),
        (
            {"features": [ROWS], "changes": of_set(density=0.5)},
            "changes.0.sets.0.density must not be given, as a set of the kind 'empirical' has none",
        ),
        (
            {"features": [Chain(density=[0.5, 0.5])], "changes": of_set(density=0.5)},
            "changes.0.sets.0.density must leave the set its 2 features",
        ),
        ({"changes": of_set(2, density=0.5)}, "changes.0.sets.0.set must be the number of a set, at most 1"),
        ({"changes": of_set(count=2)}, "there is no key 'changes.0.sets.0.count'"),
        ({"changes": of_set(density="much")}, "changes.0.sets.0.density must be a number, or a list of one number for"),
        (
            {"changes": [{"step": 1, "sets": [3]}]},
            "changes.0.sets must be a list of changes of sets, each with the number of its set",
        ),
        ({"changes": [{"rate": 1.0}]}, "changes.0.step must be given"),
        (
            {"changes": [{"step": 501}]},
            "Spec(changes.0.step=501): changes.0.step must not go beyond the last step of training, 500",
        ),
        ({"changes": [{"step": -1}]}, "changes.0.step must be an int of at least 0"),
        (
            {"changes": [{"step": 5}, {"step": 4}]},
            "Spec(changes.1.step=4): changes.1.step must not come before that of the change before it, 5",
        ),
        (
            {"changes": [{"step": 1, "rate": 0}]},
            "Spec(changes.0.rate=0): changes.0.rate must be a finite number above 0",
        ),
        (
            {"changes": [{"step": 1, "rate": 0.5}], "training": tg.Flow()},
            "changes.0.rate must not be given, as training of the kind 'flow' has no learning rate",
        ),
        (
            {"changes": [{"step": 1, "rate": 0.5}], "training": tg.Exact()},
            "changes.0.rate must stay 0.001 with the optimiser 'lbfgs'",
        ),
        ({"changes": {"step": 1}}, "changes must be a list of changes, each with its step ([[changes]] in TOML)"),
        ({"step": 1}, "there is no key 'step'; did you mean 'training.steps'?"),
    ],
)  # fmt: skip
def test_what_is_refused(given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        spec(**given)
    assert str(refused.value).startswith("Spec(")


@pytest.mark.parametrize("step", [-1, 501, True])
def test_there_is_nothing_in_force_at_other_steps(step):
    with pytest.raises(
        ValueError, match=r"^in_force\(step=.*\): step must be an int from 0 to training.steps, which is 500$"
    ):
        CHANGED.in_force(step)
