"""Addresses, keys and signatures against the protocol's vectors."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tallygate.devnet.identity import (
    GROUP_ORDER,
    Identity,
    Ripemd160MissingError,
    derive_address,
    is_address,
    is_public_key,
    is_signed_by,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signing_vectors.json").read_text())
REQUESTS = [*VECTORS["scheme_raw_v0_2_5_and_older"], *VECTORS["scheme_hash_v0_2_6_plus"]]


@pytest.mark.parametrize("vector", REQUESTS)
def test_derives_every_vectors_address(vector: dict[str, Any]) -> None:
    """An address follows from the public key exactly as in the official SDK."""
    address = derive_address(bytes.fromhex(vector["public_key_hex"]))
    assert address == vector["requester_address"]
    assert is_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gonka1",
        "gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg7",
        "cosmos1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6",
        "Gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6",
    ],
)
def test_knows_what_is_no_address(text: str) -> None:
    """A wrong checksum, prefix, length or mixture of cases is no address."""
    assert not is_address(text)


@pytest.mark.parametrize("text", ["", "02" * 32, "05" + "11" * 32, "02" + "ff" * 32])
def test_knows_what_is_no_public_key(text: str) -> None:
    """Only compressed points of the curve are public keys."""
    assert not is_public_key(bytes.fromhex(text))


def test_says_when_openssl_has_no_ripemd160(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without RIPEMD-160 the error says what is missing and what to do."""

    def refuse(*_: object) -> None:
        raise ValueError("unsupported hash type ripemd160")

    monkeypatch.setattr(hashlib, "new", refuse)
    with pytest.raises(Ripemd160MissingError, match="legacy provider"):
        derive_address(b"\x02" * 33)


def test_same_seed_gives_the_same_identity() -> None:
    """An identity depends on seed and role only."""
    first = Identity.derive(1, "node 0")
    assert first.address == Identity.derive(1, "node 0").address
    assert first.address != Identity.derive(1, "node 1").address
    assert first.address != Identity.derive(2, "node 0").address


def test_own_signatures_have_a_low_s() -> None:
    """What a node signs verifies, and its S is never high."""
    identity = Identity.derive(1, "node 0")
    for number in range(20):
        message = str(number).encode()
        signature = base64.b64decode(identity.sign(message))
        assert is_signed_by(identity.public_key, message, signature)
        assert int.from_bytes(signature[32:], "big") <= GROUP_ORDER // 2


def test_refuses_a_high_s() -> None:
    """The other S of a right signature is refused, as cosmos-sdk refuses it."""
    identity = Identity.derive(1, "node 0")
    signature = base64.b64decode(identity.sign(b"message"))
    high = GROUP_ORDER - int.from_bytes(signature[32:], "big")
    flipped = signature[:32] + high.to_bytes(32, "big")
    assert not is_signed_by(identity.public_key, b"message", flipped)


@pytest.mark.parametrize("signature", [b"", bytes(64), b"\xff" * 64, bytes(63), b"\x01" * 65])
def test_refuses_what_is_no_signature(signature: bytes) -> None:
    """A wrong length or a number out of range is refused without an error."""
    public_key = Identity.derive(1, "node 0").public_key
    assert not is_signed_by(public_key, b"message", signature)
