"""The books against a second, naive bookkeeper that predicts every outcome, through any history."""

from __future__ import annotations

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

from tallygate.core.errors import Refusal
from tallygate.core.ledger.records import Hold, Sending, SendingEnd
from tallygate.core.money import ACCOUNT_PICOUSD_MAX
from tallygate.core.pricing import Price, revised
from tallygate.core.usage import charged_after_crash
from tests.bookkeeper import Bookkeeper, Ended
from tests.bookkeeper import Price as NaivePrice
from tests.core.ledger.world import MODEL, World

ACCOUNTS = ("a", "b")
AMOUNTS = st.sampled_from([1, 143_008, 10**6, 10**12, ACCOUNT_PICOUSD_MAX]) | st.integers(-5, ACCOUNT_PICOUSD_MAX + 5)
CHANGES = st.integers(-(10**6), 10**6) | st.integers(-2 * ACCOUNT_PICOUSD_MAX, 2 * ACCOUNT_PICOUSD_MAX)
TOKENS = st.integers(0, 2000)
BILLS = st.integers(0, 10**6)
UPSTREAMS = st.sampled_from(["nodes", "n", "n-2"])


class Open(NamedTuple):
    """An open hold and, of each of its parts, the sendings that have not ended."""

    hold: Hold
    parts: tuple[tuple[Sending, ...], ...]


class History(RuleBasedStateMachine):
    """Any mix of deposits, holds, retries, endings and price changes, told to both."""

    open_holds: Shelf[Open] = Shelf("open_holds")

    @initialize()
    def begin(self) -> None:
        """Open the accounts."""
        self.world = World()
        self.keeper = Bookkeeper()
        self.keeper.prices[MODEL] = NaivePrice(100, 300, 7, 100_000)
        self.count = 0
        for account in ACCOUNTS:
            self.world.open(account)
            self.keeper.begin(account)

    @rule(account=st.sampled_from(ACCOUNTS), picousd=AMOUNTS, reference=st.none() | st.sampled_from("xy"))
    def deposit(self, account: str, picousd: int, reference: str | None) -> None:
        """A deposit is booked, replayed or refused as predicted."""
        expected = self.keeper.deposit(account, picousd, reference)
        try:
            outcome = "replayed" if self.world.deposit(account, picousd, reference).replayed else "booked"
        except Refusal as refusal:
            outcome = refusal.code.value
        assert outcome == expected

    @rule(account=st.sampled_from(ACCOUNTS), picousd=CHANGES)
    def correct(self, account: str, picousd: int) -> None:
        """A correction is booked or refused as predicted, into debt as well."""
        expected = self.keeper.correct(account, picousd)
        try:
            self.world.keep(self.world.books.correct(account, picousd, "goodwill", "operator")[1])
            outcome = "booked"
        except Refusal as refusal:
            outcome = refusal.code.value
        assert outcome == expected

    @rule(
        target=open_holds,
        account=st.sampled_from(ACCOUNTS),
        prompt=TOKENS,
        completion=TOKENS,
        parts=st.lists(UPSTREAMS, min_size=1, max_size=3),
    )
    def hold(self, account: str, prompt: int, completion: int, parts: list[str]) -> Any:
        """A hold is taken or refused as predicted, for however many parts."""
        self.count += 1
        name = f"chatcmpl-{self.count}"
        first, *others = [Sending(number, 0, upstream, None) for number, upstream in enumerate(parts)]
        expected = self.keeper.hold(name, account, MODEL, prompt, completion)
        bounds = {"prompt_tokens_max": prompt, "completion_tokens_max": completion}
        begun = {"first": first, "others": tuple(others)}
        if expected != "held":
            with pytest.raises(Refusal) as refused:
                self.world.hold(name, account, **bounds, **begun)
            assert refused.value.code == expected
            return multiple()
        return Open(
            self.world.hold(name, account, **bounds, **begun), tuple((sending,) for sending in (first, *others))
        )

    @rule(
        target=open_holds, opened=consumes(open_holds), bill=st.none() | BILLS, upstream=UPSTREAMS, which=st.integers(0)
    )
    def retry(self, opened: Open, bill: int | None, upstream: str, which: int) -> Open:
        """A retry moves no USD; what the failed sending cost is the operator's. It may begin before that one ends."""
        number = which % len(opened.parts)
        books, sendings = self.world.books, opened.parts[number]
        last = sendings[-1]
        sending = Sending(number, last.try_ + 1, upstream, None)
        if bill is not None:
            self.world.keep(books.end_attempt(opened.hold, SendingEnd(last, 0, 0, bill)))
            self.keeper.retry(bill)
            sendings = sendings[:-1]
        self.world.keep(books.begin_attempt(opened.hold, sending))
        parts = list(opened.parts)
        parts[number] = (*sendings, sending)
        return opened._replace(parts=tuple(parts))

    @rule(opened=consumes(open_holds), used=st.lists(st.tuples(TOKENS, TOKENS, BILLS), min_size=3, max_size=3))
    def settle(self, opened: Open, used: list[tuple[int, int, int]]) -> None:
        """A settlement charges what all parts used at the price of the hold, and never more than the hold."""
        self.end_others(opened, used[0][2])
        ends = [SendingEnd(sendings[-1], *spent) for sendings, spent in zip(opened.parts, used, strict=False)]
        prompt, completion = sum(end.prompt_tokens for end in ends), sum(end.completion_tokens for end in ends)
        bills = [end.bill_ngonka for end in ends]
        expected = self.keeper.settle(opened.hold.inference, prompt, completion, *bills)
        settlement = self.world.settle_parts(opened.hold, ends, prompt, completion)
        assert (settlement.cost.base, settlement.cost.fee) == expected[:2]
        assert self.borne() == expected[2:]

    @rule(opened=consumes(open_holds), bill=BILLS)
    def void(self, opened: Open, bill: int) -> None:
        """A void charges nothing."""
        self.end_others(opened, bill)
        parts = len(opened.parts)
        expected = self.keeper.void(opened.hold.inference, bill * parts)
        self.world.void_parts(opened.hold, [SendingEnd(sendings[-1], 0, 0, bill) for sendings in opened.parts])
        assert expected == Ended(borne_ngonka=bill * parts)

    @rule(opened=consumes(open_holds), bill=BILLS, charge_prompt=st.booleans())
    def expire(self, opened: Open, bill: int, charge_prompt: bool) -> None:
        """An expiry charges nothing, or the prompt; all its open sendings may have cost something."""
        sendings, layers = sum(map(len, opened.parts)), max(map(len, opened.parts))
        expected = self.keeper.expire(opened.hold.inference, bill * sendings, layers, charge_prompt=charge_prompt)
        spent = charged_after_crash(opened.hold.prompt_tokens_max) if charge_prompt else None
        self.world.keep(self.world.books.expire(opened.hold, lambda *_: bill, spent))
        assert self.borne() == expected[2:]

    @rule(inp=st.integers(1, 1000), out=st.integers(1, 1000), call=st.integers(0, 9), fee=st.integers(0, 10**6))
    def publish(self, inp: int, out: int, call: int, fee: int) -> None:
        """A new price counts for holds from now on."""
        books = self.world.books
        self.world.keep(books.publish(revised(books.sheet, {MODEL: Price(inp, out, call)}, fee_ppm=fee), "operator"))
        self.keeper.prices[MODEL] = NaivePrice(inp, out, call, fee)

    def end_others(self, opened: Open, bill: int) -> None:
        """End all sendings but the last of each part, as an ending of the inference demands."""
        for sending in [sending for sendings in opened.parts for sending in sendings[:-1]]:
            self.world.keep(self.world.books.end_attempt(opened.hold, SendingEnd(sending, 0, 0, bill)))
            self.keeper.retry(bill)

    def borne(self) -> tuple[int, int]:
        """Return what the last entry says that the operator bears, at list price and in ngonka."""
        return self.world.last.overrun_list_picousd or 0, self.world.last.overrun_ngonka or 0

    @invariant()
    def money_is_where_the_bookkeeper_says(self) -> None:
        """Balances are the predicted ones, and nothing was made or lost."""
        keeper, accounts = self.keeper, self.world.books.accounts
        assert {name: (a.available, a.held) for name, a in accounts.items()} == {
            name: (keeper.free[name], keeper.aside[name]) for name in ACCOUNTS
        }
        assert min(keeper.aside.values()) >= 0
        had = sum(keeper.free.values()) + sum(keeper.aside.values()) + keeper.base + keeper.fee
        assert had == keeper.came + keeper.corrected

    def teardown(self) -> None:
        """In the end the audit is clean, and its totals are the bookkeeper's."""
        report, keeper = self.world.audit(), self.keeper
        assert report.problems == []
        totals = report.totals
        assert (-totals["USD", "world"], -totals["USD", "corrections"]) == (keeper.came, keeper.corrected)
        assert (totals["USD", "income/base"], totals["USD", "income/fee"]) == (keeper.base, keeper.fee)
        assert totals["NGONKA", "cost/paid"] == keeper.paid_ngonka
        assert totals["NGONKA", "cost/unpaid"] == keeper.borne_ngonka
        assert report.open_holds == len(keeper.open) == len(self.world.books.holds)


def test_no_history_makes_books_and_bookkeeper_differ() -> None:
    """Whatever happens in whatever order, the bookkeeper has foreseen each outcome, and the audit is clean."""
    run_state_machine_as_test(History, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
