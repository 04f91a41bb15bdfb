"""Who checks a simulated world: what was written, what the disk has acknowledged, what is left, what callers saw.

It reads entries by `docs/books.md` alone and lets the naive bookkeeper predict each of them. The program's own audit
runs too, on a copy of the store as another process would find it. Nothing is raised where the gateway could catch
it: violations are noted, and the world fails at its end with all of them.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import msgspec

from tallygate.storage.journal import NotAStoreError
from tallygate.storage.replay import audit_file
from tests.bookkeeper import Bookkeeper, Ended, Price
from tests.sim.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.records import Written
    from tests.sim.disk import Disk

CHARGED_AFTER_CRASH = 128
ALL_ENTRIES = "SELECT bytes FROM entries ORDER BY position"


class Entry(NamedTuple):
    """The members of an entry that matter here, by their places in `docs/books.md`."""

    kind: str
    epoch: int
    account: str | None
    available_after: int | None
    held_after: int | None
    inference: str | None
    part: int | None
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    flags: int
    upstream: str | None
    upstream_reference: str | None
    overrun_ngonka: int
    overrun_picousd: int
    reference: str | None
    reason: str | None
    postings: list[tuple[str, str, int]]

    @classmethod
    def read(cls, raw: bytes) -> Entry:
        """Read an entry."""
        m = msgspec.msgpack.decode(raw)
        return cls(
            kind=m[1],
            epoch=m[5],
            account=m[6],
            available_after=m[8],
            held_after=m[9],
            inference=m[10],
            part=m[12],
            model=m[15],
            prompt_tokens=m[17],
            completion_tokens=m[18],
            flags=m[19],
            upstream=m[20],
            upstream_reference=m[22],
            overrun_ngonka=m[23] or 0,
            overrun_picousd=m[24] or 0,
            reference=m[25],
            reason=m[27],
            postings=m[29],
        )

    def posted(self, *ledger_accounts: str) -> int:
        """Return what it moves to some ledger accounts, together."""
        return sum(amount for _, name, amount in self.postings if name in ledger_accounts)

    @property
    def charged(self) -> int:
        """What it charges."""
        return self.posted("income/base", "income/fee")

    @property
    def billed(self) -> int:
        """What upstreams have billed, or may have, in ngonka."""
        return -sum(amount for _, name, amount in self.postings if name.endswith("/payable"))


class Auditor:
    """The auditor of one world.

    Attributes:
        violations: What must never be.
        keeper: Where all the money should be, after what is durable.
        holds: The hold of each inference in the books.
        endings: Its ending.
        sent: The entry that ends the sending of each part of a charged one, the ending last.
        durable: Every entry that the disk has acknowledged, or that a start has found, in its order.
    """

    def __init__(self, folder: Path, steps: Callable[[], int]) -> None:
        self.violations: list[str] = []
        self.keeper = Bookkeeper()
        self.claims = Claims(steps)
        self.acts: Counter[tuple[str, str]] = Counter()
        self.holds: dict[str, Entry] = {}
        self.endings: dict[str, Entry] = {}
        self.durable: list[bytes] = []
        self.kinds: Counter[str] = Counter()
        self._folder = folder
        self._written: dict[int, list[bytes]] = {}
        self._clean_epochs: set[int] = set()
        self.sent: dict[str, list[Entry]] = {}
        self._open_sendings: dict[str, Counter[int | None]] = {}
        self._ended: dict[str, dict[int | None, Entry]] = {}

    def fail(self, what: str) -> None:
        """Note a violation."""
        self.violations.append(what)

    # --- while the gateway runs --------------------------------------------------------------------------------

    def saw_written(self, epoch: int, entries: Sequence[Written]) -> None:
        """Look at a batch that has been written but is not durable yet."""
        for written in entries:
            entry = Entry.read(written.raw)
            if entry.kind == "hold" and (entry.available_after or 0) < 0:
                self.fail(f"a hold takes {entry.account} to {entry.available_after}")
            if (entry.held_after or 0) < 0:
                self.fail(f"{entry.account} has {entry.held_after} set aside")
        self._written[epoch] = [written.raw for written in entries]

    def saw_durable(self, epoch: int) -> None:
        """Take what was written for durable: the disk has said so."""
        for raw in self._written.pop(epoch, []):
            self._take(raw)

    # --- when a store is opened --------------------------------------------------------------------------------

    def copy_store(self, disk: Disk) -> Path:
        """Write out the files as another process would read them now; return the copy's path."""
        copy = self._folder / "copy.db"
        for suffix in ("", "-journal", "-wal", "-shm"):
            copy.with_name(f"copy.db{suffix}").unlink(missing_ok=True)
        for name, content in disk.snapshot().items():
            copy.with_name("copy.db" + Path(name).name.removeprefix("store.db")).write_bytes(content)
        return copy

    def check_store(self, disk: Disk) -> Report | None:
        """Prove a store that nobody writes to: its own audit, nothing acknowledged missing, nothing made up.

        Returns None as long as there is no store yet: its making was broken off, or has not begun.
        """
        copy = self.copy_store(disk)
        try:
            report = audit_file(copy)
        except NotAStoreError as error:
            if self.durable:
                self.fail(f"{error}, with {len(self.durable)} acknowledged entries")
            return None
        for problem in report.problems:
            self.fail(f"audit: {problem}")
        self._compare_store(_read_entries(copy))
        return report

    def saw_opened(self, stored: list[bytes]) -> None:
        """Take what a start has read for durable: it goes on from there."""
        for raw in self._compare_store(stored):
            self._take(raw)

    def saw_clean_end(self, epoch: int) -> None:
        """Note that a process has ended as it should: it has left nobody's hold behind."""
        self._clean_epochs.add(epoch)

    def _compare_store(self, stored: list[bytes]) -> list[bytes]:
        """Return what a store has beyond what was acknowledged: nothing, or the one batch that was written last."""
        known = len(self.durable)
        if stored[:known] != self.durable:
            same = sum(1 for a, b in zip(stored, self.durable, strict=False) if a == b)
            self.fail(f"of {known} acknowledged entries the store has {len(stored)}, of which {same} are the same")
        extra = stored[known:]
        if extra and extra not in self._written.values():
            self.fail(f"{len(extra)} entries in the store are not one batch that was written last")
        return extra

    # --- the prediction ----------------------------------------------------------------------------------------

    def _take(self, raw: bytes) -> None:
        """Let the bookkeeper predict an entry, and compare."""
        self.durable.append(raw)
        entry = Entry.read(raw)
        self.kinds[entry.kind] += 1
        act = getattr(self, f"_take_{entry.kind}", None)
        if act is not None:
            act(entry)
        account = entry.account
        if account is not None:
            expected = (self.keeper.free[account], self.keeper.aside[account])
            if (entry.available_after, entry.held_after) != expected:
                self.fail(f"{entry.kind} leaves {entry.available_after}, {entry.held_after}; should be {expected}")

    def _take_note(self, entry: Entry) -> None:
        if entry.reason == "account opened" and entry.account is not None:
            self.keeper.begin(entry.account)

    def _take_sheet(self, entry: Entry) -> None:
        sheet = json.loads(entry.reason or "")
        for model, price in sheet["prices"].items():
            self.keeper.prices[model] = Price(price["input"], price["output"], price.get("call", 0), sheet["fee_ppm"])

    def _take_deposit(self, entry: Entry) -> None:
        amount = -entry.posted("world")
        outcome = self.keeper.deposit(entry.account or "", amount, entry.reference)
        self._compare("a deposit", "booked", outcome)
        if entry.reference is None:
            self.acts["deposit", str(amount)] += 1

    def _take_correction(self, entry: Entry) -> None:
        outcome = self.keeper.correct(entry.account or "", -entry.posted("corrections"))
        self._compare("a correction", "booked", outcome)
        self.acts["correction", entry.reason or ""] += 1

    def _take_hold(self, entry: Entry) -> None:
        name = entry.inference or ""
        if name in self.holds:
            self.fail(f"{name} is held twice")
        self.holds[name] = entry
        self._open_sendings[name] = Counter({entry.part: 1})
        self._ended[name] = {}
        bounds = (entry.prompt_tokens or 0, entry.completion_tokens or 0)
        self._compare("the key of a hold", "held", self.claims.hold(name))
        self._compare("a hold", "held", self.keeper.hold(name, entry.account or "", entry.model or "", *bounds))

    def _take_attempt(self, entry: Entry) -> None:
        name, begins = entry.inference or "", entry.completion_tokens is None
        self._open_sendings[name][entry.part] += 1 if begins else -1
        if (before := self._ended[name].pop(entry.part, None)) is not None:
            self._take_failed(before)
        if not begins:
            self._ended[name][entry.part] = entry

    def _take_failed(self, entry: Entry) -> None:
        """Whatever an attempt has cost that was not the last of its part, or whose call was not charged, is borne."""
        self.keeper.retry(entry.billed)
        if entry.posted("cost/paid"):
            self.fail(f"{entry.inference} has a failed sending that somebody paid for")

    def _take_settle(self, entry: Entry) -> None:
        name, tokens = entry.inference or "", (entry.prompt_tokens or 0, entry.completion_tokens or 0)
        if self._may_end(entry):
            if (before := self._ended[name].pop(entry.part, None)) is not None:
                self._take_failed(before)
            self.sent[name] = [*self._ended[name].values(), entry]
            self.claims.end(name, charged=True)
            self._compare_end(entry, self.keeper.settle(name, *tokens, *(each.billed for each in self.sent[name])))

    def _take_void(self, entry: Entry) -> None:
        if self._may_end(entry):
            for other in self._ended[entry.inference or ""].values():
                self._take_failed(other)
            self.claims.end(entry.inference or "", charged=False)
            ended = self.keeper.void(entry.inference or "", entry.billed)
            self._compare_end(entry, ended._replace(borne_ngonka=entry.overrun_ngonka))

    def _take_expire(self, entry: Entry) -> None:
        name, charge = entry.inference or "", bool(entry.flags & CHARGED_AFTER_CRASH)
        if self._may_end(entry):
            if self.holds[name].epoch in {entry.epoch, *self._clean_epochs}:
                self.fail(f"{name} was left behind by a process that did not die")
            for other in self._ended[name].values():
                self._take_failed(other)
            self.claims.end(name, charged=charge)
            layers = max(self._open_sendings[name].values())
            self._compare_end(entry, self.keeper.expire(name, entry.billed, layers, charge_prompt=charge))

    def _may_end(self, entry: Entry) -> bool:
        """Note an ending; return whether there is a hold that it ends."""
        name = entry.inference or ""
        if name not in self.keeper.open:
            self.fail(f"{name} is ended by {entry.kind} without an open hold")
            return False
        self.endings[name] = entry
        return True

    def _compare_end(self, entry: Entry, ended: Ended) -> None:
        told = (entry.posted("income/base"), entry.posted("income/fee"), entry.overrun_picousd, entry.overrun_ngonka)
        self._compare(f"{entry.kind} of {entry.inference}", tuple(ended), told)

    def _compare(self, what: str, expected: Any, found: Any) -> None:
        if expected != found:
            self.fail(f"{what}: the bookkeeper expects {expected}, the books say {found}")


def _read_entries(path: Path) -> list[bytes]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [raw for (raw,) in db.execute(ALL_ENTRIES)]
    finally:
        db.close()
