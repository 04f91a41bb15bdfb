"""The history of a store, read from its file page by page, whether or not a gateway is running on it.

Every page is a read of its own, so that no long reading keeps the running gateway's write-ahead log from being taken
up; entries only ever grow, so the pages fit together. Nothing here writes, and nothing here proves: that is `replay`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from tallygate.core.ledger.entry import decode_entry
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import open_for_reading, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallygate.core.ledger.entry import Entry

PAGE_ENTRIES: Final = 1000
"""A page is read within milliseconds: whoever asks upstreams meanwhile waits for it."""


def read_sendings(path: Path) -> Iterator[Entry]:
    """Return all entries that begin or end sendings, in their order, up to the last one when the end is reached.

    Raises:
        NotAStoreError: The file is no store of ours, or cannot be read.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        position = 0
        while page := list(db.execute(QUERIES["sendings_after"], (position, PAGE_ENTRIES))):
            for _, raw in page:
                yield decode_entry(raw)
            position = page[-1][0]
