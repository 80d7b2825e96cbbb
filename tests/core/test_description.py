"""Descriptions: what they take, and the one sentence with which they refuse the rest."""

import pickle
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import model_validator

import tegum as tg
from tegum.core.description import (
    Count,
    Description,
    Fraction,
    NotNegative,
    Positive,
    Whole,
    at,
    broken,
    flatten,
    nearest,
    of_kind,
    short,
)


class Lens(Description):
    positional: ClassVar[tuple[str, ...]] = ("width", "blur")
    width: Count
    """How wide it is,
    in pixels."""
    blur: Positive | None = None
    """How soft."""
    edge: NotNegative = 1.0
    share: Fraction = 0.5
    shift: Whole = 0
    shape: Literal["round", "square"] = "round"

    @model_validator(mode="after")
    def _blur_fits(self) -> "Lens":
        if self.blur is not None and self.blur > self.width:
            raise broken("blur", self.blur, f"must be at most the width, which is {self.width}")
        return self


class Camera(Description):
    lens: Lens = Lens(3)
    tilt: Whole = 0


class Studio(Description):
    camera: Camera = Camera()


BELOW = "must be an int below 2**63"
FROM_1 = "must be an int of at least 1"

REFUSED: list[tuple[type[Description], dict[str, Any], str]] = [
    (Lens, {}, "Lens(): width must be given"),
    (Lens, {"width": 0}, f"Lens(width=0): width {FROM_1}"),
    (Lens, {"width": -(10**30)}, f"Lens(width={-(10**30)}): width {FROM_1}"),
    (Lens, {"width": "3"}, f"Lens(width='3'): width {FROM_1}"),
    (Lens, {"width": True}, f"Lens(width=True): width {FROM_1}"),
    (Lens, {"width": None}, f"Lens(width=None): width {FROM_1}"),
    (Lens, {"width": 2.0}, f"Lens(width=2.0): width {FROM_1}"),
    (Lens, {"width": np.float64(2)}, f"Lens(width=2.0): width {FROM_1}"),
    (Lens, {"width": np.bool_(True)}, f"Lens(width=True): width {FROM_1}"),
    (Lens, {"width": float("nan")}, f"Lens(width=nan): width {FROM_1}"),
    (Lens, {"width": [1]}, f"Lens(width=[1]): width {FROM_1}"),
    (Lens, {"width": np.ones((2, 3))}, f"Lens(width=array of shape (2, 3)): width {FROM_1}"),
    (Lens, {"width": 2**63}, f"Lens(width={2**63}): width {BELOW}"),
    (Lens, {"width": 10**5000}, f"Lens(width=int of 16610 bits): width {BELOW}"),
    (Lens, {"width": 1, "shift": -1}, "Lens(shift=-1): shift must be an int of at least 0"),
    (Lens, {"width": 1, "blur": 0}, "Lens(blur=0): blur must be a finite number above 0, or None"),
    (Lens, {"width": 1, "blur": "a"}, "Lens(blur='a'): blur must be a finite number above 0, or None"),
    (Lens, {"width": 1, "blur": False}, "Lens(blur=False): blur must be a finite number above 0, or None"),
    (Lens, {"width": 1, "edge": -1}, "Lens(edge=-1): edge must be a finite number of at least 0"),
    (Lens, {"width": 1, "edge": None}, "Lens(edge=None): edge must be a finite number of at least 0"),
    (
        Lens,
        {"width": 1, "edge": 10**400},
        "Lens(edge=int of 1329 bits): edge must be a finite number of at least 0",
    ),
    (
        Lens,
        {"width": 1, "edge": float("inf")},
        "Lens(edge=inf): edge must be a finite number of at least 0",
    ),
    (Lens, {"width": 1, "share": 1}, "Lens(share=1): share must be a number in [0, 1)"),
    (Lens, {"width": 1, "share": float("nan")}, "Lens(share=nan): share must be a number in [0, 1)"),
    (Lens, {"width": 1, "shape": "rond"}, "Lens(shape='rond'): shape must be 'round' or 'square'"),
    (Lens, {"width": 1, "shape": 3}, "Lens(shape=3): shape must be 'round' or 'square'"),
    (Lens, {"width": 1, "blur": 2}, "Lens(blur=2.0): blur must be at most the width, which is 1"),
    (Lens, {"widht": 3}, "Lens(widht=3): there is no key 'widht'; did you mean 'width'?"),
    (
        Lens,
        {"width": 3, "zoom": "a\nb"},
        r"Lens(zoom='a\nb'): there is no key 'zoom'; known are blur, edge, shape, share, shift, width",
    ),
    (
        Lens,
        {"width": 3, "self": 1},
        "Lens(self=1): there is no key 'self'; known are blur, edge, shape, share, shift, width",
    ),
    (Camera, {"lens": {"width": 0}}, f"Camera(lens.width=0): lens.width {FROM_1}"),
    (Camera, {"lens": {}}, "Camera(): lens.width must be given"),
    (
        Camera,
        {"lens": {"width": 1, "blur": 2}},
        "Camera(lens.blur=2.0): lens.blur must be at most the width, which is 1",
    ),
    (
        Studio,
        {"camera": {"lens": {"width": 1, "shap": "round"}}},
        "Studio(camera.lens.shap='round'): there is no key 'camera.lens.shap'; did you mean 'camera.lens.shape'?",
    ),
    (Camera, {"widht": 3}, "Camera(widht=3): there is no key 'widht'; did you mean 'lens.width'?"),
    (Camera, {"tlit": 3}, "Camera(tlit=3): there is no key 'tlit'; did you mean 'tilt'?"),
]


@pytest.mark.parametrize(("model", "values", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_one_sentence_names_key_value_and_rule(model: type[Description], values: dict, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        model(**values)
    assert type(caught.value) is ValueError
    assert str(caught.value) == message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_values_without_names():
    assert Lens(3, 0.5) == Lens(width=3, blur=0.5)
    with pytest.raises(ValueError, match=r"^Lens\(width=4\): width is given twice$"):
        Lens(3, width=4)
    with pytest.raises(
        ValueError, match=r"^Lens\(1, 2, 3\): at most 2 values may be given without a name \(width, blur\)$"
    ):
        Lens(1, 2, 3)
    with pytest.raises(ValueError, match=r"^Camera\(3\): values must be given by name$"):
        Camera(3)


@pytest.mark.parametrize("number", [np.int8(3), np.uint64(3), np.array(3)], ids=repr)
def test_numpy_numbers_become_python_ones(number: Any):
    lens = Lens(number, blur=np.float32(0.5))
    assert type(lens.width) is int
    assert type(lens.blur) is float
    assert lens == Lens(3, 0.5)
    assert hash(lens) == hash(Lens(3, 0.5))


def test_ints_are_taken_for_floats():
    lens = Lens(3, 1)
    assert repr(lens.blur) == "1.0"


def test_frozen():
    with pytest.raises(AttributeError, match=r"^Lens\.width = 4: a description is frozen; use replace\(\)$"):
        Lens(3).width = 4


def test_replace_checks_anew():
    lens = Lens(3, 0.5)
    assert lens.replace(width=4) == Lens(4, 0.5)
    assert lens == Lens(3, 0.5)
    with pytest.raises(ValueError, match=r"^Lens\(width=0\): width must be an int of at least 1$"):
        lens.replace(width=0)
    with pytest.raises(ValueError, match=r"there is no key 'with'; did you mean 'width'\?$"):
        lens.replace(**{"with": 3})


def test_meanings_are_the_words_under_the_fields():
    assert Lens.meanings() == {"width": "How wide it is, in pixels.", "blur": "How soft."}


def test_of_kind():
    kinds = {"lens": Lens, "camera": Camera}
    assert of_kind(kinds, {"kind": "lens", "width": 3}) == Lens(3)
    assert of_kind(kinds, {}, "camera") == Camera()
    for values, message in [
        ({}, "kind must be given; known are camera, lens"),
        ({"kind": "lense"}, "kind must be a known kind; did you mean 'lens'?"),
        ({"kind": ["lens"]}, "kind must be a known kind; did you mean 'lens'?"),
        ({"kind": "lens", 3: 4}, "Lens(3=4): there is no key '3'; known are"),
    ]:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (read below)
            of_kind(kinds, values)
        assert str(caught.value).startswith(message)


def test_at_lengthens_the_key_of_refusals_only():
    with (
        pytest.raises(ValueError, match=r"^Lens\(lenses\.2\.width=0\): lenses\.2\.width must be"),
        at("lenses", 2),
    ):
        Lens(0)
    with pytest.raises(ValueError, match=r"^untouched$"), at("lenses", 2):
        raise ValueError("untouched")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (np.float64(0.5), "np.float64(0.5)"),
        (np.zeros((2, 3)), "array of shape (2, 3)"),
        (10**5000, "int of 16610 bits"),
        ([10**5000], "<list>"),
        ("x" * 500, "'" + "x" * 119 + "…"),
        ([np.zeros((2, 2))], "[array([[0., 0.], [0., 0.]])]"),
    ],
    ids=range(7),
)
def test_values_are_quoted_on_one_short_line(value: Any, text: str):
    assert short(value) == text


def test_nearest():
    assert nearest("corelated", ["correlated", "independent"]) == "did you mean 'correlated'?"
    assert nearest("xyz", ["b", "a"]) == "known are a, b"
    assert nearest("w_dec", ["b_dec", "W_dec"]) == "did you mean 'W_dec'?"
    assert nearest("W_Dec", ["w_dec", "W_dec"]) == "did you mean 'W_dec'?"
    assert (
        nearest("partially_correlated", ["correlated", "partially-correlated"])
        == "did you mean 'partially-correlated'?"
    )
    assert nearest("nope", ["collapse", "pair"]) == "known are collapse, pair"  # half of its letters are no nearness
    assert nearest("sparsity", ["density", "sparseness"]) == "did you mean 'density'?"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: tg.Independent(3, sparsity=0.95),
            "'sparsity'; density is 1 − sparsity, here 0.05: did you mean 'density'?",
        ),
        (lambda: tg.Independent(3, sparsity=[0.9, 0.8, 0.7]), "density is 1 − sparsity: did you mean 'density'?"),
        (lambda: tg.Independent(3, feature_probability=0.05), "did you mean 'density'?"),
        (lambda: tg.Independent(size=3, density=0.1), "did you mean 'count'?"),
        (lambda: tg.Correlated(n_features=3, density=0.1), "did you mean 'size'?"),
        (
            lambda: spec(sets=[{"kind": "correlated", "size": 2, "sparsity": 0.5}]),
            "here 0.5: did you mean 'features.0.density'?",
        ),
        (lambda: spec(n_hidden=3), "did you mean 'hidden'?"),
        (lambda: spec(n_instances=8), "did you mean 'seeds'?"),
        (lambda: spec(lr=1e-3), "did you mean 'training.rate'?"),
        (lambda: spec(training={"learning_rate": 1e-3}), "did you mean 'training.rate'?"),
        (lambda: spec(training={"kind": "exact", "optimizer": "gd"}), "did you mean 'training.optimiser'?"),
        (lambda: spec(n_steps=3), "did you mean 'training.steps'?"),
        (lambda: tg.Sampled(batch_size=3), "did you mean 'batch'?"),
        (lambda: tg.Sampled(Steps=3), "did you mean 'steps'?"),
    ],
)
def test_the_words_of_other_code(call: Any, sentence: str):
    with pytest.raises(ValueError, match="there is no key ") as caught:
        call()
    assert str(caught.value).endswith(sentence)


def spec(sets: Any = ({"kind": "independent", "count": 3, "density": 0.1},), **values: Any) -> tg.Spec:
    return tg.Spec(features=list(sets), hidden=2, **values)


def test_what_cannot_be_shown_is_still_quoted():
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    assert short(Mute()) == "<Mute>"
    assert short("a" * 500) == f"'{'a' * 119}…"


def test_flatten():
    nested = {"a": 1, "b": {"c": [2, {"d": None}], "e": "f"}}
    assert flatten(nested) == {"a": 1, "b.c.0": 2, "b.c.1.d": None, "b.e": "f"}
