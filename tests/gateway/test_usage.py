"""What callers and the operator read of past calls of a running gateway, also after it was killed."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.gateway.processes import installed, served
from tests.relay.caller import Caller
from tests.relay.world import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.processes import Gateway
    from tests.relay.caller import Answer

USER, RUN = "alice-whom-nobody-may-see", "run-that-nobody-may-see"


async def ask(gateway: Gateway, query: str = "", **headers: str) -> Answer:
    """Ask for the usage of the caller's account."""
    caller = await Caller.open(gateway.port)
    secret = gateway.installation.secret
    await caller.request("GET", f"/v1/usage{query}", {"authorization": f"Bearer {secret}", **headers}, b"")
    answer = await caller.answer()
    await caller.close()
    return answer


async def test_usage_is_the_sum_of_the_answers(tmp_path: Path) -> None:
    """What answers said they cost is what the usage says, by user and by run, over a kill; no text of them is kept."""
    async with installed(tmp_path) as installation:
        told: list[dict[str, Any]] = []
        attributions: list[dict[str, Any]] = [{}, {"user": USER}, {"user": USER, "metadata": {"tag": RUN}}]
        for _ in range(2):
            async with served(installation) as gateway:
                answers = await asyncio.gather(*(gateway.chat(**fields) for fields in attributions * 3))
                told += [answer.json()["usage"] for answer in answers]
                assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        async with served(installation) as gateway:
            (whole,) = (await ask(gateway, "?by=total")).json()["data"]
            of_user = (await ask(gateway, f"?by=total&user={USER}")).json()
            of_run = (await ask(gateway, f"?by=user,tag&tag={RUN}")).json()
            table = await ask(gateway, "?by=model,user,tag", accept="text/csv")
            (margin,) = (await gateway.admin("GET", "margin?by=total"))["data"]
            listed = await gateway.admin("GET", f"inferences?account={installation.account}&user={USER}&limit=5")
            log = gateway.log
        rows = list(csv.DictReader(io.StringIO(table.body.decode(), newline="")))

        for name in ("base_cost_usd", "platform_fee_usd", "total_cost_usd"):
            total = sum(Decimal(usage[f"{name}_exact"]) for usage in told)
            assert Decimal(whole[name]) == total == sum(Decimal(row[name]) for row in rows)
        assert whole["calls"] == 18
        assert whole["total_tokens"] == sum(usage["total_tokens"] for usage in told)
        assert of_user["data"][0]["calls"] == 12
        assert [(row["calls"], row["user"]) for row in of_run["data"]] == [(6, of_user["filters"]["user"])]
        assert [row["calls"] for row in rows] == ["6", "6", "6"]
        assert {row["model"] for row in rows} == {MODEL}
        assert margin["total_usd"] == whole["total_cost_usd"]
        assert margin["billed_ngonka"] == -sum(
            amount
            for entry in installation.entries("settle")
            for _, name, amount in entry.postings
            if "payable" in name
        )
        assert (len(listed["data"]), listed["has_more"]) == (5, True)
        assert installation.audit().problems == []
        for raw in (log, *installation.read_store().values()):
            assert USER.encode() not in raw
            assert RUN.encode() not in raw
