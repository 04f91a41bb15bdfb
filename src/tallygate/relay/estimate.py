"""What a call would cost and whether it would be taken, by the rules that it would meet, without any of it happening.

Nothing is sent, held, counted or drawn, and no turn is taken; so what is true now may be different for the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.access import check_model
from tallygate.core.bounding import Outgoing
from tallygate.core.counting import TOKENIZER
from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.records import HoldRequest, Sending
from tallygate.core.pricing import cost_of
from tallygate.core.usage import Tally

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.bounding import ModelCard
    from tallygate.core.openai import ChatRequest
    from tallygate.core.pricing import Cost
    from tallygate.relay.relay import Relay

COMPLETION_TOKENS_LIKELY: Final = 256
"""How long an answer is taken to be, a choice, unless its bound is lower: a few paragraphs. Nobody can know; so it is
one number that is told with the estimate, and not a guess at what was asked."""

TOKENIZED_BYTES_MAX: Final = 16 * 1024
"""The most text that an estimate gives to a tokenizer: it costs its caller nothing, and at a megabyte a second this is
some 16 ms in which everybody else waits."""

NO_PLACE: Final = "No upstream for this model can be used now."


class Estimate(NamedTuple):
    """What a call would come to.

    Attributes:
        refusal: Why it would not be taken (a limit, or its money), or None.
        upstreams: Where it could be sent, best first; the order among equals is drawn for each call.
        changes: What would be changed of it, as the response header lists it.
        prompt_tokens_max: The bound of the prompt.
        completion_tokens_max: The bound of the answer, all choices together.
        hold: What would be set aside; where it is refused, what would have had to be.
        prompt_tokens: What the prompt probably has.
        prompt_basis: How that was counted.
        completion_tokens: What the answer is taken to have, all choices together.
        cost: What that costs.
    """

    refusal: Refusal | None
    upstreams: tuple[str, ...]
    changes: str
    prompt_tokens_max: int
    completion_tokens_max: int
    hold: Cost
    prompt_tokens: int
    prompt_basis: str
    completion_tokens: int
    cost: Cost


async def estimate(relay: Relay, key: ApiKey, chat: ChatRequest, card: ModelCard) -> Estimate:
    """Return what a checked request would come to.

    Raises:
        Refusal: The key may not use the model, it could not be sent anywhere now, or the model cannot do what it asks.
    """
    check_model(key, card.id)
    places = relay.upstreams.look(card.id)
    if not places:
        raise Refusal(Code.NETWORK_UNAVAILABLE, NO_PLACE, retry_after_s=5)
    outgoing = Outgoing(chat, card, relay.temperature)
    floors: dict[str, int] = {}
    for place, name in places:
        floors[name] = max(floors.get(name, 1), place.tokens_floor)
    prompt_tokens_max, completion_tokens_max = outgoing.bounds(floors)
    shrink = outgoing.shrink(floors) if relay.shrinks else None
    sheet = relay.ledger.sheet
    price = sheet.prices[card.id]
    request = HoldRequest(
        "", key.account, key.id, card.id, prompt_tokens_max, completion_tokens_max, Sending(0, 0, "", None), shrink
    )
    refusal = None
    try:
        completion_tokens_max = await _bound(relay, key, request)
    except Refusal as refused:
        refusal = refused
    else:
        if completion_tokens_max < request.completion_tokens_max:
            outgoing.limit(completion_tokens_max)
    prompt_tokens, prompt_basis = _count_prompt(relay, chat, card, prompt_tokens_max)
    completion_tokens = min(COMPLETION_TOKENS_LIKELY * chat.choices, completion_tokens_max)
    return Estimate(
        refusal,
        tuple(dict.fromkeys(place.upstream for place, _ in places)),
        outgoing.changes(places[0][0].tokens_floor, flat=places[0][0].flattens),
        prompt_tokens_max,
        completion_tokens_max,
        cost_of(price, sheet.fee_ppm, prompt_tokens_max, completion_tokens_max),
        prompt_tokens,
        prompt_basis,
        completion_tokens,
        cost_of(price, sheet.fee_ppm, prompt_tokens, completion_tokens),
    )


async def _bound(relay: Relay, key: ApiKey, request: HoldRequest) -> int:
    """Return the bound under which the call would be held; raises `Refusal` where its limits or its money forbid it."""
    account = relay.ledger.account(key.account)
    tokens = request.prompt_tokens_max + request.completion_tokens_max
    if (refusal := await relay.limiter.foresee(key, account, tokens)) is not None:
        raise refusal
    standing = await relay.limiter.standing(key, account)
    return relay.ledger.bound(request._replace(limits=(standing.key, standing.account)))


def _count_prompt(relay: Relay, chat: ChatRequest, card: ModelCard, prompt_tokens_max: int) -> tuple[int, str]:
    """Return how many tokens a prompt probably has, counted as where a node does not tell, and how."""
    counter = relay.counter(card.id)
    if chat.prompt_bytes <= TOKENIZED_BYTES_MAX and counter.tokenizes(chat.prompt_bytes):
        tally = Tally(chat.prompt_bytes, prompt_tokens_max, 0, counter=counter, prompt_texts=chat.texts)
        return tally.counted().prompt_tokens, TOKENIZER
    counted = counter.count_bytes(chat.prompt_bytes)
    return min(counted.tokens, prompt_tokens_max), counted.basis
