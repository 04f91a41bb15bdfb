"""The proof of a store from its file alone: every batch is fed to the audit, and the tables beside the bytes compared.

Only reads, through connections of its own and in short transactions, so it disturbs nobody who has the store open. A
long history is cut into spans, which several processes replay at the same time; a span that does not follow from
those before it is replayed again in its turn, so the report is the same as if all had been read in order.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby
from multiprocessing import get_context
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.audit.audit import Audit
from tallygate.core.audit.problems import P4, P5
from tallygate.core.audit.stretch import Findings, Stretch
from tallygate.core.ledger.entry import ATTEMPT, MalformedEntryError, decode_entry
from tallygate.storage.journal import slot_of
from tallygate.storage.proofs.tile_check import TileRoots, find_sum_faults, find_tile_faults
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import entry_row, open_for_reading, read_all_spending, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import apsw

    from tallygate.core.audit.replay import Replay
    from tallygate.core.audit.report import Report
    from tallygate.core.audit.stretch import Amounts
    from tallygate.core.ledger.entry import Entry, Facts
    from tallygate.core.ledger.spending import KeySpent
    from tallygate.storage.proofs.tile_check import KeptTile

    Progress = Callable[[int, int], object]
    """Is told how many entries are done, of how many."""
    EntryRow = tuple[int, bytes, str | None, int | None, str | None, str | int]
    """Batch and bytes of an entry, its account, its number there, its inference; and its kind (with the
    slot, if it is an attempt) if the other columns are as they are for most of that kind, else its position."""

SPAN_ENTRIES_MIN: Final = 1 << 16
SPAN_ENTRIES_MAX: Final = 1 << 19
"""How many entries a process takes at a time: they bound its memory, and how often progress is told. Each span tells of
all accounts that it has met, which in short ones of a large store would cost more than an entry's own check."""
QUICK_ENTRIES: Final = 5_000
"""So many entries are replayed in a moment: a process of its own would take longer to start."""
END_ENTRIES: Final = 200_000
"""The last part of the history that is replayed where not all of it is asked for: some seconds."""
PROCESSES_MAX: Final = 8
NICENESS: Final = 10
"""Beside a running gateway: its calls go first."""


_FIRST: Final = (-(2**63), -(2**63))
_NOWHERE: Final = (2**63 - 1, 2**63 - 1)
_NO_ROWS: Final[tuple[int, Iterable[EntryRow]]] = (2**63, ())
"""Rows of no batch: behind all of them."""


class ReplayStoppedError(RuntimeError):
    """A process that shared the work has ended before its time, so nothing was proved."""

    def __init__(self) -> None:
        super().__init__("a process that helped was killed, perhaps for want of memory; nothing was proved")


class Span(NamedTuple):
    """A part of the history: entries by position, batches by sequence, both ends included."""

    first_position: int
    last_position: int
    first_batch: int
    last_batch: int


class State(NamedTuple):
    """What the store says of itself at one moment, beside the bytes."""

    accounts: dict[str, Amounts]
    open_holds: set[str]
    heads: dict[bytes, tuple[int, bytes]]
    last_position: int
    last_batch: int
    tiles: Sequence[KeptTile]
    spent: set[KeySpent]


class Strays(NamedTuple):
    """Entries that are in no batch's place: how many, and the batch that the first one names."""

    number: int
    first_batch: int


def audit_file(
    path: Path, *, processes: int = 1, progress: Progress | None = None, span_entries: int | None = None
) -> Report:
    """Replay a store's books from its file alone, whoever else has it open.

    Args:
        path: The file.
        processes: How many may share the work, beside this one.
        progress: Is told how far the replay is.
        span_entries: How many entries are taken at a time, if it is not to be found out.

    Raises:
        NotAStoreError: The file is no store of ours.
        ReplayStoppedError: One of the processes was killed.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        state = _read_state(db)
        spans = _cut(db, state, lambda left: span_entries or find_span_entries(left, processes))
        audit, roots = Audit(), TileRoots()
        strays: list[Strays] = []

        def tell(span: Span) -> None:
            if progress is not None:
                progress(min(span.last_position, state.last_position), state.last_position)

        if processes > 1 and len(spans) > 1:
            doubled = _replay_together(path, db, (audit, roots, strays), spans, processes, tell)
        else:
            for span in spans:
                strays += _feed(db, span, audit, roots)
                tell(span)
            doubled = list(db.execute(QUERIES["doubled_slots"]))
        _tell_strays(strays, audit)
        if not audit.problems.count:  # else the batches themselves are not what they should be
            _tell(find_tile_faults(db, state.tiles, roots, 1, state.last_batch), audit)
        if not audit.problems.count:
            _tell(find_sum_faults(db, state.tiles, state.last_position, audit.figures.totals), audit)
    for inference, slot in doubled:
        audit.problems.add(P4, f"inference {inference}: has more than one {slot}")
    return audit.finish(state.accounts, state.open_holds, state.heads, state.spent)


def audit_end(path: Path, *, entries_max: int = END_ENTRIES) -> Report:
    """Replay the last part of a store's history, and all of it where it is not longer than that.

    What came before is taken at its word; chain, seals, charges and balances of the last entries, and the state that
    the store keeps, are checked like those of a whole replay.

    Raises:
        NotAStoreError: The file is no store of ours.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        state = _read_state(db)
        if state.last_position <= entries_max:
            return audit_file(path)
        position, batch = next(db.execute(QUERIES["next_batch"], {"after": state.last_position - entries_max}), _FIRST)
        stretch = Stretch((sheet for at, sheet in _read_sheets(db) if at < position), is_last=True)
        roots = TileRoots()
        span = Span(position, state.last_position, batch, state.last_batch)
        _tell_strays(list(_feed(db, span, stretch, roots)), stretch)
        if not stretch.problems.count:
            _tell(find_tile_faults(db, state.tiles, roots, batch, state.last_batch), stretch)
    return stretch.close(state.accounts, state.open_holds, state.heads)


def audit_apart(path: Path) -> Report:
    """Replay a store in a process of its own that gives way to all others, unless it takes a moment only."""
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        state = _read_state(db)
    if state.last_position <= QUICK_ENTRIES:
        return audit_file(path)
    with _pool_of(1, os.nice, NICENESS) as pool:
        return pool.submit(audit_file, path).result()


@contextlib.contextmanager
def _pool_of(processes: int, begin: Callable[..., object], given: object) -> Iterator[ProcessPoolExecutor]:
    """Yield processes that each begin with a call; raise ReplayStoppedError where one of them is killed."""
    try:
        with ProcessPoolExecutor(processes, get_context("spawn"), begin, (given,)) as pool:
            yield pool
    except BrokenProcessPool:
        raise ReplayStoppedError from None


def find_span_entries(left: int, processes: int) -> int:
    """Return how many entries are best taken next of so many that are left.

    A process's share of them, as far as memory allows: so the last ones are short, and all processes end together.
    """
    return min(max(-(-left // processes), SPAN_ENTRIES_MIN), SPAN_ENTRIES_MAX)


def count_processors() -> int:
    """Return how many processes can share a replay here."""
    return min(len(os.sched_getaffinity(0)), PROCESSES_MAX)


def _read_state(db: apsw.Connection) -> State:
    db.execute("BEGIN")
    try:
        ((last_position, last_batch),) = db.execute(QUERIES["ends"])
        return State(
            {row[0]: (row[3], row[4], row[5]) for row in db.execute(QUERIES["all_accounts"])},
            {row[0] for row in db.execute(QUERIES["all_open_holds"])},
            {writer: (sequence, head) for writer, sequence, head in db.execute(QUERIES["head"])},
            last_position,
            last_batch,
            list(db.execute(QUERIES["all_tiles"])),
            read_all_spending(db),
        )
    finally:
        db.execute("COMMIT")


def _cut(db: apsw.Connection, state: State, find_size: Callable[[int], int]) -> list[Span]:
    """Cut the history where a batch begins, into about as many entries as is found best for those that are left."""
    spans = []
    position, batch = _FIRST
    while True:
        first = max(position, 0)
        after = first + find_size(state.last_position - first)
        next_position, next_batch = next(db.execute(QUERIES["next_batch"], {"after": after}), _NOWHERE)
        if next_position > state.last_position or not batch < next_batch <= state.last_batch:
            spans.append(Span(position, state.last_position, batch, state.last_batch))
            return spans
        spans.append(Span(position, next_position - 1, batch, next_batch - 1))
        position, batch = next_position, next_batch


def _tell(faults: Iterable[str], replay: Replay) -> None:
    for fault in faults:
        replay.problems.add(P5, fault)


def _tell_strays(strays: Sequence[Strays], replay: Replay) -> None:
    if strays:
        number, first = sum(stray.number for stray in strays), strays[0].first_batch
        replay.problems.add(P5, f"{number} entries are in no batch's place; the first one says batch {first}")


def _feed(db: apsw.Connection, span: Span, replay: Replay, roots: TileRoots) -> Iterator[Strays]:
    """Feed a replay batch by batch, and compare what the tables say beside the bytes; return what is in no batch."""
    groups = groupby(db.execute(QUERIES["entries_of_span"], span[:2]), itemgetter(0))
    place, rows = next(groups, _NO_ROWS)
    count, first = 0, 0
    for sequence, header in db.execute(QUERIES["batches_of_span"], span[2:]):
        batch: list[EntryRow] = []
        while place <= sequence:
            if place == sequence:
                batch += rows
            else:
                first = first if count else place
                count += len(list(rows))
            place, rows = next(groups, _NO_ROWS)
        entries = replay.take(header, [row[1] for row in batch])
        number = -1
        for (_, _, account, account_sequence, inference, kind), entry in zip(batch, entries, strict=True):
            number += 1
            if entry is None or (
                kind == entry.kind
                and inference == entry.inference
                and account_sequence == entry.account_sequence
                and account == entry.account
                and entry.reference is None
            ):
                continue
            if not _has_columns(db, batch[number], entry):
                where = f"batch {sequence}, entry {number}"
                replay.problems.add(P5, f"{where}: the columns beside the entry differ from its bytes")
        if replay.sequence not in (sequence, None):
            replay.problems.add(P5, f"batch {sequence}: the store counts it otherwise than its header")
        roots.take(sequence, replay.head)
    while place < _NO_ROWS[0]:
        first = first if count else place
        count += len(list(rows))
        place, rows = next(groups, _NO_ROWS)
    if count:
        yield Strays(count, first)


def _has_columns(db: apsw.Connection, row: EntryRow, entry: Facts) -> bool:
    """Return whether an entry is in the store as it should be, where that is not seen at one look."""
    *_, account, account_sequence, inference, position = row
    if not isinstance(position, int):
        columns = (account, account_sequence, inference, position)
        must_be = (entry.account, entry.account_sequence, entry.inference, f"{ATTEMPT} {slot_of(entry)}")
        return entry.kind == ATTEMPT and entry.reference is None and columns == must_be
    return list(db.execute(QUERIES["columns_of_entry"], (position,))) == [entry_row(row[0], row[1], entry)]


# --- many processes ----------------------------------------------------------------------------------------------


class _Reader(NamedTuple):
    """What a process that helps has open."""

    path: Path
    db: apsw.Connection
    sheets: Sequence[tuple[int, Entry]]


_reader: _Reader | None = None


def _replay_together(
    path: Path,
    db: apsw.Connection,
    whole: tuple[Audit, TileRoots, list[Strays]],
    spans: Sequence[Span],
    processes: int,
    tell: Callable[[Span], None],
) -> list[tuple[str, str]]:
    """Have spans replayed by other processes, and join what they find in order; return the doubled slots.

    Where there is one, nothing is joined: by itself a span cannot tell a hold from the second of the same inference.
    """
    audit, roots, strays = whole
    with _pool_of(processes, _open_reader, path) as pool:
        doubled = pool.submit(_find_doubled)
        ahead = iter(spans)
        waiting: deque[Future[tuple[Findings, TileRoots] | None]] = deque()
        for span in spans:
            while len(waiting) <= 2 * processes and (upcoming := next(ahead, None)) is not None:
                waiting.append(pool.submit(_replay_span, upcoming))
            found = waiting.popleft().result()
            if found is not None and not doubled.result() and audit.join(found[0]):
                roots.add(found[1])
            else:
                strays += _feed(db, span, audit, roots)
            tell(span)
        return doubled.result()


def _open_reader(path: Path) -> None:
    global _reader  # noqa: PLW0603  (the one way to give a pool's process something to keep)
    gc.disable()  # a replay makes no cycles, and its many small tuples would have all accounts searched for some
    with reading(path):
        db = open_for_reading(path)
        _reader = _Reader(path, db, list(_read_sheets(db)))


def _read_sheets(db: apsw.Connection) -> Iterator[tuple[int, Entry]]:
    """Return the price sheets by position, as far as the columns and the bytes say that they are ones."""
    for position, raw in db.execute(QUERIES["sheets_by_position"]):
        with contextlib.suppress(MalformedEntryError):
            yield position, decode_entry(raw)


def _replay_span(span: Span) -> tuple[Findings, TileRoots] | None:
    """Replay a span by itself; None if there is anything in it that does not belong there."""
    path, db, sheets = _opened()
    with reading(path):
        stretch = Stretch(sheet for position, sheet in sheets if position < span.first_position)
        roots = TileRoots()
        return None if any(_feed(db, span, stretch, roots)) else (stretch.finish(), roots)


def _find_doubled() -> list[tuple[str, str]]:
    path, db, _ = _opened()
    with reading(path):
        return list(db.execute(QUERIES["doubled_slots"]))


def _opened() -> _Reader:
    if _reader is None:
        raise RuntimeError("this process has not been given a store")
    return _reader
