"""`POST /v1/estimate`: a chat body in; whether it would be taken, what would be held, what it would probably cost.

Whatever would refuse the call, from its body on, is told inside the answer. What stands before the body (key, media
type, size) is refused as it always is: then nothing can be said of the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from tallygate.api.balance import describe_balance
from tallygate.api.http import Response, Route
from tallygate.api.public import check_media_type
from tallygate.core.errors import Refusal
from tallygate.core.money import format_usd
from tallygate.core.openai import BODY_BYTES_MAX, STRICT, parse_chat_request
from tallygate.relay.estimate import COMPLETION_TOKENS_LIKELY, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.api.problems import Problems
    from tallygate.core.access import ApiKey
    from tallygate.core.catalog import Catalog
    from tallygate.core.openai import Policy
    from tallygate.relay import Relay, Sink
    from tallygate.relay.estimate import Estimate


class EstimateApi:
    """The route of estimates.

    Args:
        callers: Tells who asks.
        catalog: The models.
        relay: What would take the call.
        problems: How its refusal would be told.
        policy: What would happen to parameters that are not as they should be.
    """

    def __init__(
        self, *, callers: Callers, catalog: Catalog, relay: Relay, problems: Problems, policy: Policy = STRICT
    ) -> None:
        self._callers = callers
        self._catalog = catalog
        self._relay = relay
        self._problems = problems
        self._policy = policy

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (Route("POST", "/v1/estimate", self.estimate, "What a chat completion would cost; nothing is sent."),)

    async def estimate(self, request: Request, _: Sink) -> Response:
        """Estimate a chat completion."""
        self._callers.authenticate(request)
        check_media_type(request)
        body = await request.body.read(BODY_BYTES_MAX)
        key = self._callers.authenticate(request)
        content: dict[str, Any] = {"object": "estimate", "accepted": False, "refusal": None, "model": None}
        content |= dict.fromkeys(("upstreams", "changes", "hold", "likely"))
        try:
            content |= await self._judge(request, body, key)
        except Refusal as refusal:
            content |= {"model": request.model or None, "refusal": self._describe_refusal(refusal)}
        balance = describe_balance(self._relay.ledger.account(key.account))
        return Response.json({**content, "balance": balance})

    async def _judge(self, request: Request, body: bytes, key: ApiKey) -> dict[str, Any]:
        chat = parse_chat_request(body, self._policy)
        card = self._catalog.find(chat.model, self._relay.ledger.sheet)
        request.model = card.id
        found = await estimate(self._relay, key, chat, card)
        refusal = None if found.refusal is None else self._describe_refusal(found.refusal)
        return {"accepted": refusal is None, "refusal": refusal, "model": card.id, **_describe(found)}

    def _describe_refusal(self, refusal: Refusal) -> dict[str, Any]:
        """Return a refusal as the call would get it."""
        return {"status": self._problems.status(refusal), "error": Raw(self._problems.error(refusal))}


def _describe(found: Estimate) -> dict[str, Any]:
    return {
        "upstreams": found.upstreams,
        "changes": found.changes,
        "hold": {
            "usd": format_usd(found.hold.total),
            "prompt_tokens_max": found.prompt_tokens_max,
            "completion_tokens_max": found.completion_tokens_max,
        },
        "likely": {
            "prompt_tokens": found.prompt_tokens,
            "completion_tokens": found.completion_tokens,
            "base_cost_usd": format_usd(found.cost.base),
            "platform_fee_usd": format_usd(found.cost.fee),
            "total_cost_usd": format_usd(found.cost.total),
            "prompt_counted_by": found.prompt_basis,
            "completion_assumed": f"{COMPLETION_TOKENS_LIKELY} tokens a choice, or the bound where that is lower",
        },
    }
