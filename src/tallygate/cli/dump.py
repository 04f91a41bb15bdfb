"""`tallygate dump` and `tallygate load`: the books as lines of JSON, and a store made of them.

A dump reads the file of the store in this process, whether a gateway is running or not. A load makes a new store where
nothing was ever written.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tallygate.cli.session import Command, Session
from tallygate.cli.storefile import telling
from tallygate.cli.tables import count, pairs
from tallygate.secretfile import SecretFileError, read_or_make_secret
from tallygate.storage.keeping.dump import End, write_dump
from tallygate.storage.keeping.load import load_dump
from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from tallygate.config import StoreSettings

STANDARD = Path("-")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-keys", is_flag=True, help="Leave out API keys, and what idempotency keys stand for.")
@click.pass_obj
def dump(session: Session, file: Path, *, without_keys: bool) -> None:
    """Write the books, proved, to a new file, or to standard output (-); exit code 7 if they do not add up."""
    store = session.load_settings(upstreams=False).store.path
    with telling(store), _written(file) as out:
        end = write_dump(store, out.write, with_keys=not without_keys)
    content = _describe(end)
    if file == STANDARD:
        session.say(f"Dumped {_count(content)}; the head is {end.head}.")
    else:
        session.show({"file": str(file), **content}, lambda: _draw(content, ("written to", str(file))))


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def load(session: Session, file: Path) -> None:
    """Make a store of a dump (- reads standard input), with the same hashes; refuses a store with books in it."""
    settings = session.load_settings(upstreams=False).store
    with telling(), _read(file) as lines:
        _, end = load_dump(lines, settings.path)
    content = {**_describe(end), "store": str(settings.path), "next": _advise(settings, end)}
    session.show(content, lambda: _draw(content, ("loaded into", str(settings.path)), *_next(content)))


@contextlib.contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(file) as draft, draft.open("wb") as out:
        yield out


@contextlib.contextmanager
def _read(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    with file.open("rb") as lines:
        yield lines


def _advise(settings: StoreSettings, end: End) -> list[str]:
    """Return what is still to be done; without keys any pepper will do, so one is made."""
    pepper, checkpoint_key = settings.pepper_file, settings.checkpoint_key_file
    advice = ["The store that was dumped must not go on as well: two that write as one writer are a fork of the books."]
    if not end.keys:
        with contextlib.suppress(SecretFileError):  # told when the store is opened
            read_or_make_secret(pepper)
    elif not pepper.exists():
        advice.append(f"Put the pepper of that store at {pepper}: without it no API key works.")
    if not checkpoint_key.exists():
        advice.append(
            f"Put the checkpoint key of that store at {checkpoint_key}, and its anchors at {settings.anchors_file}, "
            "before the first start: else a new key is made, and older receipts are no proof under it."
        )
    return advice


def _describe(end: End) -> dict[str, Any]:
    return {
        "head": end.head,
        "batches": end.batches,
        "entries": end.entries,
        "accounts": end.accounts,
        "keys": end.keys,
        "claims": end.claims,
    }


def _count(content: dict[str, Any]) -> str:
    return (
        f"{count(content['batches'], 'batch batches')} with {count(content['entries'], 'entry entries')}, "
        f"{count(content['accounts'], 'account accounts')}, {count(content['keys'], 'key keys')}"
    )


def _next(content: dict[str, Any]) -> list[tuple[str, str]]:
    return [("next", text) for text in content["next"]]


def _draw(content: dict[str, Any], *more: tuple[str, str]) -> RenderableType:
    return pairs([("books", _count(content)), ("head", content["head"]), *more])
