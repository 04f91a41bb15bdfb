"""`tallygate account`: how a developer's account stands on the chain, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tallygate.cli.direct.options import node_option, telling
from tallygate.cli.exits import Exit
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import pairs
from tallygate.core.money import NGONKA_PER_GNK
from tallygate.direct.accounts import encode_public_key, look_up_account
from tallygate.direct.nodes import find_nodes
from tallygate.direct.wallet import ADDRESS_VARIABLE

if TYPE_CHECKING:
    from tallygate.direct.accounts import AccountState


@click.command(cls=Command)
@click.argument("address", envvar=ADDRESS_VARIABLE)
@node_option
@click.pass_obj
def account(session: Session, address: str, node_address: str | None) -> int:
    """Show how an account stands and what to do next; exit code 5 if it is not ready for requests."""
    with telling():
        url = node_address or find_nodes()[0].url
        found = look_up_account(url, address)
    key = None if found.public_key is None else encode_public_key(found.public_key)
    content = {
        "address": found.address,
        "balance_ngonka": found.balance_ngonka,
        "public_key": key,
        "ready": found.is_ready,
        "next": found.advice,
    }
    rows = [
        ("Address", found.address),
        ("Balance", _spell_balance(found)),
        ("Public key", key or "not published"),
        ("Next", found.advice),
    ]
    session.show(content, lambda: pairs(rows))
    return Exit.OK if found.is_ready else Exit.NOT_FOUND


def _spell_balance(found: AccountState) -> str:
    if found.balance_ngonka is None:
        return "unknown"
    whole, rest = divmod(found.balance_ngonka, NGONKA_PER_GNK)
    return f"{whole}.{rest:09} GNK ({found.balance_ngonka} ngonka)"
