"""`tallygate accounts`: customers' accounts in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines

from tallygate.cli.keys import draw_keys
from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import dollars, moment, pairs, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_AMOUNTS = frozenset({"balance", "available", "held"})


@click.group(cls=Group)
def accounts() -> None:
    """Customers' accounts: open one, see what is in it."""


@accounts.command()
@click.argument("name")
@click.pass_obj
def create(session: Session, name: str) -> None:
    """Open an account."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        account = ask(operator, "POST", "/admin/v1/accounts", {"name": name})
    session.show(account, lambda: _draw_account(account))


@accounts.command("list")
@click.pass_obj
def list_accounts(session: Session) -> None:
    """List all accounts with their balances."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        answer = ask(operator, "GET", "/admin/v1/accounts")
    session.show(answer, lambda: _draw_accounts(answer["data"]))


@accounts.command()
@click.argument("account_id", metavar="ID")
@click.pass_obj
def show(session: Session, account_id: str) -> None:
    """Show one account and its keys."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        account = ask(operator, "GET", f"/admin/v1/accounts/{segment(account_id)}")
    session.show(account, lambda: _draw_account(account))


def _draw_accounts(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return "There are no accounts yet; `tallygate accounts create NAME` opens one."
    rows = [
        (
            account["id"],
            account["name"],
            dollars(account["balance_usd"]),
            dollars(account["available_usd"]),
            dollars(account["held_usd"]),
            moment(account["created_ns"]),
        )
        for account in found
    ]
    return table(("account", "name", "balance", "available", "held", "opened (UTC)"), rows, amounts=_AMOUNTS)


def _draw_account(account: dict[str, Any]) -> RenderableType:
    facts = pairs(
        [
            ("account", account["id"]),
            ("name", account["name"]),
            ("balance", dollars(account["balance_usd"])),
            ("available", dollars(account["available_usd"])),
            ("held", dollars(account["held_usd"])),
            ("opened (UTC)", moment(account["created_ns"])),
        ]
    )
    return Lines(facts, draw_keys(account["keys"])) if account.get("keys") else facts
