"""Logprobs: five alternatives are forced on nodes, and a caller sees those that he asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from tallygate.core.logprobs import trim_logprobs

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
