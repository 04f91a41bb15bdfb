"""A tag follows its inference through the books."""

from __future__ import annotations

from tallygate.core.ledger import entry as e
from tests.core.ledger.world import SECOND, USD, World, end, usage

TAG = bytes(range(16))


def test_a_tag_is_on_the_hold_and_on_its_ending() -> None:
    """Whichever way an inference ends, hold and ending carry its tag, its attempts none; the audit agrees."""
    world = World()
    books = world.books
    world.open("a", USD)
    world.settle(world.hold("i-1", tag=TAG), 50, 20)
    retried = world.hold("i-2", tag=TAG)
    world.keep(books.end_attempt(retried, end()))
    world.keep(books.begin_attempt(retried, SECOND))
    world.keep(books.void(retried, end(SECOND), "failed"))
    world.keep(books.expire(world.hold("i-3", tag=TAG), lambda *_: 40, usage(1, 0)))
    world.settle(world.hold("i-4"), 50, 20)
    tagged = {(w.entry.inference, w.entry.kind) for w in world.entries if w.entry.tag == TAG}

    assert tagged == {
        (name, kind) for name, end in (("i-1", e.SETTLE), ("i-2", e.VOID), ("i-3", e.EXPIRE)) for kind in (e.HOLD, end)
    }
    assert {w.entry.tag for w in world.entries} == {TAG, None}
    assert world.audit().problems == []
