"""The audit: whatever somebody does to the bytes of the books is found, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallygate.core.audit.audit import Audit
from tallygate.core.audit.problems import PROBLEMS_MAX
from tallygate.core.ledger.batch import decode_header, encode_header
from tests.core.audit.forgery import SIZE, make_world
from tests.core.ledger.world import MODEL, USD, WRITER, World, end, head_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.ledger.world import Batches

WORLD = make_world()
BATCHES = WORLD.batches(SIZE)
HEADER = "batch {} of writer 00010203"


def check(batches: Batches) -> list[str]:
    """Return what the audit says of batches beside a store that still has the true state."""
    return WORLD.audit(batches).problems


def copy() -> Batches:
    """Return the true batches, to be changed."""
    return [(header, list(raws)) for header, raws in BATCHES]


def with_header(number: int, **fields: object) -> Batches:
    """Return batches in which one header says something else."""
    batches = copy()
    header, raws = batches[number]
    batches[number] = (encode_header(replace(decode_header(header), **fields)), raws)
    return batches


def test_clean_books_are_clean() -> None:
    """Books with a bit of everything have no problem, and their figures are reported."""
    report = WORLD.audit(BATCHES)

    assert report.problems == []
    assert report.clean
    assert (report.batches, report.entries, report.accounts, report.open_holds) == (7, 21, 2, 1)
    assert dict(report.kinds) == {
        "sheet": 2, "note": 2, "deposit": 2, "hold": 7, "attempt": 2, "settle": 3, "void": 1, "expire": 2,
    }  # fmt: skip
    assert report.totals["USD", "world"] == -2 * USD
    assert dict(report.overrun_picousd) == {MODEL: 556_608 - 143_008}
    assert set(report.lost_ngonka) == {MODEL}


def test_figures_of_the_promises_are_counted() -> None:
    """Each promise has its figures: the lowest balance, overrun by cause, expiry by outcome, charges, starts."""
    report = WORLD.audit(BATCHES)
    figures = report.figures

    assert figures.lowest == {
        "hold": min(w.entry.available_after or 0 for w in WORLD.entries if w.entry.kind == "hold")
    }
    assert {key: loss.count for key, loss in figures.overrun.items()} == {(MODEL, "prompt"): 1}
    assert {key: loss.count for key, loss in figures.expired.items()} == {
        (MODEL, "voided"): 1,
        (MODEL, "prompt charged"): 1,
    }
    assert (figures.charged, figures.charge_max, report.references) == (4, 143_008, 1)
    assert {tip.starts for tip in report.tips.values()} == {1}
    assert report.broken.total() == 0


def test_what_was_sent_adds_up_to_the_network_s_book() -> None:
    """The bills by upstream, node and day are all of the bills, each sending counted once where it went."""
    report = WORLD.audit(BATCHES)
    sent = report.figures.sent

    assert sum(s.paid for s in sent.values()) == report.totals["NGONKA", "cost/paid"]
    assert sum(s.unpaid for s in sent.values()) == report.totals["NGONKA", "cost/unpaid"]
    assert {(upstream, node): s.sendings for (upstream, node, _), s in sent.items()} == {
        ("nodes", "gonka1a"): 6,
        ("nodes-2", "gonka1b"): 1,
    }
    assert {day for _, _, day in sent} == {10**18 // 10**9 // 86_400}


@pytest.mark.parametrize(
    ("prompt", "completion", "cause"),
    [(2000, 0, "prompt"), (0, 500, "completion"), (1001, 101, "both")],
)
def test_overrun_is_told_by_its_cause(prompt: int, completion: int, cause: str) -> None:
    """What an upstream reported beyond a hold is told by the count that is above its bound."""
    world = World()
    world.open("a", USD)
    world.settle(world.hold("i"), prompt, completion, bill=10)

    assert [key[1] for key in world.audit().figures.overrun] == [cause]


def test_account_may_be_below_zero_by_a_correction_alone() -> None:
    """What gives back to an account that a correction took below zero is legal; a hold of it is not, and told."""
    world = World()
    world.open("a", USD)
    first, second = world.hold("i-1"), world.hold("i-2")
    world.keep(world.books.correct("a", -2 * USD, "chargeback", "operator")[1])
    world.settle(first, 10, 10)
    world.keep(world.books.void(second, end(), "failed"))
    world.deposit("a", USD // 2)
    report = world.audit()

    assert report.problems == []
    assert report.figures.lowest["correction"] < 0
    assert report.totals["USD", "corrections"] == 2 * USD


def test_each_problem_breaks_a_promise() -> None:
    """Problems are counted by the promise that they break."""
    batches = copy()
    swap_entries(batches)
    report = WORLD.audit(batches)

    assert report.broken["P5"] >= 1
    assert report.broken.total() == report.problem_count == len(report.problems)


def test_empty_books_are_clean() -> None:
    """Nothing adds up to nothing."""
    report = Audit().finish({}, set(), {WRITER: head_of([])})

    assert (report.clean, report.batches, report.entries) == (True, 0, 0)


@settings(max_examples=300)
@given(st.data())
def test_any_changed_byte_of_an_entry_is_found_in_its_batch(data: st.DataObject) -> None:
    """Any other byte, anywhere in any entry, is told with the batch that it is in."""
    batch = data.draw(st.integers(0, len(BATCHES) - 1))
    number = data.draw(st.integers(0, len(BATCHES[batch][1]) - 1))
    raw = BATCHES[batch][1][number]
    place = data.draw(st.integers(0, len(raw) - 1))
    batches = copy()
    batches[batch][1][number] = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]

    assert check(batches)[0].startswith(f"{HEADER.format(batch + 1)}: the entries do not have the sealed root")


@given(st.data())
def test_any_changed_byte_of_a_header_is_found(data: st.DataObject) -> None:
    """Any other byte in any header, the last one too, is found."""
    number = data.draw(st.integers(0, len(BATCHES) - 1))
    batches = copy()
    raw, entries = batches[number]
    place = data.draw(st.integers(0, len(raw) - 1))
    batches[number] = (raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :], entries)

    assert check(batches)


def swap_entries(batches: Batches) -> None:
    """Swap two entries of batch 2."""
    batches[1][1][0], batches[1][1][1] = batches[1][1][1], batches[1][1][0]


def swap_across(batches: Batches) -> None:
    """Swap an entry of batch 2 with one of batch 3."""
    batches[1][1][0], batches[2][1][0] = batches[2][1][0], batches[1][1][0]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (swap_entries, HEADER.format(2) + ": the entries do not have the sealed root"),
        (swap_across, HEADER.format(2) + ": the entries do not have the sealed root"),
        (lambda b: b[2][1].pop(1), HEADER.format(3) + ": the header counts 3 entries, there are 2"),
        (lambda b: b[2][1].clear(), HEADER.format(3) + ": the header counts 3 entries, there are 0"),
        (lambda b: b[2][1].append(b[2][1][0]), HEADER.format(3) + ": the header counts 3 entries, there are 4"),
        (lambda b: b.pop(0), HEADER.format(2) + ": does not follow the batch before it"),
        (lambda b: b.pop(3), HEADER.format(5) + ": does not follow the batch before it"),
        (lambda b: b.pop(), "writer 00010203: the batches end with 6, the store says 7"),
        (lambda b: b.clear(), "writer 00010203: the batches end with 0, the store says 7"),
        (lambda b: b.insert(4, b.pop(3)), HEADER.format(5) + ": does not follow the batch before it"),
        (lambda b: b.append(b[-1]), HEADER.format(7) + ": does not follow the batch before it"),
        (lambda b: b.insert(2, b[5]), HEADER.format(6) + ": does not follow the batch before it"),
    ],
    ids=[
        "swap",
        "swap across",
        "removed",
        "emptied",
        "added",
        "first batch",
        "middle batch",
        "last batch",
        "all",
        "reordered",
        "doubled",
        "inserted",
    ],
)
def test_moved_and_missing_pieces_are_located(spoil: Callable[[Batches], object], told: str) -> None:
    """What was moved, removed or added is told first where it happened."""
    batches = copy()
    spoil(batches)

    assert check(batches)[0].startswith(told)


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        (with_header(2, time_ns=5), HEADER.format(4) + ": does not follow the batch before it"),
        (with_header(6, time_ns=5), "writer 00010203: the batches end with 7, the store says 7"),
        (with_header(2, previous=bytes(32)), HEADER.format(3) + ": does not follow the batch before it"),
        (with_header(2, sequence=9), HEADER.format(9) + ": follows batch 2"),
        (with_header(2, root=bytes(32)), HEADER.format(3) + ": the entries do not have the sealed root"),
        (with_header(2, entry_count=4), HEADER.format(3) + ": the header counts 4 entries, there are 3"),
        (with_header(2, writer=bytes(16)), "batch 3 of writer 00000000: does not follow the batch before it"),
        (with_header(2, epoch=2), HEADER.format(3) + ", entry 0 (attempt): carries another writer or epoch"),
        (with_header(0, epoch=2), HEADER.format(1) + ", entry 0 (sheet): carries another writer or epoch"),
    ],
    ids=["time", "last time", "previous", "sequence", "root", "count", "writer", "epoch", "first epoch"],
)
def test_changed_header_is_located(batches: Batches, told: str) -> None:
    """Each field of a header is told by itself or by what follows it."""
    assert check(batches)[0].startswith(told)


def test_epoch_never_goes_back() -> None:
    """A batch of an epoch that was over when it was written is told."""
    problems = check(with_header(2, epoch=2))

    assert any(p.startswith(HEADER.format(4) + ": written under epoch 1 after epoch 2") for p in problems)


def test_header_that_is_none_is_told_by_its_place() -> None:
    """Bytes that are no header are told by their number among the batches."""
    batches = copy()
    batches[2] = (b"\xc0", batches[2][1])

    assert check(batches)[0].startswith("batch 3: not a batch header")


@pytest.mark.parametrize(
    ("accounts", "open_holds", "told"),
    [
        ({"a": (1, 0, 8)}, {"i-7"}, "account a: the entries give"),
        ({"c": (0, 0, 0)}, {"i-7"}, "account c: the entries give None, the store has (0, 0, 0)"),
        ({}, set(), "open holds: the store and the entries disagree on i-7"),
        ({}, {"i-7", "i-1"}, "open holds: the store and the entries disagree on i-1"),
    ],
    ids=["balance", "account too many", "hold missing", "hold too many"],
)
def test_state_that_differs_from_the_entries_is_told(
    accounts: dict[str, tuple[int, int, int]], open_holds: set[str], told: str
) -> None:
    """What a store keeps for speed is compared with what the entries say."""
    true = {a.id: (a.available, a.held, a.sequence) for a in WORLD.books.accounts.values()}
    work = Audit()
    for header, raws in BATCHES:
        work.take(header, raws)
    problems = work.finish(true | accounts, open_holds, {WRITER: head_of(BATCHES)}).problems

    assert [problem[: len(told)] for problem in problems] == [told]


def test_account_that_the_store_has_lost_is_told() -> None:
    """An account with entries and no row is a problem."""
    work = Audit()
    for header, raws in BATCHES:
        work.take(header, raws)

    assert any("the store has None" in problem for problem in work.finish({}, {"i-7"}).problems)


def test_list_of_problems_is_bounded_and_their_count_is_not() -> None:
    """Books that are all wrong give a list that can be read, and the whole count."""
    world = World()
    world.open("a")
    for _ in range(PROBLEMS_MAX + 50):
        world.deposit("a", 1)
    report = world.audit([(header, [b"\xc0" for _ in raws]) for header, raws in world.batches(1)])

    assert len(report.problems) == PROBLEMS_MAX
    assert report.problem_count > 2 * PROBLEMS_MAX
    assert not report.clean


@given(st.lists(st.tuples(st.binary(max_size=120), st.lists(st.binary(max_size=60), max_size=3)), max_size=5))
def test_garbage_is_told_and_never_raises(garbage: Batches) -> None:
    """Whatever bytes are in the place of batches, the audit comes to its end and finds them."""
    assert WORLD.audit(garbage).problems
