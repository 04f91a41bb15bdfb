"""The operator's init system in a world: starts the gateway whenever none runs, and proves its store before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import apsw

from tallygate.core.errors import StoreUnavailableError
from tests.sim.running import Running

if TYPE_CHECKING:
    from tests.sim.world import World


class Supervisor:
    """Everything that runs, or has run and is not buried yet.

    Attributes:
        running: Newest last; all but the last one are ghosts, presumed dead.
    """

    def __init__(self, world: World) -> None:
        self.running: list[Running] = []
        self._world = world
        self._starts = 0

    async def supervise(self) -> None:
        """Keep a gateway running until the world is over; then start it once more, undisturbed, and look."""
        world = self._world
        while not world.over:
            await self._run(last=False)
        world.disk.mend()
        await self._run(last=True)
        report = world.auditor.check_store(world.disk)
        if report is None or report.open_holds:
            world.auditor.fail("there are holds in the end, or no store")

    async def _run(self, *, last: bool) -> None:
        """One start of the gateway, from the proof of its store to its end."""
        world = self._world
        for dead in [running for running in self.running if not running.process.alive]:
            self._bury(dead)
        world.auditor.check_store(world.disk)
        struck = world.disk.struck.total()
        running = await self._start(last=last)
        if running is not None:
            world.current = running
            if last:
                self._look(running)
            else:
                await self._serve(running, struck)
            world.current = None
            if last or not self._is_ghost(running):
                await self._end(running, last=last)
            if last:
                for ghost in tuple(self.running):
                    await self._end(ghost, last=True)
        if not last:
            await world.loop.elapse(world.draw.random())

    async def _start(self, *, last: bool) -> Running | None:
        """Start one; return None if it died or failed on the way."""
        world = self._world
        self._starts += 1
        world.counts["starts"] += 1
        world.note(f"start {self._starts}")
        struck = world.disk.struck.total()
        running = Running(world.loop, self._starts, lambda: self.running)
        self.running.append(running)
        work = running.start(world.settings, world.path, world.disk, world.auditor)
        task = running.process.start(world.loop, work)
        await wait_for(task, running)
        if running.process.alive and task.exception() is None:
            world.watch_minting(running)
            return running
        if running.process.alive:
            error = task.exception()
            world.note(f"start failed: {error!r}")
            if last or (struck == world.disk.struck.total() and not world.disk.full):
                world.auditor.fail(f"the gateway cannot start: {type(error).__name__}: {error}")
                world.over = True
        self._bury(running)
        return None

    async def _serve(self, running: Running, struck: int) -> None:
        """Wait until it is to end: it died or is presumed dead, its store has failed, it was told to, all is over.

        A store fails for a reason: since the start something was struck, beyond so many blows before.
        """
        world = self._world
        assert running.ledger is not None
        while running.process.alive and not (running.told_to_stop or world.over or self._is_ghost(running)):
            if not running.ledger.ready:
                world.note("the store has failed")
                world.counts["store failures"] += 1
                if struck == world.disk.struck.total() and not world.disk.full:
                    world.auditor.fail("the store has failed, though nothing is wrong with the disk")
                return
            world.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(world.changed.wait(), 0.5)

    def _look(self, running: Running) -> None:
        """In the end nothing is held, and every balance is the bookkeeper's."""
        auditor, ledger = self._world.auditor, running.ledger
        assert ledger is not None
        for account in ledger.accounts():
            expected = auditor.keeper.free[account.id]
            if (account.available, account.held) != (expected, 0):
                auditor.fail(f"{account.id} has {account.available}, {account.held}; should have {expected}")

    async def _end(self, running: Running, *, last: bool) -> None:
        """Stop a gateway as on SIGTERM, unless it is dead already, or the world ends with a bang."""
        world, process = self._world, running.process
        if process.alive and world.over and not last and world.draw.random() < 0.5:
            world.kill(power=world.draw.random() < 0.5)
        if process.alive:
            task = process.start(world.loop, running.stop(world.draw.choice((0.0, 0.5, 30.0))))
            await wait_for(task, running)
            error = task.exception() if task.done() else None
            if running.ended_well:
                world.auditor.saw_clean_end(running.epoch)
            elif error is not None:
                world.note(f"stop failed: {error!r}")
                if last or not isinstance(error, StoreUnavailableError | apsw.Error):
                    world.auditor.fail(f"the gateway cannot stop: {type(error).__name__}: {error}")
        self._bury(running)

    def _bury(self, running: Running) -> None:
        if running.process.alive:
            running.process.die()
        running.bury()
        self.running.remove(running)
        self._world.disk.full = False  # the operator makes room

    def _is_ghost(self, running: Running) -> bool:
        return running.presumed_dead


async def wait_for(task: asyncio.Task[Any], running: Running) -> None:
    """Wait for a task of a process, or for the process's death."""
    done = asyncio.get_running_loop().create_future()

    def wake(*_: object) -> None:
        if not done.done():
            done.set_result(None)

    task.add_done_callback(wake)
    running.process.on_death(wake)
    await done
    if task.done() and not task.cancelled():
        task.exception()  # who dies with an error on its lips is dead all the same
