"""Books against their anchors: a lost end, a rewritten batch, a forged tree, and a loss that was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tallygate.core.ledger.batch import header_hash
from tallygate.core.proofs.anchoring import Anchoring, AnchorReport, find_total_faults, lost_tail_note
from tests.core.audit.forgery import make_world
from tests.core.ledger.world import WRITER, World, seal
from tests.core.proofs.proving import commit_to_balances, make_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.proofs.checkpoint import Checkpoint
    from tests.core.ledger.world import Batches

BATCHES = make_world().batches()
ANCHORS = [make_checkpoint(BATCHES[:count], 10**18 + count) for count in (2, 5, 7)]


def check(
    batches: Batches, anchors: Sequence[Checkpoint], notes_of: Callable[[int], list[str]] = lambda _: []
) -> AnchorReport:
    """Return what anchors say of batches."""
    anchoring = Anchoring(WRITER, anchors, notes_of)
    for header, _ in batches:
        anchoring.take(header_hash(header))
    return anchoring.finish()


def go_on(count: int, size: int = 3) -> Batches:
    """Return other books that begin like the true ones and go on otherwise."""
    raws = [written.raw for written in make_world().entries]
    groups = [raws[i : i + size] for i in range(0, len(raws), size)]
    return seal([*groups[:count], *([raw] for raw in raws[count * size :])])


def test_books_that_fit_their_anchors_have_no_fault() -> None:
    """Batches that are still there, with more behind them, are what was signed; the newest anchor is named."""
    report = check(BATCHES, ANCHORS)

    assert (report.faults, report.count, report.lost, report.last) == ([], 3, 0, ANCHORS[-1])
    assert check(BATCHES, []).last is None
    assert check(BATCHES, [ANCHORS[0], replace(ANCHORS[0], time_ns=2 * 10**18)]).faults == []


@pytest.mark.parametrize(("left", "faults"), [(7, 0), (6, 1), (5, 1), (4, 2), (1, 3), (0, 3)])
def test_lost_end_is_found_back_to_the_last_anchor(left: int, faults: int) -> None:
    """Each anchor of a batch that is gone tells how far the books had come, and where they end."""
    report = check(BATCHES[:left], ANCHORS)

    assert len(report.faults) == faults
    assert all(f"the store ends with {left}" in fault for fault in report.faults)


def test_rewritten_history_is_located() -> None:
    """Books that were rewritten from some batch on, with a chain that is intact, fail from the next anchor on."""
    report = check(go_on(3), ANCHORS)

    assert report.faults == [
        "anchor 2: batch 5 is another one than was signed: it, or one before it, was changed",
        "anchor 3: batch 7 is another one than was signed: it, or one before it, was changed",
    ]


def test_another_tree_under_the_same_head_is_found() -> None:
    """A root that is not that of the batches is told, though the head is."""
    head = replace(ANCHORS[1].heads[0], tree_root=bytes(32))
    report = check(BATCHES, [ANCHORS[0], replace(ANCHORS[1], heads=(head,)), ANCHORS[2]])

    assert report.faults == ["anchor 2: the batches up to 5 are not those that were signed"]


def test_anchors_of_another_store_or_out_of_order_are_faults() -> None:
    """Somebody else's anchor, one that is not later, and one that does not balance are told."""
    stranger = replace(ANCHORS[1].heads[0], writer=bytes(16))
    totals = tuple(total for total in ANCHORS[2].totals if total[1] != "world")
    report = check(
        BATCHES, [ANCHORS[0], replace(ANCHORS[1], heads=(stranger,)), ANCHORS[0], replace(ANCHORS[2], totals=totals)]
    )

    assert report.faults[0] == "anchor 2: is another store's"
    assert report.faults[1] == "anchor 3: is not later than the one before it"
    assert report.faults[2].startswith("anchor 4: its USD book sums to ")


@pytest.mark.parametrize("left", [2, 3, 4, 6])
def test_accepted_loss_accounts_for_the_anchors_before_it(left: int) -> None:
    """Where a note names what was lost, its anchors are counted and no fault; later ones are held to the new books."""
    books = go_on(left)
    note = lost_tail_note(left, ANCHORS[-1].heads[0])
    anchors = [*ANCHORS, make_checkpoint(books[: left + 1], 10**18 + 50), make_checkpoint(books, 10**18 + 60)]
    report = check(books, anchors, {left + 1: [note]}.get)  # type: ignore[arg-type]

    assert report.faults == []
    assert report.lost == sum(anchor.heads[0].sequence > left for anchor in ANCHORS)
    assert check(BATCHES, anchors, {left + 1: [note]}.get).faults  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["", lost_tail_note(3, ANCHORS[1].heads[0]), lost_tail_note(2, ANCHORS[2].heads[0])])
def test_loss_that_no_note_accounts_for_is_a_fault(wrong: str) -> None:
    """Anchors that go back without the very note that says so are told; the older ones are not the books' any more."""
    books = go_on(3)
    anchors = [*ANCHORS, make_checkpoint(books[:4], 10**18 + 50)]

    (fault,) = check(books, anchors, lambda _: [wrong]).faults
    assert fault == "anchor 4: goes back from batch 7 to 4, and no note in the books says that the end was lost"


def test_totals_and_balances_are_held_against_the_books() -> None:
    """What was signed is compared figure by figure, and the balances by their root."""
    checkpoint, tree = make_checkpoint(BATCHES), commit_to_balances(BATCHES)

    assert list(find_total_faults(checkpoint, checkpoint.sums, tree.root)) == []
    changed = {**checkpoint.sums, ("USD", "held"): 1, ("USD", "new"): 5}
    faults = list(find_total_faults(checkpoint, changed, bytes(32)))
    assert [fault.partition(",")[0] for fault in faults] == [
        f"the last anchor says that USD held was {checkpoint.sums['USD', 'held']}",
        "the last anchor says that USD new was 0",
        "the last anchor commits to other balances than the books give for its moment",
    ]
    assert World().batches()
