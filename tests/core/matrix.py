"""The SSE matrix: what an upstream may send, streamed and in one piece, told honestly or not.

`gonka` nodes send the tokens one by one (forced logprobs, token ids); `openai` upstreams send text only.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

Kind = Literal["gonka", "openai"]
When = Literal["once", "twice", "early", "never", "negative", "float"]

KINDS: Final[tuple[Kind, ...]] = ("gonka", "openai")
WHENS: Final[tuple[When, ...]] = ("once", "twice", "early", "never", "negative", "float")
HONEST: Final = frozenset({"once", "twice", "early"})
OPTIONS: Final[tuple[dict[str, Any] | None, ...]] = (None, {"include_usage": False}, {"include_usage": True})

PROMPT_TOKENS: Final = 7
PIECES: Final = ("ab", ' "\u00e9"', "cd")
"""The tokens of an answer's text, or of the arguments of its tool call."""

NAME: Final = "look_up"
_TOKENS: Final = len(PIECES)


def completion_tokens(choices: int, *, tools: bool) -> int:
    """Return how many tokens all choices have; a tool's name is one."""
    return choices * (_TOKENS + tools)


def usage_of(when: When, choices: int, *, tools: bool) -> dict[str, Any] | None:
    """Return the usage that an upstream reports at its end."""
    completion: float | int = completion_tokens(choices, tools=tools)
    if when == "never":
        return None
    if when == "negative":
        completion = -completion
    if when == "float":
        completion = float(completion)
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": completion, "total_tokens": PROMPT_TOKENS + completion}


def stream(kind: Kind, when: When, choices: int, *, tools: bool) -> bytes:
    """Return a whole stream, `[DONE]` included."""
    report = usage_of(when, choices, tools=tools)
    chunks = [_chunk(kind, index, {"role": "assistant", "content": None if tools else ""}) for index in range(choices)]
    if kind == "gonka":
        chunks[0]["prompt_token_ids"] = list(range(PROMPT_TOKENS))
    if tools:
        start = {"index": 0, "id": "call_1", "type": "function", "function": {"name": NAME, "arguments": ""}}
        chunks += [_chunk(kind, index, {"tool_calls": [start]}, NAME) for index in range(choices)]
    for piece in PIECES:
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} if tools else {"content": piece}
        chunks += [_chunk(kind, index, delta, piece) for index in range(choices)]
    chunks += [_chunk(kind, index, {}, finish="tool_calls" if tools else "stop") for index in range(choices)]
    if when == "early":
        chunks[0]["usage"] = report
    elif report is not None:
        if when == "twice":  # a first guess, and the truth
            chunks.append({**_HEAD, "choices": [], "usage": {**report, "completion_tokens": 1}})
        chunks.append({**_HEAD, "choices": [], "usage": report})
    return b"".join(b"data: %b\n\n" % _dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def whole(kind: Kind, when: When, choices: int, *, tools: bool) -> bytes:
    """Return the same answer in one piece."""
    answers = []
    for index in range(choices):
        message: dict[str, Any] = {"role": "assistant", "content": None if tools else "".join(PIECES)}
        if tools:
            function = {"name": NAME, "arguments": "".join(PIECES)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        pieces = (NAME, *PIECES) if tools else PIECES
        finish = "tool_calls" if tools else "stop"
        answers.append({"index": index, "message": message, "finish_reason": finish, **_told(kind, *pieces)})
    answer: dict[str, Any] = {**_HEAD, "object": "chat.completion", "choices": answers}
    if kind == "gonka":
        answer["prompt_token_ids"] = list(range(PROMPT_TOKENS))
    if (report := usage_of(when, choices, tools=tools)) is not None:
        answer["usage"] = report
    return _dump(answer)


_HEAD: Final = {"id": "theirs", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}


def _chunk(kind: Kind, index: int, delta: object, *pieces: str, finish: str | None = None) -> dict[str, Any]:
    return {**_HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish, **_told(kind, *pieces)}]}


def _told(kind: Kind, *pieces: str) -> dict[str, Any]:
    """Return what a node tells of its tokens beside them."""
    if kind == "openai":
        return {"logprobs": None}
    entries: list[dict[str, Any]] = [
        {"token": piece, "logprob": -0.5, "bytes": None, "top_logprobs": []} for piece in pieces
    ]
    return {"logprobs": {"content": entries} if entries else None, "token_ids": [5] * len(entries) or None}


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
