"""The entries that a long history is made of, taken at one look: a hold, and the charge or release that ends it.

`rules`, `inferences` and `replay` ask of an entry one question after the other, and have words for every fault. Here
the same is asked from the other side, and at once: of an ordinary one nearly all follows from what came before. So the
entry is written as it has to be, with what is its own to say (when, how many tokens, where it was sent), and must then
be the one that was found, byte for byte. That one comparison stands for all of them: an encoding is the same only where
every field is, and it is the canonical one, too. Nothing is read but what is an entry's own to say, nothing is asked
that the comparison answers, and what is counted is kept in few sums. It takes a third of the time
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
from tallygate.core.audit.rules import AVAILABLE, BASE, FEE, HELD, PAID, PAYABLE, UNPAID
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import (
    AMOUNT_MAX,
    COST_PAID,
    COST_UNPAID,
    FORMAT,
    HOLD,
    INCOME_BASE,
    INCOME_FEE,
    NGONKA,
    SETTLE,
    UNREADABLE,
    USD,
    VOID,
    Facts,
    Flag,
    Posting,
    encode_fields,
    entry_id,
)

if TYPE_CHECKING:
    from tallygate.core.audit.figures import Figures
    from tallygate.core.audit.replay import Replay
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


class _Ending(Facts, array_like=True, frozen=True, gc=False):
    """An ordinary charge or release. Of its postings the first is read, which may be the upstream's bill."""

    nonce: _Id
    writer: _Id
    inference: _Text = ""
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    postings: _First = _First()


_read_hold = msgspec.msgpack.Decoder(_Hold).decode
_read_ending = msgspec.msgpack.Decoder(_Ending).decode

_NOT_ORDINARY: Final = (*UNREADABLE, OverflowError)
"""Bytes that cannot be read; or a balance of forged books that is too large to be written."""
_RARE = int(Flag.OVERRUN | Flag.CHARGED_AFTER_CRASH)
_HOLD: Final = e.beginning_of(HOLD)
_SETTLE: Final = e.beginning_of(SETTLE)
_VOID: Final = e.beginning_of(VOID)


class Plain:
    """Takes ordinary holds and endings, and counts them; `pour` adds to the figures what has been counted since.

    Its sums are kept apart since six additions to a mapping would cost as much as all comparisons of an entry; and
    what can be made of other sums in the end is not summed up.
    """

    __slots__ = ("_base", "_charge_max", "_ended", "_held", "_holds", "_lowest", "_sent", "_spent", "_voids")

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._holds = self._voids = self._held = self._ended = self._base = self._charge_max = 0
        self._lowest: int | None = None
        self._sent: dict[tuple[str | None, str | None, int], Sent] = {}
        self._spent: dict[tuple[str, str | None, int], int] = {}

    def pour(self, figures: Figures) -> None:
        """Add what was counted to the figures, and count from zero."""
        if not self._holds and not self._sent:
            return
        settles = sum(sent.sendings for sent in self._sent.values()) - self._voids
        counts = {HOLD: self._holds, SETTLE: settles, VOID: self._voids}
        figures.kinds.update({kind: count for kind, count in counts.items() if count})
        figures.charged += settles
        paid, unpaid = (sum(getattr(sent, name) for sent in self._sent.values()) for name in ("paid", "unpaid"))
        charged = sum(self._spent.values())
        figures.totals.update(
            {
                PAID: paid,
                UNPAID: unpaid,
                PAYABLE: -paid - unpaid,
                AVAILABLE: self._ended - charged - self._held,
                HELD: self._held - self._ended,
                BASE: self._base,
                FEE: charged - self._base,
            }
        )
        if self._lowest is not None:
            figures.note_lowest(HOLD, self._lowest)
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
                return self._take_ending(entry_bytes, header, replay, SETTLE)
            if entry_bytes.startswith(_HOLD):
                return self._take_hold(entry_bytes, header, replay)
            if entry_bytes.startswith(_VOID):
                return self._take_ending(entry_bytes, header, replay, VOID)
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
        known = replay.balances.get(account)
        balance = known or replay.meet_account(entry, -held, held)
        available, held_now, sequence = balance.available - held, balance.held + held, balance.sequence + 1
        if not 0 < held <= AMOUNT_MAX or available < 0 or held_now < 0:
            return None
        must_be = (
            FORMAT,
            HOLD,
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
            None,
            None,
            None,
            None,
            entry.actor,
            entry.reason,
            entry.tag,
            ((USD, f"account/{account}/available", -held), (USD, f"account/{account}/held", held)),
        )
        if encode_fields(must_be) != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        if known is None:
            replay.balances[account] = balance
        inferences.open[inference] = OpenHold(entry_id(entry_bytes), entry, held, listed, cost)
        if inferences.began is not None:
            inferences.began.append(inference)
        if self._lowest is None or available < self._lowest:
            self._lowest = available
        self._holds += 1
        self._held += held
        return entry

    def _take_ending(self, entry_bytes: bytes, header: Header, replay: Replay, kind: str) -> Facts | None:
        """Take the charge of a call that cost less than its hold, or the release of one that is not charged."""
        entry = _read_ending(entry_bytes)
        inference, flags = entry.inference, entry.flags
        hold = replay.inferences.open.get(inference)
        if hold is None or hold.listed is None or hold.ended is not None or flags & _RARE:
            return None
        began, held = hold.entry, hold.held
        sending = began if hold.changed is None else hold.only_sending
        balance = replay.balances.get(began.account or "")
        # An ordinary hold took what its bounds cost, and that is more than nothing.
        if sending is None or balance is None or not isinstance(began, _Hold):
            return None
        account, prompt, completion = began.account, entry.prompt_tokens, entry.completion_tokens
        first = entry.postings.posting
        bill = first[2] if first is not None and first[0] == NGONKA else 0  # its own to say, if it is one
        base, fee = hold.listed.price(prompt, completion) if kind == SETTLE else (0, 0)
        total = base + fee
        released, held_now = held - total, balance.held - held
        available, sequence = balance.available + released, balance.sequence + 1
        if not (base > 0 or kind == VOID) or not base <= total < held <= balance.held or not 0 <= bill <= AMOUNT_MAX:
            return None
        must_be = (
            FORMAT,
            kind,
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
            sending.part,
            sending.try_,
            began.key_id,
            began.model,
            began.sheet_version,
            prompt,
            completion,
            flags,
            sending.upstream,
            entry.node,
            entry.upstream_reference,
            None,
            None,
            None,
            entry.actor,
            entry.reason,
            began.tag,
            _post(account, sending.upstream or "", bill, released, held, base, fee),
        )
        if encode_fields(must_be) != entry_bytes:
            return None
        balance.available, balance.held, balance.sequence = available, held_now, sequence
        del replay.inferences.open[inference]
        self._ended += held
        self._count_sent(entry, kind, bill)
        if total:
            self._count_charge(began, base, total)
        return entry

    def _count_sent(self, entry: _Ending, kind: str, bill: int) -> None:
        """Count a sending by where it went."""
        key = (entry.upstream, entry.node, entry.time_ns // DAY_NS)
        sent = self._sent.get(key)
        if sent is None:
            sent = self._sent[key] = Sent()
        sent.sendings += 1
        sent.prompt_tokens += entry.prompt_tokens
        sent.completion_tokens += entry.completion_tokens
        if kind == SETTLE:
            sent.paid += bill
        else:
            sent.unpaid += bill
            self._voids += 1

    def _count_charge(self, began: _Hold, base: int, total: int) -> None:
        """Count a charge by who has paid it."""
        self._base += base
        self._charge_max = max(self._charge_max, total)
        of_key = (began.account, began.key_id, began.time_ns // DAY_NS)
        self._spent[of_key] = self._spent.get(of_key, 0) + total


def _post(account: str, upstream: str, bill: int, released: int, held: int, base: int, fee: int) -> tuple[Posting, ...]:
    """Return the postings of a charge, or of a release where there is no base; what is zero is not posted."""
    posted = (
        (NGONKA, COST_PAID if base else COST_UNPAID, bill),
        (NGONKA, _owed_to(upstream), -bill),
        (USD, f"account/{account}/available", released),
        (USD, f"account/{account}/held", -held),
        (USD, INCOME_BASE, base),
        (USD, INCOME_FEE, fee),
    )
    return posted if bill and fee else tuple(posting for posting in posted if posting[2])


_owed_to: Final = lru_cache(maxsize=1024)(e.payable_account)
