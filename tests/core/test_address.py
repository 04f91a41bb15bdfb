"""Addresses: RIPEMD-160, bech32, and the two of them put together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bech32 as reference_bech32
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.address import (
    InvalidAddressError,
    InvalidPublicKeyError,
    address_from_public_key,
    decode_bech32,
    encode_bech32,
    is_address,
    parse_address,
    ripemd160,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "signing_vectors.json").read_text("utf-8")
)
REQUESTS = VECTORS["scheme_raw_v0_2_5_and_older"] + VECTORS["scheme_hash_v0_2_6_plus"]
ADDRESS = "gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6"
PUBLIC_KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
HASHLIB_HAS_RIPEMD160 = "ripemd160" in hashlib.algorithms_available


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (b"a", "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe"),
        (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (b"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
        (b"abcdefghijklmnopqrstuvwxyz", "f71c27109c692c1b56bbdceb5b9d2865b3708dbc"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "12a053384a9c0c88e405a06c27dcf49ada62eb2b",
        ),
        (
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "b0e20b6e3116640286ed3a87a5713079b21f5189",
        ),
        (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
    ],
)
def test_ripemd160_agrees_with_its_authors(message: bytes, digest: str) -> None:
    """The digests that the authors of RIPEMD-160 published come out."""
    assert ripemd160(message).hex() == digest


@pytest.mark.skipif(not HASHLIB_HAS_RIPEMD160, reason="this OpenSSL has no RIPEMD-160")
@given(st.binary(max_size=300))
def test_ripemd160_agrees_with_openssl(message: bytes) -> None:
    """Our RIPEMD-160 gives what OpenSSL gives, at lengths around every padding case."""
    assert ripemd160(message) == hashlib.new("ripemd160", message).digest()


@pytest.mark.parametrize("vector", REQUESTS)
def test_address_of_public_key_agrees_with_the_vectors(vector: dict[str, str]) -> None:
    """A requester's address is the one that the official SDK derives from its public key."""
    address = address_from_public_key(bytes.fromhex(vector["public_key_hex"]))

    assert address == vector["requester_address"]


@pytest.mark.parametrize("name", ["transfer_agent", "executor"])
def test_addresses_of_the_vectors_parse(name: str) -> None:
    """The addresses of the vectors' nodes are addresses."""
    assert is_address(VECTORS[name]["address"])


def test_parsed_address_is_the_hash_of_the_key() -> None:
    """What an address encodes is the published HASH160 of the generator point."""
    assert parse_address(ADDRESS).hex() == "751e76e8199196d454941c45d1b3a323f1433bd6"


@pytest.mark.parametrize(
    "public_key",
    [b"", PUBLIC_KEY[:-1], PUBLIC_KEY + b"\0", b"\x04" + PUBLIC_KEY[1:], bytes(33), bytes(65)],
)
def test_malformed_public_key_has_no_address(public_key: bytes) -> None:
    """Bytes that are not a compressed public key are refused."""
    with pytest.raises(InvalidPublicKeyError, match="33 bytes"):
        address_from_public_key(public_key)


@given(st.binary(min_size=20, max_size=20), st.sampled_from(["gonka", "cosmos", "a", "x1y"]))
def test_every_payload_returns_from_its_address(payload: bytes, prefix: str) -> None:
    """Encoding and parsing give the payload back, under any prefix."""
    assert parse_address(encode_bech32(prefix, payload), prefix) == payload


@given(st.binary(max_size=48))
def test_encoding_agrees_with_the_reference(payload: bytes) -> None:
    """Our bech32 text is the one that the reference library writes."""
    groups = reference_bech32.convertbits(payload, 8, 5)

    assert groups is not None
    assert encode_bech32("gonka", payload) == reference_bech32.bech32_encode("gonka", groups)


@given(
    st.text("qpzry9x8gf2tvdw0s3jn54khce6mua7l1QPbio \x7f", max_size=95)
    | st.lists(st.integers(0, 31), max_size=80).map(lambda groups: str(reference_bech32.bech32_encode("gonka", groups)))
)
def test_decoding_agrees_with_the_reference(text: str) -> None:
    """We decode exactly the texts that the reference library decodes to whole bytes."""
    prefix, groups = reference_bech32.bech32_decode(text)
    payload = None if groups is None else reference_bech32.convertbits(groups, 5, 8, False)

    if payload is None:
        with pytest.raises(InvalidAddressError):
            decode_bech32(text)
    else:
        assert decode_bech32(text) == (prefix, bytes(payload))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A12UEL5L", ("a", "")),
        ("a12uel5l", ("a", "")),
        (
            "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
            ("an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio", ""),
        ),
        (
            "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
            ("abcdef", "00443214c74254b635cf84653a56d7c675be77df"),
        ),
        ("?1ezyfcl", ("?", "")),
    ],
)
def test_valid_texts_of_bip_173_decode(text: str, expected: tuple[str, str]) -> None:
    """The valid texts that BIP-173 lists decode."""
    prefix, payload = decode_bech32(text)

    assert (prefix, payload.hex()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "\x201nwldj5",
        "\x7f1axkwrx",
        "\x801eym55h",
        "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
        "x1b4n0q5v",
        "li1dgmt3",
        "de1lg7wt\xff",
        "A1G7SGD8",
        "10a06t8",
        "1qzzfhee",
    ],
)
def test_invalid_texts_of_bip_173_are_refused(text: str) -> None:
    """The invalid texts that BIP-173 lists are refused."""
    with pytest.raises(InvalidAddressError):
        decode_bech32(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "wrong prefix"),
        ("gonka", "wrong prefix"),
        ("cosmos1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6", "wrong checksum"),
        (encode_bech32("cosmos", bytes(20)), "wrong prefix"),
        (encode_bech32("gonkavaloper", bytes(20)), "wrong prefix"),
        (ADDRESS[:-1], "wrong checksum"),
        (ADDRESS[:-1] + "q", "wrong checksum"),
        (ADDRESS + "q", "wrong checksum"),
        (ADDRESS.replace("w508", "5w08"), "wrong checksum"),
        ("Gonka" + ADDRESS[5:], "mixed case"),
        (f"{ADDRESS[:-2]}G6", "mixed case"),
        (ADDRESS.upper(), "upper case"),
        (encode_bech32("gonka", bytes(19)), "wrong length"),
        (encode_bech32("gonka", bytes(32)), "wrong length"),
        (str(reference_bech32.bech32_encode("gonka", [0] * 33)), "last bits"),
        (str(reference_bech32.bech32_encode("gonka", [0, 1])), "last bits"),
        ("gonka1q", "wrong length"),
        ("gonka1" + "q" * 1_000_000, "wrong length"),
        (f" {ADDRESS}", "a space"),
        (f"{ADDRESS}\n", "a space"),
        (f"{ADDRESS[:-1]}\N{CYRILLIC SMALL LETTER BE}", "outside of ASCII"),
        (f"{ADDRESS[:-1]}b", "do not use"),
        (f"{ADDRESS}\0", "a space"),
    ],
)
def test_refusal_of_an_address_says_why(text: str, reason: str) -> None:
    """What is not an address is refused with its reason, and never quoted."""
    with pytest.raises(InvalidAddressError, match=reason) as caught:
        parse_address(text)

    assert not is_address(text)
    assert len(text) < 8 or text.strip() not in str(caught.value)


@given(st.integers(6, 43), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_character_is_always_found(position: int, character: str) -> None:
    """No single other character after the prefix gives an address."""
    changed = ADDRESS[:position] + character + ADDRESS[position + 1 :]

    assert is_address(changed) == (changed == ADDRESS)


@given(st.text())
def test_any_text_is_an_address_or_is_not(text: str) -> None:
    """Garbage is refused without any other error."""
    assert not is_address(text)
