"""A journal that tells a meter: of what it took and made durable, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tallygate.core.errors import StoreUnavailableError
from tallygate.storage.metered import MeteredJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.records import Written
    from tallygate.ports.meter import Meter
    from tallygate.storage.journal import Journal


class Disk:
    """A journal, and the meter that watches it: both write down what they are told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_broken = False

    def write(self, *_: object) -> None:
        """Fail where the disk is broken."""
        self._act("write")

    def flush(self) -> None:
        """Fail where the disk is broken."""
        self._act("flush")

    def batch_taken(self, entries: Sequence[Written]) -> None:
        """Write down how many."""
        self.told.append(f"{len(entries)} taken")

    def batch_durable(self, seconds: float) -> None:
        """Write it down."""
        assert seconds >= 0
        self.told.append("durable")

    def _act(self, name: str) -> None:
        if self.is_broken:
            raise StoreUnavailableError("broken")
        self.told.append(name)


def test_a_meter_is_told_after_the_journal() -> None:
    """What was taken is told once it was, and that it is durable once it is."""
    disk = Disk()
    journal = MeteredJournal(cast("Journal", disk), cast("Meter", disk))
    journal.write([], (), 1)
    journal.flush()

    assert disk.told == ["write", "0 taken", "flush", "durable"]


def test_what_fails_is_not_counted() -> None:
    """A batch that the journal does not take, or does not make durable, raises, and is not told."""
    disk = Disk()
    disk.is_broken = True
    journal = MeteredJournal(cast("Journal", disk), cast("Meter", disk))
    with pytest.raises(StoreUnavailableError):
        journal.write([], (), 1)
    with pytest.raises(StoreUnavailableError):
        journal.flush()

    assert disk.told == []
