"""A node's public API besides chat: who it is, what it serves, who else is there, and what an account holds.

Read only. The chain's own REST interface, which a node passes on under /chain-api/, is in `chainapi`.
"""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from tallygate.devnet.catalog import list_chain_models, list_models, show_legacy_prices, show_prices
from tallygate.devnet.chain import NS_PER_S, Chain
from tallygate.devnet.chainapi import CHAIN_API_PREFIX, CHAIN_RPC_PREFIX, ChainApi
from tallygate.devnet.identity import Identity, is_address
from tallygate.devnet.participants import Participant, show_active_participants, show_participants
from tallygate.devnet.rendering import Manner, encode_json
from tallygate.devnet.server import Reply, Request
from tallygate.devnet.settings import DevnetSettings, ModelList, NodeSettings
from tallygate.devnet.times import show_time

ACCOUNT_PREFIXES = ("/v2/accounts", "/v1/participants")
VERSION = {ModelList.CHAIN: "v0.2.11", ModelList.OPENAI: "v0.2.13"}


Show = Callable[[], object]


class PublicApi:
    """The look-ups of one node."""

    def __init__(
        self,
        settings: NodeSettings,
        world: DevnetSettings,
        identity: Identity,
        chain: Chain,
        participants: list[Participant],
    ) -> None:
        self._settings = settings
        self._models = world.models
        self._identity = identity
        self._chain = chain
        self._participants = participants
        self._chain_api = ChainApi(chain, world.models)
        self._routes: dict[str, Show] = {
            "/v1/status": lambda: {"status": "ok"},
            "/v1/identity": self._show_identity,
            "/v1/versions": self._show_versions,
            "/v1/models": self._list_models,
            "/v1/governance/models": lambda: {"models": list_chain_models(self._models)},
            "/v1/pricing": lambda: show_legacy_prices(self._models),
            "/v1/governance/pricing": lambda: show_prices(chain, self._models),
            "/v1/participants": lambda: show_participants(chain, participants),
            "/v1/epochs/latest": lambda: chain.epochs.show(chain.clock.latest().height),
        }

    def answer(self, request: Request) -> Reply:
        """Answers whatever is not chat."""
        if request.path.startswith((CHAIN_API_PREFIX, CHAIN_RPC_PREFIX)):
            return self._chain_api.answer(request)
        if request.path + "/" == CHAIN_RPC_PREFIX:
            return Reply(301, b"", "text/html", {"location": CHAIN_RPC_PREFIX})
        if request.method != "GET":
            return refuse(404, "Not Found")
        route = self._routes.get(request.path)
        return reply(200, route()) if route else self._answer_one(request.path)

    def _answer_one(self, path: str) -> Reply:
        prefix, _, last = path.rpartition("/")
        if prefix in ACCOUNT_PREFIXES:
            return self._show_account(unquote(last))
        if prefix == "/v2/participants":
            return self._show_participant(unquote(last))
        if prefix.startswith("/v1/epochs/") and last == "participants":
            return self._show_epoch(prefix.removeprefix("/v1/epochs/"))
        if prefix == "/v1/epochs":
            return refuse(400, "Invalid epoch id")
        return refuse(404, "Not Found")

    def _show_identity(self) -> object:
        block = self._chain.clock.latest()
        data: dict[str, Any] = {
            "address": self._identity.address,
            "block": block.height,
            "timestamp": show_time(block.time_ns // NS_PER_S),
        }
        if self._chain.parameters.delegates:
            data["delegate_ta"] = dict(self._chain.parameters.delegates)
        signature = self._identity.sign(encode_json(data, Manner.CLASSIC))
        return {"data": data, "signature": signature}

    def _show_versions(self) -> object:
        node = {"application_name": "inference-chain", "version": VERSION[self._settings.models_as]}
        return {"timestamp": show_time(self._chain.clock.latest().time_ns // NS_PER_S), "node_version": node}

    def _list_models(self) -> object:
        if self._settings.models_as is ModelList.CHAIN:
            return {"models": list_chain_models(self._models)}
        return list_models(self._models)

    def _show_account(self, address: str) -> Reply:
        """Tells of an account; in contrast to chat, one that is not there is a 404."""
        if not is_address(address):
            return refuse(400, "invalid address")
        account = self._chain.find_account(address)
        if account is None or account.public_key is None:
            return refuse(404, "account not found" if account is None else "account has no public key")
        shown = base64.b64encode(account.public_key).decode("ascii")
        return reply(200, {"pubkey": shown, "balance": account.balance_ngonka, "denom": "ngonka"})

    def _show_participant(self, address: str) -> Reply:
        for participant in self._participants:
            if participant.address == address:
                shown = {
                    "index": address,
                    "address": address,
                    "weight": 0,
                    "inference_url": participant.url,
                    "status": "ACTIVE",
                    "worker_public_key": base64.b64encode(participant.public_key).decode("ascii"),
                }
                return reply(200, {"participant": shown})
        return refuse(404, "participant not found")

    def _show_epoch(self, name: str) -> Reply:
        """Tells of an epoch's participants; only of the epoch in charge."""
        current = self._chain.epochs.effective_index(self._chain.clock.latest().height)
        if name not in {"current", str(current)}:
            if not name.isdecimal() or int(name) == 0:
                return refuse(400, "Invalid epoch id")
            return refuse(404, f"No active participants found for epoch {int(name)}")
        return reply(200, show_active_participants(self._chain, self._participants))


def refuse(status: int, message: str) -> Reply:
    """Words an error as a node does."""
    return reply(status, {"error": message})


def reply(status: int, value: object, headers: dict[str, str] | None = None) -> Reply:
    """Gives a value as JSON."""
    return Reply(status, json.dumps(value).encode("ascii"), headers=headers or {})
