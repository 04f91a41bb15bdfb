"""What all faults share: an order, luck by the devnet's seed, and an end to their waiting when they are deleted."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from tallygate.devnet.faults.order import FaultOrder
from tallygate.devnet.server import Exchange, Reply


class Door(Protocol):
    """A host's port, as far as faults go."""

    def shut(self) -> None:
        """Refuses connections, and resets those that are open."""

    def reopen(self) -> None:
        """Takes connections again."""


FaultReply = Callable[[int, FaultOrder], Reply]


class Passage(Enum):
    """What an arrival fault leaves to do."""

    GO_ON = auto()
    ANSWERED = auto()


class Fault:
    """One ordered fault.

    Attributes:
        remaining: How often it will act yet; None is until it is deleted.
        draw: Where its chance comes from.
    """

    def __init__(self, order: FaultOrder, stall_limit_s: float, draw: random.Random | None = None) -> None:
        self.order = order
        self.remaining = order.times
        self.draw = draw or random.Random(0)  # noqa: S311 -- a devnet's chance has to be reproducible
        self._stall_limit_s = stall_limit_s
        self._released = asyncio.Event()

    def is_due(self) -> bool:
        """Says whether it acts on the call that is here now."""
        return self.order.probability >= 1 or self.draw.random() < self.order.probability

    def release(self) -> None:
        """Lets everything go that the fault holds."""
        self._released.set()

    async def wait(self, seconds: float) -> None:
        """Waits for a while, or until the fault is deleted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), seconds)

    async def hold(self, exchange: Exchange) -> None:
        """Waits until the client leaves, the fault is deleted, or the limit is over."""
        waits = [
            asyncio.ensure_future(exchange.wait_gone(self._stall_limit_s)),
            asyncio.ensure_future(self._released.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
