"""Past calls from a disk in memory: the twin of `sqlite_past`, which looks through everything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.storage.past.shelf import BILLING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallygate.core.ledger.statement import Period
    from tallygate.storage.memory import MemoryDisk


class MemoryPast:
    """What is on a disk in memory.

    Args:
        disk: The disk.
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    @contextlib.contextmanager
    def look(self, account: str | None) -> Iterator[MemoryShelf]:
        """Lend the entries of an account, or all of them."""
        disk = self._disk
        with disk.lock:
            if account is not None and account not in disk.accounts:
                raise UnknownAccountError(account)
            raws = [raw for _, entries in disk.batches for raw in entries]
            still_open = frozenset(disk.open_holds)
        yield MemoryShelf(raws, account, still_open)


class MemoryShelf:
    """Entries in memory, by their numbers."""

    def __init__(self, raws: Sequence[bytes], account: str | None, still_open: frozenset[str]) -> None:
        self._all = raws
        self._open = still_open
        self._raws = raws if account is None else [raw for raw in raws if decode_entry(raw).account == account]

    @property
    def last(self) -> int:
        """The number of the last entry."""
        return len(self._raws)

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return self._raws[number - 1]

    def billing(self, period: Period) -> Iterator[bytes]:
        """Return the entries of a period that can charge or bill something."""
        return (raw for raw in self._raws[period.after : period.to] if decode_entry(raw).kind in BILLING)

    def holds(self, period: Period, count_max: int) -> Sequence[tuple[int, bytes]]:
        """Return the last holds of a period, newest first."""
        numbered = enumerate(self._raws[period.after : period.to], period.after + 1)
        return [row for row in numbered if decode_entry(row[1]).kind == e.HOLD][::-1][:count_max]

    def open_holds(self, period: Period) -> Sequence[tuple[int, bytes]]:
        """Return the holds of a period that nothing has ended, newest first."""
        return [row for row in self.holds(period, self.last) if decode_entry(row[1]).inference in self._open]

    def inference(self, inference: str) -> Sequence[bytes]:
        """Return all entries of an inference."""
        return [raw for raw in self._all if decode_entry(raw).inference == inference]
