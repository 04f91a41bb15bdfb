"""A real engine behind a devnet: any OpenAI-compatible server, whose answers the nodes then sign, price and stream.

It is asked for a stream with usage, whatever the caller wants, and its own count of tokens is what the chain is told.
An engine that tells none is counted by devnet's rule. What a node adds to an answer (forced logprobs, token ids) is
still devnet's own making.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tallygate.devnet.answerer import Counted, Ending, EngineBrokenError, EngineEvent, EngineRefusedError, Piece, Prompt
from tallygate.devnet.calls import ChatCall
from tallygate.devnet.client import Answer, ConnectionBrokenError, post
from tallygate.devnet.tokens import split_prompt, split_tokens

UNREACHABLE_STATUS = 503
TEXT_MEMBERS = ("content", "reasoning_content", "reasoning")
DATA = b"data:"
DONE = b"[DONE]"


class RemoteEngine:
    """An engine at a URL, given with its /v1 and without a route."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"

    async def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Passes a call on and gives what comes back.

        Raises:
            EngineRefusedError: The engine does not take the call; nothing has been given then.
            EngineBrokenError: It broke off in the middle.
        """
        body = json.dumps(build_body(call)).encode("ascii")
        begun = False
        try:
            async with post(self._url, self._headers, body) as answer:
                if answer.status != 200:
                    raise EngineRefusedError(answer.status, (await answer.read()).decode("utf-8", "replace"))
                begun = True
                yield Prompt(split_prompt(call))
                async for event in _read_events(answer):
                    yield event
        except ConnectionBrokenError as error:
            if begun:
                raise EngineBrokenError(str(error)) from error
            raise EngineRefusedError(UNREACHABLE_STATUS, str(error)) from error


def build_body(call: ChatCall) -> dict[str, Any]:
    """Gives what the engine is sent: the caller's own fields, bounded, streamed, and with usage."""
    options = call.fields.get("stream_options")
    asked = options if isinstance(options, dict) else {}
    body = {**call.fields, "max_tokens": call.max_tokens, "stream": True}
    body.pop("max_completion_tokens", None)
    return {**body, "stream_options": {**asked, "include_usage": True}}


async def _read_events(answer: Answer) -> AsyncIterator[EngineEvent]:
    async for line in answer.lines():
        if not line.startswith(DATA):
            continue
        data = line.removeprefix(DATA).strip()
        if data == DONE:
            return
        for event in _read_chunk(data):
            yield event
    raise EngineBrokenError("the stream has no [DONE]")


def _read_chunk(data: bytes) -> list[EngineEvent]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise EngineBrokenError("a frame of the stream is no JSON") from error
    if not isinstance(chunk, dict) or "error" in chunk:
        raise EngineBrokenError(f"the stream has an error in it: {data[:200]!r}")
    events: list[EngineEvent] = []
    for choice in chunk.get("choices") or ():
        index = choice.get("index", 0)
        delta = {name: value for name, value in (choice.get("delta") or {}).items() if name != "role" and value}
        if delta:
            events.append(Piece(index, delta, _tokens_of(choice, delta)))
        if choice.get("finish_reason"):
            events.append(Ending(index, choice["finish_reason"], choice.get("stop_reason")))
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        events.append(Counted(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)))
    return events


def _tokens_of(choice: Mapping[str, Any], delta: Mapping[str, Any]) -> tuple[str, ...]:
    """Gives a piece's tokens: as the engine tells them, or by devnet's own rule."""
    told = (choice.get("logprobs") or {}).get("content")
    if told:
        return tuple(str(entry.get("token", "")) for entry in told)
    texts = [delta[name] for name in TEXT_MEMBERS if isinstance(delta.get(name), str)]
    calls = [part.get("function") or {} for part in delta.get("tool_calls") or ()]
    texts += [function.get("arguments") or "" for function in calls]
    return split_tokens("".join(texts))
