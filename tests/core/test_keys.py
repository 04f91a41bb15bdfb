"""API keys: form, checksum, digest, mask and header."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.keys import (
    BEARER_TOKEN_BYTES_MAX,
    PREFIX,
    InvalidKeyMaterialError,
    bearer_token,
    is_well_formed,
    key_digest,
    key_digest_from_hash,
    mask,
    mint_api_key,
)

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PEPPER = b"pepper" * 6
KEY = mint_api_key(bytes(range(32)))
ENTROPY = st.binary(min_size=32, max_size=32)


def number_of(digits: str) -> int:
    """Return the number that base62 digits spell."""
    number = 0
    for digit in digits:
        number = number * 62 + BASE62.index(digit)
    return number


@given(ENTROPY)
@example(bytes(32))
@example(b"\xff" * 32)
def test_key_spells_its_entropy_and_its_checksum(entropy: bytes) -> None:
    """A key is the prefix, the entropy in 43 digits, and CRC-32 of all that in 6."""
    key = mint_api_key(entropy)

    assert re.fullmatch("tg-[0-9A-Za-z]{49}", key)
    assert number_of(key[3:46]) == int.from_bytes(entropy, "big")
    assert number_of(key[46:]) == zlib.crc32(key[:46].encode())
    assert is_well_formed(key)
    assert is_well_formed(key.encode())


@pytest.mark.parametrize(
    ("entropy", "key"),
    [
        (bytes(32), "tg-" + "0" * 43),
        (bytes(31) + b"\x3d", "tg-" + "0" * 42 + "z"),
        (bytes(31) + b"\x3e", "tg-" + "0" * 41 + "10"),
    ],
)
def test_alphabet_and_order_of_digits_stay(entropy: bytes, key: str) -> None:
    """Digits, capitals, small letters, most significant first: keys must last for years."""
    assert mint_api_key(entropy)[:46] == key


@pytest.mark.parametrize("entropy", [b"", bytes(31), bytes(33)])
def test_entropy_has_32_bytes(entropy: bytes) -> None:
    """A key is not minted from less or more than 256 bits."""
    with pytest.raises(InvalidKeyMaterialError, match="32 bytes"):
        mint_api_key(entropy)


@given(ENTROPY, st.integers(0, 51), st.sampled_from(BASE62 + "-_"))
def test_one_wrong_character_is_always_found(entropy: bytes, position: int, other: str) -> None:
    """No key with a single other character is well formed."""
    key = mint_api_key(entropy)
    changed = key[:position] + other + key[position + 1 :]

    assert is_well_formed(changed) == (changed == key)


@given(ENTROPY, st.integers(3, 50))
def test_two_swapped_characters_are_always_found(entropy: bytes, position: int) -> None:
    """A key with two neighbours swapped is not well formed."""
    key = mint_api_key(entropy)
    changed = key[:position] + key[position + 1] + key[position] + key[position + 2 :]

    assert is_well_formed(changed) == (changed == key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tg-",
        KEY[:-1],
        KEY + "0",
        KEY + "\n",
        f" {KEY[1:]}",
        f"\n{KEY}",
        KEY.upper(),
        KEY.lower(),
        "sk-" + KEY[3:],
        "TG-" + KEY[3:],
        KEY[:51] + "\n",
        KEY[:20] + "\0" + KEY[21:],
        KEY[:20] + "é" + KEY[21:],
        KEY[:20] + "\N{FULLWIDTH DIGIT ONE}" + KEY[21:],
        KEY[:20] + "\ud800" + KEY[21:],
        "' OR '1'='1' --",
        f"{KEY}'; DROP TABLE keys; --",
        "\0" * 52,
        "tg-" + "0" * 49,
        "A" * 1_000_000,
        KEY * 20_000,
    ],
)
def test_garbage_is_not_well_formed(text: str) -> None:
    """Whatever is not a key is refused, as text and as bytes, without an error."""
    assert not is_well_formed(text)
    assert not is_well_formed(text.encode("utf-8", "surrogatepass"))


@given(st.text() | st.binary())
def test_any_text_is_judged_without_an_error(text: str | bytes) -> None:
    """Random text and bytes are no keys."""
    assert not is_well_formed(text)


# --- prefix ---


@given(st.from_regex(PREFIX, fullmatch=True), ENTROPY)
@example("sk-", bytes(32))
@example("abcdefghijklmno_", b"\xff" * 32)
def test_a_key_of_any_prefix_is_recognised(prefix: str, entropy: bytes) -> None:
    """A key is well formed under whatever prefix it was minted, and shows it, but not under another one."""
    key = mint_api_key(entropy, prefix)

    assert key.startswith(prefix)
    assert is_well_formed(key)
    assert mask(key) == f"{prefix}{key[len(prefix) : len(prefix) + 4]}…{key[-4:]}"
    assert not is_well_formed("x" + key)
    assert not is_well_formed("other-" + key[len(prefix) :])


@pytest.mark.parametrize("prefix", ["", "-", "t-", "tg", "TG-", "1g-", "t g-", "tg.", "tgé-", "a" * 16 + "-", "tg-\n"])
def test_a_prefix_can_be_recognised(prefix: str) -> None:
    """What scanners would not know for a prefix, or could not tell from what follows, is none."""
    assert not PREFIX.fullmatch(prefix)


# --- digest ---


@given(st.binary(min_size=1, max_size=100), st.text(max_size=100))
def test_digest_is_hmac_of_the_hash(pepper: bytes, key: str) -> None:
    """The digest is HMAC-SHA256(pepper, SHA-256(key)), as text, as bytes, and from the hash."""
    octets = key.encode()
    hashed = hashlib.sha256(octets).digest()
    expected = hmac.new(pepper, hashed, hashlib.sha256).digest()

    assert key_digest(pepper, key) == expected
    assert key_digest(pepper, octets) == expected
    assert key_digest_from_hash(pepper, hashed) == expected


def test_digest_is_known_bytes() -> None:
    """The digest of a known key stays what it is: stored digests must be found for years."""
    assert key_digest(b"pepper", "tg-known").hex() == (
        "7d6d468b62ddda5f18c7c0288dac9bf73b9a0e348525da33cca3b1b45531f8d1"
    )


def test_digests_differ_by_pepper_and_by_key() -> None:
    """Another pepper or another key gives another digest."""
    digests = {key_digest(pepper, key) for pepper in (b"a", b"b") for key in (KEY, KEY[:-1], "")}

    assert len(digests) == 6


def test_digest_of_any_text_exists() -> None:
    """Text that no header can hold still has a digest instead of an error."""
    assert len(key_digest(PEPPER, "\ud800")) == 32


@pytest.mark.parametrize("hashed", [b"", bytes(31), bytes(33), b"0" * 64])
def test_hash_has_32_bytes(hashed: bytes) -> None:
    """What cannot be a SHA-256 hash, such as its hexadecimal form, is refused."""
    with pytest.raises(InvalidKeyMaterialError, match="32 bytes"):
        key_digest_from_hash(PEPPER, hashed)


# --- mask ---


def test_mask_shows_four_characters_at_each_end() -> None:
    """A key shows as its prefix, four characters, and its last four."""
    assert mask(KEY) == f"{KEY[:7]}…{KEY[-4:]}"
    assert len(mask(KEY)) == 12


@pytest.mark.parametrize("text", ["", "tg-", "sk-someone-elses-secret", KEY[:-1], KEY + KEY])
def test_mask_shows_nothing_of_other_texts(text: str) -> None:
    """Of what is not one of our keys, nothing shows."""
    assert mask(text) == "…"


# --- header ---

LONGEST = b"x" * BEARER_TOKEN_BYTES_MAX


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (b"Bearer " + KEY.encode(), KEY.encode()),
        (b"bearer abc", b"abc"),
        (b"BEARER abc", b"abc"),
        (b"BeArEr abc", b"abc"),
        (b"Bearer   abc", b"abc"),
        (b"Bearer abc ", b"abc"),
        (b"Bearer abc \t", b"abc"),
        (b"Bearer sk-or-v1-0|a:b.c~d+e/f=", b"sk-or-v1-0|a:b.c~d+e/f="),
        (b"Bearer " + LONGEST, LONGEST),
        (b"Bearer " + LONGEST + b"x", None),
        (b"Bearer a" + b" " * 1_000_000, None),
        (b"Bearer" + b" " * 1_000_000 + b"a", None),
        (b"Bearer " + b"x" * 1_000_000, None),
        (b"", None),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Bearer\tabc", None),
        (b"Bearerabc", None),
        (b"Bearer: abc", None),
        (b" Bearer abc", None),
        (b"Bearer abc def", None),
        (b"Bearer abc, Bearer def", None),
        (b"Bearer Bearer abc", None),
        (b"Basic YTpi", None),
        (b"Token abc", None),
        (b"abc", None),
        (b"Bearer abc\n", None),
        (b"Bearer abc\r\nX-Other: 1", None),
        (b"Bearer a\0b", None),
        (b"Bearer a\x7f", None),
        ("Bearer ключ".encode(), None),
        (b"Bearer \xff\xfe", None),
        (b"Bearer '--", b"'--"),
    ],
)
def test_bearer_token_is_exactly_one(header: bytes, token: bytes | None) -> None:
    """The header gives its one token of visible ASCII, or None."""
    assert bearer_token(header) == token


@given(st.binary() | st.binary().map(lambda octets: b"Bearer " + octets))
def test_any_header_is_read_without_an_error(header: bytes) -> None:
    """A token is a part of its header, bounded, without space."""
    token = bearer_token(header)

    assert token is None or (token in header and 0 < len(token) <= BEARER_TOKEN_BYTES_MAX and not token.split()[1:])
