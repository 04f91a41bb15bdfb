"""Messages: every bad one has the path of its place, and what passes is copied byte by byte."""

from __future__ import annotations

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai import parse_chat_request
from tallygate.core.openai.messages import MESSAGES_MAX, ROLES
from tests.core.openai.bodies import body, refusal

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
