"""Writes a store with a long, lively history, fast: for what has to be measured on millions of entries.

    python benchmarks/make_store.py PATH [--entries 1000000] [--accounts 10000] [--seed 1]

Every entry comes from the real `Books` and every batch is sealed; only the waiting for the disk is left out, and the
indexes are made at the end. About 12 µs of CPU go into an entry, and 600 bytes of disk.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from tallygate.core.ids import inference_id
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import GENESIS, header_hash
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.records import HoldRequest, Sending, SendingEnd
from tallygate.core.ledger.spending import Recount
from tallygate.core.pricing import Price, Sheet, revised
from tallygate.core.proofs.totals import Totals
from tallygate.core.usage import Usage
from tallygate.storage.journal import seal
from tallygate.storage.proofs.tiles import OpenTile
from tallygate.storage.sql import QUERIES, SCHEMA
from tallygate.storage.sqlite_file import APPLICATION_ID, SCHEMA_VERSION, entry_row, spending_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.records import Hold, Written

WRITER = b"bench".ljust(16, b"-")
USD = 10**12
MODELS = {"Qwen/Qwen3-235B": Price(200_000, 600_000, 10**6), "moonshotai/Kimi-K2": Price(500_000, 2_000_000)}
NODES = [("nodes", f"gonka1{number:038d}") for number in range(6)] + [("broker", None)]
IN_FLIGHT = 64
ENTRIES_PER_START = 400_000
"""After so many entries the process dies, and its open holds expire."""
START_NS = 1_760_000_000 * 10**9
GROUP_BATCHES = 2_000


class History:
    """A gateway's days: callers, retries, failures, deposits, price changes and crashes, as entries."""

    def __init__(self, accounts: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now_ns = START_NS
        self.made: list[Written] = []
        self.names: list[tuple[str, int]] = []
        self.open: list[Hold] = []
        self.epoch = 1
        self.books = Books(WRITER, 1, lambda: self.now_ns, self.chance.randbytes)
        self.keep(self.books.publish(Sheet(1, 100_000, dict(MODELS)), "operator"))
        self.accounts = [f"acct_{self.chance.randbytes(10).hex()}" for _ in range(accounts)]
        for account in self.accounts:
            self.keep(self.books.open_account(account, account, "operator")[1])
            self.names.append((account, self.now_ns))
            self.deposit(account)

    def keep(self, written: Written | None) -> None:
        if written is not None:
            self.made.append(written)

    def deposit(self, account: str) -> None:
        reference = self.chance.randbytes(8).hex() if self.chance.random() < 0.5 else None
        self.keep(self.books.deposit(account, self.chance.randrange(1, 50) * USD, reference, "operator")[1])

    def begin(self) -> None:
        """A caller's request arrives."""
        account = self.accounts[int(len(self.accounts) * self.chance.random() ** 2)]  # some call far more than others
        if self.books.accounts[account].available < USD:
            self.deposit(account)
        model = self.chance.choice(tuple(MODELS))
        prompt, completion = self.chance.randrange(50, 20_000), self.chance.randrange(16, 4_096)
        first = Sending(0, 0, *self.chance.choice(NODES))
        name = inference_id(self.now_ns // 10**6, self.chance.randbytes(10))
        hold, written = self.books.hold(HoldRequest(name, account, f"key_{account}", model, prompt, completion, first))
        self.keep(written)
        self.open.append(hold)

    def end(self) -> None:
        """One of the calls under way ends."""
        hold = self.open.pop(self.chance.randrange(len(self.open)))
        fate = self.chance.random()
        (last,) = hold.open_sendings
        if fate < 0.03:
            self.keep(self.books.end_attempt(hold, SendingEnd(last, 0, 0, self.chance.randrange(1000))))
            last = Sending(0, 1, *self.chance.choice(NODES))
            self.keep(self.books.begin_attempt(hold, last))
        elif fate < 0.06:
            self.keep(self.books.void(hold, SendingEnd(last, 0, 0, 1000), "the answer was cut"))
            return
        prompt, completion = hold.prompt_tokens_max // 3, self.chance.randrange(hold.completion_tokens_max)
        if fate > 0.995:
            prompt *= 4
        end = SendingEnd(last, prompt, completion, 1000 + prompt + completion, self.chance.randbytes(12).hex())
        self.keep(self.books.settle(hold, end, Usage(prompt, completion, e.Flag(fate > 0.98)))[1])

    def crash(self) -> None:
        """The process dies and starts again."""
        self.epoch += 1
        self.books.epoch = self.epoch
        for hold in self.open:
            self.keep(self.books.expire(hold, lambda _, prompt, completion: prompt + completion, None))
        self.open.clear()
        if self.epoch % 3 == 0:
            self.keep(self.books.publish(revised(self.books.sheet, {"new/model": Price(1, self.epoch)}), "operator"))

    def batches(self, entries: int) -> Iterator[tuple[int, list[Written]]]:
        """Return batches with their epoch until there are so many entries; calls of the last moment stay open."""
        count, next_crash = 0, ENTRIES_PER_START
        while count < entries:
            size = min(int(1 / (1 - self.chance.random())), 64)  # most commits carry one or two entries, some many
            while len(self.made) < size:
                self.now_ns += self.chance.randrange(20_000_000)
                if len(self.open) < IN_FLIGHT * self.chance.random() * 2:
                    self.begin()
                else:
                    self.end()
            batch, self.made = self.made[:size], self.made[size:]
            count += size
            yield self.epoch, batch
            if count >= next_crash:
                while self.made:  # a batch carries one epoch
                    batch, self.made = self.made[:64], self.made[64:]
                    count += len(batch)
                    yield self.epoch, batch
                self.crash()
                next_crash = count + ENTRIES_PER_START
        if self.made:
            yield self.epoch, self.made


def open_new(path: Path) -> tuple[apsw.Connection, list[str]]:
    """Return an empty store without its indexes and triggers, and the statements that make those."""
    db = apsw.Connection(str(path))
    for pragma in ("page_size = 4096", "journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
        db.execute(f"PRAGMA {pragma}")
    later = re.findall(r"^CREATE (?:UNIQUE INDEX|INDEX)[^;]*;|^CREATE TRIGGER.*?END;", SCHEMA, re.MULTILINE)
    now = SCHEMA
    for statement in later:
        now = now.replace(statement, "")
    db.execute(now)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", SCHEMA_VERSION)
    return db, later


def write(db: apsw.Connection, history: History, entries: int) -> int:
    """Write the history and the state after it; return how many entries there are."""
    sequence, head, count, told = 0, GENESIS, 0, time.monotonic()
    headers, rows, tile, spent = [], [], OpenTile(0, Totals()), Recount()
    db.execute(QUERIES["create_installation"], {"writer": WRITER, "head": GENESIS})
    db.execute("BEGIN")
    for epoch, batch in history.batches(entries):
        sequence += 1
        header = seal(batch, WRITER, epoch, sequence, head, history.now_ns)
        head = header_hash(header)
        headers.append((sequence, header))
        rows += [entry_row(sequence, written.raw, written.entry) for written in batch]
        for written in batch:
            spent.take(written.entry)
        count += len(batch)
        if full := tile.take(head, [written.entry for written in batch]):
            db.execute(QUERIES["append_tile"], {**full._asdict(), "position": count})
        if len(headers) == GROUP_BATCHES:
            db.executemany("INSERT INTO batches VALUES (?, ?)", headers)
            db.executemany(QUERIES["append_entry"], rows)
            headers, rows = [], []
            if time.monotonic() > told + 5:
                told = time.monotonic()
                print(f"{count:,} entries in {sequence:,} batches", file=sys.stderr)
    db.executemany("INSERT INTO batches VALUES (?, ?)", headers)
    db.executemany(QUERIES["append_entry"], rows)
    db.executemany(QUERIES["open_account"], [(name, name, opened_ns) for name, opened_ns in history.names])
    state = ((a.available, a.held, a.sequence, a.id) for a in history.books.accounts.values())
    db.executemany(QUERIES["balance_account"], state)
    db.executemany(QUERIES["open_hold"], [(inference,) for inference in history.books.holds])
    db.executemany(QUERIES["put_spending"], map(spending_row, spent.rows()))
    db.execute("UPDATE installation SET epoch = ?, sequence = ?, head = ?", (history.epoch, sequence, head))
    db.execute("COMMIT")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.path.exists():
        sys.exit(f"{chosen.path} is there already")
    began = time.monotonic()
    db, later = open_new(chosen.path)
    count = write(db, History(chosen.accounts, chosen.seed), chosen.entries)
    for statement in later:
        db.execute(statement)
    db.pragma("journal_mode", "WAL")
    db.close()
    size = chosen.path.stat().st_size
    print(f"{count:,} entries, {size / 2**30:.2f} GiB, {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
