"""Reads a dump into an empty store, which has then the same batches, byte for byte, and the same head.

Every line is checked as it is read: its form, the seal of its batch, the chain, and by the audit all that it moves;
what is wrong is told with the number of the line. The store appears when everything was found to add up, or not at all.
It goes on under the same writer with a later epoch. The store that the dump was taken of must not go on as well: two
stores that both write as one writer are a fork of the books, which each of them alone would not notice.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from tallygate.core.audit.audit import Audit
from tallygate.core.errors import StoreUnavailableError
from tallygate.core.ledger.batch import GENESIS, decode_header, header_hash
from tallygate.core.ledger.entry import entry_id, read_entry
from tallygate.core.ledger.records import Written
from tallygate.storage.keeping.dump import (
    VERSION,
    AccountLine,
    BatchLine,
    ClaimLine,
    Counts,
    End,
    Head,
    Line,
    decode_line,
    find_problem,
    rows_of,
)
from tallygate.storage.keeping.placing import leave_note, placing
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tallygate.storage.journal import Row
    from tallygate.storage.keeping.dump import BesideLine

WRITER_BYTES = 16


class DamagedDumpError(Exception):
    """A dump cannot be loaded; says at which line, and what is wrong there."""


def load_dump(lines: Iterable[bytes], store: Path) -> tuple[Head, End]:
    """Make a store of a dump.

    Args:
        lines: The lines of the dump, in their order.
        store: Where the store goes; nothing may ever have been written there.

    Raises:
        DamagedDumpError: The dump is none, is damaged, or its books do not add up.
        StoreLockedError: A process is using the store.
        FileExistsError: There is a store with books.
    """
    reader = DumpReader(lines)
    head = reader.read_head()
    with placing(store) as place:
        journal = SqliteJournal(place.draft, bytes.fromhex(head.writer))
        try:
            journal.adopt(head.epoch, reader.read_batches())
        except (StoreUnavailableError, OverflowError) as error:  # two of one id, a number that no column holds
            raise reader.damaged(str(error)) from None
        finally:
            journal.close()
        report = audit_file(place.draft)
        if not report.clean:
            raise DamagedDumpError(report.problems[0])
        end = reader.end
        leave_note(place.draft, f"loaded from a dump of {end.batches} batches")
    return head, end


class DumpReader:
    """The lines of a dump, checked one by one.

    Attributes:
        number: Of the line that is being read, from 1.
        end: The last line, when it has been read.
    """

    end: End

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.number = 0
        self._lines = iter(lines)
        self._total = sha256()
        self._audit = Audit()
        self._writer = b""
        self._epoch = 0
        self._head = GENESIS
        self._accounts: set[str] = set()
        self._under_way: set[str] = set()
        self._counts = Counts()

    def damaged(self, what: str) -> DamagedDumpError:
        """Return the error that something is wrong at this line."""
        return DamagedDumpError(f"line {self.number}: {what}")

    def read_head(self) -> Head:
        """Return the first line."""
        head, raw = self._next()
        self._total.update(raw)
        if not isinstance(head, Head):
            raise self.damaged("a dump begins with a line that says what it is")
        if head.version != VERSION:
            raise self.damaged(f"this is a dump of version {head.version}; this program reads {VERSION}")
        try:
            self._writer = bytes.fromhex(head.writer)
        except ValueError:
            self._writer = b""
        if len(self._writer) != WRITER_BYTES or head.epoch < 0:
            raise self.damaged("this names no writer and epoch")
        self._epoch = head.epoch
        return head

    def read_batches(self) -> Iterator[tuple[bytes | None, Sequence[Written], Sequence[Row]]]:
        """Return what every line up to the last brings into a store."""
        while True:
            line, raw = self._next()
            if isinstance(line, End):
                self._check_end(line)
                return
            self._total.update(raw)
            if isinstance(line, Head):
                raise self.damaged("another dump begins here")
            self._counts.add(line)
            if isinstance(line, BatchLine):
                yield self._take_batch(line)
                continue
            if isinstance(line, AccountLine):
                self._accounts.add(line.id)
            elif isinstance(line, ClaimLine):
                self._under_way |= {line.subject} if line.picousd is None else set()
            elif line.account not in self._accounts:
                raise self.damaged(f"there is no account {line.account} before this key of it")
            yield None, (), self._rows(line)

    def _rows(self, line: BesideLine) -> Sequence[Row]:
        try:
            return rows_of(line)
        except TypeError:
            what = "this is limited in a way that this program does not know"
        raise self.damaged(what)

    def _take_batch(self, line: BatchLine) -> tuple[bytes, Sequence[Written], Sequence[Row]]:
        self._audit.take(line.header, line.entries)
        if problem := find_problem(self._audit):
            raise self.damaged(problem)
        header = decode_header(line.header)
        if header.writer != self._writer or header.epoch > self._epoch:
            raise self.damaged("the batch was written by another writer or epoch than the dump names")
        self._head = header_hash(line.header)
        written = [Written(read_entry(raw), raw, entry_id(raw)) for raw in line.entries]
        return line.header, written, ()

    def _check_end(self, line: End) -> None:
        due = self._counts.end(self._head, self._total.hexdigest())
        if msgspec.structs.replace(line, sha256=due.sha256) != due:
            raise self.damaged("the last line counts or names other batches than there are: some lines are missing")
        if line != due:
            raise self.damaged("the SHA-256 of the lines before is another: one of them was changed")
        if ended := self._under_way - self._audit.inferences.open.keys():
            raise self.damaged(f"an idempotency key is under way with {min(ended)}, which is not")
        if next(self._lines, None) is not None:
            self.number += 1
            raise self.damaged("there is more after the last line")
        self.end = line

    def _next(self) -> tuple[Line, bytes]:
        raw = next(self._lines, None)
        self.number += 1
        if raw is None:
            raise self.damaged("the dump ends without its last line: it was cut off")
        try:
            return decode_line(raw), raw
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.damaged(f"not a line of a dump: {error}") from None
