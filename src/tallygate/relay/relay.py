"""What calls have in common, and how many there are: begins each one's life, waits for all, breaks them off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tallygate.core.access import check_model
from tallygate.core.counting import TokenCounter
from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import already_charged, in_progress
from tallygate.relay.life import Life
from tallygate.relay.replay import Replays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tallygate.core.access import ApiKey
    from tallygate.core.counting import Tokenizer
    from tallygate.core.idempotency import Claim
    from tallygate.core.tags import Tags
    from tallygate.ports import Ledger, Upstreams
    from tallygate.ports.limiter import Limiter
    from tallygate.ports.meter import Meter
    from tallygate.relay.call import Call
    from tallygate.relay.reply import Sink


class Relay:
    """What calls have in common: the ledger, the ways to the network, and the settings.

    Args:
        ledger: The books.
        limiter: What callers may do in a time, and at a time.
        upstreams: Where calls can be sent.
        meter: Counts what becomes of them.
        mint_id: Returns a new inference id.
        time_s: Wall clock in seconds, for `created`.
        render_error: Renders a refusal as the JSON of an `error` member.
        tags: Makes references of what calls are attributed to.
        temperature: Sent when the caller names none; None sends none.
        keep_alive_s: After so long without a byte, a streaming caller gets a comment.
        calls_max: How many calls may be under way at a time.
        tokenizers: By model id, what counts its tokens where nobody tells them.
        left_drain_s: How long an answer is still read whose caller has left, where it is billed to its end anyway.
        shrinks: Whether a call that names no `max_tokens` gets fewer where the money does not pay for the default.

    Attributes:
        replays: The answers that can be given again to callers with idempotency keys.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        limiter: Limiter,
        upstreams: Upstreams,
        meter: Meter,
        mint_id: Callable[[], str],
        time_s: Callable[[], int],
        render_error: Callable[[Refusal], bytes],
        tags: Tags,
        temperature: float | None = 0.7,
        keep_alive_s: float = 15.0,
        calls_max: int = 5000,
        left_drain_s: float = 30.0,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        shrinks: bool = False,
    ) -> None:
        self.ledger = ledger
        self.limiter = limiter
        self.upstreams = upstreams
        self.meter = meter
        self.mint_id = mint_id
        self.time_s = time_s
        self.render_error = render_error
        self.tags = tags
        self.temperature = temperature
        self.keep_alive_s = keep_alive_s
        self.left_drain_s = left_drain_s
        self.shrinks = shrinks
        self.replays = Replays(asyncio.get_running_loop().time)
        self.stopping = False
        self._calls_max = calls_max
        self._tokenizers = tokenizers or {}
        self._counters: dict[str, TokenCounter] = {}
        self._under_way: dict[Life, ApiKey] = {}  # in the order of their arrival, each with its key as it was then
        self._quiet: asyncio.Future[None] | None = None

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return len(self._under_way)

    @property
    def inferences(self) -> frozenset[str]:
        """The inferences of the calls under way: the only holds that have an owner."""
        return frozenset(life.inference for life in self._under_way)

    async def relay(self, call: Call, sink: Sink) -> None:
        """Take a call through its life, or give its answer again; everything that the caller sees goes to the sink.

        Raises:
            Refusal: The call was refused, or failed before anything had been sent to the caller.
        """
        self.check_room()
        check_model(call.key, call.card.id)
        if call.claim is not None and await self._replay(call.key, call.claim, sink):
            return
        life = Life(self, call, sink)
        self._under_way[life] = call.key
        try:
            await life.live()
        except Refusal as refusal:
            life.share.tell(refusal)
            raise
        finally:
            life.share.leave()
            del self._under_way[life]
            if self._quiet is not None and not self._under_way and not self._quiet.done():
                self._quiet.set_result(None)

    def counter(self, model: str) -> TokenCounter:
        """Return what counts a model's tokens where nobody tells them; it learns from call to call."""
        counter = self._counters.get(model)
        if counter is None:
            counter = self._counters[model] = TokenCounter(self._tokenizers.get(model))
        return counter

    async def _replay(self, key: ApiKey, claim: Claim, sink: Sink) -> bool:
        """Give the answer again that an idempotency key stands for; return whether there was one.

        Raises:
            Refusal: It stands for another request, for a call that is under way, or for an answer that is gone.
        """
        known = await self.ledger.find_claim(claim)
        if known is None:
            return False
        if known.picousd is None or self.replays.is_under_way(known.subject):
            raise in_progress(known)
        standing = await self.limiter.standing(key, self.ledger.account(key.account))
        if not await self.replays.replay(known.subject, sink, standing.rates.headers()):
            raise already_charged(known)
        return True

    def check_room(self) -> None:
        """Refuse (503) when the gateway is stopping, or as many calls are under way as may be."""
        if self.stopping:
            raise Refusal(Code.NETWORK_UNAVAILABLE, "This gateway is stopping; try again.", retry_after_s=1)
        if len(self._under_way) >= self._calls_max:
            raise Refusal(Code.NETWORK_UNAVAILABLE, "This gateway is full; try again.", retry_after_s=1)

    async def wait_until_quiet(self, deadline_s: float) -> bool:
        """Wait until no call is under way, but no longer than this; return whether none is."""
        if self._under_way:
            self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._quiet], timeout=deadline_s)
        return not self._under_way

    def cut(self) -> None:
        """Break off every call under way: what callers have seen of an answer is charged, and they are told."""
        for life in tuple(self._under_way):
            life.cut()

    def cut_calls(self, judge: Callable[[ApiKey], Refusal | None]) -> None:
        """Break off the calls under way whose key may not call any more, for the reason that `judge` gives."""
        for life, key in tuple(self._under_way.items()):
            if (why := judge(key)) is not None:
                life.cut(why)
