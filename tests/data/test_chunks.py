"""zarr arrays from elsewhere: every chunk is there and as long as it should be, or the array is refused."""

from __future__ import annotations

import gzip
import json
import os
import resource
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from tegum.core.limits import VARIABLE
from tegum.data.matrices import open_matrix

W = np.arange(1, 1201, dtype=np.float32).reshape(40, 30)
HOLED = W.copy()
HOLED[10:20, 15:] = 0
"""With one chunk of zeros alone, which zarr does not write."""
BOMB = bytes(2**27)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(values: np.ndarray = W, **options: Any) -> Path:
    zarr.create_array("w.zarr", data=values, chunks=(10, 15), **options)
    return Path("w.zarr")


def refusal(path: str = "w.zarr") -> str:
    with pytest.raises(ValueError, match=r"^analyse\(path='w\.zarr'\): path must lead to ") as caught:
        open_matrix(path, call="analyse")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": codec, "shards": shards}
        for codec in (None, ZstdCodec(), ZstdCodec(checksum=True), BloscCodec(), GzipCodec())
        for shards in (None, (20, 30))
    ]
    + [
        {"compressors": [ZstdCodec(), Crc32cCodec()]},
        {"compressors": [Crc32cCodec(), ZstdCodec()]},
        {"filters": [TransposeCodec(order=(1, 0))]},
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    ]
    + [
        {"zarr_format": 2, "compressors": codec, "order": order}
        for codec, order in (
            (None, "C"), (numcodecs.Zstd(), "F"), (numcodecs.Blosc(), "C"), (numcodecs.LZ4(), "C"),
            (numcodecs.GZip(), "F"), (numcodecs.Zlib(), "C"), (numcodecs.BZ2(), "C"), (numcodecs.LZMA(), "C"),
        )
    ]
    + [{"zarr_format": 2, "filters": [numcodecs.Delta("f4")]}, {"zarr_format": 2, "filters": [numcodecs.Shuffle(4)]}],
    # Not by str: it depends on the order of a set.
    ids=lambda options: ", ".join(f"{key} {type(value).__name__}" for key, value in options.items()),
)  # fmt: skip
def test_what_is_whole_is_read(options: dict[str, Any]):
    assert_array_equal(open_matrix(made(**options), call="analyse"), W)


@pytest.mark.parametrize("shards", [None, (20, 30)])
@pytest.mark.parametrize("cut", [(40, 30), (37, 29), (21, 16)])
def test_a_chunk_of_zeros_alone_cannot_be_told_from_a_lost_one(cut: tuple[int, int], shards: Any):
    values = HOLED[: cut[0], : cut[1]]
    path = made(values, shards=shards)
    sentence = refusal()
    total = -(-cut[0] // 10) * -(-cut[1] // 15)
    assert f"1 of its {total} chunks is missing, and zarr would read 0.0 there; if that is what they held" in sentence
    assert "write_empty_chunks=True" in sentence
    made(values, shards=shards, overwrite=True, config={"write_empty_chunks": True})
    assert_array_equal(open_matrix(path, call="analyse"), values)


@pytest.mark.parametrize("version", [2, 3])
def test_lost_chunks_are_counted(version: Any):
    path = made(zarr_format=version)
    for key in ("0.1", "3.0") if version == 2 else ("c/0/1", "c/3/0"):
        (path / key).unlink()
    assert "2 of its 8 chunks are missing" in refusal()


def test_a_lost_shard_is_as_many_chunks_as_it_has_of_the_array():
    path = made(W[:37, :29], shards=(20, 30))
    (path / "c" / "1" / "0").unlink()
    assert "4 of its 8 chunks are missing" in refusal()


@pytest.mark.parametrize(
    ("codec", "packed"),
    [
        (ZstdCodec(), lambda: numcodecs.Zstd().encode(BOMB)),
        (BloscCodec(), lambda: numcodecs.Blosc().encode(BOMB)),
        (GzipCodec(), lambda: gzip.compress(BOMB, 6)),
        (numcodecs.Zlib(), lambda: numcodecs.Zlib().encode(BOMB)),
        (numcodecs.LZ4(), lambda: numcodecs.LZ4().encode(BOMB)),
        (numcodecs.BZ2(), lambda: numcodecs.BZ2().encode(BOMB[: 2**24])),
        (numcodecs.LZMA(), lambda: numcodecs.LZMA().encode(BOMB[: 2**24])),
    ],
    ids=lambda value: getattr(value, "codec_id", type(value).__name__),
)
def test_a_chunk_that_unpacks_to_too_much_is_not_unpacked(codec: Any, packed: Any):
    old = isinstance(codec, numcodecs.abc.Codec)
    path = made(compressors=codec, zarr_format=2 if old else 3)
    key = "0.1" if old else "c/0/1"
    (path / key).write_bytes(packed())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"its chunk {key!r} unpacks to more than the 600 bytes of a chunk" in refusal()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_chunk_in_a_shard_that_unpacks_to_too_much():
    path = made(shards=(20, 30)) / "c" / "0" / "0"
    content, packed = path.read_bytes(), numcodecs.Zstd().encode(BOMB)
    index = np.frombuffer(content[-68:-4], "<u8").reshape(4, 2).copy()
    index[:, 0] += len(packed)
    index[0] = 0, len(packed)
    raw = index.tobytes()
    path.write_bytes(packed + content[:-68] + raw + struct.pack("<I", google_crc32c.value(raw)))
    assert "its chunk 'c/0/0' unpacks to more than the 600 bytes" in refusal()


@pytest.mark.parametrize(
    ("shards", "change", "rule"),
    [
        (None, lambda content: content[:-5], "its chunk 'c/1/0' cannot be decoded"),
        (None, lambda _: b"", "its chunk 'c/1/0' cannot be decoded"),
        (None, lambda content: b"\0" * len(content), "its chunk 'c/1/0' cannot be decoded (this is not a zstd frame)"),
        (None, lambda _: numcodecs.Zstd().encode(bytes(100)), "its chunk 'c/1/0' cannot be decoded"),
        ((20, 30), lambda content: content[:-5], "its shard 'c/1/0' is truncated"),
        ((20, 30), lambda content: content[-40:], "its shard 'c/1/0' is truncated"),
        ((20, 30), lambda content: content[:-30] + b"\xff" + content[-29:], "its shard 'c/1/0' is truncated"),
    ],
)
def test_a_damaged_chunk_is_named(shards: Any, change: Any, rule: str):
    path = made(shards=shards) / "c" / "1" / "0"
    path.write_bytes(change(path.read_bytes()))
    assert rule in refusal()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"shape": [10**9, 10**6]}, "fits into memory: one of shape (1000000000, 1000000) would take 4.0 PB of memory"),
        ({"shape": [10**25, 30]}, "to a "),
        ({"shape": [-1, 30]}, "readable zarr array or group: expected all values to be non-negative"),
        ({"shape": [40]}, "readable zarr array or group"),
        ({"shape": [41, 30]}, "2 of its 10 chunks are missing"),
        ({"shape": [0, 30]}, "must lead to a matrix of real numbers, but this is float32 of shape (0, 30)"),
        ({"data_type": "float64"}, "its chunk 'c/0/0' cannot be decoded"),
        ({"data_type": "complex64", "fill_value": [0, 0]}, "matrix of real numbers, but this is complex64"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**7, 10**7]}}}, "800 TB of memory"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 15]}}},
            "readable zarr array or group",
        ),
        ({"codecs": []}, "readable zarr array or group"),
        ({"codecs": [{"name": "unheard-of"}]}, "readable zarr array or group: unknown codec"),
    ],
)
def test_metadata_that_lie(changes: dict[str, Any], rule: str):
    file = made() / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    assert rule in refusal()


def test_codecs_of_which_it_cannot_be_told_what_they_take_are_refused():
    made(compressors=[ZstdCodec(), GzipCodec()])
    assert "its chunks are compressed more than once (zstd, gzip), which is not supported" in refusal()


def test_a_pipe_in_place_of_a_chunk_is_not_waited_for():
    path = made() / "c" / "0" / "0"
    path.unlink()
    os.mkfifo(path)
    assert "1 of its 8 chunks is missing" in refusal()


def test_a_matrix_is_compared_with_the_memory(monkeypatch: pytest.MonkeyPatch):
    made()
    monkeypatch.setenv(VARIABLE, "4kB")
    assert "one of shape (40, 30) would take 4.8 kB of memory, and TEGUM_MEMORY_LIMIT allows 4.0 kB" in refusal()
    monkeypatch.setenv(VARIABLE, "10kB")
    assert_array_equal(open_matrix("w.zarr", call="analyse"), W)
