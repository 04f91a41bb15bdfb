"""What can be read of past calls: the same on every store, whole, exact, and page by page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import Refusal
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.past import Wanted
from tallygate.core.ledger.records import SendingEnd, UnknownAccountError
from tallygate.core.ledger.rollup import CallSums, Days, Key, Question
from tallygate.core.tags import name_half
from tallygate.core.usage import Usage
from tallygate.storage.past.embedded import EmbeddedHistory
from tallygate.storage.past.memory_past import MemoryPast
from tallygate.storage.past.sqlite_past import SqlitePast
from tests.contract.traffic import ALICE, BROKER, DAY, OTHER, RUN, Traffic
from tests.contract.world import (
    FIRST,
    RATE,
    SECOND,
    Machine,
    MemoryStore,
    SqliteStore,
    fund,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tallygate.core.ledger.margin import MarginSums
    from tallygate.core.ledger.past import PastCall
    from tallygate.core.ledger.rollup import Page

DIMENSIONS = ("day", "model", "key", "user", "tag")


def history_of(machine: Machine, **limits: int) -> EmbeddedHistory:
    """Return the history of a machine's store."""
    if isinstance(machine.store, MemoryStore):
        return EmbeddedHistory(MemoryPast(machine.store.disk), **limits)
    assert isinstance(machine.store, SqliteStore)
    return EmbeddedHistory(SqlitePast(machine.store.path), **limits)


def ask(*by: str, first: int = 0, last: int = 9, limit: int = 1000, **only: str) -> Question:
    """Return a question about days of a machine's life."""
    return Question(Days(DAY + first, DAY + last), by, only, limit)


async def follow(read: Callable[[Question], Any], question: Question) -> tuple[list[tuple[Key, Any]], int]:
    """Return the rows of all pages, and how many there were."""
    rows: list[tuple[Key, Any]] = []
    for pages in range(1, 200):
        page: Page[Any] = await read(question)
        assert len(page.rows) <= question.limit
        rows += page.rows
        if page.next is None:
            return rows, pages
        question = question._replace(place=page.next)
    raise AssertionError("the pages never end")


def told(rows: Sequence[tuple[Key, CallSums]]) -> dict[Key, tuple[int, int, int, int, int]]:
    """Return what rows say of charged calls."""
    return {
        key: (sums.calls, sums.prompt_tokens, sums.completion_tokens, sums.base, sums.fee)
        for key, sums in rows
        if sums.calls
    }


ORDERS = [(), ("day",), ("model",), ("day", "model"), ("tag", "day"), ("user",), ("day", "key", "tag"), DIMENSIONS]


async def test_usage_is_what_callers_were_charged(machine: Machine) -> None:
    """However the rows are apart, they say of each account just what its calls were told, to the last pico-dollar."""
    traffic = Traffic()
    await traffic.run(machine)
    history = history_of(machine)
    for account in traffic.accounts:
        for by in ORDERS:
            rows = (await history.usage(account, ask(*by))).rows
            sums = [sums for _, sums in rows]

            assert told(rows) == traffic.expect(account, by)
            assert [key for key, _ in rows] == sorted(key for key, _ in rows)
            assert sum(s.voided for s in sums) == traffic.voided[account]
            assert sum(s.overrun for s in sums) == 6
    assert sum(call.base + call.fee for call in traffic.charged) == traffic.keeper.base + traffic.keeper.fee


async def test_pages_are_the_rows_of_one_page(machine: Machine) -> None:
    """Whatever the limit and the entries that one answer adds up, all pages together are the same rows in order."""
    traffic = Traffic()
    await traffic.run(machine)
    account = traffic.accounts[0]
    for by in ORDERS:
        whole = (await history_of(machine).usage(account, ask(*by))).rows
        for limit in (1, 2, 3, 7):
            history = history_of(machine, look_entries=2)
            rows, pages = await follow(partial(history.usage, account), ask(*by, limit=limit))

            assert rows == whole
            assert pages == max(-(-len(whole) // limit), 1)
        if by[:1] == ("day",):
            short = history_of(machine, entries_max=1)
            rows, pages = await follow(partial(short.usage, account), ask(*by))

            assert (rows, pages) == (whole, 3)


async def test_a_period_too_long_for_its_order_is_refused(machine: Machine) -> None:
    """Rows that need all of a period are refused beyond what one answer adds up, naming the way out."""
    traffic = Traffic()
    await traffic.run(machine)
    account = traffic.accounts[0]
    history = history_of(machine, entries_max=20)
    with pytest.raises(Refusal, match="put day first") as refused:
        await history.usage(account, ask("model"))

    assert refused.value.param == "from"
    assert (await history.usage(account, ask("model", first=2))).rows


async def test_days_are_cut_as_statements_are(machine: Machine) -> None:
    """The days of a period and the period as a whole say the same as the statement of it; days before have nothing."""
    traffic = Traffic()
    ledger = await traffic.run(machine)
    account = traffic.accounts[0]
    history = history_of(machine)
    drawn, _ = await ledger.statement(account, (DAY + 1) * DAY_NS, (DAY + 3) * DAY_NS, 10**6)
    by_day = (await history.usage(account, ask("day", first=1, last=2))).rows
    ((_, whole),) = (await history.usage(account, ask(first=1, last=2))).rows

    assert [key for key, _ in by_day] == [(DAY + 1,), (DAY + 2,)]
    assert sum(sums.base + sums.fee for _, sums in by_day) == drawn.charges.total == whole.base + whole.fee
    assert sum(sums.calls for _, sums in by_day) == drawn.charges.count
    assert (await history.usage(account, ask("day", first=-9, last=-1))).rows == []
    assert (await history.usage(account, ask("day", first=5))).rows == []


async def test_usage_of_one_user_or_run_is_found(machine: Machine) -> None:
    """What is asked of one user, run, model or key is what its rows are; an unknown one has none."""
    traffic = Traffic()
    await traffic.run(machine)
    account = traffic.accounts[1]
    history = history_of(machine)
    for name in DIMENSIONS[1:]:
        for (shown,), sums in (await history.usage(account, ask(name))).rows:
            assert (await history.usage(account, ask()._replace(only={name: str(shown)}))).rows == [((), sums)]
    assert (await history.usage(account, ask(user="user_0000000000000001"))).rows == []
    with pytest.raises(UnknownAccountError):
        await history.usage("acct_nobody", ask())


async def test_margin_is_both_books(machine: Machine) -> None:
    """By whatever it is apart, the margin adds up to what was charged, paid and borne, as a bookkeeper has it."""
    traffic = Traffic()
    await traffic.run(machine)
    keeper, history = traffic.keeper, history_of(machine)
    for by in ((), ("day",), ("model",), ("upstream",), ("day", "model", "upstream"), ("upstream", "day")):
        rows: list[tuple[Key, MarginSums]] = (await history.margin(ask(*by))).rows
        sums = [sums for _, sums in rows]

        assert sum(s.base for s in sums) == keeper.base
        assert sum(s.fee for s in sums) == keeper.fee
        assert sum(s.paid for s in sums) == keeper.paid_ngonka
        assert sum(s.unpaid for s in sums) == keeper.borne_ngonka
        assert sum(s.calls for s in sums) == len(traffic.charged) + sum(traffic.voided.values())
        assert sum(s.crashed for s in sums) == RATE.bill(1000, 100)
        assert sum(s.crashed_list for s in sums) == 143_008
    ((_, whole),) = (await history.margin(ask())).rows
    by_upstream = {key[0]: sums for key, sums in (await history.margin(ask("upstream"))).rows}
    assert by_upstream["nodes"].paid == by_upstream["nodes"].base == 0  # retries, failures and the crash
    assert by_upstream["broker"].unpaid == whole.overrun > 0
    assert (await history.margin(ask(upstream="broker"))).rows == [((), by_upstream["broker"])]


async def test_inferences_are_listed_newest_first(machine: Machine) -> None:
    """All pages together are all inferences, newest first, of one account or of all, however short the pages are."""
    traffic = Traffic()
    await traffic.run(machine)
    for account in (None, traffic.accounts[0]):
        whole = (await history_of(machine).calls(Wanted(account=account), 1000)).calls
        for limit, limits in ((1, {}), (5, {"look_entries": 3}), (100, {"look_entries": 2, "holds_max": 4})):
            history, before = history_of(machine, **limits), None
            found: list[PastCall] = []
            while True:
                page = await history.calls(Wanted(account=account), limit, before)
                found += page.calls
                if (before := page.next) is None:
                    break

            assert found == list(whole)
        times = [call.hold.time_ns for call in whole]
        assert times == sorted(times, reverse=True)
        assert {call.hold.account for call in whole} == ({account} if account else set(traffic.accounts))
        assert len(whole) == (37 if account is None else 19)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(model=OTHER), 12),
        (Wanted(key="key_2"), 12),
        (Wanted(state="settled"), 24),
        (Wanted(state="voided"), 12),
        (Wanted(state="expired"), 1),
        (Wanted(state="open"), 0),
        (Wanted(upstream="broker"), 24),
        (Wanted(upstream="nodes"), 37),
        (Wanted(node="gonka1a"), 37),
        (Wanted(node="gonka1b"), 0),
        (Wanted(flags=int(Flag.OVERRUN)), 12),
        (Wanted(flags=int(Flag.OVERRUN | Flag.ESTIMATED)), 0),
        (Wanted(user=name_half("user", ALICE)), 17),
        (Wanted(tag=name_half("tag", RUN)), 4),
        (Wanted(start_ns=(DAY + 1) * DAY_NS, end_ns=(DAY + 2) * DAY_NS), 13),
        (Wanted(start_ns=(DAY + 9) * DAY_NS), 0),
        (Wanted(model=OTHER, state="voided"), 0),
    ],
)
async def test_inferences_are_found_by_what_they_are(machine: Machine, wanted: Wanted, count: int) -> None:
    """A filter takes just the inferences that are so."""
    await Traffic().run(machine)

    assert len((await history_of(machine).calls(wanted, 1000)).calls) == count


async def test_open_inferences_are_found_at_once(machine: Machine) -> None:
    """Holds that nothing has ended are listed newest first, by account and in pages, without a look at the others."""
    ledger = await machine.start()
    ann, bob = await fund(ledger), await fund(ledger)
    await ledger.settle(await ledger.hold(request("i-0", ann)), SendingEnd(FIRST, 1, 1, 2), Usage(1, 1, Flag(0)))
    for number, account in enumerate((ann, bob, ann), 1):
        await ledger.hold(request(f"i-{number}", account))
    history = history_of(machine, holds_max=0)
    wanted = Wanted(state="open")
    first = await history.calls(wanted, 2)
    rest = await history.calls(wanted, 2, first.next)
    of_ann = await history.calls(wanted._replace(account=ann.id), 5)

    assert [call.hold.inference for call in (*first.calls, *rest.calls)] == ["i-3", "i-2", "i-1"]
    assert rest.next is None
    assert [call.hold.inference for call in of_ann.calls] == ["i-3", "i-1"]
    assert {call.state for call in first.calls} == {"open"}


async def test_neighbours_are_all_listed(machine: Machine) -> None:
    """Holds that stand side by side are each listed once, wherever a look or a page ends between them."""
    ledger = await machine.start()
    account = await fund(ledger)
    for number in range(7):
        await ledger.hold(request(f"i-{number}", account))
    for look_entries, limit in ((1, 9), (2, 9), (3, 2), (9, 3)):
        history, before = history_of(machine, look_entries=look_entries), None
        names: list[str | None] = []
        while True:
            page = await history.calls(Wanted(key="key_1"), limit, before)
            names += [call.hold.inference for call in page.calls]
            if (before := page.next) is None:
                break

        assert names == [f"i-{number}" for number in reversed(range(7))]


async def test_one_inference_is_told_whole(machine: Machine) -> None:
    """Its hold, every sending with what ended it, its ending, the charge and who bore the bills."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("i-1", account)._replace(tag=RUN))
    ledger.begin_attempt(hold, SECOND)
    ledger.end_attempt(hold, SendingEnd(FIRST, 0, 0, 11, "r-1"))
    await ledger.settle(hold, SendingEnd(SECOND, 5000, 20, 5020, "r-2"), Usage(5000, 20, Flag(0)))
    history = history_of(machine)
    call = await history.call("i-1")
    assert call is not None
    assert call.ending is not None
    first, second = call.sendings

    assert [entry.kind for _, entry in call.entries] == [e.HOLD, e.ATTEMPT, e.ATTEMPT, e.SETTLE]
    assert (call.state, call.held, call.cost.total) == ("settled", 143_008, 143_008)
    assert (first.began, second.ended) == (call.hold, call.ending)
    assert first.ended is not None
    assert first.ended.upstream_reference == "r-1"
    unpaid = 11 + (call.ending.overrun_ngonka or 0)
    assert call.bills == {"nodes": (5031, unpaid)}
    assert call.hold.tag == call.ending.tag == RUN
    assert await history.call("i-2") is None


async def test_a_crash_ends_all_sendings(machine: Machine) -> None:
    """An expiry ends every sending that a start finds, and each upstream's bill is told apart; its tag is kept."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("i-1", account)._replace(tag=ALICE))
    ledger.begin_attempt(hold, BROKER)
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)
    call = await history_of(machine).call("i-1")
    assert call is not None
    bill = RATE.bill(1000, 100)

    assert call.state == "expired"
    assert call.ending is not None
    assert [sending.ended for sending in call.sendings] == [call.ending] * 2
    assert {name: billed for name, (billed, _) in call.bills.items()} == {"nodes": bill, "broker": bill}
    assert sum(unpaid for _, unpaid in call.bills.values()) == call.ending.overrun_ngonka
    assert call.ending.tag == ALICE
    assert (await ledger.audit()).problems == []


async def test_only_what_is_durable_is_told(machine: Machine) -> None:
    """A look sees what a commit has made durable, beside a ledger that has the store open and goes on."""
    ledger = await machine.start()
    account = await fund(ledger)
    history = history_of(machine)
    for number in range(3):
        hold = await ledger.hold(request(f"i-{number}", account))
        await ledger.settle(hold, SendingEnd(FIRST, 1, 1, 2), Usage(1, 1, Flag(0)))
        ((_, sums),) = (await history.usage(account.id, ask())).rows

        assert sums.calls == number + 1
