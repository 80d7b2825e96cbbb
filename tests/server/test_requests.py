"""Who is answered, and that nothing that is sent ends the server."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest
from lab_client import Client

import tegum as tg

pytestmark = pytest.mark.quick_form

PENTAGON: dict[str, Any] = {
    "features": [{"kind": "independent", "count": 5, "density": 0.05}],
    "hidden": 2,
    "training": {"kind": "sampled", "steps": 20, "batch": 16, "evaluation": 16},
    "snapshots": {"count": 4},
    "seeds": 4,
}


def test_the_page_may_ask_its_own_server_and_nobody_else(client: Client) -> None:
    status, headers, body = client.ask("GET", f"/?token={client.token}")
    html = body.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<tegum-lab></tegum-lab>" in html
    assert "connect-src &#x27;self&#x27;" in html or "connect-src 'self'" in html
    assert client.token not in html
    assert {name: headers[name] for name in ("cache-control", "x-content-type-options", "referrer-policy")} == {
        "cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"
    }  # fmt: skip
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("headers", "path", "word"),
    [
        ({"Host": "evil.example"}, "/api/folder", "Host"),
        ({"Host": "127.0.0.1"}, "/api/folder", "Host"),
        ({"Host": "127.0.0.1.evil.example:{port}"}, "/api/folder", "Host"),
        ({"Origin": "http://evil.example"}, "/api/folder", "Origin"),
        ({"Origin": "null"}, "/api/folder", "Origin"),
        ({"Origin": "http://127.0.0.1:1"}, "/api/folder", "Origin"),
        ({"Origin": "https://127.0.0.1:{port}"}, "/api/folder", "Origin"),
        ({"X-Tegum-Token": ""}, "/api/folder", "token"),
        ({"X-Tegum-Token": "x"}, "/api/folder", "token"),
        ({"X-Tegum-Token": "ÿ"}, "/api/folder", "token"),
        ({"X-Tegum-Token": ""}, "/api/folder?token={token}", "token"),
        ({}, "/", "token"),
        ({}, "/?token=", "token"),
        ({}, "/?token=%ff%00", "token"),
        ({}, "/nothing", "token"),
    ],
)
def test_strangers_are_refused(client: Client, headers: dict[str, str], path: str, word: str) -> None:
    known = {"port": client.port, "token": client.token}
    given = {name: value.format(**known) for name, value in headers.items()}
    status, sentence = client.told("GET", path.format(**known), headers=given)
    assert status == 403
    assert word in sentence


def test_both_names_of_the_loopback_are_its_own(client: Client) -> None:
    for name in ("127.0.0.1", "localhost"):
        place = f"{name}:{client.port}"
        assert client.ask("GET", "/api/folder", headers={"Host": place, "Origin": f"http://{place}"})[0] == 200


def test_what_is_refused_of_a_stranger_has_no_effect(client: Client) -> None:
    with client.page() as page:
        request = {"type": "train", "id": 1, "spec": PENTAGON, "run": 0, "changes": []}
        body = {"page": page.name, "request": request}
        assert client.ask("POST", "/api/say", body, {"Origin": "http://evil.example"})[0] == 403
        page.say({**request, "id": 2})
        assert page.hear()["id"] == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing?token={token}", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/folder/", 404),
        ("GET", "/api/FOLDER", 404),
        ("POST", "/api/folder", 405),
        ("GET", "/api/say", 405),
        ("DELETE", "/api/describe", 405),
        ("OPTIONS", "/api/folder", 405),
    ],
)
def test_other_paths_and_methods_are_refused(client: Client, method: str, path: str, status: int) -> None:
    found, sentence = client.told(method, path.format(token=client.token))
    assert (found, "path" in sentence) == (status, True)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"\xff\xfe", 400, "JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b'{"spec": {"hidden": NaN}}', 400, "JSON"),
        (b'{"spec": {"hidden": 1e999}}', 400, "JSON"),
        (b'{"spec": {"hidden": ' + b"9" * 5000 + b"}}", 400, "JSON"),
        (b" " * (2**22 + 1), 413, "bytes"),
        (b"[]", 422, "table"),
        (b'{"spec": 3}', 422, "spec"),
        (b'{"spec": {}, "changes": [1]}', 422, "changes"),
        (b'{"spec": {}}', 422, "features must be given"),
        (b'{"spec": {"features": [{"kind": "x"}], "hidden": 1}}', 422, "kind"),
        (b'{"spec": {"features": [{"kind": "independent", "count": 3, "density": "\\ud800"}], "hidden": 1}}', 422, ""),
        (
            b'{"spec": {"features": [{"kind": "independent", "count": 3000, "density": 0.1}], "hidden": 1}}',
            422,
            "2,000",
        ),
    ],
)
def test_bodies_that_cannot_be_are_refused_in_a_sentence(client: Client, body: bytes, status: int, word: str) -> None:
    found, sentence = client.told("POST", "/api/describe", body)
    assert found == status
    assert word in sentence
    assert "\n" not in sentence


def test_only_json_is_read(client: Client) -> None:
    body = json.dumps({"spec": PENTAGON}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert client.told("POST", "/api/describe", body, {"Content-Type": kind})[0] == 415


def test_activations_are_read_in_the_folder_alone(client: Client, tmp_path) -> None:
    (tmp_path / "rows.npy").write_bytes(b"no")
    for path in (str(tmp_path / "rows.npy"), "/etc/passwd", "../../etc/passwd", 3):
        sets = [{"kind": "empirical", "path": path}]
        status, sentence = client.told("POST", "/api/describe", {"spec": {"features": sets, "hidden": 1}})
        assert (status, "folder of the lab" in sentence) == (422, True)


def test_a_spec_is_described_as_python_knows_it(client: Client) -> None:
    status, _, body = client.ask("POST", "/api/describe", {"spec": PENTAGON, "changes": []})
    found = json.loads(body)
    assert status == 200
    assert (found["n"], found["m"], found["last"], found["seeds"], found["rate"]) == (5, 2, 20, 4, 0.001)
    assert found["sets"] == [{"kind": "independent", "size": 5, "density": 0.05, "importance": 1.0}]
    assert tg.Spec.from_json(found["spec"]) == tg.Spec.from_json(PENTAGON)
    assert found["changes"] == []


def test_changes_stand_beside_the_spec(client: Client) -> None:
    """Whether they came beside it or within it, as in a file."""
    changes = [{"step": 4, "rate": 0.1, "sets": [{"set": 0, "density": 0.2}]}]
    for given in ({"spec": PENTAGON, "changes": changes}, {"spec": {**PENTAGON, "changes": changes}}):
        status, _, body = client.ask("POST", "/api/describe", given)
        found = json.loads(body)
        assert (status, found["changes"], "changes" in found["spec"], found["rate"]) == (200, changes, False, 0.001)
    late = [{"step": 21, "rate": 0.1}]
    status, sentence = client.told("POST", "/api/describe", {"spec": PENTAGON, "changes": late})
    assert (status, "Spec(changes.0.step=21)" in sentence) == (422, True)


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({"type": "trian", "id": 1}, "did you mean"),
        ({"type": "train"}, "id="),
        ({"type": "train", "id": True, "spec": {}, "run": 0}, "id=True"),
        ({"type": "train", "id": 2**60, "spec": {}, "run": 0}, "id="),
        ({"type": "train", "id": 1, "spec": [], "run": 0}, "spec="),
        ({"type": "train", "id": 1, "spec": {}, "run": -1}, "run=-1"),
        ({"type": "train", "id": 1, "spec": {}, "run": 0.5}, "run=0.5"),
        ({"type": "ensemble", "id": 1, "spec": {}, "first": 0, "every": 0, "runs": 3}, "every=0"),
        ({"type": "ask", "id": 1, "spec": {}, "step": 0, "weights": "?", "bias": []}, "weights="),
        ({"type": "ask", "id": 1, "spec": {}, "step": 0, "weights": "AAAA", "bias": []}, "weights="),
        ({"type": "look", "id": 1, "spec": {}, "step": 0, "weights": [[1], [2, 3]], "bias": []}, "weights="),
        ({"type": "look", "id": 1, "spec": {}, "step": 0, "weights": [], "bias": "AAAAAAAA8H8="}, "finite"),
        ({"type": "events", "id": 1, "path": 3, "run": 0}, "path=3"),
        ({"type": "keep", "id": 1, "spec": {}, "run": 0, "name": "../x.zarr"}, "name="),
        ({"type": "keep", "id": 1, "spec": {}, "run": 0, "name": "x"}, "name="),
        ({"type": "keep", "id": 1, "spec": {}, "run": 0, "name": ".x.zarr"}, "name="),
        ({"type": "keep", "id": 1, "spec": {}, "run": 0, "name": "a\x00.zarr"}, "name="),
        (None, "request="),
    ],
)
def test_requests_that_cannot_be_are_refused_at_once(client: Client, request_: Any, word: str) -> None:
    with client.page() as page:
        status, sentence = client.told("POST", "/api/say", {"page": page.name, "request": request_})
    assert (status, word in sentence) == (422, True), sentence


def test_a_page_must_listen_before_it_asks(client: Client) -> None:
    stop = {"type": "stop", "id": 1}
    assert client.told("POST", "/api/say", {"page": "page-unknown", "request": stop})[0] == 409
    for name in ("", "short", "a/../bcdefgh", "x" * 65, None, 3):
        assert client.told("POST", "/api/say", {"page": name, "request": stop})[0] == 422
    for name in ("", "short", "%00%00%00%00%00%00%00%00", "x" * 65):
        assert client.told("GET", f"/api/hear?page={name}")[0] == 422


def test_a_body_that_does_not_come_whole_is_let_go(client: Client) -> None:
    head = (
        f"POST /api/describe HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nX-Tegum-Token: {client.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    client.raw(head.encode() + b'{"spec":')
    for odd in (b"", b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000, head.encode() * 2):
        client.raw(odd)
    assert client.ask("GET", "/api/folder")[0] == 200


ATOMS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    400,
    10**6,
    2**53,
    10**18,
    0.5,
    -0.5,
    1e-9,
    1e300,
    "",
    "x",
    "none",
    "\ud800",
]
ATOMS += ["../../etc/passwd", "A" * 300, "independent", "exact", "flow", "mine.zarr", "AAAAAAAA8D8=", [], {}, [[0.5]]]


def anything(chance: random.Random, depth: int = 3) -> Any:
    """A random value of JSON."""
    kind = chance.random()
    if depth == 0 or kind < 0.6:
        return chance.choice(ATOMS)
    if kind < 0.8:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    keys = ["spec", "features", "hidden", "training", "kind", "steps", "id", "density", "count", "page", "start"]
    return {chance.choice(keys): anything(chance, depth - 1) for _ in range(chance.randrange(4))}


def mutated(value: Any, chance: random.Random) -> Any:
    """A value of JSON with about one part replaced."""
    match value:
        case dict() if value and chance.random() < 0.9:
            key = chance.choice(list(value))
            if chance.random() < 0.1:
                return {name: each for name, each in value.items() if name != key}
            return {**value, key: mutated(value[key], chance)}
        case list() if value and chance.random() < 0.9:
            at = chance.randrange(len(value))
            return [*value[:at], mutated(value[at], chance), *value[at + 1 :]]
        case _:
            return anything(chance)


def requests() -> list[dict[str, Any]]:
    """A right request of each kind."""
    of: dict[str, Any] = {"spec": PENTAGON, "changes": []}
    state: dict[str, Any] = {"step": 3, "weights": [0.1] * 10, "bias": [0.0] * 5}
    return [
        {"type": "train", "run": 1, **of},
        {"type": "taken"},
        {"type": "ask", **of, **state},
        {"type": "ensemble", **of, "first": 0, "every": 1, "runs": 3},
        {"type": "stop"},
        {"type": "events", **of, "run": 1},
        {"type": "events", "path": "run.zarr", "run": 1},
        {"type": "keep", **of, "run": 1, "name": "mine.zarr"},
    ]


def test_a_thousand_random_requests_leave_it_answering(client: Client) -> None:
    chance = random.Random(0)
    right = requests()
    paths = [
        "/api/say",
        "/api/describe",
        "/api/folder",
        "/api/film?path=",
        "/result?path=",
        "/api/hear?page=",
        "/",
        "/%",
    ]
    statuses: dict[int, int] = {}
    with client.page() as page:
        sentences: list[str] = []

        def read() -> None:
            try:
                while True:
                    sentences.append(page.hear().get("sentence", ""))
            except (EOFError, ValueError, OSError, AttributeError):
                pass

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(1000):
            kind = number % 4
            if kind == 0:
                request = mutated({**chance.choice(right), "id": number}, chance)
                status, _, body = client.ask("POST", "/api/say", {"page": page.name, "request": request})
            elif kind == 1:
                status, _, body = client.ask(
                    "POST", "/api/describe", mutated({"spec": PENTAGON, "changes": []}, chance)
                )
            elif kind == 2:
                status, _, body = client.ask("POST", "/api/say", anything(chance))
            else:
                whole = json.dumps({"page": page.name, "request": {**chance.choice(right), "id": number}}).encode()
                cut = bytearray(whole[: chance.randrange(len(whole))])
                for _ in range(chance.randrange(5)):
                    cut[chance.randrange(len(cut) or 1) : 1] = bytes([chance.randrange(256)])
                path = chance.choice(paths[:2])
                status, _, body = client.ask("POST", path, bytes(cut))
            statuses[status] = statuses.get(status, 0) + 1
            assert status < 500, (number, body)
            assert b"should not occur" not in body, (number, body)
        for path in paths:
            for _ in range(5):
                odd = "".join(chance.choice("ab./%~\\?&=0") for _ in range(chance.randrange(1, 30)))
                client.ask("GET", path.removesuffix("/%") + odd)
    reader.join(60)
    assert not [each for each in sentences if "should not occur" in each]
    # Of each sort some: done, no JSON, and what no Spec can be.
    assert {202, 400, 422} <= statuses.keys(), statuses
    assert client.ask("GET", "/api/folder")[0] == 200


def test_an_address_of_many_fields_is_none_of_the_lab(client: Client) -> None:
    status, sentence = client.told("GET", "/?" + "&".join(f"a{number}=1" for number in range(500)))
    assert status == 403
    assert "token" in sentence


def test_a_seed_that_no_page_can_hold_is_refused(client: Client) -> None:
    """JavaScript would round it, and another run be trained."""
    status, sentence = client.told("POST", "/api/describe", {"spec": PENTAGON | {"base_seed": 2**60 + 1}})
    assert (status, sentence) == (422, f"Spec(base_seed={2**60 + 1}): a page holds whole numbers below 2**53 = {2**53}")
