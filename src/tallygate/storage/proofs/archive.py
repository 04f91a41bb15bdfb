"""The books as proofs need them: what is durable now, read beside the writer and without disturbing it.

A journal's memory runs ahead of its disk; an archive knows only what a commit has made durable, all of one moment. So
a checkpoint never says more than a start after a loss of power would find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.merkle import leaf_hashes, path_among
from tallygate.core.proofs.receipt import EntryProof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class DurableHead(NamedTuple):
    """The last durable batch; sequence 0 where there is none."""

    writer: bytes
    epoch: int
    sequence: int
    header_hash: bytes


class Past(NamedTuple):
    """Totals and balances at some moment, as a `Snapshot` has them."""

    sums: Mapping[tuple[str, str], int]
    balances: Sequence[tuple[str, int, int, int]]


class Snapshot(NamedTuple):
    """All that a checkpoint says, at one moment.

    Attributes:
        head: The last durable batch.
        tree_root: Over the header hashes of all batches.
        sums: What the ledger accounts of each class that no customer owns sum to.
        balances: Account, available, held and account sequence of every account.
    """

    head: DurableHead
    tree_root: bytes
    sums: Mapping[tuple[str, str], int]
    balances: Sequence[tuple[str, int, int, int]]


class Archive(Protocol):
    """Reads what is durable; every method may block, and may be called from any thread."""

    def head(self) -> DurableHead:
        """Return the last durable batch."""

    def header(self, sequence: int) -> bytes | None:
        """Return the header of a batch, None where there is none of this number."""

    def snapshot(self) -> Snapshot:
        """Return all that a checkpoint says."""

    def past(self, sequence: int) -> Past:
        """Return totals and balances as they were after a batch."""

    def header_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every batch's header, in their order."""

    def notes(self, sequence: int) -> list[str]:
        """Return the reasons of the notes in a batch."""

    def find(self, inference: str) -> Sequence[tuple[int, bytes]]:
        """Return the entries of an inference in their order, each behind the sequence of its batch."""

    def prove(self, inference: str, size: int) -> list[EntryProof]:
        """Return an inference's sheet and entries that so many batches hold, each with its way to their root."""


def prove_entry(raw: bytes, batch: Sequence[bytes], header: bytes, header_path: list[bytes]) -> EntryProof:
    """Return an entry's way to the root of its writer's tree, given all entries of its batch."""
    index = batch.index(raw)
    return EntryProof(raw, index, path_among(leaf_hashes(batch), index), header, header_path)


def undo(balances: dict[str, tuple[int, int, int]], entries: Iterable[bytes]) -> None:
    """Take balances back to what they were before these entries, given in their order."""
    seen = set()
    for entry in map(decode_entry, entries):
        name = entry.account
        if name is None or name in seen:
            continue
        seen.add(name)
        if entry.account_sequence == 1:
            balances.pop(name, None)  # a store that was tampered with may lack the row
            continue
        moved = {ledger_account: amount for book, ledger_account, amount in entry.postings if book == e.USD}
        balances[name] = (
            (entry.available_after or 0) - moved.get(e.available_account(name), 0),
            (entry.held_after or 0) - moved.get(e.held_account(name), 0),
            (entry.account_sequence or 0) - 1,
        )


def notes_in(entries: Iterable[bytes]) -> list[str]:
    """Return the reasons of the notes among entries."""
    return [entry.reason or "" for entry in map(decode_entry, entries) if entry.kind == e.NOTE]


def version_of(entries: Iterable[bytes]) -> int | None:
    """Return the version of the sheet that priced an inference's hold."""
    for entry in map(decode_entry, entries):
        if entry.kind == e.HOLD:
            return entry.sheet_version
    return None
