"""The built-in answerer: same request, same answer; tokens counted the same way everywhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.answerer import Answerer, Ending, EngineEvent, Piece, Prompt
from tallygate.devnet.calls import ChatCall, build_call
from tallygate.devnet.rendering import Manner, Rendering, Tally
from tallygate.devnet.tokens import split_prompt, split_tokens
from tests.devnet.signing import MODEL

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}
FORCED = {"type": "function", "function": {"name": "get_weather"}}


def make_call(content: Any = "Hello", **fields: Any) -> ChatCall:
    """Gives a call as a node reads it."""
    messages = [{"role": "user", "content": content}]
    return build_call({"model": MODEL, "messages": messages, **fields}, 5000, 10**6)


async def generate(call: ChatCall) -> list[EngineEvent]:
    """Gives all that the answerer says to a call."""
    return [event async for event in Answerer(0).generate(call)]


def drive(call: ChatCall) -> list[EngineEvent]:
    """Does the same without an event loop, which a property test does not have."""

    async def no_sleep(_: float) -> None:
        return None

    events: list[EngineEvent] = []

    async def collect() -> None:
        events.extend([event async for event in Answerer(0, no_sleep).generate(call)])

    coroutine = collect()
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return events


def text_of(events: list[EngineEvent], choice: int = 0) -> str:
    """Gives the text of one choice."""
    pieces = [event for event in events if isinstance(event, Piece) and event.choice == choice]
    return "".join(piece.delta.get("content", "") for piece in pieces)


def ending_of(events: list[EngineEvent], choice: int = 0) -> Ending:
    """Gives the ending of one choice."""
    found = [event for event in events if isinstance(event, Ending) and event.choice == choice]
    assert len(found) == 1
    return found[0]


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    """Splitting into tokens loses nothing and makes no empty token."""
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


@given(
    content=st.text(),
    max_tokens=st.integers(1, 200),
    choices=st.integers(1, 5),
    stop=st.lists(st.text(min_size=1, max_size=3), max_size=3),
    tool=st.booleans(),
    manner=st.sampled_from(Manner),
)
def test_counts_agree_everywhere(
    content: str, max_tokens: int, choices: int, stop: list[str], tool: bool, manner: Manner
) -> None:
    """Streamed, unstreamed, logprobs entries and usage count the same tokens, within the limit."""
    fields: dict[str, Any] = {"max_tokens": max_tokens, "n": choices, "stop": stop}
    if tool:
        fields |= {"tools": [TOOL], "tool_choice": FORCED}
    call = make_call(content, **fields)
    events = drive(call)
    tally = Tally()
    for event in events:
        tally.count(event)
    usage = tally.usage()
    assert usage.prompt_tokens == len(split_prompt(call))
    assert usage.completion_tokens <= max_tokens * choices

    rendering = Rendering("id", 0, MODEL, manner, return_token_ids=True)
    frames = [frame for event in events for frame in rendering.frames(event)]
    chunks = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
    whole = json.loads(Rendering("id", 0, MODEL, manner, True).whole(events, usage.as_json()))
    assert len(whole["choices"]) == choices
    for choice in whole["choices"]:
        parts = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert parts[0]["delta"]["role"] == "assistant"
        streamed = "".join(part["delta"].get("content", "") for part in parts)
        assert streamed == (choice["message"]["content"] or "")
        assert parts[-1]["finish_reason"] == choice["finish_reason"]
    if manner is Manner.CLASSIC:
        streamed_count = sum(
            len((choice["logprobs"] or {"content": []})["content"]) for chunk in chunks for choice in chunk["choices"]
        )
        whole_count = sum(len((choice["logprobs"] or {"content": []})["content"]) for choice in whole["choices"])
        assert streamed_count == whole_count == usage.completion_tokens
        assert len(whole["prompt_token_ids"]) == usage.prompt_tokens


@given(stop=st.text(min_size=1, max_size=3))
def test_no_answer_contains_its_stop_text(stop: str) -> None:
    """An answer ends before its stop text, and says which one it was."""
    full = text_of(drive(make_call()))
    events = drive(make_call(stop=[stop]))
    assert stop not in text_of(events)
    assert full.startswith(text_of(events))
    assert ending_of(events) == Ending(0, "stop", stop if stop in full else None)


async def test_same_request_same_answer() -> None:
    """How an answer is wanted does not change what it says."""
    plain = await generate(make_call("Tell me"))
    assert plain == await generate(make_call("Tell me", stream=True, user="someone"))
    assert plain != await generate(make_call("Tell me", temperature=0.5))


async def test_choices_differ() -> None:
    """Several choices of one call are not copies of each other."""
    events = await generate(make_call("Tell me", n=5))
    assert len({text_of(events, choice) for choice in range(5)}) > 1


async def test_limit_ends_with_length() -> None:
    """A limit below the answer's length gives exactly that many tokens."""
    events = await generate(make_call(max_tokens=5))
    assert sum(isinstance(event, Piece) for event in events) == 5
    assert ending_of(events).finish_reason == "length"


async def test_either_name_of_the_limit_counts() -> None:
    """max_tokens counts before max_completion_tokens, which counts before the default."""
    assert make_call(max_completion_tokens=7).max_tokens == 7
    assert make_call(max_tokens=3, max_completion_tokens=7).max_tokens == 3
    assert make_call().max_tokens == 5000


async def test_gives_as_many_words_as_asked_for() -> None:
    """A wish for N words is granted."""
    events = await generate(make_call("Write 123 words about rivers."))
    assert len(text_of(events).split()) == 123


async def test_text_parts_count_as_text() -> None:
    """Content in text parts is answered like content in one string."""
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]
    assert make_call(parts).messages == make_call("Hello\nthere").messages


@pytest.mark.parametrize("choice", [FORCED, "required"])
async def test_forced_tool_is_called(choice: object) -> None:
    """A forced tool choice gives a tool call that fits the tool's schema, in several deltas."""
    events = await generate(make_call(tools=[TOOL], tool_choice=choice))
    deltas = [event.delta["tool_calls"][0] for event in events if isinstance(event, Piece)]
    assert deltas[0]["id"].startswith("call_")
    assert deltas[0]["type"] == "function"
    assert deltas[0]["function"]["name"] == "get_weather"
    assert len(deltas) > 3
    arguments = "".join(delta["function"]["arguments"] for delta in deltas)
    assert json.loads(arguments) == {"city": "city", "days": 2}
    assert ending_of(events).finish_reason == "tool_calls"
    whole = Rendering("id", 0, MODEL, Manner.PLAIN).whole(events, None)
    message = json.loads(whole)["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == arguments


async def test_a_free_tool_choice_gives_text() -> None:
    """Tools that need not be called are not called."""
    events = await generate(make_call(tools=[TOOL], tool_choice="auto"))
    assert text_of(events)


async def test_a_tools_answer_is_repeated() -> None:
    """After a tool's message the answer tells what it said."""
    messages = [{"role": "user", "content": "?"}, {"role": "tool", "content": "21 degrees"}]
    call = build_call({"model": MODEL, "messages": messages}, 5000, 10**6)
    assert "21 degrees" in text_of(await generate(call))


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"schema": TOOL["function"]["parameters"]}},  # type: ignore[index]
    ],
)
async def test_json_is_answered_with_json(response_format: object) -> None:
    """A wish for JSON is granted."""
    events = await generate(make_call(response_format=response_format))
    assert isinstance(json.loads(text_of(events)), dict)


async def test_prompt_rule() -> None:
    """A prompt's tokens are its texts' tokens, 4 per message, and 3 for the opening."""
    events = await generate(make_call("one two three"))
    assert isinstance(events[0], Prompt)
    assert len(events[0].tokens) == 3 + 4 + 3


async def test_keeps_its_pace() -> None:
    """There is one pause of the set length before each token, all choices in step."""
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    call = make_call(max_tokens=4, n=3)
    events = [event async for event in Answerer(0.02, note).generate(call)]
    assert sum(isinstance(event, Piece) for event in events) == 12
    assert pauses == [0.02] * 5
