"""Ordinary entries, taken at one look: never where the long way would have a word to say, and counted alike.

Every forgery of `test_forgery` is audited both ways, too (`world.audit_all_ways`); here chance makes more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from tallygate.core.audit.audit import Audit
from tallygate.core.audit.plain import Plain
from tallygate.core.audit.stretch import Stretch
from tallygate.core.ledger import entry as e
from tallygate.core.pricing import Price, Sheet
from tests.core.audit.forgery import entries_of, forge, make_world
from tests.core.ledger.world import FIRST, MODEL, SECOND, USD, WRITER, World, end, seal, usage

if TYPE_CHECKING:
    from tallygate.core.audit.replay import Replay
    from tallygate.core.ledger.batch import Header
    from tallygate.core.ledger.entry import Facts

WORLD = make_world()
ENTRIES = entries_of(WORLD)
ORDINARY = [number for number, entry in enumerate(ENTRIES) if entry.kind in {e.HOLD, e.SETTLE, e.VOID}]
FIELDS = [field.name for field in fields(e.Entry) if field.name not in {"format", "nonce"}]
NEAR = st.integers(-2, 2)
AMOUNTS = st.one_of(NEAR, st.sampled_from([USD, e.AMOUNT_MAX, -e.AMOUNT_MAX, 2**63, -(2**63)]))


class Counting(Audit):
    """An audit that counts the entries that it takes at one look."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = self.counter = Counter()

    @property
    def taken(self) -> int:
        """How many."""
        return self.counter.taken


class Counter(Plain):
    """Counts what it takes."""

    taken = 0

    def take(self, entry_bytes: bytes, header: Header, replay: Replay) -> Facts | None:
        """Count."""
        entry = super().take(entry_bytes, header, replay)
        self.taken += entry is not None
        return entry


@st.composite
def changes(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """Return an entry that may be ordinary, and fields that another entry has, or that are a little off."""
    number = draw(st.sampled_from(ORDINARY))
    entry = ENTRIES[number]
    changed: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True)):
        value = getattr(entry, name)
        if name == "postings":
            changed[name] = draw(postings_like(value))
        elif isinstance(value, int) and draw(st.booleans()):
            changed[name] = max(value + draw(NEAR), -(2**63))
        else:
            changed[name] = getattr(draw(st.sampled_from(ENTRIES)), name)
    return number, changed


@st.composite
def postings_like(draw: st.DrawFn, postings: tuple[e.Posting, ...]) -> tuple[e.Posting, ...]:
    """Return postings of which some amounts have moved to others, or that are another entry's, or in another order."""
    if not postings or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(ENTRIES)).postings
    if draw(st.integers(0, 5)) == 0:
        return tuple(draw(st.permutations(postings)))
    amount = draw(AMOUNTS)
    source, target = draw(st.sampled_from(postings)), draw(st.sampled_from(postings))
    moved = []
    for posting in postings:
        book, name, old = posting
        moved.append((book, name, old - amount * (posting == source) + amount * (posting == target)))
    return tuple(posting for posting in moved if -(2**63) <= posting[2] < 2**64)


@given(changes(), st.booleans())
def test_one_look_never_takes_what_a_close_one_would_tell(change: tuple[int, dict[str, Any]], rebalance: bool) -> None:
    """Whatever is changed in a hold or a charge, sealed and balanced anew or not, both ways report the same."""
    number, changed = change
    entries = list(ENTRIES)
    entries[number] = replace(entries[number], **changed)

    forge(WORLD, entries, range(len(entries)), rebalance=rebalance)  # which compares the reports


@pytest.mark.parametrize("number", ORDINARY)
def test_reference_that_was_booked_is_told_of_ordinary_entries_too(number: int) -> None:
    """A hold or a charge that carries a deposit's reference is looked at closely."""
    entries = list(ENTRIES)
    entries[number] = replace(entries[number], reference="r-1", account="a")

    assert not forge(WORLD, entries, range(len(entries))).clean


@pytest.mark.parametrize("fee_ppm", [0, 1, 100_000])
@pytest.mark.parametrize("bill", [0, 1, 70])
def test_ordinary_history_is_taken_at_one_look(fee_ppm: int, bill: int) -> None:
    """Holds and charges need no closer look, with or without a fee, and whether or not the upstream bills."""
    world = World(Sheet(1, fee_ppm, {MODEL: Price(100, 300, 7)}))
    world.open("a", USD)
    for number in range(3):
        world.settle(world.hold(f"i-{number}"), 50, 20 + number, bill=bill)
    work = Counting()
    for header, raws in world.batches():
        work.take(header, raws)

    assert work.taken == 6
    assert world.audit().problems == []


@pytest.mark.parametrize("prompt", [1000, 5000])
def test_charge_of_all_that_was_held_is_looked_at(prompt: int) -> None:
    """A charge as high as its hold, and an overrun, are right, rare, and left to the long way."""
    world = World()
    world.open("a", USD)
    world.settle(world.hold("i"), prompt, 100, bill=prompt + 100)
    work = Counting()
    for header, raws in world.batches():
        work.take(header, raws)

    assert work.taken == 1
    assert world.audit().problems == []


def test_ordinary_call_beside_others_of_its_account_is_taken() -> None:
    """What happens to an account between the hold and the charge does not matter, nor does what a release says."""
    world = World()
    world.open("a", USD)
    first, second = world.hold("i-1"), world.hold("i-2")
    world.keep(world.books.void(second, end(FIRST, 9), "failed"))
    world.keep(world.books.settle(first, end(FIRST, 3), usage(1, 1, e.Flag.ESTIMATED | e.Flag.CUT))[1])
    work = Counting()
    for header, raws in world.batches():
        work.take(header, raws)

    assert work.taken == 4
    assert world.audit().problems == []


@pytest.mark.parametrize("is_charged", [False, True])
@pytest.mark.parametrize("bill", [0, 9])
def test_call_that_was_sent_again_ends_at_one_look(is_charged: bool, bill: int) -> None:
    """A charge, or a release, of the one sending that is under way is taken, also where that is not the first."""
    world = World()
    world.open("a", USD)
    hold = world.hold("i")
    world.keep(world.books.end_attempt(hold, end(FIRST, 1)))
    world.keep(world.books.begin_attempt(hold, SECOND))
    if is_charged:
        world.settle(hold, 50, 20, bill=bill, last=SECOND)
    else:
        world.keep(world.books.void(hold, end(SECOND, bill), "failed"))
    work = Counting()
    for header, raws in world.batches():
        work.take(header, raws)

    assert work.taken == 2
    assert world.audit().problems == []


def test_charge_for_several_parts_is_looked_at() -> None:
    """A charge whose other parts have ended by attempts is not taken at one look: its tokens are not all its own."""
    world = World()
    world.open("a", USD)
    second = FIRST._replace(part=1)
    hold = world.hold("i", others=(second,))
    world.settle_parts(hold, [end(FIRST, 30, 10, 20), end(second, 40, 10, 30)], 20, 50)
    work = Counting()
    for header, raws in world.batches():
        work.take(header, raws)

    assert work.taken == 1
    assert world.audit().problems == []


def test_hold_of_nothing_posts_nothing() -> None:
    """A hold that is free has no postings: one that posts zeros is told, though its sums are right."""
    world = World(Sheet(1, 100_000, {MODEL: Price(0, 0, free=True)}))
    world.open("a", USD)
    world.hold("i")
    entries = entries_of(world)
    ours = (e.available_account("a"), e.held_account("a"))
    entries[-1] = replace(entries[-1], postings=tuple((e.USD, name, 0) for name in ours))
    report = forge(world, entries, range(len(entries)))

    assert [problem.partition(": ")[2] for problem in report.problems] == [f"posts 0 to USD {name}" for name in ours]


def test_charge_of_nothing_whose_bill_is_left_unpaid_is_told() -> None:
    """Where tokens and call are free, a charge may be nothing, and still its bill is the customer's to have paid."""
    world = World(Sheet(1, 100_000, {MODEL: Price(0, 300)}))
    world.open("a", USD)
    world.settle(world.hold("i"), 50, 0, bill=9)
    entries = entries_of(world)
    postings = tuple(
        (book, e.COST_UNPAID if name == e.COST_PAID else name, n) for book, name, n in entries[-1].postings
    )
    assert postings != entries[-1].postings
    entries[-1] = replace(entries[-1], postings=postings)
    report = forge(world, entries, range(len(entries)))

    assert [problem.partition(": ")[2] for problem in report.problems] == ["leaves 9 of 9 ngonka unpaid, not 0"]


def test_charge_beside_a_sending_that_is_under_way_is_looked_at() -> None:
    """A charge that is as its hold has it in every byte is told all the same where another sending has begun since."""
    world = World()
    world.open("a", USD)
    hold = world.hold("i")
    world.keep(world.books.end_attempt(hold, end(FIRST, 1)))
    world.keep(world.books.begin_attempt(hold, SECOND))
    world.settle(hold, 50, 20, last=SECOND)
    entries = entries_of(world)
    del entries[-3]
    entries[-1] = replace(entries[-1], try_=FIRST.try_, upstream=FIRST.upstream, node=FIRST.node)
    report = forge(world, entries, [*range(4), 5, 6])

    assert [problem.partition(": ")[2] for problem in report.problems] == [
        "does not end the one sending that is under way"
    ]


@pytest.mark.parametrize("number", ORDINARY)
def test_ordinary_entry_is_taken_in_its_one_form_only(number: int) -> None:
    """A hold or a charge whose epoch is written with a byte more says the same, and is told all the same."""
    entry = ENTRIES[number]
    writer = entry.writer + bytes([entry.epoch])
    raws = [e.encode_entry(other) for other in ENTRIES]
    raws[number] = raws[number].replace(writer, entry.writer + bytes([0xCC, entry.epoch]), 1)
    (header, _), *_ = seal([raws])
    work = Counting()
    work.take(header, raws)

    assert e.read_entry(raws[number]) == entry
    assert work.problems.listed[0].endswith(f"entry {number}: not in canonical form")


@pytest.mark.parametrize(("nonce_bytes", "writer_bytes"), [(15, 16), (16, 15)])
def test_ordinary_entry_has_whole_ids(nonce_bytes: int, writer_bytes: int) -> None:
    """A nonce, or a writer that even its header shortens, is told as it would be of any other entry."""
    hold = next(entry for entry in ENTRIES if entry.kind == e.HOLD)
    writer = WRITER[:writer_bytes]
    raw = e.encode_entry(replace(hold, writer=writer, nonce=bytes(nonce_bytes)))
    (header, raws), *_ = seal([[raw]], writer=writer)
    work = Stretch([entry for entry in ENTRIES[:1] if entry.kind == e.SHEET])  # which takes its word for all else
    work.take(header, raws)

    assert [problem.partition(": ")[2] for problem in work.problems.listed] == ["nonce and writer have 16 bytes"]
