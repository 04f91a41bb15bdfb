"""`GET /v1/usage`: an account's own sums, exact, in JSON and in CSV, and never a guess at what was asked."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import SendingEnd
from tallygate.core.money import format_usd, parse_usd
from tallygate.core.usage import Usage
from tests.api.asking import ADMIN_KEY, Asking, install
from tests.contract.traffic import DAY, OTHER
from tests.contract.world import FIRST, MODEL, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATES = ("2001-09-09", "2001-09-10", "2001-09-11")
"""The days of the traffic."""


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    """Return an installation with three days of traffic."""
    made = await install()
    yield made
    await made.machine.stop()


async def test_a_caller_sees_what_its_own_account_has_used(asking: Asking) -> None:
    """Without a question: the last thirty days, day by day, of the account of the caller's key and no other."""
    for account in asking.traffic.accounts:
        content = (await asking.get("/v1/usage", await asking.make_key(account))).content
        expected = asking.traffic.expect(account, ("day",))

        assert [row["day"] for row in content["data"]] == list(DATES)
        assert {
            (DAY + number,): (
                row["calls"],
                row["prompt_tokens"],
                row["completion_tokens"],
                parse_usd(row["base_cost_usd"]),
                parse_usd(row["platform_fee_usd"]),
            )
            for number, row in enumerate(content["data"])
        } == expected
        assert (content["from"], content["to"], content["by"]) == ("2001-08-13", "2001-09-11", ["day"])
        assert (content["has_more"], content["next_cursor"], content["filters"]) == (False, None, {})


async def test_a_row_has_every_sum_under_the_names_of_an_answers_usage(asking: Asking) -> None:
    """Base and fee are the total to the last digit, and tokens their sum; odd calls are counted apart."""
    target = f"/admin/v1/accounts/{asking.account}/usage?by=total"
    (row,) = (await asking.get(target)).content["data"]
    costs = [call.base + call.fee for call in asking.traffic.charged if call.account == asking.account]

    assert row.keys() == {
        *("calls", "prompt_tokens", "completion_tokens", "total_tokens"),
        *("base_cost_usd", "platform_fee_usd", "total_cost_usd"),
        *("estimated_calls", "overrun_calls", "voided_calls"),
    }
    assert row["total_cost_usd"] == format_usd(sum(costs))
    assert row["total_tokens"] == row["prompt_tokens"] + row["completion_tokens"]
    assert (row["calls"], row["overrun_calls"], row["voided_calls"], row["estimated_calls"]) == (12, 6, 7, 0)


async def test_nobody_else_is_answered(asking: Asking) -> None:
    """No key, a wrong one, and the operator's key on the callers' route are 401; an unknown account is a 404."""
    assert (await asking.get("/v1/usage", "")).status == 401
    assert (await asking.get("/v1/usage", ADMIN_KEY)).status == 401
    assert (await asking.get("/admin/v1/accounts/acct_1/usage")).status == 404


@pytest.mark.parametrize("by", ["day,model,key,user,tag", "model,day", "tag", "user,key"])
@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_pages_are_the_rows_of_one_page(asking: Asking, by: str, limit: int) -> None:
    """All pages of any length are the same rows, and what does not apply is null."""
    target = f"/admin/v1/accounts/{asking.account}/usage?by={by}"
    whole = (await asking.get(target)).content["data"]

    assert await asking.follow(f"{target}&limit={limit}") == whole
    assert [list(row)[: by.count(",") + 1] for row in whole] == [by.split(",")] * len(whole)
    if "tag" in by:
        assert any(row["tag"] is None for row in whole)


async def test_a_text_finds_its_calls_and_names_its_reference(asking: Asking) -> None:
    """What a caller called `user` is asked for by that text; the answer has its reference, as the rows show it."""
    tag = asking.tags.half(asking.account, "user", "älice & co") + asking.tags.half(asking.account, "tag", "run-7")
    hold = await asking.ledger.hold(request("chatcmpl-tagged", asking.account)._replace(tag=tag))
    await asking.ledger.settle(hold, SendingEnd(FIRST, 5, 6, 0), Usage(5, 6, Flag(0)))
    key = await asking.make_key(asking.account)
    base = "/v1/usage?to=2001-12-31&from=2001-09-01&by=user,tag"
    content = (await asking.get(f"{base}&user={quote('älice & co')}", key)).content
    (row,) = content["data"]

    assert (row["calls"], row["prompt_tokens"], row["completion_tokens"]) == (1, 5, 6)
    assert content["filters"] == {"user": row["user"]}
    assert row["user"] == f"user_{tag[:8].hex()}"
    assert (await asking.get(f"{base}&tag=run-7", key)).content["data"] == [row]
    assert row in (await asking.get(base, key)).content["data"]
    assert (await asking.get(f"{base}&user=run-7", key)).content["data"] == []
    assert (await asking.get(f"{base}&user={row['user']}", key)).content["data"] == []
    other = await asking.make_key(asking.traffic.accounts[1])
    assert (await asking.get(f"{base}&tag=run-7", other)).content["data"] == []


async def test_filters_of_model_and_key(asking: Asking) -> None:
    """One model's, or one key's, rows are those of its own."""
    target = f"/admin/v1/accounts/{asking.account}/usage?by=model,key"
    rows = {row["model"]: row for row in (await asking.get(target)).content["data"] if row["calls"]}

    assert (await asking.get(f"{target}&model={quote(OTHER)}")).content["data"] == [rows[OTHER]]
    assert (await asking.get(f"{target}&key=key_2")).content["data"] == [rows[OTHER]]
    assert (await asking.get(f"{target}&key=key_2&model={quote(MODEL)}")).content["data"] == []


@pytest.mark.parametrize(("query", "headers"), [("&format=csv", {}), ("", {"accept": "text/csv, */*;q=0.1"})])
async def test_csv_has_the_same_rows(asking: Asking, query: str, headers: dict[str, str]) -> None:
    """The CSV says what the JSON says, in exact decimals; where there is more, a header says how to go on."""
    target = f"/admin/v1/accounts/{asking.account}/usage?by=day,tag&limit=3"
    content = (await asking.get(target)).content
    told = await asking.get(target + query, **headers)
    rows = list(csv.DictReader(io.StringIO(told.body.decode(), newline="")))

    assert told.headers[b"content-type"].startswith(b"text/csv")
    assert told.headers[b"x-next-cursor"].decode() == content["next_cursor"]
    assert rows == [{name: "" if value is None else str(value) for name, value in r.items()} for r in content["data"]]
    onward = f"{target.replace('limit=3', 'limit=99')}{query}&cursor={content['next_cursor']}"
    rest = await asking.get(onward, **headers)
    assert b"x-next-cursor" not in rest.headers
    assert len(rest.body.splitlines()) == 1 + len(await asking.follow(target)) - 3


async def test_json_wins_where_both_are_asked_for(asking: Asking) -> None:
    """`format` counts for more than the Accept header."""
    told = await asking.get(f"/admin/v1/accounts/{asking.account}/usage?format=json", accept="text/csv")

    assert told.headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("from=yesterday", "invalid_value", "from"),
        ("from=2001-02-30", "invalid_value", "from"),
        ("from=20010909", "invalid_value", "from"),
        ("to=1969-12-31", "invalid_value", "to"),
        ("to=2001-09-9", "invalid_value", "to"),
        ("from=2001-09-10&to=2001-09-09", "invalid_value", "from"),
        ("from=2000-01-01&to=2001-01-01", "invalid_value", "from"),
        ("by=", "invalid_value", "by"),
        ("by=day,day", "invalid_value", "by"),
        ("by=total,day", "invalid_value", "by"),
        ("by=account", "invalid_value", "by"),
        ("limit=0", "invalid_value", "limit"),
        ("limit=5001", "invalid_value", "limit"),
        ("limit=1e3", "invalid_value", "limit"),
        ("limit=%D9%A1", "invalid_value", "limit"),
        ("format=xml", "invalid_value", "format"),
        ("user=", "invalid_value", "user"),
        (f"tag={'x' * 1001}", "invalid_value", "tag"),
        ("cursor=AAAA", "invalid_value", "cursor"),
        ("cursor=%F0%9F%98%80", "invalid_value", "cursor"),
        ("account=acct_2", "unknown_parameter", "account"),
        ("From=2001-09-09", "unknown_parameter", "From"),
        ("by=day&by=model", "duplicate_parameter", "by"),
        ("&".join(f"a{n}=1" for n in range(60)), "invalid_value", None),
    ],
)
async def test_a_question_is_never_guessed(asking: Asking, query: str, code: str, param: str | None) -> None:
    """What is unknown, repeated, out of range or no date is refused, and the parameter is named."""
    told = await asking.get(f"/admin/v1/accounts/{asking.account}/usage?{query}")
    error = told.content["error"]

    assert (told.status, error["code"], error["param"]) == (400, code, param)


async def test_a_cursor_is_for_its_own_question(asking: Asking) -> None:
    """With another question, or tampered with, a cursor is refused; another limit may go on with it."""
    target = f"/admin/v1/accounts/{asking.account}/usage?by=day,model"
    cursor = (await asking.get(f"{target}&limit=1")).content["next_cursor"]

    assert (await asking.get(f"{target}&limit=2&cursor={cursor}")).status == 200
    for other in (f"{target}&model=x", f"{target[:-6]}", f"{target}&from=2001-09-09"):
        told = await asking.get(f"{other}&cursor={cursor}")
        assert (told.status, told.content["error"]["param"]) == (400, "cursor")
    for bad in (cursor[:-4], cursor + "AAAA", cursor[:11]):
        assert (await asking.get(f"{target}&cursor={bad}")).status == 400


async def test_a_period_too_long_for_its_order_is_refused() -> None:
    """Where rows are not by day first, a period with too many entries is a 400 that names the way out."""
    asking = await install(entries_max=20)
    target = f"/admin/v1/accounts/{asking.account}/usage?by="
    told = await asking.get(f"{target}model")

    assert (told.status, told.content["error"]["param"]) == (400, "from")
    assert "day first" in told.content["error"]["message"]
    assert len(await asking.follow(f"{target}day,model")) == 6
    await asking.machine.stop()
