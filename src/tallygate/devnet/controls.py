"""The control routes under /devnet/ that every port offers to tests: accounts, faults, clock, state.

No part of the Gonka protocol. Faults belong to the port that was told; accounts, clock and
inferences are the chain's, the same on every port. A wrong input is a 400 that names its field.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

from tallygate.devnet.calls import CallError, parse_object
from tallygate.devnet.chain import Account, Chain
from tallygate.devnet.faults import FAULT_NAMES, FaultBook, FaultOrder
from tallygate.devnet.identity import derive_address, is_address, is_public_key
from tallygate.devnet.server import Reply, Request

CONTROL_PREFIX = "/devnet/"
BALANCE_LIMIT_NGONKA = 2**63 - 1  # nodes show a balance as a 64-bit integer
COUNT_LIMIT = 1_000_000
OFFSET_LIMIT_S = 10 * 365 * 24 * 3600
ACCOUNT_FIELDS = frozenset({"pubkey", "address", "balance", "publish"})
CLOCK_FIELDS = frozenset({"stall", "offset_s"})
FAULT_FIELDS = frozenset(
    {
        "fault",
        "times",
        "after_frames",
        "usage",
        "count",
        "message",
        "location",
        "retry_after_s",
    }
)


class ControlError(Exception):
    """A control's input is wrong.

    Attributes:
        name: The field.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name


class Controls:
    """The control routes of one port."""

    def __init__(self, chain: Chain, faults: FaultBook, node_address: str, scheme: str) -> None:
        self._chain = chain
        self._faults = faults
        self._node_address = node_address
        self._scheme = scheme
        self._routes: Mapping[tuple[str, str], Callable[[dict[str, Any]], object]] = {
            ("POST", "/devnet/accounts"): self._set_account,
            ("POST", "/devnet/faults"): self._order_fault,
            ("DELETE", "/devnet/faults"): self._clear_faults,
            ("POST", "/devnet/clock"): self._set_clock,
            ("GET", "/devnet/state"): self._show_state,
        }

    def answer(self, request: Request) -> Reply:
        """Answers a request whose path starts with `CONTROL_PREFIX`."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return _reply(404, {"error": f"no control {request.method} {request.path}"})
        try:
            fields = parse_object(request.body) if request.method == "POST" else {}
            return _reply(200, route(fields))
        except CallError as error:
            return _reply(400, {"error": f"body: {error}", "field": "body"})
        except ControlError as error:
            return _reply(400, {"error": str(error), "field": error.name})

    def _set_account(self, fields: dict[str, Any]) -> object:
        _check_names(fields, ACCOUNT_FIELDS)
        public_key = _read_public_key(fields)
        address = _read_address(fields, public_key)
        publish = _read_bool(fields, "publish")
        if publish and public_key is None:
            raise ControlError("pubkey", "is needed to publish it")
        known = self._chain.find_account(address)
        balance = known.balance_ngonka if known else 0
        balance = _read_int(fields, "balance", balance, 0, BALANCE_LIMIT_NGONKA)
        account = self._chain.open_account(address)
        account.balance_ngonka = balance
        if publish is False:
            account.public_key = None
        elif public_key is not None:
            account.public_key = public_key
        return {"address": address, **_describe_account(account)}

    def _order_fault(self, fields: dict[str, Any]) -> object:
        _check_names(fields, FAULT_FIELDS)
        name = fields.get("fault")
        if not isinstance(name, str) or name not in FAULT_NAMES:
            raise ControlError("fault", f"must be one of {', '.join(FAULT_NAMES)}")
        order = FaultOrder(
            fault=name,
            times=_read_times(fields),
            after_frames=_read_int(fields, "after_frames", FaultOrder.after_frames, 0, COUNT_LIMIT),
            usage=_read_usage(fields),
            count=_read_int(fields, "count", FaultOrder.count, 1, COUNT_LIMIT),
            message=_read_text(fields, "message"),
            location=_read_location(fields),
            retry_after_s=_read_int(fields, "retry_after_s", -1, 0, COUNT_LIMIT) if "retry_after_s" in fields else None,
        )
        self._faults.order(order)
        return {"fault": order.fault, "times": order.times}

    def _clear_faults(self, fields: dict[str, Any]) -> object:
        del fields
        self._faults.clear()
        return {"faults": []}

    def _set_clock(self, fields: dict[str, Any]) -> object:
        _check_names(fields, CLOCK_FIELDS)
        clock = self._chain.clock
        stall = _read_bool(fields, "stall")
        offset_s = _read_int(fields, "offset_s", clock.offset_s, -OFFSET_LIMIT_S, OFFSET_LIMIT_S)
        clock.shift(offset_s)
        if stall is True:
            clock.stall()
        elif stall is False:
            clock.resume()
        return {"block": self._describe_block(), "stall": clock.stalled, "offset_s": offset_s}

    def _show_state(self, fields: dict[str, Any]) -> object:
        del fields
        return {
            "node_address": self._node_address,
            "scheme": self._scheme,
            "block": self._describe_block(),
            "accounts": {account.address: _describe_account(account) for account in self._chain.accounts.values()},
            "inferences": [
                {
                    "id": inference.id,
                    "status": self._chain.status_of(inference),
                    "model": inference.model,
                    "prompt_tokens": inference.prompt_tokens,
                    "completion_tokens": inference.completion_tokens,
                    "cost": inference.cost_ngonka,
                    "fee": inference.fee_ngonka,
                    "request_id": inference.request_id,
                    "requester": inference.requester,
                    "node_address": inference.node_address,
                }
                for inference in self._chain.inferences.values()
            ],
        }

    def _describe_block(self) -> object:
        block = self._chain.clock.latest()
        return {"height": block.height, "time_ns": block.time_ns}


def _reply(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value, separators=(",", ":")).encode("ascii"))


def _describe_account(account: Account) -> dict[str, Any]:
    return {"balance": account.balance_ngonka, "published": account.public_key is not None}


def _check_names(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in fields:
        if name not in known:
            raise ControlError(name, f"is unknown; known are {', '.join(sorted(known))}")


def _read_public_key(fields: Mapping[str, Any]) -> bytes | None:
    text = _read_text(fields, "pubkey")
    if text is None:
        return None
    try:
        public_key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        public_key = b""
    if not is_public_key(public_key):
        raise ControlError("pubkey", "must be base64 of a compressed secp256k1 public key")
    return public_key


def _read_address(fields: Mapping[str, Any], public_key: bytes | None) -> str:
    address = _read_text(fields, "address")
    derived = derive_address(public_key) if public_key is not None else None
    if address is None and derived is None:
        raise ControlError("address", "or pubkey must be given")
    if address is not None and not is_address(address):
        raise ControlError("address", "must be a gonka1… address with a right checksum")
    if address is not None and derived is not None and address != derived:
        raise ControlError("address", f"does not belong to pubkey, whose address is {derived}")
    return derived or address or ""


def _read_times(fields: Mapping[str, Any]) -> int | None:
    if "times" in fields and fields["times"] is None:
        return None
    return _read_int(fields, "times", 1, 0, COUNT_LIMIT) or None


def _read_retry_after(fields: Mapping[str, Any]) -> int | None:
    if fields.get("retry_after_s") is None:
        return None
    return _read_int(fields, "retry_after_s", 0, 0, COUNT_LIMIT)


def _read_usage(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = fields.get("usage")
    if usage is not None and not isinstance(usage, dict):
        raise ControlError("usage", "must be an object or null")
    return usage


def _read_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ControlError(name, "must be a text")
    return value


def _read_location(fields: Mapping[str, Any]) -> str:
    location = _read_text(fields, "location") or FaultOrder.location
    if not (location.isascii() and location.isprintable()):
        raise ControlError("location", "must be a URL in ASCII")
    return location


def _read_bool(fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise ControlError(name, "must be true or false")
    return value


def _read_int(fields: Mapping[str, Any], name: str, otherwise: int, low: int, high: int) -> int:
    value = fields.get(name, otherwise)
    if name not in fields:
        return otherwise
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ControlError(name, f"must be a whole number from {low} to {high}")
    return value
