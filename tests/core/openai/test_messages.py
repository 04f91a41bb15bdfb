"""Messages: every bad one has the path of its place, and what passes is copied byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai import parse_chat_request
from tallygate.core.openai.messages import MESSAGES_MAX, ROLES, flatten_parts
from tests.core.openai.bodies import body, parse, refusal

USER = '"role":"user"'
BAD_MESSAGES = [
    *[(value, "messages") for value in ("[]", "{}", "null", '"hi"', "1", "true")],
    ("[" + ",".join([f'{{{USER},"content":"x"}}'] * (MESSAGES_MAX + 1)) + "]", "messages"),
    *[(f"[{value}]", "messages[0]") for value in ("null", "[]", '"hi"', "1")],
    *[(f'[{{"role":{role},"content":"x"}}]', "messages[0].role") for role in (
        "null", "1", "[]", "{}", '["user"]', '"User"', '"robot"', '""', "true",
    )],
    ('[{"content":"x"}]', "messages[0].role"),
    (f"[{{{USER}}}]", "messages[0].content"),
    *[(f'[{{{USER},"content":{content}}}]', "messages[0].content") for content in ("null", "1", "true", "[]", "{}")],
    *[(f'[{{"role":"{role}","content":null}}]', "messages[0].content") for role in ("system", "developer")],
    (f'[{{{USER},"content":"x"}},{{{USER}}}]', "messages[1].content"),
    *[(f'[{{{USER},"content":[{part}]}}]', "messages[0].content[0]") for part in ("null", '"x"', "1", "[]")],
    *[(f'[{{{USER},"content":[{{"type":"text","text":"a"}},{{"type":{kind}}}]}}]', "messages[0].content[1].type")
      for kind in ('"image_url","image_url":{"url":"x"}', '"input_audio"', '"audio"', '"video_url"', '"file"',
                   '"input_image"', '"Text"', "null", "1", "[]", '""')],
    (f'[{{{USER},"content":[{{"image_url":{{"url":"x"}}}}]}}]', "messages[0].content[0].type"),
    *[(f'[{{{USER},"content":[{{"type":"text"{text}}}]}}]', "messages[0].content[0].text")
      for text in ("", ',"text":null', ',"text":1', ',"text":[]')],
    ('[{"role":"assistant","content":[{"type":"refusal","refusal":"x"}]}]', "messages[0].content[0].type"),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "param"), BAD_MESSAGES)
def test_bad_messages(messages: str, param: str) -> None:
    """Messages of the wrong shape are refused by the path of the place, media parts by their type."""
    error = refusal(body(base=f'"model":"m","messages":{messages}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, param)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (f'{{{USER},"content":"x","Content":[{{"type":"image_url"}}]}}', "messages[0].Content"),
        (f'{{{USER},"content":"x","ROLE":"system"}}', "messages[0].ROLE"),
        (f'{{{USER},"content":"x","tool_call\u017f":[]}}', "messages[0]"),
        (f'{{{USER},"content":[{{"type":"text","text":"x","Type":"image_url"}}]}}', "messages[0].content[0].Type"),
        (f'{{{USER},"content":[{{"type":"text","text":"x","TEXT":"y"}}]}}', "messages[0].content[0].TEXT"),
    ],
)
def test_messages_in_other_letters(message: str, param: str) -> None:
    """A member of a message or part that a node which ignores case would take for a checked one is refused."""
    error = refusal(body(base=f'"model":"m","messages":[{message}]'))
    assert (error.code, error.param) == (Code.UNKNOWN_PARAMETER, param)


@pytest.mark.parametrize(
    "message",
    [
        *(f'{{"role":"{role}","content":""}}' for role in sorted(ROLES - {"tool", "function"})),
        '{"role":"function","name":"f","content":""}',
        '{"role":"assistant","content":"","tool_calls":null,"function_call":null}',
        '{"role":"assistant"}',
        '{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f"}}]}',
        '{"role":"user","content":"x","name":"Ada"}',
        '{"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"b","cache_control":{}}]}',
        '{"role":"assistant","content":"x","reasoning_content":"y"}',
        '{"content":"x","role":"user"}',
    ],
)
def test_good_message(message: str) -> None:
    """Text messages of every role, tool calls, names and foreign members pass as they are."""
    request = parse_chat_request(body(base=f'"model":"m","messages":[{message}]'))
    assert bytes(request.members["messages"]).decode() == f"[{message}]"


def call(call_id: object = "c1", **fields: object) -> dict[str, object]:
    """Return a tool call of an assistant message."""
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


def asked(*calls: object) -> dict[str, object]:
    """Return an assistant message with these tool calls."""
    return {"role": "assistant", "content": None, "tool_calls": [*calls]}


def told(call_id: object = "c1") -> dict[str, object]:
    """Return the answer to a tool call."""
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


NO_FUNCTIONS: list[Any] = [None, "f", []]
BAD_CALLS: list[tuple[Any, str]] = [
    ([{"role": "user", "content": "x", "name": 1}], "messages[0].name"),
    ([{"role": "function", "content": "x"}], "messages[0].name"),
    ([{"role": "user", "content": "x", "tool_calls": []}], "messages[0].tool_calls"),
    ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
    ([asked("c1")], "messages[0].tool_calls[0]"),
    *[([asked(call(call_id))], "messages[0].tool_calls[0].id") for call_id in (None, "", 1, ["c1"])],
    ([asked(call("a"), call("b"), call("a"))], "messages[0].tool_calls[2].id"),
    *[([asked(call(type=kind))], "messages[0].tool_calls[0].type") for kind in ("custom", None, 1)],
    *[([asked(call(function=function))], "messages[0].tool_calls[0].function") for function in NO_FUNCTIONS],
    *[([asked(call(function={"name": name}))], "messages[0].tool_calls[0].function.name") for name in (None, "", 1)],
    ([asked(call(function={"name": "f", "arguments": {}}))], "messages[0].tool_calls[0].function.arguments"),
    ([{"role": "assistant", "function_call": "f"}], "messages[0].function_call"),
    ([{"role": "assistant", "function_call": {"name": 1}}], "messages[0].function_call.name"),
    *[([asked(call()), told(call_id)], "messages[1].tool_call_id") for call_id in (None, "", "c2", 1, ["c1"])],
    ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
    ([told(), asked(call())], "messages[0].tool_call_id"),
    ([{"role": "user", "content": "x", "tool_call_id": 1}], "messages[0].tool_call_id"),
]


@pytest.mark.parametrize(("messages", "param"), BAD_CALLS)
def test_bad_calls(messages: Any, param: str) -> None:
    """Tool calls and the answers to them are whole, named apart, and in order; else the path of the place is told."""
    error = refusal(body(base=f'"model":"m","messages":{json.dumps(messages)}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, param)


def test_a_conversation_with_tools() -> None:
    """Parallel calls, their answers in any order, ids that come again in a later turn, and names pass as they are."""
    turn = [asked(call("a"), call("b")), told("b"), told("a"), {"role": "assistant", "content": "done", "name": "x"}]
    user = {"role": "user", "content": [{"type": "text", "text": "go"}], "name": "Ada"}
    messages = json.dumps([user, *turn, user, *turn, told("a")], indent=1)
    request = parse_chat_request(body(base=f'"model":"m","messages":{messages}'))
    assert bytes(request.members["messages"]).decode() == messages
    assert (request.message_count, request.has_parts) == (11, True)


@pytest.mark.parametrize(
    ("content", "flat"),
    [
        ('[{"type":"text","text":"a"}]', '"a"'),
        ('[{"type":"text","text":"a"}, {"text" : "b", "type":"text","cache_control":{"type":"x"}}]', '"a\\nb"'),
        (
            r'[{"type":"text","text":"\u00e9\/\"é\ud83c\udf0d"},{"type":"text","text":""}]',
            r'"\u00e9\/\"é\ud83c\udf0d\n"',
        ),
        ('"as it came \\u00e9"', '"as it came \\u00e9"'),
        ("null", "null"),
    ],
)
def test_flat(content: str, flat: str) -> None:
    """Text parts become one text with line ends between, in the bytes that came; all else stays as it is."""
    before = '{"role":"assistant","more":[1E2,{"a" : 1}],"content":'
    rest = '},{"role":"user","content":"x"}]'
    request = parse_chat_request(body(base=f'"model":"m","messages":[{before}{content}{rest}'))
    assert flatten_parts(request.members["messages"]).decode() == f"[{before}{flat}{rest}"
    assert len(flat) <= len(content)


def test_texts_of_parts() -> None:
    """What is counted of a message in parts is the text that the model is shown."""
    parts = '[{"type":"text","text":"a"},{"type":"text","text":"b"}]'
    request = parse_chat_request(body(base=f'"model":"m","messages":[{{"role":"user","content":{parts}}}]'))
    assert request.texts() == ["a\nb"]
    assert parse().texts() == ["x"]
