"""Asks upstreams what the attempts in our books cost, and reconciles the books with the answers.

Few questions are under way at a time, none is repeated, and an upstream that does not report, or keeps giving no
answer, is not asked again: all its further attempts count as that. Nothing here changes anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from tallygate.core.ledger.reconciliation import Bill, Reconciliation, Unreported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tallygate.core.ledger.reconciliation import Attempt
    from tallygate.ports import Upstream

QUESTIONS_MAX: Final = 8
"""How many questions are under way at a time: nodes limit their public routes."""

MISSES_MAX: Final = 5
"""After so many questions in a row without a usable answer, an upstream is not asked any more."""


async def reconcile(attempts: Iterable[Attempt], upstreams: Mapping[str, Upstream]) -> Reconciliation:
    """Ask about all attempts, and add up what was booked and what was said."""
    inquiry = _Inquiry(upstreams)
    pending = iter(attempts)
    workers = [asyncio.ensure_future(inquiry.work(pending)) for _ in range(QUESTIONS_MAX)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return inquiry.reconciliation


class _Inquiry:
    """One round of questions."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self.reconciliation = Reconciliation()
        self._upstreams = upstreams
        self._misses: Counter[str] = Counter()
        self._given_up: dict[str, Unreported] = {}

    async def work(self, pending: Iterator[Attempt]) -> None:
        """Take one attempt after the other from those that all workers share."""
        for attempt in pending:
            self.reconciliation.take(attempt, await self._ask(attempt))

    async def _ask(self, attempt: Attempt) -> Bill | Unreported:
        name = attempt.upstream
        upstream = self._upstreams.get(name)
        if attempt.reference is None:
            return Unreported.NO_REFERENCE
        if upstream is None:
            return Unreported.NOT_CONFIGURED
        if name in self._given_up:
            return self._given_up[name]
        answer = await upstream.ask_bill(attempt.reference, attempt.node)
        self._misses[name] = self._misses[name] + 1 if answer is Unreported.NO_ANSWER else 0
        if answer is Unreported.NOT_OFFERED or (answer is Unreported.NO_ANSWER and self._misses[name] >= MISSES_MAX):
            self._given_up[name] = answer
        return answer
