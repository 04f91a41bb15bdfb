"""Faults of how an answer is written: in pieces, joined, repeated, compressed, too long, or with nonsense between.

What is said stays true and whole; a client that reads well gets all of it, or says why it does not.
"""

import asyncio
import gzip
import random
import zlib
from collections.abc import Mapping

from tallygate.devnet.faults.answer import AnswerFault
from tallygate.devnet.faults.order import FaultOrder
from tallygate.devnet.server import Exchange, Reply

GARBAGE_FRAME = b'data: {"choices": [{"delta": not json\xff\n\n'
GZIP_WINDOW = 31  # zlib's number for a gzip header
DROP_BYTES = 16
DONE = b"data: [DONE]"


class Drip(AnswerFault):
    """Sends a few bytes at a time, slowly."""

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Waits before each drop."""
        for start in range(0, len(frame), DROP_BYTES):
            await asyncio.sleep(self.order.delay_ms / 1000)
            await exchange.send(frame[start : start + DROP_BYTES])

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends the whole answer in this way."""
        await exchange.begin(reply, length=len(reply.body))
        await self.send_frame(exchange, reply.body)
        await exchange.end()


class SplitFrames(AnswerFault):
    """Cuts and joins frames wherever chance will have it; what is left waits for the next one."""

    def __init__(self, order: FaultOrder, stall_limit_s: float, draw: random.Random | None = None) -> None:
        super().__init__(order, stall_limit_s, draw)
        self._kept: dict[Exchange, bytes] = {}  # of each answer under way, since one fault may act on many at once

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Sends any number of bytes of what is there."""
        waiting = self._kept.pop(exchange, b"") + frame
        for cut in sorted(self.draw.sample(range(len(waiting) + 1), k=min(3, len(waiting)))):
            piece = waiting[: max(0, len(waiting) - cut)]
            if piece and self.draw.random() < 0.5:
                await exchange.send(piece)
                waiting = waiting[len(piece) :]
        self._kept[exchange] = waiting

    async def end_stream(self, exchange: Exchange) -> None:
        """Sends what is left."""
        rest = self._kept.pop(exchange, b"")
        if rest:
            await exchange.send(rest)
        await exchange.end()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends an unstreamed answer in chunks."""
        await exchange.begin(reply)
        await self.send_frame(exchange, reply.body)
        await self.end_stream(exchange)


class AtOneFrame(AnswerFault):
    """Does something before one frame of each stream."""

    async def pause(self, exchange: Exchange, frames_sent: int, *, at_end: bool) -> None:
        """Counts frames."""
        if frames_sent == self.order.after_frames or (at_end and frames_sent < self.order.after_frames):
            await exchange.send(self.insert(exchange))

    def insert(self, exchange: Exchange) -> bytes:
        """Gives what is put between two frames."""
        raise NotImplementedError


class RepeatFrames(AtOneFrame):
    """Sends all frames so far a second time."""

    def __init__(self, order: FaultOrder, stall_limit_s: float, draw: random.Random | None = None) -> None:
        super().__init__(order, stall_limit_s, draw)
        self._sent: dict[Exchange, bytes] = {}

    def insert(self, exchange: Exchange) -> bytes:
        """Gives the frames so far."""
        return self._sent.pop(exchange, b"")

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Remembers each frame."""
        if frame.startswith(DONE):
            self._sent.pop(exchange, None)
        else:
            self._sent[exchange] = self._sent.get(exchange, b"") + frame
        await exchange.send(frame)


class GarbageFrame(AtOneFrame):
    """Puts a frame into a stream that is no JSON and no text."""

    def insert(self, exchange: Exchange) -> bytes:
        """Gives the frame."""
        del exchange
        return GARBAGE_FRAME


class HugeFrame(AtOneFrame):
    """Puts a frame into a stream that is longer than any line should be."""

    def insert(self, exchange: Exchange) -> bytes:
        """Gives the frame: a chunk without choices, with a long member that nobody asked for."""
        del exchange
        return b'data: {"object":"chat.completion.chunk","choices":[],"padding":"' + self._pad() + b'"}\n\n'

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Puts the long member into the answer."""
        body = reply.body[:-1] + b',"padding":"' + self._pad() + b'"}'
        await exchange.reply(Reply(reply.status, body, reply.content_type, reply.headers))

    def _pad(self) -> bytes:
        return b"x" * self.order.size_bytes


class Gzip(AnswerFault):
    """Compresses an answer, whether or not its client can read that."""

    def __init__(self, order: FaultOrder, stall_limit_s: float, draw: random.Random | None = None) -> None:
        super().__init__(order, stall_limit_s, draw)
        self._packers: dict[Exchange, zlib._Compress] = {}

    def dress(self, opening: Reply) -> Reply:
        """Says so in the headers."""
        headers = {**opening.headers, "content-encoding": "gzip"}
        return Reply(opening.status, opening.body, opening.content_type, headers)

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Compresses frame by frame, so that each can be read when it comes."""
        packer = self._packers.setdefault(exchange, zlib.compressobj(wbits=GZIP_WINDOW))
        await exchange.send(packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH))

    async def end_stream(self, exchange: Exchange) -> None:
        """Ends the compressed data, then the body."""
        packer = self._packers.pop(exchange, None)
        if packer is not None:
            await exchange.send(packer.flush())
        await exchange.end()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Compresses an unstreamed answer."""
        packed = gzip.compress(reply.body, mtime=0)
        await exchange.reply(self.dress(Reply(reply.status, packed, reply.content_type, reply.headers)))


WIRE_FAULTS: Mapping[str, type[AnswerFault]] = {
    "drip": Drip,
    "split_frames": SplitFrames,
    "repeat_frames": RepeatFrames,
    "garbage_frame": GarbageFrame,
    "huge_frame": HugeFrame,
    "gzip": Gzip,
}
