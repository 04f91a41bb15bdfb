"""`tallygate prices`: the price sheet in force. The latest word counts, whether said here or in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines

from tallygate.cli.amounts import USD, USD_PER_MILLION
from tallygate.cli.operator import ask, reach_operator
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import dollars, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_AMOUNTS = frozenset({"input per 1M", "output per 1M", "per call"})


@click.group(cls=Group)
def prices() -> None:
    """What models cost callers."""


@prices.command()
@click.pass_obj
def show(session: Session) -> None:
    """Show the prices in force."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        sheet = ask(operator, "GET", "/admin/v1/prices")
    session.show(sheet, lambda: _draw(sheet))


@prices.command("set")
@click.argument("model")
@click.option("--input", "input_usd", type=USD_PER_MILLION, metavar="USD", help="Per million prompt tokens.")
@click.option("--output", "output_usd", type=USD_PER_MILLION, metavar="USD", help="Per million completion tokens.")
@click.option("--call", "call_usd", type=USD, metavar="USD", help="Per call, whatever its length.")
@click.option("--free", is_flag=True, help="Charge nothing; the only way to make a model free.")
@click.option(
    "--network", is_flag=True, help='Let the network change the price, where [prices] has source = "network".'
)
@click.pass_obj
def set_price(
    session: Session,
    model: str,
    input_usd: str | None,
    output_usd: str | None,
    call_usd: str | None,
    free: bool,
    network: bool,
) -> None:
    """Price a model from the next call on; what is left out stays as it is."""
    given = {
        "input": input_usd,
        "output": output_usd,
        "call": call_usd,
        "free": free or None,
        "network": network or None,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if not fields:
        raise click.UsageError("Say at least one of --input, --output, --call, --free, --network.")
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        operator.apply_configuration()
        sheet = ask(operator, "POST", "/admin/v1/prices", {"model": model, **fields})
    session.show(sheet, lambda: _draw(sheet))


def _draw(sheet: dict[str, Any]) -> RenderableType:
    if not sheet["models"]:
        return "No model has a price in force; those of the configuration come into force when the gateway starts."
    rows = [
        (
            model,
            "free" if price["free"] else dollars(price["input_usd_per_1m"]),
            "free" if price["free"] else dollars(price["output_usd_per_1m"]),
            "free" if price["free"] else dollars(price["usd_per_call"]),
        )
        for model, price in sheet["models"].items()
    ]
    percent, rest = divmod(sheet["fee_ppm"], 10_000)
    fee = f"{percent}.{rest:04d}".rstrip("0").rstrip(".")
    head = f"Price sheet {sheet['version']}; the platform fee of {fee} % comes on top."
    return Lines(head, table(("model", "input per 1M", "output per 1M", "per call"), rows, amounts=_AMOUNTS))
