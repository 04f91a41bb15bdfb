"""What one commit writes, sealed: a Merkle tree over the entries and a header that chains to the one before.

    root        = over the entries' bytes in commit order (`merkle`)
    header      = [1, writer, epoch, sequence, previous, root, entry_count, time_ns] as MessagePack
    header hash = SHA-256(header bytes)

`previous` is the header hash before it, 32 zero bytes for the first. `sequence` counts a writer's batches without
gap and never restarts; `epoch` grows by one each time the writer starts. There is no empty batch.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

GENESIS: Final = bytes(32)


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
