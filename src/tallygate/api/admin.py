"""What the operator reaches: accounts, deposits, keys, prices, upstreams, the proof of the books.

The command line speaks to these same routes, over the admin listener beside a running gateway, or in its own
process when it holds the store. Amounts are exact decimal strings of US dollars.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tallygate.api.descriptions import describe_account, describe_event, describe_key, describe_sheet
from tallygate.api.fields import read_amount, read_fields, read_name, read_price, read_words
from tallygate.api.http import Response, Route, read_bearer, read_idempotency_key
from tallygate.api.proofs import answer_receipt, describe_checkpoint
from tallygate.api.statements import describe_line, describe_statement, read_month
from tallygate.api.verification import describe_report
from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import HEADER, Digests
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.statement import VOIDED
from tallygate.core.money import format_usd, parse_usd
from tallygate.core.pricing import revised
from tallygate.ports import UnknownKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.http import Handler, Request
    from tallygate.core.catalog import Catalog
    from tallygate.core.idempotency import Claim
    from tallygate.ports import ApiKey, KeyStore, Ledger, Proofs, Upstreams
    from tallygate.relay import Sink

MODEL_ID = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
ACTOR = "operator"
STATEMENT_ENTRIES_MAX = 20_000
"""How many entries a statement may be made of here, some 8 MB of JSON; the command line takes any number."""


class AdminApi:
    """The routes under `/admin/v1`.

    Args:
        ledger: The books.
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        catalog: The models, for their canonical ids.
        proofs: What signs checkpoints; None where nothing does.
        upstreams: The ways to the network; None where they are not opened (the command line beside no gateway).
        admin_key: What the operator shows; None answers nobody.
        entropy: Gives so many random bytes.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        keys: KeyStore,
        pepper: bytes,
        catalog: Catalog,
        upstreams: Upstreams | None,
        admin_key: str | None,
        proofs: Proofs | None = None,
        entropy: Callable[[int], bytes],
        now_ns: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._pepper = pepper
        self._digests = Digests(pepper)
        self._catalog = catalog
        self._upstreams = upstreams
        self._proofs = proofs
        self._admin_key = None if admin_key is None else admin_key.encode()
        self._entropy = entropy
        self._now_ns = now_ns

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        accounts, keys = "/admin/v1/accounts", "/admin/v1/keys"
        table: tuple[tuple[str, str, Handler, str], ...] = (
            ("POST", accounts, self.create_account, "Open an account: `name`."),
            ("GET", accounts, self.list_accounts, "All accounts with their balances."),
            ("GET", accounts + "/{id}", self.show_account, "One account with its keys."),
            ("POST", accounts + "/{id}/deposits", self.deposit, "Book money that came in: `usd`, `reference`."),
            ("POST", accounts + "/{id}/corrections", self.correct, "Change a balance: `usd` (±), `reason`, `actor`."),
            ("GET", accounts + "/{id}/statement", self.show_statement, "All movements of one `?month=YYYY-MM` (UTC)."),
            ("POST", keys, self.create_key, "Make an API key: `account`, `name`. The secret is shown once."),
            ("GET", keys, self.list_keys, "All keys, or those of one `?account=`."),
            ("DELETE", keys + "/{id}", self.revoke_key, "End a key's life at once."),
            ("GET", "/admin/v1/prices", self.show_prices, "The price sheet in force."),
            ("POST", "/admin/v1/prices", self.set_price, "Price a `model`: `input`, `output`, `call`, or `free`."),
            ("GET", "/admin/v1/upstreams", self.list_upstreams, "The ways to the network and their places."),
            ("GET", "/admin/v1/events", self.list_events, "Events that the webhook does not have yet, oldest first."),
            ("POST", "/admin/v1/checkpoints", self.checkpoint, "Sign the books as they are now."),
            ("GET", "/admin/v1/receipts/{inference}", self.show_receipt, "The receipt of any inference."),
            ("POST", "/admin/v1/verify", self.verify, "Replay the books and say what was checked."),
        )
        return [Route(method, path, self._guarded(handler), summary) for method, path, handler, summary in table]

    async def create_account(self, request: Request, _: Sink) -> Response:
        """Open an account."""
        fields = await read_fields(request, {"name": str})
        name = read_name(fields.get("name", ""))
        return Response.json(describe_account(await self._ledger.open_account(name, ACTOR)), 201)

    async def list_accounts(self, _: Request, __: Sink) -> Response:
        """List all accounts."""
        return Response.json({"data": [describe_account(account) for account in self._ledger.accounts()]})

    async def show_account(self, request: Request, _: Sink) -> Response:
        """Show one account and its keys."""
        account = self._ledger.account(request.argument)
        return Response.json(
            {**describe_account(account), "keys": [describe_key(key, account) for key in self._keys.keys(account.id)]}
        )

    async def deposit(self, request: Request, _: Sink) -> Response:
        """Book money that came in, once for each reference."""
        fields = await read_fields(request, {"usd": str, "reference": str})
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
        fields = await read_fields(request, {"usd": str, "reason": str, "actor": str})
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

    async def show_statement(self, request: Request, _: Sink) -> Response:
        """Show a month of an account."""
        account = self._ledger.account(request.argument)
        month = read_month(_read_query(request).get("month", ""))
        statement, lines = await self._ledger.statement(account.id, month.start_ns, month.end_ns, STATEMENT_ENTRIES_MAX)
        content = describe_statement(account.id, account.name, month, statement, self._now_ns())
        return Response.json({**content, "lines": [describe_line(line) for line in lines if line.kind != VOIDED]})

    async def create_key(self, request: Request, _: Sink) -> Response:
        """Make a key; the only answer that ever holds its secret."""
        fields = await read_fields(request, {"account": str, "name": str})
        account = self._ledger.account(fields.get("account", ""))
        name = read_name(fields.get("name", "default"))
        secret = mint_api_key(self._entropy(32))
        key = await self._keys.add_key(account.id, name, key_digest(self._pepper, secret), mask(secret), ACTOR)
        return Response.json({**describe_key(key, account), "secret": secret}, 201)

    async def list_keys(self, request: Request, _: Sink) -> Response:
        """List keys, never their secrets."""
        account_id = _read_query(request).get("account")
        if account_id is not None:
            self._ledger.account(account_id)
        return Response.json({"data": [self._describe_key(key) for key in self._keys.keys(account_id)]})

    async def revoke_key(self, request: Request, _: Sink) -> Response:
        """End a key's life at once."""
        return Response.json(self._describe_key(await self._keys.revoke_key(request.argument, ACTOR)))

    async def show_prices(self, _: Request, __: Sink) -> Response:
        """Show the price sheet in force."""
        return Response.json(describe_sheet(self._ledger.sheet))

    async def set_price(self, request: Request, _: Sink) -> Response:
        """Price one model, from the next call on."""
        types = {"model": str, "input": str, "output": str, "call": str, "free": bool}
        fields = await read_fields(request, types)
        if not MODEL_ID.fullmatch(fields.get("model", "")):
            raise Refusal(
                Code.INVALID_VALUE, "model must be the id of a model: letters, digits, . _ : / @ + -", param="model"
            )
        model = self._catalog.canonical(fields["model"], self._ledger.sheet)
        price = read_price(fields, self._ledger.sheet.prices.get(model))
        await self._ledger.publish(revised(self._ledger.sheet, {model: price}), ACTOR)
        return Response.json(describe_sheet(self._ledger.sheet))

    async def list_upstreams(self, _: Request, __: Sink) -> Response:
        """List the ways to the network and whether their places are in the choice."""
        if self._upstreams is None:
            raise Refusal(Code.NOT_FOUND, "Upstreams are known to a running gateway only.")
        data = [
            {
                "name": upstream.name,
                "priority": upstream.priority,
                "weight": upstream.weight,
                "places": [
                    {"node": node, "state": state}
                    for node, state in {
                        target.node: "out for good" if target.is_out_for_good else "out" if target.is_out else "ok"
                        for target in upstream.targets()
                    }.items()
                ],
            }
            for upstream in self._upstreams.upstreams
        ]
        return Response.json({"data": data})

    async def list_events(self, _: Request, __: Sink) -> Response:
        """List what the operator's webhook does not have yet."""
        return Response.json({"data": [describe_event(event) for event in self._ledger.kept_events]})

    async def checkpoint(self, _: Request, __: Sink) -> Response:
        """Sign the books as they are now."""
        proofs = self._need_proofs()
        return Response.json(describe_checkpoint(await proofs.checkpoint(), proofs.public_key), 201)

    async def show_receipt(self, request: Request, _: Sink) -> Response:
        """Return the receipt of an inference, whoever it belongs to."""
        return answer_receipt(await self._need_proofs().receipt(request.argument))

    async def verify(self, _: Request, __: Sink) -> Response:
        """Replay the books."""
        report = await self._ledger.audit()
        return Response.json(describe_report(report, None if self._proofs is None else await self._proofs.audit()))

    def _claim(self, request: Request, acts: str, meaning: object) -> Claim | None:
        """Return the claim that a request for one of these acts comes with, if it has an idempotency key."""
        key = read_idempotency_key(request)
        return None if key is None else self._digests.claim(key, (request.argument, ACTOR, acts), meaning)

    def _describe_key(self, key: ApiKey) -> dict[str, Any]:
        return describe_key(key, self._ledger.account(key.account))

    def _need_proofs(self) -> Proofs:
        if self._proofs is None:
            raise Refusal(Code.NOT_FOUND, "No checkpoints are made of these books.")
        return self._proofs

    def _guarded(self, handler: Handler) -> Handler:
        """Return a handler that answers only the operator, and tells what it does not find."""
        claiming = (self.deposit, self.correct)

        async def answer(request: Request, sink: Sink) -> Response | None:
            token = read_bearer(request)
            if self._admin_key is None or token is None or not hmac.compare_digest(token, self._admin_key):
                raise Refusal(Code.INVALID_API_KEY, "The admin key is wrong or missing.")
            if request.method != "GET" and handler not in claiming and b"idempotency-key" in request.headers:
                message = f"This route takes no {HEADER}; deposits and corrections do."
                raise Refusal(Code.UNSUPPORTED_HEADER, message, param=HEADER)
            return await told(handler(request, sink))

        return answer


def _read_query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True))


async def told(answer: Any) -> Response | None:
    """Await a handler's answer; what it does not find becomes a 404."""
    try:
        response: Response | None = await answer
    except UnknownAccountError:
        message = "There is no such account."
    except UnknownKeyError:
        message = "There is no such API key."
    else:
        return response
    raise Refusal(Code.NOT_FOUND, message)
