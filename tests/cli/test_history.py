"""`tallygate usage`, `inferences` and `margin`: on the store and beside a running gateway."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tallygate.cli.exits import Exit
from tallygate.cli.operator import Answer
from tallygate.cli.pages import ask_pages
from tallygate.core.money import format_usd
from tests.contract.traffic import OTHER, Traffic
from tests.contract.world import Machine, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.cli.installation import Installation

DAYS = ("--from", "2001-09-09", "--to", "2001-09-11")


class Books(NamedTuple):
    """An installation with three days of traffic in its store."""

    installation: Installation
    traffic: Traffic

    @property
    def account(self) -> str:
        """One of the accounts."""
        return self.traffic.accounts[0]


@pytest.fixture(params=["store", "gateway"])
def books(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Books]:
    """Return books whose commands work on the store, and some where they ask a running gateway."""
    traffic = Traffic()

    async def fill() -> None:
        machine = Machine(SqliteStore(installation.store))
        await traffic.run(machine)
        await machine.stop()

    asyncio.run(fill())
    if request.param == "store":
        yield Books(installation, traffic)
    else:
        with installation.gateway():
            yield Books(installation, traffic)


def test_usage_adds_up(books: Books) -> None:
    """The sums are what callers were charged, by day or by whatever is asked; people get a table of it."""
    run, ask = books.installation.run, books.installation.ask
    charged = sum(call.base + call.fee for call in books.traffic.charged if call.account == books.account)
    for by in ("day", "model,key", "user,tag"):
        rows = ask("usage", books.account, *DAYS, "--by", by)["data"]
        assert sum(Decimal(row["total_cost_usd"]) for row in rows) == Decimal(format_usd(charged))
    (row,) = ask("usage", books.account, *DAYS, "--by", "total", "--model", OTHER)["data"]
    shown = run("usage", books.account, *DAYS, "--by", "day,model")

    assert row["calls"] == 6
    assert shown.code == 0
    assert shown.out.count("2001-09-1") >= 4
    assert "Nothing was used" in run("usage", books.account).out
    assert run("usage", "acct_nobody").code == Exit.NOT_FOUND


def test_inferences_are_listed_and_shown(books: Books) -> None:
    """A list is newest first, as long as is asked for, and filtered; one is shown with its attempts."""
    run, ask = books.installation.run, books.installation.ask
    newest = ask("inferences", "--limit", "3")
    lost = ask("inferences", "--state", "expired", "--account", books.account)["data"]
    whole = ask("inferences", "chatcmpl-1")
    shown = run("inferences", "chatcmpl-1")

    assert [row["inference"] for row in newest["data"]][:1] == [f"chatcmpl-{books.traffic.count}"]
    assert (len(newest["data"]), newest["has_more"]) == (3, True)
    assert [row["inference"] for row in lost] == ["chatcmpl-lost-1"]
    assert [attempt["upstream"] for attempt in whole["attempts"]] == ["nodes", "broker"]
    assert "broker" in shown.out
    assert "73 ngonka, of which 3 nobody paid" in shown.out
    assert run("inferences", "--model", OTHER).out.count("chatcmpl-") == 12
    assert "no such inference" in run("inferences", "--from", "2001-10-01").out
    assert run("inferences", "chatcmpl-nobody").code == Exit.NOT_FOUND
    assert run("inferences", "chatcmpl-1", "--state", "open").code == Exit.USAGE


def test_margin_is_told_in_both_units(books: Books) -> None:
    """Dollars and ngonka stand side by side; with a rate the difference is told in dollars."""
    run, ask = books.installation.run, books.installation.ask
    (row,) = ask("margin", *DAYS, "--by", "total", "--usd-per-gnk", "0.62")["data"]
    keeper = books.traffic.keeper
    shown = run("margin", *DAYS, "--by", "model,upstream", "--usd-per-gnk", "0.62").out

    assert row["total_usd"] == format_usd(keeper.base + keeper.fee)
    assert row["billed_ngonka"] == keeper.paid_ngonka + keeper.borne_ngonka
    assert Decimal(row["margin_usd"]) == Decimal(row["total_usd"]) - Decimal(row["cost_usd"])
    assert "margin" in shown
    assert OTHER in shown
    assert "margin" not in run("margin", *DAYS).out
    assert "Nothing was charged" in run("margin").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("usage", "ACCOUNT", "--by", "account"), "by must be"),
        (("usage", "ACCOUNT", "--from", "today"), "from must be"),
        (("inferences", "--flags", "late"), "flags must be"),
        (("inferences", "--user", "alice"), "user must be"),
        (("margin", "--usd-per-gnk", "-1"), "usd_per_gnk must be"),
    ],
)
def test_a_wrong_question_is_told(installation: Installation, arguments: tuple[str, ...], told: str) -> None:
    """What the gateway refuses, the command says, naming what was wrong."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    outcome = installation.run(*(account if word == "ACCOUNT" else word for word in arguments))

    assert outcome.code == Exit.FAILED
    assert told in outcome.err


class Pages:
    """Somebody who answers three pages, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Answer the next page: two rows, none, two rows."""
        self.asked.append(path)
        number = len(self.asked)
        rows = [] if number == 2 else [number, number]
        more = number < 3
        return Answer(200, {"data": rows, "from": "a", "has_more": more, "next_cursor": "c" if more else None})

    def apply_configuration(self) -> None:
        """Do nothing."""


def test_pages_are_followed_to_the_last() -> None:
    """Also past an empty page, over the same days, with no more rows asked for than are still wanted."""
    whole, some = Pages(), Pages()

    assert ask_pages(whole, "/x", {"by": None}, rows_max=None, page_rows=5)["data"] == [1, 1, 3, 3]
    assert whole.asked == ["/x?limit=5", "/x?cursor=c&from=a&limit=5", "/x?cursor=c&from=a&limit=5"]
    assert ask_pages(some, "/x", {"to": "b"}, rows_max=2, page_rows=5)["has_more"]
    assert some.asked == ["/x?to=b&limit=2"]
