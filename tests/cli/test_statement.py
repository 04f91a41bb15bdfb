"""`tallygate statement`: on the store and beside a running gateway, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tallygate.cli.statement import COLUMNS, write_csv

if TYPE_CHECKING:
    from tests.cli.installation import Installation


def this_month() -> str:
    """Return the month that it is; a test that runs over its end finds its entries in the next."""
    return datetime.now(UTC).strftime("%Y-%m")


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV as anybody's reader sees them."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def fill(installation: Installation, name: str = "Ada & Co") -> str:
    """Open an account and move its balance; return its id."""
    account: str = installation.ask("accounts", "create", name)["id"]
    installation.ask("credit", account, "5", "--reference", "=HYPERLINK(1)")
    installation.ask("correct", account, "-0.000000000001", "--reason", 'a slip, "small"', "--actor", "+Eve")
    return account


def test_a_statement_is_csv_that_adds_up(either: Installation) -> None:
    """Opening balance plus all amounts is the closing balance, exactly; each row has every column."""
    account = fill(either)
    outcome = either.run("statement", account, this_month())
    rows = read_csv(outcome.out)

    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == ",".join(COLUMNS)
    assert [row["kind"] for row in rows][:4] == ["opening balance", "deposit", "correction", "closing balance"]
    assert Decimal(rows[0]["balance_usd"]) + sum(Decimal(row["amount_usd"]) for row in rows if row["amount_usd"]) == (
        Decimal(rows[3]["balance_usd"])
    )
    assert rows[3]["balance_usd"] == "4.999999999999"
    assert {row["account"] for row in rows} == {account}
    assert "$5.00 deposited" in outcome.err


def test_no_text_is_a_formula_to_a_spreadsheet(either: Installation) -> None:
    """A name, a reference, an actor that begins like a formula is guarded; a negative amount stays a number."""
    account = fill(either, name="@SUM(A1)")
    rows = read_csv(either.run("statement", account, this_month()).out)

    assert rows[1]["reference"] == "'=HYPERLINK(1)"
    assert (rows[2]["actor"], rows[2]["reason"]) == ("'+Eve", 'a slip, "small"')
    assert rows[2]["amount_usd"] == "-0.000000000001"
    assert {row["account_name"] for row in rows} == {"'@SUM(A1)"}


@pytest.mark.parametrize("options", [("--json",), ("--format", "json")])
def test_a_statement_is_json_for_programs(either: Installation, options: tuple[str, ...]) -> None:
    """The JSON has the sums and the lines, as the route gives them."""
    account = fill(either)
    content = either.run("statement", account, this_month(), *options).content

    assert content["deposits"] == {"count": 1, "usd": "5"}
    assert content["corrections"] == {"count": 1, "usd": "-0.000000000001"}
    assert content["closing_balance_usd"] == "4.999999999999"
    assert [line["kind"] for line in content["lines"]] == ["deposit", "correction"]
    assert content["lines"][0]["reference"] == "=HYPERLINK(1)"
    assert not content["period"]["complete"]


def test_a_file_is_new_and_for_its_owner(installation: Installation) -> None:
    """`--output` writes a file that only its owner reads, says its sums, and overwrites nothing."""
    account = fill(installation)
    file = installation.folder / "ada.csv"
    told = installation.ask("statement", account, this_month(), "--format", "csv", "--output", str(file))
    again = installation.run("statement", account, this_month(), "--output", str(file))

    assert told["file"] == str(file)
    assert told["closing_balance_usd"] == "4.999999999999"
    assert len(read_csv(file.read_bytes().decode())) == 8
    assert file.read_bytes().count(b"\r\n") == 9
    assert file.stat().st_mode & 0o777 == 0o600
    assert (again.code, "already" in again.err) == (1, True)


def test_months_follow_on_one_another(installation: Installation) -> None:
    """Before its first entry an account has nothing; after the month it has what the month left."""
    account = fill(installation)
    before = installation.ask("statement", account, "2020-02")
    after = installation.ask("statement", account, "2999-01")

    assert (before["opening_balance_usd"], before["closing_balance_usd"], before["lines"]) == ("0", "0", [])
    assert (after["opening_balance_usd"], after["closing_balance_usd"]) == ("4.999999999999", "4.999999999999")


def test_what_cannot_be_stated_has_its_exit_code(installation: Installation) -> None:
    """No month is 2, no account is 5, no store is 1."""
    assert installation.run("statement", "acct_x", "January").code == 2
    assert installation.run("--json", "statement", "acct_x", "2026-01").content["error"]["code"] == "not_found"
    assert installation.run("statement", "acct_x", "2026-01").code == 5
    installation.store.unlink()
    assert installation.run("statement", "acct_x", "2026-01").code == 1


def test_books_that_disagree_give_no_statement(installation: Installation) -> None:
    """Where the entries do not follow from one another, nothing is printed and the exit code is 7."""
    account = fill(installation)
    db = apsw.Connection(str(installation.store))
    db.execute("DROP TRIGGER entries_never_go")
    db.execute("DELETE FROM entries WHERE kind = 'deposit'")
    db.close()
    outcome = installation.run("statement", account, this_month())

    assert (outcome.code, outcome.out) == (7, "")
    assert "entry 2 of the account is missing" in outcome.err


def test_any_text_comes_back_from_the_csv() -> None:
    """What a reader gets, less the guarding apostrophe, is what was written, quotes, commas, line ends and all."""
    texts = ['say "no"', "a,b", "two\r\nlines", "=1+1", "'quoted", "-5", "@x", "\ttab", "plain", "＝1", ""]
    charges = {
        "count": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "base_usd": "0",
        "fee_usd": "0",
        "total_usd": "0",
    }
    content: dict[str, Any] = {
        "account": {"id": "acct_1", "name": "Ann"},
        "period": {"from": "a", "to": "b"},
        "opening_balance_usd": "0",
        "closing_balance_usd": "0",
        "deposits": {"count": 0, "usd": "0"},
        "corrections": {"count": 0, "usd": "0"},
        "charges": charges,
        "charges_by_model": {},
        "voided_count": 0,
    }
    file = io.StringIO(newline="")
    write_csv(file, content, [{"kind": "deposit", "reason": text} for text in texts])
    found = [row["reason"] for row in read_csv(file.getvalue()) if row["kind"] == "deposit"]

    assert [text.removeprefix("'") if text.startswith("'") else text for text in found] == texts
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for text in found)
