"""The operator's events: each is logged, and kept for the webhook, if there is one, until that has it.

An event is kept by a row in the same commit as the entry that caused it, so neither is ever without the other. Nothing
here sends anything: whoever does asks the ledger for what is due, which shows nothing that is not yet durable.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from tallygate.core.events import OperatorEvent, find_events
from tallygate.ports import KeptEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.core.ledger.records import Written

KEPT_MAX: Final = 10_000
"""How many events wait at most, a few megabytes: a webhook that is dead for days must not fill the store."""

_log = structlog.get_logger()


class Outbox:
    """What the operator is told, and what of it the webhook does not have yet.

    Args:
        entropy: Gives so many random bytes.
        low_balance_picousd: Below this, an account runs low; None tells of no such account.
        keeps: Whether events are kept for a webhook; if not, they are only logged.
        kept_max: How many are kept at most; beyond that they are only logged.
    """

    def __init__(
        self,
        entropy: Callable[[int], bytes],
        *,
        low_balance_picousd: int | None = None,
        keeps: bool = False,
        kept_max: int = KEPT_MAX,
    ) -> None:
        self._entropy = entropy
        self._low_balance_picousd = low_balance_picousd
        self._keeps = keeps
        self._kept_max = kept_max
        self._kept: dict[str, KeptEvent] = {}
        self._arrived = asyncio.Event()

    @property
    def kept(self) -> Sequence[KeptEvent]:
        """What waits for the webhook, oldest first; what came last may not be durable yet."""
        return list(self._kept.values())

    def restore(self, events: Iterable[KeptEvent]) -> None:
        """Take up what the store has."""
        self._kept.update((event.id, event) for event in events)
        if self._kept:
            self._arrived.set()

    def tell_of(self, entries: Iterable[Written]) -> list[KeptEvent]:
        """Tell what entries mean for the operator; return the rows to keep in their commit."""
        events = (event for written in entries for event in find_events(written, self._low_balance_picousd))
        return [kept for event in events for kept in self.tell(event)]

    def tell(self, event: OperatorEvent) -> list[KeptEvent]:
        """Tell of one event; return the row to keep, if it is kept."""
        identity = f"evt_{event.time_ns:016x}{self._entropy(8).hex()}"
        # Not in this step, which may be that of a commit: a log that cannot be written must not stop the books.
        later = asyncio.get_running_loop().call_soon
        later(partial(getattr(_log, event.level), event.type, event_id=identity, **event.data))
        if not self._keeps:
            return []
        if len(self._kept) >= self._kept_max:
            later(partial(_log.error, "event not kept for the webhook: too many wait already", event_id=identity))
            return []
        kept = KeptEvent(identity, event.time_ns, _render(event))
        self._kept[identity] = kept
        self._arrived.set()
        return [kept]

    def forget(self, event_id: str) -> None:
        """Let go of an event that the webhook has, or never will have."""
        self._kept.pop(event_id, None)
        if not self._kept:
            self._arrived.clear()

    async def wait(self) -> None:
        """Wait until there is something for the webhook."""
        await self._arrived.wait()


def _render(event: OperatorEvent) -> str:
    """Return an event as the webhook gets it."""
    seconds, rest_ns = divmod(event.time_ns, 10**9)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return msgspec.json.encode({"type": event.type, "timestamp": at, "data": event.data}).decode()
