"""What a store has to do for the embedded ledger: take sealed batches, and give back what it has.

A journal makes one batch durable at a time, all of it or nothing, and refuses a batch of an epoch that is over.
The seal (Merkle root, chained header) is made here, once for all journals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.idempotency import Claimed
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import Header, encode_header
from tallygate.core.ledger.merkle import leaf_hashes, merkle_root
from tallygate.core.ledger.spending import KeySpent
from tallygate.core.limits import UNLIMITED
from tallygate.ports import KeptEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from tallygate.core.access import ApiKey
    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.records import Written
    from tallygate.core.ledger.statement import History
    from tallygate.core.limits import Limits


class NotAStoreError(Exception):
    """The file is no store of ours, is of another version, or its books cannot be read."""


class NewAccount(NamedTuple):
    """A row beside the books: an account's name, which the books do not hold."""

    id: str
    name: str
    created_ns: int


class AccountTerms(NamedTuple):
    """A row beside the books: whether an account is closed for now, and what it may do."""

    id: str
    suspended: bool
    limits: Limits


class FormerSecret(NamedTuple):
    """The digest of the secret that a key had before, and until when that still works."""

    digest: bytes
    until_ns: int


class KeyRow(NamedTuple):
    """A row beside the books: an API key, the digest of its secret, and the secret that it replaces."""

    key: ApiKey
    digest: bytes
    former: FormerSecret | None = None


class EventGone(NamedTuple):
    """The end of a row beside the books: an event that needs not be kept any more."""

    id: str


class ClaimEnded(NamedTuple):
    """A row beside the books: what a claim under way came to in pico-dollars; None where its key is free again."""

    digest: bytes
    picousd: int | None


class NoteWritten(NamedTuple):
    """What a store had left to be noted is in the books with this commit."""

    reason: str


Row = NewAccount | AccountTerms | KeyRow | KeptEvent | EventGone | Claimed | ClaimEnded | NoteWritten | KeySpent
"""What becomes durable in one commit with the entries that it belongs to, but is not part of the books."""


class StoredAccount(NamedTuple):
    """An account as the store has it, in pico-dollars."""

    id: str
    name: str
    created_ns: int
    available: int
    held: int
    sequence: int
    suspended: bool = False
    limits: Limits = UNLIMITED


class Contents(NamedTuple):
    """What a start needs of a store.

    Attributes:
        notes: What has to be noted in the books before anything else: that the store was restored, or loaded.
    """

    writer: bytes
    epoch: int
    accounts: Sequence[StoredAccount]
    keys: Sequence[KeyRow]
    sheets: Sequence[bytes]
    referenced_deposits: Sequence[bytes]
    open_holds: Sequence[Sequence[bytes]]
    events: Sequence[KeptEvent]
    claims_under_way: Sequence[Claimed]
    spent: Sequence[KeySpent]
    notes: Sequence[str] = ()


class Journal(Protocol):
    """Makes batches durable, one at a time."""

    def open(self) -> Contents:
        """Begin a new epoch, durably, and return what is there."""

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Take one batch, with the rows beside it, without waiting for the disk; `flush` follows.

        Raises:
            FencedError: Another process has begun a later epoch.
            StoreUnavailableError: The store failed; it takes nothing any more.
        """

    def flush(self) -> None:
        """Make the batch that was written durable, all of it or nothing; blocks, so it has a thread of its own.

        Raises:
            StoreUnavailableError: The store failed; it takes nothing any more.
        """

    def find_claim(self, digest: bytes) -> Claimed | None:
        """Return the claim that is durable under a digest.

        Raises:
            StoreUnavailableError: It cannot be read.
        """

    def find_old_claims(self, before_ns: int, count_max: int) -> Sequence[bytes]:
        """Return the digests of claims that have ended and were taken before a time, oldest first, not more than these.

        Raises:
            StoreUnavailableError: They cannot be read.
        """

    def audit(self) -> Report:
        """Replay everything that is durable now, without disturbing commits under way."""

    def history(self, account: str) -> AbstractContextManager[tuple[StoredAccount, History]]:
        """Lend an account and its entries as they are durable now, without disturbing commits under way."""

    def close(self) -> None:
        """Let go of the store."""


def seal(entries: Sequence[Written], writer: bytes, epoch: int, sequence: int, previous: bytes, time_ns: int) -> bytes:
    """Return the header bytes of a batch."""
    if not entries:
        raise InvariantBrokenError("a batch has at least one entry")
    root = merkle_root(leaf_hashes(written.raw for written in entries))
    return encode_header(Header(1, writer, epoch, sequence, previous, root, len(entries), time_ns))


_SLOTS: Final[Mapping[str, str]] = {e.HOLD: "hold", **dict.fromkeys(e.ENDINGS, "end")}


def slot_of(entry: e.Facts) -> str | None:
    """Return an entry's place in its inference: there is one of each, which makes a second ending impossible."""
    if entry.inference is None:
        return None
    if (slot := _SLOTS.get(entry.kind)) is not None:
        return slot
    return f"{entry.part}.{entry.try_}{'+' if entry.completion_tokens is None else '-'}"


def places_of(entry: e.Entry) -> list[tuple[object, ...]]:
    """Return what of an entry a store keeps unique: its slot, its number in its account, and its reference."""
    places: list[tuple[object, ...]] = []
    if entry.inference is not None:
        places.append(("slot", entry.inference, slot_of(entry)))
    if entry.account is not None:
        places.append(("sequence", entry.account, entry.account_sequence))
    if entry.reference is not None:
        places.append(("reference", entry.account, entry.reference))
    return places
