"""Nodes that die or fall silent amid many calls: whose calls fail, and how soon all others go elsewhere.

Times are those at which sendings left the gateway and calls began, by a clock that counts only while this process runs
(`steady`); whose failure was unavoidable is read from what the nodes themselves have sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from tallygate.core.retry import AVOID_S
from tallygate.devnet import DevnetSettings
from tallygate.devnet.settings import NodeSettings
from tests.ordeal.audit import error_of, is_unavoidable, may_follow
from tests.ordeal.ordeal import ask
from tests.ordeal.record import Record, Row
from tests.ordeal.steady import run
from tests.relay.world import open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.relay.caller import Answer
    from tests.relay.world import World

FIVE = DevnetSettings(pace_ms=0, nodes=(NodeSettings(),) * 5)
CALLERS = 16
BAD = 2
"""The node that dies or falls silent, by its place."""

MOVED_S = 1.0
"""So soon a node that died or fell silent has lost its traffic: what is asked of the gateway."""

DEADLINE_S = 120.0
"""No wait lasts longer; reaching it is a failure, never a pace."""


class Load:
    """Callers that call one time after the other until they are told to stop, and what came of it.

    Attributes:
        begun_s: When each call began, by its number.
        sent_s: When the gateway has sent something to the node that goes bad.
    """

    def __init__(self, world: World) -> None:
        self.record = Record()
        self.answers: dict[int, Answer] = {}
        self.begun_s: list[float] = []
        self.sent_s: list[float] = []
        self.stopping = False
        self._world = world
        self._now_s = asyncio.get_running_loop().time
        self.record.watch(world)
        self._note_sendings()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Call on while the block runs, and until all have been answered that had begun by its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call_on())
            yield
            self.stopping = True

    async def until(self, condition: Callable[[], object]) -> None:
        """Let everything run until a condition holds."""
        deadline_s = self._now_s() + DEADLINE_S
        while not condition():
            assert self._now_s() < deadline_s, "what was waited for did not happen"
            await asyncio.sleep(0)

    def rows(self, number: int) -> list[Row]:
        """Return what the node that went bad, and all others, have done to a call; what has no end is spoilt."""
        return [arrival.row(is_spoilt=not arrival.ended) for arrival in self.record.of_call[number]]

    def failed(self) -> set[int]:
        """Return the numbers of all calls that failed."""
        return {number for number, answer in self.answers.items() if error_of(answer) is not None}

    def begun_after(self, moment_s: float) -> list[int]:
        """Return the numbers of all calls that began then or later."""
        return [number for number, begun_s in enumerate(self.begun_s) if begun_s >= moment_s]

    async def _call_on(self) -> None:
        caller = None
        while not self.stopping:
            number = len(self.begun_s)
            self.begun_s.append(self._now_s())
            caller = caller or await self._world.connect()
            self.answers[number] = answer = await ask(self._world, caller, number)
            if not answer.complete:
                caller = None

    def _note_sendings(self) -> None:
        place: Any = self._world.gateway.upstreams.upstreams[0].places[BAD]
        send = place.send

        async def note(*args: Any, **fields: Any) -> object:
            self.sent_s.append(self._now_s())
            return await send(*args, **fields)

        place.send = note


def play(story: Callable[[World, Load], Awaitable[None]]) -> None:
    """Run a story in a world of five nodes."""

    async def main() -> None:
        async with open_world(devnet=FIVE, usd=50, monotonic_s=asyncio.get_running_loop().time) as world:
            await story(world, Load(world))

    run(main())


def assert_moved(load: Load, moment_s: float, until_s: float) -> None:
    """Check that from a second after the moment nothing went to the bad node, and all was served at once."""
    late = load.begun_after(moment_s + MOVED_S)

    assert not [sent_s for sent_s in load.sent_s if moment_s + MOVED_S <= sent_s < until_s]
    assert len(late) >= CALLERS
    assert all(load.rows(number) == [Row.SERVED] for number in late)


def test_a_node_that_dies_mid_load_fails_nothing_but_the_answers_it_had_begun() -> None:
    """Within a second a dead node's traffic is elsewhere, and what it had not begun to answer is answered there."""

    async def story(world: World, load: Load) -> None:
        now_s, faults = asyncio.get_running_loop().time, world.devnet._nodes[BAD].faults
        async with load.running():
            await load.until(lambda: len(load.sent_s) >= 10)
            world.order("hold_stream", host=BAD, times=2)
            await load.until(lambda: not faults._answers)
            world.order("stall_headers", host=BAD)
            await load.until(lambda: not faults._arrivals)
            died_s = now_s()
            await world.devnet._servers[BAD].stop()
            await load.until(lambda: load.begun_after(died_s + MOVED_S)[CALLERS:])

        failed = load.failed()
        assert failed == {number for number in load.answers if load.rows(number)[-1] is Row.NEVER}
        assert failed
        assert all(is_unavoidable(load.rows(number)) for number in failed)
        assert all(may_follow(load.rows(number)) for number in load.answers)
        assert any(load.rows(number) == [Row.ONCE, Row.SERVED] for number in load.answers)
        assert_moved(load, died_s, until_s=died_s + AVOID_S)

    play(story)


def test_a_node_that_falls_silent_keeps_no_traffic() -> None:
    """Within a second new calls pass a silent node over, long before those that it holds have waited long enough."""

    async def story(world: World, load: Load) -> None:
        now_s = asyncio.get_running_loop().time
        async with load.running():
            await load.until(lambda: len(load.sent_s) >= 10)
            silent_s = now_s()
            world.order("stall_headers", host=BAD, times=None)
            await load.until(lambda: load.begun_after(silent_s + MOVED_S)[CALLERS:])
            well_s = now_s()
            world.clear_faults()

        assert not load.failed()
        assert any(load.rows(number) == [Row.ONCE, Row.SERVED] for number in load.answers)
        assert_moved(load, silent_s, until_s=well_s)

    play(story)
