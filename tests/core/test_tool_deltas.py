"""Tool calls on their way through, in the shapes that engines really send: not a byte of a call is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.answers import Completion
from tallygate.core.sse import EventParser, encode_event
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally

TOLD = ',"logprobs":{"content":[{"token":"x","logprob":-0.1,"bytes":[120],"top_logprobs":[]}]},"token_ids":[87]'

# Deltas as they stand in the streams of each engine; what is between the braces must arrive as it is.
OPENAI = [
    (
        '{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_DdmO9pD3xa9XTPNJ32zg2hcA","type":"function",'
        '"function":{"name":"get_weather","arguments":""}}],"refusal":null}'
    ),
    '{"tool_calls":[{"index":0,"function":{"arguments":"{\\""}}]}',
    '{"tool_calls":[{"index":0,"function":{"arguments":"location"}}]}',
    '{"tool_calls":[{"index":0,"function":{"arguments":"\\":\\"Zürich \\\\u2603\\"}"}}]}',
    (
        '{"tool_calls":[{"index":1,"id":"call_JMW1whyEaYG438VE1OIflxA2","type":"function",'
        '"function":{"name":"get_stock_price","arguments":""}}]}'
    ),
    '{"tool_calls":[{"index":1,"function":{"arguments":"{\\"ticker\\": \\"AAPL\\"}"}}]}',
]
VLLM_HERMES = [
    '{"role":"assistant","content":""}',
    (
        '{"tool_calls":[{"id":"chatcmpl-tool-0d2ba2b1a3e14a1b9f2f9fd3f2f5c1a1","type":"function","index":0,'
        '"function":{"name":"get_weather"}}]}'
    ),
    '{"tool_calls":[{"index":0,"function":{"arguments":"{\\"location\\": \\""}}]}',
    '{"tool_calls":[{"index":0,"function":{"arguments":"Zürich\\"}"}}]}',
    (
        '{"tool_calls":[{"id":"chatcmpl-tool-5a0f0c9d8b7e4f6aa1b2c3d4e5f60718","type":"function","index":1,'
        '"function":{"name":"get_stock_price"}}]}'
    ),
    '{"tool_calls":[{"index":1,"function":{"arguments":"{\\"ticker\\": \\"AAPL\\"}"}}]}',
]
KIMI = [
    '{"role":"assistant","content":""}',
    '{"reasoning_content":"Two calls are needed.","reasoning":"Two calls are needed."}',
    (
        '{"tool_calls":[{"id":"functions.get_weather:0","type":"function","index":0,"function":{"name":"get_weather",'
        '"arguments":"{\\"location\\":\\"Zürich\\"}"}},{"id":"functions.get_stock_price:1","type":"function","index":1,'
        '"function":{"name":"get_stock_price","arguments":"{\\"ticker\\":\\"AAPL\\"}"}}]}'
    ),
]
ENGINES = pytest.mark.parametrize("deltas", [OPENAI, VLLM_HERMES, KIMI], ids=["openai", "vllm", "kimi"])
TOLD_OR_NOT = pytest.mark.parametrize("told", ["", ',"logprobs":null', TOLD], ids=["plain", "null", "node"])


def new_tally() -> Tally:
    """Return a tally of one choice."""
    return Tally(30, prompt_tokens_max=100, completion_tokens_max=1000)


def chunk(delta: str, told: str, finish: str = "null") -> bytes:
    """Return an engine's chunk around a delta."""
    head = '{"id":"x","object":"chat.completion.chunk","created":1,"model":"theirs","choices":'
    return f'{head}[{{"index":0,"delta":{delta}{told},"finish_reason":{finish}}}]}}'.encode()


@ENGINES
@TOLD_OR_NOT
@pytest.mark.parametrize("bytes_at_once", [1, 7, 1_000_000])
def test_deltas_arrive_unharmed(deltas: list[str], told: str, bytes_at_once: int) -> None:
    """Each delta of parallel calls goes out at once and byte by byte as it came, in whatever pieces it comes."""
    relayed = Relayed("chatcmpl-ours", "our/id", 1, 1, include_usage=False, tally=new_tally())
    parser, out = EventParser(), []
    sent = b"".join(encode_event(chunk(delta, told)) for delta in deltas)
    for place in range(0, len(sent), bytes_at_once):
        out += EventParser().feed(relayed.feed(parser.feed(sent[place : place + bytes_at_once])))
    assert len(out) == len(deltas)
    for delta, event in zip(deltas, out, strict=True):
        assert b'"delta":' + delta.encode() in event
        assert b"token_ids" not in event
        assert b"logprobs" not in event

    rest = relayed.feed([chunk("{}", told, '"tool_calls"'), b"[DONE]"]) + relayed.end(b"{}")
    assert b'"finish_reason":"tool_calls"' in rest
    assert relayed.done


@ENGINES
@TOLD_OR_NOT
def test_whole_calls_arrive_unharmed(deltas: list[str], told: str) -> None:
    """An unstreamed message with parallel calls goes out byte by byte as it came."""
    whole: dict[int, dict[str, Any]] = {}
    for delta in map(json.loads, deltas):
        for call in delta.get("tool_calls", ()):
            known = whole.setdefault(call["index"], {"id": call.get("id"), "type": "function", "function": {}})
            for name, piece in call["function"].items():
                known["function"][name] = known["function"].get(name, "") + piece
    message = json.dumps({"role": "assistant", "content": None, "tool_calls": list(whole.values())}, ensure_ascii=False)
    body = f'{{"id":"x","choices":[{{"index":0,"message":{message}{told},"finish_reason":"tool_calls"}}]}}'
    answer = Completion(body.encode(), "chatcmpl-ours", "our/id", 1, new_tally()).with_usage(b"{}")
    assert b'"message":' + message.encode() in answer
    (choice,) = json.loads(answer)["choices"]
    assert [json.loads(call["function"]["arguments"]) for call in choice["message"]["tool_calls"]] == [
        {"location": "Zürich ☃" if deltas is OPENAI else "Zürich"},
        {"ticker": "AAPL"},
    ]


@ENGINES
def test_calls_cost_the_same_in_pieces_and_whole(deltas: list[str]) -> None:
    """Where nobody tells tokens, names and arguments count the same however they are cut."""
    tally = new_tally()
    relayed = Relayed("chatcmpl-ours", "our/id", 1, 1, include_usage=False, tally=tally)
    relayed.feed([chunk(delta, "") for delta in deltas])
    calls: dict[int, dict[str, str]] = {}
    reasoning = ""
    for delta in map(json.loads, deltas):
        reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", ()):
            known = calls.setdefault(call["index"], {"name": "", "arguments": ""})
            for name, piece in call["function"].items():
                known[name] += piece
    message: dict[str, Any] = {"content": None, "tool_calls": [{"function": function} for function in calls.values()]}
    if reasoning:
        message |= {"reasoning_content": reasoning, "reasoning": reasoning}
    counted = new_tally()
    body = json.dumps({"choices": [{"index": 0, "message": message}]}, ensure_ascii=False).encode()
    Completion(body, "chatcmpl-ours", "our/id", 1, counted)
    assert tally.untold_bytes == counted.untold_bytes > 0
