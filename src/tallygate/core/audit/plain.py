"""The two entries that a long history is made of, taken at one look: a hold, and the charge that ends it.

`rules`, `inferences` and `replay` ask of an entry one question after the other, and have words for every fault. Here
the same is asked from the other side, and at once: of an ordinary hold or charge nearly all follows from what came
before. So the entry is written as it has to be, with what is its own to say (when, how many tokens, where it was
sent), and must then be the one that was found, byte for byte. That one comparison stands for all of them: an encoding
is the same only where every field is, and it is the canonical one, too. It takes a third of the time
(`benchmarks/README.md` has what a long history takes).

Invariant: what is taken here, the long way would have taken without a word, and counted alike. Whatever is odd, and
also what is right but rare, is left untouched for the long way: so there are no words here, and no rule has a second
home. `tests/core/audit/test_plain.py` holds the two against each other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tallygate.core.audit.inferences import TAG_BYTES, list_price
from tallygate.core.audit.rules import AVAILABLE, BASE, FEE, HELD, PAID, PAYABLE
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag, MalformedEntryError, beginning_of, encode_fields, read_entry

if TYPE_CHECKING:
    from tallygate.core.audit.figures import Figures
    from tallygate.core.audit.replay import Balance, Replay
    from tallygate.core.ledger.batch import Header
    from tallygate.core.ledger.entry import Entry, Posting

_OVERRUN = int(Flag.OVERRUN)


_HOLD: Final = beginning_of(e.HOLD)
_SETTLE: Final = beginning_of(e.SETTLE)


class Plain:
    """Takes ordinary holds and charges, and counts them; `pour` adds to the figures what has been counted since.

    Its sums are kept apart since six additions to a mapping would cost as much as all comparisons of an entry.
    """

    __slots__ = ("_base", "_bills", "_charge_max", "_ended", "_fees", "_held", "_holds", "_lowest", "_settles")

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._holds = self._held = 0
        self._settles = self._ended = self._base = self._fees = self._bills = self._charge_max = 0
        self._lowest: int | None = None

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
        if self._lowest is not None:
            figures.note_lowest(e.HOLD, self._lowest)
        figures.charge_max = max(figures.charge_max, self._charge_max)
        self._start()

    def take(self, entry_bytes: bytes, header: Header, replay: Replay, figures: Figures) -> Entry | None:
        """Take an entry of a batch if it is of the ordinary kind and just as it must be; else None, and nothing."""
        try:
            if entry_bytes.startswith(_SETTLE):
                return self._take_settle(entry_bytes, header, replay, figures)
            if entry_bytes.startswith(_HOLD):
                return self._take_hold(entry_bytes, header, replay)
        except (MalformedEntryError, OverflowError):  # a balance of forged books can be too large to be written
            return None
        return None

    def _take_hold(self, entry_bytes: bytes, header: Header, replay: Replay) -> Entry | None:
        """Take a hold at the price in force of money that its account has."""
        entry = read_entry(entry_bytes)
        account, inference, inferences = entry.account, entry.inference, replay.inferences
        if account is None or not inference or inference in inferences.open:
            return None
        listed = inferences.listed_in_force(entry)
        cost = list_price(listed, entry)
        if cost is None:
            return None
        base, fee = cost
        held = base + fee
        balance = replay.balances.get(account)
        if balance is None:
            balance = replay.meet_account(entry, -held, held)
        available, held_now, sequence = balance.available - held, balance.held + held, balance.sequence + 1
        if (
            not 0 < held <= e.AMOUNT_MAX
            or available < 0
            or held_now < 0
            or not len(entry.nonce) == len(header.writer) == e.ID_BYTES
            or (entry.tag is not None and len(entry.tag) != TAG_BYTES)
        ):
            return None
        must_be = (
            e.FORMAT,
            e.HOLD,
            entry.nonce,
            entry.time_ns,
            header.writer,
            header.epoch,
            account,
            sequence,
            available,
            held_now,
            inference,
            None,
            entry.part,
            entry.try_,
            entry.key_id,
            entry.model,
            entry.sheet_version,
            entry.prompt_tokens,
            entry.completion_tokens,
            0,
            entry.upstream,
            entry.node,
            None,
            None,
            None,
            None,
            entry.actor,
            entry.reason,
            entry.tag,
            ((e.USD, balance.available_account, -held), (e.USD, balance.held_account, held)),
        )
        if encode_fields(must_be) != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        replay.balances[account] = balance
        inferences.open_hold(entry, entry_bytes, held, listed, cost)
        if self._lowest is None or available < self._lowest:
            self._lowest = available
        self._holds += 1
        self._held += held
        return entry

    def _take_settle(self, entry_bytes: bytes, header: Header, replay: Replay, figures: Figures) -> Entry | None:
        """Take the charge of a call that was sent where it said, and cost less than its hold."""
        entry = read_entry(entry_bytes)
        inference, flags = entry.inference or "", entry.flags
        hold = replay.inferences.open.get(inference)
        if hold is None or hold.most is None or flags & _OVERRUN or not hold.is_sent_only(entry):
            return None
        began, held = hold.entry, hold.held
        account, cost = began.account, list_price(hold.listed, entry)
        balance = replay.balances.get(account or "")
        if account is None or balance is None or cost is None:
            return None
        base, fee = cost
        total = base + fee
        postings = entry.postings
        bill = postings[0][2] if postings and postings[0][0] == e.NGONKA else 0  # its own to say, if it is one
        available, held_now, sequence = balance.available + held - total, balance.held - held, balance.sequence + 1
        if (
            not 0 < base <= total < held <= e.AMOUNT_MAX
            or held != hold.most[0] + hold.most[1]
            or held_now < 0
            or not 0 <= bill <= e.AMOUNT_MAX
            or hold.ended
            or not len(entry.nonce) == len(header.writer) == e.ID_BYTES
        ):
            return None
        must_be = (
            e.FORMAT,
            e.SETTLE,
            entry.nonce,
            entry.time_ns,
            header.writer,
            header.epoch,
            account,
            sequence,
            available,
            held_now,
            inference,
            hold.id,
            entry.part,
            entry.try_,
            began.key_id,
            began.model,
            began.sheet_version,
            entry.prompt_tokens,
            entry.completion_tokens,
            flags,
            entry.upstream,
            entry.node,
            entry.upstream_reference,
            None,
            None,
            None,
            entry.actor,
            entry.reason,
            began.tag,
            _post_charge(balance, entry.upstream, bill, held, base, fee),
        )
        if encode_fields(must_be) != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        del replay.inferences.open[inference]
        self._charge_max = max(self._charge_max, total)
        figures.count_sent(entry, bill, 0)
        figures.count_spent(began, total)
        self._settles += 1
        self._ended += held
        self._base, self._fees, self._bills = self._base + base, self._fees + fee, self._bills + bill
        return entry


def _post_charge(
    balance: Balance, upstream: str | None, bill: int, held: int, base: int, fee: int
) -> tuple[Posting, ...]:
    """Return what a charge below its hold posts, with the upstream's bill, if any, paid."""
    available, released = (e.USD, balance.available_account, held - base - fee), (e.USD, balance.held_account, -held)
    income = (e.USD, e.INCOME_BASE, base)
    if not bill:
        return (available, released, income, (e.USD, e.INCOME_FEE, fee)) if fee else (available, released, income)
    paid, owed = (e.NGONKA, e.COST_PAID, bill), (e.NGONKA, _payable_of(upstream or ""), -bill)
    if not fee:
        return (paid, owed, available, released, income)
    return (paid, owed, available, released, income, (e.USD, e.INCOME_FEE, fee))


@lru_cache(maxsize=1024)
def _payable_of(upstream: str) -> str:
    return e.payable_account(upstream)
