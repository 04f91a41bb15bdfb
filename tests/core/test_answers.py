"""Unstreamed answers: ours what is ours, hidden what is internal, raw what is neither; and the usage with its cost."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.answers import INTERNAL, Completion, UnusableAnswerError, render_usage
from tallygate.core.ledger.entry import Flag
from tallygate.core.money import format_usd
from tallygate.core.pricing import Cost
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally, Usage

ID, MODEL, CREATED_S = "chatcmpl-ours", "our/id", 1_700_000_000
USAGE = b'{"prompt_tokens":1}'
REPORT: dict[str, object] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def tally(choices: int = 1) -> Tally:
    """Return the tally of a new answer."""
    return Tally(prompt_bytes=30, prompt_tokens_max=100, completion_tokens_max=1000, choices=choices)


def take(body: bytes | dict[str, Any], counted: Tally | None = None) -> Completion:
    """Take an answer."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Completion(text, ID, MODEL, CREATED_S, counted or tally())


def answer(**members: Any) -> dict[str, Any]:
    """Return an upstream's answer with one choice and these members."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi!"}, "finish_reason": "stop"}
    head = {"id": "sig=", "object": "chat.completion", "created": 1, "model": "theirs", "usage": REPORT}
    return {**head, "choices": [choice], **members}


def pairs_of(body: bytes) -> list[tuple[str, Any]]:
    """Return the members of a JSON object in their order, repeated ones included."""
    found: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    return found


def test_ours_is_ours() -> None:
    """Id, object, creation, model and usage are ours, each stands once, and no word of the upstream's is left."""
    out = take(answer(system_fingerprint="fp")).with_usage(USAGE)
    names = Counter(name for name, _ in pairs_of(out))
    assert names.keys() == {"id", "object", "created", "model", "choices", "system_fingerprint", "usage"}
    assert set(names.values()) == {1}
    document = json.loads(out)
    assert (document["id"], document["model"], document["created"]) == (ID, MODEL, CREATED_S)
    assert (document["object"], document["usage"]) == ("chat.completion", {"prompt_tokens": 1})
    assert b"sig=" not in out
    assert b"theirs" not in out


@pytest.mark.parametrize("name", ["usage", "id", "model", "created", "object", "logprobs", "stop_reason"])
def test_no_second_naming(name: str) -> None:
    """A repeated member, or one spelled with escapes, cannot bring an upstream's value past ours."""
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in name)
    text = json.dumps(answer())[:-1] + f',"{name}":{{"evil":1}},"{spelled}":{{"evil":2}}}}'
    assert b"evil" not in take(text.encode()).with_usage(USAGE)


def test_internal_is_hidden() -> None:
    """What nodes add for one another goes at the levels of answer, choice and message."""
    protocol = "logprob logprobs top_logprobs token_ids prompt_token_ids prompt_logprobs stop_reason"
    assert set(protocol.split()) <= INTERNAL
    noise = {name: [{"leak": 1}] for name in INTERNAL}
    choice = {
        "index": 0,
        "message": {"content": "Hi!", **noise},
        "finish_reason": "stop",
        **noise,
        "usage": {"leak": 1},
    }
    out = take(answer(choices=[choice], **noise)).with_usage(USAGE)
    assert b"leak" not in out
    assert json.loads(out)["choices"] == [{"index": 0, "message": {"content": "Hi!"}, "finish_reason": "stop"}]


def test_the_rest_is_raw() -> None:
    """Texts, tool calls and unknown members keep the very bytes that came: escapes, numbers, white space."""
    content, calls = b'"\\u00e9 \xc3\xa9 \\/ \\ud83c\\udf0d"', b'[ {"id" :\t"1",\n"n":1E2} ]'
    message = b'{"content":%b,"tool_calls":%b}' % (content, calls)
    out = take(b'{"choices":[{"message":%b,"x": 1.50 }],"y": {"a": [ ]}}' % message).with_usage(USAGE)
    for raw in (content, calls, message, b"1.50", b'{"a": [ ]}'):
        assert raw in out


UNUSABLE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"data: {}\n\n",
    b"<html></html>",
    b"{}",
    b'{"choices":null}',
    b'{"choices":{}}',
    b'{"choices":[]}',
    b'{"choices":[1]}',
    b'{"choices":[null]}',
    b'{"choices":[{}]}',
    b'{"choices":[{"delta":{}}]}',
    b'{"choices":[{"message":null}]}',
    b'{"choices":[{"message":"x"}]}',
    b'{"choices":[{"message":{}},{"delta":{}}]}',
    b'{"choices":[{"message":{}}],"error":{"message":"x"}}',
    b'{"choices":[{"message":{}}],"error":""}',
    b'{"error":{"message":"x"}}',
    b'{"choices":[{"message":{"content":"\xff"}}]}',
    b'{"choices":[{"message":{"content":"\n"}}]}',
    b'{"choices":[{"message":{"content":"\\ud83d"}}]}',
    b'{"choices":[{"message":{"content":"cut off',
    b'{"choices":[{"message":{}}]} trailing',
    b'{"choices":' + b"[" * 100_000,
    b'{"choices":[{"message":{}}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"choices":[{"message":{}}],"usage":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
]


@pytest.mark.parametrize("body", UNUSABLE, ids=range(len(UNUSABLE)))
def test_unusable(body: bytes) -> None:
    """A body that is truncated, garbage, without a message, or says `error` is no answer."""
    with pytest.raises(UnusableAnswerError):
        take(body)


@given(st.binary(max_size=60))
def test_any_body(body: bytes) -> None:
    """No body at all makes the reading fail in any other way."""
    with pytest.raises(UnusableAnswerError):
        take(body)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted(INTERNAL | {"usage", "index", "finish_reason", "error", "content", "tool_calls", "function_call"})
MEMBERS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)


@given(MEMBERS, MEMBERS, MEMBERS)
def test_any_members(top: dict[str, Any], choice: dict[str, Any], message: dict[str, Any]) -> None:
    """Whatever stands in place of what we read, an answer is used or not; if it is, nothing internal is in it."""
    try:
        out = take({**answer(), **top, "choices": [{**choice, "message": message}]}).with_usage(USAGE)
    except UnusableAnswerError:
        assert top.get("error") is not None
        return
    document = json.loads(out)
    levels = (document, document["choices"][0], document["choices"][0]["message"])
    assert all(INTERNAL.isdisjoint(level) for level in levels)
    assert document["usage"] == json.loads(USAGE)


@pytest.mark.parametrize(
    ("choice", "tokens", "untold_bytes"),
    [
        ({}, 0, 3),
        ({"token_ids": [1, 2]}, 2, 0),
        ({"token_ids": None}, 0, 3),
        ({"token_ids": []}, 0, 3),
        ({"token_ids": "x"}, 0, 3),
        ({"token_ids": {"a": 1}}, 0, 3),
        ({"logprobs": {"content": [{}, {}, {}]}}, 3, 0),
        ({"logprobs": None}, 0, 3),
        ({"logprobs": {"content": None}}, 0, 3),
        ({"logprobs": {"content": []}}, 0, 3),
        ({"logprobs": {}}, 0, 3),
        ({"logprobs": []}, 0, 3),
        ({"logprobs": 5}, 0, 3),
        ({"logprobs": {"content": 5}}, 0, 3),
        ({"token_ids": [1], "logprobs": {"content": [{}, {}]}}, 1, 0),
        ({"token_ids": None, "logprobs": {"content": [{}, {}]}}, 2, 0),
    ],
)
def test_told_tokens(choice: dict[str, Any], tokens: int, untold_bytes: int) -> None:
    """Tokens are counted from the node's own lists; where they are missing, empty or no lists, bytes are."""
    counted = tally()
    take(answer(choices=[{"message": {"content": "Hi!"}, **choice}]), counted)
    assert (counted.tokens, counted.untold_bytes) == (tokens, untold_bytes)


@pytest.mark.parametrize(
    ("message", "untold_bytes"),
    [
        ({}, 0),
        ({"content": None}, 0),
        ({"content": ""}, 0),
        ({"content": "abc", "reasoning_content": "defg", "reasoning": "x", "refusal": "yz"}, 10),
        ({"content": "a", "role": "assistant", "annotations": ["not counted"]}, 1),
        ({"tool_calls": []}, 0),
        ({"tool_calls": [{"id": "long", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, 27),
        ({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}] * 2}, 54),
        ({"tool_calls": [{"function": {"arguments": "abc"}}]}, 3),
        ({"tool_calls": [{}, {"function": None}]}, 0),
        ({"function_call": {"name": "f", "arguments": "{}"}}, 27),
        ({"tool_calls": "odd"}, 5),
    ],
)
def test_untold_bytes(message: dict[str, Any], untold_bytes: int) -> None:
    """What the model wrote is counted: texts, and the names and arguments of tool calls, but not what is around."""
    counted = tally()
    take(answer(choices=[{"message": message}]), counted)
    assert counted.untold_bytes == untold_bytes


@pytest.mark.parametrize(
    ("members", "report", "prompt_tokens"),
    [
        ({}, REPORT, None),
        ({"usage": None}, None, None),
        ({"usage": []}, {}, None),
        ({"usage": "x"}, {}, None),
        ({"usage": 5}, {}, None),
        ({"usage": {}}, {}, None),
        ({"prompt_token_ids": [1, 2, 3]}, REPORT, 3),
        ({"prompt_token_ids": []}, REPORT, None),
        ({"prompt_token_ids": 5}, REPORT, None),
        ({"prompt_token_ids": None}, REPORT, None),
    ],
)
def test_report(members: dict[str, Any], report: Any, prompt_tokens: int | None) -> None:
    """The usage object and the listed prompt are taken into the tally, or left out where they are of another kind."""
    counted = tally()
    take({**answer(), **members}, counted)
    assert (counted.report, counted.prompt_tokens) == (report, prompt_tokens)


def render(usage: Usage, cost: Cost, flags: int = 0, report: Any = None) -> dict[str, Any]:
    """Return the usage object, its numbers as exact decimals."""
    found: dict[str, Any] = json.loads(render_usage(usage, cost, Flag(flags), report), parse_float=Decimal)
    return found


@given(st.integers(0, 10**18), st.integers(0, 10**17))
def test_cost(base: int, fee: int) -> None:
    """Amounts are plain decimals, twice, and base and fee add up to the total to the last digit."""
    text = render_usage(Usage(3, 2, Flag(0)), Cost(base, fee), Flag(0), None)
    shown = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    for name, amount in (("base_cost_usd", base), ("platform_fee_usd", fee), ("total_cost_usd", base + fee)):
        assert f'"{name}":{format_usd(amount)}'.encode() in text
        assert shown[name] == Decimal(shown[f"{name}_exact"]) == Decimal(amount) / 10**12
    assert shown["base_cost_usd"] + shown["platform_fee_usd"] == shown["total_cost_usd"]
    assert shown["total_tokens"] == 5


def test_marks() -> None:
    """`estimated` and `overrun` are there when so, and only then."""
    plain, cost = Usage(3, 2, Flag(0)), Cost(1, 0)
    assert {"estimated", "overrun"}.isdisjoint(render(plain, cost))
    assert render(plain, cost, Flag.ESTIMATED | Flag.CUT)["estimated"] is True
    assert render(plain, cost, Flag.OVERRUN)["overrun"] is True


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"cached_tokens": 2}, {"cached_tokens": 2}),
        ({"cached_tokens": 3}, None),
        ({"cached_tokens": 0, "audio_tokens": None}, {"cached_tokens": 0}),
        ({"a": 10**30, "b": -1, "c": 1.5, "d": True, "e": "x", "f": [1], "g": {}}, None),
        ({"words of a caller": 1, "ok": 2}, {"ok": 2}),
        ({}, None),
        ([1], None),
        (None, None),
        ("x", None),
    ],
)
def test_details(details: object, shown: object) -> None:
    """Of an upstream's details only counts are shown that can be a part of the tokens, and of an estimate none."""
    report = {**REPORT, "prompt_tokens_details": details, "completion_tokens_details": details, "other": 1}
    found = render(Usage(2, 2, Flag(0)), Cost(1, 0), report=report)
    assert found.get("prompt_tokens_details") == found.get("completion_tokens_details") == shown
    assert "other" not in found
    assert "prompt_tokens_details" not in render(Usage(3, 2, Flag.ESTIMATED), Cost(1, 0), report=report)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=5), st.text(max_size=20), st.booleans(), st.booleans())
def test_streamed_counts_as_unstreamed(pieces: list[str], arguments: str, ascii_only: bool, tells: bool) -> None:
    """The same answer costs the same streamed and not: text, tool calls, listed tokens, and the report."""
    told: dict[str, Any] = {"token_ids": [1, 2]} if tells else {}
    first = {"id": "c", "index": 0, "function": {"name": "f", "arguments": ""}}
    calls = [[first], *([{"index": 0, "function": {"arguments": letter}}] for letter in arguments)]
    deltas = [*({"content": piece} for piece in pieces), *({"tool_calls": call} for call in calls)]
    chunks: list[Any] = [{"choices": [{"delta": delta, **told}]} for delta in deltas]
    streamed, whole = tally(), tally()
    report = {**REPORT, "completion_tokens": 2 * len(deltas)} if tells else REPORT
    relayed = Relayed(ID, MODEL, CREATED_S, 1, include_usage=False, tally=streamed)
    for event in [*chunks, {"choices": [], "usage": report, "prompt_token_ids": [1]}]:
        relayed.feed([json.dumps(event, ensure_ascii=ascii_only).encode()])
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    choice: dict[str, Any] = {"message": {"content": "".join(pieces), "tool_calls": [call]}}
    choice |= {"token_ids": [1, 2] * len(deltas)} if tells else {}
    body = {"choices": [choice], "usage": report, "prompt_token_ids": [1]}
    take(json.dumps(body, ensure_ascii=ascii_only).encode(), whole)
    assert whole.usage() == streamed.usage()
    streamed.repeated_tokens = 0  # only of a stream can pieces come again
    assert whole == streamed
