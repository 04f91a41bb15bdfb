"""Sums over the accounts and the open holds of the books, which must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from tallygate.core.ledger.records import Account, Hold


class Sums(NamedTuple):
    """Sums in pico-dollars.

    Attributes:
        accounts: How many accounts there are.
        available: What all of them can spend now.
        held: What of their money is set aside, as the accounts say.
        holds: How many holds are open.
        holds_picousd: What is set aside, as the holds say.
    """

    accounts: int
    available: int
    held: int
    holds: int
    holds_picousd: int


def sum_up(accounts: Collection[Account], holds: Collection[Hold]) -> Sums:
    """Return the sums over accounts and open holds."""
    available = sum([account.available for account in accounts])
    held = sum([account.held for account in accounts])
    return Sums(len(accounts), available, held, len(holds), sum([hold.cost.total for hold in holds]))
