"""`tallygate init`: a configuration to fill in, and an empty store. Overwrites nothing."""

from __future__ import annotations

import asyncio
import os
import tomllib
from typing import TYPE_CHECKING

import click

from tallygate import config
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command, Session, describe_problems
from tallygate.opening import open_books, open_proofs, read_public_key
from tallygate.secretfile import SecretFileError
from tallygate.storage.proofs.anchors import AnchorError
from tallygate.storage.sqlite import NotAStoreError, StoreLockedError

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.config import StoreSettings


@click.command(cls=Command)
@click.pass_obj
def init(session: Session) -> None:
    """Write a configuration and make the store that it names."""
    path = session.config_path
    is_new = not path.exists()
    if is_new:
        _write_new(path, config.TEMPLATE)
    store = _read_store_settings(path)
    if store.path.exists() and not is_new:
        raise Failure(Exit.FAILED, f"{path} and its store {store.path} are there already; nothing was changed.")
    try:
        if not store.path.exists():
            asyncio.run(_make_store(store))
        public_key = read_public_key(store)
    except (NotAStoreError, SecretFileError, AnchorError, OSError) as error:
        raise Failure(Exit.FAILED, f"The store cannot be made: {error}.") from None
    except StoreLockedError as error:
        raise Failure(Exit.STORE_LOCKED, f"The store cannot be made: {error}.") from None
    content = {"config": str(path), "config_written": is_new, "store": str(store.path), "checkpoint_key": public_key}
    session.show(content, lambda: _describe(path, store, public_key, is_new=is_new))


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(Exit.FAILED, f"{path} cannot be written: {error.strerror}.") from None


def _read_store_settings(path: Path) -> StoreSettings:
    """Return where the store goes; whatever else the configuration needs may be missing yet."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("store", {})
    except (OSError, ValueError):
        table = None
    elsewhere = {"name": "not-yet", "kind": "openai", "base_url": "http://localhost/v1"}
    try:
        if table is None:
            return config.load(path, os.environ).store
        settings = config.parse(
            {"store": table, "upstreams": [elsewhere]},
            environ={},
            read_secret_file=lambda _: "",
            lines=lambda _: None,
            base_dir=path.parent,
        )
    except config.ConfigError as error:
        raise describe_problems(path, error) from None
    return settings.store


async def _make_store(store: StoreSettings) -> None:
    ledger, _ = open_books(store)
    try:
        await open_proofs(store, ledger)  # which makes the checkpoint key
    finally:
        await ledger.close()


def _describe(path: Path, store: StoreSettings, public_key: str | None, *, is_new: bool) -> str:
    option = "" if str(path) == "tallygate.toml" else f" --config {path}"
    return "\n".join(
        [
            f"{path} {'is written' if is_new else 'is as it was'}; the store is {store.path}.",
            f"Keep a copy of {store.pepper_file}: without it, no API key works any more.",
            f"Publish the checkpoint key {public_key}: customers check receipts with it.",
            "",
            "Next:",
            f"  1. Fill in {path}: upstreams and prices; and set the variables that it names, among them",
            "     TALLYGATE_ADMIN_KEY (16 characters or more of your own), here and where you run commands.",
            f"  2. tallygate check{option}",
            f"  3. tallygate serve{option}, which stays; then, from another terminal:",
            "  4. tallygate accounts create NAME; tallygate credit ACCOUNT 5; tallygate keys create ACCOUNT",
        ]
    )
