"""`tallygate accounts`: customers' accounts in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines

from tallygate.cli.keys import draw_keys
from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import dollars, moment, pairs, table
from tallygate.cli.terms import actor_option, draw_limits, limit_fields, limit_options

if TYPE_CHECKING:
    from rich.console import RenderableType

_AMOUNTS = frozenset({"balance", "available", "held"})


@click.group(cls=Group)
def accounts() -> None:
    """Customers' accounts: open one, see what is in it, limit it, close it for a while."""


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


@accounts.command("set")
@click.argument("account_id", metavar="ID")
@limit_options
@actor_option
@click.pass_obj
def set_account(session: Session, /, account_id: str, actor: str | None, **limits: str | None) -> None:
    """Limit what all keys of an account together may do; what is left out stays as it is."""
    fields = limit_fields(limits)
    if not fields:
        raise click.UsageError("Say what is to be limited; --help lists what can be.")
    _act(session, "PATCH", segment(account_id), {**fields, "actor": actor})


@accounts.command()
@click.argument("account_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it stays in the books for ever.")
@actor_option
@click.pass_obj
def suspend(session: Session, account_id: str, reason: str, actor: str | None) -> None:
    """Block all keys of an account at once, until it is resumed."""
    _act(session, "POST", f"{segment(account_id)}/suspend", {"reason": reason, "actor": actor})


@accounts.command()
@click.argument("account_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it stays in the books for ever.")
@actor_option
@click.pass_obj
def resume(session: Session, account_id: str, reason: str, actor: str | None) -> None:
    """Let the keys of a suspended account be what they were; paused ones stay paused."""
    _act(session, "POST", f"{segment(account_id)}/resume", {"reason": reason, "actor": actor})


def _act(session: Session, method: str, path: str, fields: dict[str, Any]) -> None:
    given = {name: value for name, value in fields.items() if value is not None}
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        account = ask(operator, method, f"/admin/v1/accounts/{path}", given)
    session.show(account, lambda: _draw_account(account))


def _draw_accounts(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return "There are no accounts yet; `tallygate accounts create NAME` opens one."
    rows = [
        (
            account["id"],
            account["name"],
            account["status"],
            dollars(account["balance_usd"]),
            dollars(account["available_usd"]),
            dollars(account["held_usd"]),
            moment(account["created_ns"]),
        )
        for account in found
    ]
    return table(("account", "name", "status", "balance", "available", "held", "opened (UTC)"), rows, amounts=_AMOUNTS)


def _draw_account(account: dict[str, Any]) -> RenderableType:
    facts = pairs(
        [
            ("account", account["id"]),
            ("name", account["name"]),
            ("status", account["status"]),
            ("limits", draw_limits(account["limits"])),
            ("balance", dollars(account["balance_usd"])),
            ("available", dollars(account["available_usd"])),
            ("held", dollars(account["held_usd"])),
            ("opened (UTC)", moment(account["created_ns"])),
        ]
    )
    return Lines(facts, draw_keys(account["keys"])) if account.get("keys") else facts
