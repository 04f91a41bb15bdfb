"""A caller's leaving, as an event that can interrupt only the waits for an upstream.

Acts on the ledger and writes to the caller always run to their end; the leaving is noticed at the next wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class CallerLeft(Exception):  # noqa: N818  (an event of the call, not a fault)
    """The caller has left, and we were about to wait, or waited, for the upstream."""


class Watch:
    """Whether the caller of the current task is still there."""

    __slots__ = ("_left", "_task", "_waiting")

    def __init__(self) -> None:
        self._left = False
        self._waiting = False
        self._task = asyncio.current_task()

    def begin(self) -> None:
        """From now on watch for the current task."""
        self._task = asyncio.current_task()

    def leave(self) -> None:
        """Take note that the caller has left, and interrupt a wait under way."""
        self._left = True
        if self._waiting and self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Forget the task, which holds us in turn: what is not a cycle is freed at once."""
        self._task = None

    def has_left(self) -> bool:
        """Return whether the caller has left."""
        return self._left

    async def until(self, waiting: Coroutine[object, object, T]) -> T:
        """Wait for the upstream.

        Raises:
            CallerLeft: The caller left before it answered.
        """
        if self.has_left():
            waiting.close()
            raise CallerLeft
        self._waiting = True
        try:
            return await waiting
        except asyncio.CancelledError:
            if not self.has_left() or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._waiting = False
        raise CallerLeft
