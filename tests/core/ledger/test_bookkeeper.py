"""The books against a second, naive bookkeeper that predicts every outcome, through any history."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Shelf
from hypothesis.stateful import (
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.records import Hold, Sending, SendingEnd
from tallygate.core.money import ACCOUNT_PICOUSD_MAX
from tallygate.core.pricing import Price, revised
from tests.core.ledger.world import MODEL, World, usage

ACCOUNTS = ("a", "b")
AMOUNTS = st.sampled_from([1, 143_008, 10**6, 10**12, ACCOUNT_PICOUSD_MAX]) | st.integers(-5, ACCOUNT_PICOUSD_MAX + 5)
TOKENS = st.integers(0, 2000)
BILLS = st.integers(0, 10**6)


class Open(NamedTuple):
    """What the bookkeeper knows of a hold: whose, how much, at which price, and its sending."""

    hold: Hold
    account: str
    held: int
    price: tuple[int, int, int, int]
    sending: Sending


class Bookkeeper:
    """A customer's money as anybody would write it down: what is free, what is set aside, what was taken."""

    def __init__(self) -> None:
        self.free = dict.fromkeys(ACCOUNTS, 0)
        self.aside = dict.fromkeys(ACCOUNTS, 0)
        self.came = self.taken = self.billed = 0
        self.references: dict[tuple[str, str], int] = {}
        self.price = (100, 300, 7, 100_000)

    def charge(self, price: tuple[int, int, int, int], prompt: int, completion: int) -> int:
        """Return the price of so many tokens, the fee rounded half up."""
        inp, out, call, fee_ppm = price
        base = Fraction(prompt * inp + completion * out + call)
        return int(base) + floor(base * fee_ppm / 10**6 + Fraction(1, 2))

    def expect_deposit(self, account: str, picousd: int, reference: str | None) -> str:
        """Return what becomes of a deposit: booked, replayed, or why it is refused."""
        if picousd <= 0:
            return "invalid_value"
        if reference is not None and (account, reference) in self.references:
            return "replayed" if self.references[account, reference] == picousd else "conflict"
        if self.free[account] + self.aside[account] + picousd > ACCOUNT_PICOUSD_MAX:
            return "invalid_value"
        if reference is not None:
            self.references[account, reference] = picousd
        self.free[account] += picousd
        self.came += picousd
        return "booked"

    def expect_hold(self, account: str, amount: int) -> Code | None:
        """Return why a hold is refused, or None if it is taken."""
        if amount > self.free[account]:
            whole = self.free[account] + self.aside[account]
            return Code.BALANCE_HELD if amount <= whole else Code.INSUFFICIENT_BALANCE
        self.free[account] -= amount
        self.aside[account] += amount
        return None

    def end(self, opened: Open, charge: int) -> None:
        """Take the charge out of what is set aside, and free the rest."""
        self.aside[opened.account] -= opened.held
        self.free[opened.account] += opened.held - charge
        self.taken += charge


class History(RuleBasedStateMachine):
    """Any mix of deposits, holds, retries, endings and price changes, told to both."""

    open_holds: Shelf[Open] = Shelf("open_holds")

    @initialize()
    def begin(self) -> None:
        """Open the accounts."""
        self.world = World()
        self.keeper = Bookkeeper()
        self.count = 0
        for account in ACCOUNTS:
            self.world.open(account)

    @rule(account=st.sampled_from(ACCOUNTS), picousd=AMOUNTS, reference=st.none() | st.sampled_from("xy"))
    def deposit(self, account: str, picousd: int, reference: str | None) -> None:
        """A deposit is booked, replayed or refused as predicted."""
        expected = self.keeper.expect_deposit(account, picousd, reference)
        try:
            outcome = "replayed" if self.world.deposit(account, picousd, reference).replayed else "booked"
        except Refusal as refusal:
            outcome = refusal.code.value
        assert outcome == expected

    @rule(target=open_holds, account=st.sampled_from(ACCOUNTS), prompt=TOKENS, completion=TOKENS)
    def hold(self, account: str, prompt: int, completion: int) -> Any:
        """A hold is taken or refused as predicted."""
        self.count += 1
        price, first = self.keeper.price, Sending(0, 0, "nodes", None)
        amount = self.keeper.charge(price, prompt, completion)
        expected = self.keeper.expect_hold(account, amount)
        bounds = {"prompt_tokens_max": prompt, "completion_tokens_max": completion, "first": first}
        if expected is not None:
            with pytest.raises(Refusal) as refused:
                self.world.hold(f"chatcmpl-{self.count}", account, **bounds)
            assert refused.value.code is expected
            return multiple()
        return Open(self.world.hold(f"chatcmpl-{self.count}", account, **bounds), account, amount, price, first)

    @rule(target=open_holds, opened=consumes(open_holds), bill=BILLS, upstream=st.sampled_from(["nodes", "n", "n-2"]))
    def retry(self, opened: Open, bill: int, upstream: str) -> Open:
        """A retry moves no USD; what the failed sending cost is the operator's."""
        books, sending = self.world.books, Sending(0, opened.sending.try_ + 1, upstream, None)
        self.world.keep(books.end_attempt(opened.hold, SendingEnd(opened.sending, 0, 0, bill)))
        self.world.keep(books.begin_attempt(opened.hold, sending))
        self.keeper.billed += bill
        return opened._replace(sending=sending)

    @rule(opened=consumes(open_holds), prompt=TOKENS, completion=TOKENS, bill=BILLS)
    def settle(self, opened: Open, prompt: int, completion: int, bill: int) -> None:
        """A settlement charges what was used at the price of the hold, and never more than the hold."""
        charge = min(self.keeper.charge(opened.price, prompt, completion), opened.held)
        end = SendingEnd(opened.sending, prompt, completion, bill)
        settlement, written = self.world.books.settle(opened.hold, end, usage(prompt, completion))
        self.world.keep(written)
        assert settlement.cost.total == charge
        self.keeper.end(opened, charge)
        self.keeper.billed += bill

    @rule(opened=consumes(open_holds), bill=BILLS)
    def void(self, opened: Open, bill: int) -> None:
        """A void charges nothing."""
        self.world.keep(self.world.books.void(opened.hold, SendingEnd(opened.sending, 0, 0, bill), "failed"))
        self.keeper.end(opened, 0)
        self.keeper.billed += bill

    @rule(opened=consumes(open_holds), bill=BILLS, prompt=st.none() | TOKENS)
    def expire(self, opened: Open, bill: int, prompt: int | None) -> None:
        """An expiry charges nothing, or the prompt."""
        spent = None if prompt is None else usage(prompt, 0)
        charge = 0 if prompt is None else min(self.keeper.charge(opened.price, prompt, 0), opened.held)
        self.world.keep(self.world.books.expire(opened.hold, lambda *_: bill, spent))
        self.keeper.end(opened, charge)
        self.keeper.billed += bill

    @rule(inp=st.integers(1, 1000), out=st.integers(1, 1000), call=st.integers(0, 9), fee=st.integers(0, 10**6))
    def publish(self, inp: int, out: int, call: int, fee: int) -> None:
        """A new price counts for holds from now on."""
        books = self.world.books
        self.world.keep(books.publish(revised(books.sheet, {MODEL: Price(inp, out, call)}, fee_ppm=fee), "operator"))
        self.keeper.price = (inp, out, call, fee)

    @invariant()
    def money_is_where_the_bookkeeper_says(self) -> None:
        """Balances are the predicted ones, none is below zero, and nothing was made or lost."""
        keeper, accounts = self.keeper, self.world.books.accounts
        assert {name: (a.available, a.held) for name, a in accounts.items()} == {
            name: (keeper.free[name], keeper.aside[name]) for name in ACCOUNTS
        }
        assert min(*keeper.free.values(), *keeper.aside.values()) >= 0
        assert sum(keeper.free.values()) + sum(keeper.aside.values()) + keeper.taken == keeper.came

    def teardown(self) -> None:
        """In the end the audit is clean, and its totals are the bookkeeper's."""
        report = self.world.audit()
        assert report.problems == []
        totals = report.totals
        assert -totals["USD", "world"] == self.keeper.came
        assert totals["USD", "income/base"] + totals["USD", "income/fee"] == self.keeper.taken
        assert totals["NGONKA", "cost/paid"] + totals["NGONKA", "cost/unpaid"] == self.keeper.billed
        assert report.open_holds == len(self.world.books.holds)


def test_no_history_makes_books_and_bookkeeper_differ() -> None:
    """Whatever happens in whatever order, the bookkeeper has foreseen each outcome, and the audit is clean."""
    run_state_machine_as_test(History, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
