"""Bugs on purpose, one at a time, each of a kind that has emptied somebody's books: the seeds have to find every one.

A mutant is planted in the program's own classes for as long as its context lasts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import apsw

from tallygate.core.errors import StoreUnavailableError
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import SendingEnd, Settlement
from tallygate.core.pricing import Cost
from tallygate.storage import sqlite
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tallygate.core.ledger.records import Deposit, Hold, HoldRequest
    from tallygate.core.usage import Usage

Ends = Sequence[SendingEnd]
_hold = EmbeddedLedger.hold
_settle = EmbeddedLedger.settle
_flush = SqliteJournal.flush


async def _tell_before_durable(
    self: EmbeddedLedger, hold: Hold, end: SendingEnd, usage: Usage, others: Ends = ()
) -> Settlement:
    self._queue.check()
    settlement, written = self._books.settle_parts(hold, (*others, end), usage)
    for ended in written:
        self._queue.append(ended)
    return settlement


async def _acknowledge_early(
    self: EmbeddedLedger, account_id: str, picousd: int, reference: str | None, actor: str
) -> Deposit:
    self._queue.check()
    deposit, written = self._books.deposit(account_id, picousd, reference, actor)
    if written is not None:
        self._queue.append(written)
    return deposit


async def _hold_what_is_not_there(self: EmbeddedLedger, request: HoldRequest) -> Hold:
    account = self.account(request.account)
    account.available += 10**9
    try:
        self._queue.check()
        hold, written = self._books.hold(request)
        self._queue.append(written)
        for sending in request.others:
            self._queue.append(self._books.begin_attempt(hold, sending))
    finally:
        account.available -= 10**9
    await self._queue.durable()
    return hold


async def _charge_a_token_more(
    self: EmbeddedLedger, hold: Hold, end: SendingEnd, usage: Usage, others: Ends = ()
) -> Settlement:
    return await _settle(self, hold, end, usage._replace(prompt_tokens=usage.prompt_tokens + 1), others)


async def _forget_who_left(
    self: EmbeddedLedger, hold: Hold, end: SendingEnd, usage: Usage, others: Ends = ()
) -> Settlement:
    if usage.flags & (Flag.CUT | Flag.DRAINED):
        return Settlement(Cost(0, 0), usage.flags)
    return await _settle(self, hold, end, usage, others)


async def _leave_orphans(self: EmbeddedLedger, *_: object, **__: object) -> Sequence[str]:
    return ()


def _pass_over_errors(self: SqliteJournal) -> None:
    with contextlib.suppress(StoreUnavailableError, apsw.Error):
        _flush(self)
    self._broken = None


MUTANTS: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    "tells a charge before it is durable": lambda: patch.object(EmbeddedLedger, "settle", _tell_before_durable),
    "acknowledges a deposit early": lambda: patch.object(EmbeddedLedger, "deposit", _acknowledge_early),
    "holds what is not there": lambda: patch.object(EmbeddedLedger, "hold", _hold_what_is_not_there),
    "charges a token more": lambda: patch.object(EmbeddedLedger, "settle", _charge_a_token_more),
    "forgets who left": lambda: patch.object(EmbeddedLedger, "settle", _forget_who_left),
    "leaves orphans": lambda: patch.object(EmbeddedLedger, "expire_orphans", _leave_orphans),
    "passes over errors of the disk": lambda: patch.object(SqliteJournal, "flush", _pass_over_errors),
    "never syncs": lambda: patch.object(sqlite, "_PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF")),
}
