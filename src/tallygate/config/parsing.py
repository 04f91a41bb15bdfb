"""From the file to settings: reads every part, whatever is wrong with the others, and then tells all problems at once.

`load` is the only code here that touches files. Errors about the file are raised outside of `except` blocks, so that
no exception carries the text of the file along.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tallygate.config.feeds import read_price_feed, read_wallets
from tallygate.config.limits import read_limits
from tallygate.config.lines import LineFinder
from tallygate.config.models import default_to_programs, read_models, refuse_aliases
from tallygate.config.schema import Root
from tallygate.config.schema.books import Billing, Events, Store
from tallygate.config.schema.keys import Keys
from tallygate.config.schema.listeners import Admin, Metrics, Server
from tallygate.config.secrets import SecretReader
from tallygate.config.settings import (
    AdminSettings,
    BillingSettings,
    ConfigError,
    EdgeSettings,
    EventsSettings,
    KeySettings,
    MetricsSettings,
    Problem,
    RetrySettings,
    ServerSettings,
    Settings,
    StoreSettings,
    WebhookSettings,
)
from tallygate.config.tables import Attempt, Report, Table
from tallygate.config.upstreams import Surroundings, read_upstreams
from tallygate.core.openai import Policy
from tallygate.privatefile import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tallygate.config.keys import Key
    from tallygate.config.lines import KeyPath
    from tallygate.config.settings import ModelSettings, UpstreamSettings

PEPPER_SUFFIX: Final = ".pepper"
CHECKPOINT_KEY_SUFFIX: Final = ".checkpoint-key"
ANCHORS_NAME: Final = "anchors.jsonl"

_AT_LINE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_ANY_HOST: Final = {"0.0.0.0", "::"}  # noqa: S104  (compared with, not listened on)


def load(path: Path, environ: Mapping[str, str], *, upstreams: bool = True) -> Settings:
    """Return the settings of a file, with the secrets that it refers to.

    Args:
        path: The file, in TOML.
        environ: The environment; `Settings.secret_env_names` tells which of it to remove afterwards.
        upstreams: Whether the ways to the network are read; without them, none of their secrets is needed, and
            `Settings.upstreams` is empty.

    Raises:
        ConfigError: With every problem that was found.
    """
    text = _read_text(path)
    return parse(
        _read_toml(text),
        environ=environ,
        read_secret_file=read_secret_file,
        lines=LineFinder(text),
        base_dir=path.absolute().parent,
        is_file=Path.is_file,
        upstreams=upstreams,
    )


def parse(
    mapping: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    read_secret_file: Callable[[Path], str],
    lines: Callable[[KeyPath], int | None],
    base_dir: Path,
    is_file: Callable[[Path], bool] = lambda _: True,
    upstreams: bool = True,
) -> Settings:
    """Return the settings of a mapping; pure but for what is passed in.

    Args:
        mapping: What a TOML file says, its floats as `Decimal`.
        environ: Where the variables of secrets are.
        read_secret_file: Returns what a file holds that only its owner can read; raises `UnusableFileError`.
        lines: Tells on which line a value stands.
        base_dir: What the names of files are relative to.
        is_file: Tells whether a file exists that is read later.
        upstreams: Whether the ways to the network are read.

    Raises:
        ConfigError: With every problem that was found.
    """
    report = Report(lines)
    secrets = SecretReader(environ, read_secret_file, base_dir)
    around = Surroundings(report, secrets, base_dir, is_file)
    read = _read_settings if upstreams else _read_settings_without_upstreams
    settings = Attempt(read, Table(Root, dict(mapping), (), report), around)
    if report.problems:
        raise ConfigError(report.problems)
    return settings.take()


def _read_settings(root: Table, around: Surroundings) -> Settings:
    upstreams = Attempt(_read_upstreams, root, around)
    settings = Attempt(_read_others, root, around, around.secrets)
    Attempt(_refuse_aliases, upstreams, settings, around.report)
    written = root[Root.models]
    models = default_to_programs(settings.take().models, {} if written is None else written, upstreams.take())
    return replace(
        settings.take(),
        models=models,
        upstreams=upstreams.take(),
        secret_env_names=frozenset(around.secrets.env_names),
    )


def _read_settings_without_upstreams(root: Table, around: Surroundings) -> Settings:
    return _read_others(root, around, None)


def _read_others(root: Table, around: Surroundings, gateways_secrets: SecretReader | None) -> Settings:
    """Read everything but the ways to the network; without `gateways_secrets`, no key that a running gateway needs."""
    server = Attempt(_read_server, root)
    admin = Attempt(_read_admin, root, around.secrets)
    metrics = Attempt(_read_metrics, root, gateways_secrets)
    store = Attempt(_read_store, root, around.base_dir)
    keys = Attempt(_read_keys, root)
    billing = Attempt(_read_billing, root)
    limits = Attempt(read_limits, root)
    events = Attempt(_read_events, root, gateways_secrets)
    prices = Attempt(read_price_feed, root)
    wallets = Attempt(read_wallets, root)
    models = Attempt(_read_models, root, around)
    Attempt(_refuse_same_listener, server, admin, around.report)
    return Settings(
        server=server.take(),
        admin=admin.take(),
        metrics=metrics.take(),
        store=store.take(),
        keys=keys.take(),
        billing=billing.take(),
        limits=limits.take(),
        events=events.take(),
        upstreams=(),
        models=models.take(),
        secret_env_names=frozenset(around.secrets.env_names),
        prices=prices.take(),
        wallets=wallets.take(),
    )


def _read_server(root: Table) -> ServerSettings:
    table = root.item(Server, Root.server)
    host, port = table[Server.listen]
    return ServerSettings(
        host=host,
        port=port,
        keep_alive_s=table[Server.keep_alive_s],
        calls_max=table[Server.calls_max],
        drain_s=table[Server.drain_s],
        left_drain_s=table[Server.left_drain_s],
        public_models=table[Server.public_models],
        header_timeout_s=table[Server.header_timeout_s],
        body_timeout_s=table[Server.body_timeout_s],
        default_temperature=table[Server.default_temperature],
        log_level=table[Server.log_level],
        parameters=Policy(table[Server.unknown_parameters], table[Server.repair]),
        retries=RetrySettings(table[Server.retry_percent], table[Server.retries_per_s]),
        edge=EdgeSettings(
            requests_per_minute_per_address=table[Server.requests_per_minute_per_address],
            failed_keys_per_minute_per_address=table[Server.failed_keys_per_minute_per_address],
            failed_keys_per_second=table[Server.failed_keys_per_second],
            trusted_proxies=table[Server.trusted_proxies],
            forwarded_header=table[Server.forwarded_header],
            cors_origins=table[Server.cors_origins],
        ),
    )


def _read_admin(root: Table, secrets: SecretReader) -> AdminSettings:
    table = root.item(Admin, Root.admin)
    key = Attempt(secrets.read_admin_key, table, Admin.key_env, Admin.key_file)
    host, port = table[Admin.listen]
    return AdminSettings(host, port, key.take())


def _read_metrics(root: Table, secrets: SecretReader | None) -> MetricsSettings:
    table = root.item(Metrics, Root.metrics)
    key = None if secrets is None else secrets.read_metrics_key(table, Metrics.key_env, Metrics.key_file)
    return MetricsSettings(table[Metrics.listener], key)


def _read_store(root: Table, base_dir: Path) -> StoreSettings:
    table = root.item(Store, Root.store)
    path = base_dir / table[Store.url]
    files: dict[Path, tuple[Key[Any], str]] = {path: (Store.url, "the database")}
    for key, what, usual in (
        (Store.pepper_file, "the pepper", path.with_suffix(PEPPER_SUFFIX)),
        (Store.checkpoint_key_file, "the checkpoint key", path.with_suffix(CHECKPOINT_KEY_SUFFIX)),
        (Store.anchors_file, "the anchors", path.with_name(ANCHORS_NAME)),
    ):
        name = table[key]
        file = usual if name is None else base_dir / name
        if file in files:
            other, taken_by = files[file]
            raise table.broken(other if name is None else key, f"makes {taken_by} and {what} one file.", "Name two.")
        files[file] = (key, what)
    _, pepper_file, checkpoint_key_file, anchors_file = files
    return StoreSettings(
        path=path,
        pepper_file=pepper_file,
        checkpoint_key_file=checkpoint_key_file,
        anchors_file=anchors_file,
        hold_durability=table[Store.hold_durability],
        after_crash=table[Store.after_crash],
    )


def _read_keys(root: Table) -> KeySettings:
    table = root.item(Keys, Root.keys)
    return KeySettings(table[Keys.prefix], table[Keys.calls_under_way])


def _read_billing(root: Table) -> BillingSettings:
    table = root.item(Billing, Root.billing)
    return BillingSettings(
        fee_ppm=table[Billing.fee_ppm],
        insufficient_balance_status=table[Billing.insufficient_balance_status],
        short_balance=table[Billing.short_balance],
    )


def _read_events(root: Table, secrets: SecretReader | None) -> EventsSettings:
    table = root.item(Events, Root.events)
    low_balance = Attempt(lambda: table[Events.low_balance_usd])
    webhook = Attempt(_read_webhook, table, secrets)
    return EventsSettings(low_balance.take(), webhook.take())


def _read_webhook(table: Table, secrets: SecretReader | None) -> WebhookSettings | None:
    env, file = Events.webhook_secret_env, Events.webhook_secret_file
    url, timeout_s = table[Events.webhook_url], table[Events.webhook_timeout_s]
    if url is None:
        for key in (env, file, Events.webhook_timeout_s):
            if table.has(key):
                raise table.broken(key, "stands without webhook_url.", "Write webhook_url, or remove this.")
        return None
    secret = None if secrets is None else secrets.read_webhook_secret(table, env, file)
    return WebhookSettings(url.url, url.origin, url.path, secret, timeout_s)


def _read_upstreams(root: Table, around: Surroundings) -> tuple[UpstreamSettings, ...]:
    return read_upstreams(root[Root.upstreams], around)


def _read_models(root: Table, around: Surroundings) -> tuple[ModelSettings, ...]:
    models = root[Root.models]
    return read_models({} if models is None else models, around)


def _refuse_same_listener(server: Attempt[ServerSettings], admin: Attempt[AdminSettings], report: Report) -> None:
    public, operators = server.take(), admin.take()
    hosts = {public.host, operators.host}
    if public.port == operators.port != 0 and (len(hosts) == 1 or hosts & _ANY_HOST):
        report.add(("admin", "listen"), "is where callers connect, too.", "Give it a port of its own.")


def _refuse_aliases(
    upstreams: Attempt[tuple[UpstreamSettings, ...]], settings: Attempt[Settings], report: Report
) -> None:
    refuse_aliases(upstreams.take(), settings.take().models, report)


# --- The file ---


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        complaint, remedy = "does not exist", "Make one: tallygate init, or name another: --config"
    except OSError as error:
        complaint, remedy = f"cannot be read ({error.strerror})", "Name a file that this user can read: --config"
    except ValueError:
        complaint, remedy = "is not text in UTF-8", "Save it as UTF-8."
    raise _failure(None, f"The configuration file {path} {complaint}.", remedy)


def _read_toml(text: str) -> dict[str, Any]:
    line, reason = None, ""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        if (match := _AT_LINE.fullmatch(str(error))) is not None:
            reason = f": {match[1]}"
            line = int(match[2]) if match[2] else text.count("\n") + 1
    except (ValueError, InvalidOperation, RecursionError):
        reason = ": a number is too long, or arrays are nested too deeply"
    raise _failure(line, f"The file is not valid TOML{reason}.", "Correct that line, or the one before it.")


def _failure(line: int | None, message: str, remedy: str) -> ConfigError:
    return ConfigError([Problem("", line, message, remedy)])
