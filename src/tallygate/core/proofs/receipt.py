"""What a customer can take away and check without us: the receipt of an inference, and the proof of a balance.

Each is one JSON document; bytes are base64 in it. What is signed and hashed are those bytes, so no number ever passes
through JSON. `verdict` says what a document proves.

A receipt holds the entries of one inference in the order of the books (the price sheet that was in force, the hold,
its attempts, its ending), and for each of them the way to a signed checkpoint:

    entry --path--> root in the batch's header --hash--> leaf --path--> tree root in the checkpoint --> signature

A balance proof holds the leaf of one account (`balances`) and its path to the accounts root in the checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tallygate.core.proofs.checkpoint import SignedCheckpoint  # noqa: TC001  (msgspec reads the annotations)

if TYPE_CHECKING:
    from tallygate.core.proofs.balances import BalanceTree

RECEIPT: Final = "tallygate-receipt-1"
BALANCE: Final = "tallygate-balance-1"
DOCUMENT_BYTES_MAX: Final = 16 << 20
"""The largest document that is read: a sheet of thousands of prices and a hundred attempts take far less."""


class EntryProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry and its way to a checkpoint.

    Attributes:
        entry: The bytes of the entry.
        index: Its number in its batch, from 0.
        path: From the entry's leaf to the root in the header.
        header: The bytes of its batch's header.
        header_path: From the header's leaf to the root of its writer's tree. Its number there is its sequence less 1.
    """

    entry: bytes
    index: int
    path: list[bytes]
    header: bytes
    header_path: list[bytes]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag=RECEIPT):
    """All of one inference, under one checkpoint; `public_key` in hexadecimal digits, for convenience only."""

    inference: str
    entries: list[EntryProof]
    checkpoint: SignedCheckpoint
    public_key: str


class BalanceProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag=BALANCE):
    """One account's balance at a checkpoint.

    Attributes:
        leaf: `[salt, account, available, held, account sequence]` as MessagePack.
        index: Its place in the tree, from 0.
        size: How many accounts there are.
        path: From the leaf to the accounts root.
        checkpoint: The checkpoint.
        public_key: In hexadecimal digits, for convenience only.
    """

    leaf: bytes
    index: int
    size: int
    path: list[bytes]
    checkpoint: SignedCheckpoint
    public_key: str


class MalformedDocumentError(ValueError):
    """A text is neither a receipt nor a balance proof."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Receipt | BalanceProof).decode


def encode_document(document: Receipt | BalanceProof) -> bytes:
    """Return a document as JSON."""
    return _encode(document)


def decode_document(text: bytes) -> Receipt | BalanceProof:
    """Return the document of a JSON text.

    Raises:
        MalformedDocumentError: It is none.
    """
    try:
        document: Receipt | BalanceProof = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocumentError(f"neither a receipt nor a balance proof: {error}") from None
    return document


def prove_balance(tree: BalanceTree, account: str, signed: SignedCheckpoint, public_key: bytes) -> BalanceProof | None:
    """Return the proof of an account's balance, None where the checkpoint does not know the account."""
    place = tree.place(account)
    if place is None:
        return None
    return BalanceProof(tree.leaf(place), place, tree.size, tree.path(place), signed, public_key.hex())
