"""A sliding window: never more than so much taken in any span of time, however the takings are spread.

It is exact and not an estimate: nothing is forgotten before it is a whole span old, so the promise holds for every
window that somebody may lay over the takings, and what is refused would have broken it. A span contains its first
instant and not its last: what was taken exactly one span ago counts no more.

Memory does not grow with the limit. `SLOTS_MAX` takings each have a slot of their own. Beyond so many, those of one
grain of time (a `SLOTS_MAX`-th of the span) share a slot that is as old as the last of them; so the promise still holds
to the letter, and room comes back at most one grain late. There are never more than twice as many slots.

Times are seconds of a clock that is never set back.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE_S: Final = 60.0

SLOTS_MAX: Final = 10_000
"""About one megabyte for a window that is full; a grain of a minute is 6 ms."""

_GONE_S: Final = float("-inf")
_NEVER_S: Final = float("inf")


class Slot:
    """What was taken in one instant, or in one grain of time."""

    __slots__ = ("amount", "time_s")

    def __init__(self, time_s: float, amount: int) -> None:
        self.time_s = time_s
        self.amount = amount


class SlidingWindow:
    """What was taken in the last span of time, against a limit.

    Args:
        limit: The most that may be taken in any span; it may be changed at any time.
        span_s: How long that is.
    """

    __slots__ = ("_forget_s", "_grain_s", "_slots", "limit", "span_s", "taken")

    def __init__(self, limit: int, span_s: float = MINUTE_S) -> None:
        self.limit = limit
        self.span_s = span_s
        self.taken = 0  # as of the last look
        self._grain_s = span_s / SLOTS_MAX
        self._slots: deque[Slot] = deque()
        self._forget_s = _NEVER_S  # no slot is to be forgotten before: most looks need not even ask

    def __repr__(self) -> str:
        """Say how much is taken."""
        return f"<SlidingWindow {self.taken} of {self.limit} in {len(self._slots)} slots>"

    def remaining(self, now_s: float) -> int:
        """Return how much can be taken now."""
        if now_s >= self._forget_s:
            self._forget(now_s)
        return max(self.limit - self.taken, 0)

    def wait_s(self, now_s: float, amount: int = 1) -> float | None:
        """Return how long until so much can be taken, if nothing else is meanwhile: 0 is now, None is never."""
        if now_s >= self._forget_s:
            self._forget(now_s)
        excess = self.taken + amount - self.limit
        if excess <= 0:
            return 0.0
        for slot in self._slots:  # oldest first
            excess -= slot.amount
            if excess <= 0:
                return slot.time_s + self.span_s - now_s
        return None

    def reset_s(self, now_s: float) -> float:
        """Return how long until all of the limit can be taken again."""
        if now_s >= self._forget_s:
            self._forget(now_s)
        return self._slots[-1].time_s + self.span_s - now_s if self._slots else 0.0

    def take(self, now_s: float, amount: int = 1) -> Slot:
        """Take so much, whether or not there is room: that is for `wait_s` to say, in the same step."""
        if now_s >= self._forget_s:
            self._forget(now_s)
        slots = self._slots
        self.taken += amount
        if len(slots) >= SLOTS_MAX and now_s // self._grain_s == slots[-1].time_s // self._grain_s:
            slot = slots[-1]
            slot.time_s = now_s
            slot.amount += amount
            return slot
        if not slots:
            self._forget_s = now_s + self.span_s
        slot = Slot(now_s, amount)
        slots.append(slot)
        return slot

    def correct(self, slot: Slot, difference: int, now_s: float) -> None:
        """Change what was taken: it was more than thought, or (below zero) less; what counts no more is left alone."""
        if now_s >= self._forget_s:
            self._forget(now_s)
        if slot.time_s + self.span_s <= now_s:
            return
        slot.amount += difference
        self.taken += difference
        slots = self._slots
        while slots and not slots[-1].amount:  # nothing was taken after all: neither is there anything to wait for
            slots.pop().time_s = _GONE_S

    def _forget(self, now_s: float) -> None:
        """Let go of what is a whole span old."""
        slots, span_s = self._slots, self.span_s
        while slots and slots[0].time_s + span_s <= now_s:
            self.taken -= slots.popleft().amount
        self._forget_s = slots[0].time_s + span_s if slots else _NEVER_S
