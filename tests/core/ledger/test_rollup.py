"""Sums over past calls: whole days, however clocks went, and rows that are the same in whatever order."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, Flag, encode_entry
from tallygate.core.ledger.margin import MarginSums, count_margin, find_bills
from tallygate.core.ledger.rollup import (
    CALL_DIMENSIONS,
    CallSums,
    Days,
    Finest,
    Key,
    Place,
    Question,
    count_call,
    cut_days,
    cut_page,
    fold,
    group_days,
    sort_rows,
)
from tallygate.core.ledger.statement import Period, find_period

DAY = 20_000
ENTRY = Entry(e.FORMAT, e.NOTE, bytes(16), DAY * DAY_NS, bytes(16), 1)
STEPS = st.lists(st.integers(-DAY_NS, 2 * DAY_NS), max_size=40)


class Written:
    """Entries in memory, of these times."""

    def __init__(self, times_ns: list[int]) -> None:
        self.last = len(times_ns)
        self._raws = [encode_entry(replace(ENTRY, time_ns=time_ns)) for time_ns in times_ns]

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return self._raws[number - 1]


@given(steps=STEPS, first=st.integers(-3, 5), count=st.integers(0, 8))
def test_days_are_the_period_cut_without_rest(steps: list[int], first: int, count: int) -> None:
    """Whatever a clock did, the days of a period follow on one another and are together all of it."""
    written = Written([DAY * DAY_NS + time_ns for time_ns in accumulate(steps)])
    days = Days(DAY + first, DAY + first + count)
    whole = find_period(written, days.first * DAY_NS, (days.last + 1) * DAY_NS)
    cuts = list(cut_days(written, days))

    assert [day for day, _ in cuts] == sorted({day for day, _ in cuts})
    assert all(period.after < period.to for _, period in cuts)
    assert [period.after for _, period in cuts[1:]] == [period.to for _, period in cuts[:-1]]
    assert (cuts[0][1].after, cuts[-1][1].to) == whole if cuts else whole.after == whole.to


@given(steps=st.lists(st.integers(0, DAY_NS), max_size=40))
def test_a_day_is_that_of_its_entries_while_clocks_go_on(steps: list[int]) -> None:
    """As long as no clock was set back, each entry is on the day of its own time."""
    times_ns = [DAY * DAY_NS + time_ns for time_ns in accumulate(steps)]
    for day, period in cut_days(Written(times_ns), Days(DAY, DAY + 50)):
        assert {time_ns // DAY_NS for time_ns in times_ns[period.after : period.to]} == {day}


CALLS = st.builds(
    lambda kind, model, key, tag, tokens, base, fee, flags: replace(
        ENTRY,
        kind=kind,
        model=model,
        key_id=key,
        tag=tag,
        prompt_tokens=tokens,
        completion_tokens=2 * tokens,
        flags=flags,
        postings=((e.USD, e.INCOME_BASE, base), (e.USD, e.INCOME_FEE, fee)) if kind == e.SETTLE else (),
    ),
    st.sampled_from([e.SETTLE, e.VOID, e.EXPIRE]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["key_1", None]),
    st.sampled_from([None, bytes(8) + b"run-----", b"user----run-----"]),
    st.integers(0, 10**6),
    st.integers(0, 10**18),
    st.integers(0, 10**17),
    st.sampled_from([0, int(Flag.ESTIMATED), int(Flag.OVERRUN | Flag.ESTIMATED)]),
)
ORDERS = st.lists(st.sampled_from(["day", "model", "key", "user", "tag"]), unique=True).map(tuple)


def total(rows: dict[Key, CallSums]) -> list[int]:
    """Return every sum over all rows."""
    return [sum(getattr(sums, name) for sums in rows.values()) for name in CallSums.__slots__]


@given(calls=st.lists(CALLS, max_size=20), by=ORDERS, limit=st.integers(1, 5))
def test_rows_are_all_calls_in_any_order(calls: list[Entry], by: tuple[str, ...], limit: int) -> None:
    """No call is lost or counted twice by how rows are apart, nor by where pages are cut."""
    question = Question(Days(DAY, DAY), by, {}, limit)
    whole: dict[Key, CallSums] = {}
    rows: dict[Key, CallSums] = {}
    for call in calls:
        finest: dict[Finest, CallSums] = {}
        count_call(finest, call)
        fold(whole, question._replace(by=()), DAY, finest, CALL_DIMENSIONS)
        fold(rows, question, DAY, finest, CALL_DIMENSIONS)
    together: dict[Finest, CallSums] = {}
    for call in calls:
        count_call(together, call)
    again: dict[Key, CallSums] = {}
    fold(again, question, DAY, together, CALL_DIMENSIONS)
    assert again == rows
    pages: dict[Key, CallSums] = {}
    place: Place | None = Place(DAY)
    while place is not None:
        at = question._replace(place=place)
        page = cut_page(at, sort_rows(at, rows), None)
        assert len(page.rows) <= limit
        assert not pages.keys() & dict(page.rows).keys()
        pages |= dict(page.rows)
        place = page.next

    assert total(rows) == total(whole)
    assert list(pages.items()) == sorted(rows.items(), key=lambda row: row[0])


def test_days_are_added_up_one_by_one_only_where_they_come_first() -> None:
    """Rows by day first need a day at a time, all others the whole period; nothing needs nothing."""
    cuts = [(DAY, Period(0, 3)), (DAY + 1, Period(3, 5))]
    question = Question(Days(DAY, DAY + 1), ("day", "model"), {}, 10)

    assert group_days(question, cuts) == [cuts[:1], cuts[1:]]
    assert group_days(question._replace(by=("model", "day")), cuts) == [cuts]
    assert group_days(question._replace(by=()), []) == []


def post(**amounts: int) -> tuple[Any, ...]:
    """Return postings in ngonka; what upstreams billed by their names."""
    paid, unpaid = amounts.pop("paid", 0), amounts.pop("unpaid", 0)
    booked = [(e.NGONKA, e.COST_PAID, paid), (e.NGONKA, e.COST_UNPAID, unpaid)]
    booked += [(e.NGONKA, e.payable_account(name), -amount) for name, amount in amounts.items()]
    return tuple(posting for posting in booked if posting[2])


def test_an_expiry_lays_the_loss_upon_its_bills_in_order() -> None:
    """Of several bills in one entry, what nobody paid is laid upon the first as far as it goes, then on the next."""
    entry = replace(ENTRY, kind=e.EXPIRE, upstream="b", postings=post(paid=5, unpaid=25, a=20, b=10))

    assert list(find_bills(entry)) == [("a", 20, 20), ("b", 10, 5)]
    finest: dict[Finest, MarginSums] = {}
    count_margin(finest, entry)
    assert {key: (sums.paid, sums.unpaid, sums.calls) for key, sums in finest.items()} == {
        ("", "a"): (0, 20, 0),
        ("", "b"): (5, 5, 1),
    }


@given(ngonka=st.integers(0, 10**20), rate=st.integers(0, 10**15))
def test_a_bill_is_priced_upwards_once(ngonka: int, rate: int) -> None:
    """At a rate, what was billed costs the least whole pico-dollars that are enough."""
    price = MarginSums(paid=ngonka // 2, unpaid=ngonka - ngonka // 2).price(rate)

    assert (price - 1) * 10**9 < ngonka * rate <= price * 10**9
