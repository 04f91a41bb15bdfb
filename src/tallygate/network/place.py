"""What every place that calls are sent to has: how it stands, and who pays for a retry after it has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.retry import Failure
    from tallygate.core.retrybudget import RetryBudget


class Place:
    """A place, as far as the choice goes.

    Args:
        now_s: A monotonic clock in seconds.
        budget: Pays for retries; without, nobody counts them.
        races: Whether it races nodes by itself.
    """

    def __init__(self, now_s: Callable[[], float], budget: RetryBudget | None, *, races: bool = False) -> None:
        self.standing = Standing(now_s, races=races)
        self._budget = budget

    @property
    def is_out(self) -> bool:
        """Whether it is left out now."""
        return self.standing.is_out

    @property
    def is_out_for_good(self) -> bool:
        """Whether it will not come back by itself."""
        return self.standing.is_out_for_good

    @property
    def is_quiet(self) -> bool:
        """Whether it serves little or nothing now, and is not to be blamed for it; nobody tells here."""
        return False

    def report(self, failure: Failure) -> Failure:
        """Take note of a sending that failed there; return it with what the place knows of it besides."""
        self.standing.report(failure)
        return failure

    def take_retry(self) -> bool:
        """Return whether a call that failed there may be sent again; whoever is told so has used one retry up."""
        return self._budget is None or self._budget.take()
