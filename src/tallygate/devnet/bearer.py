"""The Bearer personality: like the official gateway program `devshardctl`, today's way in.

It pays with an account of its own and asks its callers for a key. Errors are OpenAI-like JSON sent
as text/plain, as in the original. Every attempt has a nonce, for which it pays a fee besides the tokens. Of a request
that races hosts, the first attempt's answer is shown, and the others run to their end unseen and are paid as well. What
an operator sets is in `session`, what a call may say in `passing`.
"""

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from tallygate.devnet.answerer import Engine, EngineRefusedError
from tallygate.devnet.calls import CallError, ChatCall
from tallygate.devnet.chain import NS_PER_S, Chain, Order
from tallygate.devnet.controls import CONTROL_PREFIX, Controls
from tallygate.devnet.delivery import Delivery
from tallygate.devnet.faults import REDIRECTS, AnswerFault, FaultBook, FaultOrder, Passage
from tallygate.devnet.hosts import BEARER, Host
from tallygate.devnet.identity import Identity
from tallygate.devnet.passing import list_models, read_call
from tallygate.devnet.records import Attempt, show_request, show_session
from tallygate.devnet.rendering import Manner, Rendering
from tallygate.devnet.server import Exchange, Reply, Request
from tallygate.devnet.session import ADMIN_PREFIX, Access, AdminApi, Session
from tallygate.devnet.settings import DevnetSettings
from tallygate.devnet.tokens import estimate_tokens, split_prompt

EXECUTION_BLOCKS = 384  # a session waits 1,920 s for an executor, in blocks of 5 s
AUTHORIZATION = "Bearer "
REQUESTS_PREFIX = "/v1/requests/"
FAULT_MESSAGES = {
    **dict.fromkeys(REDIRECTS, "this gateway has moved"),
    400: "the model rejected the request",
    401: 'model "{model}" requires an API key',
    402: "insufficient balance",
    403: "forbidden",
    404: "not found",
    409: "devshard is finalizing",
    410: "gone",
    422: "the model rejected the request",
    429: "rate limit exceeded: too many concurrent requests",
    500: "internal error",
    502: "all providers failed",
    503: "model temporarily unavailable",
    504: "request timed out with reduced max_tokens",
}
INPUT_TOKENS_MESSAGE = "rate limit exceeded: input tokens in flight"
QUIET_MESSAGE = "admission blocked: the network is in its PoC phase"
UNAVAILABLE_RETRY_S = 10


class BearerRefusedError(Exception):
    """The gateway refuses a call.

    Attributes:
        status: The HTTP status.
        retry_after_s: What Retry-After says, if anything.
    """

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class BearerGateway:
    """The gateway's routes, its session and its faults."""

    def __init__(
        self,
        world: DevnetSettings,
        identity: Identity,
        chain: Chain,
        engine: Engine,
        now_ns: Callable[[], int],
        hosts: list[Host],
        draw: random.Random,
    ) -> None:
        self.address = identity.address
        self.faults = FaultBook(world.stall_limit_s, draw)
        self.host = Host(BEARER, self.address, self.faults)
        hosts.append(self.host)
        self._world = world
        self._chain = chain
        self._engine = engine
        self._now_ns = now_ns
        self.session = Session(identity.public_key[-2:].hex(), world.models, world.bearer_concurrency)
        self._nonce = 0
        self._request_number = 0
        self._requests: dict[str, list[Attempt]] = {}
        self._calls = 0
        self._input_tokens = 0
        self._admin = AdminApi(self.session, self.refuse, self._describe_session)
        self._controls = Controls(chain, hosts, self.host, BEARER)
        chain.fund(identity.public_key, world.operator_balance_ngonka)

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        request = exchange.request
        if request.path.startswith(CONTROL_PREFIX):
            await exchange.reply(self._controls.answer(request))
        elif request.path.startswith(ADMIN_PREFIX):
            await exchange.reply(self._administrate(request))
        elif self.session.disabled:
            await exchange.reply(self.session.show_moved())
        elif (request.method, request.path) == ("POST", "/v1/chat/completions"):
            await self._chat(exchange)
        else:
            await exchange.reply(self._look_up(request))

    def _look_up(self, request: Request) -> Reply:
        if request.method != "GET":
            return self.refuse(404, "not found")
        if request.path.startswith(REQUESTS_PREFIX):
            return self._show_request(request)
        match request.path:
            case "/v1/models":
                return _json_reply(list_models(self._world.models))
            case "/v1/status":
                return _json_reply(self._describe_session())
            case "/metrics":
                return self._show_metrics()
        return self.refuse(404, "not found")

    def _administrate(self, request: Request) -> Reply:
        if not self._is_admin(request):
            return self.refuse(401, "requires an admin API key")
        return self._admin.answer(request)

    def refuse(self, status: int, message: str) -> Reply:
        """Words an error as the original does: OpenAI's shape, sent as plain text."""
        return self._refuse(status, message, {})

    def fault_reply(self, status: int, order: FaultOrder) -> Reply:
        """Gives the original's reply for a status."""
        headers = {} if order.retry_after_s is None else {"retry-after": str(order.retry_after_s)}
        message = order.message or FAULT_MESSAGES[status].replace("{model}", self._world.models[0])
        if status in REDIRECTS:
            moved = {"status": status, "message": message, "new_url": order.location}
            moving = {"location": order.location, "X-Request-Id": self._mint_request_id()}
            return _json_reply(moved, status, {**headers, **moving})
        return self._refuse(status, message, headers)

    async def _chat(self, exchange: Exchange) -> None:
        visit = self.faults.visit()
        if visit.arrival and await visit.arrival.arrive(exchange, self.fault_reply) is Passage.ANSWERED:
            return
        try:
            call = self._accept(exchange.request)
        except BearerRefusedError as error:
            headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
            await exchange.reply(self._refuse(error.status, str(error), headers))
            return
        tokens = len(split_prompt(call))
        self._calls += 1
        self._input_tokens += tokens
        try:
            await self._serve(exchange, call, visit.take_answer())
        finally:
            self._calls -= 1
            self._input_tokens -= tokens

    def _accept(self, request: Request) -> ChatCall:
        """Makes every check before an inference begins.

        Raises:
            BearerRefusedError: One of them failed.
        """
        try:
            call = read_call(request.body, self._world.models)
        except CallError as error:
            raise BearerRefusedError(400, str(error)) from error
        self._check_access(request, call.model)
        if not self.session.active:
            raise BearerRefusedError(409, FAULT_MESSAGES[409])
        if self._chain.is_quiet:
            raise BearerRefusedError(503, QUIET_MESSAGE)
        if self._calls >= self.session.max_concurrent:
            raise BearerRefusedError(429, FAULT_MESSAGES[429])
        limit = self.session.max_input_tokens
        if limit and self._input_tokens + len(split_prompt(call)) > limit:
            raise BearerRefusedError(429, INPUT_TOKENS_MESSAGE)
        reserve = (len(request.body) + call.max_tokens) * self._chain.price_ngonka + self._world.attempt_ngonka
        if self._chain.open_account(self.address).balance_ngonka < reserve * self._world.bearer_race:
            raise BearerRefusedError(503, FAULT_MESSAGES[503], UNAVAILABLE_RETRY_S)
        return call

    def _check_access(self, request: Request, model: str) -> None:
        access = self.session.access_of(model)
        if access is Access.ADMIN_ONLY and not self._is_admin(request):
            raise BearerRefusedError(401, f'model "{model}" requires an admin API key')
        if access is Access.API_KEY and not self._knows_key(request):
            raise BearerRefusedError(401, f'model "{model}" requires an API key')

    async def _serve(self, exchange: Exchange, call: ChatCall, fault: AnswerFault) -> None:
        attempts = [self._start(exchange.request, call) for _ in range(self._world.bearer_race)]
        winner, *others = [attempt.inference for attempt in attempts]
        winner.request_id = request_id = self._mint_request_id()
        self._requests[request_id] = attempts
        created = self._now_ns() // NS_PER_S
        rendering = Rendering(winner.id, created, call.model, Manner.PLAIN)
        headers = {"X-Request-Id": request_id, "X-Devshard-ID": self.session.id}
        opening = Reply(200, b"", "text/event-stream", headers)
        try:
            await Delivery(exchange, call, rendering, fault, opening).run(self._engine, self._chain, winner)
        except EngineRefusedError as error:
            rejected = error.status in {400, 422}
            self._chain.finish(winner, 0, 0)
            await exchange.reply(self.refuse(400, error.body) if rejected else self.refuse(502, FAULT_MESSAGES[502]))
        finally:
            for other in others:
                self._chain.finish(other, winner.prompt_tokens, winner.completion_tokens)

    def _start(self, request: Request, call: ChatCall) -> Attempt:
        """Records the beginning of one attempt."""
        self._nonce += 1
        input_bytes = len(request.body)
        order = Order(
            f"devshard-{self.session.id}-{self._nonce:04x}",
            self.address,
            self.address,
            call.model,
            escrow_tokens=estimate_tokens(call, input_bytes),
            max_tokens=call.max_tokens,
            input_bytes=input_bytes,
            fee_ngonka=self._world.attempt_ngonka,
            lifetime_blocks=EXECUTION_BLOCKS,
        )
        return Attempt(self._chain.start(order), self._nonce)

    def _describe_session(self) -> dict[str, Any]:
        balance = self._chain.open_account(self.address).balance_ngonka
        price, fee = self._chain.price_ngonka, self._world.attempt_ngonka
        return show_session(self.session.id, self._nonce, balance, price, fee)

    def _show_metrics(self) -> Reply:
        lines = [
            "# TYPE devshard_gateway_requests_in_flight gauge",
            f"devshard_gateway_requests_in_flight {self._calls}",
            "# TYPE devshard_gateway_input_tokens_in_flight gauge",
            f"devshard_gateway_input_tokens_in_flight {self._input_tokens}",
        ]
        return Reply(200, "\n".join([*lines, ""]).encode("ascii"), "text/plain; version=0.0.4")

    def _show_request(self, request: Request) -> Reply:
        """Tells what a request cost; of one that was refused nothing is known, for it had no nonce."""
        if not self._knows_key(request):
            return self.refuse(401, "request accounting requires an API key")
        request_id = unquote(request.path.removeprefix(REQUESTS_PREFIX))
        known = self._requests.get(request_id)
        if known is None:
            return self.refuse(404, f"request {request_id} not found for devshard {self.session.id}")
        return _json_reply(show_request(self._chain, known, self.session.id))

    def _knows_key(self, request: Request) -> bool:
        return _has_key(request, self._world.bearer_key) or self._is_admin(request)

    def _is_admin(self, request: Request) -> bool:
        return _has_key(request, self._world.bearer_admin_key)

    def _mint_request_id(self) -> str:
        self._request_number += 1
        return f"req-{self._request_number:08x}"

    def _refuse(self, status: int, message: str, headers: dict[str, str]) -> Reply:
        body = json.dumps({"error": {"message": message}}).encode("ascii") + b"\n"
        named = {"X-Request-Id": self._mint_request_id(), "X-Content-Type-Options": "nosniff"}
        return Reply(status, body, "text/plain; charset=utf-8", {**named, **headers})


def _has_key(request: Request, key: str) -> bool:
    return request.headers.get("authorization") == AUTHORIZATION + key


def _json_reply(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode("ascii"), headers=headers or {})
