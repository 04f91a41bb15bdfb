"""Files that appear under their name whole and durable, or not at all, and never over one that is there.

A crash leaves at most a draft beside the place, which nobody takes for the file.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SQLITE_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""


@contextlib.contextmanager
def whole_file(path: Path, make_room: Callable[[], object] | None = None) -> Iterator[Path]:
    """Lend an empty draft that only its owner can read; it becomes the file when all has gone well.

    Args:
        path: The file.
        make_room: Moves what is there out of the way, when the draft is done and durable.

    Raises:
        FileExistsError: A file of this name is there, or has come in the meantime; it is left alone.
    """
    if make_room is None and path.exists():
        raise FileExistsError(f"{path} is there already")
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield draft
        sync(draft)
        if make_room is not None:
            make_room()
        os.link(draft, path)  # unlike a rename, never over one that is there
    finally:
        for ending in ("", *SQLITE_SIDE_FILES, ".lock"):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or what a folder says of its files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
