"""Batches: the Merkle tree of RFC 6962 and the header that seals it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ledger.batch import (
    GENESIS,
    Header,
    MalformedHeaderError,
    decode_header,
    encode_header,
    header_hash,
    leaf_hash,
    merkle_root,
)
from tests.core.ledger.messagepack import pack

LEAVES = [leaf_hash(bytes([number])) for number in range(70)]
HASHES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**63 - 1)
HEADERS = st.builds(
    Header, st.just(1), st.binary(min_size=16, max_size=16), NUMBERS, NUMBERS, HASHES, HASHES, NUMBERS, NUMBERS
)


def define_root(entries: list[bytes]) -> bytes:
    """Return MTH of RFC 6962, section 2.1, word by word."""
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return sha256(b"\x01" + define_root(entries[:split]) + define_root(entries[split:])).digest()


@pytest.mark.parametrize("count", range(1, 71))
def test_root_is_that_of_rfc_6962(count: int) -> None:
    """For every number of leaves, folding gives the root that the RFC defines by splitting."""
    entries = [bytes([number]) for number in range(count)]

    assert merkle_root([leaf_hash(entry) for entry in entries]) == define_root(entries)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=70))
def test_root_of_any_entries_is_that_of_rfc_6962(entries: list[bytes]) -> None:
    """Whatever the entries are, empty or equal, the root is the RFC's."""
    assert merkle_root([leaf_hash(entry) for entry in entries]) == define_root(entries)


@pytest.mark.parametrize(
    ("entries", "root"),
    [
        ([""], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (["", "00"], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (["", "00", "10"], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"],
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ],
)
def test_roots_of_certificate_transparency(entries: list[str], root: str) -> None:
    """The roots are those that the reference programs of Certificate Transparency test themselves with."""
    assert merkle_root([leaf_hash(bytes.fromhex(entry)) for entry in entries]).hex() == root


@given(st.lists(HASHES, min_size=1, max_size=20), st.data())
def test_root_names_every_leaf_and_its_place(leaves: list[bytes], data: st.DataObject) -> None:
    """Another leaf, one leaf more or less, or another order, is another root."""
    root = merkle_root(leaves)
    place = data.draw(st.integers(0, len(leaves) - 1))
    turned = data.draw(st.permutations(leaves))

    assert merkle_root([*leaves[:place], bytes(32), *leaves[place + 1 :]]) != root or leaves[place] == bytes(32)
    assert merkle_root([*leaves, leaves[-1]]) != root
    assert (merkle_root(turned) == root) == (turned == leaves)


def test_there_is_no_empty_batch() -> None:
    """A root over nothing does not exist."""
    with pytest.raises(ValueError, match="at least one"):
        merkle_root([])


def test_leaf_and_node_cannot_be_mistaken_for_each_other() -> None:
    """An entry that looks like an inner node has another hash than that node."""
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != merkle_root(LEAVES[:2])


@given(HEADERS)
def test_header_bytes_are_what_another_encoder_makes(header: Header) -> None:
    """A header is one MessagePack array of its eight fields in their order, and its hash is the SHA-256 of that."""
    raw = encode_header(header)
    order = ["format", "writer", "epoch", "sequence", "previous", "root", "entry_count", "time_ns"]

    assert raw == pack([getattr(header, name) for name in order])
    assert header_hash(raw) == sha256(raw).digest()
    assert decode_header(raw) == header


FIELDS: list[Any] = [1, b"w" * 16, 1, 1, GENESIS, LEAVES[0], 1, 1]
RAW = pack(FIELDS)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        RAW[:-1],
        RAW + b"\xc0",
        pack(FIELDS[:-1]),
        pack([*FIELDS, None]),
        pack([2, *FIELDS[1:]]),
        pack(["1", *FIELDS[1:]]),
        pack([*FIELDS[:-1], None]),
        b"\xdc\x00\x08" + RAW[1:],
        b"\x98\xcc\x01" + RAW[2:],
        b"\x99" + RAW[1:] + b"\x91" * 100_000,
    ],
)
def test_header_that_we_would_not_write_is_refused(raw: bytes) -> None:
    """Bytes that are no header, or one in any but its one form, are malformed."""
    with pytest.raises(MalformedHeaderError):
        decode_header(raw)


@given(st.binary(max_size=120))
def test_garbage_is_malformed_and_nothing_else(garbage: bytes) -> None:
    """No bytes raise another exception."""
    try:
        decode_header(garbage)
    except MalformedHeaderError:
        return
