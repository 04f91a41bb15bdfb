"""The logprobs of an answer, cut to what its caller asked for.

Nodes are forced to send five alternatives of every token, for one another's validation, whatever the caller said. A
caller who asked for k sees the k most likely, as OpenAI has it, and of each of them its text, logprob and bytes:
nothing that an engine may have added, such as token ids.
"""

from __future__ import annotations

from operator import attrgetter

import msgspec
from msgspec import Raw


class _Alternative(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Alternative] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None
    refusal: list[_Token] | None = None


_decode = msgspec.json.Decoder(_Logprobs | None).decode
_encode = msgspec.json.Encoder().encode
_likelihood = attrgetter("logprob")
_NULL = Raw(b"null")


def trim_logprobs(logprobs: Raw, count: int) -> Raw:
    """Return the logprobs of a choice with so many alternatives of each token; null if they are not as OpenAI's."""
    try:
        found = _decode(logprobs)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NULL
    if found is None:
        return _NULL
    for tokens in (found.content, found.refusal):
        for token in tokens or ():
            alternatives = token.top_logprobs
            if count < len(alternatives):
                token.top_logprobs = sorted(alternatives, key=_likelihood, reverse=True)[:count]
    return Raw(_encode(found))
