"""What a hold without an owner comes to: what its caller is charged, and what a crash may have cost the operator.

Nobody knows what became of the sendings that were open. The network may have billed them for all that the hold allowed
(`parts` says how several share it); that is what is booked, so that the operator's loss is never understated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.parts import count_layers
from tallygate.core.ledger.records import Sending, SendingEnd
from tallygate.core.pricing import BILL_NGONKA_MAX, FREE, Cost, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.ledger.records import Hold
    from tallygate.core.usage import Usage


class CrashLoss(NamedTuple):
    """How an expiry is booked.

    Attributes:
        end: The last sending, with the tokens that are charged.
        cost: What the caller is charged.
        bills: What each upstream may have billed, in ngonka.
        unpaid_ngonka: How much of that no customer paid for.
        list_picousd: What the operator lost, at list price.
        flags: What was special about the charge.
    """

    end: SendingEnd
    cost: Cost
    bills: dict[str, int]
    unpaid_ngonka: int
    list_picousd: int
    flags: Flag


def find_crash_loss(hold: Hold, bill: Callable[[str, int, int], int], usage: Usage | None) -> CrashLoss:
    """Return what a hold comes to that was found without an owner.

    Args:
        hold: The hold, with the sendings that were open.
        bill: What an upstream, by name, may have billed for so many tokens, in ngonka.
        usage: What the caller is charged for; None gives all of the hold back.
    """
    bills: dict[str, int] = {}
    left = BILL_NGONKA_MAX  # all that may have been billed together: a start must never fail over a sum
    for upstream in dict.fromkeys(sending.upstream for sending in hold.open_sendings):
        here = [sending for sending in hold.open_sendings if sending.upstream == upstream]
        layers = count_layers(here)
        possible = layers * bill(upstream, hold.prompt_tokens_max, hold.completion_tokens_max)
        possible += (len(here) - layers) * bill(upstream, 0, 0)  # what the others cost beside their tokens
        bills[upstream] = min(possible, left)
        left -= bills[upstream]
    cost, flags, prompt, completion = FREE, Flag(0), 0, 0
    if usage is not None and hold.open_sendings:  # with none open, all sendings had failed: nobody pays for those
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        flags = usage.flags | Flag.CHARGED_AFTER_CRASH
        cost = cost_of(hold.price, hold.fee_ppm, prompt, completion)
        if cost.total > hold.cost.total:
            cost = hold.cost
    listed = hold.cost.total * count_layers(hold.open_sendings)
    billed, lost = sum(bills.values()), max(listed - cost.total, 0)
    unpaid = -(-billed * lost // listed) if listed else billed
    last = next(reversed(hold.open_sendings), Sending(0, 0, "", None))
    return CrashLoss(SendingEnd(last, prompt, completion, 0), cost, bills, unpaid, lost, flags)
