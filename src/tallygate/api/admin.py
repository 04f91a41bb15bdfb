"""What the operator reaches: accounts, deposits, keys, prices, upstreams, the proof of the books.

The command line speaks to these same routes, over the admin listener beside a running gateway, or in its own
process when it holds the store. Amounts are exact decimal strings of US dollars.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tallygate.api.http import Response, Route, read_bearer
from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import check_shape, nameable
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.money import (
    InvalidAmountError,
    format_price_per_million,
    format_usd,
    parse_price_per_million,
    parse_usd,
)
from tallygate.core.pricing import Price, revised
from tallygate.ports import UnknownKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.api.http import Handler, Request
    from tallygate.core.catalog import Catalog
    from tallygate.core.ledger.audit import Report
    from tallygate.core.ledger.records import Account
    from tallygate.core.pricing import Sheet
    from tallygate.ports import ApiKey, KeyStore, Ledger, Upstreams
    from tallygate.relay import Sink

BODY_BYTES_MAX = 64 * 1024
MODEL_ID = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
ACTOR = "operator"


class AdminApi:
    """The routes under `/admin/v1`.

    Args:
        ledger: The books.
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        catalog: The models, for their canonical ids.
        upstreams: The ways to the network; None where they are not opened (the command line beside no gateway).
        admin_key: What the operator shows; None answers nobody.
        entropy: Gives so many random bytes.
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
        entropy: Callable[[int], bytes],
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._pepper = pepper
        self._catalog = catalog
        self._upstreams = upstreams
        self._admin_key = None if admin_key is None else admin_key.encode()
        self._entropy = entropy

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        accounts, keys = "/admin/v1/accounts", "/admin/v1/keys"
        table: tuple[tuple[str, str, Handler, str], ...] = (
            ("POST", accounts, self.create_account, "Open an account: `name`."),
            ("GET", accounts, self.list_accounts, "All accounts with their balances."),
            ("GET", accounts + "/{id}", self.show_account, "One account with its keys."),
            ("POST", accounts + "/{id}/deposits", self.deposit, "Book money that came in: `usd`, `reference`."),
            ("POST", keys, self.create_key, "Make an API key: `account`, `name`. The secret is shown once."),
            ("GET", keys, self.list_keys, "All keys, or those of one `?account=`."),
            ("DELETE", keys + "/{id}", self.revoke_key, "End a key's life at once."),
            ("GET", "/admin/v1/prices", self.show_prices, "The price sheet in force."),
            ("POST", "/admin/v1/prices", self.set_price, "Price a `model`: `input`, `output`, `call`, or `free`."),
            ("GET", "/admin/v1/upstreams", self.list_upstreams, "The ways to the network and their places."),
            ("POST", "/admin/v1/verify", self.verify, "Replay the books and say what was checked."),
        )
        return [Route(method, path, self._guarded(handler), summary) for method, path, handler, summary in table]

    async def create_account(self, request: Request, _: Sink) -> Response:
        """Open an account."""
        fields = await _fields(request, {"name": str})
        name = _name(fields.get("name", ""))
        return Response.json(_account(await self._ledger.open_account(name, ACTOR)), 201)

    async def list_accounts(self, _: Request, __: Sink) -> Response:
        """List all accounts."""
        return Response.json({"data": [_account(account) for account in self._ledger.accounts()]})

    async def show_account(self, request: Request, _: Sink) -> Response:
        """Show one account and its keys."""
        account = self._ledger.account(request.argument)
        return Response.json({**_account(account), "keys": [_key(key) for key in self._keys.keys(account.id)]})

    async def deposit(self, request: Request, _: Sink) -> Response:
        """Book money that came in, once for each reference."""
        fields = await _fields(request, {"usd": str, "reference": str})
        reference = fields.get("reference")
        if reference is not None and not 0 < len(reference) <= 200:
            raise Refusal(Code.INVALID_VALUE, "reference must have 1 to 200 characters.", param="reference")
        picousd = _amount(fields, "usd", parse_usd)
        deposit = await self._ledger.deposit(request.argument, picousd, reference, ACTOR)
        content = {
            "id": deposit.id.hex(),
            "usd": format_usd(deposit.picousd),
            "reference": reference,
            "replayed": deposit.replayed,
            "account": _account(self._ledger.account(request.argument)),
        }
        return Response.json(content, 200 if deposit.replayed else 201)

    async def create_key(self, request: Request, _: Sink) -> Response:
        """Make a key; the only answer that ever holds its secret."""
        fields = await _fields(request, {"account": str, "name": str})
        account = self._ledger.account(fields.get("account", ""))
        name = _name(fields.get("name", "default"))
        secret = mint_api_key(self._entropy(32))
        key = await self._keys.add_key(account.id, name, key_digest(self._pepper, secret), mask(secret), ACTOR)
        return Response.json({**_key(key), "secret": secret}, 201)

    async def list_keys(self, request: Request, _: Sink) -> Response:
        """List keys, never their secrets."""
        account_id = dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)).get("account")
        if account_id is not None:
            self._ledger.account(account_id)
        return Response.json({"data": [_key(key) for key in self._keys.keys(account_id)]})

    async def revoke_key(self, request: Request, _: Sink) -> Response:
        """End a key's life at once."""
        return Response.json(_key(await self._keys.revoke_key(request.argument, ACTOR)))

    async def show_prices(self, _: Request, __: Sink) -> Response:
        """Show the price sheet in force."""
        return Response.json(_sheet(self._ledger.sheet))

    async def set_price(self, request: Request, _: Sink) -> Response:
        """Price one model, from the next call on."""
        types = {"model": str, "input": str, "output": str, "call": str, "free": bool}
        fields = await _fields(request, types)
        if not MODEL_ID.fullmatch(fields.get("model", "")):
            raise Refusal(
                Code.INVALID_VALUE, "model must be the id of a model: letters, digits, . _ : / @ + -", param="model"
            )
        model = self._catalog.canonical(fields["model"], self._ledger.sheet)
        price = _price(fields, self._ledger.sheet.prices.get(model))
        await self._ledger.publish(revised(self._ledger.sheet, {model: price}), ACTOR)
        return Response.json(_sheet(self._ledger.sheet))

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

    async def verify(self, _: Request, __: Sink) -> Response:
        """Replay the books."""
        return Response.json(describe_report(await self._ledger.audit()))

    def _guarded(self, handler: Handler) -> Handler:
        """Return a handler that answers only the operator, and tells what it does not find."""

        async def answer(request: Request, sink: Sink) -> Response | None:
            token = read_bearer(request)
            if self._admin_key is None or token is None or not hmac.compare_digest(token, self._admin_key):
                raise Refusal(Code.INVALID_API_KEY, "The admin key is wrong or missing.")
            return await told(handler(request, sink))

        return answer


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


def describe_report(report: Report) -> dict[str, Any]:
    """Return an audit's report as JSON: figures as exact strings, problems in words."""
    sums: dict[str, int] = {}
    for (book, name), amount in report.totals.items():
        kind = _class_of(name)
        sums[f"{book} {kind}"] = sums.get(f"{book} {kind}", 0) + amount
    usd = {
        name: format_usd(sums.get(f"{e.USD} {name}", 0)) for name in ("available", "held", e.INCOME_BASE, e.INCOME_FEE)
    }
    return {
        "clean": report.clean,
        "batches": report.batches,
        "entries": report.entries,
        "kinds": dict(sorted(report.kinds.items())),
        "accounts": report.accounts,
        "open_holds": report.open_holds,
        "usd": {
            "deposits": format_usd(-sums.get(f"{e.USD} {e.WORLD}", 0)),
            "corrections": format_usd(-sums.get(f"{e.USD} {e.CORRECTIONS}", 0)),
            **usd,
        },
        "ngonka": {
            "billed": str(-sums.get(f"{e.NGONKA} payable", 0)),
            e.COST_PAID: str(sums.get(f"{e.NGONKA} {e.COST_PAID}", 0)),
            e.COST_UNPAID: str(sums.get(f"{e.NGONKA} {e.COST_UNPAID}", 0)),
        },
        "overrun": _by_model(report.overrun_picousd, report.overrun_ngonka),
        "crash_loss": _by_model(report.lost_picousd, report.lost_ngonka),
        "problem_count": report.problem_count,
        "problems": report.problems,
    }


def _by_model(picousd: Mapping[str, int], ngonka: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return what the operator bears, by model: at list price, and what the network may have billed for it."""
    return {
        model: {"usd": format_usd(amount), "ngonka": str(ngonka.get(model, 0))}
        for model, amount in sorted(picousd.items())
        if amount or ngonka.get(model)
    }


def _class_of(ledger_account: str) -> str:
    """Return the kind of a ledger account: `account/x/held` is `held`, `upstream/y/payable` is `payable`."""
    return ledger_account.rsplit("/", 1)[1] if ledger_account.startswith(("account/", "upstream/")) else ledger_account


async def _fields(request: Request, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the checked members of a JSON body; an empty body has none."""
    fields: dict[str, Any] = check_shape(await request.body.read(BODY_BYTES_MAX) or b"{}")
    for name, value in fields.items():
        if name not in types:
            known = ", ".join(types)
            raise Refusal(Code.UNKNOWN_PARAMETER, f"This route takes {known}.", param=nameable(name))
        if type(value) is not types[name]:
            kind = "a string" if types[name] is str else "true or false"
            raise Refusal(Code.INVALID_VALUE, f"{name} must be {kind}.", param=name)
    return fields


def _name(text: str) -> str:
    """Return a name that people see, fit to be shown on a terminal."""
    name = text.strip()
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise Refusal(Code.INVALID_VALUE, "name must have 1 to 100 printable characters.", param="name")
    return name


def _amount(fields: Mapping[str, Any], name: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(fields.get(name, ""))
    except InvalidAmountError as error:
        message = f"{name} {error}."
    raise Refusal(Code.INVALID_VALUE, message, param=name)


def _price(fields: Mapping[str, Any], known: Price | None) -> Price:
    """Return the price that the fields ask for; what they leave out stays as it is known."""
    if fields.get("free"):
        if fields.keys() & {"input", "output", "call"}:
            raise Refusal(Code.INVALID_VALUE, "A free model has no prices.", param="free")
        return Price(0, 0, 0, free=True)
    parts: dict[str, Any] = {}
    for name, parse in (("input", parse_price_per_million), ("output", parse_price_per_million), ("call", parse_usd)):
        if name in fields:
            parts[name] = _amount(fields, name, parse)
        elif known is not None:
            parts[name] = getattr(known, name)
        elif name != "call":
            raise Refusal(Code.INVALID_VALUE, f"{name} is missing: this model has no price yet.", param=name)
    try:
        return Price(**parts)
    except ValueError as error:
        message = f"Not a price: {error}."
    raise Refusal(Code.INVALID_VALUE, message, param="model")


def _account(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "created_ns": account.created_ns,
        "balance_usd": format_usd(account.available + account.held),
        "available_usd": format_usd(account.available),
        "held_usd": format_usd(account.held),
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "key": key.masked,
        "status": "active" if key.revoked_ns is None else "revoked",
        "created_ns": key.created_ns,
        "revoked_ns": key.revoked_ns,
    }


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {
        "version": sheet.version,
        "fee_ppm": sheet.fee_ppm,
        "models": {
            model: {
                "input_usd_per_1m": format_price_per_million(price.input),
                "output_usd_per_1m": format_price_per_million(price.output),
                "usd_per_call": format_usd(price.call),
                "free": price.free,
            }
            for model, price in sorted(sheet.prices.items())
        },
    }
