"""The "classic" personality: a Gonka node that takes signed requests, as nodes did up to v0.2.13.

Order of checks and words of errors are the protocol's. What is not here: signature arithmetic
(`verification`), money (`chain`), text (`answerer`), wrong behaviour (`faults`).
"""

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tallygate.devnet.answerer import Engine, EngineRefusedError
from tallygate.devnet.calls import (
    CallError,
    ChatCall,
    build_call,
    parse_object,
    read_max_tokens,
    read_model,
    require_messages,
)
from tallygate.devnet.chain import NS_PER_S, Account, Block, Chain, Inference, Order
from tallygate.devnet.controls import CONTROL_PREFIX, Controls
from tallygate.devnet.delivery import Delivery
from tallygate.devnet.execution import ExecutorDoor, is_for_executor
from tallygate.devnet.faults import REDIRECTS, AnswerFault, FaultBook, FaultOrder, Passage
from tallygate.devnet.gates import Bandwidth, check_developer, check_executors, check_transfer_agent
from tallygate.devnet.hosts import Host
from tallygate.devnet.identity import Identity
from tallygate.devnet.participants import Participant
from tallygate.devnet.public import PublicApi, reply
from tallygate.devnet.records import show_inference
from tallygate.devnet.rendering import Manner, Rendering
from tallygate.devnet.server import Exchange, Reply, Request
from tallygate.devnet.settings import DevnetSettings, NodeSettings, Scheme
from tallygate.devnet.tokens import estimate_tokens, measure_prompt
from tallygate.devnet.verification import (
    RefusedError,
    ReplayGuard,
    build_signed_bytes,
    check_signature,
    check_timestamp,
    find_published_account,
    parse_timestamp,
)

CHAT_PATH = "/v1/chat/completions"
DEFAULT_MAX_TOKENS = 5000  # what nodes put in where a request says nothing
MAX_TOKENS_CAP = 1_000_000  # above it the chain refuses an inference
DEPRECATED_ROUTES = frozenset({("POST", CHAT_PATH), ("POST", "/v1/completions"), ("GET", CHAT_PATH)})
FAULT_MESSAGES = {
    **dict.fromkeys(REDIRECTS, "moved permanently"),
    400: "Inference node response with an error. code = 400. error = simulated rejection.",
    401: "Unable to validate request against PubKey:invalid signature",
    402: "Insufficient balance",
    403: "Transfer Agent not allowed",
    404: "model not found",
    409: "Conflict",
    422: "Inference node response with an error. code = 422. error = simulated rejection.",
    429: "Transfer Agent capacity reached. Try another TA from {url}/v1/epochs/current/participants",
    500: "runtime error: invalid memory address or nil pointer dereference: panic",
    503: "no executors available for model",
    504: "Gateway Timeout",
}
ENGINE_WORDS = "Inference node response"
REJECTED_PROMPT_TOKENS = 1  # what a node records where its engine has rejected a request
NGINX_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"


class Node:
    """One node: its routes, its memory of used signatures, its faults."""

    def __init__(
        self,
        settings: NodeSettings,
        world: DevnetSettings,
        identity: Identity,
        chain: Chain,
        engine: Engine,
        now_ns: Callable[[], int],
        participants: list[Participant],
        hosts: list[Host],
        draw: random.Random,
    ) -> None:
        self.url = ""  # known when the port is
        self.address = identity.address
        self.public_key = identity.public_key
        self.scheme = settings.scheme
        self._settings = settings
        self._world = world
        self._public = PublicApi(settings, world, identity, chain, participants)
        self._chain = chain
        self._engine = engine
        self._now_ns = now_ns
        self._replays = ReplayGuard()
        self._bandwidth = Bandwidth(chain)
        self._executor = ExecutorDoor(
            settings.scheme,
            self.address,
            chain,
            participants,
            return_token_ids=settings.return_token_ids,
        )
        self.faults = FaultBook(world.stall_limit_s, draw)
        self.host = Host(str(len(hosts)), self.address, self.faults)
        hosts.append(self.host)
        self._controls = Controls(chain, hosts, self.host, settings.scheme)

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        request = exchange.request
        route = (request.method, request.path)
        if request.path.startswith(CONTROL_PREFIX):
            await exchange.reply(self._controls.answer(request))
        elif self.scheme is Scheme.DEPRECATED and route in DEPRECATED_ROUTES:
            await exchange.reply(_deprecated())
        elif route == ("POST", CHAT_PATH):
            await self._chat(exchange)
        elif route == ("GET", CHAT_PATH):
            await exchange.reply(self._show_inference(request.query))
        else:
            await exchange.reply(self._public.answer(request))

    def refuse(self, status: int, message: str) -> Reply:
        """Words an error as a node does."""
        return reply(status, {"error": message})

    def fault_reply(self, status: int, order: FaultOrder) -> Reply:
        """Gives the reply that a node, or the proxy before it, has for a status."""
        headers = {} if order.retry_after_s is None else {"retry-after": str(order.retry_after_s)}
        if status == 410:
            return _deprecated()
        if status == 502:
            page = NGINX_PAGE.format("502 Bad Gateway") + "</body>\r\n</html>\r\n"
            return Reply(502, page.encode("ascii"), "text/html", headers)
        if status in REDIRECTS:
            headers["location"] = order.location
        message = order.message or FAULT_MESSAGES[status].replace("{url}", self.url)
        return reply(status, {"error": message}, headers)

    # Chat.

    async def _chat(self, exchange: Exchange) -> None:
        visit = self.faults.visit()
        fault = visit.arrival
        rejection = fault is not None and _is_of_engine(fault.order)
        if fault and not rejection and await fault.arrive(exchange, self.fault_reply) is Passage.ANSWERED:
            return
        try:
            call, account = self._accept(exchange.request, fault.skew_ns if fault else 0)
        except RefusedError as error:
            await exchange.reply(self.refuse(error.status, error.message))
            return
        if fault and rejection:
            self._chain.finish(self._start(exchange.request, call, account), REJECTED_PROMPT_TOKENS, 0)
            await fault.arrive(exchange, self.fault_reply)
            return
        await self._serve(exchange, call, account, visit.take_answer())

    def _accept(self, request: Request, skew_ns: int) -> tuple[ChatCall, Account]:
        """Makes every check before an inference begins, in a node's order.

        Raises:
            RefusedError: One of them failed.
        """
        fields = _read_request(request.body)  # row 2
        check_transfer_agent(self._chain, self.address)  # row 3
        authorization = request.headers.get("authorization", "")
        if not authorization:
            raise RefusedError(401, "Authorization is required")  # row 4
        if not read_model(fields):
            raise RefusedError(400, "No model specified")  # row 5
        requester = request.headers.get("x-requester-address", "")
        check_developer(self._chain, requester)  # row 6
        try:
            call = build_call(fields, DEFAULT_MAX_TOKENS, MAX_TOKENS_CAP)
        except CallError as error:
            raise RefusedError(400, str(error)) from error  # row 7
        account, public_key = find_published_account(self._chain, requester)  # row 8
        if is_for_executor(request):
            self._executor.check(request, fields, public_key)
            return call, account
        timestamp_ns = parse_timestamp(request.headers.get("x-timestamp", ""))
        signer = request.headers.get("x-transfer-address") or self.address  # a developer should not send it
        check_signature(
            public_key, build_signed_bytes(self.scheme, request.body, timestamp_ns, signer), authorization
        )  # row 9
        if call.model not in self._world.models:
            raise RefusedError(404, "model not found")  # row 10
        self._check_balance(call, account)  # row 11
        block = self._chain.clock.latest()
        check_timestamp(timestamp_ns, Block(block.height, block.time_ns + skew_ns), self.scheme)  # row 12
        self._replays.check(authorization, block)  # row 13
        self._bandwidth.take(measure_prompt(call), call.max_tokens, self.url)  # row 14
        check_executors(self._chain, self.address)  # row 15
        return call, account

    def _check_balance(self, call: ChatCall, account: Account) -> None:
        """Compares the balance with the prompt's bytes and `max_tokens` alone, as nodes do."""
        max_tokens = read_max_tokens(call.fields, "max_tokens") or DEFAULT_MAX_TOKENS
        if account.balance_ngonka < (measure_prompt(call) + max_tokens) * self._chain.price_ngonka:
            raise RefusedError(402, "Insufficient balance")

    async def _serve(self, exchange: Exchange, call: ChatCall, account: Account, fault: AnswerFault) -> None:
        inference = self._start(exchange.request, call, account)
        rendering = Rendering(
            inference.id,
            self._now_ns() // NS_PER_S,
            call.model,
            Manner.CLASSIC,
            self._settings.return_token_ids,
        )
        opening = Reply(200, b"", "text/event-stream")
        try:
            await Delivery(exchange, call, rendering, fault, opening).run(self._engine, self._chain, inference)
        except EngineRefusedError as error:
            await exchange.reply(self._refuse_for_engine(error, inference))

    def _refuse_for_engine(self, error: EngineRefusedError, inference: Inference) -> Reply:
        """Passes an engine's refusal on; only of a rejected payload an inference is recorded, of one prompt token."""
        if error.status == 503:
            return self.refuse(503, "no inference nodes available")
        message = f"{ENGINE_WORDS} with an error. code = {error.status}. error = {error.body}."
        if error.status in {400, 422}:
            self._chain.finish(inference, REJECTED_PROMPT_TOKENS, 0)
            return self.refuse(error.status, message)
        return self.refuse(500, message)

    def _start(self, request: Request, call: ChatCall, account: Account) -> Inference:
        """Records the beginning of an inference; its id is the signature."""
        return self._chain.start(
            Order(
                request.headers["authorization"],
                account.address,
                self.address,
                call.model,
                escrow_tokens=estimate_tokens(call),
                max_tokens=call.max_tokens,
                input_bytes=len(request.body),
            )
        )

    def _show_inference(self, query: str) -> Reply:
        """Shows the chain's record, whichever node took the inference; a bare `+` in a query is a space, as in Go."""
        (inference_id,) = parse_qs(query).get("id", [""])[:1]
        if not inference_id:
            return self.refuse(400, "Id required")
        inference = self._chain.inferences.get(inference_id)
        if inference is None:
            return self.refuse(404, "Inference not found")
        return reply(200, show_inference(self._chain, inference))


def _read_request(body: bytes) -> dict[str, Any]:
    try:
        fields = parse_object(body)
        read_model(fields)
        require_messages(fields)
    except CallError as error:
        missing = str(error) == "messages is required"
        message = str(error) if missing else f"invalid chat completion request: {error}"
        raise RefusedError(400, message) from error
    return fields


def _is_of_engine(order: FaultOrder) -> bool:
    """Says whether a status fault is the engine's rejection, which comes after all checks and is recorded."""
    if order.fault not in {"400", "422"}:
        return False
    return (order.message or FAULT_MESSAGES[int(order.fault)]).startswith(ENGINE_WORDS)


def _deprecated() -> Reply:
    headers = {"Deprecation": "true", "Link": '</devshard/{version}>; rel="successor-version"'}
    message = "classic inference is deprecated; use devshard"
    return reply(410, {"error": "deprecated", "message": message}, headers)
