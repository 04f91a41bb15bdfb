"""`tallygate nodes`: who is there, who may take requests, who answers, and what it costs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import click
from rich.console import Group as Stack

from tallygate.cli.direct.options import node_option, telling
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import table
from tallygate.direct.errors import EndpointError
from tallygate.direct.network import is_healthy, look_around
from tallygate.direct.nodes import SOURCE_VARIABLE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallygate.direct.network import Host, NetworkView

_ASKED_AT_ONCE: Final = 16


@click.command(cls=Command)
@click.option(
    "--source-url", envvar=SOURCE_VARIABLE, show_envvar=True, help="A node that knows the others; else --node-address."
)
@node_option
@click.pass_obj
def nodes(session: Session, source_url: str | None, node_address: str | None) -> None:
    """Show the network's nodes of now: allowed or not, healthy or not, models and prices."""
    with telling():
        source = source_url or node_address
        if source is None:
            raise EndpointError(f"Name a node that knows the others: --source-url, or {SOURCE_VARIABLE}.")
        view = look_around(source)
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        healthy = dict(zip(view.hosts, pool.map(is_healthy, (host.url for host in view.hosts)), strict=True))
    content = {
        "nodes": [{**host._asdict(), "healthy": healthy[host]} for host in view.hosts],
        "prices_ngonka_per_token": dict(view.prices),
    }
    session.show(content, lambda: _draw(view, healthy))


def _draw(view: NetworkView, healthy: dict[Host, bool]) -> RenderableType:
    rows = [
        (host.url, host.address, _spell(host), "yes" if healthy[host] else "no", " ".join(host.models))
        for host in view.hosts
    ]
    prices = [(model, str(price)) for model, price in view.prices.items()]
    return Stack(
        table(["node", "address", "takes requests", "healthy", "models"], rows),
        table(["model", "ngonka per token"], prices, amounts=frozenset({"ngonka per token"})),
    )


def _spell(host: Host) -> str:
    if host.excluded is not None:
        return f"no: excluded ({host.excluded})"
    return "yes" if host.allowed else "no: not allowed"
