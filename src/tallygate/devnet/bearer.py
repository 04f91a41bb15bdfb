"""The Bearer personality: like the official gateway program `devshardctl`, today's way in.

It pays with an account of its own and asks its callers for a key. Errors are OpenAI-like JSON sent
as text/plain, as in the original. Every attempt has a nonce, for which it pays a fee besides the tokens. Not here:
racing of hosts, so a request has one attempt; the admin surface; escrow.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from tallygate.devnet.answerer import Engine
from tallygate.devnet.calls import (
    CallError,
    ChatCall,
    build_call,
    parse_object,
    read_model,
    require_messages,
)
from tallygate.devnet.chain import NS_PER_S, Chain, Inference, Order
from tallygate.devnet.controls import CONTROL_PREFIX, Controls
from tallygate.devnet.delivery import Delivery
from tallygate.devnet.faults import AnswerFault, FaultBook, FaultOrder, Passage
from tallygate.devnet.identity import Identity
from tallygate.devnet.records import show_request, show_session
from tallygate.devnet.rendering import Manner, Rendering
from tallygate.devnet.server import Exchange, Reply, Request
from tallygate.devnet.settings import DevnetSettings
from tallygate.devnet.tokens import estimate_tokens

DEFAULT_MAX_TOKENS = 3072
MAX_TOKENS_CAP = 4096
MESSAGES_LIMIT = 2048
CONTEXT_LENGTH = 131_072
EXECUTION_BLOCKS = 384  # a session waits 1,920 s for an executor, in blocks of 5 s
BEARER = "Bearer "
REQUESTS_PREFIX = "/v1/requests/"
# The official gateway's closed list: what it passes on or quietly drops. All else is refused.
KNOWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "n",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "seed",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "metadata",
        "min_tokens",
        "skip_special_tokens",
        "chat_template_kwargs",
        "enable_thinking",
        "thinking",
        "extra_body",
        "reasoning",
        "service_tier",
        "store",
        "provider",
        "plugins",
        "cache_key",
        "prompt_cache_key",
        "extra_headers",
        "thinking_config",
        "think",
        "reasoning_effort",
        "safety_identifier",
    }
)
FAULT_MESSAGES = {
    308: "this gateway has moved",
    400: "the model rejected the request",
    401: 'model "{model}" requires an API key',
    402: "insufficient balance",
    403: "forbidden",
    404: "not found",
    410: "gone",
    422: "the model rejected the request",
    429: "rate limit exceeded: too many concurrent requests",
    500: "internal error",
    502: "all providers failed",
    503: "model temporarily unavailable",
}


class BearerRefusedError(Exception):
    """The gateway refuses a call.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BearerGateway:
    """The gateway's routes, its session and its faults."""

    def __init__(
        self,
        world: DevnetSettings,
        identity: Identity,
        chain: Chain,
        engine: Engine,
        now_ns: Callable[[], int],
    ) -> None:
        self.address = identity.address
        self.faults = FaultBook(world.stall_limit_s)
        self._world = world
        self._chain = chain
        self._engine = engine
        self._now_ns = now_ns
        self._session = identity.public_key[-2:].hex()
        self._nonce = 0
        self._request_number = 0
        self._requests: dict[str, tuple[Inference, int]] = {}
        self._calls = 0
        self._controls = Controls(chain, self.faults, self.address, "bearer")
        chain.fund(identity.public_key, world.operator_balance_ngonka)

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        request = exchange.request
        if request.path.startswith(CONTROL_PREFIX):
            await exchange.reply(self._controls.answer(request))
        elif (request.method, request.path) == ("POST", "/v1/chat/completions"):
            await self._chat(exchange)
        elif (request.method, request.path) == ("GET", "/v1/models"):
            await exchange.reply(_json_reply({"object": "list", "data": self._list_models()}))
        elif (request.method, request.path) == ("GET", "/v1/status"):
            await exchange.reply(self._show_status())
        elif request.method == "GET" and request.path.startswith(REQUESTS_PREFIX):
            await exchange.reply(self._show_request(request))
        else:
            await exchange.reply(self.refuse(404, "not found"))

    def refuse(self, status: int, message: str) -> Reply:
        """Words an error as the original does: OpenAI's shape, sent as plain text."""
        return self._refuse(status, message, {})

    def fault_reply(self, status: int, order: FaultOrder) -> Reply:
        """Gives the original's reply for a status."""
        headers = {} if order.retry_after_s is None else {"retry-after": str(order.retry_after_s)}
        message = order.message or FAULT_MESSAGES[status].replace("{model}", self._world.models[0])
        if status == 308:
            moved = {"status": 308, "message": message, "new_url": order.location}
            moving = {"location": order.location, "X-Request-Id": self._mint_request_id()}
            return _json_reply(moved, 308, {**headers, **moving})
        return self._refuse(status, message, headers)

    async def _chat(self, exchange: Exchange) -> None:
        fault = self.faults.take_arrival()
        if fault and await fault.arrive(exchange, self.fault_reply) is Passage.ANSWERED:
            return
        try:
            call = self._accept(exchange.request)
        except BearerRefusedError as error:
            await exchange.reply(self.refuse(error.status, str(error)))
            return
        self._calls += 1
        try:
            await self._serve(exchange, call)
        finally:
            self._calls -= 1

    def _accept(self, request: Request) -> ChatCall:
        """Makes every check before an inference begins.

        Raises:
            BearerRefusedError: One of them failed.
        """
        try:
            call = self._read_call(request.body)
        except CallError as error:
            raise BearerRefusedError(400, str(error)) from error
        if not self._knows_key(request):
            raise BearerRefusedError(401, f'model "{call.model}" requires an API key')
        if self._calls >= self._world.bearer_concurrency:
            raise BearerRefusedError(429, FAULT_MESSAGES[429])
        reserve = (len(request.body) + call.max_tokens) * self._chain.price_ngonka + self._world.attempt_ngonka
        if self._chain.open_account(self.address).balance_ngonka < reserve:
            raise BearerRefusedError(503, FAULT_MESSAGES[503])
        return call

    def _read_call(self, body: bytes) -> ChatCall:
        fields = parse_object(body)
        model = read_model(fields)
        if model not in self._world.models:
            raise CallError(f'unsupported model "{model}"')
        for name in fields:
            if name not in KNOWN_FIELDS:
                raise CallError(f'"{name}" is currently rejected by the Gonka network')
        require_messages(fields)
        if len(fields["messages"]) > MESSAGES_LIMIT:
            raise CallError(f"messages must not be more than {MESSAGES_LIMIT}")
        return build_call(fields, DEFAULT_MAX_TOKENS, MAX_TOKENS_CAP)

    async def _serve(self, exchange: Exchange, call: ChatCall) -> None:
        self._nonce += 1
        inference_id = f"devshard-{self._session}-{self._nonce:04x}"
        input_bytes = len(exchange.request.body)
        inference = self._chain.start(
            Order(
                inference_id,
                self.address,
                self.address,
                call.model,
                escrow_tokens=estimate_tokens(call, input_bytes),
                max_tokens=call.max_tokens,
                input_bytes=input_bytes,
                fee_ngonka=self._world.attempt_ngonka,
                lifetime_blocks=EXECUTION_BLOCKS,
            )
        )
        inference.request_id = request_id = self._mint_request_id()
        self._requests[request_id] = (inference, self._nonce)
        created = self._now_ns() // NS_PER_S
        rendering = Rendering(inference_id, created, call.model, Manner.PLAIN)
        fault = self.faults.take_answer() or AnswerFault(FaultOrder("none"), 0)
        headers = {"X-Request-Id": request_id, "X-Devshard-ID": self._session}
        opening = Reply(200, b"", "text/event-stream", headers)
        await Delivery(exchange, call, rendering, fault, opening).run(self._engine, self._chain, inference)

    def _show_status(self) -> Reply:
        balance = self._chain.open_account(self.address).balance_ngonka
        price, fee = self._chain.price_ngonka, self._world.attempt_ngonka
        return _json_reply(show_session(self._session, self._nonce, balance, price, fee))

    def _show_request(self, request: Request) -> Reply:
        """Tells what a request cost; of one that was refused nothing is known, for it had no nonce."""
        if not self._knows_key(request):
            return self.refuse(401, "request accounting requires an API key")
        request_id = unquote(request.path.removeprefix(REQUESTS_PREFIX))
        known = self._requests.get(request_id)
        if known is None:
            return self.refuse(404, f"request {request_id} not found for devshard {self._session}")
        inference, nonce = known
        return _json_reply(show_request(self._chain, inference, self._session, nonce))

    def _knows_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == BEARER + self._world.bearer_key

    def _mint_request_id(self) -> str:
        self._request_number += 1
        return f"req-{self._request_number:08x}"

    def _refuse(self, status: int, message: str, headers: dict[str, str]) -> Reply:
        body = json.dumps({"error": {"message": message}}).encode("ascii") + b"\n"
        named = {"X-Request-Id": self._mint_request_id(), "X-Content-Type-Options": "nosniff"}
        return Reply(status, body, "text/plain; charset=utf-8", {**named, **headers})

    def _list_models(self) -> list[dict[str, Any]]:
        return [
            {
                "id": model,
                "object": "model",
                "owned_by": "gonka",
                "name": model.rpartition("/")[2],
                "context_length": CONTEXT_LENGTH,
                "max_completion_tokens": MAX_TOKENS_CAP,
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                "pricing": {"prompt": "0", "completion": "0", "request": "0"},
                "top_provider": {"context_length": CONTEXT_LENGTH, "is_moderated": False},
                "supported_parameters": ["max_tokens", "temperature", "top_p", "stop", "tools"],
            }
            for model in self._world.models
        ]


def _json_reply(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode("ascii"), headers=headers or {})
