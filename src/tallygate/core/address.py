"""Gonka addresses: from a public key to `gonka1…`, and back to the 20 bytes behind one.

An address is bech32(prefix, RIPEMD-160(SHA-256(compressed public key))): 44 characters that name an
account on the chain. A node is called by one, and that text is part of what a request signs.

What may live here: bech32 (BIP-173), RIPEMD-160, and the two of them put together. What may not:
keys and signatures, knowledge of nodes or of accounts, anything that looks something up.

Invariants:
    - `parse_address(address_from_public_key(pk))` is RIPEMD-160(SHA-256(pk)).
    - What `is_address` accepts is the one canonical spelling of its 20 bytes. Lower case only: the
      text itself is signed, so an address in capitals, legal in bech32, would never verify.
    - No message quotes the text that was refused: people paste secrets into the wrong field.

RIPEMD-160 is our own because OpenSSL 3 may leave it out of `hashlib`. It is the only code path, even
where `hashlib` has one, so that an address never depends on the machine it was made on.

Known weak spots: pure Python, about a hundred microseconds per address. Make addresses when keys are loaded,
never per request. Only 20-byte (single-key) accounts are addresses here; the 32-byte ones that a
chain derives for its modules are refused, since none of them can sign. A public key is not checked
to be a point of the curve.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ADDRESS_PREFIX: Final = "gonka"
"""The human-readable part of an account's address (protocol: address)."""

ADDRESS_BYTES: Final = 20
"""Length of what an address encodes: one RIPEMD-160 digest."""

PUBLIC_KEY_BYTES: Final = 33
"""Length of a compressed secp256k1 public key: the parity byte, then x."""


class InvalidAddressError(ValueError):
    """The text is not an address. The message says why, and never quotes the text."""


class InvalidPublicKeyError(ValueError):
    """The bytes do not have the form of a compressed secp256k1 public key."""


def address_from_public_key(compressed33: bytes, prefix: str = ADDRESS_PREFIX) -> str:
    """Return the address of an account (protocol: bech32 of RIPEMD-160 of SHA-256).

    Args:
        compressed33: The compressed public key, 33 bytes that begin with 2 or 3.
        prefix: The human-readable part, in lower case.

    Raises:
        InvalidPublicKeyError: The key is not 33 bytes of that form.
    """
    if len(compressed33) != PUBLIC_KEY_BYTES or compressed33[0] not in (2, 3):
        raise InvalidPublicKeyError("a compressed public key is 33 bytes that begin with 2 or 3")
    return encode_bech32(prefix, ripemd160(hashlib.sha256(compressed33).digest()))


def parse_address(text: str, prefix: str = ADDRESS_PREFIX) -> bytes:
    """Return the 20 bytes behind an address.

    Args:
        text: The address, exactly: no surrounding space, all in lower case.
        prefix: The human-readable part that it must have.

    Raises:
        InvalidAddressError: Wrong prefix, checksum, length, case or characters.
    """
    found_prefix, payload = decode_bech32(text)
    if found_prefix != prefix:
        raise InvalidAddressError(f"wrong prefix: an address begins with {prefix}1")
    if len(payload) != ADDRESS_BYTES:
        raise InvalidAddressError(f"wrong length: an address encodes {ADDRESS_BYTES} bytes")
    if text != text.lower():
        raise InvalidAddressError("upper case: an address is signed as written, in lower case")
    return payload


def is_address(text: str) -> bool:
    """Say whether `parse_address` would accept the text."""
    try:
        parse_address(text)
    except InvalidAddressError:
        return False
    return True


# --- bech32 (BIP-173) ---

_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF: Final = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_GROUPS: Final = 6
# BIP-173: above 90 characters the checksum no longer finds every four errors.
_BECH32_LENGTH_MAX: Final = 90


def encode_bech32(prefix: str, payload: bytes) -> str:
    """Return the bech32 text of some bytes under a lower-case prefix (BIP-173)."""
    groups = _groups_from_bytes(payload)
    residue = _polymod([*_expand_prefix(prefix), *groups, *[0] * _CHECKSUM_GROUPS]) ^ 1
    checksum = [residue >> 5 * (5 - index) & 31 for index in range(_CHECKSUM_GROUPS)]
    return f"{prefix}1" + "".join(_CHARSET[group] for group in (*groups, *checksum))


def decode_bech32(text: str) -> tuple[str, bytes]:
    """Return the prefix, in lower case, and the bytes of a bech32 text (BIP-173).

    Raises:
        InvalidAddressError: The text is not bech32, or encodes no whole number of bytes.
    """
    prefix, groups = _groups_from_text(text)
    return prefix, _bytes_from_groups(groups)


def _groups_from_text(text: str) -> tuple[str, list[int]]:
    """Return the prefix and the five-bit groups, without the checksum, that has been checked."""
    if len(text) > _BECH32_LENGTH_MAX:
        raise InvalidAddressError(f"wrong length: more than {_BECH32_LENGTH_MAX} characters")
    if any(not "!" <= character <= "~" for character in text):
        raise InvalidAddressError("a space or a character outside of ASCII")
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise InvalidAddressError("mixed case: an address is written in lower case")
    prefix, separator, tail = lower.rpartition("1")
    if not separator or not prefix:
        raise InvalidAddressError("wrong prefix: no prefix that ends with a 1")
    if any(character not in _VALUE_OF for character in tail):
        raise InvalidAddressError("a character that addresses do not use after the prefix")
    if len(tail) < _CHECKSUM_GROUPS:
        raise InvalidAddressError("wrong length: too short to hold a checksum")
    groups = [_VALUE_OF[character] for character in tail]
    if _polymod([*_expand_prefix(prefix), *groups]) != 1:
        raise InvalidAddressError("wrong checksum: a character is wrong, missing or too many")
    return prefix, groups[:-_CHECKSUM_GROUPS]


def _polymod(groups: Iterable[int]) -> int:
    """Return the residue of the groups modulo the BCH code's generator."""
    residue = 1
    for group in groups:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ group
        for bit, coefficient in enumerate(_GENERATOR):
            if top >> bit & 1:
                residue ^= coefficient
    return residue


def _expand_prefix(prefix: str) -> list[int]:
    """Return the prefix as the groups that enter the checksum: high bits, zero, low bits."""
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _groups_from_bytes(payload: bytes) -> list[int]:
    """Return the bits of the bytes in groups of five, the last one filled up with zeros."""
    count = -(-len(payload) * 8 // 5)
    number = int.from_bytes(payload, "big") << count * 5 - len(payload) * 8
    return [number >> 5 * index & 31 for index in reversed(range(count))]


def _bytes_from_groups(groups: Sequence[int]) -> bytes:
    """Return the bytes; what does not fill a byte must be fewer than five bits, all zero."""
    size, spare_bits = divmod(len(groups) * 5, 8)
    number = 0
    for group in groups:
        number = number << 5 | group
    if spare_bits >= 5 or number & (1 << spare_bits) - 1:
        raise InvalidAddressError("wrong length: the last bits do not end at a byte")
    return (number >> spare_bits).to_bytes(size, "big")


# --- RIPEMD-160 (Dobbertin, Bosselaers, Preneel 1996; ISO/IEC 10118-3) ---
# Two lines of five rounds of sixteen steps, mixed at the end of each block. The right line takes
# the five functions in the reverse order. Sixteen digits below are one round.

_STATE: Final = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_MASK: Final = 0xFFFFFFFF
_BLOCK_BYTES: Final = 64


def _read_digits(digits: str) -> bytes:
    """Return one small number per hexadecimal digit."""
    return bytes(int(digit, 16) for digit in digits)


_LEFT_WORDS: Final = _read_digits("0123456789abcdef74d1a6f3c0952eb83ae49f812706db5c19ba08c4d37fe56240597c2ae138b6fd")
_RIGHT_WORDS: Final = _read_digits("5e7092b4d6f81a3c6b370d5aef8c4912f5137e69b8c2a04d86413bf05c2d97aecfa4158762de039b")
_LEFT_SHIFTS: Final = _read_digits("befc5879bdef6798768db97f7cf9b7dcbd67e9dfe8d65c75bcefef989e56865c9f5b68dc5cdeb856")
_RIGHT_SHIFTS: Final = _read_digits("899bdff5778beec69df7c89b77c76fdb97fb866ecd5edd75f58bee6e69c9c5f885c9c5e68d65fdbb")


class _Line(NamedTuple):
    """One of the two lines: per step a word and a shift, per round a function and a constant."""

    words: bytes
    shifts: bytes
    functions: tuple[int, int, int, int, int]
    constants: tuple[int, int, int, int, int]


_LEFT: Final = _Line(
    _LEFT_WORDS,
    _LEFT_SHIFTS,
    (0, 1, 2, 3, 4),
    (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E),
)
_RIGHT: Final = _Line(
    _RIGHT_WORDS,
    _RIGHT_SHIFTS,
    (4, 3, 2, 1, 0),
    (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0),
)


def ripemd160(message: bytes) -> bytes:
    """Return the 20-byte RIPEMD-160 digest of a message of any length."""
    filler = b"\x80" + bytes(-(len(message) + 9) % _BLOCK_BYTES)
    padded = message + filler + struct.pack("<Q", len(message) * 8)
    state: Sequence[int] = _STATE
    for start in range(0, len(padded), _BLOCK_BYTES):
        block = struct.unpack_from("<16I", padded, start)
        left = _run_line(_LEFT, state, block)
        right = _run_line(_RIGHT, state, block)
        state = [(state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5)]
    return struct.pack("<5I", *state)


def _run_line(line: _Line, state: Sequence[int], block: Sequence[int]) -> Sequence[int]:
    """Return the five registers after the eighty steps of one line over one block."""
    a, b, c, d, e = state
    for step in range(80):
        mixed = _mix(line.functions[step // 16], b, c, d)
        total = (a + mixed + block[line.words[step]] + line.constants[step // 16]) & _MASK
        a, e, d, c, b = e, d, _rotate(c, 10), b, (_rotate(total, line.shifts[step]) + e) & _MASK
    return a, b, c, d, e


def _mix(function: int, x: int, y: int, z: int) -> int:
    """Return one of the five bitwise functions of three registers."""
    if function == 0:
        return x ^ y ^ z
    if function == 1:
        return x & y | ~x & z
    if function == 2:
        return (x | ~y & _MASK) ^ z
    if function == 3:
        return x & z | y & ~z
    return x ^ (y | ~z & _MASK)


def _rotate(word: int, count: int) -> int:
    """Return a 32-bit word rotated to the left."""
    return (word << count | word >> 32 - count) & _MASK
