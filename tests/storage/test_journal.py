"""What all journals share: the seal of a batch, and the places that an entry takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import Header, decode_header
from tallygate.core.ledger.entry import Entry
from tallygate.core.ledger.merkle import leaf_hash, merkle_root
from tallygate.core.ledger.records import Written
from tallygate.storage.journal import places_of, seal, slot_of

WRITER, HEAD = b"w" * 16, b"h" * 32


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=9), st.integers(0, 2**62))
def test_seal_is_over_the_bytes_in_their_order(raws: list[bytes], time_ns: int) -> None:
    """A header has the root over the entries as they are written, their number, and what it follows."""
    entries = [Written(Entry(1, e.NOTE, b"", 0, b"", 1), raw, b"") for raw in raws]
    header = decode_header(seal(entries, WRITER, 3, 7, HEAD, time_ns))

    assert header == Header(1, WRITER, 3, 7, HEAD, merkle_root([leaf_hash(raw) for raw in raws]), len(raws), time_ns)


def test_there_is_no_seal_over_nothing() -> None:
    """An empty batch cannot be sealed."""
    with pytest.raises(InvariantBrokenError, match="at least one"):
        seal([], WRITER, 1, 1, HEAD, 0)


def make(kind: str, **fields: object) -> Entry:
    """Return an entry of an inference."""
    return Entry(1, kind, b"", 0, b"", 1, **({"inference": "i", "part": 2, "try_": 5} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "slot"),
    [
        (make(e.HOLD), "hold"),
        (make(e.SETTLE), "end"),
        (make(e.VOID), "end"),
        (make(e.EXPIRE), "end"),
        (make(e.ATTEMPT), "2.5+"),
        (make(e.ATTEMPT, prompt_tokens=0, completion_tokens=0), "2.5-"),
        (make(e.NOTE, inference=None), None),
    ],
)
def test_slots_make_a_second_ending_impossible(entry: Entry, slot: str | None) -> None:
    """All endings share one slot, a hold has its own, and each sending one for its beginning and one for its end."""
    assert slot_of(entry) == slot


def test_places_are_what_is_there_once() -> None:
    """An entry takes a slot in its inference, a number in its account, and its reference in its account."""
    entry = make(e.HOLD, account="a", account_sequence=4, reference="r")

    assert places_of(entry) == [("slot", "i", "hold"), ("sequence", "a", 4), ("reference", "a", "r")]
    assert places_of(Entry(1, e.SHEET, b"", 0, b"", 1)) == []
