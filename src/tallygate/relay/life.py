"""A call from its hold to its ending.

Invariants: there is one ending, on its way to the disk at most once (`_ending`); the hold is durable before anything is
sent; the charge is durable before the caller sees the end; whatever is raised, no money stays set aside that the store
could still give back.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.core.answers import Completion, UnusableAnswerError, render_usage
from tallygate.core.bounding import Outgoing
from tallygate.core.errors import STORE_RETRY_AFTER_S, Code, InvariantBrokenError, Refusal, StoreUnavailableError
from tallygate.core.inference import Event, Inference, Money, State
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import HoldRequest, SendingEnd
from tallygate.core.money import format_usd
from tallygate.core.retry import GARBLED, LOST, UNUSABLE, Failure, SendingError, refusal_of
from tallygate.core.sse import EventParser, EventTooLargeError
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally
from tallygate.meter import CallEnd
from tallygate.relay.dispatch import Dispatch
from tallygate.relay.replay import Recorder
from tallygate.relay.reply import Reply
from tallygate.relay.watch import CallerLeft, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.access import ApiKey
    from tallygate.core.bounding import ModelCard
    from tallygate.core.idempotency import Claim
    from tallygate.core.ledger.records import Hold
    from tallygate.core.openai import ChatRequest
    from tallygate.relay.relay import Relay
    from tallygate.relay.reply import Sink

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest unstreamed answer that is read; thousands of tokens with their forced logprobs stay far below it."""

REST_BYTES_MAX: Final = 4096
REST_S_MAX: Final = 1.0
"""How much may come after `[DONE]`, and for how long: nothing should, but the end of the body."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """A checked request of an authenticated caller.

    Attributes:
        request_id: Ours, `req_…`.
        key: The caller's key.
        chat: What was asked.
        card: The model that was asked.
        claim: What the call comes with if it has an idempotency key.
    """

    request_id: str
    key: ApiKey
    chat: ChatRequest
    card: ModelCard
    claim: Claim | None = None


class Life:
    """One call on its way."""

    def __init__(self, relay: Relay, call: Call, sink: Sink) -> None:
        places = relay.upstreams.targets(call.card.id)
        if not places:
            raise Refusal(Code.NETWORK_UNAVAILABLE, "No upstream for this model can be used now.", retry_after_s=5)
        self.watch = Watch()
        self._relay = relay
        self._call = call
        self._inference = Inference(relay.mint_id())
        self._outgoing = Outgoing(call.chat, call.card, relay.temperature)
        floors: dict[str, int] = {}
        for target, name in places:
            floors[name] = max(floors.get(name, 1), target.tokens_floor)
        self._bounds = self._outgoing.bounds(floors)
        self._shrink = self._outgoing.shrink(floors) if relay.shrinks else None
        self._tally = Tally(
            call.chat.prompt_bytes,
            *self._bounds,
            call.chat.choices,
            counter=relay.counter(call.card.id),
            prompt_texts=call.chat.texts,
        )
        self._dispatch = Dispatch(self._inference, self._outgoing, places, self.watch, relay.ledger, relay.meter)
        self._recorder = None if call.claim is None else Recorder(relay.replays, self._inference.id, sink)
        self._reply = Reply(self._recorder or sink, relay.render_error, relay.keep_alive_s)
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._overhead_s: float | None = None
        self._first_byte_s: float | None = None
        self._hold: Hold
        self._ending = False  # once an ending is on its way to the disk, there must not be another
        self._cut = False
        self._why: Refusal | None = None  # why it was cut, where it is not that the gateway stops
        self._drain: asyncio.TimerHandle | None = None
        sink.on_leave(self._leave)

    async def live(self) -> None:
        """Hold, send, pass on, end."""
        call, bounds = self._call, self._bounds
        request = HoldRequest(
            self._inference.id,
            call.key.account,
            call.key.id,
            call.card.id,
            *bounds,
            self._dispatch.sending,
            shrink=self._shrink,
            claim=call.claim,
            tag=self._relay.tags.of_call(call.key.account, call.chat.members),
        )
        try:
            self._hold = hold = await self._relay.ledger.hold(request)
            self._inference.on(Event.HOLD_TAKEN)
            self._overhead_s = self._elapsed_s()
            if hold.completion_tokens_max < request.completion_tokens_max:
                self._outgoing.limit(hold.completion_tokens_max)
                self._tally.completion_tokens_max = hold.completion_tokens_max
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
            self._dispatch.let_go()
            self.watch.close()
            if self._relay.ledger.ready:
                await self._end_after_defect()

    def cut(self, why: Refusal | None = None) -> None:
        """Break the call off, though its caller is still there: the gateway stops, or its key may not call any more."""
        if why is not None and (self._cut or self._draining):
            return  # drained is read on for its bill, whoever's it is: nobody is served by it
        self._cut, self._why = True, why
        self.watch.leave()

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
        if not under_way or not self._dispatch.target.bills_to_end or not self._relay.left_drain_s:
            self.watch.leave()
            return
        self._inference.on(Event.LEFT_BILLED)
        self._drain = self._loop.call_later(self._relay.left_drain_s, self.watch.leave)

    async def _serve(self) -> None:
        if self.watch.has_left():
            raise CallerLeft
        self._reply.headers = self._headers()
        if self._call.chat.stream:
            self._reply.keep_alive()
        failure = await self._dispatch.send(self._hold)
        if failure is not None:
            await self._end_failed(Event.NO_TRY_LEFT, failure)
            return
        if self._dispatch.sending.try_:
            self._reply.headers = self._headers()  # another upstream may have another floor
        self._inference.on(Event.FIRST_BYTE)
        self._first_byte_s = self._elapsed_s()
        await (self._stream() if self._call.chat.stream else self._complete())

    async def _stream(self) -> None:
        """Pass frames on as they come; settle; then let the caller see the end."""
        chat = self._call.chat
        relayed = Relayed(
            self._inference.id,
            self._call.card.id,
            self._relay.time_s(),
            chat.choices,
            include_usage=chat.include_usage,
            tally=self._tally,
            logprobs=chat.logprobs,
        )
        failure = await self._pass_on(relayed)
        if relayed.done:
            await self._reply.end(relayed.end(await self._settle(Event.COMPLETED)))
            await self._release_connection()
        elif relayed.begun:
            self._dispatch.warn(failure)
            usage = await self._settle(Event.DIED, Flag.CUT)
            refusal = refusal_of(failure._replace(code=Code.UPSTREAM_INTERRUPTED, message=None))
            await self._reply.end(relayed.interrupt(self._relay.render_error(refusal), usage))
        else:
            await self._end_failed(Event.UNUSABLE, UNUSABLE)

    async def _pass_on(self, relayed: Relayed) -> Failure:
        """Pass frames on until the stream is done or has failed; return what to say if it has."""
        answer, parser = self._dispatch.answer, EventParser()
        assert answer is not None
        data = self._dispatch.first
        while data:
            failure = None
            try:
                events = parser.feed(data)
            except EventTooLargeError as error:
                events, failure = error.events, GARBLED
            if frames := relayed.feed(events):
                await self._reply.write(frames)
            if relayed.done or relayed.failed or failure is not None:
                return failure or GARBLED
            try:
                data = await self.watch.until(answer.read())
            except SendingError as error:
                return error.failure
        return LOST

    async def _complete(self) -> None:
        """Take the whole answer; settle; then answer."""
        answer = self._dispatch.answer
        assert answer is not None
        try:
            body = self._dispatch.first + await self.watch.until(answer.read_all(ANSWER_BYTES_MAX))
            model, logprobs, now_s = self._call.card.id, self._call.chat.logprobs, self._relay.time_s()
            completion = Completion(body, self._inference.id, model, now_s, self._tally, logprobs=logprobs)
        except (SendingError, UnusableAnswerError):
            await self._end_failed(Event.UNUSABLE, UNUSABLE)
            return
        await self._reply.respond(completion.with_usage(await self._settle(Event.COMPLETED)))

    async def _release_connection(self) -> None:
        """Read the end of the upstream's body, so that its connection can serve again."""
        answer = self._dispatch.answer
        assert answer is not None
        with contextlib.suppress(SendingError, CallerLeft, TimeoutError):
            async with asyncio.timeout(REST_S_MAX):
                rest = await self.watch.until(answer.read_all(REST_BYTES_MAX))
                if not rest:
                    return
        self._dispatch.let_go()

    # --- endings -----------------------------------------------------------------------------------------------

    async def _settle(self, event: Event, flags: Flag = Flag(0)) -> bytes:  # noqa: B008  (an immutable constant)
        """Charge for the answer, durably; return the caller's `usage`."""
        money = self._inference.means(event)
        if self._draining and event is not Event.DRAIN_OVER:
            flags |= Flag.DRAINED
        usage = self._tally.counted(flags) if money is Money.SETTLE_COUNTED else self._tally.usage(flags)
        dispatch = self._dispatch
        bill = dispatch.target.rate.bill(usage.prompt_tokens, usage.completion_tokens)
        end = SendingEnd(dispatch.sending, usage.prompt_tokens, usage.completion_tokens, bill, dispatch.reference)
        with self._ending_once():
            cost, flags = await self._relay.ledger.settle(self._hold, end, usage)
        self._inference.on(event)
        self._log_end(event, usage.prompt_tokens, usage.completion_tokens, cost.total)
        return render_usage(usage, cost, flags, self._tally.report)

    async def _void(self, event: Event, failure: Failure | None) -> None:
        """Give the hold back, durably."""
        dispatch = self._dispatch
        bill = 0 if failure is None else dispatch.possible_bill(failure, self._hold)
        reason = event.name.lower() if failure is None else f"{event.name.lower()}: {failure.code.value}"
        end = SendingEnd(dispatch.sending, 0, 0, bill, dispatch.reference)
        with self._ending_once():
            await self._relay.ledger.void(self._hold, end, reason)
        self._inference.on(event)
        self._log_end(event, 0, 0, 0)

    @contextlib.contextmanager
    def _ending_once(self) -> Iterator[None]:
        """Remember that an ending is on its way to the disk, unless the books refuse it: then there is none yet."""
        self._ending = True
        try:
            yield
        except InvariantBrokenError:
            self._ending = False
            raise

    async def _end_failed(self, event: Event, failure: Failure) -> None:
        """Give the hold back and tell the caller why.

        Raises:
            Refusal: Nothing has been sent to the caller yet.
        """
        await self._void(event, failure)
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
        headers = [(b"x-inference-id", self._inference.id.encode())]
        target = self._dispatch.target
        if changes := self._outgoing.changes(target.tokens_floor, flat=target.flattens):
            headers.append((b"x-tallygate-changes", changes.encode()))
        return headers

    def _elapsed_s(self) -> float:
        return self._loop.time() - self._begun_s

    def _log_end(self, event: Event, prompt_tokens: int, completion_tokens: int, picousd: int) -> None:
        sending, first_byte_s, total_s = self._dispatch.sending, self._first_byte_s, self._elapsed_s()
        outcome, state = event.name.lower(), self._inference.state.value
        self._relay.meter.call_ended(
            CallEnd(self._call.card.id, outcome, state, self._overhead_s, first_byte_s, total_s)
        )
        _log.info(
            "inference ended",
            request_id=self._call.request_id,
            inference=self._inference.id,
            key=self._call.key.id,
            model=self._call.card.id,
            upstream=sending.upstream,
            node=sending.node,
            attempts=sending.try_ + 1,
            outcome=outcome,
            state=state,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_usd=format_usd(picousd),
            first_byte_ms=None if first_byte_s is None else round(first_byte_s * 1000),
            total_ms=round(total_s * 1000),
        )
