"""Streams that break or lie: what the caller sees to the last frame, and what is charged to the last token."""

from decimal import Decimal
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.network.client import Timeouts
from tests.relay.caller import Answer
from tests.relay.world import World, charged, cost, open_world

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
FALLS_SILENT = Timeouts(connect_s=30, first_byte_s=30, idle_s=0.2, total_s=60)
MESSAGES = [{"role": "user", "content": "What is a ledger?"}]
PROMPT_BYTES = len('[{"role": "user", "content": "What is a ledger?"}]')


def prompt_tokens(world: World, kind: str) -> int:
    """Return the prompt tokens that we count: the node's own list, or bytes by three."""
    return world.devnet_prompt_tokens if kind == "gonka" else -(-PROMPT_BYTES // 3)


def completion_tokens(answer: Answer, kind: str, choices: int = 1) -> int:
    """Return the tokens that we count in what the caller was shown: one by one from a node, else bytes by three."""
    texts = [choice["delta"].get("content", "") for chunk in answer.chunks for choice in chunk.get("choices", ())]
    if kind == "gonka":
        return sum(1 for text in texts if text)
    return -(-len("".join(texts).encode()) // 3)


def assert_interrupted(world: World, answer: Answer, kind: str) -> None:
    """Check a stream that broke off: an error event with the usage ends it, and that usage is what was charged."""
    *frames, last = answer.chunks
    assert answer.status == 200
    assert answer.complete, "the body has its proper end"
    assert b"[DONE]" not in answer.body
    assert all("error" not in frame and "usage" not in frame for frame in frames)
    assert last["error"]["code"] == "upstream_interrupted"
    usage, ending = last["usage"], world.ending()
    due = cost(prompt_tokens(world, kind), completion_tokens(answer, kind))
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (ending.prompt_tokens, ending.completion_tokens)
    assert charged(ending) == due.total
    assert usage["estimated"] is True
    assert ending.kind == e.SETTLE
    assert ending.flags & Flag.CUT
    assert ending.flags & Flag.ESTIMATED


@KINDS
@pytest.mark.parametrize("fault", ["cut", "error_event"])
async def test_a_stream_cut_at_any_frame_is_charged_for_what_came(kind: str, fault: str) -> None:
    """Cut after any number of frames, the caller pays the prompt and the tokens that came, and is told so."""
    async with open_world(kind) as world:
        # Role, five tokens, finish, usage: eight frames, then [DONE].
        for frames in range(9):
            world.order(fault, after_frames=frames)
            before = world.upstream_calls
            answer = await world.chat(stream=True)

            calls = world.upstream_calls - before
            world.clear_faults()
            if frames == 0:  # nothing had come: a failure before the first byte, or an unusable answer
                assert_nothing_came(world, answer, kind, fault, calls)
                continue
            assert calls == 1
            if frames == 8:  # the usage had come, and it is believed
                assert_interrupted_after_usage(world, answer)
            else:
                assert_interrupted(world, answer, kind)


def assert_nothing_came(world: World, answer: Answer, kind: str, fault: str, calls: int) -> None:
    """Check a stream that broke before anything: a cut is tried at another node, an error event is a 502."""
    if fault == "cut" and kind == "gonka":
        assert (answer.status, calls) == (502, 2)  # both nodes cut
    assert answer.code == "upstream_error"
    assert world.ending().kind == e.VOID


def assert_interrupted_after_usage(world: World, answer: Answer) -> None:
    """Check a stream that broke off between its usage and its end: the reported usage is charged."""
    last, ending = answer.chunks[-1], world.ending()
    assert last["error"]["code"] == "upstream_interrupted"
    assert "estimated" not in last["usage"]
    assert last["usage"]["completion_tokens"] == 5
    assert charged(ending) == cost(last["usage"]["prompt_tokens"], 5).total
    assert ending.flags == Flag.CUT


@KINDS
@pytest.mark.parametrize("frames", [1, 3, 7])
async def test_a_stream_that_falls_silent_is_ended(kind: str, frames: int) -> None:
    """Silence in the middle of a stream ends it after the idle timeout, like a cut."""
    async with open_world(kind, timeouts=FALLS_SILENT) as world:
        world.order("stall_stream", after_frames=frames)
        assert_interrupted(world, await world.chat(stream=True), kind)


WRONG: list[tuple[dict[str, Any] | None, Flag]] = [
    (None, Flag.USAGE_MISSING),
    ({}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 0, "completion_tokens": 0}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": 0}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": -5}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": -12, "completion_tokens": 5}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12.5, "completion_tokens": 5}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": 5.0}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": "5"}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": "12", "completion_tokens": 5}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": None, "completion_tokens": None}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": True, "completion_tokens": True}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": 10**6}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 12, "completion_tokens": 2**64}, Flag.USAGE_IMPLAUSIBLE),
    ({"prompt_tokens": 2**64, "completion_tokens": 5}, Flag.USAGE_IMPLAUSIBLE),
]


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_a_wrong_usage_is_replaced_by_our_count(kind: str, stream: bool) -> None:
    """Usage that is absent, zero, negative, no integer, or impossible for the bytes is never charged: our count is."""
    async with open_world(kind) as world:
        for usage, why in WRONG:
            world.order("wrong_usage", usage=usage)
            answer = await world.chat(stream=stream)

            world.clear_faults()
            ending = world.ending()
            assert answer.usage["estimated"] is True, usage
            assert "overrun" not in answer.usage
            assert ending.flags == Flag.ESTIMATED | why, usage
            said = answer.text if stream else answer.json()["choices"][0]["message"]["content"]
            counted = 5 if kind == "gonka" else -(-len(said.encode()) // 3)
            assert charged(ending) == cost(prompt_tokens(world, kind), counted).total, usage


@pytest.mark.parametrize("stream", [False, True])
async def test_a_charge_never_exceeds_its_hold(stream: bool) -> None:
    """What is reported beyond the hold is overrun: flagged, capped, recorded, and the operator's."""
    async with open_world("openai") as world:
        world.order("wrong_usage", usage={"prompt_tokens": 10_000, "completion_tokens": 5})
        answer = await world.chat(stream=stream)

        ending, (hold,) = world.ending(), world.entries(e.HOLD)
        most = cost(hold.prompt_tokens or 0, hold.completion_tokens or 0).total
        assert charged(ending) == most
        assert answer.usage["overrun"] is True
        assert Decimal(answer.usage["total_cost_usd_exact"]) * 10**12 == most
        assert ending.flags == Flag.OVERRUN
        assert ending.overrun_list_picousd == cost(10_000, 5).total - most
        assert 0 < (ending.overrun_ngonka or 0) == world.posted_ngonka(e.COST_UNPAID)


async def test_overrun_is_in_the_report_of_the_books() -> None:
    """What was reported beyond the hold is what `verify` shows as overrun, to the pico-dollar."""
    async with open_world("openai") as world:
        world.order("wrong_usage", usage={"prompt_tokens": 500, "completion_tokens": 5})
        answer = await world.chat(stream=True, max_tokens=5)

        ending = world.ending()
        assert answer.usage["overrun"] is True
        report = await world.ledger.audit()
        assert sum(report.overrun_picousd.values()) == cost(500, 5).total - charged(ending) > 0


@KINDS
async def test_more_than_was_asked_for_is_not_believed(kind: str) -> None:
    """A report above `max_tokens`, where no such answer came, gives way to our count: the caller set that bound."""
    async with open_world(kind) as world:
        world.order("wrong_usage", usage={"prompt_tokens": 17, "completion_tokens": 15})
        answer = await world.chat(stream=True, max_tokens=3)

        assert answer.usage["estimated"] is True
        assert answer.usage["completion_tokens"] < 15


@KINDS
async def test_a_cut_with_several_choices_counts_them_all(kind: str) -> None:
    """With `n` of 3, a cut charges the tokens of all choices that came."""
    async with open_world(kind) as world:
        world.order("cut", after_frames=11)
        answer = await world.chat(stream=True, n=3)

        assert_interrupted(world, answer, kind)


@KINDS
async def test_an_unstreamed_answer_cut_in_half_costs_the_caller_nothing(kind: str) -> None:
    """A body that broke off is void for the caller, and what the network billed stays with the operator."""
    async with open_world(kind) as world:
        world.order("cut")
        answer = await world.chat(max_tokens=50)

        assert answer.status == 502
        assert world.ending().kind == e.VOID
        assert world.posted_ngonka(e.COST_UNPAID) >= world.billed_ngonka > 0
