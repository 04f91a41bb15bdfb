"""Where a process can be told to kill itself: at a named point of its store's work.

Nothing of this is in the product. A process of the storm runs our program as it is, but for a journal that counts what
passes (`AimedJournal`), or a file system that does (`AimedFiles`), and sends SIGKILL to its own process when the count
is reached. So the kill comes at that very instruction, in the thread that works there, and nothing gets to tidy up.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import apsw

from tallygate import opening
from tallygate.core.ledger import entry as e
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.records import Written
    from tallygate.storage.journal import Row

BEFORE: Final = "before"
WRITTEN: Final = "written"
DURABLE: Final = "durable"
STAGES: Final = (BEFORE, WRITTEN, DURABLE)
"""Of a batch: nothing of it is written yet; it is in an open transaction; it is on the disk, and nobody knows yet."""

COMMIT_TORN: Final = "commit torn"
COMMIT_UNSYNCED: Final = "commit unsynced"
CHECKPOINT_TORN: Final = "checkpoint torn"
SYNC_FAILS: Final = "sync fails"
"""No kill: from when a file named `broken` is in the working folder on, no sync succeeds, as on a dying disk."""
BROKEN: Final = "broken"
FILE_POINTS: Final = (COMMIT_TORN, COMMIT_UNSYNCED, CHECKPOINT_TORN)
"""Within a commit: a write to the log is cut in half; all of it is written, none is synced. And within a checkpoint,
which copies the log into the database: a page of it is cut in half."""


class Aim(NamedTuple):
    """A point, and how many times it is passed before it kills.

    Attributes:
        point: `<kind of entry> <stage>`, or one of `FILE_POINTS`.
        passing: At which passing the kill comes, counted from 1.
    """

    point: str
    passing: int = 1

    def take(self) -> None:
        """Put this aim into the program that is about to run in this process."""
        if self.point in (*FILE_POINTS, SYNC_FAILS):
            AimedFiles.files = AimedFiles(self, apsw.vfs_names()[0])
            apsw.set_default_vfs(AimedFiles.name)
        else:
            AimedJournal.aim = self
            vars(opening)["SqliteJournal"] = AimedJournal  # the one adapter that we put in another's place


def die() -> None:
    """Kill this process as the system would: at once, with nothing flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


class AimedJournal(SqliteJournal):
    """The journal on disk, which kills its process when so many batches with some kind of entry have come so far."""

    aim: ClassVar[Aim]
    _passed = 0
    _is_here = False

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Write a batch, and do not survive the one that is aimed at."""
        kind, stage = self.aim.point.split(" ")
        if any(written.entry.kind == kind for written in entries):
            self._passed += 1
        self._is_here = self._passed >= self.aim.passing
        if self._is_here and stage == BEFORE:
            die()
        super().write(entries, rows, time_ns)
        if self._is_here and stage == WRITTEN:
            die()

    def flush(self) -> None:
        """Commit a batch, and do not live to tell of the one that is aimed at."""
        super().flush()
        if self._is_here:
            die()


class AimedFiles(apsw.VFS):
    """The system's files, of which a write is cut in half, or a sync never begins, when so many have passed."""

    name: ClassVar[str] = "aimed"
    files: ClassVar[AimedFiles]  # SQLite keeps its name only

    def __init__(self, aim: Aim, system: str) -> None:
        super().__init__(self.name, system)
        self.system = system
        self.folder = Path.cwd()
        self.aim = aim
        self.passed = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> AimedFile:  # noqa: N802
        """Open a file; only those of the store are counted, and each by what it is."""
        return AimedFile(self, name, flags)

    def passes(self, point: str) -> bool:
        """Count a passing of a point; return whether it is the one."""
        self.passed += point == self.aim.point
        return point == self.aim.point and self.passed == self.aim.passing


class AimedFile(apsw.VFSFile):
    """One file of the store."""

    def __init__(self, files: AimedFiles, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(files.system, name, flags)
        self._files = files
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        self._is_main = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write, or write half and die."""
        if (self._is_log and self._files.passes(COMMIT_TORN)) or (
            self._is_main and self._files.passes(CHECKPOINT_TORN)
        ):
            super().xWrite(data[: len(data) // 2], offset)
            die()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Sync, or die before, or fail."""
        if self._files.aim.point == SYNC_FAILS and (self._files.folder / BROKEN).exists():
            raise apsw.IOError("the disk is broken")
        if self._is_log and self._files.passes(COMMIT_UNSYNCED):
            die()
        super().xSync(flags)


JOURNAL_POINTS: Final = tuple(
    f"{kind} {stage}" for kind in (e.HOLD, e.ATTEMPT, e.SETTLE, e.VOID, e.EXPIRE, e.DEPOSIT) for stage in STAGES
)
