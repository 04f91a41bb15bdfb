"""`tallygate statement`: a month of one account, for whoever keeps the customer's books.

Read from the file of the store in this process, whether a gateway is running or not, row by row: a month of a million
calls needs no more memory than a quiet one. All of it is checked before the first line is printed.

The CSV is that of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front (and so does
one that begins with an apostrophe, so that it can be taken off again); amounts are left as they are.
"""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
import msgspec

from tallygate.api.spreadsheets import guard
from tallygate.api.statements import describe_line, describe_statement, read_month
from tallygate.cli.session import Command, Session
from tallygate.cli.storefile import telling
from tallygate.cli.tables import count, dollars, pairs
from tallygate.core.errors import Refusal
from tallygate.core.ledger.statement import VOIDED, draw_up, find_period, read_lines
from tallygate.storage.keeping.account_history import open_history
from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from tallygate.api.statements import Month

COLUMNS: Final = (
    *("account", "account_name", "kind", "sequence", "time", "amount_usd", "balance_usd"),
    *("inference", "api_key", "model", "prompt_tokens", "completion_tokens", "price_sheet"),
    *("base_usd", "fee_usd", "total_usd", "flags", "reference", "actor", "reason", "entry", "count"),
)
_TEXTS: Final = frozenset({"account_name", "model", "reference", "actor", "reason", "api_key", "inference"})
"""Columns with words of people, or of names that people gave."""


@click.command(cls=Command)
@click.argument("account")
@click.argument("month", metavar="YYYY-MM")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="How to print it.  [default: csv]")
@click.option("--output", type=click.Path(path_type=Path), help="A new file to write it to.")
@click.pass_obj
def statement(session: Session, account: str, month: str, form: str | None, output: Path | None) -> None:
    """Print every movement of an account in a month of UTC, checked; exit code 7 if the books disagree."""
    try:
        period = read_month(month)
    except Refusal as refusal:
        raise click.UsageError(refusal.message) from None
    path = session.load_settings(upstreams=False).store.path
    is_json = form == "json" or (form is None and session.as_json)
    with telling(path):
        content = _print(path, account, period, output, is_json=is_json)
    if output is None:
        session.say(_summarise(content))
    else:
        session.show({**content, "file": str(output)}, lambda: _draw(content, output))


def _print(path: Path, account_id: str, month: Month, output: Path | None, *, is_json: bool) -> dict[str, Any]:
    """Print a statement and return all of it but the lines."""
    with open_history(path, account_id) as (account, history):
        period = find_period(history, month.start_ns, month.end_ns)
        drawn = draw_up(history, period)
        content = describe_statement(account.id, account.name, month, drawn, time.time_ns())
        lines = (describe_line(line) for line in read_lines(history, period) if line.kind != VOIDED)
        with _opened(output) as file:
            (_write_json if is_json else write_csv)(file, content, lines)
    return content


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with whole_file(output) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        yield file


def _write_json(file: TextIO, content: dict[str, Any], lines: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object on one line, its `lines` as they come."""
    file.write(msgspec.json.encode(content).decode().removesuffix("}") + ',"lines":[')
    file.writelines(("," if number else "") + msgspec.json.encode(line).decode() for number, line in enumerate(lines))
    file.write("]}\n")


def write_csv(file: TextIO, content: dict[str, Any], lines: Iterable[dict[str, Any]]) -> None:
    """Write a header, the opening balance, every line, the closing balance, and the sums.

    `amount_usd` is what a line adds to the balance, and empty on all other rows: opening balance plus that column is
    the closing balance. Sums stand in `total_usd`.
    """
    writer = csv.DictWriter(file, COLUMNS, restval="")
    writer.writeheader()
    for row in _rows(content, lines):
        writer.writerow({name: _guard(name, value) for name, value in row.items()})


def _rows(content: dict[str, Any], lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    period = content["period"]
    owner = {"account": content["account"]["id"], "account_name": content["account"]["name"]}
    yield {**owner, "kind": "opening balance", "time": period["from"], "balance_usd": content["opening_balance_usd"]}
    for line in lines:
        yield {**owner, **line}
    yield {**owner, "kind": "closing balance", "time": period["to"], "balance_usd": content["closing_balance_usd"]}
    for name in ("deposits", "corrections"):
        yield {**owner, "kind": f"sum of {name}", "count": content[name]["count"], "total_usd": content[name]["usd"]}
    yield {**owner, "kind": "sum of charges", **content["charges"]}
    for model, charges in content["charges_by_model"].items():
        yield {**owner, "kind": "sum of charges of a model", "model": model, **charges}
    yield {**owner, "kind": "voided calls, not charged", "count": content["voided_count"]}


def _guard(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(value)
    return guard(value) if name in _TEXTS and isinstance(value, str) else value


def _summarise(content: dict[str, Any]) -> str:
    account, period = content["account"], content["period"]
    provisional = "" if period["complete"] else " (not over yet)"
    moves = (
        f"{dollars(content['opening_balance_usd'])} + {dollars(content['deposits']['usd'])} deposited"
        f" + {dollars(content['corrections']['usd'])} corrected - {dollars(content['charges']['total_usd'])} charged"
        f" = {dollars(content['closing_balance_usd'])}"
    )
    calls = f"{count(content['charges']['count'], 'call calls')} charged, {content['voided_count']:,} voided"
    return f"{account['id']} ({account['name']}), {period['month']}{provisional}: {moves}; {calls}."


def _draw(content: dict[str, Any], output: Path) -> RenderableType:
    return pairs([("statement", _summarise(content)), ("written to", str(output))])
