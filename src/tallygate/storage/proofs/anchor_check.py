"""The proof that a store is the one that its anchors know: every signature, every anchored batch, the last balances.

One pass over the headers, beside the replay of the entries, which it leaves to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger.entry import MalformedEntryError
from tallygate.core.proofs.anchoring import Anchoring, AnchorReport, find_total_faults
from tallygate.core.proofs.balances import BalanceTree
from tallygate.core.proofs.checkpoint import is_signed
from tallygate.core.proofs.totals import Totals
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.proofs.anchors import read_anchors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallygate.core.proofs.checkpoint import Checkpoint, CheckpointKey
    from tallygate.storage.proofs.archive import Archive


def check_anchors(archive: Archive, path: Path, key: CheckpointKey) -> AnchorReport:
    """Return what the anchors say of a store, and what does not fit.

    Raises:
        AnchorError: They cannot be read.
        NotAStoreError: The store cannot be read.
    """
    faults: list[str] = []
    anchoring = Anchoring(archive.head().writer, _read_checkpoints(path, key, faults), archive.notes)
    for header_hash in archive.header_hashes():
        anchoring.take(header_hash)
    report = anchoring.finish()
    report.faults[:0] = faults
    last = report.last
    if last is not None and not report.faults:  # else there is no moment to compare
        try:
            past = archive.past(last.heads[0].sequence)
        except (MalformedEntryError, NotAStoreError) as error:  # the replay of the entries says which one
            report.faults.append(f"the last anchor's totals cannot be compared: {error}")
            return report
        available = sum(balance[1] for balance in past.balances)
        held = sum(balance[2] for balance in past.balances)
        sums = Totals(past.sums).with_customers(available, held)
        root = BalanceTree(key.secret, last.time_ns, past.balances).root
        report.faults += find_total_faults(last, sums, root)
    return report


def _read_checkpoints(path: Path, key: CheckpointKey, faults: list[str]) -> Iterator[Checkpoint]:
    """Yield what was anchored line by line, since years of it are hundreds of thousands; tell what is no anchor."""
    damaged = None
    for number, anchor in enumerate(read_anchors(path), 1):
        if damaged is not None:  # the last one may have been torn by a crash
            faults.append(f"anchor {damaged}: the line is damaged")
        damaged = number if anchor is None else None
        if anchor is not None:
            if not is_signed(anchor.signed, key.public):
                faults.append(f"anchor {number}: is not signed with the checkpoint key")
            yield anchor.checkpoint
