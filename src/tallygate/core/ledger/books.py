"""Who may move what: the rules of the books, as a state that only changes together with the entry that says so.

`Books` keeps every account's balance and every open hold in memory. Each act checks the rule, makes the entry, and
only then changes the state, in one step that nothing can come between: an act that raises has changed nothing. A
store then makes entries durable in the order in which they were made; if it ever fails to, the state is ahead of
the disk and the process must not go on (the store refuses everything until the next start, which reads it back).

The rules that guard money:

* a hold never takes an account's available balance below zero;
* a charge never exceeds its hold: what an upstream reports beyond is overrun, the operator's, always visible;
* one inference has one hold and one ending;
* every entry's postings sum to zero in each book.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.ledger import refusals
from tallygate.core.ledger.affording import bound_hold
from tallygate.core.ledger.entry import Entry, Flag, Posting
from tallygate.core.ledger.expiry import find_crash_loss
from tallygate.core.ledger.parts import ends_all, find_charge
from tallygate.core.ledger.postings import check_balanced, ngonka_postings, usd_postings
from tallygate.core.ledger.records import (
    Account,
    Correction,
    Deposit,
    Hold,
    HoldRequest,
    Sending,
    SendingEnd,
    Settlement,
    UnknownAccountError,
    Written,
)
from tallygate.core.ledger.spending import Spendings
from tallygate.core.money import ACCOUNT_PICOUSD_MAX
from tallygate.core.pricing import FREE, Cost, Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.usage import Usage


class Books:
    """Balances, open holds and prices of one writer, and the only code that may change them.

    Args:
        writer: The installation's id, 16 bytes.
        epoch: This start's number.
        now_ns: Wall clock in nanoseconds.
        entropy: Gives so many random bytes.
    """

    def __init__(self, writer: bytes, epoch: int, now_ns: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self.writer = writer
        self.epoch = epoch
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Hold] = {}
        self.deposits: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.spendings = Spendings()
        self.sheets: dict[int, Sheet] = {}
        self.sheet = Sheet(version=0, fee_ppm=0, prices={})
        self.sheet_ns = 0
        self._now_ns = now_ns
        self._entropy = entropy

    # --- acts that move no money -------------------------------------------------------------------------------

    def open_account(self, account_id: str, name: str, actor: str) -> tuple[Account, Written]:
        """Open an account. Its name stays out of the books, which can never forget it."""
        if account_id in self.accounts:
            raise InvariantBrokenError("an account id was minted twice")
        account = Account(account_id, name, self._now_ns())
        written = self._write(e.NOTE, account, actor=actor, reason="account opened")
        self.accounts[account_id] = account
        return account, written

    def note(self, account_id: str | None, reason: str, actor: str, *, key_id: str | None = None) -> Written:
        """Record an operator's act, such as a key's life."""
        account = None if account_id is None else self.account(account_id)
        return self._write(e.NOTE, account, key_id=key_id, actor=actor, reason=reason)

    def publish(self, sheet: Sheet, actor: str) -> Written:
        """Put the next version of the price sheet in force."""
        if sheet.version != self.sheet.version + 1:
            raise InvariantBrokenError("a price sheet follows the one before it")
        written = self._write(e.SHEET, None, sheet_version=sheet.version, actor=actor, reason=sheet.encode())
        self.sheet, self.sheet_ns = sheet, written.entry.time_ns
        self.sheets[sheet.version] = sheet
        return written

    # --- acts that move money ----------------------------------------------------------------------------------

    def deposit(
        self, account_id: str, picousd: int, reference: str | None, actor: str
    ) -> tuple[Deposit, Written | None]:
        """Book money that came in; once for each reference.

        Raises:
            UnknownAccountError: No such account.
            Refusal: The amount is not positive, would exceed the account's cap, or the reference stands for another.
        """
        account = self.account(account_id)
        if picousd <= 0:
            raise refusals.nothing_deposited()
        if reference is not None and (known := self.deposits.get((account_id, reference))):
            deposit_id, amount = known
            if amount != picousd:
                raise refusals.reference_used(amount)
            return Deposit(deposit_id, amount, replayed=True), None
        if account.balance + picousd > ACCOUNT_PICOUSD_MAX:
            raise refusals.above_cap()
        postings = ((e.USD, account.available_account, picousd), (e.USD, e.WORLD, -picousd))
        written = self._write(e.DEPOSIT, account, postings, available=picousd, reference=reference, actor=actor)
        if reference is not None:
            self.deposits[account_id, reference] = (written.id, picousd)
        return Deposit(written.id, picousd, replayed=False), written

    def correct(self, account_id: str, picousd: int, reason: str, actor: str) -> tuple[Correction, Written]:
        """Change a balance by the operator's word; the one act that may take an account below zero.

        Raises:
            UnknownAccountError: No such account.
            Refusal: The change is zero, or would take the account beyond its cap, in credit or in debt.
        """
        account = self.account(account_id)
        if picousd == 0:
            raise refusals.nothing_corrected()
        balance = account.balance + picousd
        if picousd > 0 and balance > ACCOUNT_PICOUSD_MAX:
            raise refusals.above_cap()
        if picousd < 0 and balance < -ACCOUNT_PICOUSD_MAX:
            raise refusals.below_floor()
        postings = ((e.USD, account.available_account, picousd), (e.USD, e.CORRECTIONS, -picousd))
        written = self._write(e.CORRECTION, account, postings, available=picousd, reason=reason, actor=actor)
        return Correction(written.id, picousd, replayed=False), written

    def hold(self, request: HoldRequest) -> tuple[Hold, Written]:
        """Set aside the most that an inference can cost; where the request allows it, of a bound that is affordable.

        Raises:
            Refusal: It would exceed a spend limit of its key or its account (`spend_limit_exceeded`), or the account
                cannot pay for it (`insufficient_balance`), or only once calls under way have ended (`balance_held`).
        """
        if request.inference in self.holds:
            raise InvariantBrokenError("an inference has one hold")
        account = self.account(request.account)
        sheet = self.sheet
        price = sheet.prices[request.model]
        now_ns = self._now_ns()  # once: the day whose limit is asked is the day of the entry
        bound = bound_hold(account, request, price, sheet.fee_ppm, self.spendings, now_ns)
        amount = bound.cost.total
        written = self._write(
            e.HOLD,
            account,
            usd_postings(account, -amount, amount),
            available=-amount,
            held=amount,
            inference=request.inference,
            part=request.first.part,
            try_=request.first.try_,
            key_id=request.key_id,
            model=request.model,
            sheet_version=sheet.version,
            prompt_tokens=request.prompt_tokens_max,
            completion_tokens=bound.completion_tokens,
            upstream=request.first.upstream,
            node=request.first.node,
            tag=request.tag,
            now_ns=now_ns,
        )
        hold = Hold(
            written.id,
            request.inference,
            account,
            request.key_id,
            request.model,
            sheet.version,
            price,
            sheet.fee_ppm,
            request.prompt_tokens_max,
            bound.completion_tokens,
            bound.cost,
            {request.first: None},
            written.entry.time_ns,
            {request.first[:2]},
            request.tag,
        )
        self.holds[request.inference] = hold
        self.spendings.set_aside(hold)
        return hold, written

    def begin_attempt(self, hold: Hold, sending: Sending) -> Written:
        """Record a further sending, before it is sent."""
        self._check_open(hold)
        if sending[:2] in hold.begun:
            raise InvariantBrokenError("a sending begins once")
        written = self._attempt(hold, sending)
        hold.open_sendings[sending] = written.id
        hold.begun.add(sending[:2])
        return written

    def end_attempt(self, hold: Hold, end: SendingEnd) -> Written:
        """Record the end of a sending that was not the last of its part: what it cost stays with the operator."""
        self._check_open(hold)
        if end.sending not in hold.open_sendings:
            raise InvariantBrokenError("a sending ends once")
        written = self._attempt(hold, end.sending, end, ends=hold.open_sendings[end.sending])
        del hold.open_sendings[end.sending]
        return written

    def settle(self, hold: Hold, end: SendingEnd, usage: Usage) -> tuple[Settlement, Written]:
        """Turn the hold of an inference of one part into the real charge, as `settle_parts` does."""
        settlement, (written,) = self.settle_parts(hold, (end,), usage)
        return settlement, written

    def settle_parts(
        self, hold: Hold, ends: Sequence[SendingEnd], usage: Usage
    ) -> tuple[Settlement, tuple[Written, ...]]:
        """Turn a hold into the charge of all parts, and give the rest back; the last sending of each part ends too."""
        self._check_open(hold, ends)
        cost, flags, unpaid, overrun = find_charge(hold, ends, usage)
        delivered = self._end_others(hold, ends, unpaid)
        end = ends[-1]
        if end.prompt_tokens != usage.prompt_tokens or end.completion_tokens != usage.completion_tokens:
            end = end._replace(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
        bills = {end.sending.upstream: end.bill_ngonka}
        written = self._end(
            e.SETTLE, hold, end, cost, bills, unpaid[-1], flags=flags, reason=usage.basis, overrun=overrun
        )
        return Settlement(cost, flags), (*delivered, written)

    def void(self, hold: Hold, end: SendingEnd, reason: str) -> Written:
        """Give all of the hold of an inference of one part back, as `void_parts` does."""
        return self.void_parts(hold, (end,), reason)[0]

    def void_parts(self, hold: Hold, ends: Sequence[SendingEnd], reason: str) -> tuple[Written, ...]:
        """Give all of a hold back; what the sending of each part cost stays with the operator."""
        self._check_open(hold, ends)
        lost = self._end_others(hold, ends, [end.bill_ngonka for end in ends])
        end = ends[-1]
        bills = {end.sending.upstream: end.bill_ngonka}
        return (*lost, self._end(e.VOID, hold, end, FREE, bills, end.bill_ngonka, reason=reason))

    def expire(self, hold: Hold, bill: Callable[[str, int, int], int], usage: Usage | None) -> Written:
        """End a hold that recovery found without an owner, and all of its sendings.

        What was lost with the crash is told like an overrun: its ngonka, and its price on the list.

        Args:
            hold: The hold.
            bill: What an upstream, by name, may have billed for so many tokens, in ngonka.
            usage: What the caller is charged for; None gives all of the hold back.
        """
        self._check_open(hold)
        loss = find_crash_loss(hold, bill, usage)
        return self._end(
            e.EXPIRE,
            hold,
            loss.end,
            loss.cost,
            loss.bills,
            loss.unpaid_ngonka,
            flags=loss.flags,
            reason="found without an owner",
            overrun=(loss.unpaid_ngonka, loss.list_picousd),
        )

    # --- looking up ------------------------------------------------------------------------------------------

    def account(self, account_id: str) -> Account:
        """Return an account; raises `UnknownAccountError`."""
        account = self.accounts.get(account_id)
        if account is None:
            raise UnknownAccountError(account_id)
        return account

    # --- the parts of an act -----------------------------------------------------------------------------------

    def _check_open(self, hold: Hold, ends: Sequence[SendingEnd] | None = None) -> None:
        """Raise InvariantBrokenError unless a hold is open; and `ends`, if given, end all of its open sendings."""
        if self.holds.get(hold.inference) is not hold:
            raise InvariantBrokenError("an inference has one ending, and nothing after it")
        if ends is not None and not ends_all(hold, ends):
            raise InvariantBrokenError("an ending ends the last sending of each part; the others have ended before")

    def _end_others(self, hold: Hold, ends: Sequence[SendingEnd], unpaid: Sequence[int]) -> list[Written]:
        """Make the entries that end all sendings but the last, in the step in which that one ends the inference."""
        if len(ends) == 1:
            return []
        begun = hold.open_sendings
        return [
            self._attempt(hold, end.sending, end, begun[end.sending], share)
            for end, share in zip(ends[:-1], unpaid[:-1], strict=True)
        ]

    def _attempt(
        self,
        hold: Hold,
        sending: Sending,
        end: SendingEnd | None = None,
        ends: bytes | None = None,
        unpaid: int | None = None,
    ) -> Written:
        bill = end.bill_ngonka if end else 0
        return self._write(
            e.ATTEMPT,
            None,
            ngonka_postings({sending.upstream: bill}, bill if unpaid is None else unpaid),
            inference=hold.inference,
            ends=ends,
            part=sending.part,
            try_=sending.try_,
            model=hold.model,
            prompt_tokens=end.prompt_tokens if end else None,
            completion_tokens=end.completion_tokens if end else None,
            flags=int(end.flags) if end else 0,
            upstream=sending.upstream,
            node=sending.node,
            upstream_reference=end.upstream_reference if end else None,
        )

    def _end(
        self,
        kind: str,
        hold: Hold,
        end: SendingEnd,
        cost: Cost,
        bills: dict[str, int],
        unpaid: int,
        *,
        flags: Flag = Flag(0),  # noqa: B008  (an immutable constant)
        reason: str | None = None,
        overrun: tuple[int | None, int | None] = (None, None),
    ) -> Written:
        account, held = hold.account, hold.cost.total
        written = self._write(
            kind,
            account,
            ngonka_postings(bills, unpaid) + usd_postings(account, held - cost.total, -held, cost),
            available=held - cost.total,
            held=-held,
            inference=hold.inference,
            ends=hold.id,
            part=end.sending.part,
            try_=end.sending.try_,
            key_id=hold.key_id,
            model=hold.model,
            sheet_version=hold.sheet_version,
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            flags=int(flags),
            upstream=end.sending.upstream or None,
            node=end.sending.node,
            upstream_reference=end.upstream_reference,
            overrun_ngonka=overrun[0],
            overrun_list_picousd=overrun[1],
            reason=reason,
            tag=hold.tag,
        )
        del self.holds[hold.inference]
        self.spendings.end(hold, cost.total)
        return written

    def _write(
        self,
        kind: str,
        account: Account | None,
        postings: tuple[Posting, ...] = (),
        *,
        available: int = 0,
        held: int = 0,
        now_ns: int | None = None,
        **fields: Any,
    ) -> Written:
        """Make an entry, then move the account by what it says: all that can fail has been done by then."""
        check_balanced(postings)
        after: tuple[str | None, int | None, int | None, int | None] = (None, None, None, None)
        if account is not None:
            available, held = account.available + available, account.held + held
            if held < 0 or (kind == e.HOLD and available < 0):
                raise InvariantBrokenError("an act would have taken an account below zero")
            after = (account.id, account.sequence + 1, available, held)
        nonce, time_ns = self._entropy(e.ID_BYTES), self._now_ns() if now_ns is None else now_ns
        entry = Entry(e.FORMAT, kind, nonce, time_ns, self.writer, self.epoch, *after, postings=postings, **fields)
        entry_bytes = e.encode_entry(entry)
        if account is not None:
            if available + held > account.balance:
                account.told_empty = False
            account.available, account.held = available, held
            account.sequence += 1
        return Written(entry, entry_bytes, e.entry_id(entry_bytes))
