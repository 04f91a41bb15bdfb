"""Secrets of an installation that are made once and kept in a file that only its owner can read.

A secret appears under its name whole and durable, or not at all: a crash leaves no half of one, and two processes
that make it at the same time end up with the same.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from tallygate.privatefile import UnusableFileError, read_private_file, write_secret_file

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
    try:
        if not path.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster: its secret is the one
                _make_secret(path)
    except OSError as error:
        raise SecretFileError(f"{path} cannot be used: {error.strerror}") from None
    return read_secret(path)


def read_secret(path: Path) -> bytes:
    """Return the secret of a file.

    Raises:
        SecretFileError: The file is missing, can be read by others, or does not hold a secret of ours.
    """
    try:
        content = read_private_file(path)
    except UnusableFileError as error:
        # A new one would not do: what the lost one has hashed or signed is only good with it.
        remedy = error.remedy.replace("{path}", str(path)) if path.exists() else "Put a copy of it back."
        raise SecretFileError(f"{path} cannot be used: it {error.complaint}. {remedy}") from None
    try:
        secret = bytes.fromhex(content.decode("ascii", errors="replace").strip())
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise SecretFileError(f"{path} does not hold {SECRET_BYTES} bytes in hexadecimal digits")
    return secret


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_secret_file(path, os.urandom(SECRET_BYTES).hex() + "\n")
