"""Accounts at zero and below: what their keys are still answered, and that they come back by themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tests.relay.world import World, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Answer

USD = 10**12


async def make_key(world: World) -> tuple[str, str]:
    """Make another key of the account; return its id and its secret."""
    secret = mint_api_key(os.urandom(32))
    key = await world.ledger.add_key(
        world.account.id, "another", key_digest(world.pepper, secret), mask(secret), "test"
    )
    return key.id, secret


async def call(world: World, secret: str) -> Answer:
    """Make a call with a key."""
    world.secret = secret
    return await world.chat()


async def test_models_are_listed_at_a_balance_of_zero() -> None:
    """Who has nothing can see what there is, what it costs, and how the account stands; a call is a 402."""
    async with open_world(usd=0) as world:
        for path in ("/v1/models", f"/v1/models/{world.card.id}", "/v1/balance", "/v1/test-auth", "/api/v1/pricing"):
            assert (await world.get(path)).status == 200, path
        assert (await world.chat()).status == 402


async def test_keys_of_an_account_below_zero_come_back_by_themselves() -> None:
    """Below zero all keys are blocked, new ones too; with money they serve again, but a paused one stays paused."""
    async with open_world(usd=1, sound=False) as world:
        secrets = {"first": world.secret}
        paused, secrets["paused"] = await make_key(world)
        await world.ledger.pause_key(paused, "test")
        await world.ledger.correct(world.account.id, -2 * USD, "chargeback", "test")
        _, secrets["meanwhile"] = await make_key(world)
        acts = len(world.entries(e.NOTE))
        blocked = {name: await call(world, secret) for name, secret in secrets.items()}
        world.secret = secrets["meanwhile"]
        status = (await world.get("/v1/test-auth")).json()["status"]
        free = (await world.get("/v1/models")).status
        await world.ledger.deposit(world.account.id, 2 * USD, None, "test")
        served = {name: (await call(world, secret)).status for name, secret in secrets.items()}
        assert len(world.entries(e.NOTE)) == acts
        await world.ledger.resume_key(paused, "test")

        told = {name: (answer.status, answer.code) for name, answer in blocked.items()}
        broke = (402, "insufficient_balance")
        assert told == {"first": broke, "paused": (401, "invalid_api_key"), "meanwhile": broke}
        assert blocked["first"].json()["error"]["message"].startswith("The account is 1 US dollars below zero.")
        assert (status, free) == ("blocked", 200)
        assert served == {"first": 200, "paused": 401, "meanwhile": 200}
        assert (await call(world, secrets["paused"])).status == 200
