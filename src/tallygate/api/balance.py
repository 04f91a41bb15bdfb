"""What the caller's account has; its proof is in `proofs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.api.http import Response, Route
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.ledger.records import Account
    from tallygate.ports import Ledger
    from tallygate.relay import Sink


class BalanceApi:
    """The route of the balance.

    Args:
        callers: Tells who asks.
        ledger: The books.
    """

    def __init__(self, *, callers: Callers, ledger: Ledger) -> None:
        self._callers = callers
        self._ledger = ledger

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (Route("GET", "/v1/balance", self.balance, "What the caller's account has, and what of it is held."),)

    async def balance(self, request: Request, _: Sink) -> Response:
        """Tell the balance of the account that the caller's key draws on."""
        return Response.json(describe_balance(self._ledger.account(self._callers.authenticate(request).account)))


def describe_balance(account: Account) -> dict[str, str]:
    """Return an account's money as exact texts: balance = available + held."""
    return {
        "balance_usd": format_usd(account.balance),
        "available_usd": format_usd(account.available),
        "held_usd": format_usd(account.held),
    }
