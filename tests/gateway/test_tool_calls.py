"""Parallel tool calls, from an engine behind the simulated network to the official client, through a whole gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI

from tallygate.core.ledger import entry as e
from tallygate.devnet.answerer import Ending, Piece, Prompt
from tallygate.devnet.tokens import split_prompt
from tests.gateway.processes import installed, served
from tests.relay.world import MODEL, charged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tallygate.devnet.answerer import EngineEvent
    from tallygate.devnet.calls import ChatCall

QUESTION: Any = [{"role": "user", "content": "What is the weather in Zürich and in Oslo?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_weather", "get_time")
]


def begins(index: int, call_id: str, name: str, arguments: str = "") -> dict[str, Any]:
    """Return the part of a delta that begins a call."""
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def goes_on(index: int, arguments: str) -> dict[str, Any]:
    """Return the part of a delta that goes on with a call's arguments."""
    return {"index": index, "function": {"arguments": arguments}}


DELTAS: list[dict[str, Any]] = [
    {"content": "Two places, "},
    {"content": "so two calls."},
    {"tool_calls": [begins(0, "functions.get_weather:0", "get_weather")]},
    {"tool_calls": [goes_on(0, '{"place": "Zü')]},
    {"tool_calls": [begins(1, "chatcmpl-tool-5a0f0c9d8b7e", "get_weather", '{"place"')]},
    {"tool_calls": [goes_on(0, "rich \\u2603\\n"), goes_on(1, ': "')]},
    {"tool_calls": [goes_on(1, "Os")]},
    {"tool_calls": [goes_on(0, '"}')]},
    {"tool_calls": [goes_on(1, "lo"), begins(2, "call_3", "get_time", "{}")]},
    {"tool_calls": [goes_on(1, '", "days": [1, 2]}')]},
]
CALLS = [
    ("functions.get_weather:0", "get_weather", '{"place": "Zürich \\u2603\\n"}'),
    ("chatcmpl-tool-5a0f0c9d8b7e", "get_weather", '{"place": "Oslo", "days": [1, 2]}'),
    ("call_3", "get_time", "{}"),
]
TEXT = "Two places, so two calls."


class ParallelCaller:
    """An engine that calls three tools at once, the arguments of all in turn, in each of its choices."""

    def __init__(self) -> None:
        self.asked: list[ChatCall] = []

    async def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Say the same to everybody."""
        self.asked.append(call)
        yield Prompt(split_prompt(call))
        for number, delta in enumerate(DELTAS):
            for choice in range(call.choices):
                yield Piece(choice, delta, (f"t{number}",))
        for choice in range(call.choices):
            yield Ending(choice, "tool_calls")


def calls_of(message: Any) -> list[tuple[str, str, str]]:
    """Return the tool calls of a message as the client has put them together."""
    return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]


@pytest.mark.parametrize("upstream", ["signed", "bearer"])
@pytest.mark.parametrize("choices", [1, 3])
async def test_parallel_calls_arrive_unharmed(tmp_path: Path, upstream: str, choices: int) -> None:
    """Three calls at once, in pieces and whole: the client sees the very deltas of the engine, at one price."""
    engine = ParallelCaller()
    async with installed(tmp_path, engine=engine) as installation:
        if upstream == "bearer":
            installation.config.write_text(installation.config.read_text().replace("priority = 1", "priority = 9"))
        async with (
            served(installation) as gateway,
            AsyncOpenAI(base_url=gateway.base_url, api_key=installation.secret, max_retries=0) as client,
        ):
            fields: Any = {
                "model": MODEL,
                "messages": QUESTION,
                "max_tokens": 50,
                "n": choices,
                "tools": TOOLS,
                "tool_choice": "auto",
                "parallel_tool_calls": True,
            }
            whole = await client.chat.completions.create(**fields)
            chunks: Any = [chunk async for chunk in await client.chat.completions.create(**fields, stream=True)]
            async with client.chat.completions.stream(**fields) as stream:
                helped: Any = await stream.get_final_completion()

        for index in range(choices):
            assert calls_of(whole.choices[index].message) == calls_of(helped.choices[index].message) == CALLS
            assert whole.choices[index].message.content == helped.choices[index].message.content == TEXT
            assert whole.choices[index].finish_reason == helped.choices[index].finish_reason == "tool_calls"
            told = [choice.delta for chunk in chunks for choice in chunk.choices if choice.index == index]
            deltas = [delta.model_dump(exclude_unset=True, exclude={"role"}) for delta in told]
            assert [delta for delta in deltas if any(delta.values())] == DELTAS

        (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
        assert usage == whole.usage == helped.usage
        assert usage.completion_tokens == choices * len(DELTAS)
        settled = installation.entries(e.SETTLE)
        assert {charged(entry) for entry in settled} == {
            int(usage.total_cost_usd_exact.removeprefix("0.").ljust(12, "0"))
        }
        assert {entry.upstream for entry in settled} == {upstream}
        for call in engine.asked:
            assert (call.fields["tools"], call.fields["parallel_tool_calls"]) == (TOOLS, True)


async def test_their_results_go_back(tmp_path: Path) -> None:
    """Parallel calls that a client sends back with their results reach the engine as they were, in any order."""
    engine = ParallelCaller()
    async with (
        installed(tmp_path, engine=engine) as installation,
        served(installation) as gateway,
        AsyncOpenAI(base_url=gateway.base_url, api_key=installation.secret, max_retries=0) as client,
    ):
        asked = await client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=50, tools=TOOLS)
        results: Any = [
            {"role": "tool", "tool_call_id": call_id, "content": f"{number}°"}
            for number, (call_id, _, _) in enumerate(CALLS)
        ]
        again: Any = [*QUESTION, asked.choices[0].message, *reversed(results)]
        await client.chat.completions.create(model=MODEL, messages=again, max_tokens=50, tools=TOOLS)

        sent = json.loads(json.dumps(engine.asked[-1].fields["messages"]))
        assert [
            (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in sent[1]["tool_calls"]
        ] == CALLS
        assert sent[2:] == [*reversed(results)]
