"""Answers questions about past calls, a short look at a time, in a thread, while calls go on.

One look is taken at a time, whoever asks, and after each the event loop has its turn: so a long question takes long for
who asks it, and a caller who leaves takes it along. What one answer may look through is bounded; what is left is told
by where to go on.
"""

from __future__ import annotations

import asyncio
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from tallygate.core.ledger import refusals
from tallygate.core.ledger.entry import read_entry
from tallygate.core.ledger.margin import MARGIN_DIMENSIONS, MarginSums, count_margin
from tallygate.core.ledger.past import OPEN, CallPage, PastCall, Wanted, read_call
from tallygate.core.ledger.rollup import (
    CALL_DIMENSIONS,
    CallSums,
    Finest,
    Key,
    Page,
    Question,
    S,
    count_call,
    cut_days,
    cut_page,
    fold,
    group_days,
    sort_rows,
)
from tallygate.core.ledger.statement import Period, find_cut
from tallygate.storage.past.kept_days import KeptDays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tallygate.core.ledger.entry import Entry
    from tallygate.storage.past.shelf import Past, Shelf

LOOK_ENTRIES: Final = 1000
"""How many entries one look goes through: some 10 ms."""
ENTRIES_MAX: Final = 200_000
"""How many entries one answer adds up, a whole day always: some seconds beside calls that go on."""
HOLDS_MAX: Final = 10_000
"""How many inferences are looked at for one page of a list."""

T = TypeVar("T")


class EmbeddedHistory:
    """The `CallHistory` of a store of this machine.

    Args:
        past: Where the entries are.
        entries_max: How many one answer adds up.
        holds_max: How many inferences are looked at for one page.
        look_entries: How many entries one look goes through.
    """

    def __init__(
        self,
        past: Past,
        *,
        entries_max: int = ENTRIES_MAX,
        holds_max: int = HOLDS_MAX,
        look_entries: int = LOOK_ENTRIES,
    ) -> None:
        self._past = past
        self._entries_max = entries_max
        self._holds_max = holds_max
        self._look_entries = look_entries
        self._usage = KeptDays(count_call, CALL_DIMENSIONS)
        self._margin = KeptDays(count_margin, MARGIN_DIMENSIONS)
        self._lock = asyncio.Lock()

    async def usage(self, account: str, question: Question) -> Page[CallSums]:
        """Add up what an account's calls have used and cost."""
        return await self._add_up(account, question, self._usage)

    async def margin(self, question: Question) -> Page[MarginSums]:
        """Add up what all calls have brought in, and what the network has billed for them."""
        return await self._add_up(None, question, self._margin)

    async def call(self, inference: str) -> PastCall | None:
        """Return one inference, None if there is none of this id."""
        raws = await self._look(None, lambda shelf: shelf.inference(inference))
        return read_call(0, raws) if raws else None

    async def calls(self, wanted: Wanted, limit: int, before: int | None = None) -> CallPage:
        """Return the inferences that are looked for, newest first."""
        period = await self._look(wanted.account, partial(_find_bounds, wanted, before))
        if wanted.state == OPEN:
            return await self._look(wanted.account, partial(_list_open, wanted, period, limit))
        found: list[PastCall] = []
        for _ in range(0, self._holds_max, self._look_entries):
            look = partial(_list_some, wanted, period, self._look_entries, limit - len(found))
            calls, last = await self._look(wanted.account, look)
            found += calls
            if last is None or len(found) == limit:
                return CallPage(found, last)
            period = Period(period.after, last - 1)
        return CallPage(found, period.to + 1)

    async def _add_up(self, account: str | None, question: Question, kept: KeptDays[S]) -> Page[S]:
        days = question.days
        if question.is_daily and question.place is not None:
            days = days._replace(first=question.place.day)
        cuts = await self._look(account, lambda shelf: list(cut_days(shelf, days)))
        if not question.is_daily:
            _check_length(cuts, self._entries_max)
        rows: list[tuple[Key, S]] = []
        done = 0
        for group in group_days(question, cuts):
            if done and done + sum(map(_length, group)) > self._entries_max:
                return cut_page(question, rows, group[0][0])
            sums: dict[Key, S] = {}
            for day, period in group:
                fold(sums, question, day, await self._count(account, period, kept), kept.dimensions)
                done += _length((day, period))
            rows += sort_rows(question, sums)
            if len(rows) > question.limit:
                break
        return cut_page(question, rows, None)

    async def _count(self, account: str | None, period: Period, kept: KeptDays[S]) -> Mapping[Finest, S]:
        """Return what was counted in a period, in all dimensions: once for all, for entries never change."""
        done, known = kept.begin(account, period)
        if done == period.to:
            return known
        finest = {key: copy(sums) for key, sums in known.items()}  # others may be adding up what is kept
        for part in _parts(Period(done, period.to), self._look_entries):
            await self._look(account, partial(_count_part, finest, kept.count, part))
        kept.keep(account, period, finest)
        return finest

    async def _look(self, account: str | None, read: Callable[[Shelf], T]) -> T:
        """Read something in a thread, when nobody else does."""

        def look() -> T:
            with self._past.look(account) as shelf:
                return read(shelf)

        async with self._lock:
            return await asyncio.to_thread(look)


def _length(cut: tuple[int, Period]) -> int:
    return cut[1].to - cut[1].after


def _check_length(cuts: list[tuple[int, Period]], entries_max: int) -> None:
    """Refuse to add up more for one answer than is fair to the calls that go on meanwhile."""
    entries = sum(map(_length, cuts))
    if entries > entries_max:
        raise refusals.period_too_long(entries, entries_max)


def _parts(period: Period, size: int) -> Iterator[Period]:
    for after in range(period.after, period.to, size):
        yield Period(after, min(after + size, period.to))


def _count_part(
    finest: dict[Finest, S], count: Callable[[dict[Finest, S], Entry], None], part: Period, shelf: Shelf
) -> None:
    for raw in shelf.billing(part):
        count(finest, read_entry(raw))


def _find_bounds(wanted: Wanted, before: int | None, shelf: Shelf) -> Period:
    """Return the entries among which the holds are that are looked for."""
    after = 0 if wanted.start_ns is None else find_cut(shelf, wanted.start_ns)
    to = shelf.last if wanted.end_ns is None else find_cut(shelf, wanted.end_ns)
    return Period(after, to if before is None else min(to, before - 1))


def _list_some(
    wanted: Wanted, period: Period, size: int, count_max: int, shelf: Shelf
) -> tuple[list[PastCall], int | None]:
    """Return the last inferences of a period that are looked for, and where the look ended; None at its beginning."""
    found = []
    holds = shelf.holds(period, size)
    for number, raw in holds:
        if (call := _read_wanted(wanted, number, raw, shelf)) is not None:
            found.append(call)
            if len(found) == count_max:
                return found, number
    return found, holds[-1][0] if len(holds) == size else None


def _list_open(wanted: Wanted, period: Period, limit: int, shelf: Shelf) -> CallPage:
    calls = (_read_wanted(wanted, number, raw, shelf) for number, raw in shelf.open_holds(period))
    found = [call for call in calls if call is not None]
    return CallPage(found[:limit], found[limit - 1].number if len(found) > limit else None)


def _read_wanted(wanted: Wanted, number: int, raw: bytes, shelf: Shelf) -> PastCall | None:
    hold = read_entry(raw)
    if not wanted.admits_hold(hold):
        return None
    call = read_call(number, shelf.inference(hold.inference or ""))
    return call if wanted.admits(call) else None
