"""The executor's side of a node: a request that a transfer agent passes on, and how it proves that it may.

A node takes a request as an executor's when it has both X-Inference-Id and X-Seed. It checks the developer's signature
for the transfer agent's address, the agent's own over the same and this node's address, the time, that it is new to
this role, and that the prompt is the one which was signed. Here each transfer agent runs what it takes by itself, so
nothing of devnet's own sends such a request; whoever plays a transfer agent can.
"""

import hashlib
import json
from typing import Any

from tallygate.devnet.calls import JsonObject
from tallygate.devnet.chain import Block, Chain
from tallygate.devnet.participants import Participant
from tallygate.devnet.server import Request
from tallygate.devnet.settings import Scheme
from tallygate.devnet.verification import (
    EXPIRATION_NS,
    RefusedError,
    ReplayGuard,
    build_signed_bytes,
    check_signature,
    parse_timestamp,
    verify_signature,
)

TOP_LOGPROBS = 5
DEFAULT_MAX_TOKENS = 5000
SEED_DIGITS = 10


def is_for_executor(request: Request) -> bool:
    """Says whether a request comes from a transfer agent."""
    return bool(request.headers.get("x-inference-id")) and bool(request.headers.get("x-seed"))


def modify_body(fields: JsonObject, seed: int, *, return_token_ids: bool) -> dict[str, Any]:
    """Gives what a node makes of a body before its engine sees it."""
    max_tokens = fields.get("max_tokens") or fields.get("max_completion_tokens") or DEFAULT_MAX_TOKENS
    modified = {
        **fields,
        "logprobs": True,
        "top_logprobs": max(TOP_LOGPROBS, fields.get("top_logprobs") or 0),
        "max_tokens": max_tokens,
        "max_completion_tokens": max_tokens,
        "skip_special_tokens": False,
        "seed": fields.get("seed", seed),
    }
    if return_token_ids:
        modified["return_token_ids"] = True
    if modified.get("stream"):
        modified["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    return modified


def hash_prompt(modified: JsonObject) -> str:
    """Gives the hash under which a prompt is known on the chain: of its canonical JSON."""
    text = json.dumps(modified, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class ExecutorDoor:
    """One node's checks of what transfer agents pass on to it."""

    def __init__(
        self,
        scheme: Scheme,
        address: str,
        chain: Chain,
        participants: list[Participant],
        *,
        return_token_ids: bool,
    ) -> None:
        self._scheme = scheme
        self._address = address
        self._chain = chain
        self._participants = participants
        self._return_token_ids = return_token_ids
        self._replays = ReplayGuard("executor")

    def check(self, request: Request, fields: JsonObject, public_key: bytes) -> None:
        """Makes an executor's checks, in its order.

        Raises:
            RefusedError: One of them failed.
        """
        headers, authorization = request.headers, request.headers.get("authorization", "")
        timestamp_ns = parse_timestamp(headers.get("x-timestamp", ""))
        agent = headers.get("x-transfer-address", "")
        check_signature(public_key, build_signed_bytes(self._scheme, request.body, timestamp_ns, agent), authorization)
        self._check_agent(request, timestamp_ns, agent)
        block = self._chain.clock.latest()
        _check_age(timestamp_ns, block)
        self._replays.check(authorization, block)
        if self._scheme is Scheme.HASH:
            self._check_prompt(fields, headers.get("x-seed", ""), headers.get("x-prompt-hash", ""))
        if self._chain.is_quiet:
            raise RefusedError(503, "no inference nodes available")

    def _check_agent(self, request: Request, timestamp_ns: int, agent: str) -> None:
        known = [one.public_key for one in self._participants if one.address == agent]
        is_raw = self._scheme is Scheme.RAW
        payload = request.body if is_raw else request.headers.get("x-prompt-hash", "").encode("latin-1")
        signed = payload + f"{timestamp_ns}{agent}{self._address}".encode("ascii", "replace")
        signature = request.headers.get("x-ta-signature", "")
        if not any(verify_signature(key, signed, signature) for key in known):
            raise RefusedError(401, "Unable to validate request against TransferSignature:invalid signature")

    def _check_prompt(self, fields: JsonObject, seed: str, prompt_hash: str) -> None:
        if not prompt_hash:
            raise RefusedError(400, "Prompt hash is missing")
        if not (seed.isascii() and seed.isdecimal() and len(seed) <= SEED_DIGITS):
            raise RefusedError(400, "Bad Request")
        modified = modify_body(fields, int(seed), return_token_ids=self._return_token_ids)
        if hash_prompt(modified) != prompt_hash:
            raise RefusedError(400, "Prompt hash mismatch")


def _check_age(timestamp_ns: int, block: Block) -> None:
    """Refuses only what is too old: what seems to be of the future, an executor merely logs."""
    if block.time_ns - timestamp_ns > EXPIRATION_NS:
        raise RefusedError(400, "Request timestamp is too old")
