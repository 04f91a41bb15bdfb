"""Holds a store against its last anchor before anything is written to it: has it lost its end, or been rewritten?

A lost end is what a disk that lied about fsync leaves, or an old copy of the store put back. Going on would silently
forget what customers paid and were charged; so a start refuses, unless the operator says to go on, which the books
then record. A batch that is another one than was anchored is never gone on with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.calendar import say_time
from tallygate.core.ledger.batch import decode_header, header_hash
from tallygate.core.proofs.anchoring import lost_tail_note
from tallygate.core.proofs.checkpoint import is_signed
from tallygate.storage.proofs.anchors import AnchorError

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.core.proofs.checkpoint import Head
    from tallygate.storage.proofs.anchors import Anchor, AnchorFile
    from tallygate.storage.proofs.archive import Archive


class LostTailError(AnchorError):
    """The store has lost its end; `tallygate serve --accept-lost-tail` goes on without it."""


class LostTail(NamedTuple):
    """What an anchor knows and the store does not.

    Attributes:
        anchored: The last batch that was anchored.
        time_ns: When.
        sequence: The last batch that the store has of those before the loss.
        is_noted: Whether the books record it already; a crash has kept that from being anchored. It is no word of the
            operator's: whoever can write the store can write the note, so going on takes that word again.
    """

    anchored: Head
    time_ns: int
    sequence: int
    is_noted: bool = False

    @property
    def note(self) -> str:
        """What the books record of it."""
        return lost_tail_note(self.sequence, self.anchored)

    def __str__(self) -> str:
        return (
            f"its last batch is {self.sequence}, but batch {self.anchored.sequence} (header hash {self._hash}) was "
            f"anchored at {say_time(self.time_ns)} UTC. The end of the store is lost, or an old copy of it was put back"
        )

    @property
    def _hash(self) -> str:
        return self.anchored.header_hash.hex()


def find_lost_tail(anchor: Anchor, archive: Archive, public_key: bytes, where: str) -> LostTail | None:
    """Return what the last anchor knows and the store does not, None if nothing.

    Args:
        anchor: The last anchor.
        archive: The store.
        public_key: Of the checkpoint key.
        where: The store's path, for messages.

    Raises:
        AnchorError: The anchor is another store's or another key's, or the books were rewritten since.
    """
    if not is_signed(anchor.signed, public_key):
        raise AnchorError(
            f"the last anchor of the store {where} is not signed with its checkpoint key, but with "
            f"{anchor.signed.key_id}: put the right key file in its place"
        )
    head = archive.head()
    anchored = anchor.checkpoint.head_of(head.writer)
    if anchored is None:
        raise AnchorError(
            f"the anchors are those of another store than {where}: set [store] anchors_file, or move them away"
        )
    if anchored.sequence > head.sequence:
        return LostTail(anchored, anchor.checkpoint.time_ns, head.sequence)
    header = archive.header(anchored.sequence) if anchored.sequence else None
    if header is not None and header_hash(header) != anchored.header_hash:
        accepted = LostTail(anchored, anchor.checkpoint.time_ns, anchored.sequence - 1, is_noted=True)
        notes = archive.notes(head.sequence) if anchored.sequence == head.sequence else []
        if accepted.note in notes and len(notes) == decode_header(header).entry_count:  # nothing that moves money
            return accepted
        raise AnchorError(
            f"the store {where} has another batch {anchored.sequence} (header hash {header_hash(header).hex()}) than "
            f"the one (header hash {anchored.header_hash.hex()}) that was anchored at "
            f"{say_time(anchor.checkpoint.time_ns)} UTC: the books were rewritten, or went on from an old copy. "
            "Put the true store back; `tallygate verify` says more"
        )
    return None


def refuse(store: str, lost: LostTail) -> LostTailError:
    """Return why a store with a lost end is not opened."""
    return LostTailError(
        f"the store {store} is not all there: {lost}. Put a newer copy back; or go on without what is lost, "
        "which the books will record, with: tallygate serve --accept-lost-tail"
    )


def refuse_to_replace(store: Path, anchors: AnchorFile) -> None:
    """Refuse to make a new store where the anchors know of one that was there.

    Raises:
        LostTailError: They do.
    """
    if anchors.last is not None:
        checkpoint = anchors.last.checkpoint
        raise LostTailError(
            f"there is no store at {store}, but {anchors.path} knows of one, which had {checkpoint.heads[0].sequence} "
            f"batches at {say_time(checkpoint.time_ns)} UTC. Put a copy of it back; or, for a new one, move the anchors"
        )
