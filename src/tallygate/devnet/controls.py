"""The control routes under /devnet/ that every port offers to tests: accounts, faults, clock, network, state.

No part of the Gonka protocol. Faults belong to the port that was told, or to the `node` that it was told of; accounts,
clock, parameters and inferences are the chain's, the same on every port. A wrong input is a 400 that names its field.
"""

import json
from collections.abc import Callable
from typing import Any

from tallygate.devnet.calls import CallError, parse_object
from tallygate.devnet.chain import Account, Chain
from tallygate.devnet.epochs import Phase
from tallygate.devnet.faults import FaultBook
from tallygate.devnet.hosts import ALL, Host, find_books
from tallygate.devnet.identity import is_address
from tallygate.devnet.inputs import (
    COUNT_LIMIT,
    OFFSET_LIMIT_S,
    ORDER_FIELDS,
    ControlError,
    check_names,
    read_address,
    read_addresses,
    read_bool,
    read_int,
    read_order,
    read_public_key,
    read_script,
    read_text,
    read_texts,
)
from tallygate.devnet.server import Reply, Request

CONTROL_PREFIX = "/devnet/"
BALANCE_LIMIT_NGONKA = 2**63 - 1  # nodes show a balance as a 64-bit integer
ACCOUNT_FIELDS = frozenset({"pubkey", "address", "balance", "publish"})
CLOCK_FIELDS = frozenset({"stall", "offset_s", "skip_blocks"})
SCRIPT_FIELDS = frozenset({"script", "repeat", "node"})
NETWORK_FIELDS = frozenset(
    {
        "price_ngonka",
        "allowed_transfer_addresses",
        "excluded",
        "restricted_until_height",
        "allowed_developers",
        "kb_per_block",
        "delegate_ta",
        "phase",
        "confirmation_poc",
        "absent",
    }
)


Route = Callable[[dict[str, Any]], object]


class Controls:
    """The control routes of one port."""

    def __init__(self, chain: Chain, hosts: list[Host], own: Host, scheme: str) -> None:
        self._chain = chain
        self._hosts = hosts
        self._own = own
        self._scheme = scheme
        self._routes: dict[tuple[str, str], Route] = {
            ("POST", "/devnet/accounts"): self._set_account,
            ("POST", "/devnet/faults"): self._order_faults,
            ("DELETE", "/devnet/faults"): self._clear_faults,
            ("POST", "/devnet/clock"): self._set_clock,
            ("POST", "/devnet/network"): self._set_network,
            ("GET", "/devnet/network"): self._show_network,
            ("GET", "/devnet/state"): self._show_state,
        }

    def answer(self, request: Request) -> Reply:
        """Answers a request whose path starts with `CONTROL_PREFIX`."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return _reply(404, {"error": f"no control {request.method} {request.path}"})
        try:
            fields = parse_object(request.body) if request.body or request.method == "POST" else {}
            return _reply(200, route(fields))
        except CallError as error:
            return _reply(400, {"error": f"body: {error}", "field": "body"})
        except ControlError as error:
            return _reply(400, {"error": str(error), "field": error.name})

    def _set_account(self, fields: dict[str, Any]) -> object:
        check_names(fields, ACCOUNT_FIELDS)
        public_key = read_public_key(fields)
        address = read_address(fields, public_key)
        publish = read_bool(fields, "publish")
        if publish and public_key is None:
            raise ControlError("pubkey", "is needed to publish it")
        known = self._chain.find_account(address)
        balance = known.balance_ngonka if known else 0
        balance = read_int(fields, "balance", balance, 0, BALANCE_LIMIT_NGONKA)
        account = self._chain.open_account(address)
        account.balance_ngonka = balance
        if publish is False:
            account.public_key = None
        elif public_key is not None:
            account.public_key = public_key
        return {"address": address, **_describe_account(account)}

    def _order_faults(self, fields: dict[str, Any]) -> object:
        if "script" in fields:
            check_names(fields, SCRIPT_FIELDS)
            script, repeats = read_script(fields), read_bool(fields, "repeat") or False
            for book in self._find_books(fields):
                book.follow(script, repeats=repeats)
            return {"script": len(script), "repeat": repeats}
        check_names(fields, ORDER_FIELDS | {"node"})
        order = read_order(fields)
        for book in self._find_books(fields):
            book.order(order)
        return {"fault": order.fault, "times": order.times}

    def _clear_faults(self, fields: dict[str, Any]) -> object:
        check_names(fields, {"node"})
        for book in self._find_books(fields):
            book.clear()
        return {"faults": []}

    def _find_books(self, fields: dict[str, Any]) -> list[FaultBook]:
        """Gives the books that a control means: this port's, unless it names a node."""
        if fields.get("node") is None:
            return [self._own.faults]
        wanted = fields["node"]
        books = find_books(self._hosts, str(wanted)) if isinstance(wanted, str | int) else []
        if not books:
            names = ", ".join(host.name for host in self._hosts)
            raise ControlError("node", f"must be {ALL}, {names}, or one of their URLs or addresses")
        return books

    def _set_clock(self, fields: dict[str, Any]) -> object:
        check_names(fields, CLOCK_FIELDS)
        clock = self._chain.clock
        stall = read_bool(fields, "stall")
        offset_s = read_int(fields, "offset_s", clock.offset_s, -OFFSET_LIMIT_S, OFFSET_LIMIT_S)
        skipped = read_int(fields, "skip_blocks", 0, 0, COUNT_LIMIT)
        clock.shift(offset_s)
        clock.skip(skipped)
        if stall is True:
            clock.stall()
        elif stall is False:
            clock.resume()
        return {"block": self._describe_block(), "stall": clock.stalled, "offset_s": offset_s}

    def _set_network(self, fields: dict[str, Any]) -> object:
        """Changes what the chain's governance decides; all of it, or nothing where one field is wrong."""
        check_names(fields, NETWORK_FIELDS)
        old = self._chain.parameters
        price = read_int(fields, "price_ngonka", old.price_ngonka, 0, COUNT_LIMIT)
        allowed = read_addresses(fields, "allowed_transfer_addresses", old.allowed_transfer_addresses)
        excluded = _read_excluded(fields, old.excluded)
        height = read_int(fields, "restricted_until_height", old.restricted_until_height, 0, 2**53)
        developers = read_addresses(fields, "allowed_developers", old.allowed_developers)
        limit = old.kb_per_block
        if "kb_per_block" in fields:
            no_limit = fields["kb_per_block"] is None
            limit = None if no_limit else read_int(fields, "kb_per_block", 0, 0, COUNT_LIMIT)
        delegates = read_texts(fields, "delegate_ta", old.delegates)
        absent = read_addresses(fields, "absent", ())
        phase = _read_phase(fields)
        confirmation = read_bool(fields, "confirmation_poc")
        old.price_ngonka, old.kb_per_block, old.excluded, old.delegates = price, limit, excluded, delegates
        old.allowed_transfer_addresses, old.allowed_developers = allowed, developers
        old.restricted_until_height = height
        epochs = self._chain.epochs
        if phase is not None:
            epochs.enter(phase, self._chain.clock.latest().height)
        epochs.confirmation_poc = epochs.confirmation_poc if confirmation is None else confirmation
        if "absent" in fields:
            epoch = epochs.effective_index(self._chain.clock.latest().height)
            self._chain.membership.announce(frozenset(absent), epoch + 1)
        return self._show_network({})

    def _show_network(self, fields: dict[str, Any]) -> object:
        del fields
        parameters, height = self._chain.parameters, self._chain.clock.latest().height
        return {
            "price_ngonka": parameters.price_ngonka,
            "allowed_transfer_addresses": list(parameters.allowed_transfer_addresses),
            "excluded": dict(parameters.excluded),
            "restricted_until_height": parameters.restricted_until_height,
            "allowed_developers": list(parameters.allowed_developers),
            "kb_per_block": parameters.kb_per_block,
            "delegate_ta": dict(parameters.delegates),
            "phase": self._chain.epochs.phase_at(height),
            "confirmation_poc": self._chain.epochs.confirmation_poc,
            "absent": sorted(self._chain.membership.announced),
            "epoch": self._chain.epochs.at(height).as_json(),
        }

    def _show_state(self, fields: dict[str, Any]) -> object:
        del fields
        return {
            "node_address": self._own.address,
            "scheme": self._scheme,
            "block": self._describe_block(),
            "accounts": {account.address: _describe_account(account) for account in self._chain.accounts.values()},
            "escrowed": {
                account.address: account.escrowed_ngonka
                for account in self._chain.accounts.values()
                if account.escrowed_ngonka
            },
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


def _read_excluded(fields: dict[str, Any], otherwise: dict[str, str]) -> dict[str, str]:
    excluded = read_texts(fields, "excluded", otherwise)
    if not all(is_address(address) for address in excluded):
        raise ControlError("excluded", "must be an object of reasons by gonka1… address")
    return excluded


def _read_phase(fields: dict[str, Any]) -> Phase | None:
    text = read_text(fields, "phase")
    if text is None:
        return None
    try:
        return Phase(text)
    except ValueError as error:
        raise ControlError("phase", f"must be one of {', '.join(Phase)}") from error
