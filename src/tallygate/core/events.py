"""What the operator is told, above all of accounts: that one runs low, is out of money, that a call has overrun.

An event is told once, by what caused it:

* `account.low_balance` by the entry that takes a balance (what is held included) from the threshold or above to below
  it. Money that comes in lifts it again; the next crossing is told again. An account that was never at the threshold
  does not cross it.
* `account.empty` by the first call that an account cannot pay for (`insufficient_balance`), and then not again until
  money has come in. Refusals are in no book, so a new start of the gateway has forgotten it, and may tell once more.
* `account.overrun` by the entry that ends an inference whose upstream reported more than was set aside.

The first and the last can be read off an entry alone, whatever the state around it: so a store can keep them in the
very commit that makes the entry durable. Amounts are exact texts; there is no text of a caller in any event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tallygate.core.errors import Refusal
    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.records import HoldRequest, Written

LOW_BALANCE: Final = "account.low_balance"
EMPTY: Final = "account.empty"
OVERRUN: Final = "account.overrun"

_OVERRUN: Final = int(Flag.OVERRUN)  # arithmetic with members of a flag is slow, and this is done for every charge

_LOWERING: Final = frozenset({e.SETTLE, e.EXPIRE, e.CORRECTION})
"""The kinds of entries that can make a balance less: all others leave it, or add to it."""


class OperatorEvent(NamedTuple):
    """Something that the operator is told.

    Attributes:
        type: What happened.
        time_ns: When.
        data: The ids and amounts that belong to it.
        level: How urgent it is in the log.
    """

    type: str
    time_ns: int
    data: Mapping[str, str]
    level: Literal["info", "warning", "error"] = "warning"


def find_events(written: Written, low_balance_picousd: int | None) -> Iterator[OperatorEvent]:
    """Tell what an entry means for the operator.

    Args:
        written: The entry.
        low_balance_picousd: The threshold of `account.low_balance`; None tells of no such event.
    """
    entry = written.entry
    if entry.kind not in _LOWERING:
        return
    if low_balance_picousd is not None and _crosses(entry, low_balance_picousd):
        available = entry.available_after or 0
        low = {
            "balance_usd": format_usd(available + (entry.held_after or 0)),
            "available_usd": format_usd(available),
            "threshold_usd": format_usd(low_balance_picousd),
        }
        yield OperatorEvent(LOW_BALANCE, entry.time_ns, _name(written) | low)
    if (entry.flags or 0) & _OVERRUN:
        overrun = {
            "upstream": entry.upstream or "",
            "overrun_usd": format_usd(entry.overrun_list_picousd or 0),
            "overrun_ngonka": str(entry.overrun_ngonka or 0),
        }
        yield OperatorEvent(OVERRUN, entry.time_ns, _name(written) | overrun)


def out_of_money(request: HoldRequest, refusal: Refusal, time_ns: int) -> OperatorEvent:
    """Return the event of a call that its account cannot pay for."""
    data = {"account": request.account, "model": request.model, **(refusal.metadata or {})}
    return OperatorEvent(EMPTY, time_ns, data)


def _name(written: Written) -> dict[str, str]:
    """Return the ids of what an entry is about."""
    entry = written.entry
    names = {"account": entry.account or "", "entry": written.id.hex()}
    return names if entry.inference is None else names | {"inference": entry.inference, "model": entry.model or ""}


def _crosses(entry: Entry, threshold_picousd: int) -> bool:
    """Return whether an entry takes its account's balance from a threshold or above to below it."""
    after = (entry.available_after or 0) + (entry.held_after or 0)
    if after >= threshold_picousd:
        return False
    own = (e.available_account(entry.account or ""), e.held_account(entry.account or ""))
    change = sum(amount for _, name, amount in entry.postings if name in own)
    return threshold_picousd <= after - change
