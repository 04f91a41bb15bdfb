"""Sums over past calls, in rows by what the asker wants them apart: day, model, API key and more; page by page.

What an account has used, and what the operator has earned on all of them, are both added up in this way from the
entries themselves; nothing is stored but the entries. A day is cut out of the history as a month is for a statement
(`find_cut`), so the days of a month together are its statement, whatever a clock did meanwhile.

Where the rows are apart by day first, a page needs only its own days: so any period can be asked for, and the work for
one page is bounded. Any other order of rows needs all of the period for its first row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger.entry import Entry, Flag
from tallygate.core.ledger.statement import CHARGE, VOIDED, Numbered, Period, classify, find_cut
from tallygate.core.tags import TAG, USER, name_half

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Finest = tuple[str, ...]
"""What sums of a day are about that are apart in all dimensions."""


class Sums(Protocol):
    """Sums that can be added up further; none are zero."""

    def __init__(self) -> None: ...

    def add(self, other: Self) -> None:
        """Count all that others have counted."""


S = TypeVar("S", bound=Sums)

DAY: Final = "day"

Key = tuple[int | str, ...]
"""What a row is about, in the order asked for: a day as the number of days since 1970, everything else as text."""


class Days(NamedTuple):
    """The days of UTC from one to another, both included, as numbers of days since 1970."""

    first: int
    last: int


class Place(NamedTuple):
    """Where a page begins: with this day, behind this row."""

    day: int
    after: Key | None = None


class Question(NamedTuple):
    """What is to be added up.

    Attributes:
        days: Of when.
        by: What the rows are apart by, in the order in which they are sorted.
        only: What must be so of a call to count, by dimension, as its row would show it.
        limit: The most rows that are wanted.
        place: Where to go on; None begins.
    """

    days: Days
    by: tuple[str, ...]
    only: Mapping[str, str]
    limit: int
    place: Place | None = None

    @property
    def is_daily(self) -> bool:
        """Whether the rows of one day come before all those of the next."""
        return self.by[:1] == (DAY,)


class Page(NamedTuple, Generic[S]):
    """Rows with their sums, sorted, and where the next page begins; None after the last."""

    rows: list[tuple[Key, S]]
    next: Place | None


@dataclass(slots=True)
class CallSums:
    """What calls have used and cost; amounts in pico-dollars.

    Attributes:
        calls: Those that were charged, be it nothing where a model is free.
        voided: Those that were not: they failed, or nothing was sent.
        estimated: Of the calls, those whose tokens we counted.
        overrun: Of the calls, those that were charged less than they would have cost.
    """

    calls: int = 0
    voided: int = 0
    estimated: int = 0
    overrun: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    base: int = 0
    fee: int = 0

    def add(self, other: CallSums) -> None:
        """Count all that others have counted."""
        self.calls += other.calls
        self.voided += other.voided
        self.estimated += other.estimated
        self.overrun += other.overrun
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.base += other.base
        self.fee += other.fee

    def count(self, entry: Entry) -> None:
        """Count an inference by its ending."""
        kind, cost = classify(entry)
        if kind == VOIDED:
            self.voided += 1
        if kind != CHARGE:
            return
        self.calls += 1
        self.estimated += entry.flags & _ESTIMATED != 0
        self.overrun += entry.flags & _OVERRUN != 0
        self.prompt_tokens += entry.prompt_tokens or 0
        self.completion_tokens += entry.completion_tokens or 0
        self.base += cost.base
        self.fee += cost.fee


_ESTIMATED: Final = int(Flag.ESTIMATED)
_OVERRUN: Final = int(Flag.OVERRUN)

CALL_DIMENSIONS: Final[Mapping[str, Callable[[Entry], str]]] = {
    "model": lambda entry: entry.model or "",
    "key": lambda entry: entry.key_id or "",
    USER: lambda entry: name_half(USER, entry.tag),
    TAG: lambda entry: name_half(TAG, entry.tag),
}
"""What the calls of an account can be apart by, beside their day."""


def count_call(finest: dict[Finest, CallSums], entry: Entry) -> None:
    """Count an inference by its ending, apart from all that differ from it in anything."""
    key = tuple(read(entry) for read in CALL_DIMENSIONS.values())
    sums = finest.get(key)
    if sums is None:
        sums = finest[key] = CallSums()
    sums.count(entry)


def fold(
    rows: dict[Key, S], question: Question, day: int, finest: Mapping[Finest, S], dimensions: Iterable[str]
) -> None:
    """Add what was counted on a day to the rows to which it belongs, as far as it is asked for.

    Args:
        rows: The rows.
        question: What they are apart by, and what counts.
        day: The day.
        finest: What was counted, apart in all dimensions.
        dimensions: What these are, in their order.
    """
    names = tuple(dimensions)
    for key, sums in finest.items():
        found: dict[str, int | str] = dict(zip(names, key, strict=True))
        if all(found[name] == value for name, value in question.only.items()):
            found[DAY] = day
            place = tuple(found[name] for name in question.by)
            if place not in rows:
                rows[place] = type(sums)()
            rows[place].add(sums)


def cut_days(entries: Numbered, days: Days) -> Iterator[tuple[int, Period]]:
    """Return the days on which there are entries, each with the numbers of its own."""
    after = find_cut(entries, days.first * DAY_NS)
    for day in range(days.first, days.last + 1):
        if after == entries.last:
            return
        to = find_cut(entries, (day + 1) * DAY_NS)
        if to > after:
            yield day, Period(after, to)
        after = to


def group_days(question: Question, cuts: list[tuple[int, Period]]) -> list[list[tuple[int, Period]]]:
    """Return the days that have to be added up together for a row to be whole."""
    return [[cut] for cut in cuts] if question.is_daily else [cuts] if cuts else []


def sort_rows(question: Question, rows: Mapping[Key, S]) -> list[tuple[Key, S]]:
    """Return the rows of some days in their order, those left out that were on an earlier page."""
    after = question.place and question.place.after
    return sorted((row for row in rows.items() if after is None or row[0] > after), key=lambda row: row[0])


def cut_page(question: Question, rows: list[tuple[Key, S]], ahead: int | None) -> Page[S]:
    """Return a page of the rows that were found.

    Args:
        question: What was asked.
        rows: In their order; more than the limit where there are more.
        ahead: The day on which to go on where not all days have been looked at.
    """
    if len(rows) <= question.limit:
        return Page(rows, None if ahead is None else Place(ahead))
    last = rows[question.limit - 1][0]
    day = int(last[0]) if question.is_daily else question.days.first
    return Page(rows[: question.limit], Place(day, last))
