"""A store with some of everything in it, and what is in the file of a store."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

import apsw

from tallygate.core.access import KeyTerms
from tallygate.core.limits import Limits
from tests.contract.world import RATE, SECOND, USD, Machine, SqliteStore, end, request, serve

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("batches", "entries", "accounts", "open_holds", "keys", "key_spending")
"""What a dump brings over, each in an order of its own."""


async def fill(path: Path) -> Machine:
    """Make a store: accounts, keys, deposits, a correction, calls that ended in every way, an open one, two epochs."""
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    ann = await ledger.open_account("Ann", "operator")
    bob = await ledger.open_account('Bob "=1+1", Ünï', "operator")
    one, other = ledger.deposit(ann.id, USD, "r", "operator"), ledger.deposit(bob.id, 2 * USD, None, "operator")
    await asyncio.gather(one, other)  # two entries in one batch
    await ledger.correct(bob.id, -3, "a slip", "Eve")
    await ledger.add_key(ann.id, "laptop", b"d" * 32, "tg-A…z", "operator")
    gone = await ledger.add_key(bob.id, "phone", b"e" * 32, "tg-B…z", "operator")
    await ledger.revoke_key(gone.id, "operator")
    await serve(ledger, ann, "chatcmpl-1")
    await ledger.void(await ledger.hold(request("chatcmpl-2", ann)), end(bill=3), "failed")
    await ledger.hold(request("chatcmpl-3", bob))
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)
    hold = await ledger.hold(request("chatcmpl-4", ann))
    ledger.begin_attempt(hold, SECOND)
    terms = KeyTerms(2 * 10**18, frozenset({"Qwen/Qwen3", "b"}), Limits(60, spend_day_picousd=2**60))
    old = await ledger.add_key(bob.id, "tablet", b"f" * 32, "…", "operator", terms, imported=True)
    await ledger.rotate_key(old.id, b"g" * 32, "tg-C…z", 600 * 10**9, "operator")
    await ledger.pause_key(old.id, "operator")
    await ledger.limit_account(ann.id, Limits(concurrent_requests=5), "operator")
    await ledger.suspend_account(bob.id, "a chargeback", "Eve")
    await machine.stop()
    return machine


def read_table(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        return sorted(db.execute(f"SELECT * FROM {table}"))


def read_identity(path: Path) -> tuple[Any, ...]:
    """Return writer, epoch, sequence and head."""
    ((_, *identity),) = read_table(path, "installation")
    return tuple(identity)


def read_bytes(path: Path) -> bytes:
    """Return what is in a file."""
    return path.read_bytes()


def list_files(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


def find_drafts(folder: Path) -> list[str]:
    """Return the files of a folder that have the name of a draft."""
    return [file.name for file in list_files(folder) if re.search(r"\.[0-9a-f]{16}", file.name)]
