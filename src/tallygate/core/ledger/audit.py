"""The proof: replays everything that was ever written and says what it checked, and what does not add up.

The audit trusts nothing but the bytes of headers and entries. It is code of its own, apart from `books`, so that a
slip in a rule there is found here: `rules` looks at one entry by itself, `inferences` replays holds and endings, and
what is here seals, balances and adds up. It works through the batches in their order, keeps only balances, open
holds, references and totals, and so needs memory for the accounts, not for the history.

That an inference was not held again after it had ended takes the whole history to see; the stores' audits ask their
own tables for it, and compare those tables with the bytes.

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
from tallygate.core.ledger.entry import Entry, MalformedEntryError, decode_entry, entry_id
from tallygate.core.ledger.inferences import Inferences
from tallygate.core.ledger.rules import find_posting_faults

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
    """What was checked and what was found; amounts are exact integers.

    Attributes:
        overrun_picousd: By model, what upstreams reported beyond the holds, at list price; `overrun_ngonka` its cost.
        lost_picousd: By model, what may have been used when a process died, at list price; `lost_ngonka` its cost.
    """

    batches: int = 0
    entries: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    overrun_picousd: Counter[str] = field(default_factory=Counter)
    overrun_ngonka: Counter[str] = field(default_factory=Counter)
    lost_picousd: Counter[str] = field(default_factory=Counter)
    lost_ngonka: Counter[str] = field(default_factory=Counter)
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
        self._inferences = Inferences()
        self._writers: dict[bytes, _Writer] = {}
        self._references: set[tuple[str, str]] = set()

    def take(self, header_bytes: bytes, entries: Sequence[bytes]) -> Sequence[Entry | None]:
        """Check one batch and everything in it; return its entries, None for what is none."""
        report = self.report
        report.batches += 1
        try:
            header = decode_header(header_bytes)
        except MalformedHeaderError as error:
            report.add(f"batch {report.batches}: {error}")
            return [None] * len(entries)
        where = f"batch {header.sequence} of writer {header.writer.hex()[:8]}"
        self._check_chain(where, header, header_bytes)
        if header.entry_count != len(entries) or not entries:
            report.add(f"{where}: the header counts {header.entry_count} entries, there are {len(entries)}")
        elif merkle_root([leaf_hash(entry) for entry in entries]) != header.root:
            report.add(f"{where}: the entries do not have the sealed root: one was changed, moved or replaced")
        decoded: list[Entry | None] = []
        for number, entry_bytes in enumerate(entries):
            report.entries += 1
            try:
                entry = decode_entry(entry_bytes)
            except MalformedEntryError as error:
                report.add(f"{where}, entry {number}: {error}")
                decoded.append(None)
                continue
            decoded.append(entry)
            self._check_entry(f"{where}, entry {number} ({entry.kind})", entry, entry_id(entry_bytes), header)
        return decoded

    def finish(
        self,
        accounts: Mapping[str, tuple[int, int, int]],
        open_holds: set[str],
        heads: Mapping[bytes, tuple[int, bytes]] | None = None,
    ) -> Report:
        """Compare the replay with the state that the store keeps for speed, and close the report.

        Args:
            accounts: Available, held and sequence of each account by its id, as the store has them.
            open_holds: The inferences whose hold the store regards as open.
            heads: Sequence and header hash of each writer's last batch, as the store has them; a lost tail shows here.
        """
        report = self.report
        for writer, (sequence, head) in (heads or {}).items():
            last = self._writers.get(writer, _Writer())
            if (last.sequence, last.head) != (sequence, head):
                report.add(
                    f"writer {writer.hex()[:8]}: the batches end with {last.sequence}, the store says {sequence}: "
                    "the last ones are missing or changed"
                )
        replayed = {name: (b.available, b.held, b.sequence) for name, b in self.balances.items()}
        for name in sorted(replayed.keys() | accounts.keys()):
            if replayed.get(name) != accounts.get(name):
                report.add(f"account {name}: the entries give {replayed.get(name)}, the store has {accounts.get(name)}")
        if open_holds != self._inferences.open.keys():
            odd = sorted(open_holds ^ self._inferences.open.keys())[:3]
            report.add(f"open holds: the store and the entries disagree on {', '.join(odd)}")
        self._check_totals()
        report.accounts = len(self.balances)
        report.open_holds = len(self._inferences.open)
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
        for book, name, amount in entry.postings:
            report.totals[book, name] += amount
        for fault in find_posting_faults(entry):
            report.add(f"{where}: {fault}")
        if entry.account is not None:
            self._check_account(where, entry, entry.account)
        if entry.kind == e.DEPOSIT:
            self._check_deposit(where, entry)
        for fault in self._inferences.take(entry, this_id):
            report.add(f"{where}: {fault}")
        if entry.overrun_list_picousd is not None:
            lost = entry.kind == e.EXPIRE
            (report.lost_picousd if lost else report.overrun_picousd)[entry.model or ""] += entry.overrun_list_picousd
            (report.lost_ngonka if lost else report.overrun_ngonka)[entry.model or ""] += entry.overrun_ngonka or 0

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

    def _check_deposit(self, where: str, entry: Entry) -> None:
        if entry.reference is None:
            return
        reference = (entry.account or "", entry.reference)
        if reference in self._references:
            self.report.add(f"{where}: the deposit's reference was booked before")
        self._references.add(reference)

    def _check_totals(self) -> None:
        books: Counter[str] = Counter()
        for (book, _), amount in self.report.totals.items():
            books[book] += amount
        for book, amount in books.items():
            if amount:
                self.report.add(f"book {book} sums to {amount}, not to zero")
        totals = self.report.totals
        came_in = -totals[e.USD, e.WORLD] - totals[e.USD, e.CORRECTIONS]
        customers = sum(balance.available + balance.held for balance in self.balances.values())
        income = totals[e.USD, e.INCOME_BASE] + totals[e.USD, e.INCOME_FEE]
        if came_in != customers + income:
            self.report.add(f"{came_in} came in, but customers have {customers} and {income} was charged")
