"""What the postings of one entry may look like: which ledger accounts its kind may move, and which way.

Pure questions about a single entry, asked by the audit. Nothing here knows of other entries, balances or prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.audit.problems import P2, Tell
from tallygate.core.ledger import entry as e

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.ledger.entry import Entry

Moves = dict[str, int]
"""What an entry posts, by place: a book and a ledger account, or `available`, `held`, `payable`, whosever they are."""

AVAILABLE: Final = f"{e.USD} available"
HELD: Final = f"{e.USD} held"
WORLD: Final = f"{e.USD} {e.WORLD}"
CORRECTIONS: Final = f"{e.USD} {e.CORRECTIONS}"
BASE: Final = f"{e.USD} {e.INCOME_BASE}"
FEE: Final = f"{e.USD} {e.INCOME_FEE}"
PAYABLE: Final = f"{e.NGONKA} payable"
PAID: Final = f"{e.NGONKA} {e.COST_PAID}"
UNPAID: Final = f"{e.NGONKA} {e.COST_UNPAID}"

WITH_ACCOUNT: Final = frozenset({e.DEPOSIT, e.CORRECTION, e.HOLD, *e.ENDINGS})
"""Kinds that are always about one customer's account."""
WITHOUT_ACCOUNT: Final = frozenset({e.ATTEMPT, e.SHEET})
"""Kinds that never are; a `note` may be."""

_UP: Final = (0, e.AMOUNT_MAX + 1)
_DOWN: Final = (-e.AMOUNT_MAX - 1, 0)
_BOTH: Final = (-e.AMOUNT_MAX - 1, e.AMOUNT_MAX + 1)
_LOST: Final = {UNPAID: _UP, PAYABLE: _DOWN}
_RELEASED: Final = {AVAILABLE: _UP, HELD: _DOWN}
_CHARGED: Final = {**_RELEASED, BASE: _UP, FEE: _UP, PAID: _UP, **_LOST}

_MAY_MOVE: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = {
    e.DEPOSIT: {AVAILABLE: _UP, WORLD: _BOTH},
    e.CORRECTION: {AVAILABLE: _BOTH, CORRECTIONS: _BOTH},
    e.HOLD: {AVAILABLE: _BOTH, HELD: _UP},
    e.ATTEMPT: {PAID: _UP, **_LOST},
    e.SETTLE: _CHARGED,
    e.VOID: {**_RELEASED, **_LOST},
    e.EXPIRE: _CHARGED,
    e.SHEET: {},
    e.NOTE: {},
}
"""Which places a kind may move, and between which amounts, both ends excluded; zero is never posted."""

_IN_ORDER: Final = (PAID, UNPAID, PAYABLE, AVAILABLE, HELD, CORRECTIONS, BASE, FEE, WORLD)
"""The places as their ledger accounts are sorted, whoever is the account and the upstream."""

_RULES: Final[Mapping[str, Mapping[str, tuple[str, int, int, int]]]] = {
    kind: {place: (place.partition(" ")[0], *limits, _IN_ORDER.index(place)) for place, limits in may.items()}
    for kind, may in _MAY_MOVE.items()
}
"""By kind and place: its book, the limits of an amount, and its rank in the order."""

_COMMON: Final = {place.partition(" ")[2]: place for place in (PAID, UNPAID, CORRECTIONS, BASE, FEE, WORLD)}


def read_moves(entry: Entry, tell: Tell) -> Moves:
    """Return what an entry moves; tell what is wrong with its postings, taken by itself."""
    kind, account = entry.kind, entry.account
    if kind in (WITH_ACCOUNT if account is None else WITHOUT_ACCOUNT):
        tell(P2, f"a {kind} {'needs an' if account is None else 'has no'} account")
    upstream = entry.upstream
    rule_of = _RULES[kind].get
    moves: Moves = {}
    usd = ngonka = 0
    last = -1
    for book, name, amount in entry.postings:
        place = _place(name, account, upstream)
        rule = rule_of(place)
        # Nearly every posting is as it must be; where one is odd in any way, all are gone through to tell it in words.
        if rule is None or book != rule[0] or not rule[1] < amount < rule[2] or not amount or rule[3] <= last:
            return _go_through(entry, tell)
        last = rule[3]
        moves[place] = amount
        if book == "USD":
            usd += amount
        else:
            ngonka += amount
    return _go_through(entry, tell) if usd or ngonka else moves


def _go_through(entry: Entry, tell: Tell) -> Moves:
    """Return what an entry moves; tell which postings are wrong."""
    kind = entry.kind
    moves: Moves = {}
    sums: dict[str, int] = {}
    for book, name, amount in entry.postings:
        place = _place(name, entry.account, entry.upstream)
        if kind == e.EXPIRE and is_payable(name):  # it ends sendings of several upstreams; which ones is not asked here
            place = PAYABLE
        if not place.startswith(f"{book} "):
            place = f"{book} other/{name}"
        rule = _RULES[kind].get(place)
        if rule is None:
            tell(P2, f"a {kind} may not move {book} {name}")
        elif not 0 < abs(amount) <= e.AMOUNT_MAX:
            tell(P2, f"posts {amount} to {book} {name}")
        elif not rule[1] < amount < rule[2]:
            tell(P2, f"a {kind} may not move {book} {name} that way")
        moves[place] = moves.get(place, 0) + amount
        sums[book] = sums.get(book, 0) + amount
    if any(sums.values()):
        tell(P2, f"postings do not sum to zero: {sums}")
    ledger_accounts = [posting[:2] for posting in entry.postings]
    if ledger_accounts != sorted(set(ledger_accounts)):
        tell(P2, "postings are not sorted, or name a ledger account twice")
    return moves


def _place(name: str, account: str | None, upstream: str | None) -> str:
    """Return what a ledger account is to an entry about these; nothing where it is none that it may name."""
    common = _COMMON.get(name)
    if common is not None:
        return common
    if name == e.payable_account(upstream or ""):
        return PAYABLE
    own = account or ""
    return AVAILABLE if name == e.available_account(own) else HELD if name == e.held_account(own) else ""


def is_payable(ledger_account: str) -> bool:
    """Return whether a ledger account is what some upstream has billed."""
    return ledger_account.startswith("upstream/") and ledger_account.endswith("/payable")
