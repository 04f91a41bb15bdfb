"""Makes checkpoints, and what customers can prove with them: receipts and balances.

A checkpoint is a look at what is durable, signed, and kept as an anchor. One is made every minute while entries come,
when the gateway stops, when the operator asks, and, at most every few seconds, when a customer asks for a proof of
something that no checkpoint holds yet. It takes time for the accounts, not for the history, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, Protocol, TypeVar

import structlog

from tallygate.core.errors import InvariantBrokenError, StoreUnavailableError
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.proofs.balances import BalanceTree
from tallygate.core.proofs.checkpoint import FORMAT, Checkpoint, CheckpointKey, Head, SignedCheckpoint
from tallygate.core.proofs.receipt import BalanceProof, Receipt, prove_balance
from tallygate.core.proofs.totals import Totals, find_imbalance, write_totals
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.proofs.anchor_check import check_anchors
from tallygate.storage.proofs.anchors import AnchorError, AnchorFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.proofs.anchoring import AnchorReport
    from tallygate.storage.proofs.archive import Archive, Snapshot

EVERY_S: Final = 60
"""How old an anchor may get while entries come: what a lost end can cost to find."""
APART_S: Final = 5
"""How far apart checkpoints are that customers' questions cause: each is a line in the file for ever."""

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger()


class _Made(NamedTuple):
    """The last checkpoint that this process has made, with the balances that it commits to."""

    signed: SignedCheckpoint
    tree: BalanceTree


class Store(Protocol):
    """What of the ledger its proofs need."""

    @property
    def ready(self) -> bool:
        """Whether it takes writes."""

    async def durable(self) -> None:
        """Return when all that it has taken is durable; raises `StoreUnavailableError`."""


class EmbeddedProofs:
    """The proofs of one store.

    Args:
        archive: Reads what is durable.
        anchors: Keeps what is signed.
        key: Signs.
        now_ns: Wall clock in nanoseconds.
        store: What writes; one that has failed is not vouched for.
        apart_s: How far apart checkpoints are that customers cause.
    """

    def __init__(
        self,
        archive: Archive,
        anchors: AnchorFile,
        key: CheckpointKey,
        *,
        now_ns: Callable[[], int],
        store: Store,
        apart_s: int = APART_S,
    ) -> None:
        self._archive = archive
        self._anchors = anchors
        self._key = key
        self._now_ns = now_ns
        self._store = store
        self._apart_s = apart_s
        self._made: _Made | None = None
        self._turn = asyncio.Lock()
        self._at_work = threading.Lock()
        self._asked_s: int | None = None
        self._minder: asyncio.Task[None] | None = None

    @property
    def public_key(self) -> bytes:
        """The public half of the checkpoint key."""
        return self._key.public

    @property
    def latest(self) -> SignedCheckpoint | None:
        """The last checkpoint that was anchored."""
        return None if self._anchors.last is None else self._anchors.last.signed

    async def checkpoint(self) -> SignedCheckpoint:
        """Make a checkpoint of what is durable now.

        Raises:
            StoreUnavailableError: The store has failed, or the anchor cannot be kept.
        """
        made = await asyncio.to_thread(self._make)
        if made is None:
            raise InvariantBrokenError("a checkpoint that is wanted is made")
        return made.signed

    async def receipt(self, inference: str, account: str | None = None) -> Receipt | None:
        """Return the receipt of an inference, None if there is none of this id, or of this account.

        Raises:
            StoreUnavailableError: The store cannot be read, or what it holds cannot be signed.
        """
        found = await self._read(self._archive.find, inference)
        if not found or (account is not None and decode_entry(found[0][1]).account != account):
            return None
        await self._covering(lambda: self._sequence >= found[-1][0])
        anchor = self._anchors.last
        if anchor is None:
            raise InvariantBrokenError("what is covered has an anchor")
        entries = await self._read(self._archive.prove, inference, anchor.checkpoint.heads[0].sequence)
        return Receipt(inference, entries, anchor.signed, self._key.public.hex())

    async def balance(self, account: str, sequence: int) -> BalanceProof | None:
        """Return the proof of an account's balance, as new as it can be had; None before the account is durable.

        Args:
            account: Its id.
            sequence: Of its last entry: whichever checkpoint knows that one, or a later one, will do.
        """

        def is_known() -> bool:
            known = None if self._made is None else self._made.tree.sequence_of(account)
            return known is not None and known >= sequence

        await self._covering(is_known)
        made = self._made
        return None if made is None else prove_balance(made.tree, account, made.signed, self._key.public)

    async def audit(self) -> AnchorReport:
        """Hold what is durable against every anchor."""
        return await asyncio.to_thread(check_anchors, self._archive, self._anchors.path, self._key)

    def mind(self) -> None:
        """Make a checkpoint every minute from now on while entries come."""
        self._minder = asyncio.create_task(self._make_regularly())

    async def close(self) -> None:
        """Make a last checkpoint, if there is anything new in it."""
        if self._minder is not None:
            self._minder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._minder
        with contextlib.suppress(StoreUnavailableError):
            await self._store.durable()
        await self._make_if_new()

    async def _read(self, question: Callable[P, T], *of: P.args, **more: P.kwargs) -> T:
        """Ask the archive in a thread; a disk that fails is the store's trouble, and no defect."""
        try:
            return await asyncio.to_thread(question, *of, **more)
        except NotAStoreError as error:
            raise StoreUnavailableError(str(error)) from None

    @property
    def _sequence(self) -> int:
        """The last batch that is anchored."""
        last = self._anchors.last
        return last.checkpoint.heads[0].sequence if last is not None else -1

    async def _make_regularly(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._make_if_new()

    async def _make_if_new(self) -> None:
        try:
            await asyncio.to_thread(
                self._make, is_wanted=lambda: self._archive.head().sequence > max(self._sequence, 0)
            )
        except Exception as error:  # noqa: BLE001  (whatever it was, the next minute gets its try)
            _log.error("no checkpoint could be made", error=f"{type(error).__name__}: {error}")

    async def _covering(self, is_covered: Callable[[], bool]) -> None:
        """Return when a checkpoint holds what is asked for, or a new one has been made."""
        async with self._turn:
            if is_covered():
                return
            loop = asyncio.get_running_loop()
            if self._asked_s is not None and (wait_s := self._asked_s + self._apart_s - int(loop.time())) > 0:
                await asyncio.sleep(wait_s)
            self._asked_s = int(loop.time())
            await asyncio.to_thread(self._make)

    def _make(self, is_wanted: Callable[[], bool] = lambda: True) -> _Made | None:
        """Make a checkpoint; in a thread, one at a time.

        The lock is the thread's own: a customer who leaves gives up waiting for it, and the work goes on to its end.
        """
        with self._at_work:
            if not self._store.ready:
                raise StoreUnavailableError("the store has failed; what it holds is not vouched for")
            try:
                if not is_wanted():
                    return None
                snapshot = self._archive.snapshot()
                last = self._anchors.last
                time_ns = max(self._now_ns(), last.checkpoint.time_ns + 1 if last else 0)
                tree = BalanceTree(self._key.secret, time_ns, snapshot.balances)
                signed = self._key.sign(make_checkpoint(snapshot, tree, time_ns))
                self._anchors.append(signed)
            except (AnchorError, NotAStoreError) as error:
                raise StoreUnavailableError(str(error)) from None
            self._made = _Made(signed, tree)
            return self._made


def make_checkpoint(snapshot: Snapshot, tree: BalanceTree, time_ns: int) -> Checkpoint:
    """Return what a moment of the books comes to.

    Raises:
        InvariantBrokenError: The books do not sum to zero: that is never signed.
    """
    available = sum(balance[1] for balance in snapshot.balances)
    held = sum(balance[2] for balance in snapshot.balances)
    totals = Totals(snapshot.sums).with_customers(available, held)
    if imbalance := find_imbalance(totals):
        raise InvariantBrokenError(f"no checkpoint is made of books that do not sum to zero: {imbalance}")
    head = snapshot.head
    last = Head(head.writer, head.epoch, head.sequence, head.header_hash, head.sequence, snapshot.tree_root)
    return Checkpoint(FORMAT, time_ns, (last,), write_totals(totals), tree.root)
