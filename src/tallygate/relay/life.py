"""A call from its hold to its ending.

A call has one part or several (`part`). Here they come together: one hold for all, nothing to the caller before each
has a first byte, one ending. A call of one part runs in its own task; several parts run in one each, and none outlives
the call.

Invariants: there is one ending, on its way to the disk at most once (`_ending`); the hold is durable before anything is
sent; the charge is durable before the caller sees the end; whatever is raised, no money stays set aside that the store
could still give back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from tallygate.core.answers import UnusableAnswerError, render_usage
from tallygate.core.errors import STORE_RETRY_AFTER_S, Code, InvariantBrokenError, Refusal, StoreUnavailableError
from tallygate.core.forms import Head
from tallygate.core.inference import Event, Inference, Money, State
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import HoldRequest
from tallygate.core.money import format_usd
from tallygate.core.retry import LOST, UNUSABLE, SendingError, refusal_of
from tallygate.ports.meter import CallEnd
from tallygate.relay.part import Part, PartFailedError, add_bounds, charge_parts, lose_parts, release_connections
from tallygate.relay.replay import Recorder
from tallygate.relay.reply import Reply
from tallygate.relay.share import Share
from tallygate.relay.together import run_together
from tallygate.relay.watch import CallerLeft

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tallygate.core.forms import Whole
    from tallygate.core.ledger.records import Hold
    from tallygate.core.retry import Failure
    from tallygate.core.streaming import Relayed
    from tallygate.relay.call import Call
    from tallygate.relay.relay import Relay
    from tallygate.relay.reply import Sink

T = TypeVar("T")

_log = structlog.get_logger()


class Life:
    """One call on its way."""

    def __init__(self, relay: Relay, call: Call, sink: Sink) -> None:
        requests = (call.chat, *call.others)
        places = [relay.upstreams.targets(call.card.id) for _ in requests]
        if not places[0]:
            raise Refusal(Code.NETWORK_UNAVAILABLE, "No upstream for this model can be used now.", retry_after_s=5)
        self.share = Share(relay.limiter, relay.ledger)
        self._relay = relay
        self._call = call
        self._inference = inference = Inference(relay.mint_id())
        floors: dict[str, int] = {}
        for target, name in places[0] if len(places) == 1 else [place for some in places for place in some]:
            floors[name] = max(floors.get(name, 1), target.tokens_floor)
        self._parts = [
            Part(number, inference, request, call.card, relay, places[number], floors)
            for number, request in enumerate(requests)
        ]
        self._first = self._parts[0]
        self._shrink = self._first.outgoing.shrink(floors) if relay.shrinks else None
        if self._shrink is not None:
            self._shrink = self._shrink._replace(choices=self._shrink.choices * len(requests))
        self._recorder = None if call.claim is None else Recorder(relay.replays, inference.id, sink)
        self._reply = Reply(self._recorder or sink, relay.render_error, relay.keep_alive_s)
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._overhead_s: float | None = None
        self._first_byte_s: float | None = None
        self._hold: Hold
        # Set when each part has its first byte, or nobody is there any more whom an answer could be shown.
        self._gate = None if len(requests) == 1 else asyncio.Event()
        self._to_end = len(requests)
        self._last: Relayed | None = None  # whose end waits for the settlement
        self._ending = False  # once an ending is on its way to the disk, there must not be another
        self._left = self._cut = False
        self._why: Refusal | None = None  # why it was cut, where it is not that the gateway stops
        self._drain: asyncio.TimerHandle | None = None
        sink.on_leave(self._leave)

    async def live(self) -> None:
        """Hold, send, pass on, end."""
        call, parts = self._call, self._parts
        request = HoldRequest(
            self._inference.id,
            call.key.account,
            call.key.id,
            call.card.id,
            *add_bounds(parts),
            self._first.dispatch.sending,
            shrink=self._shrink,
            claim=call.claim,
            tag=self._relay.tags.of_call(call.key.account, call.chat.members),
            others=tuple([part.dispatch.sending for part in parts[1:]]) if len(parts) > 1 else (),
        )
        try:
            self._hold = hold = await self.share.hold(call.key, request)
            self._inference.on(Event.HOLD_TAKEN)
            self._overhead_s = self._elapsed_s()
            if hold.completion_tokens_max < request.completion_tokens_max:
                for part in parts:
                    part.limit(hold.completion_tokens_max // len(parts))
            await self._serve()
        except (CallerLeft, asyncio.CancelledError):
            await (self._end_cut() if self._cut and not self._draining else self._end_without_caller())
        except StoreUnavailableError as error:
            await self._end_without_store(error)
        finally:
            if self._drain is not None:
                self._drain.cancel()
            self._reply.close()
            if self._recorder is not None:
                self._recorder.close()
            for part in parts:
                part.close()
            if self._relay.ledger.ready:
                await self._end_after_defect()

    def cut(self, why: Refusal | None = None) -> None:
        """Break the call off, though its caller is still there: the gateway stops, or its key may not call any more."""
        if self._cut or (why is not None and self._draining):
            return  # the first reason is told; what is drained is read on for its bill: nobody is served by it
        self._cut, self._why = True, why
        self._stop()

    @property
    def inference(self) -> str:
        """The inference's id: while this life lasts, its hold has an owner."""
        return self._inference.id

    @property
    def _draining(self) -> bool:
        return self._inference.state is State.DRAINING

    def _leave(self) -> None:
        """Take note that the caller has left: read on for a while what is billed to its end anyway, or stop here."""
        under_way = self._inference.state in (State.SENT, State.STREAMING) and not self._ending
        if not under_way or not self._relay.left_drain_s or not any(part.drains for part in self._parts):
            self._stop()
            return
        self._inference.on(Event.LEFT_BILLED)
        if self._gate is not None:
            self._gate.set()
        for part in self._parts:
            if not part.drains:
                part.watch.leave()
        self._drain = self._loop.call_later(self._relay.left_drain_s, self._stop)

    def _stop(self) -> None:
        """Stop waiting for any upstream."""
        self._left = True
        for part in self._parts:
            part.watch.leave()

    async def _serve(self) -> None:
        if self._left:
            raise CallerLeft
        self._reply.headers = self._headers()
        streams = self._call.chat.stream
        if streams:
            self._reply.keep_alive()
        whole = None if streams else self._call.form.open_whole(self._head(), self._call.chat)
        try:
            if len(self._parts) == 1:
                await self._run(self._first, whole)
            else:
                await run_together([self._run_beside_others(part, whole) for part in self._parts], self._stop)
        except PartFailedError as failed:
            await self._end_failed(failed.event, failed.failure, failed.part)
            return
        if self._draining and self._to_end:  # what was not billed to its end has been cut
            await self._settle(Event.DRAIN_OVER, Flag.CUT)
        elif whole is None:
            await self._end_stream()
        else:
            await self._reply.respond(whole.with_usage(await self._settle(Event.COMPLETED)))

    async def _run_beside_others(self, part: Part, whole: Whole | None) -> None:
        """Run one of several parts, in its own task."""
        part.watch.begin()
        try:
            await self._run(part, whole)
        except CallerLeft:
            if self._left:
                raise  # else this part only was cut, and the others are drained

    async def _run(self, part: Part, whole: Whole | None) -> None:
        """Send a part, and take its answer to its end."""
        failure = await part.dispatch.send(self._hold)
        if failure is not None:
            raise PartFailedError(part, Event.NO_TRY_LEFT, failure)
        part.note_first_byte()
        if self._inference.answered:
            self._note_first_byte()
        elif self._gate is not None and not self._gate.is_set():
            await part.watch.until(self._gate.wait())
        await (self._stream(part) if whole is None else self._read(part, whole))
        part.ended = True
        self._to_end -= 1
        if part.failure is None and part.relayed is not None:
            if self._to_end:
                await self._reply.write(part.relayed.release())
            else:
                self._last = part.relayed

    def _note_first_byte(self) -> None:
        """Take note that each part has its first byte: from now on the caller may see something."""
        self._first_byte_s = self._elapsed_s()
        for part in self._parts:
            if part.dispatch.sending.try_:
                self._reply.headers = self._headers()  # another upstream may have another floor
                break
        if self._gate is not None:
            self._gate.set()

    async def _stream(self, part: Part) -> None:
        """Pass frames on as they come, but for the last."""
        relayed = self._call.form.open_stream(self._head(), part.number, part.request, part.tally)
        failure = await part.pass_on(relayed, self._reply.write)
        if relayed.done:
            return
        if not any(other.relayed is not None and other.relayed.begun for other in self._parts):
            raise part.blame()
        part.dispatch.warn(failure)
        part.failure = failure

    async def _read(self, part: Part, whole: Whole) -> None:
        """Take a whole answer."""
        try:
            body = await part.read_all(len(self._parts))
            whole.take(part.number, body, part.tally)
        except (SendingError, UnusableAnswerError):
            raise part.blame() from None

    async def _end_stream(self) -> None:
        """Settle; then let the caller see the end."""
        dead = [part for part in self._parts if part.failure is not None]
        if dead and dead[0].failure is not None and dead[0].relayed is not None:
            usage = await self._settle(Event.DIED, Flag.CUT)
            refusal = refusal_of(dead[0].failure._replace(code=Code.UPSTREAM_INTERRUPTED, message=None))
            rest = b"" if self._last is None else self._last.release()
            await self._reply.end(rest + dead[0].relayed.interrupt(self._relay.render_error(refusal), usage))
            return
        usage = await self._settle(Event.COMPLETED)
        assert self._last is not None
        await self._reply.end(self._last.end(usage))
        await release_connections(self._parts)

    # --- endings -----------------------------------------------------------------------------------------------

    async def _settle(self, event: Event, flags: Flag = Flag(0)) -> bytes:  # noqa: B008  (an immutable constant)
        """Charge for the answer, durably; return the caller's `usage`."""
        reported = self._inference.means(event) is Money.SETTLE_REPORTED
        usage, report, ends = charge_parts(self._parts, flags, reported=reported, drained=self._draining)
        cost, flags = await self._end_once(self._relay.ledger.settle(self._hold, ends[-1], usage, ends[:-1]))
        self._inference.on(event)
        self._log_end(event, usage.prompt_tokens, usage.completion_tokens, cost.total)
        return render_usage(usage, cost, flags, report)

    async def _void(self, event: Event, failure: Failure | None, failed: Part | None = None) -> None:
        """Give the hold back, durably; the other parts of one that failed may have cost something too."""
        reason = event.name.lower() if failure is None else f"{event.name.lower()}: {failure.code.value}"
        ends = lose_parts(self._parts, failure, failed)
        await self._end_once(self._relay.ledger.void(self._hold, ends[-1], reason, ends[:-1]))
        self._inference.on(event)
        self._log_end(event, 0, 0, 0)

    async def _end_once(self, ending: Awaitable[T]) -> T:
        """Remember that an ending is on its way to the disk, unless the books refuse it: then there is none yet."""
        self._ending = True
        try:
            return await ending
        except InvariantBrokenError:
            self._ending = False
            raise

    async def _end_failed(self, event: Event, failure: Failure, part: Part) -> None:
        """Give the hold back and tell the caller why.

        Raises:
            Refusal: Nothing has been sent to the caller yet.
        """
        await self._void(event, failure, part)
        refusal = refusal_of(failure, self._inference.id)
        if not self._reply.started:
            raise refusal
        await self._reply.end_with_error(refusal)

    async def _end_without_caller(self) -> None:
        """Charge for what was received, or for nothing if nothing was sent."""
        if self._ending or not self._inference.is_open:
            return
        if self._inference.state is State.HELD:
            await self._void(Event.CALLER_LEFT, None)
        else:
            await self._settle(Event.DRAIN_OVER if self._draining else Event.CALLER_LEFT, Flag.CUT)

    async def _end_after_defect(self) -> None:
        """If a defect of ours is on its way up, leave no money held; and no charge for an answer that nobody saw."""
        if self._ending or not self._inference.is_open:
            return
        if self._reply.started or self._inference.state is State.HELD or self._draining:
            await self._end_without_caller()
        else:
            await self._void(Event.NO_TRY_LEFT if self._inference.state is State.SENT else Event.UNUSABLE, UNUSABLE)

    async def _end_cut(self) -> None:
        """Break the call off while its caller is still there: what the caller has seen is charged, nothing else.

        Raises:
            Refusal: Nothing has been sent to the caller yet.
        """
        code, told, usage = Code.NETWORK_UNAVAILABLE, "nothing was charged", None
        if self._ending or not self._inference.is_open:
            code, told = Code.UPSTREAM_INTERRUPTED, "it may be charged or not"
        elif self._inference.state is State.STREAMING and self._reply.started:
            usage = await self._settle(Event.DIED, Flag.CUT)
            code, told = Code.UPSTREAM_INTERRUPTED, "what had come until then was charged"
        else:
            await self._void(Event.STOPPED, None if self._inference.state is State.HELD else LOST)
        retry_after_s = 1 if code is Code.NETWORK_UNAVAILABLE else None
        message = f"The gateway is stopping and has broken this call off; {told}."
        if (why := self._why) is not None:
            code, retry_after_s, message = why.code, None, f"{why.message} This call was broken off; {told}."
        refusal = Refusal(code, message, retry_after_s=retry_after_s, inference=self._inference.id)
        if not self._reply.started:
            raise refusal
        await self._reply.end_with_error(refusal, usage)

    async def _end_without_store(self, error: StoreUnavailableError) -> None:
        """Tell the caller; a hold stays open and expires at the next start.

        Raises:
            Refusal: Nothing has been sent to the caller yet.
        """
        self._inference.on(Event.STORE_FAILED)
        request_id, inference = self._call.request_id, self._inference.id
        _log.error("store failed", request_id=request_id, inference=inference, detail=str(error))
        told = "it may be charged or not" if self._inference.is_open else "it was not sent and is not charged"
        message = f"The gateway's books cannot be written now, so this call has ended here; {told}."
        refusal = Refusal(Code.STORE_UNAVAILABLE, message, retry_after_s=STORE_RETRY_AFTER_S, inference=inference)
        if not self._reply.started:
            raise refusal
        await self._reply.end_with_error(refusal)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-inference-id", self._inference.id.encode()), *self.share.headers()]
        floor, flat = 1, False
        for part in self._parts:
            target = part.dispatch.target
            floor, flat = max(floor, target.tokens_floor), flat or target.flattens
        if changes := self._first.outgoing.changes(floor, flat=flat):
            headers.append((b"x-tallygate-changes", changes.encode()))
        return headers

    def _head(self) -> Head:
        return Head(self._inference.id, self._call.card.id, self._relay.time_s())

    def _elapsed_s(self) -> float:
        return self._loop.time() - self._begun_s

    def _log_end(self, event: Event, prompt_tokens: int, completion_tokens: int, picousd: int) -> None:
        sending, first_byte_s, total_s = self._first.dispatch.sending, self._first_byte_s, self._elapsed_s()
        outcome, state = event.name.lower(), self._inference.state.value
        self.share.end(prompt_tokens + completion_tokens)
        ended = CallEnd(self._call.card.id, outcome, state, self._overhead_s, first_byte_s, total_s)
        self._relay.meter.call_ended(ended)
        _log.info(
            "inference ended",
            request_id=self._call.request_id,
            inference=self._inference.id,
            key=self._call.key.id,
            model=self._call.card.id,
            upstream=sending.upstream,
            node=sending.node,
            parts=len(self._parts),
            attempts=sum([part.dispatch.sending.try_ + 1 for part in self._parts]),
            outcome=outcome,
            state=state,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_usd=format_usd(picousd),
            first_byte_ms=None if first_byte_s is None else round(first_byte_s * 1000),
            total_ms=round(total_s * 1000),
        )
