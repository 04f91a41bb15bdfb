"""Faults that act on the answer of an accepted call: it breaks off, stands still, or is not what it says.

No fault touches the chain: what an inference costs stays true whatever its client was shown.
"""

from collections.abc import Mapping

from tallygate.devnet.calls import JsonObject
from tallygate.devnet.faults.fault import Fault
from tallygate.devnet.server import Exchange, Reply

GARBAGE = b'<html><body>{"id": "not json\xff'


class AnswerFault(Fault):
    """Acts on the answer of a call that was accepted; as it stands, it does nothing wrong.

    Attributes:
        ends_inference: Whether the engine stops with the stream; else it runs to its end unseen.
    """

    ends_inference = False

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives the usage that the client is shown."""
        return usage

    def interrupts(self, frames_sent: int) -> bool:
        """Says whether a stream ends here for its client."""
        del frames_sent
        return False

    async def interrupt(self, exchange: Exchange) -> None:
        """Acts at the place where the stream ends for its client."""

    async def conclude(self, exchange: Exchange) -> None:
        """Acts when an interrupted inference has run to its end."""

    async def pause(self, exchange: Exchange, frames_sent: int, *, at_end: bool) -> None:
        """Acts before a frame, or at the end before `[DONE]`, and then lets the stream go on."""

    def dress(self, opening: Reply) -> Reply:
        """Gives the status and headers that a stream begins with."""
        return opening

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Sends a frame, `[DONE]` included."""
        await exchange.send(frame)

    async def end_stream(self, exchange: Exchange) -> None:
        """Ends a stream's body, after `[DONE]`."""
        await exchange.end()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends an unstreamed answer."""
        await exchange.reply(reply)


class InterruptingFault(AnswerFault):
    """An answer fault that ends a stream after some frames."""

    def interrupts(self, frames_sent: int) -> bool:
        """Counts frames."""
        return frames_sent >= self.order.after_frames


class Cut(InterruptingFault):
    """Closes the connection in the middle of an answer."""

    async def interrupt(self, exchange: Exchange) -> None:
        """Closes, without [DONE] and without the chunked end."""
        exchange.cut()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Promises the whole length, sends half, closes."""
        await _send_half(exchange, reply)
        exchange.cut()


class CutEnd(AnswerFault):
    """Closes the connection when everything has been sent, `[DONE]` too, but for the end of the body."""

    async def end_stream(self, exchange: Exchange) -> None:
        """Closes, without the chunked end."""
        exchange.cut()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends all of it in chunks, and closes without the chunked end."""
        await exchange.begin(reply)
        await exchange.send(reply.body)
        exchange.cut()


class HoldStream(AnswerFault):
    """Stops in the middle of an answer until it is deleted, then goes on as if nothing had happened.

    The inference waits with its stream, unless the client leaves: then it runs on to its end.
    """

    async def pause(self, exchange: Exchange, frames_sent: int, *, at_end: bool) -> None:
        """Waits, once in a stream."""
        if frames_sent == self.order.after_frames or (at_end and frames_sent < self.order.after_frames):
            await self.hold(exchange)

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends half, waits, sends the other half."""
        await _send_half(exchange, reply)
        await self.hold(exchange)
        await exchange.send(reply.body[len(reply.body) // 2 :])
        await exchange.end()


class StallStream(InterruptingFault):
    """Stops sending in the middle of an answer and keeps the connection open."""

    async def conclude(self, exchange: Exchange) -> None:
        """Waits, then closes."""
        await self.hold(exchange)
        exchange.cut()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends half, waits, closes."""
        await _send_half(exchange, reply)
        await self.conclude(exchange)


class ErrorEvent(InterruptingFault):
    """Puts an error where the rest of the answer should be; the inference ends there too."""

    ends_inference = True
    event = b'{"error":{"code":500,"message":"EngineCore encountered an issue","type":"InternalServerError"}}'

    async def interrupt(self, exchange: Exchange) -> None:
        """Sends an error event and ends the body properly, without [DONE]."""
        await exchange.send(b"data: " + self.event + b"\n\n")
        await exchange.end()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Answers 200 with an error in it."""
        await exchange.reply(Reply(reply.status, self.event, headers=reply.headers))


class Truncate(AnswerFault):
    """Sends half of an unstreamed answer as if it were all."""

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends half, with the half's length."""
        half = reply.body[: len(reply.body) // 2]
        await exchange.reply(Reply(reply.status, half, reply.content_type, reply.headers))


class Garbage(AnswerFault):
    """Sends something that is not JSON instead of an unstreamed answer."""

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Sends it with status 200, and as JSON."""
        await exchange.reply(Reply(200, GARBAGE, reply.content_type, reply.headers))


class Reset(InterruptingFault):
    """Resets the connection in the middle of an answer: its client reads an error, not an end."""

    async def interrupt(self, exchange: Exchange) -> None:
        """Resets."""
        exchange.reset()

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Promises the whole length, sends half, resets."""
        await _send_half(exchange, reply)
        exchange.reset()


async def _send_half(exchange: Exchange, reply: Reply) -> None:
    await exchange.begin(reply, length=len(reply.body))
    await exchange.send(reply.body[: len(reply.body) // 2])


BREAKING_FAULTS: Mapping[str, type[AnswerFault]] = {
    "cut": Cut,
    "cut_end": CutEnd,
    "reset": Reset,
    "stall_stream": StallStream,
    "hold_stream": HoldStream,
    "error_event": ErrorEvent,
    "truncate": Truncate,
    "garbage": Garbage,
}
