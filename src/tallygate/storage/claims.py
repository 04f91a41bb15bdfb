"""Which idempotency keys are taken, and what is written with the entries that take and end them.

What is under way or not yet durable is known here, everything else by the store: so a check and the claim that it
guards are one step on the event loop, and memory does not grow with the calls of a day. What a claim becomes is noted
here and appended with the entry that says why, in one commit; once that is durable it is forgotten here. Until then the
store's own answer would be that of a moment ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallygate.core.idempotency import KEPT_NS, Claimed, resolve
from tallygate.storage.journal import ClaimEnded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from tallygate.core.idempotency import Claim
    from tallygate.core.ledger.records import Written
    from tallygate.storage.group_commit import GroupCommit
    from tallygate.storage.journal import Journal, Row

PURGED_AT_ONCE: Final = 500
"""How many old claims one commit forgets: a few milliseconds of the event loop's time."""


@dataclass(slots=True, eq=False)
class _Recent:
    """What a key stands for since a moment ago; None if it is free again."""

    claimed: Claimed | None


class Claims:
    """The claims of one process.

    Args:
        under_way: Those that an earlier process left.
        journal: Where durable claims are found.
        queue: What makes entries and their rows durable.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(
        self, under_way: Iterable[Claimed], journal: Journal, queue: GroupCommit, now_ns: Callable[[], int]
    ) -> None:
        self._recent = {claimed.digest: _Recent(claimed) for claimed in under_way}
        self._by_subject = {recent.claimed.subject: digest for digest, recent in self._recent.items() if recent.claimed}
        self._journal = journal
        self._queue = queue
        self._now_ns = now_ns

    def __repr__(self) -> str:
        """Say how many are known here."""
        return f"<Claims {len(self._by_subject)} under way, {len(self._recent)} not known to the store>"

    def find(self, claim: Claim) -> Claimed | None:
        """Return what a claim's key stands for, or None if it is free.

        Raises:
            Refusal: It stands for another request.
            StoreUnavailableError: The store cannot be read.
        """
        recent = self._recent.get(claim.digest)
        known = self._journal.find_claim(claim.digest) if recent is None else recent.claimed
        return resolve(known, claim, self._now_ns())

    async def find_durable(self, claim: Claim) -> Claimed | None:
        """Return the same when it is durable. If the key is free nothing is waited for: what follows is one step."""
        known = self.find(claim)
        if known is not None and known.picousd is not None:
            await self._queue.durable()
        return known

    def append_hold(self, written: Written, inference: str, claim: Claim | None) -> None:
        """Append a hold, and with it its claim on a key that `find` has said to be free."""
        if claim is None:
            self._queue.append(written)
            return
        self._by_subject[inference] = claim.digest
        self._queue.append(written, self._take(Claimed(claim.digest, claim.request, inference, self._now_ns(), None)))

    def append_ending(self, written: Written, inference: str, picousd: int | None) -> None:
        """Append an ending, and with it that of its claim: it stands for a cost, or (None) its key is free again."""
        digest = self._by_subject.pop(inference, None)
        if digest is None:
            self._queue.append(written)
            return
        claimed = self._recent[digest].claimed
        if claimed is not None:
            claimed = None if picousd is None else claimed._replace(picousd=picousd)
        self._recent[digest] = _Recent(claimed)
        self._queue.append(written, ClaimEnded(digest, picousd))
        self._forget_when_durable(digest)

    def append_act(self, written: Written | None, entry_id: bytes, picousd: int, claim: Claim | None) -> None:
        """Append an operator's act, unless it is booked already, and the claim that stands for it from now on."""
        if claim is not None:
            claimed = Claimed(claim.digest, claim.request, entry_id.hex(), self._now_ns(), picousd)
            self._queue.append(written, self._take(claimed))
            self._forget_when_durable(claim.digest)
        elif written is not None:
            self._queue.append(written)

    async def purge(self) -> int:
        """Forget the claims whose day is over; returns how many."""
        count = 0
        while True:
            self._queue.check()
            old = self._journal.find_old_claims(self._now_ns() - KEPT_NS, PURGED_AT_ONCE)
            # What is known here has changed since a moment ago: it may have been taken again.
            if rows := [ClaimEnded(digest, None) for digest in old if digest not in self._recent]:
                self._queue.append(None, *rows)
                await self._queue.durable()
            count += len(rows)
            if len(rows) < PURGED_AT_ONCE:
                return count

    def _take(self, claimed: Claimed) -> Row:
        """Note a claim, and return the row that says so; what its key stood for before, if anything, is out of date.

        Nothing is looked up here: the books have moved already, and their entry must not be lost over a failed look.
        """
        self._recent[claimed.digest] = _Recent(claimed)
        return claimed

    def _forget_when_durable(self, digest: bytes) -> None:
        recent = self._recent[digest]

        def forget(done: asyncio.Future[None]) -> None:
            if done.exception() is None and self._recent.get(digest) is recent:
                del self._recent[digest]

        self._queue.durable().add_done_callback(forget)
