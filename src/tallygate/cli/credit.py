"""`tallygate credit`: money that came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.amounts import USD
from tallygate.cli.idempotency import idempotency_key
from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import dollars, pairs

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command(cls=Command)
@click.argument("account")
@click.argument("usd", type=USD, metavar="USD")
@click.option("--reference", help="The payment's own id; the same one is booked only once.")
@idempotency_key
@click.pass_obj
def credit(session: Session, account: str, usd: str, reference: str | None, idempotency_key: str | None) -> None:
    """Book a deposit of so many US dollars, such as 5 or 0.25."""
    fields = {"usd": usd} if reference is None else {"usd": usd, "reference": reference}
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        path = f"/admin/v1/accounts/{segment(account)}/deposits"
        deposit = ask(operator, "POST", path, fields, idempotency_key)
    session.show(deposit, lambda: _draw(deposit))


def _draw(deposit: dict[str, Any]) -> RenderableType:
    account = deposit["account"]
    said = "booked before under this reference or key; nothing was added" if deposit["replayed"] else "booked"
    return pairs(
        [
            ("deposit", f"{dollars(deposit['usd'])} {said}"),
            ("account", f"{account['id']} ({account['name']})"),
            ("balance", dollars(account["balance_usd"])),
        ]
    )
