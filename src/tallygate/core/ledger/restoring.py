"""Takes up what a start finds in the store: price sheets, and open holds from their entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger.records import Hold, Sending
from tallygate.core.pricing import cost_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.books import Books
    from tallygate.core.ledger.entry import Entry
    from tallygate.core.pricing import Sheet


def restore_sheet(books: Books, sheet: Sheet, time_ns: int = 0) -> None:
    """Take up a price sheet version, and when it was published."""
    books.sheets[sheet.version] = sheet
    if sheet.version > books.sheet.version:
        books.sheet, books.sheet_ns = sheet, time_ns


def restore_hold(books: Books, entries: Sequence[tuple[bytes, Entry]]) -> None:
    """Take up an open hold from its entries with their ids: the hold, then its attempts, in their order."""
    hold_id, first = entries[0]
    sheet = books.sheets[first.sheet_version or 0]
    model, inference = first.model or "", first.inference or ""
    prompt_max, completion_max = first.prompt_tokens or 0, first.completion_tokens or 0
    price = sheet.prices[model]
    hold = Hold(
        hold_id,
        inference,
        books.account(first.account or ""),
        first.key_id,
        model,
        sheet.version,
        price,
        sheet.fee_ppm,
        prompt_max,
        completion_max,
        cost_of(price, sheet.fee_ppm, prompt_max, completion_max),
        {_sending(first): None},
        first.time_ns,
        {_sending(first)[:2]},
        first.tag,
    )
    for attempt_id, attempt in entries[1:]:
        if attempt.completion_tokens is None:
            hold.open_sendings[_sending(attempt)] = attempt_id
            hold.begun.add(_sending(attempt)[:2])
        else:
            hold.open_sendings.pop(_sending(attempt), None)
    books.holds[inference] = hold
    books.spendings.set_aside(hold)


def _sending(entry: Entry) -> Sending:
    return Sending(entry.part or 0, entry.try_ or 0, entry.upstream or "", entry.node)
