"""An event loop whose time stands still while the machine does.

A machine that is shared can stop a process for a minute. Both ends of every connection of an ordeal are in this one
process, so nobody was slow then; but timers would run out before what has long arrived is read, and nodes that did
nothing wrong would seem silent. Here the loop looks at the clock at least every `NAP_S`, and what has gone by between
two looks beyond `GAP_S` has gone by for nobody.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    T = TypeVar("T")

NAP_S = 0.05
"""The longest that the loop waits without a look at the clock."""

GAP_S = 0.5
"""Between two looks is a nap and what callbacks take, all far below this; more means that the process did not run."""


class _Napping(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, but not for long: who finds nothing asks again."""
        return super().select(NAP_S if timeout is None else min(timeout, NAP_S))


class SteadyLoop(asyncio.SelectorEventLoop):
    """Counts only the time in which it ran."""

    def __init__(self) -> None:
        self._lost_s = 0.0
        self._looked_s = time.monotonic()
        super().__init__(_Napping())

    def time(self) -> float:
        """Return the time in seconds: monotonic, less what this process has missed."""
        now_s = time.monotonic()
        if now_s - self._looked_s > GAP_S:
            self._lost_s += now_s - self._looked_s
        self._looked_s = now_s
        return now_s - self._lost_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end what an ordeal consists of."""
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(main)
