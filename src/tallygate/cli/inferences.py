"""`tallygate inferences`: past calls and those under way, newest first, or one of them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines

from tallygate.api.admin.inferences import CALLS_DEFAULT, CALLS_MAX, FLAGS, STATE_NAMES
from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.pages import ask_pages
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import dollars, pairs, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_HEADS = ("began", "inference", "state", "account", "model", "upstream", "tokens", "charged", "ngonka", "flags")
_ATTEMPT_HEADS = ("part", "try", "upstream", "node", "began", "ended", "tokens", "ngonka")
_AMOUNTS = frozenset({"tokens", "charged", "ngonka", "part", "try"})


@click.command(cls=Command)
@click.argument("inference", required=False)
@click.option("--account", help="Only those of this account.")
@click.option("--key", help="Only those with the API key of this id.")
@click.option("--model", help="Only those of this model.")
@click.option("--upstream", help="Only those that were sent to this upstream.")
@click.option("--node", help="Only those that were sent to the node of this address.")
@click.option("--state", type=click.Choice(STATE_NAMES), help="Only those of which this has become.")
@click.option("--flags", metavar="NAMES", help=f"Only those that are all of these: {', '.join(FLAGS)}.")
@click.option("--user", help="Only those that came with this `user`; needs --account.")
@click.option("--tag", help="Only those that came with this `metadata.tag`; needs --account.")
@click.option("--from", "first", metavar="DATE", help="Only those that began on this day of UTC or later.")
@click.option("--to", "last", metavar="DATE", help="Only those that began on this day or earlier.")
@click.option("--limit", type=click.IntRange(1), default=CALLS_DEFAULT, show_default=True, help="The most to list.")
@click.pass_obj
def inferences(
    session: Session, /, inference: str | None, first: str | None, last: str | None, limit: int, **given: str | None
) -> None:
    """List inferences, newest first, or show all of one."""
    fields = {"from": first, "to": last, **given}
    if inference is not None and any(value is not None for value in fields.values()):
        raise click.UsageError("An inference is shown by its id, or found by what it is; not both.")
    path = "/admin/v1/inferences"
    with reach_operator(session.load_settings(upstreams=False)) as operator:
        if inference is not None:
            content = ask(operator, "GET", f"{path}/{segment(inference)}")
        else:
            content = ask_pages(operator, path, fields, rows_max=limit, page_rows=CALLS_MAX)
    session.show(content, lambda: _draw_list(content) if inference is None else _draw(content))


def _draw_list(content: dict[str, Any]) -> RenderableType:
    if not content["data"]:
        return "There is no such inference."
    rows = [
        (
            _moment(row["began"]),
            row["inference"],
            row["state"],
            row["account"],
            row["model"],
            row["upstream"] or "-",
            _tokens(row),
            dollars(row["total_usd"]),
            f"{row['billed_ngonka']:,}",
            ", ".join(row["flags"]),
        )
        for row in content["data"]
    ]
    return table(_HEADS, rows, amounts=_AMOUNTS)


def _draw(content: dict[str, Any]) -> RenderableType:
    head = pairs(
        [
            ("inference", content["inference"]),
            ("state", f"{content['state']} ({content['reason']})" if content["reason"] else content["state"]),
            ("account", f"{content['account']}, key {content['api_key']}"),
            ("model", f"{content['model']}, price sheet {content['price_sheet']}"),
            ("attributed to", ", ".join(filter(None, (content["user"], content["tag"]))) or "-"),
            ("held", f"{dollars(content['held_usd'])} on {_moment(content['began'])}"),
            (
                "charged",
                f"{dollars(content['base_usd'])} + {dollars(content['fee_usd'])} for {_tokens(content)} tokens",
            ),
            ("billed", f"{content['billed_ngonka']:,} ngonka, of which {content['unpaid_ngonka']:,} nobody paid"),
            ("flags", ", ".join(content["flags"]) or "-"),
        ]
    )
    rows = [
        (
            str(attempt["part"]),
            str(attempt["try"]),
            attempt["upstream"],
            attempt["node"] or "-",
            _moment(attempt["began"]),
            _moment(attempt["ended"]),
            _tokens(attempt),
            "-" if attempt["billed_ngonka"] is None else f"{attempt['billed_ngonka']:,}",
        )
        for attempt in content["attempts"]
    ]
    return Lines(head, "", table(_ATTEMPT_HEADS, rows, amounts=_AMOUNTS))


def _tokens(row: dict[str, Any]) -> str:
    return "-" if row["prompt_tokens"] is None else f"{row['prompt_tokens']:,} + {row['completion_tokens']:,}"


def _moment(text: str | None) -> str:
    """Return a time of an answer for people, to the second."""
    return "-" if text is None else text[:19].replace("T", " ")
