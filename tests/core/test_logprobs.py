"""Logprobs: five alternatives are forced on nodes, and a caller sees those that he asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from tallygate.core.answers import Completion
from tallygate.core.logprobs import trim_logprobs
from tests.core.test_streaming import SlowRelayed, Stream, text

ALTERNATIVES = [("no", -2.5), ("yes", -0.25), ("so", -3.0), ("ok", -1e-05), ("\u00e9", -9999.0)]


def described(token: str, logprob: float, **more: Any) -> dict[str, Any]:
    """Return a token as OpenAI shows it."""
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), **more}


def entry(**more: Any) -> dict[str, Any]:
    """Return a token with five alternatives, in no order."""
    return described("yes", -0.25, top_logprobs=[described(*other, **more) for other in ALTERNATIVES], **more)


def trim(logprobs: object, count: int) -> Any:
    """Return what is left of logprobs."""
    return json.loads(bytes(trim_logprobs(Raw(json.dumps(logprobs).encode()), count)))


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (0, []),
        (1, ["ok"]),
        (2, ["ok", "yes"]),
        (4, ["ok", "yes", "no", "so"]),
        (5, ["no", "yes", "so", "ok", "\u00e9"]),
        (20, ["no", "yes", "so", "ok", "\u00e9"]),
    ],
)
def test_the_most_likely_are_kept(count: int, tokens: list[str]) -> None:
    """Of each token the k most likely alternatives are kept, exactly as they came; fewer are left as they are."""
    trimmed = trim({"content": [entry(), entry()]}, count)
    assert [token["top_logprobs"] for token in trimmed["content"]] == [
        [described(token, dict(ALTERNATIVES)[token]) for token in tokens]
    ] * 2
    assert trimmed["content"][0] | {"top_logprobs": 0} == described("yes", -0.25, top_logprobs=0)


def test_nothing_else_is_shown() -> None:
    """Token ids, ranks and whatever else an engine adds are left out, at every level."""
    more = {"token_id": 7, "rank": 1, "decoded_token": "secret"}
    trimmed = trim({"content": [entry(**more)], "refusal": None, "token_ids": [1], "text_offset": [0]}, 5)
    assert trimmed == {"content": [entry()], "refusal": None}


def test_refusals_are_trimmed_as_well() -> None:
    """The logprobs of a refusal are of the same shape."""
    trimmed = trim({"content": None, "refusal": [entry()]}, 1)
    assert trimmed["content"] is None
    assert [other["token"] for other in trimmed["refusal"][0]["top_logprobs"]] == ["ok"]


@pytest.mark.parametrize(
    "logprobs",
    [None, 5, "x", [], {"content": 5}, {"content": [5]}, {"content": [{"token": 1, "logprob": 0}]},
     {"content": [{"token": "a"}]}, {"content": [described("a", 0.0, top_logprobs=[{"token": [5]}])]},
     {"content": [{"token": "a", "logprob": "low", "bytes": None}]}],
)  # fmt: skip
def test_what_is_no_logprobs_is_null(logprobs: object) -> None:
    """Logprobs of another shape are shown as none, and do no harm."""
    assert trim(logprobs, 2) is None


def test_bytes_that_are_no_text() -> None:
    """Logprobs that are not UTF-8 are shown as none."""
    assert bytes(trim_logprobs(Raw(b'{"content":[{"token":"\xff","logprob":0}]}'), 2)) == b"null"


def told(*tokens: str) -> dict[str, Any]:
    """Return what a node sends beside so many tokens, five alternatives of each."""
    others = [{"token": str(rank), "logprob": -1.0 - rank, "bytes": [48 + rank], "rank": rank} for rank in range(5)]
    entries = [{"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": others} for token in tokens]
    return {"logprobs": {"content": entries}, "token_ids": [7] * len(tokens)}


@pytest.mark.parametrize(("asked", "count"), [(None, None), (0, 0), (1, 1), (3, 3), (5, 5), (20, 5)])
def test_logprobs_are_trimmed_to_what_was_asked(asked: int | None, count: int | None) -> None:
    """Of the five that nodes are forced to send, a caller sees as many as he asked for; none if he asked for none."""
    stream = Stream(logprobs=asked)
    event = text("ab")
    event["choices"][0] |= told("a", "b")
    (seen,) = stream.chunks(event)
    assert stream.tally.tokens == 2
    assert not {"token_ids", "stop_reason"} & seen["choices"][0].keys()
    if count is None:
        assert "logprobs" not in seen["choices"][0]
        return
    entries = seen["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in entries] == ["a", "b"]
    assert [len(entry["top_logprobs"]) for entry in entries] == [count, count]
    assert "rank" not in json.dumps(entries)


def test_logprobs_and_templates() -> None:
    """With logprobs asked for, frames with and without them are told apart, and each keeps its own."""
    events: list[Any] = []
    for index, letter in enumerate("abcdef"):
        event = text(letter)
        event["choices"][0]["logprobs"] = None if index % 3 else told(letter)["logprobs"]
        events.append(event)
    fast, slow = Stream(logprobs=2), Stream(SlowRelayed, logprobs=2)
    assert fast.feed(*events) == slow.feed(*events)
    assert (fast.tally.tokens, fast.tally.untold_bytes) == (slow.tally.tokens, slow.tally.untold_bytes) == (2, 4)


@pytest.mark.parametrize("asked", [None, 0, 2])
def test_a_whole_answer_is_trimmed_as_well(asked: int | None) -> None:
    """Unstreamed, a caller sees what a streamed one sees, and nothing of token ids."""
    choice = {"index": 0, "message": {"content": "ab"}, "finish_reason": "stop", **told("a", "b")}
    body = json.dumps({"choices": [choice], "prompt_token_ids": [1, 2]}).encode()
    stream = Stream()
    answer = json.loads(Completion(body, "ours", "m", 1, stream.tally, logprobs=asked).with_usage(b"{}"))
    (seen,) = answer["choices"]
    assert stream.tally.tokens == 2
    assert "prompt_token_ids" not in answer
    assert seen.keys() == {"index", "message", "finish_reason"} | (set() if asked is None else {"logprobs"})
    if asked is not None:
        assert [len(token["top_logprobs"]) for token in seen["logprobs"]["content"]] == [asked, asked]
