"""Answers that have been given, kept for a while, to be given again to who asks with the same idempotency key.

What a caller with a key is sent is noted on its way, and kept under its inference when it is complete; which is after
the charge is durable, like the end of every answer. Nothing is ever written anywhere: what is not in memory any more
is not replayed. Whether an inference was charged at all is for the ledger to say, before anything here is asked for.

Invariants:
    - All answers together, those that are still on their way included, never take more than `BYTES_MAX`; the one that
      was asked for the longest ago goes first, and one that finds no room is not kept. Whoever gets one again gets it
      in pieces, as fast as they read: a crowd of slow readers takes little, and none keeps what is not counted.
    - None is given again once the claim on it has ended.
    - A replay is the same status, headers and bytes, keep-alive comments included; only `x-request-id` is that of the
      new request, what is left of limits is what is left now, and `x-tallygate-replayed` is added.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tallygate.core.idempotency import KEPT_NS
from tallygate.core.limits import RATES_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.relay.reply import Sink

BYTES_MAX: Final = 64 * 1024 * 1024
"""All answers together: thousands of usual ones."""

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""One answer: a stream of some 16,000 tokens, each of which is a frame of about 250 bytes."""

OVERHEAD_BYTES: Final = 2048
"""What an answer takes beside its body: its headers, and what Python needs for them."""

PIECE_BYTES: Final = 64 * 1024
"""How much of an answer is given again at a time: what the server takes before it lets a slow reader wait."""

_KEPT_S: Final = KEPT_NS // 10**9
_REPLAYED: Final = (b"x-tallygate-replayed", b"true")


@dataclass(slots=True)
class _Answer:
    """One answer, as far as it has gone out; `bytes` is what it counts for, `readers` how many get it again now."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    streamed: bool = False
    bytes: int = 0
    kept_s: float = 0.0
    readers: int = 0


class Replays:
    """The answers that can be given again, by inference.

    Args:
        now_s: A clock that never goes back.
        bytes_max: The most that all may take.
        answer_bytes_max: The most that one may take.

    Attributes:
        bytes: What all take now.
    """

    def __init__(
        self, now_s: Callable[[], float], bytes_max: int = BYTES_MAX, answer_bytes_max: int = ANSWER_BYTES_MAX
    ) -> None:
        self.bytes = 0
        self._now_s = now_s
        self._bytes_max = bytes_max
        self._answer_bytes_max = answer_bytes_max
        self._kept: OrderedDict[str, _Answer] = OrderedDict()
        self._under_way: set[str] = set()

    def __repr__(self) -> str:
        """Say how much is kept."""
        return f"<Replays {len(self._kept)} kept, {len(self._under_way)} under way, {self.bytes} bytes>"

    def is_under_way(self, inference: str) -> bool:
        """Return whether an answer is still on its way to its caller for the first time."""
        return inference in self._under_way

    async def replay(self, inference: str, sink: Sink, rates: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        """Give an answer again with the headers of the limits now, if it is still there; return whether it was."""
        answer = self._kept.get(inference)
        if answer is None or self._is_old(answer):
            return False
        self._kept.move_to_end(inference)
        answer.readers += 1
        try:
            await _give(answer, sink, rates)
        finally:
            answer.readers -= 1
        return True

    def purge(self) -> None:
        """Let go of what is too old to be asked for."""
        for inference, answer in tuple(self._kept.items()):
            if self._is_old(answer) and not answer.readers:
                del self._kept[inference]
                self.release(answer)

    # --- for the recorder --------------------------------------------------------------------------------------

    def begin(self, inference: str) -> None:
        """Take note that an answer is on its way."""
        self._under_way.add(inference)

    def end(self, inference: str) -> None:
        """Take note that it is not any more, whatever became of it."""
        self._under_way.discard(inference)

    def make_room(self, answer: _Answer, size: int) -> bool:
        """Count so many bytes more for an answer, if need be in the place of older ones; return whether they fit."""
        if answer.bytes + size > self._answer_bytes_max:
            return False
        while self.bytes + size > self._bytes_max:
            oldest = next((inference for inference, kept in self._kept.items() if not kept.readers), None)
            if oldest is None:
                return False
            self.release(self._kept.pop(oldest))
        self.bytes += size
        answer.bytes += size
        return True

    def release(self, answer: _Answer) -> None:
        """Count an answer no more."""
        self.bytes -= answer.bytes

    def keep(self, inference: str, answer: _Answer) -> None:
        """Keep a complete answer."""
        answer.kept_s = self._now_s()
        self._kept[inference] = answer

    def _is_old(self, answer: _Answer) -> bool:
        return self._now_s() - answer.kept_s >= _KEPT_S


async def _give(answer: _Answer, sink: Sink, rates: Sequence[tuple[bytes, bytes]]) -> None:
    """Give an answer again, waiting while its reader is slow."""
    headers, size = [*answer.headers, *rates, _REPLAYED], len(answer.body)
    if not answer.streamed:
        if size <= PIECE_BYTES:
            await sink.respond(answer.status, headers, bytes(answer.body))
            return
        headers.append((b"content-length", b"%d" % size))
    await sink.start(answer.status, headers)
    for begin in range(0, size, PIECE_BYTES):
        await sink.write(bytes(answer.body[begin : begin + PIECE_BYTES]))
    await sink.finish()


class Recorder:
    """A sink that passes an inference's answer on, and notes it as far as there is room; `close` has to follow.

    Args:
        replays: Where the answer is kept when it is complete.
        inference: Whose answer it is.
        sink: The caller.
    """

    def __init__(self, replays: Replays, inference: str, sink: Sink) -> None:
        self._replays = replays
        self._inference = inference
        self._sink = sink
        self._answer: _Answer | None = _Answer()
        replays.begin(inference)
        self._note(b"", OVERHEAD_BYTES)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin a streamed answer."""
        self._head(status, headers, streamed=True)
        await self._sink.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece of it."""
        self._note(data, len(data))
        await self._sink.write(data)

    async def finish(self) -> None:
        """End it."""
        self._complete()
        await self._sink.finish()

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""
        self._head(status, headers, streamed=False)
        self._note(body, len(body))
        self._complete()
        await self._sink.respond(status, headers, body)

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Have a function called when the caller leaves before the end."""
        self._sink.on_leave(callback)

    def close(self) -> None:
        """Forget an answer that did not become complete."""
        self._give_up()
        self._replays.end(self._inference)

    def _head(self, status: int, headers: list[tuple[bytes, bytes]], *, streamed: bool) -> None:
        if self._answer is not None:
            lasting = [(name, value) for name, value in headers if not name.startswith(RATES_PREFIX)]
            self._answer.status, self._answer.headers, self._answer.streamed = status, lasting, streamed

    def _note(self, data: bytes, size: int) -> None:
        if self._answer is None:
            return
        if self._replays.make_room(self._answer, size):
            self._answer.body += data
        else:
            self._give_up()

    def _complete(self) -> None:
        if self._answer is not None:
            self._replays.keep(self._inference, self._answer)
            self._answer = None
        self._replays.end(self._inference)

    def _give_up(self) -> None:
        if self._answer is not None:
            self._replays.release(self._answer)
            self._answer = None
