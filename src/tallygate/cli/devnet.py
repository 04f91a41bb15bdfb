"""`tallygate devnet`: a simulated Gonka Network on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from itertools import cycle, islice
from typing import TYPE_CHECKING

import click
import msgspec
import uvloop

from tallygate import devnet as network
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command, Session

if TYPE_CHECKING:
    from collections.abc import Callable

NS_PER_MS = 1_000_000
_DEFAULTS = network.DevnetSettings()
_NODE = network.NodeSettings()
_BLOCK_MS = _DEFAULTS.block_interval_ns // NS_PER_MS
_FILE = click.Path(exists=True, dir_okay=False)


@click.command(cls=Command)
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="Where every port listens.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.base_port,
    show_default=True,
    help="The first node's port; the others follow, the Bearer gateway last. 0 takes any free ports.",
)
@click.option(
    "--scheme",
    "schemes",
    type=click.Choice([scheme.value for scheme in network.Scheme]),
    multiple=True,
    help="One node that takes requests signed in this way; once for each node.  [default: three times hash]",
)
@click.option(
    "--nodes",
    "count",
    type=click.IntRange(1, 1000),
    help="So many nodes; the schemes given are taken in turn.  [default: one for each --scheme, or three]",
)
@click.option(
    "--models-as",
    type=click.Choice([kind.value for kind in network.ModelList]),
    default=_NODE.models_as.value,
    show_default=True,
    help="How nodes list their models: the chain's records as up to v0.2.11, or OpenAI's list.",
)
@click.option("--no-token-ids", is_flag=True, help="Answer like older nodes, without token ids.")
@click.option(
    "--pace-ms", type=click.IntRange(0), default=_DEFAULTS.pace_ms, show_default=True, help="Between two tokens."
)
@click.option(
    "--price-ngonka", type=click.IntRange(0), default=_DEFAULTS.price_ngonka, show_default=True, help="Of one token."
)
@click.option(
    "--attempt-ngonka",
    type=click.IntRange(0),
    default=_DEFAULTS.attempt_ngonka,
    show_default=True,
    help="What the Bearer gateway pays for each attempt besides its tokens; mainnet's pay 1000.",
)
@click.option(
    "--bearer-race",
    type=click.IntRange(1, 16),
    default=_DEFAULTS.bearer_race,
    show_default=True,
    help="How many hosts the Bearer gateway has answer each request; all are paid.",
)
@click.option("--model", "models", multiple=True, help="A model to serve; once for each.  [default: mainnet's]")
@click.option("--bearer-key", default=_DEFAULTS.bearer_key, show_default=True, help="What the Bearer gateway accepts.")
@click.option(
    "--bearer-admin-key", default=_DEFAULTS.bearer_admin_key, show_default=True, help="What opens its admin routes."
)
@click.option(
    "--seed",
    type=int,
    default=_DEFAULTS.seed,
    show_default=True,
    help="Makes the world: node keys, ids and the chance of faults follow from it.",
)
@click.option(
    "--block-ms", type=click.IntRange(1), default=_BLOCK_MS, show_default=True, help="Time between two blocks."
)
@click.option(
    "--epoch-blocks",
    type=click.IntRange(network.EPOCH_BLOCKS_MIN),
    default=_DEFAULTS.epoch_blocks,
    show_default=True,
    help="Blocks of an epoch; each begins with a window in which nothing is served.",
)
@click.option(
    "--chain-id", default=_DEFAULTS.chain_id, show_default=True, help="What transactions have to be signed for."
)
@click.option(
    "--executor", metavar="URL", help="An OpenAI-compatible engine, with its /v1, that answers instead of ours."
)
@click.option("--executor-key-env", metavar="NAME", help="The environment variable that has that engine's key.")
@click.option("--tls-certificate", type=_FILE, help="Speak HTTPS on every port, with this certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="The key of that certificate (PEM).")
@click.pass_obj
def devnet(
    session: Session,
    host: str,
    port: int,
    schemes: tuple[str, ...],
    no_token_ids: bool,
    pace_ms: int,
    price_ngonka: int,
    attempt_ngonka: int,
    bearer_race: int,
    models: tuple[str, ...],
    bearer_key: str,
    bearer_admin_key: str,
    seed: int,
    count: int | None,
    models_as: str,
    block_ms: int,
    epoch_blocks: int,
    chain_id: str,
    executor: str | None,
    executor_key_env: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
) -> None:
    """Run a devnet until Ctrl-C: signed nodes and a Bearer gateway, on a chain where nothing costs anything."""
    named = schemes or (_NODE.scheme.value,) * (1 if count else 3)
    taken = islice(cycle(named), count or len(named))
    nodes = [
        network.NodeSettings(
            network.Scheme(scheme), return_token_ids=not no_token_ids, models_as=network.ModelList(models_as)
        )
        for scheme in taken
    ]
    if port + len(nodes) > 65535:
        raise click.UsageError("--port leaves no room for all nodes and the Bearer gateway.")
    settings = network.DevnetSettings(
        host=host,
        base_port=port,
        nodes=tuple(nodes),
        pace_ms=pace_ms,
        price_ngonka=price_ngonka,
        attempt_ngonka=attempt_ngonka,
        bearer_race=bearer_race,
        models=models or _DEFAULTS.models,
        bearer_key=bearer_key,
        bearer_admin_key=bearer_admin_key,
        seed=seed,
        block_interval_ns=block_ms * NS_PER_MS,
        epoch_blocks=epoch_blocks,
        chain_id=chain_id,
    )
    engine = _find_engine(executor, executor_key_env)
    tls = _load_tls(tls_certificate, tls_key)
    try:
        uvloop.run(_serve(settings, _announce_json if session.as_json else _announce, engine, tls))
    except network.DevnetPortBusyError as error:
        raise Failure(Exit.PORT_BUSY, f"{str(error).capitalize()}.") from None


def _find_engine(url: str | None, key_env: str | None) -> network.RemoteEngine | None:
    """Return the engine that was asked for, with its key."""
    if url is None:
        if key_env is not None:
            raise click.UsageError("--executor-key-env says nothing without --executor.")
        return None
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--executor must be an http:// or https:// URL.")
    if key_env is not None and not os.environ.get(key_env):
        raise Failure(Exit.CONFIGURATION, f"The environment variable {key_env} of --executor-key-env is not set.")
    return network.RemoteEngine(url, os.environ[key_env] if key_env else None)


def _load_tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return what HTTPS is spoken with."""
    if certificate is None or key is None:
        if certificate or key:
            raise click.UsageError("--tls-certificate and --tls-key go together.")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Failure(Exit.CONFIGURATION, f"{certificate} and {key} are no certificate and its key: {error}") from None
    return context


async def _serve(
    settings: network.DevnetSettings,
    announce: Callable[[str], None],
    engine: network.RemoteEngine | None,
    tls: ssl.SSLContext | None,
) -> None:
    """Run until SIGINT or SIGTERM, which ends it well."""
    task = asyncio.ensure_future(network.serve(settings, announce, engine=engine, tls=tls))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _announce(line: str) -> None:
    print(line, flush=True)


def _announce_json(line: str) -> None:
    name, _, value = line.partition("=")
    print(msgspec.json.encode({name: value}).decode(), flush=True)
