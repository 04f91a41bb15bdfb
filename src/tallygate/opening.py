"""How a store is opened: its lock, its secrets, its anchors, and the books and proofs in it.

The part of the composition root that names the adapters of the store; the gateway and the command line share it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from tallygate.core.proofs.anchoring import AnchorReport
from tallygate.core.proofs.checkpoint import CheckpointKey
from tallygate.entropy import EntropyPool
from tallygate.secretfile import read_or_make_secret, read_secret
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.metered import MeteredJournal
from tallygate.storage.outbox import Outbox
from tallygate.storage.proofs.anchor_check import check_anchors
from tallygate.storage.proofs.anchors import AnchorFile
from tallygate.storage.proofs.embedded import EmbeddedProofs
from tallygate.storage.proofs.lost_tail import find_lost_tail, refuse, refuse_to_replace
from tallygate.storage.proofs.sqlite_archive import SqliteArchive
from tallygate.storage.replay import audit_end, audit_file, count_processors
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.config import EventsSettings, StoreSettings
    from tallygate.core.audit.report import Report
    from tallygate.ports.meter import Meter
    from tallygate.storage.replay import Progress

_log = structlog.get_logger()


def open_books(
    store: StoreSettings,
    events: EventsSettings | None = None,
    *,
    create: bool = True,
    accept_lost_tail: bool = False,
    meter: Meter | None = None,
) -> tuple[EmbeddedLedger, bytes]:
    """Open the store for writing; return its ledger and the pepper of its keys.

    Args:
        store: Where it is.
        events: What the operator is told; without, no balance is low, and the rest is only logged.
        create: Whether it is made where there is none.
        accept_lost_tail: Whether a store that has lost its end is opened all the same.
        meter: Counts what is booked, if anything does.

    Raises:
        StoreLockedError: Another process is using it.
        NotAStoreError: There is none, or it cannot be read.
        SecretFileError: The pepper cannot be read, or is missing beside a store that is there.
        AnchorError: The anchors cannot be read, or know more of the store, or other things, than it does.
    """
    entropy = EntropyPool()
    # A new pepper beside an old store would silently end the life of every key in it; only a new store gets one.
    if not store.path.exists():
        refuse_to_replace(store.path, AnchorFile(store.anchors_file))
    new_pepper = read_or_make_secret(store.pepper_file) if create and not store.path.exists() else None
    file = SqliteJournal(store.path, entropy(16), create=create)
    journal = file if meter is None else MeteredJournal(file, meter)
    try:
        hold_against_anchors(store, accept_lost_tail=accept_lost_tail)
        pepper = new_pepper or read_secret(store.pepper_file)
        ledger = EmbeddedLedger(
            journal,
            now_ns=time.time_ns,
            entropy=entropy,
            wait_for_hold=store.hold_durability == "wait",
            outbox=None if events is None else build_outbox(events, entropy),
        )
    except BaseException:
        journal.close()
        raise
    return ledger, pepper


def build_outbox(events: EventsSettings, entropy: Callable[[int], bytes]) -> Outbox:
    """Return what takes the operator's events: they are kept where there is a webhook to deliver them to."""
    return Outbox(entropy, low_balance_picousd=events.low_balance_picousd, keeps=events.webhook is not None)


def hold_against_anchors(store: StoreSettings, *, accept_lost_tail: bool) -> None:
    """Refuse a store that is not what its last anchor knows; one that has only lost its end may be accepted."""
    anchor = AnchorFile(store.anchors_file).last
    if anchor is not None:
        key = CheckpointKey(read_secret(store.checkpoint_key_file))
        lost = find_lost_tail(anchor, SqliteArchive(store.path), key.public, str(store.path))
        if lost is not None and not accept_lost_tail:
            raise refuse(str(store.path), lost)


async def open_proofs(store: StoreSettings, ledger: EmbeddedLedger) -> EmbeddedProofs:
    """Return the proofs of open books; if their end is lost, which was accepted, the books record it first.

    Raises:
        SecretFileError: The checkpoint key cannot be read, or is missing although it has signed anchors.
        AnchorError: The anchors cannot be read.
        StoreUnavailableError: The accepted loss cannot be written, or not be anchored.
    """
    anchors = AnchorFile(store.anchors_file)
    if anchors.torn_bytes:
        _log.warning("the last line of the anchors is torn, and does not count", bytes=anchors.torn_bytes)
    archive = SqliteArchive(store.path)
    if anchors.last is None and archive.head().sequence:
        _log.warning(
            "these books have no anchors: whether they have lost their end cannot be told. "
            "If there were any, stop, and put them and their checkpoint key back",
            anchors=str(anchors.path),
        )
    read_key = read_or_make_secret if anchors.last is None else read_secret
    key = CheckpointKey(read_key(store.checkpoint_key_file))
    proofs = EmbeddedProofs(archive, anchors, key, now_ns=time.time_ns, store=ledger)
    lost = anchors.last and find_lost_tail(anchors.last, archive, key.public, str(store.path))
    if lost is not None:
        _log.warning("the store goes on without its end", lost=str(lost))
        if not lost.is_noted:
            await ledger.note(lost.note, "operator")
        await proofs.checkpoint()
    return proofs


def read_public_key(store: StoreSettings) -> str | None:
    """Return the public half of the checkpoint key in hexadecimal digits, None where there is no key yet.

    Raises:
        SecretFileError: The file is there and cannot be read.
    """
    if not store.checkpoint_key_file.exists():
        return None
    return CheckpointKey(read_secret(store.checkpoint_key_file)).public.hex()


def audit_books(store: StoreSettings, *, deep: bool, progress: Progress | None = None) -> tuple[Report, AnchorReport]:
    """Replay a store from its file as it is and hold it against its anchors; writes nothing, whoever else is using it.

    Args:
        store: Where it is.
        deep: Whether all of a long history is replayed, by all processors, or its last part.
        progress: Is told how far it is.

    Raises:
        NotAStoreError: The file is no store of ours, or is damaged beyond reading.
        AnchorError, SecretFileError: The anchors, or the key that has signed them, cannot be read.
    """
    path = store.path
    report = audit_file(path, processes=count_processors(), progress=progress) if deep else audit_end(path)
    if not store.anchors_file.exists():
        return report, AnchorReport()
    key = CheckpointKey(read_secret(store.checkpoint_key_file))
    return report, check_anchors(SqliteArchive(store.path), store.anchors_file, key)
