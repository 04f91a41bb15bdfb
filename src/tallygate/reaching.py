"""How the ways to the network are put together, and kept under watch.

The part of the composition root that names the adapters of the network; the gateway and the command line share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Final

from tallygate.config import BearerAccess
from tallygate.core.retrybudget import RetryBudget
from tallygate.core.timestamps import CorrectedTimestamps
from tallygate.network.asking import LOOK_TIMEOUTS, make_asking_client
from tallygate.network.bearer import BearerUpstream
from tallygate.network.client import HttpClient, trust
from tallygate.network.gonka import GonkaUpstream
from tallygate.network.keptnodes import KeptNodes
from tallygate.network.pool import UpstreamPool
from tallygate.network.watching import ChainWatch
from tallygate.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from tallygate.config import Settings, UpstreamSettings
    from tallygate.ports import Upstream

FIRST_LOOK_S: Final = 10.0
"""How long a start waits for nodes to be discovered."""


def build_upstreams(
    settings: Settings, now_ns: Callable[[], int], now_s: Callable[[], float], draw: Callable[[int], int]
) -> UpstreamPool:
    """Return all configured upstreams, which share one budget of retries.

    Args:
        settings: The whole configuration.
        now_ns: Wall clock in nanoseconds.
        now_s: A monotonic clock in seconds.
        draw: Returns a random integer from 0 up to, not including, its argument.
    """
    timestamps = CorrectedTimestamps(now_ns)
    retries = settings.server.retries
    budget = RetryBudget(now_s, retries.percent, retries.per_s)
    upstreams = [build_upstream(upstream, timestamps, now_s, draw, budget) for upstream in settings.upstreams]
    return UpstreamPool(upstreams, draw, budget)


def build_upstream(
    settings: UpstreamSettings,
    timestamps: CorrectedTimestamps,
    now_s: Callable[[], float],
    draw: Callable[[int], int] = lambda _: 0,
    budget: RetryBudget | None = None,
) -> Upstream:
    """Return one upstream."""
    client = HttpClient(timeouts=settings.timeouts, tls=trust(settings.ca_file))
    access = settings.access
    if isinstance(access, BearerAccess):
        return BearerUpstream(settings=settings, access=access, client=client, now_s=now_s, budget=budget)
    return GonkaUpstream(
        settings=settings,
        access=access,
        client=client,
        timestamps=timestamps,
        now_s=now_s,
        draw=draw,
        budget=budget,
    )


@contextlib.asynccontextmanager
async def watch_networks(
    settings: Sequence[UpstreamSettings], upstreams: Sequence[Upstream], nodes_file: Path | None = None
) -> AsyncIterator[None]:
    """Watch the networks that upstreams reach, over connections of their own, for as long as what is inside lasts.

    Nodes that are to be discovered are waited for, but not for long: a network that is down does not keep the gateway
    from starting. Meanwhile those count that a file has of the last time.
    """
    kept = None if nodes_file is None else KeptNodes(nodes_file)
    watches = _build_watches(settings, upstreams, kept=kept)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await _discover(watches)
        async with running(*(watch.keep() for watch in watches)):
            yield
    finally:
        for watch in watches:
            await watch.close()


@contextlib.asynccontextmanager
async def open_for_questions(settings: Sequence[UpstreamSettings]) -> AsyncIterator[Mapping[str, Upstream]]:
    """Lend all upstreams by name, for questions that no caller waits for; no call is sent there."""
    timestamps = CorrectedTimestamps(time.time_ns)
    asked = [dataclasses.replace(upstream, timeouts=LOOK_TIMEOUTS) for upstream in settings]
    upstreams = {upstream.name: build_upstream(upstream, timestamps, time.monotonic) for upstream in asked}
    watches = _build_watches(asked, list(upstreams.values()))
    try:
        await _discover(watches)
        yield upstreams
    finally:
        for watch in watches:
            await watch.close()
        for upstream in upstreams.values():
            await upstream.close()


def _build_watches(
    settings: Sequence[UpstreamSettings],
    upstreams: Sequence[Upstream],
    now_ns: Callable[[], int] = time.time_ns,
    now_s: Callable[[], float] = time.monotonic,
    kept: KeptNodes | None = None,
) -> Sequence[ChainWatch]:
    ca_files = {upstream.name: upstream.ca_file for upstream in settings}
    return [
        ChainWatch(upstream, make_asking_client(ca_files[upstream.name]), now_ns, now_s, kept)
        for upstream in upstreams
        if isinstance(upstream, GonkaUpstream)
    ]


async def _discover(watches: Sequence[ChainWatch]) -> None:
    """Look once for the nodes that nobody has configured."""
    await asyncio.gather(*(watch.look() for watch in watches if watch.discovers))
