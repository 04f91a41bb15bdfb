"""Hundreds of callers with small balances, who call again and again until the gateway is gone or their money is."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

from tests.storm.calls import Plan, Told, make_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.storm.errands import Errands
    from tests.storm.witness import Witness

WITH_KEY = 0.25
"""The share of calls that have an idempotency key."""
REFUSALS_MAX = 20
"""After so many refusals in a row a caller gives up."""


class Crowd:
    """The callers of one round.

    Args:
        port: The gateway's.
        secrets: The API keys that they share.
        witness: Keeps what they were told.
        errands: What is asked for with idempotency keys.
        seed: Where their plans come from.
    """

    def __init__(self, port: int, secrets: Sequence[str], witness: Witness, errands: Errands, seed: str) -> None:
        self._port = port
        self._secrets = secrets
        self._witness = witness
        self._errands = errands
        self._seed = seed
        self._frames = self._calls = 0
        self._under_way = self._living = 0
        self._more_money = True
        self._wanted = (10**9, 10**9)
        self._reached = asyncio.Event()
        self._pulse = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.endings: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether everybody has given up."""
        return not self._living

    def begin(self, callers: int) -> None:
        """Let so many callers begin."""
        self._living = callers
        self._tasks = [asyncio.ensure_future(self._live(index)) for index in range(callers)]

    async def reach(self, *, frames: int, calls: int) -> None:
        """Wait until so many frames have come, or so many calls have ended, or everybody has given up."""
        self._wanted = (frames, calls)
        self._reached.clear()
        self._check()
        await self._reached.wait()

    def pay_in(self, *, more: bool) -> None:
        """Tell those who wait that money has come in, and whether more will."""
        self._more_money = more
        self._pulse.set()

    async def end(self) -> None:
        """Wait until all have ended, which they do when the gateway has gone."""
        await asyncio.gather(*self._tasks)

    async def _live(self, index: int) -> None:
        rng = random.Random(f"{self._seed}/{index}")
        refusals = 0
        while refusals < REFUSALS_MAX:
            with_key = rng.random() < WITH_KEY
            if (told := await self._call(rng, with_key=with_key)) is None:
                break
            self._note_call(told)
            if not with_key:  # what a key stands for is told without money, too
                refusals = refusals + 1 if told.ending.startswith("4") else 0
            if refusals:
                # Money may come free with the next call that ends, or come in; where neither can be, it is over.
                if not self._under_way and not self._more_money:
                    break
                self._pulse.clear()
                await self._pulse.wait()
        self._living -= 1
        self._check()

    async def _call(self, rng: random.Random, *, with_key: bool) -> Told | None:
        """Make one call; return None if the gateway is not there any more."""
        self._under_way += 1
        try:
            if with_key:
                return await self._errands.run(rng, self._port, self._secrets, self._note_frames)
            secret, plan = rng.choice(self._secrets), Plan.draw(rng)
            return await make_call(self._port, secret, plan, self._note_frames)
        except OSError:
            return None
        finally:
            self._under_way -= 1
            self._pulse.set()

    def _note_frames(self, count: int) -> None:
        self._frames += count
        self._check()

    def _note_call(self, told: Told) -> None:
        self._calls += 1
        self.endings[told.ending] += 1
        self._witness.hear(told)
        self._check()

    def _check(self) -> None:
        frames, calls = self._wanted
        if self._frames >= frames or self._calls >= calls or not self._living:
            self._reached.set()
