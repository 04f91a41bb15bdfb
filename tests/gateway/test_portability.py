"""Backups, dumps and statements of a gateway under traffic, which is then killed; and the books elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Gateway, Installation, installed, served
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def traffic(gateway: Gateway) -> AsyncIterator[list[str]]:
    """Keep calls coming; lend the list of those whose end a caller has seen."""
    ended: list[str] = []
    over = asyncio.Event()

    async def call() -> None:
        while not over.is_set():
            answer = await gateway.chat(stream=True, max_tokens=3)
            if answer.body.endswith(b"[DONE]\n\n"):
                ended.append(answer.headers["x-inference-id"])

    callers = [asyncio.ensure_future(call()) for _ in range(4)]
    try:
        await until(lambda: len(ended) > 3)
        yield ended
    finally:
        over.set()
        await asyncio.gather(*callers, return_exceptions=True)


def copy_pepper(old: Installation, new: Installation) -> None:
    """Bring the pepper over, as an operator has to."""
    new.store.parent.mkdir(parents=True, exist_ok=True)
    pepper = old.store.with_suffix(".pepper")
    shutil.copy2(pepper, new.store.with_suffix(pepper.suffix))


@pytest.mark.parametrize("way", ["backup", "dump"])
async def test_books_of_a_killed_gateway_go_on_elsewhere(tmp_path: Path, way: str) -> None:
    """Copied amid calls, killed, and put elsewhere: clean books, balances as of the copy, no hold, keys that work."""
    back, noted = {"backup": ("restore", "restored from"), "dump": ("load", "loaded from")}[way]
    copy = str(tmp_path / "copy")
    old_folder, new_folder = tmp_path / "old", tmp_path / "new"
    old_folder.mkdir()
    new_folder.mkdir()
    async with installed(old_folder) as old, installed(new_folder) as new:
        async with served(old) as gateway, traffic(gateway) as ended:
            code, copied, told = await old.outcome(way, copy)
            assert (code, told) == (0, b"")
            seen = len(ended)
            await until(lambda: len(ended) > seen + 3)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        copy_pepper(old, new)
        code, arrived, _ = await new.outcome(back, copy)
        assert (code, arrived["head"]) == (0, copied["head"])
        assert new.audit().problems == []
        settled = new.entries(e.SETTLE)
        assert 0 < len(settled) < len(old.entries(e.SETTLE))
        _, verdict, _ = await new.outcome("verify")
        left = Decimal(verdict["usd"]["available"]) + Decimal(verdict["usd"]["held"])
        new.account, new.secret = old.account, old.secret
        async with served(new) as gateway:
            account = await gateway.admin("GET", f"accounts/{new.account}")
            assert Decimal(account["balance_usd"]) == left
            assert account["held_usd"] == "0"
            assert (await gateway.chat()).status == 200
            assert await gateway.end(signal.SIGTERM) == 0
        code, verdict, _ = await new.outcome("verify")
        assert (code, verdict["clean"], verdict["open_holds"]) == (0, True, 0)
        assert [entry.reason for entry in new.entries(e.NOTE) if (entry.reason or "").startswith(noted)]


async def test_a_statement_is_drawn_amid_calls(tmp_path: Path) -> None:
    """A statement beside a busy gateway adds up to the last digit, and has every charge that a caller was told of."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        async with traffic(gateway) as ended:
            known = set(ended)
            month = datetime.now(UTC).strftime("%Y-%m")
            code, statement, _ = await installation.outcome("statement", installation.account, month)
        charges = [line for line in statement["lines"] if line["kind"] == "charge"]

        assert code == 0
        assert known <= {line["inference"] for line in charges}
        assert Decimal(statement["closing_balance_usd"]) == 5 - sum(Decimal(line["total_usd"]) for line in charges)
        assert all(
            Decimal(line["base_usd"]) + Decimal(line["fee_usd"]) == Decimal(line["total_usd"]) for line in charges
        )
