"""Paths that lead to nothing that can be read: one sentence each, and nothing that waits for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tegum as tg
from tegum.data.matrices import open_matrix
from tegum.data.store import verify

READERS: dict[str, Callable[[str], Any]] = {
    "load": tg.load,
    "verify": verify,
    "from_toml": tg.Spec.from_toml,
    "analyse": lambda path: open_matrix(path, call=f"analyse {Path(path)}"),
    "Empirical": lambda path: tg.Empirical(path=path),
}
PLACES = {
    "loop": "too many levels of symbolic links",
    "dangling": "this symbolic link leads nowhere",
    "pipe": "this is a pipe",
    "socket": "this is a socket",
    "/dev/zero": "this is a device",
    "x" * 300: "the system refuses this name (file name too long)",
    "a\0b": "the system refuses this name (embedded null byte)",
    "s3://bucket/w.npy": "an address (s3://) is not one: download it to this machine first",
    "https://host/run.zarr": "an address (https://) is not one: download it to this machine first",
    "a\nb": "",
    b"\xff\xfe.npy".decode("utf-8", "surrogateescape"): "",
    "file/inside": "",
    "": "",
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("pool")
    Path("pool").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
    Path("file").write_text("")


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(place[:20]))
def test_one_sentence_and_no_waiting(reader: str, place: str):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        READERS[reader](place)
    assert PLACES[place] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Errno" not in str(caught.value)
    assert "PosixPath" not in str(caught.value)


def test_activations_beside_a_toml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "specs").mkdir()
    np.save(tmp_path / "specs" / "rows.npy", np.eye(3))
    text = 'hidden = 2\n[[features]]\nkind = "empirical"\npath = "rows.npy"\n'
    (tmp_path / "specs" / "spec.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    spec = tg.Spec.from_toml("specs/spec.toml")
    (features,) = spec.features.sets
    assert features.digest == tg.Empirical(np.eye(3)).digest
    assert features.path == str(tmp_path / "specs" / "rows.npy")
    # Where the numbers lie is no part of what the Spec is.
    assert spec.hash == tg.Spec(features=[tg.Empirical(np.eye(3))], hidden=2).hash
    (tmp_path / "specs" / "spec.toml").write_text(text.replace("rows.npy", "row.npy"))
    with pytest.raises(
        ValueError, match=r"^specs/spec.toml: Spec\(features.0.path='.*/specs/row.npy'\): .* there is none$"
    ):
        tg.Spec.from_toml("specs/spec.toml")
    np.save(tmp_path / "row.npy", 2 * np.eye(3))
    changed = tg.Spec.from_toml("specs/spec.toml", ["features.path=row.npy"])  # of a command line: from here
    assert changed.features.sets[0].digest == tg.Empirical(2 * np.eye(3)).digest
