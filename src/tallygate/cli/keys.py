"""`tallygate keys`: the callers' secrets. A key is shown once, when it is made; only its digest is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import moment, table

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.group(cls=Group)
def keys() -> None:
    """API keys: make, list and revoke them."""


@keys.command()
@click.argument("account")
@click.option("--name", help="What the key is for.")
@click.pass_obj
def create(session: Session, account: str, name: str | None) -> None:
    """Make a key for an account; it is shown this once."""
    fields = {"account": account} if name is None else {"account": account, "name": name}
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        key = ask(operator, "POST", "/admin/v1/keys", fields)
    if not session.as_json:
        session.say(f"{key['id']}, a key for {key['account']}. It is shown only now; keep it:")
    session.show(key, lambda: str(key["secret"]))


@keys.command("list")
@click.option("--account", help="Only the keys of this account.")
@click.pass_obj
def list_keys(session: Session, account: str | None) -> None:
    """List keys, never their secrets."""
    query = "" if account is None else f"?account={segment(account)}"
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        answer = ask(operator, "GET", f"/admin/v1/keys{query}")
    session.show(answer, lambda: draw_keys(answer["data"]))


@keys.command()
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke(session: Session, key: str) -> None:
    """End a key's life at once. KEY is its id, `key_…`."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        revoked = ask(operator, "DELETE", f"/admin/v1/keys/{segment(key)}")
    session.show(revoked, lambda: draw_keys([revoked]))


def draw_keys(found: list[dict[str, Any]]) -> RenderableType:
    """Return a table of keys."""
    if not found:
        return "There are no keys; `tallygate keys create ACCOUNT` makes one."
    rows = [
        (
            key["id"],
            key["account"],
            key["name"],
            key["key"],
            key["status"],
            moment(key["created_ns"]),
            moment(key["revoked_ns"]),
        )
        for key in found
    ]
    return table(("key", "account", "name", "looks like", "status", "made (UTC)", "revoked (UTC)"), rows)
