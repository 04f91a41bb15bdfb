"""Keeps what is known of one network up to date, for as long as the gateway runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.network.discovery import NetworkEye, NoAnswerError, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.network.client import HttpClient
    from tallygate.network.gonka import GonkaUpstream
    from tallygate.network.keptnodes import KeptNodes

LOOK_EVERY_S: Final = 15.0
"""How often the chain is looked at: four questions of each kind a minute, where public nodes take ten of one kind."""

AGAIN_S: Final = 5.0
"""How soon nodes are looked for again while none is known, and how soon after a node has complained of our clock."""


class ChainWatch:
    """Watches the network of one upstream.

    Args:
        upstream: Is told what is seen.
        client: Asks; its timeouts are those of questions.
        now_ns: Wall clock in nanoseconds.
        now_s: A monotonic clock in seconds.
        kept: Has the nodes that were discovered last; without, a start knows none until the network tells.

    Attributes:
        nodes_s: When nodes were last discovered, by the monotonic clock; None for never.
    """

    def __init__(
        self,
        upstream: GonkaUpstream,
        client: HttpClient,
        now_ns: Callable[[], int] = time.time_ns,
        now_s: Callable[[], float] = time.monotonic,
        kept: KeptNodes | None = None,
    ) -> None:
        self.nodes_s: float | None = None
        self._upstream = upstream
        self._client = client
        self._eye = NetworkEye(client, self._sources, now_ns)
        self._now_s = now_s
        self._wanted = asyncio.Event()
        self._source: Source | None = None
        self._log = structlog.get_logger().bind(upstream=upstream.name)
        self._kept = kept
        upstream.look_soon = self._wanted.set
        if kept is not None and self.discovers and (nodes := kept.nodes(upstream.name, self._source_urls())):
            upstream.take_over(nodes)

    @property
    def discovers(self) -> bool:
        """Whether the upstream has no nodes but those that are found."""
        return self._upstream.discovery is not None

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S if self._upstream.places else AGAIN_S):
                    await self._wanted.wait()
                    await asyncio.sleep(AGAIN_S)  # whoever complains does so often

    async def look(self) -> None:
        """Look once, for what is due."""
        upstream = self._upstream
        was, troubles = upstream.trouble, []
        for looking in (self._look_for_nodes, self._look_at_chain):
            try:
                await looking()
            except NoAnswerError as error:
                troubles.append(str(error))
        upstream.trouble = troubles[0] if troubles else None
        if troubles and was is None:
            self._log.warning("the network tells nothing of use; what is known stays", detail=troubles[0])

    async def close(self) -> None:
        """Close the connections that questions go over."""
        await self._client.close()

    async def _look_for_nodes(self) -> None:
        """Discover nodes, if that is wanted and due."""
        discovery = self._upstream.discovery
        if discovery is None or (self.nodes_s is not None and self._now_s() - self.nodes_s < discovery.refresh_s):
            return
        found = await self._eye.look_for_nodes()
        self._upstream.take_over(found)
        self.nodes_s = self._now_s()
        if self._kept is not None:
            self._kept.keep(self._upstream.name, self._source_urls(), found)

    async def _look_at_chain(self) -> None:
        """See where the chain is, and what time; nobody has to be asked while there are no nodes to send to."""
        if not self._upstream.places:
            return
        chain = self._upstream.chain
        was_quiet, was_ns, was_far = self._upstream.quiet_for_s > 0, chain.offset_ns, chain.is_too_far
        epoch, seen, source = await self._eye.look_at_chain()
        if source != self._source:
            chain.forget_blocks()
            self._source = source
        chain.note_epoch(epoch, self._now_s())
        if seen is not None:
            chain.note_block(seen)
        quiet_s = self._upstream.quiet_for_s
        if (quiet_s > 0) != was_quiet:
            self._log.info("a quiet window begins" if quiet_s else "the quiet window is over", seconds=round(quiet_s))
        if chain.offset_ns != was_ns and (chain.offset_ns == 0) != (was_ns == 0):
            self._log.warning(
                "our clock is not the chain's; timestamps are corrected", offset_ms=chain.offset_ns // 10**6
            )
        if chain.is_too_far and not was_far:
            self._log.error("our clock is too far from the chain's to be corrected; set it right")

    def _source_urls(self) -> Sequence[str]:
        return [f"{source.origin}{source.base_path.decode()}" for source in self._sources()]

    def _sources(self) -> Sequence[Source]:
        """Return whom to ask: whom the operator has named, else the nodes that are in the choice."""
        discovery = self._upstream.discovery
        if discovery is not None:
            return [Source(origin, base_path) for origin, base_path in discovery.sources]
        return [Source(place.origin, place.base_path) for place in self._upstream.places if not place.is_out_for_good]
