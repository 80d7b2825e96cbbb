"""Changes as a command line writes them, and TOML files."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tegum.training.spec.overrides import override, read_changes, read_toml


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("hidden=3", ("hidden",), 3),
        (" training . steps = 20_000 ", ("training", "steps"), 20_000),
        ("a=1e-3", ("a",), 1e-3),
        ("a=.5", ("a",), 0.5),
        ("a=-2.", ("a",), -2.0),
        ("a=+.5e-1", ("a",), 0.05),
        ("a=inf", ("a",), float("inf")),
        ("a=true", ("a",), True),
        ("a=relu", ("a",), "relu"),
        ("a=partially-correlated", ("a",), "partially-correlated"),
        ("a='3'", ("a",), "3"),
        ('a="x = y"', ("a",), "x = y"),
        ("a=[0, 10]", ("a",), [0, 10]),
        ("a={kind = 'sampled', steps = 3}", ("a",), {"kind": "sampled", "steps": 3}),
        ("a=none", ("a",), None),
        ("a=None", ("a",), None),
    ],
)
def test_text_is_read_as_toml_or_as_a_word(text: str, path: tuple[str, ...], value: Any):
    (change,) = read_changes([text])
    assert (change.path, change.value) == (path, value)
    assert type(change.value) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden", "override 'hidden': must be written key=value, for instance hidden=3"),
        ("", "override '': must be written key=value, for instance hidden=3"),
        ("=3", "override '=3': must name a key, for instance hidden=3 or training.steps=100"),
        ("a..b=3", "override 'a..b=3': must name a key, for instance hidden=3 or training.steps=100"),
        (f"{'a.' * 5000}a=1", f"override '{'a.' * 59}a…: must name a key of at most 16 parts, not of 5001"),
        ("a=", "override 'a=': the value must be a number, a word, or another TOML value"),
        ("a=3,4", "override 'a=3,4': the value must be a number, a word, or another TOML value"),
        ("a=[0, 5", "override 'a=[0, 5': the value must be a number, a word, or another TOML value"),
        ("a=3\nb=4", r"override 'a=3\nb=4': the value must be a number, a word, or another TOML value"),
        (
            f"a={'9' * 5000}",
            f"override 'a={'9' * 117}…: the value must be a number, a word, or another TOML value",
        ),
        (
            f"a={'[' * 5000}",
            f"override 'a={'[' * 117}…: the value must be a number, a word, or another TOML value",
        ),
    ],
)
def test_text_that_cannot_be_read(text: str, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        read_changes([text])
    assert str(caught.value) == message


def test_changes_as_a_dictionary_or_a_single_text():
    assert read_changes({"a.b": [1.0]}) == [("a.b=[1.0]", ("a", "b"), [1.0])]
    assert read_changes("a=3") == read_changes(["a=3"])


def changed(values: dict[str, Any], *texts: str) -> dict[str, Any]:
    before = copy.deepcopy(values)
    result = override(values, read_changes(texts))
    assert values == before
    return result


def test_values_are_changed_in_a_copy():
    assert changed({"a": {"b": 1}, "c": 2}, "a.b=3") == {"a": {"b": 3}, "c": 2}
    assert changed({}, "a.b.c=3") == {"a": {"b": {"c": 3}}}
    assert changed({"a": 1}, "a=2", "a=3") == {"a": 3}


def test_lists_by_number_or_all_at_once():
    sets = {"f": [{"p": 1, "q": 5}, {"p": 2}]}
    assert changed(sets, "f.1.p=3") == {"f": [{"p": 1, "q": 5}, {"p": 3}]}
    assert changed(sets, "f.p=3") == {"f": [{"p": 3, "q": 5}, {"p": 3}]}
    assert changed({"f": (1, 2)}, "f.0=3") == {"f": [3, 2]}


def test_equal_items_are_changed_one_by_one():
    assert changed({"f": [{"p": 1}] * 2}, "f.0.p=3") == {"f": [{"p": 3}, {"p": 1}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f.7.p=1", "override 'f.7.p=1': there is no item 7 in f, which has 2 (the first is f.0)"),
        ("a.b=1", "override 'a.b=1': there is no key 'a.b'; a is 3, not a table"),
        ("a.b.c=1", "override 'a.b.c=1': there is no key 'a.b.c'; a is 3, not a table"),
        ("f.0.p.r=1", "override 'f.0.p.r=1': there is no key 'f.0.p.r'; f.0.p is 1, not a table"),
    ],
)
def test_a_change_that_leads_nowhere(text: str, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        changed({"a": 3, "f": [{"p": 1}, {"p": 2}]}, text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"\xff", "the file is not UTF-8 text, as TOML must be"),
        (
            b"a = 1\nb 2\n",
            "the file is not valid TOML: expected '=' after a key in a key/value pair (at line 2",
        ),
        (b"a = 1\nb = [1\n", "the file is not valid TOML: unclosed array (at the end of the file, line 2)"),
        (b"a = 1\na = 2\nb = 3", "the file is not valid TOML: cannot overwrite a value (at line 2"),
        (b"a = " + b"9" * 5000, "the file is not valid TOML: exceeds the limit (4300 digits)"),
        ("a = 1".encode("utf-16"), "the file is UTF-16, but TOML must be UTF-8"),
        (b"a = " + b"[" * 5000, "the file is not valid TOML: "),
        (b"a.b = 1\na = 2\n", "the file is not valid TOML: cannot overwrite a value (at "),
        (bytes(64), "the file is not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, rule: str):
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (read below)
        read_toml(file)
    assert str(caught.value).startswith(f"{file}: {rule}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        read_toml(tmp_path / "run.toml")
    assert str(caught.value) == f"{tmp_path / 'run.toml'}: there is no such file"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        read_toml(tmp_path)
    assert str(caught.value) == f"{tmp_path}: this must be a TOML file, and this is a folder"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa = 1\nb = [2.5]\n", b"a = 1\r\nb = [2.5]\r\n", b"a=1\nb=[\n2.5,]"])
def test_what_editors_make_of_a_file(tmp_path: Path, content: bytes):
    (tmp_path / "run.toml").write_bytes(content)
    assert read_toml(tmp_path / "run.toml") == {"a": 1, "b": [2.5]}
