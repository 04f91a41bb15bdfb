"""`tallygate usage`: what an account has used and what it cost, by day, model, API key, user or tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.operator import reach_operator, segment
from tallygate.cli.pages import ask_pages
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import dollars, table

if TYPE_CHECKING:
    from rich.console import RenderableType

PAGE_ROWS = 1000
_COUNTS = ("calls", "prompt_tokens", "completion_tokens", "voided_calls")
_COSTS = ("base_cost_usd", "platform_fee_usd", "total_cost_usd")
_HEADS = ("calls", "prompt tokens", "completion tokens", "voided", "base", "fee", "total")


@click.command(cls=Command)
@click.argument("account")
@click.option("--from", "first", metavar="DATE", help="The first day, in UTC.  [default: 30 days in all]")
@click.option("--to", "last", metavar="DATE", help="The last day.  [default: today]")
@click.option("--by", metavar="NAMES", help="day, model, key, user, tag, some with commas; or total.  [default: day]")
@click.option("--model", help="Only calls of this model.")
@click.option("--key", help="Only calls with the API key of this id.")
@click.option("--user", help="Only calls that came with this `user`.")
@click.option("--tag", help="Only calls that came with this `metadata.tag`.")
@click.pass_obj
def usage(session: Session, /, account: str, first: str | None, last: str | None, **given: str | None) -> None:
    """Add up what an account has used, and what it cost."""
    path = f"/admin/v1/accounts/{segment(account)}/usage"
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        fields = {"from": first, "to": last, **given}
        content = ask_pages(operator, path, fields, rows_max=None, page_rows=PAGE_ROWS)
    session.show(content, lambda: _draw(content))


def _draw(content: dict[str, Any]) -> RenderableType:
    if not content["data"]:
        return f"Nothing was used from {content['from']} to {content['to']}."
    rows = [
        (
            *(row[name] or "-" for name in content["by"]),
            *(f"{row[name]:,}" for name in _COUNTS),
            *(dollars(row[name]) for name in _COSTS),
        )
        for row in content["data"]
    ]
    return table((*content["by"], *_HEADS), rows, amounts=frozenset(_HEADS))
