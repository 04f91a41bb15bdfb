"""What attempts are booked at: by the upstream that they went to, the model there, and the price when they began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.pricing import UpstreamRate
from tests.relay.world import MODEL, open_world, until

if TYPE_CHECKING:
    from tests.relay.world import World

DEAR = UpstreamRate(7, 11, 300)


def bill(world: World, rate: UpstreamRate) -> int:
    """Return what the last charge comes to at a rate."""
    ending = world.ending()
    return rate.bill(ending.prompt_tokens or 0, ending.completion_tokens or 0)


async def test_a_call_that_went_on_is_booked_where_it_ended() -> None:
    """After a retry at another upstream, that one's rate counts; what failed is booked at the first one's."""
    async with open_world("gonka", "bearer") as world:
        world.gateway.upstreams.follow("bearer", MODEL, DEAR)
        world.order("500", host=0)
        for host in (1, 2):
            world.order("503", host=host)
        assert (await world.chat()).status == 200
        ending = world.ending()

        assert ending.upstream == "bearer"
        assert world.posted_ngonka(e.COST_PAID) == bill(world, DEAR)
        (lost,) = [entry for entry in world.entries(e.ATTEMPT) if any(amount for *_, amount in entry.postings)]
        assert lost.upstream == "signed"
        assert 0 < world.posted_ngonka(e.COST_UNPAID) < DEAR.attempt_ngonka


async def test_a_price_that_moves_amid_a_call_is_the_next_ones() -> None:
    """A call is booked at the price when it was sent, as the chain locks it; the next one at the new price."""
    async with open_world("gonka") as world:
        world.order("hold_stream")
        caller = await world.send(stream=True)
        await world.arrival(1)
        await until(lambda: world.devnet.chain.inferences)
        world.gateway.upstreams.follow("signed", MODEL, DEAR)
        world.clear_faults()
        assert (await caller.answer()).status == 200
        first = world.posted_ngonka(e.COST_PAID)
        assert first == world.billed_ngonka == bill(world, UpstreamRate(1, 1, 0))
        assert (await world.chat()).status == 200

        assert world.posted_ngonka(e.COST_PAID) - first == bill(world, DEAR)
