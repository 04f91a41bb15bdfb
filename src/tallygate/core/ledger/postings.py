"""The postings of an act: sorted, without zeros, and summing to zero in each book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.pricing import FREE, Cost

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    paid = sum(bills.values()) - unpaid
    if paid < 0 or unpaid < 0 or min(bills.values(), default=0) < 0:
        raise InvariantBrokenError("an upstream's bill cannot be negative, nor less than what of it is unpaid")
    payables: Iterable[Posting] = [(e.NGONKA, e.payable_account(name), -bill) for name, bill in bills.items()]
    # Sorted as ledger accounts: by the upstreams' names alone, `a` would come before `a-b`, and `a/…` after `a-b/…`.
    if len(bills) > 1:
        payables = sorted(payables)
    postings = ((e.NGONKA, e.COST_PAID, paid), (e.NGONKA, e.COST_UNPAID, unpaid), *payables)
    return tuple([posting for posting in postings if posting[2]])


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
