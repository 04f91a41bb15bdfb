"""Everything that a host can be told to do wrong, one small class each.

A fault acts at one of two points: on a call's arrival, before anything is checked, or on its answer,
after all was checked and while the inference runs. To add one, write a class and list it in
`ARRIVAL_FAULTS` or `ANSWER_FAULTS`. No fault touches the chain: what an inference costs stays true
whatever its client was shown. (A classic node's 400 and 422 in its engine's words come after all checks, since there
the node records an inference, of one prompt token: that is `node`'s doing.)
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from tallygate.devnet.calls import JsonObject
from tallygate.devnet.server import Exchange, Reply

FAULT_STATUSES = (308, 400, 401, 402, 403, 404, 410, 422, 429, 500, 502, 503)
DEFAULT_AFTER_FRAMES = 3
GARBAGE = b'<html><body>{"id": "not json\xff'


@dataclass(frozen=True)
class FaultOrder:
    """What a control asked for.

    Attributes:
        fault: The fault's name.
        times: How often it acts; None is until it is deleted.
        after_frames: How many frames of a stream come through first; a stream that has fewer meets the fault before
            its `[DONE]`.
        usage: What `wrong_usage` shows instead of the truth; None shows nothing.
        count: How many calls `barrier` waits for.
        message: The error's text instead of the host's own, for a status.
        location: Where a 308 points to.
        retry_after_s: What Retry-After says, if anything.
    """

    fault: str
    times: int | None = 1
    after_frames: int = DEFAULT_AFTER_FRAMES
    usage: JsonObject | None = None
    count: int = 2
    message: str | None = None
    location: str = "http://elsewhere.invalid/v1/chat/completions"
    retry_after_s: int | None = None


FaultReply = Callable[[int, FaultOrder], Reply]
AnyFault = TypeVar("AnyFault", bound="Fault")


class Passage(Enum):
    """What an arrival fault leaves to do."""

    GO_ON = auto()
    ANSWERED = auto()


class Fault:
    """What all faults share: an order, and an end to their waiting when they are deleted."""

    def __init__(self, order: FaultOrder, stall_limit_s: float) -> None:
        self.order = order
        self.remaining = order.times
        self._stall_limit_s = stall_limit_s
        self._released = asyncio.Event()

    def release(self) -> None:
        """Lets everything go that the fault holds."""
        self._released.set()

    async def hold(self, exchange: Exchange) -> None:
        """Waits until the client leaves, the fault is deleted, or the limit is over."""
        waits = [
            asyncio.ensure_future(exchange.wait_gone(self._stall_limit_s)),
            asyncio.ensure_future(self._released.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class ArrivalFault(Fault):
    """Acts before a call is looked at."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Deals with a call, or lets it go on."""
        raise NotImplementedError


class Refuse(ArrivalFault):
    """Resets the connection without any answer."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Resets."""
        del fault_reply
        exchange.reset()
        return Passage.ANSWERED


class HangUp(ArrivalFault):
    """Closes the connection properly, but without any answer."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Closes."""
        del fault_reply
        exchange.cut()
        return Passage.ANSWERED


class StallHeaders(ArrivalFault):
    """Accepts a call and says nothing at all; no inference begins."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Waits, then closes."""
        del fault_reply
        await self.hold(exchange)
        exchange.cut()
        return Passage.ANSWERED


class StatusFault(ArrivalFault):
    """Answers with an error status, in the host's own words."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Answers."""
        await exchange.reply(fault_reply(int(self.order.fault), self.order))
        return Passage.ANSWERED


class Barrier(ArrivalFault):
    """Holds calls until `count` of them have arrived, then lets them all go on at once."""

    def __init__(self, order: FaultOrder, stall_limit_s: float) -> None:
        super().__init__(order, stall_limit_s)
        self.remaining = None if order.times is None else order.times * order.count
        self._gate = asyncio.Event()
        self._waiting = 0

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Waits for the others."""
        del exchange, fault_reply
        self._waiting += 1
        gate = self._gate
        if self._waiting == self.order.count:
            self._open()
        await gate.wait()
        return Passage.GO_ON

    def release(self) -> None:
        """Lets those go that wait for more."""
        super().release()
        self._open()

    def _open(self) -> None:
        self._gate.set()
        self._gate = asyncio.Event()
        self._waiting = 0


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


class WrongUsage(AnswerFault):
    """Shows any usage but the true one."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives the ordered usage, exactly."""
        del usage
        return self.order.usage


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


ARRIVAL_FAULTS: Mapping[str, type[ArrivalFault]] = {
    "refuse": Refuse,
    "hang_up": HangUp,
    "stall_headers": StallHeaders,
    "barrier": Barrier,
    **{str(status): StatusFault for status in FAULT_STATUSES},
}
ANSWER_FAULTS: Mapping[str, type[AnswerFault]] = {
    "cut": Cut,
    "cut_end": CutEnd,
    "stall_stream": StallStream,
    "hold_stream": HoldStream,
    "error_event": ErrorEvent,
    "wrong_usage": WrongUsage,
    "truncate": Truncate,
    "garbage": Garbage,
}
FAULT_NAMES = (*ARRIVAL_FAULTS, *ANSWER_FAULTS)


class FaultBook:
    """One host's faults to come, each point's in the order in which they were ordered.

    A call meets at most one arrival fault and, if that lets it go on, one answer fault.
    """

    def __init__(self, stall_limit_s: float) -> None:
        self._stall_limit_s = stall_limit_s
        self._arrivals: deque[ArrivalFault] = deque()
        self._answers: deque[AnswerFault] = deque()
        self._spent: list[Fault] = []

    def order(self, order: FaultOrder) -> None:
        """Adds a fault; its name must be one of `FAULT_NAMES`."""
        if order.fault in ARRIVAL_FAULTS:
            self._arrivals.append(ARRIVAL_FAULTS[order.fault](order, self._stall_limit_s))
        else:
            self._answers.append(ANSWER_FAULTS[order.fault](order, self._stall_limit_s))

    def clear(self) -> None:
        """Deletes all faults and lets everything go that they hold."""
        for fault in (*self._arrivals, *self._answers, *self._spent):
            fault.release()
        self._arrivals.clear()
        self._answers.clear()
        self._spent.clear()

    def take_arrival(self) -> ArrivalFault | None:
        """Gives the fault that a call meets on arrival, if any."""
        return self._take(self._arrivals)

    def take_answer(self) -> AnswerFault | None:
        """Gives the fault that an accepted call's answer meets, if any."""
        return self._take(self._answers)

    def _take(self, faults: deque[AnyFault]) -> AnyFault | None:
        if not faults:
            return None
        fault = faults[0]
        if fault.remaining is not None:
            fault.remaining -= 1
            if not fault.remaining:
                self._spent.append(faults.popleft())
        return fault


async def _send_half(exchange: Exchange, reply: Reply) -> None:
    await exchange.begin(reply, length=len(reply.body))
    await exchange.send(reply.body[: len(reply.body) // 2])
