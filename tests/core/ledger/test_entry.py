"""The bytes of one event: the form of the books, which must never drift."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ledger.entry import (
    ENDINGS,
    KINDS,
    Entry,
    Flag,
    MalformedEntryError,
    available_account,
    decode_entry,
    encode_entry,
    entry_id,
    held_account,
    payable_account,
)
from tests.core.ledger.messagepack import pack

FIELDS = [
    "format",
    "kind",
    "nonce",
    "time_ns",
    "writer",
    "epoch",
    "account",
    "account_sequence",
    "available_after",
    "held_after",
    "inference",
    "ends",
    "part",
    "try_",
    "key_id",
    "model",
    "sheet_version",
    "prompt_tokens",
    "completion_tokens",
    "flags",
    "upstream",
    "node",
    "upstream_reference",
    "overrun_ngonka",
    "overrun_list_picousd",
    "reference",
    "actor",
    "reason",
    "tag",
    "postings",
]
"""The order of the form, spelt out once more."""

BOUNDARIES = sorted(
    {sign * (1 << bits) + step for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62) for sign in (1, -1) for step in (-1, 0, 1)}
    | {2**63 - 1, -(2**63)}
)
INTEGERS = st.sampled_from(BOUNDARIES) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=40) | st.sampled_from([c * n for c in "aé€" for n in (31, 32, 255, 256, 65_535, 65_536)])
BYTES = st.binary(max_size=40) | st.sampled_from([bytes(n) for n in (31, 32, 255, 256, 65_535, 65_536)])
IDS = st.binary(min_size=16, max_size=16)
POSTINGS = st.lists(st.tuples(st.sampled_from(["USD", "NGONKA"]), TEXTS, INTEGERS), max_size=18).map(
    lambda postings: tuple(sorted(postings))
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return these values, or none."""
    return st.none() | values


ENTRIES = st.builds(
    Entry,
    format=st.just(1),
    kind=st.sampled_from(sorted(KINDS)),
    nonce=IDS,
    time_ns=INTEGERS,
    writer=IDS,
    epoch=INTEGERS,
    flags=st.integers(0, 255) | INTEGERS,
    postings=POSTINGS,
    **{name: optional(TEXTS) for name in ("account", "inference", "key_id", "model", "upstream", "node")},
    **{name: optional(TEXTS) for name in ("upstream_reference", "reference", "actor", "reason")},
    **{name: optional(INTEGERS) for name in ("account_sequence", "available_after", "held_after", "part", "try_")},
    **{name: optional(INTEGERS) for name in ("sheet_version", "prompt_tokens", "completion_tokens")},
    **{name: optional(INTEGERS) for name in ("overrun_ngonka", "overrun_list_picousd")},
    **{name: optional(BYTES) for name in ("ends", "tag")},
)

PLAIN = Entry(1, "note", b"n" * 16, 1, b"w" * 16, 1)


def fields_of(entry: Entry) -> list[Any]:
    """Return the fields of an entry in the order of the form, without asking its own encoder."""
    return [getattr(entry, name) for name in FIELDS]


def test_fields_are_in_the_order_of_the_form() -> None:
    """The record has the thirty fields of the form, in its order."""
    assert list(Entry.__struct_fields__) == FIELDS


@given(ENTRIES)
def test_bytes_are_what_another_encoder_makes(entry: Entry) -> None:
    """An entry is one MessagePack array of its fields in their order, every item in its shortest form."""
    assert encode_entry(entry) == pack(fields_of(entry))


@given(ENTRIES)
def test_entry_survives_its_bytes(entry: Entry) -> None:
    """An entry is read back as it was written, and its id is the SHA-256 of its bytes."""
    raw = encode_entry(entry)

    assert decode_entry(raw) == entry
    assert entry_id(raw) == sha256(raw).digest()


@pytest.mark.parametrize("number", BOUNDARIES)
def test_integers_take_their_shortest_form(number: int) -> None:
    """At every size boundary, on both sides of zero, an amount has the shortest of its forms."""
    entry = msgspec.structs.replace(PLAIN, postings=(("USD", "world", number),))

    assert encode_entry(entry) == pack(fields_of(entry))
    assert decode_entry(encode_entry(entry)).postings[0][2] == number


def spoil(**changes: Any) -> bytes:
    """Return the bytes of an entry with some fields as no entry may have them."""
    return pack([changes.get(name, value) for name, value in zip(FIELDS, fields_of(PLAIN), strict=True)])


RAW = encode_entry(PLAIN)
BAD = {
    "nothing": b"",
    "cut short": RAW[:-1],
    "a byte too many": RAW + b"\xc0",
    "two entries": RAW + RAW,
    "a field too few": pack(fields_of(PLAIN)[:-1]),
    "a field too many": pack([*fields_of(PLAIN), None]),
    "endlessly deep": b"\xdc\x00\x1f" + RAW[3:] + b"\x91" * 100_000,
    "a map": b"\x80",
    "a longer array form": b"\xdd\x00\x00\x00\x1e" + RAW[3:],
    "a longer integer form": RAW.replace(b"\xdc\x00\x1e\x01", b"\xdc\x00\x1e\xcc\x01"),
    "a signed form of a positive integer": RAW.replace(b"\xdc\x00\x1e\x01", b"\xdc\x00\x1e\xd0\x01"),
    "a longer text form": RAW.replace(b"\xa4note", b"\xd9\x04note"),
    "a longer bytes form": RAW.replace(b"\xc4\x10" + b"n" * 16, b"\xc5\x00\x10" + b"n" * 16),
    "text for bytes": RAW.replace(b"\xc4\x10" + b"n" * 16, b"\xb0" + b"n" * 16),
    "bytes that are no text": RAW.replace(b"note", b"no\xff\xfe"),
    "a float": RAW.replace(b"\xdc\x00\x1e\x01", b"\xdc\x00\x1e\xcb" + b"\x3f\xf0" + bytes(6)),
    "another format": spoil(format=2),
    "an unknown kind": spoil(kind="gift"),
    "a short nonce": spoil(nonce=b"n" * 15),
    "a long writer": spoil(writer=b"w" * 17),
    "no flags": spoil(flags=None),
    "no time": spoil(time_ns=None),
    "a posting of four": spoil(postings=[["USD", "world", 1, 2]]),
    "a posting without a book": spoil(postings=[[None, "world", 1]]),
    "true for a number": RAW.replace(b"\xdc\x00\x1e\x01", b"\xdc\x00\x1e\xc3"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_we_would_not_write_is_refused(name: str) -> None:
    """Bytes that are no entry, or one in any but its one form, are malformed."""
    assert BAD[name] != RAW
    with pytest.raises(MalformedEntryError):
        decode_entry(BAD[name])


@given(ENTRIES, st.data())
def test_no_changed_byte_gives_the_same_entry(entry: Entry, data: st.DataObject) -> None:
    """A changed byte is refused, or gives another entry with another id: two forms of one entry do not exist."""
    raw = encode_entry(entry)
    place = data.draw(st.integers(0, min(len(raw) - 1, 400)))
    changed = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]
    try:
        other = decode_entry(changed)
    except MalformedEntryError:
        return

    assert other != entry
    assert encode_entry(other) == changed


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(garbage: bytes) -> None:
    """No bytes raise another exception."""
    try:
        decode_entry(garbage)
    except MalformedEntryError:
        return


def test_words_of_the_form() -> None:
    """Kinds, endings, bits and names of ledger accounts are those of the form."""
    assert {"deposit", "correction", "hold", "attempt", "settle", "void", "expire", "sheet", "note"} == KINDS
    assert {"settle", "void", "expire"} == ENDINGS
    assert [flag.name for flag in Flag] == (
        [
            "ESTIMATED",
            "OVERRUN",
            "REPLAYED",
            "DRAINED",
            "CUT",
            "USAGE_MISSING",
            "USAGE_IMPLAUSIBLE",
            "CHARGED_AFTER_CRASH",
        ]
    )
    assert [flag.value for flag in Flag] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert (available_account("x"), held_account("x")) == ("account/x/available", "account/x/held")
    assert payable_account("y") == "upstream/y/payable"
