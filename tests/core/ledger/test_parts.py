"""Inferences of several parts: one hold, one ending, an `attempt` for every other part; and the lies about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.entry import Flag, decode_entry, encode_entry
from tallygate.core.ledger.parts import count_layers
from tallygate.core.ledger.reconciliation import Attempts, Basis
from tallygate.core.ledger.records import Sending, SendingEnd
from tallygate.core.ledger.restoring import restore_hold
from tallygate.core.pricing import UpstreamRate
from tests.core.ledger.world import FIRST, USD, WRITER, World, make_clock, make_entropy, seal, usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.records import Hold

OTHERS = (Sending(1, 0, "nodes", "gonka1b"), Sending(2, 0, "bearer", None))
ENDS = (
    SendingEnd(FIRST, 10, 5, 15, "ref-a"),
    SendingEnd(OTHERS[0], 20, 6, 26, "ref-b", Flag.ESTIMATED),
    SendingEnd(OTHERS[1], 30, 7, 37, "ref-c"),
)


@dataclass
class Case:
    """A world with an inference of three parts."""

    world: World
    hold: Hold


def begin() -> Case:
    """Hold for three parts."""
    world = World()
    world.open("a", USD)
    return Case(world, world.hold(others=OTHERS))


def settled(prompt: int = 60, completion: int = 18) -> World:
    """Return a world in which three parts were settled together, after one of them had been tried twice."""
    case = begin()
    again = OTHERS[0]._replace(try_=1)
    case.world.keep(case.world.books.end_attempt(case.hold, SendingEnd(OTHERS[0], 0, 0, 9)))
    case.world.keep(case.world.books.begin_attempt(case.hold, again))
    case.world.settle_parts(case.hold, (ENDS[0], ENDS[1]._replace(sending=again), ENDS[2]), prompt, completion)
    return case.world


def paid(entry: Entry) -> tuple[int, int]:
    """Return what of an entry's bill is paid, and what is not."""
    return e.amount_of(entry, e.NGONKA, e.COST_PAID), e.amount_of(entry, e.NGONKA, e.COST_UNPAID)


def test_parts_are_settled_together() -> None:
    """The ending has the tokens of all parts and the bill of the last; each other part has an `attempt` before it."""
    world = settled()

    *_, first, second, ending = [written.entry for written in world.entries]
    assert (first.kind, first.part, first.ends, first.prompt_tokens, paid(first)) == (e.ATTEMPT, 0, None, 10, (15, 0))
    assert (second.part, second.try_, second.flags, paid(second)) == (1, 1, Flag.ESTIMATED, (26, 0))
    assert second.upstream_reference == "ref-b"
    assert (ending.kind, ending.part, ending.upstream, paid(ending)) == (e.SETTLE, 2, "bearer", (37, 0))
    assert (ending.prompt_tokens, ending.completion_tokens) == (60, 18)
    assert e.amount_of(ending, e.USD, e.INCOME_BASE) == 60 * 100 + 18 * 300 + 7
    report = world.audit()
    assert report.problems == []
    assert (report.totals[e.NGONKA, e.COST_PAID], report.totals[e.NGONKA, e.COST_UNPAID]) == (78, 9)


def test_tokens_are_counted_where_they_were_sent() -> None:
    """The audit's figures by node have each part's own tokens, though the ending tells those of all."""
    figures = settled().audit().figures.sent

    by_node = {
        place[:2]: (sent.sendings, sent.prompt_tokens, sent.completion_tokens) for place, sent in figures.items()
    }
    assert by_node == {("nodes", "gonka1a"): (1, 10, 5), ("nodes", "gonka1b"): (2, 20, 6), ("bearer", ""): (1, 30, 7)}


def test_reconciliation_takes_each_part_by_itself() -> None:
    """Each part is an attempt with its own tokens, bill, reference, and word on where its bill comes from."""
    attempts = Attempts()
    told = [attempt for written in settled().entries for attempt in attempts.take(written.entry)]

    assert [
        (a.part, a.try_, a.booked_ngonka, a.prompt_tokens, a.completion_tokens, a.basis, a.reference) for a in told
    ] == [
        (1, 0, 9, 0, 0, Basis.POSSIBLE, None),
        (0, 0, 15, 10, 5, Basis.REPORTED, "ref-a"),
        (1, 1, 26, 20, 6, Basis.COUNTED, "ref-b"),
        (2, 0, 37, 30, 7, Basis.REPORTED, "ref-c"),
    ]
    assert attempts.under_way == 0


def test_an_overrun_is_shared() -> None:
    """Where the charge is cut to the hold, each bill is left unpaid by the same share, rounded up; the memo adds up."""
    world = settled(prompt=5000, completion=18)

    *_, first, second, ending = [written.entry for written in world.entries]
    listed = (5000 * 100 + 18 * 300 + 7) * 11 // 10 + 1  # and the fee, half up
    excess = listed - 143_008
    shares = [-(-bill * excess // listed) for bill in (15, 26, 37)]
    assert [paid(entry)[1] for entry in (first, second, ending)] == shares
    assert (ending.overrun_ngonka, ending.overrun_list_picousd) == (sum(shares), excess)
    assert world.audit().problems == []


def test_parts_are_voided_together() -> None:
    """Nobody pays for any part of what is given back."""
    case = begin()
    case.world.void_parts(case.hold, ENDS)

    assert [paid(written.entry) for written in case.world.entries[-3:]] == [(0, 15), (0, 26), (0, 37)]
    assert case.world.last.kind == e.VOID
    assert case.world.audit().problems == []
    attempts = Attempts()
    told = [attempt for written in case.world.entries for attempt in attempts.take(written.entry)]
    assert [a.basis for a in told] == [Basis.POSSIBLE] * 3


@pytest.mark.parametrize(
    "ends",
    [
        (ENDS[2],),
        ENDS[:2],
        (*ENDS, ENDS[2]),
        (ENDS[0], ENDS[1], ENDS[1]),
        (ENDS[0], ENDS[1], ENDS[2]._replace(sending=OTHERS[1]._replace(try_=1))),
        (ENDS[0]._replace(prompt_tokens=61), *ENDS[1:]),
        (ENDS[0], ENDS[1]._replace(completion_tokens=19), ENDS[2]),
        (ENDS[0]._replace(prompt_tokens=-1), *ENDS[1:]),
        (ENDS[0], ENDS[1]._replace(bill_ngonka=-1), ENDS[2]),
    ],
)
def test_what_does_not_end_every_part_ends_nothing(ends: tuple[SendingEnd, ...]) -> None:
    """An ending that leaves a part out, names one twice, or does not add up, is refused and changes nothing."""
    case = begin()
    account, sendings = case.world.books.accounts["a"], dict(case.hold.open_sendings)
    before = (account.available, account.held, account.sequence)
    with pytest.raises(InvariantBrokenError):
        case.world.books.settle_parts(case.hold, ends, usage(60, 18))

    assert (account.available, account.held, account.sequence) == before
    assert case.hold.open_sendings == sendings
    case.world.settle_parts(case.hold, ENDS, 60, 18)
    assert case.world.audit().problems == []


def test_two_sendings_of_one_part_cannot_both_be_paid() -> None:
    """A part that is under way twice at a time has to end once before the inference does."""
    case = begin()
    twice = OTHERS[1]._replace(try_=1)
    case.world.keep(case.world.books.begin_attempt(case.hold, twice))
    with pytest.raises(InvariantBrokenError):
        case.world.books.settle_parts(case.hold, (*ENDS, SendingEnd(twice, 0, 0, 0)), usage(60, 18))


def test_a_crash_loses_what_was_held_once() -> None:
    """The parts share what was held: a crash loses it once, however many there are, and each one's cost per sending."""
    rate = UpstreamRate(1, 1, 1000)
    for others, layers, bill in (
        (OTHERS[:1], 1, 1100 + 2 * 1000),
        (OTHERS, 1, 2 * 1100 + 3 * 1000),  # at two upstreams, each of which may have had the longest prompt
        ((FIRST._replace(try_=1), OTHERS[0]), 2, 2 * 1100 + 3 * 1000),
    ):
        world = World()
        world.open("a", USD)
        hold = world.hold(others=others)
        expired = world.keep(world.books.expire(hold, lambda _, prompt, out: rate.bill(prompt, out), None))

        assert count_layers((FIRST, *others)) == layers
        assert expired.overrun_list_picousd == layers * 143_008
        assert (paid(expired), expired.overrun_ngonka) == ((0, bill), bill)
        assert world.audit().problems == []


def test_open_parts_are_read_back() -> None:
    """A start that finds an inference of several parts knows each sending that is open, and who began it."""
    case = begin()
    again = OTHERS[0]._replace(try_=1)
    case.world.keep(case.world.books.end_attempt(case.hold, SendingEnd(OTHERS[0], 0, 0, 9)))
    case.world.keep(case.world.books.begin_attempt(case.hold, again))
    later = Books(WRITER, 2, make_clock(2 * 10**18), make_entropy())
    later.accounts, later.sheets = case.world.books.accounts, case.world.books.sheets
    of_inference = [(w.id, w.entry) for w in case.world.entries if w.entry.inference is not None]
    restore_hold(later, of_inference)

    assert later.holds["chatcmpl-1"].open_sendings == case.hold.open_sendings
    assert later.holds["chatcmpl-1"].begun == case.hold.begun


def change(number: int, **fields: Any) -> Callable[[list[bytes]], None]:
    """Return a forgery of one entry."""

    def forge(raws: list[bytes]) -> None:
        raws[number] = encode_entry(msgspec.structs.replace(decode_entry(raws[number]), **fields))

    return forge


def drop(number: int) -> Callable[[list[bytes]], None]:
    """Return a forgery that leaves an entry out."""
    return lambda raws: raws.__delitem__(number)


def bill(upstream: str, paid_ngonka: int, unpaid_ngonka: int) -> tuple[tuple[str, str, int], ...]:
    """Return the postings of a bill."""
    postings = (
        (e.NGONKA, e.COST_PAID, paid_ngonka),
        (e.NGONKA, e.COST_UNPAID, unpaid_ngonka),
        (e.NGONKA, e.payable_account(upstream), -paid_ngonka - unpaid_ngonka),
    )
    return tuple(posting for posting in postings if posting[2])


FORGERIES = [
    # the entries: sheet, note, deposit, hold, begin 1, begin 2, failed 1, begin 1 again, end 0, end 1, settle
    (change(6, postings=bill("nodes", 9, 0)), "paid for a sending of which the part was not served"),
    (change(8, postings=bill("nodes", 0, 15)), "leaves 15 of another part's bill unpaid, not 0"),
    (change(9, postings=bill("nodes", 25, 1)), "leaves 1 of another part's bill unpaid, not 0"),
    (change(8, prompt_tokens=61), "its other parts have more prompt tokens than all of it"),
    (change(9, completion_tokens=14), "its other parts have more completion tokens than all of it"),
    (change(8, ends=bytes(32)), "ends another sending than it names"),
    (change(9, part=2), "ends another sending than it names"),
    (change(9, upstream="bearer", postings=bill("bearer", 26, 0)), "ends another sending than it names"),
    (drop(9), "does not end the one sending that is under way"),
    (drop(8), "does not end the one sending that is under way"),
    (drop(5), "does not end the one sending that is under way"),
]


@pytest.mark.parametrize(("forge", "told"), FORGERIES)
def test_the_audit_sees_through_each_lie(forge: Callable[[list[bytes]], None], told: str) -> None:
    """Whoever shifts a part's bill, tokens or place in freshly sealed batches is found out."""
    world = settled()
    raws = [written.raw for written in world.entries]
    assert len(raws) == 11
    forge(raws)
    report = world.audit(seal([raws[i : i + 3] for i in range(0, len(raws), 3)]))

    assert any(told in problem for problem in report.problems), report.problems


@pytest.mark.parametrize("kind", [e.VOID, e.EXPIRE])
def test_nobody_pays_for_a_part_of_what_is_not_settled(kind: str) -> None:
    """A part that is booked as paid while its inference is given back is a lie, which the audit tells."""
    case = begin()
    if kind == e.VOID:
        case.world.void_parts(case.hold, ENDS)
    else:
        for end in ENDS[:2]:
            case.world.keep(case.world.books.end_attempt(case.hold, end))
        case.world.keep(case.world.books.expire(case.hold, lambda *_: 5, None))
    raws = [written.raw for written in case.world.entries]
    number = next(i for i, raw in enumerate(raws) if decode_entry(raw).upstream_reference == "ref-a")
    change(number, postings=bill("nodes", 15, 0))(raws)
    report = case.world.audit(seal([raws]))

    assert any("paid for a part of an inference that was not settled" in problem for problem in report.problems)
    assert report.broken["P3" if kind == e.EXPIRE else "P7"]
