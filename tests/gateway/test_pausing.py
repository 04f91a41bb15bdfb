"""A gateway that was taken for dead: its store stays its own, and its streams end as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.storm.pause import STREAMS, pause
from tests.storm.world import Setting, World

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_stopped_gateway_keeps_its_store_and_ends_its_streams(tmp_path: Path) -> None:
    """While the first is stopped amid its streams, a second is refused with exit code 4; continued, it settles each."""
    async with World(tmp_path, Setting(pace_ms=10)) as world:
        paused = await pause(world, stop_s=0)

    code, said = paused.second
    assert code == 4
    assert f"Another process is using the store {world.store}" in said
    assert "Traceback" not in said
    assert [each.ending for each in paused.told] == ["streamed to the end"] * (STREAMS // 2)
    assert all(each.picousd for each in paused.told)
    assert paused.violations == []
