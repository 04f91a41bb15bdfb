"""Timestamps to sign, of which no two are alike: a node refuses a signature that it has seen.

So two attempts with the same body need two timestamps, whatever the clock does. Those of one `RequestTimestamps`
strictly increase; those of one `CorrectedTimestamps` follow corrections of the clock, back and forth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class RequestTimestamps:
    """Strictly increasing nanosecond timestamps, one per attempt.

    While the clock stands still or has stepped back, each timestamp is the last one plus 1 ns, so
    the difference to real time only ever shrinks, and is gone when the clock has caught up. A node
    accepts 60 s of age and 30 s of future, against the time of the chain's latest block: after a
    clock that was far ahead has been put right, signatures are refused until it has caught up or
    the program restarts.

    Not safe for threads: one event loop owns it.

    Args:
        clock: Returns nanoseconds since 1970.
    """

    __slots__ = ("_clock", "_last_ns")

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last_ns = 0

    def next(self) -> int:
        """Return the time, or one nanosecond after the last timestamp, whichever is later."""
        self._last_ns = max(self._clock(), self._last_ns + 1)
        return self._last_ns


CORRECTIONS: Final = 1024
"""So many corrections are told apart: one that looks every five seconds takes more than an hour for as many."""


class CorrectedTimestamps:
    """Nanosecond timestamps by a clock that is corrected, one per attempt; no two are alike.

    A correction may step back, so timestamps do not always increase: who waited until they do would
    sign with times of the future, just when our clock has been put right. Instead, each belongs to
    one correction, whose number is its remainder; of one correction they strictly increase.

    Not safe for threads: one event loop owns it.

    Args:
        clock: Returns nanoseconds since 1970.
    """

    __slots__ = ("_clock", "_made", "_numbers", "_tick")

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._tick = 0
        self._numbers = {0: 0}
        self._made = 1

    def next(self, correction_ns: int = 0) -> int:
        """Return the time with a correction, some nanoseconds early or late, as no call has before."""
        self._tick = max(self._clock() // CORRECTIONS, self._tick + 1)
        shift = correction_ns // CORRECTIONS
        number = self._numbers.get(shift)
        if number is None:
            number = self._number(shift)
        return (self._tick + shift) * CORRECTIONS + number

    def _number(self, shift: int) -> int:
        """Give a correction that is new the number of the one that was new the longest time ago."""
        if len(self._numbers) == CORRECTIONS:
            del self._numbers[next(iter(self._numbers))]
        number = self._numbers[shift] = self._made % CORRECTIONS
        self._made += 1
        return number
