"""Calls of several parts when something goes wrong: in one part, with the caller, with the store, with us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tallygate import app
from tallygate.core.inference import State
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.network.gonka import GonkaNode
from tests.relay.test_completions import PROMPTS, STREAMED, complete, send_completion, texts_of
from tests.relay.test_leaving import wait_for_end
from tests.relay.world import World, charged, cost, open_world, until

if TYPE_CHECKING:
    from tallygate.core.ledger.entry import Entry
    from tallygate.network.sending import SentAnswer


def ended_attempts(world: World) -> list[Entry]:
    """Return the entries that ended a sending before the ending did."""
    return [entry for entry in world.entries(e.ATTEMPT) if entry.completion_tokens is not None]


def unpaid(entry: Entry) -> int:
    """Return what of a sending's bill nobody pays for."""
    return e.amount_of(entry, e.NGONKA, e.COST_UNPAID)


@STREAMED
async def test_each_part_is_tried_again_by_itself(stream: bool) -> None:
    """A part whose node fails goes to the next one; the others are not sent again, and what failed is unpaid."""
    async with open_world() as world:
        world.order("500", host=1)
        answer = await complete(world, stream=stream)

        assert answer.status == 200
        assert len(texts_of(answer)) == 3
        assert world.upstream_calls == 4
        lost = [entry for entry in ended_attempts(world) if unpaid(entry)]
        assert [entry.try_ for entry in lost] == [0]
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
        assert [a.part for a in world.entries(e.ATTEMPT) if a.try_ == 1 and a.completion_tokens is None] == [
            lost[0].part
        ]


async def test_each_part_may_be_repeated_once_at_a_risk() -> None:
    """The one risky repetition is each sending's, not the call's: three parts that fail riskily are all repeated."""
    async with open_world("openai") as world:
        world.order("500", times=3)
        answer = await complete(world)

        assert answer.status == 200
        assert world.upstream_calls == 6
        assert [entry.try_ for entry in ended_attempts(world) if unpaid(entry)] == [0, 0, 0]


@STREAMED
async def test_one_part_that_cannot_be_served_fails_the_call(stream: bool) -> None:
    """Before its first byte, one part's failure is the call's: void, with what the other parts may cost in our book."""
    async with open_world("openai") as world:
        world.order("422", times=1)
        answer = await complete(world, stream=stream)

        assert (answer.status, answer.code) == (400, "upstream_rejected")
        ending = world.ending()
        assert ending.kind == e.VOID
        assert charged(ending) == 0
        assert len(ended_attempts(world)) == 2
        assert world.posted_ngonka(e.COST_PAID) == 0
        assert world.posted_ngonka(e.COST_UNPAID) >= world.billed_ngonka


@STREAMED
async def test_nothing_is_shown_before_every_part_has_a_first_byte(stream: bool) -> None:
    """While one part has no first byte the caller sees nothing of the others; when it fails, they are cut and void."""
    async with open_world() as world:
        world.order("stall_headers", host=2)
        caller = await send_completion(world, stream=stream)
        await world.arrival(3)
        (life,) = world.gateway.relay._under_way
        await until(lambda: sum(part._place.state is State.STREAMING for part in life._parts) == 2)
        assert life._inference.state is State.SENT
        assert not life._reply.started
        world.order("500")  # wherever the silent part is sent next
        world.devnet._nodes[2].faults.clear()
        answer = await caller.answer()

        assert (answer.status, answer.code) == (502, "upstream_error")
        assert world.ending().kind == e.VOID
        assert world.posted_ngonka(e.COST_PAID) == 0
        assert world.posted_ngonka(e.COST_UNPAID) >= world.billed_ngonka > 0


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_a_part_that_dies_lets_the_others_end(kind: str) -> None:
    """A stream that dies amid others is told at the end: they are paid for as reported, it as far as it had come."""
    async with open_world(kind) as world:
        world.order("cut", host=0 if kind == "gonka" else -1, after_frames=3)
        answer = await complete(world, stream=True)

        *_, last = answer.chunks
        assert last["error"]["code"] == "upstream_interrupted"
        assert answer.events[-1] != b"[DONE]"
        texts = texts_of_interrupted(answer)
        assert len(texts) == 3
        finished = [c["index"] for chunk in answer.chunks[:-1] for c in chunk["choices"] if c["finish_reason"]]
        assert len(finished) == 2
        ending = world.ending()
        assert ending.kind == e.SETTLE
        assert ending.flags & Flag.CUT
        assert charged(ending) == int(last["usage"]["total_cost_usd_exact"].partition(".")[2].ljust(12, "0"))
        assert 10 < (ending.completion_tokens or 0) < 15
        assert world.posted_ngonka(e.COST_UNPAID) == 0


def texts_of_interrupted(answer: Any) -> dict[int, str]:
    """Return what came of each choice before the error."""
    texts: dict[int, str] = {}
    for chunk in answer.chunks:
        for choice in chunk.get("choices", ()):
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


@pytest.mark.parametrize("fault", ["truncate", "garbage"])
async def test_one_unusable_answer_makes_the_call_void(fault: str) -> None:
    """Unstreamed, an answer that cannot be used takes the call with it; nobody pays for the others but the operator."""
    async with open_world() as world:
        world.order(fault, host=0)
        answer = await complete(world)

        assert (answer.status, answer.code) == (502, "upstream_error")
        assert world.ending().kind == e.VOID
        assert world.posted_ngonka(e.COST_PAID) == 0
        assert world.posted_ngonka(e.COST_UNPAID) >= world.billed_ngonka


@STREAMED
async def test_who_leaves_is_drained_in_all_parts(stream: bool) -> None:
    """A caller who leaves nodes that bill to the end pays for all answers as they were billed."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        caller = await send_completion(world, stream=stream)
        await world.arrival(3)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        assert world.gateway.relay.under_way == 1
        world.clear_faults()
        await wait_for_end(world)

        ending = world.ending()
        assert (ending.kind, ending.flags) == (e.SETTLE, Flag.DRAINED)
        prompt = sum(inference.prompt_tokens for inference in world.devnet.chain.inferences.values())
        assert charged(ending) == cost(prompt, 15).total
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka


@STREAMED
async def test_who_leaves_is_cut_where_that_ends_the_bill(stream: bool) -> None:
    """A caller who leaves upstreams that stop billing pays the prompts, and what had come of each answer."""
    async with open_world("openai") as world:
        world.order("barrier", count=1000)
        caller = await send_completion(world, stream=stream)
        await world.arrival(3)
        caller.leave()
        await wait_for_end(world)

        ending = world.ending()
        assert (ending.kind, ending.completion_tokens) == (e.SETTLE, 0)
        assert ending.flags == Flag.CUT | Flag.ESTIMATED
        assert charged(ending) > 0
        assert [entry.prompt_tokens for entry in ended_attempts(world)] != [0, 0]
        world.clear_faults()


@STREAMED
async def test_every_part_is_left_by_its_own_upstreams_rule(stream: bool) -> None:
    """Of one call, the part at a node that bills to the end is drained, and the one elsewhere is cut."""
    async with open_world("openai", "gonka") as world:
        world.order("503", host=-1)  # whichever part comes first goes on to a node
        world.order("barrier", count=1000)
        caller = await send_completion(world, stream=stream, prompt=PROMPTS[:2])
        await world.arrival(3)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        assert world.gateway.relay.under_way == 1
        world.clear_faults()
        await wait_for_end(world)

        ending = world.ending()
        assert (ending.kind, ending.completion_tokens) == (e.SETTLE, 5)
        assert ending.flags == Flag.CUT | Flag.ESTIMATED | Flag.DRAINED
        *_, attempt = ended_attempts(world)
        flags = {attempt.upstream: attempt.flags}
        assert flags.get("signed", Flag.DRAINED) == Flag.DRAINED
        assert flags.get("bearer", Flag.CUT | Flag.ESTIMATED) == Flag.CUT | Flag.ESTIMATED


@STREAMED
@pytest.mark.parametrize("left_drain_s", [0.0, 30.0])
async def test_a_part_that_was_not_sent_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, left_drain_s: float, stream: bool
) -> None:
    """Who leaves while one part is with a node and another has no connection yet pays for the first only."""
    send, sendings = GonkaNode.send, 0

    async def send_once(self: Any, *args: Any, **options: Any) -> SentAnswer:
        nonlocal sendings
        sendings += 1
        if sendings > 1:
            await asyncio.Event().wait()  # a connection that does not come about
        return await send(self, *args, **options)

    monkeypatch.setattr(GonkaNode, "send", send_once)
    async with open_world(left_drain_s=left_drain_s) as world:
        world.order("barrier", count=1000)
        caller = await send_completion(world, stream=stream, prompt=PROMPTS[:2])
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.clear_faults()
        await wait_for_end(world)

        ending = world.ending()
        (attempt,) = ended_attempts(world)
        assert (ending.kind, ending.prompt_tokens) == (e.SETTLE, attempt.prompt_tokens)
        assert (ending.completion_tokens, ending.flags) == (
            (5, Flag.DRAINED) if left_drain_s else (0, Flag.CUT | Flag.ESTIMATED)
        )
        assert charged(ending) > 0
        assert world.upstream_calls == 1
        assert not any(name == e.COST_UNPAID for _, name, _ in (*ending.postings, *attempt.postings))


async def test_who_leaves_before_anything_was_sent_pays_nothing() -> None:
    """While the hold is on its way to the disk nothing has been sent, so leaving is free, of all parts."""
    async with open_world() as world:
        flushes = world.journal.flushes
        world.journal.hold_back()
        caller = await send_completion(world)
        await until(lambda: world.journal.flushes > flushes)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.journal.let_go()
        await wait_for_end(world)

        assert world.ending().kind == e.VOID
        assert not world.upstream_calls
        assert len(ended_attempts(world)) == 2


async def test_a_gateway_that_stops_charges_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is broken off amid its streams is told so, and charged for what had come of each."""
    monkeypatch.setattr(app, "CUT_S", 120.0)
    async with open_world() as world:
        world.order("stall_stream", after_frames=3)
        caller = await send_completion(world, stream=True)
        await caller.head()
        await caller.frames(6)
        world.gateway.relay.cut()
        events = []
        while (event := await caller.event()) is not None:
            events.append(event)

        assert b"upstream_interrupted" in events[-1]
        ending = world.ending()
        assert (ending.kind, bool(ending.flags & Flag.CUT)) == (e.SETTLE, True)
        assert charged(ending) > 0
        world.clear_faults()


async def test_a_store_that_fails_leaves_one_open_hold() -> None:
    """When the settlement cannot be written the caller is told, and the next start ends all parts at once."""
    async with open_world(sound=False) as world:
        world.order("barrier", count=1000)
        caller = await send_completion(world)
        await world.arrival(3)
        world.journal.broken = True
        world.clear_faults()
        answer = await caller.answer()
        assert (answer.status, answer.code) == (503, "store_unavailable")

        await world.stop()
        await world.start()
        ending = world.ending()
        assert ending.kind == e.EXPIRE
        (hold,) = world.entries(e.HOLD)
        held = e.amount_of(hold, e.USD, e.held_account(world.account.id))
        assert ending.overrun_list_picousd == held, "the parts share what was held"
        assert (hold.prompt_tokens or 0) + (hold.completion_tokens or 0) <= world.posted_ngonka(e.COST_UNPAID)
        await world.settle_down()


class Defect(Exception):  # noqa: N818  (what it is)
    """Something that we did not think of."""


@STREAMED
async def test_a_defect_in_one_part_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """What breaks in us in one part ends all of them; the caller gets a 500, pays nothing, and nothing stays held."""
    calls = iter(range(100))

    def fail_second(*_: Any, **__: Any) -> None:
        if next(calls) == 1:
            raise Defect

    async with open_world() as world:
        monkeypatch.setattr("tallygate.relay.part.Part.note_first_byte", fail_second)
        answer = await complete(world, stream=stream)

        assert (answer.status, answer.code) == (500, "internal_error")
        assert world.ending().kind == e.VOID
        assert not world.gateway.relay.under_way


async def test_signs_of_life_do_not_show_an_answer() -> None:
    """While one part is waited for, a streaming caller gets comments only; then a failure is an error event."""
    async with open_world(keep_alive_s=0.02) as world:
        world.order("stall_headers", host=2)
        caller = await send_completion(world, stream=True)
        await world.arrival(3)
        assert (await caller.head())[0] == 200
        assert await caller.event() == b": keep-alive"
        world.order("500")  # wherever the silent part is sent next
        world.devnet._nodes[2].faults.clear()
        rest = await caller.rest()

        events = [event for event in rest.split(b"\n\n") if event and not event.startswith(b":")]
        assert len(events) == 1
        assert b'"code":"upstream_error"' in events[0]
        assert world.ending().kind == e.VOID
