"""One call as a caller makes it, on a raw connection, quick enough for hundreds at a time; and what the caller saw.

A caller believes its eyes only: what came over the wire before it left, or before the line went dead.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import httptools

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

MODEL: Final = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"
PICOUSD: Final = 10**12

_TOTAL = re.compile(rb'"total_cost_usd(?:_exact)?":"([0-9]+)(?:\.([0-9]+))?"')
"""What a call has cost: in its usage, or in the refusal of one that was charged before."""
_HEAD: Final = (
    b"POST %b HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %b\r\n"
    b"content-type: application/json\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
)
_CODE = re.compile(rb'"code":"([a-z_]+)"')


class Plan(NamedTuple):
    """What a caller is going to do.

    Attributes:
        body: The request's body.
        leave_after: Frames of a stream after which it leaves; -1 is as soon as it has asked; None is never.
        path: The route.
        key: The `Idempotency-Key`, if any.
    """

    body: bytes
    leave_after: int | None
    path: bytes = b"/v1/chat/completions"
    key: bytes = b""

    @classmethod
    def usual(cls, *, stream: bool = True, leave_after: int | None = None, **fields: object) -> Plan:
        """Return a plan with a short question, and with what is given in place of its fields."""
        question = {"model": MODEL, "messages": [{"role": "user", "content": "What is a ledger?"}], "max_tokens": 5}
        return cls(json.dumps({**question, "stream": stream, **fields}).encode(), leave_after)

    @classmethod
    def draw(cls, rng: random.Random) -> Plan:
        """Return any plan; a third of all callers leave early."""
        fields: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"What is a ledger, said {rng.randrange(1000)} times?"}],
            "max_tokens": rng.randint(1, 12),
        }
        streams = rng.random() < 0.7
        if streams:
            fields["stream"] = True
            if rng.random() < 0.5:
                fields["stream_options"] = {"include_usage": True}
        if rng.random() < 0.1:
            fields["n"] = 2
        leave_after = None
        if rng.randrange(3) == 0:
            leave_after = rng.randint(-1, 14) if streams else -1
        if rng.random() < 0.15:
            question = fields.pop("messages")[0]["content"]
            fields["prompt"] = [f"{question} {part}" for part in range(rng.randint(1, 4))]
            return cls(json.dumps(fields).encode(), leave_after, b"/v1/completions")
        return cls(json.dumps(fields).encode(), leave_after)


class Told(NamedTuple):
    """What one caller saw.

    Attributes:
        ending: What became of the call, in words that are counted.
        inference: Our id of it, if it was told.
        picousd: What it was told to have been charged, if it was.
        oddity: What no answer may be, if this one was.
        replayed: Whether it was told that the answer had been given before.
        answer: What it saw of an answer to a call with a key.
    """

    ending: str
    inference: str | None = None
    picousd: int | None = None
    oddity: str | None = None
    replayed: bool = False
    answer: bytes = b""


class Call(asyncio.Protocol):
    """One connection with one call on it.

    Args:
        secret: The API key.
        plan: What the caller does.
        on_frames: Told how many frames of a stream have come at a time.
    """

    def __init__(self, secret: str, plan: Plan, on_frames: Callable[[int], None]) -> None:
        key = b"idempotency-key: %b\r\n" % plan.key if plan.key else b""
        self._request = _HEAD % (plan.path, secret.encode(), key, len(plan.body)) + plan.body
        self._plan = plan
        self._on_frames = on_frames
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport
        self._status = 0
        self._body = bytearray()
        self._frames = 0
        self._inference: str | None = None
        self._has_left = self._is_whole = self._is_replayed = False
        self._ended = asyncio.get_running_loop().create_future()

    async def told(self) -> Told:
        """Wait until it is over, and return what was seen; whoever stops waiting leaves."""
        try:
            await self._ended
        except asyncio.CancelledError:
            self._leave()
            raise
        return self._judge(bytes(self._body))

    # --- what asyncio calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._request)
        if self._plan.leave_after == -1:
            self._leave()

    def data_received(self, data: bytes) -> None:
        """Read."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is dead."""
        if not self._ended.done():
            self._ended.set_result(None)

    # --- what httptools calls ----------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the id, and whether the answer is an old one."""
        if name.lower() == b"x-inference-id":
            self._inference = value.decode()
        elif name.lower() == b"x-tallygate-replayed":
            self._is_replayed = value == b"true"

    def on_headers_complete(self) -> None:
        """Note the status."""
        self._status = self._parser.get_status_code()
        if self._plan.leave_after == 0:
            self._leave()

    def on_body(self, data: bytes) -> None:
        """Keep what has come; leave when it is enough."""
        if self._has_left:
            return
        self._body += data
        if b"\n\n" in data:
            self._frames += data.count(b"\n\n")
            self._on_frames(data.count(b"\n\n"))
            if self._plan.leave_after is not None and self._frames >= self._plan.leave_after:
                self._leave()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if not self._has_left:
            self._is_whole = True
            self._transport.close()

    # -----------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._has_left = True
        self._transport.abort()

    def _judge(self, body: bytes) -> Told:
        picousd, inference = None, self._inference
        totals = [int(whole) * PICOUSD + int((part or b"").ljust(12, b"0")) for whole, part in _TOTAL.findall(body)]
        if totals:
            picousd = totals[0]
        ending, oddity = self._name_ending(body), None
        if len(totals) > 1:
            oddity = f"was told {len(totals)} charges"
        elif ending in {"streamed to the end", "whole answer"} and picousd is None:
            oddity = "was served without being told a charge"
        elif ending == "streamed to the end" and not body.endswith(b"data: [DONE]\n\n"):
            oddity = "ended without [DONE]"
        elif picousd is not None and (inference is None or (self._status == 200 and not _is_named(body, inference))):
            oddity = "was charged under no id"
        answer = body if self._plan.key and self._status == 200 else b""
        return Told(ending, inference, picousd, oddity, self._is_replayed, answer)

    def _name_ending(self, body: bytes) -> str:
        if self._has_left:
            return "left early"
        if not self._is_whole:
            return "connection lost" if self._status else "no answer"
        if self._status != 200:
            code = _CODE.search(body)
            return f"{self._status} {code[1].decode() if code else 'without a code'}"
        if b'data: {"error"' in body:
            return "error event"
        return "streamed to the end" if body.startswith((b"data: ", b":")) else "whole answer"


async def make_call(port: int, secret: str, plan: Plan, on_frames: Callable[[int], None] = lambda _: None) -> Told:
    """Make one call, and return what its caller saw.

    Raises:
        OSError: Nobody listens there.
    """
    loop = asyncio.get_running_loop()
    _, call = await loop.create_connection(lambda: Call(secret, plan, on_frames), "127.0.0.1", port)
    return await call.told()


def _is_named(body: bytes, inference: str) -> bool:
    """Return whether every chunk, or the answer, carries the id (an error event carries none)."""
    frames = body.count(b'"object":"chat.completion') + body.count(b'"object":"text_completion"')
    return body.count(b'"id":"%b"' % inference.encode()) == frames
