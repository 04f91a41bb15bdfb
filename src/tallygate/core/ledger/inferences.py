"""The audit's replay of inferences: what was held for each at which prices, what was sent, and how it ended.

Keeps the price sheets and the open holds, and forgets an inference when it has ended; so its memory grows with what
is open, not with the history. It never trusts an entry, and never raises for one: a fault is told in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.rules import amount_of
from tallygate.core.pricing import Cost, Sheet, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry


@dataclass(slots=True)
class OpenHold:
    """A hold that has not ended.

    Attributes:
        id: Of its entry.
        entry: The hold itself.
        most: What its bounds cost at its sheet; None where that is not known.
        sendings: Part and try of those that have not ended: the id of the entry that began them (None for the one
            that the hold began) and their upstream.
    """

    id: bytes
    entry: Entry
    most: Cost | None
    sendings: dict[tuple[int | None, int | None], tuple[bytes | None, str | None]]


class Inferences:
    """Price sheets and open holds, as far as the entries that were taken tell."""

    def __init__(self) -> None:
        self.open: dict[str, OpenHold] = {}
        self._sheets: dict[int, Sheet] = {}
        self._in_force = 0

    def take(self, entry: Entry, this_id: bytes) -> Iterator[str]:
        """Replay one entry; the faults come as they are found, so all of them have to be asked for."""
        if entry.kind == e.SHEET:
            yield from self._take_sheet(entry)
        elif entry.kind == e.HOLD:
            yield from self._take_hold(entry, this_id)
        elif entry.kind == e.ATTEMPT:
            yield from self._take_attempt(entry, this_id)
        elif entry.kind in e.ENDINGS:
            yield from self._take_ending(entry)

    def _take_sheet(self, entry: Entry) -> Iterator[str]:
        try:
            sheet = Sheet.decode(entry.reason or "")
        except ValueError as error:
            yield f"not a price sheet: {error}"
            return
        if sheet.version != entry.sheet_version or sheet.version != self._in_force + 1:
            yield f"sheet version {sheet.version} is out of order"
        self._in_force = sheet.version
        self._sheets[sheet.version] = sheet

    def _take_hold(self, entry: Entry, this_id: bytes) -> Iterator[str]:
        inference = entry.inference or ""
        if inference in self.open:
            yield f"inference {inference} has a hold already"
        most = self._list_price(entry, entry)
        self.open[inference] = OpenHold(this_id, entry, most, {(entry.part, entry.try_): (None, entry.upstream)})
        if most is None:
            yield "names no price on a known sheet"
        elif amount_of(entry, e.USD, e.held_account(entry.account or "")) != most.total:
            yield f"does not hold what its bounds cost at sheet {entry.sheet_version}"
        if entry.sheet_version != self._in_force:
            yield f"is priced by sheet {entry.sheet_version} while sheet {self._in_force} is in force"

    def _take_attempt(self, entry: Entry, this_id: bytes) -> Iterator[str]:
        hold = self.open.get(entry.inference or "")
        if hold is None:
            yield f"inference {entry.inference} has no open hold"
            return
        key = (entry.part, entry.try_)
        if entry.completion_tokens is None:
            if key in hold.sendings:
                yield "begins a sending that is under way"
            if entry.postings or entry.ends is not None:
                yield "begins a sending, and yet bills or ends one"
            hold.sendings[key] = (this_id, entry.upstream)
        elif hold.sendings.pop(key, None) != (entry.ends, entry.upstream):
            yield "ends another sending than it names"

    def _take_ending(self, entry: Entry) -> Iterator[str]:
        hold = self.open.get(entry.inference or "")
        if hold is None or hold.id != entry.ends:
            yield f"inference {entry.inference} has no open hold that this could end"
            return
        del self.open[entry.inference or ""]
        began = hold.entry
        held = amount_of(began, e.USD, e.held_account(began.account or ""))
        if entry.account != began.account or amount_of(entry, e.USD, e.held_account(entry.account or "")) != -held:
            yield "does not release just what its hold took"
        if _charged(entry).total > held:
            yield "charges more than its hold"
        if (entry.key_id, entry.model, entry.sheet_version) != (began.key_id, began.model, began.sheet_version):
            yield "names another key, model or sheet than its hold"
        yield from _find_sending_faults(entry, hold)
        if entry.kind == e.SETTLE or entry.flags & Flag.CHARGED_AFTER_CRASH:
            yield from self._find_charge_faults(entry, hold)
        elif _charged(entry).total:
            yield "a voided inference was charged"
        yield from self._find_memo_faults(entry, hold)

    def _find_charge_faults(self, entry: Entry, hold: OpenHold) -> Iterator[str]:
        listed = self._list_price(hold.entry, entry)
        if listed is None or hold.most is None:
            yield "cannot be priced"
            return
        due = listed if listed.total <= hold.most.total else hold.most
        charged = _charged(entry)
        if charged != due:
            yield (
                f"charged {charged.base} + {charged.fee}, sheet {hold.entry.sheet_version} gives {due.base} + {due.fee}"
            )

    def _find_memo_faults(self, entry: Entry, hold: OpenHold) -> Iterator[str]:
        """Check overrun and crash loss: their flag, their price on the list, and their share of the bill."""
        listed = self._list_price(hold.entry, entry)
        if listed is None or hold.most is None:
            return
        unpaid = amount_of(entry, e.NGONKA, e.COST_UNPAID)
        billed = unpaid + amount_of(entry, e.NGONKA, e.COST_PAID)
        over = entry.kind == e.SETTLE and listed.total > hold.most.total
        if bool(entry.flags & Flag.OVERRUN) != over:
            yield "overrun is not marked as it is"
        memo: tuple[int | None, int | None] = (None, None)
        share = 0
        if over:
            whole, lost = listed.total, listed.total - hold.most.total
            share = -(-billed * lost // whole)
            memo = (share, lost)
        elif entry.kind == e.EXPIRE:
            whole = hold.most.total * len(hold.sendings)
            lost = max(whole - _charged(entry).total, 0)
            share = -(-billed * lost // whole) if whole else billed
            memo = (share, lost)
        elif entry.kind == e.VOID:
            share = billed
        if unpaid != share:
            yield f"leaves {unpaid} of {billed} ngonka unpaid, not {share}"
        if (entry.overrun_ngonka, entry.overrun_list_picousd) != memo:
            yield f"tells another overrun or loss than {memo}"

    def _list_price(self, hold: Entry, tokens: Entry) -> Cost | None:
        """Return what an entry's tokens cost at a hold's sheet, or None where nobody can tell."""
        sheet = self._sheets.get(hold.sheet_version or 0)
        price = None if sheet is None else sheet.prices.get(hold.model or "")
        prompt, completion = tokens.prompt_tokens, tokens.completion_tokens
        if sheet is None or price is None or prompt is None or completion is None or prompt < 0 or completion < 0:
            return None
        return cost_of(price, sheet.fee_ppm, prompt, completion)


def _find_sending_faults(entry: Entry, hold: OpenHold) -> Iterator[str]:
    """Check that an ending ends the last sending, and no other is left; an expiry ends all that it finds."""
    last = hold.sendings.get((entry.part, entry.try_))
    if entry.kind != e.EXPIRE:
        if len(hold.sendings) != 1 or last is None or last[1] != entry.upstream:
            yield "does not end the one sending that is under way"
        return
    if hold.sendings and (last is None or last[1] != entry.upstream):
        yield "names a sending that is not under way"
    payables = {e.payable_account(upstream or "") for _, upstream in hold.sendings.values()}
    if any(name.endswith("/payable") and name not in payables for _, name, _ in entry.postings):
        yield "bills an upstream that it was not sent to"


def _charged(entry: Entry) -> Cost:
    return Cost(amount_of(entry, e.USD, e.INCOME_BASE), amount_of(entry, e.USD, e.INCOME_FEE))
