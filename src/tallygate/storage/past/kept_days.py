"""What was counted of past days, kept in memory: entries never change, so neither does what they add up to.

Kept by the numbers of the entries and not by the date. The day that is not over yet only ever grows at its end, so what
was counted of it is a beginning to go on from. What was asked for least lately goes first when there is too much.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic

from tallygate.core.ledger.rollup import S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.rollup import Finest
    from tallygate.core.ledger.statement import Period

ROWS_MAX: Final = 50_000
"""Some 25 MiB: a year of a thousand accounts with a row or two a week, or a month of a dozen busy ones."""


class KeptDays(Generic[S]):
    """Counts of periods, in all dimensions.

    Args:
        count: Counts one entry.
        dimensions: In which it does.
        rows_max: How many rows are kept.
    """

    def __init__(
        self,
        count: Callable[[dict[Finest, S], Entry], None],
        dimensions: Iterable[str],
        *,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self.count = count
        self.dimensions = tuple(dimensions)
        self._rows_max = rows_max
        self._rows = 0
        self._kept: OrderedDict[tuple[str | None, int], tuple[int, Mapping[Finest, S]]] = OrderedDict()

    def begin(self, account: str | None, period: Period) -> tuple[int, Mapping[Finest, S]]:
        """Return what is kept of the beginning of a period, and up to which entry: nothing, part of it, or all."""
        to, finest = self._kept.get((account, period.after), (period.after, {}))
        if not period.after < to <= period.to:
            return period.after, {}
        self._kept.move_to_end((account, period.after))
        return to, finest

    def keep(self, account: str | None, period: Period, finest: Mapping[Finest, S]) -> None:
        """Keep what was counted in a whole period, and let go of what was not asked for the longest."""
        to, shorter = self._kept.get((account, period.after), (period.after, {}))
        if to < period.to:
            self._rows += _size(finest) - (_size(shorter) if to > period.after else 0)
            self._kept[account, period.after] = period.to, finest
        while self._rows > self._rows_max:
            _, (_, gone) = self._kept.popitem(last=False)
            self._rows -= _size(gone)


def _size(finest: Mapping[Finest, S]) -> int:
    return len(finest) + 1  # a day without a row takes room, too
