"""The two entries that a long history is made of, taken at one look: a hold, and the charge that ends it.

`rules`, `inferences` and `replay` ask of an entry one question after the other, and have words for every fault. Here
the same is asked from the other side, and at once: of an ordinary hold or charge nearly all follows from what came
before. So the entry is written as it has to be, with what is its own to say (when, how many tokens, where it was
sent), and must then be the one that was found, byte for byte. That one comparison stands for all of them: an encoding
is the same only where every field is, and it is the canonical one, too. Nothing is read but what is an entry's own to
say, nothing is asked that the comparison answers, and what is counted is kept in few sums. It takes a third of the time
(`benchmarks/README.md` has what a long history takes).

Invariant: what is taken here, the long way would have taken without a word, and counted alike. Whatever is odd, and
also what is right but rare, is left untouched for the long way: so there are no words here, and no rule has a second
home. `tests/core/audit/test_plain.py` holds the two against each other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from tallygate.core.audit.figures import DAY_NS, Sent
from tallygate.core.audit.inferences import TAG_BYTES, OpenHold
from tallygate.core.audit.rules import AVAILABLE, BASE, FEE, HELD, PAID, PAYABLE
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import (
    AMOUNT_MAX,
    NGONKA,
    UNREADABLE,
    Facts,
    Flag,
    beginning_of,
    beginning_of_posting,
    beginning_of_postings,
    encode_pieces,
    entry_id,
    nils,
)

if TYPE_CHECKING:
    from msgspec import Raw

    from tallygate.core.audit.figures import Figures
    from tallygate.core.audit.replay import Balance, Replay
    from tallygate.core.ledger.batch import Header

_Id = Annotated[bytes, msgspec.Meta(min_length=e.ID_BYTES, max_length=e.ID_BYTES)]
_Tag = Annotated[bytes, msgspec.Meta(min_length=TAG_BYTES, max_length=TAG_BYTES)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Hold(Facts, array_like=True, frozen=True, gc=False):
    """An ordinary hold. Its postings are not read, since they are known."""

    nonce: _Id
    writer: _Id
    account: str = ""
    inference: _Text = ""
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    tag: _Tag | None = None


class _First(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first of an entry's postings, if there is one; the others are passed over."""

    posting: tuple[str, str, int] | None = None


class _Settle(Facts, array_like=True, frozen=True, gc=False):
    """An ordinary charge. Of its postings the first is read, which may be the upstream's bill."""

    nonce: _Id
    writer: _Id
    inference: _Text = ""
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    postings: _First = _First()


_read_hold = msgspec.msgpack.Decoder(_Hold).decode
_read_settle = msgspec.msgpack.Decoder(_Settle).decode

_NOT_ORDINARY: Final = (*UNREADABLE, OverflowError)
"""Bytes that cannot be read; or a balance of forged books that is too large to be written."""
_OVERRUN = int(Flag.OVERRUN)
_HOLD: Final = beginning_of(e.HOLD)
_SETTLE: Final = beginning_of(e.SETTLE)
_NILS_3: Final = nils(3)
_NILS_4: Final = nils(4)
_POSTINGS: Final = [beginning_of_postings(count) for count in range(7)]
_TWO: Final = _POSTINGS[2]
_SIX: Final = _POSTINGS[6]
_PAID: Final = beginning_of_posting(e.NGONKA, e.COST_PAID)
_BASE: Final = beginning_of_posting(e.USD, e.INCOME_BASE)
_FEE: Final = beginning_of_posting(e.USD, e.INCOME_FEE)


class Plain:
    """Takes ordinary holds and charges, and counts them; `pour` adds to the figures what has been counted since.

    Its sums are kept apart since six additions to a mapping would cost as much as all comparisons of an entry; and
    what can be made of other sums in the end is not summed up.
    """

    __slots__ = ("_base", "_charge_max", "_ended", "_held", "_holds", "_lowest", "_sent", "_spent")

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._holds = self._held = self._ended = self._base = self._charge_max = 0
        self._lowest: int | None = None
        self._sent: dict[tuple[str | None, str | None, int], Sent] = {}
        self._spent: dict[tuple[str, str | None, int], int] = {}

    def pour(self, figures: Figures) -> None:
        """Add what was counted to the figures, and count from zero."""
        settles = sum(sent.sendings for sent in self._sent.values())
        if not self._holds and not settles:
            return
        figures.kinds.update({kind: n for kind, n in ((e.HOLD, self._holds), (e.SETTLE, settles)) if n})
        figures.charged += settles
        bills, charged = sum(sent.paid for sent in self._sent.values()), sum(self._spent.values())
        figures.totals.update(
            {
                PAID: bills,
                PAYABLE: -bills,
                AVAILABLE: self._ended - charged - self._held,
                HELD: self._held - self._ended,
                BASE: self._base,
                FEE: charged - self._base,
            }
        )
        if self._lowest is not None:
            figures.note_lowest(e.HOLD, self._lowest)
        figures.charge_max = max(figures.charge_max, self._charge_max)
        for (upstream, node, day), sent in self._sent.items():
            figures.sent.setdefault((upstream or "", node or "", day), Sent()).add(sent)
        for (account, key_id, day), picousd in self._spent.items():
            figures.count_spent_on(day, account, key_id, picousd)
        self._start()

    def take(self, entry_bytes: bytes, header: Header, replay: Replay) -> Facts | None:
        """Take an entry of a batch if it is of the ordinary kind and just as it must be; else None, and nothing."""
        try:
            if entry_bytes.startswith(_SETTLE):
                return self._take_settle(entry_bytes, header, replay)
            if entry_bytes.startswith(_HOLD):
                return self._take_hold(entry_bytes, header, replay)
        except _NOT_ORDINARY:
            pass
        return None

    def _take_hold(self, entry_bytes: bytes, header: Header, replay: Replay) -> Facts | None:
        """Take a hold at the price in force of money that its account has."""
        entry = _read_hold(entry_bytes)
        account, inference, inferences = entry.account, entry.inference, replay.inferences
        prompt, completion = entry.prompt_tokens, entry.completion_tokens
        listed = inferences.listed_in_force(entry)
        if listed is None or inference in inferences.open:
            return None
        cost = listed.price(prompt, completion)
        held = cost[0] + cost[1]
        balance = replay.balances.get(account)
        if balance is None:
            balance = replay.meet_account(entry, -held, held)
        available, held_now, sequence = balance.available - held, balance.held + held, balance.sequence + 1
        if not 0 < held <= AMOUNT_MAX or available < 0 or held_now < 0:
            return None
        of_available, of_held = balance.openings or _open_postings(balance, account)
        must_be = encode_pieces(
            (
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
                prompt,
                completion,
                0,
                entry.upstream,
                entry.node,
                _NILS_4,
                entry.actor,
                entry.reason,
                entry.tag,
                _TWO,
                of_available,
                -held,
                of_held,
                held,
            )
        )
        if _HOLD + must_be != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        replay.balances[account] = balance
        inferences.open[inference] = OpenHold(entry_id(entry_bytes), entry, held, listed, cost)
        if inferences.began is not None:
            inferences.began.append(inference)
        if self._lowest is None or available < self._lowest:
            self._lowest = available
        self._holds += 1
        self._held += held
        return entry

    def _take_settle(self, entry_bytes: bytes, header: Header, replay: Replay) -> Facts | None:
        """Take the charge of a call that was sent but once, and cost less than its hold."""
        entry = _read_settle(entry_bytes)
        inference, flags = entry.inference, entry.flags
        hold = replay.inferences.open.get(inference)
        if hold is None or hold.changed is not None or hold.listed is None or flags & _OVERRUN:
            return None
        began, held = hold.entry, hold.held
        if not isinstance(began, _Hold):  # else it holds what its bounds cost, and that is more than nothing
            return None
        account, prompt, completion = began.account, entry.prompt_tokens, entry.completion_tokens
        balance = replay.balances.get(account)
        if balance is None:
            return None
        base, fee = hold.listed.price(prompt, completion)
        total = base + fee
        first = entry.postings.posting
        bill = first[2] if first is not None and first[0] == NGONKA else 0  # its own to say, if it is one
        available, held_now, sequence = balance.available + held - total, balance.held - held, balance.sequence + 1
        if not 0 < base <= total < held or held_now < 0 or not 0 <= bill <= AMOUNT_MAX:
            return None
        upstream = began.upstream
        of_available, of_held = balance.openings or _open_postings(balance, account)
        released, owed = held - total, _owed_to(upstream or "")
        posted: tuple[Raw | int, ...] = (
            (_SIX, _PAID, bill, owed, -bill, of_available, released, of_held, -held, _BASE, base, _FEE, fee)
            if bill and fee
            else _post_charge((bill, owed), (of_available, released, of_held, -held, _BASE, base), fee)
        )
        must_be = encode_pieces(
            (  # noqa: RUF005  (unpacked, the second part would cost an instruction for each piece of the first)
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
                began.part,
                began.try_,
                began.key_id,
                began.model,
                began.sheet_version,
                prompt,
                completion,
                flags,
                upstream,
                entry.node,
                entry.upstream_reference,
                _NILS_3,
                entry.actor,
                entry.reason,
                began.tag,
            )
            + posted
        )
        if _SETTLE + must_be != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        del replay.inferences.open[inference]
        self._ended += held
        self._base += base
        self._count_charge(entry, began, bill, total)
        return entry

    def _count_charge(self, entry: _Settle, began: _Hold, bill: int, total: int) -> None:
        """Count a charge by who has paid it, and its sending by where it went."""
        self._charge_max = max(self._charge_max, total)
        sending = (entry.upstream, entry.node, entry.time_ns // DAY_NS)
        sent = self._sent.get(sending)
        if sent is None:
            sent = self._sent[sending] = Sent()
        sent.sendings += 1
        sent.prompt_tokens += entry.prompt_tokens
        sent.completion_tokens += entry.completion_tokens
        sent.paid += bill
        of_key = (began.account, began.key_id, began.time_ns // DAY_NS)
        self._spent[of_key] = self._spent.get(of_key, 0) + total


def _post_charge(bill: tuple[int, Raw], charged: tuple[Raw | int, ...], fee: int) -> tuple[Raw | int, ...]:
    """Return the pieces of a charge's postings where the upstream bills nothing, or there is no fee, or neither."""
    billed = (_PAID, bill[0], bill[1], -bill[0]) if bill[0] else ()
    fees = (_FEE, fee) if fee else ()
    return (_POSTINGS[3 + len(billed) // 2 + len(fees) // 2], *billed, *charged, *fees)


def _open_postings(balance: Balance, account: str) -> tuple[Raw, Raw]:
    """Return how postings to an account's available and held money begin; it is kept with the balance."""
    balance.openings = (
        beginning_of_posting(e.USD, e.available_account(account)),
        beginning_of_posting(e.USD, e.held_account(account)),
    )
    return balance.openings


@lru_cache(maxsize=1024)
def _owed_to(upstream: str) -> Raw:
    return beginning_of_posting(e.NGONKA, e.payable_account(upstream))
