"""A journal that tells a meter what it takes: the figures are drawn from the entries that become durable.

So money is counted where it is booked, whoever booked it: a call, a sweep, the operator.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tallygate.core.audit.report import Report
    from tallygate.core.idempotency import Claimed
    from tallygate.core.ledger.records import Written
    from tallygate.core.ledger.statement import History
    from tallygate.ports.meter import Meter
    from tallygate.storage.journal import Contents, Journal, Row, StoredAccount


class MeteredJournal:
    """A journal with a meter.

    Args:
        journal: Does the work.
        meter: Is told.
    """

    def __init__(self, journal: Journal, meter: Meter) -> None:
        self._journal = journal
        self._meter = meter

    def open(self) -> Contents:
        """Begin a new epoch, durably, and return what is there."""
        return self._journal.open()

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Take one batch, and tell of it if it was taken."""
        self._journal.write(entries, rows, time_ns)
        self._meter.batch_taken(entries)

    def flush(self) -> None:
        """Make it durable, and tell how long that took; one that fails is told by readiness."""
        begun_s = time.perf_counter()
        self._journal.flush()
        self._meter.batch_durable(time.perf_counter() - begun_s)

    def find_claim(self, digest: bytes) -> Claimed | None:
        """Return the claim that is durable under a digest."""
        return self._journal.find_claim(digest)

    def find_old_claims(self, before_ns: int, count_max: int) -> Sequence[bytes]:
        """Return the digests of claims that have ended and were taken before a time."""
        return self._journal.find_old_claims(before_ns, count_max)

    def audit(self) -> Report:
        """Replay everything that is durable now."""
        return self._journal.audit()

    def history(self, account: str) -> AbstractContextManager[tuple[StoredAccount, History]]:
        """Lend an account and its entries as they are durable now."""
        return self._journal.history(account)

    def close(self) -> None:
        """Let go of the store."""
        self._journal.close()
