"""Attempts found in the books, and added up against what upstreams say of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.reconciliation import (
    WORST_MAX,
    Attempt,
    Attempts,
    Basis,
    Bill,
    Reconciliation,
    Sum,
    Unreported,
)
from tallygate.core.ledger.records import Sending
from tests.core.ledger.world import FIRST, SECOND, USD, World, end, make_clock, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

THIRD = Sending(0, 2, "nodes", "gonka1c")


def attempt(
    reference: str | None = "ref",
    *,
    booked: int = 0,
    upstream: str = "u",
    node: str | None = None,
    day: int = 0,
    basis: Basis = Basis.REPORTED,
) -> Attempt:
    """Return an attempt of ten prompt tokens."""
    return Attempt("chatcmpl-1", 0, 0, upstream, node, day, booked, 10, 0, basis, reference)


def found_in(world: World) -> tuple[Attempts, Sequence[Attempt]]:
    """Return the attempts that all entries of some books tell of."""
    attempts = Attempts()
    return attempts, [ended for written in world.entries for ended in attempts.take(written.entry)]


def test_every_attempt_is_found_with_its_bill() -> None:
    """A retry and what served are two attempts: each with its place, reference, bill and where that comes from."""
    world = World(now_ns=make_clock(3 * DAY_NS))
    world.open(picousd=USD)
    hold = world.hold()
    world.keep(world.books.end_attempt(hold, end(FIRST, 11)))
    world.keep(world.books.begin_attempt(hold, SECOND))
    world.settle(hold, 50, 20, 70, SECOND)
    books, (failed, served) = found_in(world)

    assert books.under_way == 0
    assert failed == Attempt("chatcmpl-1", 0, 0, "nodes", "gonka1a", 3, 11, 0, 0, Basis.POSSIBLE, "ref-1")
    assert served == Attempt("chatcmpl-1", 0, 1, "nodes-2", "gonka1b", 3, 70, 50, 20, Basis.REPORTED, "ref-1")


def test_where_an_amount_comes_from() -> None:
    """Counted tokens, a possible bill and nothing at all are told apart."""
    world = World()
    world.open(picousd=USD)
    for inference, bill in (("a", 0), ("b", 900)):
        hold = world.hold(inference)
        world.keep(world.books.void(hold, end(FIRST, bill), "no_try_left"))
    hold = world.hold("c")
    _, written = world.books.settle(hold, end(FIRST, 30), usage(20, 10, Flag.ESTIMATED | Flag.CUT))
    world.keep(written)
    _, attempts = found_in(world)

    assert [found.basis for found in attempts] == [Basis.NOTHING, Basis.POSSIBLE, Basis.COUNTED]
    assert [found.booked_ngonka for found in attempts] == [0, 900, 30]


def test_a_crash_ends_attempts_without_a_reference() -> None:
    """What an expiry bills is divided among the sendings that it ends, to the ngonka; nobody knows their ids."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    world.keep(world.books.begin_attempt(hold, SECOND))
    world.keep(world.books.begin_attempt(hold, THIRD))
    bills = {"nodes": 5, "nodes-2": 7}
    world.keep(world.books.expire(hold, lambda upstream, _prompt, _completion: bills[upstream], None))
    _, attempts = found_in(world)

    assert [(found.try_, found.booked_ngonka, found.reference) for found in attempts] == [
        (0, 5, None),
        (1, 7, None),
        (2, 5, None),
    ]
    payables = Counter({name: -amount for _, name, amount in world.last.postings if amount < 0 and "/payable" in name})
    assert payables == {"upstream/nodes/payable": 10, "upstream/nodes-2/payable": 7}


def test_what_has_not_ended_is_counted_as_under_way() -> None:
    """A hold, and a retry after a sending that has ended, are each one attempt under way."""
    world = World()
    world.open(picousd=USD)
    world.hold("a")
    hold = world.hold("b")
    world.keep(world.books.end_attempt(hold, end(FIRST, 3)))
    world.keep(world.books.begin_attempt(hold, SECOND))
    books, attempts = found_in(world)

    assert books.under_way == 2
    assert [found.booked_ngonka for found in attempts] == [3]


def test_rows_are_by_upstream_node_and_day() -> None:
    """Each upstream, node and UTC day is a row of its own; the last nanosecond of a day is still that day."""
    found = Reconciliation()
    for where in (("u", "a", 1), ("u", "a", 2), ("u", "b", 1), ("v", None, 1), ("u", "a", 1)):
        found.take(attempt(upstream=where[0], node=where[1], day=where[2], booked=1), Bill(1, 10, 0))

    assert {where: row.attempts for where, row in found.rows.items()} == {
        ("u", "a", 1): 2,
        ("u", "a", 2): 1,
        ("u", "b", 1): 1,
        ("v", None, 1): 1,
    }
    late = World(now_ns=make_clock(DAY_NS - 6))  # sheet, account, deposit, hold, and the ending at the last moment
    late.open(picousd=USD)
    for inference in ("a", "b"):
        late.settle(late.hold(inference), 1, 1, 2)
    assert [found.day for found in found_in(late)[1]] == [0, 1]


def test_opposite_drifts_do_not_hide_each_other() -> None:
    """Two attempts that drift by as much both ways are two that drift, although their sum is zero."""
    found = Reconciliation()
    found.take(attempt("one", booked=10), Bill(15, 10, 5))
    found.take(attempt("two", booked=10, basis=Basis.COUNTED), Bill(5, 5, 0))

    assert (found.total.drift_ngonka, found.total.drifting) == (0, 2)
    assert found.drift_ngonka == Counter({Basis.REPORTED: 5, Basis.COUNTED: -5})
    assert (found.total.booked_tokens, found.total.reported_tokens) == ((20, 0), (15, 5))


def test_what_has_no_bill_is_no_drift() -> None:
    """An attempt that cannot be compared is told with what was booked for it, and is in no drift."""
    found = Reconciliation()
    found.take(attempt(booked=10), Unreported.NOT_KNOWN)
    found.take(attempt(booked=1), Bill(1, 10, 0))

    total = found.total
    assert (total.attempts, total.compared, total.drifting, total.drift_ngonka) == (2, 1, 0, 0)
    assert total.unreported_ngonka == Counter({Unreported.NOT_KNOWN: 10})
    assert found.worst == []


Answers = st.one_of(
    st.builds(Bill, st.integers(0, 50), st.integers(0, 9), st.integers(0, 9)), st.sampled_from(Unreported)
)


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("uv"), st.integers(0, 2), Answers), max_size=80))
def test_sums_hold_whatever_is_said(items: list[tuple[int, str, int, Bill | Unreported]]) -> None:
    """Booked is compared plus unreported, drift is reported minus compared, rows make the total, the worst are told."""
    found = Reconciliation()
    for booked, upstream, day, answer in items:
        found.take(attempt(booked=booked, upstream=upstream, day=day), answer)
    drifts = sorted((abs(a.ngonka - booked) for booked, _, _, a in items if isinstance(a, Bill)), reverse=True)

    for total in (found.total, *found.rows.values()):
        assert total.booked_ngonka == total.compared_ngonka + total.unreported_ngonka.total()
        assert total.attempts == total.compared + total.unreported.total()
        assert total.drift_ngonka == total.reported_ngonka - total.compared_ngonka
    for name in ("attempts", "booked_ngonka", "compared", "reported_ngonka", "drifting"):
        assert getattr(found.total, name) == sum(getattr(row, name) for row in found.rows.values())
    assert found.total.drifting == sum(map(bool, drifts))
    assert [abs(drift.ngonka) for drift in found.worst] == [drift for drift in drifts if drift][:WORST_MAX]


def test_the_list_of_the_worst_is_bounded() -> None:
    """However many attempts drift, only the worst are listed, the worst first; all of them are counted."""
    found = Reconciliation()
    for ngonka in range(1, WORST_MAX + 11):
        found.take(attempt(str(ngonka), booked=100), Bill(100 - ngonka if ngonka % 2 else 100 + ngonka, 1, 1))

    assert found.total.drifting == WORST_MAX + 10
    assert [abs(drift.ngonka) for drift in found.worst] == list(range(WORST_MAX + 10, 10, -1))


def test_nothing_sums_to_nothing() -> None:
    """Without attempts there is neither a row nor drift."""
    found = Reconciliation()

    assert (found.rows, found.worst, found.total) == ({}, [], Sum())


def test_entries_of_other_kinds_end_no_attempt() -> None:
    """Accounts, deposits, sheets and notes tell of no attempt."""
    world = World()
    world.open(picousd=USD)
    world.keep(world.books.note("a", "a note", "operator"))

    assert [written.entry.kind for written in world.entries] == [e.SHEET, e.NOTE, e.DEPOSIT, e.NOTE]
    assert found_in(world)[1] == []
