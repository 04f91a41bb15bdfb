"""The operator's routes, in process: what they take, what they refuse, and that they never guess."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.api.admin import AdminApi
from tallygate.api.edge import Edge
from tallygate.api.http import Router
from tallygate.api.problems import Problems
from tallygate.core.bounding import ModelCard
from tallygate.core.catalog import Catalog
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.memory import MemoryDisk, MemoryJournal
from tallygate.storage.past.embedded import EmbeddedHistory
from tallygate.storage.past.memory_past import MemoryPast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "an-admin-key-of-a-test"
NOW_NS = 1_800_000_000 * 10**9


class Operator:
    """Who knows the admin key."""

    def __init__(self) -> None:
        disk = MemoryDisk(bytes(16))
        self.ledger = EmbeddedLedger(MemoryJournal(disk), now_ns=iter(range(10**6)).__next__, entropy=os.urandom)
        api = AdminApi(
            ledger=self.ledger,
            keys=self.ledger,
            pepper=bytes(32),
            catalog=Catalog([ModelCard("Known/Model", aliases=("known",))], lambda _: True),
            history=EmbeddedHistory(MemoryPast(disk)),
            upstreams=None,
            admin_key=KEY,
            entropy=os.urandom,
            now_ns=lambda: NOW_NS,
        )
        self.app = Edge(Router(api.routes()), Problems(), lambda: "req_1")
        self.sent_headers: dict[bytes, bytes] = {}

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes | dict[str, Any] = b"",
        *keys: str,
        idempotency: tuple[str, ...] = (),
    ) -> tuple[int, Any]:
        """Send one request, with these idempotency keys, and return status and content."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        path, _, query = target.partition("?")
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        authorizations = [(b"authorization", f"Bearer {key}".encode()) for key in keys or (KEY,)]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [*authorizations, *((b"idempotency-key", key.encode()) for key in idempotency)],
        }
        await self.app(scope, receive, send)
        self.sent_headers = dict(sent[0]["headers"])
        return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    """Return an operator of an empty installation."""
    made = Operator()
    yield made
    await made.ledger.close()


@pytest.mark.parametrize("keys", [("wrong-key-of-a-test",), (KEY, KEY), ("",)])
async def test_only_the_operator_is_answered(operator: Operator, keys: tuple[str, ...]) -> None:
    """A wrong key, no key, and two Authorization headers are all 401."""
    assert (await operator.ask("GET", "/admin/v1/accounts", b"", *keys))[0] == 401


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b'{"usd":"1","usd":"500"}', "duplicate_parameter", "usd"),
        (b"[" * 10_000, "invalid_value", None),
        (b"[]", "invalid_json", None),
        (b'{"usd":5}', "invalid_value", "usd"),
        (b'{"usd":"1e3"}', "invalid_value", "usd"),
        (b'{"usd":"-1"}', "invalid_value", "usd"),
        (b"{}", "invalid_value", "usd"),
        (b'{"usd":"5","amount":"5"}', "unknown_parameter", "amount"),
        (b'{"usd":"5","reference":""}', "invalid_value", "reference"),
        (b'{"usd":"5","reference":"a\\u001b[31m"}', "invalid_value", "reference"),
    ],
)
async def test_a_deposit_is_never_guessed(operator: Operator, body: bytes, code: str, param: str | None) -> None:
    """A body that could be read in two ways, or in none, books nothing and names the field."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    status, content = await operator.ask("POST", f"/admin/v1/accounts/{account['id']}/deposits", body)

    assert (status, content["error"]["code"], content["error"]["param"]) == (400, code, param)
    assert operator.ledger.account(account["id"]).available == 0


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"usd": "0"}, "usd"),
        ({"usd": "one"}, "usd"),
        ({"usd": "-1000000.000000000001"}, "usd"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"actor": " "}, "actor"),
        ({"because": "x"}, "because"),
    ],
)
async def test_a_correction_is_never_guessed(operator: Operator, change: dict[str, str], param: str) -> None:
    """A correction that says nothing, too much, or not why, books nothing and names the field."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    body = {"usd": "-1", "reason": "chargeback", "actor": "grace", **change}
    status, content = await operator.ask("POST", f"/admin/v1/accounts/{account['id']}/corrections", body)

    assert (status, content["error"]["param"]) == (400, param)
    assert operator.ledger.account(account["id"]).balance == 0


ACTS: list[tuple[str, dict[str, str], dict[str, str], dict[str, str]]] = [
    # The act, what means the same, and what does not.
    ("deposits", {"usd": "5"}, {"usd": "5.00"}, {"usd": "5", "reference": "invoice 7"}),
    (
        "corrections",
        {"usd": "5", "reason": "gift"},
        {"reason": "gift ", "usd": "+5.0", "actor": "operator"},
        {"usd": "5", "reason": "gift", "actor": "grace"},
    ),
]


@pytest.mark.parametrize(("acts", "body", "same", "other"), ACTS)
async def test_an_act_under_a_key_is_booked_once(
    operator: Operator, acts: str, body: dict[str, str], same: dict[str, str], other: dict[str, str]
) -> None:
    """The same act under a key is the same entry, told as replayed; another one is refused; other keys are others."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    path = f"/admin/v1/accounts/{account['id']}/{acts}"
    first = await operator.ask("POST", path, body, idempotency=("k",))
    again = await operator.ask("POST", path, same, idempotency=("k",))
    refused = await operator.ask("POST", path, other, idempotency=("k",))
    assert (first[0], first[1]["replayed"]) == (201, False)
    assert (again[0], again[1]) == (200, {**first[1], "replayed": True})
    assert (refused[0], refused[1]["error"]["code"]) == (422, "idempotency_key_reused")
    assert operator.ledger.account(account["id"]).available == 5 * 10**12

    assert (await operator.ask("POST", path, body, idempotency=("k2",)))[0] == 201
    _, second = await operator.ask("POST", "/admin/v1/accounts", {"name": "Bob"})
    assert (await operator.ask("POST", f"/admin/v1/accounts/{second['id']}/{acts}", other, idempotency=("k",)))[
        0
    ] == 201
    (elsewhere,) = [name for name, *_ in ACTS if name != acts]
    body = {"usd": "1", **({"reason": "gift"} if elsewhere == "corrections" else {})}
    path = f"/admin/v1/accounts/{account['id']}/{elsewhere}"
    assert (await operator.ask("POST", path, body, idempotency=("k",)))[0] == 201
    assert operator.ledger.account(account["id"]).available == 11 * 10**12


@pytest.mark.parametrize("acts", ["deposits", "corrections"])
@pytest.mark.parametrize("idempotency", [("",), ("two words",), ("k" * 256,), ("k", "k")])
async def test_what_is_no_idempotency_key_books_nothing(
    operator: Operator, acts: str, idempotency: tuple[str, ...]
) -> None:
    """A header that is no key, or comes twice, is refused by its name."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    body = {"usd": "5", **({"reason": "gift"} if acts == "corrections" else {})}
    path = f"/admin/v1/accounts/{account['id']}/{acts}"
    status, content = await operator.ask("POST", path, body, idempotency=idempotency)

    assert (status, content["error"]["code"], content["error"]["param"]) == (400, "invalid_value", "Idempotency-Key")
    assert operator.ledger.account(account["id"]).available == 0


async def test_an_idempotency_key_is_never_ignored(operator: Operator) -> None:
    """Routes that would do twice what is asked twice refuse the header; what only looks does not mind."""
    for method, path in (("POST", "accounts"), ("POST", "keys"), ("POST", "prices"), ("DELETE", "keys/key_1")):
        status, content = await operator.ask(method, f"/admin/v1/{path}", {"name": "Ada"}, idempotency=("k",))
        assert (status, content["error"]["code"]) == (400, "unsupported_header")
    assert await operator.ask("GET", "/admin/v1/accounts", idempotency=("k",)) == (200, {"data": []})


async def test_keys_of_an_account_below_zero_show_as_blocked(operator: Operator) -> None:
    """A key is blocked while its account is below zero, by no act of its own, and a revoked one stays revoked."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    keys = [(await operator.ask("POST", "/admin/v1/keys", {"account": account["id"]}))[1]["id"] for _ in range(2)]
    await operator.ask("DELETE", f"/admin/v1/keys/{keys[1]}")
    statuses = []
    for usd in ("-1", "1"):
        body = {"usd": usd, "reason": "test", "actor": "grace"}
        status, content = await operator.ask("POST", f"/admin/v1/accounts/{account['id']}/corrections", body)
        _, listed = await operator.ask("GET", "/admin/v1/keys")
        statuses.append((status, content["account"]["balance_usd"], [key["status"] for key in listed["data"]]))

    assert statuses == [(201, "-1", ["blocked", "revoked"]), (201, "0", ["active", "revoked"])]


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "a\nb", "\x1b[31mred"])
async def test_a_name_can_be_shown(operator: Operator, name: str) -> None:
    """Names of accounts are printable, so that no list of them plays tricks on a terminal."""
    status, content = await operator.ask("POST", "/admin/v1/accounts", {"name": name})

    assert (status, content["error"]["param"]) == (400, "name")


async def test_keys_are_listed_by_the_exact_account(operator: Operator) -> None:
    """`?account=` is decoded; an unknown one is 404, an empty one or another parameter 400: never all accounts."""
    ids = [(await operator.ask("POST", "/admin/v1/accounts", {"name": name}))[1]["id"] for name in ("a", "b")]
    for account in ids:
        await operator.ask("POST", "/admin/v1/keys", {"account": account})
    one = await operator.ask("GET", f"/admin/v1/keys?account={ids[0].replace('_', '%5F')}")
    everyone = await operator.ask("GET", "/admin/v1/keys")
    asked = ("x_account=nobody", "account=", "account=nobody")

    assert [key["account"] for key in one[1]["data"]] == [ids[0]]
    assert len(everyone[1]["data"]) == 2
    assert [(await operator.ask("GET", f"/admin/v1/keys?{query}"))[0] for query in asked] == [400, 400, 404]


async def test_a_secret_is_shown_once(operator: Operator) -> None:
    """The answer that makes a key holds its secret; no other does."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    _, made = await operator.ask("POST", "/admin/v1/keys", {"account": account["id"], "name": "laptop"})
    _, listed = await operator.ask("GET", "/admin/v1/keys")
    _, shown = await operator.ask("GET", f"/admin/v1/accounts/{account['id']}")

    assert made["secret"].startswith("tg-")
    assert made["secret"] not in json.dumps([listed, shown])


@pytest.mark.parametrize("model", ["a\nb", "", "x" * 129, "a b"])
async def test_only_a_model_id_is_priced(operator: Operator, model: str) -> None:
    """What cannot be a model's id gets no price, since every priced model is offered to callers."""
    status, content = await operator.ask("POST", "/admin/v1/prices", {"model": model, "input": "1", "output": "1"})

    assert (status, content["error"]["param"]) == (400, "model")


async def test_a_price_is_given_back_to_the_network(operator: Operator) -> None:
    """A price that is given back stays as it is; what has no price, is free, or is named with one, is refused."""
    await operator.ask("POST", "/admin/v1/prices", {"model": "known", "input": "1", "output": "2", "call": "3"})
    for _ in range(2):
        status, sheet = await operator.ask("POST", "/admin/v1/prices", {"model": "known", "network": True})
        assert (status, sheet["version"]) == (200, 2)
        price = sheet["models"]["Known/Model"]
        assert (price["input_usd_per_1m"], price["output_usd_per_1m"], price["usd_per_call"]) == ("1", "2", "3")
        assert price["quote"]["upstream"] == "operator"
    await operator.ask("POST", "/admin/v1/prices", {"model": "gift", "free": True})
    for fields in ({"model": "known", "input": "1"}, {"model": "unpriced"}, {"model": "gift"}):
        status, content = await operator.ask("POST", "/admin/v1/prices", {**fields, "network": True})
        assert (status, content["error"]["param"]) == (400, "network")
    _, sheet = await operator.ask("POST", "/admin/v1/prices", {"model": "known", "input": "5"})
    assert sheet["models"]["Known/Model"]["quote"] is None


async def test_alarms_and_wallets_are_a_gateways(operator: Operator) -> None:
    """Where no gateway runs, there is nothing to say of alarms or wallets."""
    for path in ("alarms", "wallets"):
        assert (await operator.ask("GET", f"/admin/v1/{path}"))[0] == 404


async def test_a_model_is_priced_under_its_canonical_id(operator: Operator) -> None:
    """An alias, or an id in other letters, prices the model that it stands for."""
    for name in ("KNOWN", "known/model", "Known/Model"):
        _, sheet = await operator.ask("POST", "/admin/v1/prices", {"model": name, "input": "1", "output": "2"})
    await operator.ask("POST", "/admin/v1/prices", {"model": "new/model", "input": "1", "output": "2"})
    _, sheet = await operator.ask("POST", "/admin/v1/prices", {"model": "NEW/Model", "input": "3"})

    assert list(sheet["models"]) == ["Known/Model", "new/model"]
    assert sheet["models"]["new/model"]["input_usd_per_1m"] == "3"


async def test_another_method_is_told_which_would_do(operator: Operator) -> None:
    """A 405 names the methods of the route in `Allow`."""
    status, _ = await operator.ask("PUT", "/admin/v1/accounts")

    assert status == 405
    assert operator.sent_headers[b"allow"] == b"GET, HEAD, OPTIONS, POST"


async def test_a_statement_has_every_movement_of_its_month(operator: Operator) -> None:
    """Deposits and corrections of the month are lines, with sums and balances; other months are empty and follow on."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    path = f"/admin/v1/accounts/{account['id']}"
    await operator.ask("POST", f"{path}/deposits", {"usd": "5", "reference": "invoice 7"})
    await operator.ask("POST", f"{path}/corrections", {"usd": "-0.25", "reason": "a slip", "actor": "Eve"})
    status, statement = await operator.ask("GET", f"{path}/statement?month=1970-01")
    _, later = await operator.ask("GET", f"{path}/statement?month=1970-02")

    assert status == 200
    assert statement["account"] == {"id": account["id"], "name": "Ada"}
    assert statement["period"] == {
        "month": "1970-01",
        "from": "1970-01-01T00:00:00Z",
        "to": "1970-02-01T00:00:00Z",
        "complete": True,
    }
    assert [(line["kind"], line["amount_usd"], line["balance_usd"]) for line in statement["lines"]] == [
        ("deposit", "5", "5"),
        ("correction", "-0.25", "4.75"),
    ]
    assert statement["lines"][0]["reference"] == "invoice 7"
    assert (statement["lines"][1]["actor"], statement["lines"][1]["reason"]) == ("Eve", "a slip")
    assert (statement["opening_balance_usd"], statement["closing_balance_usd"]) == ("0", "4.75")
    assert (later["opening_balance_usd"], later["closing_balance_usd"], later["lines"]) == ("4.75", "4.75", [])


async def test_a_month_that_is_not_over_is_not_complete(operator: Operator) -> None:
    """The statement of a month whose end is still to come says that it is not complete."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    path = f"/admin/v1/accounts/{account['id']}/statement?month="

    assert (await operator.ask("GET", f"{path}2026-12"))[1]["period"]["complete"]
    assert not (await operator.ask("GET", f"{path}2027-01"))[1]["period"]["complete"]


@pytest.mark.parametrize("month", ["", "?month=", "?month=January", "?month=2026-13"])
async def test_a_statement_needs_a_month(operator: Operator, month: str) -> None:
    """Without a month of UTC a statement is refused, and the refusal names the parameter."""
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    status, answer = await operator.ask("GET", f"/admin/v1/accounts/{account['id']}/statement{month}")

    assert (status, answer["error"]["param"]) == (400, "month")


async def test_a_statement_too_long_for_one_answer_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit the route names the command that prints any length; an unknown account is a 404."""
    monkeypatch.setattr("tallygate.api.admin.accounts.STATEMENT_ENTRIES_MAX", 2)
    _, account = await operator.ask("POST", "/admin/v1/accounts", {"name": "Ada"})
    path = f"/admin/v1/accounts/{account['id']}"
    await operator.ask("POST", f"{path}/deposits", {"usd": "5"})
    assert (await operator.ask("GET", f"{path}/statement?month=1970-01"))[0] == 200
    await operator.ask("POST", f"{path}/deposits", {"usd": "5"})
    status, answer = await operator.ask("GET", f"{path}/statement?month=1970-01")

    assert status == 400
    assert "tallygate statement" in answer["error"]["message"]
    assert (await operator.ask("GET", "/admin/v1/accounts/acct_x/statement?month=1970-01"))[0] == 404
