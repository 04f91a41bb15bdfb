"""Signing: messages, keys, signatures and timestamps."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coincurve
import pytest
from ecdsa import SECP256k1, util  # type: ignore[import-untyped]
from ecdsa import SigningKey as ReferenceKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tallygate.core.signing import (
    InvalidSigningKeyError,
    Scheme,
    SigningKey,
    devshard_message,
    sign_request,
    signed_message,
    transfer_agent_message,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "signing_vectors.json").read_text("utf-8")
)
REQUESTS = [
    *((Scheme.RAW, vector) for vector in VECTORS["scheme_raw_v0_2_5_and_older"]),
    *((Scheme.HASH, vector) for vector in VECTORS["scheme_hash_v0_2_6_plus"]),
]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECRET = "c0ffee254729296a45a3885639ac7e10f9d54979aa1bb7b2d9b4f6c6d1e8a001"
KEY = SigningKey.from_hex(SECRET)
NODE = VECTORS["transfer_agent"]["address"]
SIGNATURE = KEY.sign(b"message")


def b64(signature: bytes) -> str:
    """Return standard base64 with padding."""
    return base64.b64encode(signature).decode("ascii")


def join(r: int, s: int) -> str:
    """Return a signature of two numbers."""
    return b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def split(signature_b64: str) -> tuple[int, int]:
    """Return the two numbers of a signature."""
    signature = base64.b64decode(signature_b64)
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


# --- vectors ---


@pytest.mark.parametrize(("scheme", "vector"), REQUESTS)
def test_requests_sign_as_the_vectors_do(scheme: Scheme, vector: dict[str, str]) -> None:
    """Message, signature, public key and address are those of the official SDKs."""
    key = SigningKey.from_hex(vector["private_key"])
    body = vector["payload_utf8"].encode()
    asked = (scheme, body, int(vector["timestamp_ns"]), vector["transfer_address"])
    message = signed_message(*asked)

    assert key.address == vector["requester_address"]
    assert key.public_key.hex() == vector["public_key_hex"]
    assert message.decode() == vector.get("signed_message", message.decode())
    assert hashlib.sha256(message).hexdigest() == vector["signed_message_sha256"]
    assert sign_request(key, *asked) == vector["signature_b64"]
    assert verify_signature(key.public_key, message, vector["signature_b64"])


@pytest.mark.parametrize("vector", VECTORS["ta_signature_hash"])
def test_transfer_agents_sign_as_the_vectors_do(vector: dict[str, str]) -> None:
    """A transfer agent's message and signature are those of the vectors."""
    key = SigningKey.from_hex(VECTORS["transfer_agent"]["private_key"])
    message = transfer_agent_message(
        vector["prompt_hash"],
        int(vector["timestamp_ns"]),
        vector["transfer_address"],
        vector["executor_address"],
    )

    assert message.decode() == vector["signed_message"]
    assert key.sign(message) == vector["signature_b64"]


@pytest.mark.parametrize("vector", VECTORS["devshard_request"])
def test_devshard_requests_sign_as_the_vectors_do(vector: dict[str, str]) -> None:
    """The devshard message, and r‖s of its signature, are those of the vectors."""
    key = SigningKey.from_hex(vector["private_key"])
    message = devshard_message(vector["escrow_id"], vector["body_utf8"].encode(), int(vector["timestamp_unix_s"]))
    signature = base64.b64decode(key.sign(message))

    assert key.address == vector["address"]
    assert message.hex() == vector["message_hex"]
    assert signature.hex() == vector["header_X_Devshard_Signature"][:128]


@pytest.mark.parametrize("name", ["transfer_agent", "executor"])
def test_node_addresses_are_those_of_their_keys(name: str) -> None:
    """A key's address is the one that the vectors give for it."""
    assert SigningKey.from_hex(VECTORS[name]["private_key"]).address == VECTORS[name]["address"]


# --- signatures ---


@settings(max_examples=25, deadline=None)
@given(st.integers(1, ORDER - 1), st.binary(max_size=200))
@example(1, b"")
@example(ORDER - 1, b"")
def test_signatures_agree_with_another_library(secret: int, message: bytes) -> None:
    """For any key and message, another library makes the same deterministic low-S signature."""
    reference = ReferenceKey.from_secret_exponent(secret, SECP256k1, hashlib.sha256)
    expected = reference.sign_deterministic(message, sigencode=util.sigencode_string_canonize)
    key = SigningKey(secret.to_bytes(32, "big"))

    assert key.sign(message) == b64(expected)
    assert key.public_key == reference.verifying_key.to_string("compressed")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_signature_verifies_for_its_own_message_only(message: bytes, other: bytes) -> None:
    """A signature is good for the message that it was made of, and for no other."""
    signature = KEY.sign(message)

    assert len(signature) == 88
    assert verify_signature(KEY.public_key, message, signature)
    assert verify_signature(KEY.public_key, other, signature) == (other == message)


def test_signature_verifies_for_its_own_key_only() -> None:
    """Another key's signature is refused."""
    other = SigningKey.from_hex("11" * 32)

    assert not verify_signature(other.public_key, b"message", SIGNATURE)


def test_high_s_is_refused() -> None:
    """The other valid form of a signature, with high S, is refused as nodes refuse it."""
    r, s = split(SIGNATURE)

    assert s <= ORDER // 2
    assert verify_signature(KEY.public_key, b"message", join(r, s))
    assert not verify_signature(KEY.public_key, b"message", join(r, ORDER - s))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "=" * 88,
        "é" * 88,
        "\0" * 88,
        "\ud800" * 88,
        SIGNATURE[:-1],
        SIGNATURE.rstrip("="),
        SIGNATURE + "\n",
        f" {SIGNATURE[1:]}",
        SIGNATURE[:-4] + "\n\n\n\n",
        SIGNATURE[:85] + chr(ord(SIGNATURE[85]) + 1) + "==",
        f"Bearer {SIGNATURE}",
        "A" * 1_000_000,
        b64(bytes(64)),
        b64(bytes(63)),
        b64(bytes(65)),
        b64(b"\xff" * 64),
        join(0, 1),
        join(1, 0),
        join(ORDER, 1),
        join(split(SIGNATURE)[0] + 1, split(SIGNATURE)[1]),
    ],
)
def test_malformed_signature_is_refused(signature: str) -> None:
    """Whatever is not the canonical base64 of 64 good bytes is refused without an error."""
    assert not verify_signature(KEY.public_key, b"message", signature)


@pytest.mark.parametrize("public_key", [b"", bytes(33), b"\x02" + b"\xff" * 32, KEY.public_key[:-1], bytes(65)])
def test_malformed_public_key_verifies_nothing(public_key: bytes) -> None:
    """A public key that is no point of the curve is refused without an error."""
    assert not verify_signature(public_key, b"message", SIGNATURE)


def test_uncompressed_public_key_verifies_nothing() -> None:
    """The chain knows compressed keys only, so the 65-byte form is refused though it is valid."""
    uncompressed = coincurve.PublicKey(KEY.public_key).format(compressed=False)

    assert not verify_signature(uncompressed, b"message", SIGNATURE)


# --- messages ---


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (Scheme.RAW, b'{"a":"\xd0\xb6"}17gonka1x'),
        (Scheme.HASH, hashlib.sha256(b'{"a":"\xd0\xb6"}').hexdigest().encode() + b"17gonka1x"),
    ],
)
def test_signed_message_is_body_timestamp_address(scheme: Scheme, message: bytes) -> None:
    """The bytes of the body, or their hash, come first, then timestamp and address."""
    assert signed_message(scheme, b'{"a":"\xd0\xb6"}', 17, "gonka1x") == message


@pytest.mark.parametrize("timestamp_ns", [0, -1])
@pytest.mark.parametrize(
    "make",
    [
        lambda moment: signed_message(Scheme.HASH, b"", moment, NODE),
        lambda moment: signed_message(Scheme.RAW, b"", moment, NODE),
        lambda moment: sign_request(KEY, Scheme.HASH, b"", moment, NODE),
        lambda moment: transfer_agent_message("00", moment, NODE, NODE),
    ],
)
def test_timestamp_must_be_above_zero(make: Callable[[int], object], timestamp_ns: int) -> None:
    """A timestamp that a node would leave out of the message is not signed."""
    with pytest.raises(ValueError, match="above zero"):
        make(timestamp_ns)


def test_schemes_have_the_names_of_the_settings() -> None:
    """A scheme is made from its name in the configuration."""
    assert [Scheme("hash"), Scheme("raw")] == [Scheme.HASH, Scheme.RAW]


# --- keys ---


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET.upper(),
        f"0x{SECRET}",
        f"0X{SECRET}",
        f"{SECRET}\n",
        f" \t0x{SECRET}\r\n",
    ],
)
def test_key_reads_from_hex(text: str) -> None:
    """A key reads with or without 0x, in any case, with space around it."""
    assert SigningKey.from_hex(text).address == KEY.address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        SECRET[:-1],
        SECRET + "0",
        SECRET + "00",
        f"0x0x{SECRET}",
        SECRET[:-1] + "g",
        SECRET[:32] + " " + SECRET[32:],
        SECRET[:62] + " 1",
        SECRET[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        SECRET + "\0",
        f'"{SECRET}"',
        "00" * 32,
        f"{ORDER:064x}",
        "ff" * 32,
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
    ],
)
def test_refused_key_appears_nowhere_in_the_error(text: str) -> None:
    """What is no key is refused, and neither the error nor its chain contains any of it."""
    with pytest.raises(InvalidSigningKeyError) as caught:
        SigningKey.from_hex(text)

    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    pieces = {text[start : start + 8] for start in range(len(text) - 7)}
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not any(piece in shown for piece in pieces - {"00000000"} if piece.strip())


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\x01" * 31, b"\x01" * 33, b"\xff" * 32])
def test_key_needs_32_bytes_of_the_curve(secret: bytes) -> None:
    """Bytes that are no private key are refused."""
    with pytest.raises(InvalidSigningKeyError):
        SigningKey(secret)


def test_key_shows_its_address_only() -> None:
    """However a key is turned into text, only its address shows."""
    shown = f"{KEY} {KEY!r} {KEY!s} {[KEY]} {KEY:}"

    assert shown.count(KEY.address) == 5
    assert SECRET not in shown
    assert str(int(SECRET, 16)) not in shown
    assert not hasattr(KEY, "__dict__")


@pytest.mark.parametrize(
    "leak",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda key: pickle.dumps(key, protocol=0),
        lambda key: key.__reduce__(),
        lambda key: key.__reduce_ex__(4),
        lambda key: key.__getstate__(),
        lambda key: copy.deepcopy({"keys": [key]}),
    ],
)
def test_key_is_neither_copied_nor_pickled(leak: Callable[[SigningKey], object]) -> None:
    """No protocol of Python's copies a key out of its object."""
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        leak(KEY)
