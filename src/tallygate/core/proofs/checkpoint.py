"""A signed summary of the books at one moment: what may be published, kept elsewhere, and held against us.

    body = [1, time_ns, [[writer, epoch, sequence, header hash, tree size, tree root], …],
            [[book, class of ledger account, total], …], accounts root]                          as MessagePack

Heads are sorted by writer and describe what is durable, nothing that is still under way. The tree of a writer has one
leaf for each of its batches, SHA-256(0x00 || header hash), so that its size is the sequence of its last batch.
Totals are those of `totals`, the accounts root is that of `balances`.

The signature is Ed25519 over the body's bytes, by the checkpoint key, which signs nothing else. The key's id is the
first 16 hexadecimal digits of the SHA-256 of its 32 public bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tallygate.core.ledger.merkle import HASH_BYTES, leaf_hash
from tallygate.core.proofs.totals import MalformedTotalsError, WrittenTotal, read_totals

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
WRITER_BYTES: Final = 16
KEY_BYTES: Final = 32


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How far one writer had come; the fields in the order of their bytes."""

    writer: bytes
    epoch: int
    sequence: int
    header_hash: bytes
    tree_size: int
    tree_root: bytes


class Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    """The books at one moment; the fields in the order of their bytes."""

    format: int
    time_ns: int
    heads: tuple[Head, ...]
    totals: tuple[WrittenTotal, ...]
    accounts_root: bytes

    @property
    def sums(self) -> Mapping[tuple[str, str], int]:
        """The totals by book and class."""
        return read_totals(self.totals)

    def head_of(self, writer: bytes) -> Head | None:
        """Return how far a writer had come."""
        return next((head for head in self.heads if head.writer == writer), None)


class SignedCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint's bytes with their signature: a line of the anchors, and the end of every receipt."""

    body: bytes
    sig: bytes
    key_id: str


class MalformedCheckpointError(ValueError):
    """Bytes are not a checkpoint in its one canonical form."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the canonical bytes of a checkpoint."""
    return _encode(checkpoint)


def decode_checkpoint(body: bytes) -> Checkpoint:
    """Return the checkpoint of canonical bytes.

    Raises:
        MalformedCheckpointError: The bytes are no checkpoint, or are written otherwise than we would write them.
    """
    try:
        checkpoint = _decode(body)
        read_totals(checkpoint.totals)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedTotalsError) as error:
        raise MalformedCheckpointError(f"not a checkpoint: {error}") from None
    writers = [head.writer for head in checkpoint.heads]
    sizes = {(len(head.writer), len(head.header_hash), len(head.tree_root)) for head in checkpoint.heads}
    if checkpoint.format != FORMAT or _encode(checkpoint) != body:
        raise MalformedCheckpointError("not a checkpoint in canonical form")
    if sizes - {(WRITER_BYTES, HASH_BYTES, HASH_BYTES)} or len(checkpoint.accounts_root) != HASH_BYTES:
        raise MalformedCheckpointError("a hash or a writer of the checkpoint has another length than it should")
    if not writers or writers != sorted(set(writers)):
        raise MalformedCheckpointError("the checkpoint's writers are none, or not in their order")
    if any(head.tree_size != head.sequence or head.sequence < 0 for head in checkpoint.heads):
        raise MalformedCheckpointError("a writer's tree has another size than it has batches")
    return checkpoint


def header_leaf(header_hash: bytes) -> bytes:
    """Return what stands for a batch in the tree of its writer."""
    return leaf_hash(header_hash)


def key_id_of(public_key: bytes) -> str:
    """Return the short name of a public key."""
    return sha256(public_key).hexdigest()[:16]


class CheckpointKey:
    """The key that signs checkpoints.

    Args:
        secret: Its 32 secret bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.secret = secret
        self.public = self._key.public_key().public_bytes_raw()
        self.id = key_id_of(self.public)

    def __repr__(self) -> str:
        return f"CheckpointKey({self.id})"

    def sign(self, checkpoint: Checkpoint) -> SignedCheckpoint:
        """Return a checkpoint with its signature."""
        body = encode_checkpoint(checkpoint)
        return SignedCheckpoint(body, self._key.sign(body), self.id)


def is_signed(signed: SignedCheckpoint, public_key: bytes) -> bool:
    """Return whether a checkpoint was signed with a key, given its 32 public bytes."""
    if signed.key_id != key_id_of(public_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.sig, signed.body)
    except (InvalidSignature, ValueError):
        return False
    return True
