"""What callers reach: chat, models, health.

The order of checks on a call is part of the contract: route and method, room, key, type and size, headers, JSON and
fields, model, idempotency key, money. Nothing reads a body before the API key is known to be good, and a bad one
touches no store.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from tallygate.api.http import Response, Route, read_bearer, read_idempotency_key
from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import Digests, meaning_of
from tallygate.core.keys import is_well_formed, key_digest
from tallygate.core.openai import BODY_BYTES_MAX, COPIED, parse_chat_request
from tallygate.relay import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Request
    from tallygate.core.bounding import ModelCard
    from tallygate.core.catalog import Catalog
    from tallygate.core.pricing import Price, Sheet
    from tallygate.ports import ApiKey, KeyStore, Ledger
    from tallygate.relay import Relay, Sink


CHAT: Final = "/v1/chat/completions"

DIGESTS_MAX: Final = 10_000
"""How many good keys are remembered by their SHA-256, which spares the keyed digest; a bad key is never remembered."""


class PublicApi:
    """The routes under `/v1` and `/health`.

    Args:
        ledger: The books, for the prices in force and for readiness.
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        catalog: The models.
        relay: Takes calls through their lives.
    """

    def __init__(self, *, ledger: Ledger, keys: KeyStore, pepper: bytes, catalog: Catalog, relay: Relay) -> None:
        self._ledger = ledger
        self._keys = keys
        self._pepper = pepper
        self._catalog = catalog
        self._relay = relay
        self._digests = Digests(pepper)
        self._key_digests: dict[bytes, bytes] = {}

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route("POST", CHAT, self.chat, "A chat completion, streamed or not; billed."),
            Route("GET", "/v1/models", self.models, "The models that can be served now, with prices."),
            Route("GET", "/v1/models/{id...}", self.model, "One model, by id or alias, in any case."),
            Route("GET", "/health/live", self.live, "The process runs."),
            Route("GET", "/health/ready", self.ready, "The store takes writes and the process is not stopping."),
        )

    async def chat(self, request: Request, sink: Sink) -> None:
        """Serve a chat completion."""
        self._relay.check_room()
        self.authenticate(request)
        _check_media_type(request)
        idempotency_key = read_idempotency_key(request)
        chat = parse_chat_request(await request.body.read(BODY_BYTES_MAX))
        key = self.authenticate(request)  # again: while the body was on its way, the key may have been revoked
        card = self._catalog.find(chat.model, self._ledger.sheet)
        claim = None
        if idempotency_key is not None:
            claim = self._digests.claim(idempotency_key, (key.account, key.id, CHAT), meaning_of(chat, card.id))
        await self._relay.relay(Call(request.id, key, chat, card, claim), sink)

    async def models(self, request: Request, _: Sink) -> Response:
        """List the models that can be served now."""
        self.authenticate(request)
        sheet = self._ledger.sheet
        cards = self._catalog.offered(sheet)
        return Response.json({"object": "list", "data": [_describe(card, sheet) for card in cards]})

    async def model(self, request: Request, _: Sink) -> Response:
        """Describe one model."""
        self.authenticate(request)
        sheet = self._ledger.sheet
        return Response.json(_describe(self._catalog.find(request.argument, sheet), sheet))

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

    def authenticate(self, request: Request) -> ApiKey:
        """Return the caller's key; raises `Refusal` (401)."""
        token = read_bearer(request)
        if token is not None:
            fingerprint = sha256(token).digest()
            digest = self._key_digests.get(fingerprint)
            if digest is None and is_well_formed(token):
                digest = key_digest(self._pepper, token)
            key = None if digest is None else self._keys.find_key(digest)
            if key is not None and digest is not None:
                if len(self._key_digests) >= DIGESTS_MAX:
                    self._key_digests.clear()
                self._key_digests[fingerprint] = digest
                return key
        raise Refusal(Code.INVALID_API_KEY, "There is no such API key; send yours as Authorization: Bearer tg-….")


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get(b"content-type", b"application/json").split(b";", 1)[0].strip().lower()
    if media_type != b"application/json":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as Content-Type: application/json.")
    if request.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
    length = request.headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > BODY_BYTES_MAX:
        raise Refusal(Code.REQUEST_TOO_LARGE, f"The body is larger than {BODY_BYTES_MAX} bytes.")


def _describe(card: ModelCard, sheet: Sheet) -> dict[str, Any]:
    """Return a model as the contract lists it: OpenAI's members, and what clients look for beyond them."""
    price = sheet.prices[card.id]
    return {
        "id": card.id,
        "object": "model",
        "created": 0,
        "owned_by": "gonka",
        "name": card.id,
        "context_length": card.context_length,
        "pricing": _pricing(price, sheet.fee_ppm),
        "top_provider": {"max_completion_tokens": card.output_tokens_max},
        "supported_parameters": sorted(COPIED | {"max_tokens", "max_completion_tokens", "n", "stream"}),
        "supported_features": list(card.features),
        "input_modalities": ["text"],
    }


def _pricing(price: Price, fee_ppm: int) -> dict[str, str]:
    """Return what a caller pays per token and per call in dollars, platform fee included, exactly."""
    return {
        "prompt": _with_fee(price.input, fee_ppm),
        "completion": _with_fee(price.output, fee_ppm),
        "request": _with_fee(price.call, fee_ppm),
    }


def _with_fee(picousd: int, fee_ppm: int) -> str:
    exact = picousd * (1_000_000 + fee_ppm)  # in millionths of a pico-dollar: no rounding in a price that is shown
    dollars, rest = divmod(exact, 10**18)
    return f"{dollars}.{rest:018d}".rstrip("0").rstrip(".") if exact else "0"
