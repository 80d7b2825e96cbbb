"""`help` of a description tells how it is called and what its fields mean, and not what every pydantic model has."""

import inspect
import pydoc
from typing import ClassVar

import pytest

import tegum as tg
from tegum.core.description import Count, Description

KINDS = [
    tg.Sampled, tg.Exact, tg.Flow, tg.Spec, tg.Change, tg.SetChange, tg.Snapshots, tg.Start, tg.FeatureDistribution,
    tg.Independent, tg.Correlated, tg.Anticorrelated, tg.PartiallyCorrelated, tg.Equivariant, tg.Empirical,
    tg.Hierarchy, tg.ExactlyK, tg.Copula,
]  # fmt: skip


class Shelf(Description):
    """Where books stand."""

    positional: ClassVar[tuple[str, ...]] = ("width",)
    books: Count = 3
    """How many there are."""
    width: float
    """In metres."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_help_tells_the_meaning_of_every_field_on_few_lines(kind):
    text = pydoc.plain(pydoc.render_doc(kind))
    words = " ".join(text.replace("|", " ").split())
    assert kind.meanings().keys() == kind.model_fields.keys()
    for name, meaning in kind.meanings().items():
        assert f"{name}: {meaning.rstrip('.')}" in words
    # That of an ordinary pydantic model is several hundred lines long.
    assert len(text.splitlines()) < 240
    assert "model_dump" not in text
    assert "Annotated" not in text


def test_a_new_description_is_told_like_any_other():
    assert Shelf.__doc__ == (
        "Where books stand.\n\nFields:\n"
        "    width: In metres; a finite number; required.\n"
        "    books: How many there are; an int of at least 1; default 3."
    )
    assert str(inspect.signature(Shelf)) == "(width, *, books=3)"
    assert {"books", "width", "replace"} <= set(dir(Shelf)) <= set(dir(Description)) | {"books", "width"}
    assert Shelf(1.0).__doc__ == "Where books stand."


def test_meanings_are_read_when_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(inspect, "getsource", lambda _: pytest.fail("the source was read"))
    type("Late", (Shelf,), {"__doc__": "A shelf."})


def test_without_a_source_names_and_defaults_are_left(monkeypatch):
    monkeypatch.setattr(inspect, "getsource", lambda _: (_ for _ in ()).throw(OSError))
    assert "    books: an int of at least 1; default 3." in str(Shelf.__doc__)
