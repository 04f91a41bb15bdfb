"""Settings of the money, each as a running gateway carries it out."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.devnet.answerer import Answerer
from tests.gateway.processes import Installation, installed, served
from tests.relay.world import charged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tallygate.devnet.answerer import EngineEvent
    from tallygate.devnet.calls import ChatCall


def set_in(installation: Installation, after: str, line: str) -> None:
    """Add a line to the configuration, behind another."""
    text = installation.config.read_text()
    assert text.count(after) == 1
    installation.config.write_text(text.replace(after, f"{after}\n{line}"))


async def test_after_crash_may_charge_the_prompt(tmp_path: Path) -> None:
    """With `after_crash = "charge_prompt"`, a call that a kill cut off is charged for its prompt, below its hold."""
    async with installed(tmp_path) as installation:
        set_in(installation, 'url = "sqlite:data/tallygate.db"', 'after_crash = "charge_prompt"')
        async with served(installation) as gateway:
            installation.order("stall_stream", after_frames=2)
            caller = await gateway.send(stream=True)
            await caller.head()
            await caller.frames(2)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        installation.clear_faults()
        async with served(installation) as gateway:
            (hold,), (expired,) = installation.entries(e.HOLD), installation.entries(e.EXPIRE)
            assert 0 < charged(expired) < sum(amount for _, _, amount in hold.postings if amount > 0)
            assert expired.flags == Flag.ESTIMATED | Flag.CHARGED_AFTER_CRASH
            assert (await gateway.admin("POST", "verify"))["clean"]


async def test_a_hold_need_not_wait_for_the_disk(tmp_path: Path) -> None:
    """With `hold_durability = "async"`, calls are served and settled as ever, and the books are clean."""
    async with installed(tmp_path) as installation:
        set_in(installation, 'url = "sqlite:data/tallygate.db"', 'hold_durability = "async"')
        async with served(installation) as gateway:
            answers = [await gateway.chat(stream=stream) for stream in (True, False)]

            assert [answer.status for answer in answers] == [200, 200]
            assert len(installation.entries(e.HOLD)) == len(installation.entries(e.SETTLE)) == 2
            assert (await gateway.admin("POST", "verify"))["clean"]


class Noting(Answerer):
    """The built-in engine, which notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[ChatCall] = []

    def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Note a call and answer it."""
        self.asked.append(call)
        return super().generate(call)


@pytest.mark.parametrize(
    ("setting", "sent", "told"),
    [
        ("", 0.7, "temperature=0.7"),
        ("default_temperature = 1.25", 1.25, "temperature=1.25"),
        ('default_temperature = "none"', None, None),
    ],
)
async def test_the_temperature_of_who_names_none(
    tmp_path: Path, setting: str, sent: float | None, told: str | None
) -> None:
    """As shipped it is 0.7, which is told; the operator may have another one sent, or none; a caller's own stands."""
    engine = Noting()
    async with installed(tmp_path, engine=engine) as installation:
        set_in(installation, "drain_s = 30", setting)
        async with served(installation) as gateway:
            unnamed, named = await gateway.chat(), await gateway.chat(temperature=0.25)

        assert [call.fields.get("temperature") for call in engine.asked] == [sent, 0.25]
        assert unnamed.headers.get("x-tallygate-changes") == told
        assert "x-tallygate-changes" not in named.headers


async def test_out_of_money_may_be_told_as_429(tmp_path: Path) -> None:
    """With `insufficient_balance_status = 429`, type and code are OpenAI's `insufficient_quota`, not to be retried."""
    async with installed(tmp_path) as installation:
        set_in(installation, 'output_usd_per_1m = "1.411"', 'usd_per_call = "10"')
        set_in(installation, 'url = "sqlite:data/tallygate.db"', "[billing]\ninsufficient_balance_status = 429")
        async with served(installation) as gateway:
            answer = await gateway.chat()

            assert (answer.status, answer.json()["error"]["type"], answer.code) == (
                429,
                "insufficient_quota",
                "insufficient_quota",
            )
            assert answer.headers["x-should-retry"] == "false"
            assert installation.entries(e.HOLD) == []


async def test_a_short_balance_may_shrink_the_answer(tmp_path: Path) -> None:
    """With `short_balance = "shrink"`, a call without `max_tokens` gets what $0.001 pays for, and is told."""
    async with installed(tmp_path) as installation:
        set_in(installation, 'url = "sqlite:data/tallygate.db"', '[billing]\nshort_balance = "shrink"')
        async with served(installation, usd="0.001") as gateway:
            shrunk, named = await gateway.chat(max_tokens=...), await gateway.chat(max_tokens=4096)

            (hold,) = installation.entries(e.HOLD)
            assert (shrunk.status, named.status, named.code) == (200, 402, "insufficient_balance")
            assert 0 < (hold.completion_tokens or 0) < 700
            assert shrunk.headers["x-tallygate-changes"].startswith(f"max_tokens={hold.completion_tokens}, ")
            assert (await gateway.admin("POST", "verify"))["clean"]
