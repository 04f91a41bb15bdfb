"""Files that hold a secret as text, and that only their owner may read: a key, a passphrase, an encrypted wallet.

Invariant: what a file holds is never in an error.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX: Final = 64 * 1024
"""More than any key has; a file beyond that was named by mistake."""


class UnusableFileError(Exception):
    """A file of a secret cannot be used.

    Attributes:
        complaint: Completes a sentence that begins with the file's name.
        remedy: What to do; `{path}` stands for the file's name.
    """

    def __init__(self, complaint: str, remedy: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.remedy = remedy


def read_secret_file(path: Path) -> str:
    """Return the text of a file that only its owner can read.

    Raises:
        UnusableFileError: It is missing, no regular file, open to others, too large, or no text.
    """
    content = read_private_file(path)
    if len(content) > FILE_BYTES_MAX or not content.isascii():
        raise UnusableFileError("does not hold a key", "Put the key into it, as one line of text.")
    return content.decode("ascii")


def read_private_file(path: Path) -> bytes:
    """Return what a file holds that only its owner can read; of one that is too large, a byte more than may be.

    Raises:
        UnusableFileError: It is missing, no regular file, or open to others.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UnusableFileError("does not exist", "Make it, or correct its name.") from None
    except OSError as error:
        raise UnusableFileError(f"cannot be opened ({error.strerror})", "Let this user read it.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFileError("is not a regular file", "Name a file that holds the secret.")
        if status.st_mode & 0o077:
            raise UnusableFileError("can be read by others", "Run: chmod 600 {path}")
        return os.read(descriptor, FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)


def write_secret_file(path: Path, text: str) -> None:
    """Write a new file that only its owner can read; whole and durable, or not at all.

    Raises:
        FileExistsError: There is one of this name; a key that is overwritten is money that is lost.
        OSError: It cannot be written.
    """
    with whole_file(path) as draft:
        draft.write_text(text, encoding="ascii")
