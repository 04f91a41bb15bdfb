"""The chain's REST interface: what is read there, and a transaction that publishes a key.

The transaction is written here byte by byte, from the encoding's documentation, and signed with python-ecdsa.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.devnet.conftest import World
from tests.devnet.signing import MODEL, Developer
from tests.devnet.wire import Answer, control, request

NEWCOMER = Developer(b"\x33" * 32)
INFERENCE = "productscience/inference/inference"
BALANCE = 1_000_000


def varint(value: int) -> bytes:
    """Writes a number as the encoding has it."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def delimited(field: int, value: bytes | str) -> bytes:
    """Writes a field of bytes."""
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    """Writes a field of a number, which is left out when it is 0."""
    return varint(field << 3) + varint(value) if value else b""


@dataclass(frozen=True)
class Send:
    """A send of ngonka to oneself, with everything about it that can be wrong."""

    account_number: int
    sequence: int = 0
    amount: str = "1"
    denom: str = "ngonka"
    chain_id: str = "gonka-devnet"
    fee: str = "750000"
    gas: int = 100_000
    mode: int = 1
    type_url: str = "/cosmos.bank.v1beta1.MsgSend"
    timeout_height: int = 0
    key: bytes = NEWCOMER.public_key
    signer: Developer = NEWCOMER

    def encode(self) -> bytes:
        """Gives the signed transaction."""
        coin = delimited(1, self.denom) + delimited(2, self.amount)
        send = delimited(1, NEWCOMER.address) + delimited(2, NEWCOMER.address) + delimited(3, coin)
        body = delimited(1, delimited(1, self.type_url) + delimited(2, send)) + number(3, self.timeout_height)
        key = delimited(1, "/cosmos.crypto.secp256k1.PubKey") + delimited(2, delimited(1, self.key))
        signer = delimited(1, key) + delimited(2, delimited(1, number(1, self.mode))) + number(3, self.sequence)
        fee = delimited(1, delimited(1, "ngonka") + delimited(2, self.fee)) + number(2, self.gas)
        auth = delimited(1, signer) + delimited(2, fee)
        document = delimited(1, body) + delimited(2, auth) + delimited(3, self.chain_id)
        signature = base64.b64decode(self.signer.sign(document + number(4, self.account_number)))
        return delimited(1, body) + delimited(2, auth) + delimited(3, signature)


async def get(world: World, path: str) -> Answer:
    """Asks the chain through a node."""
    return await request(world.url, "GET", f"/chain-api/{path}")


async def broadcast(world: World, data: bytes, route: str = "txs") -> Answer:
    """Sends a transaction."""
    body = json.dumps({"tx_bytes": base64.b64encode(data).decode(), "mode": "BROADCAST_MODE_SYNC"}).encode()
    return await request(world.url, "POST", f"/chain-api/cosmos/tx/v1beta1/{route}", {}, body)


async def open_account(world: World) -> Send:
    """Gives the newcomer money, and a send that would be taken."""
    await control(world.url, "POST", "accounts", {"address": NEWCOMER.address, "balance": BALANCE})
    account = (await get(world, f"cosmos/auth/v1beta1/accounts/{NEWCOMER.address}")).json()["account"]
    assert account["pub_key"] is None
    return Send(int(account["account_number"]))


async def test_a_transaction_publishes_a_key(world: World) -> None:
    """After a send to oneself the key is on the chain, the fee is paid, and the node takes signed calls."""
    send = await open_account(world)
    data = send.encode()
    assert (await request(world.url, "GET", f"/v2/accounts/{NEWCOMER.address}")).status == 404
    sent = (await broadcast(world, data)).json()["tx_response"]
    assert (sent["code"], sent["txhash"]) == (0, hashlib.sha256(data).hexdigest().upper())
    found = (await request(world.url, "GET", f"/v2/accounts/{NEWCOMER.address}")).json()
    assert base64.b64decode(found["pubkey"]) == NEWCOMER.public_key
    assert found["balance"] == BALANCE - 750_000
    account = (await get(world, f"cosmos/auth/v1beta1/accounts/{NEWCOMER.address}")).json()["account"]
    assert (account["sequence"], account["pub_key"]["key"]) == ("1", found["pubkey"])
    shown = (await get(world, f"cosmos/tx/v1beta1/txs/{sent['txhash']}")).json()["tx_response"]
    assert (shown["code"], shown["height"]) == (0, str(world.devnet.chain.clock.latest().height))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"chain_id": "gonka-mainnet"}, 4, "signature verification failed; please verify account number"),
        ({"account_number": 77}, 4, "signature verification failed"),
        ({"signer": Developer(b"\x44" * 32)}, 4, "signature verification failed"),
        ({"key": Developer(b"\x44" * 32).public_key}, 8, "pubKey does not match signer address"),
        ({"sequence": 1}, 32, "account sequence mismatch, expected 0, got 1"),
        ({"amount": "1000000000000"}, 5, "insufficient funds"),
        ({"amount": "0"}, 10, "invalid coins"),
        ({"amount": "-1"}, 10, "invalid coins"),
        ({"denom": "ugonka"}, 5, "insufficient funds"),
        ({"gas": 10}, 11, "out of gas"),
        ({"mode": 127}, 4, "sign mode 127"),
        ({"type_url": "/cosmos.gov.v1.MsgVote"}, 2, "unable to resolve type URL /cosmos.gov.v1.MsgVote"),
        ({"timeout_height": 5}, 30, "tx timeout height"),
    ],
)
async def test_what_is_not_taken_changes_nothing(world: World, changes: dict[str, Any], code: int, words: str) -> None:
    """A transaction with one wrong thing has the chain's code and words for it; no key is published, no fee paid."""
    send = await open_account(world)
    sent = (await broadcast(world, replace(send, **changes).encode())).json()["tx_response"]
    assert (sent["code"], sent["codespace"]) == (code, "sdk")
    assert words in sent["raw_log"]
    account = world.devnet.chain.accounts[NEWCOMER.address]
    assert (account.public_key, account.balance_ngonka, account.sequence) == (None, BALANCE, 0)
    assert (await get(world, f"cosmos/tx/v1beta1/txs/{sent['txhash']}")).status == 404


async def test_a_transaction_is_taken_once(world: World) -> None:
    """The same bytes again are refused, and change nothing."""
    data = (await open_account(world)).encode()
    await broadcast(world, data)
    again = (await broadcast(world, data)).json()["tx_response"]
    assert again["code"] == 19
    assert world.devnet.chain.accounts[NEWCOMER.address].balance_ngonka == BALANCE - 750_000


async def test_an_unknown_account_sends_nothing(world: World) -> None:
    """Who has never had anything is not known to the chain."""
    sent = (await broadcast(world, Send(1).encode())).json()["tx_response"]
    assert (sent["code"], "does not exist" in sent["raw_log"]) == (9, True)
    answer = await get(world, f"cosmos/auth/v1beta1/accounts/{NEWCOMER.address}")
    assert (answer.status, answer.json()["code"]) == (404, 5)


async def test_simulation_tells_the_gas(world: World) -> None:
    """It needs no right signature, says what would be used, refuses what would be refused, and changes nothing."""
    send = await open_account(world)
    unsigned = replace(send, signer=Developer(b"\x44" * 32))
    told = (await broadcast(world, unsigned.encode(), "simulate")).json()
    assert 0 < int(told["gas_info"]["gas_used"]) < send.gas
    refused = await broadcast(world, replace(send, sequence=4).encode(), "simulate")
    assert refused.status == 400
    assert "sequence mismatch" in refused.json()["message"]
    assert world.devnet.chain.accounts[NEWCOMER.address].public_key is None


@pytest.mark.parametrize("body", [b"{}", b'{"tx_bytes": ""}', b'{"tx_bytes": "?"}', b"nonsense"])
async def test_no_transaction(world: World, body: bytes) -> None:
    """What has no transaction in it is an error of gRPC's shape."""
    answer = await request(world.url, "POST", "/chain-api/cosmos/tx/v1beta1/txs", {}, body)
    assert (answer.status, answer.json()["code"], answer.json()["details"]) == (400, 3, [])


async def test_garbage_is_no_transaction(world: World) -> None:
    """Bytes that are no message are the chain's parse error, not a crash."""
    for data in (b"\x00", b"\xff" * 20, b"\x0a\x7f", Send(1).encode()[:-1], b"\x0d\x01\x01\x01\x01"):
        sent = (await broadcast(world, data)).json()["tx_response"]
        assert sent["code"] in {2, 4, 18}, data


async def test_wallets_may_use_the_rpc(world: World) -> None:
    """CometBFT's RPC tells the chain's name and takes a transaction; without the slash it is a redirect."""
    send = await open_account(world)
    status = (await request(world.url, "GET", "/chain-rpc/status")).json()["result"]
    assert status["node_info"]["network"] == "gonka-devnet"
    call = {"jsonrpc": "2.0", "id": 7, "method": "broadcast_tx_sync"}
    body = json.dumps(call | {"params": {"tx": base64.b64encode(send.encode()).decode()}}).encode()
    answer = (await request(world.url, "POST", "/chain-rpc/", {}, body)).json()
    assert (answer["id"], answer["result"]["code"]) == (7, 0)
    assert world.devnet.chain.accounts[NEWCOMER.address].public_key == NEWCOMER.public_key
    moved = await request(world.url, "POST", "/chain-rpc", {}, body)
    assert (moved.status, moved.headers["location"]) == (301, "/chain-rpc/")


async def test_parameters_of_the_chain(world: World) -> None:
    """Allowed agents, the developer gate and the time window stand in the parameters; numbers are texts."""
    node = world.devnet.nodes[0]
    params = (await get(world, f"{INFERENCE}/params")).json()["params"]
    assert params["transfer_agent_access_params"] == {"allowed_transfer_addresses": []}
    assert params["validation_params"]["timestamp_expiration"] == "60"
    fields = {"allowed_transfer_addresses": [node.address], "restricted_until_height": 5}
    await control(world.url, "POST", "network", fields)
    params = (await get(world, f"{INFERENCE}/params")).json()["params"]
    assert params["transfer_agent_access_params"] == {"allowed_transfer_addresses": [node.address]}
    assert params["developer_access_params"]["until_block_height"] == "5"


async def test_balances(world: World) -> None:
    """The bank tells spendable coins as texts; of nobody it tells none."""
    address = world.developer.address
    coin = {"denom": "ngonka", "amount": "1000000000"}
    assert (await get(world, f"cosmos/bank/v1beta1/balances/{address}")).json()["balances"] == [coin]
    assert (await get(world, f"cosmos/bank/v1beta1/spendable_balances/{address}")).json()["balances"] == [coin]
    assert (await get(world, f"cosmos/bank/v1beta1/balances/{address}/by_denom?denom=ngonka")).json() == {
        "balance": coin
    }
    assert (await get(world, f"cosmos/bank/v1beta1/balances/{NEWCOMER.address}")).json()["balances"] == []
    assert (await get(world, "cosmos/bank/v1beta1/balances/gonka1wrong")).status == 400


@pytest.mark.parametrize(
    "path",
    [
        f"{INFERENCE}/models_all",
        f"{INFERENCE}/all_model_per_token_prices",
        f"{INFERENCE}/all_model_capacities",
        f"{INFERENCE}/epoch_info",
        f"{INFERENCE}/model_per_token_price/{MODEL.replace('/', '%2F')}",
        "cosmos/base/tendermint/v1beta1/node_info",
        "cosmos/base/tendermint/v1beta1/blocks/latest",
    ],
)
async def test_other_look_ups(world: World, path: str) -> None:
    """Models, prices, capacities, the epoch and the latest block can be asked for."""
    answer = await get(world, path)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(("path", "status"), [("x", 501), (f"{INFERENCE}/model_per_token_price/none", 404)])
async def test_what_the_chain_does_not_have(world: World, path: str, status: int) -> None:
    """An unknown route is not implemented, an unknown model not found."""
    assert (await get(world, path)).status == status
