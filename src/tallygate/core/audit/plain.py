"""The two entries that a long history is made of, taken at one look: a hold, and the charge that ends it.

`rules`, `inferences` and `replay` ask of an entry one question after the other, and have words for every fault. Here
the same is asked from the other side, and at once: of an ordinary hold or charge all follows from what came before,
so its postings are computed and compared to the letter, which takes a third of the time (`benchmarks/README.md` has
what a long history takes).

Invariant: what is taken here, the long way would have taken without a word, and counted alike. Whatever is odd, and
also what is right but rare, is left untouched for the long way: so there are no words here, and no rule has a second
home. `tests/core/ledger/test_plain.py` holds the two against each other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from tallygate.core.audit.inferences import TAG_BYTES, list_price
from tallygate.core.audit.rules import AVAILABLE, BASE, FEE, HELD, PAID, PAYABLE
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag

if TYPE_CHECKING:
    from tallygate.core.audit.figures import Figures
    from tallygate.core.audit.replay import Replay
    from tallygate.core.ledger.entry import Entry, Posting

_OVERRUN = int(Flag.OVERRUN)


class Plain:
    """Takes ordinary holds and charges, and counts them; `pour` adds to the figures what has been counted since.

    Its sums are kept apart since six additions to a mapping would cost as much as all comparisons of an entry.
    """

    __slots__ = ("_base", "_bills", "_ended", "_fees", "_held", "_holds", "_settles")

    def __init__(self) -> None:
        self._holds = self._held = 0
        self._settles = self._ended = self._base = self._fees = self._bills = 0

    def pour(self, figures: Figures) -> None:
        """Add what was counted to the figures, and count from zero."""
        if not self._holds and not self._settles:
            return
        figures.kinds.update({kind: n for kind, n in ((e.HOLD, self._holds), (e.SETTLE, self._settles)) if n})
        figures.charged += self._settles
        released = self._ended - self._base - self._fees
        figures.totals.update(
            {
                PAID: self._bills,
                PAYABLE: -self._bills,
                AVAILABLE: released - self._held,
                HELD: self._held - self._ended,
                BASE: self._base,
                FEE: self._fees,
            }
        )
        self._holds = self._held = 0
        self._settles = self._ended = self._base = self._fees = self._bills = 0

    def take_hold(self, entry: Entry, entry_bytes: bytes, replay: Replay, figures: Figures) -> bool:
        """Take a hold at the price in force of money that its account has; False: it has to be looked at closely."""
        account, inference, inferences = entry.account, entry.inference, replay.inferences
        if account is None or not inference or inference in inferences.open:
            return False
        listed = inferences.listed_in_force(entry)
        cost = list_price(listed, entry)
        if cost is None:
            return False
        held = cost[0] + cost[1]
        available_account, held_account = _accounts_of(account)
        balance = replay.balances.get(account)
        if balance is None:
            balance = replay.meet_account(entry, -held, held)
        available, held_now, sequence = balance.available - held, balance.held + held, balance.sequence + 1
        if (
            not 0 < held <= e.AMOUNT_MAX
            or available < 0
            or held_now < 0
            or entry.account_sequence != sequence
            or entry.available_after != available
            or entry.held_after != held_now
            or entry.postings != ((e.USD, available_account, -held), (e.USD, held_account, held))
            or entry.reference is not None
            or (entry.tag is not None and len(entry.tag) != TAG_BYTES)
        ):
            return False
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        replay.balances[account] = balance
        inferences.open_hold(entry, entry_bytes, held, listed, cost)
        figures.note_lowest(e.HOLD, available)
        self._holds += 1
        self._held += held
        return True

    def take_settle(self, entry: Entry, replay: Replay, figures: Figures) -> bool:
        """Take the charge of a call that was sent where it said, and cost less than its hold; False as above."""
        open_holds = replay.inferences.open
        hold = open_holds.get(entry.inference or "")
        if hold is None or hold.id != entry.ends or hold.most is None:
            return False
        began, held = hold.entry, hold.held
        account = began.account
        balance = replay.balances.get(account or "")
        cost = list_price(hold.listed, entry)
        if balance is None or account is None or cost is None:
            return False
        base, fee = cost
        total = base + fee
        bill = _bill_of(entry)
        available = balance.available + held - total
        held_now, sequence = balance.held - held, balance.sequence + 1
        if (
            not 0 < base <= total < held <= e.AMOUNT_MAX
            or held != hold.most[0] + hold.most[1]
            or held_now < 0
            or entry.account != account
            or entry.account_sequence != sequence
            or entry.available_after != available
            or entry.held_after != held_now
            or entry.key_id != began.key_id
            or entry.model != began.model
            or entry.sheet_version != began.sheet_version
            or entry.tag != began.tag
            or entry.flags & _OVERRUN
            or entry.overrun_ngonka is not None
            or entry.overrun_list_picousd is not None
            or not 0 <= bill <= e.AMOUNT_MAX
            or not hold.is_sent_only(entry)
            or entry.postings != _post_charge(account, entry.upstream, bill, held, cost)
            or entry.reference is not None
        ):
            return False
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        del open_holds[began.inference or ""]
        figures.charge_max = max(figures.charge_max, total)
        figures.count_sent(entry, bill, 0)
        self._settles += 1
        self._ended += held
        self._base += base
        self._fees += fee
        self._bills += bill
        return True


def _bill_of(entry: Entry) -> int:
    """Return what the first posting says that the upstream billed; what it should say is compared later."""
    postings = entry.postings
    return postings[0][2] if postings and postings[0][0] == e.NGONKA else 0


def _post_charge(
    account: str, upstream: str | None, bill: int, held: int, cost: tuple[int, int]
) -> tuple[Posting, ...]:
    """Return what a charge below its hold posts, with the upstream's bill, if any, paid."""
    available_account, held_account = _accounts_of(account)
    base, fee = cost
    usd: tuple[Posting, ...] = (
        (e.USD, available_account, held - base - fee),
        (e.USD, held_account, -held),
        (e.USD, e.INCOME_BASE, base),
        (e.USD, e.INCOME_FEE, fee),
    )
    if not fee:
        usd = usd[:-1]
    if not bill:
        return usd
    return ((e.NGONKA, e.COST_PAID, bill), (e.NGONKA, _payable_of(upstream or ""), -bill), *usd)


@lru_cache(maxsize=16384)
def _accounts_of(account: str) -> tuple[str, str]:
    return e.available_account(account), e.held_account(account)


@lru_cache(maxsize=1024)
def _payable_of(upstream: str) -> str:
    return e.payable_account(upstream)
