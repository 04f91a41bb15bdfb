"""How many retries there may be: a share of the calls, and a few besides.

A retry mends the failure of one node; when the whole network fails, retries only multiply its load. So each call pays
a share of a retry into a bucket, each second pays in a little for quiet times, and each retry takes one out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVE_S: Final = 10
"""The bucket holds what so many seconds pay in by themselves, and what calls have paid in beyond it is lost."""

_CENT: Final = 100


class RetryBudget:
    """A bucket of retries, full at first.

    Args:
        now_s: A monotonic clock in seconds.
        percent: How many retries 100 calls pay in.
        per_s: How many retries each second pays in, whatever the calls.
    """

    __slots__ = ("_at_s", "_cents", "_cents_max", "_now_s", "_per_s", "_percent", "refused")

    def __init__(self, now_s: Callable[[], float], percent: int, per_s: int) -> None:
        self.refused = 0
        self._now_s = now_s
        self._percent = percent
        self._per_s = per_s
        self._cents_max = _CENT * max(per_s * RESERVE_S, 1) if per_s or percent else 0
        self._cents = self._cents_max
        self._at_s = now_s()

    def note_call(self) -> None:
        """Pay in for a call."""
        self._cents = min(self._cents + self._percent, self._cents_max)

    def take(self) -> bool:
        """Take out one retry; return whether there was one."""
        now_s = self._now_s()
        paid = int((now_s - self._at_s) * self._per_s * _CENT)
        if paid > 0:
            self._cents, self._at_s = min(self._cents + paid, self._cents_max), now_s
        if self._cents < _CENT:
            self.refused += 1
            return False
        self._cents -= _CENT
        return True
