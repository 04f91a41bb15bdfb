"""The storm: worlds, each with a store of its own, and in each world gateways that are killed one after the other.

A round is: start a gateway on what the last one left; check that the start ended every hold that had no owner, once
and by the rule; let a crowd call; kill; `tallygate verify`; compare the books with everything that anybody was told.
A world ends with a start and a stop in good order, and its ngonka book is compared with the chain.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.storm.acts import Act
from tests.storm.crowd import Crowd
from tests.storm.errands import Errands
from tests.storm.figures import Figures
from tests.storm.kills import AT_RANDOM, AT_START, POINTS, Kill
from tests.storm.reconciliation import reconcile
from tests.storm.witness import Books, Witness
from tests.storm.world import Gateway, Setting, World, let_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACCOUNTS: Final = 20
DEPOSITS_MAX: Final = 60
"""In one round. A deposit pays for some ten calls, or for one or two at a time."""

ERRANDS_AT_THE_END: Final = 100
"""So many idempotency keys of a world are asked with once more when all is over."""

PAID_AT_THE_END: Final = 10_000_000
"""Pays on each account for all of them that were not served before."""

ROUNDS_PER_WORLD: Final = 10
"""A store stays so small that `verify` takes a blink."""


class Orders(NamedTuple):
    """What a storm is made of.

    Attributes:
        rounds: How many gateways are killed.
        seed: Where all choices come from.
        callers: How many callers there are at a time.
        jobs: How many worlds run at a time.
        points: The points of the kills, in turn; None chooses by the seed.
    """

    rounds: int
    seed: int
    callers: int = 200
    jobs: int = 1
    points: Sequence[str] | None = None


async def run_storm(orders: Orders, tell: Callable[[str], None]) -> Figures:
    """Run a whole storm.

    Args:
        orders: What it is made of.
        tell: Told a line after each world.
    """
    figures = Figures()
    sizes = [min(ROUNDS_PER_WORLD, orders.rounds - begun) for begun in range(0, orders.rounds, ROUNDS_PER_WORLD)]
    ahead = iter(enumerate(sizes))

    async def work() -> None:
        for number, rounds in ahead:
            figures.add(await _run_world(orders, number, rounds))
            tell(f"world {number + 1} of {len(sizes)}: {figures.verdict}")

    await asyncio.gather(*(work() for _ in range(orders.jobs)))
    return figures


async def _run_world(orders: Orders, number: int, rounds: int) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="tallygate-storm-"))
    seed = f"{orders.seed}/{number}"
    rng = random.Random(seed)
    setting = Setting(
        after_crash=rng.choice(("void", "void", "charge_prompt")),
        hold_durability=rng.choice(("wait", "wait", "wait", "async")),
    )
    course = Course(World(folder, setting), orders, seed)
    first = number * ROUNDS_PER_WORLD
    try:
        await course.run([_choose(orders, position, rng) for position in range(first, first + rounds)])
    except Exception:  # noqa: BLE001  (a storm that fails in one world goes on in the others, and says so)
        course.note(f"the storm itself failed: {traceback.format_exc()}")
    if course.figures.violations:
        course.note(f"the world is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return course.figures


def _choose(orders: Orders, position: int, rng: random.Random) -> str:
    return orders.points[position % len(orders.points)] if orders.points else rng.choice(POINTS)


class Course:
    """What happens in one world."""

    def __init__(self, world: World, orders: Orders, seed: str) -> None:
        self.figures = Figures()
        self._world = world
        self._orders = orders
        self._seed = seed
        setting = world.setting
        self._holds_wait = setting.hold_durability == "wait"
        self._witness = Witness(charge_prompt=setting.after_crash == "charge_prompt", holds_wait=self._holds_wait)
        self._errands = Errands(seed)
        self._unanswered: list[Act] = []
        self._acts_drawn = 0
        self._where = "before the first round"
        self._books_before = Books([], [])

    async def run(self, points: Sequence[str]) -> None:
        """Kill one gateway after the other, each at its point."""
        async with self._world:
            for index, point in enumerate(points):
                await self._round(index, point)
            await self._finish()

    async def _round(self, index: int, point: str) -> None:
        """Start, call, kill, check."""
        rng = random.Random(f"{self._seed}/{index}")
        kill = Kill.draw(rng, point)
        self._where = f"seed {self._seed}, round {index}, killed {kill.point}"
        self._errands.round = index
        await kill.prepare(self._world, rng)
        gateway = self._world.serve(kill.aim)
        if point == AT_START:
            await let_pass(rng.uniform(0.0, 0.15))
            await gateway.program.kill()
            self.figures.kills[point] += 1
        elif await self._start(gateway):
            await self._call_and_kill(gateway, kill, rng)
        elif gateway.killed_itself:
            self.figures.kills[point] += 1
        await self._check()

    async def _finish(self) -> None:
        """Start once more, end in good order, and compare the ngonka book with the chain."""
        self._where = f"seed {self._seed}, after the last round"
        await self._world.devnet.order_all("DELETE")
        gateway = self._world.serve()
        if not await self._start(gateway):
            self.note("the gateway did not start")
            return
        await self._ask_again(gateway)
        gateway.program.send(signal.SIGTERM)
        if (code := await gateway.program.wait()) != 0:
            self.note(f"a gateway that was told to stop ended with {code}")
        await self._check()
        books = Books.read(self._world.store)
        if books.open_holds:
            self.note(f"{len(books.open_holds)} holds are open at the end")
        self.figures.entries.update(entry.kind for entry in books.entries)
        self.figures.counts.update(self._errands.counts)
        self.figures.counts["charges that callers were told"] += self._witness.charges_heard
        found = reconcile(books.entries, await self._world.devnet.finished(), holds_wait=self._holds_wait)
        self.figures.counts[f"worlds with after_crash = {self._world.setting.after_crash}"] += 1
        self.figures.counts[f"worlds with hold_durability = {self._world.setting.hold_durability}"] += 1
        self.figures.network.update(found.differences)
        self.figures.counts["ngonka billed by the network"] += found.billed
        self.figures.counts["ngonka booked by us"] += found.booked
        for violation in found.violations:
            self.note(violation)

    async def _ask_again(self, gateway: Gateway) -> None:
        """Ask with the keys of the whole world once more: whatever was charged is told with its cost, which is all."""
        self._errands.round += 1
        for key in self._world.keys:
            await gateway.pay_in(key.account, PAID_AT_THE_END)
        rng = random.Random(f"{self._seed}/again")
        for told in await self._errands.ask_again(rng, gateway.port, ERRANDS_AT_THE_END):
            self._witness.hear(told)
            self.figures.endings[told.ending] += 1

    async def _start(self, gateway: Gateway) -> bool:
        """Wait until a gateway is ready and check what its start has ended; return False if it died before."""
        before = self._books_before
        if not await gateway.become_ready():
            if (code := await gateway.program.wait()) != -signal.SIGKILL:
                self.note(f"a gateway ended with {code} instead of starting")
            return False
        self.figures.counts["starts"] += 1
        self.figures.counts["holds that a start has ended"] += len(before.open_holds)
        for violation in self._witness.check_start(before, Books.read(self._world.store)):
            self.note(violation)
        if not self._world.keys:
            try:
                await self._world.open_accounts(gateway, ACCOUNTS)
            except OSError:  # its aim was so near that it did not even come to the first call
                await gateway.program.wait()
                return False
        return True

    async def _call_and_kill(self, gateway: Gateway, kill: Kill, rng: random.Random) -> None:
        billed = len(await self._world.devnet.inferences())
        secrets = [key.secret for key in self._world.keys]
        crowd = Crowd(gateway.port, secrets, self._witness, self._errands, f"{self._seed}/{self._where}")
        depositing = asyncio.ensure_future(self._deposit(gateway, crowd, rng))
        crowd.begin(self._orders.callers)
        await kill.strike(self._world, gateway, crowd, billed)
        code = await gateway.program.wait()
        await asyncio.gather(depositing, crowd.end())
        if code != -signal.SIGKILL:
            self.note(f"a gateway ended with {code} before it was killed")
        self.figures.kills[kill.point if gateway.killed_itself or kill.aim is None else AT_RANDOM] += 1
        self.figures.endings.update(crowd.endings)

    async def _deposit(self, gateway: Gateway, crowd: Crowd, rng: random.Random) -> None:
        """Pay in, in any way that counts once, until the gateway is gone; ask again what it left open."""
        for number in range(DEPOSITS_MAX):
            again = bool(self._unanswered)
            if again:
                act = self._unanswered.pop()
            else:
                self._acts_drawn += 1
                account, name = rng.choice(self._world.keys).account, f"{self._where} {number}"[-60:]
                act = Act.draw(rng, account, name, self._acts_drawn)
            try:
                had_been_done = await act.ask(gateway)
            except OSError:
                self._unanswered.append(act)
                break
            self._note_act(act, again=again, had_been_done=had_been_done)
            crowd.pay_in(more=True)
        crowd.pay_in(more=False)

    def _note_act(self, act: Act, *, again: bool, had_been_done: bool) -> None:
        self._witness.hear_act(act)
        self.figures.counts[act.way] += 1
        self.figures.counts["deposits and corrections asked for again"] += again
        self.figures.counts["deposits and corrections that were found done"] += had_been_done
        if had_been_done and not again:
            self.note(f"{act} was told to be done before it was asked for")

    async def _check(self) -> None:
        """Have the books proved by our program, and by ourselves."""
        if not self._world.keys:
            return  # no start has come so far that there is a store
        code, report = await self._world.verify()
        books = self._books_before = Books.read(self._world.store)
        self.figures.counts["proofs"] += 1
        if code != 0 or not report["clean"] or report["open_holds"] != len(books.open_holds):
            self.note(f"verify ended with {code}: {report}")
        if Counter(report["kinds"]) != Counter(entry.kind for entry in books.entries):
            self.note("verify counted other entries than there are")
        for violation in (*self._witness.check(books), *self._errands.check(books)):
            self.note(violation)

    def note(self, violation: str) -> None:
        """Take a violation, with where it was found."""
        self.figures.violations.append(f"{self._where}: {violation}")
