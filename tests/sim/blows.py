"""What goes wrong in a world, or is done to it, at the steps that its plan names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tallygate.core.idempotency import Digests
from tallygate.core.pricing import Price, revised
from tallygate.devnet.faults import FaultOrder
from tests.sim.plan import ADMIN, IN_SYSCALLS, MODEL, NETWORK_FAULTS, USAGES, Blow, Kind
from tests.sim.running import PEPPER

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Correction, Deposit
    from tallygate.devnet.faults import FaultBook
    from tests.sim.world import World

KEYS = Digests(PEPPER)
OPERATIONS_MAX = 40
"""How far ahead something in the disk is planned: a commit has about ten operations."""


class Blows:
    """The blows of one world."""

    def __init__(self, world: World) -> None:
        self.honest = True
        self._world = world
        self._tasks: list[asyncio.Task[None]] = []

    def plan(self) -> None:
        """Have each come at its step."""
        for blow in self._world.plan.blows:
            self._world.loop.intervene(blow.steps, lambda blow=blow: self._strike(blow))  # type: ignore[misc]

    async def finish(self) -> None:
        """Wait for what is being done, and let nothing more come."""
        self._world.loop.forget_interventions()
        for book in self._fault_books():
            book.clear()
        await asyncio.gather(*self._tasks)

    def _strike(self, blow: Blow) -> None:
        world = self._world
        world.note(f"blow {blow.kind.name}")
        world.counts[f"blows: {blow.kind.name.lower().replace('_', ' ')}"] += 1
        if blow.kind in ADMIN:
            self._tasks.append(world.loop.create_task(self._administrate(blow)))
        elif blow.kind in IN_SYSCALLS:
            self._break_disk(blow.kind)
        else:
            self._strike_now(blow.kind)

    def _strike_now(self, kind: Kind) -> None:
        world = self._world
        match kind:
            case Kind.NETWORK_FAULT:
                self._break_network()
            case Kind.NO_CONNECTION:
                world.loop.refusals += world.draw.randint(1, 3)
            case Kind.SILENT_CONNECTION:
                world.loop.silent += 1
            case Kind.RESTART:
                world.restart()
            case Kind.TAKE_OVER:
                world.take_over()
            case _:
                world.kill(power=kind is Kind.POWER_LOSS)

    def _break_disk(self, kind: Kind) -> None:
        """Have something happen in the middle of an operation to come."""
        world, operations = self._world, self._world.draw.randint(1, OPERATIONS_MAX)
        match kind:
            case Kind.WRITE_ERROR:
                world.disk.break_later(operations, "error")
            case Kind.NO_SPACE:
                world.disk.break_later(operations, "full")
            case _:
                power = kind is Kind.POWER_LOSS_IN_SYSCALL
                world.disk.break_later(operations, "killed", lambda: world.kill(power=power))

    def _break_network(self) -> None:
        world, draw = self._world, self._world.draw
        fault, usage = draw.choice(NETWORK_FAULTS), None
        if fault == "wrong_usage":
            usage = draw.choice(USAGES)
            self.honest = False
        order = FaultOrder(fault, times=draw.choice((1, 1, 2, 5)), after_frames=draw.randint(0, 8), usage=usage)
        draw.choice(self._fault_books()).order(order)
        world.counts[f"network faults: {fault}"] += 1
        world.note(f"network fault {order}")

    def _fault_books(self) -> list[FaultBook]:
        devnet = self._world.devnet
        books = [node.faults for node in devnet._nodes]
        return books if self._world.plan.bearer is None else [*books, devnet._bearer.faults]

    async def _administrate(self, blow: Blow) -> None:
        """Do what the operator wants, through whichever gateway runs."""
        world, draw = self._world, self._world.draw
        account = draw.choice(world.accounts)
        amount = draw.choice((1, 90_000, 10**6))
        if world.plan.keyed and blow.kind in (Kind.DEPOSIT, Kind.CORRECTION):
            await self._act_with_key(blow, account, amount)
            return
        match blow.kind:
            case Kind.DEPOSIT:
                reference = f"wire {blow.number}"
                for _ in range(draw.randint(1, 3)):  # the operator's own retries: one reference counts once
                    done = await world.act(lambda ledger: ledger.deposit(account, amount, reference, "operator"))
                    if done is not None:
                        world.deposits[reference] = (account, amount)
            case Kind.CORRECTION:
                change = draw.choice((-1, 1)) * amount
                await world.act(lambda ledger: ledger.correct(account, change, "goodwill", "operator"))
            case Kind.PRICES:
                price = Price(draw.randint(1, 2000), draw.randint(1, 3000), draw.choice((0, 9)))
                await world.act(lambda ledger: ledger.publish(revised(ledger.sheet, {MODEL: price}), "operator"))
            case _:
                report = await world.act(lambda ledger: ledger.audit())
                if report is not None and not report.clean:
                    world.auditor.fail(f"audit while running: {report.problems}")

    async def _act_with_key(self, blow: Blow, account: str, amount: int) -> None:
        """Have the operator ask for an act under a key, again and again, at once or later: it is done once."""
        world, draw = self._world, self._world.draw
        deposits, reason = blow.kind is Kind.DEPOSIT, f"goodwill {blow.number}"
        picousd = (1 if deposits else draw.choice((-1, 1))) * amount + 2 * blow.number  # by which we know it again

        async def act(picousd: int) -> Deposit | Correction | None:
            claim = KEYS.claim(b"act-%d" % blow.number, (account, blow.kind.name), picousd)
            if deposits:
                done = await world.act(lambda ledger: ledger.deposit(account, picousd, None, "operator", claim))
            else:
                done = await world.act(lambda ledger: ledger.correct(account, picousd, reason, "operator", claim))
            return cast("Deposit | Correction | None", done)

        asked = [act(picousd) for _ in range(draw.randint(2, 4))]
        told = await asyncio.gather(*asked) if draw.random() < 0.7 else [await each for each in asked]
        known = [done for done in told if done is not None]
        world.counts["acts under a key"] += 1
        if not known:
            return
        world.counts["acts replayed"] += sum(done.replayed for done in known)
        world.acts.add(("deposit", str(picousd)) if deposits else ("correction", reason))
        if len({done.id for done in known}) > 1:
            world.auditor.fail(f"{blow} was done as {known}")
        if await act(picousd + 1) is not None:
            world.auditor.fail(f"{blow} has a key under which something else was done as well")
