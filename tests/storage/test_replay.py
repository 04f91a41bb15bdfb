"""The proof of a file by several processes, of its end, and in a process apart: as good as when read in order."""

from __future__ import annotations

import gc
import os
import signal
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tallygate.core.audit.audit import Audit
from tallygate.core.pricing import Price, revised
from tallygate.storage import replay
from tallygate.storage.replay import (
    SPAN_ENTRIES_MAX,
    SPAN_ENTRIES_MIN,
    ReplayStoppedError,
    audit_apart,
    audit_end,
    audit_file,
    count_processors,
    find_span_entries,
)
from tests.contract.world import RATE, SHEET, USD, Machine, SqliteStore, request, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tallygate.core.ledger.entry import Facts
    from tallygate.storage.replay import EntryRow

MODEL = next(iter(SHEET.prices))


class Here(Executor):
    """A pool of processes that is this process."""

    def __init__(self, _: int, __: object, initializer: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        initializer(*arguments)

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        """Do it at once."""
        future: Future[Any] = Future()
        future.set_result(work(*arguments, **more))
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the work of other processes be done here: what they would find is what counts."""
    monkeypatch.setattr(replay, "ProcessPoolExecutor", Here)
    yield
    gc.enable()  # the processes go without


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a store with thirty calls of two accounts, a new price between them, a crash, and an open hold."""
    path = tmp_path / "tallygate.db"
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    accounts = [await ledger.open_account(name, "operator") for name in ("Ann", "Bob")]
    for account in accounts:
        await ledger.deposit(account.id, USD, "r", "operator")
    for number in range(15):
        await serve(ledger, accounts[number % 2], f"chatcmpl-{number}")
    await ledger.publish(revised(SHEET, {MODEL: Price(200, 600, 7)}), "operator")
    await ledger.hold(request("chatcmpl-lost", accounts[0]))
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
    for number in range(15, 30):
        await serve(ledger, ledger.account(accounts[number % 2].id), f"chatcmpl-{number}")
    await ledger.hold(request("chatcmpl-open", ledger.account(accounts[0].id)))
    await machine.stop()
    return path


@pytest.mark.parametrize(
    ("entries", "processes", "spans"),
    [(0, 2, 0), (1000, 2, 1), (70_000, 2, 2), (600_000, 2, 5), (600_001, 1, 2), (10_000_000, 2, 23), (10**9, 8, 1923)],
)
def test_work_is_shared_evenly_and_memory_bounded(entries: int, processes: int, spans: int) -> None:
    """No part is longer than memory allows, and processes that are as fast as each other end together."""
    left, sizes, taken = entries, [0], [0] * processes
    while left > 0:
        sizes.append(min(find_span_entries(left, processes), left))
        left -= sizes[-1]
        taken[taken.index(min(taken))] += sizes[-1]  # by whoever is the first to have nothing to do

    assert len(sizes) - 1 == spans
    assert max(sizes) <= SPAN_ENTRIES_MAX
    assert max(taken) - min(taken) <= SPAN_ENTRIES_MIN


@pytest.mark.parametrize("span_entries", [1, 2, 3, 7, 30, 1000])
@pytest.mark.usefixtures("here")
def test_report_is_the_same_whoever_shares_the_work(path: Path, span_entries: int) -> None:
    """However a history is cut, and whether its parts are replayed in order or apart, the report is one."""
    whole = audit_file(path)

    assert (whole.problems, whole.open_holds, whole.kinds["expire"]) == ([], 1, 1)
    assert audit_file(path, span_entries=span_entries) == whole
    assert audit_file(path, span_entries=span_entries, processes=2) == whole


@pytest.mark.usefixtures("here")
def test_clean_file_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of a clean file has to be replayed again by the process that joins the findings."""
    monkeypatch.setattr(Audit, "take", None)

    assert audit_file(path, span_entries=5, processes=2).clean


def test_columns_of_most_entries_are_compared_as_they_pass(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store finds holds, charges and voids by is fetched with their bytes, and not once more for each."""
    asked: list[str] = []

    def ask(db: apsw.Connection, row: EntryRow, entry: Facts) -> bool:
        asked.append(entry.kind)
        return has_columns(db, row, entry)

    has_columns = replay._has_columns
    monkeypatch.setattr(replay, "_has_columns", ask)
    kinds = audit_file(path).kinds

    assert kinds.total() - len(asked) == sum(kinds[kind] for kind in ("hold", "settle", "void"))


def test_processes_of_their_own_find_the_same(path: Path) -> None:
    """Real processes, each with its own view of the file, come to the report of one."""
    told: list[tuple[int, int]] = []
    report = audit_file(path, span_entries=10, processes=2, progress=lambda done, total: told.append((done, total)))

    assert report == audit_file(path)
    assert told == sorted(told)
    assert told[-1] == (report.entries, report.entries)
    assert len(told) > 3


@pytest.mark.parametrize("position", range(3, 69, 5))
@pytest.mark.usefixtures("here")
def test_changed_entry_is_told_alike_wherever_the_parts_begin(path: Path, position: int) -> None:
    """An entry that was changed is told with its batch by one process and by many, at a boundary or not."""
    db = apsw.Connection(str(path))
    db.execute("DROP TRIGGER entries_never_change")
    db.execute("UPDATE entries SET bytes = zeroblob(length(bytes)) WHERE position = ?", (position,))
    db.close()
    whole = audit_file(path)

    assert not whole.clean
    for span_entries in (1, 2, 3, position - 1, position):
        assert audit_file(path, span_entries=span_entries, processes=2) == whole


def test_end_of_a_long_history_is_proved_by_itself(path: Path) -> None:
    """Where only the end is asked for, so many entries are replayed, and a short history is replayed whole."""
    end, whole = audit_end(path, entries_max=20), audit_end(path)

    assert (end.problems, end.is_whole) == ([], False)
    assert 0 < end.entries <= 20
    assert whole == audit_file(path)


def test_change_in_the_end_is_found_by_itself(path: Path) -> None:
    """The end of a history that was changed is found without the rest."""
    db = apsw.Connection(str(path))
    db.execute("UPDATE accounts SET available = available + 1")
    db.close()

    assert [problem[:13] for problem in audit_end(path, entries_max=20).problems] == ["account acct_"] * 2


def test_long_history_is_replayed_in_a_process_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that is asked to replay a long history has another process do it; the report is the same."""
    monkeypatch.setattr(replay, "QUICK_ENTRIES", 0)

    assert audit_apart(path) == audit_file(path)


def die(span: object) -> None:
    """End this process as the kernel ends one that takes too much memory: at once, and without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_helper_is_told_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of which one process is killed proves nothing, and says so."""
    monkeypatch.setattr(replay, "_replay_span", die)

    with pytest.raises(ReplayStoppedError, match="a process that helped was killed"):
        audit_file(path, span_entries=10, processes=2)


def test_there_is_a_processor() -> None:
    """At least one process can work, and never a crowd."""
    assert 1 <= count_processors() <= replay.PROCESSES_MAX
