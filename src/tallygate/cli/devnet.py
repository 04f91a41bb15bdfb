"""`tallygate devnet`: a simulated Gonka Network on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import click
import msgspec
import uvloop

from tallygate import devnet as network
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command, Session

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULTS = network.DevnetSettings()


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
@click.option("--model", "models", multiple=True, help="A model to serve; once for each.  [default: mainnet's]")
@click.option("--bearer-key", default=_DEFAULTS.bearer_key, show_default=True, help="What the Bearer gateway accepts.")
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True, help="Node keys follow from it.")
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
    models: tuple[str, ...],
    bearer_key: str,
    seed: int,
) -> None:
    """Run a devnet until Ctrl-C: signed nodes and a Bearer gateway, on a chain where nothing costs anything."""
    nodes = [
        network.NodeSettings(network.Scheme(scheme), return_token_ids=not no_token_ids)
        for scheme in schemes or ("hash",) * 3
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
        models=models or _DEFAULTS.models,
        bearer_key=bearer_key,
        seed=seed,
    )
    try:
        uvloop.run(_serve(settings, _announce_json if session.as_json else _announce))
    except network.DevnetPortBusyError as error:
        raise Failure(Exit.PORT_BUSY, f"{str(error).capitalize()}.") from None


async def _serve(settings: network.DevnetSettings, announce: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM, which ends it well."""
    task = asyncio.ensure_future(network.serve(settings, announce))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _announce(line: str) -> None:
    print(line, flush=True)


def _announce_json(line: str) -> None:
    name, _, value = line.partition("=")
    print(msgspec.json.encode({name: value}).decode(), flush=True)
