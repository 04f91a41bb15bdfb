"""A gateway that stands still for a while in the middle of its streams, as a paused container does, and then goes on.

Whoever takes it for dead and starts another one is refused its store. Continued, it ends its streams by the rules.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.storm.calls import PICOUSD, Plan, make_call
from tests.storm.reconciliation import reconcile
from tests.storm.world import let_pass

if TYPE_CHECKING:
    from tests.storm.calls import Told
    from tests.storm.world import World

STREAMS: Final = 20


class Paused(NamedTuple):
    """What a pause came to.

    Attributes:
        second: The exit code of the second gateway, and what it said.
        told: What the callers saw in the end; half of them left while the gateway stood still.
        violations: Whatever may not be.
    """

    second: tuple[int, str]
    told: list[Told]
    violations: list[str]


async def pause(world: World, stop_s: float) -> Paused:
    """Stop a gateway amid its streams for so long, try to start another one, let the first go on and end."""
    gateway = await world.start(accounts=1)
    (key,) = world.keys
    await gateway.pay_in(key.account, PICOUSD)
    seen = 0
    amid = asyncio.Event()

    def count(frames: int) -> None:
        nonlocal seen
        seen += frames
        if seen >= 3 * STREAMS:
            amid.set()

    plan = Plan.usual(max_tokens=40)
    calls = [asyncio.ensure_future(make_call(gateway.port, key.secret, plan, count)) for _ in range(STREAMS)]
    await amid.wait()
    gateway.program.send(signal.SIGSTOP)
    second = world.serve().program
    code = await second.wait()
    said = (world.folder / "serve.log").read_text()
    for call in calls[::2]:
        call.cancel()  # its connection closes: the gateway will hear of it when it goes on
    inferences = await world.devnet.finished()  # the network does not wait for a gateway that stands still
    await let_pass(stop_s)
    gateway.program.send(signal.SIGCONT)
    told = list(await asyncio.gather(*calls[1::2]))
    await world.stop(gateway)
    books = await world.proven_books()
    found = reconcile(books.entries, inferences)
    settled = {entry.inference for entry in books.entries if entry.kind == "settle"}
    violations = [*found.violations]
    if len(settled) != STREAMS:
        violations.append(f"{len(settled)} of {STREAMS} streams were settled")
    violations += [f"{each} was told to a caller and not settled" for each in told if each.inference not in settled]
    return Paused((code, said), told, violations)
