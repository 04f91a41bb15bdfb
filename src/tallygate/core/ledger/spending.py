"""What keys and accounts have spent by day, by month and ever, and whether one more hold would exceed a limit of it.

A charge counts on the UTC day, and in the month, in which its money was set aside, however late it comes. What is set
aside counts like what is spent until it has ended, so that no number of calls at once can exceed a limit.

Of a key is kept what it has spent on the last day on which it spent anything, in the last such month, and ever: the
same sums come of the same entries in any order. Where the clock says that it is earlier than that (it was set back), a
day's limit is held against what was spent in the month, and a month's against all: refused too soon, never too late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.calendar import DAY_NS, first_day_of, month_of
from tallygate.core.ledger import entry as e
from tallygate.core.ledger import refusals
from tallygate.core.limits import ACCOUNT, KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.records import Hold
    from tallygate.core.limits import Limits


class Period(Enum):
    """What a spend limit is for; by its name in the contract."""

    DAY = "spend_day"
    MONTH = "spend_month"
    TOTAL = "spend_total"


class KeySpent(NamedTuple):
    """What a key has spent, as a store keeps it: days and months since 1970, amounts in pico-dollars."""

    account: str
    key: str
    day: int
    day_picousd: int
    month: int
    month_picousd: int
    total_picousd: int


class Budget(NamedTuple):
    """A spend limit, if there is one, and what is spent and held of its period, in pico-dollars."""

    period: Period
    limit: int | None
    spent: int
    held: int


def period_end_ns(period: Period, day: int) -> int | None:
    """Return when the day, or the month around it, is over; all time never is."""
    if period is Period.TOTAL:
        return None
    return (day + 1 if period is Period.DAY else first_day_of(month_of(day) + 1)) * DAY_NS


@dataclass(slots=True)
class Spending:
    """What one key, or all keys of one account together, have spent, and what is set aside for calls under way.

    Attributes:
        day: The last one of which anything was spent, `day_picousd`.
        month: The same of months.
        held: By the day on which it was set aside.
    """

    day: int = 0
    day_picousd: int = 0
    month: int = 0
    month_picousd: int = 0
    total_picousd: int = 0
    held: dict[int, int] = field(default_factory=dict)

    def charge(self, day: int, picousd: int) -> None:
        """Count a charge for what was set aside on a day."""
        if day == self.day:  # as nearly always, and then it is of that month too
            self.day_picousd += picousd
            self.month_picousd += picousd
            self.total_picousd += picousd
        else:
            self.add(day, picousd, month_of(day), picousd, picousd)

    def add(self, day: int, day_picousd: int, month: int, month_picousd: int, total_picousd: int) -> None:
        """Count what was spent up to a day and in a month, where nothing later is counted with it."""
        if day > self.day:
            self.day, self.day_picousd = day, 0
        if day == self.day:
            self.day_picousd += day_picousd
        if month > self.month:
            self.month, self.month_picousd = month, 0
        if month == self.month:
            self.month_picousd += month_picousd
        self.total_picousd += total_picousd

    def set_aside(self, day: int, picousd: int) -> None:
        """Count what is held from a day on."""
        self.held[day] = self.held.get(day, 0) + picousd

    def release(self, day: int, picousd: int) -> None:
        """Count it no more."""
        left = self.held[day] - picousd
        if left:
            self.held[day] = left
        else:
            del self.held[day]

    def budgets(self, limits: Limits, day: int) -> list[Budget]:
        """Return what is spent and held of each period that a day is in."""
        month, total, held = month_of(day), self.total_picousd, self.held
        of_month = total if month < self.month else self.month_picousd if month == self.month else 0
        of_day = of_month if day < self.day else self.day_picousd if day == self.day else 0
        in_day = in_month = in_all = 0
        for since, picousd in held.items():  # of one day, or of two around midnight
            in_all += picousd
            if since >= day:
                in_day += picousd
            if since >= day or month_of(since) >= month:
                in_month += picousd
        return [
            Budget(Period.DAY, limits.spend_day_picousd, of_day, in_day),
            Budget(Period.MONTH, limits.spend_month_picousd, of_month, in_month),
            Budget(Period.TOTAL, limits.spend_total_picousd, total, in_all),
        ]


class Spendings:
    """The spending of every account, and of every key of it."""

    def __init__(self) -> None:
        self._accounts: dict[str, Spending] = {}
        self._keys: dict[tuple[str, str | None], Spending] = {}

    def restore(self, row: KeySpent) -> None:
        """Take up what a store has of a key."""
        for spending in self._find(row.account, row.key):
            spending.add(*row[2:])

    def check(self, account: str, key: str | None, limits: tuple[Limits, Limits], picousd: int, now_ns: int) -> None:
        """Refuse to set so much aside where a limit, of a key or its account, does not allow it."""
        day = now_ns // DAY_NS
        of_account, of_key = self._find(account, key)
        for subject, spending, own in ((KEY, of_key, limits[0]), (ACCOUNT, of_account, limits[1])):
            for period, limit, spent, held in spending.budgets(own, day):
                if limit is not None and spent + held + picousd > limit:
                    end_ns = period_end_ns(period, day)
                    ends_in_s = None if end_ns is None else -(-(end_ns - now_ns) // 10**9)
                    raise refusals.over_spend_limit(subject, period.value, (limit, spent, held, picousd), ends_in_s)

    def find_room(self, account: str, key: str | None, limits: tuple[Limits, Limits], picousd: int, now_ns: int) -> int:
        """Return what of so much the limits leave that would not allow all of it, whatever else ended; all, if none."""
        budgets = [budget for own in self.budgets(account, key, limits, now_ns) for budget in own]
        short = [b.limit - b.spent - b.held for b in budgets if b.limit is not None and b.spent + picousd > b.limit]
        return min([picousd, *short])

    def budgets(self, account: str, key: str | None, limits: tuple[Limits, Limits], now_ns: int) -> list[list[Budget]]:
        """Return what is spent and held now of the limits of a key, and of its account."""
        of_account, of_key = self._find(account, key)
        day = now_ns // DAY_NS
        return [of_key.budgets(limits[0], day), of_account.budgets(limits[1], day)]

    def set_aside(self, hold: Hold) -> None:
        """Count what a hold has set aside."""
        day, picousd = hold.taken_ns // DAY_NS, hold.cost.total
        hold.counted_in = self._find(hold.account.id, hold.key_id)
        for spending in hold.counted_in:
            spending.set_aside(day, picousd)

    def end(self, hold: Hold, charge: int) -> None:
        """Count what has come of it."""
        day, picousd = hold.taken_ns // DAY_NS, hold.cost.total
        for spending in hold.counted_in:
            spending.release(day, picousd)
            if charge:
                spending.charge(day, charge)

    def rows(self, entries: Iterable[Entry]) -> list[KeySpent]:
        """Return what a store has to keep of the keys that entries charge, with all that was counted so far."""
        charged = {(entry.account or "", entry.key_id): None for entry in entries if entry.kind in _CHARGING}
        return _rows((account, key, self._keys[account, key]) for account, key in charged)

    def _find(self, account: str, key: str | None) -> tuple[Spending, Spending]:
        of_account, of_key = self._accounts.get(account), self._keys.get((account, key))
        if of_account is None:
            of_account = self._accounts[account] = Spending()
        if of_key is None:
            of_key = self._keys[account, key] = Spending()
        return of_account, of_key


_CHARGING: Final = frozenset({e.SETTLE, e.EXPIRE})


def _rows(spendings: Iterable[tuple[str, str | None, Spending]]) -> list[KeySpent]:
    """Return the rows of those who have spent anything: what was charged without a key is nobody's."""
    return [
        KeySpent(account, key, s.day, s.day_picousd, s.month, s.month_picousd, s.total_picousd)
        for account, key, s in spendings
        if key is not None and s.total_picousd
    ]


class Recount:
    """Counts the spending of keys anew from entries in their order, for a store that does not have it yet."""

    def __init__(self) -> None:
        self._spendings: dict[tuple[str, str | None], Spending] = {}
        self._days: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Count one entry."""
        inference = entry.inference or ""
        if entry.kind == e.HOLD:
            self._days[inference] = entry.time_ns // DAY_NS
        elif entry.kind in e.ENDINGS:
            day = self._days.pop(inference)
            if charge := sum(e.amount_of(entry, e.USD, name) for name in (e.INCOME_BASE, e.INCOME_FEE)):
                self._spendings.setdefault((entry.account or "", entry.key_id), Spending()).charge(day, charge)

    def rows(self) -> list[KeySpent]:
        """Return what has been spent."""
        return _rows((*ids, spending) for ids, spending in self._spendings.items())
