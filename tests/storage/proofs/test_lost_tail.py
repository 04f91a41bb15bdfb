"""A store held against its last anchor at a start, before anything is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger.batch import header_hash
from tallygate.storage.memory import MemoryDisk
from tallygate.storage.proofs.anchors import Anchor, AnchorError, AnchorFile
from tallygate.storage.proofs.lost_tail import LostTailError, find_lost_tail, refuse, refuse_to_replace
from tallygate.storage.proofs.memory_archive import MemoryArchive
from tests.core.audit.forgery import make_world
from tests.core.ledger.world import WRITER, Batches, World, seal
from tests.core.proofs.proving import KEY, OTHER_KEY, make_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.storage.proofs.lost_tail import LostTail

BATCHES = make_world().batches()
CHECKPOINT = make_checkpoint(BATCHES[:5])
ANCHOR = Anchor(KEY.sign(CHECKPOINT), CHECKPOINT)


def hold(batches: Batches, writer: bytes = WRITER, public_key: bytes = KEY.public) -> LostTail | None:
    """Hold a store of these batches against the anchor of the fifth."""
    head = header_hash(batches[-1][0]) if batches else bytes(32)
    return find_lost_tail(ANCHOR, MemoryArchive(MemoryDisk(writer, 1, head, batches)), public_key, "x.db")


@pytest.mark.parametrize("count", [5, 6, 7])
def test_store_that_has_what_was_anchored_is_all_there(count: int) -> None:
    """The anchored batch itself, and whatever follows it, is as it should be."""
    assert hold(BATCHES[:count]) is None


@pytest.mark.parametrize("count", [0, 1, 4])
def test_lost_end_is_told_with_both_ends(count: int) -> None:
    """What the anchor knows and where the store ends are both named, for the message and for the books."""
    lost = hold(BATCHES[:count])

    assert lost is not None
    head = CHECKPOINT.heads[0].header_hash.hex()
    assert lost.note == f"lost tail accepted: batches {count + 1} to 5, head {head}"
    message = str(refuse("x.db", lost))
    for words in (f"its last batch is {count}", f"batch 5 (header hash {head})", "2001-09-09 01:46:40 UTC", "--accept"):
        assert words in message


def test_rewritten_batch_is_never_accepted() -> None:
    """Another batch in the anchored place is told by both hashes."""
    raws = [list(batch) for _, batch in BATCHES]
    others = seal([*raws[:3], raws[3] + raws[4], raws[5], raws[6]])
    with pytest.raises(AnchorError, match="rewritten") as caught:
        hold(others)

    assert not isinstance(caught.value, LostTailError)
    assert header_hash(others[4][0]).hex() in str(caught.value)


def test_loss_that_was_accepted_and_not_yet_anchored_is_known_again() -> None:
    """When the note stands in the very place of the one batch that was lost, the loss has been accepted already."""
    lost = hold(BATCHES[:4])
    assert lost is not None
    world = World()
    raws = [list(raws) for _, raws in BATCHES[:4]]
    accepted = hold(seal([*raws, [world.books.note(None, lost.note, "operator").raw]]))

    assert accepted is not None
    assert (accepted.is_noted, accepted.note) == (True, lost.note)
    with pytest.raises(AnchorError, match="rewritten"):
        hold(seal([*raws, [world.books.note(None, "another note", "operator").raw]]))
    with pytest.raises(AnchorError, match="rewritten"):  # something comes with the note that moves money
        hold(seal([*raws, [world.books.note(None, lost.note, "operator").raw, BATCHES[4][1][0]]]))


def test_anchor_of_another_store_or_key_is_told() -> None:
    """An anchor that is not this store's, or not this key's, is no reason to accept a loss."""
    with pytest.raises(AnchorError, match="another store"):
        hold(BATCHES, writer=bytes(16))
    with pytest.raises(AnchorError, match=f"not signed with its checkpoint key, but with {KEY.id}"):
        hold(BATCHES, public_key=OTHER_KEY.public)


def test_new_store_is_not_made_where_the_anchors_know_one(tmp_path: Path) -> None:
    """Without anchors a store may be new; with one, what is missing is lost."""
    file = AnchorFile(tmp_path / "anchors.jsonl")
    refuse_to_replace(tmp_path / "x.db", file)
    file.append(ANCHOR.signed)
    with pytest.raises(LostTailError, match="had 5 batches"):
        refuse_to_replace(tmp_path / "x.db", file)
