"""Signatures that a Gonka node accepts: which bytes are signed, by which key, at which timestamp.

A node looks up the requester's public key on the chain and verifies, over SHA-256 of a message, a
64-byte secp256k1 signature r‖s. The message is the body (scheme `raw`) or the hexadecimal SHA-256
of the body (scheme `hash`), then the timestamp in decimal, then the address of the node that the
request is sent to. There is no canonical JSON: the bytes that leave are the bytes that were signed.
A node accepts exactly one of the two schemes.

What may live here: messages to sign, the signing key, verification. What may not: HTTP headers,
reading keys from files or environment, the choice of scheme or node, timestamps (see `timestamps`).

Invariants:
    - Signatures are deterministic (RFC 6979) and low-S: high-S ones are refused by nodes, and the
      signature is the id of the inference upstream, so equal input must give equal text.
    - A key never leaves its object: not by `repr`, `str`, `pickle`, `copy`, an attribute that is
      public, or an error. Errors about keys are raised outside of any `except` block, so that
      neither `__cause__` nor `__context__` carries the text that was parsed.

Known weak spots: the key is ordinary memory of the process, and local variables of live stack
frames hold it while it is parsed; never print tracebacks with locals. coincurve has no compact
form in its public interface, so a recoverable signature is made and its last byte dropped, which
costs the same. `raw` copies the body once.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from enum import StrEnum
from typing import Final, NoReturn, assert_never, final

import coincurve

from tallygate.core.address import PUBLIC_KEY_BYTES, address_from_public_key

SIGNATURE_BYTES: Final = 64
"""Length of r‖s, both big-endian (protocol: common to both schemes)."""

_SIGNATURE_CHARACTERS: Final = 88  # 64 bytes in base64, with the two characters of padding.
_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_KEY_TEXT: Final = re.compile("(?:0[xX])?([0-9a-fA-F]{64})")


class InvalidSigningKeyError(ValueError):
    """The text or the bytes are not a secp256k1 private key. Never carries any of them."""


class Scheme(StrEnum):
    """Which message a node verifies (protocol: the two classic signature schemes)."""

    HASH = "hash"
    """Hexadecimal SHA-256 of the body ‖ timestamp ‖ transfer address: nodes since 0.2.6."""

    RAW = "raw"
    """Body ‖ timestamp ‖ transfer address: nodes up to 0.2.5."""


OTHER_SCHEME: Final = {Scheme.HASH: Scheme.RAW, Scheme.RAW: Scheme.HASH}
"""What a node may want that refuses one of the two."""


@final
class SigningKey:
    """A wallet's secp256k1 private key, which signs and shows nothing but its address.

    Args:
        secret: The private key, 32 bytes big-endian, above zero and below the curve's order.

    Raises:
        InvalidSigningKeyError: The bytes are not such a number.
    """

    __slots__ = ("_address", "_public_key", "_sign_digest")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _CURVE_ORDER:
            raise InvalidSigningKeyError("a signing key is 32 bytes, above zero and below the order of secp256k1")
        key = coincurve.PrivateKey(secret)
        self._sign_digest = key.sign_recoverable
        self._public_key = key.public_key.format(compressed=True)
        self._address = address_from_public_key(self._public_key)

    @classmethod
    def from_hex(cls, text: str) -> SigningKey:
        """Return the key that 64 hexadecimal digits spell.

        Args:
            text: The digits, with or without `0x`; space and line ends around them are ignored.

        Raises:
            InvalidSigningKeyError: Anything else. The message never contains any of the text.
        """
        match = _KEY_TEXT.fullmatch(text.strip())
        if match is None:
            raise InvalidSigningKeyError("a signing key is 64 hexadecimal digits, with or without 0x before them")
        return cls(bytes.fromhex(match[1]))

    @property
    def address(self) -> str:
        """The account on the chain that this key signs for: `gonka1…`."""
        return self._address

    @property
    def public_key(self) -> bytes:
        """The compressed public key, 33 bytes."""
        return self._public_key

    def sign(self, message: bytes) -> str:
        """Return the signature of SHA-256 of a message.

        Returns:
            Base64, standard alphabet, padded, of 64 bytes r‖s: 88 characters. Low-S and
            deterministic (RFC 6979), as a node wants it in `Authorization`.
        """
        digest = hashlib.sha256(message).digest()
        # The 65th byte tells how to recover the public key; classic nodes take 64.
        signature = self._sign_digest(digest, hasher=None)[:SIGNATURE_BYTES]
        return binascii.b2a_base64(signature, newline=False).decode("ascii")

    def __repr__(self) -> str:
        return f"<SigningKey of {self._address}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is neither copied nor pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a signing key is neither copied nor pickled")


def signed_message(scheme: Scheme, body: bytes, timestamp_ns: int, transfer_address: str) -> bytes:
    """Return the message that a requester signs (protocol: exact bytes).

    Args:
        scheme: The one that the node accepts.
        body: The HTTP body, exactly as it will be sent.
        timestamp_ns: Nanoseconds since 1970, the value of `X-Timestamp`. Above zero, because a node
            leaves a zero out of the message.
        transfer_address: The address of the node that the request is sent to.

    Raises:
        ValueError: The timestamp is not above zero.
    """
    suffix = _message_suffix(timestamp_ns, transfer_address)
    match scheme:
        case Scheme.HASH:
            return hashlib.sha256(body).hexdigest().encode("ascii") + suffix
        case Scheme.RAW:
            return body + suffix
    assert_never(scheme)


def sign_request(key: SigningKey, scheme: Scheme, body: bytes, timestamp_ns: int, transfer_address: str) -> str:
    """Return the `Authorization` of one attempt: the signature of its `signed_message`.

    Raises:
        ValueError: The timestamp is not above zero.
    """
    return key.sign(signed_message(scheme, body, timestamp_ns, transfer_address))


def transfer_agent_message(prompt_hash: str, timestamp_ns: int, transfer_address: str, executor_address: str) -> bytes:
    """Return the message that a transfer agent signs for an executor (protocol: `X-TA-Signature`).

    Args:
        prompt_hash: Lower-case hexadecimal SHA-256 of the canonical JSON of the changed body.
        timestamp_ns: The requester's timestamp.
        transfer_address: The address of the transfer agent, which signs.
        executor_address: The address of the node that will run the inference.

    Raises:
        ValueError: The timestamp is not above zero.
    """
    suffix = _message_suffix(timestamp_ns, transfer_address)
    return prompt_hash.encode("ascii") + suffix + executor_address.encode("ascii")


def devshard_message(escrow_id: str, body: bytes, timestamp_s: int) -> bytes:
    """Return what the owner of an escrow signs per request (protocol: devshard request signature).

    This is itself a digest, of 32 bytes; the signature is over its SHA-256, as of any message.

    Args:
        escrow_id: The escrow's number, in decimal.
        body: The HTTP body, exactly as it will be sent.
        timestamp_s: Seconds since 1970, the value of `X-Devshard-Timestamp`.

    Raises:
        OverflowError: The timestamp does not fit a signed 64-bit integer.
    """
    moment = timestamp_s.to_bytes(8, "big", signed=True)
    return hashlib.sha256(escrow_id.encode("ascii") + body + moment).digest()


def _message_suffix(timestamp_ns: int, transfer_address: str) -> bytes:
    if timestamp_ns <= 0:
        raise ValueError("a timestamp that is signed is above zero")
    return f"{timestamp_ns}{transfer_address}".encode("ascii")


def verify_signature(public_key: bytes, message: bytes, signature_b64: str) -> bool:
    """Say whether a node would accept a signature (protocol: node-side verification).

    Args:
        public_key: The compressed public key, 33 bytes.
        message: What was signed, before SHA-256.
        signature_b64: Base64 of 64 bytes r‖s with low S, in its one canonical spelling.

    Returns:
        False for whatever is malformed, the public key included.
    """
    signature = _decode_signature(signature_b64)
    if signature is None or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    # High S is the second valid form of the same signature; nodes take only the low one. So does
    # libsecp256k1 today, but that a signature has one form is our rule, not to be left to a library.
    if s > _CURVE_ORDER // 2:
        return False
    try:
        return coincurve.PublicKey(public_key).verify(_encode_der(r, s), message)
    except ValueError:
        return False


def _decode_signature(text: str) -> bytes | None:
    """Return the 64 bytes, or None unless the text is exactly how they are encoded."""
    if len(text) != _SIGNATURE_CHARACTERS:
        return None
    try:
        signature = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    canonical = binascii.b2a_base64(signature, newline=False).decode("ascii")
    return signature if canonical == text else None


def _encode_der(r: int, s: int) -> bytes:
    """Return r and s in DER, the one form that coincurve verifies."""
    # One bit more than the number has: DER integers are signed.
    numbers = [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in (r, s)]
    content = b"".join(bytes((0x02, len(number))) + number for number in numbers)
    return bytes((0x30, len(content))) + content
