"""Wallets: where a developer's private key is, and how it becomes a signing key.

In the environment (`GONKA_PRIVATE_KEY`), in a file that only its owner can read, or in an encrypted keystore
(`keystore`); or made from a mnemonic (`mnemonic`). A `SigningKey` never shows what it was made of, so exporting reads
the place again.

Invariant: no error holds what was read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tallygate.core.signing import InvalidSigningKeyError, SigningKey
from tallygate.direct.errors import WalletError
from tallygate.privatefile import UnusableFileError, read_secret_file, write_secret_file

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE = "GONKA_PRIVATE_KEY"
ADDRESS_VARIABLE = "GONKA_ADDRESS"


def new_secret() -> bytes:
    """Return a fresh private key."""
    while True:
        secret = os.urandom(32)
        if is_secret(secret):
            return secret


def new_wallet() -> SigningKey:
    """Return a wallet with a fresh key, which is kept nowhere."""
    return SigningKey(new_secret())


def is_secret(secret: bytes) -> bool:
    """Say whether bytes are a private key; all but about one in 2**128 of 32 random bytes are."""
    try:
        SigningKey(secret)
    except InvalidSigningKeyError:
        return False
    return True


def parse_secret(text: str, source: str) -> bytes:
    """Return the private key that a text spells.

    Raises:
        WalletError: It spells none; names the source, never the text.
    """
    digits = text.strip()
    try:
        SigningKey.from_hex(digits)
    except InvalidSigningKeyError as error:
        problem = str(error)
    else:
        return bytes.fromhex(digits[-64:])
    raise WalletError(f"{source} holds no private key: {problem}.")


def read_text(path: Path) -> str:
    """Return what a file of a wallet holds.

    Raises:
        WalletError: It cannot be used; says what to do.
    """
    try:
        return read_secret_file(path)
    except UnusableFileError as error:
        raise WalletError(f"{path} {error.complaint}. {error.remedy.replace('{path}', str(path))}") from None


def read_secret(path: Path) -> bytes:
    """Return the private key of a file.

    Raises:
        WalletError: It holds none.
    """
    return parse_secret(read_text(path), str(path))


def write_wallet_file(path: Path, text: str) -> None:
    """Write a new file of a wallet, which only its owner can read.

    Raises:
        WalletError: There is one, or it cannot be written.
    """
    try:
        write_secret_file(path, text)
    except FileExistsError:
        raise WalletError(f"{path} is there already, and is left as it is: name another file.") from None
    except OSError as error:
        raise WalletError(f"{path} cannot be written ({error.strerror}).") from None


def wallet_from_file(path: Path | str) -> SigningKey:
    """Return the wallet of a file with its private key in hexadecimal digits, which only its owner can read.

    Raises:
        WalletError: It holds none.
    """
    return SigningKey(read_secret(Path(path)))


def wallet_from_environment(environ: Mapping[str, str] = os.environ) -> SigningKey:
    """Return the wallet of `GONKA_PRIVATE_KEY`; an address in `GONKA_ADDRESS` has to be its own.

    Raises:
        WalletError: There is none, or the address is another wallet's.
    """
    text = environ.get(KEY_VARIABLE, "")
    if not text.strip():
        raise WalletError(f"{KEY_VARIABLE} is not set: put your private key there, as 64 hexadecimal digits.")
    wallet = SigningKey(parse_secret(text, KEY_VARIABLE))
    require_address(wallet, environ.get(ADDRESS_VARIABLE) or None)
    return wallet


def require_address(wallet: SigningKey, address: str | None) -> None:
    """Make sure that an address, if one is named, is the wallet's.

    Raises:
        WalletError: It is not.
    """
    if address not in (None, wallet.address):
        raise WalletError(
            f"The private key belongs to {wallet.address}, not to {address}: a node would refuse its signature. "
            f"Name the right address (--account-address, {ADDRESS_VARIABLE}) or the right key."
        )
