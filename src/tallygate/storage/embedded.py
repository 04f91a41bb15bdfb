"""The ledger and the keyring of a single process: balances in memory, entries made durable in groups.

Every act runs on the event loop in one step, so nothing comes between a check and what it guards; then it waits
until its entry is on the disk. Scaling out to many processes is another adapter of the same ports.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tallygate.core.errors import Code, InvariantBrokenError, Refusal, StoreUnavailableError
from tallygate.core.events import out_of_money
from tallygate.core.idempotency import refuse
from tallygate.core.ledger import entry as e
from tallygate.core.ledger import refusals
from tallygate.core.ledger.affording import bound_hold
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.entry import decode_entry, entry_id
from tallygate.core.ledger.records import (
    Account,
    Correction,
    Deposit,
    Hold,
    HoldRequest,
    Sending,
    SendingEnd,
    Settlement,
)
from tallygate.core.ledger.restoring import restore_hold, restore_sheet
from tallygate.core.ledger.statement import draw_up, find_period, read_lines
from tallygate.core.ledger.sums import Sums, sum_up
from tallygate.core.pricing import Sheet
from tallygate.core.usage import charged_after_crash
from tallygate.storage.access import EmbeddedAccess
from tallygate.storage.claims import Claims
from tallygate.storage.group_commit import FlushThread, GroupCommit
from tallygate.storage.journal import Contents, EventGone, Journal, NewAccount, NotAStoreError, NoteWritten
from tallygate.storage.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from tallygate.core.audit.report import Report
    from tallygate.core.events import OperatorEvent
    from tallygate.core.idempotency import Claim, Claimed
    from tallygate.core.ledger.records import Written
    from tallygate.core.ledger.spending import Budget
    from tallygate.core.ledger.statement import Line, Statement
    from tallygate.core.limits import Limits
    from tallygate.core.pricing import UpstreamRate
    from tallygate.core.usage import Usage
    from tallygate.ports import KeptEvent
    from tallygate.storage.group_commit import Flusher
    from tallygate.storage.journal import Row


class EmbeddedLedger(EmbeddedAccess):
    """Both `Ledger` and `Keyring`, over one journal.

    Args:
        journal: Where entries become durable.
        now_ns: Wall clock in nanoseconds.
        entropy: Gives so many random bytes.
        wait_for_hold: Whether a hold is durable before its inference is sent; if not, a crash of the machine can
            lose the holds of the last instant, and with them the knowledge of what was sent.
        flusher: Makes who waits for the disk.
        outbox: What the operator is told of; by default it is logged, and nothing is kept.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        now_ns: Callable[[], int],
        entropy: Callable[[int], bytes],
        wait_for_hold: bool = True,
        flusher: Callable[[Callable[[], None]], Flusher] = FlushThread,
        outbox: Outbox | None = None,
    ) -> None:
        super().__init__()
        contents = journal.open()
        self._journal = journal
        self._now_ns = now_ns
        self._entropy = entropy
        self._wait_for_hold = wait_for_hold
        self._books = Books(contents.writer, contents.epoch, now_ns, entropy)
        try:
            self._restore(contents)
        except (InvariantBrokenError, LookupError, ValueError, StopIteration) as error:
            message = f"the books in the store do not fit together ({type(error).__name__}: {error})"
            raise NotAStoreError(f"{message}; `tallygate verify` says where") from None
        self._outbox = Outbox(entropy) if outbox is None else outbox
        self._outbox.restore(contents.events)
        self._queue = GroupCommit(self._write, journal.flush, flusher)
        self._claims = Claims(contents.claims_under_way, journal, self._queue, now_ns)
        self._notes = contents.notes

    # --- Ledger ------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the store takes writes."""
        return self._queue.failure is None

    @property
    def sheet(self) -> Sheet:
        """The prices in force."""
        return self._books.sheet

    @property
    def sheet_ns(self) -> int:
        """When they were published, 0 for never."""
        return self._books.sheet_ns

    def account(self, account_id: str) -> Account:
        """Return an account with its balance now; raises `UnknownAccountError`."""
        return self._books.account(account_id)

    def accounts(self) -> Sequence[Account]:
        """Return all accounts, oldest first."""
        return sorted(self._books.accounts.values(), key=lambda account: (account.created_ns, account.id))

    def budgets(self, account_id: str, key_id: str, limits: tuple[Limits, Limits]) -> Sequence[Sequence[Budget]]:
        """Return what is spent and held now of the spend limits of a key, and of its account."""
        return self._books.spendings.budgets(account_id, key_id, limits, self._now_ns())

    @property
    def sums(self) -> Sums:
        """Sums over all accounts and open holds: takes time for every account."""
        return sum_up(self._books.accounts.values(), self._books.holds.values())

    @property
    def kept_events(self) -> Sequence[KeptEvent]:
        """What the operator's webhook does not have yet, oldest first; what came last may not be durable yet."""
        return self._outbox.kept

    async def open_account(self, name: str, actor: str) -> Account:
        """Open an account with nothing in it."""
        self._queue.check()
        account, written = self._books.open_account(f"acct_{self._entropy(10).hex()}", name, actor)
        self._queue.append(written, NewAccount(account.id, account.name, account.created_ns))
        await self._queue.durable()
        return account

    async def deposit(
        self, account_id: str, picousd: int, reference: str | None, actor: str, claim: Claim | None = None
    ) -> Deposit:
        """Book money that came in; a reference is booked once, and so is a claim."""
        known = await self._find_act(claim)
        if known is not None:
            return Deposit(*known, replayed=True)
        deposit, written = self._books.deposit(account_id, picousd, reference, actor)
        self._claims.append_act(written, deposit.id, deposit.picousd, claim)
        await self._queue.durable()
        return deposit

    async def correct(
        self, account_id: str, picousd: int, reason: str, actor: str, claim: Claim | None = None
    ) -> Correction:
        """Change a balance, up or down, by the operator's word; it may end below zero. A claim is booked once."""
        known = await self._find_act(claim)
        if known is not None:
            return Correction(*known, replayed=True)
        correction, written = self._books.correct(account_id, picousd, reason, actor)
        self._claims.append_act(written, correction.id, correction.picousd, claim)
        await self._queue.durable()
        return correction

    async def publish(self, sheet: Sheet, actor: str) -> None:
        """Put the next version of the price sheet in force."""
        self._queue.check()
        self._queue.append(self._books.publish(sheet, actor))
        await self._queue.durable()

    def bound(self, request: HoldRequest) -> int:
        """Return the bound of the answer that a hold would be taken with now; takes nothing."""
        books = self._books
        account, price = books.account(request.account), books.sheet.prices[request.model]
        bound = bound_hold(account, request, price, books.sheet.fee_ppm, books.spendings, self._now_ns())
        return bound.completion_tokens

    async def hold(self, request: HoldRequest) -> Hold:
        """Set the most that an inference can cost aside, record its first sending, and take its claim."""
        self._queue.check()
        claim = request.claim
        if claim is not None and (known := self._claims.find(claim)):
            raise refuse(known)
        try:
            hold, written = self._books.hold(request)
        except Refusal as refusal:
            self._tell_empty(request, refusal)
            raise
        self._claims.append_hold(written, request.inference, claim)
        for sending in request.others:
            self._queue.append(self._books.begin_attempt(hold, sending))
        if self._wait_for_hold or claim is not None:
            try:
                await self._queue.durable()
            except asyncio.CancelledError:
                # Whoever asked is gone without the hold, so nobody else can end it; and nothing was sent.
                with contextlib.suppress(StoreUnavailableError):
                    self._queue.check()
                    ends = [SendingEnd(sending, 0, 0, 0) for sending in (*request.others, request.first)]
                    self._append_ending(hold, self._books.void_parts(hold, ends, "gone before it was sent"), None)
                raise
        return hold

    def begin_attempt(self, hold: Hold, sending: Sending) -> None:
        """Record a further sending before it is sent; not waited for."""
        self._queue.check()
        self._queue.append(self._books.begin_attempt(hold, sending))

    def end_attempt(self, hold: Hold, end: SendingEnd) -> None:
        """Record the end of a sending that was not the last; not waited for."""
        self._queue.check()
        self._queue.append(self._books.end_attempt(hold, end))

    async def settle(self, hold: Hold, end: SendingEnd, usage: Usage, others: Sequence[SendingEnd] = ()) -> Settlement:
        """Turn a hold into the charge."""
        self._queue.check()
        settlement, written = self._books.settle_parts(hold, (*others, end), usage)
        self._append_ending(hold, written, settlement.cost.total)
        await self._queue.durable()
        return settlement

    async def void(self, hold: Hold, end: SendingEnd, reason: str, others: Sequence[SendingEnd] = ()) -> None:
        """Give a hold back."""
        self._queue.check()
        self._append_ending(hold, self._books.void_parts(hold, (*others, end), reason), None)
        await self._queue.durable()

    async def find_claim(self, claim: Claim) -> Claimed | None:
        """Return what a claim's key stands for, durably, or None if it is free."""
        self._queue.check()
        return await self._claims.find_durable(claim)

    async def purge_claims(self) -> int:
        """Forget the claims whose day is over; returns how many."""
        return await self._claims.purge()

    async def expire_orphans(
        self, rate: Callable[[str], UpstreamRate], *, charge_prompt: bool, owned: Container[str] = ()
    ) -> Sequence[str]:
        """End every open hold without an owner, an earlier process's or one that was lost here; returns whose."""

        def bill(upstream: str, prompt_tokens: int, completion_tokens: int) -> int:
            return rate(upstream).bill(prompt_tokens, completion_tokens)

        self._queue.check()
        orphans = [hold for inference, hold in self._books.holds.items() if inference not in owned]
        for hold in orphans:
            usage = charged_after_crash(hold.prompt_tokens_max) if charge_prompt else None
            written = self._books.expire(hold, bill, usage)
            charge = sum(e.amount_of(written.entry, e.USD, name) for name in (e.INCOME_BASE, e.INCOME_FEE))
            charged = written.entry.flags & e.Flag.CHARGED_AFTER_CRASH  # which can be for nothing, where it is free
            self._claims.append_ending(written, hold.inference, charge if charged else None)
        await self._queue.durable()
        return [hold.inference for hold in orphans]

    async def note(self, reason: str, actor: str) -> None:
        """Record an operator's act that moves no money and is about no account."""
        self._queue.check()
        self._queue.append(self._books.note(None, reason, actor))
        await self._queue.durable()

    async def durable(self) -> None:
        """Return when all that was taken is durable; raises `StoreUnavailableError`."""
        await self._queue.durable()

    async def audit(self) -> Report:
        """Replay everything that is durable and say what was checked."""
        return await asyncio.to_thread(self._journal.audit)

    async def statement(
        self, account_id: str, start_ns: int, end_ns: int, entries_max: int
    ) -> tuple[Statement, list[Line]]:
        """Draw up what happened to an account between two moments, from what is durable."""
        self._books.account(account_id)

        def read() -> tuple[Statement, list[Line]]:
            with self._journal.history(account_id) as (_, history):
                period = find_period(history, start_ns, end_ns)
                if period.to - period.after > entries_max:
                    raise refusals.statement_too_long(period.to - period.after)
                return draw_up(history, period), list(read_lines(history, period))

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        """Make everything durable and let go of the store."""
        try:
            await self._queue.close()
        finally:
            self._journal.close()

    # --- Outgoings ---------------------------------------------------------------------------------------------

    async def events(self) -> Sequence[KeptEvent]:
        """Return what waits for the webhook, oldest first, as soon as there is something and all of it is durable."""
        await self._outbox.wait()
        kept = self._outbox.kept
        await self._queue.durable()
        return kept

    def tell(self, event: OperatorEvent) -> None:
        """Tell the operator of something that is in no entry; not waited for, so a crash can lose it."""
        if self.ready and (rows := self._outbox.tell(event)):
            self._queue.append(None, *rows)

    def forget_event(self, event_id: str) -> None:
        """Let go of an event; not waited for, so a crash can bring it back."""
        self._outbox.forget(event_id)
        self._queue.append(None, EventGone(event_id))

    # --- the parts of an act -----------------------------------------------------------------------------------

    def _write(self, entries: Sequence[Written], rows: Sequence[Row]) -> None:
        """Write one batch, and keep what it means for the operator.

        The first one begins with what a restored or loaded store has left to be noted.
        """
        if self._notes:
            entries = [*(self._books.note(None, reason, "operator") for reason in self._notes), *entries]
            rows = [*rows, *map(NoteWritten, self._notes)]
            self._notes = ()
        spent = self._books.spendings.rows(written.entry for written in entries)  # nothing was counted since
        self._journal.write(entries, [*rows, *spent, *self._outbox.tell_of(entries)], self._now_ns())

    def _tell_empty(self, request: HoldRequest, refusal: Refusal) -> None:
        """Tell the operator, once until money comes in, that an account cannot pay for a call."""
        account = self._books.account(request.account)
        if refusal.code is not Code.INSUFFICIENT_BALANCE or account.told_empty:
            return
        account.told_empty = True
        self.tell(out_of_money(request, refusal, self._now_ns()))

    def _append_ending(self, hold: Hold, written: Sequence[Written], picousd: int | None) -> None:
        """Take the entries that end an inference: one for each part, in one batch."""
        for ended in written[:-1]:
            self._queue.append(ended)
        self._claims.append_ending(written[-1], hold.inference, picousd)

    async def _find_act(self, claim: Claim | None) -> tuple[bytes, int] | None:
        """Return the entry and the amount of the operator's act that a claim's key stands for, if it is not free."""
        self._queue.check()
        known = None if claim is None else await self._claims.find_durable(claim)
        return None if known is None else (bytes.fromhex(known.subject), known.picousd or 0)

    def _restore(self, contents: Contents) -> None:
        books = self._books
        for stored in contents.accounts:
            account = Account(*stored[:6], suspended=stored.suspended, limits=stored.limits)
            books.accounts[stored.id] = account
        self._take_up(contents.keys)
        for entry in map(decode_entry, contents.sheets):
            restore_sheet(books, Sheet.decode(entry.reason or ""), entry.time_ns)
        for raw in contents.referenced_deposits:
            entry = decode_entry(raw)
            if entry.reference is None:
                raise ValueError("a deposit is listed under a reference that it does not have")
            amount = next(amount for _, name, amount in entry.postings if name.endswith("/available"))
            books.deposits[entry.account or "", entry.reference] = (entry_id(raw), amount)
        for spent in contents.spent:
            books.spendings.restore(spent)
        for raws in contents.open_holds:
            restore_hold(books, [(entry_id(raw), decode_entry(raw)) for raw in raws])
        if any(claimed.subject not in books.holds for claimed in contents.claims_under_way):
            raise ValueError("a claim is under way whose hold is not")
