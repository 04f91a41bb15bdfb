"""A whole world from one seed: network, disk, a gateway that is started again and again, callers, and bad luck.

`play(seed)` plays it to its end and returns what was tried and what went wrong. Everything is in one thread and in
virtual time; the same seed plays the same world.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from tallygate.core.bounding import ModelCard
from tallygate.core.errors import Refusal, StoreUnavailableError
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.signing import Scheme, SigningKey
from tallygate.devnet import Devnet, DevnetSettings
from tallygate.devnet.settings import NodeSettings
from tallygate.network.client import Timeouts
from tests.relay import wiring
from tests.sim.auditor import Auditor
from tests.sim.blows import Blows
from tests.sim.callers import Ask, Caller, Seen
from tests.sim.disk import Disk, File
from tests.sim.plan import MODEL, Plan, draw_plan
from tests.sim.running import PEPPER, Running, empty_store
from tests.sim.shortcuts import shortcuts
from tests.sim.supervisor import Supervisor, wait_for
from tests.sim.verdict import Verdict
from tests.sim.wire import SimNet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tallygate.config import Settings
    from tallygate.storage.embedded import EmbeddedLedger

WALLET = SigningKey.from_hex("11" * 32)
TIMEOUTS = Timeouts(connect_s=2, first_byte_s=5, idle_s=5, total_s=20)
KEEP_ALIVE_S = 3.0
TRIES_MAX = 3
AWAY = ("store_unavailable", "network_unavailable")
PATIENCE_S = 60.0
CALLS_MAX = 10
MEMORY = Path("/dev/shm")


@dataclass
class Outcome:
    """How a world went.

    Attributes:
        counts: Everything that was tried, by name.
        violations: What must never be.
        trace: What happened, line by line.
        digest: A hash of all of it, the books included, to compare two runs.
    """

    seed: int
    temper: str
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    digest: str = ""


class World:
    """One world while it is played."""

    def __init__(self, plan: Plan, loop: SimNet, folder: Path) -> None:
        self.plan = plan
        self.loop = loop
        self.draw = loop.draw
        self.disk = Disk(loop.draw)
        self.path = folder / "store.db"
        if not plan.makes_store:
            self.path.touch()
            self.disk.files[str(self.path)] = File(empty_store())
        self.auditor = Auditor(folder, lambda: loop.steps)
        self.counts: Counter[str] = Counter()
        self.trace: list[str] = []
        self.devnet: Devnet
        self.settings: Settings
        self.current: Running | None = None
        self.accounts: list[str] = []
        self.keys = [mint_api_key(self.draw.randbytes(32)) for _ in plan.balances]
        self.deposits: dict[str, tuple[str, int]] = {}
        self.acts: set[tuple[str, str]] = set()
        self.calls: list[Seen] = []
        self.over = False
        self.changed = asyncio.Event()
        self._supervisor = Supervisor(self)
        self._served: dict[asyncio.Task[Any], Seen] = {}

    def note(self, what: str) -> None:
        """Write a line of the trace."""
        what = what.replace(str(self.path.parent), "")  # another folder each time
        self.trace.append(f"{self.loop.time():10.6f} {self.loop.steps:6d} {what}")

    async def play(self) -> None:
        """Play it to the end."""
        nodes = (NodeSettings(),) * self.plan.nodes
        settings = DevnetSettings(base_port=0, nodes=nodes, pace_ms=self.plan.pace_ms, stall_limit_s=8)
        self.devnet = Devnet(settings, now_ns=self.loop.now_ns)
        await self.devnet.start()
        self.devnet.chain.fund(WALLET.public_key, 10**12)
        self.settings = self._make_settings()
        supervising = self.loop.create_task(self._supervisor.supervise())
        await self._furnish()
        blows = Blows(self)
        blows.plan()
        await asyncio.gather(*(self._call(ask) for ask in self.plan.asks))
        await blows.finish()
        self.over = True
        self.changed.set()
        await supervising
        self._judge(honest=blows.honest)
        await self.devnet.stop()

    # --- callers -----------------------------------------------------------------------------------------------

    async def _call(self, ask: Ask) -> None:
        """Ask, and ask again where a client would: after a lost connection, or when the gateway is away."""
        await self.loop.elapse(ask.at_s)
        for number in range(TRIES_MAX):
            running = await self._find_gateway()
            if running is None:
                return
            seen = Seen(ask)
            self.calls.append(seen)
            caller = Caller(seen, running, self.keys[ask.account], self.draw)
            if ask.leaves_after is not None and (ask.key is None or not number):
                self.loop.intervene(ask.leaves_after, caller.leave)
            self._served[caller.start()] = seen
            await caller.finished
            self.counts["calls"] += 1
            self.counts["calls with a key"] += ask.key is not None
            self.counts[_outcome_of(seen)] += 1
            self.note(f"call {ask.number} {seen.inference}: {_outcome_of(seen)}, charged {seen.charged}")
            if not self._wants_again(seen) or self.draw.random() < 0.5:
                return
            await self.loop.elapse(self.draw.random())

    def _wants_again(self, seen: Seen) -> bool:
        """Return whether a caller may ask again: who has a key pays for it once, and need not know how it went."""
        return seen.ask.key is not None or seen.lost or seen.error_code in AWAY

    async def _find_gateway(self) -> Running | None:
        """Return a gateway that can be reached now or soon."""
        deadline_s = self.loop.time() + PATIENCE_S
        while self.loop.time() < deadline_s:
            if self.current is not None and self.current.serves:
                return self.current
            await self.loop.elapse(0.1)
        return None

    def watch_minting(self, running: Running) -> None:
        """Learn which inference belongs to which caller, whatever the caller is told."""
        assert running.gateway is not None
        relay = running.gateway.relay
        mint = relay.mint_id

        def mint_for_caller() -> str:
            inference, task = mint(), asyncio.current_task()
            if task is not None and task in self._served:
                self._served[task].inference = inference
                self.auditor.claims.mint(inference, self._served[task])
            return inference

        relay.mint_id = mint_for_caller

    # --- the operator ------------------------------------------------------------------------------------------

    async def act(self, work: Callable[[EmbeddedLedger], Awaitable[Any]]) -> Any:
        """Have the operator do something; return what came of it, None when it was refused or nobody knows."""
        running = await self._find_gateway()
        if running is None or running.ledger is None:
            return None
        ledger = running.ledger

        async def do() -> Any:
            return await work(ledger)

        task = running.process.start(self.loop, do())
        await wait_for(task, running)
        if not task.done():
            return None
        try:
            return task.result()
        except (StoreUnavailableError, Refusal) as error:
            self.note(f"the operator is told {type(error).__name__}")
            return None

    def restart(self) -> None:
        """Tell the gateway to end; the next one starts after it."""
        if self.current is not None:
            self.current.told_to_stop = True
            self.changed.set()

    def take_over(self) -> None:
        """Presume the gateway dead, though it lives, and let another be started."""
        running = self.current
        if running is not None and running.serves and running.journal is not None:
            self.counts["take-overs"] += 1
            running.journal._lock.release()
            running.presumed_dead = True
            self.changed.set()

    def kill(self, *, power: bool) -> None:
        """End the gateway at this very step; with the power, the ghosts go too."""
        doomed = [running for running in self._supervisor.running if running.process.alive]
        if not power:
            doomed = doomed[-1:]
        for running in doomed:
            running.process.die()
        if power:
            self.disk.lose_power()
        name = "power losses" if power else "kills"
        self.counts[name] += bool(doomed)
        self.note(f"{name}: {[running.process.name for running in doomed]}")
        self.changed.set()

    # --- the room ----------------------------------------------------------------------------------------------

    def _make_settings(self) -> Settings:
        plan, devnet = self.plan, self.devnet
        upstreams = [wiring.gonka(devnet, WALLET, TIMEOUTS, priority=0, scheme=Scheme.HASH)]
        if plan.bearer is not None:
            priority = plan.bearer
            upstreams.append(wiring.bearer(devnet.bearer_url, devnet.bearer_key, TIMEOUTS, priority=priority))
        card = ModelCard(MODEL)
        settings = wiring.settings(upstreams, card, plan.price, fee_ppm=plan.fee_ppm, keep_alive_s=KEEP_ALIVE_S)
        store = replace(settings.store, after_crash=plan.after_crash, hold_durability=plan.hold_durability)
        return replace(settings, store=store)

    async def _furnish(self) -> None:
        """Open the accounts, with a key and some money each."""
        for number, (key, picousd) in enumerate(zip(self.keys, self.plan.balances, strict=True)):
            reference = f"first {number}"

            async def furnish(
                ledger: EmbeddedLedger, key: str = key, picousd: int = picousd, reference: str = reference
            ) -> str:
                account = await ledger.open_account("customer", "operator")
                await ledger.add_key(account.id, "key", key_digest(PEPPER, key.encode()), mask(key), "operator")
                await ledger.deposit(account.id, picousd, reference, "operator")
                return account.id

            account = await self.act(furnish)
            self.accounts.append(account)
            self.deposits[reference] = (account, picousd)

    # --- the end -----------------------------------------------------------------------------------------------

    def _judge(self, *, honest: bool) -> None:
        """Compare what callers and the operator saw with what is left."""
        verdict = Verdict(self.auditor, self.devnet.chain, honest=honest)
        for seen in self.calls:
            verdict.check(seen)
        for reference, (account, picousd) in self.deposits.items():
            if self.auditor.keeper.references.get((account, reference)) != picousd:
                self.auditor.fail(f"the deposit {reference} was acknowledged and is not in the books")
        for act in self.acts:
            if not self.auditor.acts[act]:
                self.auditor.fail(f"{act} was acknowledged and is not in the books")
        if self.plan.keyed and (twice := [act for act, count in self.auditor.acts.items() if count > 1]):
            self.auditor.fail(f"{twice} are in the books more than once, with one key each")
        for failure in self.loop.failures:
            self.auditor.fail(f"in the loop: {failure}")
        for kind in ("settle", "void", "expire"):
            self.counts[f"endings: {kind}"] += self.auditor.kinds[kind]
        self.counts["syncs"] += self.disk.syncs
        for name, count in self.disk.struck.items():
            self.counts[f"disk: {name}"] += count


def play(seed: int, calls_max: int = CALLS_MAX) -> Outcome:
    """Play the world of a seed, with at most so many callers: another number makes another world of it."""
    plan = draw_plan(seed, calls_max)
    outcome = Outcome(seed, plan.temper)
    loop = SimNet(random.Random(f"world {seed}"))
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world = World(plan, loop, Path(folder))
        try:
            with _logs_to(world), shortcuts(), _without_collecting():
                loop.run_until_complete(world.play())
        finally:
            loop.close()
            world.disk.close()
    outcome.counts, outcome.violations, outcome.trace = world.counts, world.auditor.violations, world.trace
    books = b"".join(world.auditor.durable)
    outcome.digest = hashlib.sha256("\n".join(outcome.trace).encode() + books).hexdigest()
    return outcome


@contextlib.contextmanager
def _logs_to(world: World) -> Iterator[None]:
    """Take the gateway's log lines: a defect that it has logged is one that nobody may overlook."""

    def take(_: Any, __: str, event: Any) -> Any:
        if event["event"] == "defect":
            world.auditor.fail(f"the gateway logs a defect: {event}")
        raise structlog.DropEvent

    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.reset_defaults()


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Have no garbage collected meanwhile: a world is small, and when it is would depend on the worlds before."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _outcome_of(seen: Seen) -> str:
    if seen.left:
        return "calls left by their callers"
    if seen.lost:
        return "calls lost with their process"
    if seen.done:
        return "calls answered again" if seen.replayed else "calls answered"
    return f"calls ended with {seen.error_code}"
