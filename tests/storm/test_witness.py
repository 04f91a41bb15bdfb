"""The storm's own judgement finds what it is there to find: a harness that cannot complain proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tallygate.core.pricing import Price, Sheet
from tests.core.ledger.world import MODEL, World
from tests.storm.acts import Act, Way
from tests.storm.calls import Told
from tests.storm.witness import Books, Witness, price

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.ledger.entry import Entry

CHARGE = price(20, 5)
HELD = price(1000, 100)


def make_books() -> Books:
    """Return sound books: a deposit, a call that was charged, and one that is under way."""
    world = World(Sheet(1, 100_000, {MODEL: Price(353, 1411)}))
    world.open("a")
    world.deposit("a", 10 * HELD, "invoice 1")
    world.settle(world.hold("chatcmpl-1"), 20, 5)
    world.hold("chatcmpl-2")
    return Books([written.raw for written in world.entries], [written.entry for written in world.entries])


def make_witness() -> Witness:
    """Return who heard just what the books say."""
    witness = Witness(charge_prompt=False)
    witness.hear_act(Act(Way.REFERENCE, "a", "invoice 1", 10 * HELD))
    witness.hear(Told("streamed to the end", "chatcmpl-1", CHARGE))
    witness.hear(Told("connection lost", "chatcmpl-2"))
    return witness


def change(index: int, **fields: Any) -> Callable[[Books], Books]:
    """Return what changes one entry."""

    def tamper(books: Books) -> Books:
        entries = list(books.entries)
        entries[index] = msgspec.structs.replace(entries[index], **fields)
        return books._replace(entries=entries)

    return tamper


def overcharge(books: Books) -> Books:
    """Charge a pico-dollar too much, in a way that still balances."""
    settle = books.entries[4]
    moved = {"income/fee": 1, "account/a/available": -1}
    postings = tuple((book, name, amount + moved.get(name, 0)) for book, name, amount in settle.postings)
    return change(4, postings=postings)(books)


def lose_posting(books: Books) -> Books:
    """Lose one side of a deposit."""
    return change(2, postings=books.entries[2].postings[:1])(books)


def end_again(books: Books) -> Books:
    """End a call twice."""
    return books._replace(entries=[*books.entries, books.entries[4]])


def hold_again(books: Books) -> Books:
    """Hold for a call twice."""
    return books._replace(entries=[*books.entries, books.entries[3]])


def lose_last(books: Books) -> Books:
    """Lose the last entry."""
    return Books(books.raws[:-1], books.entries[:-1])


def test_sound_books_please_the_witness() -> None:
    """Books that say what was heard, and add up, are without a violation, again and again."""
    witness, books = make_witness(), make_books()

    assert witness.check(books) == []
    assert witness.check(books) == []
    assert witness.charges_heard == 1


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (change(2, available_after=10 * HELD + 1), "another balance"),
        (change(4, account_sequence=5), "another balance"),
        (overcharge, f"was charged {CHARGE + 1}"),
        (lose_posting, "book USD sums to"),
        (lose_posting, "was paid in"),
        (end_again, "ended without a hold, or twice"),
        (hold_again, "was held twice"),
        (lose_last, "chatcmpl-2 was told to a caller and never held"),
        (change(3, kind="note"), "ended without a hold"),
        (change(2, reference="invoice 2"), "was acknowledged"),
    ],
)
def test_bad_books_are_found(tamper: Callable[[Books], Books], complaint: str) -> None:
    """Whatever is wrong in the books is told in words."""
    found = make_witness().check(tamper(make_books()))

    assert any(complaint in violation for violation in found), found


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (Told("streamed to the end", "chatcmpl-1", CHARGE + 1), f"was charged {CHARGE + 1} for chatcmpl-1"),
        (Told("streamed to the end", "chatcmpl-2", CHARGE), "for chatcmpl-2, the books say []"),
        (Told("connection lost", "chatcmpl-9"), "never held"),
        (Told("streamed to the end", "chatcmpl-1", CHARGE, "ended without [DONE]"), "a caller ended without [DONE]"),
    ],
)
def test_a_caller_who_was_told_otherwise_is_heard(told: Told, complaint: str) -> None:
    """What a caller saw and the books do not have is a violation."""
    witness = make_witness()
    witness.hear(told)

    assert any(complaint in violation for violation in witness.check(make_books()))


def test_where_holds_do_not_wait_a_call_may_be_told_that_is_lost() -> None:
    """With `async` holds a kill may lose a hold that its caller was told the id of; a charge is never lost."""
    witness = Witness(charge_prompt=False, holds_wait=False)
    witness.hear(Told("connection lost", "chatcmpl-9"))
    assert witness.check(make_books()) == []

    witness.hear(Told("whole answer", "chatcmpl-9", CHARGE))
    assert len(witness.check(make_books())) == 1


def test_what_was_there_must_stay() -> None:
    """An entry that was seen once may neither go nor change."""
    witness, books = make_witness(), make_books()
    witness.check(books)
    shorter = Books(books.raws[:-1], books.entries)

    assert "what was committed before is not there any more" in witness.check(shorter)


def test_an_account_below_zero_is_found() -> None:
    """No hold may take more than there is."""
    world = World(Sheet(1, 100_000, {MODEL: Price(353, 1411)}))
    world.open("a")
    world.deposit("a", HELD)
    world.hold()
    entries = [written.entry for written in world.entries]
    hold = entries[-1]
    postings = tuple((book, name, amount * 2) for book, name, amount in hold.postings)
    entries[-1] = msgspec.structs.replace(hold, postings=postings, available_after=-HELD, held_after=2 * HELD)

    found = Witness(charge_prompt=False).check(Books([], entries))
    assert any("below zero" in violation for violation in found)


def start(ending: Callable[[World], Entry | None], *, charge_prompt: bool = False) -> list[str]:
    """Return what is found of a start that ended an open hold in this way."""
    world = World(Sheet(1, 100_000, {MODEL: Price(353, 1411)}))
    world.open("a")
    world.deposit("a", 10 * HELD)
    world.hold()
    before = Books([], [written.entry for written in world.entries])
    world.books.epoch = 2
    ending(world)
    after = Books([], [written.entry for written in world.entries])
    witness = Witness(charge_prompt=charge_prompt)
    return [*witness.check_start(before, after), *witness.check(after)]


def bill(_: str, prompt_tokens: int, completion_tokens: int) -> int:
    """Return what an upstream bills."""
    return prompt_tokens + completion_tokens


def expire(world: World) -> Entry:
    """End the hold by the rule."""
    return world.keep(world.books.expire(world.books.holds["chatcmpl-1"], bill, None))


def settle(world: World) -> None:
    """Charge for a call of which nobody knows anything."""
    world.settle(world.books.holds["chatcmpl-1"], 20, 5)


def test_a_start_must_end_every_hold_by_the_rule() -> None:
    """An open hold that a start leaves, or charges for, is found; one that expires is in order."""
    assert start(expire) == []
    assert any("ended {} where" in violation for violation in start(lambda _: None))
    assert any("held after a start" in violation for violation in start(lambda _: None))
    assert any("with settle" in violation for violation in start(settle))
    assert any("was charged 0, not" in violation for violation in start(expire, charge_prompt=True))
