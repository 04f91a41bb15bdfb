"""Books with a bit of everything in them, and a forger who can rewrite and seal them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tallygate.core.ledger import entry as e
from tallygate.core.pricing import Price, revised
from tests.core.ledger.world import (
    FIRST,
    FREE,
    MODEL,
    SECOND,
    SHEET,
    USD,
    WRITER,
    Batches,
    World,
    audit_all_ways,
    end,
    head_of,
    seal,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.entry import Entry

SIZE = 3
"""Entries in a batch: so the place of entry 7 is batch 3, entry 1."""


def make_world() -> World:
    """Return clean books with every kind of act; the comments count the entries."""
    world = World()  # 0 sheet
    books = world.books
    world.open("a")  # 1 note
    world.deposit("a", USD, "r-1")  # 2
    world.settle(world.hold("i-1"), 50, 20, bill=70)  # 3 hold, 4 settle
    retried = world.hold("i-2")  # 5
    world.keep(books.end_attempt(retried, end(FIRST, 11)))  # 6
    world.keep(books.begin_attempt(retried, SECOND))  # 7
    world.settle(retried, 5000, 20, bill=5020, last=SECOND)  # 8, an overrun
    world.keep(books.void(world.hold("i-3"), end(bill=9), "failed"))  # 9 hold, 10 void
    world.open("b", USD)  # 11 note, 12 deposit
    world.keep(books.publish(revised(SHEET, {MODEL: Price(200, 600, 7)}), "operator"))  # 13
    world.keep(books.expire(world.hold("i-4", "b"), lambda *_: 40, None))  # 14 hold, 15 expire
    charged = world.hold("i-5", "b")  # 16
    world.keep(books.expire(charged, lambda *_: 40, usage(334, 0)))  # 17
    world.settle(world.hold("i-6", "b", model=FREE), 1, 1)  # 18 hold, 19 settle
    world.hold("i-7", "b")  # 20, open
    return world


def entries_of(world: World) -> list[Entry]:
    """Return all entries."""
    return [written.entry for written in world.entries]


def forge(world: World, entries: Sequence[Entry], origins: Sequence[int], *, rebalance: bool = True) -> Report:
    """Return the audit of other entries, sealed as if they had always been there.

    Args:
        world: The true books.
        entries: What is in the forged ones.
        origins: For each of them, the true entry that it stands for, so that endings go on naming their holds.
        rebalance: Whether sequences and balances are made to fit the postings again.
    """
    names: dict[bytes, bytes] = {}
    balances: dict[str, list[int]] = {}
    raws = []
    for entry, origin in zip(entries, origins, strict=True):
        forged = replace(entry, ends=names.get(entry.ends or b"", entry.ends))
        if forged.account is not None:
            balance = balances.setdefault(forged.account, [0, 0, 0])
            for _, name, amount in forged.postings:
                balance[0] += amount * (name == e.available_account(forged.account))
                balance[1] += amount * (name == e.held_account(forged.account))
            balance[2] += 1
            if rebalance:
                fields = dict(zip(("available_after", "held_after", "account_sequence"), balance, strict=True))
                forged = replace(forged, **fields)
        raw = e.encode_entry(forged)
        names[world.entries[origin].id] = e.entry_id(raw)
        raws.append(raw)
    batches = seal([raws[i : i + SIZE] for i in range(0, len(raws), SIZE)])
    ended = {entry.inference for entry in entries if entry.kind in e.ENDINGS}
    open_holds = {entry.inference or "" for entry in entries if entry.kind == e.HOLD} - ended
    return audit(batches, {name: (b[0], b[1], b[2]) for name, b in balances.items()}, open_holds)


def change(world: World, number: int, *, rebalance: bool = True, **fields: Any) -> Report:
    """Return the audit of books in which one entry is another, sealed anew."""
    entries = entries_of(world)
    entries[number] = replace(entries[number], **fields)
    return forge(world, entries, range(len(entries)), rebalance=rebalance)


def arrange(world: World, order: Sequence[int], **more: Any) -> Report:
    """Return the audit of the same entries in another order, some left out or twice, sealed anew."""
    entries = entries_of(world)
    return forge(world, [entries[number] for number in order], order, **more)


def repost(world: World, number: int, edit: Callable[[dict[tuple[str, str], int]], object]) -> Report:
    """Return the audit of books in which one entry posts other amounts, sealed anew."""
    amounts = {(book, name): amount for book, name, amount in world.entries[number].entry.postings}
    edit(amounts)
    postings = tuple(sorted((book, name, amount) for (book, name), amount in amounts.items()))
    return change(world, number, postings=postings)


def audit(batches: Batches, accounts: dict[str, tuple[int, int, int]], open_holds: set[str]) -> Report:
    """Return the audit of batches whose store agrees with them in everything."""
    return audit_all_ways(batches, accounts, open_holds, {WRITER: head_of(batches)})


def place(number: int) -> str:
    """Return where an audit says that an entry is."""
    return f"batch {number // SIZE + 1} of writer {WRITER.hex()[:8]}, entry {number % SIZE}"
