"""What happened to one account in a period: every movement of its balance, the sums, and their proof.

The balance of an account is what is available plus what is held. A hold moves money between the two and so is no
movement of the balance: what is held at the beginning or at the end of a statement is part of its balance, and an
inference is charged where it ended. A call that was voided has cost nothing and is only counted.

An account's entries are numbered without gap, and that order is the truth. A month begins with the first entry that
was written at or after its first instant; `find_cut` finds that place by halving. Should a clock have been set back
across such an instant, the entries around it stay with their neighbours: each is in exactly one month all the same,
for both months are cut at the same place.

Invariant: nothing is given out that does not follow from the entry before it. `draw_up` goes through the whole
period first, so whoever prints a statement knows that all of it adds up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, Flag, MalformedEntryError, decode_entry, entry_id
from tallygate.core.pricing import FREE, Cost

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARGE: Final = "charge"
VOIDED: Final = "voided"
"""What an inference is on a statement, beside deposits and corrections."""

_NUMBER_BITS: Final = 48
"""An account has fewer than 2^48 entries: at a thousand a second that is nine thousand years."""


class Numbered(Protocol):
    """Entries by their numbers, from 1 and without gap; raises `BooksDisagreeError` where one is missing."""

    @property
    def last(self) -> int:
        """The number of the last entry; 0 when there is none."""

    def entry(self, number: int) -> bytes:
        """Return one entry."""


class History(Numbered, Protocol):
    """The entries of one account."""

    @property
    def account(self) -> str:
        """The account's id."""

    def entries(self, period: Period) -> Iterator[tuple[int, bytes]]:
        """Return the entries of a period with their numbers, in their order."""


class Period(NamedTuple):
    """The entries after one number, up to and with another."""

    after: int
    to: int


class Line(NamedTuple):
    """One deposit, correction, charge or voided call.

    Attributes:
        kind: `deposit`, `correction`, `charge` or `voided`.
        id: Of the entry.
        picousd: What it added to the balance; less than zero for a charge.
        balance: The balance after it.
        cost: What a charge is made of.
    """

    kind: str
    entry: Entry
    id: bytes
    picousd: int
    balance: int
    cost: Cost


@dataclass(slots=True)
class Charges:
    """Sums over charged calls."""

    count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    base: int = 0
    fee: int = 0

    @property
    def total(self) -> int:
        """Base plus fee."""
        return self.base + self.fee

    def add(self, line: Line) -> None:
        """Count one charge."""
        self.count += 1
        self.prompt_tokens += line.entry.prompt_tokens or 0
        self.completion_tokens += line.entry.completion_tokens or 0
        self.base += line.cost.base
        self.fee += line.cost.fee


@dataclass(slots=True)
class Statement:
    """The sums of a period of an account's entries.

    Attributes:
        counts: How many deposits, corrections, charges and voided calls there are.
        charges: Over all models; `by_model` for each.
    """

    period: Period
    opening: int
    closing: int = 0
    deposits: int = 0
    corrections: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    charges: Charges = field(default_factory=Charges)
    by_model: dict[str, Charges] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count one line."""
        self.counts[line.kind] += 1
        if line.kind == e.DEPOSIT:
            self.deposits += line.picousd
        elif line.kind == e.CORRECTION:
            self.corrections += line.picousd
        elif line.kind == CHARGE:
            self.charges.add(line)
            self.by_model.setdefault(line.entry.model or "", Charges()).add(line)


class BooksDisagreeError(InvariantBrokenError):
    """The entries of an account do not follow from one another, so no statement can be drawn up."""


def find_cut(history: Numbered, time_ns: int) -> int:
    """Return the number of the last entry before a moment; 0 when there is none.

    The places looked at are the same however many entries follow, so a month that is over is cut where it was cut
    before.
    """
    cut = 0
    for bit in reversed(range(_NUMBER_BITS)):
        probe = cut + (1 << bit)
        if probe <= history.last and _decode(probe, history.entry(probe)).time_ns < time_ns:
            cut = probe
    return cut


def find_period(history: Numbered, start_ns: int, end_ns: int) -> Period:
    """Return the entries from one moment until before another; a later moment is never cut earlier."""
    return Period(find_cut(history, start_ns), find_cut(history, end_ns))


def draw_up(history: History, period: Period) -> Statement:
    """Return the sums of a period, all of which has been checked.

    Raises:
        BooksDisagreeError: An entry does not follow from the one before it, or the sums do not give the balance.
    """
    statement = Statement(period, _balance_after(history, period.after))
    for line in read_lines(history, period):
        statement.add(line)
    statement.closing = _balance_after(history, period.to)
    moved = statement.deposits + statement.corrections - statement.charges.total
    if statement.opening + moved != statement.closing:
        raise BooksDisagreeError(
            f"the account had {statement.opening} and moved by {moved}, yet ends with {statement.closing}"
        )
    return statement


def read_lines(history: History, period: Period) -> Iterator[Line]:
    """Return the movements of a period and its voided calls, in their order; what only moves a hold is left out.

    Raises:
        BooksDisagreeError: An entry does not follow from the one before it.
    """
    available, held = _state_after(history, period.after)
    number = period.after
    for found, raw in history.entries(period):
        number += 1
        entry = _decode(number, raw)
        if found != number:
            raise missing(number)
        if (entry.account, entry.account_sequence) != (history.account, number):
            raise BooksDisagreeError(f"entry {number} of the account says that it is another's")
        free = e.amount_of(entry, e.USD, e.available_account(history.account))
        aside = e.amount_of(entry, e.USD, e.held_account(history.account))
        available, held = available + free, held + aside
        if (entry.available_after, entry.held_after) != (available, held):
            raise BooksDisagreeError(f"entry {number} of the account does not follow from the one before it")
        kind, cost = classify(entry)
        moved = free + aside
        if aside if kind in {e.DEPOSIT, e.CORRECTION} else moved != -cost.total:
            raise BooksDisagreeError(f"entry {number} of the account moves {moved}, which is not what a {kind} does")
        if kind in {e.DEPOSIT, e.CORRECTION, CHARGE, VOIDED}:
            yield Line(kind, entry, entry_id(raw), moved, available + held, cost)
    if number != period.to:
        raise missing(number + 1)


def missing(number: int) -> BooksDisagreeError:
    """Return the error that an entry is not there."""
    return BooksDisagreeError(f"entry {number} of the account is missing")


def classify(entry: Entry) -> tuple[str, Cost]:
    """Return what an entry is on a statement, and what it charges."""
    if entry.kind not in e.ENDINGS:
        return entry.kind, FREE
    if entry.kind != e.SETTLE and not entry.flags & Flag.CHARGED_AFTER_CRASH:
        return VOIDED, FREE
    return CHARGE, Cost(e.amount_of(entry, e.USD, e.INCOME_BASE), e.amount_of(entry, e.USD, e.INCOME_FEE))


def _balance_after(history: History, number: int) -> int:
    return sum(_state_after(history, number))


def _state_after(history: History, number: int) -> tuple[int, int]:
    if number == 0:
        return 0, 0
    entry = _decode(number, history.entry(number))
    return entry.available_after or 0, entry.held_after or 0


def _decode(number: int, raw: bytes) -> Entry:
    try:
        return decode_entry(raw)
    except MalformedEntryError as error:
        raise BooksDisagreeError(f"entry {number} of the account: {error}") from None
