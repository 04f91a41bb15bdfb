"""`tallygate correct`: an operator's change of a balance, with who and why."""

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


# An amount may begin with a minus, which is no option here.
@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("account")
@click.argument("usd", type=USD, metavar="±USD")
@click.option("--reason", required=True, help="Why; it stays in the books for ever.")
@click.option("--actor", required=True, help="Who decided it.")
@idempotency_key
@click.pass_obj
def correct(session: Session, account: str, usd: str, reason: str, actor: str, idempotency_key: str | None) -> None:
    """Change a balance by so many US dollars, such as -0.25 or +5; it may end below zero."""
    fields = {"usd": usd, "reason": reason, "actor": actor}
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        path = f"/admin/v1/accounts/{segment(account)}/corrections"
        correction = ask(operator, "POST", path, fields, idempotency_key)
    session.show(correction, lambda: _draw(correction))


def _draw(correction: dict[str, Any]) -> RenderableType:
    account = correction["account"]
    said = "booked before under this key" if correction["replayed"] else "booked"
    return pairs(
        [
            ("correction", f"{dollars(correction['usd'])} {said}: {correction['reason']} ({correction['actor']})"),
            ("account", f"{account['id']} ({account['name']})"),
            ("balance", dollars(account["balance_usd"])),
        ]
    )
