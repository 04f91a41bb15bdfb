"""How an account stands on the chain: its balance, whether its public key is published, and what to do next."""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

from tallygate.core.address import is_address
from tallygate.core.wallets import read_bank
from tallygate.direct.errors import EndpointError
from tallygate.direct.web import get, parse_base_url

NOT_NEEDED = "You do not need to register as a participant."


class AccountState(NamedTuple):
    """One account.

    Attributes:
        address: Its address.
        balance_ngonka: What it has; None if the node does not say.
        public_key: Its public key as the chain knows it; None if it is not published.
    """

    address: str
    balance_ngonka: int | None
    public_key: bytes | None

    @property
    def is_ready(self) -> bool:
        """Whether it can pay for requests."""
        return self.public_key is not None and bool(self.balance_ngonka)

    @property
    def advice(self) -> str:
        """What to do next."""
        if self.is_ready:
            return f"Ready for signed requests. {NOT_NEEDED}"
        if not self.balance_ngonka:
            unsure = " (if it has some: publish its public key)" if self.balance_ngonka is None else ""
            return f"Send GNK to {self.address} first{unsure}; then run: tallygate wallet publish-pubkey. {NOT_NEEDED}"
        return (
            "Publish the public key: tallygate wallet publish-pubkey (any transaction from the account does it, too). "
            + NOT_NEEDED
        )


def look_up_account(node_url: str, address: str) -> AccountState:
    """Return how an account stands (`GET /v2/accounts/:address`).

    Raises:
        DirectError: The node does not say.
    """
    if not is_address(address):
        raise EndpointError(f"{address!r} is not an address; an account's begins with gonka1 and has a checksum.")
    base = parse_base_url(node_url)
    found = get(f"{base}/v2/accounts/{address}")
    if found.status == 404:  # unknown, or known without a key: its balance tells which, where the node shows it
        return AccountState(address, _ask_balance(base, address), None)
    content: Any = found.require()
    fields = content if isinstance(content, dict) else {}
    return AccountState(address, _amount(fields.get("balance", 0)), _public_key(fields.get("pubkey")))


def _ask_balance(base: str, address: str) -> int | None:
    found = get(f"{base}/chain-api/cosmos/bank/v1beta1/balances/{address}")
    return read_bank(found.status, found.body)


def _amount(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _public_key(value: Any) -> bytes | None:
    try:
        key = binascii.a2b_base64(value.encode("ascii"), strict_mode=True) if isinstance(value, str) else b""
    except ValueError:
        return None
    return key or None


def encode_public_key(key: bytes) -> str:
    """Return a public key as nodes show it."""
    return base64.b64encode(key).decode("ascii")
