"""Runs the contract on every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.world import Machine, MemoryStore, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine with an empty store."""
    machine = Machine(MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store" / "tallygate.db"))
    yield machine
    await machine.stop()
