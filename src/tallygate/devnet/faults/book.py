"""One host's faults to come, and which of them a call meets.

A script goes before everything else: each call takes its next step, be it a fault or none. Without one, each point's
faults come in the order in which they were ordered; one with a probability may let a call pass to the next.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from tallygate.devnet.faults.answer import BREAKING_FAULTS, AnswerFault
from tallygate.devnet.faults.arrival import ARRIVAL_FAULTS, ArrivalFault, Down
from tallygate.devnet.faults.fault import Door, Fault
from tallygate.devnet.faults.order import FaultOrder
from tallygate.devnet.faults.usage import USAGE_FAULTS
from tallygate.devnet.faults.wire import WIRE_FAULTS

ANSWER_FAULTS: Final[Mapping[str, type[AnswerFault]]] = {**BREAKING_FAULTS, **USAGE_FAULTS, **WIRE_FAULTS}
HANDSHAKE_FAULTS: Final = ("slow_tls",)
FAULT_NAMES: Final = (*ARRIVAL_FAULTS, *ANSWER_FAULTS, *HANDSHAKE_FAULTS)

AnyFault = TypeVar("AnyFault", bound=Fault)


class Visit:
    """One call's way past a host's faults: at most one on its arrival and, if that lets it go on, one on its answer."""

    def __init__(self, book: "FaultBook", arrival: ArrivalFault | None, step: Fault | None, *, scripted: bool) -> None:
        self.arrival = arrival
        self._book = book
        self._step = step
        self._scripted = scripted

    def take_answer(self) -> AnswerFault:
        """Gives the fault that the call's answer meets, or one that does nothing wrong."""
        step = self._step if self._scripted else self._book.take_answer()
        return step if isinstance(step, AnswerFault) else AnswerFault(FaultOrder("none"), 0)


class FaultBook:
    """The faults of one host.

    Attributes:
        door: The host's port, once it listens.
    """

    def __init__(self, stall_limit_s: float, draw: random.Random | None = None) -> None:
        self._stall_limit_s = stall_limit_s
        self._draw = draw or random.Random(0)  # noqa: S311 -- a devnet's chance has to be reproducible
        self._arrivals: deque[ArrivalFault] = deque()
        self._answers: deque[AnswerFault] = deque()
        self._handshakes: deque[Fault] = deque()
        self._script: deque[FaultOrder | None] = deque()
        self._repeats = False
        self._spent: list[Fault] = []
        self._return: asyncio.TimerHandle | None = None
        self.door: Door | None = None

    def order(self, order: FaultOrder) -> None:
        """Adds a fault; its name must be one of `FAULT_NAMES`. A host that is to be down for sure is so at once."""
        fault = self._make(order)
        if isinstance(fault, Down) and order.probability >= 1:
            self._go_down(order)
        elif isinstance(fault, ArrivalFault):
            self._arrivals.append(fault)
        elif isinstance(fault, AnswerFault):
            self._answers.append(fault)
        else:
            self._handshakes.append(fault)

    def follow(self, script: Sequence[FaultOrder | None], *, repeats: bool) -> None:
        """Lets the calls to come meet these faults one by one, None being a call that meets nothing."""
        self._script = deque(script)
        self._repeats = repeats

    def clear(self) -> None:
        """Deletes all faults and the script, and lets everything go that they hold."""
        for fault in (*self._arrivals, *self._answers, *self._handshakes, *self._spent):
            fault.release()
        for faults in (self._arrivals, self._answers, self._handshakes, self._script, self._spent):
            faults.clear()
        self._come_back()

    def visit(self) -> Visit:
        """Receives a call."""
        if not self._script:
            return Visit(self, self._take(self._arrivals), None, scripted=False)
        step = self._script.popleft()
        if self._repeats:
            self._script.append(step)
        fault = None if step is None else self._make(step)
        if fault is not None and step is not None:
            if step.fault in HANDSHAKE_FAULTS:  # this call's connection is open already: the next one meets it
                self._handshakes.append(fault)
            else:
                self._spent.append(fault)
        return Visit(self, fault if isinstance(fault, ArrivalFault) else None, fault, scripted=True)

    def take_answer(self) -> AnswerFault | None:
        """Gives the fault that an accepted call's answer meets, if any."""
        return self._take(self._answers)

    async def greet(self) -> None:
        """Keeps a new connection waiting before its TLS handshake, if that was ordered."""
        fault = self._take(self._handshakes)
        if fault is not None:
            await fault.wait(fault.order.delay_ms / 1000)

    def _make(self, order: FaultOrder) -> Fault:
        kinds: Mapping[str, type[Fault]] = {**ARRIVAL_FAULTS, **ANSWER_FAULTS}
        fault = kinds.get(order.fault, Fault)(order, self._stall_limit_s, self._draw)
        if isinstance(fault, Down):
            fault.go_down = self._go_down
        return fault

    def _go_down(self, order: FaultOrder) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self.door is not None:
            self.door.shut()
            if order.for_ms is not None:
                self._return = asyncio.get_running_loop().call_later(order.for_ms / 1000, self._come_back)

    def _come_back(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self.door is not None:
            self.door.reopen()

    def _take(self, faults: deque[AnyFault]) -> AnyFault | None:
        for fault in faults:
            if fault.is_due():
                break
        else:
            return None
        if fault.remaining is not None:
            fault.remaining -= 1
            if not fault.remaining:
                faults.remove(fault)
                self._spent.append(fault)
        return fault
