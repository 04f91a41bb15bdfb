"""`tallygate verify`: replay the books, say promise by promise what was checked and whether it holds.

Nothing is ever written. The file is read as it is, by this process and those it starts, so a running gateway goes on
undisturbed, and a store so damaged that no gateway could start on it is told about, too. Only where the file may not
be read by whoever asks, the gateway that has it is asked to replay it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallygate.api.verification import describe_report
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.operator import ask, ask_gateway
from tallygate.cli.promises import draw_report
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import count
from tallygate.opening import audit_books
from tallygate.secretfile import SecretFileError
from tallygate.storage.proofs.anchors import AnchorError
from tallygate.storage.replay import ReplayStoppedError
from tallygate.storage.sqlite import NotAStoreError

if TYPE_CHECKING:
    from tallygate.config import Settings
    from tallygate.core.audit.report import Report
    from tallygate.core.proofs.anchoring import AnchorReport


@click.command(cls=Command)
@click.option("--deep", is_flag=True, help="Replay all of a long history, with all processors, not its last part.")
@click.pass_obj
def verify(session: Session, deep: bool) -> None:
    """Replay the books and print the proof of each promise; exit code 7 if one is broken."""
    report = replay_books(session.load_settings(upstreams=False), deep=deep)
    session.show(report, lambda: Group(*draw_report(report)))
    if not report["clean"]:
        session.say(f"The books do not add up: {count(report['problem_count'], 'problem problems')}.")
        raise click.exceptions.Exit(Exit.DIFFERENCE)


def replay_books(settings: Settings, *, deep: bool) -> dict[str, Any]:
    """Return the report on a store's books.

    Raises:
        Failure: There is no store, it cannot be read at all, or its owner cannot be asked.
    """
    path = settings.store.path
    if not os.access(path.parent, os.X_OK) or (path.exists() and not os.access(path, os.R_OK)):
        return _ask_gateway(settings, f"This user may not read the store {path}")
    if not path.exists():
        raise Failure(Exit.FAILED, f"There is no store at {path}; `tallygate init` makes one.")
    try:
        return describe_report(*_replay(settings, deep=deep))
    except NotAStoreError as error:
        content = {"clean": False, "problem_count": 1, "problems": [str(error)]}
        raise Failure(Exit.DIFFERENCE, f"The books cannot be replayed: {error}.", content) from None
    except ReplayStoppedError as error:
        raise Failure(Exit.FAILED, f"The replay was not finished: {error}.") from None
    except (AnchorError, SecretFileError) as error:
        raise Failure(Exit.FAILED, f"The books cannot be held against their anchors: {error}.") from None


def _replay(settings: Settings, *, deep: bool) -> tuple[Report, AnchorReport]:
    """Replay the books; whoever waits at a terminal sees how far it is."""
    columns = (TextColumn("Replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("entries"), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not (deep and console.is_terminal)) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return audit_books(settings.store, deep=deep, progress=tell)


def _ask_gateway(settings: Settings, why_not_here: str) -> dict[str, Any]:
    gateway = ask_gateway(settings.admin, why_not_here)
    try:
        return ask(gateway, "POST", "/admin/v1/verify")
    finally:
        gateway.close()
