"""Sends a part of an inference until the first byte of an answer comes, as far as the retry table allows.

Every sending is in the books before it leaves: the first one with the hold, a further one by an entry that is
written first and not waited for. A sending that failed stays with the operator, priced at the most that the network
may have billed for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from tallygate.core.inference import State
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import Sending, SendingEnd
from tallygate.core.retry import LOST, Failure, Retry, SendingError, judge_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.bounding import Outgoing
    from tallygate.core.inference import Inference, Part
    from tallygate.core.ledger.records import Hold
    from tallygate.core.standing import End
    from tallygate.core.usage import Tally
    from tallygate.ports import Answer, Ledger, Target
    from tallygate.ports.meter import Meter
    from tallygate.relay.watch import Watch

TRIES_MAX: Final = 8
"""No part of an inference is sent more often than this, however many nodes there are."""

ERROR_BYTES_MAX: Final = 64 * 1024
"""How much of an error answer is read."""

_ODD: Final = int(Flag.USAGE_IMPLAUSIBLE | Flag.USAGE_MISSING)
"""A place was asked for its usage, and has told none, or one that cannot be true."""

_log = structlog.get_logger()


class Dispatch:
    """The sendings of one part of an inference; what may be tried again is counted for each part by itself.

    Args:
        inference: The whole.
        part: Where this part of it is.
        number: Which part it is.
        outgoing: What is sent.
        places: Where it can be sent, best first.
        tally: Has the part's bounds.
        watch: Whether there is a caller.
        ledger: The books.

    Attributes:
        sending: The last one.
        target: Where it went.
        answer: Its answer, once the headers are in.
        first: The first bytes of that answer's body.
        reference: The upstream's own id of the last sending, as soon as it is known.
    """

    def __init__(
        self,
        inference: Inference,
        part: Part,
        number: int,
        outgoing: Outgoing,
        places: Sequence[tuple[Target, str]],
        tally: Tally,
        watch: Watch,
        ledger: Ledger,
        meter: Meter,
    ) -> None:
        self.target = places[0][0]
        self.sending = Sending(number, 0, self.target.upstream, self.target.node)
        self.answer: Answer | None = None
        self.first = b""
        self.reference: str | None = None
        self._inference = inference
        self._part = part
        self._outgoing = outgoing
        self._tally = tally
        self._place, *self._others = places
        self._watch = watch
        self._ledger = ledger
        self._meter = meter
        self._rate = self.target.rates.of(self._place[1])
        self._risk_used = False
        self._none_well = self.target.is_out  # those that are left out for now come only where there are no others

    async def send(self, hold: Hold) -> Failure | None:
        """Send until a first byte comes; return the last failure if none does.

        Raises:
            CallerLeft: The caller left meanwhile, and we do not read on.
        """
        fresh = False
        if self.target.is_out and not self._none_well and (following := self._find_well()) is not None:
            self._go_on(hold, following, 0)  # left out, or another call's to probe, since this one has begun
        while (failure := await self._try(fresh=fresh)) is not None:
            failure = self.target.report(failure)
            self.warn(failure)
            following = self._next_place(failure)
            if following is None:
                return failure
            self._go_on(hold, following, self.possible_bill(failure))
            fresh = failure.retry is Retry.FRESH
        self._meter.sending_answered(self.sending.upstream, self.sending.node)
        return None

    def conclude(self, end: End, flags: int = 0) -> None:
        """Tell the place how its answer ended, and whether the usage that it reported can be true."""
        if self.answer is not None:
            self.answer.conclude(end, self._tally.compared(), is_odd=bool(flags and flags & _ODD))

    def possible_bill(self, failure: Failure) -> int:
        """Return what the network may have billed for the last sending, in ngonka, at most."""
        if not failure.charged:
            return 0
        if failure.message is not None:
            return self.bill(1, 0)  # a node records what its engine refuses as one prompt token
        return self.bill(self._tally.prompt_tokens_max, self._tally.completion_tokens_max)

    def bill(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return what the upstream bills for so many tokens of the last sending, in ngonka."""
        return self._rate.bill(prompt_tokens, completion_tokens)

    def let_go(self) -> None:
        """Let go of the last answer's connection, unless its body has been read to the end."""
        if self.answer is not None:
            self.answer.abandon()
            self.answer = None

    def warn(self, failure: Failure) -> None:
        """Log a failed sending, and count it; one that the operator has to mend is an error."""
        self._meter.sending_failed(self.sending.upstream, self.sending.node, failure)
        log = _log.error if failure.alarm else _log.warning
        log(
            "sending failed",
            inference=self._inference.id,
            upstream=self.sending.upstream,
            node=self.sending.node,
            part=self.sending.part,
            attempt=self.sending.try_,
            detail=failure.detail,
            retry=failure.retry.name.lower(),
        )

    async def _try(self, *, fresh: bool) -> Failure | None:
        """Send once and wait for the first byte; return what went wrong, if anything."""
        target, name = self._place
        self._rate = target.rates.of(name)  # the network's price, too, is that of an inference's start
        self.reference, said = None, b""
        try:
            body = self._outgoing.body(name, target.tokens_floor, flat=target.flattens)
            sending = target.send(body, fresh=fresh, streams=self._outgoing.streams, on_sent=self._note_sent)
            self.answer = answer = await self._watch.until(sending)
            self.reference = answer.reference
            if answer.status == 200:
                self.first = await self._watch.until(answer.read())
                return None if self.first else LOST
            said = await self._watch.until(answer.read_all(ERROR_BYTES_MAX))
        except SendingError as error:
            if self.answer is None or self.answer.status == 200:
                return error.failure
        return judge_status(self.answer.status, self.answer.headers, said, signed=target.signed)

    def _go_on(self, hold: Hold, following: tuple[Target, str], bill: int) -> None:
        """End this sending in the books, with what the network may have billed for it, and begin one elsewhere."""
        self._part.try_failed()
        self._ledger.end_attempt(hold, SendingEnd(self.sending, 0, 0, bill, self.reference))
        self.let_go()
        self._place = following
        self.target = following[0]
        self.sending = Sending(self.sending.part, self.sending.try_ + 1, self.target.upstream, self.target.node)
        self._ledger.begin_attempt(hold, self.sending)

    def _note_sent(self, reference: str | None) -> None:
        self.reference = reference
        self._part.dispatched()

    def _next_place(self, failure: Failure) -> tuple[Target, str] | None:
        """Return where the retry table and the retry budget let us send next, or None."""
        following = self._find_place(failure)
        if following is not None and not self.target.take_retry():
            _log.warning("retry budget is used up", inference=self._inference.id, upstream=self.target.upstream)
            return None
        return following

    def _find_place(self, failure: Failure) -> tuple[Target, str] | None:
        """Return where the retry table lets us send next, or None."""
        retry, upstream = failure.retry, self.target.upstream
        if self._inference.state is State.DRAINING:
            return None  # nobody waits for an answer, and another sending could only cost more
        if retry is Retry.NEVER or self.sending.try_ + 1 >= TRIES_MAX:
            return None
        if failure.charged:
            if self._risk_used:
                return None
            self._risk_used = True
        if retry is Retry.UPSTREAM:
            self._others = [place for place in self._others if place[0].upstream != upstream]
        if retry is Retry.FRESH:  # nothing is wrong with this upstream, so no other one is asked for it
            return self._find_well(upstream) or self._place
        return self._find_well()

    def _find_well(self, upstream: str | None = None) -> tuple[Target, str] | None:
        """Return the next place that is not left out, of one upstream if it is named; it is not returned again."""
        able = [place for place in self._others if self._none_well or not place[0].is_out]
        if upstream is not None:
            able = [place for place in able if place[0].upstream == upstream]
        if not able:
            return None
        # The order is as old as the call, and a call that has failed is not to meet what has fallen silent since.
        equals = [place for place in able if place[0].upstream == able[0][0].upstream]
        following = min(equals, key=lambda place: place[0].standing.load)
        self._others.remove(following)
        return following
