"""Streamed answers: frames on their way through, usage shown once, and no way for an upstream to write our frames."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate.core.answers import INTERNAL
from tallygate.core.sse import DONE, EventParser, encode_event
from tallygate.core.streaming import WITHHELD_BYTES_MAX, Relayed
from tallygate.core.usage import Tally

ID, MODEL, CREATED_S = "chatcmpl-ours", "our/id", 1_700_000_000
USAGE = b'{"prompt_tokens":3,"ours":true}'
REPORT = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class SlowRelayed(Relayed):
    """Takes every frame apart."""

    def _learn(self, *_: object) -> None:
        """Learn nothing."""


class Stream:
    """One stream, of which all that goes out is kept.

    Args:
        kind: How it is relayed.
        choices: `n`.
        include_usage: What the caller asked for.
        logprobs: The same.
    """

    def __init__(
        self,
        kind: type[Relayed] = Relayed,
        choices: int = 1,
        *,
        include_usage: bool = False,
        logprobs: int | None = None,
    ) -> None:
        self.tally = Tally(prompt_bytes=30, prompt_tokens_max=100, completion_tokens_max=1000, choices=choices)
        self.relayed = kind(
            ID, MODEL, CREATED_S, choices, include_usage=include_usage, tally=self.tally, logprobs=logprobs
        )

    def feed(self, *payloads: object) -> list[bytes]:
        """Feed events; return those that go out now."""
        texts = [p if isinstance(p, bytes) else json.dumps(p, separators=(",", ":")).encode() for p in payloads]
        return EventParser().feed(self.relayed.feed(texts))

    def chunks(self, *payloads: object) -> list[Any]:
        """Feed events; return the chunks that go out now."""
        return [json.loads(event) for event in self.feed(*payloads)]

    def end(self) -> list[Any]:
        """End the stream; return its last chunks, of which `[DONE]` is the very last."""
        *events, last = EventParser().feed(self.relayed.end(USAGE))
        assert last == DONE
        return [json.loads(event) for event in events]


def chunk(delta: Any = None, finish: object = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """Return an upstream's chunk."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    head = {"id": "sig=", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
    return {**head, "choices": [choice], **members}


def text(content: str, index: int = 0, **members: Any) -> dict[str, Any]:
    """Return an upstream's chunk with a piece of text."""
    return chunk({"content": content}, index=index, **members)


def ours(delta: Any, finish: object = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """Return the chunk that goes out for an upstream's."""
    return {**chunk(delta, finish, index, **members), "id": ID, "created": CREATED_S, "model": MODEL}


def test_plain_stream() -> None:
    """Frames go out one by one under our id, model and time; the finish waits, and has the usage."""
    stream = Stream()
    assert stream.chunks(chunk({"role": "assistant", "content": ""})) == [ours({"role": "assistant", "content": ""})]
    assert stream.chunks(text("Hi"), text(" you")) == [ours({"content": "Hi"}), ours({"content": " you"})]
    assert not stream.feed(chunk(finish="stop"), {"choices": [], "usage": REPORT}, DONE)
    assert stream.relayed.done
    assert stream.end() == [ours({}, "stop", usage=json.loads(USAGE))]
    assert stream.tally.report == REPORT
    assert stream.tally.untold_bytes == len("Hi you")


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
WHEN = ["never", "extra", "finish", "every", "twice", "before", "malformed", "in a choice"]


def upstream_stream(choices: int, when: str, *, tools: bool) -> list[Any]:
    """Return an upstream's events, with its usage reported at some time."""
    report = {"usage": REPORT}
    every = report if when == "every" else {}
    events = [chunk(CALL, index=i, **every) if tools else text("ab", i, **every) for i in range(choices)]
    if when == "before":
        events.append({"choices": [], "usage": REPORT})
    events += [chunk(None, "stop", i, **(report if when in ("every", "finish") else {})) for i in range(choices)]
    if when == "in a choice":
        events[-1]["choices"][0]["usage"] = REPORT
    if when in ("extra", "twice", "every"):
        events += [{"choices": [], "usage": REPORT}] * (2 if when == "twice" else 1)
    if when == "malformed":
        events.append({"choices": [], "usage": [REPORT]})
    return [*events, DONE]


@pytest.mark.parametrize(
    ("include_usage", "choices", "tools", "when"), list(product([False, True], [1, 3], [False, True], WHEN))
)
def test_usage_once(include_usage: bool, choices: int, tools: bool, when: str) -> None:
    """Whatever an upstream reports and when, the caller sees usage once, ours, in the place that he asked for."""
    stream = Stream(choices=choices, include_usage=include_usage)
    out = stream.chunks(*upstream_stream(choices, when, tools=tools))
    end = stream.end()
    shown = [found for found in (*out, *end) if "usage" in found]
    assert [found["usage"] for found in shown] == [json.loads(USAGE)]
    assert not any("usage" in choice for found in (*out, *end) for choice in found["choices"])
    assert (shown == end[-1:] and shown[0]["choices"] == []) if include_usage else shown == end[:1]
    assert all(found["choices"] for found in (*out, *end)) is not include_usage
    finishes = [c["index"] for found in (*out, *end) for c in found["choices"] if c["finish_reason"]]
    assert finishes == list(range(choices))
    assert stream.tally.report == {"never": None, "in a choice": None, "malformed": {}}.get(when, REPORT)


def test_after_the_finish() -> None:
    """What comes after the last finish waits with it and keeps its order; the usage stays on the finish."""
    stream = Stream(choices=2)
    assert len(stream.feed(text("a"), chunk(None, "stop", 1), text("b"))) == 3
    assert not stream.feed(chunk(None, "length"), text("late"), chunk({}, x=1), DONE)
    end = stream.end()
    assert [found["choices"][0]["delta"] for found in end] == [{}, {"content": "late"}, {}]
    assert ["usage" in found for found in end] == [True, False, False]


@pytest.mark.parametrize(("finished", "missing"), [([], [0, 1, 2]), ([0, 2], [1]), ([1], [0, 2])])
def test_missing_finish(finished: list[int], missing: list[int]) -> None:
    """Choices that the upstream did not finish before its end are finished by us, each once."""
    stream = Stream(choices=3)
    stream.feed(*(text("a", index) for index in range(3)), *(chunk(None, "stop", index) for index in finished), DONE)
    (last,) = stream.end()
    assert last["choices"] == [{"index": index, "delta": {}, "finish_reason": "stop"} for index in missing]
    assert last["usage"] == json.loads(USAGE)


def test_empty_finish_reason() -> None:
    """An empty finish reason is none, so that the stream of an engine that writes it flows."""
    stream = Stream()
    assert len(stream.feed(chunk({"content": "a"}, ""), chunk({"content": "b"}, ""))) == 2
    assert not stream.feed(chunk(None, "stop"))


def test_withheld_is_bounded() -> None:
    """An upstream that goes on without end after the finish fails, and is not kept in memory."""
    stream = Stream()
    half = text("x" * (WITHHELD_BYTES_MAX // 2))
    stream.feed(chunk(None, "stop"), half, DONE)
    assert stream.relayed.done
    stream = Stream()
    stream.feed(chunk(None, "stop"), half, half, DONE)
    assert (stream.relayed.failed, stream.relayed.done) == (True, False)
    assert len(b"".join(stream.relayed._held or [])) <= WITHHELD_BYTES_MAX


def test_internal_is_hidden() -> None:
    """What nodes add for one another goes at the levels of chunk, choice and delta, and is counted."""
    noise: dict[str, Any] = {name: [{"leak": 1}] for name in INTERNAL}
    found = chunk(
        {"content": "Hi", **noise},
        prompt_token_ids=[1, 2],
        **{k: v for k, v in noise.items() if k != "prompt_token_ids"},
    )
    found["choices"][0] |= {**noise, "token_ids": [7, 8]}
    stream = Stream()
    assert stream.chunks(found, found) == [ours({"content": "Hi"})] * 2
    assert (stream.tally.tokens, stream.tally.untold_bytes, stream.tally.prompt_tokens) == (4, 0, 2)


@pytest.mark.parametrize(
    "delta",
    [
        b'{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\": \\u00e9"}}]}',
        b'{"reasoning_content":"\\n\\n hm","content":null}',
        b'{"reasoning": "hm" , "x":[1E2, {"y":1.50}]}',
        b'{"role":"assistant","content":"","refusal":null}',
        b'{"content":"\xf0\x9f\x8c\x8d \\ud83c\\udf0d"}',
        b"{}",
    ],
)
def test_deltas_are_raw(delta: bytes) -> None:
    """Deltas of every kind go out in the very bytes that came, and so do unknown members."""
    payload = b'{"choices":[{"index":0,"delta":%b,"x": 1E2}],"fp": {"a": [ ]}}' % delta
    for event in Stream().feed(payload, payload):
        for raw in (b'"delta":' + delta, b'"x":1E2', b'"fp":{"a": [ ]}'):
            assert raw in event


@pytest.mark.parametrize(
    "event",
    [b"not json", b"[]", b"null", b"1", b'"x"', b'{"choices":1}', b'{"choices":[1]}', b'{"choices":[{"delta":1}]}',
     b'{"choices":[{"delta":"x"}]}', b'{"error":{"message":"x"}}', b'{"error":"x","choices":[]}', b'{"error":""}',
     b'{"choices":[{"delta":{"content":"\xff"}}]}', b'{"choices":[{"delta":{"content":"\\ud83d"}}]}', b"{",
     b'{"choices":[{"delta":{"content":"a\nb"}}]}', b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"[" * 100_000,
     b'{"choices":[],"usage":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, b"[DONE] ", b"[done]"],
    ids=range(21),
)  # fmt: skip
def test_garbage(event: bytes) -> None:
    """An event that is no chunk, or says `error`, ends the stream as failed; what comes after is dropped."""
    for kind, before in product((Relayed, SlowRelayed), ([], [text("a"), text("b")])):
        stream = Stream(kind)
        assert len(stream.feed(*before, event, text("c"), DONE)) == len(before)
        assert (stream.relayed.failed, stream.relayed.done) == (True, False)
        assert stream.relayed.begun == bool(before)


@pytest.mark.parametrize("event", [b"", b"{}", b'{"choices":[]}', b'{"choices":null}', b'{"devshard_receipt":{}}'])
def test_harmless(event: bytes) -> None:
    """An event without a choice is dropped, and begins nothing."""
    stream = Stream()
    assert not stream.feed(event, event)
    assert (stream.relayed.failed, stream.relayed.begun) == (False, False)
    assert len(stream.feed(text("a"), event, text("b"))) == 2


def test_done() -> None:
    """After `[DONE]` nothing counts; one that comes before any choice is no answer."""
    stream = Stream()
    assert len(stream.feed(text("a"), DONE, text("b"), b"garbage", {"choices": [], "usage": REPORT})) == 1
    assert (stream.relayed.done, stream.relayed.failed, stream.tally.report) == (True, False, None)
    empty = Stream()
    assert not empty.feed({"choices": [], "usage": REPORT}, DONE)
    assert (empty.relayed.done, empty.relayed.failed, empty.relayed.begun) == (False, True, False)


def test_error_event() -> None:
    """The usage of an error event counts, and the interrupted stream ends with our error and without `[DONE]`."""
    stream = Stream()
    stream.feed(text("a"), {"error": {"message": "x"}, "usage": REPORT})
    assert stream.tally.report == REPORT
    assert stream.relayed.interrupt(b'{"code":"c"}', USAGE) == b'data: {"error":{"code":"c"},"usage":%b}\n\n' % USAGE
    assert stream.relayed.interrupt(b"{}", None) == b'data: {"error":{}}\n\n'


def test_no_forging() -> None:
    """No spelling of a member brings an upstream's id, model or usage into our chunk."""
    names = [*("id", "object", "created", "model", "usage"), "\\u0069d", "us\\u0061ge", "mod\\u0065l"]
    forged = ",".join(f'"{name}":"evil"' for name in names).encode()
    payload = b'{%b,"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],%b}' % (forged, forged)
    stream = Stream()
    stream.feed(payload, DONE)
    (last,) = stream.end()
    assert b"evil" not in b"".join(stream.relayed._held or [])
    assert (last["id"], last["model"], last["usage"]) == (ID, MODEL, json.loads(USAGE))


LINES = b'{\n "choices":\r\n[{"index":0,\n\n"delta":{"content":"a"},\r"x":\n{}\n}\n],\n"y":[\n]}'


def test_lines() -> None:
    """White space between the tokens of a chunk cannot end our event: each one goes out as a single line."""
    for payloads in ([LINES] * 3, [LINES, LINES.replace(b'"a"', b'"b"')]):
        stream = Stream(include_usage=True)
        out = stream.relayed.feed([*payloads, LINES.replace(b'"x"', b'"finish_reason"')])
        assert out.count(b"\n") == 2 * len(payloads)
        assert stream.relayed.end(USAGE).count(b"\n") == 2 * 3


BREAKOUT = ["\n\ndata: [DONE]\n\n", "\r\rdata: {}\r\r", "\x00", "\x1f", "\n"]


@pytest.mark.parametrize("evil", BREAKOUT)
def test_no_breakout(evil: str) -> None:
    """A text with raw line ends, spread over data lines by an upstream, cannot become events of ours."""
    whole = json.dumps(text("a")).replace(": ", ":").replace(", ", ",").encode()
    broken = whole.replace(b'"a"', f'"a{evil}b"'.encode())
    stream = Stream()
    assert len(stream.feed(whole, broken, whole)) == 1
    assert stream.relayed.failed


# Shapes of frames in JSON's bytes, with TEXT where a text's string goes.
SHAPES = [
    '{"id":"a","choices":[{"index":0,"delta":{"content":TEXT},"finish_reason":null}]}',
    '{"id":"a","choices":[{"index":1,"delta":{"content":TEXT},"logprobs":null,"finish_reason":null}],"usage":null}',
    '{"id": "a", "choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": null}]}',
    '{"choices":[{"delta":{"role":"assistant","content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT,"reasoning_content":"fixed"}}]}',
    '{"choices":[{"delta":{"content":"fixed","reasoning_content":TEXT}}]}',
    '{"choices":[{"delta":{"content":null,"reasoning_content":TEXT}}]}',
    '{"choices":[{"delta":{"reasoning":TEXT,"tool_calls":[{"function":{"name":"f"}}]}}]}',
    '{"choices":[{"delta":{"content":TEXT}}],"usage":{"prompt_tokens":1}}',
    '{"choices":[{"delta":{"content":TEXT}}],"usage": {"prompt_tokens":2}}',
    '{"choices":[{"delta":{"content":TEXT}}],"prompt_token_ids":[1,2]}',
    '{"choices":[{"delta":{"content":TEXT},"logprobs":{"content" :[{}]}}]}',
    '{"choices":[{"delta":{"content":TEXT},"logprobs":{"content":[]}}]}',
    '{"choices":[{"delta":{"content":TEXT},"token_ids" : [5]}]}',
    '{"choices":[{"delta":{"content":TEXT,"logprobs":1}}]}',
    '{"choices":[{"delta":{"content":TEXT,"usage":{}},"usage":{}}]}',
    '{"choices":[{"delta":{"c\\u006fntent":TEXT},"x":{"content":"abc"}}]}',
    '{"choices":[{"delta":{"content" :"abc","x":{"content":TEXT}}}]}',
    '{"choices":[{"delta":{"x":{"content":TEXT}}}]}',
    '{"choices":[{"delta":{"content":"a","content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT}},{"index":1,"delta":{"content":"abc"}}]}',
    '{"choices":[{"delta":{},"content":TEXT}],"content":"abc"}',
    '{"choices":[{"delta":{"refusal":TEXT}}],\n"fp":"content"}',
    '{"choices":[{"delta":{"content":TEXT},"finish_reason":"stop"}]}',
    '{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":TEXT}}]}}]}',
    '{"choices":[],"usage":{"prompt_tokens":3}}',
    '{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}',
    '{"error":null,"choices":[{"delta":{"content":TEXT}}]}',
    '{"a":{"content":TEXT},"choices":[{"delta":{"content":"abc"}}]}',
    '{"a":{"content":TEXT},"choices":[{"delta":{"c\\u006fntent":"abc"}}]}',
]
SPELLED = [
    '""', '"a"', '"abc"', '" \\n"', '"\\""', '"\\\\"', '"a\\\\\\""', '"\\u00e9"', '"é中"', '"\\ud83d"', '"\\x"',
    '"content"', '"\\"content\\":\\"x"', '"\\",\\"usage\\":{\\"', '"},\\"', '","usage":{"prompt_tokens":9},"x":"', "[]",
    '"a","content":"b"', '"a"},"finish_reason":"stop","x":{"y":"b"', '"a\nb"', '"a\tb"', '"a" ', '"x"}}]}', '"\\', '"',
    "", "null", '"\ud800"',
]  # fmt: skip
TOLD = b'{"choices":[],"usage":{"prompt_tokens":7},"prompt_token_ids":[1,2,3]}'
STRINGS = st.sampled_from(SPELLED) | st.text('\\"aé', max_size=8).map(lambda t: json.dumps(t, ensure_ascii=False))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Make the events of a stream: runs of one shape with different texts, as upstreams send them."""
    events = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from(SHAPES))
        events += [shape.replace("TEXT", found) for found in draw(st.lists(STRINGS, min_size=1, max_size=5))]
    return [event.encode("utf-8", "surrogatepass") for event in [*events, *draw(st.sampled_from([[], ["[DONE]"]]))]]


def outcome(kind: type[Relayed], events: list[bytes], choices: int) -> tuple[object, ...]:
    """Return all that a stream of events becomes, frame by frame, and what was counted."""
    stream = Stream(kind, choices)
    frames = [stream.relayed.feed([event]) for event in events]
    relayed = stream.relayed
    return frames, relayed.end(USAGE), relayed.done, relayed.failed, relayed.begun, stream.tally


@settings(max_examples=500)
@given(streams(), st.sampled_from([1, 2]))
def test_spliced_is_taken_apart(events: list[bytes], choices: int) -> None:
    """Whether frames are spliced into a template or taken apart, the same goes out and the same is counted."""
    assert outcome(Relayed, events, choices) == outcome(SlowRelayed, events, choices)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_with_every_text(shape: str) -> None:
    """In every shape, after every text, every other text goes out the same spliced as taken apart."""
    texts = [found.encode("utf-8", "surrogatepass") for found in SPELLED]
    for first in ("abc", "\u00e9", "x y"):
        start = shape.replace("TEXT", json.dumps(first, ensure_ascii=False)).encode()
        for found in texts:
            events = [start, start, shape.encode().replace(b"TEXT", found), TOLD, start]
            assert outcome(Relayed, events, 1) == outcome(SlowRelayed, events, 1)


@pytest.mark.parametrize("shape", [SHAPES[index] for index in (0, 1, 2, 3, 4, 6, 7, 22, 27)])
def test_splicing_happens(shape: str) -> None:
    """The frames that make up nearly all traffic are spliced, those with escapes too: none is taken apart."""
    stream = Stream(choices=2)
    stream.feed(shape.replace("TEXT", '"first"').encode())
    stream.relayed._take = None  # type: ignore[assignment, method-assign]
    for found in (" then", "", '"quoted"\n', "\u00e9\u4e2d", "\\"):
        assert len(stream.feed(shape.replace("TEXT", json.dumps(found)).encode())) == 1


@settings(max_examples=60)
@given(streams(), st.data())
def test_every_division(events: list[bytes], data: st.DataObject) -> None:
    """Where the upstream's bytes are cut makes no difference to what goes out or to what is counted."""
    raw = b"".join(encode_event(event) for event in events)
    whole = Stream()
    expected = whole.relayed.feed(EventParser().feed(raw))
    for cut in data.draw(st.lists(st.integers(0, len(raw)), min_size=1, max_size=8)):
        stream, parser = Stream(), EventParser()
        out = [stream.relayed.feed(parser.feed(piece)) for piece in (raw[:cut], raw[cut:])]
        assert (b"".join(out), stream.tally) == (expected, whole.tally)


def test_every_position() -> None:
    """A stream cut at each of its bytes, and one that comes byte by byte, goes out as it does whole."""
    raw = b"".join(encode_event(json.dumps(event).encode()) for event in [text("Hi"), text("\u00e9 \n"), chunk(CALL)])
    expected = Stream().relayed.feed(EventParser().feed(raw))
    for pieces in [*([raw[:cut], raw[cut:]] for cut in range(len(raw))), [bytes([byte]) for byte in raw]]:
        stream, parser = Stream(), EventParser()
        assert b"".join(stream.relayed.feed(parser.feed(piece)) for piece in pieces) == expected
