"""The parts of one inference: how its ending ends the sendings of all of them, and who bears which bill.

Each part is sent by itself, so each has a bill of its own; the customer is charged once, for the tokens of all of them
together. Hence two rules of the books. Where a charge is cut to its hold, the same share of every bill is left unpaid,
rounded up for each. And since the parts share what was held in a way that no entry tells, what a crash may have cost is
counted in *layers*: one open sending of each part together costs at most the hold; a part that is under way twice at a
time makes another layer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger.entry import Flag
from tallygate.core.pricing import cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallygate.core.ledger.records import Hold, Sending, SendingEnd
    from tallygate.core.pricing import Cost
    from tallygate.core.usage import Usage


class Charge(NamedTuple):
    """What a customer is charged, and what of the bills the operator bears.

    Attributes:
        unpaid_ngonka: Of each part's bill.
        overrun: What was not charged for, in ngonka and at list price; None where all was.
    """

    cost: Cost
    flags: Flag
    unpaid_ngonka: Sequence[int]
    overrun: tuple[int | None, int | None]


def ends_all(hold: Hold, ends: Sequence[SendingEnd]) -> bool:
    """Return whether ends are those of all sendings that are open, one of each part."""
    begun = hold.open_sendings
    if len(ends) != len(begun):
        return False
    if len(ends) == 1:  # as nearly always
        return ends[0].sending in begun
    return all(end.sending in begun for end in ends) and len({end.sending.part for end in ends}) == len(ends)


def find_charge(hold: Hold, ends: Sequence[SendingEnd], usage: Usage) -> Charge:
    """Return what all parts together come to.

    Raises:
        InvariantBrokenError: The parts before the last have more tokens than are charged for all.
    """
    if len(ends) > 1:
        _check_tokens(ends, usage)
    held = hold.cost.total
    listed = cost_of(hold.price, hold.fee_ppm, usage.prompt_tokens, usage.completion_tokens)
    excess = listed.total - held
    if excess <= 0:
        return Charge(listed, usage.flags, [0] * len(ends), (None, None))
    unpaid = [-(-end.bill_ngonka * excess // listed.total) for end in ends]
    return Charge(hold.cost, usage.flags | Flag.OVERRUN, unpaid, (sum(unpaid), excess))


def _check_tokens(ends: Sequence[SendingEnd], usage: Usage) -> None:
    prompt = usage.prompt_tokens - sum(end.prompt_tokens for end in ends[:-1])
    completion = usage.completion_tokens - sum(end.completion_tokens for end in ends[:-1])
    if min(prompt, completion, *(min(end.prompt_tokens, end.completion_tokens) for end in ends)) < 0:
        raise InvariantBrokenError("the parts of an inference cannot have more tokens than all of it")


def count_layers(sendings: Iterable[Sending]) -> int:
    """Return how often all that was held may have been used by sendings: as often as its most frequent part."""
    return max(Counter(sending.part for sending in sendings).values(), default=0)
