"""How a whole store comes to its place: under the lock, checked before, beside whatever was there, and in one step.

What was there is moved aside and never deleted. Until the last step the place is as it was; a crash in that step
leaves the place empty, and the old store and the draft beside it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import apsw

from tallygate.storage.journal import NotAStoreError
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite import lock_store
from tallygate.storage.sqlite_file import BUSY_MS, open_for_reading, reading
from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Identity(NamedTuple):
    """Whose books a store has, and how far they go."""

    writer: bytes
    epoch: int
    sequence: int
    head: bytes


class Place:
    """Where a store goes.

    Attributes:
        draft: The file that becomes the store.
        set_aside: Where the store that was there went; None when there was none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path
        self.set_aside: Path | None = None

    def clear(self) -> None:
        """Move what is there aside, under the first name that is free.

        The database goes first: without it SQLite throws a log that it finds away, while a database without its log
        would look like one that has lost its last commits.
        """
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.replaced-{number}")).exists():
            number += 1
        for ending in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + ending).rename(aside.with_name(aside.name + ending))
                self.set_aside = aside
        self.path.with_name(f"{self.path.name}-shm").unlink(missing_ok=True)


@contextlib.contextmanager
def placing(path: Path, *, replace: bool = False) -> Iterator[Place]:
    """Lend the place of a store; its draft becomes the store when all has gone well.

    Args:
        path: Where the store goes.
        replace: Whether one that has entries may be moved aside; an empty one always may.

    Raises:
        StoreLockedError: A process is using what is there.
        FileExistsError: There are books, or there is something else.
    """
    path = path.resolve()  # a link goes on leading to the store
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = lock_store(path)
    try:
        if not replace and not _is_free(path):
            raise FileExistsError(f"{path} has books in it already")
        place = Place(path)
        with whole_file(path, place.clear) as place.draft:
            yield place
    finally:
        lock.release()


def leave_note(path: Path, reason: str) -> None:
    """Leave something to be noted in the books by the next start, in a store that nobody uses; it is one file then."""
    with reading(path), contextlib.closing(apsw.Connection(str(path))) as db:
        db.set_busy_timeout(BUSY_MS)
        db.pragma("journal_mode", "delete")  # nothing beside the file: it is about to be moved
        db.execute(QUERIES["leave_note"], (reason,))


def identify(path: Path) -> Identity:
    """Return whose books a store has.

    Raises:
        NotAStoreError: The file is no store of ours.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        ((writer, epoch, sequence, head),) = db.execute(QUERIES["identity"])
        return Identity(writer, epoch, sequence, head)


def _is_free(path: Path) -> bool:
    """Return whether nothing would be lost: no file, or a store in which nothing was ever written."""
    if not path.exists():
        return True
    try:
        return identify(path).sequence == 0
    except NotAStoreError:
        return False
