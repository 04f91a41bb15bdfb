"""`tallygate check`: every problem of the configuration at once, with its line and its remedy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from tallygate import app
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import pairs
from tallygate.core.money import format_cents
from tallygate.feeds import try_upstreams
from tallygate.opening import read_public_key
from tallygate.secretfile import SecretFileError
from tallygate.tokenizerfile import TokenizerFileError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallygate.config import EventsSettings, Settings


@click.command(cls=Command)
@click.option("--online", is_flag=True, help="Ask every upstream, too, without spending anything.")
@click.pass_obj
def check(session: Session, online: bool) -> None:
    """Check the configuration, and say what it comes to."""
    settings = session.load_settings()
    try:
        app.read_tokenizers(settings)
    except TokenizerFileError as error:
        raise Failure(Exit.CONFIGURATION, f"{error}.") from None
    content: dict[str, Any] = {"ok": True, "config": str(session.config_path), **_summarise(settings)}
    if online:
        trials = asyncio.run(try_upstreams(settings))
        content |= {"ok": all(trial.ok for trial in trials), "online": [trial._asdict() for trial in trials]}
        if not content["ok"]:
            told = [f"  {trial.upstream}, {trial.place}: {trial.detail}" for trial in trials if not trial.ok]
            raise Failure(Exit.FAILED, "\n".join(["Not all is well with the ways to the network:", *told]), content)
    session.show(content, lambda: _draw(content))


def _summarise(settings: Settings) -> dict[str, Any]:
    server, admin = settings.server, settings.admin
    return {
        "server": f"{server.host}:{server.port}",
        "admin": f"{admin.host}:{admin.port}" + ("" if admin.key else ", closed: no admin key"),
        "store": str(settings.store.path),
        "events": _describe_events(settings.events),
        "checkpoint_key": _read_checkpoint_key(settings),
        "upstreams": [upstream.name for upstream in settings.upstreams],
        "models": [model.card.id for model in settings.models],
        "warnings": _warn(settings),
    }


def _describe_events(events: EventsSettings) -> str:
    low = "" if events.low_balance_picousd is None else f"; below ${format_cents(events.low_balance_picousd)} is low"
    return ("log only" if events.webhook is None else events.webhook.url) + low


def _read_checkpoint_key(settings: Settings) -> str:
    try:
        return read_public_key(settings.store) or "made at the first start"
    except SecretFileError as error:
        raise Failure(Exit.CONFIGURATION, f"{error}.") from None


def _warn(settings: Settings) -> list[str]:
    """Return what is no mistake, and yet perhaps not what is wanted."""
    warnings = []
    if settings.admin.key is None:
        warnings.append(
            "The admin listener stays closed: there is no admin key, so no command works beside a running gateway. "
            "Set the variable that [admin] key_env names, for the gateway and for the commands."
        )
    if not any(model.price for model in settings.models):
        warnings.append(
            "No model has a price in this file; callers are offered those only that `tallygate prices set` has priced."
        )
    return warnings


def _draw(content: dict[str, Any]) -> RenderableType:
    shown = {name: value for name, value in content.items() if name not in {"ok", "warnings", "online"}}
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in shown.items()]
    warnings = [("warning", text) for text in content["warnings"]]
    trials = [(trial["upstream"], f"{trial['place']} {trial['detail']}") for trial in content.get("online", ())]
    return pairs([*rows, *warnings, *trials, ("problems", "none")])
