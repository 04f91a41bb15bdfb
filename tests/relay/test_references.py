"""What an attempt is called by its upstream: in the books for every attempt that was sent, however it ended."""

import pytest

from tallygate.core.ledger import entry as e
from tests.relay import wiring
from tests.relay.world import PATIENT, World, open_world, until


def references(world: World) -> list[str | None]:
    """Return the references of all sendings that have ended, in their order."""
    ended = [entry for entry in world.entries(e.ATTEMPT, *e.ENDINGS) if entry.completion_tokens is not None]
    return [entry.upstream_reference for entry in ended]


def signatures(world: World) -> list[str]:
    """Return the signatures that have arrived at the nodes."""
    return [
        call.headers["authorization"] for host in world.hosts for call in host.calls if "x-timestamp" in call.headers
    ]


@pytest.mark.parametrize("fault", ["hang_up", "500", "503", "400", "garbage", "cut"])
async def test_whatever_becomes_of_it_a_signed_attempt_has_its_signature(fault: str) -> None:
    """Failed before any byte, refused, rejected or unusable: each attempt is in the books under its signature."""
    async with open_world("gonka") as world:
        world.order(fault, times=None)
        assert (await world.chat()).status >= 400
        world.clear_faults()

        assert sorted(references(world)) == sorted(signatures(world))  # type: ignore[type-var]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_before_any_byte_leaves_a_reference(stream: bool) -> None:
    """Where a node thinks while its caller leaves, the network may bill it: the books know under which id."""
    async with open_world("gonka", left_drain_s=0) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.gateway.relay.under_way)

        assert references(world) == signatures(world)
        assert len(references(world)) == 1
        world.clear_faults()


@pytest.mark.parametrize(("fault", "expected"), [("502", ["req-00000001", "req-00000002@{}"]), ("hang_up", [None])])
async def test_a_bearer_upstream_names_its_refusals_too(fault: str, expected: list[str | None]) -> None:
    """The id of a Bearer upstream's answer is kept, be it a refusal or not; where nothing came there is none."""
    async with open_world("openai") as world:
        world.order(fault)
        await world.chat()

        escrow = world.devnet._bearer.session.id
        assert references(world) == [one and one.format(escrow) for one in expected]


async def test_a_try_has_no_reference_of_the_one_before() -> None:
    """Where the second try reaches nobody it has no id: the first one's is not taken for it."""
    async with open_world("openai") as world:
        await world.add_upstream(wiring.bearer("http://127.0.0.1:9/v1", "key", PATIENT, priority=5))
        world.order("503")
        assert (await world.chat()).status == 503

        assert references(world) == ["req-00000001", None]
