"""The books as text: one JSON line for each batch, so that they can be kept, compared and carried anywhere.

    {"type": "tallygate-dump", "version": 1, "writer": hex, "epoch": n}
    {"type": "account", "id", "name", "created_ns"}                                  one for each account
    {"type": "key", "id", "account", "name", "masked", "digest", …}                  one for each API key, if wanted
    {"type": "claim", "digest", "request", "subject", "created_ns", "picousd"}       one for each idempotency key
    {"type": "batch", "header": base64, "entries": [base64, …]}                      in the order of their commits
    {"type": "end", "accounts", "keys", "claims", "batches", "entries", "head": hex, "sha256": hex}

Header and entries are the very bytes of `docs/books.md`. What the books do not hold stands beside them: names, digests
of keys, what keys and accounts may do, and what idempotency keys stand for, without which a call that is sent again
after a load would be charged again. What can be computed from them (balances, open holds, what keys have spent, tiles)
is not dumped, and neither are events that still have to be delivered. The last line counts everything, names the head,
and has the SHA-256 of all bytes before it: a dump that was cut off or changed is noticed.

A table that has to travel gets a line type here, and a case in `_read_beside` and in `rows_of`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tallygate.core.access import ApiKey
from tallygate.core.audit.audit import Audit
from tallygate.core.idempotency import Claimed
from tallygate.storage.access_rows import pack_limits, read_account, read_key, unpack_limits
from tallygate.storage.journal import AccountTerms, FormerSecret, KeyRow, NewAccount, Row
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import open_for_reading, read_all_spending, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import apsw

VERSION: Final = 1


class Head(msgspec.Struct, tag="tallygate-dump", forbid_unknown_fields=True, frozen=True):
    """The first line: what this is, and whose books."""

    version: int
    writer: str
    epoch: int


class AccountLine(msgspec.Struct, tag="account", forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An account's name, and what it may do, which the books do not hold."""

    id: str
    name: str
    created_ns: int
    suspended: bool = False
    limits: dict[str, int] | None = None


class FormerLine(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """In the line of a key, the secret that it had before, while that still works."""

    digest: bytes
    until_ns: int


class KeyLine(msgspec.Struct, tag="key", forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An API key; its digest says nothing without the pepper."""

    id: str
    account: str
    name: str
    masked: str
    created_ns: int
    revoked_ns: int | None
    digest: bytes
    paused: bool = False
    expires_ns: int | None = None
    models: list[str] | None = None
    limits: dict[str, int] | None = None
    imported: bool = False
    former: FormerLine | None = None


class ClaimLine(msgspec.Struct, tag="claim", forbid_unknown_fields=True, frozen=True):
    """What an idempotency key stands for; like a key's, its digests say nothing without the pepper."""

    digest: bytes
    request: bytes
    subject: str
    created_ns: int
    picousd: int | None


class BatchLine(msgspec.Struct, tag="batch", forbid_unknown_fields=True, frozen=True):
    """A header and its entries, byte for byte."""

    header: bytes
    entries: list[bytes]


class End(msgspec.Struct, tag="end", forbid_unknown_fields=True, frozen=True):
    """The last line: what there was before it."""

    accounts: int
    keys: int
    claims: int
    batches: int
    entries: int
    head: str
    sha256: str


BesideLine = AccountLine | KeyLine | ClaimLine
Line = Head | BesideLine | BatchLine | End
decode_line: Final = msgspec.json.Decoder(Line).decode
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Counts:
    """How many lines of each type there were, and how many entries in them."""

    accounts: int = 0
    keys: int = 0
    claims: int = 0
    batches: int = 0
    entries: int = 0

    def add(self, line: BesideLine | BatchLine) -> None:
        """Count one line."""
        if isinstance(line, BatchLine):
            self.batches += 1
            self.entries += len(line.entries)
        elif isinstance(line, KeyLine):
            self.keys += 1
        elif isinstance(line, ClaimLine):
            self.claims += 1
        else:
            self.accounts += 1

    def end(self, head: bytes, digest: str) -> End:
        """Return the last line."""
        return End(self.accounts, self.keys, self.claims, self.batches, self.entries, head.hex(), digest)


class DamagedBooksError(Exception):
    """The books do not add up, so they are not dumped; the first problem is told."""


def find_problem(audit: Audit) -> str | None:
    """Return the first thing that an audit has found to be wrong so far."""
    return audit.problems.listed[0] if audit.problems.count else None


def rows_of(line: BesideLine) -> tuple[Row, ...]:
    """Return what a line is in a store; raises `TypeError` for a limit that is unknown."""
    if isinstance(line, AccountLine):
        terms = AccountTerms(line.id, line.suspended, unpack_limits(line.limits))
        return NewAccount(line.id, line.name, line.created_ns), terms
    if isinstance(line, ClaimLine):
        return (Claimed(line.digest, line.request, line.subject, line.created_ns, line.picousd),)
    key = ApiKey(
        line.id,
        line.account,
        line.name,
        line.masked,
        line.created_ns,
        line.revoked_ns,
        line.paused,
        line.expires_ns,
        None if line.models is None else frozenset(line.models),
        unpack_limits(line.limits),
        line.imported,
    )
    former = None if line.former is None else FormerSecret(line.former.digest, line.former.until_ns)
    return (KeyRow(key, line.digest, former),)


def write_dump(store: Path, write: Callable[[bytes], Any], *, with_keys: bool) -> End:
    """Write the books of a store as they are at one moment, whoever uses it; they are replayed on the way.

    Raises:
        NotAStoreError: The file is no store of ours.
        DamagedBooksError: The books do not add up; what was written then has no last line.
    """
    total = sha256()
    counts = Counts()
    audit = Audit()

    def put(line: Line) -> None:
        raw = _encode(line) + b"\n"
        total.update(raw)
        write(raw)

    with reading(store), contextlib.closing(open_for_reading(store)) as db:
        db.execute("BEGIN")
        ((writer, epoch, sequence, head),) = db.execute(QUERIES["identity"])
        put(Head(VERSION, writer.hex(), epoch))
        for line in _read_beside(db, with_keys=with_keys):
            counts.add(line)
            put(line)
        for batch in _read_batches(db):
            audit.take(batch.header, batch.entries)
            if problem := find_problem(audit):
                raise DamagedBooksError(problem)
            counts.add(batch)
            put(batch)
        accounts = {row[0]: (row[3], row[4], row[5]) for row in db.execute(QUERIES["all_accounts"])}
        open_holds = {row[0] for row in db.execute(QUERIES["all_open_holds"])}
        report = audit.finish(accounts, open_holds, {writer: (sequence, head)}, read_all_spending(db))
        if not report.clean:
            raise DamagedBooksError(report.problems[0])
    end = counts.end(head, total.hexdigest())
    put(end)
    return end


def _read_beside(db: apsw.Connection, *, with_keys: bool) -> Iterator[BesideLine]:
    """Return what stands beside the books."""
    for row in db.execute(QUERIES["all_accounts"]):
        account = read_account(row)
        yield AccountLine(*account[:3], account.suspended, pack_limits(account.limits))
    if with_keys:
        for row in db.execute(QUERIES["all_keys"]):
            yield _line_of_key(read_key(row))
        for row in db.execute(QUERIES["all_claims"]):
            yield ClaimLine(*row)


def _line_of_key(row: KeyRow) -> KeyLine:
    key = row.key
    return KeyLine(
        *key[:6],
        digest=row.digest,
        paused=key.paused,
        expires_ns=key.expires_ns,
        models=None if key.models is None else sorted(key.models),
        limits=pack_limits(key.limits),
        imported=key.imported,
        former=None if row.former is None else FormerLine(*row.former),
    )


def _read_batches(db: apsw.Connection) -> Iterator[BatchLine]:
    """Return the batches in their order; one whose entries are not in its place comes without them."""
    groups = groupby(db.execute(QUERIES["all_entries"]), key=lambda row: row[0])
    place, rows = next(groups, (None, iter(())))
    for sequence, header in db.execute(QUERIES["all_batches"]):
        entries = []
        if place == sequence:
            entries = [row[1] for row in rows]
            place, rows = next(groups, (None, iter(())))
        yield BatchLine(header, entries)
    if place is not None:
        raise DamagedBooksError(f"entries say that they are in batch {place}, where they are not")
