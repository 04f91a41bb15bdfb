"""Where connections wait that have just shown a bad key: they go on in turn, only so many a second in all.

Whoever tries keys is told of each that it is none, but takes no more than a small share of a processor from the callers
whose keys are good. What is sent meanwhile stays with the system, which makes its sender wait; it costs us nothing.
Somebody with a typing error, while nobody else tries, does not wait at all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PER_S: Final = 500
"""How many bad keys are answered each second, unless the operator says otherwise: a twentieth of a processor's time."""

BEAT_S_MIN: Final = 0.01
"""How often those who wait are looked at."""

DEBT_S_MAX: Final = 1
"""How long keys that came all at once are held against those that come later."""


class Turnstile:
    """Lets those go on, in turn, who have shown a bad key.

    Args:
        per_s: How many bad keys are answered each second.
        call_later: Calls a function after so many seconds; without it, the running event loop does.
    """

    def __init__(
        self, per_s: int = PER_S, call_later: Callable[[float, Callable[[], None]], object] | None = None
    ) -> None:
        self._call_later = call_later or (lambda wait_s, call: asyncio.get_running_loop().call_later(wait_s, call))
        self._beat_s = max(BEAT_S_MIN, 1 / per_s)
        self._per_beat = round(per_s * self._beat_s)
        self._debt_max = max(per_s * DEBT_S_MAX, 1)
        self._left = self._per_beat
        self._is_beating = False
        self._waiting: dict[Callable[[], None], None] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def take(self) -> bool:
        """Count one bad key, and return whether its connection may go on at once.

        Keys that came together, and could not be told apart in time, are all counted: others wait for them later.
        """
        if not self._is_beating:
            self._is_beating = True
            self._call_later(self._beat_s, self._beat)
        self._left = max(self._left - 1, -self._debt_max)
        return self._left >= 0 and not self._waiting

    def wait(self, go_on: Callable[[], None]) -> None:
        """Have a function called when it is its turn; between `take` and the next beat."""
        self._waiting[go_on] = None

    def leave(self, go_on: Callable[[], None]) -> None:
        """Wait no longer, if it did."""
        self._waiting.pop(go_on, None)

    def _beat(self) -> None:
        was_full = self._left == self._per_beat
        self._left = min(self._left + self._per_beat, self._per_beat)
        # Whoever goes on shows a key that is counted then.
        for _ in range(min(self._left, len(self._waiting))):
            go_on = next(iter(self._waiting))
            self.leave(go_on)
            go_on()
        self._is_beating = bool(self._waiting) or not was_full
        if self._is_beating:
            self._call_later(self._beat_s, self._beat)
