"""Gateways that are told to stop, and gateways that find their store taken."""

import signal
from pathlib import Path

import pytest

from tallygate.core.ledger import entry as e
from tests.gateway.processes import installed, served, until_logged
from tests.relay.world import charged, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_stream_ends_before_the_process(tmp_path: Path, number: int) -> None:
    """After the signal no connection is taken, the running stream is served to its end, and the exit code is 0."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        installation.order("barrier", count=1000)
        caller = await gateway.send(stream=True)
        await until(lambda: installation.calls_under_way)
        gateway.process.send_signal(number)
        await until_logged(gateway, b'"stopping"')

        with pytest.raises(ConnectionError):
            await gateway.send()
        installation.clear_faults()
        answer = await caller.answer()
        assert answer.events[-1] == b"[DONE]"
        assert await gateway.wait() == 0
        assert installation.audit().clean
        assert installation.audit().open_holds == 0


async def test_a_stream_that_outlives_the_deadline_is_cut_and_settled(tmp_path: Path) -> None:
    """When the deadline passes, the caller is told of the cut with what it cost, and the exit code is 0."""
    async with installed(tmp_path, drain_s=1) as installation, served(installation) as gateway:
        installation.order("stall_stream", after_frames=4)
        caller = await gateway.send(stream=True)
        await caller.head()
        await caller.frames(4)
        gateway.process.send_signal(signal.SIGTERM)

        rest = await caller.rest()
        assert b'"upstream_interrupted"' in rest
        assert b'"total_cost_usd"' in rest
        assert caller.ended
        assert await gateway.wait() == 0
        installation.clear_faults()
        assert charged(installation.entries(e.SETTLE)[-1]) > 0
        assert installation.audit().open_holds == 0


async def test_a_caller_who_does_not_read_does_not_hold_the_process_up(tmp_path: Path) -> None:
    """A caller who reads nothing of a long answer cannot keep a gateway from stopping in order."""
    async with installed(tmp_path, drain_s=1) as installation, served(installation) as gateway:
        question = [{"role": "user", "content": "Write 9000 words, please."}]
        await gateway.send(stream=True, messages=question, max_tokens=4096, n=5)
        await until(lambda: installation.devnet.chain.inferences)

        assert await gateway.end(signal.SIGTERM) == 0
        report = installation.audit()
        assert report.clean
        assert report.open_holds == 0


async def test_a_store_has_one_owner(tmp_path: Path) -> None:
    """A second gateway on the same store ends with exit code 4 and a clear word; the first one serves on."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        code, _, err = await installation.outcome("serve")

        assert code == 4
        assert b"another process is using the store" in err.lower()
        assert b"Traceback" not in err
        assert (await gateway.chat()).status == 200


async def test_a_start_after_a_clean_stop_finds_everything(tmp_path: Path) -> None:
    """Key, balance and books are there again after a stop and a start, and nothing had to expire."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            first = await gateway.chat()
            assert await gateway.end(signal.SIGTERM) == 0
        async with served(installation) as gateway:
            second = await gateway.chat()

            assert first.usage == second.usage
            assert installation.entries(e.EXPIRE) == []
            assert len(installation.entries(e.SETTLE)) == 2
