"""Runs one accepted inference to its end and shows it to its client for as long as there is one.

The one place where engine, chain, faults and socket meet. Invariants: every inference that was
started is finished exactly once, whether or not its client stayed (unless the devnet stops); it is
finished on the chain before its client can see the usage or the end.
"""

from collections.abc import AsyncIterator

from tallygate.devnet.answerer import Engine, EngineBrokenError, EngineEvent
from tallygate.devnet.calls import ChatCall
from tallygate.devnet.chain import Chain, Inference
from tallygate.devnet.faults import AnswerFault
from tallygate.devnet.rendering import DONE_FRAME, Manner, Rendering, Tally, Usage
from tallygate.devnet.server import ClientGoneError, Exchange, Reply


class Delivery:
    """One inference on its way to its client."""

    def __init__(
        self,
        exchange: Exchange,
        call: ChatCall,
        rendering: Rendering,
        fault: AnswerFault,
        opening: Reply,
    ) -> None:
        self._exchange = exchange
        self._call = call
        self._rendering = rendering
        self._fault = fault
        self._opening = opening
        self._frames_sent = 0
        self._watched = True  # until the client leaves or a fault ends its stream
        self._interrupted = False

    async def run(self, engine: Engine, chain: Chain, inference: Inference) -> None:
        """Answers the call and settles it.

        Raises:
            EngineRefusedError: The engine does not take the call; nothing was sent and nothing settled.
        """
        events = await _begin(engine.generate(self._call))
        if self._call.streamed:
            await self._stream(events, chain, inference)
        else:
            await self._send_whole(events, chain, inference)

    async def _stream(self, events: AsyncIterator[EngineEvent], chain: Chain, inference: Inference) -> None:
        tally = Tally()
        await self._begin()
        try:
            async for event in events:
                tally.count(event)
                for frame in self._rendering.frames(event):
                    await self._send_frame(frame)
                if self._interrupted and self._fault.ends_inference:
                    break
        except EngineBrokenError:
            self._settle(tally, chain, inference)
            self._exchange.cut()
            return
        usage = self._settle(tally, chain, inference)
        shown = self._fault.show_usage(usage.as_json())
        if shown is not None and self._shows_usage():
            await self._send_frame(self._rendering.usage_frame(shown))
        await self._send_end()
        if self._interrupted:
            await self._fault.conclude(self._exchange)

    async def _send_whole(self, events: AsyncIterator[EngineEvent], chain: Chain, inference: Inference) -> None:
        tally = Tally()
        heard = []
        try:
            async for event in events:
                tally.count(event)
                heard.append(event)
        except EngineBrokenError:
            self._settle(tally, chain, inference)
            self._exchange.cut()
            return
        usage = self._settle(tally, chain, inference)
        body = self._rendering.whole(heard, self._fault.show_usage(usage.as_json()))
        reply = Reply(200, body, "application/json", self._opening.headers)
        await self._fault.send_body(self._exchange, reply)

    def _settle(self, tally: Tally, chain: Chain, inference: Inference) -> Usage:
        usage = tally.usage()
        chain.finish(inference, usage.prompt_tokens, usage.completion_tokens)
        return usage

    def _shows_usage(self) -> bool:
        """A classic node forces usage on; the Bearer gateway shows it to those who asked."""
        return self._rendering.manner is Manner.CLASSIC or self._call.include_usage

    async def _begin(self) -> None:
        try:
            await self._exchange.begin(self._fault.dress(self._opening))
        except ClientGoneError:
            self._watched = False

    async def _send_frame(self, frame: bytes) -> None:
        if not self._watched:
            return
        try:
            await self._fault.pause(self._exchange, self._frames_sent, at_end=False)
            if self._fault.interrupts(self._frames_sent):
                await self._interrupt()
                return
            await self._fault.send_frame(self._exchange, frame)
            self._frames_sent += 1
        except ClientGoneError:
            self._watched = False

    async def _send_end(self) -> None:
        """Sends [DONE], unless a fault that ends streams has waited for more frames than came."""
        if not self._watched:
            return
        try:
            await self._fault.pause(self._exchange, self._frames_sent, at_end=True)
            if self._fault.interrupts(self._fault.order.after_frames):
                await self._interrupt()
                return
            await self._fault.send_frame(self._exchange, DONE_FRAME)
            await self._fault.end_stream(self._exchange)
        except ClientGoneError:
            self._watched = False

    async def _interrupt(self) -> None:
        self._watched = False
        self._interrupted = True
        await self._fault.interrupt(self._exchange)


async def _begin(events: AsyncIterator[EngineEvent]) -> AsyncIterator[EngineEvent]:
    """Waits for an engine's first event, so that a refusal comes before any byte of an answer."""
    first = await anext(events)
    return _resume(first, events)


async def _resume(first: EngineEvent, events: AsyncIterator[EngineEvent]) -> AsyncIterator[EngineEvent]:
    yield first
    async for event in events:
        yield event
