"""Who a node is on the chain: its secp256k1 key, its bech32 address, and what it signs itself.

Keys here belong to simulated nodes only and follow from the devnet's seed, so they are no secrets.
No key of a developer is ever needed here: a chain knows public keys only.
"""

import base64
import hashlib
from dataclasses import dataclass

import bech32
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ADDRESS_PREFIX = "gonka"
PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
# The order of secp256k1's group (SEC 2, section 2.4.1); a low S is at most half of it.
GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Ripemd160MissingError(RuntimeError):
    """This Python's OpenSSL offers no RIPEMD-160, without which no address can be derived."""

    def __init__(self) -> None:
        super().__init__(
            "this Python's OpenSSL has no RIPEMD-160, which Gonka addresses need; "
            "enable OpenSSL's legacy provider or use another build of Python"
        )


def derive_address(public_key: bytes) -> str:
    """Gives the address of a compressed public key: bech32("gonka", ripemd160(sha256(key))).

    Raises:
        Ripemd160MissingError: OpenSSL was built or set up without RIPEMD-160.
    """
    try:
        digest = hashlib.new("ripemd160", hashlib.sha256(public_key).digest())
    except ValueError as error:
        raise Ripemd160MissingError from error
    words = bech32.convertbits(digest.digest(), 8, 5)
    if words is None:
        raise AssertionError("20 bytes always convert to 5-bit words")
    return str(bech32.bech32_encode(ADDRESS_PREFIX, words))


def is_address(text: str) -> bool:
    """Says whether a text is a well-formed account address with a right checksum."""
    prefix, words = bech32.bech32_decode(text)
    if prefix != ADDRESS_PREFIX or words is None:
        return False
    program = bech32.convertbits(words, 5, 8, False)
    return program is not None and len(program) == 20


def is_public_key(public_key: bytes) -> bool:
    """Says whether bytes are a compressed point of the curve."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    except ValueError:
        return False
    return True


def is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Checks r||s over SHA-256 of a message; a high S is refused, as cosmos-sdk refuses it."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not (0 < r < GROUP_ORDER and 0 < s <= GROUP_ORDER // 2):
        return False
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Identity:
    """A simulated host's key pair and address."""

    address: str
    public_key: bytes
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def derive(cls, seed: int, role: str) -> "Identity":
        """Makes the same identity for the same seed and role, in every run."""
        digest = hashlib.sha256(f"tallygate devnet {seed} {role}".encode()).digest()
        number = int.from_bytes(digest, "big") % (GROUP_ORDER - 1) + 1
        key = ec.derive_private_key(number, ec.SECP256K1())
        public_key = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return cls(derive_address(public_key), public_key, key)

    def sign(self, message: bytes) -> str:
        """Signs a message as nodes do: base64 of r||s with a low S."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        s = min(s, GROUP_ORDER - s)
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode("ascii")
