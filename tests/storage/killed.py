"""A process that serves calls on a store until it is killed, and says what was acknowledged to it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.sqlite import SqliteJournal
from tests.contract.world import SHEET, USD, WRITER, end, request, usage


def tell(*words: str) -> None:
    """Say something in one write, so that a kill cannot cut it."""
    os.write(1, (" ".join(words) + "\n").encode())


async def serve_for_ever(path: Path) -> None:
    """Hold and settle on eight lines at once, saying what is durable."""
    journal = SqliteJournal(path, WRITER)
    ledger = EmbeddedLedger(journal, now_ns=time.time_ns, entropy=os.urandom)
    if not ledger.sheet.version:
        await ledger.publish(SHEET, "operator")
    account = await ledger.open_account("Ann", "operator")
    await ledger.deposit(account.id, USD, None, "operator")
    tell("deposit", account.id)

    async def line(name: int) -> None:
        number = 0
        while True:
            inference = f"{account.id}-{name}-{number}"
            hold = await ledger.hold(request(inference, account))
            tell("hold", inference)
            if number % 5 == 4:
                await ledger.void(hold, end(), "failed")
                tell("void", inference)
            else:
                await ledger.settle(hold, end(bill=70), usage())
                tell("settle", inference)
            number += 1

    await asyncio.gather(*(line(name) for name in range(8)))


if __name__ == "__main__":
    asyncio.run(serve_for_ever(Path(sys.argv[1])))
