"""What is asked of the network in the background, whom it makes us send to, and what nonsense leaves as it was."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tallygate.config import DiscoverySettings, GonkaAccess, NodeSettings, UpstreamSettings
from tallygate.core.address import address_from_public_key
from tallygate.core.nodes import NonsenseError
from tallygate.core.pricing import UpstreamRate
from tallygate.core.retry import LOST, judge_status
from tallygate.core.signing import Scheme, SigningKey
from tallygate.core.timestamps import CorrectedTimestamps
from tallygate.network.discovery import Source, _locate, parse_time_ns
from tallygate.network.gonka import GonkaUpstream
from tallygate.network.origin import Origin
from tallygate.network.watching import ChainWatch
from tests.network import small_network as n
from tests.network.scripted_server import PATIENT, Server, answer, client, serve
from tests.network.small_network import SmallNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.network.scripted_server import Peer

A, B, C = (address_from_public_key(bytes([2]) + bytes([number]) * 32) for number in range(1, 4))
NOW_NS = 1_795_651_200 * 10**9
BUSY_503 = judge_status(503, {}, b'{"error": "no executors available for model"}', signed=True)


class Bench:
    """An upstream that discovers, whoever watches for it, and the clock of both."""

    def __init__(
        self, upstream: GonkaUpstream, watch: ChainWatch, networks: list[SmallNetwork], clock: list[float]
    ) -> None:
        self.upstream = upstream
        self.watch = watch
        self.networks = networks
        self.clock = clock

    async def look_again(self, after_s: float = 300.0) -> list[str]:
        """Look once more, after a while; return the URLs of the nodes."""
        self.clock[0] += after_s
        await self.watch.look()
        return [place.url for place in self.upstream.places]


@contextlib.asynccontextmanager
async def bench(count: int = 1, nodes: tuple[NodeSettings, ...] = ()) -> AsyncIterator[Bench]:
    """Run so many sources, an upstream that is to discover its nodes there unless it has some, and its watch."""
    networks = [SmallNetwork() for _ in range(count)]
    clock = [1000.0]
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Server] = [await stack.enter_async_context(serve(network.play)) for network in networks]
        http, asking = [await stack.enter_async_context(client()) for _ in range(2)]
        sources = tuple((server.origin(), b"") for server in servers)
        discovery = None if nodes else DiscoverySettings(sources, 300.0)
        access = GonkaAccess((SigningKey.from_hex("11" * 32),), Scheme.HASH, nodes, discovery)
        settings = UpstreamSettings("main", None, 0, 1, True, 1, UpstreamRate(1, 1, 0), PATIENT, None, access)
        upstream = GonkaUpstream(
            settings=settings,
            access=access,
            client=http,
            timestamps=CorrectedTimestamps(lambda: NOW_NS),
            now_s=lambda: clock[0],
        )
        watch = ChainWatch(upstream, asking, lambda: NOW_NS + int((clock[0] - 1000) * 10**9), lambda: clock[0])
        yield Bench(upstream, watch, networks, clock)


async def test_nodes_are_discovered() -> None:
    """Participants that are neither excluded nor disallowed become places, where they say, with or without /v1."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1/v1", B: "http://127.0.0.1:2", C: "http://x/"}, excluded=(C,))
        network.allow(A, B)

        assert await found.look_again() == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
        assert [place.node for place in found.upstream.places] == [A, B]
        network.allow(B)
        assert await found.look_again() == ["http://127.0.0.1:2"]
        network.allow()
        assert await found.look_again() == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


async def test_nodes_are_looked_for_only_when_it_is_time() -> None:
    """The list is fetched again after its time, not at every look."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1"})
        network.allow()
        for _ in range(3):
            await found.look_again(100.0)

        assert sum(b"participants" in head for head in network.heads) == 1


async def test_a_node_that_stays_stands_as_it_stood() -> None:
    """A refresh forgets nothing of a node that is still there."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1", B: "http://127.0.0.1:2"})
        network.allow()
        await found.look_again()
        stays = found.upstream.places[1]
        stays.report(LOST)
        network.list_participants({B: "http://127.0.0.1:2", C: "http://127.0.0.1:3"})
        await found.look_again()

        assert [place.node for place in found.upstream.places] == [B, C]
        assert found.upstream.places[0] is stays
        assert stays.standing.recent


@pytest.mark.parametrize(
    "nonsense",
    [
        (500, {"error": "panic"}),
        (200, b"<html>"),
        (200, {"active_participants": {"participants": []}}),
        (200, {"active_participants": {"participants": [{"index": "gonka1x", "inference_url": "http://h"}]}}),
        (308, {"status": 308}),
    ],
)
@pytest.mark.parametrize("path", [n.PARTICIPANTS, n.PARAMS])
async def test_the_last_good_answer_is_kept(path: str, nonsense: tuple[int, object]) -> None:
    """An error, nonsense, or a list that leaves nobody changes nothing, and the operator can see the trouble."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1"})
        network.allow()
        await found.look_again()
        network.routes[path] = nonsense

        assert await found.look_again() == ["http://127.0.0.1:1"]
        assert found.upstream.describe()["trouble"]


async def test_a_node_that_knows_no_list_of_the_allowed_allows_all() -> None:
    """Networks before v0.2.9 have no parameters of transfer agents; where the route is missing, all may be asked."""
    async with bench() as found:
        found.networks[0].list_participants({A: "http://127.0.0.1:1", B: "http://127.0.0.1:2"})

        assert await found.look_again() == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


async def test_windows_are_known_while_lists_are_nonsense() -> None:
    """A source whose list of nodes is of no use is asked all the same where its chain is."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1"})
        network.allow()
        await found.look_again()
        network.routes[n.PARTICIPANTS] = 200, {"active_participants": {"participants": []}}
        network.show_chain(100, "2026-11-26T00:00:00Z", "PoCGenerate", poc_validation_end=110)
        await found.look_again()

        assert found.upstream.quiet_for_s > 0


async def test_another_source_is_asked() -> None:
    """When a source fails, the next one is asked, and from then on first."""
    async with bench(2) as found:
        good = found.networks[1]
        good.list_participants({A: "http://127.0.0.1:1"})
        good.allow()
        assert await found.look_again() == ["http://127.0.0.1:1"]
        before = len(found.networks[0].heads)
        await found.look_again()

        assert sum(b"participants" in head for head in found.networks[0].heads[before:]) == 0


async def test_a_delegate_is_asked_in_a_nodes_name() -> None:
    """A node that names another to take its calls is asked there, and signed for by its own address."""
    async with bench() as found, serve() as _:
        (network,) = found.networks
        port = found.upstream.discovery.sources[0][0].port  # type: ignore[union-attr]
        network.list_participants({A: f"http://127.0.0.1:{port}"})
        network.allow()
        network.identify(A, {"http://127.0.0.1:7/v1": B})

        assert await found.look_again() == ["http://127.0.0.1:7"]
        assert found.upstream.places[0].node == A
        network.identify(B)
        assert await found.look_again() == ["http://127.0.0.1:7"]  # it answers as another, so nobody is left: kept


async def test_questions_carry_no_credentials_and_follow_nobody() -> None:
    """No question has an Authorization, and where a redirect points to is never asked."""
    asked_elsewhere = []

    async def elsewhere(peer: Peer) -> None:
        asked_elsewhere.append(await peer.request())

    async def redirect(peer: Peer) -> None:
        while True:
            assert b"uthorization" not in await peer.request()
            await peer.send(answer(b"{}", b"Location: http://127.0.0.1:%d/x" % foreign.port, status=b"307 Away"))

    async with serve(elsewhere) as foreign, serve(redirect) as server:
        origin = server.origin()
        node = NodeSettings(str(origin), origin, b"", A)
        async with bench(nodes=(node,)) as found:
            await found.look_again()
            assert found.upstream.describe()["trouble"]

    assert asked_elsewhere == []


async def test_quiet_windows_are_known() -> None:
    """In a quiet window, a 503 is not held against a node, and says when the window ends, six hours at most."""
    async with bench() as found:
        (network,) = found.networks
        network.list_participants({A: "http://127.0.0.1:1"})
        network.allow()
        network.show_chain(100, "2026-11-26T00:00:00Z", "PoCGenerate", poc_validation_end=110)
        await found.look_again()
        (place,) = found.upstream.places
        told = place.report(BUSY_503)
        seen = [place.is_out]
        assert 55 <= (told.quiet_s or 0) <= 62
        network.show_chain(101, "2026-11-26T00:00:06Z", "PoCGenerate", poc_validation_end=9000)
        await found.look_again(6)
        assert place.report(BUSY_503).quiet_s == 6 * 3600
        place.report(LOST)
        seen.append(place.is_out)
        network.show_chain(102, "2026-11-26T00:00:12Z")
        await found.look_again(6)
        told = place.report(BUSY_503)

        assert (told.retry_after_s, told.quiet_s, [*seen, place.is_out]) == (None, None, [False, True, True])


async def show_blocks(found: Bench, count: int, lead_s: int, first: int) -> None:
    """Have the chain make new blocks, six seconds apart, so far ahead of our clock, and look at each."""
    for number in range(count):
        found.clock[0] += 6
        now = datetime.fromtimestamp((NOW_NS + int((found.clock[0] - 1000) * 10**9)) // 10**9 + lead_s, UTC)
        found.networks[0].show_chain(first + number, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        await found.watch.look()


async def test_timestamps_follow_the_chains_time() -> None:
    """What is signed has our time while it is right, the chain's where ours is off, but not where it is far off."""
    stamps: list[int] = []

    async def node(peer: Peer) -> None:
        while True:
            head = (await peer.request()).decode()
            if head.startswith("POST "):
                stamps.append(int(head.partition("X-Timestamp: ")[2].partition("\r\n")[0]) - NOW_NS)
            await peer.send(answer(b"ok"))

    async with serve(node) as server, bench() as found:
        (network,) = found.networks
        network.list_participants({A: f"http://127.0.0.1:{server.port}"})
        network.allow()
        network.show_chain(1, "2026-11-26T00:00:00Z")
        for blocks, lead_s in [(6, -4), (6, 30), (6, -4), (6, 4000)]:
            await show_blocks(found, blocks, lead_s, 100 * len(stamps) + 100)
            await (await found.upstream.places[0].send(b"{}")).read_all(2)

    assert [round(stamp / 10**9) for stamp in stamps] == [0, 30, 0, 0]
    assert found.upstream.describe()["clock_is_too_far"]


@pytest.mark.parametrize(
    ("source", "url", "found"),
    [
        ("node.example", "http://other.example:8000/v1", True),
        ("node.example", "http://169.254.169.254/latest", False),
        ("node.example", "http://localhost:6379", False),
        ("127.0.0.1", "http://127.0.0.1:9001", True),
        ("node.example", "file:///etc/passwd", False),
        ("node.example", "http://user:password@other.example", False),
        ("node.example", "http://other.example/?a=b", False),
    ],
)
def test_strangers_lead_nobody_astray(source: str, url: str, found: bool) -> None:
    """A URL that a participant has registered is asked only if it is plain, and not one of our own network's."""
    place = _locate(url, A, Source(Origin("http", source, 80), b""))

    assert (place is not None) is found


def test_times() -> None:
    """Times of the chain are read to the microsecond; what is none is nonsense."""
    assert parse_time_ns("2026-11-26T00:00:00Z") == 1_795_651_200 * 10**9
    assert parse_time_ns("2026-11-26T00:00:00.123456789Z") == 1_795_651_200 * 10**9 + 123_456_000
    assert parse_time_ns("2026-11-26T00:00:00.5Z") == 1_795_651_200 * 10**9 + 500_000_000
    for wrong in ("", "x", "2026-11-26", "2026-13-26T00:00:00Z", "2026-11-26T00:00:00+01:00"):
        with pytest.raises(NonsenseError):
            parse_time_ns(wrong)
