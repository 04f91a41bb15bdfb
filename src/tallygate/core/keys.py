"""Callers' API keys: how they are minted, recognised, shown and looked up.

    tg-  43 characters of base62           6 characters of base62
         (32 bytes, 256 bits, of entropy)  (CRC-32 of all characters before)

The prefix and the checksum are for secret scanners and for typing errors: a key that was cut short,
or that never was one of ours, is refused without a look into any table. They add no secrecy.

An installation may choose another prefix, and another one later: the checksum covers it, so a key of
any prefix is recognised by itself, and those that were made under an earlier one go on. A prefix ends
in a character that base62 does not have, so that it can be told from what follows.

What may live here: the form of a key, its digest, its mask, and the header that carries it. What may
not: accounts, permissions, the table of digests, randomness (entropy is passed in), the pepper's
place of storage, the admin key.

Invariants:
    - A key exists in full only in the answer that mints it and in a caller's header. What is kept is
      HMAC-SHA256(pepper, SHA-256(key)), so a stolen table is of no use without the pepper. The
      SHA-256 inside lets hashes made elsewhere be imported without their keys.
    - Every function here takes any garbage of any size: what is too long is refused by its length,
      before its content is looked at. Nothing raises for what a caller has sent.
    - Nothing here compares secrets: a digest is looked up, and how long that takes tells nothing
      about a key, since no one can aim at a digest without the pepper.

A plain hash is enough where passwords need a slow one: a key has 256 bits of entropy, so no one can
try them all.

Known weak spots: the checksum finds accidents, not forgeries. A few 43-character texts stand for
numbers above 256 bits; they are well formed and are never minted.
"""

from __future__ import annotations

import hmac
import re
import zlib
from hashlib import sha256
from typing import Final

KEY_PREFIX: Final = "tg-"
"""How a key begins unless the installation says otherwise: people and secret scanners know one when they see it."""

PREFIX: Final = re.compile(r"[a-z][a-z0-9_-]{1,14}[_-]")
"""What may be a prefix."""

ENTROPY_BYTES: Final = 32
"""What a key is minted from: 256 bits."""

BEARER_TOKEN_BYTES_MAX: Final = 512
"""Longest token that is taken from a header: ten of our keys, and room for imported ones."""

_BODY_CHARACTERS: Final = 43  # 62**43 is the first power of 62 above 2**256.
_CHECKSUM_CHARACTERS: Final = 6
_TAIL_CHARACTERS: Final = _BODY_CHARACTERS + _CHECKSUM_CHARACTERS
_PREFIX_CHARACTERS_MAX: Final = 16
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Two digits at a time: a checksum is three look-ups instead of six divisions.
_PAIRS: Final = [(high + low).encode("ascii") for high in _BASE62 for low in _BASE62]
_PAIR_COUNT: Final = 62 * 62

_KEY: Final = re.compile(PREFIX.pattern.encode("ascii") + rb"[0-9A-Za-z]{49}")
# One token of visible ASCII. Wider than RFC 6750, since imported keys may be of any form.
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)[ \t]*")
# The scheme, one space, the longest token, and as much again of padding as anyone could mean.
_AUTHORIZATION_BYTES_MAX: Final = BEARER_TOKEN_BYTES_MAX + 16

_MASK_CHARACTERS: Final = 4
_MASKED_ALL: Final = "…"


class InvalidKeyMaterialError(ValueError):
    """Entropy or a hash does not have 32 bytes: a fault of the program or of an import."""


def mint_api_key(entropy32: bytes, prefix: str = KEY_PREFIX) -> str:
    """Return the API key made of 32 bytes of entropy.

    Args:
        entropy32: Bytes of a cryptographic source, used for this key only.
        prefix: How it begins; of the form `PREFIX`.

    Raises:
        InvalidKeyMaterialError: There are not exactly 32 bytes.
    """
    if len(entropy32) != ENTROPY_BYTES:
        raise InvalidKeyMaterialError(f"an API key is minted from {ENTROPY_BYTES} bytes")
    number = int.from_bytes(entropy32, "big")
    digits = []
    for _ in range(_BODY_CHARACTERS):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    text = prefix + "".join(reversed(digits))
    return text + _checksum(text.encode("ascii")).decode("ascii")


def is_well_formed(text: str | bytes) -> bool:
    """Say whether a text has the form and the checksum of our keys, whatever its prefix.

    True says nothing about whether such a key was ever minted.
    """
    if not _TAIL_CHARACTERS < len(text) <= _TAIL_CHARACTERS + _PREFIX_CHARACTERS_MAX:
        return False
    if isinstance(text, str):
        if not text.isascii():
            return False
        text = text.encode("ascii")
    if _KEY.fullmatch(text) is None:
        return False
    return _checksum(text[:-_CHECKSUM_CHARACTERS]) == text[-_CHECKSUM_CHARACTERS:]


def key_digest(pepper: bytes, key: str | bytes) -> bytes:
    """Return the 32 bytes that a key is stored and looked up by.

    Args:
        pepper: The deployment's secret. Its length is for the one who reads it to check.
        key: The whole key, of any form.
    """
    # Total on any str: lone surrogates, which no header can hold, get a digest that none has.
    octets = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    return hmac.digest(pepper, sha256(octets).digest(), "sha256")


def key_digest_from_hash(pepper: bytes, sha256_of_key: bytes) -> bytes:
    """Return the digest of a key of which only the SHA-256 is known.

    Args:
        pepper: The deployment's secret.
        sha256_of_key: SHA-256 of the key's bytes, 32 bytes.

    Raises:
        InvalidKeyMaterialError: The hash does not have 32 bytes.
    """
    if len(sha256_of_key) != 32:
        raise InvalidKeyMaterialError("a SHA-256 hash of a key has 32 bytes")
    return hmac.digest(pepper, sha256_of_key, "sha256")


def mask(key: str) -> str:
    """Return what lists show of a key: `tg-Ab12…wxyz`, or `…` alone for what is not one of ours.

    Four characters of entropy (24 of 256 bits) are shown, and four of the checksum.
    """
    if not is_well_formed(key):
        return _MASKED_ALL
    return f"{key[: len(key) - _TAIL_CHARACTERS + _MASK_CHARACTERS]}…{key[-_MASK_CHARACTERS:]}"


def bearer_token(authorization: bytes) -> bytes | None:
    """Return the token of an `Authorization: Bearer …` header's value, or None.

    The scheme matches in any case. There must be exactly one token, of visible ASCII characters and
    at most `BEARER_TOKEN_BYTES_MAX` bytes.
    """
    if len(authorization) > _AUTHORIZATION_BYTES_MAX:
        return None
    match = _BEARER.fullmatch(authorization)
    if match is None:
        return None
    token = match[1]
    return token if len(token) <= BEARER_TOKEN_BYTES_MAX else None


def _checksum(text: bytes) -> bytes:
    """Return CRC-32 of a text as six base62 digits, most significant first."""
    rest, low = divmod(zlib.crc32(text), _PAIR_COUNT)
    high, middle = divmod(rest, _PAIR_COUNT)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
