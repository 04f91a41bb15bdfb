"""A Bearer upstream that races hosts by itself: each of its attempts is paid, a 502 of all is tried once more."""

from __future__ import annotations

from tallygate.core.ledger import entry as e
from tallygate.devnet import DevnetSettings
from tests.relay.test_inquiry import ask
from tests.relay.world import open_world

FEE = 1000
RACING = DevnetSettings(pace_ms=0, bearer_race=3, attempt_ngonka=FEE)


async def test_all_hosts_that_raced_are_paid_and_found() -> None:
    """Callers pay for one answer; the network bills three, which reconciling shows to the ngonka, as a drift."""
    async with open_world("bearer", devnet=RACING) as world:
        for stream in (False, True, False):
            answer = await world.chat(stream=stream)
            assert answer.status == 200
            (*_, inference) = world.devnet.chain.inferences.values()
            told = answer.usage["prompt_tokens"], answer.usage["completion_tokens"]
            assert told == (inference.prompt_tokens, inference.completion_tokens)
        found = await ask(world)

        assert len(world.devnet.chain.inferences) == 9
        assert world.upstream_calls == 3
        assert found.total.reported_ngonka == world.billed_ngonka
        assert found.total.drift_ngonka == world.billed_ngonka - world.posted_ngonka(e.COST_PAID)
        assert found.total.drift_ngonka > 6 * FEE


async def test_a_502_of_all_hosts_is_tried_once_more_and_no_more() -> None:
    """The program has raced hosts already: one more request is a new race, a third would be one too many."""
    async with open_world("bearer", devnet=RACING) as world:
        world.order("502")
        assert (await world.chat()).status == 200
        assert world.upstream_calls == 2
        world.order("502", times=None)
        assert (await world.chat()).status == 502

        assert world.upstream_calls == 4
        assert len(world.devnet.chain.inferences) == 3
        world.clear_faults()


async def test_a_caller_that_leaves_is_drained_with_its_race() -> None:
    """Who left a stream is charged what was served; the other hosts' answers are the operator's, and are all told."""
    async with open_world("bearer", devnet=RACING) as world:
        world.order("hold_stream", after_frames=1)
        caller = await world.send(stream=True)
        await world.arrival(1)
        caller.leave()
        world.clear_faults()
        found = await ask(world)

        assert found.total.reported_ngonka == world.billed_ngonka
        assert len(world.devnet.chain.inferences) == 3
