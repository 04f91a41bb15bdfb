"""A gateway and its operator's webhook: what happened to an account arrives, whatever happened to the gateway."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

import apsw
import standardwebhooks

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Gateway, Installation, installed, served, until_logged
from tests.gateway.test_settings import set_in
from tests.network.scripted_server import Peer, answer, serve
from tests.relay.world import until

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """A webhook that says nothing to what it is sent until it is `well`; then it takes everything."""

    def __init__(self) -> None:
        self.well = False
        self.tried: list[str] = []
        self.got: list[Any] = []

    async def __call__(self, peer: Peer) -> None:
        """Take one event, whose signature must be right."""
        head, _, content = (await peer.request()).partition(b"\r\n\r\n")
        _, *lines = head.decode().split("\r\n")
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        event = standardwebhooks.Webhook(SECRET).verify(content, headers)
        self.tried.append(headers["webhook-id"])
        if self.well:
            self.got.append((headers["webhook-id"], event))
            await peer.send(answer(b""))
        await peer.gone()


def kept_events(installation: Installation) -> list[str]:
    """Return the ids of what the store keeps for the webhook."""
    with contextlib.closing(apsw.Connection(str(installation.store), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        return [identity for (identity,) in db.execute("SELECT id FROM events ORDER BY id")]


def tell(installation: Installation, port: int, low_balance_usd: str) -> None:
    """Configure the webhook and the threshold."""
    secret = installation.folder / "webhook.key"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    url = f"http://127.0.0.1:{port}/events"
    section = f'[events]\nlow_balance_usd = "{low_balance_usd}"\nwebhook_url = "{url}"\n'
    set_in(installation, 'url = "sqlite:data/tallygate.db"', f'{section}webhook_secret_file = "webhook.key"')


async def test_an_event_survives_the_kill_of_its_gateway(tmp_path: Path) -> None:
    """A crossing is tried, the gateway killed before it is taken, and delivered once by the next one; no call waits."""
    receiver = Receiver()
    async with serve(receiver) as server, installed(tmp_path) as installation:
        tell(installation, server.port, "5")
        async with served(installation, usd="5") as gateway:
            assert [(await gateway.chat()).status for _ in range(3)] == [200, 200, 200]
            await until(lambda: receiver.tried)
            assert b"account.low_balance" in gateway.log
            (waiting,) = (await gateway.admin("GET", "events"))["data"]
            assert (waiting["id"], waiting["type"]) == (receiver.tried[0], "account.low_balance")
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        assert kept_events(installation) == receiver.tried

        receiver.well = True
        async with served(installation) as gateway:
            await until(lambda: receiver.got)
            await until(lambda: not kept_events(installation))
            assert (await gateway.admin("GET", "events"))["data"] == []
            assert await gateway.end(signal.SIGTERM) == 0
        async with served(installation) as gateway:
            assert await gateway.end(signal.SIGTERM) == 0

    ((identity, event),) = receiver.got
    first, *_ = installation.entries(e.SETTLE)
    assert set(receiver.tried) == {identity}
    assert event["type"] == "account.low_balance"
    assert event["data"]["inference"] == first.inference
    assert event["data"]["account"] == installation.account
    assert event["data"]["threshold_usd"] == "5"
    assert installation.audit().clean


async def test_an_operator_without_a_gateway_is_heard_by_the_next(tmp_path: Path) -> None:
    """What a command does to an account while no gateway runs is delivered when one does."""
    receiver = Receiver()
    receiver.well = True
    async with serve(receiver) as server, installed(tmp_path) as installation:
        tell(installation, server.port, "5")
        async with served(installation) as gateway:
            assert await gateway.end(signal.SIGTERM) == 0
        arguments = ("correct", installation.account, "-1", "--reason", "chargeback", "--actor", "ann")
        code, _, _ = await installation.outcome(*arguments)
        assert (code, len(kept_events(installation)), receiver.tried) == (0, 1, [])
        async with served(installation):
            await until(lambda: receiver.got)

    ((_, event),) = receiver.got
    assert (event["type"], event["data"]["balance_usd"]) == ("account.low_balance", "4")


async def test_without_a_webhook_the_log_tells(tmp_path: Path) -> None:
    """A threshold alone is told in the log, as JSON with exact amounts, and so is a call that cannot be paid."""
    async with installed(tmp_path) as installation:
        set_in(installation, 'url = "sqlite:data/tallygate.db"', '[events]\nlow_balance_usd = "5"')
        async with served(installation) as gateway:
            assert (await gateway.chat()).status == 200
            await gateway.admin("POST", f"accounts/{installation.account}/corrections", correction("-4.99999"))
            assert (await gateway.chat(max_tokens=4096)).status == 402
            await until_logged(gateway, b"account.empty")

            low, empty = [line for line in logged(gateway) if line["event"].startswith("account.")]
            assert (low["event"], low["level"], low["threshold_usd"]) == ("account.low_balance", "warning", "5")
            assert (empty["event"], empty["account"]) == ("account.empty", installation.account)
            assert kept_events(installation) == []


def correction(usd: str) -> dict[str, str]:
    """Return the fields of a correction."""
    return {"usd": usd, "reason": "test", "actor": "ann"}


def logged(gateway: Gateway) -> list[Any]:
    """Return the lines of a gateway's log."""
    return [json.loads(line) for line in gateway.log.splitlines()]
