"""Who may move what: the rules of the books, as a state that only changes together with the entry that says so.

`Books` keeps every account's balance and every open hold in memory. Each act checks the rule, changes the state
and returns the entry to be written, in one step that nothing can come between. A store then makes entries durable
in the order in which they were made; if it ever fails to, the state is ahead of the disk and the process must not
go on (the store refuses everything until the next start, which reads the state back from the disk).

The rules that guard money:

* a hold never takes an account's available balance below zero;
* a charge never exceeds its hold: what an upstream reports beyond is overrun, the operator's, always visible;
* one inference has one hold and one ending;
* every entry's postings sum to zero in each book.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.core.errors import Code, InvariantBrokenError, Refusal
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, Flag, Posting
from tallygate.core.ledger.postings import check_balanced, ngonka_postings, usd_postings
from tallygate.core.ledger.records import (
    Account,
    Deposit,
    Hold,
    HoldRequest,
    Sending,
    SendingEnd,
    Settlement,
    UnknownAccountError,
    Written,
)
from tallygate.core.money import ACCOUNT_PICOUSD_MAX, format_usd
from tallygate.core.pricing import FREE, Cost, Sheet, cost_of

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
        self.sheets: dict[int, Sheet] = {}
        self.sheet = Sheet(version=0, fee_ppm=0, prices={})
        self._now_ns = now_ns
        self._entropy = entropy

    # --- acts that move no money -------------------------------------------------------------------------------

    def open_account(self, account_id: str, name: str, actor: str) -> tuple[Account, Written]:
        """Open an account. Its name stays out of the books, which can never forget it."""
        if account_id in self.accounts:
            raise InvariantBrokenError("an account id was minted twice")
        account = self.accounts[account_id] = Account(account_id, name, self._now_ns())
        return account, self._write(e.NOTE, account, actor=actor, reason="account opened")

    def note(self, account_id: str | None, reason: str, actor: str, *, key_id: str | None = None) -> Written:
        """Record an operator's act, such as a key's life."""
        account = None if account_id is None else self.account(account_id)
        return self._write(e.NOTE, account, key_id=key_id, actor=actor, reason=reason)

    def publish(self, sheet: Sheet, actor: str) -> Written:
        """Put the next version of the price sheet in force."""
        if sheet.version != self.sheet.version + 1:
            raise InvariantBrokenError("a price sheet follows the one before it")
        self.sheet = self.sheets[sheet.version] = sheet
        return self._write(e.SHEET, None, sheet_version=sheet.version, actor=actor, reason=sheet.encode())

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
            raise Refusal(Code.INVALID_VALUE, "A deposit must be more than 0 US dollars.", param="usd")
        if reference is not None and (known := self.deposits.get((account_id, reference))):
            deposit_id, amount = known
            if amount != picousd:
                raise Refusal(
                    Code.CONFLICT,
                    f"Reference already used for a deposit of {format_usd(amount)} US dollars on this account.",
                    param="reference",
                )
            return Deposit(deposit_id, amount, replayed=True), None
        if account.available + account.held + picousd > ACCOUNT_PICOUSD_MAX:
            limit = format_usd(ACCOUNT_PICOUSD_MAX)
            raise Refusal(Code.INVALID_VALUE, f"An account holds at most {limit} US dollars.", param="usd")
        account.available += picousd
        postings = ((e.USD, account.available_account, picousd), (e.USD, e.WORLD, -picousd))
        written = self._write(e.DEPOSIT, account, postings, reference=reference, actor=actor)
        if reference is not None:
            self.deposits[account_id, reference] = (written.id, picousd)
        return Deposit(written.id, picousd, replayed=False), written

    def hold(self, request: HoldRequest) -> tuple[Hold, Written]:
        """Set aside the most that an inference can cost.

        Raises:
            Refusal: The account cannot pay for it (`insufficient_balance`), or only once calls under way have
                ended (`balance_held`).
        """
        if request.inference in self.holds:
            raise InvariantBrokenError("an inference has one hold")
        account = self.account(request.account)
        sheet = self.sheet
        price = sheet.prices[request.model]
        cost = cost_of(price, sheet.fee_ppm, request.prompt_tokens_max, request.completion_tokens_max)
        amount = cost.total
        if amount > account.available:
            raise _short_of_money(account, amount)
        account.available -= amount
        account.held += amount
        written = self._write(
            e.HOLD,
            account,
            usd_postings(account, -amount, amount),
            inference=request.inference,
            part=request.first.part,
            try_=request.first.try_,
            key_id=request.key_id,
            model=request.model,
            sheet_version=sheet.version,
            prompt_tokens=request.prompt_tokens_max,
            completion_tokens=request.completion_tokens_max,
            upstream=request.first.upstream,
            node=request.first.node,
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
            request.completion_tokens_max,
            cost,
            {request.first: None},
        )
        self.holds[request.inference] = hold
        return hold, written

    def begin_attempt(self, hold: Hold, sending: Sending) -> Written:
        """Record a further sending, before it is sent."""
        if sending in hold.open_sendings or self.holds.get(hold.inference) is not hold:
            raise InvariantBrokenError("a sending begins once, and only under an open hold")
        written = self._attempt(hold, sending)
        hold.open_sendings[sending] = written.id
        return written

    def end_attempt(self, hold: Hold, end: SendingEnd) -> Written:
        """Record the end of a sending that was not the last: what it cost stays with the operator."""
        begun = hold.open_sendings.pop(end.sending)
        return self._attempt(hold, end.sending, end, ends=begun)

    def settle(self, hold: Hold, end: SendingEnd, usage: Usage) -> tuple[Settlement, Written]:
        """Turn a hold into the real charge and give the rest back; ends the last sending too."""
        self._take(hold)
        account, held = hold.account, hold.cost.total
        cost = listed = cost_of(hold.price, hold.fee_ppm, usage.prompt_tokens, usage.completion_tokens)
        flags, excess, unpaid = usage.flags, None, None
        if listed.total > held:
            cost, flags, excess = hold.cost, flags | Flag.OVERRUN, listed.total - held
            unpaid = -(-end.bill_ngonka * excess // listed.total)
        account.held -= held
        account.available += held - cost.total
        written = self._write(
            e.SETTLE,
            account,
            ngonka_postings({end.sending.upstream: end.bill_ngonka}, unpaid or 0)
            + usd_postings(account, held - cost.total, -held, cost),
            inference=hold.inference,
            ends=hold.id,
            part=end.sending.part,
            try_=end.sending.try_,
            key_id=hold.key_id,
            model=hold.model,
            sheet_version=hold.sheet_version,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            flags=int(flags),
            upstream=end.sending.upstream,
            node=end.sending.node,
            upstream_reference=end.upstream_reference,
            overrun_ngonka=unpaid,
            overrun_list_picousd=excess,
        )
        return Settlement(cost, flags), written

    def void(self, hold: Hold, end: SendingEnd, reason: str) -> Written:
        """Give all of a hold back; what the last sending cost stays with the operator."""
        self._take(hold)
        return self._release(e.VOID, hold, FREE, {end.sending.upstream: end.bill_ngonka}, end, reason=reason)

    def expire(self, hold: Hold, bill: Callable[[str, int, int], int], usage: Usage | None) -> Written:
        """End a hold that recovery found without an owner.

        Args:
            hold: The hold.
            bill: What an upstream, by name, may have billed for so many tokens, in ngonka.
            usage: What the caller is charged for; None gives all of the hold back.
        """
        sendings = list(hold.open_sendings)
        self._take(hold)
        bills: dict[str, int] = {}
        for sending in sendings:
            possible = bill(sending.upstream, hold.prompt_tokens_max, hold.completion_tokens_max)
            bills[sending.upstream] = bills.get(sending.upstream, 0) + possible
        cost = FREE
        flags = Flag(0)
        if usage is not None:
            cost = cost_of(hold.price, hold.fee_ppm, usage.prompt_tokens, usage.completion_tokens)
            flags = usage.flags | Flag.CHARGED_AFTER_CRASH
            if cost.total > hold.cost.total:
                cost = hold.cost
        last = sendings[-1] if sendings else Sending(0, 0, "", None)
        prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        end = SendingEnd(last, prompt, completion, 0)
        return self._release(e.EXPIRE, hold, cost, bills, end, reason="found without an owner", flags=flags)

    # --- reading back ------------------------------------------------------------------------------------------

    def account(self, account_id: str) -> Account:
        """Return an account.

        Raises:
            UnknownAccountError: There is none with this id.
        """
        account = self.accounts.get(account_id)
        if account is None:
            raise UnknownAccountError(account_id)
        return account

    def restore_sheet(self, sheet: Sheet) -> None:
        """Take up a price sheet version that the store has."""
        self.sheets[sheet.version] = sheet
        if sheet.version > self.sheet.version:
            self.sheet = sheet

    def restore_hold(self, entries: Sequence[tuple[bytes, Entry]]) -> None:
        """Take up an open hold from its entries in the store (the hold, then its attempts), in their order."""
        hold_id, first = entries[0]
        sheet = self.sheets[first.sheet_version or 0]
        model, inference = first.model or "", first.inference or ""
        prompt_max, completion_max = first.prompt_tokens or 0, first.completion_tokens or 0
        price = sheet.prices[model]
        hold = Hold(
            hold_id,
            inference,
            self.account(first.account or ""),
            first.key_id,
            model,
            sheet.version,
            price,
            sheet.fee_ppm,
            prompt_max,
            completion_max,
            cost_of(price, sheet.fee_ppm, prompt_max, completion_max),
            {_sending(first): None},
        )
        for attempt_id, attempt in entries[1:]:
            if attempt.completion_tokens is None:
                hold.open_sendings[_sending(attempt)] = attempt_id
            else:
                hold.open_sendings.pop(_sending(attempt), None)
        self.holds[inference] = hold

    # --- the parts of an act -----------------------------------------------------------------------------------

    def _take(self, hold: Hold) -> None:
        if self.holds.pop(hold.inference, None) is not hold:
            raise InvariantBrokenError("an inference has one ending")

    def _attempt(
        self, hold: Hold, sending: Sending, end: SendingEnd | None = None, ends: bytes | None = None
    ) -> Written:
        bill = end.bill_ngonka if end else 0
        return self._write(
            e.ATTEMPT,
            None,
            ngonka_postings({sending.upstream: bill}, bill),
            inference=hold.inference,
            ends=ends,
            part=sending.part,
            try_=sending.try_,
            model=hold.model,
            prompt_tokens=end.prompt_tokens if end else None,
            completion_tokens=end.completion_tokens if end else None,
            upstream=sending.upstream,
            node=sending.node,
            upstream_reference=end.upstream_reference if end else None,
        )

    def _release(
        self,
        kind: str,
        hold: Hold,
        cost: Cost,
        bills: dict[str, int],
        end: SendingEnd,
        *,
        reason: str,
        flags: Flag = Flag(0),  # noqa: B008  (an immutable constant)
    ) -> Written:
        account, held = hold.account, hold.cost.total
        account.held -= held
        account.available += held - cost.total
        return self._write(
            kind,
            account,
            ngonka_postings(bills, sum(bills.values())) + usd_postings(account, held - cost.total, -held, cost),
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
            reason=reason,
        )

    def _write(self, kind: str, account: Account | None, postings: tuple[Posting, ...] = (), **fields: Any) -> Written:
        check_balanced(postings)
        if account is not None:
            account.sequence += 1
            if account.held < 0 or (kind == e.HOLD and account.available < 0):
                raise InvariantBrokenError("an act would have taken an account below zero")
            fields["account"] = account.id
            fields["account_sequence"] = account.sequence
            fields["available_after"] = account.available
            fields["held_after"] = account.held
        entry = Entry(
            e.FORMAT,
            kind,
            self._entropy(16),
            self._now_ns(),
            self.writer,
            self.epoch,
            postings=postings,
            **fields,
        )
        entry_bytes = e.encode_entry(entry)
        return Written(entry, entry_bytes, e.entry_id(entry_bytes))


def _sending(entry: Entry) -> Sending:
    return Sending(entry.part or 0, entry.try_ or 0, entry.upstream or "", entry.node)


def _short_of_money(account: Account, required: int) -> Refusal:
    balance = account.available + account.held
    metadata = {
        "balance_usd": format_usd(balance),
        "available_usd": format_usd(account.available),
        "required_usd": format_usd(required),
    }
    if balance >= required:
        message = "The balance is held by calls under way; it is free again when they end."
        return Refusal(Code.BALANCE_HELD, message, metadata=metadata, retry_after_s=1)
    message = (
        f"This call can cost up to {metadata['required_usd']} US dollars; {metadata['available_usd']} are available. "
        "Top the account up, or lower max_tokens."
    )
    return Refusal(Code.INSUFFICIENT_BALANCE, message, metadata=metadata)
