"""What `verify` says of a history of which it has replayed the end only, and what `--deep` says of the same one."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate import opening
from tallygate.storage.replay import END_ENTRIES, audit_end
from tests.contract.world import USD, Machine, SqliteStore, serve

if TYPE_CHECKING:
    from tests.cli.installation import Installation

CALLS = 12
END = 10
"""So many entries are the end of a history here; a store of as many as it takes anywhere else would take minutes."""


@pytest.fixture
async def long(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Return an installation whose history is longer than what `verify` replays of it."""
    installation.store.unlink()
    machine = Machine(SqliteStore(installation.store))
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    await ledger.deposit(account.id, USD, "r", "operator")
    for number in range(CALLS):
        await serve(ledger, account, f"chatcmpl-{number}")
    await machine.stop()
    monkeypatch.setattr(opening, "audit_end", partial(audit_end, entries_max=END))
    return installation


def replayed(said: str) -> int:
    """Return how many entries a verdict says that it is about."""
    found = re.search(r" with ([0-9]+) entries ", said)
    assert found is not None, said
    return int(found[1])


def change_beginning(path: Path) -> None:
    """Change a byte of the deposit, long before the end, as somebody might who owns the file."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        db.execute("DROP TRIGGER entries_never_change")
        db.execute("UPDATE entries SET bytes = zeroblob(length(bytes)) WHERE reference = 'r'")


def test_the_end_alone_is_not_told_as_the_whole(long: Installation) -> None:
    """`verify` says that it has replayed the end only, how much that is, what does, and claims nothing beyond it."""
    said, report = long.run("verify"), long.ask("verify")
    first, *_, last = said.out.splitlines()

    assert said.code == 0
    assert first.startswith("Replayed the end of the history only (--deep replays all): ")
    assert 0 < replayed(first) == report["entries"] <= END
    assert last == "The end of the books adds up."
    assert "The books add up." not in said.out
    assert "none doubled within this part; " in said.out
    assert "references of deposits, each once in it; " in said.out
    assert "= available" not in said.out, "an equation over a part would be told as that of the books"
    assert (report["clean"], report["replayed"]) == (True, "end")


def test_deep_is_about_all_of_it(long: Installation) -> None:
    """`verify --deep` says that it has replayed everything, with both sides of the equation."""
    said, report = long.run("verify", "--deep"), long.ask("verify", "--deep")
    first, *_, last = said.out.splitlines()

    assert said.code == 0
    assert re.match(r"Replayed [0-9]+ batches with ", first)
    assert replayed(first) == report["entries"] == sum(report["kinds"].values()) > 2 * CALLS > END
    assert last == "The books add up."
    assert "none doubled; " in said.out
    assert "1 reference of deposits, each once; " in said.out
    assert "= available" in said.out
    assert (report["clean"], report["replayed"]) == (True, "all")


def test_what_came_before_the_end_is_taken_at_its_word_and_no_more(long: Installation) -> None:
    """A change before the end leaves the end sound, and `verify` says no more than that; `--deep` finds it: exit 7."""
    change_beginning(long.store)
    end, whole = long.run("verify"), long.run("verify", "--deep")

    assert (end.code, end.out.splitlines()[-1]) == (0, "The end of the books adds up.")
    assert end.out.startswith("Replayed the end of the history only (--deep replays all): ")
    assert whole.code == 7
    assert "BROKEN" in whole.out
    assert "The books do not add up: " in whole.err


def test_a_history_that_is_no_longer_than_the_end_is_replayed_whole(
    long: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as its end is all that there is, a history is proved whole without `--deep`; one entry more, and not."""
    entries = long.ask("verify", "--deep")["entries"]
    told = []
    for entries_max in (entries, entries - 1):
        monkeypatch.setattr(opening, "audit_end", partial(audit_end, entries_max=entries_max))
        told.append(long.ask("verify")["replayed"])

    assert told == ["all", "end"]


def test_the_document_says_how_long_the_end_is() -> None:
    """`docs/books.md` says of how many entries the end is as shipped."""
    books = (Path(__file__).parents[2] / "docs" / "books.md").read_text()

    assert f"more than {END_ENTRIES:,} entries is replayed whole with `--deep` only" in books
    assert f"without it, its last {END_ENTRIES:,} entries are" in books
