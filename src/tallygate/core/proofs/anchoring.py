"""Holds books against their anchors: is every batch that was ever signed still there, in its place, and the same?

Fed with the header hashes of a writer in their order, it compares each anchored head with the batch of that number
and with the root of the tree so far. So a lost end, a rewritten history and a forged anchor are found and located.

The operator may have accepted a lost end once: then anchors of batches that are no more precede a later anchor of a
lower number, or of another batch of the same one, and the first batch after the loss holds a note which names the last
head that was lost. Anchors that such a note accounts for are no fault; they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallygate.core.ledger.merkle import Tree
from tallygate.core.proofs.checkpoint import header_leaf
from tallygate.core.proofs.totals import find_imbalance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tallygate.core.proofs.checkpoint import Checkpoint, Head


def lost_tail_note(last_sequence: int, lost: Head) -> str:
    """Return what the books record when their end was lost and the operator goes on."""
    return f"lost tail accepted: batches {last_sequence + 1} to {lost.sequence}, head {lost.header_hash.hex()}"


@dataclass(slots=True)
class AnchorReport:
    """What the anchors say.

    Attributes:
        count: How many there are.
        last: The last one.
        lost: How many of them stand for batches whose loss the operator has accepted.
        faults: What does not fit.
    """

    count: int = 0
    last: Checkpoint | None = None
    lost: int = 0
    faults: list[str] = field(default_factory=list)


class Anchoring:
    """Compares the batches of one writer, as they pass, with the anchors that have to fit them.

    Args:
        writer: Whose batches they are.
        checkpoints: All anchors in the order of the file.
        notes_of: Gives the reasons of the notes in a batch.
    """

    def __init__(
        self, writer: bytes, checkpoints: Iterable[Checkpoint], notes_of: Callable[[int], Sequence[str]]
    ) -> None:
        self.report = AnchorReport()
        self._tree = Tree()
        standing: list[tuple[Head, int]] = []
        time_ns = 0
        for number, checkpoint in enumerate(checkpoints, 1):
            self.report.count, self.report.last = number, checkpoint
            if checkpoint.time_ns <= time_ns:
                self.report.faults.append(f"anchor {number}: is not later than the one before it")
            time_ns = checkpoint.time_ns
            for book, total in find_imbalance(checkpoint.sums).items():
                self.report.faults.append(f"anchor {number}: its {book} book sums to {total}, not to zero")
            head = checkpoint.head_of(writer)
            if head is None:
                self.report.faults.append(f"anchor {number}: is another store's")
                continue
            if standing and _goes_back(head, standing[-1][0]):
                self._excuse(standing, head, notes_of(head.sequence))
            standing.append((head, number))
        self._ahead = standing[::-1]

    def take(self, header_hash: bytes) -> None:
        """Take the hash of the next batch's header."""
        self._compare_empty()
        self._tree.append(header_leaf(header_hash))
        size = self._tree.size
        while self._ahead and self._ahead[-1][0].sequence == size:
            head, number = self._ahead.pop()
            if head.header_hash != header_hash:
                self._tell(number, f"batch {size} is another one than was signed: it, or one before it, was changed")
            elif head.tree_root != self._tree.root:
                self._tell(number, f"the batches up to {size} are not those that were signed")

    def finish(self) -> AnchorReport:
        """Return what was found, once all batches have been taken."""
        self._compare_empty()
        for head, number in reversed(self._ahead):
            self._tell(
                number, f"batch {head.sequence} was signed, the store ends with {self._tree.size}: the rest is lost"
            )
        return self.report

    def _compare_empty(self) -> None:
        while self._ahead and self._ahead[-1][0].sequence <= 0:
            self._ahead.pop()

    def _tell(self, number: int, fault: str) -> None:
        self.report.faults.append(f"anchor {number}: {fault}")

    def _excuse(self, standing: list[tuple[Head, int]], head: Head, notes: Sequence[str]) -> None:
        """Leave out anchors of batches whose loss a note in the batch of this later anchor accounts for."""
        if lost_tail_note(head.sequence - 1, standing[-1][0]) not in notes:
            self.report.faults.append(
                f"anchor {self.report.count}: goes back from batch {standing[-1][0].sequence} to {head.sequence}, and "
                "no note in the books says that the end was lost"
            )
        while standing and standing[-1][0].sequence >= head.sequence:
            standing.pop()
            self.report.lost += 1


def _goes_back(head: Head, before: Head) -> bool:
    """Return whether a head leaves out what one before it had; a later start may sign the same batch once more."""
    if head.sequence == before.sequence:
        return head.header_hash != before.header_hash
    return head.sequence < before.sequence


def find_total_faults(
    checkpoint: Checkpoint, sums: Mapping[tuple[str, str], int], accounts_root: bytes
) -> Iterator[str]:
    """Return how a checkpoint differs from the totals and the accounts root that the books give for its moment."""
    found = checkpoint.sums
    for book, name in sorted(found.keys() | sums.keys()):
        signed, counted = found.get((book, name), 0), sums.get((book, name), 0)
        if signed != counted:
            yield f"the last anchor says that {book} {name} was {signed}, the books give {counted}"
    if checkpoint.accounts_root != accounts_root:
        yield "the last anchor commits to other balances than the books give for its moment"
