"""The anchors: every checkpoint that was signed, one JSON line each, in a file of its own beside the store.

    {"body": base64, "sig": base64, "key_id": "…"}

A line is appended, and synced, only after the batches that it describes are durable in the store. So an anchor that
knows more than the store is proof that the store has lost its end, or was put back from an older copy; one that knows
another batch in a place is proof that the books were rewritten. Put the file on another disk, and copy it elsewhere.

A crash may leave the last line torn; it was never reported as kept, is told, and is cut off by the next one. What is
wrong with any other line is damage. Nothing else is ever cut off: lines that somebody else has added, or taken away,
while the file is in use, are evidence, and no line is added to those.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import msgspec

from tallygate.core.proofs.checkpoint import (
    Checkpoint,
    MalformedCheckpointError,
    SignedCheckpoint,
    decode_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAIL_BYTES: Final = 1 << 20
"""How much of the end is read to find the last line, a line of one writer has some 600 bytes."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SignedCheckpoint).decode


class AnchorError(Exception):
    """The anchors cannot be used, or contradict the store; says what to do about it."""


class Anchor(NamedTuple):
    """One line."""

    signed: SignedCheckpoint
    checkpoint: Checkpoint


class AnchorFile:
    """The file of anchors, as its one writer has it.

    Args:
        path: The file; it is made with the first anchor, its folder is not.

    Raises:
        AnchorError: It cannot be read, or its end is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: Anchor | None = None
        self.torn_bytes = 0
        self._leftover = b""  # what a crash, or a failed append, has left behind the last line
        try:
            self._size = self._find_end()
        except OSError as error:
            raise AnchorError(f"the anchors {path} cannot be read: {error.strerror}") from None

    def append(self, signed: SignedCheckpoint) -> None:
        """Keep an anchor, durably; blocks.

        Raises:
            AnchorError: It cannot be kept, and what the disk has of it counts for nothing; or somebody else has
                changed the file.
        """
        line = _encode(signed) + b"\n"
        try:
            is_new = not self.path.exists()
            if is_new and self._size:
                raise self._shortened()
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o644)
            with os.fdopen(descriptor, "r+b") as file:
                self._check_end(file)
                file.truncate(self._size)  # what a crash or a full disk has left of a line
                self._leftover = line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise AnchorError(f"the anchors {self.path} cannot be written: {error.strerror}") from None
        self._size += len(line)
        self._leftover = b""
        self.last = Anchor(signed, decode_checkpoint(signed.body))

    def _check_end(self, file: BinaryIO) -> None:
        """Refuse a file that does not end as this process has left it; leave it at the end of the last line."""
        if file.seek(0, os.SEEK_END) < self._size:
            raise self._shortened()
        file.seek(self._size)
        if not self._leftover.startswith(file.read()):
            raise AnchorError(
                f"another process is adding to the anchors {self.path}: a copy of the store may be going on somewhere. "
                "Stop one of the two, and see what `tallygate verify` says"
            )
        file.seek(self._size)

    def _shortened(self) -> AnchorError:
        return AnchorError(
            f"the anchors {self.path} are shorter than they were, or gone: put what was taken away back, or start anew"
        )

    def _find_end(self) -> int:
        """Find the last whole line; return where it ends."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(size - TAIL_BYTES, 0)
            file.seek(begin)
            tail = file.read()
        lines = tail.splitlines(keepends=True)
        if begin:
            del lines[0]  # the end of a line that began before
        end = size
        for line in reversed(lines[-2:]):
            if (anchor := _read(line)) is not None:
                self.last = anchor
                break
            end -= len(line)
        if self.last is None and end > 0:
            raise AnchorError(f"the anchors {self.path} are damaged at their end; put a copy of the file in its place")
        self.torn_bytes = size - end
        self._leftover = tail[len(tail) - self.torn_bytes :]
        return end


def read_anchors(path: Path) -> Iterator[Anchor | None]:
    """Yield every anchor in its order, None for a line that is none.

    Raises:
        AnchorError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                yield _read(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise AnchorError(f"the anchors {path} cannot be read: {error.strerror}") from None


def _read(line: bytes) -> Anchor | None:
    if not line.endswith(b"\n"):
        return None
    try:
        signed = _decode(line)
        return Anchor(signed, decode_checkpoint(signed.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedCheckpointError):
        return None


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
