"""A call's share of its caller's limits: taken before money is set aside for it, left when the call is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.errors import Refusal
    from tallygate.core.ledger.records import Hold, HoldRequest
    from tallygate.ports import Ledger
    from tallygate.ports.limiter import Limiter, Permit


class Share:
    """What one call takes of the limits of its key and its account.

    A call that was never held was never sent: it counts for nothing, as if it had not been made.

    Args:
        limiter: Where it is taken.
        ledger: Where money is set aside.
    """

    __slots__ = ("_is_held", "_ledger", "_limiter", "_permit")

    def __init__(self, limiter: Limiter, ledger: Ledger) -> None:
        self._limiter = limiter
        self._ledger = ledger
        self._permit: Permit | None = None
        self._is_held = False

    async def hold(self, key: ApiKey, request: HoldRequest) -> Hold:
        """Take a call's share, and set the money aside that it can cost.

        Raises:
            Refusal: A limit is reached (429), the money is not there, or the claim's key is taken.
        """
        tokens = request.prompt_tokens_max + request.completion_tokens_max
        self._permit = permit = await self._limiter.admit(key, self._ledger.account(key.account), tokens)
        limits = permit.spend_limits
        hold = await self._ledger.hold(request if limits is None else request._replace(limits=limits))
        self._is_held = True
        return hold

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell what is left of the limits."""
        return [] if self._permit is None else self._permit.rates.headers()

    def end(self, tokens: int) -> None:
        """Take note that the call has ended, and used so many tokens: before its caller knows, and calls again."""
        if self._permit is not None:
            self._permit.end(tokens)

    def leave(self) -> None:
        """Let go of all that a call has which was refused; of one without an ending, which counts as bounded."""
        if self._permit is None:
            return
        if self._is_held:
            self._permit.end(None)
        else:
            self._permit.cancel()

    def tell(self, refusal: Refusal) -> None:
        """Have a refusal tell what is left of the limits once the call has left."""
        self.leave()
        if self._permit is not None:
            refusal.rates = self._permit.rates
