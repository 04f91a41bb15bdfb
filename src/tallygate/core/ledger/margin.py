"""What the operator has earned: dollars charged beside the ngonka that the network has billed for them.

Both books side by side, from the postings of the entries. Dollars become ngonka's equal only by a rate that somebody
says: the books have none, for what the operator has paid for a GNK is not in them.

A charge belongs to the upstream of the last sending of its inference, a bill to the one that made it. An expiry has one
bill for all sendings to an upstream and one sum of what of them all nobody paid for: that is laid upon the bills in
the order of their postings, as the audit does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallygate.core.ledger import entry as e
from tallygate.core.money import NGONKA_PER_GNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.rollup import Finest

MARGIN_DIMENSIONS: Final = ("model", "upstream")
"""What bills and charges can be apart by, beside their day; `count_margin` has them in this order."""

_PAYABLE: Final = ("upstream/", "/payable")


@dataclass(slots=True)
class MarginSums:
    """What came in and what it took; dollars in pico-dollars.

    Attributes:
        calls: Inferences that ended.
        base: Charged for the network's work.
        fee: Charged on top of it.
        paid: Billed by the network, in ngonka, where a charge stands against it.
        unpaid: Billed, or perhaps billed, where none does: overrun, crashes, and sendings that failed.
        overrun: Of the unpaid, what calls took beyond their holds.
        crashed: Of the unpaid, what starts found without an owner.
        overrun_list: What the overrun would have been charged.
        crashed_list: What the calls that crashed could have been charged.
    """

    calls: int = 0
    base: int = 0
    fee: int = 0
    paid: int = 0
    unpaid: int = 0
    overrun: int = 0
    crashed: int = 0
    overrun_list: int = 0
    crashed_list: int = 0

    def add(self, other: MarginSums) -> None:
        """Count all that others have counted."""
        self.calls += other.calls
        self.base += other.base
        self.fee += other.fee
        self.paid += other.paid
        self.unpaid += other.unpaid
        self.overrun += other.overrun
        self.crashed += other.crashed
        self.overrun_list += other.overrun_list
        self.crashed_list += other.crashed_list

    def price(self, picousd_per_gnk: int) -> int:
        """Return what all that was billed costs at a rate, in pico-dollars, rounded up once."""
        return -(-(self.paid + self.unpaid) * picousd_per_gnk // NGONKA_PER_GNK)


def count_margin(finest: dict[Finest, MarginSums], entry: Entry) -> None:
    """Count what an entry charges and bills, by model and upstream."""

    def find_sums(upstream: str) -> MarginSums:
        return finest.setdefault((entry.model or "", upstream), MarginSums())

    for upstream, billed, unpaid in find_bills(entry):
        sums = find_sums(upstream)
        sums.paid += billed - unpaid
        sums.unpaid += unpaid
    if entry.kind in e.ENDINGS:
        sums = find_sums(entry.upstream or "")
        sums.calls += 1
        sums.base += e.amount_of(entry, e.USD, e.INCOME_BASE)
        sums.fee += e.amount_of(entry, e.USD, e.INCOME_FEE)
        if entry.kind == e.EXPIRE:
            sums.crashed += entry.overrun_ngonka or 0
            sums.crashed_list += entry.overrun_list_picousd or 0
        else:
            sums.overrun += entry.overrun_ngonka or 0
            sums.overrun_list += entry.overrun_list_picousd or 0


def find_bills(entry: Entry) -> Iterator[tuple[str, int, int]]:
    """Return the upstreams that an entry says have billed, what, and how much of it nobody paid for, in ngonka."""
    unpaid = e.amount_of(entry, e.NGONKA, e.COST_UNPAID)
    begin, end = _PAYABLE
    for book, name, amount in entry.postings:
        if book == e.NGONKA and name.startswith(begin) and name.endswith(end):
            lost = min(-amount, unpaid)
            unpaid -= lost
            yield name[len(begin) : -len(end)], -amount, lost
