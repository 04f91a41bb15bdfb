"""`dump`, `load`, `backup`, `restore`: on the store and beside a running gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import apsw
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.installation import Installation


def fill(installation: Installation) -> str:
    """Give an installation an account with money and a key; return the account's id."""
    account: str = installation.ask("accounts", "create", "Ada")["id"]
    installation.ask("credit", account, "5")
    installation.ask("keys", "create", account)
    return account


def move_store(installation: Installation) -> Path:
    """Take the store away, pepper and all, as if this were another machine; return where it is."""
    elsewhere = installation.folder / "elsewhere"
    installation.store.parent.rename(elsewhere)
    return elsewhere


def pepper_of(installation: Installation) -> Path:
    """Return where the pepper belongs."""
    return installation.store.with_suffix(".pepper")


def spoil(store: Path) -> None:
    """Change a balance behind the books."""
    db = apsw.Connection(str(store))
    db.execute("UPDATE accounts SET available = available + 1")
    db.close()


def test_a_backup_is_proved_and_says_what_to_keep_too(either: Installation) -> None:
    """`backup` gives head, counts and balances of the copy, and names the files that have to be kept with it."""
    fill(either)
    file = either.folder / "backup.db"
    told = either.ask("backup", str(file))

    assert (told["file"], told["clean"], told["accounts"]) == (str(file), True, 1)
    assert told["usd"]["available"] == "5"
    assert len(told["head"]) == 64
    key = either.store.with_suffix(".checkpoint-key")
    anchors = either.store.parent / "anchors.jsonl"
    assert told["keep_too"] == [str(either.config), str(pepper_of(either)), str(key), str(anchors)]
    assert file.stat().st_mode & 0o777 == 0o600
    assert (either.run("backup", str(file)).code, either.run("backup", "/nowhere/at/all").code) == (1, 1)


def test_a_backup_is_restored_elsewhere(installation: Installation) -> None:
    """`restore` makes the store again where it is missing, and says that the pepper has to come back, too."""
    account = fill(installation)
    file = installation.folder / "backup.db"
    backed_up = installation.ask("backup", str(file))
    elsewhere = move_store(installation)
    told = installation.ask("restore", str(file))

    assert told["head"] == backed_up["head"]
    assert told["set_aside"] is None
    assert str(pepper_of(installation)) in told["next"][0]
    assert installation.run("accounts", "list").code == 1
    (elsewhere / pepper_of(installation).name).rename(pepper_of(installation))
    shown = installation.ask("accounts", "show", account)
    assert (shown["balance_usd"], [key["status"] for key in shown["keys"]]) == ("5", ["active"])
    installation.ask("credit", account, "1")
    assert installation.ask("verify")["kinds"]["note"] == 3  # account, key, and that it was restored


def test_a_restore_replaces_no_books_unless_told(either: Installation) -> None:
    """`restore` refuses a store with books, and with `--replace` one that is free; a store in use it never touches."""
    fill(either)
    file = either.folder / "backup.db"
    either.ask("backup", str(file))
    first, told = either.run("restore", str(file)), either.run("--json", "restore", str(file), "--replace")

    if first.code == 1:
        assert "has books in it already" in first.err
        assert (told.code, told.content["set_aside"]) == (0, f"{either.store}.replaced-1")
    else:
        assert (first.code, told.code) == (4, 4)
    assert either.ask("verify")["clean"]


def test_damaged_books_are_exit_code_7(installation: Installation) -> None:
    """`backup` keeps a copy of damaged books, `restore` takes none, `dump` writes none; all say so with 7."""
    fill(installation)
    spoil(installation.store)
    file, text = installation.folder / "backup.db", installation.folder / "books.jsonl"

    assert (installation.run("backup", str(file)).code, file.exists()) == (7, True)
    assert installation.run("restore", str(file), "--replace").code == 7
    assert (installation.run("dump", str(text)).code, text.exists()) == (7, False)


@pytest.mark.parametrize("options", [(), ("--without-keys",)])
def test_a_dump_is_loaded_into_a_new_store(either: Installation, options: tuple[str, ...], tmp_path: Path) -> None:
    """`dump` writes the books, `load` makes them again with the same head; without keys any pepper will do."""
    account = fill(either)
    file = either.folder / "books.jsonl"
    dumped = either.ask("dump", str(file), *options)
    other = tmp_path / "other" / "tallygate.toml"
    other.parent.mkdir()
    other.write_text(either.config.read_text())
    loaded = either.ask("--config", str(other), "load", str(file))

    assert loaded["head"] == dumped["head"] == json.loads(file.read_text().splitlines()[-1])["head"]
    assert (loaded["entries"], loaded["accounts"], loaded["keys"]) == (dumped["entries"], 1, 0 if options else 1)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "fork" in loaded["next"][0]
    assert "tallygate.checkpoint-key" in loaded["next"][-1]
    pepper = other.parent / "data" / "tallygate.pepper"
    assert pepper.exists() is bool(options)
    pepper.write_bytes(pepper_of(either).read_bytes())
    pepper.chmod(0o600)
    shown = either.ask("--config", str(other), "accounts", "show", account)
    assert (shown["name"], shown["balance_usd"], len(shown["keys"])) == ("Ada", "5", 0 if options else 1)
    assert either.run("--config", str(other), "load", str(file)).code == 1
    assert either.run("dump", str(file)).code == 1


def test_a_damaged_dump_names_its_line(installation: Installation) -> None:
    """`load` of a dump that was cut off is exit code 7, names the line, and makes no store."""
    fill(installation)
    file = installation.folder / "books.jsonl"
    installation.ask("dump", str(file))
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    move_store(installation)
    outcome = installation.run("load", str(file))

    assert outcome.code == 7
    assert "line 7: the dump ends without its last line" in outcome.err
    assert not installation.store.exists()
    assert installation.run("load", str(installation.folder / "missing")).code == 1


def test_a_dump_goes_through_a_pipe(installation: Installation) -> None:
    """`dump -` writes nothing but the dump to standard output, and `load -` reads it from standard input."""
    fill(installation)

    def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "tallygate", "--config", str(installation.config), *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=True, env=os.environ)

    dumped = run("dump", "-")
    move_store(installation)
    loaded: dict[str, Any] = json.loads(run("--json", "load", "-", given=dumped.stdout).stdout)

    assert loaded["head"] == json.loads(dumped.stdout.splitlines()[-1])["head"]
    assert loaded["head"].encode() in dumped.stderr


def test_without_a_store_there_is_nothing_to_copy(installation: Installation) -> None:
    """`backup` and `dump` of no store are exit code 1, and write nothing."""
    move_store(installation)
    for command in ("backup", "dump"):
        assert installation.run(command, str(installation.folder / "copy")).code == 1
    assert not (installation.folder / "copy").exists()


def test_people_are_told_in_words(installation: Installation) -> None:
    """Without `--json` the commands say head, counts and what comes next."""
    fill(installation)
    file, text = installation.folder / "backup.db", installation.folder / "books.jsonl"
    backed_up, dumped = installation.run("backup", str(file)), installation.run("dump", str(text))
    restored = installation.run("restore", str(file), "--replace")
    move_store(installation)
    loaded = installation.run("load", str(text))

    assert "the books add up" in backed_up.out
    assert "keep too" in backed_up.out
    assert "1 account" in dumped.out
    assert "Start the gateway" in restored.out
    assert "Put the pepper" in loaded.out
