"""The proof of a store from its file alone: every batch is fed to the audit, and the tables beside the bytes compared.

Only reads, through a connection of its own, so it disturbs nobody who has the store open.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tallygate.core.ledger.audit import Audit, Report
from tallygate.core.ledger.batch import MalformedHeaderError, decode_header
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import entry_row, open_for_reading, reading

if TYPE_CHECKING:
    from pathlib import Path

    import apsw


def audit_file(path: Path) -> Report:
    """Replay a store's books from its file alone, whoever else has it open.

    Raises:
        NotAStoreError: The file is no store of ours.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        db.execute("BEGIN")
        audit = Audit()
        _take_batches(db, audit)
        for inference, slot in db.execute(QUERIES["doubled_slots"]):
            audit.report.add(f"inference {inference}: has more than one {slot}")
        accounts = {row[0]: (row[3], row[4], row[5]) for row in db.execute(QUERIES["all_accounts"])}
        open_holds = {row[0] for row in db.execute(QUERIES["all_open_holds"])}
        heads = {writer: (sequence, head) for writer, sequence, head in db.execute(QUERIES["head"])}
        return audit.finish(accounts, open_holds, heads)


def _take_batches(db: apsw.Connection, audit: Audit) -> None:
    """Feed the audit batch by batch, and compare what the tables say beside the bytes."""
    report = audit.report
    rows = iter(db.execute(QUERIES["all_entries"]))
    row = next(rows, None)
    strays = []
    for sequence, header in db.execute(QUERIES["all_batches"]):
        batch = []
        while row is not None and row[0] <= sequence:
            if row[0] == sequence:
                batch.append(row)
            else:
                strays.append(row[0])
            row = next(rows, None)
        entries = audit.take(header, [columns[1] for columns in batch])
        for number, (columns, entry) in enumerate(zip(batch, entries, strict=True)):
            if entry is not None and columns != entry_row(sequence, columns[1], entry):
                report.add(f"batch {sequence}, entry {number}: the columns beside the entry differ from its bytes")
        with contextlib.suppress(MalformedHeaderError):  # the audit has told already
            if decode_header(header).sequence != sequence:
                report.add(f"batch {sequence}: the store counts it otherwise than its header")
    if row is not None:
        strays += [row[0], *(later[0] for later in rows)]
    if strays:
        report.add(f"{len(strays)} entries are in no batch's place; the first one says batch {strays[0]}")
