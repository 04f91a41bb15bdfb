"""The entries of a store, or those of one account in it, as whoever looks for past calls goes through them.

Entries only ever grow, so what was read at one moment fits what is read at a later one: a long question is many short
looks, each of one durable moment. Nothing here proves anything, and nothing needs more than the indexes that the books
have anyway: numbers are in the order of time, so any moment is found by halving.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.statement import Numbered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from tallygate.core.ledger.statement import Period

BILLING: Final = frozenset({e.ATTEMPT, *e.ENDINGS})
"""The kinds of entries that can charge somebody or bill something."""


class Shelf(Numbered, Protocol):
    """Entries by their numbers: those of one account, else of all the books in the order of their commits."""

    def billing(self, period: Period) -> Iterable[bytes]:
        """Return the entries of a period that can charge or bill something, in their order."""

    def holds(self, period: Period, count_max: int) -> Sequence[tuple[int, bytes]]:
        """Return the last holds of a period with their numbers, newest first, no more than these."""

    def open_holds(self, period: Period) -> Sequence[tuple[int, bytes]]:
        """Return the holds of a period that nothing has ended, newest first: there are few at any time."""

    def inference(self, inference: str) -> Sequence[bytes]:
        """Return all entries of an inference in their order, whoever's it is."""


class Past(Protocol):
    """Lends shelves; may block, and may be called from any thread."""

    def look(self, account: str | None) -> AbstractContextManager[Shelf]:
        """Lend the entries of an account, or all of them, as they are durable at one moment.

        Raises:
            UnknownAccountError: There is no such account.
        """
