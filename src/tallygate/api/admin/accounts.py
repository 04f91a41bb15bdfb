"""Accounts: opened, paid into, corrected, limited, closed for a while, told about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.descriptions import describe_account, describe_key
from tallygate.api.fields import read_amount, read_fields, read_name, read_words
from tallygate.api.http import Response, Route, read_idempotency_key
from tallygate.api.queries import read_strictly
from tallygate.api.statements import describe_line, describe_statement, read_month
from tallygate.api.terms import TERMS, read_limits
from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.statement import VOIDED
from tallygate.core.money import format_usd, parse_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.http import Fields, Request
    from tallygate.core.idempotency import Claim, Digests
    from tallygate.ports import Ledger
    from tallygate.ports.keyring import Keyring
    from tallygate.relay import Sink

ACTOR = "operator"
NEW_ACCOUNT: Final[Fields] = {"name": str}
DEPOSIT: Final[Fields] = {"usd": str, "reference": str}
CORRECTION: Final[Fields] = {"usd": str, "reason": str, "actor": str}
LIMITING: Final[Fields] = {"limits": TERMS["limits"], "actor": str}
STATEMENT: Final = ("month",)
ACT: Final[Fields] = {"reason": str, "actor": str}
STATEMENT_ENTRIES_MAX = 20_000
"""How many entries a statement may be made of here, some 8 MB of JSON; the command line takes any number."""


class AccountRoutes:
    """The routes under `/admin/v1/accounts`.

    Args:
        ledger: The books.
        keys: The callers' keys.
        digests: Makes claims of idempotency keys.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(self, ledger: Ledger, keys: Keyring, digests: Digests, now_ns: Callable[[], int]) -> None:
        self._ledger = ledger
        self._keys = keys
        self._digests = digests
        self._now_ns = now_ns

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        accounts = "/admin/v1/accounts"
        one = accounts + "/{id}"
        return (
            Route("POST", accounts, self.create_account, "Open an account: `name`.", fields=NEW_ACCOUNT),
            Route("GET", accounts, self.list_accounts, "All accounts with their balances."),
            Route("GET", one, self.show_account, "One account with its keys."),
            Route(
                "POST",
                one + "/deposits",
                self.deposit,
                "Book money that came in: `usd`, `reference`.",
                claims=True,
                fields=DEPOSIT,
            ),
            Route(
                "POST",
                one + "/corrections",
                self.correct,
                "Change a balance: `usd` (±), `reason`, `actor`.",
                claims=True,
                fields=CORRECTION,
            ),
            Route(
                "PATCH",
                one,
                self.limit_account,
                "Limit what all keys of an account together may do: `limits`.",
                fields=LIMITING,
            ),
            Route(
                "POST",
                one + "/suspend",
                self.suspend_account,
                "Block an account's keys: `reason`, `actor`.",
                fields=ACT,
            ),
            Route(
                "POST",
                one + "/resume",
                self.resume_account,
                "Let them be what they were: `reason`, `actor`.",
                fields=ACT,
            ),
            Route(
                "GET",
                one + "/statement",
                self.show_statement,
                "All movements of one `?month=YYYY-MM` (UTC).",
                query=STATEMENT,
            ),
        )

    async def create_account(self, request: Request, _: Sink) -> Response:
        """Open an account."""
        fields = await read_fields(request, NEW_ACCOUNT)
        name = read_name(fields.get("name", ""))
        return Response.json(describe_account(await self._ledger.open_account(name, ACTOR)), 201)

    async def list_accounts(self, _: Request, __: Sink) -> Response:
        """List all accounts."""
        return Response.json({"data": [describe_account(account) for account in self._ledger.accounts()]})

    async def show_account(self, request: Request, _: Sink) -> Response:
        """Show one account and its keys."""
        account, now_ns = self._ledger.account(request.argument), self._now_ns()
        return Response.json(
            {
                **describe_account(account),
                "keys": [describe_key(key, account, now_ns) for key in self._keys.keys(account.id)],
            }
        )

    async def deposit(self, request: Request, _: Sink) -> Response:
        """Book money that came in, once for each reference."""
        fields = await read_fields(request, DEPOSIT)
        reference = fields.get("reference")
        if reference is not None and not (0 < len(reference) <= 200 and reference.isprintable()):
            raise Refusal(Code.INVALID_VALUE, "reference must have 1 to 200 printable characters.", param="reference")
        picousd = read_amount(fields, "usd", parse_usd)
        claim = self._claim(request, "deposits", [picousd, reference])
        deposit = await self._ledger.deposit(request.argument, picousd, reference, ACTOR, claim)
        content = {
            "id": deposit.id.hex(),
            "usd": format_usd(deposit.picousd),
            "reference": reference,
            "replayed": deposit.replayed,
            "account": describe_account(self._ledger.account(request.argument)),
        }
        return Response.json(content, 200 if deposit.replayed else 201)

    async def correct(self, request: Request, _: Sink) -> Response:
        """Change a balance by the operator's word, with who and why."""
        fields = await read_fields(request, CORRECTION)
        reason, actor = read_words(fields, "reason"), read_words(fields, "actor", ACTOR)
        picousd = read_amount(fields, "usd", parse_usd)
        claim = self._claim(request, "corrections", [picousd, reason, actor])
        correction = await self._ledger.correct(request.argument, picousd, reason, actor, claim)
        content = {
            "id": correction.id.hex(),
            "usd": format_usd(correction.picousd),
            "reason": reason,
            "actor": actor,
            "replayed": correction.replayed,
            "account": describe_account(self._ledger.account(request.argument)),
        }
        return Response.json(content, 200 if correction.replayed else 201)

    async def limit_account(self, request: Request, _: Sink) -> Response:
        """Change the limits that a request names; the others stay."""
        fields = await read_fields(request, LIMITING)
        account, actor = self._ledger.account(request.argument), read_words(fields, "actor", ACTOR)
        limits = read_limits(fields.get("limits", {}), account.limits)
        return Response.json(describe_account(await self._ledger.limit_account(account.id, limits, actor)))

    async def suspend_account(self, request: Request, _: Sink) -> Response:
        """Block an account's keys until it is resumed, with who and why."""
        fields = await read_fields(request, ACT)
        reason, actor = read_words(fields, "reason"), read_words(fields, "actor", ACTOR)
        return Response.json(describe_account(await self._ledger.suspend_account(request.argument, reason, actor)))

    async def resume_account(self, request: Request, _: Sink) -> Response:
        """Let an account's keys be what they were, with who and why."""
        fields = await read_fields(request, ACT)
        reason, actor = read_words(fields, "reason"), read_words(fields, "actor", ACTOR)
        return Response.json(describe_account(await self._ledger.resume_account(request.argument, reason, actor)))

    async def show_statement(self, request: Request, _: Sink) -> Response:
        """Show a month of an account."""
        account = self._ledger.account(request.argument)
        month = read_month(read_strictly(request, STATEMENT).get("month", ""))
        statement, lines = await self._ledger.statement(account.id, month.start_ns, month.end_ns, STATEMENT_ENTRIES_MAX)
        content = describe_statement(account.id, account.name, month, statement, self._now_ns())
        return Response.json({**content, "lines": [describe_line(line) for line in lines if line.kind != VOIDED]})

    def _claim(self, request: Request, acts: str, meaning: object) -> Claim | None:
        """Return the claim that a request for one of these acts comes with, if it has an idempotency key."""
        key = read_idempotency_key(request)
        return None if key is None else self._digests.claim(key, (request.argument, ACTOR, acts), meaning)
