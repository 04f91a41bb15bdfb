"""One inference retold from its entries alone: do they fit together, and what do they say in words?

For a receipt, which has the entries of one inference and perhaps the price sheet that was in force. `inferences` asks
the same of the whole books, and more; here the reader has nothing else, and wants to be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.money import format_usd
from tallygate.core.pricing import Cost, Sheet, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry

_COUNTED_BY_US = Flag.ESTIMATED | Flag.CHARGED_AFTER_CRASH


class Story:
    """One inference, entry by entry.

    Args:
        inference: Its id.
    """

    def __init__(self, inference: str) -> None:
        self._inference = inference
        self._sheet: Sheet | None = None
        self._hold: Entry | None = None
        self._hold_id = b""
        self._sendings = 1
        self._parts = {0}
        self._ending: Entry | None = None

    def take(self, entry: Entry, this_id: bytes) -> Iterator[str]:
        """Take the next entry; the faults come as they are found, so all of them have to be asked for."""
        if entry.kind == e.SHEET and self._hold is None and self._sheet is None:
            yield from self._take_sheet(entry)
        elif entry.inference != self._inference:
            yield "belongs to another inference"
        elif entry.kind == e.HOLD and self._hold is None:
            self._hold, self._hold_id = entry, this_id
            yield from self._find_hold_faults(entry)
        elif self._hold is None or self._ending is not None:
            yield "has no place in the life of an inference"
        elif entry.kind == e.ATTEMPT:
            self._sendings += entry.completion_tokens is None
            self._parts.add(entry.part or 0)
        elif entry.kind in e.ENDINGS:
            self._ending = entry
            yield from self._find_ending_faults(entry, self._hold)
        else:
            yield "has no place in the life of an inference"

    def finish(self) -> Iterator[str]:
        """Return what is missing."""
        if self._hold is None:
            yield "there is no hold: this is no inference"

    def tell(self) -> Iterator[str]:
        """Return what the entries say."""
        hold, ending = self._hold, self._ending
        if hold is None:
            return
        without = "" if self._sheet else ", which is not part of this receipt"
        yield f"account {hold.account} asked for model {hold.model}, priced by sheet {hold.sheet_version}{without}"
        yield (
            f"${format_usd(_held(hold))} was held, for at most {hold.prompt_tokens} prompt "
            f"and {hold.completion_tokens} completion tokens"
        )
        parts = f", as {len(self._parts)} prompts" if len(self._parts) > 1 else ""
        yield f"it was sent {self._sendings} time{'s' if self._sendings > 1 else ''}{parts}"
        if ending is None:
            yield "it had not ended yet"
            return
        charge = _charged(ending)
        if not charge.total and ending.kind != e.SETTLE:
            yield f"it ended ({ending.kind}) and cost nothing: all that was held was given back"
            return
        counted = "counted by the gateway" if ending.flags & _COUNTED_BY_US else "as the network reported them"
        yield (
            f"it ended ({ending.kind}) with {ending.prompt_tokens} prompt and {ending.completion_tokens} completion "
            f"tokens, {counted}"
        )
        yield (
            f"${format_usd(charge.total)} was charged: ${format_usd(charge.base)} base cost "
            f"and ${format_usd(charge.fee)} platform fee; the rest of the hold was given back"
        )
        if self._sheet is not None:
            yield "that charge is what the price sheet gives for those tokens, and no more than was held"

    def _take_sheet(self, entry: Entry) -> Iterator[str]:
        try:
            self._sheet = Sheet.decode(entry.reason or "")
        except ValueError as error:
            yield f"not a price sheet: {error}"
            return
        if self._sheet.version != entry.sheet_version:
            yield "is another version than it says"

    def _find_hold_faults(self, hold: Entry) -> Iterator[str]:
        if self._sheet is None:
            return
        most = self._price(hold)
        if self._sheet.version != hold.sheet_version:
            yield "is priced by another sheet than the one that is here"
        elif most is None:
            yield "cannot be priced by its sheet"
        elif most.total != _held(hold):
            yield "does not hold what its bounds cost"

    def _find_ending_faults(self, ending: Entry, hold: Entry) -> Iterator[str]:
        if ending.ends != self._hold_id:
            yield "ends another hold"
        if _bond(ending) != _bond(hold):
            yield "names another account, key, model, sheet or tag than its hold"
        if _held(ending) != -_held(hold):
            yield "does not release just what its hold took"
        charge, listed, most = _charged(ending), self._price(ending), self._price(hold)
        if charge.total > _held(hold):
            yield "charges more than its hold"
        if ending.kind != e.SETTLE and not ending.flags & Flag.CHARGED_AFTER_CRASH:
            if charge.total:
                yield "charges for an inference that was given back"
        elif self._sheet is not None:
            if listed is None or most is None:
                yield "cannot be priced by its sheet"
            elif charge != (due := listed if listed.total <= most.total else most):
                yield f"charges {charge.base} + {charge.fee} pico-dollars, the sheet gives {due.base} + {due.fee}"

    def _price(self, tokens: Entry) -> Cost | None:
        """Return what an entry's tokens cost, None without a sheet that can tell."""
        price = None if self._sheet is None else self._sheet.prices.get(tokens.model or "")
        prompt, completion = tokens.prompt_tokens, tokens.completion_tokens
        if self._sheet is None or price is None or prompt is None or completion is None or min(prompt, completion) < 0:
            return None
        return cost_of(price, self._sheet.fee_ppm, prompt, completion)


def _bond(entry: Entry) -> tuple[object, ...]:
    return entry.account, entry.key_id, entry.model, entry.sheet_version, entry.tag


def _held(entry: Entry) -> int:
    return e.amount_of(entry, e.USD, e.held_account(entry.account or ""))


def _charged(entry: Entry) -> Cost:
    return Cost(e.amount_of(entry, e.USD, e.INCOME_BASE), e.amount_of(entry, e.USD, e.INCOME_FEE))
