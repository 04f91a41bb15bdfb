"""The archive of a disk in memory: the twin of `sqlite_archive`, which works everything out from the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import header_hash
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.merkle import merkle_root, path_among
from tallygate.core.proofs.checkpoint import header_leaf
from tallygate.core.proofs.totals import Totals
from tallygate.storage.proofs.archive import DurableHead, Past, Snapshot, notes_in, prove_entry, undo, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallygate.core.proofs.receipt import EntryProof
    from tallygate.storage.memory import MemoryDisk


class MemoryArchive:
    """What is on a disk in memory.

    Args:
        disk: The disk.
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    def head(self) -> DurableHead:
        """Return the last batch."""
        disk = self._disk
        with disk.lock:
            return DurableHead(disk.writer, disk.epoch, len(disk.batches), disk.head)

    def header(self, sequence: int) -> bytes | None:
        """Return the header of a batch."""
        with self._disk.lock:
            return self._disk.batches[sequence - 1][0] if 0 < sequence <= len(self._disk.batches) else None

    def snapshot(self) -> Snapshot:
        """Return all that a checkpoint says."""
        disk = self._disk
        with disk.lock:
            totals = Totals()
            for _, raws in disk.batches:
                for raw in raws:
                    totals.take(decode_entry(raw))
            head = DurableHead(disk.writer, disk.epoch, len(disk.batches), disk.head)
            balances = [(row.id, row.available, row.held, row.sequence) for row in disk.accounts.values()]
            return Snapshot(head, merkle_root(_leaves(disk.batches)), totals.sums, balances)

    def past(self, sequence: int) -> Past:
        """Return totals and balances as they were after a batch."""
        disk = self._disk
        with disk.lock:
            totals = Totals()
            for _, raws in disk.batches[:sequence]:
                for raw in raws:
                    totals.take(decode_entry(raw))
            balances = {row.id: (row.available, row.held, row.sequence) for row in disk.accounts.values()}
            undo(balances, [raw for _, raws in disk.batches[sequence:] for raw in raws])
            return Past(totals.sums, [(name, *amounts) for name, amounts in balances.items()])

    def header_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every batch's header, in their order."""
        with self._disk.lock:
            headers = [header for header, _ in self._disk.batches]
        return map(header_hash, headers)

    def notes(self, sequence: int) -> list[str]:
        """Return the reasons of the notes in a batch."""
        with self._disk.lock:
            return notes_in(self._disk.batches[sequence - 1][1])

    def find(self, inference: str) -> Sequence[tuple[int, bytes]]:
        """Return the entries of an inference in their order, each behind the sequence of its batch."""
        with self._disk.lock:
            return [
                (sequence, raw)
                for sequence, (_, raws) in enumerate(self._disk.batches, 1)
                for raw in raws
                if decode_entry(raw).inference == inference
            ]

    def prove(self, inference: str, size: int) -> list[EntryProof]:
        """Return an inference's sheet and entries that so many batches hold, each with its way to their root."""
        version = version_of(raw for _, raw in self.find(inference))
        with self._disk.lock:
            batches = self._disk.batches[:size]
        sheets: list[EntryProof] = []
        proofs: list[EntryProof] = []
        for number, (header, raws) in enumerate(batches):
            for raw in raws:
                entry = decode_entry(raw)
                is_sheet = entry.kind == e.SHEET and entry.sheet_version == version
                if is_sheet or entry.inference == inference:
                    proof = prove_entry(raw, raws, header, path_among(_leaves(batches), number))
                    (sheets if is_sheet else proofs).append(proof)
        return sheets[:1] + proofs


def _leaves(batches: Sequence[tuple[bytes, list[bytes]]]) -> list[bytes]:
    return [header_leaf(header_hash(header)) for header, _ in batches]
