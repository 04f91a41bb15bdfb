"""What a call's money costs: processor time and fsyncs per call, with holds that wait for the disk and with `async`.

    python benchmarks/books_cost.py [--calls 20000] [--folder DIR]

The real ledger on a real SQLite file; nothing is sent and no HTTP is spoken. A call is a hold and a settlement. The
crowd is how many calls are under way at a time; fsyncs are counted where SQLite asks the file system for them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path

import apsw
import uvloop

from tallygate.core.ids import inference_id
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import HoldRequest, Sending, SendingEnd
from tallygate.core.pricing import Price, Sheet
from tallygate.core.usage import Usage
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.sqlite import SqliteJournal

MODEL = "MiniMaxAI/MiniMax-M2.7"
SENDING = Sending(0, 0, "private-net", "gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6")


class CountingFiles(apsw.VFS):
    """The system's files, with every sync counted."""

    def __init__(self) -> None:
        super().__init__("counting", "")
        self.syncs = 0

    def xOpen(self, name, flags):  # noqa: N802  (apsw's name)
        """Open a file that counts."""
        return CountingFile(self, name, flags)


class CountingFile(apsw.VFSFile):
    """One file."""

    def __init__(self, files, name, flags) -> None:
        super().__init__("", name, flags)
        self._files = files

    def xSync(self, flags):  # noqa: N802
        """Count, then sync."""
        self._files.syncs += 1
        super().xSync(flags)


async def measure(path: Path, files: CountingFiles, calls: int, crowd: int, *, wait: bool) -> list[str]:
    """Return one row: latency, processor time and fsyncs per call."""
    journal = SqliteJournal(path, os.urandom(16), vfs="counting")
    ledger = EmbeddedLedger(journal, now_ns=time.time_ns, entropy=os.urandom, wait_for_hold=wait)
    await ledger.publish(Sheet(1, 100_000, {MODEL: Price(300_000, 1_200_000)}), "benchmark")
    account = await ledger.open_account("Ada", "benchmark")
    await ledger.deposit(account.id, 10**18, None, "benchmark")
    left = calls
    waits: list[float] = []

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            name = inference_id(time.time_ns() // 1_000_000, os.urandom(10))
            begun = time.perf_counter()
            hold = await ledger.hold(HoldRequest(name, account.id, "key_1", MODEL, 2000, 500, SENDING))
            await ledger.settle(hold, SendingEnd(SENDING, 700, 60, 760), Usage(700, 60, Flag(0)))
            waits.append(time.perf_counter() - begun)

    files.syncs = 0
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(crowd)))
    elapsed, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    syncs = files.syncs
    await ledger.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    waits.sort()
    return [
        "wait" if wait else "async",
        str(crowd),
        f"{cpu / calls * 1e6:.0f}",
        f"{syncs / calls:.3f}",
        f"{waits[len(waits) // 2] * 1e6:.0f}",
        f"{calls / elapsed:,.0f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the stores are made; a folder on the disk that counts")
    arguments = parser.parse_args()
    files = CountingFiles()
    print("| holds | crowd | CPU us/call | fsyncs/call | p50 us, hold + settle | calls/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for wait in (True, False):
            for crowd in (1, 8, 64, 512):
                path = Path(folder) / f"{wait}-{crowd}" / "books.db"
                row = uvloop.run(measure(path, files, arguments.calls, crowd, wait=wait))
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
