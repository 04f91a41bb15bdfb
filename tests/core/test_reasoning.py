"""Reasoning: a part of what the model wrote, shown as it comes, counted and charged once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.answers import Completion
from tallygate.core.ledger.entry import Flag
from tallygate.core.pricing import Cost
from tallygate.core.usage import Tally, Usage
from tests.core.test_answers import render
from tests.core.test_streaming import SlowRelayed, Stream, chunk

REASONED = [
    ({"content": "ab", "reasoning_content": "cdef", "reasoning": "cdef"}, 6),
    ({"content": "ab", "reasoning_content": "cdef"}, 6),
    ({"content": "ab", "reasoning": "cdef"}, 6),
    ({"content": "ab", "reasoning_content": "cdef", "reasoning": "xyz"}, 9),
    ({"content": "ab", "reasoning_content": None, "reasoning": None}, 2),
    ({"content": "cdef", "reasoning": "cdef"}, 8),
]


@pytest.mark.parametrize(("message", "written"), REASONED)
def test_reasoning_is_counted_once(message: dict[str, Any], written: int) -> None:
    """Reasoning that an engine writes under two names is one text, however it is counted; both are shown."""
    tally = Tally(30, prompt_tokens_max=100, completion_tokens_max=1000, texts={})
    body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    answer = json.loads(Completion(body, "ours", "m", 1, tally).with_usage(b"{}"))
    assert answer["choices"][0]["message"] == message
    assert tally.untold_bytes == written
    assert sum(len(text) - 2 for text in (tally.texts or {}).get(b"0", [])) == written


def test_insane_details_are_not_shown() -> None:
    """Reasoning tokens are a part of the completion tokens: charged once, shown when they can be, never added."""
    for reasoning, shown in ((0, True), (39, True), (40, True), (41, False), (-1, False), (39.0, False)):
        details = {"reasoning_tokens": reasoning}
        report = {"prompt_tokens": 3, "completion_tokens": 40, "completion_tokens_details": details}
        usage = render(Usage(3, 40, Flag(0)), Cost(1, 0), report=report)
        assert usage.get("completion_tokens_details") == (details if shown else None)
        assert usage["total_tokens"] == 43


def test_reasoning_twice_is_never_spliced() -> None:
    """How a frame with reasoning under two names counts depends on both, so each such frame is taken apart."""
    events = [chunk({"reasoning_content": new, "reasoning": old}) for new, old in ("aa", "ba", "ab", "cc")]
    fast, slow = Stream(), Stream(SlowRelayed)
    assert fast.feed(*events) == slow.feed(*events)
    assert fast.tally.untold_bytes == slow.tally.untold_bytes == 6


def test_a_report_of_hidden_reasoning_is_believed_as_far_as_it_goes() -> None:
    """Reasoning that is not shown explains a report beyond the bytes; more of it than all tokens explains nothing."""
    for reasoning, believed in ((500, True), (505, True), (100, False), (506, False)):
        details = {"reasoning_tokens": reasoning}
        report = {"prompt_tokens": 3, "completion_tokens": 505, "completion_tokens_details": details}
        tally = Tally(30, prompt_tokens_max=100, completion_tokens_max=1000, untold_bytes=5, report=report)
        usage = tally.usage()
        assert (usage.completion_tokens == 505) is believed
        assert usage.estimated is not believed
