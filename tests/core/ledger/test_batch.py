"""Batches: the header that seals one."""

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
)
from tests.core.ledger.messagepack import pack

HASHES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**63 - 1)
HEADERS = st.builds(
    Header, st.just(1), st.binary(min_size=16, max_size=16), NUMBERS, NUMBERS, HASHES, HASHES, NUMBERS, NUMBERS
)


@given(HEADERS)
def test_header_bytes_are_what_another_encoder_makes(header: Header) -> None:
    """A header is one MessagePack array of its eight fields in their order, and its hash is the SHA-256 of that."""
    raw = encode_header(header)
    order = ["format", "writer", "epoch", "sequence", "previous", "root", "entry_count", "time_ns"]

    assert raw == pack([getattr(header, name) for name in order])
    assert header_hash(raw) == sha256(raw).digest()
    assert decode_header(raw) == header


FIELDS: list[Any] = [1, b"w" * 16, 1, 1, GENESIS, sha256(b"root").digest(), 1, 1]
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
