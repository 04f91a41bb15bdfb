"""The ways to kill a gateway: what is made ready for it, and when it comes.

A point inside of the process is an `Aim`; every other is chosen from outside, by what callers or the network see.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.storm.aims import CHECKPOINT_TORN, COMMIT_TORN, COMMIT_UNSYNCED, FILE_POINTS, JOURNAL_POINTS, Aim
from tests.storm.witness import Books
from tests.storm.world import eventually, let_pass

if TYPE_CHECKING:
    import random

    from tests.storm.crowd import Crowd
    from tests.storm.world import Gateway, World

AT_START: Final = "while starting"
AT_RANDOM: Final = "at a random moment"
DISPATCHED: Final = "after dispatch, nothing billed"
UNANSWERED: Final = "after dispatch, all billed"
MID_STREAM: Final = "mid-stream"
OUTSIDE: Final = (AT_START, AT_RANDOM, AT_RANDOM, AT_RANDOM, DISPATCHED, UNANSWERED, MID_STREAM, MID_STREAM)
POINTS: Final = (*OUTSIDE, *JOURNAL_POINTS, *FILE_POINTS)

_PASSINGS_MAX: Final = {COMMIT_TORN: 600, COMMIT_UNSYNCED: 30, CHECKPOINT_TORN: 400}
"""A commit writes some twenty pages, each in two pieces, and syncs once; a checkpoint writes hundreds."""

FAULTS: Final = ("503", "500", "refuse", "hang_up", "cut", "error_event", "truncate", "garbage", "wrong_usage", "429")


class Kill(NamedTuple):
    """How one gateway is going to be killed.

    Attributes:
        point: Where.
        aim: Where it kills itself, if it does.
        frames: How many frames its callers have seen by then, for a point that is chosen from outside.
        delay_s: How much later the kill comes.
    """

    point: str
    aim: Aim | None
    frames: int
    delay_s: float

    @classmethod
    def draw(cls, rng: random.Random, point: str) -> Kill:
        """Return a kill at this point, some time."""
        aim = None
        if point in FILE_POINTS:
            aim = Aim(point, rng.randint(1, _PASSINGS_MAX[point]))
        elif point in JOURNAL_POINTS:
            aim = Aim(point, 1 if point.startswith("expire") else rng.randint(1, 30))
        return cls(point, aim, rng.randint(1, 600), rng.choice((0.0, rng.uniform(0.0, 0.02))))

    async def prepare(self, world: World, rng: random.Random) -> None:
        """Order what the network does wrong in this round."""
        await world.devnet.order_all("DELETE")
        if self.point == DISPATCHED:
            await world.devnet.order_all("POST", {"fault": "barrier", "count": 10**6, "times": None})
        elif self.point == UNANSWERED:
            await world.devnet.order_all("POST", {"fault": "stall_stream", "after_frames": 0, "times": None})
        elif self.point == MID_STREAM:
            fault = {"fault": "stall_stream", "after_frames": rng.randint(1, 5), "times": None}
            await world.devnet.order_all("POST", fault)
        else:
            for _ in range(4):
                host = rng.randrange(len(world.devnet.hosts))
                fault = {"fault": rng.choice(FAULTS), "times": rng.randint(1, 5), "after_frames": rng.randint(0, 4)}
                await world.devnet.order("POST", "faults", fault, host)

    async def strike(self, world: World, gateway: Gateway, crowd: Crowd, billed: int) -> None:
        """Wait for the moment, and kill what has not killed itself.

        Args:
            world: Where it happens.
            gateway: The victim.
            crowd: Its callers.
            billed: How many inferences the network knew before.
        """
        if self.point == DISPATCHED:
            await _until_held(world, crowd)
        elif self.point == UNANSWERED:
            await _until_billed(world, crowd, billed)
        elif self.point == MID_STREAM:
            await crowd.reach(frames=min(self.frames, 100), calls=10**9)
        elif self.aim is None:
            await crowd.reach(frames=self.frames, calls=10**9)
        elif not await _until_dead(gateway, crowd, calls=1500):
            # Nodes that fail are left out, and most calls refused: with the network well again, the aim comes.
            await world.devnet.order_all("DELETE")
            await _until_dead(gateway, crowd, calls=30_000)
        await let_pass(self.delay_s)
        gateway.program.send(signal.SIGKILL)


async def _until_dead(gateway: Gateway, crowd: Crowd, *, calls: int) -> bool:
    """Wait until a gateway has killed itself, or so many calls have ended; say whether it has."""
    dead = asyncio.ensure_future(gateway.program.wait())
    over = asyncio.ensure_future(crowd.reach(frames=10**9, calls=calls))
    await asyncio.wait([dead, over], return_when=asyncio.FIRST_COMPLETED)
    over.cancel()
    return dead.done()


async def _until_held(world: World, crowd: Crowd) -> None:
    """Wait until some holds are open, so that their calls have been sent, or will have in a moment."""
    await eventually(lambda: crowd.is_over or len(Books.read(world.store).open_holds) >= 20)


async def _until_billed(world: World, crowd: Crowd, billed: int) -> None:
    """Wait until the network has answered some calls, of whose answer nothing comes."""
    while not crowd.is_over and len(await world.devnet.inferences()) < billed + 20:
        await let_pass(0.005)
