"""What a receipt or a balance proof proves, in words: checked from its bytes and a public key, with nothing else.

A document proves that its bytes were in the books when the checkpoint was signed, what was held, counted and charged,
and, by the price sheet that comes with it, that the charge is what those tokens cost. It cannot prove that nothing
was left out of it, that the network produced those tokens, that the operator has shown everybody the same books, or
that there is money behind a balance.

A fault is told in words and never raised: a forger decides what is in a document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.audit.problems import Problems
from tallygate.core.audit.rules import read_moves
from tallygate.core.ledger.batch import MalformedHeaderError, decode_header, header_hash
from tallygate.core.ledger.entry import MalformedEntryError, decode_entry, entry_id
from tallygate.core.ledger.merkle import is_proved, leaf_hash
from tallygate.core.money import format_usd
from tallygate.core.proofs.balances import MalformedBalanceError, decode_balance
from tallygate.core.proofs.checkpoint import (
    Checkpoint,
    MalformedCheckpointError,
    SignedCheckpoint,
    decode_checkpoint,
    header_leaf,
    is_signed,
)
from tallygate.core.proofs.receipt import Receipt
from tallygate.core.proofs.story import Story
from tallygate.core.proofs.totals import find_imbalance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallygate.core.ledger.entry import Entry
    from tallygate.core.proofs.receipt import BalanceProof, EntryProof


class Verdict(NamedTuple):
    """What a document proves, if nothing is wrong with it.

    Attributes:
        subject: What it is about.
        facts: What it proves.
        faults: What is wrong with it; with any, it proves nothing.
        checkpoint: The checkpoint that it leans on, None where that cannot be read.
    """

    subject: str
    facts: list[str]
    faults: list[str]
    checkpoint: Checkpoint | None

    @property
    def is_proof(self) -> bool:
        """Whether the document proves its facts."""
        return not self.faults


class _Place(NamedTuple):
    """Where in the books an entry is."""

    writer: bytes
    sequence: int
    number: int


def judge(document: Receipt | BalanceProof, public_key: bytes) -> Verdict:
    """Return what a document proves to somebody who trusts that a public key is the operator's."""
    signed = document.checkpoint
    try:
        checkpoint = decode_checkpoint(signed.body)
    except MalformedCheckpointError as error:
        return Verdict("", [], [str(error)], None)
    faults = list(_find_checkpoint_faults(checkpoint, signed, public_key))
    if isinstance(document, Receipt):
        subject, facts, found = _judge_receipt(document, checkpoint)
    else:
        subject, facts, found = _judge_balance(document, checkpoint)
    return Verdict(subject, facts, faults + found, checkpoint)


def _find_checkpoint_faults(checkpoint: Checkpoint, signed: SignedCheckpoint, public_key: bytes) -> Iterator[str]:
    if not is_signed(signed, public_key):
        yield "the checkpoint is not signed with this public key"
    for book, total in find_imbalance(checkpoint.sums).items():
        yield f"the checkpoint's {book} book sums to {total}, not to zero"


def _judge_balance(proof: BalanceProof, checkpoint: Checkpoint) -> tuple[str, list[str], list[str]]:
    try:
        balance = decode_balance(proof.leaf)
    except MalformedBalanceError as error:
        return "balance", [], [str(error)]
    subject = f"balance of account {balance.account}"
    if not is_proved(leaf_hash(proof.leaf), proof.index, proof.size, proof.path, checkpoint.accounts_root):
        return subject, [], ["the balance is not under the checkpoint's accounts root"]
    fact = (
        f"account {balance.account} had ${format_usd(balance.available)} available "
        f"and ${format_usd(balance.held)} held, after {balance.account_sequence} entries"
    )
    return subject, [fact], []


def _judge_receipt(receipt: Receipt, checkpoint: Checkpoint) -> tuple[str, list[str], list[str]]:
    faults: list[str] = []
    entries: list[tuple[Entry, bytes]] = []
    last: dict[bytes, _Place] = {}
    for number, proof in enumerate(receipt.entries):
        try:
            entry, place = _locate(proof, checkpoint)
        except (MalformedEntryError, MalformedHeaderError, _UnprovedError) as error:
            faults.append(f"entry {number}: {error}")
            continue
        if place.writer in last and place <= last[place.writer]:
            faults.append(f"entry {number}: is not in the order of the books")
        last[place.writer] = place
        problems = Problems()
        read_moves(entry, problems.add)
        faults += (f"entry {number} ({entry.kind}): {fault}" for fault in problems.listed)
        entries.append((entry, entry_id(proof.entry)))
    subject = f"inference {receipt.inference}"
    if faults:
        return subject, [], faults
    story = Story(receipt.inference)
    for number, (entry, this_id) in enumerate(entries):
        faults += (f"entry {number} ({entry.kind}): {fault}" for fault in story.take(entry, this_id))
    return subject, list(story.tell()), [*faults, *story.finish()]


class _UnprovedError(Exception):
    """An entry is not under the checkpoint."""


def _locate(proof: EntryProof, checkpoint: Checkpoint) -> tuple[Entry, _Place]:
    """Return an entry and its place in the books; raises unless that is proved."""
    entry = decode_entry(proof.entry)
    header = decode_header(proof.header)
    if not is_proved(leaf_hash(proof.entry), proof.index, header.entry_count, proof.path, header.root):
        raise _UnprovedError("is not under its batch's root")
    head = checkpoint.head_of(header.writer)
    leaf, index = header_leaf(header_hash(proof.header)), header.sequence - 1
    if head is None or not is_proved(leaf, index, head.tree_size, proof.header_path, head.tree_root):
        raise _UnprovedError("its batch is not under the checkpoint")
    if (entry.writer, entry.epoch) != (header.writer, header.epoch):
        raise _UnprovedError("carries another writer or epoch than its batch")
    return entry, _Place(header.writer, header.sequence, proof.index)
