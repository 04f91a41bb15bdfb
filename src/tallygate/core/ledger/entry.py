"""One event of the books, and its bytes.

An entry is immutable. Its bytes are one MessagePack array in a fixed order, with the shortest integer forms, no
maps, no floats, and nil for what does not apply; its id is the SHA-256 of them. The form is the same for every
store, so it never has to be migrated. It holds no text of a caller and no name of a customer.

An inference is written as one `hold` (which names its first sending: part 0, try 0), an `attempt` for every
sending that follows it and for every one that ends before the last, and one ending: `settle`, `void` or `expire`
(which also ends the last sending). An `attempt` with token counts ends its sending; one without begins it. Those that
end what is charged beside the last sending come just before the `settle`, in its batch.
"""

from __future__ import annotations

from enum import IntFlag
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT: Final = 1
ID_BYTES: Final = 16
"""Bytes of a nonce and of a writer's id."""
AMOUNT_MAX: Final = 2**63 - 1
"""Amounts are signed 64-bit in every store."""

DEPOSIT: Final = "deposit"
CORRECTION: Final = "correction"
HOLD: Final = "hold"
ATTEMPT: Final = "attempt"
SETTLE: Final = "settle"
VOID: Final = "void"
EXPIRE: Final = "expire"
SHEET: Final = "sheet"
NOTE: Final = "note"

KINDS: Final = frozenset({DEPOSIT, CORRECTION, HOLD, ATTEMPT, SETTLE, VOID, EXPIRE, SHEET, NOTE})
ENDINGS: Final = frozenset({SETTLE, VOID, EXPIRE})

USD: Final = "USD"
NGONKA: Final = "NGONKA"

WORLD: Final = "world"
CORRECTIONS: Final = "corrections"
INCOME_BASE: Final = "income/base"
INCOME_FEE: Final = "income/fee"
COST_PAID: Final = "cost/paid"
COST_UNPAID: Final = "cost/unpaid"


class Flag(IntFlag):
    """What was special about an ending; bits of an entry's `flags`."""

    ESTIMATED = 1
    OVERRUN = 2
    REPLAYED = 4
    DRAINED = 8
    CUT = 16
    USAGE_MISSING = 32
    USAGE_IMPLAUSIBLE = 64
    CHARGED_AFTER_CRASH = 128


Posting = tuple[str, str, int]
"""Book, ledger account, signed amount (pico-dollars or ngonka)."""


class Facts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """All of an entry but its postings; the fields in the order of their bytes."""

    format: int
    kind: str
    nonce: bytes
    time_ns: int
    writer: bytes
    epoch: int
    account: str | None = None
    account_sequence: int | None = None
    available_after: int | None = None
    held_after: int | None = None
    inference: str | None = None
    ends: bytes | None = None
    part: int | None = None
    try_: int | None = None
    key_id: str | None = None
    model: str | None = None
    sheet_version: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    flags: int = 0
    upstream: str | None = None
    node: str | None = None
    upstream_reference: str | None = None
    overrun_ngonka: int | None = None
    overrun_list_picousd: int | None = None
    reference: str | None = None
    actor: str | None = None
    reason: str | None = None
    tag: bytes | None = None


class Entry(Facts, array_like=True, frozen=True, gc=False):
    """One event with its postings in both books."""

    postings: tuple[Posting, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that cannot be read as what they should be."""


class MalformedEntryError(ValueError):
    """Bytes are not an entry in its one canonical form."""


def encode_entry(entry: Entry) -> bytes:
    """Return the canonical bytes of an entry."""
    return _encode(entry)


def entry_id(entry_bytes: bytes) -> bytes:
    """Return the id of an entry, the SHA-256 of its bytes."""
    return sha256(entry_bytes).digest()


encode_fields: Callable[[tuple[object, ...]], bytes] = _encode
"""Returns the canonical bytes of an entry that has these fields, all of them and in their order.

Raises:
    OverflowError: A number does not fit 64 bits.
"""


def beginning_of(kind: str) -> bytes:
    """Return the bytes with which all entries of a kind begin: that these are so many fields, the format, the kind."""
    whole = _encode(Entry(FORMAT, kind, b"", 0, b"", 0))
    return whole[: whole.index(kind.encode()) + len(kind)]


def read_entry(entry_bytes: bytes) -> Entry:
    """Return the entry that bytes can be read as; whether they are its one canonical form is not yet known.

    Raises:
        MalformedEntryError: The bytes cannot be read as an entry.
    """
    try:
        return _decode(entry_bytes)
    except UNREADABLE as error:
        raise MalformedEntryError(f"not an entry: {error}") from None


def decode_entry(entry_bytes: bytes) -> Entry:
    """Return the entry of canonical bytes.

    Raises:
        MalformedEntryError: The bytes are no entry, or one that is written otherwise than we would write it.
    """
    entry = read_entry(entry_bytes)
    if entry.format != FORMAT or entry.kind not in KINDS:
        raise MalformedEntryError(f"unknown format {entry.format} or kind {entry.kind!r}")
    if len(entry.nonce) != ID_BYTES or len(entry.writer) != ID_BYTES:
        raise MalformedEntryError(f"nonce and writer have {ID_BYTES} bytes")
    if _encode(entry) != entry_bytes:
        raise MalformedEntryError("not in canonical form")
    return entry


def available_account(account: str) -> str:
    """Return the name of the ledger account with a customer's free money."""
    return f"account/{account}/available"


def held_account(account: str) -> str:
    """Return the name of the ledger account with a customer's set-aside money."""
    return f"account/{account}/held"


def payable_account(upstream: str) -> str:
    """Return the name of the ledger account with what an upstream has billed or may have billed."""
    return f"upstream/{upstream}/payable"


def amount_of(entry: Entry, book: str, ledger_account: str) -> int:
    """Return what an entry posts to a ledger account."""
    return sum(amount for b, name, amount in entry.postings if b == book and name == ledger_account)
