"""`tallygate keys`: the callers' secrets. A key is shown once, when it is made; only its digest is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import moment, pairs, table
from tallygate.cli.terms import Span, actor_option, draw_limits, term_fields, term_options

if TYPE_CHECKING:
    from rich.console import RenderableType

_KEY = click.argument("key", metavar="KEY")


@click.group(cls=Group)
def keys() -> None:
    """API keys: make them, change what they may do, let them rest, give them other secrets, end them."""


@keys.command()
@click.argument("account")
@click.option("--name", help="What the key is for.")
@term_options
@actor_option
@click.pass_obj
def create(
    session: Session,
    /,
    account: str,
    name: str | None,
    expires: str | None,
    models: tuple[str, ...],
    actor: str | None,
    **limits: str | None,
) -> None:
    """Make a key for an account; it is shown this once."""
    terms = term_fields(expires, models, limits)
    key = _ask(session, "POST", "", account=account, name=name, actor=actor, **terms)
    _show_secret(session, key, f"{key['id']}, a key for {key['account']}. It is shown only now; keep it:")


@keys.command("import")
@click.argument("account")
@click.argument("sha256")
@click.option("--name", help="What the key is for.")
@term_options
@actor_option
@click.pass_obj
def import_key(
    session: Session,
    /,
    account: str,
    sha256: str,
    name: str | None,
    expires: str | None,
    models: tuple[str, ...],
    actor: str | None,
    **limits: str | None,
) -> None:
    """Let a key from elsewhere be used here, by its SHA-256 in hexadecimal digits.

    The hash is that of the whole key and nothing more: printf %s "$KEY" | sha256sum
    """
    terms = term_fields(expires, models, limits)
    key = _ask(session, "POST", "", account=account, sha256=sha256, name=name, actor=actor, **terms)
    session.show(key, lambda: _draw_key(key))


@keys.command("list")
@click.option("--account", help="Only the keys of this account.")
@click.pass_obj
def list_keys(session: Session, account: str | None) -> None:
    """List keys, never their secrets."""
    answer = _ask(session, "GET", "" if account is None else f"?account={segment(account)}")
    session.show(answer, lambda: draw_keys(answer["data"]))


@keys.command()
@_KEY
@click.pass_obj
def show(session: Session, key: str) -> None:
    """Show what a key may do. KEY is its id, `key_…`."""
    shown = _ask(session, "GET", f"/{segment(key)}")
    session.show(shown, lambda: _draw_key(shown))


@keys.command("set")
@_KEY
@click.option("--name", help="What the key is for.")
@term_options
@actor_option
@click.pass_obj
def set_key(
    session: Session,
    /,
    key: str,
    name: str | None,
    expires: str | None,
    models: tuple[str, ...],
    actor: str | None,
    **limits: str | None,
) -> None:
    """Change a key from its next call on; what is left out stays as it is."""
    fields = {**term_fields(expires, models, limits), **({} if name is None else {"name": name})}
    if not fields:
        raise click.UsageError("Say what is to be changed; --help lists what can be.")
    changed = _ask(session, "PATCH", f"/{segment(key)}", actor=actor, **fields)
    session.show(changed, lambda: _draw_key(changed))


@keys.command()
@_KEY
@actor_option
@click.pass_obj
def pause(session: Session, key: str, actor: str | None) -> None:
    """Refuse a key at once, until it is resumed."""
    _act(session, "POST", f"/{segment(key)}/pause", actor)


@keys.command()
@_KEY
@actor_option
@click.pass_obj
def resume(session: Session, key: str, actor: str | None) -> None:
    """Let a paused key be used again."""
    _act(session, "POST", f"/{segment(key)}/resume", actor)


@keys.command()
@_KEY
@click.option("--grace", type=Span(), help="How long the old secret still works: 90s, 10m, 12h, 7d. Else it is dead.")
@actor_option
@click.pass_obj
def rotate(session: Session, key: str, grace: int | None, actor: str | None) -> None:
    """Give a key another secret, which is shown this once; its id and all else stay."""
    rotated = _ask(session, "POST", f"/{segment(key)}/rotate", grace_s=grace, actor=actor)
    old = "is dead" if not grace else f"works for {grace} more seconds"
    _show_secret(session, rotated, f"{rotated['id']} has another secret; the old one {old}. It is shown only now:")


@keys.command()
@_KEY
@actor_option
@click.pass_obj
def revoke(session: Session, key: str, actor: str | None) -> None:
    """End a key's life at once, for good."""
    _act(session, "DELETE", f"/{segment(key)}", actor)


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
            moment(key["expires_ns"]),
            moment(key["revoked_ns"]),
        )
        for key in found
    ]
    heads = ("key", "account", "name", "looks like", "status", "made (UTC)", "expires (UTC)", "revoked (UTC)")
    return table(heads, rows)


def _draw_key(key: dict[str, Any]) -> RenderableType:
    facts = [
        ("key", key["id"]),
        ("account", key["account"]),
        ("name", key["name"]),
        ("looks like", "as where it was made" if key["key"] == "…" else key["key"]),
        ("status", key["status"]),
        ("made (UTC)", moment(key["created_ns"])),
        ("expires (UTC)", moment(key["expires_ns"]) or "never"),
        ("models", "all" if key["models"] is None else ", ".join(key["models"])),
        ("limits", draw_limits(key["limits"])),
    ]
    return pairs([*facts, *([("revoked (UTC)", moment(key["revoked_ns"]))] if key["revoked_ns"] else [])])


def _act(session: Session, method: str, path: str, actor: str | None) -> None:
    key = _ask(session, method, path, actor=actor)
    session.show(key, lambda: draw_keys([key]))


def _ask(session: Session, method: str, path: str, **fields: Any) -> dict[str, Any]:
    """Ask a route under `keys`; what is None is not said."""
    given = {name: value for name, value in fields.items() if value is not None or name in {"expires_ns", "models"}}
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        return ask(operator, method, f"/admin/v1/keys{path}", given or None)


def _show_secret(session: Session, key: dict[str, Any], told: str) -> None:
    if not session.as_json:
        session.say(told)
    session.show(key, lambda: str(key["secret"]))
