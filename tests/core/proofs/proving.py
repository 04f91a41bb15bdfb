"""Checkpoints, receipts and balance proofs over the batches of a `World`, put together by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import decode_header, header_hash
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.merkle import leaf_hash, merkle_root, path_among
from tallygate.core.proofs.balances import BalanceTree
from tallygate.core.proofs.checkpoint import Checkpoint, CheckpointKey, Head, SignedCheckpoint, header_leaf
from tallygate.core.proofs.receipt import EntryProof, Receipt
from tallygate.core.proofs.totals import Totals, write_totals

if TYPE_CHECKING:
    from tests.core.ledger.world import Batches

KEY = CheckpointKey(bytes(range(32)))
OTHER_KEY = CheckpointKey(bytes(range(1, 33)))
TIME_NS = 10**18 + 5


def leaves_of(batches: Batches) -> list[bytes]:
    """Return the leaves of the writer's tree."""
    return [header_leaf(header_hash(header)) for header, _ in batches]


def commit_to_balances(batches: Batches, time_ns: int = TIME_NS) -> BalanceTree:
    """Return the tree of balances after these batches."""
    balances: dict[str, tuple[int, int, int]] = {}
    for _, raws in batches:
        for entry in map(decode_entry, raws):
            if entry.account is not None:
                balances[entry.account] = (
                    entry.available_after or 0,
                    entry.held_after or 0,
                    entry.account_sequence or 0,
                )
    return BalanceTree(KEY.secret, time_ns, [(account, *amounts) for account, amounts in balances.items()])


def make_checkpoint(batches: Batches, time_ns: int = TIME_NS) -> Checkpoint:
    """Return the checkpoint after these batches."""
    totals: dict[tuple[str, str], int] = {}
    kept = Totals()
    for _, raws in batches:
        for entry in map(decode_entry, raws):
            kept.take(entry)
            for _, name, amount in entry.postings:
                if name.startswith("account/"):
                    key = (e.USD, name.rsplit("/", 1)[1])
                    totals[key] = totals.get(key, 0) + amount
    header = decode_header(batches[-1][0])
    head = Head(
        header.writer,
        header.epoch,
        header.sequence,
        header_hash(batches[-1][0]),
        len(batches),
        merkle_root(leaves_of(batches)),
    )
    accounts_root = commit_to_balances(batches, time_ns).root
    return Checkpoint(1, time_ns, (head,), write_totals({**kept.sums, **totals}), accounts_root)


def sign(batches: Batches) -> SignedCheckpoint:
    """Return the signed checkpoint after these batches."""
    return KEY.sign(make_checkpoint(batches))


def make_receipt(batches: Batches, inference: str, *, sheet: bool = True) -> Receipt:
    """Return the receipt of an inference, with or without the sheet that priced it."""
    proofs: list[EntryProof] = []
    sheets: dict[int | None, EntryProof] = {}
    for number, (header, raws) in enumerate(batches):
        for index, raw in enumerate(raws):
            entry = decode_entry(raw)
            path = path_among([leaf_hash(other) for other in raws], index)
            proof = EntryProof(raw, index, path, header, path_among(leaves_of(batches), number))
            if entry.kind == e.SHEET:
                sheets[entry.sheet_version] = proof
            elif entry.inference == inference:
                if entry.kind == e.HOLD and sheet:
                    proofs.append(sheets[entry.sheet_version])
                proofs.append(proof)
    return Receipt(inference, proofs, sign(batches), KEY.public.hex())
