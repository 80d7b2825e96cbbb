"""Packs: sealed and opened again, refused if anything in them has changed, and made only where bits are the same."""

from __future__ import annotations

import platform

import pytest

import tegum as tg
from tegum.sweeps.kept import Keeping
from tegum.sweeps.packs import (
    DamagedPackError,
    DifferentWorkerError,
    Identity,
    check_same,
    identity,
    opened,
    pack_name,
    path_of,
    sealed,
)

SPEC = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)
NAME = "0123456789abcdef" * 2
SHARDS = {"loss/c/0/0": b"abc", "3x1/weights/c/0/0/0/0": b"", "result/c/0/0": bytes(range(20))}
MADE = {"seconds": 1.5, "unit": "AVX2", "machine": "here"}


def test_a_sealed_pack_is_opened_as_it_was():
    assert opened(sealed(NAME, SHARDS, MADE), NAME) == (SHARDS, MADE)
    assert opened(sealed(NAME, {}, {}), NAME) == ({}, {})


def test_every_changed_byte_is_seen():
    content = sealed(NAME, SHARDS, MADE)
    for at in range(len(content)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] ^= change
            with pytest.raises(DamagedPackError, match=rf"^the pack {NAME} is damaged: its checksum does not fit$"):
                opened(bytes(changed), NAME)


def test_every_truncation_and_addition_is_seen():
    content = sealed(NAME, SHARDS, MADE)
    for length in range(len(content)):
        for part in (
            content[:length],
            content[len(content) - length :],
            content[:length] + bytes(len(content) - length),
        ):
            with pytest.raises(DamagedPackError, match="checksum does not fit"):
                opened(part, NAME)
    with pytest.raises(DamagedPackError):
        opened(content + b"\0", NAME)
    with pytest.raises(DamagedPackError):
        opened(content + content, NAME)


def test_another_pack_in_its_place_is_seen():
    other = "f" * 32
    with pytest.raises(DamagedPackError, match=rf"^the pack {other} is damaged: in its place is the pack {NAME}$"):
        opened(sealed(NAME, SHARDS, MADE), other)


HERE = Identity("code", "measures", "AVX2", {"tegum": "0.1.0", "numpy": "2.0"})


def test_the_same_worker_passes():
    check_same(HERE, HERE, mixed=False)
    check_same(HERE, HERE._replace(versions={}), mixed=False)


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (HERE._replace(code="other", versions={"tegum": "0.1.0", "numpy": "2.1"}),
         "has numpy 2.1, not 2.0, and a sweep has one version throughout: install the same there, or begin another .*"),
        (HERE._replace(code="other"), "has other code of tegum, and a sweep has one version throughout: .*"),
        (HERE._replace(measures="other"),
         "has other code of the measures than the sweep was begun with; install the same there, or begin another .*"),
        (HERE._replace(unit="AVX512"),
         r"computes with AVX512, and this sweep was begun with AVX2, whose bits differ; allow_mixed=True "
         r"\(--allow-mixed\) at the beginning of a sweep waives equality of bits"),
    ],
)  # fmt: skip
def test_another_worker_is_refused_by_its_name(own, sentence):
    with pytest.raises(DifferentWorkerError, match=f"^the worker on {platform.node()} {sentence}$"):
        check_same(HERE, own, mixed=False)


def test_mixed_workers_may_differ_in_their_units_alone():
    check_same(HERE, HERE._replace(unit="AVX512"), mixed=True)
    for own in (HERE._replace(code="other"), HERE._replace(measures="other")):
        with pytest.raises(DifferentWorkerError):
            check_same(HERE, own, mixed=True)


def test_the_identity_is_that_of_this_process():
    keeping = Keeping(["loss"], "sweep")
    found = identity(keeping, "auto", [SPEC])
    assert found == identity(keeping, "kernel", [SPEC])
    assert found.measures == keeping.digest
    assert found.unit == tg.train(SPEC.replace(seeds=1), progress=False).attrs["vector_unit"]
    assert found.versions["python"] == platform.python_version()


def test_a_name_depends_on_all_that_bits_depend_on():
    base = {"specs": [SPEC], "runs": (0, 4), "where": ("", 0, 0), "engine": "auto", "identity": HERE}
    others = [
        base | {"specs": [SPEC, SPEC]}, base | {"specs": [SPEC.override({"training.rate": 0.5})]},
        base | {"runs": (0, 3)}, base | {"where": ("", 1, 0)}, base | {"where": ("6x2", 0, 0)},
        base | {"runs": (1, 4)}, base | {"engine": "kernel"}, base | {"identity": HERE._replace(code="x")},
        base | {"identity": HERE._replace(measures="x")}, base | {"identity": HERE._replace(unit="x")},
        base | {"specs": [SPEC.override({"base_seed": 1})]},
    ]  # fmt: skip
    names = [pack_name(**each) for each in (base, *others)]
    assert len(set(names)) == len(names)
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in names)
    # The versions are in the message alone: what matters of them is in the digest of the code.
    assert pack_name(**base | {"identity": HERE._replace(versions={})}) == names[0]
    assert pack_name(**base | {"specs": [tg.Spec.from_json(SPEC.to_json())]}) == names[0]
    assert path_of(names[0]) == f"packs/{names[0][:2]}/{names[0]}"
