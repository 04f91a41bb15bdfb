"""`tallygate reconcile`: what the books say that the network billed, against what the network says.

The store's file is only read, beside a running gateway or without one; the upstreams are asked with the configured
access. Nothing is ever changed: drift is for the operator to understand.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Group as Lines

from tallygate import app
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import count, table
from tallygate.core.calendar import DAY_NS, show_day
from tallygate.core.ledger.reconciliation import Basis, Unreported
from tallygate.storage.journal import NotAStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from tallygate.config import Settings
    from tallygate.core.ledger.reconciliation import Attempt, Drift, Reconciliation, Sum

DATE: Final = click.DateTime(formats=["%Y-%m-%d"])
_SECONDS_PER_DAY: Final = DAY_NS // 10**9


@click.command(cls=Command)
@click.option("--since", type=DATE, metavar="DATE", help="The first day to look at, in UTC, such as 2026-11-25.")
@click.option("--until", type=DATE, metavar="DATE", help="The last day to look at, in UTC.")
@click.option("--upstream", metavar="NAME", help="Only the attempts at this upstream.")
@click.pass_obj
def reconcile(session: Session, since: datetime | None, until: datetime | None, upstream: str | None) -> None:
    """Compare what the books say that upstreams billed with what they report; exit code 7 if there is drift."""
    if since is not None and until is not None and since > until:
        raise click.UsageError("--since is after --until.")
    settings = session.load_settings()
    if upstream is not None and upstream not in {configured.name for configured in settings.upstreams}:
        raise Failure(Exit.NOT_FOUND, f"No upstream is configured under the name {upstream}.")
    first, last = (None if date is None else _day_of(date) for date in (since, until))

    def is_wanted(attempt: Attempt) -> bool:
        return (
            (first is None or attempt.day >= first)
            and (last is None or attempt.day <= last)
            and (upstream is None or attempt.upstream == upstream)
        )

    report = _ask_upstreams(settings, is_wanted)
    session.show(report, lambda: draw_reconciliation(report))
    if report["total"]["drifting"]:
        session.say(f"{count(report['total']['drifting'], 'attempt attempts')} cost another amount than was booked.")
        raise click.exceptions.Exit(Exit.DIFFERENCE)


def _ask_upstreams(settings: Settings, is_wanted: Callable[[Attempt], bool]) -> dict[str, Any]:
    path = settings.store.path
    if not path.exists():
        raise Failure(Exit.FAILED, f"There is no store at {path}; `tallygate init` makes one.")
    try:
        found, under_way = asyncio.run(app.reconcile_books(settings, is_wanted))
    except NotAStoreError as error:
        raise Failure(Exit.FAILED, f"The books cannot be read: {error}.") from None
    except PermissionError as error:
        raise Failure(Exit.FAILED, f"The store cannot be read: {error}.") from None
    return describe_reconciliation(found, under_way)


# --- For programs ----------------------------------------------------------------------------------------------------


def describe_reconciliation(found: Reconciliation, under_way: int) -> dict[str, Any]:
    """Return everything as JSON; amounts are decimal texts, in ngonka."""
    rows = sorted(found.rows.items(), key=lambda item: (item[0][2], item[0][0], item[0][1] or ""))
    return {
        "total": _describe_sum(found.total),
        "rows": [
            {"day": show_day(day), "upstream": upstream, "node": node, **_describe_sum(row)}
            for (upstream, node, day), row in rows
        ],
        "drift_by_basis": {basis.name.lower(): str(found.drift_ngonka[basis]) for basis in Basis},
        "worst": [_describe_drift(drift) for drift in found.worst],
        "under_way": under_way,
    }


def _describe_sum(found: Sum) -> dict[str, Any]:
    return {
        "attempts": found.attempts,
        "booked_ngonka": str(found.booked_ngonka),
        "compared": found.compared,
        "compared_ngonka": str(found.compared_ngonka),
        "reported_ngonka": str(found.reported_ngonka),
        "drift_ngonka": str(found.drift_ngonka),
        "drifting": found.drifting,
        "booked_tokens": _describe_tokens(*found.booked_tokens),
        "reported_tokens": _describe_tokens(*found.reported_tokens),
        "unreported": {
            reason.name.lower(): {"attempts": number, "booked_ngonka": str(found.unreported_ngonka[reason])}
            for reason, number in sorted(found.unreported.items(), key=lambda item: item[0].name)
        },
    }


def _describe_tokens(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt": prompt, "completion": completion}


def _describe_drift(drift: Drift) -> dict[str, Any]:
    attempt, bill = drift.attempt, drift.bill
    return {
        "inference": attempt.inference,
        "part": attempt.part,
        "try": attempt.try_,
        "upstream": attempt.upstream,
        "node": attempt.node,
        "reference": attempt.reference,
        "day": show_day(attempt.day),
        "basis": attempt.basis.name.lower(),
        "booked_ngonka": str(attempt.booked_ngonka),
        "reported_ngonka": str(bill.ngonka),
        "drift_ngonka": str(drift.ngonka),
        "booked_tokens": _describe_tokens(attempt.prompt_tokens, attempt.completion_tokens),
        "reported_tokens": _describe_tokens(bill.prompt_tokens, bill.completion_tokens),
    }


# --- For people ------------------------------------------------------------------------------------------------------


def draw_reconciliation(report: dict[str, Any]) -> RenderableType:
    """Return the table, where drift comes from, the worst attempts, and what could not be compared."""
    total = report["total"]
    if not total["attempts"]:
        return "There is no attempt to compare."
    lines: list[RenderableType] = [_draw_rows(report["rows"])]
    if total["drifting"]:
        lines += ["Drift by what the booked amount comes from, in ngonka:"]
        lines += [
            f"  {Basis[name.upper()].value}: {int(ngonka):+,}"
            for name, ngonka in report["drift_by_basis"].items()
            if int(ngonka)
        ]
        lines += ["", "The attempts that drift most:", _draw_worst(report["worst"])]
    if total["unreported"]:
        lines += ["Not compared:"]
        lines += [
            f"  {Unreported[name.upper()].value}: {count(part['attempts'], 'attempt attempts')}, "
            f"{int(part['booked_ngonka']):,} ngonka booked"
            for name, part in total["unreported"].items()
        ]
        lines += [""]
    return Lines(*lines, _draw_verdict(total, report["under_way"]))


def _draw_rows(rows: list[dict[str, Any]]) -> RenderableType:
    columns = ("day", "upstream", "node", "attempts", "booked", "compared", "reported", "drift", "not compared")
    drawn = (
        (
            row["day"],
            row["upstream"],
            row["node"] or "",
            f"{row['attempts']:,}",
            *(f"{int(row[name]):,}" for name in ("booked_ngonka", "compared_ngonka", "reported_ngonka")),
            f"{int(row['drift_ngonka']):+,}" if row["drifting"] else "0",
            f"{row['attempts'] - row['compared']:,}",
        )
        for row in rows
    )
    return table(columns, drawn, amounts=frozenset(columns[3:]))


def _draw_worst(worst: list[dict[str, Any]]) -> RenderableType:
    columns = ("inference", "try", "upstream", "booked", "reported", "drift", "reference")
    drawn = (
        (
            drift["inference"],
            str(drift["try"]),
            drift["upstream"],
            *(f"{int(drift[name]):,}" for name in ("booked_ngonka", "reported_ngonka")),
            f"{int(drift['drift_ngonka']):+,}",
            drift["reference"] or "",
        )
        for drift in worst
    )
    return table(columns, drawn, amounts=frozenset({"try", "booked", "reported", "drift"}))


def _draw_verdict(total: dict[str, Any], under_way: int) -> str:
    compared = f"Of {count(total['attempts'], 'attempt attempts')}, {total['compared']:,} could be compared"
    if total["drifting"]:
        verdict = f"{total['drifting']:,} of them drift, together by {int(total['drift_ngonka']):+,} ngonka."
    else:
        verdict = "each cost just what was booked." if total["compared"] else "so nothing is proved."
    more = f" Under way in the books: {under_way:,}." if under_way else ""
    return f"{compared}; {verdict}{more}"


def _day_of(date: datetime) -> int:
    return int(date.replace(tzinfo=UTC).timestamp()) // _SECONDS_PER_DAY
