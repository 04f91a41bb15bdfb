"""Limits by source address on a running gateway, where they are easily forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gateway.processes import ADMIN_KEY, installed, served
from tests.gateway.test_settings import set_in
from tests.relay.caller import Caller

if TYPE_CHECKING:
    from pathlib import Path

    from tests.relay.caller import Answer

FAILED = 3
LIMITED = [(401, "invalid_api_key")] * FAILED + [(429, "rate_limit_exceeded")] * 2


async def get(port: int, path: str, key: str | None = None) -> Answer:
    """Ask for a path, with a key or without."""
    caller = await Caller.open(port)
    await caller.request("GET", path, {} if key is None else {"authorization": f"Bearer {key}"})
    answer = await caller.answer()
    caller.leave()
    return answer


async def refusals(port: int, path: str) -> list[tuple[int, str]]:
    """Show bad keys, more often than may be; return what that is answered."""
    answers = [await get(port, path, f"{ADMIN_KEY}{number}") for number in range(FAILED + 2)]
    assert all(1 <= int(answer.headers["retry-after"]) <= 70 for answer in answers[FAILED:])
    return [(answer.status, answer.code) for answer in answers]


async def test_bad_keys_count_where_none_is_needed(tmp_path: Path) -> None:
    """A public list of models answers who shows no key or a good one, and counts the bad keys that it is shown."""
    async with installed(tmp_path) as installation:
        set_in(installation, "drain_s = 30", f"public_models = true\nfailed_keys_per_minute_per_address = {FAILED}")
        async with served(installation) as gateway:
            assert await refusals(gateway.port, "/v1/models") == LIMITED
            assert (await get(gateway.port, "/v1/models/none", "tg-bad")).status == 429
            assert [(await get(gateway.port, "/v1/models")).status for _ in range(FAILED + 2)] == [200] * (FAILED + 2)
            assert (await get(gateway.port, "/v1/models", installation.secret)).status == 200
            assert (await gateway.chat()).status == 200


async def test_bad_keys_count_on_the_operators_listener(tmp_path: Path) -> None:
    """Whoever tries admin keys is told to wait, and the operator is answered all the same, however often they ask."""
    async with installed(tmp_path) as installation:
        limits = f"failed_keys_per_minute_per_address = {FAILED}\nrequests_per_minute_per_address = 20"
        set_in(installation, "drain_s = 30", limits)
        async with served(installation) as gateway:
            assert await refusals(gateway.admin_port, "/admin/v1/accounts") == LIMITED
            asked = [(await get(gateway.admin_port, "/admin/v1/keys", ADMIN_KEY)).status for _ in range(25)]
            assert asked == [200] * 25
            assert (await get(gateway.admin_port, "/admin/v1/none", "bad")).code == "unsupported_endpoint"
            assert (await get(gateway.port, "/v1/models", installation.secret)).status == 200
