"""One part of a call: a prompt that is sent by itself, what has come of it, and what that costs.

A chat completion has one part, a legacy completion one for each prompt. Nothing here knows of the caller or of the
other parts: `life` drives them, and ends them all together.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from tallygate.core.bounding import Outgoing
from tallygate.core.inference import Event, State
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import SendingEnd
from tallygate.core.pricing import BILL_NGONKA_MAX
from tallygate.core.retry import GARBLED, LOST, UNUSABLE, Failure, SendingError
from tallygate.core.sse import EventParser, EventTooLargeError
from tallygate.core.standing import End
from tallygate.core.usage import Tally, Usage, add_reports, add_usages
from tallygate.relay.dispatch import Dispatch
from tallygate.relay.watch import CallerLeft, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tallygate.core.bounding import ModelCard
    from tallygate.core.inference import Inference
    from tallygate.core.openai import ChatRequest
    from tallygate.core.streaming import Relayed
    from tallygate.ports import Answer, Target
    from tallygate.relay.relay import Relay

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest unstreamed answer that is read, of all parts together; thousands of tokens with their forced logprobs
stay far below it."""

REST_BYTES_MAX: Final = 4096
REST_S_MAX: Final = 1.0
"""How much may come after `[DONE]`, and for how long: nothing should, but the end of the body."""

NOTHING: Final = Usage(0, 0, Flag(0))
"""What is charged for a part that was not under way."""


class PartFailedError(Exception):
    """A part cannot be served, and with it the call cannot."""

    def __init__(self, part: Part, event: Event, failure: Failure) -> None:
        super().__init__(event.name)
        self.part = part
        self.event = event
        self.failure = failure


class Part:
    """One part of a call on its way.

    Args:
        number: Which one, from 0.
        inference: The whole.
        request: What is asked.
        card: The model that is asked.
        relay: What calls have in common.
        places: Where it can be sent, best first.
        floors: By the model's name there, the least `max_tokens` of every upstream where the call may go.

    Attributes:
        outgoing: What is sent.
        bounds: The most prompt and completion tokens that it can have.
        relayed: What its frames go through, once they come.
        ended: Whether its answer has ended, be it complete or dead.
        failure: Why a stream died that had begun.
    """

    __slots__ = (
        "_place",
        "bounds",
        "dispatch",
        "ended",
        "failure",
        "number",
        "outgoing",
        "relayed",
        "request",
        "tally",
        "watch",
    )

    def __init__(
        self,
        number: int,
        inference: Inference,
        request: ChatRequest,
        card: ModelCard,
        relay: Relay,
        places: Sequence[tuple[Target, str]],
        floors: Mapping[str, int],
    ) -> None:
        self.number = number
        self.request = request
        self.outgoing = Outgoing(request, card, relay.temperature)
        self.bounds = self.outgoing.bounds(floors)
        self.tally = Tally(
            request.prompt_bytes,
            *self.bounds,
            request.choices,
            counter=relay.counter(card.id),
            prompt_texts=request.texts,
        )
        self.watch = Watch()
        self._place = inference.begin_part()
        self.dispatch = Dispatch(
            inference, self._place, number, self.outgoing, places, self.tally, self.watch, relay.ledger, relay.meter
        )
        self.relayed: Relayed | None = None
        self.ended = False
        self.failure: Failure | None = None

    @property
    def under_way(self) -> bool:
        """Whether it may have cost something by now."""
        return self._place.state is not State.HELD

    @property
    def drains(self) -> bool:
        """Whether its answer is billed to its end, also if nobody reads it."""
        return self.under_way and self.dispatch.target.bills_to_end

    def limit(self, completion_tokens_max: int) -> None:
        """Take over a lower bound of the answer."""
        self.outgoing.limit(completion_tokens_max)
        self.tally.completion_tokens_max = completion_tokens_max

    # --- its answer ----------------------------------------------------------------------------------------------

    def note_first_byte(self) -> None:
        """Take note that the first byte of its answer has come."""
        self._place.answered()

    async def pass_on(self, relayed: Relayed, write: Callable[[bytes], Awaitable[None]]) -> Failure:
        """Pass frames on until the stream is done or has failed; return what to say if it has."""
        answer, parser = self._answer, EventParser()
        self.relayed = relayed
        data = self.dispatch.first
        while data:
            failure = None
            try:
                events = parser.feed(data)
            except EventTooLargeError as error:
                events, failure = error.events, GARBLED
            if frames := relayed.feed(events):
                await write(frames)
            if relayed.done or relayed.failed or failure is not None:
                return failure or GARBLED
            try:
                data = await self.watch.until(answer.read())
            except SendingError as error:
                return error.failure
        return LOST

    def blame(self) -> PartFailedError:
        """Take note that its answer cannot be used, which its place is told; return what to raise."""
        self.dispatch.conclude(End.UNUSABLE)
        return PartFailedError(self, Event.UNUSABLE, UNUSABLE)

    async def read_all(self, parts: int) -> bytes:
        """Return the whole body of an unstreamed answer, one of so many."""
        return self.dispatch.first + await self.watch.until(self._answer.read_all(ANSWER_BYTES_MAX // parts))

    async def release_connection(self, deadline_s: float) -> None:
        """Read the end of the upstream's body, so that its connection can serve again."""
        with contextlib.suppress(SendingError, CallerLeft, TimeoutError):
            async with asyncio.timeout_at(deadline_s):
                rest = await self.watch.until(self._answer.read_all(REST_BYTES_MAX))
                if not rest:
                    return
        self.dispatch.let_go()

    def close(self) -> None:
        """Let go of everything."""
        self.dispatch.let_go()
        self.watch.close()

    @property
    def _answer(self) -> Answer:
        answer = self.dispatch.answer
        assert answer is not None
        return answer

    # --- what it comes to ----------------------------------------------------------------------------------------

    def count(self, flags: Flag, *, reported: bool, drained: bool) -> Usage:
        """Return what is charged for it.

        Args:
            flags: What is special about how the call ends.
            reported: Whether its report is believed although its answer has not ended.
            drained: Whether its caller had left.
        """
        if not self.under_way:
            return NOTHING
        if self.ended and self.failure is None:
            return self.tally.usage(Flag.DRAINED) if drained else self.tally.usage()
        if drained and self.ended:
            flags |= Flag.DRAINED
        return self.tally.usage(flags) if reported or self.ended else self.tally.counted(flags)

    def charge(self, usage: Usage, parts: int) -> SendingEnd:
        """Return the end of its last sending, where the caller is charged for it."""
        bill = 0
        if self.ended:
            self.dispatch.conclude(End.WHOLE if self.failure is None else End.CUT, usage.flags)
        if self.under_way:
            bill = self.dispatch.bill(usage.prompt_tokens, usage.completion_tokens)
            bill = min(bill, BILL_NGONKA_MAX // parts)  # so that all bills of a call together fit an entry
        return SendingEnd(
            self.dispatch.sending,
            usage.prompt_tokens,
            usage.completion_tokens,
            bill,
            self.dispatch.reference,
            usage.flags,
        )

    def lose(self, failure: Failure | None) -> SendingEnd:
        """Return the end of its last sending, where the caller is charged for nothing; with what it may have cost."""
        bill = 0 if failure is None else self.dispatch.possible_bill(failure)
        return SendingEnd(self.dispatch.sending, 0, 0, bill, self.dispatch.reference)

    def lose_with_others(self) -> SendingEnd:
        """Return the same of a part that did nothing wrong: one that was not sent has cost nothing."""
        if self.ended and self.failure is None:
            usage = self.tally.usage()
            bill = self.dispatch.bill(usage.prompt_tokens, usage.completion_tokens)
            return SendingEnd(self.dispatch.sending, 0, 0, bill, self.dispatch.reference)
        return self.lose(LOST if self.under_way else None)


def add_bounds(parts: Sequence[Part]) -> tuple[int, int]:
    """Return the most prompt and completion tokens that all parts together can have."""
    prompt = completion = 0
    for part in parts:
        prompt += part.bounds[0]
        completion += part.bounds[1]
    return prompt, completion


def charge_parts(
    parts: Sequence[Part], flags: Flag, *, reported: bool, drained: bool
) -> tuple[Usage, Mapping[str, object] | None, Sequence[SendingEnd]]:
    """Return what all parts are charged for together, what was reported of it, and how each part ends; see `count`."""
    if len(parts) == 1:
        usage = parts[0].count(flags, reported=reported, drained=drained)
        return usage, parts[0].tally.report, [parts[0].charge(usage, 1)]
    usages = [part.count(flags, reported=reported, drained=drained) for part in parts]
    ends = [part.charge(usage, len(parts)) for part, usage in zip(parts, usages, strict=True)]
    return add_usages(usages), add_reports([part.tally.report for part in parts]), ends


def lose_parts(parts: Sequence[Part], failure: Failure | None, failed: Part | None) -> Sequence[SendingEnd]:
    """Return how each part ends where the caller is charged for nothing, because one of them failed or for none."""
    if len(parts) == 1:
        return [parts[0].lose(failure)]
    return [part.lose(failure) if part is failed else part.lose_with_others() for part in parts]


async def release_connections(parts: Sequence[Part]) -> None:
    """Read the ends of all bodies, so that their connections can serve again."""
    deadline_s = asyncio.get_running_loop().time() + REST_S_MAX
    for part in parts:
        await part.release_connection(deadline_s)
