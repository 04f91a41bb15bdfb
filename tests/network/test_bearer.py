"""Bearer upstreams: what exactly goes on the wire, and that the key shows nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.config import BearerAccess, Secret, UpstreamSettings
from tallygate.core import retry
from tallygate.core.pricing import UpstreamRate
from tallygate.core.retry import SendingError
from tallygate.network.bearer import BearerUpstream
from tallygate.network.origin import Origin
from tallygate.network.pool import UpstreamPool
from tests.network.scripted_server import PATIENT, Peer, Script, answer, client, serve

if TYPE_CHECKING:
    from tallygate.network.client import HttpClient

KEY = "obk-zebra7f3a"
BODY = '{"model":"m","messages":[{"role":"user","content":"é 🌍"}]}'.encode()


def upstream(http: HttpClient, origin: Origin, base_path: bytes = b"/v1", key: str | None = KEY) -> BearerUpstream:
    """Return an upstream at an origin."""
    access = BearerAccess(origin, base_path, None if key is None else Secret(key))
    settings = UpstreamSettings(
        name="broker",
        models=None,
        priority=1,
        weight=2,
        bills_to_end=False,
        tokens_floor=1,
        rate=UpstreamRate(5, 6, 7),
        timeouts=PATIENT,
        ca_file=None,
        access=access,
    )
    return BearerUpstream(settings=settings, access=access, client=http, now_s=lambda: 0.0)


def keep(requests: list[bytes], *headers: bytes) -> Script:
    """Make a script that keeps every request of a connection."""

    async def script(peer: Peer) -> None:
        while True:
            requests.append(await peer.request())
            await peer.send(answer(b"ok", *headers))

    return script


@pytest.mark.parametrize(("base_path", "key"), [(b"/v1", KEY), (b"", KEY), (b"/api/openai/v1", KEY), (b"/v1", None)])
async def test_request(base_path: bytes, key: str | None) -> None:
    """The upstream gets the body as it is under its base path, with the key if there is one, and nothing else."""
    requests: list[bytes] = []
    async with serve(keep(requests)) as server, client() as http:
        found = await upstream(http, server.origin(), base_path, key).send(BODY)
        assert (found.status, await found.read_all(2)) == (200, b"ok")
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = [
        b"POST " + base_path + b"/chat/completions HTTP/1.1",
        b"Host: 127.0.0.1:%d" % server.port,
        b"Content-Length: %d" % len(BODY),
        b"Content-Type: application/json",
        *([] if key is None else [b"Authorization: Bearer " + key.encode()]),
    ]
    assert (sorted(head.split(b"\r\n")), body) == (sorted(lines), BODY)


async def test_reference() -> None:
    """The attempt's id is the one that the upstream says."""
    async with serve(keep([], b"X-Request-Id: req_1")) as server, client() as http:
        found = await upstream(http, server.origin()).send(BODY)
        assert (found.reference, await found.read_all(2)) == ("req_1", b"ok")


async def test_fresh() -> None:
    """A fresh sending goes over a connection that has not served."""
    async with serve(keep([])) as server, client() as http:
        up = upstream(http, server.origin())
        for fresh in (False, False, True):
            await (await up.send(BODY, fresh=fresh)).read_all(2)
        assert server.accepted == 2


async def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like any other; nothing is sent where it points, least of all the key."""
    requests: list[bytes] = []

    async def redirect(peer: Peer) -> None:
        requests.append(await peer.request())
        port = str(peer.writer.get_extra_info("sockname")[1]).encode()
        await peer.send(answer(b"{}", b"Location: http://127.0.0.1:" + port + b"/evil", status=b"308 Moved"))
        await peer.gone()

    async with serve(redirect) as server, client() as http:
        found = await upstream(http, server.origin()).send(BODY)
        assert (found.status, await found.read_all(2)) == (308, b"{}")
        assert (len(requests), server.accepted) == (1, 1)


async def test_two_tries() -> None:
    """It is a place to send to twice, since a second try reaches another node; when it is out, both are."""
    async with client() as http:
        up = upstream(http, Origin("http", "h", 80))
        assert list(up.targets()) == [up, up]
        pool = UpstreamPool([up, upstream(http, Origin("http", "other", 80))], lambda _: 0)
        assert [theirs for _, theirs in pool.targets("any/Model")] == ["any/Model"] * 4
        up.report(retry.LOST)
        assert (up.is_out, up.is_out_for_good) == (True, False)
        assert len(pool.targets("m")) == 2
        up.report(retry.LOST._replace(out_for_s=retry.INFINITY_S))
        assert up.is_out_for_good


async def test_settings() -> None:
    """It says what it is configured with."""
    async with client() as http:
        up = upstream(http, Origin("http", "h", 80))
        assert (up.name, up.upstream, up.models, up.priority, up.weight) == ("broker", "broker", None, 1, 2)
        assert (up.node, up.signed, up.rates.of("a")) == (None, False, UpstreamRate(5, 6, 7))
        assert (up.tokens_floor, up.bills_to_end) == (1, False)


async def test_no_secret_is_shown() -> None:
    """The key is in no repr and in no error of a failed sending; the repr says which upstream it is, and where."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serve(script) as server, client() as http:
        up = upstream(http, server.origin())
        assert repr(up) == f"<BearerUpstream broker at {server.origin()}>"
        with pytest.raises(SendingError) as caught:
            await up.send(BODY)
        for shown in (repr(up), str(up), repr(up.targets()), repr(caught.value), str(caught.value.failure)):
            assert "zebra" not in shown


async def test_close() -> None:
    """Closing the upstream closes its client, and what is sent after that fails as a sending."""
    async with serve(keep([])) as server, client() as http:
        up = upstream(http, server.origin())
        await up.close()
        with pytest.raises(SendingError):
            await up.send(BODY)
