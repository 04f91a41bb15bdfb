"""The postings of an act: sorted, without zeros, and summing to zero in each book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.pricing import FREE, Cost

if TYPE_CHECKING:
    from tallygate.core.ledger.entry import Posting
    from tallygate.core.ledger.records import Account


def usd_postings(account: Account, available: int, held: int, cost: Cost = FREE) -> tuple[Posting, ...]:
    """Return the USD postings of an act, sorted, without those of zero."""
    postings = (
        (e.USD, account.available_account, available),
        (e.USD, account.held_account, held),
        (e.USD, e.INCOME_BASE, cost.base),
        (e.USD, e.INCOME_FEE, cost.fee),
    )
    return tuple([posting for posting in postings if posting[2]])


def ngonka_postings(bills: dict[str, int], unpaid: int) -> tuple[Posting, ...]:
    """Return the NGONKA postings of upstreams' bills, sorted, without those of zero."""
    payables: list[Posting] = []
    paid = -unpaid
    for name, bill in bills.items():
        if bill < 0:
            raise InvariantBrokenError("an upstream's bill cannot be negative")
        if bill:
            paid += bill
            payables.append((e.NGONKA, e.payable_account(name), -bill))
    if paid < 0 or unpaid < 0:
        raise InvariantBrokenError("what is unpaid of upstreams' bills cannot be negative, nor more than they are")
    # Sorted as ledger accounts: by the upstreams' names alone, `a` would come before `a-b`, and `a/…` after `a-b/…`.
    payables.sort()
    if unpaid:
        payables.insert(0, (e.NGONKA, e.COST_UNPAID, unpaid))
    if paid:
        payables.insert(0, (e.NGONKA, e.COST_PAID, paid))
    return tuple(payables)


def check_balanced(postings: tuple[Posting, ...]) -> None:
    """Raise InvariantBrokenError unless the postings fit 64 bits and sum to zero in each book."""
    usd = ngonka = 0
    for book, _, amount in postings:
        if not -e.AMOUNT_MAX <= amount <= e.AMOUNT_MAX:
            raise InvariantBrokenError("an amount does not fit 64 bits")
        if book == e.USD:
            usd += amount
        else:
            ngonka += amount
    if usd or ngonka:
        raise InvariantBrokenError("an entry's postings must sum to zero in each book")
