"""The SSE matrix through a whole gateway: with a devnet's nodes, and with an upstream that tells usage as it likes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.matrix import HONEST, OPTIONS, PIECES, WHENS, When, stream, usage_of, whole
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.world import PATIENT, World, charged, cost, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Answer

SSE = b"Content-Type: text/event-stream"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"properties": {"a": {"type": "string"}}}}}
FORCED = {"tools": [TOOL], "tool_choice": "required"}
SHAPES = pytest.mark.parametrize(("choices", "tools"), list(product((1, 3), (False, True))))


def fields_of(choices: int, *, tools: bool) -> dict[str, Any]:
    """Return what a caller asks for."""
    return {"n": choices, "max_tokens": 30, **(FORCED if tools else {})}


def assert_paid_once(world: World, answer: Answer, options: dict[str, Any] | None) -> Any:
    """Check that usage is shown once and in its place, and that it is what the books have; return it."""
    usage, ending = answer.usage, world.ending()
    due = cost(usage["prompt_tokens"], usage["completion_tokens"])
    assert (ending.prompt_tokens, ending.completion_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert charged(ending) == due.total == int(usage["total_cost_usd_exact"].removeprefix("0.").ljust(12, "0"))
    if options is not None and options["include_usage"]:
        assert answer.chunks[-1]["choices"] == []
        assert "usage" in answer.chunks[-1]
    else:
        assert all(chunk["choices"] for chunk in answer.chunks)
    assert answer.events[-1] == b"[DONE]"
    return usage


@SHAPES
async def test_an_upstream_that_tells_usage_as_it_likes(choices: int, tools: bool) -> None:
    """Told once, twice, early, never, negative or as a float: seen once, charged once, and as much as in one piece."""
    replies = []
    for when in WHENS:
        replies.append(script.answer(whole("openai", when, choices, tools=tools)))
        replies += [script.answer(stream("openai", when, choices, tools=tools), SSE)] * len(OPTIONS)
    async with script.serve(script.answers(*replies)) as server, open_world("openai") as world:
        upstream = wiring.bearer(f"http://127.0.0.1:{server.port}/v1", "key", PATIENT, priority=-1)
        await world.add_upstream(upstream)
        for when in WHENS:
            plain = await world.chat(**fields_of(choices, tools=tools))
            for options in OPTIONS:
                told = {} if options is None else {"stream_options": options}
                answer = await world.chat(stream=True, **told, **fields_of(choices, tools=tools))

                usage = assert_paid_once(world, answer, options)
                assert usage == plain.usage, (when, options)
                assert ("estimated" in usage) is (when not in HONEST)
                assert tools or answer.text == "".join(PIECES)
        assert world.upstream_calls == 0


@SHAPES
async def test_one_byte_at_a_time(choices: int, tools: bool) -> None:
    """Each of these streams in packets of one byte: the same chunks, and the same charge, as when it comes at once."""

    async def dribble(peer: script.Peer) -> None:
        for when in WHENS:
            sent = script.answer(stream("openai", when, choices, tools=tools), SSE)
            await peer.request()
            await peer.send(sent)
            await peer.request()
            for place in range(len(sent)):
                await peer.send(sent[place : place + 1])
                await script.turns(2)  # in which the gateway has read it
        await peer.gone()

    async with script.serve(dribble) as server, open_world("openai") as world:
        upstream = wiring.bearer(f"http://127.0.0.1:{server.port}/v1", "key", PATIENT, priority=-1)
        await world.add_upstream(upstream)
        for number, when in enumerate(WHENS):
            options = OPTIONS[number % len(OPTIONS)]
            told = {} if options is None else {"stream_options": options}
            at_once = await world.chat(stream=True, **told, **fields_of(choices, tools=tools))
            answer = await world.chat(stream=True, **told, **fields_of(choices, tools=tools))

            usage = assert_paid_once(world, answer, options)
            assert usage == at_once.usage, when
            assert shown(answer) == shown(at_once), when
        assert world.upstream_calls == 0


def shown(answer: Answer) -> list[Any]:
    """Return the chunks of a stream, but for what is new in each."""
    return [{name: value for name, value in chunk.items() if name not in {"id", "created"}} for chunk in answer.chunks]


FAULTS: dict[When, Any] = {
    "never": None,
    "negative": usage_of("negative", 1, tools=False),
    "float": usage_of("float", 1, tools=False),
}


@SHAPES
@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_the_devnet(kind: str, choices: int, tools: bool) -> None:
    """The same on signed nodes and on their Bearer gateway, whose honest word is what the chain has debited."""
    async with open_world(kind) as world:
        for when in ("once", *FAULTS):
            if when in FAULTS:
                world.order("wrong_usage", usage=FAULTS[when], times=None)
            plain = await world.chat(**fields_of(choices, tools=tools))
            for options in OPTIONS:
                told = {} if options is None else {"stream_options": options}
                answer = await world.chat(stream=True, **told, **fields_of(choices, tools=tools))

                usage = assert_paid_once(world, answer, options)
                assert usage == plain.usage, (when, options)
                if kind == "gonka" or when == "once":  # nodes tell their tokens one by one, whatever their usage says
                    inference = list(world.devnet.chain.inferences.values())[-1]
                    assert usage["prompt_tokens"] == inference.prompt_tokens
                    assert usage["completion_tokens"] == inference.completion_tokens
            world.clear_faults()
