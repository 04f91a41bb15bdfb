"""What an account can pay for: the whole bound of an answer, a lower one, or nothing.

A bound is lowered only where its caller has named none and the whole balance, or what is left of a spend limit, would
not pay for it. Where the money is there and calls under way hold it, the caller is told to wait instead: in a moment
the whole answer can be had, and a cut one would have to be paid for all the same. So an account that runs low serves
one short answer after the other, never many slivers at a time.

It is asked in the very step in which a hold is taken, so no two calls are ever cut to the same money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.ledger import refusals
from tallygate.core.pricing import affordable_completion_tokens, cost_of

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account, HoldRequest
    from tallygate.core.ledger.spending import Spendings
    from tallygate.core.limits import Limits
    from tallygate.core.pricing import Cost, Price


class Bound(NamedTuple):
    """How long an answer may be, in tokens of all choices together, and what all of the call costs then."""

    completion_tokens: int
    cost: Cost


def bound_hold(
    account: Account, request: HoldRequest, price: Price, fee_ppm: int, spendings: Spendings, now_ns: int
) -> Bound:
    """Return the bound of an answer for which money can be set aside now.

    Raises:
        Refusal: It would exceed a spend limit of its key or its account (`spend_limit_exceeded`), or as below.
    """
    if request.limits is None:
        return bound_completion(account, request, price, fee_ppm)
    limited = bound_by_limits(account, request, request.limits, price, fee_ppm, spendings, now_ns)
    if limited < request.completion_tokens_max:
        request = request._replace(completion_tokens_max=limited)
    return bound_completion(account, request, price, fee_ppm)


def bound_by_limits(
    account: Account,
    request: HoldRequest,
    limits: tuple[Limits, Limits],
    price: Price,
    fee_ppm: int,
    spendings: Spendings,
    now_ns: int,
) -> int:
    """Return the bound of an answer that spend limits leave room for, in tokens of all choices together.

    Raises:
        Refusal: They leave none, or none before calls under way have ended (`spend_limit_exceeded`).
    """
    bound, most = request.completion_tokens_max, bound_cost(account, request, price, fee_ppm)
    if request.shrink is not None:
        room = spendings.find_room(account.id, request.key_id, limits, most, now_ns)
        if room < most:
            choices, tokens_min = request.shrink
            prompt = request.prompt_tokens_max
            bound = affordable_completion_tokens(price, fee_ppm, prompt, room) // choices * choices
            most = cost_of(price, fee_ppm, prompt, max(bound, choices * tokens_min)).total
    spendings.check(account.id, request.key_id, limits, most, now_ns)
    return bound


def bound_cost(account: Account, request: HoldRequest, price: Price, fee_ppm: int) -> int:
    """Return the most that a hold can come to: the price of its bounds, or what is there to shrink them to."""
    required = cost_of(price, fee_ppm, request.prompt_tokens_max, request.completion_tokens_max).total
    return required if request.shrink is None else min(required, max(account.available, 0))


def bound_completion(account: Account, request: HoldRequest, price: Price, fee_ppm: int) -> Bound:
    """Return the bound of an answer that the account's available money pays for.

    Raises:
        Refusal: There is none: the account cannot pay (`insufficient_balance`), or only once calls under way have
            ended (`balance_held`).
    """
    prompt, completion = request.prompt_tokens_max, request.completion_tokens_max
    cost = cost_of(price, fee_ppm, prompt, completion)
    required = cost.total
    if required <= account.available:
        return Bound(completion, cost)
    if request.shrink is None or required <= account.balance:
        raise refusals.short_of_money(account, required)
    choices, tokens_min = request.shrink
    least = choices * tokens_min
    affordable = affordable_completion_tokens(price, fee_ppm, prompt, account.available) // choices * choices
    if affordable < least:
        raise refusals.short_of_money(account, cost_of(price, fee_ppm, prompt, least).total)
    bound = min(affordable, completion)
    return Bound(bound, cost_of(price, fee_ppm, prompt, bound))
