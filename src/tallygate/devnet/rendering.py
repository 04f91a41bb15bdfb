"""Turns an engine's events into OpenAI JSON: frames of a stream, or one whole answer.

Two manners: `classic`, as a node shows what its vLLM said (forced logprobs, sorted keys, fields of
its own), and `plain`, as the official Bearer gateway shows it. No sockets, no money.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from tallygate.devnet.answerer import Counted, Ending, EngineEvent, Piece, Prompt
from tallygate.devnet.tokens import number_token

TOP_LOGPROBS = 5  # what nodes force
DONE_FRAME = b"data: [DONE]\n\n"
ALTERNATIVES = (" the", " a", " and", ".")


class Manner(StrEnum):
    """How an answer looks on the wire."""

    CLASSIC = "classic"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an inference, all choices together."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """Gives the `usage` object of an answer."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass(slots=True)
class Tally:
    """Counts an engine's tokens as they come."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    told: Counted | None = None

    def count(self, event: EngineEvent) -> None:
        """Takes one event in."""
        match event:
            case Prompt(tokens):
                self.prompt_tokens += len(tokens)
            case Piece(tokens=tokens):
                self.completion_tokens += len(tokens)
            case Counted():
                self.told = event

    def usage(self) -> Usage:
        """Gives what the engine has told, or else what was counted so far."""
        if self.told is not None:
            return Usage(self.told.prompt_tokens, self.told.completion_tokens)
        return Usage(self.prompt_tokens, self.completion_tokens)


@dataclass(slots=True)
class Rendering:
    """One answer's looks.

    Attributes:
        id: The answer's id.
        created: Its time in seconds.
        model: The model's name, shown as asked for.
        manner: Classic or plain.
        return_token_ids: Whether a classic answer shows the tokens' numbers.
    """

    id: str
    created: int
    model: str
    manner: Manner
    return_token_ids: bool = False
    _opened: set[int] = field(default_factory=set)
    _prompt: tuple[str, ...] = ()

    def frames(self, event: EngineEvent) -> list[bytes]:
        """Gives the frames that an event becomes; a choice's first one carries the role."""
        if isinstance(event, Prompt):
            self._prompt = event.tokens
            return []
        if isinstance(event, Counted):
            return []
        frames = []
        if event.choice not in self._opened:
            frames.append(self._open_choice(event.choice))
        if isinstance(event, Piece):
            choice = self._choice(event.choice, event.delta, event.tokens, None)
        else:
            choice = self._choice(event.choice, {}, (), event.finish_reason)
            if self.manner is Manner.CLASSIC:
                choice["stop_reason"] = event.stop_reason
        return [*frames, self._frame({"choices": [choice]})]

    def usage_frame(self, usage: object) -> bytes:
        """Gives the last frame, which has usage and no choices."""
        return self._frame({"choices": [], "usage": usage})

    def whole(self, events: Iterable[EngineEvent], usage: object) -> bytes:
        """Gives the unstreamed answer; a usage of None leaves it out."""
        choices: dict[int, dict[str, Any]] = {}
        tokens: dict[int, list[str]] = {}
        answer: dict[str, Any] = {}
        for event in events:
            if isinstance(event, Prompt):
                answer = self._prompt_fields(event.tokens)
                continue
            if isinstance(event, Counted):
                continue
            choice = choices.setdefault(event.choice, _empty_choice(event.choice))
            if isinstance(event, Piece):
                _merge(choice["message"], event.delta)
                tokens.setdefault(event.choice, []).extend(event.tokens)
            else:
                self._end_choice(choice, event, tokens.get(event.choice, []))
        answer["choices"] = [choices[index] for index in sorted(choices)]
        if usage is not None:
            answer["usage"] = usage
        return self._encode(answer, "chat.completion")

    def _open_choice(self, index: int) -> bytes:
        fields: dict[str, Any] = {}
        if not self._opened and self.manner is Manner.CLASSIC and self.return_token_ids:
            fields["prompt_token_ids"] = [number_token(token) for token in self._prompt]
        self._opened.add(index)
        delta = {"role": "assistant", "content": ""}
        return self._frame({"choices": [self._choice(index, delta, (), None)], **fields})

    def _choice(self, index: int, delta: object, tokens: tuple[str, ...], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        choice["logprobs"] = self._logprobs(tokens)
        if self.manner is Manner.CLASSIC and self.return_token_ids:
            choice["token_ids"] = [number_token(token) for token in tokens] or None
        return choice

    def _end_choice(self, choice: dict[str, Any], event: Ending, tokens: list[str]) -> None:
        message = choice["message"]
        if message["content"] is None and "tool_calls" not in message:
            message["content"] = ""
        choice["finish_reason"] = event.finish_reason
        choice["logprobs"] = self._logprobs(tokens)
        if self.manner is Manner.CLASSIC:
            choice["stop_reason"] = event.stop_reason
            if self.return_token_ids:
                choice["token_ids"] = [number_token(token) for token in tokens]

    def _prompt_fields(self, tokens: tuple[str, ...]) -> dict[str, Any]:
        if self.manner is Manner.PLAIN:
            return {}
        fields: dict[str, Any] = {"prompt_logprobs": None}
        if self.return_token_ids:
            fields["prompt_token_ids"] = [number_token(token) for token in tokens]
        return fields

    def _logprobs(self, tokens: Iterable[str]) -> object:
        entries = [describe_token(token) for token in tokens]
        return {"content": entries} if entries and self.manner is Manner.CLASSIC else None

    def _frame(self, fields: dict[str, Any]) -> bytes:
        return b"data: " + self._encode(fields, "chat.completion.chunk") + b"\n\n"

    def _encode(self, fields: dict[str, Any], kind: str) -> bytes:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return encode_json({**head, **fields}, self.manner)


def encode_json(value: object, manner: Manner) -> bytes:
    """Encodes JSON compactly; a classic node re-encodes everything with its keys sorted."""
    text = json.dumps(value, sort_keys=manner is Manner.CLASSIC, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=4096)
def describe_token(token: str) -> dict[str, Any]:
    """Gives a token's entry in `logprobs.content`, with the forced alternatives."""
    certainty = zlib.crc32(token.encode("utf-8", "replace")) % 900
    entry = _describe(token, -certainty / 1000)
    others = [_describe(other, -(1000 + 250 * rank + certainty) / 1000) for rank, other in enumerate(ALTERNATIVES)]
    return {**entry, "top_logprobs": [entry, *others][:TOP_LOGPROBS]}


def _describe(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def _empty_choice(index: int) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": None}}


def _merge(message: dict[str, Any], delta: Any) -> None:
    """Adds a stream's delta to an unstreamed message: texts grow, parts of tool calls are joined by their index."""
    for name, value in delta.items():
        if isinstance(value, str):
            message[name] = (message.get(name) or "") + value
    for part in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        function = part.get("function") or {}
        if part.get("index", 0) >= len(calls):
            named = {"name": function.get("name"), "arguments": ""}
            calls.append({"id": part.get("id"), "type": part.get("type", "function"), "function": named})
        call = calls[part.get("index", 0)]["function"]
        call["arguments"] += function.get("arguments") or ""
