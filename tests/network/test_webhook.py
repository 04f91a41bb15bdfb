"""The operator's webhook over real sockets: signed, in order, at least once, and never stormed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest
import standardwebhooks
from structlog.testing import capture_logs

from tallygate.core.errors import StoreUnavailableError
from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.origin import Origin
from tallygate.network.webhook import DELAY_S_MAX, GIVE_UP_NS, Webhook, decode_secret, sign
from tallygate.ports import KeptEvent
from tests.network.scripted_server import PATIENT, Peer, answer, serve, turns, wait_for_leave
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STATUSES = {200: b"200 OK", 204: b"204 No Content", 301: b"301 Moved", 400: b"400 Bad Request", 410: b"410 Gone"}
SHORT = Timeouts(connect_s=60, first_byte_s=0.05, idle_s=60, total_s=60)


class Events:
    """What is to be delivered, in memory."""

    def __init__(self, count: int, created_ns: int) -> None:
        self.kept = {f"evt_{number}": KeptEvent(f"evt_{number}", created_ns, body(number)) for number in range(count)}
        self.broken = False
        self.changed = asyncio.Event()

    async def events(self) -> Sequence[KeptEvent]:
        """Return what there is, as soon as there is something."""
        while not self.kept and not self.broken:
            self.changed.clear()
            await self.changed.wait()
        if self.broken:
            raise StoreUnavailableError("disk I/O error")
        return list(self.kept.values())

    def forget_event(self, event_id: str) -> None:
        """Let go of an event."""
        del self.kept[event_id]


class Receiver:
    """Plays a webhook: answers by a list of statuses, the last one for ever; keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        """Take one request and answer it."""
        head, _, content = (await peer.request()).partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        self.paths.append(start.encode())
        self.got.append(({name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, content))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        line = STATUSES.get(status, b"%d X" % status)
        await peer.send(answer(b"" if status == 204 else b"said", b"Location: http://127.0.0.1:1/", status=line))
        await peer.gone()

    @property
    def ids(self) -> list[str]:
        """The ids of the events that came, in their order."""
        return [headers["webhook-id"] for headers, _ in self.got]


class Clock:
    """A clock that stands still but for the deliverer's own waiting, which it lets pass at once, so many times."""

    def __init__(self, waits_max: int) -> None:
        self.now_ns = time.time_ns()
        self.waits: list[float] = []
        self.ended = asyncio.Event()
        self._waits_max = waits_max

    async def wait(self, seconds: float) -> None:
        """Let so many seconds pass; after the last time, for ever."""
        self.waits.append(seconds)
        self.now_ns += round(seconds * 10**9)
        if len(self.waits) >= self._waits_max:
            self.ended.set()
            await asyncio.Event().wait()


def body(number: int) -> str:
    """Return the body of an event."""
    return json.dumps({"type": "account.empty", "data": {"account": f"acct_{number}", "sign": "€"}})


@contextlib.asynccontextmanager
async def delivering(
    origin: Origin,
    events: Events,
    clock: Clock,
    *,
    client: HttpClient | None = None,
    random: float = 0.0,
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a deliverer for as long as the block lasts."""
    client = client or HttpClient(timeouts=PATIENT, connections_max=1)
    webhook = Webhook(
        origin=origin,
        path=b"/hook/",
        key=decode_secret(SECRET),
        client=client,
        outgoings=events,
        now_ns=lambda: clock.now_ns,
        wait_s=clock.wait,
        random=lambda: random,
    )
    task = asyncio.create_task(webhook.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert "<HttpClient 0 busy, " in repr(client)
        await client.close()


async def until_empty(events: Events) -> None:
    """Wait until everything is delivered."""
    await until(lambda: not events.kept)


def test_the_specification_signs_as_we_do() -> None:
    """Our signature of the specification's own example is the one that is printed there."""
    signature = sign(
        decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_events_are_posted_in_order_and_signed() -> None:
    """Each event is one POST that the specification's library accepts, in their order; then there is nothing more."""
    receiver = Receiver(200, 204, 200)
    clock = Clock(1)
    events = Events(3, clock.now_ns)
    async with serve(receiver) as server, delivering(server.origin(), events, clock):
        await until_empty(events)
        await turns(20)

        assert receiver.ids == ["evt_0", "evt_1", "evt_2"]
        assert receiver.paths == [b"POST /hook/ HTTP/1.1"] * 3
        for number, (headers, content) in enumerate(receiver.got):
            assert content == body(number).encode()
            assert headers["content-type"] == "application/json"
            assert standardwebhooks.Webhook(SECRET).verify(content, headers) == json.loads(content)
            with pytest.raises(standardwebhooks.WebhookVerificationError):
                standardwebhooks.Webhook(SECRET).verify(content + b" ", headers)
        assert clock.waits == []


@pytest.mark.parametrize("status", [500, 503, 429, 400, 301])
async def test_a_failed_event_is_tried_again_before_the_next(status: int) -> None:
    """What is not 2xx is a failure, a redirect too: the same event again, under the same id; nothing overtakes it."""
    receiver = Receiver(status, status, 200)
    clock = Clock(9)
    events = Events(2, clock.now_ns)
    async with serve(receiver) as server, delivering(server.origin(), events, clock):
        await until_empty(events)

        assert receiver.ids == ["evt_0", "evt_0", "evt_0", "evt_1"]
        assert clock.waits == [5.0, 10.0]
        timestamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.got]
        assert [later - timestamps[0] for later in timestamps] == [0, 5, 15, 15]


async def test_waiting_doubles_up_to_a_limit() -> None:
    """The schedule is 5 s, twice as long each time, to 15 minutes; chance takes up to a quarter off."""
    for random, factor in ((0.0, 1.0), (1.0, 0.75)):
        clock = Clock(12)
        async with (
            serve(Receiver(500)) as server,
            delivering(server.origin(), Events(1, clock.now_ns), clock, random=random),
        ):
            await clock.ended.wait()
        schedule = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 900.0, 900.0, 900.0, 900.0]
        assert clock.waits == [seconds * factor for seconds in schedule]


async def test_after_a_delivery_the_schedule_begins_anew() -> None:
    """One success ends the run of failures."""
    receiver = Receiver(500, 500, 200, 500, 200)
    clock = Clock(9)
    events = Events(2, clock.now_ns)
    async with serve(receiver) as server, delivering(server.origin(), events, clock):
        await until_empty(events)

        assert clock.waits == [5.0, 10.0, 5.0]


async def test_no_answer_is_a_failure() -> None:
    """Silence beyond the timeout, a connection that is reset, and one that is refused, are tried again later."""
    receiver = Receiver(200)

    async def reset(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    class Calming(Clock):
        """A clock after whose first wait the client has all the time in the world, as have the tries that follow."""

        async def wait(self, seconds: float) -> None:
            hasty._timeouts = PATIENT
            await super().wait(seconds)

    hasty = HttpClient(timeouts=SHORT, connections_max=1)
    clock: Clock = Calming(9)
    events = Events(1, clock.now_ns)
    async with (
        serve(wait_for_leave, reset, receiver) as server,
        delivering(server.origin(), events, clock, client=hasty),
    ):
        await until_empty(events)
        assert (len(clock.waits), receiver.ids) == (2, ["evt_0"])

    async with serve(receiver) as server:
        closed = server.origin()
    clock, events = Clock(3), Events(1, clock.now_ns)
    with capture_logs() as logs:
        async with delivering(closed, events, clock):
            await clock.ended.wait()
    assert list(events.kept) == ["evt_0"]
    assert [line["event"] for line in logs] == ["webhook failed"] * 3
    assert "ConnectError" in logs[0]["detail"]


async def test_an_answer_that_breaks_off_has_said_all_with_its_status() -> None:
    """A 200 whose body never ends is a delivery."""

    async def break_off(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    clock = Clock(1)
    events = Events(1, clock.now_ns)
    async with serve(break_off) as server, delivering(server.origin(), events, clock):
        await until_empty(events)


async def test_a_day_after_it_happened_an_event_is_given_up() -> None:
    """A webhook that is dead for a day loses what is older; every loss is an error in the log, with the whole event."""
    clock = Clock(200)
    events = Events(2, clock.now_ns)
    with capture_logs() as logs:
        async with serve(Receiver(500)) as server, delivering(server.origin(), events, clock):
            await until_empty(events)

    lost = [line for line in logs if line["event"] == "event given up"]
    assert [(line["event_id"], line["log_level"], line["body"]) for line in lost] == [
        ("evt_0", "error", body(0)),
        ("evt_1", "error", body(1)),
    ]
    waited_ns = sum(clock.waits[:-1]) * 10**9
    assert GIVE_UP_NS <= waited_ns < GIVE_UP_NS + DELAY_S_MAX * 10**9


async def test_an_old_event_is_still_tried_once() -> None:
    """What a gateway finds in its store after a long time off is delivered, if the webhook takes it."""
    receiver = Receiver(200)
    clock = Clock(1)
    events = Events(2, clock.now_ns - 10 * GIVE_UP_NS)
    async with serve(receiver) as server, delivering(server.origin(), events, clock):
        await until_empty(events)

        assert receiver.ids == ["evt_0", "evt_1"]


async def test_what_was_delivered_is_not_given_up() -> None:
    """Of old events, those that the webhook took before it failed are no loss."""
    clock = Clock(9)
    events = Events(3, clock.now_ns - GIVE_UP_NS)
    with capture_logs() as logs:
        async with serve(Receiver(200, 500)) as server, delivering(server.origin(), events, clock):
            await until_empty(events)
            await until(lambda: clock.waits)

    assert [line["event_id"] for line in logs if line["event"] == "event given up"] == ["evt_1", "evt_2"]


async def test_gone_means_gone() -> None:
    """A 410 gives its event up, and only that; the next one is tried after a wait."""
    receiver = Receiver(410, 200)
    clock = Clock(9)
    events = Events(2, clock.now_ns)
    with capture_logs() as logs:
        async with serve(receiver) as server, delivering(server.origin(), events, clock):
            await until_empty(events)

    assert receiver.ids == ["evt_0", "evt_1"]
    assert [line["event_id"] for line in logs if line["event"] == "event given up"] == ["evt_0"]
    assert clock.waits == [5.0]


async def test_a_store_that_fails_ends_the_deliverer() -> None:
    """When the store is broken nothing new can come: the deliverer ends without a word."""
    clock = Clock(1)
    events = Events(0, clock.now_ns)
    async with delivering(Origin("http", "127.0.0.1", 1), events, clock) as task:
        await turns(3)
        events.broken = True
        events.changed.set()
        await asyncio.wait([task])

        assert task.exception() is None
