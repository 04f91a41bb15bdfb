"""Wallets from the words of a mnemonic (BIP-39), by the paths of BIP-44 (BIP-32 keys).

The network's own command line derives with coin type 1200, wallets such as Keplr and Cosmostation with 118: the same
words are two accounts, so whoever imports words has to know where they were made.
"""

from __future__ import annotations

import secrets
from typing import Final

from mnemonic import Mnemonic
from slip10 import SLIP10  # type: ignore[import-untyped]

from tallygate.direct.errors import WalletError

COIN_TYPE_GONKA: Final = 1200
COIN_TYPE_COSMOS: Final = 118
_ENTROPY_BYTES: Final = 32  # 24 words, as the network's own command line makes


def new_words() -> str:
    """Return 24 fresh words."""
    return Mnemonic("english").to_mnemonic(secrets.token_bytes(_ENTROPY_BYTES))


def secret_from_words(words: str, coin_type: int = COIN_TYPE_GONKA) -> bytes:
    """Return the private key at `m/44'/coin_type'/0'/0/0`.

    Args:
        words: The English words.
        coin_type: 1200 as the network's command line derives, 118 as Keplr and its kin.

    Raises:
        WalletError: They are no mnemonic; never shows one of them.
    """
    plain = " ".join(words.lower().split())
    if not Mnemonic("english").check(plain):
        raise WalletError(
            "These words are no mnemonic: it is 12 to 24 English words of the BIP-39 list, in their order; one of them "
            "may be missing or misspelt."
        )
    tree = SLIP10.from_seed(Mnemonic.to_seed(plain))
    secret: bytes = tree.get_privkey_from_path(f"m/44'/{coin_type}'/0'/0/0")
    return secret
