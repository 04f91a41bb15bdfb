"""The proof: replays everything that was ever written and says what it checked, and what does not add up.

The audit trusts nothing but the bytes of headers and entries. It is code of its own, apart from `books`, so that a
slip in a rule there is found here. It works through the batches in their order, keeps only balances, open holds
and totals, and so needs memory for the accounts, not for the history.

What it shows of the promises: P1 (no hold takes an account below zero, no charge exceeds its hold), P2 (every
entry balances, every book sums to zero, the USD equation, base + fee by the sheet that was in force), P4 (one
hold and one ending for each inference) and, back to the first batch, P5 (nothing changed, reordered or missing).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import (
    GENESIS,
    Header,
    MalformedHeaderError,
    decode_header,
    header_hash,
    leaf_hash,
    merkle_root,
)
from tallygate.core.ledger.entry import Entry, Flag, MalformedEntryError, decode_entry, entry_id
from tallygate.core.pricing import Sheet, cost_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBLEMS_MAX = 100
"""How many problems a report lists; the count goes on."""


@dataclass(slots=True)
class Balance:
    """An account as the replay has it, in pico-dollars."""

    available: int = 0
    held: int = 0
    sequence: int = 0


@dataclass(slots=True)
class Report:
    """What was checked and what was found; amounts are exact integers."""

    batches: int = 0
    entries: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    overrun_picousd: Counter[str] = field(default_factory=Counter)
    overrun_ngonka: Counter[str] = field(default_factory=Counter)
    accounts: int = 0
    open_holds: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything added up."""
        return self.problem_count == 0

    def add(self, problem: str) -> None:
        """Count a problem, and list it unless the list is long enough."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


@dataclass(slots=True)
class _Writer:
    head: bytes = GENESIS
    sequence: int = 0
    epoch: int = 0


class Audit:
    """Takes batches in the order of their commits; `finish` gives the report."""

    def __init__(self) -> None:
        self.report = Report()
        self.balances: dict[str, Balance] = {}
        self.holds: dict[str, tuple[bytes, Entry]] = {}
        self._open_attempts: dict[tuple[str, int, int], bytes] = {}
        self._writers: dict[bytes, _Writer] = {}
        self._sheets: dict[int, Sheet] = {}
        self._references: set[tuple[str, str]] = set()
        self._checks = {
            e.DEPOSIT: self._check_deposit,
            e.HOLD: self._check_hold,
            e.ATTEMPT: self._check_attempt,
            e.SETTLE: self._check_ending,
            e.VOID: self._check_ending,
            e.EXPIRE: self._check_ending,
            e.SHEET: self._check_sheet,
        }

    def take(self, header_bytes: bytes, entries: Sequence[bytes]) -> None:
        """Check one batch and everything in it."""
        report = self.report
        report.batches += 1
        try:
            header = decode_header(header_bytes)
        except MalformedHeaderError as error:
            report.add(f"batch {report.batches}: {error}")
            return
        where = f"batch {header.sequence} of writer {header.writer.hex()[:8]}"
        self._check_chain(where, header, header_bytes)
        if header.entry_count != len(entries) or not entries:
            report.add(f"{where}: the header counts {header.entry_count} entries, there are {len(entries)}")
        elif merkle_root([leaf_hash(entry) for entry in entries]) != header.root:
            report.add(f"{where}: the entries do not have the sealed root: one was changed, moved or replaced")
        for number, entry_bytes in enumerate(entries):
            report.entries += 1
            try:
                entry = decode_entry(entry_bytes)
            except MalformedEntryError as error:
                report.add(f"{where}, entry {number}: {error}")
                continue
            self._check_entry(f"{where}, entry {number} ({entry.kind})", entry, entry_id(entry_bytes), header)

    def finish(self, accounts: Mapping[str, tuple[int, int, int]], open_holds: set[str]) -> Report:
        """Compare the replay with the state that the store keeps for speed, and close the report.

        Args:
            accounts: Available, held and sequence of each account by its id, as the store has them.
            open_holds: The inferences whose hold the store regards as open.
        """
        report = self.report
        replayed = {name: (b.available, b.held, b.sequence) for name, b in self.balances.items()}
        for name in sorted(replayed.keys() | accounts.keys()):
            if replayed.get(name) != accounts.get(name):
                report.add(f"account {name}: the entries give {replayed.get(name)}, the store has {accounts.get(name)}")
        if open_holds != self.holds.keys():
            odd = sorted(open_holds ^ self.holds.keys())[:3]
            report.add(f"open holds: the store and the entries disagree on {', '.join(odd)}")
        self._check_totals()
        report.accounts = len(self.balances)
        report.open_holds = len(self.holds)
        return report

    def _check_chain(self, where: str, header: Header, header_bytes: bytes) -> None:
        writer = self._writers.setdefault(header.writer, _Writer())
        if header.previous != writer.head:
            self.report.add(f"{where}: does not follow the batch before it: one is missing, moved or changed")
        if header.sequence != writer.sequence + 1:
            self.report.add(f"{where}: follows batch {writer.sequence}")
        if header.epoch < writer.epoch:
            self.report.add(f"{where}: written under epoch {header.epoch} after epoch {writer.epoch}")
        writer.head, writer.sequence, writer.epoch = header_hash(header_bytes), header.sequence, header.epoch

    def _check_entry(self, where: str, entry: Entry, this_id: bytes, header: Header) -> None:
        report = self.report
        report.kinds[entry.kind] += 1
        if (entry.writer, entry.epoch) != (header.writer, header.epoch):
            report.add(f"{where}: carries another writer or epoch than its batch")
        sums: Counter[str] = Counter()
        for book, name, amount in entry.postings:
            sums[book] += amount
            report.totals[book, name] += amount
        if any(sums.values()):
            report.add(f"{where}: postings do not sum to zero: {dict(sums)}")
        if list(entry.postings) != sorted(entry.postings):
            report.add(f"{where}: postings are not sorted")
        if entry.account is not None:
            self._check_account(where, entry, entry.account)
        if check := self._checks.get(entry.kind):
            check(where, entry, this_id)

    def _check_account(self, where: str, entry: Entry, account: str) -> None:
        balance = self.balances.setdefault(account, Balance())
        moves: Counter[str] = Counter()
        for book, name, amount in entry.postings:
            if book == e.USD:
                moves[name] += amount
        balance.available += moves[e.available_account(account)]
        balance.held += moves[e.held_account(account)]
        balance.sequence += 1
        if entry.account_sequence != balance.sequence:
            self.report.add(
                f"{where}: account {account} has entry {entry.account_sequence} after {balance.sequence - 1}"
            )
            balance.sequence = entry.account_sequence or balance.sequence
        if (entry.available_after, entry.held_after) != (balance.available, balance.held):
            self.report.add(
                f"{where}: account {account} should have {balance.available} available, {balance.held} held"
            )
        if balance.held < 0 or (entry.kind == e.HOLD and balance.available < 0):
            self.report.add(f"{where}: takes account {account} below zero")

    def _check_deposit(self, where: str, entry: Entry, _: bytes) -> None:
        if entry.reference is None:
            return
        reference = (entry.account or "", entry.reference)
        if reference in self._references:
            self.report.add(f"{where}: the deposit's reference was booked before")
        self._references.add(reference)

    def _check_hold(self, where: str, entry: Entry, this_id: bytes) -> None:
        inference = entry.inference or ""
        if inference in self.holds:
            self.report.add(f"{where}: inference {inference} has a hold already")
        self.holds[inference] = (this_id, entry)
        if entry.model is None or (sheet := self._sheets.get(entry.sheet_version or 0)) is None:
            self.report.add(f"{where}: names no known price sheet")
            return
        cost = cost_of(sheet.prices[entry.model], sheet.fee_ppm, entry.prompt_tokens or 0, entry.completion_tokens or 0)
        if _amount(entry, e.held_account(entry.account or "")) != cost.total:
            self.report.add(f"{where}: does not hold what its bounds cost at sheet {sheet.version}")

    def _check_ending(self, where: str, entry: Entry, _: bytes) -> None:
        inference = entry.inference or ""
        opened = self.holds.pop(inference, None)
        if opened is None or opened[0] != entry.ends:
            self.report.add(f"{where}: inference {inference} has no open hold that this could end")
            return
        hold = opened[1]
        held = _amount(hold, e.held_account(hold.account or ""))
        base, fee = _amount(entry, e.INCOME_BASE), _amount(entry, e.INCOME_FEE)
        if entry.account != hold.account or _amount(entry, e.held_account(entry.account or "")) != -held:
            self.report.add(f"{where}: does not release just what its hold took")
        if base + fee > held:
            self.report.add(f"{where}: charges more than its hold")
        charged = entry.kind == e.SETTLE or bool(entry.flags & Flag.CHARGED_AFTER_CRASH)
        self._check_charge(where, entry, hold, charged=charged, base=base, fee=fee)
        model = entry.model or ""
        self.report.overrun_picousd[model] += entry.overrun_list_picousd or 0
        self.report.overrun_ngonka[model] += entry.overrun_ngonka or 0

    def _check_charge(self, where: str, entry: Entry, hold: Entry, *, charged: bool, base: int, fee: int) -> None:
        sheet = self._sheets.get(hold.sheet_version or 0)
        if not charged or sheet is None:
            if base or fee:
                self.report.add(f"{where}: a voided inference was charged")
            return
        price = sheet.prices[hold.model or ""]
        most = cost_of(price, sheet.fee_ppm, hold.prompt_tokens or 0, hold.completion_tokens or 0)
        listed = cost_of(price, sheet.fee_ppm, entry.prompt_tokens or 0, entry.completion_tokens or 0)
        due = listed if listed.total <= most.total else most
        if (base, fee) != (due.base, due.fee):
            self.report.add(f"{where}: charged {base} + {fee}, sheet {sheet.version} gives {due.base} + {due.fee}")
        if entry.kind == e.SETTLE and bool(entry.flags & Flag.OVERRUN) != (listed.total > most.total):
            self.report.add(f"{where}: overrun is not marked as it is")

    def _check_attempt(self, where: str, entry: Entry, this_id: bytes) -> None:
        inference = entry.inference or ""
        if inference not in self.holds:
            self.report.add(f"{where}: inference {inference} has no open hold")
        key = (inference, entry.part or 0, entry.try_ or 0)
        if entry.completion_tokens is None:
            self._open_attempts[key] = this_id
        elif entry.ends != self._open_attempts.pop(key, None):
            self.report.add(f"{where}: ends another sending than it names")

    def _check_sheet(self, where: str, entry: Entry, _: bytes) -> None:
        try:
            sheet = Sheet.decode(entry.reason or "")
        except ValueError as error:
            self.report.add(f"{where}: not a price sheet: {error}")
            return
        if sheet.version != entry.sheet_version or sheet.version in self._sheets:
            self.report.add(f"{where}: sheet version {sheet.version} is out of order")
        self._sheets[sheet.version] = sheet

    def _check_totals(self) -> None:
        books: Counter[str] = Counter()
        for (book, _), amount in self.report.totals.items():
            books[book] += amount
        for book, amount in books.items():
            if amount:
                self.report.add(f"book {book} sums to {amount}, not to zero")


def _amount(entry: Entry, ledger_account: str) -> int:
    return sum(amount for book, name, amount in entry.postings if book == e.USD and name == ledger_account)
