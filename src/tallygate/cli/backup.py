"""`tallygate backup` and `tallygate restore`: a proved copy of the store while it is in use, and the way back.

A backup holds the store alone. The secrets beside it are in files of their own, which the command names: a copy that
travels should not carry the pepper with the digests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tallygate.api.verification import describe_report
from tallygate.cli.exits import Exit
from tallygate.cli.session import Command, Session
from tallygate.cli.storefile import telling
from tallygate.cli.tables import count, dollars, pairs
from tallygate.storage.keeping.backup import back_up
from tallygate.storage.keeping.backup import restore as put_back

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallygate.config import StoreSettings
    from tallygate.core.audit.report import Report
    from tallygate.storage.keeping.placing import Identity


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def backup(session: Session, file: Path) -> None:
    """Copy the store to a new file, also beside a running gateway, and prove the copy; exit code 7 if it fails."""
    settings = session.load_settings(upstreams=False).store
    with telling(settings.path):
        identity, report = back_up(settings.path, file)
    keep = [str(path) for path in _beside(session.config_path, settings)]
    content = {"file": str(file), **_describe(identity, report), "keep_too": keep}
    rows = [("backup", str(file)), *_rows(content), *(("keep too", name) for name in keep)]
    session.show(content, lambda: _draw(rows, report))
    if not report.clean:
        session.say("The copy is faithful, but the books in it do not add up: see `tallygate verify`.")
        raise click.exceptions.Exit(Exit.DIFFERENCE)


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Move a store with books in it aside; it is not deleted.")
@click.pass_obj
def restore(session: Session, file: Path, *, replace: bool) -> None:
    """Put a backup in the place of the store, proved before; a gateway must not be running on it."""
    settings = session.load_settings(upstreams=False).store
    with telling():
        place, identity, report = put_back(file, settings.path, replace=replace)
    advice = _advise(session.config_path, settings)
    aside = None if place.set_aside is None else str(place.set_aside)
    content = {"store": str(settings.path), "set_aside": aside, **_describe(identity, report), "next": advice}
    rows = [("restored to", str(settings.path)), *_rows(content)]
    rows += [("set aside", aside)] if aside else []
    session.show(content, lambda: _draw([*rows, *(("next", text) for text in advice)], report))


def _beside(config: Path, settings: StoreSettings) -> list[Path]:
    """Return the files without which a backup is of no use."""
    return [config, settings.pepper_file, settings.checkpoint_key_file, settings.anchors_file]


def _advise(config: Path, settings: StoreSettings) -> list[str]:
    """Return what is still to be done after a restore."""
    missing = [path for path in _beside(config, settings) if not path.exists()]
    advice = [f"Put {path} in its place: it is kept beside the backups." for path in missing]
    return [
        *advice,
        "What happened after the backup is not in the books: compare them with payments and what callers were told.",
        "Start the gateway; it ends the holds that were open then, and notes in the books that they were restored.",
        "Where the anchors know what came later, it starts with --accept-lost-tail only.",
    ]


def _describe(identity: Identity, report: Report) -> dict[str, Any]:
    return {
        "writer": identity.writer.hex(),
        "epoch": identity.epoch,
        "sequence": identity.sequence,
        "head": identity.head.hex(),
        **describe_report(report),
    }


def _rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    batches, entries = count(content["batches"], "batch batches"), count(content["entries"], "entry entries")
    return [
        ("books", f"{batches} with {entries}, {count(content['accounts'], 'account accounts')}"),
        ("head", content["head"]),
        ("available", dollars(content["usd"]["available"])),
        ("held", dollars(content["usd"]["held"])),
    ]


def _draw(rows: list[tuple[str, str]], report: Report) -> RenderableType:
    verdict = "the books add up" if report.clean else report.problems[0]
    return pairs([*rows, ("proof", verdict)])
