"""Parts of the history, replayed by themselves: clean ones are joined, and no fault can hide between two of them.

That every forgery is told alike in whatever stretches it lies is asked of each one, by `world.audit_all_ways`.
"""

from __future__ import annotations

import pytest

from tallygate.core.audit.audit import Audit
from tallygate.core.audit.stretch import Findings, Stretch
from tallygate.core.ledger import entry as e
from tests.core.audit.forgery import make_world
from tests.core.ledger.world import WRITER, Batches, audit_all_ways, audit_in_stretches, head_of

WORLD = make_world()
BATCHES = WORLD.batches(1)
OPEN = {"i-7"}
ACCOUNTS = {a.id: (a.available, a.held, a.sequence) for a in WORLD.books.accounts.values()}
HEADS = {WRITER: head_of(BATCHES)}
SHEETS = [written.entry for written in WORLD.entries if written.entry.kind == e.SHEET]


def replay(batches: Batches, sheets: list[e.Entry]) -> Findings:
    """Return what a stretch finds."""
    stretch = Stretch(sheets)
    for header, raws in batches:
        stretch.take(header, raws)
    return stretch.finish()


@pytest.mark.parametrize("size", range(1, len(BATCHES) + 1))
def test_clean_books_are_never_replayed_twice(size: int) -> None:
    """Whatever stretches clean books are cut into, all of them follow from those before."""
    work, again = audit_in_stretches(BATCHES, size)
    report = work.finish(ACCOUNTS, OPEN, HEADS)

    assert (report.problems, again) == ([], 0)
    assert report == audit_all_ways(BATCHES, ACCOUNTS, OPEN, HEADS)


@pytest.mark.parametrize("cut", range(1, len(BATCHES)))
def test_stretch_that_came_before_its_time_is_not_joined(cut: int) -> None:
    """An audit takes no findings that begin where it has not yet been, and is then as it was before."""
    work = Audit()

    assert not work.join(replay(BATCHES[cut:], SHEETS[:1] if cut <= 13 else SHEETS))
    for header, raws in BATCHES:
        work.take(header, raws)
    assert work.finish(ACCOUNTS, OPEN, HEADS).clean


def test_stretch_with_a_fault_in_it_is_not_joined() -> None:
    """Findings that are not clean are not taken over: the audit looks for itself."""
    header, raws = BATCHES[0]

    assert not Audit().join(replay([(header, [raws[0][:-1]])], []))


def test_stretch_under_other_prices_is_not_joined() -> None:
    """A stretch that took other price sheets to be in force is replayed under the right ones."""
    work = Audit()
    for header, raws in BATCHES[:14]:
        work.take(header, raws)

    assert work.join(replay(BATCHES[14:15], SHEETS))
    assert not work.join(replay(BATCHES[15:], [*SHEETS, SHEETS[0]]))


def test_end_of_the_history_is_checked_by_itself() -> None:
    """The last stretch alone is clean against the state of its store, and says that it is not the whole."""
    stretch = Stretch(SHEETS, is_last=True)
    for header, raws in BATCHES[14:]:
        stretch.take(header, raws)
    report = stretch.close(ACCOUNTS, OPEN, HEADS)

    assert (report.problems, report.is_whole, report.entries) == ([], False, 7)


@pytest.mark.parametrize(
    ("accounts", "open_holds", "heads", "told"),
    [
        ({"b": (1, 0, 8)}, OPEN, HEADS, "account b: the entries give"),
        ({}, set(), HEADS, "open holds: the store and the entries disagree on i-7"),
        ({}, OPEN | {"i-6"}, HEADS, "open holds: the store and the entries disagree on i-6"),
        ({}, OPEN, {WRITER: (21, bytes(32))}, "writer 00010203: the batches end with 21"),
    ],
    ids=["balance", "hold missing", "hold too many", "head"],
)
def test_end_that_differs_from_the_state_is_told(
    accounts: dict[str, tuple[int, int, int]],
    open_holds: set[str],
    heads: dict[bytes, tuple[int, bytes]],
    told: str,
) -> None:
    """What the end of the history says of accounts, holds and head is compared with what the store keeps."""
    stretch = Stretch(SHEETS, is_last=True)
    for header, raws in BATCHES[14:]:
        stretch.take(header, raws)
    problems = stretch.close(ACCOUNTS | accounts, open_holds, heads).problems

    assert [problem[: len(told)] for problem in problems] == [told]
