"""The page as a file: what is in it, what it may load, and what `tegum lab` says of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from processes import tegum

import tegum as tg
from tegum.cli import app
from tegum.lab.described import described, described_run, page_address, page_set, page_spec
from tegum.lab.page_file import page, write_page

MODULE = resources.files("tegum.lab").joinpath("page", "lab.js").read_text(encoding="utf-8")
FIVE = tg.Spec(features=[tg.Independent(5, 0.05)], hidden=2, training=tg.Sampled(steps=4000), seeds=16)
TOML = """\
hidden = 2
seeds = 16

[training]
steps = 4000

[[features]]
kind = "independent"
count = 5
density = 0.05
"""


class Elements(HTMLParser):
    """The elements of a document with their attributes, and the text inside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        self.scripts += [""] * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "five.toml").write_text(TOML)
    return tmp_path


def test_everything_is_in_the_one_file():
    html = page()
    found = Elements(html)
    # The module as it is; what could end the element early is not in it, or is written otherwise.
    (module,) = found.scripts
    assert module == MODULE
    assert found.of("script") == [{"type": "module"}]
    assert found.of("tegum-lab") == [{}]
    assert found.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.of("meta")
    assert {"name": "color-scheme", "content": "light dark"} in found.of("meta")
    assert re.search(r"<noscript><p>[^<]+\.</p></noscript>", html)
    # The bundle may have 80 KB gzipped, and the rest is little.
    assert len(gzip.compress(html.encode())) < 82_000


def test_nothing_is_loaded_from_elsewhere():
    html = page(docs="../")
    found = Elements(html)
    # Names of languages, which nobody opens.
    elsewhere = set(re.findall(r"(?:https?|wss?|ftp):(?://|\\/\\/)[^\s\"'`<>)]*", html))
    assert all(each.startswith("http://www.w3.org/") for each in elsewhere), elsewhere
    for name in ("src", "href", "srcset", "data", "action"):
        given = [attributes[name] for _, attributes in found.elements if name in attributes]
        assert given in ([], ["data:,"]), name
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b", html)


def test_the_browser_is_told_to_load_nothing_either():
    found = Elements(page("preset=pentagon"))
    (policy,) = (each["content"] for each in found.of("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = base64.b64encode(hashlib.sha256(found.scripts[0].encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # It counts for what comes after it.
    tags = [tag for tag, _ in found.elements]
    assert tags.index("meta") < tags.index("base") < tags.index("script")


def test_with_a_server_the_page_may_ask_that_one_alone():
    found = Elements(page(server=True))
    (policy,) = (each["content"] for each in found.of("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "connect-src 'self'" in policy.split("; ")
    assert "connect-src" not in page()
    assert found.scripts[0] == resources.files("tegum.lab").joinpath("page", "local.js").read_text(encoding="utf-8")


def test_a_script_cannot_end_early(monkeypatch):
    monkeypatch.setattr("tegum.lab.page_file.module_text", lambda *_: "a = '</script><img src=x>' + '</SCRIPT >'")
    (script,) = Elements(page()).scripts
    assert script == r"a = '<\/script><img src=x>' + '<\/SCRIPT >'"


def test_attributes_are_as_given():
    (element,) = Elements(page('spec="><script>alert(1)</script>&x', docs="../a&b'")).of("tegum-lab")
    assert element == {"address": 'spec="><script>alert(1)</script>&x', "docs": "../a&b'"}


def test_an_address_is_short_and_holds_the_spec():
    address = page_address(FIVE)
    assert re.fullmatch(r"[\w.~%=&+*-]+", address)
    (text,) = parse_qs(address)["spec"]
    assert json.loads(text) == {
        "features": [{"kind": "independent", "count": 5, "density": 0.05}],
        "hidden": 2,
        "training": {"kind": "sampled", "steps": 4000},
        "seeds": 16,
    }
    assert tg.Spec.from_json(text) == FIVE


CHANGES = [{"step": 400, "rate": 0.002, "sets": [{"set": 0, "density": 0.1, "importance": [1.0, 0.5, 1.0, 1.0, 1.0]}]}]


def test_changes_stand_beside_the_spec_in_an_address():
    changing = FIVE.replace(changes=CHANGES)
    assert page_spec(changing) == page_spec(FIVE)
    address = page_address(changing)
    parts = parse_qs(address)
    assert parts.keys() == {"spec", "changes"}
    assert parts["spec"] == parse_qs(page_address(FIVE))["spec"]
    # As the page itself writes them, and as it hands them to Python.
    assert json.loads(parts["changes"][0]) == CHANGES
    assert tg.Spec.from_json(json.loads(parts["spec"][0]) | {"changes": CHANGES}) == changing
    assert address.endswith(
        "&changes=%5B%7B%22step%22%3A400%2C%22rate%22%3A0.002%2C%22sets%22%3A%5B%7B%22set%22%3A0%2C%22density%22%3A0.1"
        "%2C%22importance%22%3A%5B1.0%2C0.5%2C1.0%2C1.0%2C1.0%5D%7D%5D%7D%5D"
    )


def test_what_the_page_knows_of_a_run_from_elsewhere_has_its_changes():
    assert described(FIVE.replace(changes=CHANGES))["changes"] == CHANGES
    assert described(FIVE)["changes"] == []
    known = described(FIVE.replace(changes=[{"step": 3, "rate": 0.5}], training=tg.Exact(steps=9, optimiser="gd")))
    assert known["page"] is None
    # The Spec is that of the start, from which the page comes to any step by the changes.
    changing = FIVE.replace(training=tg.Sampled(steps=10, batch=8, evaluation=8), seeds=1, snapshots=2)
    changing = changing.replace(changes=[{"step": 5, "rate": 0.5}])
    recorded = described_run(tg.train(changing))
    assert recorded["changes"] == [{"step": 5, "rate": 0.5}]
    assert "changes" not in recorded["page"]
    assert "changes" not in recorded["spec"]
    assert recorded["rate"] == 0.001


def test_equal_sets_in_a_row_are_counted():
    sets = [tg.Correlated(2, 0.1)] * 3 + [tg.Correlated(2, 0.2)] + [tg.Correlated(2, 0.1)]
    spec = tg.Spec(features=sets, hidden=2)
    found = page_spec(spec)
    assert [each.get("copies", 1) for each in found["features"]] == [3, 1, 1]
    assert tg.Spec.from_json(found) == spec


def test_a_kind_that_only_python_knows_comes_with_its_table():
    spec = tg.Spec(features=[tg.ExactlyK(size=3, k=1, importance=0.5)], hidden=2)
    (found,) = page_spec(spec)["features"]
    # One of three features, each with certainty.
    assert found["kind"] == "table"
    assert sorted(zip(found["weights"], map(tuple, found["gates"]), strict=True)) == [
        (pytest.approx(1 / 3), (0, 0, 1)), (pytest.approx(1 / 3), (0, 1, 0)), (pytest.approx(1 / 3), (1, 0, 0))
    ]  # fmt: skip
    assert found["importance"] == 0.5
    assert found["source"] == spec.to_json()["features"][0]


ROWS = tg.Empirical([[0.0, 1.0], [0.5, 0.0]])


class Ramp(tg.Magnitude, kind="lab-ramp"):
    @property
    def support(self) -> tuple[float, float]:
        return 0.0, 1.0

    def moments(self, active: Any = 1.0) -> tuple[Any, Any]:
        return active * 2 / 3, active / 2

    def drawn(self, u: Any) -> Any:
        return u**0.5


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            {"features": [tg.ExactlyK(size=40, k=20)]},
            "Spec(features=[…, ExactlyK(size=40, k=20), …]): the page draws from mixture tables, and this set has "
            "none, as its table would have more than 4,096 components",
        ),
        (
            {"features": [ROWS]},
            f"Spec(features=[…, {ROWS!r}, …]): the page draws from mixture tables, and this set has none, as the kind "
            "'empirical' is no mixture of independent gates",
        ),
        (
            {"features": [tg.Independent(2, 0.1, magnitude=Ramp())]},
            "Spec(features=[…, Independent(count=2, density=0.1, magnitude=Ramp()), …]): magnitudes must be of the "
            "laws uniform, constant, half-normal in the page",
        ),
        (
            {
                "features": [tg.ExactlyK(size=4, k=2, density=0.5)],
                "changes": [{"step": 3, "sets": [{"set": 0, "importance": 2}, {"set": 0, "density": 0.25}]}],
            },
            "Spec(changes.0.sets.1.density=0.25): the page draws sets of the kind 'exactly-k' from their tables, which "
            "have no density to change",
        ),
        (
            {"training": tg.Sampled(steps=200_000), "snapshots": range(100_001)},
            'Spec(snapshots.steps="100001 steps"): snapshots.steps must list at most 100,000 steps',
        ),
    ],
)
def test_what_the_page_cannot_do_is_refused(spec, sentence):
    given = tg.Spec(**{"features": [tg.Independent(2, 0.1)], "hidden": 2} | spec)
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        page_address(given)
    assert str(refused.value) == sentence


def test_a_set_without_a_table_is_none_for_the_page():
    with pytest.raises(
        ValueError, match=r"^Empirical\(.*\): the page draws from mixture tables, and this set has none"
    ):
        page_set(ROWS)


def test_what_no_address_can_hold_is_refused():
    # 16,000 weights of 18 digits each, and 64,000 of them.
    spec = tg.Spec(features=[tg.Independent(400, 0.1)], hidden=40, start=[[0.1234567890123456] * 40] * 400)
    assert 300_000 < len(page_address(spec)) < 400_000
    spec = spec.replace(seeds=4, start=[[[0.1234567890123456] * 40] * 400] * 4)
    with pytest.raises(ValueError, match=r"keeps a Spec in its address, which must have at most 1,000,000$"):
        page_address(spec)


def test_the_command_writes_a_page(place):
    code, out, err = tegum("lab", "--static", "-o", "page.html", "five.toml", cwd=place)
    assert (code, out, err) == (0, "wrote page.html\n", "")
    html = (place / "page.html").read_bytes().decode()
    assert html == page(page_address(FIVE))
    assert Elements(html).of("tegum-lab") == [{"address": page_address(FIVE)}]
    assert sorted(each.name for each in place.iterdir()) == ["five.toml", "page.html"]


def test_without_a_spec_the_page_opens_as_it_does(place, capsys):
    run("lab", "--static")
    run("lab", "--static", "five.toml")
    assert capsys.readouterr().out == "wrote lab.html\nwrote five.html\n"
    assert (place / "lab.html").read_text(encoding="utf-8") == page()
    assert "address=" not in re.sub(r"<script.*", "", page(), flags=re.DOTALL)


def run(*args: str) -> None:
    with pytest.raises(SystemExit) as ended:
        app(list(args))
    assert not ended.value.code


def test_nothing_is_overwritten_unasked(place):
    (place / "lab.html").write_text("mine")
    with pytest.raises(FileExistsError, match=r"^lab --out lab\.html: something is already there; .*--overwrite"):
        app(["lab", "--static"])
    assert (place / "lab.html").read_text() == "mine"
    run("lab", "--static", "--overwrite")
    assert (place / "lab.html").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("lab", "--static", "-o", "lab.txt"), "lab --out lab.txt: the name of the file must end in .html"),
        (
            ("lab", "--static", "-o", "none/lab.html"),
            "lab --out none/lab.html: the folder 'none' does not exist; create it first",
        ),
        (("lab", "--static", "none.toml"), None),
        (("lab", "--static", "wide.toml"), "lab wide.toml: Spec(hidden=41): hidden must be at most 40 in the page"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing_behind(place, args, sentence):
    (place / "wide.toml").write_text(TOML.replace("hidden = 2", "hidden = 41"))
    before = sorted(place.iterdir())
    with pytest.raises((ValueError, OSError)) as refused:
        app(list(args))
    assert "\n" not in str(refused.value)
    assert str(refused.value) == sentence if sentence else "none.toml" in str(refused.value)
    assert sorted(place.iterdir()) == before


def test_a_full_disk_leaves_nothing_behind(place, monkeypatch):
    def full(part: Path, data: bytes) -> None:
        with part.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    (place / "lab.html").write_text("mine")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"^lab: writing in .*: No space left on device$"):
        write_page("lab.html", page(), overwrite=True, call="lab")
    assert (place / "lab.html").read_text() == "mine"
    assert sorted(each.name for each in place.iterdir()) == ["five.toml", "lab.html"]
