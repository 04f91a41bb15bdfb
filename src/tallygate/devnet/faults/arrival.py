"""Faults that meet a call on its arrival, before anything about it is checked."""

import asyncio
import random
from collections.abc import Callable, Mapping

from tallygate.devnet.chain import NS_PER_S
from tallygate.devnet.faults.fault import Fault, FaultReply, Passage
from tallygate.devnet.faults.order import FAULT_STATUSES, FaultOrder
from tallygate.devnet.server import Exchange

REDIRECT_STATUS = 307


class ArrivalFault(Fault):
    """Acts before a call is looked at.

    Attributes:
        skew_ns: How far ahead the node takes the block's time to be, for a call that it lets go on.
    """

    skew_ns = 0

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Deals with a call, or lets it go on."""
        raise NotImplementedError


class Refuse(ArrivalFault):
    """Resets the connection without any answer."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Resets."""
        del fault_reply
        exchange.reset()
        return Passage.ANSWERED


class Down(ArrivalFault):
    """Lets the host die of a call: everybody is reset, and its port is shut.

    Attributes:
        go_down: Shuts the port, for as long as was ordered.
    """

    go_down: Callable[[FaultOrder], None] = staticmethod(lambda _: None)

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Dies."""
        del fault_reply
        self.go_down(self.order)
        exchange.reset()
        return Passage.ANSWERED


class HangUp(ArrivalFault):
    """Closes the connection properly, but without any answer."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Closes."""
        del fault_reply
        exchange.cut()
        return Passage.ANSWERED


class StallHeaders(ArrivalFault):
    """Accepts a call and says nothing at all; no inference begins."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Waits, then closes."""
        del fault_reply
        await self.hold(exchange)
        exchange.cut()
        return Passage.ANSWERED


class StatusFault(ArrivalFault):
    """Answers with an error status, in the host's own words."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Answers."""
        status = REDIRECT_STATUS if self.order.fault == "redirect" else int(self.order.fault)
        await exchange.reply(fault_reply(status, self.order))
        return Passage.ANSWERED


class Barrier(ArrivalFault):
    """Holds calls until `count` of them have arrived, then lets them all go on at once."""

    def __init__(self, order: FaultOrder, stall_limit_s: float, draw: random.Random | None = None) -> None:
        super().__init__(order, stall_limit_s, draw)
        self.remaining = None if order.times is None else order.times * order.count
        self._gate = asyncio.Event()
        self._waiting = 0

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Waits for the others."""
        del exchange, fault_reply
        self._waiting += 1
        gate = self._gate
        if self._waiting == self.order.count:
            self._open()
        await gate.wait()
        return Passage.GO_ON

    def release(self) -> None:
        """Lets those go that wait for more."""
        super().release()
        self._open()

    def _open(self) -> None:
        self._gate.set()
        self._gate = asyncio.Event()
        self._waiting = 0


class ClockSkew(ArrivalFault):
    """Lets a node believe that the latest block is of another time."""

    async def arrive(self, exchange: Exchange, fault_reply: FaultReply) -> Passage:
        """Only changes what the node believes."""
        del exchange, fault_reply
        self.skew_ns = self.order.offset_s * NS_PER_S
        return Passage.GO_ON


ARRIVAL_FAULTS: Mapping[str, type[ArrivalFault]] = {
    "refuse": Refuse,
    "down": Down,
    "hang_up": HangUp,
    "stall_headers": StallHeaders,
    "barrier": Barrier,
    "clock_skew": ClockSkew,
    "redirect": StatusFault,
    **{str(status): StatusFault for status in FAULT_STATUSES},
}
