"""What a replay counts beside finding faults: the figures of the promises. They add up over parts of the history.

Nothing here judges. Amounts are exact integers, however large the sums grow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from tallygate.core.ledger.entry import Entry, Facts

DAY_NS: Final = 86_400 * 10**9

PROMPT: Final = "prompt"
COMPLETION: Final = "completion"
BOTH: Final = "both"
"""Why an upstream reported more than a hold: which count is above its bound."""

VOIDED: Final = "voided"
PROMPT_CHARGED: Final = "prompt charged"
"""By which rule a hold without an owner ended."""


@dataclass(slots=True)
class Loss:
    """What no customer paid for: of how many inferences, at list price, and what the network may have billed for it."""

    count: int = 0
    picousd: int = 0
    ngonka: int = 0

    def add(self, other: Loss) -> None:
        """Add another."""
        self.count += other.count
        self.picousd += other.picousd
        self.ngonka += other.ngonka


@dataclass(slots=True)
class Sent:
    """The sendings that ended at one node on one day, and what their bills came to, in ngonka."""

    sendings: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    paid: int = 0
    unpaid: int = 0

    def add(self, other: Sent) -> None:
        """Add others."""
        self.sendings += other.sendings
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.paid += other.paid
        self.unpaid += other.unpaid


class Spent(msgspec.Struct, gc=False):
    """What a key was charged: for the holds of its last charged day, of its last charged month, and of all time.

    A struct, since a part of the history has one of nearly every key, and sends them all to another process.
    """

    day: int = 0
    of_day: int = 0
    month: tuple[int, int] = (1970, 1)
    of_month: int = 0
    total: int = 0

    def add(self, other: Spent) -> None:
        """Add other charges, which may be of other days."""
        self.total += other.total
        if other.day >= self.day:
            self.of_day = other.of_day + (self.of_day if other.day == self.day else 0)
            self.day = other.day
        if other.month >= self.month:
            self.of_month = other.of_month + (self.of_month if other.month == self.month else 0)
            self.month = other.month


@dataclass(slots=True)
class Figures:
    """Counts and sums over a part of the history.

    Attributes:
        totals: What was posted, by place.
        lowest: The lowest available balance that a hold, or a correction, has left, in pico-dollars.
        charged: Inferences with a charge that was computed again.
        charge_max: The largest charge.
        overrun: By model and cause: which bound the upstream's report is beyond.
        expired: By model and outcome, what may have been used when a process died.
        sent: By upstream, node and day (since 1970, UTC, of the entry that tells the end).
        spent: By account and key; days and months are those of holds.
    """

    batches: int = 0
    entries: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    lowest: dict[str, int] = field(default_factory=dict)
    charged: int = 0
    charge_max: int = 0
    overrun: dict[tuple[str, str], Loss] = field(default_factory=dict)
    expired: dict[tuple[str, str], Loss] = field(default_factory=dict)
    sent: dict[tuple[str, str, int], Sent] = field(default_factory=dict)
    spent: dict[tuple[str, str], Spent] = field(default_factory=dict)

    def note_lowest(self, kind: str, available: int) -> None:
        """Note what an entry of a kind that takes money has left available."""
        if available < self.lowest.get(kind, available + 1):
            self.lowest[kind] = available

    def count_sent(self, entry: Entry, paid: int, unpaid: int, others: tuple[int, int] = (0, 0)) -> None:
        """Count the sending that an entry ends, and its bill; `others` of its tokens are of other sendings."""
        key = (entry.upstream or "", entry.node or "", entry.time_ns // DAY_NS)
        sent = self.sent.get(key)
        if sent is None:
            sent = self.sent[key] = Sent()
        sent.sendings += 1
        sent.prompt_tokens += (entry.prompt_tokens or 0) - others[0]
        sent.completion_tokens += (entry.completion_tokens or 0) - others[1]
        sent.paid += paid
        sent.unpaid += unpaid

    def count_expired_sendings(self, ending: Entry, began: Sequence[Facts], paid: int, unpaid: int) -> None:
        """Count what a crash left under way at one upstream; a bill for several nodes is no node's.

        Nobody knows what tokens these took.
        """
        nodes = {entry.node or "" for entry in began}
        key = (began[0].upstream or "", nodes.pop() if len(nodes) == 1 else "", ending.time_ns // DAY_NS)
        self.sent.setdefault(key, Sent()).add(Sent(len(began), 0, 0, paid, unpaid))

    def count_overrun(self, hold: Facts, ending: Entry) -> None:
        """Count what an upstream reported beyond a hold, by what it was that exceeded its bound."""
        prompt = (ending.prompt_tokens or 0) > (hold.prompt_tokens or 0)
        completion = (ending.completion_tokens or 0) > (hold.completion_tokens or 0)
        cause = BOTH if prompt and completion else PROMPT if prompt else COMPLETION
        _count_loss(self.overrun, (ending.model or "", cause), ending)

    def count_expired(self, ending: Entry, outcome: str) -> None:
        """Count a hold that ended without an owner."""
        _count_loss(self.expired, (ending.model or "", outcome), ending)

    def count_spent(self, hold: Facts, charged: int) -> None:
        """Count what a key was charged for what it had set aside."""
        self.count_spent_on(hold.time_ns // DAY_NS, hold.account or "", hold.key_id, charged)

    def count_spent_on(self, day: int, account: str, key_id: str | None, charged: int) -> None:
        """Count what a key was charged for what it had set aside on a day."""
        if key_id is None or not charged:
            return
        spent = self.spent.get((account, key_id))
        if spent is None:
            spent = self.spent[account, key_id] = Spent()
        spent.add(Spent(day, charged, _month_of(day), charged, charged))

    def add(self, other: Figures) -> None:
        """Add the figures of another part of the history."""
        self.batches += other.batches
        self.entries += other.entries
        for mine, theirs in ((self.kinds, other.kinds), (self.totals, other.totals)):
            mine.update(theirs)
        for kind, lowest in other.lowest.items():
            self.lowest[kind] = min(lowest, self.lowest.get(kind, lowest))
        self.charged += other.charged
        self.charge_max = max(self.charge_max, other.charge_max)
        for losses, more in ((self.overrun, other.overrun), (self.expired, other.expired)):
            for key, loss in more.items():
                losses.setdefault(key, Loss()).add(loss)
        for place, sent in other.sent.items():
            self.sent.setdefault(place, Sent()).add(sent)
        for key_of_account, spent in other.spent.items():
            known = self.spent.get(key_of_account)
            if known is None:
                known = self.spent[key_of_account] = Spent()
            known.add(spent)


@lru_cache(maxsize=64)
def _month_of(day: int) -> tuple[int, int]:
    """Return year and month of a day since 1970, by counting months off one by one."""
    year, month = 1970, 1
    while True:
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        days = 28 + is_leap if month == 2 else 30 if month in _SHORT_MONTHS else 31
        if day < days:
            return year, month
        day -= days
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


_SHORT_MONTHS: Final = frozenset({4, 6, 9, 11})


def _count_loss(losses: MutableMapping[tuple[str, str], Loss], key: tuple[str, str], ending: Entry) -> None:
    losses.setdefault(key, Loss()).add(Loss(1, ending.overrun_list_picousd or 0, ending.overrun_ngonka or 0))
