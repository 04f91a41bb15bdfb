"""Wallets: hexadecimal digits, files, keystores, words."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

from tallygate.core.address import address_from_public_key
from tallygate.core.signing import SigningKey
from tallygate.direct.errors import WalletError
from tallygate.direct.keystore import decrypt_secret, encrypt_secret
from tallygate.direct.mnemonic import COIN_TYPE_COSMOS, COIN_TYPE_GONKA, new_words, secret_from_words
from tallygate.direct.wallet import (
    new_secret,
    new_wallet,
    parse_secret,
    wallet_from_environment,
    wallet_from_file,
    write_wallet_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "c0ffee254729296a45a3885639ac7e10f9d54979aa1bb7b2d9b4f6c6d1e8a001"
ADDRESS = "gonka1f2dl0qk3qxyjak73ktwkec7ge99nusyskwldtf"

# The words of the Cosmos SDK's own test faucet, their account there, and BIP-39's first test vector.
FAUCET_WORDS = (
    "economy stock theory fatal elder harbor betray wasp final emotion task crumble siren bottom lizard educate guess "
    "current outdoor pair theory focus wife stone"
)
FAUCET_ADDRESS = "cosmos1pkptre7fdkl6gfrzlesjjvhxhlc3r4gmmk8rs6"


def fail(act: Callable[[], object]) -> str:
    """Return what a wallet that cannot be used says, with all that its traceback would show."""
    with pytest.raises(WalletError) as caught:
        act()
    return "".join(traceback.format_exception(caught.value))


def test_words_of_cosmos_wallets_are_their_accounts() -> None:
    """With coin type 118, the words of a known Cosmos account give the key of that account."""
    key = SigningKey(secret_from_words(FAUCET_WORDS, COIN_TYPE_COSMOS))

    assert address_from_public_key(key.public_key, "cosmos") == FAUCET_ADDRESS


def test_coin_types_are_different_accounts() -> None:
    """The same words are one account by the network's coin type and another by that of Cosmos wallets."""
    assert secret_from_words(FAUCET_WORDS) == secret_from_words(FAUCET_WORDS, COIN_TYPE_GONKA)
    assert secret_from_words(FAUCET_WORDS) != secret_from_words(FAUCET_WORDS, COIN_TYPE_COSMOS)


def test_fresh_words_are_a_wallet() -> None:
    """24 fresh words give the same key however they are spaced and written, and others another."""
    words = new_words()

    assert len(words.split()) == 24
    assert secret_from_words(f"  {words.upper()}\n") == secret_from_words(words)
    assert secret_from_words(new_words()) != secret_from_words(words)


@pytest.mark.parametrize("words", ["", "secretword", FAUCET_WORDS.replace("stone", "wife"), f"{FAUCET_WORDS} stone"])
def test_what_is_no_mnemonic_is_refused_and_not_shown(words: str) -> None:
    """Wrong words are refused without one of them in the error."""
    said = fail(lambda: secret_from_words(words))

    assert "12 to 24" in said
    assert "secretword" not in said
    assert "economy" not in said


def test_a_keystore_opens_with_its_passphrase_only() -> None:
    """A keystore gives the key back for its passphrase; for another, or damaged, it gives nothing away."""
    text = encrypt_secret(bytes.fromhex(SECRET), "open sesame")

    assert decrypt_secret(text, "open sesame", "file") == bytes.fromhex(SECRET)
    assert decrypt_secret(f"\n{text}\n", "open sesame", "file") == bytes.fromhex(SECRET)
    assert SECRET not in text
    assert "passphrase is wrong" in fail(lambda: decrypt_secret(text, "open says me", "file"))
    lines = text.splitlines()
    damaged = "\n".join([*lines[:3], lines[3][::-1], *lines[4:]])
    assert "damaged" in fail(lambda: decrypt_secret(damaged, "open sesame", "file"))
    assert "not a keystore" in fail(lambda: decrypt_secret(SECRET, "open sesame", "file"))
    assert "needs a passphrase" in fail(lambda: encrypt_secret(bytes(32), ""))


def test_a_wallet_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """A wallet's file is made 0600, read back, never written over, and refused once others can read it."""
    path = tmp_path / "wallet"
    write_wallet_file(path, f"{SECRET}\n")

    assert path.stat().st_mode & 0o777 == 0o600
    assert wallet_from_file(path).address == ADDRESS
    assert "left as it is" in fail(lambda: write_wallet_file(path, "other"))
    assert [found.name for found in tmp_path.iterdir()] == ["wallet"]
    path.chmod(0o640)
    assert f"chmod 600 {path}" in fail(lambda: wallet_from_file(path))
    assert "does not exist" in fail(lambda: wallet_from_file(tmp_path / "gone"))
    assert "cannot be written" in fail(lambda: write_wallet_file(tmp_path / "gone" / "x", ""))


def test_the_environment_holds_a_wallet() -> None:
    """`GONKA_PRIVATE_KEY` is the wallet, and `GONKA_ADDRESS`, where it is set, has to be its own."""
    other = new_wallet().address

    assert wallet_from_environment({"GONKA_PRIVATE_KEY": f"0x{SECRET}\n"}).address == ADDRESS
    assert wallet_from_environment({"GONKA_PRIVATE_KEY": SECRET, "GONKA_ADDRESS": ADDRESS}).address == ADDRESS
    said = fail(lambda: wallet_from_environment({"GONKA_PRIVATE_KEY": SECRET, "GONKA_ADDRESS": other}))
    assert ADDRESS in said
    assert other in said
    assert "GONKA_PRIVATE_KEY is not set" in fail(lambda: wallet_from_environment({"GONKA_PRIVATE_KEY": " "}))


@pytest.mark.parametrize("text", [SECRET[:-1], f"{SECRET}0", "00" * 32, "ff" * 32, "my dear key"])
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    """A text that is no private key is refused without any of it in the error."""
    said = fail(lambda: parse_secret(text, "The file"))

    assert "The file holds no private key" in said
    assert text not in said


def test_fresh_keys_differ() -> None:
    """Each new wallet has a key of its own."""
    assert len({new_secret() for _ in range(20)}) == 20
