"""What the operator can read of past calls: lists by many filters, one of them whole, and the margin."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tallygate.core.money import parse_usd
from tests.api.asking import Asking, install
from tests.contract.traffic import OTHER
from tests.contract.world import MODEL, RATE, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIST = "/admin/v1/inferences"


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    """Return an installation with three days of traffic."""
    made = await install()
    yield made
    await made.machine.stop()


@pytest.mark.parametrize("route", [LIST, f"{LIST}/chatcmpl-1", "/admin/v1/margin", "/admin/v1/accounts/a/usage"])
async def test_only_the_operator_is_answered(asking: Asking, route: str) -> None:
    """A customer's key opens none of these."""
    key = await asking.make_key(asking.account)

    assert (await asking.get(route, key)).status == 401


async def test_the_newest_come_first_page_by_page(asking: Asking) -> None:
    """A page has fifty at most unless more is asked for; together the pages are all, newest first."""
    rows = await asking.follow(f"{LIST}?limit=7")

    assert len(rows) == 37
    assert rows[0]["inference"] == f"chatcmpl-{asking.traffic.count}"
    assert [row["began"] for row in rows] == sorted((row["began"] for row in rows), reverse=True)
    assert len((await asking.get(LIST)).content["data"]) == 37
    assert len((await asking.get(f"{LIST}?limit=7")).content["data"]) == 7


async def test_a_row_says_what_became_of_it(asking: Asking) -> None:
    """State, whose, where to, tokens, the charge, and who bore the bill."""
    (row,) = (await asking.get(f"{LIST}?inference=chatcmpl-2")).content["data"]
    (lost,) = (await asking.get(f"{LIST}?state=expired")).content["data"]
    call = asking.traffic.charged[1]

    assert (row["state"], row["account"], row["api_key"], row["model"]) == ("settled", call.account, "key_2", OTHER)
    assert (row["upstream"], row["node"], row["sendings"]) == ("broker", None, 2)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 10**6)
    assert parse_usd(row["total_usd"]) == call.base + call.fee == parse_usd(row["held_usd"])
    assert row["flags"] == ["overrun"]
    assert row["billed_ngonka"] == row["paid_ngonka"] + row["unpaid_ngonka"] == 10**6 + 7 + 3
    assert row["user"] == call.place["user"]
    assert row["tag"] == call.place["tag"]
    assert (lost["total_usd"], lost["unpaid_ngonka"], lost["reason"]) == (
        "0",
        RATE.bill(1000, 100),
        "found without an owner",
    )
    assert (lost["upstream"], lost["node"]) == ("nodes", "gonka1a")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"model={quote(OTHER)}&state=settled", 12),
        ("state=voided", 12),
        ("flags=overrun", 12),
        ("flags=overrun,estimated", 0),
        ("upstream=broker&key=key_2", 12),
        ("node=gonka1a", 37),
        ("from=2001-09-10&to=2001-09-10", 13),
        ("from=2001-09-11", 12),
        ("to=2001-09-08", 0),
        ("inference=chatcmpl-9999", 0),
    ],
)
async def test_filters(asking: Asking, query: str, count: int) -> None:
    """Every filter takes what is so, and several together what is all of that."""
    assert len(await asking.follow(f"{LIST}?{query}")) == count


async def test_an_account_and_its_texts(asking: Asking) -> None:
    """One account's inferences are its own, and a user's are found by the text that the caller knows."""
    tag = asking.tags.half(asking.account, "user", "alice") + bytes(8)
    await asking.ledger.hold(request("chatcmpl-tagged", asking.account)._replace(tag=tag))
    of_account = await asking.follow(f"{LIST}?account={asking.account}&limit=4")
    (tagged,) = await asking.follow(f"{LIST}?account={asking.account}&user=alice")
    (still_open,) = await asking.follow(f"{LIST}?state=open")

    assert len(of_account) == 20
    assert {row["account"] for row in of_account} == {asking.account}
    assert tagged == still_open
    assert (tagged["inference"], tagged["state"], tagged["ended"]) == ("chatcmpl-tagged", "open", None)
    assert await asking.follow(f"{LIST}?account={asking.traffic.accounts[1]}&user=alice") == []
    assert (await asking.get(f"{LIST}?account=acct_nobody")).status == 404


async def test_one_inference_is_shown_whole(asking: Asking) -> None:
    """All sendings with what ended them and what each was billed, the bills by upstream, and every entry."""
    whole = (await asking.get(f"{LIST}/chatcmpl-1")).content
    first, second = whole["attempts"]

    assert (first["upstream"], first["try"], first["billed_ngonka"]) == ("nodes", 0, 3)
    assert (second["upstream"], second["try"], second["billed_ngonka"], second["reference"]) == ("broker", 1, 70, "ref")
    assert whole["bills"] == [
        {"upstream": "nodes", "billed_ngonka": 3, "paid_ngonka": 0, "unpaid_ngonka": 3},
        {"upstream": "broker", "billed_ngonka": 70, "paid_ngonka": 70, "unpaid_ngonka": 0},
    ]
    assert [entry["kind"] for entry in whole["entries"]] == ["hold", "attempt", "attempt", "settle"]
    assert (whole["prompt_tokens_max"], whole["completion_tokens_max"]) == (1000, 100)
    usd = [Decimal(posting["usd"]) for entry in whole["entries"] for posting in entry["postings"] if "usd" in posting]
    assert sum(usd) == 0
    assert (await asking.get(f"{LIST}/chatcmpl-9999")).status == 404


async def test_margin_is_both_books_side_by_side(asking: Asking) -> None:
    """Dollars in, ngonka out, to the last of both; in dollars only at a rate that the operator says."""
    keeper = asking.traffic.keeper
    (whole,) = (await asking.get("/admin/v1/margin?by=total")).content["data"]
    by_day = await asking.follow("/admin/v1/margin?limit=1")
    by_both = await asking.follow("/admin/v1/margin?by=model,upstream&limit=2")

    assert parse_usd(whole["base_usd"]) == keeper.base
    assert parse_usd(whole["fee_usd"]) == keeper.fee
    assert (whole["paid_ngonka"], whole["unpaid_ngonka"]) == (keeper.paid_ngonka, keeper.borne_ngonka)
    assert whole["crash_ngonka"] == RATE.bill(1000, 100)
    assert "margin_usd" not in whole
    for rows in (by_day, by_both):
        assert sum(Decimal(row["total_usd"]) for row in rows) == Decimal(whole["total_usd"])
        assert sum(row["billed_ngonka"] for row in rows) == whole["billed_ngonka"]
    assert {(row["model"], row["upstream"]) for row in by_both} == {
        (model, upstream) for model in (MODEL, OTHER) for upstream in ("broker", "nodes")
    }
    (rated,) = (await asking.get("/admin/v1/margin?by=total&usd_per_gnk=0.62")).content["data"]
    assert Decimal(rated["cost_usd"]) == Decimal(whole["billed_ngonka"]) * Decimal("0.62") / 10**9
    assert Decimal(rated["margin_usd"]) == Decimal(whole["total_usd"]) - Decimal(rated["cost_usd"])


@pytest.mark.parametrize(
    ("target", "code", "param"),
    [
        (f"{LIST}?state=void", "invalid_value", "state"),
        (f"{LIST}?flags=late", "invalid_value", "flags"),
        (f"{LIST}?flags=", "invalid_value", "flags"),
        (f"{LIST}?from=2001", "invalid_value", "from"),
        (f"{LIST}?from=2001-09-11&to=2001-09-10", "invalid_value", "from"),
        (f"{LIST}?user=alice", "invalid_value", "user"),
        (f"{LIST}?tag=run-7", "invalid_value", "tag"),
        (f"{LIST}?limit=501", "invalid_value", "limit"),
        (f"{LIST}?cursor=x", "invalid_value", "cursor"),
        (f"{LIST}?request=req_1", "unknown_parameter", "request"),
        (f"{LIST}?inference=chatcmpl-1&state=open", "invalid_value", "state"),
        (f"{LIST}/chatcmpl-1?limit=1", "unknown_parameter", "limit"),
        ("/admin/v1/margin?by=key", "invalid_value", "by"),
        ("/admin/v1/margin?usd_per_gnk=0", "invalid_value", "usd_per_gnk"),
        ("/admin/v1/margin?usd_per_gnk=-1", "invalid_value", "usd_per_gnk"),
        ("/admin/v1/margin?usd_per_gnk=1e3", "invalid_value", "usd_per_gnk"),
        ("/admin/v1/margin?account=acct_1", "unknown_parameter", "account"),
    ],
)
async def test_a_question_is_never_guessed(asking: Asking, target: str, code: str, param: str) -> None:
    """What is unknown or no value of its parameter is refused, and the parameter is named."""
    told = await asking.get(target)
    error = told.content["error"]

    assert (told.status, error["code"], error["param"]) == (400, code, param)
