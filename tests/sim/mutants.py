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
from tallygate.core.idempotency import resolve
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import Deposit, HoldRequest, Sending, SendingEnd, Settlement
from tallygate.core.pricing import Cost
from tallygate.core.usage import Usage
from tallygate.relay.relay import Relay
from tallygate.relay.replay import Recorder, Replays
from tallygate.storage import sqlite
from tallygate.storage.claims import Claims
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tallygate.core.access import ApiKey
    from tallygate.core.idempotency import Claim, Claimed
    from tallygate.core.ledger.records import Hold, Written
    from tallygate.relay.reply import Sink
    from tallygate.storage.journal import Contents

Ends = Sequence[SendingEnd]
_hold = EmbeddedLedger.hold
_settle = EmbeddedLedger.settle
_flush = SqliteJournal.flush
_open = SqliteJournal.open
_find = Claims.find
_append_ending = Claims.append_ending
_replay = Relay._replay
_replay_one = Replays.replay
_note = Recorder._note


async def _tell_before_durable(
    self: EmbeddedLedger, hold: Hold, end: SendingEnd, usage: Usage, others: Ends = ()
) -> Settlement:
    self._queue.check()
    settlement, written = self._books.settle_parts(hold, (*others, end), usage)
    self._append_ending(hold, written, settlement.cost.total)
    return settlement


async def _acknowledge_early(
    self: EmbeddedLedger, account_id: str, picousd: int, reference: str | None, actor: str, claim: Claim | None = None
) -> Deposit:
    self._queue.check()
    if (known := await self._find_act(claim)) is not None:
        return Deposit(*known, replayed=True)
    deposit, written = self._books.deposit(account_id, picousd, reference, actor)
    self._claims.append_act(written, deposit.id, deposit.picousd, claim)
    return deposit


async def _hold_what_is_not_there(self: EmbeddedLedger, request: HoldRequest) -> Hold:
    account = self.account(request.account)
    account.available += 10**9
    try:
        self._queue.check()
        hold, written = self._books.hold(request)
        self._claims.append_hold(written, request.inference, request.claim)
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


# --- idempotency keys --------------------------------------------------------------------------------------------


def _lose_keys_with_process(self: SqliteJournal) -> Contents:
    self._db.execute("DELETE FROM idempotency WHERE picousd IS NOT NULL")
    return _open(self)


def _compare_keys_only(known: Claimed | None, claim: Claim, now_ns: int) -> Claimed | None:
    if known is not None and known.subject.startswith("chatcmpl-"):  # acts are watched otherwise
        claim = claim._replace(request=known.request)
    return resolve(known, claim, now_ns)


def _send_again_what_is_under_way(self: Claims, claim: Claim) -> Claimed | None:
    known = _find(self, claim)
    return None if known is None or known.picousd is None else known


def _free_key_with_charge(self: Claims, written: Written, inference: str, picousd: int | None) -> None:
    del picousd
    _append_ending(self, written, inference, None)


async def _acknowledge_again_early(self: Claims, claim: Claim) -> Claimed | None:
    return self.find(claim)


async def _ask_for_money_first(self: Relay, key: ApiKey, claim: Claim, sink: Sink) -> bool:
    if self.ledger.account(key.account).available < 10**6:
        return False
    return await _replay(self, key, claim, sink)


async def _charge_for_replays(self: Relay, key: ApiKey, claim: Claim, sink: Sink) -> bool:
    if not await _replay(self, key, claim, sink):
        return False
    sending = Sending(0, 0, "signed", None)
    request = HoldRequest(self.mint_id(), key.account, key.id, next(iter(self.ledger.sheet.prices)), 10, 1, sending)
    hold = await self.ledger.hold(request)
    await self.ledger.settle(hold, SendingEnd(sending, 10, 1, 0), Usage(10, 1, Flag(0)))
    return True


async def _replay_another(self: Replays, inference: str, sink: Sink, rates: Any = ()) -> bool:
    return await _replay_one(self, next(reversed(self._kept), inference), sink, rates)


def _note_another_cost(self: Recorder, data: bytes, size: int) -> None:
    _note(self, data.replace(b'"total_cost_usd_exact":"0.', b'"total_cost_usd_exact":"1.'), size)


async def _book_act_again(*_: object) -> None:
    return None


MUTANTS: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    "tells a charge before it is durable": lambda: patch.object(EmbeddedLedger, "settle", _tell_before_durable),
    "acknowledges a deposit early": lambda: patch.object(EmbeddedLedger, "deposit", _acknowledge_early),
    "holds what is not there": lambda: patch.object(EmbeddedLedger, "hold", _hold_what_is_not_there),
    "charges a token more": lambda: patch.object(EmbeddedLedger, "settle", _charge_a_token_more),
    "forgets who left": lambda: patch.object(EmbeddedLedger, "settle", _forget_who_left),
    "leaves orphans": lambda: patch.object(EmbeddedLedger, "expire_orphans", _leave_orphans),
    "passes over errors of the disk": lambda: patch.object(SqliteJournal, "flush", _pass_over_errors),
    "loses keys with the process": lambda: patch.object(SqliteJournal, "open", _lose_keys_with_process),
    "compares keys only": lambda: patch("tallygate.storage.claims.resolve", _compare_keys_only),
    "sends again what is under way": lambda: patch.object(Claims, "find", _send_again_what_is_under_way),
    "frees a key with its charge": lambda: patch.object(Claims, "append_ending", _free_key_with_charge),
    "acknowledges an act again early": lambda: patch.object(Claims, "find_durable", _acknowledge_again_early),
    "asks for money before it replays": lambda: patch.object(Relay, "_replay", _ask_for_money_first),
    "charges for replays": lambda: patch.object(Relay, "_replay", _charge_for_replays),
    "replays another's answer": lambda: patch.object(Replays, "replay", _replay_another),
    "replays another cost": lambda: patch.object(Recorder, "_note", _note_another_cost),
    "books an act again": lambda: patch.object(EmbeddedLedger, "_find_act", _book_act_again),
    "never syncs": lambda: patch.object(sqlite, "_PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF")),
}
