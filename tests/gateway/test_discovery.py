"""Discovery against a whole devnet: who is sent to when the network's own lists change, and when it tells nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.devnet.wire import control
from tests.gateway.clockwork import NODES, REFRESH_S, DiscoveringWorld, discovering

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL = list(range(NODES))


async def served_by(world: DiscoveringWorld) -> list[int]:
    """Call more often than there are nodes, and return which ones have answered."""
    before = [len(host.calls) for host in world.hosts[:NODES]]
    for _ in range(2 * NODES):
        assert (await world.chat()).status == 200
    return [number for number, host in enumerate(world.hosts[:NODES]) if len(host.calls) > before[number]]


async def tell(world: DiscoveringWorld, **network: object) -> None:
    """Change the network, by the control that any user of a devnet has."""
    await control(world.devnet.nodes[0].url, "POST", "network", network)


def addresses(world: DiscoveringWorld, numbers: Iterable[int]) -> list[str]:
    """Return the addresses of some nodes."""
    return [world.devnet.nodes[number].address for number in numbers]


async def test_nobody_is_sent_to_before_the_network_was_asked() -> None:
    """A gateway that has only been told where to ask serves nobody, then everybody by every node that takes part."""
    async with discovering() as world:
        assert (await world.chat()).status == 503
        await world.watch.look()

        assert world.known == ALL
        assert await served_by(world) == ALL


async def test_who_is_excluded_is_left_out() -> None:
    """A participant that is excluded amid an epoch is out with the next refresh, and in again once it is not."""
    async with discovering() as world:
        await world.watch.look()
        (out,) = addresses(world, [2])
        await tell(world, excluded={out: "invalid_inferences"})
        await world.pass_time(REFRESH_S)
        assert await served_by(world) == [0, 1, 3]
        await tell(world, excluded={})
        await world.pass_time(REFRESH_S)

        assert await served_by(world) == ALL


async def test_only_who_is_allowed_is_sent_to() -> None:
    """Of participants, those on the chain's list may take calls; an empty list allows all."""
    async with discovering() as world:
        await tell(world, allowed_transfer_addresses=addresses(world, [1, 3]))
        await world.watch.look()
        assert await served_by(world) == [1, 3]
        await tell(world, allowed_transfer_addresses=[])
        await world.pass_time(REFRESH_S)

        assert await served_by(world) == ALL


async def test_who_is_allowed_and_excluded_is_left_out() -> None:
    """Both lists count; and one that leaves nobody at all cannot be true, so that the last good answer stays."""
    async with discovering() as world:
        first, second = addresses(world, [1, 3])
        await tell(world, allowed_transfer_addresses=[first, second], excluded={second: "downtime"})
        await world.watch.look()
        assert world.known == [1]
        await tell(world, excluded={first: "downtime", second: "downtime"})
        await world.pass_time(REFRESH_S)

        assert world.known == [1]
        assert "no participant may take calls" in str(world.upstream.describe()["trouble"])


async def test_nodes_come_and_go_with_epochs() -> None:
    """Who stays out of the next epoch is sent to until that one's participants take over; who joins, from then on."""
    async with discovering() as world:
        await world.watch.look()
        await world.pass_time(REFRESH_S)
        await tell(world, absent=addresses(world, [1, 2]))
        await world.pass_time(REFRESH_S)
        assert await served_by(world) == ALL
        stays = world.upstream.places[3]
        await world.pass_epoch()
        assert await served_by(world) == [0, 3]
        assert world.upstream.places[1] is stays
        await tell(world, absent=addresses(world, [0]))
        await world.pass_epoch()

        assert await served_by(world) == [1, 2, 3]


async def test_the_last_good_answer_is_kept_while_the_network_tells_nothing() -> None:
    """While the one source refuses connections, calls go on to whom it named; when it is back, so is its word."""
    async with discovering() as world:
        await tell(world, allowed_transfer_addresses=addresses(world, [1, 2, 3]))
        await world.watch.look()
        other = world.devnet.nodes[1].url
        await control(other, "POST", "faults", {"fault": "down", "node": 0})
        await control(other, "POST", "network", {"excluded": {addresses(world, [3])[0]: "downtime"}})
        await world.pass_time(5 * REFRESH_S)
        assert world.known == [1, 2, 3]
        assert await served_by(world) == [1, 2, 3]  # one of them has nobody to serve it: what it refuses, others serve
        assert "is not answered" in str(world.upstream.describe()["trouble"])
        await control(other, "DELETE", "faults", {"node": 0})
        await world.pass_time(REFRESH_S)

        assert world.known == [1, 2]
        assert world.upstream.describe()["trouble"] is None
