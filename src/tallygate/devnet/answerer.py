"""Who answers calls: the `Engine` seam, and the built-in answerer behind it.

An engine yields OpenAI deltas with the tokens that each stands for; it knows nothing of signatures,
money, faults or HTTP. A real engine can be put in its place. Invariants of the built-in one: the
same request gives the same answer, streamed or not, and no choice has more tokens than asked for.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol

from tallygate.devnet.calls import ChatCall, JsonObject
from tallygate.devnet.schema import build_example
from tallygate.devnet.tokens import split_prompt, split_tokens

WORDS_ASKED = re.compile(r"\b(\d{1,5}) words\b")
TOPIC_WORDS = 8
# What may change from one sending to the next without changing the answer.
DELIVERY_FIELDS = frozenset({"stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "n", "user"})
OPENINGS = (
    "Let us take it step by step.",
    "There is a short answer and a long one; here is the short one.",
    "That is a good thing to ask.",
    "I have thought about it for a moment.",
)
SENTENCES = (
    "A ledger is only as honest as the smallest entry in it.",
    "Every token that you read here was counted on its way.",
    "Simple parts, joined with care, outlast clever ones.",
    "What can be measured can be priced, and what is priced should be shown.",
    "A network is a promise that many machines keep together.",
    "The river does not hurry, and yet the mill turns all day.",
    "When two books agree to the last digit, both can be trusted.",
    "Good tools tell you what they did and what it cost.",
)
CLOSINGS = (
    "That is all there is to it.",
    "Ask again and you will hear the same, word for word.",
    "The rest is practice.",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt was read; it comes once, before everything else."""

    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice: an OpenAI delta and the tokens that it stands for."""

    choice: int
    delta: JsonObject
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """One choice has ended; `stop_reason` is the stop text that ended it, if one did."""

    choice: int
    finish_reason: str
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """The engine's own count of all tokens, which counts more than ours; the last one stands."""

    prompt_tokens: int
    completion_tokens: int


EngineEvent = Prompt | Piece | Ending | Counted


class EngineRefusedError(Exception):
    """An engine does not take a call; raised before anything is given.

    Attributes:
        status: The HTTP status that it answered with, 503 where it could not be reached.
        body: What it said.
    """

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"the engine answered {status}")
        self.status = status
        self.body = body


class EngineBrokenError(Exception):
    """An engine's answer broke off."""


class Engine(Protocol):
    """Whatever can answer a call."""

    def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Yields a `Prompt`, then the choices' pieces in any mixture and an `Ending` for each, a `Counted` anywhere."""
        ...


class Answerer:
    """The built-in engine: deterministic, pleasant to read, at a set pace."""

    def __init__(self, pace_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pace_s = pace_s
        self._sleep = sleep

    async def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Answers a call, all its choices in step with each other."""
        yield Prompt(split_prompt(call))
        choices = [compose_choice(call, index) for index in range(call.choices)]
        for step in range(max(map(len, choices))):
            await self._sleep(self._pace_s)
            for choice in choices:
                if step < len(choice):
                    yield choice[step]


def compose_choice(call: ChatCall, index: int) -> list[Piece | Ending]:
    """Gives one choice as a whole: its pieces, one token each, then its ending."""
    if call.forced_tool is not None:
        return _compose_tool_call(call, index, call.forced_tool.name, call.forced_tool.parameters)
    text, stop_reason = _apply_stops(_compose_text(call, index), call.stop)
    tokens = split_tokens(text)
    kept = tokens[: call.max_tokens]
    pieces = [Piece(index, {"content": token}, (token,)) for token in kept]
    if len(kept) < len(tokens):
        return [*pieces, Ending(index, "length")]
    return [*pieces, Ending(index, "stop", stop_reason)]


def _compose_tool_call(call: ChatCall, index: int, name: str, parameters: JsonObject) -> list[Piece | Ending]:
    arguments = split_tokens(json.dumps(build_example(parameters), ensure_ascii=False))
    named = split_tokens(name)[: call.max_tokens]
    kept = arguments[: call.max_tokens - len(named)]
    call_id = f"call_{_digest(call, index).hex()[:24]}"
    start = {
        "index": 0,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": ""},
    }
    pieces: list[Piece | Ending] = [Piece(index, {"tool_calls": [start]}, named)]
    for token in kept:
        delta = {"index": 0, "function": {"arguments": token}}
        pieces.append(Piece(index, {"tool_calls": [delta]}, (token,)))
    whole = len(kept) == len(arguments)
    return [*pieces, Ending(index, "tool_calls" if whole else "length")]


def _compose_text(call: ChatCall, index: int) -> str:
    digest = _digest(call, index)
    response_format = call.fields.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if isinstance(response_format, dict) and kind == "json_schema":
        return _compose_json(response_format)
    if kind == "json_object":
        return json.dumps({"answer": SENTENCES[digest[1] % len(SENTENCES)]})
    last = call.messages[-1]
    if last.role == "tool":
        return f"The tool says: {_shorten(last.text)}. {CLOSINGS[digest[0] % len(CLOSINGS)]}"
    asked = WORDS_ASKED.search(last.text)
    sentences = [SENTENCES[byte % len(SENTENCES)] for byte in digest[1:]]
    if asked and int(asked[1]):
        words = cycle(" ".join(sentences).split())
        return " ".join(islice(words, int(asked[1])))
    opening = OPENINGS[digest[0] % len(OPENINGS)]
    closing = CLOSINGS[digest[0] % len(CLOSINGS)]
    chosen = list(dict.fromkeys(sentences))[:3]
    return f"You asked: “{_shorten(last.text)}”\n\n" + " ".join([opening, *chosen, closing])


def _compose_json(response_format: JsonObject) -> str:
    wrapper = response_format.get("json_schema")
    schema: Any = wrapper.get("schema") if isinstance(wrapper, dict) else None
    return json.dumps(build_example(schema if isinstance(schema, dict) else {}))


def _apply_stops(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """Cuts a text before the first of the stop texts, and says which it was."""
    found = [(text.index(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    position, stop = min(found)
    return text[:position], stop


def _shorten(text: str) -> str:
    words = text.split()
    return " ".join(words[:TOPIC_WORDS]) + ("…" if len(words) > TOPIC_WORDS else "")


def _digest(call: ChatCall, index: int) -> bytes:
    """Gives the bytes from which all of an answer's choices of words follow."""
    meaning = {name: value for name, value in call.fields.items() if name not in DELIVERY_FIELDS}
    canonical = json.dumps([index, meaning], sort_keys=True)
    return hashlib.sha256(canonical.encode("ascii")).digest()
