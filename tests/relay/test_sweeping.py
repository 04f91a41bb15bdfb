"""The net under defects of ours: holds that no call owns are found and ended, and nobody else's."""

from __future__ import annotations

from tallygate import app
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.records import HoldRequest, Sending
from tests.relay.world import MODEL, open_world


async def test_the_sweeper_ends_lost_holds_and_no_others() -> None:
    """A hold that no call owns is expired by a sweep; a call under way is not, however often it is swept."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        await world.arrival(1)
        sending = Sending(0, 0, "signed", None)
        lost = HoldRequest("chatcmpl-lost", world.account.id, None, MODEL, 100, 10, sending)
        await world.ledger.hold(lost)
        for _ in range(3):
            await app.sweep(world.settings, world.gateway)

        assert [entry.inference for entry in world.entries(e.EXPIRE)] == ["chatcmpl-lost"]
        assert world.account.held > 0
        world.clear_faults()
        assert (await caller.answer()).status == 200
        assert [entry.kind for entry in world.entries(*e.ENDINGS)] == [e.EXPIRE, e.SETTLE]
