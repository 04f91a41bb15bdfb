"""Publishing a public key: the 1-ngonka transfer of an account to itself, as a transaction of a Cosmos chain.

Any transaction carries its sender's public key, and from then on the chain can check that account's signatures. This
one moves one ngonka from the account to itself and costs the fee. It is built here, signed directly (SIGN_MODE_DIRECT),
and broadcast through a node's `/chain-api/`.

The encoding is protocol buffers, of which five small messages are needed: fields in the order of their numbers, and
what is zero or empty left out, as the chain's own programs do it. The tests hold it against transactions that those
have made.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tallygate.direct.errors import EndpointError, RefusedError
from tallygate.direct.web import get, parse_base_url, post

if TYPE_CHECKING:
    from tallygate.core.signing import SigningKey

DENOM: Final = "ngonka"
CHAIN_ID: Final = "gonka-mainnet"
GAS: Final = 200_000
"""More than a transfer takes; the Cosmos SDK's own default."""

GAS_PRICE_NGONKA: Final = 10
"""What the network's documents say to pay per unit of gas when a key is published."""

_SIGN_MODE_DIRECT: Final = 1


class Transfer(NamedTuple):
    """One transfer of coins, with all that its signature is over.

    Attributes:
        sender: Who pays.
        recipient: Who gets it.
        amount: How much.
        denom: Of which coin, the fee's too.
        fee: What the chain takes.
        gas: How much work it may be.
        chain_id: Which chain it is for.
        account_number: The sender's number on that chain.
        sequence: How many transactions the sender has made.
    """

    sender: str
    recipient: str
    amount: int
    denom: str
    fee: int
    gas: int
    chain_id: str
    account_number: int
    sequence: int


class Published(NamedTuple):
    """A transaction that the chain has taken in.

    Attributes:
        hash: Its name.
        fee_ngonka: What it costs.
    """

    hash: str
    fee_ngonka: int


def publish_public_key(
    wallet: SigningKey,
    node_url: str,
    *,
    chain_id: str | None = None,
    gas: int = GAS,
    gas_price_ngonka: int = GAS_PRICE_NGONKA,
) -> Published:
    """Send the transfer that publishes a wallet's public key.

    Args:
        wallet: Whose key it is.
        node_url: The node that passes it on.
        chain_id: The chain's name; else the node's word for it.
        gas: How much work it may be.
        gas_price_ngonka: What a unit of that costs.

    Raises:
        DirectError: The node or the chain does not take it.
    """
    base = parse_base_url(node_url)
    account_number, sequence = _ask_account(base, wallet.address)
    fee = gas * gas_price_ngonka
    transfer = Transfer(
        sender=wallet.address,
        recipient=wallet.address,
        amount=1,
        denom=DENOM,
        fee=fee,
        gas=gas,
        chain_id=chain_id or _ask_chain_id(base),
        account_number=account_number,
        sequence=sequence,
    )
    return Published(_broadcast(base, sign_transfer(wallet, transfer)), fee)


def _ask_account(base: str, address: str) -> tuple[int, int]:
    found = get(f"{base}/chain-api/cosmos/auth/v1beta1/accounts/{address}")
    if found.status == 404:
        advice = f"An account begins to exist when it gets coins: send GNK to {address}, then publish its key."
        raise RefusedError(404, "account not found", advice)
    content: Any = found.require()
    account: Any = content.get("account") if isinstance(content, dict) else None
    if isinstance(account, dict):
        account = account.get("base_account") or account  # vesting accounts wrap the plain one
    try:
        return int(account["account_number"]), int(account["sequence"])
    except (KeyError, TypeError, ValueError):
        raise EndpointError(f"{base} answers without an account's number and sequence.") from None


def _ask_chain_id(base: str) -> str:
    found = get(f"{base}/chain-api/cosmos/base/tendermint/v1beta1/node_info")
    info = found.content.get("default_node_info") if found.status == 200 and isinstance(found.content, dict) else None
    name = info.get("network") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name else CHAIN_ID


def _broadcast(base: str, transaction: bytes) -> str:
    order = {"tx_bytes": base64.b64encode(transaction).decode("ascii"), "mode": "BROADCAST_MODE_SYNC"}
    content: Any = post(f"{base}/chain-api/cosmos/tx/v1beta1/txs", order).require()
    answer = content.get("tx_response") if isinstance(content, dict) else None
    if not isinstance(answer, dict) or not isinstance(answer.get("txhash"), str):
        raise EndpointError(f"{base} does not say what became of the transaction.")
    if answer.get("code", 0) != 0:
        said = str(answer.get("raw_log") or f"code {answer.get('code')}")[:500]
        advice = (
            "The chain did not take the transaction. Check that the account can pay the fee (--gas-price-ngonka), and "
            "that this is the chain that you mean (--chain-id); if another transaction is under way, try again."
        )
        raise RefusedError(200, said, advice)
    return str(answer["txhash"])


def sign_transfer(wallet: SigningKey, transfer: Transfer) -> bytes:
    """Return the signed transaction (TxRaw)."""
    body, auth_info = _body(transfer), _auth_info(transfer, wallet.public_key)
    document = (
        _bytes(1, body) + _bytes(2, auth_info) + _text(3, transfer.chain_id) + _number(4, transfer.account_number)
    )
    return _bytes(1, body) + _bytes(2, auth_info) + _bytes(3, base64.b64decode(wallet.sign(document)))


def _body(transfer: Transfer) -> bytes:
    coin = _coin(transfer.denom, transfer.amount)
    send = _text(1, transfer.sender) + _text(2, transfer.recipient) + _bytes(3, coin)
    return _bytes(1, _any("/cosmos.bank.v1beta1.MsgSend", send))


def _auth_info(transfer: Transfer, public_key: bytes) -> bytes:
    key = _any("/cosmos.crypto.secp256k1.PubKey", _bytes(1, public_key))
    mode = _bytes(1, _number(1, _SIGN_MODE_DIRECT))
    signer = _bytes(1, key) + _bytes(2, mode) + _number(3, transfer.sequence)
    fee = _bytes(1, _coin(transfer.denom, transfer.fee)) + _number(2, transfer.gas)
    return _bytes(1, signer) + _bytes(2, fee)


def _coin(denom: str, amount: int) -> bytes:
    return _text(1, denom) + _text(2, str(amount))


def _any(url: str, value: bytes) -> bytes:
    return _text(1, url) + _bytes(2, value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode("ascii"))


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
