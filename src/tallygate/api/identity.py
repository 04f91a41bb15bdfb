"""Who a caller is, and how it stands: a key's status, its limits and its balance, in the shapes that callers know.

`/v1/test-auth` is Gonka Broker's, `/api/v1/whoami` GonkaGate's. Neither counts against any limit, and both answer at a
balance of zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.http import Access, Response, Route
from tallygate.api.problems import PROBLEMS
from tallygate.core.access import status_of
from tallygate.core.calendar import show_milliseconds
from tallygate.core.errors import Refusal
from tallygate.core.limits import render_reset
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.ledger.records import Account
    from tallygate.core.ledger.spending import Budget
    from tallygate.core.limits import Rate, Standing
    from tallygate.ports import Ledger
    from tallygate.ports.limiter import Limiter
    from tallygate.relay import Sink


class IdentityApi:
    """The routes that tell a caller about its own key.

    Args:
        callers: Tells who asks.
        ledger: The books, for balances and what is spent.
        limiter: Tells what is left of the limits.
        now_ns: Wall clock in nanoseconds.
        low_picousd: A balance below this is called low; None calls none so but one of nothing.
    """

    def __init__(
        self,
        callers: Callers,
        ledger: Ledger,
        limiter: Limiter,
        now_ns: Callable[[], int],
        low_picousd: int | None = None,
    ) -> None:
        self._callers = callers
        self._ledger = ledger
        self._limiter = limiter
        self._now_ns = now_ns
        self._low_picousd = low_picousd or 1

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route("GET", "/v1/test-auth", self.key_status, "The caller's key: its status, limits and balance."),
            # Its own refusal of a bad key has a shape of its own.
            Route("GET", "/api/v1/whoami", self.whoami, "The same in GonkaGate's shape.", access=Access.TELLS),
        )

    async def key_status(self, request: Request, _: Sink) -> Response:
        """Describe the caller's key and what it may do now."""
        key = self._callers.authenticate(request)
        account = self._ledger.account(key.account)
        standing = await self._limiter.standing(key, account)
        budgets = self._ledger.budgets(key.account, key.id, (standing.key, standing.account))
        return Response.json(
            {
                "ok": True,
                "status": status_of(key, account, self._now_ns()).value,
                "key": {"id": key.id, "name": key.name, "prefix": key.masked.partition("…")[0]},
                "settings": {
                    "maxRpm": _tightest(standing, "requests_per_minute"),
                    "maxTpm": _tightest(standing, "tokens_per_minute"),
                    "maxConcurrent": _tightest(standing, "concurrent_requests"),
                },
                "limits": {
                    "requests": _describe_rate(standing.rates.requests),
                    "tokens": _describe_rate(standing.rates.tokens),
                    "under_way": standing.under_way,
                    "spend": list(_describe_budgets(budgets)),
                },
                "balance": self._describe_balance(account),
            }
        )

    async def whoami(self, request: Request, _: Sink) -> Response:
        """Describe the caller's key and account; also what goes wrong has GonkaGate's shape here."""
        now_ns = self._now_ns()
        try:
            key = self._callers.authenticate(request)
        except Refusal as refusal:
            return _refuse(request, refusal, now_ns)
        account = self._ledger.account(key.account)
        user = {"emailMasked": _mask_name(account.name), "emailVerified": True}
        api_key = {
            "name": key.name,
            "maskedKey": key.masked.replace("…", "..."),
            "status": status_of(key, account, now_ns).value,
            "expiresAt": None if key.expires_ns is None else show_milliseconds(key.expires_ns),
            "lastUsed": None,
        }
        data = {"user": user, "apiKey": api_key, "balance": self._describe_balance(account)}
        return Response.json({"success": True, "data": data})

    def _describe_balance(self, account: Account) -> dict[str, str]:
        is_suspended = account.suspended or account.balance < 0
        status = "suspended" if is_suspended else "low" if account.balance < self._low_picousd else "active"
        return {"usd": format_usd(account.balance), "status": status}


def _tightest(standing: Standing, name: str) -> int | None:
    """Return the limit that is enforced: of the key's and its account's, the one that is reached first."""
    limits = (getattr(standing.key, name), getattr(standing.account, name))
    return min((limit for limit in limits if limit is not None), default=None)


def _describe_rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {"limit": rate.limit, "remaining": rate.remaining, "reset": render_reset(rate.reset_s)}


def _describe_budgets(budgets: Sequence[Sequence[Budget]]) -> Iterator[dict[str, str]]:
    for subject, own in zip(("key", "account"), budgets, strict=True):
        for period, limit, spent, held in own:
            if limit is not None:
                yield {
                    "of": subject,
                    "limit": period.value,
                    "limit_usd": format_usd(limit),
                    "spent_usd": format_usd(spent),
                    "held_usd": format_usd(held),
                }


def _mask_name(name: str) -> str:
    """Return an account's name with its first and last character only, since there is no e-mail address."""
    return f"{name[:1]}**{name[-1:]}"


def _refuse(request: Request, refusal: Refusal, now_ns: int) -> Response:
    status = PROBLEMS[refusal.code].status
    error = {
        "message": "Unauthorized" if status == 401 else refusal.message,
        "code": refusal.code.value,
        "statusCode": status,
        "requestId": request.id,
        "timestamp": show_milliseconds(now_ns),
    }
    return Response.json({"success": False, "error": error}, status)
