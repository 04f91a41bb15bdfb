"""The archive of a store in a file: a connection of its own for every question, which only reads.

With a write-ahead log, a reader sees a commit only after it has been synced; what one transaction reads is therefore
the durable state of one moment, however many commits pass meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from tallygate.core.ledger.batch import decode_header, header_hash
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.proofs.checkpoint import header_leaf
from tallygate.core.proofs.totals import Totals
from tallygate.storage.proofs.archive import DurableHead, Past, Snapshot, notes_in, prove_entry, undo, version_of
from tallygate.storage.proofs.tiles import TILE_BATCHES, path_of, whole_root
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import open_for_reading, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

    from tallygate.core.proofs.receipt import EntryProof


class SqliteArchive:
    """What is durable in a store's file.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def head(self) -> DurableHead:
        """Return the last durable batch."""
        with self._moment() as db:
            return _read_head(db)

    def header(self, sequence: int) -> bytes | None:
        """Return the header of a batch."""
        with self._moment() as db:
            return _read_header(db, sequence)

    def snapshot(self) -> Snapshot:
        """Return all that a checkpoint says."""
        with self._moment() as db:
            head = _read_head(db)
            tiles = list(db.execute(QUERIES["all_tiles"]))
            position, totals = (tiles[-1][1], Totals.decode(tiles[-1][2])) if tiles else (0, Totals())
            for _, _, raw in db.execute(QUERIES["entries_after"], (position,)):
                totals.take(decode_entry(raw))
            leaves = _read_leaves(db, len(tiles) * TILE_BATCHES, head.sequence)
            root = whole_root([tile[0] for tile in tiles], leaves)
            balances = list(db.execute(QUERIES["balances_by_id"]))
            return Snapshot(head, root, totals.sums, balances)

    def past(self, sequence: int) -> Past:
        """Return totals and balances as they were after a batch."""
        with self._moment() as db:
            tiles = list(db.execute(QUERIES["all_tiles"]))[: sequence // TILE_BATCHES]
            position, totals = (tiles[-1][1], Totals.decode(tiles[-1][2])) if tiles else (0, Totals())
            later = []
            for _, batch, raw in db.execute(QUERIES["entries_after"], (position,)):
                if batch <= sequence:
                    totals.take(decode_entry(raw))
                else:
                    later.append(raw)
            balances = {row[0]: row[1:] for row in db.execute(QUERIES["balances_by_id"])}
        undo(balances, later)
        return Past(totals.sums, [(name, *amounts) for name, amounts in balances.items()])

    def header_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every batch's header, in their order."""
        with self._moment() as db:
            for _, header in db.execute(QUERIES["all_batches"]):
                yield header_hash(header)

    def notes(self, sequence: int) -> list[str]:
        """Return the reasons of the notes in a batch."""
        with self._moment() as db:
            tiles = list(db.execute(QUERIES["all_tiles"]))[: (sequence - 1) // TILE_BATCHES]
            rows = db.execute(QUERIES["entries_after"], (tiles[-1][1] if tiles else 0,))
            return notes_in(
                raw for _, batch, raw in itertools.takewhile(lambda row: row[1] <= sequence, rows) if batch == sequence
            )

    def find(self, inference: str) -> Sequence[tuple[int, bytes]]:
        """Return the entries of an inference in their order, each behind the sequence of its batch."""
        with self._moment() as db:
            return [(batch, raw) for _, batch, raw in db.execute(QUERIES["entries_of_inference"], (inference,))]

    def prove(self, inference: str, size: int) -> list[EntryProof]:
        """Return an inference's sheet and entries that so many batches hold, each with its way to their root."""
        with self._moment() as db:
            rows = list(db.execute(QUERIES["entries_of_inference"], (inference,)))
            version = version_of(raw for _, _, raw in rows)
            sheets = [
                row for row in db.execute(QUERIES["placed_sheets"]) if decode_entry(row[2]).sheet_version == version
            ]
            roots = [tile[0] for tile in db.execute(QUERIES["all_tiles"])]
            return [_prove(db, row, size, roots) for row in sheets[:1] + rows if row[1] <= size]

    @contextlib.contextmanager
    def _moment(self) -> Iterator[apsw.Connection]:
        with reading(self._path), contextlib.closing(open_for_reading(self._path)) as db:
            db.execute("BEGIN")
            yield db


def _read_head(db: apsw.Connection) -> DurableHead:
    ((writer, epoch, sequence, head),) = db.execute(QUERIES["identity"])
    return DurableHead(writer, epoch, sequence, head)


def _read_header(db: apsw.Connection, sequence: int) -> bytes | None:
    for _, header in db.execute(QUERIES["batches_of_span"], (sequence, sequence)):
        return bytes(header)
    return None


def _read_leaves(db: apsw.Connection, begin: int, end: int) -> list[bytes]:
    """Return the leaves of the batches from one number, from 0, up to another."""
    rows = db.execute(QUERIES["batches_of_span"], (begin + 1, end))
    return [header_leaf(header_hash(header)) for _, header in rows]


def _prove(db: apsw.Connection, row: tuple[int, int, bytes], size: int, tile_roots: Sequence[bytes]) -> EntryProof:
    position, sequence, raw = row
    header = _read_header(db, sequence) or b""
    reach = decode_header(header).entry_count
    span = {"first": position - reach, "last": position + reach, "batch": sequence}
    batch = [other for _, other in db.execute(QUERIES["neighbours"], span)]
    path = path_of(sequence, size, tile_roots, lambda begin, end: _read_leaves(db, begin, end))
    return prove_entry(raw, batch, header, path)
