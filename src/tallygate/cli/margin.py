"""`tallygate margin`: the dollars that were charged beside the ngonka that the network has billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.operator import reach_operator
from tallygate.cli.pages import ask_pages
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import dollars, table

if TYPE_CHECKING:
    from rich.console import RenderableType

PAGE_ROWS = 1000
_NGONKA = ("paid_ngonka", "unpaid_ngonka", "overrun_ngonka", "crash_ngonka")
_USD = ("base_usd", "fee_usd", "total_usd")
_RATED = ("cost_usd", "margin_usd")


@click.command(cls=Command)
@click.option("--from", "first", metavar="DATE", help="The first day, in UTC.  [default: 30 days in all]")
@click.option("--to", "last", metavar="DATE", help="The last day.  [default: today]")
@click.option("--by", metavar="NAMES", help="day, model, upstream, some with commas; or total.  [default: day]")
@click.option("--model", help="Only this model.")
@click.option("--upstream", help="Only this upstream.")
@click.option("--usd-per-gnk", metavar="USD", help="What a GNK has cost you: then the margin is told in dollars, too.")
@click.pass_obj
def margin(session: Session, /, first: str | None, last: str | None, **given: str | None) -> None:
    """Show what was charged beside what the network has billed."""
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        fields = {"from": first, "to": last, **given}
        content = ask_pages(operator, "/admin/v1/margin", fields, rows_max=None, page_rows=PAGE_ROWS)
    session.show(content, lambda: _draw(content))


def _draw(content: dict[str, Any]) -> RenderableType:
    if not content["data"]:
        return f"Nothing was charged or billed from {content['from']} to {content['to']}."
    usd = (*_USD, *(name for name in _RATED if name in content["data"][0]))
    heads = ("calls", *(name.replace("_", " ").removesuffix(" usd") for name in (*_USD, *_NGONKA, *usd[len(_USD) :])))
    rows = [
        (
            *(row[name] or "-" for name in content["by"]),
            f"{row['calls']:,}",
            *(dollars(row[name]) for name in _USD),
            *(f"{row[name]:,}" for name in _NGONKA),
            *(dollars(row[name]) for name in usd[len(_USD) :]),
        )
        for row in content["data"]
    ]
    return table((*content["by"], *heads), rows, amounts=frozenset(heads))
