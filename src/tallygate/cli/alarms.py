"""`tallygate alarms` and `tallygate wallets`: what a running gateway finds wrong, and what pays the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.operator import ask, reach_operator
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import table

if TYPE_CHECKING:
    from rich.console import RenderableType

_AMOUNTS = frozenset({"spendable", "escrowed"})


@click.command(cls=Command)
@click.pass_obj
def alarms(session: Session) -> None:
    """Show what is wrong now, and what to do about it."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        content = ask(operator, "GET", "/admin/v1/alarms")
    session.show(content, lambda: _draw_alarms(content["data"]))


@click.command(cls=Command)
@click.pass_obj
def wallets(session: Session) -> None:
    """Show the wallets and escrows that pay the network, in ngonka."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        content = ask(operator, "GET", "/admin/v1/wallets")
    session.show(content, lambda: _draw_wallets(content["data"]))


def _draw_alarms(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return "Nothing is wrong."
    rows = [(alarm["kind"], alarm["subject"], alarm["detail"], alarm["remedy"]) for alarm in found]
    return table(("alarm", "of", "because", "what to do"), rows)


def _draw_wallets(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return "No upstream tells what pays it."
    rows = [
        (
            wallet["upstream"],
            wallet["wallet"],
            wallet["spendable_ngonka"] or "-",
            wallet["escrowed_ngonka"] or "-",
            {True: "yes", False: "no", None: "-"}[wallet["key_published"]],
        )
        for wallet in found
    ]
    return table(("upstream", "wallet", "spendable", "escrowed", "key published"), rows, amounts=_AMOUNTS)
