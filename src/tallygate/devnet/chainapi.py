"""The chain's own REST interface, which every node passes on under /chain-api/, and a little of its RPC.

Numbers are texts, as protobuf's JSON has 64-bit integers. What is offered is what clients of the network ask for:
parameters, prices, balances, account numbers, and the broadcasting of a transaction. Errors are gRPC's.
"""

import base64
import binascii
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from tallygate.devnet.calls import CallError, parse_object
from tallygate.devnet.catalog import CAPACITY_TOKENS, list_chain_models
from tallygate.devnet.chain import EXPIRATION_BLOCKS, NS_PER_S, Account, Chain
from tallygate.devnet.identity import is_address
from tallygate.devnet.server import Reply, Request
from tallygate.devnet.times import show_time
from tallygate.devnet.transactions import (
    DENOM,
    KEY_TYPE,
    TransactionError,
    carry_out,
    decode_transaction,
    hash_transaction,
    simulate_transaction,
)

CHAIN_API_PREFIX = "/chain-api/"
CHAIN_RPC_PREFIX = "/chain-rpc/"
INFERENCE = "productscience/inference/inference/"
BANK = "cosmos/bank/v1beta1/"
AUTH = "cosmos/auth/v1beta1/accounts/"
TX = "cosmos/tx/v1beta1/"
TENDERMINT = "cosmos/base/tendermint/v1beta1/"
# gRPC's codes, and the HTTP statuses that its gateway makes of them.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
UNIMPLEMENTED = 12
STATUSES = {
    INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    NOT_FOUND: HTTPStatus.NOT_FOUND,
    UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
}


Show = Callable[[], object]
ShowOne = Callable[[str], object]


class GrpcError(Exception):
    """The chain has no answer.

    Attributes:
        code: gRPC's code of the reason.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ChainApi:
    """The chain's routes, the same on every node."""

    def __init__(self, chain: Chain, models: tuple[str, ...]) -> None:
        self._chain = chain
        self._models = models
        self._fixed: dict[str, Show] = {
            f"{INFERENCE}params": lambda: {"params": self._show_params()},
            f"{INFERENCE}models_all": lambda: {"model": list_chain_models(models), "pagination": _page(len(models))},
            f"{INFERENCE}all_model_per_token_prices": lambda: {"model_prices": [self._price(m) for m in models]},
            f"{INFERENCE}all_model_capacities": lambda: {"model_capacities": [_capacity(m) for m in models]},
            f"{INFERENCE}epoch_info": lambda: _as_texts(chain.epochs.show(chain.clock.latest().height)),
            f"{TENDERMINT}node_info": lambda: {"default_node_info": {"network": chain.id, "moniker": "devnet"}},
            f"{TENDERMINT}blocks/latest": self._show_latest_block,
        }
        self._by_prefix: dict[str, ShowOne] = {
            f"{INFERENCE}model_per_token_price/": self._show_price,
            f"{INFERENCE}inference_participant/": self._show_inference_participant,
            f"{BANK}balances/": self._show_balances,
            f"{BANK}spendable_balances/": self._show_balances,
            AUTH: self._show_account,
            f"{TX}txs/": self._show_transaction,
        }

    def answer(self, request: Request) -> Reply:
        """Answers a request whose path starts with one of the prefixes."""
        try:
            if request.path.startswith(CHAIN_RPC_PREFIX):
                return _reply(self._answer_rpc(request))
            route = unquote(request.path.removeprefix(CHAIN_API_PREFIX))
            if request.method == "POST":
                return _reply(self._answer_post(route, request.body))
            return _reply(self._answer_get(route))
        except GrpcError as error:
            return _reply({"code": error.code, "message": str(error), "details": []}, STATUSES[error.code])

    def _answer_get(self, route: str) -> object:
        if fixed := self._fixed.get(route):
            return fixed()
        for prefix, show in self._by_prefix.items():
            if route.startswith(prefix):
                return show(route.removeprefix(prefix))
        raise GrpcError(UNIMPLEMENTED, "Not Implemented")

    def _answer_post(self, route: str, body: bytes) -> object:
        if route not in {f"{TX}txs", f"{TX}simulate"}:
            raise GrpcError(UNIMPLEMENTED, "Not Implemented")
        data = _read_transaction(body, "tx_bytes")
        if route == f"{TX}simulate":
            return self._simulate(data)
        return {"tx_response": self._broadcast(data)}

    def _answer_rpc(self, request: Request) -> object:
        """Answers the few calls of CometBFT's RPC that a wallet makes."""
        name, call_id = request.path.removeprefix(CHAIN_RPC_PREFIX), -1
        fields: dict[str, Any] = {}
        if request.method == "POST" and not name:
            fields = _read_object(request.body)
            name, call_id = str(fields.get("method")), fields.get("id", -1)
        if name == "status":
            return {"jsonrpc": "2.0", "id": call_id, "result": self._show_rpc_status()}
        if name == "broadcast_tx_sync":
            sent = self._broadcast(_read_transaction(json.dumps(fields.get("params") or {}).encode(), "tx"))
            result = {"code": sent["code"], "data": "", "log": sent["raw_log"], "codespace": sent["codespace"]}
            return {"jsonrpc": "2.0", "id": call_id, "result": {**result, "hash": sent["txhash"]}}
        return {"jsonrpc": "2.0", "id": call_id, "error": {"code": -32601, "message": "Method not found", "data": ""}}

    # What is shown.

    def _show_params(self) -> object:
        parameters = self._chain.parameters
        shown = {
            "epoch_params": self._chain.epochs.show(0)["epoch_params"],
            "validation_params": {
                "timestamp_expiration": 60,
                "timestamp_advance": 30,
                "expiration_blocks": EXPIRATION_BLOCKS,
            },
            "dynamic_pricing_params": {"min_per_token_price": 1, "base_per_token_price": 100},
            "bandwidth_limits_params": {"estimated_limits_per_block_kb": parameters.kb_per_block or 0},
            "developer_access_params": {
                "until_block_height": parameters.restricted_until_height,
                "allowed_developer_addresses": list(parameters.allowed_developers),
            },
            "transfer_agent_access_params": {
                "allowed_transfer_addresses": list(parameters.allowed_transfer_addresses),
            },
        }
        return _as_texts(shown)

    def _price(self, model: str) -> dict[str, str]:
        return {"model_id": model, "price": str(self._chain.parameters.price_ngonka)}

    def _show_price(self, model: str) -> object:
        if model not in self._models:
            raise GrpcError(NOT_FOUND, "model price not found")
        return {"price": str(self._chain.parameters.price_ngonka)}

    def _show_latest_block(self) -> object:
        block = self._chain.clock.latest()
        time = show_time(block.time_ns // NS_PER_S)
        return {"block": {"header": {"chain_id": self._chain.id, "height": str(block.height), "time": time}}}

    def _show_rpc_status(self) -> object:
        block = self._chain.clock.latest()
        time = show_time(block.time_ns // NS_PER_S)
        sync = {"latest_block_height": str(block.height), "latest_block_time": time, "catching_up": False}
        return {"node_info": {"network": self._chain.id, "moniker": "devnet"}, "sync_info": sync}

    def _show_balances(self, rest: str) -> object:
        address, _, narrowed = rest.partition("/")
        _check_address(address)
        account = self._chain.find_account(address)
        amount = account.balance_ngonka if account else 0
        coin = {"denom": DENOM, "amount": str(amount)}
        if narrowed.startswith("by_denom"):
            return {"balance": coin}
        return {"balances": [coin] if amount else [], "pagination": _page(1 if amount else 0)}

    def _show_account(self, address: str) -> object:
        account = self._find(address, f"account {address} not found: key not found")
        key = {"@type": KEY_TYPE, "key": _encode(account.public_key)} if account.public_key else None
        shown = {
            "@type": "/cosmos.auth.v1beta1.BaseAccount",
            "address": address,
            "pub_key": key,
            "account_number": str(account.number),
            "sequence": str(account.sequence),
        }
        return {"account": shown}

    def _show_inference_participant(self, address: str) -> object:
        account = self._find(address, "account not found")
        if account.public_key is None:
            raise GrpcError(NOT_FOUND, "account has no public key")
        return {"pubkey": _encode(account.public_key), "balance": str(account.balance_ngonka)}

    def _show_transaction(self, name: str) -> object:
        shown = self._chain.transactions.get(name.upper())
        if shown is None:
            raise GrpcError(NOT_FOUND, f"tx not found: {name}")
        return {"tx": None, "tx_response": shown}

    # What changes the chain.

    def _simulate(self, data: bytes) -> object:
        try:
            gas_used = simulate_transaction(self._chain, decode_transaction(data))
        except TransactionError as error:
            raise GrpcError(INVALID_ARGUMENT, str(error)) from error
        return {
            "gas_info": {"gas_wanted": "0", "gas_used": str(gas_used)},
            "result": {"data": "", "log": "", "events": [], "msg_responses": []},
        }

    def _broadcast(self, data: bytes) -> dict[str, Any]:
        """Takes a transaction; one that is not taken is an answer too, with its code."""
        name = hash_transaction(data)
        shown: dict[str, Any] = {"height": "0", "txhash": name, "codespace": "", "code": 0, "raw_log": ""}
        if name in self._chain.transactions:
            return shown | {"codespace": "sdk", "code": 19, "raw_log": "tx already in mempool"}
        try:
            carry_out(self._chain, decode_transaction(data))
        except TransactionError as error:
            return shown | {"codespace": "sdk", "code": error.code, "raw_log": str(error)}
        block = self._chain.clock.latest()
        time = show_time(block.time_ns // NS_PER_S)
        self._chain.transactions[name] = shown | {"height": str(block.height), "timestamp": time}
        return shown

    def _find(self, address: str, otherwise: str) -> Account:
        _check_address(address)
        account = self._chain.find_account(address)
        if account is None:
            raise GrpcError(NOT_FOUND, f"rpc error: code = NotFound desc = {otherwise}")
        return account


def _check_address(address: str) -> None:
    if not is_address(address):
        raise GrpcError(INVALID_ARGUMENT, "decoding bech32 failed: invalid bech32 string")


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except CallError as error:
        raise GrpcError(INVALID_ARGUMENT, str(error)) from error


def _read_transaction(body: bytes, name: str) -> bytes:
    encoded = _read_object(body).get(name)
    try:
        data = base64.b64decode(encoded if isinstance(encoded, str) else "", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise GrpcError(INVALID_ARGUMENT, "invalid empty tx")
    return data


def _encode(public_key: bytes) -> str:
    return base64.b64encode(public_key).decode("ascii")


def _page(total: int) -> dict[str, Any]:
    return {"next_key": None, "total": str(total)}


def _capacity(model: str) -> dict[str, str]:
    return {"model_id": model, "capacity": str(CAPACITY_TOKENS)}


def _as_texts(value: Any) -> Any:
    """Gives a value with all its integers as texts."""
    if isinstance(value, dict):
        return {name: _as_texts(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_texts(member) for member in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _reply(value: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode("ascii"))
