"""Statements: every movement is on one, the sums are exact, months follow on one another, and no flaw gets through."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.statement import (
    CHARGE,
    VOIDED,
    BooksDisagreeError,
    Period,
    draw_up,
    find_cut,
    find_period,
    read_lines,
)
from tests.core.ledger.world import FREE, MODEL, USD, WRITER, World, end, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Entries:
    """A history in a list."""

    def __init__(self, account: str, raws: Sequence[bytes]) -> None:
        self.account = account
        self.raws = list(raws)

    @property
    def last(self) -> int:
        """The number of the last entry."""
        return len(self.raws)

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return self.raws[number - 1]

    def entries(self, period: Period) -> Iterator[tuple[int, bytes]]:
        """Return a period."""
        return enumerate(self.raws[period.after : period.to], period.after + 1)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns


def history_of(world: World, account: str = "a") -> Entries:
    """Return an account's entries."""
    return Entries(account, [w.raw for w in world.entries if w.entry.account == account])


def make_world(clock: Clock | None = None) -> World:
    """Return books with one of everything on account `a`, at times 1 to 12."""
    clock = clock or Clock()
    world = World(now_ns=clock)
    books = world.books
    steps: Sequence[Any] = (
        lambda: world.open("a"),  # 1 note
        lambda: world.deposit("a", USD, "r-1"),  # 2
        lambda: world.hold("i-1"),  # 3
        lambda: world.settle(books.holds["i-1"], 50, 20, bill=70),  # 4
        lambda: world.keep(books.correct("a", -5, "chargeback", "Eve")[1]),  # 5
        lambda: world.hold("i-2"),  # 6
        lambda: world.keep(books.void(books.holds["i-2"], end(), "failed")),  # 7
        lambda: world.settle(world.hold("i-3"), 5000, 20),  # 8, 9: an overrun
        lambda: world.keep(books.expire(world.hold("i-4"), lambda *_: 1, usage(334, 0))),  # 10, 11
        lambda: world.keep(books.expire(world.hold("i-5"), lambda *_: 1, None)),  # 12, 13
        lambda: world.settle(world.hold("i-6", model=FREE), 1, 1),  # 14, 15
        lambda: world.hold("i-7"),  # 16, open
    )
    for clock.now_ns, step in enumerate(steps, 1):
        step()
    world.open("b", USD)
    return world


def test_every_movement_is_a_line() -> None:
    """Deposits, corrections and charges are lines with what they moved and left; holds are none, voids are marked."""
    lines = list(read_lines(history_of(make_world()), Period(0, 16)))

    assert [(line.kind, line.picousd, line.entry.inference) for line in lines] == [
        (e.DEPOSIT, USD, None),
        (CHARGE, -12_108, "i-1"),
        (e.CORRECTION, -5, None),
        (VOIDED, 0, "i-2"),
        (CHARGE, -143_008, "i-3"),
        (CHARGE, -36_748, "i-4"),
        (VOIDED, 0, "i-5"),
        (CHARGE, 0, "i-6"),
    ]
    assert [line.balance for line in lines][-1] == USD - 12_108 - 5 - 143_008 - 36_748
    assert all(line.picousd == -line.cost.total for line in lines if line.kind == CHARGE)


def test_sums_are_by_kind_and_by_model() -> None:
    """The sums give count, tokens, base and fee, over all and for each model, and the balance with what is held."""
    history = history_of(make_world())
    drawn = draw_up(history, Period(0, 16))

    assert (drawn.opening, drawn.deposits, drawn.corrections) == (0, USD, -5)
    assert drawn.closing == USD - 5 - drawn.charges.total
    last = e.decode_entry(history.raws[-1])
    assert (last.available_after or 0) + (last.held_after or 0) == drawn.closing
    assert last.held_after == 143_008
    assert dict(drawn.counts) == {e.DEPOSIT: 1, e.CORRECTION: 1, CHARGE: 4, VOIDED: 2}
    assert set(drawn.by_model) == {MODEL, FREE}
    assert (drawn.by_model[FREE].count, drawn.by_model[FREE].total) == (1, 0)
    assert (drawn.charges.prompt_tokens, drawn.charges.completion_tokens) == (50 + 5000 + 334 + 1, 20 + 20 + 1)
    assert drawn.charges.base + drawn.charges.fee == 12_108 + 143_008 + 36_748


def test_what_is_held_is_part_of_the_balance() -> None:
    """A cut between a hold and its charge leaves the hold's money in the balance; the charge is in the later part."""
    history = history_of(make_world())
    before, after = draw_up(history, Period(0, 3)), draw_up(history, Period(3, 4))

    assert (before.closing, before.charges.count) == (USD, 0)
    assert (after.opening, after.closing, after.charges.count) == (USD, USD - 12_108, 1)


def test_an_account_without_entries_has_an_empty_statement() -> None:
    """Before anything has happened all is zero."""
    drawn = draw_up(Entries("a", []), find_period(Entries("a", []), 0, 10**18))

    assert (drawn.opening, drawn.closing, dict(drawn.counts)) == (0, 0, {})


@pytest.mark.parametrize(
    ("time_ns", "cut"), [(0, 0), (1, 0), (2, 1), (8, 7), (9, 9), (10, 11), (12, 15), (13, 16), (99, 16)]
)
def test_a_month_begins_with_the_first_entry_at_or_after_its_first_instant(time_ns: int, cut: int) -> None:
    """The cut is before the first entry that is not earlier than the moment."""
    assert find_cut(history_of(make_world()), time_ns) == cut


def dated(times: Sequence[int]) -> Entries:
    """Return a history of notes that were written at these times."""
    entries = [e.Entry(1, e.NOTE, bytes(16), time_ns, WRITER, 1, account="a") for time_ns in times]
    return Entries("a", [e.encode_entry(entry) for entry in entries])


@given(times=st.lists(st.integers(0, 30), max_size=70), moment=st.integers(0, 31))
def test_cut_is_exact_while_the_clock_goes_forward(times: list[int], moment: int) -> None:
    """With times in order, the cut is how many entries are earlier."""
    assert find_cut(dated(sorted(times)), moment) == sum(time_ns < moment for time_ns in times)


@given(
    times=st.lists(st.integers(0, 30), max_size=40),
    moment=st.integers(0, 31),
    later=st.lists(st.integers(31, 60), max_size=40),
)
def test_cut_of_a_past_month_never_moves(times: list[int], moment: int, later: list[int]) -> None:
    """Whatever the clock did before, entries that are written later leave a cut where it was."""
    assert find_cut(dated(times), moment) == find_cut(dated([*times, *later]), moment)


@given(times=st.lists(st.integers(0, 30), max_size=40), moments=st.tuples(st.integers(0, 31), st.integers(0, 31)))
def test_a_stretch_never_ends_before_it_begins(times: list[int], moments: tuple[int, int]) -> None:
    """Also where a clock went back, the later cut is not before the earlier one."""
    history = dated(times)
    period = find_period(history, *sorted(moments))

    assert 0 <= period.after <= period.to <= history.last


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "correct", "settle", "void", "expire", "charge", "hold"]),
        st.integers(0, 3),
        st.integers(0, 2000),
        st.integers(0, 200),
    ),
    max_size=30,
)


def live(acts: Sequence[tuple[str, int, int, int]]) -> tuple[World, list[tuple[int, int]]]:
    """Return books in which all of this was done, and each movement of the balance, noted down beside them by time."""
    clock = Clock()
    world = World(now_ns=clock)
    books, noted = world.books, list[tuple[int, int]]()
    account = world.open("a")
    noted.append((clock.now_ns, world.deposit("a", USD).picousd))
    for number, (act, step, prompt, completion) in enumerate(acts):
        clock.now_ns += step
        before = account.balance
        if act == "deposit":
            world.deposit("a", prompt + 1)
        elif act == "correct":
            world.keep(books.correct("a", completion - 300, "why", "who")[1])
        else:
            hold = world.hold(f"i-{number}")
            clock.now_ns += step
            assert account.balance == before
            if act == "settle":
                world.settle(hold, prompt, completion)
            elif act == "void":
                world.keep(books.void(hold, end(), "failed"))
            elif act != "hold":
                world.keep(books.expire(hold, lambda *_: 1, usage(prompt, 0) if act == "charge" else None))
        noted.append((clock.now_ns, account.balance - before))
    return world, noted


@given(acts=ACTS, moments=st.lists(st.integers(0, 130), max_size=6))
def test_every_statement_of_any_history_adds_up_and_follows_the_last(
    acts: list[tuple[str, int, int, int]], moments: list[int]
) -> None:
    """However time is cut, each part adds up exactly, begins where the one before ends, and no line is lost."""
    world, noted = live(acts)
    history = history_of(world)
    cuts = [0, *sorted(moments), 10**9]
    balance, lines = 0, []
    for start_ns, end_ns in pairwise(cuts):
        drawn = draw_up(history, find_period(history, start_ns, end_ns))
        assert drawn.opening == balance
        moved = drawn.deposits + drawn.corrections - drawn.charges.base - drawn.charges.fee
        assert drawn.closing - drawn.opening == moved == sum(by for at, by in noted if start_ns <= at < end_ns)
        assert sum(of.total for of in drawn.by_model.values()) == drawn.charges.total
        balance = drawn.closing
        lines += list(read_lines(history, drawn.period))

    assert balance == world.books.account("a").balance
    assert lines == list(read_lines(history, Period(0, history.last)))


def change(number: int, **fields: Any) -> Callable[[Entries], None]:
    """Return a flaw: one entry says something else."""

    def spoil(history: Entries) -> None:
        history.raws[number - 1] = e.encode_entry(replace(e.decode_entry(history.raws[number - 1]), **fields))

    return spoil


def repost(number: int, *postings: tuple[str, str, int], **fields: Any) -> Callable[[Entries], None]:
    """Return a flaw: one entry moves something else."""
    return change(number, postings=tuple(sorted((e.USD, name, amount) for _, name, amount in postings)), **fields)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda h: h.raws.pop(4), "entry 5 of the account says that it is another's"),
        (lambda h: h.raws.insert(4, h.raws[4]), "entry 6 of the account says that it is another's"),
        (change(5, account="b"), "entry 5 of the account says that it is another's"),
        (change(5, available_after=7), "entry 5 of the account does not follow from the one before it"),
        (change(5, held_after=7), "entry 5 of the account does not follow from the one before it"),
        (
            repost(5, ("", "account/a/available", 1), ("", "corrections", -1)),
            "entry 5 of the account does not follow from the one before it",
        ),
        (
            change(4, postings=((e.USD, "account/a/available", 130_900), (e.USD, "account/a/held", -143_008))),
            "entry 4 of the account moves -12108, which is not what a charge does",
        ),
        (
            change(7, available_after=USD - 12_113 - 1, postings=((e.USD, "account/a/available", 143_007),
             (e.USD, "account/a/held", -143_008))),
            "entry 7 of the account moves -1, which is not what a voided does",
        ),
        (
            change(2, available_after=USD - 1, held_after=1, postings=((e.USD, "account/a/available", USD - 1),
             (e.USD, "account/a/held", 1), (e.USD, "world", -USD))),
            f"entry 2 of the account moves {USD}, which is not what a deposit does",
        ),
        (lambda h: h.raws.__setitem__(8, b"garbage"), "entry 9 of the account: not an entry"),
    ],
)  # fmt: skip
def test_flaw_is_found_before_anything_is_printed(spoil: Callable[[Entries], object], told: str) -> None:
    """An entry that is missing, another's, or does not follow from its neighbour makes a statement impossible."""
    history = history_of(make_world())
    spoil(history)

    with pytest.raises(BooksDisagreeError, match=told):
        draw_up(history, Period(0, history.last))


def test_missing_last_entry_is_found() -> None:
    """A history that ends before its period does is told."""
    history = history_of(make_world())
    period = Period(0, history.last)
    history.raws.pop()

    with pytest.raises(BooksDisagreeError, match="entry 16 of the account is missing"):
        list(read_lines(history, period))
