"""What callers may do in a time and at a time, as a port: the relay asks it before it sets money aside for a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.errors import Refusal
    from tallygate.core.ledger.records import Account
    from tallygate.core.limits import Limits, Rates, Standing


class Permit(Protocol):
    """What one call has taken of the limits of its key and its account. It ends once; another end changes nothing."""

    @property
    def spend_limits(self) -> tuple[Limits, Limits] | None:
        """The limits in force, of the key and of its account; None where neither limits what is spent."""

    @property
    def rates(self) -> Rates:
        """What is left of the limits per minute now."""

    def end(self, tokens: int | None) -> None:
        """Let go of what counts only while a call is under way; its tokens count as used, or as bounded if unknown."""

    def cancel(self) -> None:
        """Give back all that was taken: the call was refused after all."""


class Limiter(Protocol):
    """Counts requests, tokens and calls under way against the limits of keys and accounts."""

    async def admit(self, key: ApiKey, account: Account, tokens: int) -> Permit:
        """Take a call's share of all limits, or of none; `tokens` is the most that it can use.

        Raises:
            Refusal: A limit is reached, or there are too few tokens left (429).
        """

    async def foresee(self, key: ApiKey, account: Account, tokens: int) -> Refusal | None:
        """Return why a call would not be admitted now, or None; takes nothing."""

    async def standing(self, key: ApiKey, account: Account) -> Standing:
        """Return how a key stands; takes nothing."""
