"""Read a zarr array from elsewhere without trusting it: a missing chunk is an error, not the fill value.

zarr reads a missing chunk as the fill value, since it does not write chunks that hold nothing else; a lost chunk looks
the same. And a chunk of a few kilobytes may unpack to gigabytes before zarr notices that it is too long. Here each
chunk's file, and each chunk inside a shard, is inspected before zarr decodes it.

Importing this imports zarr.
"""

from __future__ import annotations

import bz2
import itertools
import lzma
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ShardingCodec
from zarr.core.metadata import ArrayV2Metadata

from tegum.core.limits import beyond_memory

_ABSENT = 2**64 - 1
"""Offset and length of a chunk that is missing in a shard."""

_MOST_TEXT = 2**24
"""The most bytes of a chunk of text, whose length is not declared."""

_MOST_FILES = 10**6
"""The most chunks, or shards, of an array: inspecting this many takes a minute."""

_FILTERED = 8
"""A filter may store numbers in up to this many times their bytes in memory (int8 as float64)."""


class DamagedChunkError(ValueError):
    """Something is wrong with the chunks of an array; the message says what."""


def read(array: zarr.Array[Any]) -> np.ndarray:
    """All numbers of an array.

    Raises:
        DamagedChunkError: chunks are missing, cannot be decoded, or are not as long as they should be; or the array
            does not fit into memory.

    """
    if too_much := beyond_memory(array.nbytes + 2 * _largest(array)):
        raise DamagedChunkError(f"an array of shape {array.shape} {too_much}")
    check(array)
    numbers = np.empty(array.shape, array.dtype)
    grid = array.shards or array.chunks
    for coordinates, key in _keys(array):
        # One by one, so that the message can name the chunk.
        place = tuple(slice(at * length, (at + 1) * length) for at, length in zip(coordinates, grid, strict=True))
        try:
            numbers[place] = array[place]
        except MemoryError:
            raise
        except Exception as error:  # zarr and its codecs raise all kinds of errors at a damaged chunk
            raise DamagedChunkError(f"its chunk {key!r} cannot be decoded ({_said(error)})") from None
    return numbers


def check(array: zarr.Array[Any], *, may_miss: bool = False) -> int:
    """Inspect every chunk of an array in a folder, without decoding any.

    Returns:
        The number of chunks that are missing; 0 unless `may_miss`.

    Raises:
        DamagedChunkError: chunks are missing, or unpack to more bytes than they may.

    """
    root = Path(str(array.store_path).removeprefix("file://"))
    if too_much := beyond_memory(2 * _largest(array)):
        raise DamagedChunkError(f"one of its chunks, of shape {array.shards or array.chunks}, {too_much}")
    grid = array.shards or array.chunks
    if (files := math.prod(-(-length // size) for length, size in zip(array.shape, grid, strict=True))) > _MOST_FILES:
        raise DamagedChunkError(f"it has {files} chunks, but at most {_MOST_FILES} are read")
    missing = total = 0
    for coordinates, key in _keys(array):
        file = root / key
        inside = _inside(array, coordinates)
        total += inside
        if not file.is_file():
            missing += inside
            continue
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DamagedChunkError(f"its chunk {key!r} cannot be read ({_said(error)})") from None
        missing += _look(array, content, coordinates, key)
    if missing and not may_miss:
        raise DamagedChunkError(
            f"{missing} of its {total} chunks {'is' if missing == 1 else 'are'} missing, and zarr would read "
            f"{array.fill_value} there; if that is what they held, write the array with every chunk "
            "(zarr's option write_empty_chunks=True)"
        )
    return missing


def _largest(array: zarr.Array[Any]) -> int:
    return math.prod(array.shards or array.chunks) * array.dtype.itemsize


def _keys(array: zarr.Array[Any]) -> Iterator[tuple[tuple[int, ...], str]]:
    """The place in the grid and the path of each file that the array should have."""
    grid = array.shards or array.chunks
    counts = [range(-(-length // size)) for length, size in zip(array.shape, grid, strict=True)]
    for coordinates in itertools.product(*counts):
        yield coordinates, array.metadata.encode_chunk_key(coordinates)


def _inside(array: zarr.Array[Any], coordinates: tuple[int, ...]) -> int:
    """The number of chunks in one file that hold numbers of the array."""
    return 1 if array.shards is None else math.prod(map(len, _needed(array, coordinates)))


def _needed(array: zarr.Array[Any], coordinates: tuple[int, ...]) -> list[range]:
    """The indices of those chunks in a shard, per dimension; the rest of a shard at an edge is outside the array."""
    assert array.shards is not None
    sizes = zip(array.shape, array.shards, array.chunks, coordinates, strict=True)
    return [range(-(-min(shard, length - at * shard) // chunk)) for length, shard, chunk, at in sizes]


def _look(array: zarr.Array[Any], content: bytes, coordinates: tuple[int, ...], key: str) -> int:
    """Refuse a file that unpacks to more than it may; returns the number of chunks missing in it."""
    metadata = array.metadata
    text = array.dtype.kind in "OT"
    declared = _MOST_TEXT if text else math.prod(array.chunks) * array.dtype.itemsize
    if isinstance(metadata, ArrayV2Metadata):
        codecs = [] if metadata.compressor is None else [metadata.compressor]
        _check_length(content, codecs, declared * (_FILTERED if metadata.filters else 1), key)
        return 0
    shard = next((codec for codec in metadata.codecs if isinstance(codec, ShardingCodec)), None)
    if shard is None:
        _check_length(content, metadata.codecs, declared, key)
        return 0
    if len(metadata.codecs) > 1 or any(isinstance(codec, ShardingCodec) for codec in shard.codecs):
        raise DamagedChunkError("shards that are compressed as a whole, or within shards, are not read")
    index = _shard_index(array, shard, content, key)
    missing = 0
    for inner in itertools.product(*_needed(array, coordinates)):
        offset, length = map(int, index[inner])
        if offset == length == _ABSENT:
            missing += 1
        elif offset + length > len(content):
            raise DamagedChunkError(f"its shard {key!r} is truncated")
        else:
            _check_length(content[offset : offset + length], shard.codecs, declared, key)
    return missing


def _shard_index(array: zarr.Array[Any], shard: Any, content: bytes, key: str) -> np.ndarray:
    """Offset and length of each chunk of a shard; shape (chunks per dimension…, 2)."""
    assert array.shards is not None
    counts = [size // chunk for size, chunk in zip(array.shards, array.chunks, strict=True)]
    names = [_name(codec) for codec in shard.index_codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise DamagedChunkError(f"its shards have an index of an unsupported form ({', '.join(names)})")
    size = 16 * math.prod(counts)
    whole = size + 4 * (len(names) - 1)
    at_start = getattr(shard.index_location, "value", shard.index_location) == "start"
    found = content[:whole] if at_start else content[len(content) - whole :]
    if len(content) < whole:
        raise DamagedChunkError(f"its shard {key!r} is truncated")
    order = ">" if getattr(getattr(shard.index_codecs[0], "endian", None), "value", "little") == "big" else "<"
    return np.frombuffer(found[:size], f"{order}u8").reshape(*counts, 2)


def _check_length(content: bytes, codecs: Sequence[Any], most: int, key: str) -> None:
    """Refuse bytes that unpack to more than `most`, before anything unpacks them."""
    names = [name for name in map(_name, codecs) if name not in _SAME_LENGTH]
    filters = [name for name in names if name not in _UNPACKED]
    if filters == ["transpose"]:
        names, filters = [name for name in names if name != "transpose"], []
    if filters:
        raise DamagedChunkError(
            f"its chunks are written with {filters[0]!r}, for which the memory they take cannot be known in advance; "
            f"{', '.join(sorted(_UNPACKED))} are read"
        )
    if len(names) > 1:
        raise DamagedChunkError(
            f"its chunks are compressed more than once ({', '.join(names)}), which is not supported"
        )
    most += 4 * sum(_name(codec) == "crc32c" for codec in codecs)  # a checksum inside the compressed bytes
    if any(_name(codec) == "crc32c" for codec in codecs[-1:]):
        content = content[:-4]
    try:
        length = _UNPACKED[names[0]](content, most) if names else len(content)
    except Exception as error:
        raise DamagedChunkError(f"its chunk {key!r} cannot be decoded ({_said(error)})") from None
    if length > most:
        raise DamagedChunkError(f"its chunk {key!r} unpacks to more than the {most} bytes of a chunk")


def _name(codec: Any) -> str:
    """The name of a codec in files of either format."""
    name = getattr(codec, "codec_id", None) or codec.to_dict()["name"]
    return str(name).removeprefix("numcodecs.")


def _of_zstd(content: bytes, most: int) -> int:
    """A bound on the unpacked bytes: for each frame what its header says, or else the most its blocks hold (RFC 8878).

    Skippable frames hold no bytes.
    """
    total = at = 0
    while at < len(content) and total <= most:
        magic = int.from_bytes(content[at : at + 4], "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:
            at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
            continue
        if magic != 0xFD2FB528:
            raise ValueError("this is not a zstd frame")
        flags = content[at + 4]
        single, checksum, width = flags >> 5 & 1, flags >> 2 & 1, flags >> 6
        at += 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        bytes_of_size = (single, 2, 4, 8)[width]
        size = int.from_bytes(content[at : at + bytes_of_size], "little") + (256 if width == 1 else 0)
        at += bytes_of_size
        blocks = 0
        while True:
            header = int.from_bytes(content[at : at + 3], "little")
            last, kind, length = header & 1, header >> 1 & 3, header >> 3
            if len(content) < at + 3 or kind == 3:
                raise ValueError("the zstd frame is truncated or damaged")
            blocks += 2**17 if kind == 2 else length
            at += 3 + (1 if kind == 1 else length)
            if last:
                break
        at += 4 * checksum
        # Without a size in the header numcodecs grows its buffer step by step; a block may be shorter than its bound.
        total += size if bytes_of_size else 0 if blocks <= max(_FILTERED * most, 2**27) else blocks
    return total


def _of_blosc(content: bytes, _: int) -> int:
    if len(content) < 16:
        raise ValueError("the blosc header is truncated")
    return int.from_bytes(content[4:8], "little")


def _of_lz4(content: bytes, _: int) -> int:
    if len(content) < 4:
        raise ValueError("the lz4 header is truncated")
    return int.from_bytes(content[:4], "little")


def _stepwise(make: Callable[[], Any]) -> Callable[[bytes, int], int]:
    """For formats whose headers do not say: unpack in pieces, which are thrown away, until the result is too long."""

    def length(content: bytes, most: int) -> int:
        total, piece = 0, 2**20
        while content and total <= most:
            unpacker, rest = make(), content
            while not unpacker.eof and total <= most:
                found = len(unpacker.decompress(rest, piece))
                rest = getattr(unpacker, "unconsumed_tail", b"")
                total += found
                if not found and not rest and (unpacker.eof or getattr(unpacker, "needs_input", True)):
                    break
            if not unpacker.eof and total <= most:
                raise ValueError("it is truncated")
            content = unpacker.unused_data  # several streams may follow one another
        return total

    return length


_UNPACKED: Mapping[str, Callable[[bytes, int], int]] = {
    "zstd": _of_zstd,
    "blosc": _of_blosc,
    "lz4": _of_lz4,
    "gzip": _stepwise(lambda: zlib.decompressobj(31)),
    "zlib": _stepwise(zlib.decompressobj),
    "bz2": _stepwise(bz2.BZ2Decompressor),
    "lzma": _stepwise(lzma.LZMADecompressor),
}
"""Functions from some bytes and `most` to their unpacked length, or to any number above `most` if it exceeds that."""

_SAME_LENGTH = frozenset({"bytes", "crc32c", "shuffle", "vlen-utf8"})
"""Codecs that hardly change the length of the bytes."""


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
