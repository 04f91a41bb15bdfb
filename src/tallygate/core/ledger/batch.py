"""What one commit writes, sealed: a Merkle tree over the entries and a header that chains to the one before.

    leaf        = SHA-256(0x00 || entry bytes), in commit order
    inner node  = SHA-256(0x01 || left || right), the shape of RFC 6962
    header      = [1, writer, epoch, sequence, previous, root, entry_count, time_ns] as MessagePack
    header hash = SHA-256(header bytes)

`previous` is the header hash before it, 32 zero bytes for the first. `sequence` counts a writer's batches without
gap and never restarts; `epoch` grows by one each time the writer starts. There is no empty batch.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

GENESIS: Final = bytes(32)
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


class Header(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The sealed summary of one batch; the fields in the order of their bytes."""

    format: int
    writer: bytes
    epoch: int
    sequence: int
    previous: bytes
    root: bytes
    entry_count: int
    time_ns: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header).decode


class MalformedHeaderError(ValueError):
    """Bytes are not a batch header in its one canonical form."""


def leaf_hash(entry_bytes: bytes) -> bytes:
    """Return an entry's leaf in the tree of its batch."""
    return sha256(_LEAF + entry_bytes).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes in the shape of RFC 6962: the left half is the largest power of two.

    Folding neighbours level by level, with an odd last one carried up, gives that very shape.
    """
    if not leaves:
        raise ValueError("a batch has at least one entry")
    level = list(leaves)
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        level = [sha256(_NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def encode_header(header: Header) -> bytes:
    """Return the canonical bytes of a header."""
    return _encode(header)


def header_hash(header_bytes: bytes) -> bytes:
    """Return the hash by which the next batch refers to this one."""
    return sha256(header_bytes).digest()


def decode_header(header_bytes: bytes) -> Header:
    """Return the header of canonical bytes.

    Raises:
        MalformedHeaderError: The bytes are no header, or are written otherwise than we would write them.
    """
    try:
        header = _decode(header_bytes)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedHeaderError(f"not a batch header: {error}") from None
    if header.format != 1 or _encode(header) != header_bytes:
        raise MalformedHeaderError("not a batch header in canonical form")
    return header
