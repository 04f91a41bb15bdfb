"""Secrets of an installation that are made once and kept in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES: Final = 32


class SecretFileError(Exception):
    """A secret file cannot be used; says what to do about it, never what is in it."""


def read_or_make_secret(path: Path) -> bytes:
    """Return the secret of a file, which is made with fresh random bytes where it is missing.

    Raises:
        SecretFileError: The file can be read by others, or does not hold a secret of ours.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_mode & 0o077:
            raise SecretFileError(f"{path} can be read by others; run: chmod 600 {path}")
        text = path.read_text("ascii", errors="replace").strip()
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise SecretFileError(f"{path} does not hold {SECRET_BYTES} bytes in hexadecimal digits")
        return secret
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = os.urandom(SECRET_BYTES)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret
