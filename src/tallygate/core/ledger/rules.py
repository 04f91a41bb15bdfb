"""What the postings of one entry may look like: which ledger accounts its kind may move, and which way.

Pure questions about a single entry, asked by the audit. Nothing here knows of other entries, balances or prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.ledger import entry as e

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry

WITH_ACCOUNT: Final = frozenset({e.DEPOSIT, e.CORRECTION, e.HOLD, *e.ENDINGS})
"""Kinds that are always about one customer's account."""
WITHOUT_ACCOUNT: Final = frozenset({e.ATTEMPT, e.SHEET})
"""Kinds that never are; a `note` may be."""

_AVAILABLE, _HELD, _PAYABLE = "available", "held", "payable"
_OWN: Final = {(e.USD, _AVAILABLE), (e.USD, _HELD)}
_INCOME: Final = {(e.USD, e.INCOME_BASE), (e.USD, e.INCOME_FEE)}
_LOST: Final = {(e.NGONKA, e.COST_UNPAID), (e.NGONKA, _PAYABLE)}
_COST: Final = {(e.NGONKA, e.COST_PAID), *_LOST}

_MAY_MOVE: Final[dict[str, set[tuple[str, str]]]] = {
    e.DEPOSIT: {(e.USD, _AVAILABLE), (e.USD, e.WORLD)},
    e.CORRECTION: {(e.USD, _AVAILABLE), (e.USD, e.CORRECTIONS)},
    e.HOLD: _OWN,
    e.ATTEMPT: _LOST,
    e.SETTLE: _OWN | _INCOME | _COST,
    e.VOID: _OWN | _LOST,
    e.EXPIRE: _OWN | _INCOME | _COST,
    e.SHEET: set(),
    e.NOTE: set(),
}

_NEVER_NEGATIVE: Final = {(e.DEPOSIT, _AVAILABLE), (e.HOLD, _HELD)} | {
    (kind, name)
    for kind in (e.ATTEMPT, *e.ENDINGS)
    for name in (_AVAILABLE, e.INCOME_BASE, e.INCOME_FEE, e.COST_PAID, e.COST_UNPAID)
}
_NEVER_POSITIVE: Final = {(kind, name) for kind in (e.ATTEMPT, *e.ENDINGS) for name in (_HELD, _PAYABLE)}


def find_posting_faults(entry: Entry) -> Iterator[str]:
    """Return what is wrong with the postings of an entry, taken by itself."""
    if entry.kind in (WITH_ACCOUNT if entry.account is None else WITHOUT_ACCOUNT):
        yield f"a {entry.kind} {'needs an' if entry.account is None else 'has no'} account"
    sums: dict[str, int] = {}
    for book, name, amount in entry.postings:
        sums[book] = sums.get(book, 0) + amount
        role = _role(entry, name)
        if (book, role) not in _MAY_MOVE[entry.kind]:
            yield f"a {entry.kind} may not move {book} {name}"
        elif (amount < 0 and (entry.kind, role) in _NEVER_NEGATIVE) or (
            amount > 0 and (entry.kind, role) in _NEVER_POSITIVE
        ):
            yield f"a {entry.kind} may not move {book} {name} that way"
        if not 0 < abs(amount) <= e.AMOUNT_MAX:
            yield f"posts {amount} to {book} {name}"
    if any(sums.values()):
        yield f"postings do not sum to zero: {sums}"
    places = [posting[:2] for posting in entry.postings]
    if places != sorted(set(places)):
        yield "postings are not sorted, or name a ledger account twice"


def amount_of(entry: Entry, book: str, ledger_account: str) -> int:
    """Return what an entry posts to a ledger account."""
    return sum(amount for b, name, amount in entry.postings if b == book and name == ledger_account)


def _role(entry: Entry, ledger_account: str) -> str:
    """Return what a ledger account is to an entry: its own `available` or `held`, a `payable` it may bill, or itself.

    An expiry ends sendings of several upstreams; which ones is the replay's to check.
    """
    if ledger_account == e.available_account(entry.account or ""):
        return _AVAILABLE
    if ledger_account == e.held_account(entry.account or ""):
        return _HELD
    if ledger_account == e.payable_account(entry.upstream or "") or (
        entry.kind == e.EXPIRE and ledger_account.startswith("upstream/") and ledger_account.endswith("/payable")
    ):
        return _PAYABLE
    return ledger_account
