"""What nobody means, sent to a gateway as it runs: each has its refusal, and nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.ledger import entry as e
from tests.gateway.hostile_bodies import bodies
from tests.gateway.hostile_heads import LATE, TOO_MUCH, chat, heads
from tests.gateway.processes import installed, served
from tests.gateway.test_settings import set_in
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.hostile_heads import Case
    from tests.gateway.processes import Gateway

AT_ONCE = 20
GOOD_CALLS = 60
ROUNDS = 3
GROWTH_BYTES_MAX = 5 * 10**6
DEADLINE_S = 180
PATIENCE_S = 15
"""How long a request may take to arrive: while others are answered, and longer than a busy machine keeps one back."""

STATUSES = {"request_too_large": 413, "model_not_found": 404}


class Outcome(NamedTuple):
    """What came back; a status of 0 is nothing but the connection's end."""

    status: int
    code: str | None
    message: str | None


class Sender:
    """Sends bytes to a gateway, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._room = asyncio.Semaphore(AT_ONCE)

    async def send(self, data: bytes) -> Outcome:
        """Return what was answered until the connection ended."""
        async with self._room:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            answer = b""
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                while piece := await asyncio.wait_for(reader.read(65536), DEADLINE_S):
                    answer += piece
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return _read(answer)


def _read(answer: bytes) -> Outcome:
    if not answer:
        return Outcome(0, None, None)
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert found is not None, answer[:200]
    assert head.lower().count(b"\r\nx-request-id: req_") == 1, head
    error = json.loads(body).get("error", {}) if body else {}
    return Outcome(int(found[1]), error.get("code"), error.get("message"))


def _fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def _cases(key: str) -> list[Case]:
    """Return everything that is sent, with what it must be answered."""
    bearer = b"Authorization: Bearer " + key.encode()
    hostile_bodies = [(name, chat(bearer, body=body), (STATUSES.get(code, 400), code)) for name, body, code in bodies()]
    hostile_heads = list(heads(key))
    assert len(hostile_bodies) >= 200
    assert len(hostile_heads) >= 50
    return hostile_bodies + hostile_heads


async def _send_all(port: int, cases: Sequence[Case]) -> set[str]:
    """Send everything and check every answer; return the messages that were seen."""
    sender = Sender(port)
    outcomes = await asyncio.gather(*(sender.send(data) for _, data, _ in cases))
    wrong = [
        (name, expected, outcome)
        for (name, data, expected), outcome in zip(cases, outcomes, strict=True)
        if not _is_right(data, expected, outcome)
    ]
    assert wrong == []
    return {outcome.message for outcome in outcomes if outcome.message}


def _is_right(data: bytes, expected: tuple[int, str], outcome: Outcome) -> bool:
    if outcome.status == 0:
        # Who goes on sending after a refusal may lose it: TCP takes it back when more comes to a closed connection.
        return expected == TOO_MUCH
    status, code = expected
    return outcome[:2] == (status, None if data.startswith(b"HEAD ") else code)


async def _warm_up(gateway: Gateway) -> None:
    """Make good calls, one after the other, until a gateway has all that it keeps for them; leave no connection."""
    fds = _fds(gateway.process.pid)
    for _ in range(GOOD_CALLS):
        caller = await gateway.send()
        assert (await caller.answer()).status == 200
        await caller.close()
    places = len(gateway.installation.devnet.nodes) + 1
    await until(lambda: _fds(gateway.process.pid) <= fds + places)


async def test_nothing_is_left_of_what_nobody_means(tmp_path: Path) -> None:
    """Each hostile request has its 4xx; then files and memory are as before, nothing is held, and a call is paid."""
    async with installed(tmp_path) as installation:
        set_in(installation, "drain_s = 30", f"header_timeout_s = {PATIENCE_S}\nbody_timeout_s = {PATIENCE_S}")
        async with served(installation) as gateway:
            pid = gateway.process.pid
            await _warm_up(gateway)
            fds, resident_bytes = _fds(pid), _resident_bytes(pid)  # nobody has sent anything else yet
            cases, messages = _cases(installation.secret), set[str]()
            late = [case for case in cases if case[2] == LATE]
            ending = asyncio.ensure_future(_send_all(gateway.port, late * ROUNDS))
            for _ in range(ROUNDS):
                messages |= await _send_all(gateway.port, [case for case in cases if case[2] != LATE])
            messages |= await ending
            await until(lambda: _fds(pid) <= fds)
            account = await gateway.admin("GET", f"accounts/{installation.account}")  # the last connection is forgotten
            assert _resident_bytes(pid) - resident_bytes < GROWTH_BYTES_MAX
            assert account["held_usd"] == "0"
            answer = await gateway.chat()
            after = await gateway.admin("GET", f"accounts/{installation.account}")
            assert answer.status == 200
            assert len(installation.entries(e.HOLD)) == len(installation.entries(e.SETTLE)) == GOOD_CALLS + 1
            assert account["balance_usd"] != after["balance_usd"]
            assert (await gateway.admin("POST", "verify"))["clean"]

        lines = [json.loads(line) for line in gateway.log.splitlines()]
        assert [line for line in lines if line["level"] not in {"debug", "info"}] == []
        assert [message for message in messages if message in gateway.log.decode()] == []
