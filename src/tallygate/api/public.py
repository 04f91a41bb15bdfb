"""What callers reach: chat, legacy completions, health.

The order of checks on a call is part of the contract: route and method, source address, key, room, type and size,
headers, JSON and fields, model, idempotency key, limits, money. Nothing reads a body before the API key is known to be
good, and a bad one touches no store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.api.http import Access, Response, Route, check_body, read_idempotency_key
from tallygate.core.completions import TEXT, meaning_of_all, parse_completion_request
from tallygate.core.errors import Code, Refusal
from tallygate.core.forms import CHAT as CHAT_FORM
from tallygate.core.forms import Form
from tallygate.core.idempotency import meaning_of
from tallygate.core.openai import BODY_BYTES_MAX, STRICT, parse_chat_request
from tallygate.relay import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.catalog import Catalog
    from tallygate.core.idempotency import Digests
    from tallygate.core.openai import ChatRequest, Policy
    from tallygate.ports import Ledger
    from tallygate.relay import Relay, Sink


CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
JSON: Final = b"application/json"


class _Kind(NamedTuple):
    """How the calls of a route differ: what a body asks, what that means (as an idempotency key has it), the answer."""

    route: str
    form: Form
    parse: Callable[[bytes, Policy], tuple[ChatRequest, ...]]
    meaning: Callable[[Sequence[ChatRequest], str], object]


_CHAT: Final = _Kind(
    CHAT,
    CHAT_FORM,
    lambda body, policy: (parse_chat_request(body, policy),),
    lambda asked, model: meaning_of(asked[0], model),
)
_COMPLETIONS: Final = _Kind(COMPLETIONS, TEXT, parse_completion_request, meaning_of_all)


class PublicApi:
    """The routes that serve calls, and `/health`.

    Args:
        callers: Tells who calls.
        ledger: The books, for the prices in force and for readiness.
        digests: Makes claims of idempotency keys.
        catalog: The models.
        relay: Takes calls through their lives.
        policy: What happens to parameters that are not as they should be.
    """

    def __init__(
        self,
        *,
        callers: Callers,
        ledger: Ledger,
        digests: Digests,
        catalog: Catalog,
        relay: Relay,
        policy: Policy = STRICT,
    ) -> None:
        self._callers = callers
        self._ledger = ledger
        self._digests = digests
        self._catalog = catalog
        self._relay = relay
        self._policy = policy

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route("POST", CHAT, self.chat, "A chat completion, streamed or not; billed.", billed=True),
            Route("POST", COMPLETIONS, self.completions, "A legacy completion of prompts; billed.", billed=True),
            Route("GET", "/health/live", self.live, "The process runs.", access=Access.PROBE),
            Route(
                "GET",
                "/health/ready",
                self.ready,
                "The store takes writes and the process is not stopping.",
                access=Access.PROBE,
            ),
        )

    def chat(self, request: Request, sink: Sink) -> Awaitable[None]:
        """Serve a chat completion."""
        return self._serve(request, sink, _CHAT)

    def completions(self, request: Request, sink: Sink) -> Awaitable[None]:
        """Serve a legacy completion."""
        return self._serve(request, sink, _COMPLETIONS)

    async def _serve(self, request: Request, sink: Sink, kind: _Kind) -> None:
        self._callers.authenticate(request)
        self._relay.check_room()
        check_media_type(request)
        idempotency_key = read_idempotency_key(request)
        asked = kind.parse(await request.body.read(BODY_BYTES_MAX), self._policy)
        key = self._callers.authenticate(request)  # again: while the body was on its way, the key may have been revoked
        card = self._catalog.find(asked[0].model, self._ledger.sheet)
        request.model = card.id
        claim = None
        if idempotency_key is not None:
            scope = (key.account, key.id, kind.route)
            claim = self._digests.claim(idempotency_key, scope, kind.meaning(asked, card.id))
        await self._relay.relay(Call(request.id, key, asked[0], card, claim, asked[1:], kind.form), sink)

    async def live(self, _: Request, __: Sink) -> Response:
        """Say that the process runs; touches nothing."""
        return Response.json({"status": "ok"})

    async def ready(self, _: Request, __: Sink) -> Response:
        """Say whether calls can be taken."""
        reasons = []
        if not self._ledger.ready:
            reasons.append("the store does not take writes")
        if self._relay.stopping:
            reasons.append("the process is stopping")
        status = "not_ready" if reasons else "ok"
        return Response.json({"status": status, "reasons": reasons}, 503 if reasons else 200)


def check_media_type(request: Request) -> None:
    """Refuse a body that is no plain JSON, or says that it is too large (415, 413)."""
    media_type = request.headers.get(b"content-type", JSON)
    if media_type != JSON and media_type.split(b";", 1)[0].strip().lower() != JSON:
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as Content-Type: application/json.")
    check_body(request, BODY_BYTES_MAX)
