"""What a caller is told about its own key: in the shapes of the two gateways, with the numbers that are enforced."""

from __future__ import annotations

import re

from tallygate.config import LimitsSettings
from tallygate.core.limits import Limits
from tallygate.core.money import format_usd
from tests.relay.world import charged, open_world

LIMITS = LimitsSettings(Limits(requests_per_minute=3, spend_total_picousd=10**12), Limits(requests_per_minute=5))


async def test_test_auth_tells_what_is_enforced() -> None:
    """Status, key, limits, what is left of them, what was spent, and the balance; asking takes nothing."""
    async with open_world(limits=LIMITS) as world:
        await world.chat()
        for _ in range(5):
            answer = await world.get("/v1/test-auth")
        (key,) = world.ledger.keys()
        told = answer.json()

        assert answer.status == 200
        reset = told["limits"]["requests"].pop("reset")
        assert reset == "1m0s" or re.fullmatch("5[0-9]s", reset)
        assert told == {
            "ok": True,
            "status": "active",
            "key": {"id": key.id, "name": "key", "prefix": world.secret[:7]},
            "settings": {"maxRpm": 3, "maxTpm": None, "maxConcurrent": None},
            "limits": {
                "requests": {"limit": 3, "remaining": 2},
                "tokens": None,
                "under_way": 0,
                "spend": [
                    {
                        "of": "key",
                        "limit": "spend_total",
                        "limit_usd": "1",
                        "spent_usd": format_usd(charged(world.ending())),
                        "held_usd": "0",
                    }
                ],
            },
            "balance": {"usd": format_usd(world.account.balance), "status": "active"},
        }
        assert [(await world.chat()).status for _ in range(3)] == [200, 200, 429]


async def test_the_tighter_of_two_limits_is_told() -> None:
    """An account's limit that is reached before its key's is the one that is told."""
    async with open_world(limits=LIMITS) as world:
        await world.limit(requests_per_minute=9)

        assert (await world.get("/v1/test-auth")).json()["settings"]["maxRpm"] == 5


async def test_whoami_has_the_shape_of_the_other_gateway() -> None:
    """Key, account and balance as GonkaGate's clients read them, also without any money."""
    async with open_world(usd=0) as world:
        answer = await world.get("/api/v1/whoami")

        assert answer.status == 200
        assert answer.json() == {
            "success": True,
            "data": {
                "user": {"emailMasked": "c**r", "emailVerified": True},
                "apiKey": {
                    "name": "key",
                    "maskedKey": f"{world.secret[:7]}...{world.secret[-4:]}",
                    "status": "active",
                    "expiresAt": None,
                    "lastUsed": None,
                },
                "balance": {"usd": "0", "status": "low"},
            },
        }


async def test_below_zero_is_told() -> None:
    """An account that a correction took below zero is told so: its key is blocked, its balance suspended."""
    async with open_world(usd=1, sound=False) as world:
        await world.ledger.correct(world.account.id, -2 * 10**12, "chargeback", "test")
        status = (await world.get("/v1/test-auth")).json()
        whoami = (await world.get("/api/v1/whoami")).json()["data"]

        assert (status["status"], status["balance"]) == ("blocked", {"usd": "-1", "status": "suspended"})
        assert (whoami["apiKey"]["status"], whoami["balance"]["status"]) == ("blocked", "suspended")


async def test_a_bad_key_is_told_in_the_shape_of_each() -> None:
    """Both answer 401: one in OpenAI's shape, the other in GonkaGate's, with our request id."""
    async with open_world() as world:
        world.secret = "tg-none"
        ours, theirs = await world.get("/v1/test-auth"), await world.get("/api/v1/whoami")
        error = theirs.json()["error"]

        assert (ours.status, ours.code) == (401, "invalid_api_key")
        assert theirs.status == 401
        assert theirs.json()["success"] is False
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", error.pop("timestamp"))
        assert error.pop("requestId") == theirs.headers["x-request-id"]
        assert error == {"message": "Unauthorized", "code": "invalid_api_key", "statusCode": 401}
