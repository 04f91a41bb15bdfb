"""The system's randomness, as everything that mints ids and secrets draws it."""

from __future__ import annotations

import os


class EntropyPool:
    """Random bytes from the system, drawn in larger pieces since every draw is a system call."""

    PIECE_BYTES = 4096

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """Return so many random bytes."""
        if self._used + count > len(self._bytes):
            self._bytes, self._used = os.urandom(max(self.PIECE_BYTES, count)), 0
        begin = self._used
        self._used += count
        return self._bytes[begin : self._used]
