"""The SSE matrix, byte by byte: whatever an upstream tells of its usage, the cost is seen once, and is exact."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, NamedTuple

import pytest

from tallygate.core.answers import Completion, render_usage
from tallygate.core.openai import parse_chat_request
from tallygate.core.pricing import Price, cost_of
from tallygate.core.sse import DONE, EventParser
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally
from tests.core.matrix import (
    HONEST,
    KINDS,
    NAME,
    OPTIONS,
    PIECES,
    PROMPT_TOKENS,
    WHENS,
    Kind,
    When,
    completion_tokens,
    stream,
    whole,
)

ID, MODEL, CREATED_S = "chatcmpl-ours", "our/id", 1_700_000_000
PRICE, FEE_PPM = Price(353, 1411), 100_000
PROMPT_BYTES = 20


class Case(NamedTuple):
    """One cell of the matrix, but for how the stream is split."""

    kind: Kind
    when: When
    choices: int
    tools: bool

    @property
    def tally(self) -> Tally:
        """A fresh tally of such a call."""
        return Tally(PROMPT_BYTES, prompt_tokens_max=100, completion_tokens_max=1000, choices=self.choices)

    @property
    def stream(self) -> bytes:
        """What the upstream sends when asked to stream."""
        return stream(self.kind, self.when, self.choices, tools=self.tools)

    def include_usage(self, options: object) -> bool:
        """Return what a caller with these `stream_options` has asked for."""
        message = {"role": "user", "content": "x"}
        body = {"model": "m", "messages": [message], "stream": True, "n": self.choices, "stream_options": options}
        return parse_chat_request(json.dumps(body).encode()).include_usage


CASES = [Case(*cell) for cell in product(KINDS, WHENS, (1, 3), (False, True))]


def charge(tally: Tally) -> bytes:
    """Return the usage that a caller is shown, with its cost."""
    usage = tally.usage()
    return render_usage(usage, cost_of(PRICE, FEE_PPM, *usage[:2]), usage.flags, tally.report)


def relay(case: Case, *pieces: bytes, include_usage: bool) -> bytes:
    """Return all that a caller gets of a stream that comes in these pieces."""
    tally, parser = case.tally, EventParser()
    relayed = Relayed(ID, MODEL, CREATED_S, case.choices, include_usage=include_usage, tally=tally)
    out = [relayed.feed(parser.feed(piece)) for piece in pieces]
    assert relayed.done
    return b"".join(out) + relayed.end(charge(tally))


def unstreamed(case: Case) -> Any:
    """Return the usage of the same answer in one piece."""
    tally = case.tally
    completion = Completion(whole(case.kind, case.when, case.choices, tools=case.tools), ID, MODEL, CREATED_S, tally)
    return json.loads(completion.with_usage(charge(tally)))["usage"]


def assert_right(case: Case, out: bytes, *, include_usage: bool) -> None:
    """Check a stream as its caller sees it: the words, one usage in its place, and the price."""
    *events, last = EventParser().feed(out)
    chunks = [json.loads(event) for event in events]
    assert last == DONE
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {(ID, MODEL)}

    shown = [chunk for chunk in chunks if "usage" in chunk]
    assert len(shown) == 1
    usage, place = shown[0]["usage"], shown[0]["choices"]
    assert place == [] if include_usage else place[0]["finish_reason"]
    assert usage == unstreamed(case)
    if case.when in HONEST:
        tokens = completion_tokens(case.choices, tools=case.tools)
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, tokens)
    assert ("estimated" in usage) is (case.when not in HONEST)
    cost = cost_of(PRICE, FEE_PPM, usage["prompt_tokens"], usage["completion_tokens"])
    assert usage["total_cost_usd_exact"] == f"{cost.total / 10**12:.12f}".rstrip("0")

    for index in range(case.choices):
        deltas = [c["delta"] for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
        said = [call["arguments"] for call in calls] if case.tools else [delta.get("content") for delta in deltas]
        assert "".join(filter(None, said)) == "".join(PIECES)
        assert [call["name"] for call in calls if "name" in call] == [NAME] * case.tools


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", CASES)
def test_one_byte_at_a_time(case: Case, options: object) -> None:
    """However usage is asked for and reported, it is seen exactly once, in its place, at the price of one piece."""
    include_usage = case.include_usage(options)
    assert include_usage is (options is not None and options == {"include_usage": True})
    pieces = [bytes([byte]) for byte in case.stream]
    assert_right(case, relay(case, *pieces, include_usage=include_usage), include_usage=include_usage)


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_split_in_two_at_every_byte(case: Case, include_usage: bool) -> None:
    """Wherever a stream is split in two, the caller gets the very same bytes."""
    sent = case.stream
    expected = relay(case, sent, include_usage=include_usage)
    assert_right(case, expected, include_usage=include_usage)
    for place in range(1, len(sent)):
        assert relay(case, sent[:place], sent[place:], include_usage=include_usage) == expected, place
