"""The transfer that publishes a key, against what the Cosmos SDK itself has signed (cosmjs's test vectors)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings
from tallygate.direct import DirectError, look_up_account, new_wallet
from tallygate.direct.mnemonic import COIN_TYPE_COSMOS, secret_from_words
from tallygate.direct.publishing import Transfer, publish_public_key, sign_transfer
from tests.direct.network import in_thread, open_account
from tests.direct.test_wallet import FAUCET_ADDRESS, FAUCET_WORDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VECTORS = [  # sequence, the last 64 bytes (the signature), SHA-256 of all
    (
        0,
        (
            "c9dd20e07464d3a688ff4b710b1fbc027e495e797cfa0b4804da2ed117959227"
            "772de059808f765aa29b8f92edf30f4c2c5a438e30d3fe6897daa7141e3ce6f9"
        ),
        "61c87b6853590ffe339d8423e439cd9e4e742424357ffef4108280e1443de245",
    ),
    (
        2,
        (
            "f3f2ca73806f2abbf6e0fe85f9b8af66f0e9f7f79051fdb8abe5bb8633b17da1"
            "32e82d577b9d5f7a6dae57a144efc9ccc6eef15167b44b3b22a57240109762af"
        ),
        "fc7e1a0d8917096fefc6063fc7754fdeac443d2ab44e983826dfe9ff51e9352e",
    ),
]


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    """Run a devnet."""
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0)) as world:
        yield world


@pytest.mark.parametrize(("sequence", "signature", "digest"), VECTORS)
def test_transactions_are_the_sdks_own(sequence: int, signature: str, digest: str) -> None:
    """A transfer is signed and encoded byte for byte as the Cosmos SDK does it."""
    key = SigningKey(secret_from_words(FAUCET_WORDS, COIN_TYPE_COSMOS))
    transfer = Transfer(
        sender=FAUCET_ADDRESS,
        recipient="cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu",
        amount=1_234_567,
        denom="ucosm",
        fee=2000,
        gas=200_000,
        chain_id="simd-testing",
        account_number=1,
        sequence=sequence,
    )

    signed = sign_transfer(key, transfer)

    assert signed[-64:].hex() == signature
    assert hashlib.sha256(signed).hexdigest() == digest


async def test_a_key_is_published(devnet: Devnet) -> None:
    """An account with a balance is ready once its transfer is in, and has paid one fee; a second one works, too."""
    wallet, url = new_wallet(), devnet.nodes[0].url
    await open_account(devnet, wallet.address, 10_000_000)

    before = await in_thread(look_up_account, url, wallet.address)
    done = await in_thread(publish_public_key, wallet, url)
    after = await in_thread(look_up_account, url, wallet.address)
    await in_thread(publish_public_key, wallet, url)

    assert (before.balance_ngonka, before.public_key, before.is_ready) == (10_000_000, None, False)
    assert "publish-pubkey" in before.advice
    assert (after.balance_ngonka, after.public_key) == (10_000_000 - done.fee_ngonka, wallet.public_key)
    assert after.is_ready
    assert "not need to register" in after.advice


async def test_an_account_without_money_is_told_to_get_some(devnet: Devnet) -> None:
    """Neither an account that the chain does not know nor one that cannot pay the fee gets its key published."""
    poor, unknown, url = new_wallet(), new_wallet(), devnet.nodes[0].url
    await open_account(devnet, poor.address, 1000)

    with pytest.raises(DirectError, match="send GNK"):
        await in_thread(publish_public_key, unknown, url)
    with pytest.raises(DirectError, match="can pay the fee"):
        await in_thread(publish_public_key, poor, url)
    assert not (await in_thread(look_up_account, url, poor.address)).is_ready


async def test_a_transaction_for_another_chain_is_refused(devnet: Devnet) -> None:
    """A signature names its chain: for another one it is worth nothing, and the refusal says what to check."""
    wallet = new_wallet()
    await open_account(devnet, wallet.address, 10_000_000)

    with pytest.raises(DirectError, match="--chain-id"):
        await in_thread(lambda: publish_public_key(wallet, devnet.nodes[0].url, chain_id="another"))
