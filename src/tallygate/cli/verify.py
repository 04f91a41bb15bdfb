"""`tallygate verify`: replay the books, say what was checked and whether it adds up.

Nothing is ever written. Where the store is free its file is replayed as it is, also one so damaged that no gateway
could start on it; beside a running gateway, the gateway replays it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines

from tallygate import app
from tallygate.api.verification import describe_report
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.operator import ask, ask_gateway
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import count, dollars, pairs, table
from tallygate.storage.sqlite import NotAStoreError, StoreLockedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallygate.config import Settings


@click.command(cls=Command)
@click.pass_obj
def verify(session: Session) -> None:
    """Replay the books and say whether they add up; exit code 7 if they do not."""
    report = replay_books(session.load_settings(upstreams=False))
    session.show(report, lambda: draw_report(report))
    if not report["clean"]:
        session.say(f"The books do not add up: {count(report['problem_count'], 'problem problems')}.")
        raise click.exceptions.Exit(Exit.DIFFERENCE)


def replay_books(settings: Settings) -> dict[str, Any]:
    """Return the report on a store's books.

    Raises:
        Failure: There is no store, it cannot be read at all, or its owner cannot be asked.
    """
    path = settings.store.path
    if not path.exists():
        raise Failure(Exit.FAILED, f"There is no store at {path}; `tallygate init` makes one.")
    try:
        return describe_report(app.audit_books(settings.store))
    except StoreLockedError as error:
        locked = f"A{str(error)[1:]}"
    except NotAStoreError as error:
        content = {"clean": False, "problem_count": 1, "problems": [str(error)]}
        raise Failure(Exit.DIFFERENCE, f"The books cannot be replayed: {error}.", content) from None
    except PermissionError as error:
        raise Failure(Exit.FAILED, f"The store cannot be read: {error}.") from None
    gateway = ask_gateway(settings.admin, locked)
    try:
        return ask(gateway, "POST", "/admin/v1/verify")
    finally:
        gateway.close()


def draw_report(report: dict[str, Any]) -> RenderableType:
    """Return what was checked, the figures, and the verdict."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in report["kinds"].items())
    counts = (
        f"Replayed {count(report['batches'], 'batch batches')} "
        f"with {count(report['entries'], 'entry entries')}{f' ({kinds})' if kinds else ''}: "
        f"{count(report['accounts'], 'account accounts')}, {count(report['open_holds'], 'hold holds')} open."
    )
    lines: list[RenderableType] = [counts, "", _draw_equation(report["usd"]), "", _draw_network(report["ngonka"])]
    for losses, what in ((report["overrun"], "Overrun"), (report["crash_loss"], "Lost in crashes")):
        if losses:
            lines += ["", f"{what}, perhaps billed by the network and paid by no customer:", _draw_losses(losses)]
    if report["clean"]:
        verdict = "Every entry is in place, every book sums to zero, no hold and no charge exceeds what it may."
        return Lines(*lines, "", verdict, "The books add up.")
    listed = report["problems"]
    more = report["problem_count"] - len(listed)
    return Lines(*lines, "", "Problems:", *(f"  {text}" for text in listed), *([f"  and {more} more"] if more else []))


def _draw_equation(usd: dict[str, str]) -> RenderableType:
    """Return both sides of the books' equation, one below the other."""
    return pairs(
        [
            ("  deposits", dollars(usd["deposits"])),
            ("+ corrections", dollars(usd["corrections"])),
            ("= available", dollars(usd["available"])),
            ("+ held", dollars(usd["held"])),
            ("+ base cost", dollars(usd["income/base"])),
            ("+ platform fee", dollars(usd["income/fee"])),
        ],
        right=True,
    )


def _draw_network(ngonka: dict[str, str]) -> str:
    billed, paid, unpaid = (f"{int(ngonka[name]):,}" for name in ("billed", "cost/paid", "cost/unpaid"))
    return f"The network billed {billed} ngonka: {paid} for calls that were paid, {unpaid} for calls that were not."


def _draw_losses(losses: dict[str, dict[str, str]]) -> RenderableType:
    rows = [(model, dollars(lost["usd"]), f"{int(lost['ngonka']):,}") for model, lost in losses.items()]
    return table(("model", "at list price", "ngonka"), rows, amounts=frozenset({"at list price", "ngonka"}))
