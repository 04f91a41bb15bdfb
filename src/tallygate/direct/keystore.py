"""An encrypted keystore: a private key in an age file (age-encryption.org), opened by a passphrase.

The key derivation (scrypt) takes about a second on purpose. The file is text, and `age --decrypt` opens it, too, so
that nobody depends on this program to get at their money.
"""

from __future__ import annotations

from typing import Any

import pyrage  # type: ignore[import-untyped]

from tallygate.direct.errors import WalletError
from tallygate.direct.wallet import parse_secret

_HEADER = "-----BEGIN AGE ENCRYPTED FILE-----"
_passphrase: Any = pyrage.passphrase


def encrypt_secret(secret: bytes, passphrase: str) -> str:
    """Return the text of a keystore.

    Raises:
        WalletError: The passphrase is empty.
    """
    if not passphrase:
        raise WalletError("A keystore needs a passphrase.")
    text: bytes = _passphrase.encrypt(f"{secret.hex()}\n".encode("ascii"), passphrase, armored=True)
    return text.decode("ascii")


def decrypt_secret(text: str, passphrase: str, source: str) -> bytes:
    """Return the private key of a keystore.

    Raises:
        WalletError: It is no keystore, or another passphrase opens it.
    """
    if not text.lstrip().startswith(_HEADER):
        raise WalletError(f"{source} is not a keystore: one begins with {_HEADER}.")
    try:
        opened: bytes = _passphrase.decrypt(text.strip().encode("ascii") + b"\n", passphrase)
    except pyrage.DecryptError:
        raise WalletError(f"{source} cannot be opened: the passphrase is wrong, or the file is damaged.") from None
    return parse_secret(opened.decode("ascii", "replace"), source)
