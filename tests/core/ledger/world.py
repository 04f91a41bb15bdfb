"""Books to act on, with a hand-wound clock, and their batches, to be audited or tampered with."""

from __future__ import annotations

import pickle
from itertools import count
from typing import TYPE_CHECKING, Any

from tallygate.core.audit.audit import Audit
from tallygate.core.audit.plain import Plain
from tallygate.core.audit.stretch import Stretch
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import GENESIS, Header, encode_header, header_hash
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.merkle import leaf_hash, merkle_root
from tallygate.core.ledger.records import Account, Deposit, Hold, HoldRequest, Sending, SendingEnd, Settlement, Written
from tallygate.core.pricing import Price, Sheet
from tallygate.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.core.audit.replay import Replay
    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.spending import KeySpent

WRITER = bytes(range(16))
USD = 10**12
MODEL = "Qwen/Qwen3"
FREE = "free/model"
PRICE = Price(100, 300, 7)
SHEET = Sheet(1, 100_000, {MODEL: PRICE, FREE: Price(0, 0, free=True)})
FIRST = Sending(0, 0, "nodes", "gonka1a")
SECOND = Sending(0, 1, "nodes-2", "gonka1b")

Batches = list[tuple[bytes, list[bytes]]]


def make_clock(start_ns: int = 10**18) -> Callable[[], int]:
    """Return a clock that moves one nanosecond at each look."""
    ticks = count(start_ns)
    return lambda: next(ticks)


def make_entropy() -> Callable[[int], bytes]:
    """Return a source of bytes that never repeats, and is the same in every run."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def request(inference: str = "chatcmpl-1", account: str = "a", **changes: Any) -> HoldRequest:
    """Return a request to hold 1000 prompt and 100 completion tokens: 130,007 of `PRICE` and 13,001 of fee."""
    fields: dict[str, Any] = {
        "inference": inference,
        "account": account,
        "key_id": "key_1",
        "model": MODEL,
        "prompt_tokens_max": 1000,
        "completion_tokens_max": 100,
        "first": FIRST,
    }
    return HoldRequest(**(fields | changes))


def end(sending: Sending = FIRST, bill: int = 0, prompt: int = 0, completion: int = 0) -> SendingEnd:
    """Return the end of a sending."""
    return SendingEnd(sending, prompt, completion, bill, "ref-1")


def usage(prompt: int, completion: int, flags: e.Flag = e.Flag(0)) -> Usage:  # noqa: B008  (an immutable constant)
    """Return what an inference took."""
    return Usage(prompt, completion, flags)


class World:
    """Books with price sheet 1 in force, and every entry that they have made."""

    def __init__(self, sheet: Sheet | None = SHEET, *, now_ns: Callable[[], int] | None = None) -> None:
        self.books = Books(WRITER, 1, now_ns or make_clock(), make_entropy())
        self.entries: list[Written] = []
        if sheet is not None:
            self.keep(self.books.publish(sheet, "operator"))

    def keep(self, written: Written | None) -> e.Entry:
        """Keep an entry as a store would, and return it."""
        assert written is not None
        self.entries.append(written)
        return written.entry

    def open(self, account: str = "a", picousd: int = 0) -> Account:
        """Open an account with a balance."""
        opened, written = self.books.open_account(account, "Ann", "operator")
        self.keep(written)
        if picousd:
            self.deposit(account, picousd)
        return opened

    def deposit(self, account: str, picousd: int, reference: str | None = None) -> Deposit:
        """Deposit."""
        deposit, written = self.books.deposit(account, picousd, reference, "operator")
        if written is not None:
            self.keep(written)
        return deposit

    def hold(self, inference: str = "chatcmpl-1", account: str = "a", **changes: Any) -> Hold:
        """Hold."""
        asked = request(inference, account, **changes)
        hold, written = self.books.hold(asked)
        self.keep(written)
        for sending in asked.others:
            self.keep(self.books.begin_attempt(hold, sending))
        return hold

    def settle(self, hold: Hold, prompt: int, completion: int, bill: int = 0, last: Sending = FIRST) -> Settlement:
        """Settle."""
        settlement, written = self.books.settle(hold, end(last, bill), usage(prompt, completion))
        self.keep(written)
        return settlement

    def settle_parts(self, hold: Hold, ends: Sequence[SendingEnd], prompt: int, completion: int) -> Settlement:
        """Settle an inference of several parts."""
        settlement, written = self.books.settle_parts(hold, ends, usage(prompt, completion))
        for part in written:
            self.keep(part)
        return settlement

    def void_parts(self, hold: Hold, ends: Sequence[SendingEnd]) -> None:
        """Void one."""
        for part in self.books.void_parts(hold, ends, "failed"):
            self.keep(part)

    @property
    def last(self) -> e.Entry:
        """The entry that was made last."""
        return self.entries[-1].entry

    def batches(self, size: int = 3) -> Batches:
        """Return all entries in sealed batches of so many."""
        raws = [written.raw for written in self.entries]
        return seal([raws[i : i + size] for i in range(0, len(raws), size)])

    def audit(self, batches: Batches | None = None) -> Report:
        """Audit all entries, or these batches, against the state of the books."""
        sealed = self.batches() if batches is None else batches
        accounts = {a.id: (a.available, a.held, a.sequence) for a in self.books.accounts.values()}
        spent = set(self.books.spendings.rows(written.entry for written in self.entries))
        return audit_all_ways(sealed, accounts, set(self.books.holds), {WRITER: head_of(self.batches())}, spent)


class LongAudit(Audit):
    """An audit that looks at every entry closely, also at the ordinary ones."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = Blind()


class Blind(Plain):
    """Takes nothing at one look."""

    def take(self, entry_bytes: bytes, header: Header, replay: Replay) -> None:
        """Take nothing."""


def audit_all_ways(
    batches: Batches,
    accounts: dict[str, tuple[int, int, int]],
    open_holds: set[str],
    heads: dict[bytes, tuple[int, bytes]],
    spent: set[KeySpent] | None = None,
) -> Report:
    """Return the audit of batches; it is the same entry by entry the long way, and in whatever stretches."""
    reports = []
    for work in (Audit(), LongAudit()):
        for header, raws in batches:
            work.take(header, raws)
        reports.append(work.finish(accounts, open_holds, heads, spent))
    report = reports[0]
    assert report == reports[1], "the long way"
    for size in (1, 2, 3, 5):
        work, _ = audit_in_stretches(batches, size)
        assert work.finish(accounts, open_holds, heads, spent) == report, f"in stretches of {size} batches"
    return report


def audit_in_stretches(batches: Batches, size: int) -> tuple[Audit, int]:
    """Return an audit that has joined stretches of so many batches, and how many it had to replay itself.

    As whoever joins stretches, it knows whether an inference has more than one hold.
    """
    work, again = Audit(), 0
    held = [inference for _, raws in batches for raw in raws for inference in inferences_held(raw)]
    is_doubled = len(set(held)) < len(held)
    sheets: list[e.Entry] = []
    for start in range(0, len(batches), size):
        part = batches[start : start + size]
        stretch = Stretch(sheets)
        for header, raws in part:
            decoded = stretch.take(header, raws)
            sheets = sheets + [entry for entry in decoded if isinstance(entry, e.Entry) and entry.kind == e.SHEET]
        findings = pickle.loads(pickle.dumps(stretch.finish()))  # they come from another process
        if is_doubled or not work.join(findings):
            again += 1
            for header, raws in part:
                work.take(header, raws)
    return work, again


def inferences_held(raw: bytes) -> list[str]:
    """Return the inference of an entry that can be read, if it is a hold."""
    try:
        entry = e.read_entry(raw)
    except e.MalformedEntryError:
        return []
    return [entry.inference or ""] if entry.kind == e.HOLD else []


def seal(groups: Iterable[Sequence[bytes]], *, writer: bytes = WRITER) -> Batches:
    """Return batches with right headers around these entries."""
    batches: Batches = []
    head = GENESIS
    for number, group in enumerate(groups, 1):
        root = merkle_root([leaf_hash(raw) for raw in group])
        header = encode_header(Header(1, writer, 1, number, head, root, len(group), 10**18))
        head = header_hash(header)
        batches.append((header, list(group)))
    return batches


def head_of(batches: Batches) -> tuple[int, bytes]:
    """Return the sequence and the header hash of the last batch."""
    return len(batches), header_hash(batches[-1][0]) if batches else GENESIS
