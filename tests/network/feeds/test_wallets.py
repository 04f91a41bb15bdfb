"""What pays the network: balances as nodes and the gateway program tell them, and when one is low."""

from __future__ import annotations

from typing import Any

import pytest

from tallygate.config import BearerAccess, GonkaAccess, WalletSettings
from tallygate.core.wallets import WalletFloors
from tallygate.network.feeds.wallets import EscrowPurse, NodePurse, WalletWatch
from tests.network.feeds.test_prices import SESSION, WALLET, upstream
from tests.network.feeds.web import START_NS, Web, World
from tests.network.scripted_server import answer, client

ADDRESS = WALLET.address
ACCOUNT = f"/v2/accounts/{ADDRESS}"
BANK = f"/chain-api/cosmos/bank/v1beta1/balances/{ADDRESS}"
SETTINGS = WalletSettings(60.0, WalletFloors(10**9, 5 * 10**8))
KEY = {"pubkey": "A0PqPZ", "denom": "ngonka"}


def not_found(words: str) -> bytes:
    """Return a node's 404."""
    return answer(f'{{"error":"{words}"}}'.encode(), status=b"404 Not Found")


def coins(amount: Any) -> dict[str, Any]:
    """Return what the chain says that a wallet has."""
    return {"balances": [{"denom": "other", "amount": "7"}, {"denom": "ngonka", "amount": amount}]}


@pytest.mark.parametrize(
    ("pages", "spendable", "is_published", "wrong"),
    [
        ({ACCOUNT: KEY | {"balance": 10**9}}, 10**9, True, []),
        ({ACCOUNT: KEY | {"balance": 10**9 - 1}}, 10**9 - 1, True, ["wallet_low"]),
        ({ACCOUNT: KEY | {"balance": 0}}, 0, True, ["wallet_low"]),
        (
            {ACCOUNT: not_found("account not found"), BANK: coins("5000000000")},
            5 * 10**9,
            False,
            ["wallet_unpublished"],
        ),
        ({ACCOUNT: not_found("pubkey not found")}, None, False, ["wallet_unpublished"]),
        ({BANK: coins("5")}, 5, None, ["wallet_low"]),
        ({ACCOUNT: KEY | {"balance": -5}}, None, None, []),
        ({ACCOUNT: KEY | {"balance": 1.5}}, None, None, []),
        ({ACCOUNT: KEY | {"balance": 1e308}}, None, None, []),
        ({ACCOUNT: KEY}, None, None, []),
        ({ACCOUNT: answer(b"<html>")}, None, None, []),
        ({ACCOUNT: None}, None, None, []),
        ({}, None, None, []),
    ],
)
async def test_a_wallet(
    pages: dict[str, Any], spendable: int | None, is_published: bool | None, wrong: list[str]
) -> None:
    """A wallet has what a node, else the chain says; nonsense says nothing, and nothing is no alarm."""
    world = World()
    async with Web().open() as web, client() as http:
        web.pages |= pages
        settings = upstream(web)
        assert isinstance(settings.access, GonkaAccess)
        watch = WalletWatch(SETTINGS, [NodePurse(settings, settings.access, http)], world.alarms, world.now_ns)
        await watch.refresh()
    (wallet,) = watch.wallets
    assert (wallet.subject, wallet.spendable_ngonka, wallet.is_published) == (ADDRESS, spendable, is_published)
    assert wallet.read_ns == (0 if spendable is None and is_published is None else START_NS)
    assert [(kind, subject) for kind, subject, _ in world.wrong] == [(kind, ADDRESS) for kind in wrong]


async def test_a_wallet_that_cannot_be_read_is_as_it_was() -> None:
    """When nobody tells any more, neither the balance nor its alarm goes away; money that comes in ends it."""
    world = World()
    async with Web().open() as web, client() as http:
        settings = upstream(web)
        assert isinstance(settings.access, GonkaAccess)
        watch = WalletWatch(SETTINGS, [NodePurse(settings, settings.access, http)], world.alarms, world.now_ns)
        for page, expected in ((KEY | {"balance": 3}, 3), (None, 3), (KEY | {"balance": 2 * 10**9}, 2 * 10**9)):
            web.pages[ACCOUNT] = page
            await watch.refresh()
            assert watch.wallets[0].spendable_ngonka == expected
            assert bool(world.wrong) is (expected == 3)
    assert [event.data["detail"] for event in world.told] == ["3 ngonka spendable is below 1000000000"] * 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (SESSION, {"escrow 42": 5 * 10**9}),
        ({"escrow_id": "42", "balance": 5}, {"escrow 42": 5}),
        (
            {"devshards": [{"id": "7", "balance": 10**9}, {"id": "8", "runtime": {"balance": 6}}, {"id": "9"}, "x"]},
            {"escrow 7": 10**9, "escrow 8": 6},
        ),
        ({"status": "ok"}, {}),
        ({"escrow_id": "the words of somebody", "balance": 5}, {}),
        ([], {}),
    ],
)
async def test_escrows(status: Any, expected: dict[str, int]) -> None:
    """The gateway program's escrows, one or a pool, are read without showing a key; low ones are alarms."""
    world = World()
    async with Web().open() as web, client() as http:
        web.pages["/v1/status"] = status
        settings = upstream(web, kind="openai", program="devshardctl")
        assert isinstance(settings.access, BearerAccess)
        watch = WalletWatch(SETTINGS, [EscrowPurse(settings, settings.access, http)], world.alarms, world.now_ns)
        await watch.refresh()
        assert {wallet.subject: wallet.escrowed_ngonka for wallet in watch.wallets} == expected
        assert {subject for _, subject, _ in world.wrong} == {
            name for name, ngonka in expected.items() if ngonka < 10**8
        }
        web.pages["/v1/status"] = None
        await watch.refresh()
        assert {wallet.subject: wallet.escrowed_ngonka for wallet in watch.wallets} == expected
    assert set(web.asked) == {("/v1/status", "")}
